//! The input and the output of one `run`.

use std::cell::RefCell;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::{Error, Result, fs, log};

/// What a reader or a writer holds in memory: few calls to the host, and what
/// an instance can spare.
const BUFFER_BYTES: usize = 64 << 10;

thread_local! {
    /// What a dropped [`Writer`] could not write.
    static LOST: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// Takes the error of a writer that was dropped before it was finished.
pub(crate) fn take_lost_error() -> Option<Error> {
    LOST.with(RefCell::take)
}

/// The file to read. It is a [`Path`] too, for `std::fs` and for libraries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input(PathBuf);

impl Input {
    /// The file at this path. The host's calls make it; tests do, too.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The file's name: `7501.final.txt`.
    #[must_use]
    pub fn name(&self) -> &str {
        name(&self.0)
    }

    /// The file's name up to its last dot: `7501.final`.
    #[must_use]
    pub fn stem(&self) -> &str {
        stem(&self.0)
    }

    /// The whole file.
    ///
    /// # Errors
    /// With the path, where it cannot be read.
    #[track_caller]
    pub fn read(&self) -> Result<Vec<u8>> {
        fs::read(&self.0)
    }

    /// The whole file as text.
    ///
    /// # Errors
    /// With the path, where it cannot be read or is not UTF-8.
    #[track_caller]
    pub fn read_to_string(&self) -> Result<String> {
        fs::read_to_string(&self.0)
    }

    /// A buffered reader, for a file too large to hold in memory.
    ///
    /// # Errors
    /// With the path, where it cannot be opened.
    #[track_caller]
    pub fn open(&self) -> Result<Reader> {
        let file = fs::open(&self.0)?;
        Ok(Reader(BufReader::with_capacity(BUFFER_BYTES, file)))
    }

    /// Tells the host how far the work on this file is, from 0.0 to 1.0.
    /// Cheap, but a call to the host: once in some thousand lines is enough.
    pub fn progress(&self, fraction: f64) {
        if let Some(path) = self.0.to_str() {
            log::progress(path, fraction);
        }
    }
}

/// The file to write, where nothing exists yet. It is a [`Path`] too, for
/// `std::fs` and for libraries.
///
/// The host publishes what stands there when `run` returns `Ok`, and throws it
/// away otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output(PathBuf);

impl Output {
    /// The file at this path. The host's calls make it; tests do, too.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The file's name: `7501.final.json`.
    #[must_use]
    pub fn name(&self) -> &str {
        name(&self.0)
    }

    /// The file's name up to its last dot: `7501.final`.
    #[must_use]
    pub fn stem(&self) -> &str {
        stem(&self.0)
    }

    /// Writes the whole file: text or bytes.
    ///
    /// # Errors
    /// With the path, where it cannot be written.
    #[track_caller]
    pub fn write(&self, contents: impl AsRef<[u8]>) -> Result<()> {
        fs::write(&self.0, contents)
    }

    /// A buffered writer, for a file too large to hold in memory.
    ///
    /// # Errors
    /// With the path, where it cannot be made.
    #[track_caller]
    pub fn create(&self) -> Result<Writer> {
        let file = fs::create(&self.0)?;
        Ok(Writer(BufWriter::with_capacity(BUFFER_BYTES, file)))
    }
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or("")
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("")
}

macro_rules! is_a_path {
    ($($file:ty),*) => {$(
        impl Deref for $file {
            type Target = Path;

            fn deref(&self) -> &Path {
                &self.0
            }
        }

        impl AsRef<Path> for $file {
            fn as_ref(&self) -> &Path {
                &self.0
            }
        }
    )*};
}
is_a_path!(Input, Output);

/// A buffered reader of the input: [`Input::open`].
#[derive(Debug)]
pub struct Reader(BufReader<fs::File>);

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl std::io::BufRead for Reader {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

/// A buffered writer of the output: [`Output::create`].
///
/// Dropping it writes what it still holds; where that fails, so does the
/// `run`. [`flush`](Write::flush) shows the error earlier.
#[derive(Debug)]
pub struct Writer(BufWriter<fs::File>);

impl Write for Writer {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Seek for Writer {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Err(error) = self.0.flush() {
            let error = Error::io("cannot write the end of the output", &error);
            LOST.with(|lost| {
                lost.borrow_mut().get_or_insert(error);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead;

    /// A directory of this test process alone.
    fn directory(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("tigerflow-task-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn names_and_stems() {
        let input = Input::new("/input/7501.final.txt");
        assert_eq!(input.name(), "7501.final.txt");
        assert_eq!(input.stem(), "7501.final");
        assert_eq!(input.extension().unwrap(), "txt");
        assert_eq!(Output::new("/output/a b.json").stem(), "a b");
    }

    #[test]
    fn whole_files() {
        let directory = directory("whole");
        let path = directory.join("a.txt");
        Output::new(&path).write("a longer text").unwrap();
        Output::new(&path).write("héllo").unwrap();
        let input = Input::new(&path);
        assert_eq!(input.read().unwrap(), "héllo".as_bytes());
        assert_eq!(input.read_to_string().unwrap(), "héllo");
        assert_eq!(std::fs::read_to_string(&input).unwrap(), "héllo");
        input.progress(0.5);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn errors_name_the_file_and_the_callers_line() {
        let error = Input::new("/no/such.txt").read_to_string().unwrap_err();
        assert_eq!(error.kind(), "NotFound");
        assert!(error.message().starts_with("cannot read `/no/such.txt`: "), "{error}");
        assert!(error.trace().contains("at src/file.rs:"), "{error:?}");

        let directory = directory("binary");
        let path = directory.join("b.txt");
        std::fs::write(&path, b"ab\xffcd").unwrap();
        let error = Input::new(&path).read_to_string().unwrap_err();
        assert_eq!(error.kind(), "InvalidData");
        assert!(error.message().ends_with("is not UTF-8: byte 2 is wrong"), "{error}");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn streams() {
        let directory = directory("streams");
        let path = directory.join("c.txt");
        let mut writer = Output::new(&path).create().unwrap();
        for line in 0..20_000 {
            writeln!(writer, "line {line}").unwrap();
        }
        drop(writer);
        assert!(take_lost_error().is_none());
        let mut reader = Input::new(&path).open().unwrap();
        assert_eq!(reader.by_ref().lines().count(), 20_000);
        reader.seek(SeekFrom::Start(5)).unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "0\n");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_dropped_writer_that_fails_is_not_a_success() {
        let mut writer = Output::new("/dev/full").create().unwrap();
        writer.write_all(b"x").unwrap();
        drop(writer);
        let error = take_lost_error().unwrap();
        assert_eq!(error.kind(), "StorageFull");
    }
}
