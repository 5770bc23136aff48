//! What an attempt waits for before it begins: the rate limit, and a place under
//! each label that it shares with other runs.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZeroU32;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use rustix::fs::FlockOperation;
use tokio::sync::{Mutex, Notify};

/// Where the labels' directory lies, if not in the system's temporary directory.
pub const LABEL_VARIABLE: &str = "TIGERFLOW_LABEL_DIR";

/// How often to look for a free place under a label.
const LABEL_POLL: Duration = Duration::from_millis(20);

/// How much of the rate is left unused, so that an attempt which starts a little
/// late does not put one too many into a window of time.
const RATE_MARGIN: f64 = 0.01;

/// How long starts that came late, by the system's clock ticks, may be made up
/// for by a burst.
const BURST: Duration = Duration::from_millis(50);

/// At most so many attempts begin in any window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub attempts: NonZeroU32,
    /// The window.
    pub window: Duration,
}

/// A name under which several runs of a user on one machine share a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The name, which names a directory.
    pub name: String,
    /// How many attempts run at once, over all runs with this label.
    pub limit: u32,
}

/// What every attempt of a run passes.
pub struct Gate {
    rate: Option<Mutex<Limiter>>,
    labels: Vec<Places>,
}

type Limiter = RateLimiter<
    NotKeyed,
    InMemoryState,
    MonotonicClock,
    NoOpMiddleware<<MonotonicClock as Clock>::Instant>,
>;

/// Leave to run; it ends when this is dropped.
#[derive(Debug, Default)]
pub struct Pass {
    _places: Vec<Place>,
}

/// A place under a label.
#[derive(Debug)]
struct Place {
    /// A locked file, whose lock ends with it, however the process ends.
    file: Option<File>,
    freed: Arc<Notify>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.file = None;
        self.freed.notify_one();
    }
}

impl Gate {
    /// A gate for these limits. Fails where a label's directory cannot be had.
    pub fn new(rate: Option<Rate>, labels: &[Label]) -> Result<Self, LabelError> {
        let mut labels = labels.to_vec();
        // Everybody takes them in the same order: nobody waits in a circle.
        labels.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Gate {
            rate: rate.map(|rate| Mutex::new(limiter(rate))),
            labels: labels.into_iter().map(Places::new).collect::<Result<_, _>>()?,
        })
    }

    /// Whether there is nothing to wait for.
    pub fn is_open(&self) -> bool {
        self.rate.is_none() && self.labels.is_empty()
    }

    /// Waits for its turn: in the order in which attempts came.
    pub async fn pass(&self) -> io::Result<Pass> {
        // One at a time, in order: a lock of tokio's is fair. It is kept until the
        // places are had, as an attempt that is let through must begin at once.
        let turn = match &self.rate {
            Some(limiter) => {
                let limiter = limiter.lock().await;
                while let Err(until) = limiter.check() {
                    tokio::time::sleep(until.wait_time_from(MonotonicClock.now())).await;
                }
                Some(limiter)
            }
            None => None,
        };
        let mut places = Vec::with_capacity(self.labels.len());
        for label in &self.labels {
            places.push(label.take().await?);
        }
        drop(turn);
        Ok(Pass { _places: places })
    }
}

fn limiter(rate: Rate) -> Limiter {
    RateLimiter::direct_with_clock(quota(rate), MonotonicClock)
}

/// A token bucket that lets at most `rate` pass in any window of time: what it
/// holds at most, and what it fills up with in a window, are less than the limit
/// together. A limit of a few in a window is reached by half, no more.
fn quota(rate: Rate) -> Quota {
    let limit = f64::from(rate.attempts.get());
    let held = 1.0 + (limit * BURST.as_secs_f64() / rate.window.as_secs_f64()).floor();
    let filled = (limit * (1.0 - RATE_MARGIN) - held).max(1.0).min(limit);
    // Where even one more is too many, one goes alone.
    let period = match limit - held < 1.0 {
        true => rate.window,
        false => rate.window.div_f64(filled),
    };
    Quota::with_period(period)
        .expect("a window is longer than nothing")
        .allow_burst(NonZeroU32::new(held as u32).unwrap_or(NonZeroU32::MIN))
}

/// Why a label's directory cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("--label needs the directory `{}`: {cause} (set {LABEL_VARIABLE} to another one)", path.display())]
pub struct LabelError {
    path: PathBuf,
    cause: io::Error,
}

/// The places under a label: files, of which whoever runs holds one locked.
struct Places {
    directory: PathBuf,
    limit: u32,
    /// Only the first in line looks for a place, in this run…
    line: Mutex<()>,
    /// …which is told when one of its own is free again.
    freed: Arc<Notify>,
}

impl Places {
    fn new(label: Label) -> Result<Self, LabelError> {
        let user = rustix::process::geteuid().as_raw();
        let root = std::env::var_os(LABEL_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = root
            .unwrap_or_else(|| std::env::temp_dir().join(format!("tigerflow-host-labels-{user}")));
        let directory = root.join(&label.name);
        private(&root)
            .and_then(|()| private(&directory))
            .map_err(|cause| LabelError { path: root, cause })?;
        let (line, freed) = (Mutex::default(), Arc::default());
        Ok(Places { directory, limit: label.limit, line, freed })
    }

    async fn take(&self) -> io::Result<Place> {
        let _first = self.line.lock().await;
        // The line of all runs: who has waited goes before who has just left.
        let _first_of_all = loop {
            if let Some(line) = self.try_lock("line")? {
                break line;
            }
            tokio::time::sleep(LABEL_POLL).await;
        };
        loop {
            for number in 0..self.limit {
                if let Some(file) = self.try_lock(&number.to_string())? {
                    return Ok(Place { file: Some(file), freed: Arc::clone(&self.freed) });
                }
            }
            tokio::select! {
                () = self.freed.notified() => {}
                () = tokio::time::sleep(LABEL_POLL) => {}
            }
        }
    }

    fn try_lock(&self, name: &str) -> io::Result<Option<File>> {
        let path = self.directory.join(name);
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Makes a directory that is nobody's but the user's.
fn private(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it is no directory of this user"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    proptest! {
        /// However attempts come: never more than the limit in any window.
        #[test]
        fn a_window_holds_no_more_than_its_limit(
            limit in 1u32..3000, window in 1u64..90, gaps in proptest::collection::vec(0u64..200, 1..400),
        ) {
            let window = Duration::from_secs(window);
            let rate = Rate { attempts: NonZeroU32::new(limit).unwrap(), window };
            let quota = quota(rate);
            let clock = FakeRelativeClock::default();
            let limiter: RateLimiter<_, _, _, NoOpMiddleware<_>> =
                RateLimiter::direct_with_clock(quota, clock.clone());
            let (mut now, mut passed) = (Duration::ZERO, Vec::new());
            for gap in gaps {
                let gap = Duration::from_millis(gap);
                clock.advance(gap);
                now += gap;
                while limiter.check().is_ok() {
                    passed.push(now);
                }
            }
            for (i, &first) in passed.iter().enumerate() {
                let within = passed[i..].iter().take_while(|&&t| t - first < window).count();
                prop_assert!(within <= limit as usize, "{within} of {limit} in {window:?}");
            }
        }
    }

    #[test]
    fn most_of_a_rate_can_be_used() {
        for (attempts, window) in [(1800, 60), (2000, 60), (30, 1), (1000, 1), (10, 60), (2, 1)] {
            let window = Duration::from_secs(window);
            let rate = Rate { attempts: NonZeroU32::new(attempts).unwrap(), window };
            let per_window = window.as_secs_f64() / quota(rate).replenish_interval().as_secs_f64();
            let used = per_window / f64::from(attempts);
            let least = if attempts < 50 { 0.45 } else { 0.93 };
            assert!(used >= least && used <= 1.0, "{attempts} in {window:?}: {used}");
        }
    }

    #[tokio::test]
    async fn who_has_waited_goes_before_who_has_just_left() {
        let directory = tempfile::tempdir().unwrap();
        let places = || Places {
            directory: directory.path().into(),
            limit: 1,
            line: Mutex::default(),
            freed: Arc::default(),
        };
        let (one, other) = (places(), places());
        let held = one.take().await.unwrap();
        let waiting = tokio::spawn(async move { other.take().await.unwrap() });
        while one.try_lock("line").unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        drop(held);
        // It must wait for the other one, which is first in line.
        let again = tokio::spawn(async move { one.take().await.unwrap() });
        let first = waiting.await.unwrap();
        assert!(!again.is_finished());
        drop(first);
        again.await.unwrap();
    }

    #[tokio::test]
    async fn a_label_has_so_many_places() {
        let directory = tempfile::tempdir().unwrap();
        let places = |limit| Places {
            directory: directory.path().into(),
            limit,
            line: Mutex::default(),
            freed: Arc::default(),
        };
        let (one, other) = (places(2), places(2));
        let first = one.take().await.unwrap();
        let second = other.take().await.unwrap();
        assert!(one.try_lock("0").unwrap().is_none() && one.try_lock("1").unwrap().is_none());
        drop(first);
        let again = other.take().await.unwrap();
        drop((second, again));
    }
}
