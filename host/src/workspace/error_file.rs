//! The `.err` file: why an input failed, as JSON that people and programs read.
//!
//! The first five keys are TigerFlow's.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::catalog::State;
use crate::outcome::AttemptOutcome;

/// The exception type of a file that the task declined.
pub const ABORTED: &str = "Aborted";

/// A larger `.err` is none of ours, in bytes.
const SIZE_LIMIT: u64 = 1 << 20;

/// What an `.err` file holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorFile {
    /// The input's path on the host.
    pub file: String,
    /// When the last attempt ended.
    pub timestamp: Timestamp,
    /// How the file ended. The exception type is the task's own word.
    #[serde(default)]
    pub outcome: Option<AttemptOutcome>,
    /// The error's type.
    pub exception_type: String,
    /// One line that a person can act on.
    pub message: String,
    /// Causes or frames, one a line.
    pub traceback: String,
    /// How many attempts were made.
    #[serde(default = "one")]
    pub attempts: u32,
    /// How long the last attempt took, in seconds.
    #[serde(default)]
    pub duration_seconds: f64,
    /// The end of what the last attempt wrote to stderr.
    #[serde(default)]
    pub stderr: String,
    /// The component at work.
    #[serde(default)]
    pub task: TaskIdentity,
}

impl ErrorFile {
    /// As it stands in the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut content = serde_json::to_vec_pretty(self).expect("an error is plain data");
        content.push(b'\n');
        content
    }
}

/// Which component it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskIdentity {
    /// The task's name in its description.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
}

/// What the next run needs to know of an `.err` that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The state that it left the file in.
    pub state: State,
    /// How many attempts were made so far.
    pub attempts: u32,
}

/// Reads an `.err`. One that cannot be read, or was written by another
/// program, counts as a failure after one attempt.
pub fn read_verdict(path: &Path) -> Verdict {
    match read(path) {
        Ok(error) => {
            let state = error.outcome.map_or(State::Failed, State::from);
            // Whoever wrote it has made one.
            Verdict { state, attempts: error.attempts.max(1) }
        }
        Err(_) => Verdict { state: State::Failed, attempts: 1 },
    }
}

fn read(path: &Path) -> io::Result<ErrorFile> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(SIZE_LIMIT).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tasks_own_word_decides_nothing() {
        let verdict = |outcome: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            let error = format!(
                r#"{{"file": "a", "timestamp": "2026-01-31T10:54:23Z", {outcome}
                    "exception_type": "Aborted", "message": "", "traceback": "", "attempts": 4}}"#
            );
            std::fs::write(file.path(), error).unwrap();
            read_verdict(file.path())
        };
        assert_eq!(verdict(""), Verdict { state: State::Failed, attempts: 4 });
        assert_eq!(verdict(r#""outcome": "failed","#).state, State::Failed);
        assert_eq!(verdict(r#""outcome": "aborted","#).state, State::Aborted);
        assert_eq!(verdict(r#""outcome": "timed-out","#).state, State::TimedOut);
    }
}
