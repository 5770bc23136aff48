//! The coordinator's core: which worker has which files, what the end of a
//! worker means for them, and when to ask Slurm for more.
//!
//! It is pure: what workers and Slurm say comes in with the time, and
//! [`Action`]s go out. So a simulated cluster drives it as a real one does.

mod jobs;
mod losses;
mod shares;
mod show;
mod worker;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::time::Duration;

pub use self::show::WorkerView;
pub use self::worker::Phase;

use self::jobs::ARRAY;
use self::losses::Loss;
use self::show::INACTIVE;
use self::worker::{Ghost, Held, Worker};
use super::autoscale::{Autoscaler, Limits, Why};
use super::job::{JobId, State};
use super::pace::Pace;
use super::protocol::{Assignment, Ended, Hello, Order, Saying, Seat, WorkerName};
use crate::executor::gate::Rate;
use crate::executor::{self, Job, Origin, Report};
use crate::outcome::Outcome;
use crate::text::count;
use crate::workspace::catalog::FileId;

/// How often the log says how many files were done.
const TELL: Duration = Duration::from_secs(10);

/// How long after the run's end cancelled jobs may go on, before they are left
/// to Slurm.
const AFTER_CANCEL: Duration = Duration::from_secs(60);

/// What a fleet goes by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many workers there may be.
    pub limits: Limits,
    /// Most files in flight in each.
    pub concurrency: usize,
    /// How often attempts begin, over all workers.
    pub rate: Option<Rate>,
    /// The plan that workers must go by.
    pub plan: String,
    /// How long files in flight may go on once the run was told to stop.
    pub grace: Duration,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Say something to a worker.
    Tell(WorkerName, Order),
    /// Ask Slurm for so many workers, on other nodes than these.
    Submit {
        /// The submission's number.
        submission: u32,
        /// How many.
        workers: usize,
        /// Nodes on which workers fail.
        exclude: Vec<String>,
    },
    /// Cancel these jobs.
    Cancel(Vec<JobId>),
    /// A worker has introduced itself.
    Started(WorkerName, Hello),
    /// A worker is gone, and its seat with it unless it was requeued.
    Gone {
        /// The worker, if one had introduced itself.
        worker: Option<WorkerName>,
        /// Its seat.
        seat: Seat,
        /// How it ended.
        how: String,
        /// Whether its job goes on with another worker.
        requeued: bool,
        /// Whether what its log says last explains it.
        tell_log: bool,
    },
    /// Tell the dispatcher.
    Report(Report),
    /// Tell it, and people, that an attempt at the file of this name ended.
    Ended(OsString, executor::Ended),
    /// Write down an attempt at the file of this name, whose outcome stood when
    /// this coordinator took over.
    Late(OsString, executor::Ended),
    /// Publish that this file kills its workers, and tell the dispatcher.
    Convict {
        /// The file.
        job: Job,
        /// What it did.
        why: String,
        /// How long it took.
        duration: Duration,
        /// Where it did so last.
        origin: Origin,
    },
    /// Tell people.
    Note(Level, String),
}

/// How loud to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For information.
    Info,
    /// Something is not as it should be.
    Warning,
    /// Something failed.
    Error,
}

/// Why a submission failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Slurm does not answer: it will again.
    Unreachable(String),
    /// Not now.
    Busy(String),
    /// Never.
    Refused(String),
}

/// All workers of a run.
pub struct Fleet {
    settings: Settings,
    autoscaler: Autoscaler,
    pace: Option<Pace>,
    workers: BTreeMap<Seat, Worker>,
    /// Workers that were given up, which may work on these files still.
    ghosts: HashMap<WorkerName, Ghost>,
    /// Files that such a worker may publish.
    contested: HashSet<FileId>,
    /// Files that no worker has yet.
    queue: VecDeque<Job>,
    /// Files to do that the dispatcher has not handed out.
    waiting: usize,
    submissions: u32,
    /// Most workers of one submission.
    array: usize,
    /// Jobs that were made, the latest ones.
    made: VecDeque<u64>,
    /// Jobs that were cancelled before they began.
    cancelled: HashSet<JobId>,
    /// The submission whose answer is not there yet.
    submitting: Option<(u32, usize)>,
    /// Nothing is submitted before.
    not_before: Duration,
    troubles: u32,
    start_failures: u32,
    refusals: u32,
    nodes: HashMap<String, u32>,
    excluded: Vec<String>,
    /// Whether Slurm refused workers where some nodes were excluded.
    no_other_nodes: bool,
    unreachable: bool,
    /// Whether some workers have said nothing for a while.
    quiet: bool,
    why: Why,
    trouble: String,
    /// When the grace ends, and whether all was cancelled then.
    drained: Option<(Duration, bool)>,
    status: String,
    /// How long attempts take, in seconds, of late.
    average: Option<f64>,
    processed: usize,
    tell_at: Duration,
    actions: Vec<Action>,
}

impl Fleet {
    /// A fleet without a worker. `submissions`: how many were made before it.
    pub fn new(settings: Settings, submissions: u32) -> Self {
        Fleet {
            autoscaler: Autoscaler::new(settings.limits),
            pace: settings.rate.map(Pace::new),
            settings,
            workers: BTreeMap::new(),
            ghosts: HashMap::new(),
            contested: HashSet::new(),
            queue: VecDeque::new(),
            waiting: 0,
            submissions,
            array: ARRAY,
            made: VecDeque::new(),
            cancelled: HashSet::new(),
            submitting: None,
            not_before: Duration::ZERO,
            troubles: 0,
            start_failures: 0,
            refusals: 0,
            nodes: HashMap::new(),
            excluded: Vec::new(),
            no_other_nodes: false,
            unreachable: false,
            quiet: false,
            why: Why::Enough,
            trouble: String::new(),
            drained: None,
            status: INACTIVE.into(),
            average: None,
            processed: 0,
            tell_at: Duration::ZERO,
            actions: Vec::new(),
        }
    }

    /// What is to be done since the last time.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// A file for some worker.
    pub fn give(&mut self, job: Job) {
        if self.drained.is_some() {
            return self.report(Report::HandedBack(job.id));
        }
        self.queue.push_back(job);
    }

    /// How many files there are to do that were not given yet.
    pub fn set_waiting(&mut self, files: usize) {
        self.waiting = files;
    }

    /// Seats of a run whose coordinator died.
    pub fn take_over(&mut self, seat: Seat, job: Option<JobId>, now: Duration) {
        if let Some(job) = job
            && self.made.back() != Some(&job.base)
        {
            self.note_job(job.base);
        }

        self.submissions = self.submissions.max(seat.submission);
        let phase = if job.is_some() { Phase::Pending } else { Phase::Asked };
        self.workers.insert(seat, Worker::new(job, phase, now));
    }

    /// A worker of a run whose coordinator died holds these. Its sayings so far
    /// were heard. Files that nobody waits for are none of ours: their outcome
    /// stands, or they are no inputs any more.
    pub fn take_over_files(
        &mut self,
        name: WorkerName,
        files: Vec<(Assignment, Option<Job>)>,
        next: u32,
    ) {
        let Some(worker) = self.workers.get_mut(&name.seat) else { return };
        worker.next = next;
        for (assignment, job) in files {
            let void = job.is_none();
            let job = job.unwrap_or_else(|| Job::nobodys(assignment.name.clone().into()));
            let held = Held { job, alone: assignment.alone, begun: None, void };
            worker.void += usize::from(void);
            worker.held.insert(assignment.seq, held);
        }
    }

    /// A file may be published by a worker of a run whose coordinator died.
    pub fn contest(&mut self, file: FileId) {
        self.contested.insert(file);
    }

    /// Whether a worker, or one that was given up, may still say something.
    pub fn listens_to(&self, name: WorkerName) -> bool {
        self.workers.get(&name.seat).is_some_and(|w| w.restart == Some(name.restart))
            || self.ghosts.contains_key(&name)
    }

    /// Whether some seats wait for a worker to introduce itself, or may have
    /// another one than is known here.
    pub fn expects(&self) -> bool {
        self.submitting.is_some()
            || self.quiet
            || self.workers.values().any(|w| w.restart.is_none() || w.over.is_some())
    }

    /// Whether there is any job left.
    pub fn is_gone(&self) -> bool {
        self.workers.is_empty() && self.submitting.is_none()
    }

    /// A worker said something.
    pub fn heard(&mut self, name: WorkerName, saying: Saying, now: Duration) {
        if let Saying::Hello(hello) = saying {
            return self.introduce(name, *hello, now);
        }
        let worker = self.workers.get_mut(&name.seat);
        let Some(worker) = worker.filter(|w| w.restart == Some(name.restart)) else {
            return self.heard_ghost(name, saying);
        };
        worker.heard = now;
        match saying {
            Saying::Hello(_) => {}
            Saying::SetupWorked => {
                if worker.phase == Phase::Starting {
                    worker.phase = Phase::Ready;
                }
                self.start_failures = 0;
                self.report(Report::SetupWorked);
            }
            Saying::SetupFailed(error) => self.setup_failed(name, error, now),
            Saying::Begun(seq) => {
                if let Some(held) = worker.held.get_mut(&seq)
                    && held.begun.replace(now).is_none()
                {
                    worker.begun += 1;
                }
            }
            Saying::Ended(ended) => self.ended(name, ended, now),
            Saying::HandedBack(seqs) => {
                worker.asked_back = 0;
                for seq in seqs.into_iter().rev() {
                    self.hand_back(name.seat, seq);
                }
            }
            Saying::TeardownFailed(failure) => self.report(Report::TeardownFailed(failure)),
            Saying::HostFailed(reason) => self.host_failed(name, &reason, now),
            Saying::Beat(beat) => worker.in_flight = beat.in_flight,
            Saying::Leaving { why, told_by_slurm } => {
                worker.phase = Phase::Leaving;
                worker.told_by_slurm = told_by_slurm;
                let shown = worker.shown(name.seat);
                self.note(Level::Info, format!("{shown} leaves: {why}"));
            }
            Saying::Bye => self.bye(name, now),
        }
    }

    fn introduce(&mut self, name: WorkerName, hello: Hello, now: Duration) {
        if let Some(worker) = self.workers.get(&name.seat)
            && let Some(before) = worker.restart
        {
            if before >= name.restart {
                return;
            }
            self.lose(name.seat, Loss::requeued(), now);
        }
        // Of one whose seat was given up, its job is no part of the books any more.
        let expected = self.workers.contains_key(&name.seat);
        let known = expected && hello.plan == self.settings.plan && self.drained.is_none();
        let worker = self
            .workers
            .entry(name.seat)
            .or_insert_with(|| Worker::new(hello.job, Phase::Pending, now));
        worker.job = worker.job.or(hello.job);
        worker.phase = if known { Phase::Starting } else { Phase::Leaving };
        worker.restart = Some(name.restart);
        worker.state = State::Running;
        (worker.introduced, worker.heard) = (now, now);
        // The start of the one before it, say.
        worker.start.clear();
        worker.vacated = false;
        worker.cancelled |= hello.job.is_some_and(|job| self.cancelled.contains(&job));
        worker.hello = hello.clone();
        let shown = worker.shown(name.seat);
        self.actions.push(Action::Started(name, hello));
        if !known {
            self.tell(name, Order::Leave);
        } else {
            self.note(Level::Info, format!("{shown} has started"));
        }
    }

    fn ended(&mut self, name: WorkerName, ended: Ended, now: Duration) {
        let Some(worker) = self.workers.get_mut(&name.seat) else { return };
        let Some(held) = worker.take(ended.seq) else { return };
        worker.done += 1;
        worker.meter.count(ended.duration, now);
        let took = ended.duration.as_secs_f64();
        self.average = Some(self.average.map_or(took, |average| average + (took - average) / 20.0));
        self.nodes.remove(&worker.hello.node);
        (self.troubles, self.start_failures) = (0, 0);
        if held.void {
            // Nobody waits for it, but for the journal.
            if held.job.id == Job::NOBODYS {
                let origin = Some(worker.origin(name));
                let Ended { outcome, attempt, duration, slot, .. } = ended;
                let id = Job::NOBODYS;
                let ended = executor::Ended { id, outcome, attempt, duration, slot, origin };
                self.actions.push(Action::Late(held.job.name, ended));
            }
            return;
        }
        self.processed += 1;
        let id = held.job.id;
        if ended.outcome.is_final() {
            self.contested.remove(&id);
        }
        let origin = Some(worker.origin(name));
        let Ended { outcome, attempt, duration, slot, .. } = ended;
        let ended = executor::Ended { id, outcome, attempt, duration, slot, origin };
        self.actions.push(Action::Ended(held.job.name, ended));
    }

    fn hand_back(&mut self, seat: Seat, seq: u32) {
        let Some(worker) = self.workers.get_mut(&seat) else { return };
        let Some(held) = worker.take(seq) else { return };
        if !held.void {
            self.report(Report::HandedBack(held.job.id));
        }
    }

    /// A worker that was given up is at work all the same: what it has
    /// published stands.
    fn heard_ghost(&mut self, name: WorkerName, saying: Saying) {
        let Some(ghost) = self.ghosts.get_mut(&name) else { return };
        let ended = match saying {
            Saying::Ended(ended) => ended,
            Saying::Bye => return drop(self.ghosts.remove(&name)),
            _ => return,
        };
        let Some(id) = ghost.files.remove(&ended.seq) else { return };
        if !matches!(ended.outcome, Outcome::Succeeded | Outcome::Stood) {
            return;
        }
        let queued = self.queue.iter().position(|job| job.id == id);
        if let Some(at) = queued {
            self.queue.remove(at);
        } else {
            let is = |held: &&mut Held| held.job.id == id && !held.void;
            let mut workers = self.workers.values_mut();
            let held = workers.find_map(|w| Some((w.held.values_mut().find(is)?, &mut w.void)));
            let Some((held, void)) = held else { return };
            held.void = true;
            *void += 1;
        }
        let Ended { outcome, attempt, duration, slot, .. } = ended;
        self.contested.remove(&id);
        let origin = Some(Origin { worker: name.to_string(), ..Origin::default() });
        self.report(Report::Ended(executor::Ended {
            id,
            outcome,
            attempt,
            duration,
            slot,
            origin,
        }));
    }

    fn bye(&mut self, name: WorkerName, now: Duration) {
        let Some(worker) = self.workers.get(&name.seat) else { return };
        let done = worker.done;
        let shown = worker.shown(name.seat);
        // What it was given after it had looked for the last time.
        let held: Vec<u32> = worker.held.keys().rev().copied().collect();
        for seq in held {
            self.hand_back(name.seat, seq);
        }
        let how = format!("left after {}", count(done as usize, "file"));
        self.note(Level::Info, format!("{shown} {how}"));
        let Some(worker) = self.workers.remove(&name.seat) else { return };
        // Slurm ends its job, or takes it back into the queue: that is awaited.
        let may_return = worker.told_by_slurm && !worker.cancelled;
        let vacated = may_return && self.drained.is_none();
        if may_return && !vacated {
            self.actions.extend(worker.job.map(|job| Action::Cancel(vec![job])));
        }
        self.gone(Some(name), name.seat, how, vacated, false);
        if vacated {
            let mut next = Worker::new(worker.job, Phase::Pending, now);
            next.state = worker.state;
            next.vacated = true;
            self.workers.insert(name.seat, next);
        }
    }

    /// Whether a worker has, or waits for, this seat.
    pub fn has_seat(&self, seat: Seat) -> bool {
        self.workers.contains_key(&seat)
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) {
        self.check(now);
        match self.drained {
            None => {
                self.scale(now);
                self.hand_out(now);
                self.even_out();
                self.keep();
            }
            Some((deadline, false)) if deadline <= now => {
                self.drained = Some((now, true));
                if !self.workers.is_empty() {
                    let what = count(self.workers.len(), "worker");
                    self.note(
                        Level::Warning,
                        format!("Cancelling {what}: their time to finish is over"),
                    );
                }
                self.cancel(|_| true);
            }
            Some((cancelled, true)) if cancelled + AFTER_CANCEL <= now => {
                // Some may have begun, or been found, since.
                self.cancel(|_| true);
                let seats: Vec<Seat> = self.workers.keys().copied().collect();
                for seat in seats {
                    self.lose(seat, Loss::new("did not end in time", false, false), now);
                }
            }
            Some(_) => {}
        }
        for worker in self.workers.values_mut() {
            match worker.phase == Phase::Ready && worker.held.is_empty() {
                true => drop(worker.idle_since.get_or_insert(now)),
                false => worker.idle_since = None,
            }
        }
        if self.processed == 0 {
            self.tell_at = self.tell_at.max(now + TELL / 10);
        } else if self.tell_at <= now || self.drained.is_some() {
            let text = format!("{} processed files", std::mem::take(&mut self.processed));
            self.tell_at = now + TELL;
            self.note(Level::Info, text);
        }
        self.tell_status();
    }

    /// Ends it: nothing more is given to workers, and they leave.
    pub fn drain(&mut self, now: Duration) {
        if self.drained.is_some() {
            return;
        }
        self.drained = Some((now.saturating_add(self.settings.grace), false));
        for job in std::mem::take(&mut self.queue).into_iter().rev() {
            self.report(Report::HandedBack(job.id));
        }
        self.cancel(|worker| worker.phase == Phase::Pending);
        let mut told = Vec::new();
        for (seat, worker) in &mut self.workers {
            if let Some(restart) = worker.restart {
                worker.phase = Phase::Leaving;
                told.push(WorkerName { seat: *seat, restart });
            }
        }
        for name in told {
            self.tell(name, Order::Leave);
        }
    }

    /// Leaves at once: all files that workers have, and whether they were begun.
    pub fn abandon(&mut self) -> Vec<(Job, bool)> {
        let held = self.workers.values_mut().flat_map(|w| {
            (w.begun, w.void) = (0, 0);
            std::mem::take(&mut w.held).into_values()
        });
        held.filter(|h| !h.void).map(|h| (h.job, h.begun.is_some())).collect()
    }

    fn tell(&mut self, name: WorkerName, order: Order) {
        self.actions.push(Action::Tell(name, order));
    }

    fn report(&mut self, report: Report) {
        self.actions.push(Action::Report(report));
    }

    fn note(&mut self, level: Level, text: String) {
        self.actions.push(Action::Note(level, text));
    }
}

#[cfg(test)]
mod tests;
