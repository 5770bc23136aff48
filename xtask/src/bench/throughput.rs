//! Files a second beside a native program, on a tmpfs, start-up left out.

use anyhow::Result;

use super::{
    Bench,
    chart::{Bar, Chart, Scale},
    measure, native,
    report::{Goal, Report, Target},
    stats::{Grouped, Sample},
    workload::Workload,
};
use crate::process::note;

const FILES: usize = 10_000;
const SIZE: usize = 1024;
const THREADS: [usize; 2] = [1, 2];

const WHY: &str = "three quarters of the host's CPU time are the kernel's (`perf record`): opening, reading, writing, \
    closing and renaming, which the native program has as well. Both make nine calls a file (`strace -c`): the host \
    looks whether the output stands there as a file, and needs no second read. The \
    difference is the sandbox's check of each name, the hand-over between dispatcher and slots, and the journal";

/// Net seconds of one program at one number of threads.
struct Series {
    threads: usize,
    native: Vec<f64>,
    host: Vec<f64>,
    native_start: Vec<f64>,
    host_start: Vec<f64>,
}

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let many = Workload::new(bench, "throughput", FILES, SIZE)?;
    let one = Workload::new(bench, "throughput-one", 1, SIZE)?;
    // The host caches the compiled component; the first run is not counted.
    one.reset()?;
    measure::run(&mut one.host(bench, &bench.upper, 1))?;

    let mut series = THREADS.map(|threads| Series {
        threads,
        native: vec![],
        host: vec![],
        native_start: vec![],
        host_start: vec![],
    });
    for repetition in 0..bench.repetitions() {
        note(&format!("repetition {} of {}", repetition + 1, bench.repetitions()));
        for series in &mut series {
            let threads = series.threads;
            // Start-up is the same program over one file, measured next to the long run.
            one.reset()?;
            series.native_start.push(measure::run(&mut native::command(&one, threads))?.seconds());
            one.reset()?;
            series
                .host_start
                .push(measure::run(&mut one.host(bench, &bench.upper, threads))?.seconds());
            many.reset()?;
            series.native.push(measure::run(&mut native::command(&many, threads))?.seconds());
            many.check()?;
            many.reset()?;
            series.host.push(measure::run(&mut many.host(bench, &bench.upper, threads))?.seconds());
            many.check()?;
        }
    }

    report.section(
        &format!("Files a second: {} files of 1 KB upper-cased on a tmpfs", Grouped(FILES as f64, 0)),
        &format!(
            "Native: a Rust program of this repository (`xtask/src/bench/native.rs`) that lists, reads, upper-cases, \
             writes to a temporary name and renames. Host: the guest `upper`, `run --once -q`. Both are timed from \
             outside, from start to exit, less the median time of the same command over 1 file. {} repetitions, in turn.",
            bench.repetitions()
        ),
    );
    let mut rows = vec![row([
        "Threads",
        "Native, files/s",
        "Host, files/s",
        "Host / native",
        "Start + 1 file, native / host",
    ])];
    let mut bars = vec![];
    for series in series {
        let native_start = Sample::new(series.native_start);
        let host_start = Sample::new(series.host_start);
        let native = rate(&series.native, native_start.median());
        let host = rate(&series.host, host_start.median());
        let share = 100.0 * host.median() / native.median();
        let threads = match series.threads {
            1 => "1 thread".to_owned(),
            threads => format!("{threads} threads"),
        };
        report.goal(Goal {
            what: format!("Rust component over small files on a tmpfs, {threads}"),
            target: Target::AtLeast(75.0),
            value: share,
            unit: "% of native Rust",
            why: WHY.to_owned(),
        });
        bars.push(Bar::host(format!("Component, {threads}"), &host));
        bars.push(Bar::native(format!("Native Rust, {threads}"), &native));
        rows.push(vec![
            series.threads.to_string(),
            native.shown(0),
            host.shown(0),
            format!("**{share:.0} %**"),
            format!(
                "{:.1} ms / {:.1} ms",
                1000.0 * native_start.median(),
                1000.0 * host_start.median()
            ),
        ]);
    }
    report.table(&rows);
    report.chart(&Chart {
        name: "native",
        title: "Small files upper-cased on a tmpfs",
        unit: "files/s",
        scale: Scale::Linear,
        bars,
    });
    Ok(())
}

fn rate(seconds: &[f64], start: f64) -> Sample {
    Sample::new(seconds.iter().map(|total| (FILES - 1) as f64 / (total - start)).collect())
}

/// A table's row of plain words.
pub fn row<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}
