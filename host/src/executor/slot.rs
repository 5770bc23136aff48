//! A slot: one place for an instance, and here for one that works on one file
//! at a time.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use tokio::sync::watch;

use super::attempt::{self, Attempt, Concluded, HostFailure, Left};
use super::commit::Finished;
use super::gate::Pass;
use super::local::{Activity, Outbox, Shared};
use super::{Job, Report};
use crate::engine::{Gauge, Instance, Interface, Isolation, RunEnd, SetupError};
use crate::workspace::catalog::FileId;
use crate::workspace::staging::Staging;

/// An instance is replaced after this many files, for what interpreters leak…
const RECYCLE_AFTER: u32 = 1_000;

/// …but only where its setup was cheap: where it took less than this part of
/// the time since.
const RECYCLE_COST: u32 = 50;

/// One place for an instance.
pub(super) struct Slot {
    /// Its number, from 0.
    pub(super) number: usize,
    /// What it shares with its neighbours.
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Receiver<Job>,
    pub(super) outbox: Arc<Outbox>,
    /// Where outputs go that have to be synced before they are published.
    pub(super) commits: Option<mpsc::Sender<Finished>>,
    /// Whether the run winds up.
    pub(super) stop: watch::Receiver<bool>,
    /// What it is at.
    pub(super) activity: Arc<Activity>,
    /// Files that it took and has not reported on.
    pub(super) taken: RefCell<HashSet<FileId>>,
    /// Most files in flight in it.
    pub(super) limit: usize,
    /// Whether no instance of this run was begun to set up yet.
    pub(super) first_setup: Arc<AtomicBool>,
    /// Whether any instance of this run was set up.
    pub(super) setup_worked: Arc<AtomicBool>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if thread::panicking() {
            let reason = "an internal fault of tigerflow-host (see above); please report it";
            self.outbox.push(Report::HostFailed(reason.into()));
            // Not even a fault of the host loses a file.
            for id in self.taken.take() {
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

impl Slot {
    /// Works until the queue is closed and empty, or something failed that goes
    /// for every file.
    pub(super) async fn serve(self) {
        match self.shared.task.interface() {
            Interface::Task => self.serve_one_by_one().await,
            Interface::AsyncTask => self.serve_many().await,
        }
    }

    async fn serve_one_by_one(&self) {
        let staging = match self.shared.staging.place(&self.number.to_string()) {
            Ok(staging) => staging,
            Err(error) => return self.outbox.push(Report::HostFailed(error.to_string())),
        };
        let isolated = self.shared.sandbox.isolation == Isolation::File;
        let gauge = Gauge::default();
        // A slot is made because there is work, so set up before waiting for it.
        let mut live = self.set_up(&staging, &gauge).await;
        if live.is_none() && self.never_worked() {
            return;
        }
        while let Ok(job) = self.queue.recv().await {
            let id = job.id;
            let name = job.name.clone();
            self.took(&job);
            if live.is_none() {
                live = self.set_up(&staging, &gauge).await;
            }
            let pass = match &live {
                Some(_) => self.pass().await,
                None => Ok(None),
            };
            let attempt = match pass {
                Ok(Some(_pass)) => {
                    match attempt::stood(&job, &self.shared, &staging, self.number) {
                        Some(ended) => Ok(Some(Concluded { ended, output: None })),
                        None => {
                            self.begin(&job, gauge.clone());
                            let attempt = Attempt::begin(job, staging.clone(), self.number);
                            self.attempt(&mut live, &attempt).await.map(Some)
                        }
                    }
                }
                Ok(None) => Ok(None),
                Err(failure) => Err(failure),
            };
            match attempt {
                Ok(Some(concluded)) => self.settle(name, concluded),
                Ok(None) => self.report(id, Report::HandedBack(id)),
                Err(HostFailure(reason)) => {
                    self.activity.end(id);
                    self.outbox.push(Report::HostFailed(reason));
                    self.report(id, Report::HandedBack(id));
                    // Its staging place may hold half an output.
                    break;
                }
            }
            if live.as_mut().is_some_and(|live| isolated || live.is_worn()) {
                let left = self.tear_down(live.take()).await;
                if left == Left::Anything && !self.clear(&staging) {
                    break;
                }
            }
        }
        self.tear_down(live).await;
    }

    /// Takes note of a file that it took from the queue.
    pub(super) fn took(&self, job: &Job) {
        self.taken.borrow_mut().insert(job.id);
    }

    /// Takes note that an attempt begins now.
    pub(super) fn begin(&self, job: &Job, gauge: Gauge) {
        self.activity.begin(job, gauge);
        if let Some(on_begin) = &self.shared.on_begin {
            on_begin(job.id);
        }
    }

    /// Reports what came of a file that it took.
    pub(super) fn report(&self, id: FileId, report: Report) {
        self.taken.borrow_mut().remove(&id);
        self.outbox.push(report);
    }

    /// Reports how an attempt ended, or has its output synced and published first.
    pub(super) fn settle(&self, name: OsString, concluded: Concluded) {
        let Concluded { ended, output } = concluded;
        let id = ended.id;
        match (output, &self.commits) {
            (Some(output), Some(commits)) => {
                self.taken.borrow_mut().remove(&id);
                let activity = Arc::clone(&self.activity);
                if commits.send(Finished { name, ended, output, activity }).is_err() {
                    let reason = "an internal fault of tigerflow-host: nobody publishes";
                    self.outbox.push(Report::HostFailed(reason.into()));
                    self.outbox.push(Report::HandedBack(id));
                }
            }
            _ => {
                self.activity.end(id);
                self.report(id, Report::Ended(ended));
            }
        }
    }

    /// Whether `setup` fails everywhere, so that to try again would only repeat
    /// it.
    pub(super) fn never_worked(&self) -> bool {
        !self.setup_worked.load(Ordering::Relaxed)
    }

    /// Waits until an attempt may begin. `None`: the run winds up before.
    pub(super) async fn pass(&self) -> Result<Option<Pass>, HostFailure> {
        if self.shared.gate.is_open() {
            return Ok(Some(Pass::default()));
        }
        let mut stop = self.stop.clone();
        tokio::select! {
            pass = self.shared.gate.pass() => pass.map(Some).map_err(|error| {
                HostFailure(format!("failed to take a place under a label: {error}"))
            }),
            // An error: the executor is gone, and the run with it.
            _ = stop.wait_for(|stop| *stop) => Ok(None),
        }
    }

    /// Makes an instance with `create`, and reports how that went.
    pub(super) async fn create<T>(
        &self,
        create: impl Future<Output = Result<T, SetupError>>,
    ) -> Option<T> {
        let first = self.first_setup.swap(false, Ordering::Relaxed);
        let say = |line: &str| {
            // The first one is news; its copies are not.
            if first { tracing::info!("{line}") } else { tracing::debug!("{line}") }
        };
        say("Setting up task");
        match create.await {
            Ok(instance) => {
                say("Task setup complete");
                self.setup_worked.store(true, Ordering::Relaxed);
                self.outbox.push(Report::SetupWorked);
                Some(instance)
            }
            Err(error) => {
                self.outbox.push(Report::SetupFailed(error));
                None
            }
        }
    }

    async fn set_up(&self, staging: &Staging, gauge: &Gauge) -> Option<Live> {
        let begun = Instant::now();
        let (task, sandbox) = (&self.shared.task, &self.shared.sandbox);
        let create = Instance::create(task, sandbox, staging.guest_path(), gauge.clone());
        let Some(instance) = self.create(create).await else {
            // What it has left is no file's output.
            self.clear(staging);
            return None;
        };
        Some(Live { instance, setup_time: begun.elapsed(), since: Instant::now(), runs: 0 })
    }

    /// Ends an instance. Returns what it may have left in its staging place.
    async fn tear_down(&self, live: Option<Live>) -> Left {
        let Some(mut live) = live else { return Left::Nothing };
        if let Err(failure) = live.instance.teardown().await {
            self.outbox.push(Report::TeardownFailed(failure));
        }
        match live.instance.has_made_more() {
            true => Left::Anything,
            false => Left::Nothing,
        }
    }

    /// Empties the staging place of what a guest left there outside of `run`.
    fn clear(&self, staging: &Staging) -> bool {
        let result = staging.clear();
        if let Err(error) = &result {
            let place = staging.guest_path();
            let reason = format!("failed to empty `{}`: {error}", place.display());
            self.outbox.push(Report::HostFailed(reason));
        }
        result.is_ok()
    }

    /// Works on one file and publishes what comes of it.
    async fn attempt(
        &self,
        live: &mut Option<Live>,
        attempt: &Attempt,
    ) -> Result<Concluded, HostFailure> {
        let shared = &*self.shared;
        let current = live.as_mut().expect("an attempt is made in an instance");
        current.runs += 1;
        let (input, output) = (attempt.input(shared), attempt.output(shared));
        let end = current.instance.run(&input, &output, attempt.alias(shared)).await;
        let mut left = match current.instance.has_made_more() {
            true => Left::Anything,
            false => Left::Nothing,
        };
        if !current.instance.is_alive() {
            *live = None;
        } else if end == RunEnd::Ok && current.instance.holds(|| attempt.output_identity(shared)) {
            if shared.sandbox.isolation == Isolation::None {
                shared.sandbox.notices.tell(
                    "its output",
                    "The task keeps its output open when `run` returns, so each file takes a new \
                     instance: it should close what it writes",
                );
            }
            // It could write to its output after it is published.
            self.tear_down(live.take()).await;
            left = Left::Anything;
        }
        attempt.conclude(shared, end, left)
    }
}

impl Live {
    fn is_worn(&mut self) -> bool {
        self.instance.is_leaking()
            || self.runs >= RECYCLE_AFTER && self.setup_time * RECYCLE_COST < self.since.elapsed()
    }
}
