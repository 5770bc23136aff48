//! Carries out what the scheduler decides: makes attempts, publishes what comes
//! of them, and reports.

mod attempt;
mod concurrent;
pub mod gate;
pub mod local;
mod slot;

use std::ffi::OsString;
use std::time::Duration;

use crate::engine::SetupError;
use crate::outcome::{Failure, Outcome};
use crate::workspace::catalog::FileId;

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
}

/// What an executor has to tell.
#[derive(Debug)]
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
#[derive(Debug)]
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
}
