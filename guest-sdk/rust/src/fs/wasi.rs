//! Files in a component, by WASI 0.2's own functions.
//!
//! One open, the reads, one close: where `std::fs` looks for the size first,
//! reads in small steps and keeps a position, these ask by offset.

use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::path::Path;

use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

/// What the first read of a file asks for: most files of text are smaller.
const FIRST_READ_BYTES: u64 = 64 << 10;

/// What a further read asks for, and a write hands over: enough that the calls
/// cost nothing, and little enough that the host's copy of it does not either.
const BLOCK_BYTES: usize = 256 << 10;

thread_local! {
    /// The directories that the host granted. They stay the same for an
    /// instance's life, so they are asked for once.
    static GRANTED: Vec<(Descriptor, String)> = get_directories();
}

/// Opens `path` below the innermost granted directory that holds it.
fn open_at(path: &Path, open: OpenFlags, access: DescriptorFlags) -> Result<Descriptor> {
    let text = path
        .to_str()
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the path is not UTF-8"))?;
    GRANTED.with(|granted| {
        let (directory, below) = granted
            .iter()
            .filter_map(|(directory, prefix)| Some((directory, prefix, below(text, prefix)?)))
            .max_by_key(|(_, prefix, _)| prefix.len())
            .map(|(directory, _, below)| (directory, below))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::PermissionDenied,
                    "it is in no granted directory; grant one with `--dir HOST_DIR::GUEST_DIR`",
                )
            })?;
        directory.open_at(PathFlags::SYMLINK_FOLLOW, below, open, access).map_err(error)
    })
}

/// What of `path` lies below the directory `prefix`.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'))?;
    let below = rest.strip_prefix('/')?.trim_start_matches('/');
    Some(if below.is_empty() { "." } else { below })
}

pub fn read(path: &Path) -> Result<Vec<u8>> {
    let file = open_at(path, OpenFlags::empty(), DescriptorFlags::READ)?;
    let (mut contents, mut end) = file.read(FIRST_READ_BYTES, 0).map_err(error)?;
    if contents.len() as u64 == FIRST_READ_BYTES {
        // A large file: its size spares growing step by step. It is a hint
        // only, since a file can grow.
        let size = file.stat().map_err(error)?.size;
        contents.reserve_exact(usize::try_from(size).unwrap_or(0).saturating_sub(contents.len()));
    }
    // A short read is not the end yet: only the host can say that it is.
    while !end {
        let (more, last) = file.read(BLOCK_BYTES as u64, contents.len() as u64).map_err(error)?;
        end = last || more.is_empty();
        contents.extend_from_slice(&more);
    }
    Ok(contents)
}

pub fn write(path: &Path, contents: &[u8]) -> Result<()> {
    let mut file = File::create(path)?;
    for chunk in contents.chunks(BLOCK_BYTES) {
        file.write_all(chunk)?;
    }
    Ok(())
}

/// An open file and a position in it.
#[derive(Debug)]
pub struct File {
    descriptor: Descriptor,
    position: u64,
}

impl File {
    pub fn open(path: &Path) -> Result<Self> {
        let descriptor = open_at(path, OpenFlags::empty(), DescriptorFlags::READ)?;
        Ok(Self { descriptor, position: 0 })
    }

    pub fn create(path: &Path) -> Result<Self> {
        let open = OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let descriptor = open_at(path, open, DescriptorFlags::WRITE)?;
        Ok(Self { descriptor, position: 0 })
    }
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let wanted = buffer.len().min(BLOCK_BYTES) as u64;
        let (bytes, _) = self.descriptor.read(wanted, self.position).map_err(error)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }
}

impl Write for File {
    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        let chunk = &buffer[..buffer.len().min(BLOCK_BYTES)];
        let written = self.descriptor.write(chunk, self.position).map_err(error)?;
        self.position += written;
        // The host never says that it wrote more than it was given.
        Ok(usize::try_from(written).unwrap_or(chunk.len()))
    }

    /// Every write has reached the host already.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            SeekFrom::End(delta) => {
                let size = self.descriptor.stat().map_err(error)?.size;
                size.checked_add_signed(delta)
            }
        };
        self.position = position
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "seek before the file's start"))?;
        Ok(self.position)
    }
}

/// The system's error for the host's code, in the words of every Unix tool.
fn error(code: ErrorCode) -> Error {
    let (kind, words) = match code {
        ErrorCode::NoEntry => (ErrorKind::NotFound, "No such file or directory"),
        ErrorCode::Access => (ErrorKind::PermissionDenied, "Permission denied"),
        ErrorCode::NotPermitted => (ErrorKind::PermissionDenied, "Operation not permitted"),
        ErrorCode::ReadOnly => (ErrorKind::ReadOnlyFilesystem, "Read-only file system"),
        ErrorCode::Exist => (ErrorKind::AlreadyExists, "File exists"),
        ErrorCode::IsDirectory => (ErrorKind::IsADirectory, "Is a directory"),
        ErrorCode::NotDirectory => (ErrorKind::NotADirectory, "Not a directory"),
        ErrorCode::InsufficientSpace => (ErrorKind::StorageFull, "No space left on device"),
        ErrorCode::Quota => (ErrorKind::QuotaExceeded, "Disk quota exceeded"),
        ErrorCode::FileTooLarge => (ErrorKind::FileTooLarge, "File too large"),
        ErrorCode::Invalid => (ErrorKind::InvalidInput, "Invalid argument"),
        ErrorCode::Interrupted => (ErrorKind::Interrupted, "Interrupted"),
        ErrorCode::Busy => (ErrorKind::ResourceBusy, "Resource busy"),
        ErrorCode::Io => (ErrorKind::Other, "Input/output error"),
        ErrorCode::Loop => (ErrorKind::Other, "Too many levels of symbolic links"),
        ErrorCode::NameTooLong => (ErrorKind::InvalidFilename, "File name too long"),
        other => return Error::other(other.name()),
    };
    Error::new(kind, words)
}
