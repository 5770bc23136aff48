//! Files a second on a disk, and what it costs that outputs survive a power loss.

use std::{fs, process::Command};

use anyhow::{Context, Result};

use super::{
    Bench,
    chart::{Bar, Chart, Scale},
    measure, native,
    report::{Goal, Report, Target},
    stats::{Grouped, Sample},
    throughput::row,
    workload::Workload,
};
use crate::{
    process::{self, note},
    repo,
};

const FILES: usize = 5_000;
const SIZE: usize = 1024;
const THREADS: usize = 2;

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let place = repo::target().join("bench/disk");
    repo::remove_dir(&place)?;
    // For minutes ext4 takes no inode of a file that was removed, and looks at all of them whenever it makes a file in
    // their part of the disk: a program that comes after another's removal would be many times slower. So each run has
    // a new folder, in another part of the disk (`+T`, where there is that), and nothing is removed before the end.
    fs::create_dir_all(&place).with_context(|| format!("could not create {}", place.display()))?;
    let _ = process::quietly(process::command("chattr").arg("+T").arg(&place));
    let mut files = Workload::in_folder(&place, FILES, SIZE)?;
    let mut runs = 0;
    let (mut native, mut none, mut batch) = (vec![], vec![], vec![]);
    let repetitions = bench.repetitions().min(5);
    for repetition in 0..repetitions {
        note(&format!("repetition {} of {repetitions}", repetition + 1));
        let mut take = |rates: &mut Vec<f64>, command: &dyn Fn(&Workload) -> Command| {
            runs += 1;
            files.output = place.join(format!("out-{runs}"));
            files.reset()?;
            // What was written before is not this one's to wait for.
            process::quietly(&mut process::command("sync"))?;
            rates.push(FILES as f64 / measure::run(&mut command(&files))?.seconds());
            files.check()
        };
        take(&mut native, &|files| native::command(files, THREADS))?;
        take(&mut none, &|files| files.host(bench, &bench.upper, THREADS))?;
        take(&mut batch, &|files| {
            let mut command = files.host(bench, &bench.upper, THREADS);
            command.args(["--durability", "batch"]);
            command
        })?;
    }
    files.remove()?;
    let [native, none, batch] = [native, none, batch].map(Sample::new);
    report.section(
        "On a disk",
        &format!(
            "{} files of 1 KB upper-cased on the disk of this checkout, {THREADS} threads, whole processes; \
             {repetitions} repetitions, in turn, each into a new folder. With `--durability batch` all outputs are safe when the run \
             ends; the others' are in the system's memory still.",
            Grouped(FILES as f64, 0)
        ),
    );
    let of_native = |rate: f64| 100.0 * rate / native.median();
    let share = |sample: &Sample| format!("**{:.0} %**", of_native(sample.median()));
    report.table(&[
        row(["What", "Files/s", "Of native"]),
        vec!["Native Rust".into(), native.shown(0), String::new()],
        vec!["tigerflow-host".into(), none.shown(0), share(&none)],
        vec!["tigerflow-host, `--durability batch`".into(), batch.shown(0), share(&batch)],
    ]);
    report.chart(&Chart {
        name: "disk",
        title: "Small files upper-cased on a disk",
        unit: "files/s",
        scale: Scale::Linear,
        bars: vec![
            Bar::host("tigerflow-host", &none),
            Bar::host("--durability batch", &batch),
            Bar::native("Native Rust", &native),
        ],
    });
    report.goal(Goal {
        what: "Small files on a disk: no slower than native's slowest run".to_owned(),
        target: Target::AtLeast(of_native(native.min())),
        value: of_native(none.median()),
        unit: "% of native Rust",
        why: "over so few files the host's start and its scan of both directories count as well"
            .to_owned(),
    });
    Ok(())
}
