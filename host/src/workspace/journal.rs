//! The journal: one line of JSON for each run and each attempt, appended.
//!
//! It is a record for people and for `status`. What is done and what is to do
//! is read from the directories themselves, so a journal that lost its last
//! lines to a crash misleads nobody.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::intake::Before;
pub use crate::outcome::AttemptOutcome;
use crate::text::clip;

/// Longest message that a line carries, in bytes; the `.err` has it whole.
const MESSAGE_LIMIT: usize = 500;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Record {
    /// A run begins.
    RunStarted(RunStarted),
    /// An attempt ended.
    Attempt(Attempt),
    /// A worker on a cluster has started.
    WorkerStarted(WorkerStarted),
    /// A worker on a cluster is gone, or was given up.
    WorkerEnded(WorkerEnded),
    /// A run ended in good order. A crash leaves none.
    RunEnded {
        /// When.
        time: Timestamp,
        /// The exit code.
        exit_code: u8,
    },
}

/// What a run found when it began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// When.
    pub time: Timestamp,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Whether it has no terminal: its log is in the workspace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
    /// The component's path as the user gave it.
    pub component: String,
    /// The task's own version.
    pub version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// The input directory.
    pub input_dir: String,
    /// The input extension.
    pub input_ext: String,
    /// The output extension.
    pub output_ext: String,
    /// What it was told to do about failures and load, as options with values.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Inputs whose output stood before.
    pub succeeded_before: usize,
    /// Inputs whose `.err` stood before, and still stands.
    pub failed_before: usize,
    /// Inputs whose `.err` said before that their time was over, and still does.
    #[serde(default)]
    pub timed_out_before: usize,
    /// Inputs that the task had declined before.
    pub aborted_before: usize,
    /// Inputs to do.
    pub to_do: usize,
    /// Inputs that cannot be taken; the log says why.
    #[serde(default)]
    pub not_taken: usize,
}

impl RunStarted {
    /// Corrects what stood before.
    pub fn settled_before(&mut self, before: &Before) {
        self.succeeded_before = before.succeeded;
        self.failed_before = before.failed;
        self.timed_out_before = before.timed_out;
        self.aborted_before = before.aborted;
        self.to_do = before.to_do;
    }
}

/// A worker on a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStarted {
    /// When.
    pub time: Timestamp,
    /// Its name.
    pub worker: String,
    /// Its Slurm job.
    pub job: String,
    /// Its node.
    pub node: String,
    /// The CPUs that Slurm gave it, where it says so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cpus: Option<u32>,
    /// The GPUs that Slurm gave it: its `CUDA_VISIBLE_DEVICES`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gpus: Option<String>,
}

/// The end of a worker on a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerEnded {
    /// When.
    pub time: Timestamp,
    /// Its name.
    pub worker: String,
    /// How.
    pub how: String,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it ended.
    pub time: Timestamp,
    /// The input's name; what is not UTF-8 in it is replaced.
    pub file: String,
    /// Which attempt at this file it was, from 1.
    pub attempt: u32,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// For one that is to be made again: in how many seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_seconds: Option<f64>,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// The instance that served it.
    pub instance: u32,
    /// The worker that the instance is of, on a cluster.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub worker: Option<String>,
    /// Whether its outcome stood when this run began, and was heard of later only:
    /// the run before had died.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub of_earlier_run: bool,
    /// For a failure, final or not: its exception type.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exception_type: Option<String>,
    /// For a failure: its message; for an aborted or interrupted one: the reason.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
}

/// The journal, open for appending.
#[derive(Debug)]
pub struct Journal {
    file: File,
    buffer: Vec<u8>,
}

impl Journal {
    /// Opens the journal at `path`, and ends a line that a crash cut off.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(Journal { file, buffer: Vec::new() })
    }

    /// Adds a line, which [`flush`](Self::flush) writes.
    pub fn push(&mut self, record: &Record) {
        serde_json::to_writer(&mut self.buffer, record).expect("a record is plain data");
        self.buffer.push(b'\n');
    }

    /// Writes the lines added since the last time, in one call where it can.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            match self.file.write(&self.buffer) {
                // On a full disk a part may fit; the next time goes on there.
                Ok(written) => drop(self.buffer.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Reads a journal line by line. A line that is no record (cut off by a crash,
/// written by a later version) is passed over.
pub fn read(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Record>>> {
    let mut lines = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut line = Vec::new();
    Ok(std::iter::from_fn(move || {
        loop {
            line.clear();
            match lines.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {
                    if let Ok(record) = serde_json::from_slice(&line) {
                        return Some(Ok(record));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }))
}

/// A message cut to what a line carries.
pub fn shorten(message: &str) -> String {
    clip(message.into(), MESSAGE_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cut_off_by_a_crash_harms_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let record = Record::RunEnded { time: Timestamp::UNIX_EPOCH, exit_code: 3 };
        let mut journal = Journal::open(&path).unwrap();
        journal.push(&record);
        journal.flush().unwrap();
        journal.file.write_all(b"{\"event\":\"run-en").unwrap();
        let mut journal = Journal::open(&path).unwrap();
        journal.push(&record);
        journal.flush().unwrap();
        let all: Vec<Record> = read(&path).unwrap().map(Result::unwrap).collect();
        assert_eq!(all, [record.clone(), record]);
    }
}
