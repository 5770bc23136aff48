//! A worker, as the coordinator knows it.

use super::shares::{LOOKAHEAD, MOST_AHEAD};
use crate::executor::slurm::job::{JobId, State};
use crate::executor::slurm::pace::Meter;
use crate::executor::slurm::protocol::{Hello, Seat, WorkerName};
use crate::executor::{Job, Origin};
use crate::workspace::catalog::FileId;
use crate::workspace::progress_file::InFlight;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// How far a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Slurm was asked for it.
    Asked,
    /// It waits in Slurm's queue.
    Pending,
    /// It runs, and sets its task up.
    Starting,
    /// It takes files.
    Ready,
    /// It takes no more files.
    Leaving,
}

pub(super) struct Worker {
    pub(super) job: Option<JobId>,
    pub(super) phase: Phase,
    /// Which process in the seat it is, once that has introduced itself.
    pub(super) restart: Option<u32>,
    pub(super) introduced: Duration,
    pub(super) hello: Hello,
    pub(super) held: BTreeMap<u32, Held>,
    pub(super) begun: usize,
    /// How many of those that it holds are void.
    pub(super) void: usize,
    pub(super) next: u32,
    pub(super) done: u64,
    pub(super) meter: Meter,
    pub(super) heard: Duration,
    pub(super) idle_since: Option<Duration>,
    pub(super) stay: bool,
    /// Files that it was asked to give back.
    pub(super) asked_back: usize,
    pub(super) state: State,
    pub(super) reason: String,
    /// When its job began to run, in Slurm's own words.
    pub(super) start: String,
    pub(super) time_left: Option<(Duration, Duration)>,
    pub(super) unknown_since: Option<Duration>,
    pub(super) over: Option<(Duration, State)>,
    /// Whether this run cancelled it.
    pub(super) cancelled: bool,
    pub(super) in_flight: Vec<InFlight>,
    /// Whether it leaves because Slurm tells it to.
    pub(super) told_by_slurm: bool,
    /// Whether the one before it has left in good order, and Slurm has not said
    /// whether there will be another.
    pub(super) vacated: bool,
}

/// A worker that was given up.
pub(super) struct Ghost {
    /// What it may still publish.
    pub(super) files: HashMap<u32, FileId>,
    pub(super) since: Duration,
}

pub(super) struct Held {
    pub(super) job: Job,
    pub(super) alone: bool,
    pub(super) begun: Option<Duration>,
    /// Its outcome is known from another worker.
    pub(super) void: bool,
}

impl Worker {
    pub(super) fn new(job: Option<JobId>, phase: Phase, now: Duration) -> Self {
        Worker {
            job,
            phase,
            restart: None,
            introduced: now,
            hello: Hello::default(),
            held: BTreeMap::new(),
            begun: 0,
            void: 0,
            next: 0,
            done: 0,
            meter: Meter::default(),
            heard: now,
            idle_since: None,
            stay: false,
            asked_back: 0,
            state: State::Pending,
            reason: String::new(),
            start: String::new(),
            time_left: None,
            unknown_since: None,
            over: None,
            cancelled: false,
            in_flight: Vec::new(),
            told_by_slurm: false,
            vacated: false,
        }
    }

    /// It has this file no more.
    pub(super) fn take(&mut self, seq: u32) -> Option<Held> {
        let held = self.held.remove(&seq)?;
        self.begun -= usize::from(held.begun.is_some());
        self.void -= usize::from(held.void);
        Some(held)
    }

    /// How it is called in messages: with what an administrator asks for.
    pub(super) fn shown(&self, seat: Seat) -> String {
        match (self.job, &*self.hello.node) {
            (None, _) => format!("Worker {seat}"),
            (Some(job), "") => format!("Worker {seat} (job {job})"),
            (Some(job), node) => format!("Worker {seat} (job {job} on {node})"),
        }
    }

    pub(super) fn origin(&self, name: WorkerName) -> Origin {
        Origin {
            worker: name.to_string(),
            job: self.job.map(|job| job.to_string()).unwrap_or_default(),
            node: self.hello.node.clone(),
        }
    }

    /// How many files more it may be given.
    pub(super) fn room(&mut self, concurrency: usize, paced: bool, now: Duration) -> usize {
        let takes = matches!(self.phase, Phase::Starting | Phase::Ready) && self.over.is_none();
        if !takes || self.restart.is_none() || self.held.values().any(|held| held.alone) {
            return 0;
        }
        let most = match self.phase {
            // A paced file begins at once, or it is not given.
            Phase::Starting if paced => 0,
            // What comes after the first files is seen when they have ended.
            Phase::Starting => concurrency,
            _ if paced => concurrency,
            _ => concurrency + self.meter.expect(LOOKAHEAD, now).clamp(1, MOST_AHEAD),
        };
        most.saturating_sub(self.held.len())
    }
}
