//! The coordinator's core, driven by a simulated cluster in virtual time.

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    Bench,
    report::Report,
    stats::{Grouped, Sample},
    throughput::row,
};
use crate::{
    process::{self, note},
    repo,
};

const EXAMPLE: &str = "simulate";
const REPETITIONS: usize = 3;
const WORKERS: [usize; 2] = [10, 1_000];
const FILES: [usize; 4] = [10_000, 100_000, 1_000_000, 10_000_000];

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    report.section(
        "A simulated cluster",
        "What decides in the coordinator of a Slurm run (scheduler, autoscaler, fleet, catalog of names of 23 bytes), \
         with workers that end 200 files a second each, in virtual time. Time: of the core alone, for a file. Memory: \
         the largest resident set of the process; and of that, what knowing the names of all files takes. 3 repetitions.",
    );
    let mut cargo = process::cargo();
    cargo.args(["build", "--release", "--package", "tigerflow-host", "--example", EXAMPLE]);
    process::cargo_quietly(&mut cargo)?;
    let mut rows = vec![row([
        "Workers",
        "Files",
        "Time per file",
        "Peak memory",
        "of it the names",
        "sbatch calls",
    ])];
    let files = if bench.quick { &FILES[..3] } else { &FILES[..] };
    for workers in WORKERS {
        for &files in files {
            rows.push(measure(workers, files)?);
        }
    }
    report.table(&rows);
    Ok(())
}

fn measure(workers: usize, files: usize) -> Result<Vec<String>> {
    note(&format!("{workers} workers, {} files", Grouped(files as f64, 0)));
    let (mut times, mut result) = (vec![], Value::Null);
    for _ in 0..REPETITIONS {
        let mut command = process::command(repo::target().join("release/examples").join(EXAMPLE));
        let printed = process::output(command.args([workers.to_string(), files.to_string()]))?;
        result = serde_json::from_str(&printed).context("the simulation printed no JSON")?;
        times.push(result["microseconds_per_file"].as_f64().context("it printed no time")?);
    }
    let mib = |name: &str| format!("{:.0} MiB", result[name].as_f64().unwrap_or(f64::NAN) / 1024.0);
    Ok(vec![
        Grouped(workers as f64, 0).to_string(),
        Grouped(files as f64, 0).to_string(),
        format!("{} µs", Sample::new(times).shown(2)),
        mib("peak_kib"),
        mib("files_known_kib"),
        result["submissions"].to_string(),
    ])
}
