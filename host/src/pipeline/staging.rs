//! Which of the waiting input files are taken next: the steps of a pipeline's
//! staging, one after another.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fancy_regex::Regex;

use crate::engine::stage::StageStep;
pub use crate::engine::stage::{Candidate, Counts};

/// One step, which leaves some of the files, in some order, to the next.
#[derive(Debug)]
pub enum Step {
    /// Leaves those of at least so many bytes.
    MinSize(u64),
    /// Leaves those of at most so many bytes.
    MaxSize(u64),
    /// Leaves those that nobody has written to for so long.
    MinAge(Duration),
    /// Leaves those in whose name the pattern is found.
    FilenameMatch(Regex),
    /// Leaves those beside which a file stands whose name ends in this instead.
    CompanionFile(OsString),
    /// Leaves so many that no more than this are staged at once.
    MaxStaged(usize),
    /// Leaves no more than this at a time.
    MaxBatch(usize),
    /// Leaves all, sorted. What is equal stays in its order.
    SortBy {
        /// By what.
        key: SortKey,
        /// Whether the greatest comes first.
        reverse: bool,
    },
    /// Leaves what a component chooses.
    Component(Box<StageStep>),
}

/// What files are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortKey {
    /// Their names, as bytes.
    Name,
    /// Their sizes.
    Size,
    /// When they were last written to.
    Modified,
}

impl Step {
    /// Whether it takes all files to say what it leaves, rather than one at a time.
    fn is_whole(&self) -> bool {
        matches!(self, Step::SortBy { .. } | Step::Component(_))
    }
}

/// All steps, in their order.
#[derive(Debug)]
pub struct Staging {
    input_dir: PathBuf,
    steps: Vec<Step>,
    /// What was said last of a step that failed, until one works again.
    said: Option<String>,
}

impl Staging {
    /// Steps on the files of this directory. None leave all, in their order.
    pub fn new(input_dir: PathBuf, steps: Vec<Step>) -> Self {
        Staging { input_dir, steps, said: None }
    }

    /// Calls `setup` of all components. The error says which failed, and how. It blocks,
    /// as [`Staging::choose`] does.
    pub fn start(&mut self) -> Result<(), String> {
        for step in &mut self.steps {
            if let Step::Component(component) = step {
                component.start().map_err(|problem| named(component, &problem))?;
            }
        }
        Ok(())
    }

    /// Whether a step asks for the size of a file, or for its time. Where none does,
    /// a candidate may hold any.
    pub fn needs_stat(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::MinSize(_) | Step::MaxSize(_) | Step::MinAge(_) | Step::Component(_) => true,
            Step::SortBy { key, .. } => *key != SortKey::Name,
            Step::FilenameMatch(_)
            | Step::CompanionFile(_)
            | Step::MaxStaged(_)
            | Step::MaxBatch(_) => false,
        })
    }

    /// Whether a step may choose otherwise although nothing that the host knows of
    /// has changed: it is worth asking from time to time.
    pub fn needs_polling(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Component(_)))
    }

    /// Whether a step chooses by how many files are in the pipeline.
    pub fn counts_matter(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::MaxStaged(_) | Step::Component(_)))
    }

    /// Whether the last cycle came to nothing because a component does not work.
    pub fn is_failing(&self) -> bool {
        self.said.is_some()
    }

    /// Whether the arrival of a file of this name may let another one be taken.
    pub fn watches(&self, name: &OsStr) -> bool {
        self.steps.iter().any(|step| match step {
            Step::CompanionFile(ext) => {
                name.len() > ext.len() && name.as_bytes().ends_with(ext.as_bytes())
            }
            _ => false,
        })
    }

    /// How long it takes until one of these files is old enough that is too young at
    /// `now`. The other steps may leave it out nevertheless.
    pub fn next_due(&self, candidates: &[Candidate], now: SystemTime) -> Option<Duration> {
        let age = |step: &Step| match step {
            Step::MinAge(age) => Some(*age),
            _ => None,
        };
        let oldest = self.steps.iter().filter_map(age).max()?;
        let due = |candidate: &Candidate| {
            let at = candidate.modified.checked_add(oldest)?;
            at.duration_since(now).ok().filter(|wait| !wait.is_zero())
        };
        candidates.iter().filter_map(due).min()
    }

    /// Says which of these files are taken at `now`: their places in the list, in the
    /// order in which they are to be taken. It looks for companions, and asks
    /// components, which may take half a minute each: not from asynchronous code.
    pub fn choose(
        &mut self,
        candidates: &[Candidate],
        counts: Counts,
        now: SystemTime,
    ) -> Vec<usize> {
        let mut chosen: Vec<usize> = (0..candidates.len()).collect();
        let mut steps = &mut self.steps[..];
        while !steps.is_empty() && !chosen.is_empty() {
            // Up to the next step that takes all, file by file: what comes after a
            // limit that was reached is not looked at.
            let whole = steps.iter().position(Step::is_whole).unwrap_or(steps.len());
            let (singly, rest) = steps.split_at_mut(whole);
            if !singly.is_empty() {
                let mut sieve = Sieve::new(singly, &self.input_dir, counts, now);
                let mut left = Vec::new();
                for place in chosen {
                    if sieve.is_full() {
                        break;
                    }
                    if sieve.leaves(&candidates[place]) {
                        left.push(place);
                    }
                }
                chosen = left;
            }
            let Some((step, rest)) = rest.split_first_mut() else { break };
            match step {
                _ if chosen.is_empty() => {}
                Step::SortBy { key, reverse } => sort(&mut chosen, candidates, *key, *reverse),
                Step::Component(component) => {
                    let those = chosen.iter().map(|&place| &candidates[place]);
                    match component.choose(those, counts) {
                        Ok(places) => {
                            self.said = None;
                            chosen = places.into_iter().map(|place| chosen[place]).collect();
                        }
                        Err(problem) => {
                            let problem = named(component, &problem);
                            if self.said.as_ref() != Some(&problem) {
                                tracing::warn!("{problem}; no file is staged before it works");
                                self.said = Some(problem);
                            }
                            chosen.clear();
                        }
                    }
                }
                _ => unreachable!("it takes files one at a time"),
            }
            steps = rest;
        }
        chosen
    }
}

/// What went wrong in which component.
fn named(step: &StageStep, problem: &str) -> String {
    let stage = step.stage();
    format!("The staging step {} ({}): {problem}", stage.description.name, stage.path.display())
}

/// Steps that take files one at a time.
struct Sieve<'a> {
    steps: &'a [Step],
    /// How many each of the steps may leave still.
    room: Vec<usize>,
    input_dir: &'a Path,
    now: SystemTime,
}

impl<'a> Sieve<'a> {
    fn new(steps: &'a [Step], input_dir: &'a Path, counts: Counts, now: SystemTime) -> Self {
        let staged = usize::try_from(counts.staged).unwrap_or(usize::MAX);
        let room = |step: &Step| match step {
            Step::MaxStaged(count) => count.saturating_sub(staged),
            Step::MaxBatch(count) => *count,
            _ => usize::MAX,
        };
        Sieve { room: steps.iter().map(room).collect(), steps, input_dir, now }
    }

    /// Whether no file would be left from now on.
    fn is_full(&self) -> bool {
        self.room.contains(&0)
    }

    fn leaves(&mut self, candidate: &Candidate) -> bool {
        self.steps.iter().zip(&mut self.room).all(|(step, room)| match step {
            Step::MinSize(bytes) => candidate.size >= *bytes,
            Step::MaxSize(bytes) => candidate.size <= *bytes,
            Step::MinAge(age) => {
                // What was written in the future, by another machine's clock, is not old.
                self.now.duration_since(candidate.modified).is_ok_and(|passed| passed >= *age)
            }
            Step::FilenameMatch(pattern) => is_found(pattern, &candidate.name),
            Step::CompanionFile(ext) => {
                let path = self.input_dir.join(companion(&candidate.name, ext));
                fs::metadata(path).is_ok_and(|found| found.is_file())
            }
            Step::MaxStaged(_) | Step::MaxBatch(_) => {
                let has_room = *room > 0;
                *room = room.saturating_sub(1);
                has_room
            }
            Step::SortBy { .. } | Step::Component(_) => unreachable!("it takes all files at once"),
        })
    }
}

/// Whether a pattern is found somewhere in a name. A pattern that would take for ever
/// on it is not.
fn is_found(pattern: &Regex, name: &OsStr) -> bool {
    pattern.is_match(&*name.to_string_lossy()).unwrap_or(false)
}

/// The name less its last suffix, with `ext` in place of that: `a.tar.gz` becomes
/// `a.tar.done`. Neither a dot that a name begins with nor one that it ends with makes
/// a suffix.
fn companion(name: &OsStr, ext: &OsStr) -> OsString {
    let name = name.as_bytes();
    let stem = match name.iter().rposition(|&byte| byte == b'.') {
        Some(dot) if dot > 0 && dot + 1 < name.len() => &name[..dot],
        _ => name,
    };
    OsString::from_vec([stem, ext.as_bytes()].concat())
}

/// Sorts places. Equal ones stay in their order, in reverse too.
fn sort(places: &mut [usize], candidates: &[Candidate], key: SortKey, reverse: bool) {
    let of = |place: &usize| &candidates[*place];
    match (key, reverse) {
        (SortKey::Name, false) => places.sort_by(|a, b| of(a).name.cmp(&of(b).name)),
        (SortKey::Name, true) => places.sort_by(|a, b| of(b).name.cmp(&of(a).name)),
        (SortKey::Size, false) => places.sort_by_key(|p| of(p).size),
        (SortKey::Size, true) => places.sort_by_key(|p| std::cmp::Reverse(of(p).size)),
        (SortKey::Modified, false) => places.sort_by_key(|p| of(p).modified),
        (SortKey::Modified, true) => places.sort_by_key(|p| std::cmp::Reverse(of(p).modified)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    /// Long after the times of all candidates.
    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    /// A file of so many bytes that was written to so many seconds ago.
    fn file(name: impl Into<OsString>, size: u64, age: u64) -> Candidate {
        Candidate { name: name.into(), size, modified: now() - Duration::from_secs(age) }
    }

    fn files() -> Vec<Candidate> {
        vec![file("b.txt", 20, 30), file("a.txt", 30, 10), file("d.log", 10, 20), file("c", 30, 5)]
    }

    fn staging(steps: Vec<Step>) -> Staging {
        Staging::new("/nowhere".into(), steps)
    }

    /// The names that the steps leave of `files`.
    fn left(steps: Vec<Step>) -> Vec<String> {
        let files = files();
        let chosen = staging(steps).choose(&files, Counts::default(), now());
        chosen.into_iter().map(|p| files[p].name.to_string_lossy().into_owned()).collect()
    }

    fn pattern(text: &str) -> Step {
        Step::FilenameMatch(Regex::new(text).unwrap())
    }

    fn by(key: SortKey, reverse: bool) -> Step {
        Step::SortBy { key, reverse }
    }

    #[test]
    fn without_steps_all_are_taken() {
        assert_eq!(left(vec![]), ["b.txt", "a.txt", "d.log", "c"]);
        assert!(staging(vec![]).choose(&[], Counts::default(), now()).is_empty());
    }

    #[test]
    fn sizes_and_ages_that_are_just_right_fit() {
        assert_eq!(left(vec![Step::MinSize(20)]), ["b.txt", "a.txt", "c"]);
        assert_eq!(left(vec![Step::MaxSize(20)]), ["b.txt", "d.log"]);
        assert_eq!(left(vec![Step::MinAge(Duration::from_secs(20))]), ["b.txt", "d.log"]);
        assert_eq!(left(vec![Step::MinAge(Duration::from_millis(20_001))]), ["b.txt"]);
    }

    #[test]
    fn what_was_written_in_the_future_is_not_old() {
        let mut late = file("x", 1, 0);
        late.modified += Duration::from_secs(60);
        let mut steps = staging(vec![Step::MinAge(Duration::from_secs(1))]);
        let due = steps.next_due(std::slice::from_ref(&late), now());
        assert_eq!(due, Some(Duration::from_secs(61)));
        assert!(steps.choose(&[late], Counts::default(), now()).is_empty());
    }

    #[test]
    fn a_pattern_is_searched_for_in_the_whole_name() {
        assert_eq!(left(vec![pattern(r"\.txt$")]), ["b.txt", "a.txt"]);
        assert_eq!(left(vec![pattern("t")]), ["b.txt", "a.txt"]);
        assert_eq!(left(vec![pattern(r"^(?!a)[a-c]\b")]), ["b.txt", "c"]);
        assert_eq!(left(vec![pattern("^$")]), [""; 0]);
    }

    #[test]
    fn a_pattern_that_never_ends_is_not_found() {
        let endless = Regex::new(r"^(?:(a|aa)+)+(?=b)\1$").unwrap();
        assert!(!is_found(&endless, OsStr::new(&"a".repeat(200))));
    }

    #[test]
    fn names_that_are_no_text_are_matched_as_far_as_they_are() {
        let name = OsString::from_vec(b"caf\xe9.txt".to_vec());
        let mut steps = staging(vec![pattern(r"^caf.\.txt$")]);
        assert_eq!(steps.choose(&[file(name, 1, 1)], Counts::default(), now()), [0]);
    }

    #[test]
    fn the_last_suffix_is_what_a_companion_has_another_of() {
        for (name, expected) in [
            ("a.txt", "a.done"),
            ("a.tar.gz", "a.tar.done"),
            ("a", "a.done"),
            (".hidden", ".hidden.done"),
            ("a.", "a..done"),
            ("..b", "..done"),
        ] {
            assert_eq!(companion(name.as_ref(), ".done".as_ref()), *expected, "{name}");
        }
    }

    #[test]
    fn a_companion_is_a_file_beside() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("a.done"), "").unwrap();
        fs::create_dir(place.path().join("b.done")).unwrap();
        std::os::unix::fs::symlink("a.done", place.path().join("d.done")).unwrap();
        let step = Step::CompanionFile(".done".into());
        let mut steps = Staging::new(place.path().into(), vec![step]);
        // `d.done` leads to a file, `b.done` is a directory, `c.done` is not there.
        assert_eq!(steps.choose(&files(), Counts::default(), now()), [1, 2]);
        assert!(steps.watches("x.done".as_ref()) && steps.watches("x.y.done".as_ref()));
        assert!(!steps.watches("x.txt".as_ref()) && !steps.watches(".done".as_ref()));
    }

    #[test]
    fn limits_count_what_is_staged_and_what_is_left() {
        assert_eq!(left(vec![Step::MaxBatch(2)]), ["b.txt", "a.txt"]);
        for (most, staged, expected) in [(3, 1, 2), (3, 3, 0), (3, 9, 0), (9, 0, 4)] {
            let counts = Counts { staged, ..Counts::default() };
            let chosen = staging(vec![Step::MaxStaged(most)]).choose(&files(), counts, now());
            assert_eq!(chosen, (0..expected).collect::<Vec<_>>(), "{most} less {staged}");
        }
    }

    #[test]
    fn what_is_equal_stays_in_its_order() {
        assert_eq!(left(vec![by(SortKey::Name, false)]), ["a.txt", "b.txt", "c", "d.log"]);
        assert_eq!(left(vec![by(SortKey::Name, true)]), ["d.log", "c", "b.txt", "a.txt"]);
        assert_eq!(left(vec![by(SortKey::Size, false)]), ["d.log", "b.txt", "a.txt", "c"]);
        assert_eq!(left(vec![by(SortKey::Size, true)]), ["a.txt", "c", "b.txt", "d.log"]);
        assert_eq!(left(vec![by(SortKey::Modified, false)]), ["b.txt", "d.log", "a.txt", "c"]);
        assert_eq!(left(vec![by(SortKey::Modified, true)]), ["c", "a.txt", "d.log", "b.txt"]);
    }

    #[test]
    fn the_order_of_the_steps_matters() {
        let largest = || by(SortKey::Size, true);
        assert_eq!(left(vec![largest(), Step::MaxBatch(1)]), ["a.txt"]);
        assert_eq!(left(vec![Step::MaxBatch(1), largest()]), ["b.txt"]);
        assert_eq!(left(vec![Step::MaxBatch(2), pattern("a")]), ["a.txt"]);
        assert_eq!(left(vec![Step::MaxBatch(1), pattern("a")]), [""; 0]);
        assert_eq!(left(vec![pattern("a"), Step::MaxBatch(1)]), ["a.txt"]);
    }

    #[test]
    fn files_are_looked_at_where_a_step_asks_for_it() {
        for step in [
            Step::MinSize(1),
            Step::MaxSize(1),
            Step::MinAge(Duration::ZERO),
            by(SortKey::Size, false),
            by(SortKey::Modified, true),
        ] {
            assert!(staging(vec![pattern("x"), step]).needs_stat());
        }
        let others = vec![
            pattern("x"),
            Step::CompanionFile(".done".into()),
            Step::MaxStaged(1),
            Step::MaxBatch(1),
            by(SortKey::Name, true),
        ];
        assert!(!staging(others).needs_stat());
    }

    #[test]
    fn the_next_one_is_due_when_it_is_old_enough_for_all_steps() {
        let ages = |ages: &[u64]| {
            staging(ages.iter().map(|&age| Step::MinAge(Duration::from_secs(age))).collect())
        };
        let due = |steps: &[u64]| ages(steps).next_due(&files(), now()).map(|due| due.as_secs());
        assert_eq!(due(&[]), None);
        assert_eq!(due(&[5]), None);
        assert_eq!(due(&[12]), Some(2));
        assert_eq!(due(&[12, 40, 7]), Some(10));
        assert_eq!(ages(&[1]).next_due(&[], now()), None);
        assert_eq!(staging(vec![Step::MinAge(Duration::MAX)]).next_due(&files(), now()), None);
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let key = prop_oneof![Just(SortKey::Name), Just(SortKey::Size), Just(SortKey::Modified)];
        prop_oneof![
            (0..50_u64).prop_map(Step::MinSize),
            (0..50_u64).prop_map(Step::MaxSize),
            (0..50_u64).prop_map(|age| Step::MinAge(Duration::from_secs(age))),
            Just(()).prop_map(|()| pattern("[a-m]")),
            (0..30_usize).prop_map(Step::MaxStaged),
            (0..30_usize).prop_map(Step::MaxBatch),
            (key, any::<bool>()).prop_map(|(key, reverse)| by(key, reverse)),
        ]
    }

    /// The same as [`Staging::choose`], one step after another.
    fn step_by_step(steps: &[Step], files: &[Candidate], staged: usize) -> Vec<usize> {
        let mut left: Vec<usize> = (0..files.len()).collect();
        for step in steps {
            match step {
                Step::MinSize(bytes) => left.retain(|&p| files[p].size >= *bytes),
                Step::MaxSize(bytes) => left.retain(|&p| files[p].size <= *bytes),
                Step::MinAge(age) => left.retain(|&p| files[p].modified + *age <= now()),
                Step::FilenameMatch(pattern) => left.retain(|&p| is_found(pattern, &files[p].name)),
                Step::MaxStaged(most) => left.truncate(most.saturating_sub(staged)),
                Step::MaxBatch(most) => left.truncate(*most),
                Step::SortBy { key, reverse } => sort(&mut left, files, *key, *reverse),
                Step::CompanionFile(_) | Step::Component(_) => unreachable!("not among them"),
            }
        }
        left
    }

    proptest! {
        #[test]
        fn what_is_left_is_what_each_step_would_leave(
            drawn in prop::collection::vec(("[a-z]{1,3}", 0..50_u64, 0..50_u64), 0..40),
            steps in prop::collection::vec(any_step(), 0..6),
            staged in 0..30_u64,
        ) {
            let drawn = drawn.into_iter();
            let files: Vec<_> = drawn.map(|(name, size, age)| file(name, size, age)).collect();
            let counts = Counts { staged, ..Counts::default() };
            let mut staging = staging(steps);
            let chosen = staging.choose(&files, counts, now());
            prop_assert_eq!(&chosen, &step_by_step(&staging.steps, &files, staged as usize));
            let mut sorted = chosen.clone();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(sorted.len(), chosen.len(), "a file is there twice");
            prop_assert!(sorted.last().is_none_or(|&last| last < files.len()));
            for step in &staging.steps {
                match step {
                    Step::MaxBatch(most) => prop_assert!(chosen.len() <= *most),
                    Step::MaxStaged(most) => {
                        prop_assert!(chosen.len() <= most.saturating_sub(staged as usize));
                    }
                    _ => {}
                }
            }
        }

        #[test]
        fn what_is_due_is_old_enough_then_and_nothing_is_before(
            times in prop::collection::vec(0..50_u64, 0..20),
            ages in prop::collection::vec(0..50_u64, 1..4),
        ) {
            let files: Vec<_> = times.into_iter().map(|age| file("x", 1, age)).collect();
            let steps = ages.into_iter().map(|age| Step::MinAge(Duration::from_secs(age)));
            let mut staging = staging(steps.collect());
            let before = staging.choose(&files, Counts::default(), now()).len();
            match staging.next_due(&files, now()) {
                None => prop_assert_eq!(before, files.len()),
                Some(wait) => {
                    let mut taken = |at| staging.choose(&files, Counts::default(), at).len();
                    prop_assert!(taken(now() + wait) > before);
                    prop_assert_eq!(taken(now() + wait - Duration::from_nanos(1)), before);
                }
            }
        }
    }
}
