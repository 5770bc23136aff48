//! The local executor: instances on this machine's cores.
//!
//! A **slot** holds one instance at a time. That of a plain task works on one file
//! at a time, that of an asynchronous one on many. Slots are made as work asks
//! for them, so that a trickle of files is served by one instance that is set up
//! once. They share a queue, so no file waits behind a slow one while another
//! slot has room.
//!
//! Each thread drives its slots on a runtime of its own, and file access is in
//! place on that thread: nothing is handed between threads but file names and
//! reports.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use async_channel::{Receiver, Sender};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, watch};

use super::commit::Committer;
use super::gate::Gate;
use super::slot::Slot;
use super::{Ended, Job, Report};
use crate::engine::{Gauge, Interface, Sandbox, Task};
use crate::outcome::Outcome;
use crate::schedule::RetryPolicy;
use crate::workspace::StagingArea;
use crate::workspace::catalog::FileId;
use crate::workspace::error_file::TaskIdentity;
use crate::workspace::names::{Pairing, shown};
use crate::workspace::progress_file::InFlight;
use crate::workspace::staging::Durability;

/// What every slot of a run shares.
pub struct Shared {
    /// The task.
    pub task: Task,
    /// What its instances may reach.
    pub sandbox: Sandbox,
    /// Where instances write, and where outcomes go.
    pub staging: StagingArea,
    /// How names pair.
    pub pairing: Pairing,
    /// The input directory, resolved.
    pub canonical_input: PathBuf,
    /// Whether links may lead out of it.
    pub follow_links: bool,
    /// Who made an `.err`.
    pub identity: TaskIdentity,
    /// When an attempt that failed is made again.
    pub retry: RetryPolicy,
    /// What every attempt passes before it begins.
    pub gate: Gate,
    /// Whether another worker, one that was given up, may be at the same files.
    pub rivals: bool,
    /// What outputs survive.
    pub durability: Durability,
    /// Told right before an attempt begins, on the thread that makes it.
    pub on_begin: Option<Box<dyn Fn(FileId) + Send + Sync>>,
}

/// Reports on their way to the dispatcher.
#[derive(Default)]
pub(super) struct Outbox {
    reports: Mutex<Vec<Report>>,
    wake: Notify,
}

impl Outbox {
    pub(super) fn push(&self, report: Report) {
        let mut reports = lock(&self.reports);
        let first = reports.is_empty();
        reports.push(report);
        drop(reports);
        // One wake-up serves all that comes until it is answered.
        if first {
            self.wake.notify_one();
        }
    }
}

/// What a slot is doing, for `status` and the progress bar.
#[derive(Default)]
pub(super) struct Activity(Mutex<HashMap<FileId, Current>>);

struct Current {
    name: OsString,
    /// Which attempt it is, from 1.
    attempt: u32,
    since: Timestamp,
    gauge: Gauge,
}

impl Activity {
    pub(super) fn begin(&self, job: &Job, gauge: Gauge) {
        let (name, attempt) = (job.name.clone(), job.attempts_before + 1);
        let current = Current { name, attempt, since: Timestamp::now(), gauge };
        lock(&self.0).insert(job.id, current);
    }

    pub(super) fn end(&self, id: FileId) {
        lock(&self.0).remove(&id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is at work.
#[derive(Debug, Default)]
pub struct AtWork {
    /// How many attempts.
    pub running: usize,
    /// The oldest of them, oldest first.
    pub oldest: Vec<InFlight>,
}

/// How many of them are told by name.
pub(super) const SHOWN: usize = 100;

/// Instances on this machine's cores.
pub struct LocalExecutor {
    shared: Arc<Shared>,
    /// Most files in flight in each slot, and most slots.
    each: usize,
    most: usize,
    /// How many slots hold one file more.
    spare: usize,
    queue: (Sender<Job>, Receiver<Job>),
    stop: watch::Sender<bool>,
    outbox: Arc<Outbox>,
    threads: Vec<Thread>,
    max_threads: usize,
    slots: Vec<Arc<Activity>>,
    /// Publishes what has to be synced before.
    committer: Option<Committer>,
    first_setup: Arc<AtomicBool>,
    setup_worked: Arc<AtomicBool>,
    /// Waits for the threads' ends.
    joining: Option<tokio::task::JoinHandle<()>>,
}

struct Thread {
    slots: mpsc::UnboundedSender<Slot>,
    handle: JoinHandle<()>,
}

impl LocalExecutor {
    /// An executor with no instance yet. `limit`: most files in flight.
    /// `instances`: most instances of an asynchronous task.
    pub fn new(shared: Shared, limit: usize, instances: usize) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let most = match shared.task.interface() {
            Interface::Task => limit,
            Interface::AsyncTask => instances.clamp(1, limit),
        };
        LocalExecutor {
            shared: Arc::new(shared),
            each: limit / most,
            most,
            spare: limit % most,
            queue: async_channel::unbounded(),
            stop: watch::Sender::new(false),
            outbox: Arc::default(),
            threads: Vec::new(),
            max_threads: cores.min(most),
            slots: Vec::new(),
            committer: None,
            first_setup: Arc::new(AtomicBool::new(true)),
            setup_worked: Arc::default(),
            joining: None,
        }
    }

    /// What every slot shares.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Makes slots until there is one for each of `files` in flight, within the
    /// limit.
    pub fn ensure_slots(&mut self, files: usize) -> io::Result<()> {
        while self.slots.len() < files.min(self.most) && !self.queue.0.is_closed() {
            let number = self.slots.len();
            if self.shared.durability == Durability::Batch && self.committer.is_none() {
                let (staging, outbox) = (self.shared.staging.clone(), Arc::clone(&self.outbox));
                self.committer = Some(Committer::start(staging, outbox)?);
            }
            if self.threads.len() < self.max_threads {
                self.threads.push(Thread::start(self.threads.len())?);
            }
            let activity = Arc::new(Activity::default());
            self.slots.push(Arc::clone(&activity));
            let slot = Slot {
                number,
                shared: Arc::clone(&self.shared),
                queue: self.queue.1.clone(),
                outbox: Arc::clone(&self.outbox),
                commits: self.committer.as_ref().map(|committer| committer.queue.clone()),
                stop: self.stop.subscribe(),
                activity,
                taken: RefCell::default(),
                limit: self.each + usize::from(number < self.spare),
                first_setup: Arc::clone(&self.first_setup),
                setup_worked: Arc::clone(&self.setup_worked),
            };
            let thread = &self.threads[number % self.threads.len()];
            thread.slots.send(slot).map_err(|_| io::Error::other("a worker thread is gone"))?;
        }
        Ok(())
    }

    /// Queues a job.
    pub fn hand_out(&mut self, job: Job) {
        if let Err(error) = self.queue.0.try_send(job) {
            self.outbox.push(Report::HandedBack(error.into_inner().id));
        }
    }

    /// Stops taking jobs, and reports those that were not begun as handed back.
    pub fn drain(&self) {
        self.queue.0.close();
        self.stop.send_replace(true);
        while let Ok(job) = self.queue.1.try_recv() {
            self.outbox.push(Report::HandedBack(job.id));
        }
    }

    /// Takes back as many jobs as it can of those that were not begun, `most` at
    /// most, the last ones first.
    pub fn take_back(&self, most: usize) -> Vec<Job> {
        let mut jobs: Vec<Job> = std::iter::from_fn(|| self.queue.1.try_recv().ok()).collect();
        let back = jobs.split_off(jobs.len().saturating_sub(most));
        for job in jobs {
            if let Err(error) = self.queue.0.try_send(job) {
                self.outbox.push(Report::HandedBack(error.into_inner().id));
            }
        }
        back
    }

    /// Waits until there are reports.
    pub async fn wait(&self) {
        self.outbox.wake.notified().await;
    }

    /// Takes the reports that there are.
    pub fn take_reports(&self) -> Vec<Report> {
        std::mem::take(&mut lock(&self.outbox.reports))
    }

    /// What is in flight.
    pub fn at_work(&self) -> AtWork {
        let mut running = 0;
        let mut oldest = Vec::new();
        for slot in &self.slots {
            let current = lock(&slot.0);
            running += current.len();
            oldest.extend(current.values().map(|c| (c.since, shown(&c.name), c.gauge.fraction())));
        }
        oldest.sort_by_key(|&(since, ..)| since);
        oldest.truncate(SHOWN);
        let oldest = oldest.into_iter();
        let oldest = oldest.map(|(since, file, fraction)| InFlight { file, since, fraction });
        AtWork { running, oldest: oldest.collect() }
    }

    /// Every attempt in flight, cut off here and now: the process is to leave.
    pub fn cut_off(&self) -> Vec<Ended> {
        let now = Timestamp::now();
        let mut all = Vec::new();
        for (slot, activity) in self.slots.iter().enumerate() {
            all.extend(lock(&activity.0).iter().map(|(&id, current)| Ended {
                id,
                outcome: Outcome::Interrupted {
                    why: "the run was told to leave at once".into(),
                    explained: true,
                },
                attempt: current.attempt,
                duration: now.duration_since(current.since).unsigned_abs(),
                slot: slot as u32,
                origin: None,
            }));
        }
        all
    }

    /// Waits for the slots to tear down their instances; it may be waited for
    /// again where that was broken off. The last reports are there then. Call [`drain`](Self::drain) before.
    pub async fn ended(&mut self) {
        let threads = std::mem::take(&mut self.threads);
        let committer = self.committer.take();
        let join = || {
            threads.into_iter().for_each(Thread::join);
            // The slots are gone, and with them all that it waits for.
            committer.into_iter().for_each(Committer::join);
        };
        self.joining.get_or_insert_with(|| tokio::task::spawn_blocking(join));
        if let Some(joining) = &mut self.joining {
            // A panic of a thread was reported by its slot.
            let _ = joining.await;
        }
    }
}

impl Thread {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (slots, mut receive) = mpsc::unbounded_channel::<Slot>();
        // Its lines in the log are those of this task.
        let span = tracing::Span::current();
        let handle = thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            let _within = span.enter();
            runtime.block_on(async {
                // Not spawned, so that the runtime looks at its timers whenever
                // a busy guest yields.
                let mut serving = FuturesUnordered::new();
                let mut more = true;
                while more || !serving.is_empty() {
                    tokio::select! {
                        slot = receive.recv(), if more => match slot {
                            Some(slot) => serving.push(slot.serve()),
                            // Dropped: the run is over when every slot is done.
                            None => more = false,
                        },
                        Some(()) = serving.next(), if !serving.is_empty() => {}
                    }
                }
            });
        })?;
        Ok(Thread { slots, handle })
    }

    fn join(self) {
        drop(self.slots);
        let _ = self.handle.join();
    }
}
