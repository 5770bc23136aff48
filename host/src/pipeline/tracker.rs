//! Where each file is in the tree of tasks: a pure state machine.
//!
//! It knows the files that are staged, by number, and for each the state of every
//! task: `New` where its turn has not come. What it holds grows with the files in the
//! pipeline, not with those that went through.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use crate::workspace::catalog::{FileId, State};

/// The tree of tasks, by their place in the plan: parents before their children.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The parent of each.
    pub parents: Vec<Option<usize>>,
    /// The children of each.
    pub children: Vec<Vec<usize>>,
}

impl Tree {
    /// The tree in which each task has this parent.
    ///
    /// # Panics
    ///
    /// Where a parent comes after its child.
    pub fn new(parents: Vec<Option<usize>>) -> Self {
        let mut children = vec![Vec::new(); parents.len()];
        for (task, parent) in parents.iter().enumerate() {
            if let Some(parent) = *parent {
                assert!(parent < task, "parents come before their children");
                children[parent].push(task);
            }
        }
        Tree { parents, children }
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.parents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parents.is_empty()
    }

    /// Whether nothing comes before this task.
    pub fn is_root(&self, task: usize) -> bool {
        self.parents[task].is_none()
    }

    /// Whether nothing comes after this task.
    pub fn is_leaf(&self, task: usize) -> bool {
        self.children[task].is_empty()
    }
}

/// A file in the pipeline.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name less its extension.
    pub stem: OsString,
    /// Its number among the inputs; none where its input is gone.
    pub input: Option<FileId>,
    /// Whether that is a symbolic link.
    pub link: bool,
    /// What is known of it in each task.
    states: Box<[State]>,
    /// Attempts that each task made in earlier runs, and that failed.
    attempts: Box<[u32]>,
    /// In how many tasks there is something to do for it.
    open: usize,
    /// Whether any task has come to an end with it.
    begun: bool,
}

impl File {
    /// What is known of it in a task.
    pub fn state(&self, task: usize) -> State {
        self.states[task]
    }

    /// The tasks in which it is in this state.
    pub fn tasks_in(&self, state: State) -> impl Iterator<Item = usize> {
        (0..self.states.len()).filter(move |&task| self.states[task] == state)
    }
}

/// What stands of a file that an earlier run had begun, for one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stands {
    /// The task.
    pub task: usize,
    /// How it had ended.
    pub state: State,
    /// How many attempts that took.
    pub attempts: u32,
}

/// What has become of a file for which there is nothing more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// All leaf tasks have it.
    Finished,
    /// Some task failed on it.
    Failed,
    /// Some task declined it, and none failed.
    Aborted,
    /// What was to be worked on is gone.
    Vanished,
}

/// What is to be done next about a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// Tasks that may take it.
    pub ready: Vec<usize>,
    /// What has become of it, where that is all.
    pub settled: Option<Settled>,
}

/// How many files a task is done with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// It has made its output.
    pub succeeded: usize,
    /// It failed, a time limit included.
    pub failed: usize,
    /// It declined.
    pub aborted: usize,
}

/// The files in the pipeline.
#[derive(Debug)]
pub struct Tracker {
    tree: Tree,
    files: HashMap<FileId, File>,
    by_stem: HashMap<OsString, FileId>,
    next: u32,
    /// How many of the files were begun.
    begun: usize,
    counts: Vec<Counts>,
}

impl Tracker {
    /// A pipeline with no file in it.
    pub fn new(tree: Tree) -> Self {
        let counts = vec![Counts::default(); tree.len()];
        Tracker { tree, files: HashMap::new(), by_stem: HashMap::new(), next: 0, begun: 0, counts }
    }

    /// The tree of tasks.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// How many files are in it.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// How many of them some task is done with.
    pub fn begun(&self) -> usize {
        self.begun
    }

    /// How many files each task is done with, those that left the pipeline included.
    pub fn counts(&self, task: usize) -> Counts {
        self.counts[task]
    }

    /// The file of this stem.
    pub fn find(&self, stem: &OsStr) -> Option<FileId> {
        self.by_stem.get(stem).copied()
    }

    /// A file in the pipeline.
    pub fn file(&self, id: FileId) -> &File {
        &self.files[&id]
    }

    /// The inputs of all files in the pipeline, as far as they are there.
    pub fn inputs(&self) -> impl Iterator<Item = FileId> {
        self.files.values().filter_map(|file| file.input)
    }

    /// Whether this file is in the pipeline.
    pub fn holds(&self, id: FileId) -> bool {
        self.files.contains_key(&id)
    }

    /// What is known of a file in a task.
    pub fn state(&self, task: usize, id: FileId) -> State {
        self.file(id).states[task]
    }

    /// Records what is now known of a file in a task. What follows of it:
    /// [`Tracker::ended`].
    pub fn set_state(&mut self, task: usize, id: FileId, state: State) {
        let file = self.files.get_mut(&id).expect("the file is in the pipeline");
        let before = std::mem::replace(&mut file.states[task], state);
        before.check(state, &file.stem);
    }

    /// Attempts that a task made at a file in earlier runs.
    pub fn attempts_before(&self, task: usize, id: FileId) -> u32 {
        self.file(id).attempts[task]
    }

    /// Takes a file into the pipeline. `stands`: what earlier runs made of it; where
    /// they failed, it is tried again. None where there are four thousand million
    /// files before it.
    pub fn admit(
        &mut self,
        stem: OsString,
        input: Option<FileId>,
        link: bool,
        stands: &[Stands],
    ) -> Option<(FileId, Next)> {
        let id = FileId(self.next);
        self.next = self.next.checked_add(1).filter(|next| *next < u32::MAX)?;
        let tasks = self.tree.len();
        let (mut states, mut attempts) = (vec![State::New; tasks], vec![0; tasks]);
        for known in stands {
            match known.state {
                State::Succeeded | State::Aborted => states[known.task] = known.state,
                _ => attempts[known.task] = known.attempts,
            }
        }
        let mut ready = Vec::new();
        for task in 0..tasks {
            let turn = match self.tree.parents[task] {
                None => true,
                Some(parent) => states[parent] == State::Succeeded,
            };
            match states[task] {
                State::New if turn => {
                    states[task] = State::Waiting;
                    ready.push(task);
                }
                State::Succeeded => self.counts[task].succeeded += 1,
                State::Aborted => self.counts[task].aborted += 1,
                _ => {}
            }
        }
        let begun = states.contains(&State::Succeeded) || states.contains(&State::Aborted);
        self.begun += usize::from(begun);
        let file = File {
            stem: stem.clone(),
            input,
            link,
            states: states.into(),
            attempts: attempts.into(),
            open: ready.len(),
            begun,
        };
        let settled = (file.open == 0).then(|| self.settlement(&file));
        self.by_stem.insert(stem, id);
        self.files.insert(id, file);
        Some((id, Next { ready, settled }))
    }

    /// An attempt has ended with a file, and its state says how.
    pub fn ended(&mut self, task: usize, id: FileId) -> Next {
        let file = self.files.get_mut(&id).expect("the file is in the pipeline");
        let counts = &mut self.counts[task];
        match file.states[task] {
            State::Succeeded => counts.succeeded += 1,
            State::Failed | State::TimedOut => counts.failed += 1,
            State::Aborted => counts.aborted += 1,
            // Gone.
            State::New => {}
            // There is more to come.
            State::Waiting
            | State::Running
            | State::Retrying
            | State::Interrupted
            | State::Skipped => return Next::default(),
        }
        self.begun += usize::from(!std::mem::replace(&mut file.begun, true));
        file.open -= 1;
        let mut ready = Vec::new();
        if file.states[task] == State::Succeeded {
            for &child in &self.tree.children[task] {
                // It may have been done in an earlier run.
                if file.states[child] == State::New {
                    file.states[child] = State::Waiting;
                    ready.push(child);
                }
            }
        }
        file.open += ready.len();
        let file = &self.files[&id];
        Next { ready, settled: (file.open == 0).then(|| self.settlement(file)) }
    }

    fn settlement(&self, file: &File) -> Settled {
        let any = |state| file.states.contains(&state);
        let tasks = 0..self.tree.len();
        let is_done = |task: usize| file.states[task] == State::Succeeded;
        if tasks.clone().filter(|&task| self.tree.is_leaf(task)).all(is_done) {
            Settled::Finished
        } else if any(State::Failed) || any(State::TimedOut) {
            Settled::Failed
        } else if tasks.clone().any(|task| self.is_gone(file, task)) {
            Settled::Vanished
        } else {
            Settled::Aborted
        }
    }

    /// Whether it was a task's turn with a file whose input is gone.
    fn is_gone(&self, file: &File, task: usize) -> bool {
        let turn = match self.tree.parents[task] {
            None => true,
            Some(parent) => file.states[parent] == State::Succeeded,
        };
        turn && file.states[task] == State::New
    }

    /// Takes a file out of the pipeline.
    pub fn remove(&mut self, id: FileId) -> File {
        let file = self.files.remove(&id).expect("the file is in the pipeline");
        self.by_stem.remove(&file.stem);
        self.begun -= usize::from(file.begun);
        file
    }

    /// What tasks made of a file that was removed is of no use.
    pub fn take_back(&mut self, file: &File) {
        for (counts, state) in self.counts.iter_mut().zip(&file.states) {
            counts.succeeded -= usize::from(*state == State::Succeeded);
            counts.aborted -= usize::from(*state == State::Aborted);
        }
    }

    /// Files that wait for a task, in the order in which they came.
    pub fn waiting_for(&self, task: usize) -> Vec<FileId> {
        let mut ids: Vec<FileId> = self
            .files
            .iter()
            .filter(|(_, file)| file.states[task] == State::Waiting)
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        ids
    }

    /// So many files went through all tasks in earlier runs.
    pub fn finished_before(&mut self, files: usize) {
        for counts in &mut self.counts {
            counts.succeeded += files;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// transcribe → embed → ingest, and transcribe → count.
    fn fan() -> Tracker {
        Tracker::new(Tree::new(vec![None, Some(0), Some(1), Some(0)]))
    }

    fn end(tracker: &mut Tracker, task: usize, id: FileId, state: State) -> Next {
        tracker.set_state(task, id, State::Running);
        tracker.set_state(task, id, state);
        tracker.ended(task, id)
    }

    #[test]
    fn leaves_may_finish_at_different_times() {
        let mut t = fan();
        let (id, next) = t.admit("a".into(), None, false, &[]).unwrap();
        assert_eq!(next, Next { ready: vec![0], settled: None });
        assert_eq!(end(&mut t, 0, id, State::Succeeded).ready, [1, 3]);
        assert_eq!(end(&mut t, 3, id, State::Succeeded), Next::default());
        assert_eq!(end(&mut t, 1, id, State::Retrying), Next::default());
        assert_eq!(end(&mut t, 1, id, State::Succeeded).ready, [2]);
        assert_eq!(end(&mut t, 2, id, State::Succeeded).settled, Some(Settled::Finished));
        assert_eq!((t.len(), t.begun()), (1, 1));
        t.remove(id);
        assert_eq!((t.len(), t.begun()), (0, 0));
        assert_eq!(t.counts(3).succeeded, 1);
    }

    #[test]
    fn a_file_that_fails_in_two_leaves_is_one() {
        let mut t = fan();
        let (id, _) = t.admit("a".into(), None, false, &[]).unwrap();
        end(&mut t, 0, id, State::Succeeded);
        assert_eq!(end(&mut t, 3, id, State::Failed), Next::default());
        assert_eq!(end(&mut t, 1, id, State::TimedOut).settled, Some(Settled::Failed));
    }

    #[test]
    fn what_an_earlier_run_made_is_not_made_again() {
        let mut t = fan();
        let stands = |task, state| Stands { task, state, attempts: 2 };
        let known = [stands(0, State::Succeeded), stands(1, State::Failed)];
        let (id, next) = t.admit("a".into(), None, false, &known).unwrap();
        assert_eq!(next.ready, [1, 3]);
        assert_eq!((t.attempts_before(1, id), t.attempts_before(3, id)), (2, 0));

        let all: Vec<Stands> = (0..4).map(|task| stands(task, State::Succeeded)).collect();
        let (_, next) = t.admit("b".into(), None, false, &all).unwrap();
        assert_eq!(next, Next { ready: vec![], settled: Some(Settled::Finished) });

        // The parent's output was taken away; the child's stands.
        let (id, next) = t.admit("c".into(), None, false, &[stands(3, State::Succeeded)]).unwrap();
        assert_eq!(next.ready, [0]);
        assert_eq!(end(&mut t, 0, id, State::Succeeded).ready, [1]);
    }

    #[test]
    fn what_is_declined_and_what_is_gone_are_told_apart() {
        let mut t = fan();
        let (id, _) = t.admit("a".into(), None, false, &[]).unwrap();
        assert_eq!(end(&mut t, 0, id, State::Aborted).settled, Some(Settled::Aborted));
        let (id, _) = t.admit("b".into(), None, false, &[]).unwrap();
        assert_eq!(end(&mut t, 0, id, State::New).settled, Some(Settled::Vanished));
        let (id, _) = t.admit("c".into(), None, false, &[]).unwrap();
        end(&mut t, 0, id, State::Succeeded);
        end(&mut t, 3, id, State::Aborted);
        assert_eq!(end(&mut t, 1, id, State::New).settled, Some(Settled::Vanished));
        let file = t.remove(id);
        t.take_back(&file);
        assert_eq!((t.counts(0).succeeded, t.counts(3).aborted), (0, 0));
    }

    proptest! {
        /// Whatever comes of attempts, in whatever order: each file is settled once,
        /// when nothing is left to do for it, and as what its states say.
        #[test]
        fn every_file_comes_to_one_end(
            parents in proptest::collection::vec(proptest::option::of(any::<prop::sample::Index>()), 1..8),
            choices in proptest::collection::vec((any::<prop::sample::Index>(), 0..8u8), 0..300),
        ) {
            let parents: Vec<Option<usize>> = parents
                .iter()
                .enumerate()
                .map(|(task, parent)| parent.filter(|_| task > 0).map(|p| p.index(task)))
                .collect();
            let tree = Tree::new(parents);
            let mut t = Tracker::new(tree.clone());
            let mut work = Vec::new();
            for file in 0..3 {
                let (id, next) = t.admit(file.to_string().into(), None, false, &[]).unwrap();
                work.extend(next.ready.into_iter().map(|task| (task, id)));
            }
            let mut choices = choices.into_iter();
            while !work.is_empty() {
                let (which, how) = choices.next().map_or((0, 0), |(i, how)| (i.index(work.len()), how));
                let (task, id) = work.remove(which);
                prop_assert!(tree.parents[task].is_none_or(|p| t.state(p, id) == State::Succeeded));
                let state = match how {
                    0..4 => State::Succeeded,
                    4 => State::Failed,
                    5 => State::Aborted,
                    6 => State::Retrying,
                    _ => State::New,
                };
                t.set_state(task, id, State::Running);
                t.set_state(task, id, state);
                let next = t.ended(task, id);
                if state == State::Retrying {
                    prop_assert_eq!(next, Next::default());
                    work.push((task, id));
                    continue;
                }
                work.extend(next.ready.iter().map(|&task| (task, id)));
                let rest = work.iter().any(|&(_, other)| other == id);
                prop_assert_eq!(next.settled.is_some(), !rest);
                if let Some(settled) = next.settled {
                    let file = t.remove(id);
                    let leaves = || (0..tree.len()).filter(|&task| tree.is_leaf(task));
                    let all = leaves().all(|task| file.state(task) == State::Succeeded);
                    prop_assert_eq!(settled == Settled::Finished, all);
                    let failed = file.tasks_in(State::Failed).next().is_some();
                    prop_assert_eq!(settled == Settled::Failed, failed);
                }
            }
            prop_assert!(t.is_empty());
            prop_assert_eq!(t.begun(), 0);
        }
    }
}
