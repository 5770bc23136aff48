//! What is known of a pipeline: from its `run.json`, its lock, and its tasks' journals.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;

use super::errors::{self, Found};
use super::estimate::{Run, Speed};
use super::follow::{Follower, Stats, Summary};
use crate::cli::{Usage, command_line};
use crate::pipeline;
use crate::pipeline::progress::{Files, Progress, Task};
use crate::workspace::Layout;
use crate::workspace::lock::{self, Owner};

/// How many of the latest durations a sparkline shows.
pub const SPARKS: usize = 20;

/// Whether a pipeline is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is.
    Running,
    /// It ended in good order.
    Ended,
    /// It left without a word: killed, or its machine went down.
    Died,
}

/// A pipeline at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When this is.
    pub now: Timestamp,
    /// Whether it is at work.
    pub state: State,
    /// Whose process it is, or was, and since when.
    pub owner: Owner,
    /// What it says. None where it has only just begun.
    pub progress: Option<Progress>,
    /// Its log, where it has no terminal.
    pub log: Option<PathBuf>,
    /// Since it began, until it ended or now, in seconds.
    pub seconds: f64,
    /// How fast it is.
    pub speed: Speed,
    /// Its tasks, a parent before its children.
    pub tasks: Vec<TaskView>,
    /// The latest errors that stand, the latest first.
    pub errors: Vec<Found>,
    /// Where the `.err` files are.
    pub errors_in: String,
}

/// A task at one moment.
#[derive(Clone, Debug)]
pub struct TaskView {
    /// What the pipeline says of it.
    pub task: Task,
    /// How many files it could have: for a root all that the pipeline knows, for others
    /// what their parent has succeeded on.
    pub available: usize,
    /// How long its successes took, in all runs.
    pub summary: Summary,
    /// How long the latest of them took, oldest first.
    pub latest: Vec<f64>,
}

impl Snapshot {
    /// How many files the pipeline knows.
    pub fn known(&self) -> usize {
        self.progress.as_ref().map_or(0, |progress| known(&progress.files))
    }

    /// The exit code of a pipeline that is not at work any more.
    pub fn exit_code(&self) -> Option<u8> {
        self.progress.as_ref().and_then(|progress| progress.ended).map(|ended| ended.exit_code)
    }

    /// Whether it was told to stop, and finishes what is in flight.
    pub fn is_stopping(&self) -> bool {
        let progress = self.progress.as_ref();
        self.state == State::Running && progress.is_some_and(|progress| progress.stopping)
    }
}

fn known(files: &Files) -> usize {
    let Files { waiting, staged, in_progress, finished, failed, aborted } = *files;
    waiting + staged + in_progress + finished + failed + aborted
}

/// Looks at a pipeline again and again, and reads no line of a journal twice.
#[derive(Debug)]
pub struct Gatherer {
    output_dir: PathBuf,
    layout: Layout,
    /// Whether the journals are to be read.
    journals: bool,
    followers: BTreeMap<String, Follower>,
}

impl Gatherer {
    /// The pipeline of this output directory. `journals`: whether durations and rates are
    /// wanted, which are read from the journals.
    pub fn new(output_dir: &Path, journals: bool) -> Result<Self, Usage> {
        let layout = pipeline::layout(output_dir);
        if layout.progress().exists() || lock::holder(&layout.lock()).is_some() {
            let followers = BTreeMap::new();
            return Ok(Gatherer { output_dir: output_dir.into(), layout, journals, followers });
        }
        let place = output_dir.display();
        if !output_dir.is_dir() {
            let what = if output_dir.exists() { "is no directory" } else { "does not exist" };
            return Err(Usage(format!(
                "`{place}` {what}: give the OUTPUT_DIR of `tigerflow-host pipeline run`"
            )));
        }
        let tasks = Layout::all(output_dir).unwrap_or_default();
        if tasks.iter().any(|(_, layout)| layout.journal().exists()) {
            let status = command_line("status", output_dir, None);
            return Err(Usage(format!(
                "no pipeline has worked in `{place}`, but `tigerflow-host run` has: `{status}` \
                 shows how far that is"
            )));
        }
        Err(Usage(format!(
            "no pipeline has worked in `{place}`: is it the OUTPUT_DIR of `tigerflow-host \
             pipeline run`?"
        )))
    }

    /// How the pipeline is now, without its errors.
    pub fn look(&mut self) -> anyhow::Result<Snapshot> {
        // In this order: what a run says last stands there before it gives up the lock.
        let holder = lock::holder(&self.layout.lock());
        let path = self.layout.progress();
        let progress = match Progress::read(&path) {
            Ok(progress) => Some(progress),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Err(error).with_context(|| {
                format!("failed to read `{}`: is it of a later version?", path.display())
            })?,
        };
        let now = Timestamp::now();
        let (state, owner, progress) = judge(holder, progress)
            .with_context(|| format!("there is no `{}` any more", path.display()))?;
        let detached = progress.as_ref().is_some_and(|progress| progress.run.detached);
        let began = progress.as_ref().map_or(owner.since, |progress| progress.run.time);
        let until = match (state, &progress) {
            (State::Running, _) | (_, None) => now,
            (_, Some(progress)) => progress.ended.map_or(progress.time, |ended| ended.time),
        };
        if let (true, Some(progress)) = (self.journals, &progress) {
            self.read(progress)?;
        }
        let speed = progress.as_ref().map_or_else(Speed::default, |progress| {
            let files = progress.files;
            let run = Run {
                began,
                until,
                is_running: state == State::Running,
                finished: files.finished.saturating_sub(progress.run.finished_before),
                left: files.waiting + files.staged + files.in_progress,
            };
            run.speed(&self.by_task(progress))
        });
        let tasks = progress.as_ref().map(|progress| self.tasks(progress)).unwrap_or_default();
        Ok(Snapshot {
            now,
            state,
            owner,
            log: detached.then(|| self.layout.log()),
            seconds: until.duration_since(began).as_secs_f64().max(0.0),
            speed,
            tasks,
            progress,
            errors: Vec::new(),
            errors_in: errors::pattern(&self.output_dir),
        })
    }

    /// What a task has done, where its journal was read.
    pub fn stats(&self, task: &str) -> Option<&Stats> {
        self.followers.get(task).map(|follower| &follower.stats)
    }

    /// How many files all tasks are done with.
    pub fn settled(&self) -> usize {
        self.followers.values().map(|follower| follower.stats.settled).sum()
    }

    fn read(&mut self, progress: &Progress) -> anyhow::Result<()> {
        for task in &progress.tasks {
            let path = Layout::new(&self.output_dir, &task.name).journal();
            let new = || Follower::new(path.clone());
            let follower = self.followers.entry(task.name.clone()).or_insert_with(new);
            follower.read().with_context(|| format!("failed to read `{}`", path.display()))?;
        }
        Ok(())
    }

    fn by_task<'a>(&'a self, progress: &Progress) -> Vec<(&'a Stats, bool)> {
        let tasks = progress.tasks.iter();
        tasks
            .filter_map(|task| {
                let is_parent = |other: &Task| other.depends_on.as_ref() == Some(&task.name);
                Some((self.stats(&task.name)?, !progress.tasks.iter().any(is_parent)))
            })
            .collect()
    }

    fn tasks(&self, progress: &Progress) -> Vec<TaskView> {
        let succeeded: BTreeMap<&str, usize> =
            progress.tasks.iter().map(|task| (&*task.name, task.succeeded)).collect();
        let view = |task: &Task| {
            let stats = self.stats(&task.name);
            let durations = stats.map(|stats| &stats.durations);
            let latest = durations.map(|all| all.range(all.len().saturating_sub(SPARKS)..));
            TaskView {
                available: match &task.depends_on {
                    None => known(&progress.files),
                    Some(parent) => succeeded.get(&**parent).copied().unwrap_or_default(),
                },
                summary: stats.map(Stats::summary).unwrap_or_default(),
                latest: latest.into_iter().flatten().copied().collect(),
                task: task.clone(),
            }
        };
        progress.tasks.iter().map(view).collect()
    }
}

/// Whether a pipeline is at work, whose it is, and what it says of itself. None where there
/// is none.
fn judge(
    holder: Option<Owner>,
    progress: Option<Progress>,
) -> Option<(State, Owner, Option<Progress>)> {
    if let Some(holder) = holder {
        // A run that has just begun stands before what the one before it has said.
        let progress = progress.filter(|progress| {
            let is_older = progress.ended.is_some_and(|ended| ended.time < holder.since);
            progress.run.pid == holder.pid && progress.run.host == holder.host && !is_older
        });
        return Some((State::Running, holder, progress));
    }
    let progress = progress?;
    let run = &progress.run;
    let owner = Owner { host: run.host.clone(), pid: run.pid, since: run.time };
    let state = if progress.ended.is_some() { State::Ended } else { State::Died };
    Some((state, owner, Some(progress)))
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::workspace::progress_file::Ended;

    #[test]
    fn who_is_at_work_is_told_by_the_lock() {
        let progress = sample::progress();
        let run = &progress.run;
        let owner = Owner { host: run.host.clone(), pid: run.pid, since: run.time };
        let ended = Ended { time: progress.time, exit_code: 0 };
        let ended = Progress { ended: Some(ended), ..progress.clone() };
        let later = Owner { pid: 99, ..owner.clone() };
        let same_pid = Owner { since: Timestamp::now(), ..owner.clone() };
        let state = |holder: Option<&Owner>, progress: &Progress| {
            let (state, _, progress) = judge(holder.cloned(), Some(progress.clone())).unwrap();
            (state, progress.is_some())
        };
        assert_eq!(state(Some(&owner), &progress), (State::Running, true));
        assert_eq!(state(Some(&later), &progress), (State::Running, false));
        assert_eq!(state(Some(&same_pid), &ended), (State::Running, false));
        assert_eq!(state(None, &ended), (State::Ended, true));
        assert_eq!(state(None, &progress), (State::Died, true));
        assert!(judge(None, None).is_none());
    }

    #[test]
    fn a_directory_without_a_pipeline_is_refused_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |path: &Path| Gatherer::new(path, true).unwrap_err().to_string();
        assert!(refused(&dir.path().join("none")).contains("does not exist"));
        assert!(refused(dir.path()).contains("no pipeline has worked"));
        let task = Layout::new(dir.path(), "one");
        std::fs::create_dir_all(task.root()).unwrap();
        std::fs::write(task.journal(), "").unwrap();
        assert!(refused(dir.path()).contains("tigerflow-host status"));
    }

    #[test]
    fn a_task_could_have_what_its_parent_has_done() {
        let dir = tempfile::tempdir().unwrap();
        sample::write(dir.path());
        let snapshot = Gatherer::new(dir.path(), true).unwrap().look().unwrap();
        assert_eq!(snapshot.state, State::Died);
        let available: Vec<usize> = snapshot.tasks.iter().map(|task| task.available).collect();
        assert_eq!((snapshot.known(), available), (150, vec![150, 130]));
        assert_eq!(snapshot.tasks[0].summary.count, 130);
        assert_eq!(snapshot.tasks[0].latest.len(), SPARKS);
        assert_eq!(snapshot.speed.seconds_left, None);
    }
}
