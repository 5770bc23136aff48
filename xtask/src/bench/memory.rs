//! Peak memory over few and over very many files.

use anyhow::Result;

use super::{
    Bench, machine, measure,
    report::Report,
    stats::{Grouped, Sample},
    throughput::row,
    workload::Workload,
};
use crate::process::note;

/// A line of text: what is measured is the host's bookkeeping.
const SIZE: usize = 16;
const FEW: usize = 10_000;
const MANY: usize = 1_000_000;
/// What two million small files take of a tmpfs (a page and its bookkeeping each), with room for the host.
const NEEDED: u64 = 14 << 30;

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    report.section(
        "Peak memory",
        "The largest resident set of the host process (`ru_maxrss`), guests included, at a concurrency of 2, over files \
         of 16 bytes on a tmpfs.",
    );
    let mut rows = vec![row(["Files", "Peak memory", "Time", "Files/s"])];
    let repetitions = if bench.quick { 1 } else { 3 };
    rows.push(peak(bench, FEW, repetitions)?);
    let free = machine::memory("MemAvailable");
    let mut left_out = None;
    if bench.quick {
        left_out = Some("The run of 1,000,000 files is left out in the quick mode.".to_owned());
    } else if free < NEEDED {
        left_out = Some(format!(
            "The run of 1,000,000 files was left out: it needs {} GiB of free memory and there are {}.",
            NEEDED >> 30,
            free >> 30
        ));
    } else {
        rows.push(peak(bench, MANY, 1)?);
    }
    report.table(&rows);
    if let Some(reason) = left_out {
        report.paragraph(&reason);
    }
    Ok(())
}

fn peak(bench: &Bench, files: usize, repetitions: usize) -> Result<Vec<String>> {
    note(&format!("{} files", Grouped(files as f64, 0)));
    let workload = Workload::new(bench, &format!("memory-{files}"), files, SIZE)?;
    let mut memory = vec![];
    let mut seconds = vec![];
    for _ in 0..repetitions {
        workload.reset()?;
        let finished = measure::run(&mut workload.host(bench, &bench.upper, 2))?;
        workload.check()?;
        memory.push(finished.peak_mib());
        seconds.push(finished.seconds());
    }
    let seconds = Sample::new(seconds);
    let row = vec![
        Grouped(files as f64, 0).to_string(),
        format!("**{} MiB**", Sample::new(memory).shown(1)),
        format!("{} s", seconds.shown(1)),
        Grouped(files as f64 / seconds.median(), 0).to_string(),
    ];
    workload.remove()?;
    Ok(row)
}
