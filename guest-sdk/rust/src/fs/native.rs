//! Files outside of a component: `std::fs`, for tests.

use std::io::Result;
use std::path::Path;

pub use std::fs::{File, read};

pub fn write(path: &Path, contents: &[u8]) -> Result<()> {
    std::fs::write(path, contents)
}
