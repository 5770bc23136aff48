//! What to do next: a pure state machine, `(state, event) → actions`.
//!
//! It knows no clock, no disk and no engine. Time comes in as a value with each
//! event; what it decides goes out as [`Action`]s that the caller carries out.

mod retry;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

pub use self::retry::{LONGEST_RETRY_AFTER, RetryOn, RetryPolicy};

use crate::workspace::catalog::FileId;

/// How many instances may fail in `setup`, with no file worked on in between,
/// before the run gives up. The first one of a run has no second chance: nothing
/// ever worked.
const SETUP_TRIES: u32 = 3;

/// When a run ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When what was there at the start is done.
    Once,
    /// When nothing has been in flight or waiting for this long.
    Idle(Duration),
    /// Never: it serves until it is told to stop.
    Serve,
}

/// When a run gives up because too many files fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxFailures {
    /// When so many have failed.
    Count(usize),
    /// When so many of a hundred that ended have failed, once
    /// [`LEAST_ENDED`](Self::LEAST_ENDED) have ended.
    Percent(f64),
}

impl MaxFailures {
    /// Of fewer files no percentage is taken.
    pub const LEAST_ENDED: usize = 20;

    fn is_reached(self, failed: usize, ended: usize) -> bool {
        match self {
            MaxFailures::Count(most) => failed >= most,
            MaxFailures::Percent(most) => {
                ended >= Self::LEAST_ENDED && failed as f64 * 100.0 >= most * ended as f64
            }
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// These inputs may be taken, in this order.
    Found(Vec<FileId>),
    /// The outcome of a file is settled.
    Ended {
        /// The file.
        file: FileId,
        /// Whether it failed.
        failed: bool,
    },
    /// An attempt failed, and another one is to be made after this time.
    Retry(FileId, Duration),
    /// An attempt could not be made, and the file is still to do.
    HandedBack(FileId),
    /// An instance was set up.
    SetupWorked,
    /// An instance was not set up.
    SetupFailed,
    /// The host failed in a way that goes for every file: a full disk, say.
    HostFailed,
    /// The user asks to stop.
    StopAsked(i32),
    /// Nothing more will be found, as the caller knows better.
    Close,
    /// Nothing but that time passed, or that files stopped being unsettled.
    Tick,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Give these files to the executor, in this order.
    HandOut(Vec<FileId>),
    /// Take back what the executor has not begun; let the rest finish.
    Drain,
    /// Nothing is in flight and nothing will be: the run is over.
    End(Ending),
    /// The user asked twice: leave at once.
    Abandon(i32),
}

/// Why a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All was done, or nothing came for long enough.
    Complete,
    /// `setup` fails.
    SetupFailed,
    /// Too many files fail.
    TooManyFailures,
    /// The host failed.
    HostFailed,
    /// A signal asked for it.
    Signal(i32),
}

/// The state of a run.
#[derive(Debug)]
pub struct Scheduler {
    mode: Mode,
    /// How many files the executor may hold: those in flight, and some ahead so
    /// that it never waits for the next.
    window: usize,
    pending: VecDeque<FileId>,
    /// Files that wait for their next attempt, the one that is due first on top;
    /// among those that are due together, the one that came first.
    delayed: BinaryHeap<Reverse<(Duration, u64, FileId)>>,
    /// How many were ever delayed.
    delays: u64,
    held: usize,
    max_failures: Option<MaxFailures>,
    /// Files whose outcome this run has settled, and how many of them failed.
    settled: usize,
    failed: usize,
    ending: Option<Ending>,
    ended: bool,
    /// Whether the user asked to stop.
    stop_asked: bool,
    setup_worked: bool,
    setup_failures: u32,
    /// When there was work last.
    busy_at: Duration,
}

impl Scheduler {
    /// A run that has found nothing yet.
    pub fn new(mode: Mode, window: usize, max_failures: Option<MaxFailures>) -> Self {
        assert!(window > 0, "a run holds at least one file");
        Scheduler {
            mode,
            window,
            pending: VecDeque::new(),
            delayed: BinaryHeap::new(),
            delays: 0,
            held: 0,
            max_failures,
            settled: 0,
            failed: 0,
            ending: None,
            ended: false,
            stop_asked: false,
            setup_worked: false,
            setup_failures: 0,
            busy_at: Duration::ZERO,
        }
    }

    /// Inputs known and not handed out, other than for a retry.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Inputs that wait for the time of their next attempt.
    pub fn retrying(&self) -> usize {
        self.delayed.len()
    }

    /// When the next of those is due.
    pub fn next_retry(&self) -> Option<Duration> {
        match self.ending {
            None => self.delayed.peek().map(|Reverse((due, ..))| *due),
            Some(_) => None,
        }
    }

    /// Whether the end has begun.
    pub fn is_winding_up(&self) -> bool {
        self.ending.is_some()
    }

    /// Why the end has begun, if it has.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Files that the executor holds.
    pub fn held(&self) -> usize {
        self.held
    }

    /// When, if nothing happens before, the run is over for lack of work.
    pub fn idle_deadline(&self) -> Option<Duration> {
        match self.mode {
            Mode::Idle(limit) if self.is_idle() && self.ending.is_none() => {
                Some(self.busy_at + limit)
            }
            _ => None,
        }
    }

    /// The executor holds so many files already, of a run that died.
    pub fn adopt(&mut self, files: usize) {
        self.held += files;
    }

    /// Takes in what happened at `now`, counted from the start of the run.
    /// `unsettled`: how many inputs are known but may still be written to.
    pub fn on(&mut self, event: Event, now: Duration, unsettled: usize) -> Vec<Action> {
        let mut actions = Vec::new();
        if !self.is_idle() || unsettled > 0 {
            self.busy_at = now;
        }
        match event {
            Event::Found(files) => self.pending.extend(files),
            Event::Ended { file: _, failed } => {
                self.held -= 1;
                self.setup_failures = 0;
                self.settled += 1;
                self.failed += usize::from(failed);
                if failed
                    && self.max_failures.is_some_and(|m| m.is_reached(self.failed, self.settled))
                {
                    self.wind_up(Ending::TooManyFailures, &mut actions);
                }
            }
            Event::Retry(file, after) => {
                self.held -= 1;
                self.setup_failures = 0;
                self.delays += 1;
                self.delayed.push(Reverse((now.saturating_add(after), self.delays, file)));
            }
            Event::HandedBack(file) => {
                self.held -= 1;
                self.pending.push_front(file);
            }
            Event::SetupWorked => self.setup_worked = true,
            Event::SetupFailed => {
                self.setup_failures += 1;
                if !self.setup_worked || self.setup_failures >= SETUP_TRIES {
                    self.wind_up(Ending::SetupFailed, &mut actions);
                }
            }
            Event::HostFailed => self.wind_up(Ending::HostFailed, &mut actions),
            Event::StopAsked(signal) => {
                if std::mem::replace(&mut self.stop_asked, true) {
                    actions.push(Action::Abandon(signal));
                }
                self.wind_up(Ending::Signal(signal), &mut actions);
            }
            Event::Close => self.wind_up(Ending::Complete, &mut actions),
            Event::Tick => {}
        }
        if !self.is_idle() {
            self.busy_at = now;
        }
        self.take_due(now);
        self.hand_out(&mut actions);
        let over = match self.mode {
            Mode::Once => true,
            Mode::Idle(limit) => now.saturating_sub(self.busy_at) >= limit,
            Mode::Serve => false,
        };
        if over && self.is_idle() && unsettled == 0 {
            self.wind_up(Ending::Complete, &mut actions);
        }
        if let Some(ending) = self.ending
            && self.held == 0
            && !self.ended
        {
            self.ended = true;
            actions.push(Action::End(ending));
        }
        actions
    }

    fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.held == 0 && self.delayed.is_empty()
    }

    /// Files whose time has come go first: their wait was long enough.
    fn take_due(&mut self, now: Duration) {
        let due = |entry: &Reverse<(Duration, u64, FileId)>| entry.0.0 <= now;
        let mut files = Vec::new();
        while self.ending.is_none() && self.delayed.peek().is_some_and(due) {
            files.extend(self.delayed.pop().map(|Reverse((.., file))| file));
        }
        for file in files.into_iter().rev() {
            self.pending.push_front(file);
        }
    }

    /// Begins the end. A graver reason overrules a lighter one that came first.
    fn wind_up(&mut self, ending: Ending, actions: &mut Vec<Action>) {
        match self.ending {
            None => {
                self.ending = Some(ending);
                actions.push(Action::Drain);
            }
            Some(Ending::Complete) => self.ending = Some(ending),
            Some(Ending::Signal(_) | Ending::TooManyFailures) if ending == Ending::HostFailed => {
                self.ending = Some(ending);
            }
            Some(_) => {}
        }
    }

    fn hand_out(&mut self, actions: &mut Vec<Action>) {
        if self.ending.is_some() {
            return;
        }
        let room = self.window.saturating_sub(self.held).min(self.pending.len());
        if room > 0 {
            self.held += room;
            actions.push(Action::HandOut(self.pending.drain(..room).collect()));
        }
    }
}

#[cfg(test)]
mod tests;
