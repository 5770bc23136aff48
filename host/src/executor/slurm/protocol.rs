//! What coordinator and workers say to each other, and the files that they say
//! it in.
//!
//! ```text
//! OUTPUT_DIR/.tigerflow/TASK/slurm/RUN/
//!   pulse                  the coordinator lives
//!   workers/3-0.log        what the job prints
//!   workers/3-0.reports    what the worker says
//!   workers/3-0.orders     what the coordinator says to it
//!   workers/3-0.1.reports  the same job, after Slurm requeued it
//! ```
//!
//! Each file has one writer, who appends whole lines of JSON. So nobody locks,
//! and a reader needs to know only how far it has read.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::job::JobId;
use crate::engine::SetupError;
use crate::outcome::{Failure, Outcome};
use crate::workspace::progress_file::InFlight;

/// A place for a worker: one job, or one element of an array of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seat {
    /// Which submission of the run it came with, from 1.
    pub submission: u32,
    /// Which job of that, from 0.
    pub index: u32,
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.submission, self.index)
    }
}

/// A worker: what runs in a seat between two requeues. Each is another process,
/// perhaps beside one before it of which Slurm only believes that it is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct WorkerName {
    /// Its seat.
    pub seat: Seat,
    /// How often Slurm had requeued the job before.
    pub restart: u32,
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.restart {
            0 => write!(f, "{}", self.seat),
            n => write!(f, "{}.{n}", self.seat),
        }
    }
}

impl From<WorkerName> for String {
    fn from(name: WorkerName) -> String {
        name.to_string()
    }
}

impl TryFrom<String> for WorkerName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for WorkerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (seat, restart) = text.split_once('.').unwrap_or((text, "0"));
            let (submission, index) = seat.split_once('-')?;
            let seat = Seat { submission: submission.parse().ok()?, index: index.parse().ok()? };
            Some(WorkerName { seat, restart: restart.parse().ok()? })
        };
        parse().ok_or_else(|| format!("`{text}` is no name of a worker"))
    }
}

/// A file's name, which need not be UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FileName {
    /// The usual.
    Text(String),
    /// Any other.
    Bytes(Vec<u8>),
}

impl From<&OsStr> for FileName {
    fn from(name: &OsStr) -> Self {
        match name.to_str() {
            Some(text) => FileName::Text(text.into()),
            None => FileName::Bytes(name.as_bytes().into()),
        }
    }
}

impl From<FileName> for OsString {
    fn from(name: FileName) -> Self {
        match name {
            FileName::Text(text) => text.into(),
            FileName::Bytes(bytes) => OsString::from_vec(bytes),
        }
    }
}

/// A file for a worker to work on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Its number among all that this worker is given, from 0.
    pub seq: u32,
    /// The input's name.
    pub name: FileName,
    /// Attempts made before, in this run and in earlier ones.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts_before: u32,
    /// How many of them were retries of this run.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// How many attempts of this run in a row were cut off, nobody knows by what.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interruptions: u32,
    /// Whether it is a symbolic link.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub link: bool,
    /// Whether it is to run with nothing beside it, as it may kill its worker.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// Whether another worker may have published its output meanwhile.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contested: bool,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What the coordinator says to a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Work on these, in this order.
    Take(Vec<Assignment>),
    /// Give back so many at most that are not begun, the last ones first.
    HandBack(usize),
    /// Whether to stay where there is nothing to do.
    Stay(bool),
    /// Finish what is begun, give back the rest, and go.
    Leave,
    /// Stop at once and publish nothing more: others have the files now.
    Dismissed,
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Saying {
    /// It has started.
    Hello(Box<Hello>),
    /// An instance was set up.
    SetupWorked,
    /// An instance was not set up.
    SetupFailed(SetupError),
    /// An attempt begins.
    Begun(u32),
    /// An attempt was made, and its outcome published where it is final.
    Ended(Ended),
    /// These were not begun, and will not be.
    HandedBack(Vec<u32>),
    /// `teardown` of an instance failed.
    TeardownFailed(Failure),
    /// Something failed that goes for every file, on this node at least.
    HostFailed(String),
    /// It lives.
    Beat(Beat),
    /// It takes no more files.
    Leaving {
        /// Why.
        why: String,
        /// Whether Slurm has told it to: by a signal.
        told_by_slurm: bool,
    },
    /// It is gone, in good order.
    Bye,
}

/// How a worker introduces itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The job that it runs in.
    pub job: Option<JobId>,
    /// Its node, by Slurm's name.
    pub node: String,
    /// Its process there.
    pub pid: u32,
    /// The plan that it works by.
    pub plan: String,
    /// The CPUs that Slurm gave it, where it says so.
    pub cpus: Option<u32>,
    /// The GPUs that Slurm gave it, as `CUDA_VISIBLE_DEVICES` says.
    pub gpus: Option<String>,
    /// Setup commands that failed: their number, from 1, and exit code.
    #[serde(default)]
    pub setup_failures: Vec<(u32, i32)>,
}

/// An attempt that a worker made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Which file.
    pub seq: u32,
    /// How it ended. Tracebacks are in the `.err` only.
    pub outcome: Outcome,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// How long it took.
    pub duration: Duration,
    /// The slot that made it.
    pub slot: u32,
}

/// A sign of life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    /// The attempts at work, oldest first, and not all if there are many.
    pub in_flight: Vec<InFlight>,
}

/// Where the files of a run lie.
#[derive(Clone, Debug)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// The one at this path.
    pub fn new(root: PathBuf) -> Self {
        RunDir { root }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The directory of the workers' files.
    pub fn workers(&self) -> PathBuf {
        self.root.join("workers")
    }

    /// What a job prints.
    pub fn log(&self, seat: Seat) -> PathBuf {
        self.workers().join(format!("{seat}.log"))
    }

    /// What the coordinator says to a worker.
    pub fn orders(&self, worker: WorkerName) -> PathBuf {
        self.workers().join(format!("{worker}.{ORDERS}"))
    }

    /// What a worker says.
    pub fn reports(&self, worker: WorkerName) -> PathBuf {
        self.workers().join(format!("{worker}.{REPORTS}"))
    }

    /// The workers that have begun to say something.
    pub fn introduced(&self) -> std::io::Result<Vec<WorkerName>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.workers())? {
            let name = entry?.file_name();
            let name = name.to_str().and_then(|n| n.strip_suffix(REPORTS)?.strip_suffix('.'));
            found.extend(name.and_then(|n| n.parse::<WorkerName>().ok()));
        }
        Ok(found)
    }

    /// Where workers write what is not published yet.
    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// What shows that the coordinator lives.
    pub fn pulse(&self) -> PathBuf {
        self.root.join("pulse")
    }

    /// Where compiled components are kept, one for each kind of CPU. Later runs
    /// find them there, too.
    pub fn cache(&self) -> PathBuf {
        self.root.with_file_name("compiled")
    }

    /// The plan of this digest.
    pub fn plan(&self, digest: &str) -> PathBuf {
        self.root.join(format!("plan-{digest}.json"))
    }

    /// What the coordinator must remember.
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger.jsonl")
    }
}

const ORDERS: &str = "orders";
const REPORTS: &str = "reports";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_have_names() {
        for text in ["3-0", "12-7.2"] {
            assert_eq!(text.parse::<WorkerName>().unwrap().to_string(), text);
        }
        for text in ["", "3", "3-", "3-0.", "a-b", "3-0.x", "3-0.reports"] {
            assert!(text.parse::<WorkerName>().is_err(), "{text}");
        }
    }

    #[test]
    fn any_name_of_a_file_comes_through() {
        for name in [OsString::from("größe 1.txt"), OsString::from_vec(vec![b'a', 0xff, b'\n'])] {
            let line = serde_json::to_string(&FileName::from(&*name)).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(OsString::from(serde_json::from_str::<FileName>(&line).unwrap()), name);
        }
    }
}
