//! The local executor: instances on this machine's cores.
//!
//! A **slot** holds one instance at a time and works on one file at a time.
//! Slots are made as work asks for them, up to the concurrency limit, so that a
//! trickle of files is served by one instance that is set up once. They share a
//! queue, so no file waits behind a slow one while another slot is free.
//!
//! Each thread drives its slots on a runtime of its own, and file access is in
//! place on that thread: nothing is handed between threads but file names and
//! reports.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};

use super::{Ended, Job, Report};
use crate::engine::{Alias, Gauge, Instance, RunEnd, Sandbox, Task};
use crate::log;
use crate::outcome::{Cause, Failure, Outcome};
use crate::text::{clip, size};
use crate::workspace::Workspace;
use crate::workspace::catalog::FileId;
use crate::workspace::error_file::{ABORTED, ErrorFile, TaskIdentity};
use crate::workspace::names::{Pairing, guest_name, shown};
use crate::workspace::progress_file::InFlight;
use crate::workspace::staging::{PublishError, Staging};

/// An instance is replaced after this many files, for what interpreters leak…
const RECYCLE_AFTER: u32 = 1_000;

/// …but only where its setup was cheap: where it took less than this part of
/// the time since.
const RECYCLE_COST: u32 = 50;

/// What every slot of a run shares.
pub struct Shared {
    /// The task.
    pub task: Task,
    /// What its instances may reach.
    pub sandbox: Sandbox,
    /// Where outcomes go.
    pub workspace: Workspace,
    /// How names pair.
    pub pairing: Pairing,
    /// The input directory, resolved.
    pub canonical_input: PathBuf,
    /// Whether links may lead out of it.
    pub follow_links: bool,
    /// Who made an `.err`.
    pub identity: TaskIdentity,
}

/// Reports on their way to the dispatcher.
#[derive(Default)]
struct Outbox {
    reports: Mutex<Vec<Report>>,
    wake: Notify,
}

impl Outbox {
    fn push(&self, report: Report) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
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
struct Activity {
    current: Mutex<Option<(OsString, Timestamp)>>,
    gauge: Gauge,
}

/// Instances on this machine's cores.
pub struct LocalExecutor {
    shared: Arc<Shared>,
    limit: usize,
    queue: (Sender<Job>, Receiver<Job>),
    outbox: Arc<Outbox>,
    threads: Vec<Thread>,
    max_threads: usize,
    slots: Vec<Arc<Activity>>,
    first_setup: Arc<AtomicBool>,
    setup_worked: Arc<AtomicBool>,
}

struct Thread {
    slots: mpsc::UnboundedSender<Slot>,
    handle: JoinHandle<()>,
}

impl LocalExecutor {
    /// An executor with no instance yet. `limit`: most files in flight.
    pub fn new(shared: Shared, limit: usize) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        LocalExecutor {
            shared: Arc::new(shared),
            limit,
            queue: async_channel::unbounded(),
            outbox: Arc::default(),
            threads: Vec::new(),
            max_threads: cores.min(limit),
            slots: Vec::new(),
            first_setup: Arc::new(AtomicBool::new(true)),
            setup_worked: Arc::default(),
        }
    }

    /// What every slot shares.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Makes slots until there are enough for `files` in flight, within the
    /// limit.
    pub fn ensure_slots(&mut self, files: usize) -> io::Result<()> {
        while self.slots.len() < files.min(self.limit) && !self.queue.0.is_closed() {
            let number = self.slots.len();
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
                activity,
                first_setup: Arc::clone(&self.first_setup),
                setup_worked: Arc::clone(&self.setup_worked),
                current: Cell::new(None),
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
        while let Ok(job) = self.queue.1.try_recv() {
            self.outbox.push(Report::HandedBack(job.id));
        }
    }

    /// Waits until there are reports.
    pub async fn wait(&self) {
        self.outbox.wake.notified().await;
    }

    /// Takes the reports that there are.
    pub fn take_reports(&self) -> Vec<Report> {
        std::mem::take(&mut self.outbox.reports.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is in flight, oldest first.
    pub fn in_flight(&self) -> Vec<InFlight> {
        let mut all: Vec<InFlight> = self
            .slots
            .iter()
            .filter_map(|slot| {
                let current = slot.current.lock().unwrap_or_else(PoisonError::into_inner);
                let (name, since) = current.as_ref()?;
                let fraction = slot.gauge.fraction();
                Some(InFlight { file: shown(name), since: *since, fraction })
            })
            .collect();
        all.sort_by_key(|attempt| attempt.since);
        all
    }

    /// Waits for the slots to tear down their instances. The last reports are
    /// there then. Call [`drain`](Self::drain) before.
    pub fn ended(&mut self) -> impl Future<Output = ()> + use<> {
        let threads = std::mem::take(&mut self.threads);
        async move {
            let join = || threads.into_iter().for_each(Thread::join);
            // A panic of a thread was reported by its slot.
            let _ = tokio::task::spawn_blocking(join).await;
        }
    }
}

impl Thread {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (slots, mut receive) = mpsc::unbounded_channel::<Slot>();
        let handle = thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
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

/// One place for an instance.
struct Slot {
    number: usize,
    shared: Arc<Shared>,
    queue: Receiver<Job>,
    outbox: Arc<Outbox>,
    activity: Arc<Activity>,
    first_setup: Arc<AtomicBool>,
    /// Whether any instance of this run was set up.
    setup_worked: Arc<AtomicBool>,
    /// The job at work, so that not even a fault of the host loses it.
    current: Cell<Option<FileId>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if thread::panicking() {
            let reason = "an internal fault of tigerflow-host (see above); please report it";
            self.outbox.push(Report::HostFailed(reason.into()));
            if let Some(id) = self.current.take() {
                self.outbox.push(Report::HandedBack(id));
            }
        }
    }
}

/// An instance and what it has cost.
struct Live {
    instance: Instance,
    setup_time: Duration,
    since: Instant,
    runs: u32,
}

/// A disk with so much room, in bytes, is not full by what a run needs.
const AMPLE_ROOM: u64 = 1 << 30;

/// Longest message of a task that goes on a log line, in bytes.
const LOG_MESSAGE: usize = 500;

/// Why a slot gives a job back rather than an outcome.
struct HostFailure(String);

impl Slot {
    async fn serve(self) {
        let staging = match self.shared.workspace.staging(self.number) {
            Ok(staging) => staging,
            Err(error) => return self.outbox.push(Report::HostFailed(error.to_string())),
        };
        // A slot is made because there is work, so set up before waiting for it.
        let mut live = self.set_up(&staging).await;
        if live.is_none() && !self.setup_worked.load(Ordering::Relaxed) {
            // It fails everywhere, then: to try again would only repeat it.
            return;
        }
        while let Ok(job) = self.queue.recv().await {
            self.current.set(Some(job.id));
            if live.is_none() {
                live = self.set_up(&staging).await;
            }
            if live.is_none() {
                self.current.set(None);
                self.outbox.push(Report::HandedBack(job.id));
                continue;
            }
            let attempt = self.attempt(&mut live, &staging, &job).await;
            self.current.set(None);
            self.set_activity(None);
            match attempt {
                Ok(ended) => self.outbox.push(Report::Ended(ended)),
                Err(HostFailure(reason)) => {
                    self.outbox.push(Report::HostFailed(reason));
                    self.outbox.push(Report::HandedBack(job.id));
                    // Its staging place may hold half an output.
                    break;
                }
            }
            if live.as_mut().is_some_and(Live::is_worn) {
                self.tear_down(live.take()).await;
            }
        }
        self.tear_down(live).await;
    }

    async fn set_up(&self, staging: &Staging) -> Option<Live> {
        let begun = Instant::now();
        let first = self.first_setup.swap(false, Ordering::Relaxed);
        let say = |line: &str| {
            // The first one is news; its copies are not.
            if first { tracing::info!("{line}") } else { tracing::debug!("{line}") }
        };
        say("Setting up task");
        let (shared, gauge) = (&self.shared, self.activity.gauge.clone());
        match Instance::create(&shared.task, &shared.sandbox, staging.guest_path(), gauge).await {
            Ok(instance) => {
                say("Task setup complete");
                self.setup_worked.store(true, Ordering::Relaxed);
                self.outbox.push(Report::SetupWorked);
                let setup_time = begun.elapsed();
                Some(Live { instance, setup_time, since: Instant::now(), runs: 0 })
            }
            Err(error) => {
                self.outbox.push(Report::SetupFailed(error));
                None
            }
        }
    }

    async fn tear_down(&self, live: Option<Live>) {
        if let Some(live) = live
            && let Err(failure) = live.instance.teardown().await
        {
            self.outbox.push(Report::TeardownFailed(failure));
        }
    }

    /// Works on one file and publishes what comes of it.
    async fn attempt(
        &self,
        live: &mut Option<Live>,
        staging: &Staging,
        job: &Job,
    ) -> Result<Ended, HostFailure> {
        let shared = &*self.shared;
        let stem = shared.pairing.stem(&job.name).unwrap_or_default();
        let output_name = shared.pairing.output_name(stem);
        let guest_input = guest_name(stem, &shared.pairing.input);
        let guest_output = guest_name(stem, &shared.pairing.output);
        tracing::info!(target: log::FILE, "Starting processing: {}", shown(&job.name));
        self.set_activity(Some(&job.name));
        let begun = Instant::now();

        let alias = (job.link || job.name.to_str().is_none()).then(|| Alias {
            guest_name: guest_input.clone(),
            path: shared.sandbox.input_dir.join(&job.name),
            within: shared.canonical_input.clone(),
            follow_links: shared.follow_links,
        });
        let current = live.as_mut().expect("an attempt is made in an instance");
        current.runs += 1;
        let end = current.instance.run(&guest_input, &guest_output, alias).await;
        if !current.instance.is_alive() {
            *live = None;
        } else if end == RunEnd::Ok && current.instance.holds(|| staging.identity(&guest_output)) {
            // It could write to its output after it is published.
            self.tear_down(live.take()).await;
        }
        let attempt = job.attempts_before + 1;
        let outcome = match end {
            RunEnd::Ok => {
                match staging.publish(&guest_output, &output_name, shared.sandbox.output_limit) {
                    Ok(()) => {
                        // Always: another run may have left one meanwhile.
                        staging.remove_error(&shared.pairing.error_name(stem))?;
                        Outcome::Done
                    }
                    Err(error @ PublishError::NotAFile(_)) => {
                        failed("BadOutput", error.to_string())
                    }
                    Err(error @ PublishError::TooLarge(..)) => {
                        failed("OutputLimit", error.to_string())
                    }
                    Err(error @ PublishError::Io { .. }) => return Err(error.into()),
                }
            }
            RunEnd::Failed(_) | RunEnd::Aborted(_) if self.is_gone(&job.name) => Outcome::Vanished,
            RunEnd::Failed(failure) => Outcome::Failed(failure),
            RunEnd::Aborted(reason) => Outcome::Aborted(reason),
            RunEnd::DiskFull(written) => self.disk_full(staging, &job.name, written)?,
        };
        let duration = begun.elapsed();
        self.publish_error(staging, job, &outcome, attempt, duration)?;
        // The next attempt must not find what this one left.
        staging.clear().map_err(|error| {
            HostFailure(format!("failed to empty `{}`: {error}", staging.guest_path().display()))
        })?;
        let name = shown(&job.name);
        match &outcome {
            Outcome::Done => tracing::info!(target: log::FILE, "Successfully processed: {name}"),
            Outcome::Failed(failure) => tracing::error!(
                "Failed processing: {name} ({}: {})",
                failure.exception_type,
                first_line(&failure.message)
            ),
            Outcome::Aborted(reason) => {
                tracing::info!("Aborted processing: {name} ({})", first_line(reason));
            }
            Outcome::Vanished => tracing::info!("Gone before it was processed: {name}"),
        }
        Ok(Ended { id: job.id, outcome, attempt, duration, slot: self.number as u32 })
    }

    /// Whose fault a full disk is: of the task, if it alone has filled a disk
    /// that has ample room, and else of nobody in here.
    fn disk_full(
        &self,
        staging: &Staging,
        name: &OsStr,
        written: u64,
    ) -> Result<Outcome, HostFailure> {
        let room = staging.clear().and_then(|()| staging.room()).unwrap_or(0);
        if room >= AMPLE_ROOM && written >= room / 2 {
            let message = format!(
                "it filled the disk: it wrote {} (--output-limit bounds that for each file)",
                size(written)
            );
            return Ok(failed("OutputLimit", message));
        }
        Err(HostFailure(format!(
            "no space is left, in `{}` or in a granted directory, for {}, which had written {}: \
             free some and run the same command again, nothing is lost",
            staging.output_dir().display(),
            shown(name),
            size(written)
        )))
    }

    fn publish_error(
        &self,
        staging: &Staging,
        job: &Job,
        outcome: &Outcome,
        attempts: u32,
        duration: Duration,
    ) -> Result<(), HostFailure> {
        let shared = &*self.shared;
        let (exception_type, message, traceback, stderr) = match outcome {
            Outcome::Done | Outcome::Vanished => return Ok(()),
            Outcome::Failed(f) => (&*f.exception_type, &*f.message, &*f.traceback, &*f.stderr),
            Outcome::Aborted(reason) => (ABORTED, &**reason, "", ""),
        };
        let error = ErrorFile {
            file: shared.sandbox.input_dir.join(&job.name).to_string_lossy().into_owned(),
            timestamp: Timestamp::now(),
            exception_type: exception_type.into(),
            message: message.into(),
            traceback: traceback.into(),
            attempts,
            duration_seconds: duration.as_secs_f64(),
            stderr: stderr.into(),
            task: shared.identity.clone(),
        };
        let mut content = serde_json::to_vec_pretty(&error).expect("an error is plain data");
        content.push(b'\n');
        let stem = shared.pairing.stem(&job.name).unwrap_or_default();
        Ok(staging.publish_error(&shared.pairing.error_name(stem), &content)?)
    }

    fn is_gone(&self, name: &OsStr) -> bool {
        let path = self.shared.sandbox.input_dir.join(name);
        fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    fn set_activity(&self, name: Option<&OsStr>) {
        *self.activity.current.lock().unwrap_or_else(PoisonError::into_inner) =
            name.map(|name| (name.to_owned(), Timestamp::now()));
    }
}

impl Live {
    fn is_worn(&mut self) -> bool {
        self.instance.is_leaking()
            || self.runs >= RECYCLE_AFTER && self.setup_time * RECYCLE_COST < self.since.elapsed()
    }
}

impl From<PublishError> for HostFailure {
    fn from(error: PublishError) -> Self {
        HostFailure(error.to_string())
    }
}

/// A failure that the host saw, rather than the task.
fn failed(exception_type: &str, message: String) -> Outcome {
    Outcome::Failed(Failure {
        cause: Cause::Failed,
        exception_type: exception_type.into(),
        message,
        traceback: String::new(),
        stderr: String::new(),
    })
}

/// A message as it fits a log line; the `.err` has it whole.
fn first_line(message: &str) -> String {
    clip(message.lines().next().unwrap_or_default().into(), LOG_MESSAGE)
}
