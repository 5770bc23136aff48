//! The inputs of a pipeline that are not in it yet, and which of them are taken next.

use std::collections::{HashSet, VecDeque};
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
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

/// What a cycle has chosen, and from what.
struct Chosen {
    staging: Staging,
    files: Vec<FileId>,
    places: Vec<usize>,
    cost: Duration,
}

/// The inputs that are not in the pipeline.
pub struct Inbox {
    rules: Rules,
    intake: Intake,
    watch: Option<Watch>,
    next_poll: Instant,
    listing_failures: u32,
    /// Those that may be taken, in the order in which they came.
    queue: VecDeque<FileId>,
    /// The steps; they are away while a cycle is at work on another thread.
    staging: Option<Staging>,
    has_steps: bool,
    cycle: Option<JoinHandle<Chosen>>,
    /// Whether a cycle may choose some.
    asks: bool,
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
            has_steps: staging.is_some(),
            staging,
            cycle: None,
            asks: true,
            next_cycle: now,
            due: None,
        }
    }

    /// Lists the inputs.
    pub fn first(&mut self) -> io::Result<Before> {
        let (before, ready) = self.intake.first()?;
        self.queue.extend(ready);
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
    }

    /// One that was claimed is not in the pipeline after all.
    pub fn put_back(&mut self, id: FileId) {
        self.intake.set_state(id, State::Waiting);
        self.queue.retain(|&other| other != id);
        self.queue.push_front(id);
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

    /// What is known of an input.
    pub fn set_state(&mut self, id: FileId, state: State) {
        self.intake.set_state(id, state);
    }

    /// An input has left the pipeline, in this state. Where it arrived again
    /// meanwhile, and is work again, it waits.
    pub fn left(&mut self, id: FileId, state: State) {
        self.intake.set_state(id, state);
        let again = self.intake.ended(id);
        self.queue.extend(again);
        self.asks |= !self.queue.is_empty();
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
        self.queue.len() + self.intake.unsettled()
    }

    /// How many inputs cannot be taken.
    pub fn not_taken(&self) -> usize {
        self.intake.catalog.count(State::Skipped)
    }

    /// Whether nothing is to be expected of it but what arrives.
    pub fn is_idle(&self) -> bool {
        let nothing_waits = if self.has_steps { !self.asks } else { self.queue.is_empty() };
        nothing_waits && self.cycle.is_none() && self.intake.unsettled() == 0
    }

    /// When it has something to do that nobody tells of.
    pub fn next_wake(&self) -> Option<Instant> {
        let cycle = (self.has_steps && self.asks && self.cycle.is_none() && !self.queue.is_empty())
            .then_some(self.next_cycle);
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
        self.asks |= !ids.is_empty();
        self.queue.extend(ids);
        self.poll_soon();
    }

    /// Steps that left some out are asked again.
    fn poll_soon(&mut self) {
        if self.has_steps && !self.queue.is_empty() {
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
        self.asks |= self.has_steps && arrivals.files.iter().any(matters);
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
            (self.due, self.asks) = (None, true);
        }
        if let Some(watch) = &self.watch
            && self.next_poll <= now
        {
            let poll = match self.has_steps && !self.queue.is_empty() {
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
        let room = self.rules.max_staged.saturating_sub(counts.staged as usize);
        if room == 0 || self.queue.is_empty() {
            self.asks &= !self.queue.is_empty();
            return Vec::new();
        }
        if !self.has_steps {
            let taken: Vec<FileId> = self.queue.drain(..room.min(self.queue.len())).collect();
            return self.begin(taken);
        }
        if !self.asks || self.cycle.is_some() || Instant::now() < self.next_cycle {
            return Vec::new();
        }
        let Some(mut staging) = self.staging.take() else { return Vec::new() };
        let begun = Instant::now();
        self.asks = false;
        let (files, candidates) = self.candidates(staging.needs_stat());
        let now = SystemTime::now();
        self.due = staging.next_due(&candidates, now).map(|wait| Instant::now() + wait);
        let slow = staging.needs_polling();
        let choose = move || {
            let places = staging.choose(&candidates, counts, now);
            Chosen { staging, files, places, cost: begun.elapsed() }
        };
        if slow {
            // A component may take its time.
            self.cycle = Some(tokio::task::spawn_blocking(choose));
            return Vec::new();
        }
        let chosen = choose();
        self.chosen(chosen, room)
    }

    /// Those that may be taken, with what steps look at. What is gone leaves the queue.
    fn candidates(&mut self, stat: bool) -> (Vec<FileId>, Vec<Candidate>) {
        let mut candidates = Vec::with_capacity(self.queue.len());
        let (mut gone, intake) = (Vec::new(), &self.intake);
        let directory = &self.rules.input_dir;
        self.queue.retain(|&id| {
            let name = intake.catalog.name(id).to_owned();
            let (mut size, mut modified) = (0, UNIX_EPOCH);
            if stat {
                match Look::of(&directory.join(&name)) {
                    Ok(look) => (size, modified) = (look.size(), look.modified()),
                    Err(_) => {
                        gone.push(id);
                        return false;
                    }
                }
            }
            candidates.push(Candidate { name, size, modified });
            true
        });
        for id in gone {
            self.intake.set_state(id, State::Running);
            self.intake.set_state(id, State::New);
        }
        (self.queue.iter().copied().collect(), candidates)
    }

    /// Takes in what a cycle on another thread has chosen.
    pub fn cycle_ended(&mut self, end: CycleEnd, counts: Counts) -> Vec<FileId> {
        self.cycle = None;
        let room = self.rules.max_staged.saturating_sub(counts.staged as usize);
        match end.0 {
            Some(chosen) => self.chosen(chosen, room),
            None => {
                tracing::error!("an internal fault of tigerflow-host: a staging step is lost");
                Vec::new()
            }
        }
    }

    fn chosen(&mut self, chosen: Chosen, room: usize) -> Vec<FileId> {
        let Chosen { staging, files, places, cost } = chosen;
        self.staging = Some(staging);
        let pause = (cost * PAUSE).clamp(LEAST_PAUSE, LONGEST_PAUSE);
        let pause = if self.rules.in_batches { pause.max(self.rules.poll) } else { pause };
        self.next_cycle = Instant::now() + pause;
        let mut taken: Vec<FileId> = places.into_iter().map(|place| files[place]).collect();
        // A batch was chosen: there may be another one.
        self.asks |= (self.rules.in_batches && !taken.is_empty()) || taken.len() > room;
        taken.truncate(room);
        if !taken.is_empty() {
            let those: HashSet<FileId> = taken.iter().copied().collect();
            self.queue.retain(|id| !those.contains(id));
        }
        self.poll_soon();
        self.begin(taken)
    }

    /// Those that are in the pipeline now. Some may be so already: an earlier run had
    /// begun them.
    fn begin(&mut self, mut taken: Vec<FileId>) -> Vec<FileId> {
        taken.retain(|&id| self.intake.state(id) == State::Waiting);
        for &id in &taken {
            self.intake.set_state(id, State::Running);
        }
        taken
    }
}

/// What a cycle on another thread came to.
pub struct CycleEnd(Option<Chosen>);
