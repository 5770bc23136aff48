//! A slot whose instance works on many files at once.
//!
//! An instance that is to be replaced, because an attempt in it was given up or
//! because it leaks, takes no further files and finishes those that it has,
//! while its successor takes what comes next: a slot holds several generations
//! then, and within its limit all of them together.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;

use super::attempt::{self, Attempt, Concluded, HostFailure, Left};
use super::slot::Slot;
use super::{Job, Report};
use crate::engine::{Calls, ConcurrentInstance, Gauge, Isolation, Lost, RunEnd, SetupError};
use crate::outcome::Outcome;
use crate::workspace::catalog::FileId;
use crate::workspace::names::shown;
use crate::workspace::staging::Staging;

/// How often an attempt may be cut off, where nobody knows by what, before it is
/// held to be the cause itself.
const INTERRUPTIONS: u32 = 3;

/// What the generations of a slot share.
struct Generations<'a> {
    slot: &'a Slot,
    /// Files in flight, over all generations.
    in_flight: Cell<usize>,
    /// How many may be.
    allowed: Cell<usize>,
    /// Tells that there is room again.
    room: Notify,
    /// Tells that the youngest generation takes no further files.
    closed: Notify,
    /// How many there were.
    number: Cell<usize>,
}

/// The life of one instance.
struct Generation<'a> {
    all: &'a Generations<'a>,
    staging: Staging,
    /// Files that it took, and whose attempt has not begun.
    gated: RefCell<HashSet<FileId>>,
    /// The attempts at work, by lane.
    lanes: RefCell<HashMap<u32, Rc<Attempt>>>,
    /// Lanes that were used and are free, and the first that was never used.
    free: RefCell<Vec<u32>>,
    unused: Cell<u32>,
    /// Whether it takes no further files.
    is_closed: Cell<bool>,
    /// Whether something failed that goes for every file.
    host_failed: Cell<bool>,
}

impl Slot {
    pub(super) async fn serve_many(&self) {
        let all = Generations {
            slot: self,
            in_flight: Cell::new(0),
            allowed: Cell::new(self.limit),
            room: Notify::new(),
            closed: Notify::new(),
            number: Cell::new(0),
        };
        if self.shared.sandbox.isolation == Isolation::File {
            return all.live_one_by_one().await;
        }
        let mut living = FuturesUnordered::new();
        // A slot is made because there is work, so set up before waiting for it.
        living.push(all.live(None));
        let mut taking = true;
        loop {
            tokio::select! {
                job = self.queue.recv(), if !taking && all.has_room() => match job {
                    Ok(job) => {
                        all.took(&job);
                        living.push(all.live(Some(job)));
                        taking = true;
                    }
                    Err(_) => break,
                },
                () = all.room.notified(), if !taking && !all.has_room() => {}
                () = all.closed.notified(), if taking => taking = false,
                Some(()) = living.next(), if !living.is_empty() => {
                    if self.never_worked() {
                        break;
                    }
                }
            }
        }
        while living.next().await.is_some() {}
    }
}

impl<'a> Generations<'a> {
    fn has_room(&self) -> bool {
        self.in_flight.get() < self.allowed.get()
    }

    /// An instance was lost, and with it what all its attempts had done: fewer
    /// are put at risk together until some have gone well.
    fn be_careful(&self) {
        self.allowed.set((self.allowed.get() / 2).max(1));
    }

    fn took(&self, job: &Job) {
        self.slot.took(job);
        self.in_flight.set(self.in_flight.get() + 1);
    }

    fn report(&self, id: FileId, report: Report) {
        self.slot.report(id, report);
        self.made_room();
    }

    fn settle(&self, name: OsString, concluded: Concluded) {
        if !matches!(concluded.ended.outcome, Outcome::Interrupted { .. }) {
            self.allowed.set((self.allowed.get() + 1).min(self.slot.limit));
        }
        self.slot.settle(name, concluded);
        self.made_room();
    }

    fn made_room(&self) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.room.notify_one();
    }

    /// Has each file's own instance live, one after another: a slot never holds two.
    async fn live_one_by_one(&'a self) {
        while let Ok(job) = self.slot.queue.recv().await {
            self.took(&job);
            self.live(Some(job)).await;
            if self.slot.never_worked() {
                break;
            }
        }
    }

    /// Makes an instance, has it work, and tears it down.
    async fn live(&'a self, first: Option<Job>) {
        let (slot, shared) = (self.slot, &*self.slot.shared);
        let hand_back = |job: Option<Job>| {
            if let Some(job) = job {
                self.report(job.id, Report::HandedBack(job.id));
            }
        };
        let number = self.number.replace(self.number.get() + 1);
        let staging = match shared.staging.place(&format!("{}-{number}", slot.number)) {
            Ok(staging) => staging,
            Err(error) => {
                slot.outbox.push(Report::HostFailed(error.to_string()));
                hand_back(first);
                return self.closed.notify_one();
            }
        };
        let create =
            ConcurrentInstance::create(&shared.task, &shared.sandbox, staging.guest_path());
        let Some(mut instance) = slot.create(create).await else {
            hand_back(first);
            return self.closed.notify_one();
        };
        let generation = Generation {
            all: self,
            staging,
            gated: first.iter().map(|job| job.id).collect::<HashSet<_>>().into(),
            lanes: RefCell::default(),
            free: RefCell::default(),
            unused: Cell::new(1),
            is_closed: Cell::new(false),
            host_failed: Cell::new(false),
        };
        let served = instance.serve(async |calls| generation.work(calls, first).await).await;
        generation.close();
        match served {
            Ok(()) => {
                if let Err(failure) = instance.teardown().await {
                    slot.outbox.push(Report::TeardownFailed(failure));
                }
            }
            // The instance goes first: nothing in it writes any more.
            Err(lost) => {
                drop(instance);
                generation.account(lost);
            }
        }
    }
}

impl Generation<'_> {
    /// Takes files and works on them, until there is no more for it to do.
    async fn work(&self, calls: &Calls<'_>, first: Option<Job>) {
        let slot = self.all.slot;
        let mut running = FuturesUnordered::new();
        if slot.shared.sandbox.isolation == Isolation::File {
            // The first is the last.
            self.close();
        }
        running.extend(first.map(|job| self.attempt(calls, job)));
        loop {
            let open = !self.is_closed.get();
            tokio::select! {
                job = slot.queue.recv(), if open && self.all.has_room() => match job {
                    Ok(job) => {
                        self.all.took(&job);
                        self.gated.borrow_mut().insert(job.id);
                        running.push(self.attempt(calls, job));
                    }
                    Err(_) => self.close(),
                },
                () = self.all.room.notified(), if open && !self.all.has_room() => {}
                Some(()) = running.next(), if !running.is_empty() => {}
                else => return,
            }
            if calls.is_haunted() || calls.is_leaking() || self.host_failed.get() {
                self.close();
            }
        }
    }

    /// Takes no further files.
    fn close(&self) {
        if !self.is_closed.replace(true) {
            self.all.closed.notify_one();
        }
    }

    /// Works on one file and reports what comes of it.
    async fn attempt(&self, calls: &Calls<'_>, job: Job) {
        let slot = self.all.slot;
        let id = job.id;
        let pass = slot.pass().await;
        self.gated.borrow_mut().remove(&id);
        match pass {
            Ok(Some(_pass)) => self.run(calls, job).await,
            Ok(None) => self.all.report(id, Report::HandedBack(id)),
            Err(failure) => self.host_failed(id, failure),
        }
    }

    async fn run(&self, calls: &Calls<'_>, job: Job) {
        let (slot, id) = (self.all.slot, job.id);
        let shared = &*slot.shared;
        let free = self.free.borrow_mut().pop();
        let lane = free.unwrap_or_else(|| self.unused.replace(self.unused.get() + 1));
        let staging = match self.staging.lane(lane) {
            Ok(staging) => staging,
            Err(error) => {
                let place = self.staging.guest_path();
                let reason = format!("failed to make a place in `{}`: {error}", place.display());
                return self.host_failed(id, HostFailure(reason));
            }
        };
        if let Some(ended) = attempt::stood(&job, shared, &staging, slot.number) {
            self.free.borrow_mut().push(lane);
            return self.all.report(id, Report::Ended(ended));
        }
        let gauge = Gauge::default();
        slot.begin(&job, gauge.clone());
        let attempt = Rc::new(Attempt::begin(job, staging, slot.number));
        self.lanes.borrow_mut().insert(lane, Rc::clone(&attempt));

        let (input, output) = (attempt.input(shared), attempt.output(shared));
        let end = calls.run(lane, &input, &output, attempt.alias(shared), gauge).await;
        let held = end == RunEnd::Ok && calls.holds(|| attempt.output_identity(shared));
        self.lanes.borrow_mut().remove(&lane);
        // What was given up might write there still.
        if !calls.is_haunted() {
            self.free.borrow_mut().push(lane);
        }
        let left = if held { Left::InUse } else { Left::Anything };
        self.report(&attempt, attempt.conclude(shared, end, left));
    }

    fn report(&self, attempt: &Attempt, concluded: Result<Concluded, HostFailure>) {
        let id = attempt.job.id;
        match concluded {
            Ok(concluded) => self.all.settle(attempt.job.name.clone(), concluded),
            Err(failure) => self.host_failed(id, failure),
        }
    }

    fn host_failed(&self, id: FileId, HostFailure(reason): HostFailure) {
        self.all.slot.activity.end(id);
        self.host_failed.set(true);
        self.all.slot.outbox.push(Report::HostFailed(reason));
        self.all.report(id, Report::HandedBack(id));
    }

    /// Accounts for the attempts of an instance that ended in their middle: one
    /// has ended it, and the others are free to run again.
    fn account(&self, lost: Lost) {
        let shared = &*self.all.slot.shared;
        for id in self.gated.take() {
            self.all.report(id, Report::HandedBack(id));
        }
        let mut lanes: Vec<(u32, Rc<Attempt>)> = self.lanes.take().into_iter().collect();
        // What is handed back last is handed out first.
        lanes.sort_by_key(|(_, attempt)| Reverse(attempt.job.id));
        let culprit = lanes.iter().find(|(lane, _)| lost.lane == Some(*lane));
        let culprit = culprit.map(|(_, attempt)| shown(&attempt.job.name));
        // Nobody in flight has ended it, if something that was given up may have.
        let explained = culprit.is_some() || lost.haunted;
        if self.unused.get() == 1 {
            // No lane was ever used: it worked in `setup` and on nothing else.
            let error = match &lost.end {
                RunEnd::Failed(failure) => SetupError::Task(failure.clone()),
                _ => SetupError::Host("the instance broke before it had a file".into()),
            };
            self.all.slot.outbox.push(Report::SetupFailed(error));
        }
        for (lane, attempt) in lanes {
            let suspect = !explained && attempt.job.interruptions >= INTERRUPTIONS;
            let ended = if lost.lane == Some(lane) || suspect {
                attempt.conclude(shared, lost.end.clone(), Left::Anything)
            } else {
                let why = match &culprit {
                    Some(file) => format!("{file} ended the instance that both ran in"),
                    None => "the instance that it ran in broke".into(),
                };
                attempt.interrupt(why, explained)
            };
            self.report(&attempt, ended);
        }
        self.all.be_careful();
    }
}
