//! `run.json` of a pipeline: how far it is, for `report`. Replaced as a whole,
//! every second while there is news and once at the end.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::workspace::progress_file::{self, Ended, InFlight, Workers};

/// How far a pipeline is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What it was started with.
    pub run: Started,
    /// When this was written.
    pub time: Timestamp,
    /// When it ended in good order, and with what exit code.
    pub ended: Option<Ended>,
    /// Whether it was told to stop, and finishes what is in flight.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
    /// Its files.
    pub files: Files,
    /// Its tasks, in the order of the tree: a parent before its children.
    pub tasks: Vec<Task>,
}

/// What a pipeline was started with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// When.
    pub time: Timestamp,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Whether it has no terminal: its log is in the workspace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
    /// The configuration's path.
    pub config: String,
    /// Where its inputs are.
    pub input_dir: String,
    /// What their names end in.
    pub input_ext: String,
    /// Files that were finished when it started.
    pub finished_before: usize,
}

/// How many files are where. Each is in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Known, and not staged.
    pub waiting: usize,
    /// Staged, and no task is done with them.
    pub staged: usize,
    /// Staged, and some task is done with them.
    pub in_progress: usize,
    /// All leaf tasks have them: in this run and in earlier ones.
    pub finished: usize,
    /// Some task failed on them, and nothing more can be done for them in this run.
    pub failed: usize,
    /// Some task declined them, none failed, and there is nothing more to do.
    pub aborted: usize,
}

/// How far a task is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Its parent.
    pub depends_on: Option<String>,
    /// `local`, `local_async` or `slurm`.
    pub kind: String,
    /// Files that it has and has not begun.
    pub waiting: usize,
    /// Attempts at work.
    pub running: usize,
    /// Files that wait for their next attempt.
    pub retrying: usize,
    /// Files that it has made its output of, in this run and in earlier ones.
    pub succeeded: usize,
    /// Files that it failed on, a time limit included.
    pub failed: usize,
    /// Files that it declined.
    pub aborted: usize,
    /// Attempts at work, oldest first, and not more than a hundred.
    pub in_flight: Vec<InFlight>,
    /// Its workers on a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<Workers>,
}

impl Progress {
    /// Replaces the file at `path`.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        progress_file::replace(path, self)
    }

    /// Reads the file at `path`.
    pub fn read(path: &Path) -> io::Result<Self> {
        progress_file::read(path)
    }
}
