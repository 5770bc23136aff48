//! How an attempt ended: the words that the engine, the executor and the
//! workspace share.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The end of one attempt: of one call of `run` for one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The output was published.
    Succeeded,
    /// The output stood before `run` was called: a worker that was given up has
    /// published it.
    Stood,
    /// The `.err` was published.
    Failed(Failure),
    /// It failed in a way that another attempt, after this time, may mend.
    Retrying(Failure, Duration),
    /// The task declined the file on purpose; the `.err` that was published
    /// gives its reason.
    Aborted(String),
    /// The input was removed before the task could work on it.
    Vanished,
    /// It was cut off by no fault of its own, and is to be made again.
    Interrupted {
        /// By what.
        why: String,
        /// Whether that is known. Where it is not, the file itself is a suspect.
        explained: bool,
    },
}

impl Outcome {
    /// Whether it leaves an output or an `.err`.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Outcome::Succeeded | Outcome::Stood | Outcome::Failed(_) | Outcome::Aborted(_)
        )
    }

    /// In one word. None for a file that is an input no more.
    pub fn in_short(&self) -> Option<AttemptOutcome> {
        Some(match self {
            Outcome::Succeeded | Outcome::Stood => AttemptOutcome::Succeeded,
            Outcome::Failed(failure) if failure.cause == Cause::Timeout => AttemptOutcome::TimedOut,
            Outcome::Failed(_) => AttemptOutcome::Failed,
            Outcome::Aborted(_) => AttemptOutcome::Aborted,
            Outcome::Retrying(..) => AttemptOutcome::Retrying,
            Outcome::Interrupted { .. } => AttemptOutcome::Interrupted,
            Outcome::Vanished => return None,
        })
    }
}

/// How an attempt ended, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptOutcome {
    /// The output was published.
    Succeeded,
    /// The `.err` was published.
    Failed,
    /// The `.err` was published: its time was over.
    TimedOut,
    /// The task declined the file.
    Aborted,
    /// It failed, and is to be made again.
    Retrying,
    /// It was cut off by no fault of its own, and is to be made again.
    Interrupted,
}

/// Why an attempt failed, as the `.err` file tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of end it was.
    pub cause: Cause,
    /// The error's type in the task's own language, or the host's name for a
    /// fault of the guest: `Timeout`, `MemoryLimit`, `Panic`, `Trap`, …
    pub exception_type: String,
    /// One line that a person can act on.
    pub message: String,
    /// Causes or frames, one a line; may be empty.
    pub traceback: String,
    /// The end of what the task wrote to stderr during the attempt.
    pub stderr: String,
}

/// What kind of end a failed attempt had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The task said that the same input will fail again.
    Failed,
    /// The task said that another try may help, perhaps after this time.
    Transient {
        /// How long the task asks to wait.
        retry_after: Option<Duration>,
    },
    /// The guest trapped, panicked, exited or went over a limit.
    Crash,
    /// The attempt ran into `--timeout`.
    Timeout,
}
