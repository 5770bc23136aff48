//! The dispatcher of a run: one loop around one task.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::detach;
use super::display::{self, Bar};
use super::open_files;
use super::signals::Signals;
use super::task_run::{self, TaskRun};
use super::{Exit, Plan, RunError};
use crate::schedule::{Event, Mode};
use crate::workspace::Workspace;
use crate::workspace::catalog::{FileId, State};
use crate::workspace::intake::{Before, Intake, Rules};
use crate::workspace::lock::Owner;
use crate::workspace::stop_request::StopRequest;
use crate::workspace::watch::Watch;

/// How long the dispatcher lets reports gather while there is work: to be woken
/// for each would cost as much as a small file.
pub const BUSY_PAUSE: Duration = Duration::from_millis(1);

/// Longest sleep of the dispatcher when there is nothing to do.
pub const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// How many listings in a row may fail before a server gives up: a network file
/// system comes back.
pub const LISTING_TRIES: u32 = 20;

/// How often `run.json` is renewed while there is something to tell.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// How often to look whether somebody asks the run to stop by a file.
const REQUEST_INTERVAL: Duration = Duration::from_secs(2);

/// Carries out a plan. Returns when the run is over.
pub fn execute(mut plan: Plan) -> Result<Exit, RunError> {
    if plan.slurm.is_none() {
        let (concurrency, instances) = (plan.concurrency, plan.instances);
        plan.concurrency =
            open_files::share(&plan.task, &mut plan.sandbox, concurrency, instances, 1);
    }
    block_on(async |signals| {
        let (dispatcher, ready) = Dispatcher::start(plan, signals)?;
        Ok(dispatcher.run(ready).await)
    })
}

/// Drives a dispatcher on this thread, which catches signals from now on.
pub fn block_on<E: From<RunError>>(
    work: impl AsyncFnOnce(Signals) -> Result<Exit, E>,
) -> Result<Exit, E> {
    let process = |action| move |cause| RunError::Process { action, cause };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(process("start the runtime"))?;
    let result = runtime.block_on(async {
        // Before anything is begun, so that no signal finds it half-way.
        let signals = Signals::new().map_err(process("catch signals"))?;
        work(signals).await
    });
    // A staging step that takes its time is not waited for.
    runtime.shutdown_background();
    result
}

struct Dispatcher {
    begun: Instant,
    mode: Mode,
    task: TaskRun,
    intake: Intake,
    input_dir: String,
    /// `None` with `--once`.
    watch: Option<Watch>,
    signals: Signals,
    requests: Requests,
    before: Before,
    bar: Bar,
    next_poll: Instant,
    next_progress: Instant,
    /// Whether it was told to stop.
    stopping: bool,
    listing_failures: u32,
}

impl Dispatcher {
    /// Opens the workspace and finds what there is to do.
    fn start(plan: Plan, signals: Signals) -> Result<(Self, Vec<FileId>), RunError> {
        let begun = Instant::now();
        let gate = task_run::gate(&plan)?;
        let workspace = Workspace::open(&plan.output_dir, &plan.task_name)?;
        workspace.tell_taken_over();
        let input_dir = plan.sandbox.input_dir.clone();
        let scan_error = |cause| RunError::Scan {
            input: input_dir.clone(),
            output: plan.output_dir.clone(),
            cause,
        };
        // Watching begins before the listing: nothing falls between.
        let watch = (plan.mode != Mode::Once).then(|| Watch::new(&input_dir, plan.poll));
        let rules = Rules {
            input_dir: input_dir.clone(),
            output_dir: Some(plan.output_dir.clone()),
            pairing: plan.pairing.clone(),
            settle: plan.settle,
            follow_links: plan.follow_links,
            retry_failed: plan.retry_failed,
            retry_aborted: plan.retry_aborted,
        };
        let mut intake = Intake::new(rules).map_err(scan_error)?;
        let (mut before, mut ready) = intake.first().map_err(scan_error)?;
        tracing::info!("{}", display::found(&before));

        let (mode, poll, bar, detached) = (plan.mode, plan.poll, plan.bar, plan.detached);
        let requests = Requests::of(&workspace);
        let task = TaskRun::open(plan, workspace, gate, &mut intake, &mut before)?;
        if detached {
            let log = task.workspace().new_log()?;
            let left = detach::leave_terminal(log);
            left.map_err(|cause| RunError::Process { action: "leave the terminal", cause })?;
        }
        // Some are claimed by workers, and some were settled meanwhile.
        ready.retain(|&id| intake.catalog.state(id) == State::Waiting);
        let now = Instant::now();
        let dispatcher = Dispatcher {
            begun,
            mode,
            task,
            intake,
            input_dir: input_dir.display().to_string(),
            next_poll: now + watch.as_ref().map_or(poll, Watch::poll),
            watch,
            signals,
            before,
            bar: Bar::new(bar, before.to_do),
            next_progress: now,
            requests,
            stopping: false,
            listing_failures: 0,
        };
        Ok((dispatcher, ready))
    }

    async fn run(mut self, ready: Vec<FileId>) -> Exit {
        if self.mode != Mode::Once {
            self.task.rehearse(&mut self.intake);
        }
        self.step(Event::Found(ready));
        while self.task.ending().is_none() {
            self.renew();
            let wake = self.next_wake();
            tokio::select! {
                signal = self.signals.next() => self.signal(signal),
                request = self.requests.next() => {
                    self.heed(&request);
                }
                () = self.task.wait() => {
                    self.reports();
                    if self.task.held() > 0 {
                        tokio::time::sleep(BUSY_PAUSE).await;
                    }
                }
                () = events(self.watch.as_ref()) => self.arrivals(),
                () = tokio::time::sleep_until(wake.into()) => self.time_passed(),
            }
        }
        self.finish().await
    }

    /// Tells the task what happened.
    fn step(&mut self, event: Event) {
        if let Some(signal) = self.task.step(event, &mut self.intake) {
            self.abandon(signal);
        }
    }

    /// Leaves at once, with the books closed. What is in flight is still to do.
    fn abandon(&mut self, signal: i32) -> ! {
        self.bar.finish();
        let exit = leave_at_once(signal);
        self.task.abandon(exit, &mut self.intake);
        std::process::exit(i32::from(exit.code()));
    }

    fn signal(&mut self, signal: i32) {
        tracing::warn!("Received signal {signal}, initiating shutdown");
        self.stop(signal);
    }

    fn stop(&mut self, signal: i32) {
        self.step(Event::StopAsked(signal));
        self.stopping = true;
        self.write_progress();
    }

    fn heed(&mut self, request: &StopRequest) {
        for signal in asked_by(request, self.stopping) {
            self.stop(signal);
        }
    }

    fn reports(&mut self) {
        let ended = self.task.reports(&mut self.intake);
        for id in ended {
            let again = self.intake.ended(id);
            if !again.is_empty() {
                self.step(Event::Found(again));
            }
        }
    }

    fn arrivals(&mut self) {
        let Some(watch) = &self.watch else { return };
        let arrivals = watch.take();
        let ready = self.intake.arrived(arrivals.files);
        self.step(Event::Found(ready));
        if arrivals.lost {
            tracing::debug!("events were lost: listing the input directory");
            self.list(true);
        }
    }

    fn list(&mut self, force: bool) {
        match self.intake.again(force) {
            Ok(ready) => {
                self.listing_failures = 0;
                self.step(Event::Found(ready));
            }
            Err(error) => {
                let message = format!("failed to list `{}`: {error}", self.input_dir);
                self.listing_failures += 1;
                let lasting =
                    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
                if lasting || self.listing_failures >= LISTING_TRIES {
                    self.task.host_failed(&message, &mut self.intake);
                } else {
                    tracing::warn!("{message}; trying again");
                }
            }
        }
    }

    fn time_passed(&mut self) {
        let now = Instant::now();
        if self.intake.next_due().is_some_and(|due| due <= now) {
            let ready = self.intake.settled();
            self.step(Event::Found(ready));
        }
        if let Some(watch) = &self.watch
            && self.next_poll <= now
        {
            let poll = watch.poll();
            self.list(false);
            self.next_poll = Instant::now() + poll.max(self.intake.pause());
        }
        self.step(Event::Tick);
    }

    /// Renews what other processes and people see of the run, when it is time.
    fn renew(&mut self) {
        let now = Instant::now();
        if self.bar.is_due(now) {
            let at_work = self.task.at_work();
            let left = self.task.left(&self.intake);
            self.bar.update(self.task.counts(), left, &at_work.oldest);
        }
        if self.next_progress <= now && (self.task.has_news() || self.task.held() > 0) {
            self.next_progress = now + PROGRESS_INTERVAL;
            self.write_progress();
        }
    }

    fn write_progress(&mut self) {
        self.task.write_progress(None, self.stopping, &self.intake);
    }

    fn next_wake(&self) -> Instant {
        let busy = self.task.held() > 0;
        [
            Some(Instant::now() + LONGEST_SLEEP),
            self.watch.as_ref().map(|_| self.next_poll),
            self.intake.next_due(),
            self.task.next_wake(),
            (self.task.has_news() || busy).then_some(self.next_progress),
            (self.bar.is_shown() && busy).then(|| Instant::now() + display::REDRAW),
        ]
        .into_iter()
        .flatten()
        .min()
        .expect("there is a longest sleep")
    }

    /// Tears the instances down and closes the books.
    async fn finish(mut self) -> Exit {
        tracing::info!("Shutting down task");
        loop {
            tokio::select! {
                () = self.task.torn_down() => break,
                signal = self.signals.next() => self.signal(signal),
                request = self.requests.next() => {
                    self.heed(&request);
                }
            }
        }
        self.reports();
        self.bar.finish();
        let exit = self.task.exit(self.before.failed + self.before.timed_out > 0);
        self.task.close(exit, self.stopping, &mut self.intake);
        let rest = display::Rest {
            left: self.task.left(&self.intake),
            not_taken: self.intake.catalog.count(State::Skipped),
        };
        let elapsed = self.begun.elapsed();
        tracing::info!("{}", display::summary(&self.before, self.task.counts(), rest, elapsed));
        tracing::info!("Task shutdown complete");
        exit
    }
}

/// Says that the run leaves at once. Returns how it ends by that.
pub fn leave_at_once(signal: i32) -> Exit {
    tracing::warn!(
        "Received signal {signal} again, leaving at once: files in flight are still to do"
    );
    Exit::Signal(signal)
}

/// Requests to stop that are made by a file.
pub struct Requests {
    path: PathBuf,
    to: Owner,
    next_look: Instant,
}

impl Requests {
    /// Those to the holder of this workspace.
    pub fn of(workspace: &Workspace) -> Self {
        let (path, to) = (workspace.layout.stop_request(), workspace.owner.clone());
        Requests { path, to, next_look: Instant::now() }
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> StopRequest {
        loop {
            tokio::time::sleep_until(self.next_look.into()).await;
            self.next_look = Instant::now() + REQUEST_INTERVAL;
            match StopRequest::take(&self.path) {
                Ok(Some(request)) if request.to == self.to => return request,
                // It was meant for a run before this one.
                Ok(_) => {}
                Err(error) => tracing::debug!("failed to look for a request to stop: {error}"),
            }
        }
    }
}

/// Says that somebody asks to stop by a file. Returns the signals that this stands
/// for. `stopping`: whether the run was told to stop before.
pub fn asked_by(request: &StopRequest, stopping: bool) -> Vec<i32> {
    let signal = rustix::process::Signal::TERM.as_raw();
    let from = &request.from;
    let mut signals = Vec::new();
    if !stopping {
        tracing::warn!("Told to stop by `tigerflow-host stop` on {from}, initiating shutdown");
        signals.push(signal);
    }
    if request.now {
        tracing::warn!("Told to leave at once by `tigerflow-host stop --now` on {from}");
        signals.push(signal);
    }
    signals
}

/// Waits until files have come, where there is somebody to tell.
pub async fn events(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.wait().await,
        None => std::future::pending().await,
    }
}
