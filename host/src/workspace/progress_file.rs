//! `run.json`: how far the run is, for `status`. Replaced as a whole, every few
//! seconds while there is work and once at the end.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::journal::RunStarted;

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What the run found when it began.
    pub run: RunStarted,
    /// When this was written.
    pub time: Timestamp,
    /// When the run ended in good order, and with what exit code.
    pub ended: Option<Ended>,
    /// What was done since.
    pub counts: Counts,
    /// Inputs known and not begun.
    pub waiting: usize,
    /// Attempts at work, oldest first.
    pub in_flight: Vec<InFlight>,
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub time: Timestamp,
    /// The exit code.
    pub exit_code: u8,
}

/// Attempts that ended in this run, by how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Outputs published.
    pub done: usize,
    /// `.err` files published.
    pub failed: usize,
    /// Files that the task declined.
    pub aborted: usize,
}

impl Counts {
    /// All attempts that ended.
    pub fn total(&self) -> usize {
        self.done + self.failed + self.aborted
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
        let temporary = path.with_extension("json.new");
        fs::write(&temporary, serde_json::to_vec_pretty(self)?)?;
        fs::rename(&temporary, path)
    }

    /// Reads the file at `path`.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }
}
