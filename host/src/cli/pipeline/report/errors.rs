//! The errors that stand now: the `.err` files of the tasks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::pipeline::places::outputs;
use crate::workspace::error_file::ErrorFile;
use crate::workspace::journal::AttemptOutcome;
use crate::workspace::names::ERROR_EXTENSION;

/// A larger `.err` is none of ours, in bytes.
const SIZE_LIMIT: u64 = 1 << 20;

/// Most `.err` files of a task of which more is kept than their number.
const MOST: usize = 100_000;

/// A file that a task failed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The task.
    pub task: String,
    /// The file's stem.
    pub stem: String,
    /// The `.err`: in the output directory where it is there too, as it is easier to find.
    pub path: PathBuf,
    /// When it was written.
    pub written: SystemTime,
    /// What it says. None where it is no `.err` of ours.
    pub error: Option<ErrorFile>,
}

impl Found {
    /// `TYPE: message`, its first line.
    pub fn in_short(&self) -> String {
        let Some(error) = &self.error else { return "it cannot be read".into() };
        let message = error.message.lines().next().unwrap_or_default();
        match (&*error.exception_type, message) {
            ("", message) => message.into(),
            (kind, "") => kind.into(),
            (kind, message) => format!("{kind}: {message}"),
        }
    }
}

/// The errors of a task, the latest first, and `limit` of them at most. What it declined on
/// purpose is no error.
pub fn of_task(output_dir: &Path, task: &str, limit: usize) -> io::Result<Vec<Found>> {
    let directory = outputs(output_dir, task);
    // Among the latest may be many that are no errors.
    let mut looked_at = limit;
    loop {
        let latest = latest(&directory, looked_at)?;
        let all = latest.len() < looked_at;
        let found = latest.into_iter().filter_map(|(written, name)| {
            let error = match read(&directory.join(&name)) {
                Ok(error) if error.outcome == Some(AttemptOutcome::Aborted) => return None,
                Ok(error) => Some(error),
                // It was removed since: the file is run again, or finished.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                Err(_) => None,
            };
            let published = output_dir.join(task).join(&name);
            let is_there = published.symlink_metadata().is_ok();
            let path = if is_there { published } else { directory.join(&name) };
            let name = name.to_string_lossy();
            let stem = name.strip_suffix(ERROR_EXTENSION).unwrap_or(&name).to_owned();
            Some(Found { task: task.into(), stem, path, written, error })
        });
        let found: Vec<Found> = found.take(limit).collect();
        if all || found.len() == limit || looked_at >= MOST {
            return Ok(found);
        }
        looked_at = MOST;
    }
}

/// The errors of all tasks, the latest first, and `limit` of them at most.
pub fn of_all(output_dir: &Path, tasks: &[String], limit: usize) -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    for task in tasks {
        all.extend(of_task(output_dir, task, limit)?);
    }
    all.sort_by_key(|found| Reverse(found.written));
    all.truncate(limit);
    Ok(all)
}

/// The `.err` files written last, the latest first.
fn latest(directory: &Path, limit: usize) -> io::Result<Vec<(SystemTime, OsString)>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut latest = BinaryHeap::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().ends_with(ERROR_EXTENSION.as_bytes()) {
            continue;
        }
        let Ok(metadata) = entry.metadata() else { continue };
        if !metadata.is_file() {
            continue;
        }
        latest.push(Reverse((metadata.modified()?, name)));
        if latest.len() > limit {
            latest.pop();
        }
    }
    Ok(latest.into_sorted_vec().into_iter().map(|Reverse(found)| found).collect())
}

fn read(path: &Path) -> io::Result<ErrorFile> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SIZE_LIMIT).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Where a person finds the `.err` files.
pub fn pattern(output_dir: &Path) -> String {
    format!("{}/*/*{ERROR_EXTENSION}", output_dir.display())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn write(dir: &Path, name: &str, outcome: &str, age: u64) {
        let path = dir.join(name);
        let error = format!(
            r#"{{"file": "/in/a", "timestamp": "2026-01-31T10:54:23Z", "outcome": "{outcome}",
                "exception_type": "ValueError", "message": "{name}\nmore", "traceback": "t"}}"#
        );
        fs::write(&path, error).unwrap();
        let time = SystemTime::now() - Duration::from_secs(age);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn the_latest_that_stand_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let directory = outputs(dir.path(), "one");
        fs::create_dir_all(&directory).unwrap();
        fs::create_dir_all(directory.join("directory.err")).unwrap();
        for age in 1..=5 {
            write(&directory, &format!("f{age}.err"), "failed", age * 10);
            write(&directory, &format!("declined{age}.err"), "aborted", age);
        }
        fs::write(directory.join("f.out"), "").unwrap();
        fs::create_dir(dir.path().join("one")).unwrap();
        fs::hard_link(directory.join("f2.err"), dir.path().join("one/f2.err")).unwrap();

        let found = of_task(dir.path(), "one", 2).unwrap();
        let stems: Vec<&str> = found.iter().map(|found| &*found.stem).collect();
        assert_eq!(stems, ["f1", "f2"]);
        assert_eq!(found[0].path, directory.join("f1.err"));
        assert_eq!(found[1].path, dir.path().join("one/f2.err"));
        assert_eq!(found[0].in_short(), "ValueError: f1.err");

        let other = outputs(dir.path(), "two");
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("x.err"), "no JSON").unwrap();
        let tasks = ["one".to_owned(), "two".to_owned(), "none".to_owned()];
        let all = of_all(dir.path(), &tasks, 3).unwrap();
        let stems: Vec<&str> = all.iter().map(|found| &*found.stem).collect();
        assert_eq!(stems, ["x", "f1", "f2"]);
        assert_eq!(all[0].in_short(), "it cannot be read");
    }
}
