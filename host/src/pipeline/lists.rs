//! What is known of files beside what stands in the tasks' directories: two lists, which
//! are appended to and read when a pipeline begins.
//!
//! `finished` has the files that are done with, and outlives their intermediates: a file
//! is on it before anything of it is removed. `staged` has what each input was when it
//! was taken: a file of the same name that came later is another one.
//!
//! `HOW <TAB> LOOK <TAB> NAME <NUL>` for each file, where `HOW` is `S` for staged, `F` for
//! finished and `A` for declined, and `LOOK` what the input was known by; `-` where its
//! name is all that counts.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::workspace::intake::Look;

/// How many files are on the list of those that were staged, beside those that still
/// are, before it is written anew.
const MOST_PAST: usize = 100_000;

/// What is said of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was taken into the pipeline.
    Staged,
    /// All leaf tasks have it.
    Finished,
    /// A task declined it.
    Aborted,
}

/// A file on a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its input's name.
    pub name: OsString,
    /// What is said of it.
    pub how: How,
    /// What its input was known by. None: only its name counts.
    pub look: Option<Look>,
}

/// A list, open for appending.
#[derive(Debug)]
pub struct List {
    path: PathBuf,
    file: File,
    /// How much of it is whole entries, in bytes.
    whole: u64,
    buffer: Vec<u8>,
}

impl List {
    /// Opens the list at `path`, and reads what is on it. An entry that a crash cut off
    /// is none.
    pub fn open(path: PathBuf, mut each: impl FnMut(Entry)) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        let mut reader = BufReader::new(&file);
        let (mut whole, mut entry) = (0, Vec::new());
        loop {
            entry.clear();
            let length = reader.read_until(0, &mut entry)?;
            if length == 0 || entry.pop() != Some(0) {
                break;
            }
            whole += length as u64;
            if let Some(entry) = parse(&entry) {
                each(entry);
            }
        }
        if file.metadata()?.len() > whole {
            file.set_len(whole)?;
        }
        Ok(List { path, file, whole, buffer: Vec::new() })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a file on the list. It is there once it is [flushed](Self::flush).
    pub fn push(&mut self, name: &OsStr, how: How, look: Option<Look>) {
        write_entry(&mut self.buffer, name, how, look);
    }

    /// Writes what was put on it. An error: nothing of that is on it.
    pub fn flush(&mut self) -> io::Result<()> {
        let entries = std::mem::take(&mut self.buffer);
        match self.file.write_all(&entries) {
            Ok(()) => {
                self.whole += entries.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half an entry would swallow the next one.
                let _ = self.file.set_len(self.whole);
                Err(error)
            }
        }
    }
}

/// What the inputs in the pipeline were when they were taken.
#[derive(Debug)]
pub struct Looks {
    list: List,
    /// Those of an earlier run, by name.
    before: HashMap<OsString, Look>,
    /// How many were put on the list since it was written anew.
    past: usize,
}

impl Looks {
    /// Opens the list at `path`.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let mut before = HashMap::new();
        let list = List::open(path, |entry| {
            if let Some(look) = entry.look {
                before.insert(entry.name, look);
            }
        })?;
        Ok(Looks { list, before, past: 0 })
    }

    /// Where the list lies.
    pub fn path(&self) -> &Path {
        self.list.path()
    }

    /// What the input of this name was when an earlier run took it.
    pub fn before(&self, name: &OsStr) -> Option<Look> {
        self.before.get(name).copied()
    }

    /// What earlier runs took is known to those that it concerns.
    pub fn forget_before(&mut self) {
        self.before = HashMap::new();
    }

    /// An input is taken. It is on the list once that is [flushed](Self::flush).
    pub fn push(&mut self, name: &OsStr, look: Look) {
        self.list.push(name, How::Staged, Some(look));
        self.past += 1;
    }

    /// Writes what was put on the list.
    pub fn flush(&mut self) -> io::Result<()> {
        self.list.flush()
    }

    /// Whether the list holds too much of what is past, beside so many that are staged.
    pub fn is_long(&self, staged: usize) -> bool {
        self.past > MOST_PAST + staged
    }

    /// Writes the list anew, with nothing but these on it.
    pub fn renew<'a>(&mut self, all: impl Iterator<Item = (OsString, &'a Look)>) -> io::Result<()> {
        let mut entries = Vec::new();
        for (name, look) in all {
            write_entry(&mut entries, &name, How::Staged, Some(*look));
        }
        let path = self.list.path.clone();
        let part = path.with_extension("new");
        fs::write(&part, &entries)?;
        fs::rename(&part, &path)?;
        self.list = List::open(path, |_| ())?;
        self.past = 0;
        Ok(())
    }
}

fn write_entry(buffer: &mut Vec<u8>, name: &OsStr, how: How, look: Option<Look>) {
    let how = match how {
        How::Staged => 'S',
        How::Finished => 'F',
        How::Aborted => 'A',
    };
    let look = look.map_or_else(|| "-".to_owned(), |look| look.to_string());
    buffer.extend_from_slice(format!("{how}\t{look}\t").as_bytes());
    buffer.extend_from_slice(name.as_bytes());
    buffer.push(0);
}

fn parse(entry: &[u8]) -> Option<Entry> {
    let mut parts = entry.splitn(3, |byte| *byte == b'\t');
    let how = match parts.next()? {
        b"S" => How::Staged,
        b"F" => How::Finished,
        b"A" => How::Aborted,
        _ => return None,
    };
    let look = match parts.next()? {
        b"-" => None,
        look => Some(std::str::from_utf8(look).ok()?.parse().ok()?),
    };
    let name = parts.next().filter(|name| !name.is_empty())?;
    Some(Entry { name: OsString::from_vec(name.into()), how, look })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Vec<Entry> {
        let mut all = Vec::new();
        List::open(path.into(), |entry| all.push(entry)).unwrap();
        all
    }

    #[test]
    fn what_was_put_on_the_list_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("finished");
        let look = Look::of(dir.path()).unwrap();
        let odd = OsString::from_vec(b"a\tb\n\xff.txt".to_vec());
        let mut list = List::open(path.clone(), |_| panic!("it is empty")).unwrap();
        list.push(&odd, How::Finished, None);
        list.push(OsStr::new("c.txt"), How::Aborted, Some(look));
        list.flush().unwrap();
        let all = read(&path);
        assert_eq!(all[0], Entry { name: odd, how: How::Finished, look: None });
        let declined = Entry { name: "c.txt".into(), how: How::Aborted, look: Some(look) };
        assert_eq!(all[1..], [declined]);
    }

    #[test]
    fn an_entry_that_was_cut_off_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("finished");
        fs::write(&path, b"F\t-\ta.txt\0F\t-\tb.t").unwrap();
        assert_eq!(read(&path).len(), 1);
        let mut list = List::open(path.clone(), |_| ()).unwrap();
        list.push(OsStr::new("c.txt"), How::Finished, None);
        list.flush().unwrap();
        let names: Vec<_> = read(&path).into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["a.txt", "c.txt"]);
        // And what nobody of ours wrote is passed over.
        fs::write(&path, b"?\t-\ta\0F\tx\tb\0F\t-\t\0F\t-\td\0").unwrap();
        assert_eq!(read(&path).len(), 1);
    }

    #[test]
    fn what_is_past_leaves_the_list_when_it_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("staged");
        let look = Look::of(dir.path()).unwrap();
        let mut looks = Looks::open(path.clone()).unwrap();
        for name in ["a", "b", "c"] {
            looks.push(OsStr::new(name), look);
        }
        looks.flush().unwrap();
        looks.renew([("b".into(), &look)].into_iter()).unwrap();
        looks.push(OsStr::new("d"), look);
        looks.flush().unwrap();
        let names: Vec<_> = read(&path).into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["b", "d"]);
        let again = Looks::open(path).unwrap();
        assert_eq!(again.before(OsStr::new("d")), Some(look));
        assert_eq!(again.before(OsStr::new("a")), None);
    }
}
