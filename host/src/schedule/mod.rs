//! What to do next: a pure state machine, `(state, event) → actions`.
//!
//! It knows no clock, no disk and no engine. Time comes in as a value with each
//! event; what it decides goes out as [`Action`]s that the caller carries out.

use std::collections::VecDeque;
use std::time::Duration;

use crate::workspace::catalog::FileId;

/// How many instances in a row may fail in `setup` before the run gives up. The
/// first one of a run has no second chance: nothing ever worked.
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

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// These inputs may be taken, in this order.
    Found(Vec<FileId>),
    /// An attempt ended, however it did.
    Ended(FileId),
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
    held: usize,
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
    pub fn new(mode: Mode, window: usize) -> Self {
        assert!(window > 0, "a run holds at least one file");
        Scheduler {
            mode,
            window,
            pending: VecDeque::new(),
            held: 0,
            ending: None,
            ended: false,
            stop_asked: false,
            setup_worked: false,
            setup_failures: 0,
            busy_at: Duration::ZERO,
        }
    }

    /// Inputs known and not handed out.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Whether the end has begun.
    pub fn is_winding_up(&self) -> bool {
        self.ending.is_some()
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

    /// Takes in what happened at `now`, counted from the start of the run.
    /// `unsettled`: how many inputs are known but may still be written to.
    pub fn on(&mut self, event: Event, now: Duration, unsettled: usize) -> Vec<Action> {
        let mut actions = Vec::new();
        if !self.is_idle() || unsettled > 0 {
            self.busy_at = now;
        }
        match event {
            Event::Found(files) => self.pending.extend(files),
            Event::Ended(_) => self.held -= 1,
            Event::HandedBack(file) => {
                self.held -= 1;
                self.pending.push_front(file);
            }
            Event::SetupWorked => {
                self.setup_worked = true;
                self.setup_failures = 0;
            }
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
            Event::Tick => {}
        }
        if !self.is_idle() {
            self.busy_at = now;
        }
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
        self.pending.is_empty() && self.held == 0
    }

    /// Begins the end. A graver reason overrules a lighter one that came first.
    fn wind_up(&mut self, ending: Ending, actions: &mut Vec<Action>) {
        match self.ending {
            None => {
                self.ending = Some(ending);
                actions.push(Action::Drain);
            }
            Some(Ending::Complete) => self.ending = Some(ending),
            Some(Ending::Signal(_)) if ending == Ending::HostFailed => self.ending = Some(ending),
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
