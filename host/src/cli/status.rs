//! `status`: how far a run is, or was, from what it wrote.

pub(super) mod histogram;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use self::histogram::Histogram;
use super::LogArgs;
use super::workspaces::nothing_in;
use crate::log::{self, local_time};
use crate::text::{count, one_line};
use crate::workspace::Layout;
use crate::workspace::journal::{self, Attempt, AttemptOutcome, Record, RunStarted, WorkerEnded};
use crate::workspace::lock;
use crate::workspace::progress_file::{Counts, Ended, InFlight, Progress, WorkerState, Workers};

/// Show how far a run is, or was
///
/// Reads what the run records in OUTPUT_DIR/.tigerflow, while it runs and after.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The run's --output-dir
    #[arg(value_name = "OUTPUT_DIR")]
    output_dir: PathBuf,
    /// The task, where several have worked in the directory
    #[arg(long, value_name = "NAME")]
    task_name: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    log: LogArgs,
}

/// How many failures are shown, the latest ones.
const FAILURES_SHOWN: usize = 10;

/// How many workers are shown one by one.
const WORKERS_SHOWN: usize = 20;

/// How many kinds of failure are told apart; their names come from the task.
const KINDS: usize = 100;

#[derive(Serialize)]
struct Report {
    task: String,
    state: State,
    /// It was told to stop, and finishes what is in flight.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stopping: bool,
    run: RunStarted,
    /// What it says, where it has no terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<PathBuf>,
    counts: Counts,
    /// Outcomes of all runs together.
    total: Total,
    /// Not begun.
    waiting: usize,
    /// Attempts at work.
    running: usize,
    /// Waiting for their next attempt.
    retrying: usize,
    /// Files whose attempt was cut off, and that are still to do.
    interrupted: usize,
    in_flight: Vec<InFlight>,
    ended: Option<Ended>,
    /// Since the run began, until it ended or now.
    seconds: f64,
    files_per_second: f64,
    timings: Option<Timings>,
    failures_by_type: BTreeMap<String, usize>,
    latest_failures: Vec<Attempt>,
    /// The workers of a run on a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<Workers>,
    /// How the latest ones of them that are gone ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    workers_ended: Vec<WorkerEnded>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Running,
    Ended,
    /// It left without a word: killed, or its machine went down.
    Died,
}

#[derive(Serialize)]
struct Total {
    succeeded: usize,
    failed: usize,
    timed_out: usize,
    aborted: usize,
}

/// How long attempts of this run took, in milliseconds.
#[derive(Serialize)]
struct Timings {
    median: f64,
    percentile_95: f64,
    longest: f64,
    longest_file: String,
}

pub fn status(args: &StatusArgs) -> anyhow::Result<u8> {
    log::init(args.log.log_format, args.log.level(), true);
    let workspaces: Vec<(String, Layout)> = Layout::all(&args.output_dir)
        .map_err(|_| nothing_in(&args.output_dir))?
        .into_iter()
        .filter(|(name, _)| args.task_name.as_ref().is_none_or(|wanted| wanted == name))
        .collect();
    let mut reports = Vec::new();
    for (task, layout) in workspaces {
        reports.extend(report(task, &layout)?);
    }
    if reports.is_empty() {
        return Err(nothing_in(&args.output_dir).into());
    }
    if args.json {
        super::print(&(serde_json::to_string_pretty(&reports)? + "\n"));
    } else {
        let texts: Vec<String> = reports.iter().map(text).collect();
        super::print(&texts.join("\n"));
    }
    Ok(0)
}

fn report(task: String, layout: &Layout) -> anyhow::Result<Option<Report>> {
    let path = layout.journal();
    let records = match journal::read(&path) {
        Ok(records) => records,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to read `{}`", path.display()))?,
    };
    let mut summary = Summary::default();
    for record in records {
        summary.add(record.with_context(|| format!("failed to read `{}`", path.display()))?);
    }
    let timings = summary.timings();
    let Some(run) = summary.run else { return Ok(None) };
    let progress = Progress::read(&layout.progress()).ok().filter(|p| p.run == run);
    let state = match (lock::holder(&layout.lock()), summary.ended) {
        (Some(_), _) => State::Running,
        (None, Some(_)) => State::Ended,
        (None, None) => State::Died,
    };
    let stopping = state == State::Running && progress.as_ref().is_some_and(|p| p.stopping);
    // What is known comes from `run.json`, which may be older than the journal.
    let known = progress
        .as_ref()
        .map_or(run.to_do, |p| p.counts.total() + p.waiting + p.retrying + p.running);
    let left = known.saturating_sub(summary.counts.total());
    let workers = progress.as_ref().and_then(|p| p.workers.clone());
    let (mut running, mut retrying, mut interrupted, mut in_flight) = (0, 0, 0, Vec::new());
    match (progress, state) {
        (Some(progress), State::Running) => {
            running = progress.running.min(left);
            retrying = progress.retrying.min(left - running);
            in_flight = progress.in_flight;
        }
        // Nobody wrote down what a run that died had at work last.
        (Some(progress), State::Died) => interrupted = progress.running.min(left),
        (_, State::Ended) => interrupted = summary.interrupted.len().min(left),
        (None, _) => {}
    }
    let waiting = left - running - retrying - interrupted;
    let until = match state {
        State::Running => Timestamp::now(),
        _ => summary.ended.map_or(summary.last, |ended| ended.time),
    };
    let seconds = until.duration_since(run.time).as_secs_f64().max(0.0);
    let counts = summary.counts;
    Ok(Some(Report {
        task,
        state,
        stopping,
        log: run.detached.then(|| layout.log()),
        counts,
        total: Total {
            succeeded: run.succeeded_before + counts.succeeded,
            failed: run.failed_before + counts.failed,
            timed_out: run.timed_out_before + counts.timed_out,
            aborted: run.aborted_before + counts.aborted,
        },
        waiting,
        running,
        retrying,
        interrupted,
        in_flight,
        ended: summary.ended,
        seconds,
        files_per_second: if seconds > 0.0 { counts.total() as f64 / seconds } else { 0.0 },
        timings,
        failures_by_type: summary.kinds,
        latest_failures: summary.failures,
        workers,
        workers_ended: summary.workers_ended,
        run,
    }))
}

/// The journal, boiled down to its last run.
#[derive(Default)]
struct Summary {
    run: Option<RunStarted>,
    ended: Option<Ended>,
    last: Timestamp,
    counts: Counts,
    durations: Histogram,
    longest_file: String,
    kinds: BTreeMap<String, usize>,
    failures: Vec<Attempt>,
    /// Files whose last attempt was cut off.
    interrupted: BTreeSet<String>,
    workers_ended: Vec<WorkerEnded>,
}

impl Summary {
    fn add(&mut self, record: Record) {
        match record {
            Record::RunStarted(run) => {
                *self = Summary { last: run.time, run: Some(run), ..Summary::default() };
            }
            Record::WorkerStarted(_) => {}
            Record::WorkerEnded(ended) => {
                if self.workers_ended.len() == WORKERS_SHOWN {
                    self.workers_ended.remove(0);
                }
                self.workers_ended.push(ended);
            }
            Record::RunEnded { time, exit_code } => self.ended = Some(Ended { time, exit_code }),
            // It is among what stood before.
            Record::Attempt(attempt) if attempt.of_earlier_run => {}
            Record::Attempt(attempt) => {
                self.last = attempt.time;
                if self.durations.add(attempt.duration_ms) {
                    self.longest_file.clone_from(&attempt.file);
                }
                self.counts.add(attempt.outcome);
                if attempt.outcome == AttemptOutcome::Interrupted {
                    self.interrupted.insert(attempt.file.clone());
                } else if !self.interrupted.is_empty() {
                    self.interrupted.remove(&attempt.file);
                }
                match attempt.outcome {
                    AttemptOutcome::Succeeded
                    | AttemptOutcome::Aborted
                    | AttemptOutcome::Retrying
                    | AttemptOutcome::Interrupted => {}
                    AttemptOutcome::Failed | AttemptOutcome::TimedOut => {
                        let kind = attempt.exception_type.clone().unwrap_or_default();
                        if self.kinds.len() < KINDS || self.kinds.contains_key(&kind) {
                            *self.kinds.entry(kind).or_default() += 1;
                        }
                        if self.failures.len() == FAILURES_SHOWN {
                            self.failures.remove(0);
                        }
                        self.failures.push(attempt);
                    }
                }
            }
        }
    }

    fn timings(&self) -> Option<Timings> {
        (self.durations.total() > 0).then(|| Timings {
            median: self.durations.quantile(0.5),
            percentile_95: self.durations.quantile(0.95),
            longest: self.durations.longest(),
            longest_file: self.longest_file.clone(),
        })
    }
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    let run = &report.run;
    let mut line =
        |name: &str, value: String| out.push_str(&format!("{name:<11} {}\n", one_line(&value)));
    line("task", format!("{} {} ({})", report.task, run.version, run.component));
    line("input", format!("{}/*{} -> *{}", run.input_dir, run.input_ext, run.output_ext));
    let began = format!("process {} on {}, since {}", run.pid, run.host, local_time(run.time));
    line(
        "state",
        match (report.state, &report.ended) {
            (State::Running, _) if report.stopping => format!("stopping: {began}"),
            (State::Running, _) => format!("running: {began}"),
            (State::Ended, Some(end)) => {
                format!("ended {} with exit code {}", local_time(end.time), end.exit_code)
            }
            _ => format!("died: {began}; run the same command again to go on"),
        },
    );
    if let Some(log) = &report.log {
        line("log", log.display().to_string());
    }
    let total = &report.total;
    let states = [
        (total.succeeded, "succeeded"),
        (total.failed, "failed"),
        (total.timed_out, "timed out"),
        (total.aborted, "aborted"),
        (report.waiting, "waiting"),
        (report.running, "running"),
        (report.retrying, "retrying"),
        (report.interrupted, "interrupted"),
    ];
    let all: usize = states.iter().map(|(number, _)| number).sum();
    let states: Vec<String> = states.iter().map(|(n, state)| format!("{n} {state}")).collect();
    line("files", format!("{all}: {}", states.join(", ")));
    if run.not_taken > 0 {
        line("not taken", format!("{} (the run's log says why)", run.not_taken));
    }
    let elapsed = Duration::from_secs(report.seconds.round() as u64);
    line(
        "this run",
        format!(
            "{}{} in {} ({:.1} files/s)",
            count(report.counts.total(), "file"),
            match report.counts.retries {
                0 => String::new(),
                1 => " and 1 retry".into(),
                n => format!(" and {n} retries"),
            },
            humantime::format_duration(elapsed),
            report.files_per_second
        ),
    );
    if !run.policies.is_empty() {
        line("policies", run.policies.join(" "));
    }
    if let Some(workers) = report.workers.as_ref().filter(|_| report.state != State::Ended) {
        let all = count(workers.all.len(), "worker");
        line("workers", format!("{all}; {}; logs in {}", workers.scaling, workers.logs));
        for worker in workers.all.iter().take(WORKERS_SHOWN) {
            line("worker", worker_text(worker));
        }
        if workers.all.len() > WORKERS_SHOWN {
            line("", format!("and {} more", workers.all.len() - WORKERS_SHOWN));
        }
    }
    for worker in &report.workers_ended {
        line("gone", format!("worker {}: {}", worker.worker, worker.how));
    }
    for attempt in report.in_flight.iter().take(FAILURES_SHOWN) {
        let fraction = attempt.fraction.map(|f| format!(", {:.0} %", f * 100.0));
        let since = local_time(attempt.since);
        line(
            "in flight",
            format!("{} since {since}{}", attempt.file, fraction.unwrap_or_default()),
        );
    }
    if let Some(t) = &report.timings {
        line(
            "timings",
            format!(
                "median {}, 95 % under {}, longest {} ({})",
                milliseconds(t.median),
                milliseconds(t.percentile_95),
                milliseconds(t.longest),
                t.longest_file
            ),
        );
    }
    for (kind, number) in &report.failures_by_type {
        line("failures", format!("{number} {kind}"));
    }
    for attempt in &report.latest_failures {
        let message = attempt.message.as_deref().unwrap_or_default();
        line("failed", format!("{}: {}", attempt.file, message.lines().next().unwrap_or_default()));
    }
    out
}

/// `3-0 (job 12 on node1): working, 40 done, 2 at work, 8 waiting, 1h 2m left`
fn worker_text(worker: &WorkerState) -> String {
    let place = match (&*worker.job, &*worker.node) {
        ("", _) => String::new(),
        (job, "") => format!(" (job {job})"),
        (job, node) => format!(" (job {job} on {node})"),
    };
    let mut text = format!("{}{place}: {}", worker.worker, worker.state);
    if !matches!(&*worker.reason, "" | "None") {
        text.push_str(&format!(" ({})", worker.reason));
    }
    if !worker.node.is_empty() {
        let WorkerState { done, running, waiting, .. } = worker;
        text.push_str(&format!(", {done} done, {running} at work, {waiting} waiting"));
    }
    if let Some(since) = worker.idle_since {
        text.push_str(&format!(", idle since {}", local_time(since)));
    }
    if let Some(left) = worker.seconds_left {
        text.push_str(&format!(", {} left", humantime::format_duration(Duration::from_secs(left))));
    }
    text
}

fn milliseconds(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.2} ms") } else { format!("{:.2} s", ms / 1000.0) }
}
