//! The dispatcher: one loop around the scheduler.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::detach;
use super::display::{self, Bar};
use super::open_files;
use super::signals::Signals;
use super::{Exit, Plan, RunError};
use crate::engine::SetupError;
use crate::executor::gate::Gate;
use crate::executor::local::{LocalExecutor, Shared};
use crate::executor::slurm::{self, Court, Resumed, SlurmExecutor};
use crate::executor::{Ended, Executor, Job, Report};
use crate::outcome::{Failure, Outcome};
use crate::schedule::{Action, Ending, Event, Mode, Scheduler};
use crate::text::count;
use crate::workspace::catalog::{FileId, State};
use crate::workspace::error_file::TaskIdentity;
use crate::workspace::intake::{Before, Intake, Rules};
use crate::workspace::journal::{self, Attempt, AttemptOutcome, Journal, Record, RunStarted};
use crate::workspace::names::shown;
use crate::workspace::progress_file::{Counts, Progress};
use crate::workspace::stop_request::StopRequest;
use crate::workspace::watch::Watch;
use crate::workspace::{Error as WorkspaceError, Workspace, advice};

/// How many files the executor holds beyond those in flight. Enough to keep
/// every slot busy between two looks of the dispatcher, and nothing to take
/// back that costs anything.
const AHEAD: usize = 1_024;

/// How many files the coordinator of Slurm workers holds: enough for all of
/// them, and what a name costs in memory times this is little.
const SLURM_WINDOW: usize = 50_000;

/// How long the dispatcher lets reports gather while there is work: to be woken
/// for each would cost as much as a small file.
const BUSY_PAUSE: Duration = Duration::from_millis(1);

/// Longest sleep of the dispatcher when there is nothing to do.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// How many listings in a row may fail before a server gives up: a network file
/// system comes back.
const LISTING_TRIES: u32 = 20;

/// How often `run.json` is renewed while there is something to tell.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// How often to look whether somebody asks the run to stop by a file.
const REQUEST_INTERVAL: Duration = Duration::from_secs(2);

/// Carries out a plan. Returns when the run is over.
pub fn execute(mut plan: Plan) -> Result<Exit, RunError> {
    if plan.slurm.is_none() {
        let (concurrency, instances) = (plan.concurrency, plan.instances);
        plan.concurrency = open_files::share(&plan.task, &mut plan.sandbox, concurrency, instances);
    }
    let process = |action| move |cause| RunError::Process { action, cause };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(process("start the runtime"))?;
    runtime.block_on(async {
        // Before anything is begun, so that no signal finds it half-way.
        let signals = Signals::new().map_err(process("catch signals"))?;
        let (dispatcher, ready) = Dispatcher::start(plan, signals)?;
        Ok(dispatcher.run(ready).await)
    })
}

struct Dispatcher {
    begun: Instant,
    mode: Mode,
    scheduler: Scheduler,
    executor: Executor,
    workspace: Workspace,
    intake: Intake,
    /// `None` with `--once`.
    watch: Option<Watch>,
    journal: Journal,
    signals: Signals,
    before: Before,
    /// Files that were begun in this run, and whose outcome is not settled.
    tries: HashMap<FileId, Tries>,
    run: RunStarted,
    counts: Counts,
    bar: Bar,
    next_poll: Instant,
    next_progress: Instant,
    next_request: Instant,
    /// Whether it was told to stop.
    stopping: bool,
    /// Whether something changed since `run.json` was written.
    news: bool,
    listing_failures: u32,
    /// Whether a failure of the host was told.
    host_failed: bool,
    /// Whether an instance failed to tear down.
    teardown_failed: bool,
    ending: Option<Ending>,
}

/// What this run has tried with a file so far.
#[derive(Clone, Copy, Default)]
struct Tries {
    /// Attempts that failed.
    retries: u32,
    /// Attempts in a row that were cut off, nobody knows by what.
    interruptions: u32,
}

impl Dispatcher {
    /// Opens the workspace and finds what there is to do.
    fn start(mut plan: Plan, signals: Signals) -> Result<(Self, Vec<FileId>), RunError> {
        let begun = Instant::now();
        let gate = match plan.slurm {
            None => Gate::new(plan.rate, &plan.labels)?,
            // Theirs are where they run.
            Some(_) => Gate::new(None, &[])?,
        };
        let workspace = Workspace::open(&plan.output_dir, &plan.task_name)?;
        if let Some(dead) = &workspace.taken_over {
            tracing::warn!(
                "Taking over from process {} on {}, which did not end in good order",
                dead.pid,
                dead.host
            );
        }
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
            output_dir: plan.output_dir.clone(),
            pairing: plan.pairing.clone(),
            settle: plan.settle,
            follow_links: plan.follow_links,
            retry_failed: plan.retry_failed,
            retry_aborted: plan.retry_aborted,
        };
        let mut intake = Intake::new(rules).map_err(scan_error)?;
        let (mut before, ready) = intake.first().map_err(scan_error)?;
        tracing::info!("{}", display::found(&before));

        let identity = TaskIdentity {
            name: plan.task.description.name.clone(),
            version: plan.task.description.version.clone(),
            digest: plan.task.digest.clone(),
        };
        let mut run = RunStarted {
            time: Timestamp::now(),
            host: workspace.owner.host.clone(),
            pid: workspace.owner.pid,
            detached: plan.detached,
            component: plan.task.path.display().to_string(),
            version: identity.version.clone(),
            digest: identity.digest.clone(),
            input_dir: input_dir.display().to_string(),
            input_ext: plan.pairing.input.to_string(),
            output_ext: plan.pairing.output.to_string(),
            policies: plan.policies,
            succeeded_before: before.succeeded,
            failed_before: before.failed,
            timed_out_before: before.timed_out,
            aborted_before: before.aborted,
            to_do: before.to_do,
            not_taken: before.not_taken,
        };
        let mut journal = workspace.journal()?;
        let canonical_input = input_dir.canonicalize().map_err(scan_error)?;
        let mut claimed = Vec::new();
        let slurm = workspace.layout.slurm();
        let executor = if let Some(slurm_plan) = plan.slurm.take() {
            let court = Court {
                staging: workspace.staging(),
                pairing: plan.pairing.clone(),
                input_dir: input_dir.clone(),
                identity,
            };
            let (mut executor, taken_over) =
                SlurmExecutor::open(&slurm, slurm_plan, &plan.task, court)?;
            if taken_over {
                let read = |cause| RunError::Process { action: "read what workers say", cause };
                let resumed = executor.resume(&mut intake.catalog).map_err(read)?;
                let path = workspace.layout.journal();
                let missed = missed(&path, &resumed).map_err(read)?;
                missed.iter().for_each(|attempt| journal.push(&Record::Attempt(attempt.clone())));
                for outcome in &resumed.settled {
                    before.settle(*outcome);
                }
                claimed = resumed.claimed;
                run.settled_before(&before);
            }
            Executor::Slurm(Box::new(executor))
        } else {
            if slurm::left_over::is_there(&slurm) {
                let jobs = slurm::unfinished(&slurm).unwrap_or_default();
                let jobs: Vec<String> = jobs.iter().map(ToString::to_string).collect();
                let output_dir = plan.output_dir.clone();
                return Err(RunError::Unfinished { jobs: jobs.join(", "), output_dir });
            }
            let shared = Shared {
                task: plan.task,
                sandbox: plan.sandbox,
                staging: workspace.staging(),
                pairing: plan.pairing,
                canonical_input,
                follow_links: plan.follow_links,
                identity,
                retry: plan.retry,
                gate,
                rivals: false,
                durability: plan.durability,
                on_begin: None,
            };
            let local = LocalExecutor::new(shared, plan.concurrency, plan.instances);
            Executor::Local(Box::new(local))
        };
        journal.push(&Record::RunStarted(run.clone()));
        if plan.detached {
            let log = workspace.new_log()?;
            // `status` is to know of the run as soon as the user does.
            let path = workspace.layout.journal();
            journal.flush().map_err(WorkspaceError::io("write", &path))?;
            let left = detach::leave_terminal(log);
            left.map_err(|cause| RunError::Process { action: "leave the terminal", cause })?;
        }
        let window = match &executor {
            Executor::Local(_) => plan.concurrency + AHEAD,
            Executor::Slurm(_) => SLURM_WINDOW,
        };
        let mut scheduler = Scheduler::new(plan.mode, window, plan.max_failures);
        scheduler.adopt(claimed.len());
        let mut ready = ready;
        // Some are claimed, and some were settled meanwhile.
        if matches!(executor, Executor::Slurm(_)) {
            ready.retain(|&id| intake.catalog.state(id) == State::Waiting);
        }
        let now = Instant::now();
        let dispatcher = Dispatcher {
            begun,
            mode: plan.mode,
            scheduler,
            executor,
            workspace,

            intake,
            next_poll: now + watch.as_ref().map_or(plan.poll, Watch::poll),
            watch,
            journal,
            signals,
            before,
            tries: HashMap::new(),
            run,
            counts: Counts::default(),
            bar: Bar::new(plan.bar, before.to_do),
            next_progress: now,
            next_request: now,
            stopping: false,
            news: true,
            listing_failures: 0,
            host_failed: false,
            teardown_failed: false,
            ending: None,
        };
        Ok((dispatcher, ready))
    }

    async fn run(mut self, ready: Vec<FileId>) -> Exit {
        self.flush_journal();
        if self.mode != Mode::Once
            && let Err(error) = self.executor.rehearse()
        {
            self.thread_failed(&error);
        }
        self.step(Event::Found(ready));
        while self.ending.is_none() {
            self.renew();
            let wake = self.next_wake();
            tokio::select! {
                signal = self.signals.next() => self.signal(signal),
                request = requested(&self.workspace, &mut self.next_request) => self.heed(&request),
                () = self.executor.wait() => {
                    self.reports();
                    if self.scheduler.held() > 0 {
                        tokio::time::sleep(BUSY_PAUSE).await;
                    }
                }
                () = events(self.watch.as_ref()) => self.arrivals(),
                () = tokio::time::sleep_until(wake.into()) => self.time_passed(),
            }
        }
        self.finish().await
    }

    /// Tells the scheduler what happened, and does what it says.
    fn step(&mut self, event: Event) {
        let unsettled = self.intake.unsettled();
        let mut handed_out = false;
        for action in self.scheduler.on(event, self.begun.elapsed(), unsettled) {
            match action {
                Action::HandOut(files) => {
                    for id in files {
                        let tries = self.tries.get(&id).copied().unwrap_or_default();
                        let job = Job {
                            id,
                            name: self.intake.catalog.name(id).to_owned(),
                            attempts_before: self.intake.attempts_before(id) + tries.retries,
                            retries: tries.retries,
                            interruptions: tries.interruptions,
                            link: self.intake.is_link(id),
                            contested: false,
                        };
                        self.intake.catalog.set_state(id, State::Running);
                        self.executor.hand_out(job);
                    }
                    handed_out = true;
                }
                Action::Drain => {
                    if self.scheduler.ending() == Some(Ending::TooManyFailures) {
                        let failed = count(self.counts.not_well(), "file");
                        tracing::error!(
                            "{failed} failed: that is enough (--max-failures), stopping"
                        );
                    }
                    self.executor.drain();
                }
                Action::End(ending) => self.ending = Some(ending),
                Action::Abandon(signal) => self.abandon(signal),
            }
        }
        let waiting = self.scheduler.waiting();
        if (handed_out || waiting > 0)
            && let Err(error) = self.executor.prepare(self.scheduler.held(), waiting)
        {
            self.thread_failed(&error);
        }
    }

    /// Leaves at once, with the books closed. What is in flight is still to do.
    fn abandon(&mut self, signal: i32) -> ! {
        self.bar.finish();
        tracing::warn!(
            "Received signal {signal} again, leaving at once: files in flight are still to do"
        );
        let ended = self.executor.take_reports().into_iter().filter_map(|report| match report {
            Report::Ended(ended) => Some(ended),
            _ => None,
        });
        let mut all: Vec<Ended> = ended.collect();
        all.extend(self.executor.abandon().in_flight);
        for ended in all {
            let event = self.record(ended);
            // It knows that the end has come, and has nothing to say to that.
            let _ = self.scheduler.on(event, self.begun.elapsed(), 0);
        }
        let exit = Exit::Signal(signal);
        self.journal.push(&Record::RunEnded { time: Timestamp::now(), exit_code: exit.code() });
        // Nobody is left to tell of a failure.
        let _ = self.journal.flush();
        self.write_progress(Some(exit));
        self.workspace.release();
        std::process::exit(i32::from(exit.code()));
    }

    fn thread_failed(&mut self, error: &io::Error) {
        self.host_failed(&format!("failed to start a worker thread: {error}"));
    }

    fn signal(&mut self, signal: i32) {
        tracing::warn!("Received signal {signal}, initiating shutdown");
        self.stop(signal);
    }

    fn stop(&mut self, signal: i32) {
        self.step(Event::StopAsked(signal));
        self.stopping = true;
        self.write_progress(None);
    }

    fn heed(&mut self, request: &StopRequest) {
        let signal = rustix::process::Signal::TERM.as_raw();
        let from = &request.from;
        if !self.stopping {
            tracing::warn!("Told to stop by `tigerflow-host stop` on {from}, initiating shutdown");
            self.stop(signal);
        }
        if request.now {
            tracing::warn!("Told to leave at once by `tigerflow-host stop --now` on {from}");
            self.stop(signal);
        }
    }

    fn reports(&mut self) {
        if let Executor::Slurm(slurm) = &mut self.executor {
            for record in slurm.take_records() {
                self.journal.push(&record);
                self.news = true;
            }
        }
        for report in self.executor.take_reports() {
            let event = match report {
                Report::SetupWorked => Event::SetupWorked,
                Report::SetupFailed(error) => {
                    // Instances are set up side by side, and all fail alike.
                    if !self.scheduler.is_winding_up() {
                        tell_setup_failure(&error);
                    }
                    Event::SetupFailed
                }
                Report::HandedBack(id) => {
                    self.intake.catalog.set_state(id, State::Waiting);
                    Event::HandedBack(id)
                }
                Report::Ended(ended) => self.record(ended),
                Report::TeardownFailed(failure) => {
                    self.teardown_failed = true;
                    tell_failure("Task teardown failed", &failure);
                    continue;
                }
                Report::HostFailed(reason) => {
                    self.host_failed(&reason);
                    continue;
                }
            };
            self.step(event);
        }
        self.flush_journal();
    }

    /// Books what came of an attempt, and tells what that means for the run.
    fn record(&mut self, ended: Ended) -> Event {
        let id = ended.id;
        let settled = |failed| Event::Ended { file: id, failed };
        let Some(outcome) = ended.outcome.in_short() else {
            // Should it come back, it is an input again.
            self.intake.catalog.set_state(id, State::New);
            self.tries.remove(&id);
            return settled(false);
        };
        let event = match &ended.outcome {
            Outcome::Retrying(_, after) => Event::Retry(id, *after),
            Outcome::Interrupted { .. } => Event::HandedBack(id),
            other => settled(matches!(other, Outcome::Failed(_))),
        };
        match outcome {
            AttemptOutcome::Retrying => {
                let tries = self.tries.entry(id).or_default();
                *tries = Tries { retries: tries.retries + 1, interruptions: 0 };
            }
            AttemptOutcome::Interrupted => {
                if matches!(ended.outcome, Outcome::Interrupted { explained: false, .. }) {
                    self.tries.entry(id).or_default().interruptions += 1;
                }
            }
            _ => drop(self.tries.remove(&id)),
        }

        self.counts.add(outcome);
        self.intake.catalog.set_state(id, State::from(outcome));
        let file = shown(self.intake.catalog.name(id));
        self.journal.push(&Record::Attempt(ended.record(file, outcome)));
        self.news = true;
        event
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
                let message = format!("failed to list `{}`: {error}", self.run.input_dir);
                self.listing_failures += 1;
                let lasting =
                    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
                if lasting || self.listing_failures >= LISTING_TRIES {
                    self.host_failed(&message);
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
            let at_work = self.executor.at_work();
            self.bar.update(&self.counts, self.left(), &at_work.oldest);
        }
        if self.next_progress <= now && (self.news || self.scheduler.held() > 0) {
            self.next_progress = now + PROGRESS_INTERVAL;
            self.write_progress(None);
        }
    }

    fn write_progress(&mut self, exit: Option<Exit>) {
        self.news = false;
        let time = Timestamp::now();
        let at_work = self.executor.at_work();
        let retrying = self.scheduler.retrying();
        let progress = Progress {
            run: self.run.clone(),
            time,
            ended: exit.map(|exit| crate::workspace::progress_file::Ended {
                time,
                exit_code: exit.code(),
            }),
            stopping: self.stopping,
            counts: self.counts,
            waiting: self.left().saturating_sub(at_work.running + retrying),
            retrying,
            running: at_work.running,
            in_flight: at_work.oldest,
            workers: match &self.executor {
                Executor::Local(_) => None,
                Executor::Slurm(slurm) => Some(slurm.workers()),
            },
        };
        // It informs people only; the disk that is full is told of elsewhere.
        if let Err(error) = progress.write(&self.workspace.layout.progress()) {
            tracing::debug!("failed to write how far the run is: {error}");
        }
    }

    /// Inputs known whose outcome is not.
    fn left(&self) -> usize {
        let scheduler = &self.scheduler;
        scheduler.waiting() + scheduler.retrying() + scheduler.held() + self.intake.unsettled()
    }

    fn next_wake(&self) -> Instant {
        let busy = self.scheduler.held() > 0;
        [
            Some(Instant::now() + LONGEST_SLEEP),
            self.watch.as_ref().map(|_| self.next_poll),
            self.intake.next_due(),
            self.scheduler.idle_deadline().map(|deadline| self.begun + deadline),
            self.scheduler.next_retry().map(|due| self.begun + due),
            (self.news || busy).then_some(self.next_progress),
            (self.bar.is_shown() && busy).then(|| Instant::now() + display::REDRAW),
        ]
        .into_iter()
        .flatten()
        .min()
        .expect("there is a longest sleep")
    }

    fn flush_journal(&mut self) {
        if let Err(error) = self.journal.flush() {
            let path = self.workspace.layout.journal();
            let advice = advice(&error);
            self.host_failed(&format!("failed to write `{}`: {error}{advice}", path.display()));
        }
    }

    fn host_failed(&mut self, reason: &str) {
        // A full disk fails every file in flight: once is enough.
        if !std::mem::replace(&mut self.host_failed, true) {
            tracing::error!("{reason}");
        }
        self.step(Event::HostFailed);
    }

    /// Tears the instances down and closes the books.
    async fn finish(mut self) -> Exit {
        tracing::info!("Shutting down task");
        loop {
            tokio::select! {
                () = self.executor.ended() => break,
                signal = self.signals.next() => self.signal(signal),
                request = requested(&self.workspace, &mut self.next_request) => self.heed(&request),
            }
        }
        self.reports();
        self.bar.finish();
        self.flush_journal();
        let exit = match self.ending {
            Some(Ending::SetupFailed) => Exit::SetupFailed,
            Some(Ending::Signal(signal)) => Exit::Signal(signal),
            _ if self.host_failed => Exit::HostFailed,
            _ if self.counts.not_well() + self.before.failed + self.before.timed_out > 0
                || self.teardown_failed =>
            {
                Exit::SomeFailed
            }
            _ => Exit::Done,
        };
        let end = Record::RunEnded { time: Timestamp::now(), exit_code: exit.code() };
        self.journal.push(&end);
        self.flush_journal();
        self.write_progress(Some(exit));
        let rest = display::Rest {
            left: self.left(),
            not_taken: self.intake.catalog.count(State::Skipped),
        };
        let elapsed = self.begun.elapsed();
        tracing::info!("{}", display::summary(&self.before, &self.counts, rest, elapsed));
        tracing::info!("Task shutdown complete");
        exit
    }
}

/// Attempts that workers ended while there was no coordinator to write them
/// down. The one that died had written those before in the same order.
fn missed(journal: &Path, resumed: &Resumed) -> io::Result<Vec<Attempt>> {
    let mut written: HashMap<String, usize> = HashMap::new();
    for record in journal::read(journal)? {
        if let Record::Attempt(attempt) = record?
            && let Some(worker) = attempt.worker
            && attempt.outcome != AttemptOutcome::Interrupted
        {
            *written.entry(worker).or_default() += 1;
        }
    }
    let mut missed = Vec::new();
    for (worker, attempts) in &resumed.ended {
        let known = written.get(&worker.to_string()).copied().unwrap_or(0);
        let news = attempts
            .iter()
            .filter_map(|(file, ended)| Some(ended.record(shown(file), ended.outcome.in_short()?)));
        missed.extend(news.skip(known));
    }
    Ok(missed)
}

/// Waits until somebody asks this run to stop by a file. `next`: when to look.
async fn requested(workspace: &Workspace, next: &mut Instant) -> StopRequest {
    loop {
        tokio::time::sleep_until((*next).into()).await;
        *next = Instant::now() + REQUEST_INTERVAL;
        match StopRequest::take(&workspace.layout.stop_request()) {
            Ok(Some(request)) if request.to == workspace.owner => return request,
            // It was meant for a run before this one.
            Ok(_) => {}
            Err(error) => tracing::debug!("failed to look for a request to stop: {error}"),
        }
    }
}

async fn events(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.wait().await,
        None => std::future::pending().await,
    }
}

pub(super) fn tell_setup_failure(error: &SetupError) {
    match error {
        SetupError::Task(failure) => tell_failure("Task setup failed", failure),
        SetupError::Host(reason) => tracing::error!("Task setup failed: {reason}"),
    }
}

pub(super) fn tell_failure(what: &str, failure: &Failure) {
    tracing::error!("{what}: {}: {}", failure.exception_type, failure.message);
    for line in failure.traceback.lines().chain(failure.stderr.lines()) {
        tracing::error!("    {line}");
    }
}
