//! A run: finds files, hands them out, records what comes of them.
//!
//! One dispatcher talks to everything outside in one loop, and asks the
//! scheduler what to do about it.

pub mod detach;
pub mod dispatch;
pub mod display;
pub mod open_files;
pub mod plan;
pub mod signals;
pub mod task_run;
pub mod worker;

use std::io;

pub use self::dispatch::execute;
pub use self::plan::Plan;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is done, and no file failed.
    Done,
    /// All is done, and some files failed.
    SomeFailed,
    /// `setup` failed.
    SetupFailed,
    /// The host failed.
    HostFailed,
    /// A signal ended it.
    Signal(i32),
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::HostFailed => 1,
            Exit::SomeFailed => 3,
            Exit::SetupFailed => 4,
            Exit::Signal(signal) => 128 + signal as u8,
        }
    }
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The workspace could not be had.
    #[error(transparent)]
    Workspace(#[from] crate::workspace::Error),
    /// A label could not be had.
    #[error(transparent)]
    Label(#[from] crate::executor::gate::LabelError),
    /// A directory could not be listed.
    #[error("failed to list `{}` or `{}`: {cause}", input.display(), output.display())]
    Scan {
        /// The input directory.
        input: std::path::PathBuf,
        /// The output directory.
        output: std::path::PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The workers could not be had.
    #[error(transparent)]
    Slurm(#[from] crate::executor::slurm::SlurmError),
    /// Workers of an earlier run may be at work here.
    #[error(
        "workers of an earlier run may be at work here, in the Slurm jobs {jobs}: run with --executor \
         slurm to go on with them, or end them with `tigerflow-host stop {}`",
        output_dir.display()
    )]
    Unfinished {
        /// Their jobs.
        jobs: String,
        /// The output directory.
        output_dir: std::path::PathBuf,
    },
    /// A worker cannot work here.
    #[error("{0}")]
    Worker(String),
    /// The process could not be set up.
    #[error("failed to {action}: {cause}")]
    Process {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        cause: io::Error,
    },
}
