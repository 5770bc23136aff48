//! How a pipeline begins: what earlier runs have left is taken up.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

use jiff::Timestamp;

use super::{Dispatcher, Tally, Task};
use crate::log;
use crate::pipeline::inbox::{self, Inbox};
use crate::pipeline::lens::Lens;
use crate::pipeline::lists::{Entry, How, List, Looks};
use crate::pipeline::places::{self, Places};
use crate::pipeline::removal::{self, Removal};
use crate::pipeline::tracker::{Settled, Stands, Tracker};
use crate::pipeline::{PipelineError, PipelinePlan, TaskPlan, WORKSPACE, progress};
use crate::run::dispatch::Requests;
use crate::run::signals::Signals;
use crate::run::task_run::{self, TaskRun};
use crate::run::{RunError, detach, open_files};
use crate::schedule::Mode;
use crate::workspace::catalog::{FileId, State};
use crate::workspace::intake::{Before, Intake, Look, Rules};
use crate::workspace::names::{Pairing, shown};
use crate::workspace::watch::Watch;
use crate::workspace::{Layout, Workspace};

impl Dispatcher {
    /// Opens the workspaces, and finds what there is to do.
    pub(super) fn start(plan: PipelinePlan, signals: Signals) -> Result<Self, PipelineError> {
        let begun = Instant::now();
        let PipelinePlan { config, input_dir, output_dir, input_ext, tree, .. } = plan;
        let workspace = Workspace::open(&output_dir, WORKSPACE).map_err(RunError::from)?;
        workspace.tell_taken_over();
        tracing::info!("Starting pipeline execution");
        let scan_error =
            |cause| RunError::Scan { input: input_dir.clone(), output: output_dir.clone(), cause };

        let mut all_places = Vec::new();
        for task in &plan.tasks {
            let pairing = task.plan.pairing.clone();
            all_places.push(Places::make(&output_dir, &task.name, pairing, task.keep_output)?);
        }
        let mut stands = places::all_that_stands(&all_places)?;

        // Watching begins before the listing: nothing falls between.
        let watch = (plan.mode != Mode::Once).then(|| Watch::new(&input_dir, plan.poll));
        // No name that follows from an input's may be too long, in whichever task.
        let outputs = plan.tasks.iter().map(|task| &task.plan.pairing.output);
        let longest = outputs.max_by_key(|extension| extension.as_str().len());
        let output = longest.unwrap_or(&input_ext).clone();
        let pairing = Pairing { input: input_ext.clone(), output };
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
        let root = workspace.layout.root();
        let path = root.join("staged");
        let looks = Looks::open(path.clone()).map_err(PipelineError::io("read", &path))?;
        let (mut finished_before, mut aborted_before) = (0, 0);
        let mut left_over = Vec::new();
        let path = root.join("finished");
        let finished = List::open(path.clone(), |Entry { name, how, look }| {
            match how {
                How::Aborted => aborted_before += 1,
                _ => finished_before += 1,
            }
            // A crash came before all of it was removed; unless what stands is of a later
            // file of this name.
            let later = look.zip(looks.before(&name)).is_some_and(|(was, is)| was != is);
            if let Some(stem) = pairing.stem(&name).filter(|_| !later)
                && let Some((stem, _)) = stands.remove_entry(stem)
            {
                left_over.push(stem);
            }
            let Some(known) = look else {
                // It counts by its name.
                intake.is_done(&name);
                return;
            };
            if Look::of(&input_dir.join(&name)).is_ok_and(|look| look == known)
                && let Some(id) = intake.is_done(&name)
                && let Some(removal) = removal.as_mut().filter(|_| how == How::Finished)
            {
                removal.push(removal::Input { id, name, look: known });
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
            max_staged: plan.max_staged,
            tasks: Vec::new(),
            finished,
            aborted_before,
            tally: Tally::default(),
            done: Vec::new(),
            late: Vec::new(),
            removal,
            taken: looks,
            looks: HashMap::new(),
            held_back: HashMap::new(),
            gone: HashMap::new(),
            next_late: now,
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
        dispatcher.take_over_looks()?;
        dispatcher.inbox.tidy();
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
                None if !roots.all(|task| is_over(state(task))) => Some("is gone"),
                Some(id) if self.has_changed(id) => Some("has changed"),
                _ => None,
            };
            if let Some(lost) = lost {
                tracing::warn!(
                    "The input of {} {lost}: what was made of it so far is removed",
                    shown(&stem)
                );
                if let Some(id) = input {
                    self.inbox.put_back(id);
                }
                for places in &mut *places {
                    places.discard(&stem)?;
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
            if let Some((id, next)) = self.tracker.admit(stem, input, link, &stands) {
                all_settled.extend(next.settled.map(|settled| (id, settled)));
            }
        }
        Ok(all_settled)
    }

    /// Whether an input is another file than the one that an earlier run took.
    fn has_changed(&self, input: FileId) -> bool {
        let name = self.inbox.name(input);
        let Some(before) = self.taken.before(name) else { return false };
        Look::of(&self.inbox.input_dir().join(name)).is_ok_and(|look| look != before)
    }

    /// What inputs were that an earlier run took, and that are in the pipeline again, is
    /// known by the list; and nothing else is on that any more.
    fn take_over_looks(&mut self) -> Result<(), PipelineError> {
        for input in self.tracker.inputs() {
            if let Some(look) = self.taken.before(self.inbox.name(input)) {
                self.looks.insert(input, look);
            }
        }
        self.taken.forget_before();
        self.renew_looks()
    }

    fn open_tasks(
        &mut self,
        plans: Vec<TaskPlan>,
        places: Vec<Places>,
        output_dir: &Path,
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
            let found = Vec::new();
            let task = Task { name, kind, run, pairing, places, found, is_torn_down: false };
            self.tasks.push(task);
        }
        Ok(())
    }
}
