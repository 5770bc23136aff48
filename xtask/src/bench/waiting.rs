//! Files that wait for something else than the CPU, many at once: an asynchronous task, a plain one, and TigerFlow.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{
    Bench,
    chart::{Bar, Chart, Scale},
    measure,
    report::Report,
    stats::{Grouped, Sample},
    throughput::row,
    tigerflow,
    workload::Workload,
};
use crate::process::note;

const FILES: usize = 1_000;
const CONCURRENCY: usize = 30;
/// What each file waits for, in milliseconds. `xtask/bench/tigerflow/wait.py` has it, too.
const WAIT: u64 = 50;
const TASK: &str = "xtask/bench/tigerflow/wait.py";

/// Files a second of one program.
#[derive(Default)]
struct Series {
    /// From process start to its end, or to the last output where it does not end.
    whole: Vec<f64>,
    /// From the start of the first file to the end of the last.
    net: Vec<f64>,
    /// As it says itself.
    own: Vec<f64>,
    /// CPU time, in milliseconds.
    cpu: Vec<f64>,
}

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let workload = Workload::saying(bench, "waiting", FILES, &format!("wait {WAIT}"))?;
    let (asynchronous, plain) = (bench.guest("async-upper")?, bench.guest("slow")?);
    let python = tigerflow::set_up();
    let concurrency = CONCURRENCY.to_string();
    let commands = || {
        let mut plain = workload.host_with_log(bench, &plain, CONCURRENCY);
        plain.args(["--pause", &WAIT.to_string()]);
        [workload.host_with_log(bench, &asynchronous, CONCURRENCY), plain]
    };
    let old = |python| {
        let mut command = tigerflow::command(python, TASK, &workload);
        command.args(["--concurrency-limit", &concurrency]);
        command
    };

    let mut series: [Series; 2] = Default::default();
    let mut old_series = Series::default();
    let repetitions = bench.repetitions();
    // Before the first one, components and Python's modules are compiled.
    for repetition in 0..=repetitions {
        match repetition {
            0 => note("once before, not counted"),
            _ => note(&format!("repetition {repetition} of {repetitions}")),
        }
        for (mut command, series) in commands().into_iter().zip(&mut series) {
            workload.reset()?;
            let finished = measure::run(&mut command)?;
            workload.check()?;
            if repetition > 0 {
                series.whole.push(rate(finished.wall));
                series.net.push(net_rate(&workload)?);
                series.own.push(own_rate(&finished.log)?);
                series.cpu.push(1000.0 * finished.cpu.as_secs_f64());
            }
        }
        if let Ok(python) = &python {
            let seconds = tigerflow::last_output(&mut old(python), &workload)?;
            if repetition > 0 {
                old_series.whole.push(FILES as f64 / seconds);
                old_series.net.push(net_rate(&workload)?);
            }
        }
    }

    let ideal = ideal();
    let rounds = FILES.div_ceil(CONCURRENCY);
    let best = FILES as f64 / (rounds as f64 * WAIT as f64 / 1000.0);
    report.section(
        &format!(
            "Waiting: {} files, {WAIT} ms each, {CONCURRENCY} at once",
            Grouped(FILES as f64, 0)
        ),
        &format!(
            "Ideal: {ideal:.0} files/s. As {} files make {rounds} rounds, the last one not full, nothing can be above \
             {best:.0} ({:.1} %) here. Asynchronous: the guest `async-upper`, one instance. Plain: the guest `slow`, \
             one instance for each file in flight. TigerFlow: a `LocalAsyncTask` in Python ({TASK}). All read a file \
             on a tmpfs, wait, write its content in upper case, and write their usual log. Whole process: from just \
             before it is started to its end, for TigerFlow, which goes on, to the last output. First start to last \
             end: from {WAIT} ms before the first output is published to when the last is. {repetitions} repetitions, \
             in turn.",
            Grouped(FILES as f64, 0),
            100.0 * best / ideal,
        ),
    );
    let mut rows = vec![row([
        "What",
        "Whole process, files/s",
        "of the ideal",
        "First start to last end, files/s",
        "of the ideal",
        "Own summary, files/s",
        "CPU time",
    ])];
    let mut bars = vec![];
    for (name, series) in ["Asynchronous task", "Plain task"].into_iter().zip(series) {
        bars.push(Bar::host(name, &Sample::new(series.whole.clone())));
        rows.push(series.row(name));
    }
    if python.is_ok() {
        bars.push(Bar::peer("TigerFlow 0.3.1", &Sample::new(old_series.whole.clone())));
        rows.push(old_series.row("TigerFlow 0.3.1"));
    }
    report.table(&rows);
    report.chart(&Chart {
        name: "waiting",
        title: &format!("Files that wait {WAIT} ms each, {CONCURRENCY} at once"),
        unit: &format!("files/s, {ideal:.0} at best"),
        scale: Scale::Linear,
        bars,
    });
    if let Err(error) = &python {
        report.paragraph(&format!("TigerFlow is left out: {error:#}."));
    }
    workload.remove()
}

impl Series {
    fn row(self, name: &str) -> Vec<String> {
        let (whole, net) = (Sample::new(self.whole), Sample::new(self.net));
        let share = |sample: &Sample| format!("**{:.1} %**", 100.0 * sample.median() / ideal());
        let shown = |values: Vec<f64>, decimals, unit| match values.is_empty() {
            true => "–".to_owned(),
            false => format!("{}{unit}", Sample::new(values).shown(decimals)),
        };
        vec![
            name.to_owned(),
            whole.shown(1),
            share(&whole),
            net.shown(1),
            share(&net),
            shown(self.own, 1, ""),
            shown(self.cpu, 0, " ms"),
        ]
    }
}

/// Files a second if nothing but the wait took time.
fn ideal() -> f64 {
    CONCURRENCY as f64 / (WAIT as f64 / 1000.0)
}

fn rate(time: Duration) -> f64 {
    FILES as f64 / time.as_secs_f64()
}

/// From the outputs' times: the first file began as much before its output as it waited.
fn net_rate(workload: &Workload) -> Result<f64> {
    let (first, last) = workload.published()?;
    Ok(rate(last.duration_since(first)? + Duration::from_millis(WAIT)))
}

/// From the host's last line: `1000 succeeded, … in 1.75 s (571.4 files/s)`.
fn own_rate(log: &str) -> Result<f64> {
    let found = log.lines().rev().find_map(|line| {
        let (_, rest) = line.rsplit_once('(')?;
        rest.split_once(" files/s)")?.0.replace(',', "").parse().ok()
    });
    found.context("the host's log has no summary with its files/s")
}
