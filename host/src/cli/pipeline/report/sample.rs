//! A made-up pipeline, for tests.

use std::fs;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use crate::pipeline;
use crate::pipeline::progress::{Files, Progress, Started, Task};
use crate::workspace::Layout;
use crate::workspace::progress_file::{InFlight, WorkerState, Workers};

/// When it began.
pub fn began() -> Timestamp {
    "2026-01-31T10:00:00Z".parse().unwrap()
}

/// What it says after 100 seconds.
pub fn progress() -> Progress {
    let time = began() + SignedDuration::from_secs(100);
    let task = |name: &str, parent: Option<&str>, kind: &str, succeeded, failed| Task {
        name: name.into(),
        depends_on: parent.map(str::to_owned),
        kind: kind.into(),
        waiting: 5,
        running: 2,
        retrying: 1,
        succeeded,
        failed,
        aborted: 1,
        in_flight: vec![InFlight {
            file: format!("{name}\n{}.txt", "long-name-".repeat(9)),
            since: time - SignedDuration::from_secs(10),
            fraction: Some(0.5),
        }],
        workers: None,
    };
    let mut progress = Progress {
        run: Started {
            time: began(),
            host: "node1".into(),
            pid: u32::MAX - 1,
            detached: true,
            config: "conf.yaml".into(),
            input_dir: "/data/in".into(),
            input_ext: ".txt".into(),
            finished_before: 20,
        },
        time,
        ended: None,
        stopping: false,
        files: Files {
            waiting: 10,
            staged: 5,
            in_progress: 10,
            finished: 120,
            failed: 3,
            aborted: 2,
        },
        tasks: vec![
            task("fetch", None, "local_async", 130, 2),
            task("embed", Some("fetch"), "slurm", 120, 1),
        ],
    };
    let worker = |name: &str, node: &str| WorkerState {
        worker: name.into(),
        job: "12".into(),
        node: node.into(),
        state: "working".into(),
        reason: String::new(),
        done: 1,
        running: 1,
        waiting: 0,
        idle_since: None,
        seconds_left: None,
    };
    progress.tasks[1].workers = Some(Workers {
        scaling: "--max-workers 3 is reached".into(),
        all: vec![worker("0-0", "a"), worker("1-0", "b"), worker("2-0", "")],
        logs: "/logs".into(),
    });
    progress
}

/// Writes it into an output directory: one attempt a second of each task.
pub fn write(output_dir: &Path) {
    let progress = progress();
    let layout = pipeline::layout(output_dir);
    fs::create_dir_all(layout.root()).unwrap();
    progress.write(&layout.progress()).unwrap();
    for task in &progress.tasks {
        let layout = Layout::new(output_dir, &task.name);
        let outputs = pipeline::places::outputs(output_dir, &task.name);
        fs::create_dir_all(&outputs).unwrap();
        let mut journal = String::new();
        for i in 0..task.succeeded + task.failed {
            let outcome = if i < task.failed { "failed" } else { "succeeded" };
            let time = began() + SignedDuration::from_secs(i as i64);
            let name = format!("{i}.txt");
            journal += &format!(
                concat!(
                    r#"{{"event":"attempt","time":"{}","file":"{}","attempt":1,"#,
                    r#""outcome":"{}","duration_ms":{},"instance":0}}"#
                ),
                time,
                name,
                outcome,
                i + 1
            );
            journal.push('\n');
            if i < task.failed {
                let error = serde_json::json!({
                    "file": format!("/data/in/{name}"), "timestamp": time, "outcome": "failed",
                    "exception_type": "ValueError", "message": "first\nsecond",
                    "traceback": "frames", "attempts": 2,
                });
                fs::write(outputs.join(format!("{i}.err")), error.to_string()).unwrap();
            }
        }
        fs::write(layout.journal(), journal).unwrap();
    }
}
