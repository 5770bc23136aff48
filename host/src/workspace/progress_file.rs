//! `run.json`: how far the run is, for `status`. Replaced as a whole, every few
//! seconds while there is work and once at the end.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::journal::{AttemptOutcome, RunStarted};

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What the run found when it began.
    pub run: RunStarted,
    /// When this was written.
    pub time: Timestamp,
    /// When the run ended in good order, and with what exit code.
    pub ended: Option<Ended>,
    /// Whether it was told to stop, and finishes what is in flight.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
    /// What was done since.
    pub counts: Counts,
    /// Inputs known and not begun.
    pub waiting: usize,
    /// Inputs that wait for their next attempt.
    #[serde(default)]
    pub retrying: usize,
    /// How many attempts are at work.
    #[serde(default)]
    pub running: usize,
    /// The attempts at work, oldest first, and not more than a hundred.
    pub in_flight: Vec<InFlight>,
    /// The workers on a cluster, where there are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<Workers>,
}

/// Workers on a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workers {
    /// Why there are not more.
    pub scaling: String,
    /// Each of them.
    pub all: Vec<WorkerState>,
    /// The directory of their logs.
    pub logs: String,
}

/// A worker on a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerState {
    /// Its name, which its log bears.
    pub worker: String,
    /// Its Slurm job.
    pub job: String,
    /// Its node, once it has one.
    pub node: String,
    /// What it is at.
    pub state: String,
    /// Why it waits in Slurm's queue.
    pub reason: String,
    /// Attempts that it has ended.
    pub done: u64,
    /// Attempts that it is at.
    pub running: usize,
    /// Files that wait with it.
    pub waiting: usize,
    /// Since when it has nothing to do.
    pub idle_since: Option<Timestamp>,
    /// How much of its wall time is left, in seconds.
    pub seconds_left: Option<u64>,
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub time: Timestamp,
    /// The exit code.
    pub exit_code: u8,
}

/// Files whose outcome this run has settled, and attempts that settled none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Outputs published.
    pub succeeded: usize,
    /// `.err` files published.
    pub failed: usize,
    /// `.err` files published because the time was over.
    #[serde(default)]
    pub timed_out: usize,
    /// Files that the task declined.
    pub aborted: usize,
    /// Attempts that failed and were, or are to be, made again.
    #[serde(default)]
    pub retries: usize,
    /// Attempts that were cut off by no fault of their own.
    #[serde(default)]
    pub interrupted: usize,
}

impl Counts {
    /// All files whose outcome is settled.
    pub fn total(&self) -> usize {
        self.succeeded + self.not_well() + self.aborted
    }

    /// The files that failed, in whatever way.
    pub fn not_well(&self) -> usize {
        self.failed + self.timed_out
    }

    /// Counts an attempt.
    pub fn add(&mut self, outcome: AttemptOutcome) {
        *match outcome {
            AttemptOutcome::Succeeded => &mut self.succeeded,
            AttemptOutcome::Failed => &mut self.failed,
            AttemptOutcome::TimedOut => &mut self.timed_out,
            AttemptOutcome::Aborted => &mut self.aborted,
            AttemptOutcome::Retrying => &mut self.retries,
            AttemptOutcome::Interrupted => &mut self.interrupted,
        } += 1;
    }
}

/// An attempt at work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InFlight {
    /// The input's name.
    pub file: String,
    /// When the attempt began.
    pub since: Timestamp,
    /// How far it is, from 0 to 1, where the task says so.
    pub fraction: Option<f64>,
}

impl Progress {
    /// Replaces the file at `path`.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        replace(path, self)
    }

    /// Reads the file at `path`.
    pub fn read(path: &Path) -> io::Result<Self> {
        read(path)
    }
}

/// Replaces the file at `path` by one that says this.
pub fn replace(path: &Path, what: &impl Serialize) -> io::Result<()> {
    let temporary = path.with_extension("json.new");
    fs::write(&temporary, serde_json::to_vec_pretty(what)?)?;
    fs::rename(&temporary, path)
}

/// Reads what [`replace`] wrote.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}
