//! How soon the first file of a cached component is there.

use std::{path::Path, time::Duration};

use anyhow::Result;

use super::{Bench, measure, report::Report, stats::Sample, throughput::row, workload::Workload};

/// Far above what a start takes: past it, something is wrong.
const LIMIT: Duration = Duration::from_secs(60);

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let one = Workload::new(bench, "start", 1, 1024)?;
    let repetitions = bench.short_repetitions();
    let first = first_file(bench, &one, &bench.upper, repetitions)?;
    let size = std::fs::metadata(&bench.upper)?.len() / 1024;
    report.section(
        "First file of a cached component",
        &format!(
            "`upper.wasm` ({size} KiB), 1 file, {repetitions} times after one that filled the cache: from just before \
             the process is started to the output under its final name (looked for every 50 µs)."
        ),
    );
    report.table(&[
        row(["What", "Time"]),
        vec!["Process start to published output".into(), format!("**{} ms**", first.shown(1))],
    ]);
    Ok(())
}

/// Milliseconds from process start to the published output, after a run that filled the cache.
pub fn first_file(
    bench: &Bench,
    one: &Workload,
    component: &Path,
    repetitions: usize,
) -> Result<Sample> {
    one.reset()?;
    measure::run(&mut one.host(bench, component, 1))?;
    let mut times = vec![];
    for _ in 0..repetitions {
        one.reset()?;
        let (time, mut child) =
            measure::until_file(&mut one.host(bench, component, 1), &one.only_output(), LIMIT)?;
        child.wait()?;
        one.check()?;
        times.push(1000.0 * time.as_secs_f64());
    }
    Ok(Sample::new(times))
}
