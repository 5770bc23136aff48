//! How soon the first file of a component is there: compiled, and from the cache.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::Result;

use super::{
    Bench,
    chart::{Bar, Chart, Scale},
    measure, native,
    report::{Goal, Report, Target},
    stats::Sample,
    throughput::row,
    workload::Workload,
};
use crate::repo;

/// Far above what a start takes: past it, something is wrong.
const LIMIT: Duration = Duration::from_secs(60);

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let one = Workload::new(bench, "start", 1, 1024)?;
    let (mut native, mut help, mut inspect) = (vec![], vec![], vec![]);
    let starts = Starts::measure(bench, &one, &bench.upper, bench.short_repetitions(), || {
        native.push(first_output(&mut native::command(&one, 1), &one)?);
        help.push(ended(bench, &["--help".as_ref()])?);
        inspect.push(ended(bench, &["inspect".as_ref(), &bench.upper])?);
        Ok(())
    })?;
    let [native, help, inspect] = [native, help, inspect].map(Sample::new);
    let size = fs::metadata(&bench.upper)?.len() / 1024;
    report.section(
        "First file of a cached component",
        &format!(
            "`upper.wasm` ({size} KiB), 1 file: from just before the process is started to the output under its final \
             name (looked for every 50 µs); commands that only tell something: from start to exit. {} The native program, \
             over the same file, and the commands are measured in turn with the latter.",
            starts.explained()
        ),
    );
    let cell = |time: &Sample| format!("{} ms", time.shown(1));
    let mut rows = starts.rows().to_vec();
    rows.extend([
        vec!["The native program (Rust)".to_owned(), cell(&native)],
        vec!["`tigerflow-host --help`, to its end".to_owned(), cell(&help)],
        vec!["`tigerflow-host inspect`, to its end".to_owned(), cell(&inspect)],
    ]);
    report.table(&rows);
    report.chart(&Chart {
        name: "start",
        title: "From process start to the first file, or to the end",
        unit: "ms, less is better",
        scale: Scale::Log,
        bars: vec![
            Bar::host("Run, component compiled", &starts.uncached),
            Bar::host("Run, component cached", &starts.cached),
            Bar::host("inspect, cached", &inspect),
            Bar::host("--help", &help),
            Bar::native("Native Rust", &native),
        ],
    });
    let mut goal = |what: &str, limit: f64, time: &Sample, why: &str| {
        report.goal(Goal {
            what: what.to_owned(),
            target: Target::AtMost(limit),
            value: time.median(),
            unit: "ms",
            why: why.to_owned(),
        });
    };
    let loads = "loading the program and the machine code takes what it takes on this machine";
    // What upper-casing 1 KB itself takes, some microseconds, is left in.
    goal("Cached component to its first published file", 10.0, &starts.cached, loads);
    goal("`--help`", 20.0, &help, loads);
    goal("`inspect` of a cached component", 20.0, &inspect, loads);
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
    /// `one` holds one file; the cached start is measured `repetitions` times, in turn with what is `beside`.
    pub fn measure(
        bench: &Bench,
        one: &Workload,
        component: &Path,
        repetitions: usize,
        mut beside: impl FnMut() -> Result<()>,
    ) -> Result<Self> {
        let host = || first_output(&mut one.host(bench, component, 1), one);
        let (mut uncached, mut cached) = (vec![], vec![]);
        for _ in 0..bench.repetitions() {
            repo::remove_dir(&bench.cache)?;
            uncached.push(host()?);
        }
        for _ in 0..repetitions {
            cached.push(host()?);
            beside()?;
        }
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

/// Milliseconds from process start to the one output.
fn first_output(command: &mut Command, one: &Workload) -> Result<f64> {
    one.reset()?;
    let (time, mut child) = measure::until_file(command, &one.only_output(), LIMIT)?;
    child.wait()?;
    one.check()?;
    Ok(1000.0 * time.as_secs_f64())
}

/// Milliseconds from the start of one of the host's commands to its end.
fn ended(bench: &Bench, arguments: &[&Path]) -> Result<f64> {
    let mut command = measure::program(&bench.host);
    command.env("TIGERFLOW_CACHE_DIR", &bench.cache).args(arguments);
    Ok(1000.0 * measure::run(&mut command)?.seconds())
}
