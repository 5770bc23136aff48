//! A private place where one instance writes, and how what it leaves becomes an
//! output.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use super::OutputDir;
use crate::text::size;

/// The staging place of one instance slot.
///
/// The guest sees `guest/` as `/output`. Beside it the host writes its own
/// files (an `.err`), where no guest reaches.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    guest: OwnedFd,
    own: OwnedFd,
    output: Arc<OutputDir>,
}

/// Why something could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The guest left something that is no output. It is the guest's fault.
    #[error("the task left a {0} at its output path, where a file belongs")]
    NotAFile(&'static str),
    /// The guest left a file that is larger than it may be: one with holes, as
    /// what it writes is counted before.
    #[error("its output has {}, more than {} (raise --output-limit to let it)", size(*.0), size(*.1))]
    TooLarge(u64, u64),
    /// The output directory does not take it. It is nobody's fault in here, and
    /// goes for every other file as well.
    #[error(
        "failed to publish `{name}` in `{}`: {cause}{}",
        directory.display(),
        super::advice(cause)
    )]
    Io {
        /// The output directory.
        directory: PathBuf,
        /// The file.
        name: String,
        /// What the system said.
        cause: io::Error,
    },
}

impl Staging {
    pub(super) fn create(path: PathBuf, output: Arc<OutputDir>) -> io::Result<Self> {
        std::fs::create_dir(&path)?;
        let guest_path = path.join("guest");
        std::fs::create_dir(&guest_path)?;
        let own = super::open_dir(&path)?;
        let guest = super::open_dir(&guest_path)?;
        Ok(Staging { path, guest, own, output })
    }

    /// The directory to preopen as the guest's `/output`.
    pub fn guest_path(&self) -> PathBuf {
        self.path.join("guest")
    }

    /// Makes what the guest left under the name `staged` the output `name`. An
    /// empty placeholder, where it left nothing. `limit`: its most bytes.
    pub fn publish(&self, staged: &str, name: &OsStr, limit: u64) -> Result<(), PublishError> {
        let failed = |error: Errno| self.failed(name, error);
        match rustix::fs::statat(&self.guest, staged, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                // Another name, in a granted directory, would lead to it still.
                FileType::RegularFile if stat.st_nlink != 1 => {
                    Err(PublishError::NotAFile("hard link"))
                }
                FileType::RegularFile if stat.st_size as u64 > limit => {
                    Err(PublishError::TooLarge(stat.st_size as u64, limit))
                }
                FileType::RegularFile => {
                    rustix::fs::renameat(&self.guest, staged, &self.output.handle, name)
                        .map_err(failed)
                }
                FileType::Directory => Err(PublishError::NotAFile("directory")),
                FileType::Symlink => Err(PublishError::NotAFile("symbolic link")),
                _ => Err(PublishError::NotAFile("special file")),
            },
            Err(Errno::NOENT) => {
                // An empty file is complete the moment that it exists.
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::EXCL | OFlags::CLOEXEC;
                let mode = Mode::from_raw_mode(0o666);
                match rustix::fs::openat(&self.output.handle, name, flags, mode) {
                    Ok(_) => Ok(()),
                    // Something came there meanwhile: it is replaced as a whole.
                    Err(Errno::EXIST) => rustix::fs::openat(&self.own, "empty", flags, mode)
                        .and_then(|_| {
                            rustix::fs::renameat(&self.own, "empty", &self.output.handle, name)
                        })
                        .map_err(failed),
                    Err(error) => Err(failed(error)),
                }
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Publishes the content of an `.err` file.
    pub fn publish_error(&self, name: &OsStr, content: &[u8]) -> Result<(), PublishError> {
        let temporary = self.path.join("error");
        std::fs::write(&temporary, content)
            .and_then(|()| Ok(rustix::fs::renameat(&self.own, "error", &self.output.handle, name)?))
            .map_err(|cause| self.failed(name, cause))
    }

    /// Removes an `.err` that its output has overtaken.
    pub fn remove_error(&self, name: &OsStr) -> Result<(), PublishError> {
        match rustix::fs::unlinkat(&self.output.handle, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed(name, error)),
        }
    }

    /// Removes whatever else the guest left, so that the next attempt finds
    /// nothing. Three system calls where there is nothing.
    pub fn clear(&self) -> io::Result<()> {
        rustix::fs::seek(&self.guest, SeekFrom::Start(0))?;
        let mut buffer = [MaybeUninit::uninit(); 2048];
        let mut entries = RawDir::new(&self.guest, &mut buffer);
        let mut left = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                left.push(name.to_owned());
            }
        }
        for name in left {
            match rustix::fs::unlinkat(&self.guest, &name, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) => {
                    use std::os::unix::ffi::OsStrExt;
                    let name = OsStr::from_bytes(name.to_bytes());
                    super::remove_tree(&self.guest_path().join(name))?;
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Which file lies at the output path, if one does: its device and inode.
    pub fn identity(&self, staged: &str) -> Option<(u64, u64)> {
        let stat = rustix::fs::statat(&self.guest, staged, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_dev, stat.st_ino))
    }

    /// Bytes that are free on the output's file system.
    pub fn room(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.output.handle)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// The output directory.
    pub fn output_dir(&self) -> &Path {
        &self.output.path
    }

    fn failed(&self, name: &OsStr, cause: impl Into<io::Error>) -> PublishError {
        PublishError::Io {
            directory: self.output.path.clone(),
            name: super::names::shown(name),
            cause: cause.into(),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What stays is removed when the next run begins.
        let _ = super::remove_tree(&self.path);
    }
}
