//! What a coordinator finds of one that died: its workers, and what they have
//! said and were told.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::job::JobId;
use super::ledger::Books;
use super::lines::Follower;
use super::protocol::{Assignment, Order, RunDir, Saying, WorkerName};
use super::{Link, SlurmExecutor};
use crate::executor::{Ended, Job, Origin};
use crate::outcome::AttemptOutcome;
use crate::workspace::catalog::{FileId, Files, State};
use crate::workspace::remove_tree;

/// What the names of run directories begin with; the time follows, so that they
/// sort.
const RUN: &str = "run-";

/// What was found of a run whose coordinator died.
#[derive(Debug, Default)]
pub struct Resumed {
    /// Files that living workers hold.
    pub claimed: Vec<FileId>,
    /// Outcomes that came to stand after the directories were listed.
    pub settled: Vec<(FileId, AttemptOutcome)>,
    /// All attempts that they ended, by worker, in their order. The coordinator
    /// that died has written some of them down.
    pub ended: BTreeMap<WorkerName, Vec<(OsString, Ended)>>,
}

pub(super) fn runs(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut runs = Vec::new();
    match fs::read_dir(root) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(RUN) {
                    runs.push(entry.path());
                }
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    runs.sort();
    Ok(runs)
}

/// Jobs of a run that did not end in good order: some of them may be at work.
/// Empty where there are none.
pub fn unfinished(root: &Path) -> io::Result<Vec<JobId>> {
    let Some(run) = runs(root)?.pop() else { return Ok(Vec::new()) };
    let books = Books::read(&RunDir::new(run).ledger())?;
    Ok(if books.closed { Vec::new() } else { books.seats.into_values().flatten().collect() })
}

/// The run to go on with, or a new one.
pub(super) fn latest(root: &Path) -> io::Result<(RunDir, Books)> {
    let runs = runs(root)?;
    if let Some(run) = runs.last() {
        let dir = RunDir::new(run.clone());
        let books = Books::read(&dir.ledger())?;
        if !books.closed && !books.seats.is_empty() {
            return Ok((dir, books));
        }
    }
    for run in runs {
        remove_tree(&run)?;
    }
    let time = Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let run = root.join(format!("{RUN}{time}-{}", std::process::id()));
    fs::create_dir(&run)?;
    Ok((RunDir::new(run), Books::default()))
}

impl SlurmExecutor {
    /// Takes over the workers of a coordinator that died. Files that they hold
    /// and that are still to do are theirs; their state becomes running.
    pub fn resume(&mut self, files: &mut dyn Files) -> io::Result<Resumed> {
        let mut resumed = Resumed::default();
        let mut newest: BTreeMap<_, WorkerName> = BTreeMap::new();
        for name in self.dir.introduced()? {
            if !self.fleet.has_seat(name.seat) {
                self.past.insert(name);
                continue;
            }
            let known = newest.entry(name.seat).or_insert(name);
            let older =
                if known.restart < name.restart { std::mem::replace(known, name) } else { name };
            if older != *known {
                self.past.insert(older);
            }
        }
        for name in newest.into_values() {
            self.resume_worker(name, files, &mut resumed)?;
        }
        self.act();
        Ok(resumed)
    }

    fn resume_worker(
        &mut self,
        name: WorkerName,
        files: &mut dyn Files,
        resumed: &mut Resumed,
    ) -> io::Result<()> {
        let mut orders = Vec::new();
        Follower::<Order>::new(self.dir.orders(name)).read(&mut orders)?;
        let mut assignments: BTreeMap<u32, Assignment> = BTreeMap::new();
        for order in orders {
            if let Order::Take(batch) = order {
                assignments.extend(batch.into_iter().map(|a| (a.seq, a)));
            }
        }
        let next = assignments.last_key_value().map_or(0, |(seq, _)| seq + 1);
        let mut link = Link::new(&self.dir, name);
        let mut sayings = Vec::new();
        link.reports.read(&mut sayings)?;
        link.introduced = !sayings.is_empty();
        self.links.insert(name, link);

        let waiting = |files: &mut dyn Files, name: &OsString| {
            files.find(name).filter(|&id| files.state(id) == State::Waiting)
        };
        let mut begun: HashSet<u32> = HashSet::new();
        let mut later = Vec::new();
        let mut origin = Origin { worker: name.to_string(), ..Origin::default() };
        for saying in sayings {
            match saying {
                Saying::Hello(hello) => {
                    origin.node.clone_from(&hello.node);
                    origin.job = hello.job.map(|job| job.to_string()).unwrap_or_default();
                    self.fleet.heard(name, Saying::Hello(hello), Duration::ZERO);
                }
                Saying::Begun(seq) => drop(begun.insert(seq)),
                Saying::Ended(ended) => {
                    begun.remove(&ended.seq);
                    let Some(assignment) = assignments.remove(&ended.seq) else { continue };
                    let file: OsString = assignment.name.into();
                    // It was published after the directory was listed.
                    // An `.err` that was there when the directory was listed is why the
                    // file is tried again.
                    let is_new = |outcome, failed_before: u32| {
                        outcome == AttemptOutcome::Succeeded || failed_before == 0
                    };
                    if let Some(id) = waiting(files, &file)
                        && let Some(outcome) = ended.outcome.in_short()
                        && ended.outcome.is_final()
                        && is_new(outcome, files.attempts_before(id))
                    {
                        match self.court.stands(&file) {
                            true => {
                                files.set_state(id, State::Running);
                                files.set_state(id, State::from(outcome));
                                resumed.settled.push((id, outcome));
                            }
                            // It is late here, on a file system that others share.
                            false => self.fleet.contest(id),
                        }
                    }
                    let ended = Ended {
                        id: Job::NOBODYS,
                        outcome: ended.outcome,
                        attempt: ended.attempt,
                        duration: ended.duration,
                        slot: ended.slot,
                        origin: Some(origin.clone()),
                    };
                    resumed.ended.entry(name).or_default().push((file, ended));
                }
                Saying::HandedBack(seqs) => {
                    for seq in seqs {
                        assignments.remove(&seq);
                    }
                }
                other => later.push(other),
            }
        }
        let held = assignments.into_values().map(|assignment| {
            let file: OsString = assignment.name.clone().into();
            let job = waiting(files, &file).map(|id| {
                files.set_state(id, State::Running);
                resumed.claimed.push(id);
                Job {
                    id,
                    name: file,
                    attempts_before: assignment.attempts_before,
                    retries: assignment.retries,
                    interruptions: assignment.interruptions,
                    link: assignment.link,
                    contested: assignment.contested,
                }
            });
            (assignment, job)
        });
        let held: Vec<_> = held.collect();
        self.fleet.take_over_files(name, held, next);
        for seq in begun {
            self.fleet.heard(name, Saying::Begun(seq), Duration::ZERO);
        }
        for saying in later {
            self.fleet.heard(name, saying, Duration::ZERO);
        }
        Ok(())
    }
}
