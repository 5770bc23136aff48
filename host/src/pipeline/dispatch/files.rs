//! What becomes of files: taken in, handed from task to task, finished.

use std::time::Instant;

use super::{Dispatcher, LATE_LIMIT, Late};
use crate::pipeline::PipelineError;
use crate::pipeline::lists::How;
use crate::pipeline::removal;
use crate::pipeline::tracker::{File, Settled};
use crate::workspace::catalog::{FileId, State};
use crate::workspace::intake::Look;
use crate::workspace::names::shown;

impl Dispatcher {
    /// Takes inputs into the pipeline.
    pub(super) fn admit(&mut self, taken: Vec<FileId>) {
        self.news |= !taken.is_empty();
        let mut ready = Vec::new();
        for input in taken {
            let name = self.inbox.name(input);
            // All roots have the same input extension.
            let Some(stem) = self.tasks[0].pairing.stem(name) else { continue };
            if let Some(earlier) = self.tracker.find(stem) {
                self.held_back.insert(earlier, input);
                continue;
            }
            let stem = stem.to_owned();
            let link = self.inbox.is_link(input);
            if let Ok(look) = Look::of(&self.inbox.input_dir().join(name)) {
                self.taken.push(name, look);
                self.looks.insert(input, look);
            }
            let Some((id, next)) = self.tracker.admit(stem, Some(input), link, &[]) else {
                let why = "four thousand million files went through: start it again";
                return self.fail(&PipelineError::Stuck(why.into()));
            };
            self.staged_lately += 1;
            ready.extend(next.ready.into_iter().map(|task| (task, id)));
        }
        // Known on disk before anything is made of them.
        if let Err(cause) = self.taken.flush() {
            let path = self.taken.path().to_owned();
            return self.fail(&PipelineError::io("write", &path)(cause));
        }
        for (task, id) in ready {
            self.tasks[task].found.push(id);
        }
        if self.taken.is_long(self.tracker.len())
            && let Err(error) = self.renew_looks()
        {
            self.fail(&error);
        }
    }

    /// Writes anew what the inputs in the pipeline were.
    pub(super) fn renew_looks(&mut self) -> Result<(), PipelineError> {
        let inbox = &self.inbox;
        let all = self.looks.iter().map(|(input, look)| (inbox.name(*input).to_owned(), look));
        let path = self.taken.path().to_owned();
        self.taken.renew(all).map_err(PipelineError::io("write", &path))
    }

    /// An attempt has ended.
    pub(super) fn ended(&mut self, task: usize, file: FileId) {
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
        if self.tracker.state(task, file) == State::New && self.is_only_late(task, file) {
            self.late.push(Late { task, file, since: Instant::now() });
            return;
        }
        let next = self.tracker.ended(task, file);
        for child in next.ready {
            self.tasks[child].found.push(file);
        }
        if let Some(settled) = next.settled {
            self.settle(file, settled);
        }
    }

    /// Whether a task did not find what its parent had made, though it is there: a file
    /// server was late, on the node where it ran.
    fn is_only_late(&mut self, task: usize, file: FileId) -> bool {
        let Some(parent) = self.tracker.tree().parents[task] else { return false };
        let since = self.gone.entry((task, file)).or_insert_with(Instant::now);
        since.elapsed() < LATE_LIMIT
            && self.tasks[parent].places.stands_for(&self.tracker.file(file).stem)
    }

    /// There is nothing more to do for a file.
    pub(super) fn settle(&mut self, id: FileId, settled: Settled) {
        let file = self.tracker.remove(id);
        self.gone.retain(|(_, gone), _| *gone != id);
        match settled {
            Settled::Finished | Settled::Aborted => {
                let name = self.tasks[0].pairing.input_name(&file.stem);
                let look = file.input.and_then(|input| self.looks.remove(&input));
                let (how, known) = match settled {
                    Settled::Aborted => (How::Aborted, Some(look.unwrap_or(Look::NONE))),
                    // One that is to go, or is gone, counts as what it was: another one
                    // may come.
                    _ if self.removal.is_some() || file.input.is_none() => {
                        (How::Finished, Some(look.unwrap_or(Look::NONE)))
                    }
                    _ => (How::Finished, None),
                };
                self.finished.push(&name, how, known);
                self.done.push((file, settled, look));
            }
            Settled::Failed => {
                self.tally.failed += 1;
                if let Some(input) = file.input {
                    // Its look stays: the next run asks whether it has changed.
                    self.inbox.left(input, State::Failed);
                }
            }
            Settled::Vanished => {
                self.tracker.take_back(&file);
                self.remove_outputs(&file);
                if let Some(input) = file.input {
                    self.looks.remove(&input);
                    // It may be what was made of it that is gone.
                    self.inbox.forget(&[input]);
                }
            }
        }
        if let Some(input) = self.held_back.remove(&id) {
            self.inbox.put_back(input);
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
    pub(super) fn finish_files(&mut self) {
        if self.done.is_empty() {
            return;
        }
        let done = std::mem::take(&mut self.done);
        if let Err(cause) = self.finished.flush() {
            // Nothing of them is removed: the next run finds them as they are.
            let path = self.finished.path().to_owned();
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

    /// Looks again for what was not to be seen.
    pub(super) fn look_for(&mut self, late: Late, now: Instant) {
        let Late { task, file, since } = late;
        if self.tracker.state(task, file) == State::New {
            self.tracker.set_state(task, file, State::Waiting);
            self.tasks[task].found.push(file);
        } else if since + LATE_LIMIT < now {
            let name = &self.tasks[task].name;
            let outputs = self.tasks[task].places.outputs().display();
            let file = shown(&self.tracker.file(file).stem);
            let reason = format!(
                "what task `{name}` made of {file} is not to be seen in `{outputs}`: is that \
                 directory the same on all nodes?"
            );
            self.fail(&PipelineError::Stuck(reason));
        } else {
            let before = self.late.len();
            self.ended(task, file);
            if let Some(still) = self.late[before..].first_mut() {
                still.since = since;
            }
        }
    }
}
