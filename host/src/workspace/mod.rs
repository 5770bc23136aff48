//! All that knows the directory layout: names, scanning, staging, publishing,
//! the journal and the lock.
//!
//! ```text
//! OUTPUT_DIR/
//!   NAME.json, NAME.err        what users see
//!   .tigerflow/TASK_NAME/      the workspace
//!     lock                     who is at work
//!     journal.jsonl            every attempt
//!     run.json                 how far the run is
//!     run.log                  what a run says that was started with --detach
//!     stop                     a request to stop, until the run has seen it
//!     staging/N/               what an instance is writing
//! ```
//!
//! A guest writes in its staging place only. What it leaves there appears in the
//! output directory by one rename on the same file system, so an output is
//! absent or complete.

pub mod catalog;
pub mod error_file;
pub mod intake;
pub mod journal;
pub mod lock;
pub mod names;
pub mod progress_file;
pub mod staging;
pub mod stop_request;
pub mod watch;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use self::journal::Journal;
use self::lock::{Lock, LockError, Owner};
use self::staging::{PublishError, Staging};

/// Most directories that are moved up to remove a nest of them.
const MOST_MOVES: u64 = 10_000_000;

/// The directory within the output directory that holds all workspaces.
pub const DIRECTORY: &str = ".tigerflow";

/// Why a workspace could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something in it is out of reach.
    #[error("failed to {action} `{}`: {cause}{}", path.display(), advice(cause))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Another run is at work, or the lock is out of reach.
    #[error("{cause}; its workspace is `{}`", path.display())]
    Locked {
        /// The workspace.
        path: PathBuf,
        /// Why.
        cause: LockError,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |cause| Error::Io { action, path, cause }
    }
}

/// Where things lie in a workspace, whether or not a run is at work in it.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The workspace of this task in this output directory.
    pub fn new(output_dir: &Path, task_name: &str) -> Self {
        Layout { root: output_dir.join(DIRECTORY).join(task_name) }
    }

    /// All workspaces of tasks in an output directory, by name. That of a pipeline is
    /// hidden.
    pub fn all(output_dir: &Path) -> io::Result<Vec<(String, Layout)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(output_dir.join(DIRECTORY))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() && !name.starts_with('.') {
                found.push((name, Layout { root: entry.path() }));
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    /// The workspace's own directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal.jsonl")
    }

    /// The lock.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// How far the run is.
    pub fn progress(&self) -> PathBuf {
        self.root.join("run.json")
    }

    /// What a run says that has no terminal.
    pub fn log(&self) -> PathBuf {
        self.root.join("run.log")
    }

    /// A request to stop.
    pub fn stop_request(&self) -> PathBuf {
        self.root.join("stop")
    }

    fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// What is kept for workers on a cluster, one directory a run.
    pub fn slurm(&self) -> PathBuf {
        self.root.join("slurm")
    }
}

/// A workspace that this process holds.
#[derive(Debug)]
pub struct Workspace {
    /// Where things lie.
    pub layout: Layout,
    /// This process, as others see it.
    pub owner: Owner,
    /// The run that died here, if the last one did.
    pub taken_over: Option<Owner>,
    area: StagingArea,
    lock: Lock,
}

/// Where instances write, and where what they wrote is published.
#[derive(Clone, Debug)]
pub struct StagingArea {
    path: PathBuf,
    output: Arc<OutputDir>,
}

impl StagingArea {
    /// The directory at `path`, emptied, whose outputs go to `output_dir`.
    pub fn create(path: PathBuf, output_dir: &Path) -> Result<Self, Error> {
        remove_tree(&path).map_err(Error::io("empty", &path))?;
        fs::create_dir(&path).map_err(Error::io("create", &path))?;
        let handle = open_dir(output_dir).map_err(Error::io("open", output_dir))?;
        let staging = open_dir(&path).map_err(Error::io("open", &path))?;
        let (output_dir, prepared) = (output_dir.into(), AtomicU64::new(0));
        let output = OutputDir { path: output_dir, handle, staging, prepared };
        Ok(StagingArea { path, output: Arc::new(output) })
    }

    /// A staging place for an instance, of a name that no other has. It is
    /// removed when dropped.
    pub fn place(&self, name: &str) -> Result<Staging, Error> {
        let path = self.path.join(name);
        Staging::create(path.clone(), Arc::clone(&self.output)).map_err(Error::io("create", &path))
    }

    /// Waits until all that was written on the output's file system is safe.
    pub fn sync_all(&self) -> Result<(), PublishError> {
        self.sync(rustix::fs::syncfs)
    }

    /// Waits until the names in the output directory are safe.
    pub fn sync_names(&self) -> Result<(), PublishError> {
        self.sync(rustix::fs::fsync)
    }

    fn sync(&self, how: fn(OwnedFd) -> rustix::io::Result<()>) -> Result<(), PublishError> {
        let handle = self.output.handle.try_clone();
        let result = handle.and_then(|handle| Ok(how(handle)?));
        let directory = self.output.path.clone();
        result.map_err(|cause| PublishError::Sync { directory, cause })
    }
}

/// The output directory: its path for messages, and a handle to publish
/// through.
#[derive(Debug)]
pub struct OutputDir {
    /// Where it is.
    pub path: PathBuf,
    /// The directory itself.
    pub handle: OwnedFd,
    /// Where outputs wait that are to be synced before they are published.
    staging: OwnedFd,
    /// How many did so.
    prepared: AtomicU64,
}

impl Workspace {
    /// Makes the workspace where there is none, takes its lock, and removes
    /// what a run that died left in staging.
    pub fn open(output_dir: &Path, task_name: &str) -> Result<Self, Error> {
        Self::open_at(Layout::new(output_dir, task_name), output_dir)
    }

    /// The same for a workspace that lies elsewhere than in the output directory.
    pub fn open_at(layout: Layout, output_dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(&layout.root)
            .map_err(Error::io("create the workspace", &layout.root))?;
        let owner = Owner::current();
        let (lock, taken_over) = Lock::acquire(&layout.lock(), &owner)
            .map_err(|cause| Error::Locked { path: layout.root.clone(), cause })?;
        let area = StagingArea::create(layout.staging(), output_dir)?;
        Ok(Workspace { layout, owner, taken_over, area, lock })
    }

    /// Says so where a run before this one died here.
    pub fn tell_taken_over(&self) {
        if let Some(dead) = &self.taken_over {
            tracing::warn!(
                "Taking over from process {} on {}, which did not end in good order",
                dead.pid,
                dead.host
            );
        }
    }

    /// Opens the journal.
    pub fn journal(&self) -> Result<Journal, Error> {
        let path = self.layout.journal();
        Journal::open(&path).map_err(Error::io("open", &path))
    }

    /// A new log, in the place of that of an earlier run. Who still reads that one
    /// has it as it was.
    pub fn new_log(&self) -> Result<File, Error> {
        let path = self.layout.log();
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(Error::io("remove", &path)(error));
        }
        let log = OpenOptions::new().append(true).create_new(true).open(&path);
        log.map_err(Error::io("create", &path))
    }

    /// Where this process's instances write.
    pub fn staging(&self) -> StagingArea {
        self.area.clone()
    }

    /// Gives the workspace back, for a process that is about to exit without
    /// dropping it.
    pub fn release(&self) {
        self.lock.release();
    }
}

/// Opens a directory as a handle for the `*at` calls.
pub(crate) fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Removes a directory and all in it, if it is there. Symbolic links in it are
/// removed, not followed.
///
/// What lies deeper than one level is moved up first: a guest nests as deep as
/// it likes, and recursion would run out of stack or of open files.
pub(crate) fn remove_tree(root: &Path) -> io::Result<()> {
    if let Err(error) = fs::symlink_metadata(root)
        && error.kind() == io::ErrorKind::NotFound
    {
        return Ok(());
    }
    let mut moved = 0_u64;
    loop {
        let mut empty = true;
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            empty = false;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
                continue;
            }
            for child in fs::read_dir(entry.path())? {
                let child = child?;
                if !child.file_type()?.is_dir() {
                    fs::remove_file(child.path())?;
                    continue;
                }
                // A name that the guest has taken fails, and the next will do.
                while fs::rename(child.path(), root.join(format!(".up-{moved}"))).is_err() {
                    moved += 1;
                    if moved > MOST_MOVES {
                        return Err(io::Error::other("it cannot be taken apart"));
                    }
                }
                moved += 1;
            }
            fs::remove_dir(entry.path())?;
        }
        if empty {
            return fs::remove_dir(root);
        }
    }
}

/// What to do about an error, where there is something to say: to append to its
/// message.
pub fn advice(error: &io::Error) -> &'static str {
    if is_full(error) {
        " (free some space and run the same command again: nothing is lost)"
    } else {
        ""
    }
}

/// Whether the disk, or the user's share of it, is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT))
}
