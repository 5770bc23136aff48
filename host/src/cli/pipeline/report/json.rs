//! A report for programs.
//!
//! Keys that TigerFlow has mean what they mean there. Those marked `+` are further ones; more
//! may come, so ignore what you do not know. `version` grows when a key goes or changes. All
//! lists of attempts and errors are bounded, all numbers are exact but for the quantiles.
//!
//! Before a pipeline that has just begun says how far it is, `progress` has no tasks. What a
//! task declined on purpose is `aborted`, and no error.
#![doc = concat!("```text\n", include_str!("shape.txt"), "```")]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::Sections;
use super::errors::{self, Found};
use super::follow::{Done, Stats, Summary};
use super::gather::{Gatherer, Snapshot, State, TaskView};
use super::words::running_and_pending;
use crate::workspace::journal::AttemptOutcome;
use crate::workspace::progress_file::{InFlight, WorkerState};

/// The shape, for those who ask.
pub const SHAPE: &str = include_str!("shape.txt");

/// Most errors of a task.
const ERRORS: usize = 1_000;

/// The version of the shape.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Progress<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<BTreeMap<&'a str, Metrics<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<BTreeMap<&'a str, Vec<Error<'a>>>>,
}

#[derive(Serialize)]
struct Status<'a> {
    running: bool,
    pid: Option<u32>,
    state: State,
    stopping: bool,
    host: &'a str,
    since: Timestamp,
    seconds: f64,
    ended: Option<Timestamp>,
    exit_code: Option<u8>,
    config: Option<&'a str>,
    input_dir: Option<&'a str>,
    input_ext: Option<&'a str>,
    log: Option<&'a Path>,
}

#[derive(Serialize)]
struct Progress<'a> {
    pipeline: Pipeline,
    tasks: Vec<Task<'a>>,
}

#[derive(Serialize)]
struct Pipeline {
    finished: usize,
    in_progress: usize,
    staged: Option<usize>,
    errored: usize,
    waiting: usize,
    aborted: usize,
    known: usize,
    throughput: Throughput,
    seconds_left: Option<f64>,
}

#[derive(Serialize)]
struct Throughput {
    overall: Option<f64>,
    lately: Option<f64>,
}

#[derive(Serialize)]
struct Task<'a> {
    name: &'a str,
    processed: usize,
    staged: usize,
    failed: usize,
    depends_on: Option<&'a str>,
    kind: &'a str,
    available: usize,
    waiting: usize,
    running: usize,
    retrying: usize,
    aborted: usize,
    in_flight: &'a [InFlight],
    workers: Option<Workers<'a>>,
}

#[derive(Serialize)]
struct Workers<'a> {
    running: usize,
    pending: usize,
    scaling: &'a str,
    logs: &'a str,
    all: &'a [WorkerState],
}

#[derive(Serialize)]
struct Metrics<'a> {
    #[serde(flatten)]
    summary: Summary,
    durations: Vec<f64>,
    files: Vec<File<'a>>,
}

#[derive(Serialize)]
struct File<'a> {
    file: &'a str,
    started_at: Timestamp,
    finished_at: Timestamp,
    duration_ms: f64,
    status: &'static str,
    outcome: AttemptOutcome,
}

#[derive(Serialize)]
struct Error<'a> {
    file: &'a str,
    path: &'a Path,
    timestamp: Option<Timestamp>,
    exception_type: &'a str,
    message: &'a str,
    traceback: &'a str,
    outcome: Option<AttemptOutcome>,
    attempts: Option<u32>,
}

/// The errors of each task that has some, as many as a report tells.
pub fn errors(output_dir: &Path, snapshot: &Snapshot) -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    for task in &snapshot.tasks {
        all.extend(errors::of_task(output_dir, &task.task.name, ERRORS)?);
    }
    Ok(all)
}

/// The report, with a line break at its end.
pub fn report(
    gatherer: &Gatherer,
    snapshot: &Snapshot,
    sections: &Sections,
    found: Vec<Found>,
) -> serde_json::Result<String> {
    let metrics = || {
        let metrics = |view: &TaskView| metrics(gatherer.stats(&view.task.name), view.summary);
        snapshot.tasks.iter().map(|view| (&*view.task.name, metrics(view))).collect()
    };
    let mut errors: BTreeMap<&str, Vec<Error>> = BTreeMap::new();
    for error in &found {
        errors.entry(&error.task).or_default().push(Error::new(error));
    }
    let report = Report {
        version: VERSION,
        status: sections.status.then(|| status(snapshot)),
        progress: sections.progress.then(|| progress(snapshot)),
        metrics: sections.metrics.then(metrics),
        errors: sections.errors.then_some(errors),
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

fn status(snapshot: &Snapshot) -> Status<'_> {
    let run = snapshot.progress.as_ref().map(|progress| &progress.run);
    let running = snapshot.state == State::Running;
    // One that runs has not ended, though it may say so in a moment.
    let ended = snapshot.progress.as_ref().and_then(|p| p.ended).filter(|_| !running);
    Status {
        running,
        pid: running.then_some(snapshot.owner.pid),
        state: snapshot.state,
        stopping: snapshot.is_stopping(),
        host: &snapshot.owner.host,
        since: snapshot.owner.since,
        seconds: snapshot.seconds,
        ended: ended.map(|ended| ended.time),
        exit_code: ended.map(|ended| ended.exit_code),
        config: run.map(|run| &*run.config),
        input_dir: run.map(|run| &*run.input_dir),
        input_ext: run.map(|run| &*run.input_ext),
        log: snapshot.log.as_deref(),
    }
}

fn progress(snapshot: &Snapshot) -> Progress<'_> {
    let files = snapshot.progress.as_ref().map(|p| p.files).unwrap_or_default();
    let running = snapshot.state == State::Running;
    let speed = snapshot.speed;
    Progress {
        pipeline: Pipeline {
            finished: files.finished,
            in_progress: files.in_progress,
            staged: running.then_some(files.staged),
            errored: files.failed,
            waiting: files.waiting,
            aborted: files.aborted,
            known: snapshot.known(),
            throughput: Throughput { overall: speed.overall, lately: speed.lately },
            seconds_left: speed.seconds_left,
        },
        tasks: snapshot.tasks.iter().map(|view| task(view, running)).collect(),
    }
}

fn task(view: &TaskView, running: bool) -> Task<'_> {
    let task = &view.task;
    // A run that is over has nothing at work, whatever it said last.
    Task {
        name: &task.name,
        processed: task.succeeded,
        staged: task.waiting + task.running + task.retrying,
        failed: task.failed,
        depends_on: task.depends_on.as_deref(),
        kind: &task.kind,
        available: view.available,
        waiting: task.waiting,
        running: if running { task.running } else { 0 },
        retrying: if running { task.retrying } else { 0 },
        aborted: task.aborted,
        in_flight: if running { &task.in_flight } else { &[] },
        workers: task.workers.as_ref().filter(|_| running).map(|w| {
            let (running, pending) = running_and_pending(w);
            Workers { running, pending, scaling: &w.scaling, logs: &w.logs, all: &w.all }
        }),
    }
}

fn metrics(stats: Option<&Stats>, summary: Summary) -> Metrics<'_> {
    Metrics {
        summary,
        durations: stats.iter().flat_map(|stats| stats.durations.iter().copied()).collect(),
        files: stats.iter().flat_map(|stats| stats.latest.iter().map(File::new)).collect(),
    }
}

impl<'a> File<'a> {
    fn new(done: &'a Done) -> Self {
        let is_well = done.outcome == AttemptOutcome::Succeeded;
        File {
            file: &done.file,
            started_at: done.started(),
            finished_at: done.finished,
            duration_ms: done.duration_ms,
            status: if is_well { "success" } else { "error" },
            outcome: done.outcome,
        }
    }
}

impl<'a> Error<'a> {
    fn new(found: &'a Found) -> Self {
        let error = found.error.as_ref();
        Error {
            file: error.map_or(&found.stem, |error| &error.file),
            path: &found.path,
            timestamp: error.map(|error| error.timestamp),
            exception_type: error.map_or("", |error| &error.exception_type),
            message: error.map_or("", |error| &error.message),
            traceback: error.map_or("", |error| &error.traceback),
            outcome: error.and_then(|error| error.outcome),
            attempts: error.map(|error| error.attempts),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::sample;
    use super::*;

    fn value(sections: Sections) -> Value {
        let dir = tempfile::tempdir().unwrap();
        sample::write(dir.path());
        let mut gatherer = Gatherer::new(dir.path(), sections.need_journals()).unwrap();
        let snapshot = gatherer.look().unwrap();
        let found = errors(dir.path(), &snapshot).unwrap();
        let text = report(&gatherer, &snapshot, &sections, found).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_keys_of_tigerflow_are_there() {
        let value = value(Sections::ALL);
        assert_eq!(value["version"], 1);
        assert_eq!(
            (&value["status"]["running"], &value["status"]["pid"]),
            (&json!(false), &json!(null))
        );
        assert_eq!(value["status"]["state"], "died");
        let pipeline = &value["progress"]["pipeline"];
        let keys = ["finished", "in_progress", "staged", "errored", "known"];
        let numbers: Vec<&Value> = keys.iter().map(|key| &pipeline[key]).collect();
        assert_eq!(json!(numbers), json!([120, 10, null, 3, 150]));
        let task = &value["progress"]["tasks"][1];
        let keys = ["name", "processed", "staged", "failed", "available", "running", "workers"];
        let parts: Vec<&Value> = keys.iter().map(|key| &task[key]).collect();
        assert_eq!(json!(parts), json!(["embed", 120, 8, 1, 130, 0, null]));

        let metrics = &value["metrics"]["fetch"];
        assert_eq!((&metrics["count"], &metrics["min_ms"]), (&json!(130), &json!(3.0)));
        assert_eq!(metrics["durations"].as_array().unwrap().len(), 130);
        assert_eq!(metrics["files"].as_array().unwrap().len(), 132);
        assert_eq!(
            metrics["files"][0],
            json!({
                "file": "0.txt", "started_at": "2026-01-31T09:59:59.999Z",
                "finished_at": "2026-01-31T10:00:00Z", "duration_ms": 1.0, "status": "error",
                "outcome": "failed",
            })
        );
        assert_eq!(metrics["files"][9]["status"], "success");

        assert_eq!(value["errors"]["fetch"].as_array().unwrap().len(), 2);
        let error = &value["errors"]["embed"][0];
        assert!(error["path"].as_str().unwrap().ends_with("/.tigerflow/embed/outputs/0.err"));
        assert_eq!(error["message"], "first\nsecond");
        assert_eq!(error["timestamp"], "2026-01-31T10:00:00Z");
    }

    #[test]
    fn only_what_is_wanted_is_there() {
        let value = value(Sections { errors: true, ..Sections::NONE });
        let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["errors", "version"]);
    }

    #[test]
    fn the_help_tells_every_key() {
        fn check(value: &Value) {
            match value {
                Value::Object(map) => map.iter().for_each(|(key, value)| {
                    let is_task = ["fetch", "embed"].contains(&&**key);
                    assert!(is_task || SHAPE.contains(&format!("\"{key}\"")), "{key}");
                    check(value);
                }),
                Value::Array(all) => all.iter().for_each(check),
                _ => {}
            }
        }
        check(&value(Sections::ALL));
    }
}
