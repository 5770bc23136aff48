//! Files of lines that one process appends and another follows, perhaps on
//! another machine.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::workspace::watch;

/// How long an open file may serve before it is opened anew. Network file
/// systems tell of another machine's writes when a file is opened, and else when
/// they please.
const REOPEN: Duration = Duration::from_secs(1);

/// How long a line may be unreadable: the end of a file may be seen before its
/// content.
const GARBLED: Duration = Duration::from_secs(30);

/// How much is read at once, in bytes.
const CHUNK: usize = 1 << 16;

/// A file to which this process appends lines.
#[derive(Debug)]
pub struct Appender<T> {
    file: File,
    buffer: Vec<u8>,
    /// Whether what is written reaches other machines only when told to.
    remote: bool,
    unsynced: bool,
    line: PhantomData<fn(&T)>,
}

impl<T: Serialize> Appender<T> {
    /// Opens the file at `path`, made if need be, and ends a line that a crash
    /// cut off.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let length = file.metadata()?.len();
        if length > 0 {
            let mut last = [0];
            file.read_exact_at(&mut last, length - 1)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        let remote = watch::is_shared(path);
        Ok(Appender { file, buffer: Vec::new(), remote, unsynced: false, line: PhantomData })
    }

    /// Adds a line, which [`flush`](Self::flush) writes.
    pub fn push(&mut self, line: &T) {
        serde_json::to_writer(&mut self.buffer, line).expect("a line is plain data");
        self.buffer.push(b'\n');
    }

    /// Writes the lines added since the last time: they survive this process.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            match self.file.write(&self.buffer) {
                // On a full disk a part may fit; the next time goes on there.
                Ok(written) => drop(self.buffer.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.unsynced = true;
        }
        Ok(())
    }

    /// Sends what was written to where other machines see it, if that takes
    /// more than to write it.
    pub fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.unsynced) && self.remote {
            self.file.sync_data()?;
        }
        Ok(())
    }
}

/// A file whose lines another process appends.
#[derive(Debug)]
pub struct Follower<T> {
    path: PathBuf,
    file: Option<(File, Instant)>,
    offset: u64,
    /// Since when the next line cannot be read.
    garbled: Option<Instant>,
    /// What was read and is not a whole line yet.
    rest: Vec<u8>,
    line: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Follower<T> {
    /// Follows the file at `path`, from its beginning. It need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Follower { path, file: None, offset: 0, garbled: None, rest: Vec::new(), line: PhantomData }
    }

    /// Whether the file has been seen.
    pub fn exists(&self) -> bool {
        self.file.is_some()
    }

    /// Appends the lines that came since the last time. A file that is not there
    /// has none.
    pub fn read(&mut self, lines: &mut Vec<T>) -> io::Result<()> {
        let now = Instant::now();
        if self.file.as_ref().is_none_or(|(_, opened)| now - *opened >= REOPEN) {
            match File::open(&self.path) {
                Ok(file) => self.file = Some((file, now)),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.file = None;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        let Some((file, _)) = &self.file else { return Ok(()) };
        let mut chunk = [0; CHUNK];
        loop {
            let length = file.read_at(&mut chunk, self.offset)?;
            self.offset += length as u64;
            self.rest.extend_from_slice(&chunk[..length]);
            if length < CHUNK {
                break;
            }
        }
        let mut begin = 0;
        while let Some(end) = self.rest[begin..].iter().position(|&b| b == b'\n') {
            let line = &self.rest[begin..begin + end];
            match serde_json::from_slice(line) {
                Ok(line) => lines.push(line),
                Err(_) if line.is_empty() => {}
                Err(_) if self.garbled.is_none_or(|since| now - since < GARBLED) => {
                    // It is read again, from the file as it will be then.
                    self.garbled.get_or_insert(now);
                    self.offset -= (self.rest.len() - begin) as u64;
                    self.rest.clear();
                    self.file = None;
                    return Ok(());
                }
                // A crash cut it off, or another version wrote it.
                Err(_) => {}
            }
            self.garbled = None;
            begin += end + 1;
        }
        self.rest.drain(..begin);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(follower: &mut Follower<u32>) -> Vec<u32> {
        let mut lines = Vec::new();
        follower.read(&mut lines).unwrap();
        lines
    }

    #[test]
    fn lines_arrive_once_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        let mut follower = Follower::new(path.clone());
        assert!(read(&mut follower).is_empty() && !follower.exists());
        let mut appender = Appender::open(&path).unwrap();
        for number in 0..20_000_u32 {
            appender.push(&number);
        }
        appender.flush().unwrap();
        appender.file.write_all(b"12").unwrap();
        assert_eq!(read(&mut follower), (0..20_000).collect::<Vec<_>>());
        assert!(read(&mut follower).is_empty() && follower.exists());
        appender.file.write_all(b"3\n4\n").unwrap();
        assert_eq!(read(&mut follower), [123, 4]);
    }

    #[test]
    fn content_that_comes_late_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        std::fs::write(&path, b"1\n\0\0\n3\n").unwrap();
        let mut follower = Follower::new(path.clone());
        assert_eq!(read(&mut follower), [1]);
        assert!(read(&mut follower).is_empty());
        std::fs::write(&path, b"1\n22\n3\n").unwrap();
        assert_eq!(read(&mut follower), [22, 3]);
    }

    #[test]
    fn a_line_that_a_crash_cut_off_is_passed_over_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        std::fs::write(&path, b"1\n{\"a\":").unwrap();
        let mut appender = Appender::open(&path).unwrap();
        appender.push(&2);
        appender.flush().unwrap();
        let mut follower = Follower::new(path);
        assert_eq!(read(&mut follower), [1]);
        follower.garbled = Some(Instant::now() - GARBLED);
        assert_eq!(read(&mut follower), [2]);
    }
}
