//! A private place where one instance writes, and how what it leaves becomes an
//! output.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use super::OutputDir;
use crate::text::size;

/// The staging place of an instance, or of one of the lanes in it.
///
/// The guest sees `guest/` as `/output`; a lane is a directory in that. Beside
/// it the host writes its own files (an `.err`), where no guest reaches.
#[derive(Clone, Debug)]
pub struct Staging {
    root: Arc<Root>,
    /// The lane's name, where several attempts share an instance.
    lane: Option<String>,
}

#[derive(Debug)]
struct Root {
    path: PathBuf,
    guest: OwnedFd,
    own: OwnedFd,
    output: Arc<OutputDir>,
}

/// What outputs survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Whatever ends the process; a power loss may cost those of the last seconds.
    #[default]
    None,
    /// A power loss, too: many are synced at once, and published after.
    Batch,
}

/// An output that is whole, and has not its name yet. It goes if it never gets that.
///
/// It lies beside the staging places, so that those of many instances may have gone.
#[derive(Debug)]
pub struct Prepared {
    output: Arc<OutputDir>,
    /// The name that it has until then.
    own: Option<String>,
    name: OsString,
    error: Option<OsString>,
}

impl Prepared {
    /// Gives it its name, and removes the `.err` that it has overtaken.
    pub fn publish(&mut self) -> Result<(), PublishError> {
        if let Some(own) = &self.own {
            let output = &self.output;
            rustix::fs::renameat(&output.staging, own, &output.handle, &self.name)
                .map_err(|error| output.failed(&self.name, error))?;
            self.own = None;
        }
        self.error.as_ref().map_or(Ok(()), |error| self.output.remove_error(error))
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            // What stays is removed when the next run begins.
            let _ = rustix::fs::unlinkat(&self.output.staging, own, AtFlags::empty());
        }
    }
}

impl OutputDir {
    fn remove_error(&self, name: &OsStr) -> Result<(), PublishError> {
        match rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed(name, error)),
        }
    }

    fn failed(&self, name: &OsStr, cause: impl Into<io::Error>) -> PublishError {
        PublishError::Io {
            directory: self.path.clone(),
            name: super::names::shown(name),
            cause: cause.into(),
        }
    }
}

/// Why something could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The guest left something that is no output. It is the guest's fault.
    #[error("the task left a {0} at its output path, where a file belongs")]
    NotAFile(&'static str),
    /// The guest put something else in place of its lane.
    #[error("the task replaced the directory of its output path, which is not its own")]
    NoLane,
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
    /// The disk does not take what was written.
    #[error("failed to sync `{}` (--durability batch): {cause}", directory.display())]
    Sync {
        /// The output directory.
        directory: PathBuf,
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
        Ok(Staging { root: Arc::new(Root { path, guest, own, output }), lane: None })
    }

    /// The directory to preopen as the guest's `/output`.
    pub fn guest_path(&self) -> PathBuf {
        self.root.path.join("guest")
    }

    /// A place within this one for one of several attempts at once.
    pub fn lane(&self, number: u32) -> io::Result<Staging> {
        let lane = number.to_string();
        match rustix::fs::mkdirat(&self.root.guest, &lane, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Staging { root: Arc::clone(&self.root), lane: Some(lane) })
    }

    /// Where the guest is to write the file of this name: its path within
    /// `/output`.
    pub fn guest_name(&self, name: &str) -> String {
        match &self.lane {
            Some(lane) => format!("{lane}/{name}"),
            None => name.into(),
        }
    }

    /// The directory that the guest writes in. A lane is opened anew each time:
    /// the guest might have put a link in its place.
    fn guest(&self) -> rustix::io::Result<Place<'_>> {
        let Some(lane) = &self.lane else { return Ok(Place::Whole(self.root.guest.as_fd())) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.root.guest, lane, flags, Mode::empty()).map(Place::Lane)
    }

    /// A name in the host's own part that no other lane uses.
    fn own_name(&self, what: &str) -> String {
        match &self.lane {
            Some(lane) => format!("{what}-{lane}"),
            None => what.into(),
        }
    }

    /// Makes what the guest left under the name `staged` the output `name`. An
    /// empty placeholder, where it left nothing. `limit`: its most bytes.
    /// `copy`: as a copy, because the guest might write to what it left.
    pub fn publish(
        &self,
        staged: &str,
        name: &OsStr,
        limit: u64,
        copy: bool,
    ) -> Result<(), PublishError> {
        self.put(staged, name, self.root.output.handle.as_fd(), limit, copy)
    }

    /// The same up to the publishing, which is for later. `error`: the `.err` that
    /// goes then.
    pub fn prepare(
        &self,
        staged: &str,
        name: OsString,
        error: Option<OsString>,
        limit: u64,
        copy: bool,
    ) -> Result<Prepared, PublishError> {
        let output = &self.root.output;
        let own = format!("ready-{}", output.prepared.fetch_add(1, Ordering::Relaxed));
        self.put(staged, own.as_ref(), output.staging.as_fd(), limit, copy)?;
        Ok(Prepared { output: Arc::clone(output), own: Some(own), name, error })
    }

    /// Gives what the guest left a name in the directory `output`.
    fn put(
        &self,
        staged: &str,
        name: &OsStr,
        output: BorrowedFd<'_>,
        limit: u64,
        copy: bool,
    ) -> Result<(), PublishError> {
        let failed = |error: Errno| self.failed(name, error);
        let guest = match self.guest() {
            Ok(guest) => guest,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(PublishError::NoLane),
            Err(error) => return Err(failed(error)),
        };
        match rustix::fs::statat(guest.as_fd(), staged, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                // Another name, in a granted directory, would lead to it still.
                FileType::RegularFile if stat.st_nlink != 1 => {
                    Err(PublishError::NotAFile("hard link"))
                }
                FileType::RegularFile if stat.st_size as u64 > limit => {
                    Err(PublishError::TooLarge(stat.st_size as u64, limit))
                }
                FileType::RegularFile if copy => {
                    let copied = self.copy(guest.as_fd(), staged, output, name);
                    copied.map_err(|cause| self.failed(name, cause))
                }
                FileType::RegularFile => {
                    rustix::fs::renameat(guest.as_fd(), staged, output, name).map_err(failed)
                }
                FileType::Directory => Err(PublishError::NotAFile("directory")),
                FileType::Symlink => Err(PublishError::NotAFile("symbolic link")),
                _ => Err(PublishError::NotAFile("special file")),
            },
            Err(Errno::NOENT) => {
                // An empty file is complete the moment that it exists.
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::EXCL | OFlags::CLOEXEC;
                let mode = Mode::from_raw_mode(0o666);
                match rustix::fs::openat(output, name, flags, mode) {
                    Ok(_) => Ok(()),
                    // Something came there meanwhile: it is replaced as a whole.
                    Err(Errno::EXIST) => {
                        let empty = self.own_name("empty");
                        rustix::fs::openat(&self.root.own, &empty, flags, mode)
                            .and_then(|_| {
                                rustix::fs::renameat(&self.root.own, &empty, output, name)
                            })
                            .map_err(failed)
                    }
                    Err(error) => Err(failed(error)),
                }
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn copy(
        &self,
        guest: BorrowedFd<'_>,
        staged: &str,
        output: BorrowedFd<'_>,
        name: &OsStr,
    ) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut from = File::from(rustix::fs::openat(guest, staged, flags, Mode::empty())?);
        let copy = self.own_name("copy");
        let mut to = File::create(self.root.path.join(&copy))?;
        io::copy(&mut from, &mut to)?;
        rustix::fs::renameat(&self.root.own, &copy, output, name)?;
        Ok(())
    }

    /// Publishes the content of an `.err` file.
    pub fn publish_error(
        &self,
        name: &OsStr,
        content: &[u8],
        durability: Durability,
    ) -> Result<(), PublishError> {
        let publish = || {
            let error = self.own_name("error");
            let output = &self.root.output.handle;
            let mut file = File::create(self.root.path.join(&error))?;
            file.write_all(content)?;
            if durability == Durability::Batch {
                file.sync_all()?;
            }
            rustix::fs::renameat(&self.root.own, &error, output, name)?;
            if durability == Durability::Batch {
                rustix::fs::fsync(output)?;
            }
            Ok(())
        };
        publish().map_err(|cause: io::Error| self.failed(name, cause))
    }

    /// Whether the output directory has a file of this name.
    pub fn is_published(&self, name: &OsStr) -> bool {
        let output = &self.root.output.handle;
        rustix::fs::statat(output, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Removes an `.err` that its output has overtaken.
    pub fn remove_error(&self, name: &OsStr) -> Result<(), PublishError> {
        self.root.output.remove_error(name)
    }

    /// Removes whatever else the guest left, so that the next attempt finds
    /// nothing. Three system calls where there is nothing, and two more for a
    /// lane.
    pub fn clear(&self) -> io::Result<()> {
        let guest = match self.guest() {
            Ok(guest) => guest,
            // It is no directory any more: what it is goes, and it comes again.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                let lane = self.lane.as_deref().unwrap_or_default();
                match rustix::fs::unlinkat(&self.root.guest, lane, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error.into()),
                }
                let mode = Mode::from_raw_mode(0o777);
                return Ok(rustix::fs::mkdirat(&self.root.guest, lane, mode)?);
            }
            Err(error) => return Err(error.into()),
        };
        let guest = guest.as_fd();
        rustix::fs::seek(guest, SeekFrom::Start(0))?;
        let mut buffer = [MaybeUninit::uninit(); 2048];
        let mut entries = RawDir::new(guest, &mut buffer);
        let mut left = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                left.push(name.to_owned());
            }
        }
        for name in left {
            match rustix::fs::unlinkat(guest, &name, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) => {
                    use std::os::unix::ffi::OsStrExt;
                    let name = OsStr::from_bytes(name.to_bytes());
                    let own = self.guest_path();
                    let within = self.lane.as_ref().map_or(own.clone(), |lane| own.join(lane));
                    super::remove_tree(&within.join(name))?;
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Which file lies at the output path, if one does: its device and inode.
    pub fn identity(&self, staged: &str) -> Option<(u64, u64)> {
        let guest = self.guest().ok()?;
        let stat = rustix::fs::statat(guest.as_fd(), staged, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_dev, stat.st_ino))
    }

    /// Bytes that are free on the output's file system.
    pub fn room(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.root.output.handle)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// The output directory.
    pub fn output_dir(&self) -> &Path {
        &self.root.output.path
    }

    fn failed(&self, name: &OsStr, cause: impl Into<io::Error>) -> PublishError {
        self.root.output.failed(name, cause)
    }
}

/// A directory that a guest writes in.
enum Place<'a> {
    Whole(BorrowedFd<'a>),
    Lane(OwnedFd),
}

impl AsFd for Place<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Place::Whole(fd) => fd.as_fd(),
            Place::Lane(fd) => fd.as_fd(),
        }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // What stays is removed when the next run begins.
        let _ = super::remove_tree(&self.path);
    }
}
