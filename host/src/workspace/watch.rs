//! Notices that files arrive: by file-system events where the kernel sends
//! them, and else by looking whether the directory changed.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// How many names wait for the dispatcher at most; past that it lists the
/// directory instead.
const QUEUE_LIMIT: usize = 10_000;

/// Between two looks at a directory whose events are reliable: a safety net.
const POLL_BESIDE_EVENTS: Duration = Duration::from_secs(30);

/// File systems that other machines write to. Their changes send no events
/// here. From `linux/magic.h` and the file systems' own headers.
const SHARED_FILE_SYSTEMS: [u64; 12] = [
    0x6969,      // NFS
    0x0bd0_0bd0, // Lustre
    0x4750_4653, // GPFS (IBM Storage Scale)
    0x1983_0326, // BeeGFS
    0x00c3_6400, // Ceph
    0xfe53_4d42, // SMB 2 and 3
    0xff53_4d42, // SMB 1 (CIFS)
    0x0102_1997, // 9P
    0x5346_414f, // AFS
    0x6573_5546, // FUSE
    0x0116_1970, // GFS2
    0x7461_636f, // OCFS2
];

/// A file that an event named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its name.
    pub name: OsString,
    /// Whether its writer closed it or moved it into place, so that it is
    /// complete.
    pub complete: bool,
}

#[derive(Default)]
struct Queue {
    arrivals: Vec<Arrival>,
    overflow: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
}

/// A watched directory.
pub struct Watch {
    shared: Arc<Shared>,
    /// Stops watching when dropped. `None` where events cannot be had.
    _watcher: Option<RecommendedWatcher>,
    poll: Duration,
}

/// What happened since the last time.
pub struct Arrivals {
    /// The files that events named.
    pub files: Vec<Arrival>,
    /// Whether events were lost, so that the directory must be listed.
    pub lost: bool,
}

impl Watch {
    /// Watches a directory. `poll` is how often to look where events do not
    /// tell all.
    pub fn new(directory: &Path, poll: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let watcher = start(directory, Arc::clone(&shared))
            .inspect_err(|error| {
                tracing::debug!("no file events for `{}`: {error}", directory.display());
            })
            .ok();
        let reliable = watcher.is_some() && !is_shared(directory);
        let poll = if reliable { poll.max(POLL_BESIDE_EVENTS) } else { poll };
        tracing::debug!(
            "new files are noticed by {}a look every {poll:?}",
            if watcher.is_some() { "events and " } else { "" }
        );
        Watch { shared, _watcher: watcher, poll }
    }

    /// How often to look whether the directory changed.
    pub fn poll(&self) -> Duration {
        self.poll
    }

    /// Waits until events have something to tell.
    pub async fn wait(&self) {
        self.shared.wake.notified().await;
    }

    /// Takes what events told.
    pub fn take(&self) -> Arrivals {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        Arrivals {
            files: std::mem::take(&mut queue.arrivals),
            lost: std::mem::take(&mut queue.overflow),
        }
    }
}

fn start(directory: &Path, shared: Arc<Shared>) -> notify::Result<RecommendedWatcher> {
    let handler = move |event: notify::Result<notify::Event>| {
        let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(event) if !event.need_rescan() => {
                let complete = match event.kind {
                    EventKind::Access(AccessKind::Close(AccessMode::Write))
                    | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => true,
                    EventKind::Create(CreateKind::File | CreateKind::Any | CreateKind::Other) => {
                        false
                    }
                    _ => return,
                };
                for path in event.paths {
                    let Some(name) = path.file_name() else { continue };
                    if queue.arrivals.len() < QUEUE_LIMIT {
                        queue.arrivals.push(Arrival { name: name.into(), complete });
                    } else {
                        queue.overflow = true;
                    }
                }
            }
            _ => queue.overflow = true,
        }
        drop(queue);
        shared.wake.notify_one();
    };
    let mut watcher = notify::recommended_watcher(handler)?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Whether other machines write to the file system of this path too, as far as
/// the kernel knows.
pub fn is_shared(directory: &Path) -> bool {
    rustix::fs::statfs(directory).is_ok_and(|s| {
        // Sign-extended on some architectures: the low half is the magic.
        SHARED_FILE_SYSTEMS.contains(&(s.f_type as u64 & 0xffff_ffff))
    })
}

/// The time of a directory's last change, to tell whether to list it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    modified: (i64, i64),
    inode: u64,
}

impl Stamp {
    /// The directory's stamp now.
    pub fn of(directory: &Path) -> io::Result<Self> {
        let meta = fs::metadata(directory)?;
        Ok(Stamp { modified: (meta.mtime(), meta.mtime_nsec()), inode: meta.ino() })
    }

    /// Whether it is the same directory, however much changed in it.
    pub fn is_same_directory(&self, other: &Stamp) -> bool {
        self.inode == other.inode
    }

    /// Whether a change might hide within the clock's grain: a directory that is
    /// listed within two seconds of its change (the coarsest grain of a file
    /// system in use) may change again without its time telling. To be asked when
    /// it is listed.
    pub fn is_recent(&self) -> bool {
        let now = jiff::Timestamp::now().as_second();
        (now - self.modified.0).abs() <= 2
    }
}
