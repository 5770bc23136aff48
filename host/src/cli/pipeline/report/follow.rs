//! What a task's journal says, read on from where it was read last.
//!
//! Of a million attempts a few kilobytes are kept: a histogram, and the latest.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::cli::status::histogram::Histogram;
use crate::workspace::journal::AttemptOutcome;

/// How many of the latest attempts are kept.
pub const LATEST: usize = 1_000;

/// A longer line is none of ours, in bytes.
const LINE_LIMIT: u64 = 1 << 20;

/// A file that a task is done with.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// Its name.
    pub file: String,
    /// When.
    pub finished: Timestamp,
    /// How long the last attempt took.
    pub duration_ms: f64,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Whether it was heard of later than it happened.
    pub late: bool,
}

impl Done {
    /// When the last attempt began.
    pub fn started(&self) -> Timestamp {
        let took = SignedDuration::try_from_secs_f64(self.duration_ms / 1000.0);
        took.ok().and_then(|took| self.finished.checked_sub(took).ok()).unwrap_or(self.finished)
    }
}

/// What a task has done, in all runs.
#[derive(Debug, Default)]
pub struct Stats {
    /// How many files it is done with, well or not.
    pub settled: usize,
    /// The latest of them, oldest first.
    pub latest: VecDeque<Done>,
    /// Durations of successes, in milliseconds, oldest first.
    pub durations: VecDeque<f64>,
    histogram: Histogram,
    sum: f64,
    shortest: f64,
}

/// How long successes took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How many there are.
    pub count: usize,
    /// The mean.
    pub avg_ms: f64,
    /// The shortest.
    pub min_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// The median; of more than [`LATEST`] within 5 %.
    pub median_ms: f64,
    /// What 95 of 100 do not exceed; of more than [`LATEST`] within 5 %.
    pub p95_ms: f64,
}

impl Stats {
    /// Adds a file that the task is done with.
    pub fn add(&mut self, done: Done) {
        self.settled += 1;
        if done.outcome == AttemptOutcome::Succeeded {
            let ms = done.duration_ms.max(0.0);
            self.shortest = if self.histogram.total() == 0 { ms } else { self.shortest.min(ms) };
            self.sum += ms;
            self.histogram.add(ms);
            push(&mut self.durations, ms);
        }
        push(&mut self.latest, done);
    }

    /// The durations in six numbers; zeros where there are none.
    pub fn summary(&self) -> Summary {
        let count = self.histogram.total();
        if count == 0 {
            return Summary::default();
        }
        let mut exact: Vec<f64> = self.durations.iter().copied().collect();
        exact.sort_by(f64::total_cmp);
        let quantile = |part: f64| {
            if exact.len() == count {
                exact[((count as f64 * part).ceil() as usize).clamp(1, count) - 1]
            } else {
                self.histogram.quantile(part).max(self.shortest)
            }
        };
        Summary {
            count,
            avg_ms: self.sum / count as f64,
            min_ms: self.shortest,
            max_ms: self.histogram.longest(),
            median_ms: quantile(0.5),
            p95_ms: quantile(0.95),
        }
    }

    /// Whether [`Stats::latest`] lacks some.
    pub fn is_cut(&self) -> bool {
        self.settled > self.latest.len()
    }
}

fn push<T>(queue: &mut VecDeque<T>, value: T) {
    if queue.len() == LATEST {
        queue.pop_front();
    }
    queue.push_back(value);
}

/// A line of the journal, as far as it matters here. In this form a million are read in a
/// second or two.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    file: Cow<'a, str>,
    #[serde(default)]
    outcome: Option<AttemptOutcome>,
    #[serde(default)]
    duration_ms: f64,
    #[serde(default)]
    of_earlier_run: bool,
    time: Timestamp,
}

/// A journal that is read as it grows.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    /// The file that was read last: its device and number.
    file: Option<(u64, u64)>,
    /// Where the first line begins that was not read whole.
    offset: u64,
    /// What it said so far.
    pub stats: Stats,
}

impl Follower {
    /// The journal at `path`, of which nothing was read.
    pub fn new(path: PathBuf) -> Self {
        Follower { path, file: None, offset: 0, stats: Stats::default() }
    }

    /// Reads what was added. A journal that is not there yet is empty; another file in its
    /// place, or a shorter one, is read from its beginning.
    pub fn read(&mut self) -> io::Result<()> {
        // Opened anew, a network file system tells what another machine has written.
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        let id = Some((metadata.dev(), metadata.ino()));
        if self.file != id || metadata.len() < self.offset {
            *self = Follower { file: id, ..Follower::new(self.path.clone()) };
        }
        if metadata.len() == self.offset {
            return Ok(());
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut lines = BufReader::with_capacity(1 << 16, file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = (&mut lines).take(LINE_LIMIT).read_until(b'\n', &mut line)? as u64;
            // Its writer may be in the middle of it.
            if line.last() != Some(&b'\n') && length < LINE_LIMIT {
                return Ok(());
            }
            self.offset += length;
            if let Ok(entry) = serde_json::from_slice::<Entry>(&line) {
                self.stats.extend(entry);
            }
        }
    }
}

impl Stats {
    fn extend(&mut self, entry: Entry) {
        let outcome = match (&*entry.event, entry.outcome) {
            ("attempt", Some(outcome)) => outcome,
            _ => return,
        };
        // These are to be made again.
        if matches!(outcome, AttemptOutcome::Retrying | AttemptOutcome::Interrupted) {
            return;
        }
        self.add(Done {
            file: entry.file.into_owned(),
            finished: entry.time,
            duration_ms: entry.duration_ms,
            outcome,
            late: entry.of_earlier_run,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn line(file: &str, outcome: &str, ms: f64) -> String {
        format!(
            concat!(
                r#"{{"event":"attempt","time":"2026-01-31T10:54:23Z","file":"{}","attempt":1,"#,
                r#""outcome":"{}","duration_ms":{},"instance":0}}"#
            ),
            file, outcome, ms
        ) + "\n"
    }

    #[test]
    fn a_half_written_line_is_read_once_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let mut follower = Follower::new(path.clone());
        follower.read().unwrap();
        assert_eq!(follower.stats.settled, 0);

        let mut file = File::create(&path).unwrap();
        let all = line("a\\\"b", "succeeded", 10.0) + &line("c", "failed", 30.0);
        for (at, byte) in all.bytes().enumerate() {
            file.write_all(&[byte]).unwrap();
            follower.read().unwrap();
            assert_eq!(follower.stats.settled, all[..=at].matches('\n').count());
        }
        let names: Vec<&str> = follower.stats.latest.iter().map(|done| &*done.file).collect();
        assert_eq!(names, ["a\"b", "c"]);
        // Nothing is read twice.
        follower.read().unwrap();
        assert_eq!(follower.stats.settled, 2);

        // What a crash cut off, and the next run's `Journal::open` ended.
        file.write_all(b"{\"event\":\"att\n").unwrap();
        file.write_all(line("d", "retrying", 1.0).as_bytes()).unwrap();
        file.write_all(line("d", "succeeded", 20.0).as_bytes()).unwrap();
        follower.read().unwrap();
        let summary = follower.stats.summary();
        assert_eq!((follower.stats.settled, summary.count), (3, 2));
        assert_eq!((summary.min_ms, summary.avg_ms, summary.max_ms), (10.0, 15.0, 20.0));
        assert_eq!((summary.median_ms, summary.p95_ms), (10.0, 20.0));
        assert_eq!(follower.stats.latest[2].started().to_string(), "2026-01-31T10:54:22.98Z");
    }

    #[test]
    fn another_journal_is_read_from_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, line("a", "succeeded", 1.0) + &line("b", "succeeded", 1.0)).unwrap();
        let mut follower = Follower::new(path.clone());
        follower.read().unwrap();
        assert_eq!(follower.stats.settled, 2);
        std::fs::write(&path, line("c", "aborted", 1.0)).unwrap();
        follower.read().unwrap();
        assert_eq!((follower.stats.settled, follower.stats.latest.len()), (1, 1));
        let other = dir.path().join("other");
        std::fs::write(&other, line("d", "succeeded", 1.0).repeat(3)).unwrap();
        std::fs::rename(&other, &path).unwrap();
        follower.read().unwrap();
        assert_eq!(follower.stats.settled, 3);
    }

    #[test]
    fn many_attempts_take_no_more_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let lines: String = (1..=3000).map(|i| line("f", "succeeded", f64::from(i))).collect();
        std::fs::write(&path, lines + &"x".repeat(3 << 20) + "\n").unwrap();
        let mut follower = Follower::new(path);
        follower.read().unwrap();
        let stats = &follower.stats;
        assert_eq!((stats.latest.len(), stats.durations.len()), (LATEST, LATEST));
        assert!(stats.is_cut());
        let summary = stats.summary();
        assert_eq!((summary.count, summary.min_ms, summary.max_ms), (3000, 1.0, 3000.0));
        assert!((1400.0..1600.0).contains(&summary.median_ms), "{summary:?}");
        assert!((2700.0..3000.0).contains(&summary.p95_ms), "{summary:?}");
    }
}
