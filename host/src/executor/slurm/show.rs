//! What `status` and the progress bar show of workers.

use jiff::{SignedDuration, Timestamp};

use super::SlurmExecutor;
use super::fleet::{Phase, WorkerView};
use crate::executor::local::{AtWork, SHOWN};
use crate::workspace::progress_file::{WorkerState, Workers};

impl SlurmExecutor {
    /// What is in flight, by the workers' last words.
    pub fn at_work(&self) -> AtWork {
        let (running, mut oldest) = self.fleet.at_work();
        oldest.sort_by_key(|attempt| attempt.since);
        oldest.truncate(SHOWN);
        AtWork { running, oldest }
    }

    /// The workers, for `status`.
    pub fn workers(&self) -> Workers {
        let now = self.now();
        let moment = Timestamp::now();
        let state = |w: WorkerView| WorkerState {
            worker: w.seat.to_string(),
            job: w.job.map(|job| job.to_string()).unwrap_or_default(),
            node: w.node,
            state: match w.phase {
                Phase::Asked => "submitting".into(),
                Phase::Pending => w.state.to_string().to_lowercase(),
                Phase::Starting => "setting up".into(),
                Phase::Ready if w.idle_since.is_some() => "idle".into(),
                Phase::Ready => "working".into(),
                Phase::Leaving => "leaving".into(),
            },
            reason: if w.phase == Phase::Pending { w.reason } else { String::new() },
            done: w.done,
            running: w.running,
            waiting: w.waiting,
            idle_since: w.idle_since.map(|since| {
                moment - SignedDuration::try_from(now.saturating_sub(since)).unwrap_or_default()
            }),
            seconds_left: w.time_left.map(|left| left.as_secs()),
        };
        Workers {
            scaling: self.fleet.scaling(now),
            all: self.fleet.view(now).into_iter().map(state).collect(),
            logs: self.dir.workers().display().to_string(),
        }
    }
}
