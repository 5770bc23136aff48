//! Pipelines: several tasks at work as one, each file going down a tree of them.
//!
//! The parts: [`config`] is what users write, and whether it makes sense; [`inbox`]
//! the inputs that wait, with the steps of [`staging`]; [`tracker`] where each file is
//! in the tree, and pure; [`places`] where files lie; [`lists`] which were taken, and
//! which are done with. [`dispatch`] is the one loop that drives them and the tasks.
//!
//! ```text
//! OUTPUT_DIR/
//!   TASK/NAME.json, NAME.err     what users see
//!   .tigerflow/.pipeline/        the pipeline's own workspace: lock, journal.jsonl,
//!     finished, staged             run.json, run.log, stop; what is done with, and taken
//!   .tigerflow/TASK/             a task's workspace, as that of a run
//!     outputs/                     what it made of files that are not finished
//! ```
//!
//! A file's end is in this order, so that a crash at any point loses nothing: its
//! outputs stand where users see them; it is on the list; its intermediates go; with
//! `--delete-input`, what was written is synced, and its input goes.

pub mod config;
pub mod dispatch;
pub mod graph;
pub mod inbox;
mod lens;
pub mod lists;
pub mod places;
pub mod progress;
pub mod removal;
mod setup_commands;
pub mod staging;
pub mod tracker;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::dispatch::execute;

use self::staging::Staging;
use self::tracker::Tree;
use crate::run::{Plan, RunError};
use crate::schedule::Mode;
use crate::workspace::Layout;
use crate::workspace::names::Extension;

/// The pipeline's own workspace. No task has such a name.
pub const WORKSPACE: &str = ".pipeline";

/// Most files in a pipeline at a time, where no step says: they bound what waits
/// between tasks, on disk and in memory.
pub const MAX_STAGED: usize = 10_000;

/// The pipeline's own workspace in this output directory.
pub fn layout(output_dir: &Path) -> Layout {
    Layout::new(output_dir, WORKSPACE)
}

/// What a pipeline will do, with every check made.
#[derive(Debug)]
pub struct PipelinePlan {
    /// The configuration's path.
    pub config: PathBuf,
    /// Where inputs are.
    pub input_dir: PathBuf,
    /// What their names end in.
    pub input_ext: Extension,
    /// Where outputs go.
    pub output_dir: PathBuf,
    /// The tasks, parents before their children.
    pub tasks: Vec<TaskPlan>,
    /// Their tree.
    pub tree: Tree,
    /// Steps that choose among inputs, if there are any.
    pub staging: Option<Staging>,
    /// Most files in the pipeline.
    pub max_staged: usize,
    /// Whether a step limits how many are taken in a cycle.
    pub in_batches: bool,
    /// When it ends.
    pub mode: Mode,
    /// How long an input must be unchanged before it is taken.
    pub settle: Duration,
    /// How often to look at a directory that sends no events, and to ask steps again.
    pub poll: Duration,
    /// Whether links may lead out of the input directory.
    pub follow_links: bool,
    /// Whether inputs are deleted once they are finished.
    pub delete_input: bool,
    /// Whether to go on without the terminal once it has begun.
    pub detached: bool,
}

/// What a task of a pipeline will do.
#[derive(Debug)]
pub struct TaskPlan {
    /// Its name.
    pub name: String,
    /// `local`, `local_async` or `slurm`.
    pub kind: &'static str,
    /// Whether its outputs are kept for the user.
    pub keep_output: bool,
    /// Shell commands to run here before it starts.
    pub setup_commands: Vec<String>,
    /// What it does with a file.
    pub plan: Plan,
}

/// Why a pipeline could not begin, or go on.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A task could not begin.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The same, and which it was.
    #[error("task `{task}`: {cause}")]
    Task {
        /// The task.
        task: String,
        /// Why.
        cause: RunError,
    },
    /// Something in the output directory is out of reach.
    #[error("failed to {action} `{}`: {cause}{}", path.display(), crate::workspace::advice(cause))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// An output could not be put where users see it.
    #[error("failed to keep `{}`: {cause}{advice}", path.display())]
    Show {
        /// Where.
        path: PathBuf,
        /// What to do about it.
        advice: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// A component of a staging step does not start.
    #[error("{0}")]
    Staging(String),
    /// It cannot go on, for another reason.
    #[error("{0}")]
    Stuck(String),
}

impl PipelineError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PipelineError {
        let path = path.to_path_buf();
        move |cause| PipelineError::Io { action, path, cause }
    }
}
