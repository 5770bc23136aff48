//! The list of files that are done with, which outlives their intermediates.
//!
//! A file is on it before anything of it is removed. It is appended to, and read when
//! a pipeline begins: `HOW <TAB> LOOK <TAB> NAME <NUL>` for each, where `HOW` is `F`
//! for finished and `A` for declined, and `LOOK` what the input was known by, if it
//! is to be deleted.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::workspace::intake::Look;

/// A file that is done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its input's name.
    pub name: OsString,
    /// What its input was known by, where that is to be deleted.
    pub look: Option<Look>,
    /// Whether a task declined it.
    pub aborted: bool,
}

/// The list, open for appending.
#[derive(Debug)]
pub struct Finished {
    file: File,
    buffer: Vec<u8>,
}

impl Finished {
    /// Opens the list at `path`, and reads what is on it. An entry that a crash cut
    /// off is none.
    pub fn open(path: &Path, mut each: impl FnMut(Entry)) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
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
        Ok(Finished { file, buffer: Vec::new() })
    }

    /// Puts a file on the list. It is there once it is [flushed](Self::flush).
    pub fn push(&mut self, name: &OsStr, look: Option<Look>, aborted: bool) {
        let how = if aborted { 'A' } else { 'F' };
        let look = look.map_or_else(|| "-".to_owned(), |look| look.to_string());
        self.buffer.extend_from_slice(format!("{how}\t{look}\t").as_bytes());
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.push(0);
    }

    /// Writes what was put on it.
    pub fn flush(&mut self) -> io::Result<()> {
        let result = self.file.write_all(&self.buffer);
        self.buffer.clear();
        result
    }
}

fn parse(entry: &[u8]) -> Option<Entry> {
    let mut parts = entry.splitn(3, |byte| *byte == b'\t');
    let aborted = match parts.next()? {
        b"F" => false,
        b"A" => true,
        _ => return None,
    };
    let look = match parts.next()? {
        b"-" => None,
        look => Some(std::str::from_utf8(look).ok()?.parse().ok()?),
    };
    let name = parts.next().filter(|name| !name.is_empty())?;
    Some(Entry { name: OsString::from_vec(name.into()), look, aborted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(path: &Path) -> Vec<Entry> {
        let mut all = Vec::new();
        Finished::open(path, |entry| all.push(entry)).unwrap();
        all
    }

    #[test]
    fn what_was_put_on_the_list_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("finished");
        let look = Look::of(path.parent().unwrap()).unwrap();
        let odd = OsString::from_vec(b"a\tb\n\xff.txt".to_vec());
        let mut list = Finished::open(&path, |_| panic!("it is empty")).unwrap();
        list.push(&odd, None, false);
        list.push(OsStr::new("c.txt"), Some(look), true);
        list.flush().unwrap();
        let all = read(&path);
        assert_eq!(all[0], Entry { name: odd, look: None, aborted: false });
        assert_eq!(all[1], Entry { name: "c.txt".into(), look: Some(look), aborted: true });
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn an_entry_that_was_cut_off_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("finished");
        fs::write(&path, b"F\t-\ta.txt\0F\t-\tb.t").unwrap();
        assert_eq!(read(&path).len(), 1);
        let mut list = Finished::open(&path, |_| ()).unwrap();
        list.push(OsStr::new("c.txt"), None, false);
        list.flush().unwrap();
        let names: Vec<_> = read(&path).into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["a.txt", "c.txt"]);
        // And what nobody of ours wrote is passed over.
        fs::write(&path, b"?\t-\ta\0F\tx\tb\0F\t-\t\0F\t-\td\0").unwrap();
        assert_eq!(read(&path).len(), 1);
    }
}
