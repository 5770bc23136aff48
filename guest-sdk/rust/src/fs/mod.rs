//! Files by path, with as few calls to the host as can be.
//!
//! `std::fs` works in a component, too. These functions do the same for whole
//! files and ask the host for less, which is what counts for many small files.

use std::io;
use std::path::Path;

use crate::{Error, Result};

#[cfg(not(target_family = "wasm"))]
#[path = "native.rs"]
mod sys;
#[cfg(target_family = "wasm")]
#[path = "wasi.rs"]
mod sys;

pub(crate) use sys::File;

/// Reads a whole file.
///
/// # Errors
/// With the path, where the file cannot be opened or read.
#[track_caller]
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    named("read", path, sys::read(path))
}

/// Reads a whole file of UTF-8 text.
///
/// # Errors
/// With the path, where the file cannot be opened or read, or is not UTF-8.
#[track_caller]
pub fn read_to_string(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    match String::from_utf8(read(path)?) {
        Ok(text) => Ok(text),
        Err(error) => {
            let place = error.utf8_error().valid_up_to();
            Err(Error::failed(format_args!(
                "`{}` is not UTF-8: byte {place} is wrong",
                path.display()
            ))
            .with_kind("InvalidData"))
        }
    }
}

/// Writes a whole file, in place of what it held.
///
/// # Errors
/// With the path, where the file cannot be made or written.
#[track_caller]
pub fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> Result<()> {
    let path = path.as_ref();
    named("write", path, sys::write(path, contents.as_ref()))
}

/// Opens a file to read.
#[track_caller]
pub(crate) fn open(path: &Path) -> Result<File> {
    named("open", path, File::open(path))
}

/// Opens a file to write, in place of what it held.
#[track_caller]
pub(crate) fn create(path: &Path) -> Result<File> {
    named("create", path, File::create(path))
}

/// Says of an error what was being done to which file.
#[track_caller]
fn named<T>(action: &str, path: &Path, result: io::Result<T>) -> Result<T> {
    match result {
        Ok(value) => Ok(value),
        Err(error) => Err(Error::io(format_args!("cannot {action} `{}`", path.display()), &error)),
    }
}
