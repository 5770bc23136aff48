//! The dispatcher of a pipeline: one loop around its inputs and all of its tasks.

mod files;
mod start;
mod tell;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::inbox::{CycleEnd, Inbox};
use super::lens::Lens;
use super::lists::{List, Looks};
use super::places::{self, Places};
use super::progress;
use super::removal::Removal;
use super::tracker::{File, Settled, Tracker};
use super::{PipelineError, PipelinePlan, setup_commands};
use crate::engine::stage::Counts;
use crate::log;
use crate::run::Exit;
use crate::run::dispatch::{
    BUSY_PAUSE, LONGEST_SLEEP, Requests, asked_by, block_on, leave_at_once,
};
use crate::run::signals::Signals;
use crate::run::task_run::TaskRun;
use crate::schedule::{Ending, Event, Mode};
use crate::workspace::Workspace;
use crate::workspace::catalog::FileId;
use crate::workspace::intake::Look;
use crate::workspace::journal::Journal;
use crate::workspace::names::Pairing;
use crate::workspace::stop_request::StopRequest;

/// How often `run.json` is renewed while there is something to tell.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// How often the log says how many files were staged and finished.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(10);

/// How often to look for an output that another machine has published and that is not
/// to be seen here, and for how long.
const LATE_LOOK: Duration = Duration::from_millis(200);
/// See [`LATE_LOOK`].
const LATE_LIMIT: Duration = Duration::from_secs(60);

/// Carries out a plan. Returns when the pipeline is over.
pub fn execute(mut plan: PipelinePlan) -> Result<Exit, PipelineError> {
    // Before signals are caught: one ends what hangs.
    for task in &plan.tasks {
        let _within = log::task_span(&task.name).entered();
        setup_commands::run(&task.setup_commands);
    }
    if let Some(staging) = &mut plan.staging {
        staging.start().map_err(PipelineError::Staging)?;
    }
    block_on(async |signals| {
        let dispatcher = Dispatcher::start(plan, signals)?;
        Ok(dispatcher.run().await)
    })
}

/// An output or an error that is not to be seen here yet.
struct Late {
    task: usize,
    file: FileId,
    since: Instant,
}

/// A task of the pipeline.
struct Task {
    name: String,
    kind: &'static str,
    run: TaskRun,
    pairing: Pairing,
    places: Places,
    /// Files that its parent has made for it, and that it was not told of.
    found: Vec<FileId>,
    /// Whether nothing of its executor is left.
    is_torn_down: bool,
}

/// Files that came to an end in this run.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    finished: usize,
    failed: usize,
    aborted: usize,
}

struct Dispatcher {
    begun: Instant,
    mode: Mode,
    workspace: Workspace,
    journal: Journal,
    started: progress::Started,
    signals: Signals,
    requests: Requests,
    inbox: Inbox,
    tracker: Tracker,
    max_staged: usize,
    tasks: Vec<Task>,
    finished: List,
    aborted_before: usize,
    tally: Tally,
    /// Files that are done with, and not on the list yet.
    done: Vec<(File, Settled, Option<Look>)>,
    late: Vec<Late>,
    /// `None` where inputs stay.
    removal: Option<Removal>,
    /// What the inputs in the pipeline were when they were taken: on disk, and by number.
    taken: Looks,
    looks: HashMap<FileId, Look>,
    /// Inputs that arrived while an earlier file of their name was in the pipeline, by
    /// the number of that.
    held_back: HashMap<FileId, FileId>,
    /// Since when a task does not find what its parent has made, though it is there.
    gone: HashMap<(usize, FileId), Instant>,
    next_late: Instant,
    next_progress: Instant,
    next_summary: Instant,
    /// Files that were staged, and finished, since the log told of it.
    staged_lately: usize,
    finished_lately: usize,
    /// When there was work last.
    busy_at: Instant,
    was_idle: bool,
    news: bool,
    stopping: bool,
    /// Whether the end has begun.
    winding_up: bool,
    host_failed: bool,
}

impl Dispatcher {
    async fn run(mut self) -> Exit {
        if self.mode != Mode::Once || !self.is_idle() {
            for task in 0..self.tasks.len() {
                self.with(task, |run, lens| run.rehearse(lens));
            }
        }
        loop {
            // What is finished makes room on disk before anything takes its place.
            self.finish_files();
            self.take_in();
            self.hand_on();
            self.look_after();
            if self.winding_up && self.tasks.iter().all(|task| task.run.ending().is_some()) {
                break;
            }
            self.renew();
            let wake = self.next_wake();
            tokio::select! {
                signal = self.signals.next() => self.signal(signal),
                request = self.requests.next() => self.heed(&request),
                () = any(&mut self.tasks) => {
                    self.reports();
                    if self.tasks.iter().any(|task| task.run.held() > 0) {
                        tokio::time::sleep(BUSY_PAUSE).await;
                    }
                }
                cycle = self.inbox.wait() => self.arrivals(cycle),
                removed = gone(self.removal.as_mut()) => self.removed(removed),
                () = tokio::time::sleep_until(wake.into()) => self.time_passed(),
            }
        }
        self.finish().await
    }

    /// Does something with a task, which sees the files as its own.
    fn with<T>(&mut self, task: usize, what: impl FnOnce(&mut TaskRun, &mut Lens<'_>) -> T) -> T {
        let this = &mut self.tasks[task];
        let mut lens =
            Lens { tracker: &mut self.tracker, task, pairing: &this.pairing, inbox: None };
        what(&mut this.run, &mut lens)
    }

    /// Tells a task what happened.
    fn step(&mut self, task: usize, event: Event) {
        if let Some(signal) = self.with(task, |run, lens| run.step(event, lens)) {
            self.abandon(signal);
        }
    }

    /// Leaves at once, with the books closed. What is in flight is still to do.
    fn abandon(&mut self, signal: i32) -> ! {
        let exit = leave_at_once(signal);
        for task in 0..self.tasks.len() {
            self.with(task, |run, lens| run.abandon(exit, lens));
        }
        self.close(exit);
        self.workspace.release();
        std::process::exit(i32::from(exit.code()));
    }

    fn signal(&mut self, signal: i32) {
        tracing::warn!("Received signal {signal}, initiating shutdown");
        self.stop(signal);
    }

    fn stop(&mut self, signal: i32) {
        if self.stopping {
            self.abandon(signal);
        }
        (self.stopping, self.winding_up, self.news) = (true, true, true);
        for task in 0..self.tasks.len() {
            self.step(task, Event::StopAsked(signal));
        }
        self.write_progress(None);
    }

    fn heed(&mut self, request: &StopRequest) {
        for signal in asked_by(request, self.stopping) {
            self.stop(signal);
        }
    }

    /// Has all tasks end, as nothing more is to be done.
    fn wind_up(&mut self) {
        if !std::mem::replace(&mut self.winding_up, true) {
            for task in 0..self.tasks.len() {
                self.step(task, Event::Close);
            }
        }
    }

    /// The pipeline itself cannot go on.
    fn fail(&mut self, error: &PipelineError) {
        if !std::mem::replace(&mut self.host_failed, true) {
            tracing::error!("{error}");
        }
        self.wind_up();
    }

    fn counts(&self) -> Counts {
        Counts {
            waiting: self.inbox.waiting() as u64,
            staged: self.tracker.len() as u64,
            completed: (self.started.finished_before + self.tally.finished) as u64,
            failed: self.tally.failed as u64,
        }
    }

    fn has_room(&self) -> bool {
        self.tracker.len() < self.max_staged
    }

    /// Takes inputs into the pipeline, as far as there is room.
    fn take_in(&mut self) {
        if self.winding_up {
            return;
        }
        let taken = self.inbox.take(self.counts());
        self.admit(taken);
    }

    /// Gives tasks what was made for them.
    fn hand_on(&mut self) {
        for task in 0..self.tasks.len() {
            let found = std::mem::take(&mut self.tasks[task].found);
            if !found.is_empty() {
                self.step(task, Event::Found(found));
            }
        }
    }

    fn reports(&mut self) {
        for task in 0..self.tasks.len() {
            let ended = self.with(task, |run, lens| run.reports(lens));
            for file in ended {
                self.ended(task, file);
            }
        }
    }

    fn arrivals(&mut self, cycle: Option<CycleEnd>) {
        let result = match cycle {
            Some(end) => {
                match self.inbox.cycle_ended(end, self.counts()) {
                    Some(taken) if !self.winding_up => self.admit(taken),
                    Some(_) => {}
                    None => {
                        let why = "an internal fault of tigerflow-host: a staging step is lost";
                        self.fail(&PipelineError::Stuck(why.into()));
                    }
                }
                Ok(())
            }
            None => self.inbox.arrivals(),
        };
        self.listed(result);
    }

    fn listed(&mut self, result: std::io::Result<()>) {
        if let Err(cause) = result {
            let path = self.inbox.input_dir().clone();
            self.fail(&PipelineError::io("list", &path)(cause));
        }
    }

    fn removed(&mut self, removed: Vec<FileId>) {
        self.inbox.forget(&removed);
    }

    fn time_passed(&mut self) {
        let now = Instant::now();
        let result = self.inbox.time_passed(now);
        self.listed(result);
        if self.next_late <= now {
            self.next_late = now + LATE_LOOK;
            for late in std::mem::take(&mut self.late) {
                self.look_for(late, now);
            }
        }
        for task in 0..self.tasks.len() {
            self.step(task, Event::Tick);
        }
    }

    /// Whether there is nothing to do until something arrives.
    fn is_idle(&self) -> bool {
        self.tracker.is_empty() && self.inbox.is_idle() && self.late.is_empty()
    }

    /// Looks whether it is over, or a task cannot go on.
    fn look_after(&mut self) {
        let now = Instant::now();
        if let Some(removal) = &mut self.removal
            && removal.due().is_some_and(|due| due <= now)
        {
            removal.begin(places::file_systems(self.tasks.iter().map(|task| &task.places)));
        }
        if self.winding_up {
            return;
        }
        if self.tasks.iter().any(|task| task.run.winds_up().is_some()) {
            return self.wind_up();
        }
        let idle = self.is_idle();
        if !idle {
            self.busy_at = now;
        } else if !self.was_idle && self.tally.finished + self.tally.failed > 0 {
            self.tell_summary();
            if matches!(self.mode, Mode::Idle(_)) {
                tracing::info!("No more files to process, starting idle time count");
            }
        }
        self.was_idle = idle;
        match self.mode {
            Mode::Once if idle => self.wind_up(),
            Mode::Idle(limit) if idle && now - self.busy_at >= limit => {
                tracing::info!("Idle timeout reached, initiating shutdown");
                self.wind_up();
            }
            _ => {}
        }
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let busy = !self.tracker.is_empty() || self.winding_up;
        let idle = match self.mode {
            Mode::Idle(limit) if self.was_idle => Some(self.busy_at + limit),
            _ => None,
        };
        let lately = self.staged_lately + self.finished_lately > 0;
        [
            Some(now + LONGEST_SLEEP),
            self.inbox.next_wake(!self.winding_up && self.has_room()),
            idle,
            (!self.late.is_empty()).then_some(self.next_late),
            self.removal.as_ref().and_then(Removal::due),
            (self.news || busy).then_some(self.next_progress),
            lately.then_some(self.next_summary),
        ]
        .into_iter()
        .chain(self.tasks.iter().map(|task| task.run.next_wake()))
        .flatten()
        .min()
        .expect("there is a longest sleep")
    }

    /// Tears all instances down and closes the books.
    async fn finish(mut self) -> Exit {
        tracing::info!("Shutting down pipeline");
        self.finish_files();
        loop {
            tokio::select! {
                () = all_torn_down(&mut self.tasks) => break,
                signal = self.signals.next() => self.signal(signal),
                request = self.requests.next() => self.heed(&request),
            }
        }
        self.reports();
        self.finish_files();
        while let Some(removal) = self.removal.as_mut().filter(|removal| !removal.is_idle()) {
            removal.begin(places::file_systems(self.tasks.iter().map(|task| &task.places)));
            removal.wait().await;
        }
        let exit = self.exit();
        let stopping = self.stopping;
        for task in 0..self.tasks.len() {
            self.with(task, |run, lens| {
                let own = run.exit(false);
                // What ended them all is no task's own.
                run.close(if stopping { exit } else { own }, stopping, lens);
            });
        }
        self.tell_summary();
        self.close(exit);
        self.tell_end();
        exit
    }

    fn exit(&self) -> Exit {
        let exits: Vec<Exit> = self.tasks.iter().map(|task| task.run.exit(false)).collect();
        let any = |exit: Exit| exits.contains(&exit);
        let signal = exits.iter().find(|exit| matches!(exit, Exit::Signal(_)));
        let enough = self.tasks.iter().any(|t| t.run.ending() == Some(Ending::TooManyFailures));
        let kept = self.removal.as_ref().is_some_and(Removal::has_failed);
        let stuck = signal.is_none() && self.inbox.is_stuck();
        if any(Exit::SetupFailed) {
            Exit::SetupFailed
        } else if self.host_failed || any(Exit::HostFailed) || kept || stuck {
            Exit::HostFailed
        } else if let Some(signal) = signal {
            *signal
        } else if self.tally.failed > 0 || any(Exit::SomeFailed) || enough {
            Exit::SomeFailed
        } else {
            Exit::Done
        }
    }
}

/// Waits until any of the tasks has something to tell. Nothing is lost if it is not
/// waited for to the end.
async fn any(tasks: &mut [Task]) {
    let mut waits: FuturesUnordered<_> = tasks.iter_mut().map(|task| task.run.wait()).collect();
    waits.next().await;
}

/// Waits until nothing is left of any task; it may be waited for again where that was
/// broken off.
async fn all_torn_down(tasks: &mut [Task]) {
    let left = tasks.iter_mut().filter(|task| !task.is_torn_down);
    let ends: FuturesUnordered<_> = left
        .map(async |task| {
            task.run.torn_down().await;
            task.is_torn_down = true;
        })
        .collect();
    ends.collect::<()>().await;
}

/// Waits until inputs are deleted, if any are to be.
async fn gone(removal: Option<&mut Removal>) -> Vec<FileId> {
    match removal {
        Some(removal) => removal.wait().await,
        None => std::future::pending().await,
    }
}
