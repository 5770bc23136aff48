//! The files of a pipeline as one of its tasks sees them.

use std::borrow::Cow;
use std::ffi::OsStr;

use super::inbox::Inbox;
use super::tracker::Tracker;
use crate::workspace::catalog::{FileId, Files, State};
use crate::workspace::names::Pairing;

/// The files of one task.
pub struct Lens<'a> {
    /// All files in the pipeline.
    pub tracker: &'a mut Tracker,
    /// The task.
    pub task: usize,
    /// Its extensions.
    pub pairing: &'a Pairing,
    /// Files that are not in the pipeline yet, where a worker may hold some: it
    /// outlived a coordinator that died.
    pub inbox: Option<&'a mut Inbox>,
}

impl Files for Lens<'_> {
    fn find(&mut self, name: &OsStr) -> Option<FileId> {
        let stem = self.pairing.stem(name)?;
        if let Some(id) = self.tracker.find(stem) {
            return Some(id);
        }
        let inbox = self.inbox.as_mut().filter(|_| self.tracker.tree().is_root(self.task))?;
        let input = inbox.claim(name)?;
        let link = inbox.is_link(input);
        let (id, _) = self.tracker.admit(stem.to_owned(), Some(input), link, &[])?;
        Some(id)
    }

    fn name(&self, id: FileId) -> Cow<'_, OsStr> {
        Cow::Owned(self.pairing.input_name(&self.tracker.file(id).stem))
    }

    fn state(&self, id: FileId) -> State {
        self.tracker.state(self.task, id)
    }

    fn set_state(&mut self, id: FileId, state: State) {
        // A worker that was given up may tell of a file that is long gone.
        if self.tracker.holds(id) {
            self.tracker.set_state(self.task, id, state);
        }
    }

    fn attempts_before(&self, id: FileId) -> u32 {
        self.tracker.attempts_before(self.task, id)
    }

    fn is_link(&self, id: FileId) -> bool {
        self.tracker.tree().is_root(self.task) && self.tracker.file(id).link
    }

    fn unsettled(&self) -> usize {
        0
    }
}
