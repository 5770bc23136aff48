//! Every input that the run has seen, by a small number.
//!
//! A million names cost their bytes, four bytes of offset, one of state and
//! about five of hash table each: nothing else in the host grows with the
//! number of files.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::hash::BuildHasher;
use std::os::unix::ffi::OsStrExt;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::outcome::AttemptOutcome;

/// An input's number within this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// What is known of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Seen, and not settled or looked at yet.
    New,
    /// Taken: an attempt is to be made.
    Waiting,
    /// With the executor: an attempt is being made, or is next.
    Running,
    /// Its last attempt failed, and another one is to be made after some time.
    Retrying,
    /// Its last attempt was cut off by no fault of its own, and is to be made
    /// again.
    Interrupted,
    /// Its output stands.
    Succeeded,
    /// Its `.err` stands.
    Failed,
    /// Its `.err` stands and says that the time limit was over.
    TimedOut,
    /// Its `.err` stands and says that the task declined it.
    Aborted,
    /// Not taken, for a reason that was logged: a link that leads out of the
    /// input directory, say. Looked at again when the directory changes.
    Skipped,
}

impl From<AttemptOutcome> for State {
    fn from(outcome: AttemptOutcome) -> Self {
        match outcome {
            AttemptOutcome::Succeeded => State::Succeeded,
            AttemptOutcome::Failed => State::Failed,
            AttemptOutcome::TimedOut => State::TimedOut,
            AttemptOutcome::Aborted => State::Aborted,
            AttemptOutcome::Retrying => State::Retrying,
            AttemptOutcome::Interrupted => State::Interrupted,
        }
    }
}

impl State {
    /// Every state.
    pub const ALL: [State; 10] = [
        State::New,
        State::Waiting,
        State::Running,
        State::Retrying,
        State::Interrupted,
        State::Succeeded,
        State::Failed,
        State::TimedOut,
        State::Aborted,
        State::Skipped,
    ];

    /// Whether an output or an `.err` stands.
    pub fn is_final(self) -> bool {
        matches!(self, State::Succeeded | State::Failed | State::TimedOut | State::Aborted)
    }

    /// Whether an attempt is being made, or is to be made again.
    pub fn is_at_work(self) -> bool {
        matches!(self, State::Running | State::Retrying | State::Interrupted)
    }

    /// Says so where the input of this name may not go from this state to that one.
    pub fn check(self, next: State, name: &OsStr) {
        if !self.can_become(next) {
            let name = super::names::shown(name);
            tracing::error!(
                "an internal fault of tigerflow-host, please report it: {name} went from \
                 {self:?} to {next:?}"
            );
            debug_assert!(false, "{name} went from {self:?} to {next:?}");
        }
    }

    /// Whether an input in this state may be in that one next. Any other change
    /// is a bug of the host.
    pub fn can_become(self, next: State) -> bool {
        use State::*;
        match self {
            // What stands in the output directory is found, not made.
            New | Skipped => !matches!(next, Running | Retrying | Interrupted),
            Waiting => matches!(next, Running),
            // Back to waiting: it was not begun after all. New: it vanished.
            Running => !matches!(next, Running | Skipped),
            Retrying | Interrupted => matches!(next, Running),
            // A later listing finds that an output has overtaken its `.err`; an
            // input may be run again, once what was made of it is gone.
            Succeeded | Failed | TimedOut | Aborted => next.is_final() || next == New,
        }
    }
}

/// The inputs of a task, by number.
pub trait Files {
    /// The input of this name, if there is one to do or done.
    fn find(&mut self, name: &OsStr) -> Option<FileId>;
    /// Its name.
    fn name(&self, id: FileId) -> Cow<'_, OsStr>;
    /// What is known of it.
    fn state(&self, id: FileId) -> State;
    /// Records what is now known of it.
    fn set_state(&mut self, id: FileId, state: State);
    /// Attempts made at it in earlier runs, where it is run again.
    fn attempts_before(&self, id: FileId) -> u32;
    /// Whether it is a symbolic link, which the host opens for the guest.
    fn is_link(&self, id: FileId) -> bool;
    /// How many inputs wait until they are stable.
    fn unsettled(&self) -> usize;
}

/// The set of names, and the state of each.
pub struct Catalog {
    /// All names, one after another.
    names: Vec<u8>,
    /// Where each name ends in `names`.
    ends: Vec<u32>,
    states: Vec<State>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Default for Catalog {
    fn default() -> Self {
        Self::new()
    }
}

impl Catalog {
    /// An empty catalog.
    pub fn new() -> Self {
        Catalog {
            names: Vec::new(),
            ends: Vec::new(),
            states: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// How many inputs are known.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether no input is known.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The number of this name, and whether it is new. `None` when four
    /// gigabytes of names are full.
    pub fn insert(&mut self, name: &OsStr) -> Option<(FileId, bool)> {
        let bytes = name.as_bytes();
        let hash = self.hasher.hash_one(bytes);
        if let Some(&id) = self.index.find(hash, |&id| slice(&self.names, &self.ends, id) == bytes)
        {
            return Some((FileId(id), false));
        }
        let id = u32::try_from(self.ends.len()).ok()?;
        let end = u32::try_from(self.names.len() + bytes.len()).ok()?;
        self.names.extend_from_slice(bytes);
        self.ends.push(end);
        self.states.push(State::New);
        let (names, ends, hasher) = (&self.names, &self.ends, &self.hasher);
        self.index.insert_unique(hash, id, |&id| hasher.hash_one(slice(names, ends, id)));
        Some((FileId(id), true))
    }

    /// The number of this name, if it is known.
    pub fn find(&self, name: &OsStr) -> Option<FileId> {
        let bytes = name.as_bytes();
        let hash = self.hasher.hash_one(bytes);
        self.index
            .find(hash, |&id| slice(&self.names, &self.ends, id) == bytes)
            .map(|&id| FileId(id))
    }

    /// The name with this number.
    pub fn name(&self, id: FileId) -> &OsStr {
        OsStr::from_bytes(slice(&self.names, &self.ends, id.0))
    }

    /// What is known of this input.
    pub fn state(&self, id: FileId) -> State {
        self.states[id.0 as usize]
    }

    /// Records what is now known of this input.
    pub fn set_state(&mut self, id: FileId, state: State) {
        let before = std::mem::replace(&mut self.states[id.0 as usize], state);
        before.check(state, self.name(id));
    }

    /// The inputs in this state, in the order of their names.
    pub fn sorted_in(&self, state: State) -> Vec<FileId> {
        let mut ids: Vec<FileId> = (0..self.states.len())
            .filter(|&i| self.states[i] == state)
            .map(|i| FileId(i as u32))
            .collect();
        ids.sort_unstable_by(|a, b| self.name(*a).cmp(self.name(*b)));
        ids
    }

    /// How many inputs are in this state.
    pub fn count(&self, state: State) -> usize {
        self.states.iter().filter(|&&s| s == state).count()
    }
}

fn slice<'a>(names: &'a [u8], ends: &[u32], id: u32) -> &'a [u8] {
    let start = if id == 0 { 0 } else { ends[id as usize - 1] };
    &names[start as usize..ends[id as usize] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn states_lead_where_they_may() {
        for state in State::ALL {
            // Nothing runs that was not waiting, and nothing ends that did not run.
            let may_run = [State::Waiting, State::Retrying, State::Interrupted];
            assert_eq!(state.can_become(State::Running), may_run.contains(&state), "{state:?}");
            for outcome in [State::Retrying, State::Interrupted] {
                assert_eq!(state.can_become(outcome), state == State::Running, "{state:?}");
            }
            // From each there is a way to an end.
            let (mut reached, mut grown) = (vec![state], true);
            while grown {
                grown = false;
                for next in State::ALL {
                    let new = !reached.contains(&next);
                    if new && reached.iter().any(|s| s.can_become(next)) {
                        reached.push(next);
                        grown = true;
                    }
                }
            }
            assert!(reached.contains(&State::Succeeded), "{state:?}");
        }
    }

    proptest! {
        #[test]
        fn a_catalog_is_a_set_of_names(names in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 0..200)) {
            let mut catalog = Catalog::new();
            let mut model: HashMap<OsString, FileId> = HashMap::new();
            for name in names {
                let name = OsString::from_vec(name);
                let (id, new) = catalog.insert(&name).unwrap();
                prop_assert_eq!(new, !model.contains_key(&name));
                let known = *model.entry(name).or_insert(id);
                prop_assert_eq!(known, id);
            }
            prop_assert_eq!(catalog.len(), model.len());
            for (name, id) in &model {
                prop_assert_eq!(catalog.name(*id), name.as_os_str());
                prop_assert_eq!(catalog.find(name), Some(*id));
            }
            let sorted = catalog.sorted_in(State::New);
            prop_assert!(sorted.windows(2).all(|w| catalog.name(w[0]) < catalog.name(w[1])));
        }
    }
}
