//! The same task in TigerFlow 0.3.1, in Python, side by side.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail};

use super::{
    Bench, measure,
    report::Report,
    stats::{Grouped, Sample},
    throughput::row,
    workload::{Workload, count},
};
use crate::{
    process::{self, note},
    repo, setup,
};

const PACKAGE: &str = "tigerflow==0.3.1";
const TASK: &str = "xtask/bench/tigerflow/upper.py";
/// TigerFlow lists its directories every 3 s, so half a minute of silence is a failure.
const LIMIT: Duration = Duration::from_secs(120);

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let python = set_up()?;
    let files = if bench.quick { 1_000 } else { 10_000 };
    let repetitions = if bench.quick { 3 } else { 5 };
    let one = Workload::new(bench, "tigerflow-one", 1, 1024)?;
    let many = Workload::new(bench, "tigerflow", files, 1024)?;
    // Python compiles its modules to bytecode the first time, the host its component.
    first_output(&mut command(&python, TASK, &one), &one)?;
    first_output(&mut one.host_with_log(bench, &bench.upper, 1), &one)?;

    let (mut old_start, mut new_start, mut old_rate, mut new_rate) =
        (vec![], vec![], vec![], vec![]);
    for repetition in 0..repetitions {
        note(&format!("repetition {} of {repetitions}", repetition + 1));
        old_start.push(1000.0 * first_output(&mut command(&python, TASK, &one), &one)?);
        new_start
            .push(1000.0 * first_output(&mut one.host_with_log(bench, &bench.upper, 1), &one)?);
        old_rate.push(files as f64 / last_output(&mut command(&python, TASK, &many), &many)?);
        new_rate.push(
            files as f64 / last_output(&mut many.host_with_log(bench, &bench.upper, 1), &many)?,
        );
    }

    report.section(
        "Beside TigerFlow 0.3.1",
        &format!(
            "The same task, upper-casing files of 1 KB on a tmpfs: a `LocalTask` in Python ({TASK}) and the guest \
             `upper` at a concurrency of 1, as a local task has; both write their usual log. Rate: {} files, from process start to the time of the \
             last output's rename. {repetitions} repetitions, in turn.",
            Grouped(files as f64, 0)
        ),
    );
    let (old_start, new_start) = (Sample::new(old_start), Sample::new(new_start));
    let (old_rate, new_rate) = (Sample::new(old_rate), Sample::new(new_rate));
    report.table(&[
        row(["What", "TigerFlow 0.3.1", "tigerflow-host", "Ratio"]),
        vec![
            "Process start to first output".into(),
            format!("{} ms", old_start.shown(1)),
            format!("{} ms", new_start.shown(1)),
            format!("**{:.0} × sooner**", old_start.median() / new_start.median()),
        ],
        vec![
            "Files a second, start-up included".into(),
            old_rate.shown(0),
            new_rate.shown(0),
            format!("**{:.0} × as many**", new_rate.median() / old_rate.median()),
        ],
    ]);
    Ok(())
}

/// TigerFlow in a virtual environment. Returns its Python.
pub fn set_up() -> Result<PathBuf> {
    process::step("TigerFlow from PyPI", || {
        let (folder, place) = setup::venv("tigerflow", &[PACKAGE])?;
        Ok((folder.join("bin/python"), place))
    })
}

/// A task's run over a workload.
pub fn command(python: &Path, task: &str, workload: &Workload) -> Command {
    let mut command = process::command(python);
    command.arg(repo::path(task));
    command.arg("--input-dir").arg(&workload.input).args(["--input-ext", ".txt"]);
    command.arg("--output-dir").arg(&workload.output).args(["--output-ext", ".txt"]);
    command
}

/// Seconds from process start to the one output.
fn first_output(command: &mut Command, one: &Workload) -> Result<f64> {
    one.reset()?;
    let (time, mut child) = measure::until_file(command, &one.only_output(), LIMIT)?;
    // TigerFlow never ends by itself; the host is about to.
    measure::stop(&mut child)?;
    one.check()?;
    Ok(time.as_secs_f64())
}

/// Seconds from process start to the last output's rename.
///
/// The directory is counted only now and then, to leave the cores to what is measured.
pub fn last_output(command: &mut Command, many: &Workload) -> Result<f64> {
    many.reset()?;
    let start = SystemTime::now();
    let watch = Instant::now();
    let mut child =
        process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
    while count(&many.output, ".txt") < many.files {
        if watch.elapsed() > LIMIT {
            measure::stop(&mut child)?;
            bail!("`{}` did not finish within {} s", process::shown(command), LIMIT.as_secs());
        }
        thread::sleep(Duration::from_millis(100));
    }
    measure::stop(&mut child)?;
    many.check()?;
    let (_, last) = many.published()?;
    Ok(last.duration_since(start).context("an output is older than its run")?.as_secs_f64())
}
