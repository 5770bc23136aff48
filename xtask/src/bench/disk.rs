//! Files a second on a disk, and what it costs that outputs survive a power loss.

use anyhow::Result;

use super::{
    Bench, measure, native,
    report::Report,
    stats::{Grouped, Sample},
    throughput::row,
    workload::Workload,
};
use crate::{
    process::{self, note},
    repo,
};

const FILES: usize = 10_000;
const SIZE: usize = 1024;
const THREADS: usize = 2;

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let place = repo::target().join("bench/disk");
    repo::remove_dir(&place)?;
    let files = Workload::in_folder(&place, FILES, SIZE)?;
    let (mut native, mut none, mut batch) = (vec![], vec![], vec![]);
    for repetition in 0..bench.repetitions() {
        note(&format!("repetition {} of {}", repetition + 1, bench.repetitions()));
        let take = |rates: &mut Vec<f64>, command: &mut std::process::Command| -> Result<()> {
            files.reset()?;
            // What was written before is not this one's to wait for.
            process::quietly(&mut process::command("sync"))?;
            rates.push(FILES as f64 / measure::run(command)?.seconds());
            files.check()
        };
        take(&mut native, &mut native::command(&files, THREADS))?;
        take(&mut none, &mut files.host(bench, &bench.upper, THREADS))?;
        let mut durable = files.host(bench, &bench.upper, THREADS);
        take(&mut batch, durable.args(["--durability", "batch"]))?;
    }
    files.remove()?;
    let [native, none, batch] = [native, none, batch].map(Sample::new);
    report.section(
        "On a disk",
        &format!(
            "{} files of 1 KB upper-cased on the disk of this checkout, {THREADS} threads, whole processes; {} \
             repetitions, in turn. With `--durability batch` all outputs are safe when the run ends; the others' are \
             in the system's memory still.",
            Grouped(FILES as f64, 0),
            bench.repetitions()
        ),
    );
    let share = |sample: &Sample| format!("**{:.0} %**", 100.0 * sample.median() / native.median());
    report.table(&[
        row(["What", "Files/s", "Of native"]),
        vec!["native".into(), native.shown(0), String::new()],
        vec!["host".into(), none.shown(0), share(&none)],
        vec!["host, `--durability batch`".into(), batch.shown(0), share(&batch)],
    ]);
    Ok(())
}
