//! What is said of a pipeline in words.

use super::figures::span;
use super::gather::{Snapshot, State};
use crate::log::local_time;
use crate::workspace::progress_file::Workers;

/// Whether the pipeline is at work, in words.
pub fn state(snapshot: &Snapshot) -> String {
    let owner = &snapshot.owner;
    let since = local_time(owner.since);
    let process = format!("process {} on {}, since {since}", owner.pid, owner.host);
    let ended = snapshot.progress.as_ref().and_then(|progress| progress.ended);
    match (snapshot.state, ended) {
        (State::Running, _) if snapshot.progress.is_none() => format!("starting: {process}"),
        (State::Running, _) if snapshot.is_stopping() => format!("stopping: {process}"),
        (State::Running, _) => format!("running: {process} ({})", span(snapshot.seconds)),
        (_, Some(end)) => {
            let (code, meaning) = (end.exit_code, meaning(end.exit_code));
            let time = local_time(end.time);
            format!("ended {time} with exit code {code}: {meaning}")
        }
        (..) => format!("died: {process}; run the same command again to go on"),
    }
}

fn meaning(exit_code: u8) -> String {
    match exit_code {
        0 => "all done".into(),
        1 => "the host failed".into(),
        2 => "it could not be started".into(),
        3 => "done, some files failed".into(),
        4 => "a task's `setup` failed".into(),
        128.. => format!("ended by signal {}", exit_code - 128),
        _ => "see its log".into(),
    }
}

/// How far the pipeline is, in one line.
pub fn in_a_line(snapshot: &Snapshot) -> String {
    let Some(progress) = &snapshot.progress else { return "starting".into() };
    let files = &progress.files;
    let mut line =
        format!("{} of {} finished, {} failed", files.finished, snapshot.known(), files.failed);
    if let Some(left) = snapshot.speed.seconds_left {
        line.push_str(&format!(", about {} left", span(left)));
    }
    line
}

/// How many workers have said a word, and how many are awaited.
pub fn running_and_pending(workers: &Workers) -> (usize, usize) {
    let running = workers.all.iter().filter(|worker| !worker.node.is_empty()).count();
    (running, workers.all.len() - running)
}
