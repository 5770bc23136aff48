//! One task at work: its scheduler, its executor and its journal.
//!
//! It says what is to be done with the files that it is given, has it done, and
//! writes down what comes of it. Where files come from, and what time it is, is for
//! whoever drives it: the dispatcher of a run, or that of a pipeline.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::Instant;

use jiff::Timestamp;
use tracing::{Instrument, Span};

use super::{Exit, Plan, RunError};
use crate::engine::SetupError;
use crate::executor::gate::Gate;
use crate::executor::local::{AtWork, LocalExecutor, Shared};
use crate::executor::slurm::{self, Court, Resumed, SlurmExecutor};
use crate::executor::{Ended, Executor, Job, Report};
use crate::outcome::{Failure, Outcome};
use crate::schedule::{Action, Ending, Event, Scheduler};
use crate::text::count;
use crate::workspace::catalog::{FileId, Files, State};
use crate::workspace::error_file::TaskIdentity;
use crate::workspace::intake::Before;
use crate::workspace::journal::{self, Attempt, AttemptOutcome, Journal, Record, RunStarted};
use crate::workspace::names::shown;
use crate::workspace::progress_file::{self, Counts, Progress, Workers};
use crate::workspace::{Error as WorkspaceError, Workspace, advice};

/// How many files the executor holds beyond those in flight. Enough to keep
/// every slot busy between two looks of the dispatcher, and nothing to take
/// back that costs anything.
const AHEAD: usize = 1_024;

/// How many files the coordinator of Slurm workers holds: enough for all of
/// them, and what a name costs in memory times this is little.
const SLURM_WINDOW: usize = 50_000;

/// What a run has tried with a file so far.
#[derive(Clone, Copy, Default)]
struct Tries {
    /// Attempts that failed.
    retries: u32,
    /// Attempts in a row that were cut off, nobody knows by what.
    interruptions: u32,
}

/// What every attempt of a task passes before it begins. It may fail for what
/// others do, so it is made before anything else is begun.
pub fn gate(plan: &Plan) -> Result<Gate, RunError> {
    Ok(match plan.slurm {
        None => Gate::new(plan.rate, &plan.labels)?,
        // Theirs are where they run.
        Some(_) => Gate::new(None, &[])?,
    })
}

/// One task at work.
pub struct TaskRun {
    begun: Instant,
    scheduler: Scheduler,
    executor: Executor,
    workspace: Workspace,
    journal: Journal,
    /// Files that were begun in this run, and whose outcome is not settled.
    tries: HashMap<FileId, Tries>,
    run: RunStarted,
    counts: Counts,
    /// Whether something changed since `run.json` was written.
    news: bool,
    /// Whether a failure of the host was told.
    host_failed: bool,
    /// Whether an instance failed to tear down.
    teardown_failed: bool,
    ending: Option<Ending>,
    /// Outcomes that came to stand after the directories were listed.
    late: Vec<FileId>,
    /// Marks its lines in the log.
    span: Span,
}

impl TaskRun {
    /// A task that has no file yet, but those that workers hold of a run that died.
    /// `before`: what was found; corrected by what such workers say.
    pub fn open(
        mut plan: Plan,
        workspace: Workspace,
        gate: Gate,
        files: &mut dyn Files,
        before: &mut Before,
    ) -> Result<Self, RunError> {
        let input_dir = plan.sandbox.input_dir.clone();
        let scan_error = |cause| RunError::Scan {
            input: input_dir.clone(),
            output: plan.output_dir.clone(),
            cause,
        };
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
        let (mut claimed, mut late) = (Vec::new(), Vec::new());
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
                let resumed = executor.resume(files).map_err(read)?;
                let path = workspace.layout.journal();
                let missed = missed(&path, &resumed).map_err(read)?;
                missed.iter().for_each(|attempt| journal.push(&Record::Attempt(attempt.clone())));
                for (id, outcome) in &resumed.settled {
                    before.settle(*outcome);
                    late.push(*id);
                }
                claimed = resumed.claimed;
                run.settled_before(before);
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
        // `status` is to know of the run as soon as the user does.
        let path = workspace.layout.journal();
        journal.flush().map_err(WorkspaceError::io("write", &path))?;
        let window = match &executor {
            Executor::Local(_) => plan.concurrency + AHEAD,
            Executor::Slurm(_) => SLURM_WINDOW,
        };
        let mut scheduler = Scheduler::new(plan.mode, window, plan.max_failures);
        scheduler.adopt(claimed.len());
        Ok(TaskRun {
            begun: Instant::now(),
            scheduler,
            executor,
            workspace,
            journal,
            tries: HashMap::new(),
            run,
            counts: Counts::default(),
            news: true,
            host_failed: false,
            teardown_failed: false,
            ending: None,
            late,
            span: Span::current(),
        })
    }

    /// Its workspace.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// What it found when it began.
    pub fn started(&self) -> &RunStarted {
        &self.run
    }

    /// Files whose outcome came to stand after the directories were listed: a worker
    /// that outlived its coordinator has published it. They are told once.
    pub fn take_late(&mut self) -> Vec<FileId> {
        std::mem::take(&mut self.late)
    }

    /// What was done since it began.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many files the executor holds.
    pub fn held(&self) -> usize {
        self.scheduler.held()
    }

    /// Files that wait for the time of their next attempt.
    pub fn retrying(&self) -> usize {
        self.scheduler.retrying()
    }

    /// Files that it has, and whose outcome is not known.
    pub fn to_do(&self) -> usize {
        self.scheduler.waiting() + self.scheduler.retrying() + self.scheduler.held()
    }

    /// Inputs known whose outcome is not.
    pub fn left(&self, files: &dyn Files) -> usize {
        self.to_do() + files.unsettled()
    }

    /// What is in flight.
    pub fn at_work(&self) -> AtWork {
        self.executor.at_work()
    }

    /// The workers in Slurm jobs, where it has such.
    pub fn workers(&self) -> Option<Workers> {
        match &self.executor {
            Executor::Local(_) => None,
            Executor::Slurm(slurm) => Some(slurm.workers()),
        }
    }

    /// Whether something changed since `run.json` was written.
    pub fn has_news(&self) -> bool {
        self.news
    }

    /// Why it is over, if it is: nothing is in flight, and nothing will be.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Why its end has begun, if it has.
    pub fn winds_up(&self) -> Option<Ending> {
        self.scheduler.ending()
    }

    /// When it has something to do that nobody tells of: a retry, or its end.
    pub fn next_wake(&self) -> Option<Instant> {
        let idle = self.scheduler.idle_deadline();
        let due = idle.into_iter().chain(self.scheduler.next_retry()).min()?;
        Some(self.begun + due)
    }

    /// Shows whether the task works at all, where that costs nothing.
    pub fn rehearse(&mut self, files: &mut dyn Files) {
        let _within = self.span.clone().entered();
        if let Err(error) = self.executor.rehearse() {
            self.thread_failed(&error, files);
        }
    }

    /// Tells the scheduler what happened, and does what it says. Returns the signal
    /// upon which to leave at once.
    #[must_use]
    pub fn step(&mut self, event: Event, files: &mut dyn Files) -> Option<i32> {
        let _within = self.span.clone().entered();
        let unsettled = files.unsettled();
        let mut handed_out = false;
        let mut leave = None;
        for action in self.scheduler.on(event, self.begun.elapsed(), unsettled) {
            match action {
                Action::HandOut(ids) => {
                    for id in ids {
                        let tries = self.tries.get(&id).copied().unwrap_or_default();
                        let job = Job {
                            id,
                            name: files.name(id).into_owned(),
                            attempts_before: files.attempts_before(id) + tries.retries,
                            retries: tries.retries,
                            interruptions: tries.interruptions,
                            link: files.is_link(id),
                            contested: false,
                        };
                        files.set_state(id, State::Running);
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
                Action::Abandon(signal) => leave = Some(signal),
            }
        }
        let waiting = self.scheduler.waiting();
        if (handed_out || waiting > 0)
            && let Err(error) = self.executor.prepare(self.scheduler.held(), waiting)
        {
            self.thread_failed(&error, files);
        }
        leave
    }

    /// The same for what cannot have the run left at once.
    fn tell(&mut self, event: Event, files: &mut dyn Files) {
        let leave = self.step(event, files);
        debug_assert!(leave.is_none(), "only a user asks to leave at once");
    }

    /// Waits until the executor has something to tell. Nothing is lost if it is not
    /// waited for to the end.
    pub async fn wait(&mut self) {
        self.executor.wait().instrument(self.span.clone()).await;
    }

    /// Takes in what the executor has to tell. Returns the files whose attempt ended.
    pub fn reports(&mut self, files: &mut dyn Files) -> Vec<FileId> {
        let _within = self.span.clone().entered();
        if let Executor::Slurm(slurm) = &mut self.executor {
            for record in slurm.take_records() {
                self.journal.push(&record);
                self.news = true;
            }
        }
        let mut ended_files = Vec::new();
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
                    files.set_state(id, State::Waiting);
                    Event::HandedBack(id)
                }
                Report::Ended(ended) => {
                    ended_files.push(ended.id);
                    self.record(ended, files)
                }
                Report::TeardownFailed(failure) => {
                    self.teardown_failed = true;
                    tell_failure("Task teardown failed", &failure);
                    continue;
                }
                Report::HostFailed(reason) => {
                    self.host_failed(&reason, files);
                    continue;
                }
            };
            self.tell(event, files);
        }
        self.flush_journal(files);
        ended_files
    }

    /// Books what came of an attempt, and tells what that means for the run.
    fn record(&mut self, ended: Ended, files: &mut dyn Files) -> Event {
        let id = ended.id;
        let settled = |failed| Event::Ended { file: id, failed };
        let Some(outcome) = ended.outcome.in_short() else {
            // Should it come back, it is an input again.
            files.set_state(id, State::New);
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
        files.set_state(id, State::from(outcome));
        let file = shown(&files.name(id));
        self.journal.push(&Record::Attempt(ended.record(file, outcome)));
        self.news = true;
        event
    }

    fn thread_failed(&mut self, error: &io::Error, files: &mut dyn Files) {
        self.host_failed(&format!("failed to start a worker thread: {error}"), files);
    }

    fn flush_journal(&mut self, files: &mut dyn Files) {
        if let Err(error) = self.journal.flush() {
            let path = self.workspace.layout.journal();
            let advice = advice(&error);
            self.host_failed(
                &format!("failed to write `{}`: {error}{advice}", path.display()),
                files,
            );
        }
    }

    /// Something failed that goes for every file.
    pub fn host_failed(&mut self, reason: &str, files: &mut dyn Files) {
        // A full disk fails every file in flight: once is enough.
        if !std::mem::replace(&mut self.host_failed, true) {
            tracing::error!("{reason}");
        }
        self.tell(Event::HostFailed, files);
    }

    /// Takes everything down at once, and closes the books. What is in flight is
    /// still to do.
    pub fn abandon(&mut self, exit: Exit, files: &mut dyn Files) {
        let ended = self.executor.take_reports().into_iter().filter_map(|report| match report {
            Report::Ended(ended) => Some(ended),
            _ => None,
        });
        let mut all: Vec<Ended> = ended.collect();
        all.extend(self.executor.abandon().in_flight);
        for ended in all {
            let event = self.record(ended, files);
            // It knows that the end has come, and has nothing to say to that.
            let _ = self.scheduler.on(event, self.begun.elapsed(), 0);
        }
        self.journal.push(&Record::RunEnded { time: Timestamp::now(), exit_code: exit.code() });
        // Nobody is left to tell of a failure.
        let _ = self.journal.flush();
        self.write_progress(Some(exit), true, files);
        self.workspace.release();
    }

    /// Waits until nothing of the executor is left; it may be waited for again where
    /// that was broken off. The last reports are there then.
    pub async fn torn_down(&mut self) {
        self.executor.ended().instrument(self.span.clone()).await;
    }

    /// How it ended. `failed_before`: whether some `.err` of earlier runs stands.
    pub fn exit(&self, failed_before: bool) -> Exit {
        match self.ending {
            Some(Ending::SetupFailed) => Exit::SetupFailed,
            Some(Ending::Signal(signal)) => Exit::Signal(signal),
            _ if self.host_failed => Exit::HostFailed,
            _ if self.counts.not_well() > 0 || failed_before || self.teardown_failed => {
                Exit::SomeFailed
            }
            _ => Exit::Done,
        }
    }

    /// Closes the books.
    pub fn close(&mut self, exit: Exit, stopping: bool, files: &mut dyn Files) {
        self.journal.push(&Record::RunEnded { time: Timestamp::now(), exit_code: exit.code() });
        self.flush_journal(files);
        self.write_progress(Some(exit), stopping, files);
    }

    /// Renews `run.json`. `stopping`: whether it was told to stop.
    pub fn write_progress(&mut self, exit: Option<Exit>, stopping: bool, files: &dyn Files) {
        self.news = false;
        let time = Timestamp::now();
        let at_work = self.executor.at_work();
        let retrying = self.scheduler.retrying();
        let progress = Progress {
            run: self.run.clone(),
            time,
            ended: exit.map(|exit| progress_file::Ended { time, exit_code: exit.code() }),
            stopping,
            counts: self.counts,
            waiting: self.left(files).saturating_sub(at_work.running + retrying),
            retrying,
            running: at_work.running,
            in_flight: at_work.oldest,
            workers: self.workers(),
        };
        // It informs people only; the disk that is full is told of elsewhere.
        if let Err(error) = progress.write(&self.workspace.layout.progress()) {
            tracing::debug!("failed to write how far the run is: {error}");
        }
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
