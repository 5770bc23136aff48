//! Carries out what the scheduler decides: makes attempts, publishes what comes
//! of them, and reports.

mod attempt;
mod commit;
mod concurrent;
pub mod gate;
pub mod local;
mod slot;
pub mod slurm;

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use jiff::Timestamp;

use self::local::{AtWork, LocalExecutor};
use self::slurm::SlurmExecutor;

use crate::engine::SetupError;
use crate::outcome::{AttemptOutcome, Failure, Outcome};
use crate::workspace::catalog::FileId;
use crate::workspace::journal::{Attempt, shorten};

/// A file to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number in the catalog.
    pub id: FileId,
    /// Its name.
    pub name: OsString,
    /// Attempts made before, in this run and in earlier ones.
    pub attempts_before: u32,
    /// How many of them were retries of this run.
    pub retries: u32,
    /// How many attempts of this run in a row were cut off, nobody knows by what.
    pub interruptions: u32,
    /// Whether it is a symbolic link, which the host opens for the guest.
    pub link: bool,
    /// Whether a worker that was given up may publish its output.
    pub contested: bool,
}

impl Job {
    /// The number of a file that nobody waits for.
    pub const NOBODYS: FileId = FileId(u32::MAX);

    /// Whether it failed in an earlier run, whose `.err` stands.
    pub fn has_error(&self) -> bool {
        self.attempts_before > self.retries
    }

    /// A file of this name that nobody waits for.
    pub fn nobodys(name: OsString) -> Self {
        Job {
            id: Self::NOBODYS,
            name,
            attempts_before: 0,
            retries: 0,
            interruptions: 0,
            link: false,
            contested: false,
        }
    }
}

/// What an executor has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// An instance was set up.
    SetupWorked,
    /// An instance was not set up. Its job, if it had one already, is handed
    /// back beside.
    SetupFailed(SetupError),
    /// An attempt was made, and its outcome published where it is final.
    Ended(Ended),
    /// A job was not worked on, and is still to do.
    HandedBack(FileId),
    /// `teardown` of an instance failed.
    TeardownFailed(Failure),
    /// Something failed that goes for every file.
    HostFailed(String),
}

/// An attempt that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// The file.
    pub id: FileId,
    /// How it ended.
    pub outcome: Outcome,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// How long it took.
    pub duration: Duration,
    /// The slot that made it.
    pub slot: u32,
    /// The worker that made it, where that is not this process.
    pub origin: Option<Origin>,
}

impl Ended {
    /// As the journal has it. `file`: its name, for people.
    pub fn record(&self, file: String, outcome: AttemptOutcome) -> Attempt {
        let (exception_type, message) = match &self.outcome {
            Outcome::Failed(f) | Outcome::Retrying(f, _) => {
                (Some(f.exception_type.clone()), Some(shorten(&f.message)))
            }
            Outcome::Aborted(reason) | Outcome::Interrupted { why: reason, .. } => {
                (None, Some(shorten(reason)))
            }
            Outcome::Stood => (None, Some("published by another worker meanwhile".into())),
            Outcome::Succeeded | Outcome::Vanished => (None, None),
        };
        let retry_after_seconds = match &self.outcome {
            Outcome::Retrying(_, after) => Some((after.as_secs_f64() * 1e3).round() / 1e3),
            _ => None,
        };
        Attempt {
            time: Timestamp::now(),
            file,
            attempt: self.attempt,
            outcome,
            retry_after_seconds,
            duration_ms: (self.duration.as_secs_f64() * 1e6).round() / 1e3,
            instance: self.slot,
            worker: self.origin.as_ref().map(|origin| origin.worker.clone()),
            of_earlier_run: false,
            exception_type,
            message,
        }
    }
}

/// Which worker it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its name.
    pub worker: String,
    /// Its Slurm job.
    pub job: String,
    /// Its node.
    pub node: String,
}

/// Who carries it out.
pub enum Executor {
    /// Instances in this process.
    Local(Box<LocalExecutor>),
    /// Workers in Slurm jobs.
    Slurm(Box<SlurmExecutor>),
}

/// What an executor that leaves at once leaves behind.
#[derive(Debug, Default)]
pub struct LeftBehind {
    /// Attempts that were in flight.
    pub in_flight: Vec<Ended>,
    /// Files that were not begun.
    pub not_begun: Vec<FileId>,
}

impl Executor {
    /// Takes a job.
    pub fn hand_out(&mut self, job: Job) {
        match self {
            Executor::Local(local) => local.hand_out(job),
            Executor::Slurm(slurm) => slurm.hand_out(job),
        }
    }

    /// Gets ready for what there is to do: `held` files that it was given, and
    /// `waiting` ones that it was not.
    pub fn prepare(&mut self, held: usize, waiting: usize) -> io::Result<()> {
        match self {
            Executor::Local(local) => local.ensure_slots(held),
            Executor::Slurm(slurm) => {
                slurm.set_waiting(waiting);
                Ok(())
            }
        }
    }

    /// Shows whether the task works at all, where that costs nothing.
    pub fn rehearse(&mut self) -> io::Result<()> {
        match self {
            Executor::Local(local) => local.ensure_slots(1),
            Executor::Slurm(_) => Ok(()),
        }
    }

    /// Takes no more jobs, and hands back those that were not begun.
    pub fn drain(&mut self) {
        match self {
            Executor::Local(local) => local.drain(),
            Executor::Slurm(slurm) => slurm.drain(),
        }
    }

    /// Waits until there is something to tell. Nothing is lost if it is not
    /// waited for to the end.
    pub async fn wait(&mut self) {
        match self {
            Executor::Local(local) => local.wait().await,
            Executor::Slurm(slurm) => slurm.wait().await,
        }
    }

    /// Takes the reports that there are.
    pub fn take_reports(&mut self) -> Vec<Report> {
        match self {
            Executor::Local(local) => local.take_reports(),
            Executor::Slurm(slurm) => slurm.take_reports(),
        }
    }

    /// What is in flight.
    pub fn at_work(&self) -> AtWork {
        match self {
            Executor::Local(local) => local.at_work(),
            Executor::Slurm(slurm) => slurm.at_work(),
        }
    }

    /// Leaves at once.
    pub fn abandon(&mut self) -> LeftBehind {
        match self {
            Executor::Local(local) => {
                LeftBehind { in_flight: local.cut_off(), not_begun: Vec::new() }
            }
            Executor::Slurm(slurm) => slurm.abandon(),
        }
    }

    /// Waits until nothing of it is left. The last reports are there then. Call
    /// [`drain`](Self::drain) before.
    pub async fn ended(&mut self) {
        match self {
            Executor::Local(local) => local.ended().await,
            Executor::Slurm(slurm) => slurm.ended().await,
        }
    }
}
