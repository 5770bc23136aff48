//! The inputs of a pipeline that are not in it yet, and which of them are taken next.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;

use super::staging::Staging;
use crate::engine::stage::{Candidate, Counts};
use crate::run::dispatch::{LISTING_TRIES, events};
use crate::workspace::catalog::{FileId, Files, State};
use crate::workspace::intake::{Before, Intake, Look};
use crate::workspace::watch::{Arrival, Watch};

/// The least time between two cycles of steps, so that each file that leaves the
/// pipeline does not cost one.
const LEAST_PAUSE: Duration = Duration::from_millis(10);

/// How much longer than a cycle the pause after it is, up to [`LONGEST_PAUSE`].
const PAUSE: u32 = 10;

/// The longest pause after a cycle that took its time: a component that hangs, say.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How inputs are taken.
pub struct Rules {
    /// Where they are.
    pub input_dir: PathBuf,
    /// How often steps are asked that may choose otherwise though nothing was seen to
    /// change, and least time between two batches.
    pub poll: Duration,
    /// Most files in the pipeline.
    pub max_staged: usize,
    /// Whether a step limits how many are taken in a cycle.
    pub in_batches: bool,
}

/// How many candidates are looked at in place; more of them on another thread.
const FEW: usize = 1_000;

/// What a cycle has chosen.
struct Chosen {
    staging: Staging,
    /// In the order in which they are to be taken.
    files: Vec<FileId>,
    /// Candidates that are not there any more.
    gone: Vec<FileId>,
    /// How long it takes until one is old enough that was too young.
    due: Option<Duration>,
    cost: Duration,
}

/// The inputs that are not in the pipeline.
pub struct Inbox {
    rules: Rules,
    intake: Intake,
    watch: Option<Watch>,
    next_poll: Instant,
    listing_failures: u32,
    /// Those that may be taken, in the order in which they came; and some that were
    /// taken since.
    queue: VecDeque<FileId>,
    /// How many of them wait.
    waiting: usize,
    /// What the last cycle chose, and for which there was no room yet.
    next: VecDeque<FileId>,
    /// The steps; they are away while a cycle is at work on another thread.
    staging: Option<Staging>,
    has_steps: bool,
    /// Whether they choose by what is in the pipeline.
    counts_matter: bool,
    /// Whether one of them does not work.
    is_failing: bool,
    cycle: Option<JoinHandle<Chosen>>,
    /// Whether a cycle may choose some.
    asks: bool,
    /// Whether there is a reason for that, other than that time has passed: only then
    /// is it work that is awaited.
    fresh: bool,
    /// The same of the cycle that is at work on another thread.
    cycle_is_fresh: bool,
    next_cycle: Instant,
    /// When a file is old enough that was too young.
    due: Option<Instant>,
}

impl Inbox {
    /// Inputs that are found by `intake`, and those that `watch` tells of; `None`: no
    /// more are taken than are there now. `staging`: steps that choose among them.
    pub fn new(
        rules: Rules,
        intake: Intake,
        watch: Option<Watch>,
        staging: Option<Staging>,
    ) -> Self {
        let now = Instant::now();
        Inbox {
            next_poll: now + watch.as_ref().map_or(rules.poll, Watch::poll),
            rules,
            intake,
            watch,
            listing_failures: 0,
            queue: VecDeque::new(),
            waiting: 0,
            next: VecDeque::new(),
            has_steps: staging.is_some(),
            counts_matter: staging.as_ref().is_some_and(Staging::counts_matter),
            is_failing: false,
            staging,
            cycle: None,
            asks: true,
            fresh: true,
            cycle_is_fresh: false,
            next_cycle: now,
            due: None,
        }
    }

    /// Lists the inputs.
    pub fn first(&mut self) -> io::Result<Before> {
        let (before, ready) = self.intake.first()?;
        self.found(ready);
        Ok(before)
    }

    /// The input of this name, if it is not in the pipeline and was not; it is now.
    pub fn claim(&mut self, name: &OsStr) -> Option<FileId> {
        let id = self.intake.claim(name)?;
        self.intake.set_state(id, State::Running);
        Some(id)
    }

    /// Takes out of the queue what was claimed.
    pub fn tidy(&mut self) {
        let intake = &self.intake;
        self.queue.retain(|&id| intake.state(id) == State::Waiting);
        self.waiting = self.queue.len();
    }

    /// One that was claimed is not in the pipeline after all.
    pub fn put_back(&mut self, id: FileId) {
        self.intake.set_state(id, State::Waiting);
        self.found(vec![id]);
    }

    /// Whether an input is a symbolic link.
    pub fn is_link(&self, id: FileId) -> bool {
        self.intake.is_link(id)
    }

    /// An input's name.
    pub fn name(&self, id: FileId) -> &OsStr {
        self.intake.catalog.name(id)
    }

    /// The input directory.
    pub fn input_dir(&self) -> &PathBuf {
        &self.rules.input_dir
    }

    /// An input has left the pipeline, in this state. Where it arrived again
    /// meanwhile, and is work again, it waits.
    pub fn left(&mut self, id: FileId, state: State) {
        self.intake.set_state(id, state);
        let again = self.intake.ended(id);
        self.found(again);
        self.ask_again(self.counts_matter && self.waiting > 0);
    }

    /// Something has changed by which steps may choose otherwise, if so.
    fn ask_again(&mut self, changed: bool) {
        self.asks |= changed;
        self.fresh |= changed;
    }

    /// Inputs of which nothing is known any more: should they be there, or come again,
    /// they are work.
    pub fn forget(&mut self, ids: &[FileId]) {
        for &id in ids {
            self.intake.set_state(id, State::New);
        }
        let names = ids.iter().map(|&id| self.name(id).to_owned());
        let arrivals = names.map(|name| Arrival { name, complete: false }).collect();
        let found = self.intake.arrived(arrivals);
        self.found(found);
    }

    /// Inputs known that are not in the pipeline.
    pub fn waiting(&self) -> usize {
        self.waiting + self.intake.unsettled()
    }

    /// How many inputs cannot be taken.
    pub fn not_taken(&self) -> usize {
        self.intake.catalog.count(State::Skipped)
    }

    /// Whether nothing is to be expected of it but what arrives.
    pub fn is_idle(&self) -> bool {
        let nothing_waits = match self.has_steps {
            true => self.waiting == 0 || !self.fresh && self.next.is_empty(),
            false => self.queue.is_empty(),
        };
        let asked = self.cycle.is_some() && self.cycle_is_fresh;
        nothing_waits && !asked && self.intake.unsettled() == 0
    }

    /// Whether inputs wait because a step does not work.
    pub fn is_stuck(&self) -> bool {
        self.is_failing && self.waiting > 0
    }

    /// When it has something to do that nobody tells of. `takes`: whether any can be
    /// taken.
    pub fn next_wake(&self, takes: bool) -> Option<Instant> {
        let asks = self.has_steps && self.asks && self.cycle.is_none() && self.waiting > 0;
        let cycle = (takes && asks).then_some(self.next_cycle);
        let poll = self.watch.as_ref().map(|_| self.next_poll);
        [cycle, poll, self.due, self.intake.next_due()].into_iter().flatten().min()
    }

    /// Waits until something arrives, or a cycle ends. What it was is for
    /// [`arrivals`](Self::arrivals).
    pub async fn wait(&mut self) -> Option<CycleEnd> {
        let cycle = async {
            match &mut self.cycle {
                Some(cycle) => cycle.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            chosen = cycle => Some(CycleEnd(chosen.ok())),
            () = events(self.watch.as_ref()) => None,
        }
    }

    fn found(&mut self, ids: Vec<FileId>) {
        self.ask_again(!ids.is_empty());
        self.waiting += ids.len();
        self.queue.extend(ids);
        self.poll_soon();
    }

    /// Steps that left some out are asked again.
    fn poll_soon(&mut self) {
        if self.has_steps && self.waiting > 0 {
            self.next_poll = self.next_poll.min(Instant::now() + self.rules.poll);
        }
    }

    /// Takes in what arrived.
    pub fn arrivals(&mut self) -> io::Result<()> {
        let Some(watch) = &self.watch else { return Ok(()) };
        let arrivals = watch.take();
        // While a cycle is at work, nobody can say which names matter.
        let staging = self.staging.as_ref();
        let matters = |arrival: &Arrival| staging.is_none_or(|s| s.watches(&arrival.name));
        let changed = self.has_steps && arrivals.files.iter().any(matters);
        self.ask_again(changed);
        let found = self.intake.arrived(arrivals.files);
        self.found(found);
        if arrivals.lost { self.list(true) } else { Ok(()) }
    }

    /// Does what is due. An error is lasting.
    pub fn time_passed(&mut self, now: Instant) -> io::Result<()> {
        if self.intake.next_due().is_some_and(|due| due <= now) {
            let found = self.intake.settled();
            self.found(found);
        }
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.ask_again(true);
        }
        if let Some(watch) = &self.watch
            && self.next_poll <= now
        {
            let poll = match self.has_steps && self.waiting > 0 {
                // A companion may have come, or a component thinks otherwise now.
                true => {
                    self.asks = true;
                    self.rules.poll
                }
                false => watch.poll(),
            };
            self.list(false)?;
            self.next_poll = Instant::now() + poll.max(self.intake.pause());
        }
        Ok(())
    }

    fn list(&mut self, force: bool) -> io::Result<()> {
        match self.intake.again(force) {
            Ok(found) => {
                self.listing_failures = 0;
                self.found(found);
                Ok(())
            }
            Err(error) => {
                self.listing_failures += 1;
                let lasting =
                    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
                if lasting || self.listing_failures >= LISTING_TRIES {
                    return Err(error);
                }
                let path = self.rules.input_dir.display();
                tracing::warn!("failed to list `{path}`: {error}; trying again");
                Ok(())
            }
        }
    }

    /// Takes those into the pipeline that are next. `counts`: what is in it.
    pub fn take(&mut self, counts: Counts) -> Vec<FileId> {
        let room = self.room(counts);
        if room == 0 {
            return Vec::new();
        }
        if !self.has_steps {
            let mut queue = std::mem::take(&mut self.queue);
            let taken = self.begin(&mut queue, room);
            self.queue = queue;
            return taken;
        }
        let mut taken = self.take_chosen(room);
        let due = self.asks && self.cycle.is_none() && Instant::now() >= self.next_cycle;
        if taken.len() < room && due && self.waiting > 0 {
            let counts = Counts { staged: counts.staged + taken.len() as u64, ..counts };
            if let Some(chosen) = self.ask(counts) {
                self.chosen(chosen);
                taken.extend(self.take_chosen(room - taken.len()));
            }
        }
        taken
    }

    fn room(&self, counts: Counts) -> usize {
        let staged = usize::try_from(counts.staged).unwrap_or(usize::MAX);
        self.rules.max_staged.saturating_sub(staged)
    }

    /// Asks the steps which are next: of few here and now, of many on another thread.
    fn ask(&mut self, counts: Counts) -> Option<Chosen> {
        let mut staging = self.staging.take()?;
        let begun = Instant::now();
        self.asks = false;
        self.cycle_is_fresh = std::mem::take(&mut self.fresh);
        let intake = &self.intake;
        self.queue.retain(|&id| intake.state(id) == State::Waiting);
        let name = |&id: &FileId| (id, intake.catalog.name(id).to_owned());
        let waiting: Vec<(FileId, OsString)> = self.queue.iter().map(name).collect();
        // A component may take its time, and a file server for each look.
        let slow = staging.needs_polling() || waiting.len() > FEW;
        let directory = self.rules.input_dir.clone();
        let choose = move || {
            let (files, candidates, gone) = look(&directory, waiting, staging.needs_stat());
            let now = SystemTime::now();
            let due = staging.next_due(&candidates, now);
            let places = staging.choose(&candidates, counts, now);
            let files = places.into_iter().map(|place| files[place]).collect();
            Chosen { staging, files, gone, due, cost: begun.elapsed() }
        };
        if slow {
            self.cycle = Some(tokio::task::spawn_blocking(choose));
            return None;
        }
        Some(choose())
    }

    /// Takes in what a cycle on another thread has chosen. None: it is lost.
    pub fn cycle_ended(&mut self, end: CycleEnd, counts: Counts) -> Option<Vec<FileId>> {
        self.cycle = None;
        self.chosen(end.0?);
        Some(self.take_chosen(self.room(counts)))
    }

    fn chosen(&mut self, chosen: Chosen) {
        let Chosen { staging, files, gone, due, cost } = chosen;
        self.is_failing = staging.is_failing();
        self.staging = Some(staging);
        let pause = (cost * PAUSE).clamp(LEAST_PAUSE, LONGEST_PAUSE);
        let pause = if self.rules.in_batches { pause.max(self.rules.poll) } else { pause };
        self.next_cycle = Instant::now() + pause;
        self.due = due.map(|wait| Instant::now() + wait);
        for id in gone {
            if self.intake.state(id) == State::Waiting {
                self.intake.set_state(id, State::Running);
                self.intake.set_state(id, State::New);
                self.waiting -= 1;
            }
        }
        // After a batch there may be another one.
        self.ask_again(self.rules.in_batches && !files.is_empty());
        self.next = files.into();
        self.poll_soon();
    }

    fn take_chosen(&mut self, room: usize) -> Vec<FileId> {
        let mut next = std::mem::take(&mut self.next);
        let taken = self.begin(&mut next, room);
        self.next = next;
        taken
    }

    /// Takes so many of these. Some may be in the pipeline already.
    fn begin(&mut self, from: &mut VecDeque<FileId>, room: usize) -> Vec<FileId> {
        let mut taken = Vec::new();
        while taken.len() < room
            && let Some(id) = from.pop_front()
        {
            if self.intake.state(id) == State::Waiting {
                self.intake.set_state(id, State::Running);
                taken.push(id);
            }
        }
        self.waiting -= taken.len();
        taken
    }
}

/// Candidates with what steps look at, and those that are not there any more.
fn look(
    directory: &Path,
    waiting: Vec<(FileId, OsString)>,
    stat: bool,
) -> (Vec<FileId>, Vec<Candidate>, Vec<FileId>) {
    let (mut files, mut candidates) = (Vec::new(), Vec::new());
    let mut gone = Vec::new();
    for (id, name) in waiting {
        let (mut size, mut modified) = (0, UNIX_EPOCH);
        if stat {
            match Look::of(&directory.join(&name)) {
                Ok(look) => (size, modified) = (look.size(), look.modified()),
                Err(_) => {
                    gone.push(id);
                    continue;
                }
            }
        }
        files.push(id);
        candidates.push(Candidate { name, size, modified });
    }
    (files, candidates, gone)
}

/// What a cycle on another thread came to.
pub struct CycleEnd(Option<Chosen>);
