//! Deletes inputs that are finished, where that was asked for.
//!
//! It is the one thing that cannot be done again: so what was made of them is synced
//! before, for many at once, and only the very file goes that was worked on.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::workspace::catalog::FileId;
use crate::workspace::intake::Look;

/// How long inputs gather before they are deleted: to sync takes its time.
const GATHER: Duration = Duration::from_secs(1);

/// An input to delete.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its number.
    pub id: FileId,
    /// Its name.
    pub name: OsString,
    /// What it was when it was taken. Another file of its name stays.
    pub look: Look,
}

/// Inputs on their way out.
#[derive(Debug)]
pub struct Removal {
    input_dir: PathBuf,
    gathered: Vec<Input>,
    since: Instant,
    at_work: Option<JoinHandle<(Vec<FileId>, bool)>>,
    has_failed: bool,
}

impl Removal {
    /// Of inputs in this directory.
    pub fn new(input_dir: PathBuf) -> Self {
        Removal {
            input_dir,
            gathered: Vec::new(),
            since: Instant::now(),
            at_work: None,
            has_failed: false,
        }
    }

    /// Takes an input whose outputs stand, and which is on the list.
    pub fn push(&mut self, input: Input) {
        if self.gathered.is_empty() {
            self.since = Instant::now();
        }
        self.gathered.push(input);
    }

    /// Whether there is anything to do or at work.
    pub fn is_idle(&self) -> bool {
        self.gathered.is_empty() && self.at_work.is_none()
    }

    /// When it is to [begin](Self::begin) next.
    pub fn due(&self) -> Option<Instant> {
        (!self.gathered.is_empty() && self.at_work.is_none()).then(|| self.since + GATHER)
    }

    /// Deletes what has gathered. `written`: the file systems of what was made of them.
    pub fn begin(&mut self, written: io::Result<Vec<OwnedFd>>) {
        if self.gathered.is_empty() || self.at_work.is_some() {
            return;
        }
        let (inputs, directory) = (std::mem::take(&mut self.gathered), self.input_dir.clone());
        self.at_work = Some(tokio::task::spawn_blocking(move || {
            let sync = |handle: OwnedFd| Ok(rustix::fs::syncfs(handle)?);
            let synced = written.and_then(|handles| handles.into_iter().try_for_each(sync));
            if let Err(error) = synced {
                tracing::error!("failed to sync the outputs: {error}; inputs are not deleted");
                return (Vec::new(), false);
            }
            let number = inputs.len();
            let gone = inputs.into_iter().filter(|input| remove(&directory, input));
            let gone: Vec<FileId> = gone.map(|input| input.id).collect();
            let well = gone.len() == number;
            (gone, well)
        }));
    }

    /// Whether inputs stayed that were to go; the log says why.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Waits until those are gone. Returns them; of some another file may be in their
    /// place, which stays.
    pub async fn wait(&mut self) -> Vec<FileId> {
        let removed = match &mut self.at_work {
            Some(at_work) => at_work.await,
            None => std::future::pending().await,
        };
        self.at_work = None;
        // A panic was reported by itself.
        let (gone, well) = removed.unwrap_or_default();
        self.has_failed |= !well;
        gone
    }
}

/// Whether an input is gone, or another one is in its place.
fn remove(directory: &Path, input: &Input) -> bool {
    let path = directory.join(&input.name);
    if Look::of(&path).is_ok_and(|look| look == input.look)
        && let Err(error) = fs::remove_file(&path)
    {
        // It is done with all the same, and on the list.
        tracing::error!("failed to delete the input `{}`: {error}", path.display());
        return false;
    }
    true
}
