//! The same task in TigerFlow 0.3.1, in Python, side by side.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail};

use super::{
    Bench,
    chart::{Bar, Chart, Scale, Who},
    measure, native,
    report::{Goal, Report, Target},
    stats::{Grouped, Sample},
    throughput::row,
    way::{self, Way},
    workload::{Workload, count},
};
use crate::{
    process::{self, note},
    repo, setup,
};

const FILES: usize = 10_000;
const PACKAGE: &str = "tigerflow==0.3.1";
const TASK: &str = "xtask/bench/tigerflow/upper.py";
/// TigerFlow lists its directories every 3 s, so half a minute of silence is a failure.
const LIMIT: Duration = Duration::from_secs(120);

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let python = set_up()?;
    let cores = std::thread::available_parallelism()?.get();
    let repetitions = if bench.quick { 3 } else { 5 };
    let one = Workload::new(bench, "tigerflow-one", 1, 1024)?;
    let many = Workload::new(bench, "tigerflow", FILES, 1024)?;
    // Python compiles its modules to bytecode the first time, the host its component.
    first_output(&mut command(&python, TASK, &one), &one)?;
    first_output(&mut one.host_with_log(bench, &bench.upper, 1), &one)?;

    // As a user runs it: a line of log for each file, and what it does by itself, which is to use all cores.
    let host = |concurrency| many.host_with_log(bench, &bench.upper, concurrency);
    let mut ways = [
        Way::new("TigerFlow 0.3.1", Who::Peer, || command(&python, TASK, &many)),
        Way::new("tigerflow-host, all cores", Who::Host, || host(cores)),
        Way::new("tigerflow-host, 1 at a time", Who::Host, || host(1)),
        Way::new("Native Rust, all cores", Who::Native, || native::command(&many, cores)),
    ];
    let (mut old_start, mut new_start) = (vec![], vec![]);
    for repetition in 0..repetitions {
        note(&format!("repetition {} of {repetitions}", repetition + 1));
        old_start.push(1000.0 * first_output(&mut command(&python, TASK, &one), &one)?);
        let mut host = one.host_with_log(bench, &bench.upper, 1);
        new_start.push(1000.0 * first_output(&mut host, &one)?);
        for way in &mut ways {
            way.rates.push(FILES as f64 / last_output(&mut (way.command)(), &many)?);
        }
    }

    report.section(
        "Beside TigerFlow 0.3.1",
        &format!(
            "The same task, upper-casing files of 1 KB on a tmpfs: a `LocalTask` in Python ({TASK}), which works in one \
             process, and the guest `upper`; both write their usual log. Rate: {} files, from process start to the time \
             of the last output's rename. The native program shows what this machine's file system allows. \
             {repetitions} repetitions, in turn.",
            Grouped(FILES as f64, 0)
        ),
    );
    let (old_start, new_start) = (Sample::new(old_start), Sample::new(new_start));
    report.table(&[
        row(["Process start to first output", "Time", "Beside TigerFlow"]),
        vec!["TigerFlow 0.3.1".into(), format!("{} ms", old_start.shown(1)), String::new()],
        vec![
            "tigerflow-host".into(),
            format!("{} ms", new_start.shown(1)),
            format!("**{:.0} × sooner**", old_start.median() / new_start.median()),
        ],
    ]);
    let bars: Vec<Bar> = ways.into_iter().map(Way::bar).collect();
    let times = |bar: &Bar| bar.value.median() / bars[0].value.median();
    let (host, native) = (times(&bars[1]), times(&bars[3]));
    let head = row(["Whole run", "Files/s, start-up included", "Beside TigerFlow"]);
    report.table(&[vec![head], way::rows(&bars, &bars[0])].concat());
    report.chart(&Chart {
        name: "tigerflow",
        title: "Small files upper-cased on a tmpfs, start-up included",
        unit: "files/s",
        scale: Scale::Linear,
        bars,
    });
    report.goal(Goal {
        what: format!("Small files on a tmpfs beside TigerFlow, {cores} cores"),
        target: Target::AtLeast(30.0),
        value: host,
        unit: "× TigerFlow's files/s",
        why: why(host, native, cores),
    });
    Ok(())
}

/// What stands in the way of 30 times TigerFlow, from what this run measured.
fn why(host: f64, native: f64, cores: usize) -> String {
    let share = 100.0 * host / native;
    let ceiling = match native < 30.0 {
        true => "so the goal is beyond what the kernel gives here, however the task is run",
        false => "so it is within the machine's reach, but not within the host's",
    };
    format!(
        "native Rust, which only reads, upper-cases, writes and renames, does {native:.1} × as many as TigerFlow on the \
         same {cores} cores, {ceiling}; the host does {share:.0} % of that, with its start, log and journal. TigerFlow's \
         task takes one core, so the ratio grows with the cores"
    )
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

#[cfg(test)]
mod tests {
    use super::why;

    #[test]
    fn it_says_whether_native_code_would_do() {
        let beyond = why(9.0, 15.0, 2);
        assert!(beyond.contains("15.0 ×") && beyond.contains("beyond") && beyond.contains("60 %"));
        assert!(why(25.0, 50.0, 8).contains("within the machine's reach"));
    }
}
