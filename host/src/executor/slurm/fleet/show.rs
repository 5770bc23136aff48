//! What people are shown of the workers.

use super::worker::{Phase, Worker};
use super::{Fleet, Level};
use crate::executor::slurm::autoscale::Why;
use crate::executor::slurm::job::{JobId, State};
use crate::executor::slurm::protocol::Seat;
use crate::workspace::progress_file::InFlight;
use std::time::Duration;

pub(super) const INACTIVE: &str = "INACTIVE";

/// What `status` shows of a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerView {
    /// Its name.
    pub seat: Seat,
    /// Its job.
    pub job: Option<JobId>,
    /// Its node, once it runs.
    pub node: String,
    /// How far it is.
    pub phase: Phase,
    /// Slurm's word for its job, and its reason.
    pub state: State,
    /// Why it waits, as Slurm says.
    pub reason: String,
    /// Files that it has ended.
    pub done: u64,
    /// Files that it works on, and that wait with it.
    pub running: usize,
    /// See `running`.
    pub waiting: usize,
    /// Since when it has nothing to do.
    pub idle_since: Option<Duration>,
    /// How much of its wall time is left.
    pub time_left: Option<Duration>,
}

impl Fleet {
    /// Attempts at work, by the workers' last words.
    pub fn at_work(&self) -> (usize, Vec<InFlight>) {
        let running = self.workers.values().map(|w| w.begun).sum();
        let oldest = self.workers.values().flat_map(|w| w.in_flight.iter().cloned()).collect();
        (running, oldest)
    }

    /// Every worker, for `status`.
    pub fn view(&self, now: Duration) -> Vec<WorkerView> {
        let view = |(seat, w): (&Seat, &Worker)| WorkerView {
            seat: *seat,
            job: w.job,
            node: w.hello.node.clone(),
            phase: w.phase,
            state: w.state.clone(),
            reason: w.reason.clone(),
            done: w.done,
            running: w.begun,
            waiting: w.held.len() - w.begun,
            idle_since: w.idle_since,
            time_left: w.time_left.map(|(at, left)| left.saturating_sub(now.saturating_sub(at))),
        };
        self.workers.iter().map(view).collect()
    }

    /// Why there are not more workers, in words.
    pub fn scaling(&self, now: Duration) -> String {
        if self.drained.is_some() {
            return "the run is ending".into();
        }
        if self.unreachable {
            return format!("Slurm does not answer: {}", self.trouble);
        }
        let max = self.settings.limits.max;
        match self.why {
            Why::Enough if self.workers.is_empty() => "nothing to do".into(),
            Why::Enough => "as many workers as the backlog asks for".into(),
            Why::AtMost => format!("--max-workers {max} is reached"),
            Why::AskedOften => "Slurm was asked often enough for now".into(),
            Why::HeldBack if self.submitting.is_some() => "waiting for sbatch".into(),
            Why::HeldBack => {
                let left = self.not_before.saturating_sub(now).as_secs();
                format!("pausing for {left} s after trouble: {}", self.trouble)
            }
        }
    }

    pub(super) fn tell_status(&mut self) {
        let running =
            self.workers.values().filter(|w| w.restart.is_some() && w.over.is_none()).count();
        let pending = self.workers.values().find(|w| w.restart.is_none() && w.job.is_some());
        let status = match (running, pending) {
            (0, None) => INACTIVE.into(),
            (0, Some(worker)) => {
                let reason = if worker.reason.is_empty() { "None" } else { &worker.reason };
                format!("PENDING (Reason: {})", reason)
            }
            (n, _) => format!("ACTIVE ({n} workers)"),
        };
        if status != self.status {
            let before = std::mem::replace(&mut self.status, status);
            self.note(Level::Info, format!("Status changed: {before} -> {}", self.status));
        }
    }
}
