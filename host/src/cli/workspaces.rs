//! Runs, as others than themselves see them: who is at work, and how it ended.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::{EXIT_HOST, Usage};
use crate::log::local_time;
use crate::pipeline;
use crate::workspace::Layout;
use crate::workspace::journal::{self, Record, RunStarted};
use crate::workspace::lock::{self, Owner};
use crate::workspace::progress_file::Ended;

/// How often to look at a run of others.
pub const LOOK: Duration = Duration::from_millis(200);

/// How long to wait for the last words of a run on another machine, in looks:
/// they may be seen later than that it is gone.
const LAST_WORDS: u32 = 25;

/// The workspace of a task.
pub struct Place {
    /// The task.
    pub task: String,
    /// Where things lie.
    pub layout: Layout,
    /// Who is at work.
    pub holder: Option<Owner>,
}

/// All workspaces of an output directory, or the one of this name; at least one.
pub fn all(output_dir: &Path, task: Option<&str>) -> Result<Vec<Place>, Usage> {
    let places: Vec<Place> = Layout::all(output_dir)
        .map_err(|_| nothing_in(output_dir))?
        .into_iter()
        .filter(|(name, _)| task.is_none_or(|wanted| wanted == name))
        .map(|(task, layout)| Place { holder: lock::holder(&layout.lock()), task, layout })
        .collect();
    if places.is_empty() { Err(nothing_in(output_dir)) } else { Ok(places) }
}

/// The workspace of the pipeline that is, or was, at work in an output directory.
pub fn pipeline(output_dir: &Path) -> Option<Place> {
    let layout = pipeline::layout(output_dir);
    let holder = lock::holder(&layout.lock());
    let task = pipeline::WORKSPACE.into();
    layout.root().is_dir().then_some(Place { task, layout, holder })
}

/// What to say of a directory in which nothing was run.
pub fn nothing_in(output_dir: &Path) -> Usage {
    Usage(format!(
        "no run is recorded in `{}`: is it the --output-dir of one?",
        output_dir.display()
    ))
}

/// What to say where it is not clear which task is meant.
pub fn several(what: &str, output_dir: &Path, places: &[Place]) -> Usage {
    let names: Vec<&str> = places.iter().map(|place| &*place.task).collect();
    Usage(format!(
        "several tasks {what} `{}`: add --task-name with one of {}",
        output_dir.display(),
        names.join(", ")
    ))
}

/// A run, as the journal has it.
pub struct Run {
    /// What it found when it began.
    pub started: RunStarted,
    /// How it ended, unless it is at work or died.
    pub ended: Option<Ended>,
}

impl Run {
    /// The last run of a workspace, or the one of this process.
    pub fn find(layout: &Layout, owner: Option<&Owner>) -> anyhow::Result<Option<Self>> {
        let path = layout.journal();
        let failed = || format!("failed to read `{}`", path.display());
        let records = match journal::read(&path) {
            Ok(records) => records,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error).with_context(failed)?,
        };
        let mut found: Option<Run> = None;
        let mut is_it = false;
        for record in records {
            match record.with_context(failed)? {
                Record::RunStarted(started) => {
                    is_it = owner.is_none_or(|o| o.pid == started.pid && o.host == started.host);
                    if is_it {
                        found = Some(Run { started, ended: None });
                    }
                }
                Record::RunEnded { time, exit_code } if is_it => {
                    if let Some(run) = &mut found {
                        run.ended = Some(Ended { time, exit_code });
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// The run of a process that is gone.
    pub fn find_ended(layout: &Layout, owner: &Owner) -> anyhow::Result<Option<Self>> {
        let mut looks = if owner.is_here() { 0 } else { LAST_WORDS };
        loop {
            let run = Run::find(layout, Some(owner))?;
            if looks == 0 || run.as_ref().is_some_and(|run| run.ended.is_some()) {
                return Ok(run);
            }
            looks -= 1;
            std::thread::sleep(LOOK);
        }
    }

    /// How it ended, in words. It is not at work any more.
    pub fn end(&self) -> String {
        match &self.ended {
            Some(end) => {
                format!("ended {} with exit code {}", local_time(end.time), end.exit_code)
            }
            None => format!(
                "died: process {} on {} was killed, or its machine went down; run the same command \
                 again to go on",
                self.started.pid, self.started.host
            ),
        }
    }

    /// Its exit code.
    pub fn code(&self) -> u8 {
        self.ended.map_or(EXIT_HOST, |end| end.exit_code)
    }
}
