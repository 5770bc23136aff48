//! How soon the first file of a component is there: compiled, and from the cache.

use std::{fs, path::Path, time::Duration};

use anyhow::Result;

use super::{Bench, measure, report::Report, stats::Sample, throughput::row, workload::Workload};
use crate::repo;

/// Far above what a start takes: past it, something is wrong.
const LIMIT: Duration = Duration::from_secs(60);

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let one = Workload::new(bench, "start", 1, 1024)?;
    let starts = Starts::measure(bench, &one, &bench.upper, bench.short_repetitions())?;
    let size = fs::metadata(&bench.upper)?.len() / 1024;
    report.section(
        "First file of a cached component",
        &format!(
            "`upper.wasm` ({size} KiB), 1 file: from just before the process is started to the output under its final \
             name (looked for every 50 µs). {}",
            starts.explained()
        ),
    );
    report.table(&starts.rows());
    Ok(())
}

/// Milliseconds from process start to the published output.
pub struct Starts {
    /// With an empty cache: the component is compiled.
    uncached: Sample,
    /// With what the first start left in the cache.
    cached: Sample,
}

impl Starts {
    /// `one` holds one file; the cached start is measured `repetitions` times.
    pub fn measure(
        bench: &Bench,
        one: &Workload,
        component: &Path,
        repetitions: usize,
    ) -> Result<Self> {
        let mut uncached = vec![];
        for _ in 0..bench.repetitions() {
            repo::remove_dir(&bench.cache)?;
            uncached.push(first_file(bench, one, component)?);
        }
        let cached =
            (0..repetitions).map(|_| first_file(bench, one, component)).collect::<Result<_>>()?;
        Ok(Self { uncached: Sample::new(uncached), cached: Sample::new(cached) })
    }

    /// How it was measured.
    pub fn explained(&self) -> String {
        format!(
            "{} starts with an empty cache, then {} with a filled one.",
            self.uncached.len(),
            self.cached.len()
        )
    }

    /// The table of the report.
    pub fn rows(&self) -> [Vec<String>; 3] {
        [
            row(["Start to first file", "Time"]),
            vec![
                "Empty cache: the component is compiled".into(),
                format!("{} ms", self.uncached.shown(1)),
            ],
            vec!["From the cache".into(), format!("**{} ms**", self.cached.shown(1))],
        ]
    }
}

fn first_file(bench: &Bench, one: &Workload, component: &Path) -> Result<f64> {
    one.reset()?;
    let (time, mut child) =
        measure::until_file(&mut one.host(bench, component, 1), &one.only_output(), LIMIT)?;
    child.wait()?;
    one.check()?;
    Ok(1000.0 * time.as_secs_f64())
}
