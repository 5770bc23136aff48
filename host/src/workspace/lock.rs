//! One run per workspace: a lock that the kernel frees when its holder dies.
//!
//! The lock file names its holder for people. `flock` decides on one machine
//! and on shared file systems that carry it between machines; where they do
//! not, the holder's heartbeat (the file's modification time) decides.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, Timespec, Timestamps, UTIME_NOW, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// How often the holder renews its heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A holder on another machine whose heartbeat is older is dead. Wide enough
/// for clocks that differ and file servers that are slow.
const STALE: Duration = Duration::from_secs(60);

/// Who holds, or last held, a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The machine's name.
    pub host: String,
    /// The process there.
    pub pid: u32,
    /// When its run began.
    pub since: Timestamp,
}

impl Owner {
    /// This process, from now on.
    pub fn current() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Owner { host, pid: std::process::id(), since: Timestamp::now() }
    }

    /// Whether it is, or was, on a machine of this name.
    pub fn is_here(&self) -> bool {
        self.host == Owner::current().host
    }
}

/// Why the lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run is at work.
    #[error(
        "another run is at work here: process {} on {}, since {} (wait for it, end it with \
         `tigerflow-host stop` and this --output-dir, or give this run another one)",
        .0.pid, .0.host, crate::log::local_time(.0.since)
    )]
    Held(Owner),
    /// Another run is at work and has not written its name yet.
    #[error("another run is at work here (give this one another --output-dir)")]
    HeldByUnknown,
    /// The lock file itself is out of reach.
    #[error("failed to lock `{}`: {cause}{}", path.display(), super::advice(cause))]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: Arc<File>,
    owner: Owner,
    /// Ends the thread of the heartbeat when dropped.
    _heartbeat: mpsc::Sender<()>,
}

impl Lock {
    /// Takes the lock. Also tells of the holder that died with it, if one did.
    pub fn acquire(path: &Path, me: &Owner) -> Result<(Lock, Option<Owner>), LockError> {
        let io_error = |cause| LockError::Io { path: path.into(), cause };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io_error)?;
        let locked = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => true,
            Err(Errno::WOULDBLOCK) => {
                return Err(read_owner(&file).map_or(LockError::HeldByUnknown, LockError::Held));
            }
            // Some parallel file systems are mounted without locks.
            Err(Errno::NOSYS | Errno::NOTSUP | Errno::NOLCK) => false,
            Err(error) => return Err(io_error(error.into())),
        };
        let before = read_owner(&file);
        if let Some(owner) = &before
            && is_live(owner, locked, &file)
        {
            return Err(LockError::Held(owner.clone()));
        }
        let mut write = || -> io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(&serde_json::to_vec(me)?)
        };
        write().map_err(io_error)?;
        let file = Arc::new(file);
        let heartbeat = beat(Arc::clone(&file)).map_err(io_error)?;
        Ok((Lock { file, owner: me.clone(), _heartbeat: heartbeat }, before))
    }

    /// Leaves an empty file: the last holder left in good order. Where this
    /// fails the next run merely says that it takes over.
    pub fn release(&self) {
        // Unless another run has taken it for dead, and the file is that one's.
        if read_owner(&self.file).as_ref() == Some(&self.owner) {
            let _ = self.file.set_len(0);
        }
        // The thread of the heartbeat has the file open for a moment still.
        let _ = flock(&*self.file, FlockOperation::Unlock);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.release();
    }
}

/// Shows that the holder is alive, on a thread of its own: the dispatcher may be
/// busy with a large directory for minutes.
fn beat(file: Arc<File>) -> io::Result<mpsc::Sender<()>> {
    let (stop, stopped) = mpsc::channel();
    std::thread::Builder::new().name("heartbeat".into()).spawn(move || {
        while stopped.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
            // The server's own time, which is the one to compare with.
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            let times = Timestamps { last_access: now, last_modification: now };
            // A beat that fails is one missed; many are what they look like.
            let _ = rustix::fs::futimens(&file, &times);
        }
    })?;
    Ok(stop)
}

/// Whether the run that wrote its name into a lock file is alive. `locked`:
/// whether this process holds the file's `flock`.
fn is_live(owner: &Owner, locked: bool, file: &File) -> bool {
    let elsewhere = !owner.is_here();
    let fresh = heartbeat_age(file).is_ok_and(|age| age < STALE);
    fresh && (elsewhere || (!locked && is_alive(owner.pid)))
}

/// The run that holds the lock at `path` now, if one does.
pub fn holder(path: &Path) -> Option<Owner> {
    let file = File::open(path).ok()?;
    let owner = read_owner(&file)?;
    let live = match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => true,
        result => is_live(&owner, result.is_ok(), &file),
    };
    live.then_some(owner)
}

/// Whether a process of this machine has the lock at `path` open. Machines may
/// share a name, and containers number their processes anew.
pub fn is_open_in(path: &Path, pid: u32) -> bool {
    let Ok(lock) = fs::metadata(path) else { return false };
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files
        .filter_map(|file| fs::metadata(file.ok()?.path()).ok())
        .any(|file| (file.dev(), file.ino()) == (lock.dev(), lock.ino()))
}

fn read_owner(file: &File) -> Option<Owner> {
    let mut bytes = [0; 4096];
    let length = file.read_at(&mut bytes, 0).ok()?;
    serde_json::from_slice(&bytes[..length]).ok()
}

fn heartbeat_age(file: &File) -> io::Result<Duration> {
    let modified = file.metadata()?.modified()?;
    Ok(SystemTime::now().duration_since(modified).unwrap_or_default())
}

fn is_alive(pid: u32) -> bool {
    i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_refused_and_a_dead_one_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let me = Owner::current();
        let (lock, before) = Lock::acquire(&path, &me).unwrap();
        assert_eq!(before, None);
        assert_eq!(holder(&path).unwrap().pid, me.pid);
        assert!(is_open_in(&path, me.pid) && !is_open_in(&path, u32::MAX - 1));
        match Lock::acquire(&path, &me) {
            Err(LockError::Held(owner)) => assert_eq!(owner.pid, me.pid),
            other => panic!("{other:?}"),
        }
        drop(lock);
        assert_eq!(holder(&path), None);

        // A holder that died: its name stands, its flock is gone.
        let dead = Owner { pid: u32::MAX - 1, ..me.clone() };
        std::fs::write(&path, serde_json::to_vec(&dead).unwrap()).unwrap();
        assert_eq!(Lock::acquire(&path, &me).unwrap().1, Some(dead));
    }

    #[test]
    fn a_fresh_heartbeat_from_another_machine_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let me = Owner::current();
        let other = Owner { host: "elsewhere".into(), ..me.clone() };
        std::fs::write(&path, serde_json::to_vec(&other).unwrap()).unwrap();
        assert!(matches!(Lock::acquire(&path, &me), Err(LockError::Held(owner)) if owner == other));
        let old = SystemTime::now() - STALE * 2;
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert_eq!(Lock::acquire(&path, &me).unwrap().1, Some(other));
    }
}
