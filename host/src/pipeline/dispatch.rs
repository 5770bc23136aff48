//! The dispatcher of a pipeline: one loop around its inputs and all of its tasks.

use std::collections::HashMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;

use super::finished::Finished;
use super::inbox::{self, CycleEnd, Inbox};
use super::lens::Lens;
use super::places::{self, Places};
use super::progress::{self, Progress};
use super::removal::{self, Removal, Removed};
use super::tracker::{File, Settled, Stands, Tracker};
use super::{PipelineError, PipelinePlan, WORKSPACE, setup_commands};
use crate::engine::stage::Counts;
use crate::log;
use crate::run::dispatch::{
    BUSY_PAUSE, LONGEST_SLEEP, Requests, asked_by, block_on, leave_at_once,
};
use crate::run::signals::Signals;
use crate::run::task_run::{self, TaskRun};
use crate::run::{Exit, RunError, detach, open_files};
use crate::schedule::{Ending, Event, Mode};
use crate::text::count;
use crate::workspace::catalog::{FileId, State};
use crate::workspace::intake::{Before, Intake, Look, Rules};
use crate::workspace::journal::{Journal, Record, RunStarted};
use crate::workspace::names::{Pairing, shown};
use crate::workspace::progress_file::Ended;
use crate::workspace::stop_request::StopRequest;
use crate::workspace::watch::Watch;
use crate::workspace::{Error as WorkspaceError, Layout, Workspace};

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
    tasks: Vec<Task>,
    finished: Finished,
    aborted_before: usize,
    tally: Tally,
    /// Files that are done with, and not on the list yet.
    done: Vec<(File, Settled, Option<Look>)>,
    late: Vec<Late>,
    /// `None` where inputs stay.
    removal: Option<Removal>,
    /// What the inputs in the pipeline were when they were taken, where they are to be
    /// deleted.
    looks: HashMap<FileId, Look>,
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
    /// Opens the workspaces, and finds what there is to do.
    fn start(plan: PipelinePlan, signals: Signals) -> Result<Self, PipelineError> {
        let begun = Instant::now();
        let PipelinePlan { config, input_dir, output_dir, input_ext, tree, .. } = plan;
        let workspace = Workspace::open(&output_dir, WORKSPACE).map_err(RunError::from)?;
        workspace.tell_taken_over();
        tracing::info!("Starting pipeline execution");
        let scan_error = |cause| RunError::Scan {
            input: input_dir.clone(),
            output: output_dir.clone(),
            cause,
        };

        let mut all_places = Vec::new();
        for task in &plan.tasks {
            let pairing = task.plan.pairing.clone();
            all_places.push(Places::make(&output_dir, &task.name, pairing, task.keep_output)?);
        }
        let mut stands = places::all_that_stands(&all_places)?;

        // Watching begins before the listing: nothing falls between.
        let watch = (plan.mode != Mode::Once).then(|| Watch::new(&input_dir, plan.poll));
        let pairing = Pairing { input: input_ext.clone(), output: input_ext.clone() };
        let rules = Rules {
            input_dir: input_dir.clone(),
            output_dir: None,
            pairing: pairing.clone(),
            settle: plan.settle,
            follow_links: plan.follow_links,
            retry_failed: true,
            retry_aborted: false,
        };
        let mut intake = Intake::new(rules).map_err(scan_error)?;
        let mut removal = plan.delete_input.then(|| Removal::new(input_dir.clone()));
        let (mut finished_before, mut aborted_before) = (0, 0);
        let mut left_over = Vec::new();
        let path = workspace.layout.root().join("finished");
        let finished = Finished::open(&path, |entry| {
            match entry.aborted {
                true => aborted_before += 1,
                false => finished_before += 1,
            }
            // A crash came before all of it was removed.
            if let Some(stem) = pairing.stem(&entry.name)
                && let Some((stem, _)) = stands.remove_entry(stem)
            {
                left_over.push(stem);
            }
            let Some(removal) = removal.as_mut().filter(|_| !entry.aborted) else {
                intake.is_done(&entry.name);
                return;
            };
            // A file of the same name that came later is work.
            if let Ok(look) = Look::of(&input_dir.join(&entry.name))
                && Some(look) == entry.look
                && let Some(id) = intake.is_done(&entry.name)
            {
                removal.push(removal::Input { id, name: entry.name, look });
            }
        })
        .map_err(PipelineError::io("read", &path))?;
        for stem in left_over {
            for places in &all_places {
                places.remove_output(&stem)?;
                places.remove_error(&stem)?;
            }
        }
        let rules = inbox::Rules {
            input_dir: input_dir.clone(),
            poll: plan.poll,
            max_staged: plan.max_staged,
            in_batches: plan.in_batches,
        };
        let mut inbox = Inbox::new(rules, intake, watch, plan.staging);
        inbox.first().map_err(scan_error)?;

        let mut tracker = Tracker::new(tree);
        tracker.finished_before(finished_before);
        let now = Instant::now();
        let owner = &workspace.owner;
        let started = progress::Started {
            time: Timestamp::now(),
            host: owner.host.clone(),
            pid: owner.pid,
            detached: plan.detached,
            config: config.display().to_string(),
            input_dir: input_dir.display().to_string(),
            input_ext: input_ext.to_string(),
            finished_before,
        };
        let journal = workspace.journal().map_err(RunError::from)?;
        let mut dispatcher = Dispatcher {
            begun,
            mode: plan.mode,
            requests: Requests::of(&workspace),
            workspace,
            journal,
            started,
            signals,
            inbox,
            tracker,
            tasks: Vec::new(),
            finished,
            aborted_before,
            tally: Tally::default(),
            done: Vec::new(),
            late: Vec::new(),
            removal,
            looks: HashMap::new(),
            next_progress: now,
            next_summary: now,
            staged_lately: 0,
            finished_lately: 0,
            busy_at: now,
            was_idle: false,
            news: true,
            stopping: false,
            winding_up: false,
            host_failed: false,
        };
        let settled = dispatcher.resume(stands, &mut all_places, &pairing)?;
        dispatcher.open_tasks(plan.tasks, all_places, &output_dir)?;
        dispatcher.tell_begin()?;
        if plan.detached {
            let log = dispatcher.workspace.new_log().map_err(RunError::from)?;
            let left = detach::leave_terminal(log);
            left.map_err(|cause| RunError::Process { action: "leave the terminal", cause })?;
        }
        for (file, settled) in settled {
            dispatcher.settle(file, settled);
        }
        for task in 0..dispatcher.tasks.len() {
            for file in dispatcher.tasks[task].run.take_late() {
                dispatcher.ended(task, file);
            }
            let waiting = dispatcher.tracker.waiting_for(task);
            dispatcher.tasks[task].found = waiting;
        }
        Ok(dispatcher)
    }

    /// Takes files into the pipeline that an earlier run has begun. Returns those for
    /// which there is nothing more to do.
    fn resume(
        &mut self,
        stands: HashMap<OsString, Vec<Stands>>,
        places: &mut [Places],
        pairing: &Pairing,
    ) -> Result<Vec<(FileId, Settled)>, PipelineError> {
        let mut stands: Vec<_> = stands.into_iter().collect();
        stands.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut all_settled = Vec::new();
        for (stem, stands) in stands {
            let state = |task: usize| stands.iter().find(|s| s.task == task).map(|s| s.state);
            let input = self.inbox.claim(&pairing.input_name(&stem));
            let tree = self.tracker.tree();
            let mut roots = (0..tree.len()).filter(|&task| tree.is_root(task));
            let is_over = |state| matches!(state, Some(State::Succeeded | State::Aborted));
            let lost = match input {
                None if !roots.all(|task| is_over(state(task))) => Some("gone"),
                // It would be deleted in the place of the one that was worked on.
                Some(id) if self.removal.is_some() && self.is_newer(id, places, &stem) => {
                    Some("another one")
                }
                _ => None,
            };
            if let Some(lost) = lost {
                tracing::warn!(
                    "The input of {} is {lost}: what was made of it so far is removed",
                    shown(&stem)
                );
                if let Some(id) = input {
                    self.inbox.put_back(id);
                }
                for places in &mut *places {
                    places.remove_output(&stem)?;
                    places.remove_error(&stem)?;
                }
                continue;
            }
            // It may have died before users saw it.
            for known in &stands {
                match known.state {
                    State::Succeeded => places[known.task].succeeded(&stem, true)?,
                    _ => places[known.task].failed(&stem)?,
                };
            }
            let link = input.is_some_and(|id| self.inbox.is_link(id));
            self.look_at(input);
            if let Some((id, next)) = self.tracker.admit(stem, input, link, &stands) {
                all_settled.extend(next.settled.map(|settled| (id, settled)));
            }
        }
        self.inbox.all_claimed();
        Ok(all_settled)
    }

    /// Whether an input has changed since something was made of it.
    fn is_newer(&self, input: FileId, places: &[Places], stem: &std::ffi::OsStr) -> bool {
        use std::os::unix::fs::MetadataExt;
        let path = self.inbox.input_dir().join(self.inbox.name(input));
        let Ok(changed) = std::fs::metadata(path).map(|m| (m.ctime(), m.ctime_nsec())) else {
            return false;
        };
        places.iter().filter_map(|places| places.made(stem)).any(|made| made < changed)
    }

    fn open_tasks(
        &mut self,
        plans: Vec<super::TaskPlan>,
        places: Vec<Places>,
        output_dir: &std::path::Path,
    ) -> Result<(), PipelineError> {
        let local = plans.iter().filter(|task| task.plan.slurm.is_none()).count();
        for (task, (mut plan, places)) in plans.into_iter().zip(places).enumerate() {
            let failed = |cause| PipelineError::Task { task: plan.name.clone(), cause };
            let span = log::task_span(&plan.name);
            let _within = span.enter();
            tracing::info!("Starting as a {} task", plan.kind.to_uppercase());
            if plan.plan.slurm.is_none() {
                let (most, instances) = (plan.plan.concurrency, plan.plan.instances);
                let (task, sandbox) = (&plan.plan.task, &mut plan.plan.sandbox);
                plan.plan.concurrency = open_files::share(task, sandbox, most, instances, local);
                setup_commands::run(&plan.setup_commands);
            }
            let gate = task_run::gate(&plan.plan).map_err(failed)?;
            let layout = Layout::new(output_dir, &plan.name);
            let outputs = places::outputs(output_dir, &plan.name);
            let workspace = Workspace::open_at(layout, &outputs)
                .map_err(|error| failed(RunError::from(error)))?;
            let pairing = plan.plan.pairing.clone();
            let counts = self.tracker.counts(task);
            let mut before = Before {
                succeeded: counts.succeeded,
                aborted: counts.aborted,
                to_do: self.tracker.waiting_for(task).len(),
                ..Before::default()
            };
            let mut lens = Lens {
                tracker: &mut self.tracker,
                task,
                pairing: &pairing,
                inbox: Some(&mut self.inbox),
            };
            let run = TaskRun::open(plan.plan, workspace, gate, &mut lens, &mut before)
                .map_err(failed)?;
            let (name, kind) = (plan.name, plan.kind);
            self.tasks.push(Task { name, kind, run, pairing, places, found: Vec::new() });
        }
        Ok(())
    }

    /// Writes down, and says, that the pipeline begins, and what it found.
    fn tell_begin(&mut self) -> Result<(), PipelineError> {
        let started = &self.started;
        let waiting = self.inbox.waiting();
        self.journal.push(&Record::RunStarted(RunStarted {
            time: started.time,
            host: started.host.clone(),
            pid: started.pid,
            detached: started.detached,
            component: started.config.clone(),
            version: String::new(),
            digest: String::new(),
            input_dir: started.input_dir.clone(),
            input_ext: started.input_ext.clone(),
            output_ext: String::new(),
            policies: Vec::new(),
            succeeded_before: started.finished_before,
            failed_before: 0,
            timed_out_before: 0,
            aborted_before: self.aborted_before,
            to_do: waiting + self.tracker.len(),
            not_taken: self.inbox.not_taken(),
        }));
        let path = self.workspace.layout.journal();
        self.journal.flush().map_err(WorkspaceError::io("write", &path)).map_err(RunError::from)?;
        let aborted = match self.aborted_before {
            0 => String::new(),
            n => format!(", {n} aborted"),
        };
        let not_taken = match self.inbox.not_taken() {
            0 => String::new(),
            n => format!(", {n} not taken (see above)"),
        };
        tracing::info!(
            "All tasks started: {} finished before{aborted}, {} to go on with, {waiting} waiting{not_taken}",
            count(started.finished_before, "file"),
            self.tracker.len(),
        );
        Ok(())
    }

    async fn run(mut self) -> Exit {
        if self.mode != Mode::Once || !self.is_idle() {
            for task in 0..self.tasks.len() {
                self.with(task, |run, lens| run.rehearse(lens));
            }
        }
        loop {
            self.take_in();
            self.hand_on();
            self.finish_files();
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

    /// Takes inputs into the pipeline, as far as there is room.
    fn take_in(&mut self) {
        if self.winding_up {
            return;
        }
        let taken = self.inbox.take(self.counts());
        self.admit(taken);
    }

    fn admit(&mut self, taken: Vec<FileId>) {
        self.staged_lately += taken.len();
        self.news |= !taken.is_empty();
        for input in taken {
            let name = self.inbox.name(input);
            // All roots have the same input extension.
            let Some(stem) = self.tasks[0].pairing.stem(name) else { continue };
            let stem = stem.to_owned();
            let link = self.inbox.is_link(input);
            self.look_at(Some(input));
            match self.tracker.admit(stem, Some(input), link, &[]) {
                Some((id, next)) => {
                    for task in next.ready {
                        self.tasks[task].found.push(id);
                    }
                }
                None => {
                    let why = "four thousand million files went through: start it again";
                    self.fail(&PipelineError::Staging(why.into()));
                    return;
                }
            }
        }
    }

    /// Remembers what an input is, where it is to be deleted.
    fn look_at(&mut self, input: Option<FileId>) {
        let Some(input) = input.filter(|_| self.removal.is_some()) else { return };
        if let Ok(look) = Look::of(&self.inbox.input_dir().join(self.inbox.name(input))) {
            self.looks.insert(input, look);
        }
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

    /// An attempt has ended.
    fn ended(&mut self, task: usize, file: FileId) {
        if !self.tracker.holds(file) {
            return;
        }
        self.news = true;
        let places = &mut self.tasks[task].places;
        let stem = &self.tracker.file(file).stem;
        let shown = match self.tracker.state(task, file) {
            State::Succeeded => {
                let failed_before = self.tracker.attempts_before(task, file) > 0;
                places.succeeded(stem, failed_before)
            }
            State::Failed | State::TimedOut | State::Aborted => places.failed(stem),
            _ => Ok(true),
        };
        match shown {
            Ok(true) => {}
            Ok(false) => {
                let late = Late { task, file, since: Instant::now() };
                self.late.push(late);
                return;
            }
            // It is still to do, as far as users see.
            Err(error) => return self.fail(&error),
        }
        let next = self.tracker.ended(task, file);
        for child in next.ready {
            self.tasks[child].found.push(file);
        }
        if let Some(settled) = next.settled {
            self.settle(file, settled);
        }
    }

    /// There is nothing more to do for a file.
    fn settle(&mut self, id: FileId, settled: Settled) {
        let file = self.tracker.remove(id);
        match settled {
            Settled::Finished | Settled::Aborted => {
                let name = self.tasks[0].pairing.input_name(&file.stem);
                let look = file.input.and_then(|input| self.looks.remove(&input));
                self.finished.push(&name, look, settled == Settled::Aborted);
                self.done.push((file, settled, look));
            }
            Settled::Failed => {
                self.tally.failed += 1;
                self.left(&file, State::Failed);
            }
            Settled::Vanished => {
                self.remove_outputs(&file);
                self.left(&file, State::New);
            }
        }
    }

    fn left(&mut self, file: &File, state: State) {
        if let Some(input) = file.input {
            self.looks.remove(&input);
            self.inbox.left(input, state);
        }
    }

    fn remove_outputs(&mut self, file: &File) {
        let removed: Result<Vec<()>, _> = file
            .tasks_in(State::Succeeded)
            .map(|task| self.tasks[task].places.remove_output(&file.stem))
            .chain(
                file.tasks_in(State::Aborted)
                    .map(|task| self.tasks[task].places.remove_error(&file.stem)),
            )
            .collect();
        if let Err(error) = removed {
            self.fail(&error);
        }
    }

    /// Puts files on the list that are done with, and removes what nobody keeps.
    fn finish_files(&mut self) {
        if self.done.is_empty() {
            return;
        }
        let done = std::mem::take(&mut self.done);
        if let Err(cause) = self.finished.flush() {
            // Nothing of them is removed: the next run finds them as they are.
            let path = self.workspace.layout.root().join("finished");
            return self.fail(&PipelineError::io("write", &path)(cause));
        }
        for (file, settled, look) in done {
            self.remove_outputs(&file);
            match settled {
                Settled::Aborted => self.tally.aborted += 1,
                _ => {
                    self.tally.finished += 1;
                    self.finished_lately += 1;
                }
            }
            let Some(id) = file.input else { continue };
            if settled == Settled::Finished
                && let Some((removal, look)) = self.removal.as_mut().zip(look)
            {
                let name = self.tasks[0].pairing.input_name(&file.stem);
                removal.push(removal::Input { id, name, look });
            }
            self.inbox.left(id, State::Succeeded);
        }
    }

    fn arrivals(&mut self, cycle: Option<CycleEnd>) {
        let result = match cycle {
            Some(end) => {
                let taken = self.inbox.cycle_ended(end, self.counts());
                self.admit(taken);
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

    fn removed(&mut self, removed: Removed) {
        self.inbox.forget(&removed.all, &removed.replaced);
    }

    fn time_passed(&mut self) {
        let now = Instant::now();
        let result = self.inbox.time_passed(now);
        self.listed(result);
        for late in std::mem::take(&mut self.late) {
            if late.since + LATE_LIMIT < now {
                let task = &self.tasks[late.task];
                let name = shown(&self.tracker.file(late.file).stem);
                let reason = format!(
                    "what task `{}` made of {name} is not to be seen in `{}`: is that directory \
                     the same on all nodes?",
                    task.name,
                    task.run.started().output_ext
                );
                self.fail(&PipelineError::Staging(reason));
            } else {
                let before = self.late.len();
                self.ended(late.task, late.file);
                if let Some(still) = self.late[before..].first_mut() {
                    still.since = late.since;
                }
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
            removal.begin(self.tasks[0].places.file_system());
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

    fn tell_summary(&mut self) {
        self.next_summary = Instant::now() + SUMMARY_INTERVAL;
        let staged = std::mem::take(&mut self.staged_lately);
        let finished = std::mem::take(&mut self.finished_lately);
        if staged > 0 {
            tracing::info!("Staged {} for processing", count(staged, "new file"));
        }
        if finished > 0 {
            tracing::info!("Completed processing {}", count(finished, "file"));
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
            self.inbox.next_wake(),
            idle,
            (!self.late.is_empty()).then(|| now + LATE_LOOK),
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

    /// Renews what other processes and people see, when it is time.
    fn renew(&mut self) {
        let now = Instant::now();
        if self.next_summary <= now && self.staged_lately + self.finished_lately > 0 {
            self.tell_summary();
        }
        if self.next_progress <= now && (self.news || !self.tracker.is_empty()) {
            self.next_progress = now + PROGRESS_INTERVAL;
            self.write_progress(None);
            let stopping = self.stopping;
            for task in 0..self.tasks.len() {
                self.with(task, |run, lens| run.write_progress(None, stopping, lens));
            }
        }
    }

    fn write_progress(&mut self, exit: Option<Exit>) {
        self.news = false;
        let time = Timestamp::now();
        let tracker = &self.tracker;
        let files = progress::Files {
            waiting: self.inbox.waiting(),
            staged: tracker.len() - tracker.begun(),
            in_progress: tracker.begun(),
            finished: self.started.finished_before + self.tally.finished,
            failed: self.tally.failed,
            aborted: self.aborted_before + self.tally.aborted,
        };
        let mut tasks = Vec::new();
        for (number, task) in self.tasks.iter().enumerate() {
            let counts = tracker.counts(number);
            let at_work = task.run.at_work();
            let retrying = task.run.retrying();
            let known = task.run.to_do() + task.found.len();
            let parent = tracker.tree().parents[number];
            tasks.push(progress::Task {
                name: task.name.clone(),
                depends_on: parent.map(|parent| self.tasks[parent].name.clone()),
                kind: task.kind.into(),
                waiting: known.saturating_sub(at_work.running + retrying),
                running: at_work.running,
                retrying,
                succeeded: counts.succeeded,
                failed: counts.failed,
                aborted: counts.aborted,
                in_flight: at_work.oldest,
                workers: task.run.workers(),
            });
        }
        let ended = exit.map(|exit| Ended { time, exit_code: exit.code() });
        let (run, stopping) = (self.started.clone(), self.stopping);
        let progress = Progress { run, time, ended, stopping, files, tasks };
        // It informs people only; the disk that is full is told of elsewhere.
        if let Err(error) = progress.write(&self.workspace.layout.progress()) {
            tracing::debug!("failed to write how far the pipeline is: {error}");
        }
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
            removal.begin(self.tasks[0].places.file_system());
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
        if any(Exit::SetupFailed) {
            Exit::SetupFailed
        } else if self.host_failed || any(Exit::HostFailed) {
            Exit::HostFailed
        } else if let Some(signal) = signal {
            *signal
        } else if self.tally.failed > 0 || any(Exit::SomeFailed) || enough {
            Exit::SomeFailed
        } else {
            Exit::Done
        }
    }

    fn close(&mut self, exit: Exit) {
        self.journal.push(&Record::RunEnded { time: Timestamp::now(), exit_code: exit.code() });
        if let Err(error) = self.journal.flush() {
            tracing::error!("failed to write the pipeline's journal: {error}");
        }
        self.write_progress(Some(exit));
    }

    fn tell_end(&self) {
        let Tally { finished, failed, aborted } = self.tally;
        let seconds = self.begun.elapsed().as_secs_f64();
        let rate = finished as f64 / seconds.max(1e-9);
        let more = [
            (aborted, "aborted"),
            (self.tracker.len(), "still in the pipeline"),
            (self.inbox.waiting(), "waiting"),
        ];
        let more: String = more
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| format!(", {number} {what}"))
            .collect();
        tracing::info!(
            "{} finished, {failed} failed{more} in {seconds:.2} s ({rate:.1} files/s)",
            count(finished, "file")
        );
        tracing::info!("Pipeline shutdown complete");
    }
}

/// Waits until any of the tasks has something to tell. Nothing is lost if it is not
/// waited for to the end.
async fn any(tasks: &mut [Task]) {
    let mut waits: FuturesUnordered<_> = tasks.iter_mut().map(|task| task.run.wait()).collect();
    waits.next().await;
}

/// Waits until nothing is left of any task.
async fn all_torn_down(tasks: &mut [Task]) {
    let ends: FuturesUnordered<_> = tasks.iter_mut().map(|task| task.run.torn_down()).collect();
    ends.collect::<()>().await;
}

/// Waits until inputs are deleted, if any are to be.
async fn gone(removal: Option<&mut Removal>) -> Removed {
    match removal {
        Some(removal) => removal.wait().await,
        None => std::future::pending().await,
    }
}
