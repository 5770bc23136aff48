//! The coordinator's core: which worker has which files, what the end of a
//! worker means for them, and when to ask Slurm for more.
//!
//! It is pure: what workers and Slurm say comes in with the time, and
//! [`Action`]s go out. So a simulated cluster drives it as a real one does.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::time::Duration;

use super::autoscale::{Autoscaler, Decision, Limits, View, Why};
use super::job::{JobId, JobStatus, State};
use super::pace::{Meter, Pace};
use super::protocol::{Assignment, Ended, Hello, Order, Saying, Seat, WorkerName};
use crate::engine::SetupError;
use crate::executor::gate::Rate;
use crate::executor::{self, Job, Origin, Report};
use crate::outcome::Outcome;
use crate::text::count;
use crate::workspace::catalog::FileId;
use crate::workspace::progress_file::InFlight;

/// For how long a worker is given files ahead: longer than it takes until it
/// sees what was written for it, on a network file system too.
const LOOKAHEAD: Duration = Duration::from_secs(2);

/// Most files that a worker is given ahead.
const MOST_AHEAD: usize = 8_192;

/// How long a worker's last words may be on their way when Slurm says that its
/// job is over.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long a job may be unknown to Slurm, and its worker silent, before it is
/// given up. Right after its submission a job may be unknown for moments.
const UNKNOWN: Duration = Duration::from_secs(60);

/// How long a worker may be silent while Slurm says that it runs. It says
/// something every few seconds; a file server that hangs may hold that up.
const SILENCE: Duration = Duration::from_secs(10 * 60);

/// How long a worker that was given up is listened to.
const GHOST: Duration = Duration::from_secs(15 * 60);

/// How many workers in a row may fail to start, or in `setup`, before the run
/// gives up. More than one, as a node may be at fault.
const START_TRIES: u32 = 3;

/// How many workers in a row may fail on a node before it is excluded.
const NODE_TRIES: u32 = 2;

/// How many submissions in a row Slurm may refuse.
const REFUSALS: u32 = 3;

/// A worker that said nothing for so long may be dead: Slurm is asked. It says
/// something every 5 seconds.
const QUIET: Duration = Duration::from_secs(12);

/// How many jobs are remembered that were made.
const JOBS_KEPT: usize = 1_000;

/// The first pause after trouble, which doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause after trouble.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Most workers of one submission.
const ARRAY: usize = 500;

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

/// How far a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Slurm was asked for it.
    Asked,
    /// It waits in Slurm's queue.
    Pending,
    /// It runs, and sets its task up.
    Starting,
    /// It takes files.
    Ready,
    /// It takes no more files.
    Leaving,
}

struct Worker {
    job: Option<JobId>,
    phase: Phase,
    /// Which process in the seat it is, once that has introduced itself.
    restart: Option<u32>,
    introduced: Duration,
    hello: Hello,
    held: BTreeMap<u32, Held>,
    begun: usize,
    next: u32,
    done: u64,
    meter: Meter,
    heard: Duration,
    idle_since: Option<Duration>,
    stay: bool,
    /// Files that it was asked to give back.
    asked_back: usize,
    state: State,
    reason: String,
    /// When its job began to run, in Slurm's own words.
    start: String,
    time_left: Option<(Duration, Duration)>,
    unknown_since: Option<Duration>,
    over: Option<(Duration, State)>,
    /// Whether this run cancelled it.
    cancelled: bool,
    in_flight: Vec<InFlight>,
}

/// A worker that was given up.
struct Ghost {
    /// What it may still publish.
    files: HashMap<u32, FileId>,
    since: Duration,
}

struct Held {
    job: Job,
    alone: bool,
    begun: Option<Duration>,
    /// Its outcome is known from another worker.
    void: bool,
}

/// What `status` shows of a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerView {
    /// Its name.
    pub seat: Seat,
    /// Its job.
    pub job: Option<JobId>,
    /// Its node, once it runs.
    pub node: String,
    /// How far it is.
    pub phase: Phase,
    /// Slurm's word for its job, and its reason.
    pub state: State,
    /// Why it waits, as Slurm says.
    pub reason: String,
    /// Files that it has ended.
    pub done: u64,
    /// Files that it works on, and that wait with it.
    pub running: usize,
    /// See `running`.
    pub waiting: usize,
    /// Since when it has nothing to do.
    pub idle_since: Option<Duration>,
    /// How much of its wall time is left.
    pub time_left: Option<Duration>,
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
    unreachable: bool,
    why: Why,
    trouble: String,
    /// When the grace ends, and whether all was cancelled then.
    drained: Option<(Duration, bool)>,
    status: String,
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
            unreachable: false,
            why: Why::Enough,
            trouble: String::new(),
            drained: None,
            status: INACTIVE.into(),
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

    /// Whether some seats wait for a worker to introduce itself.
    pub fn expects(&self) -> bool {
        self.workers.values().any(|w| w.restart.is_none()) || self.submitting.is_some()
    }

    /// Whether there is any job left.
    pub fn is_gone(&self) -> bool {
        self.workers.is_empty() && self.submitting.is_none()
    }

    /// Jobs to ask Slurm about.
    pub fn jobs(&self) -> Vec<u64> {
        let mut jobs: Vec<u64> = self.workers.values().filter_map(|w| Some(w.job?.base)).collect();
        jobs.dedup();
        jobs
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
            Saying::Leaving(why) => {
                worker.phase = Phase::Leaving;
                let shown = worker.shown(name.seat);
                self.note(Level::Info, format!("{shown} leaves: {why}"));
            }
            Saying::Bye => self.bye(name),
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
        let known = hello.plan == self.settings.plan && self.drained.is_none();
        let worker = self
            .workers
            .entry(name.seat)
            .or_insert_with(|| Worker::new(hello.job, Phase::Pending, now));
        worker.job = worker.job.or(hello.job);
        worker.phase = if known { Phase::Starting } else { Phase::Leaving };
        worker.restart = Some(name.restart);
        worker.state = State::Running;
        (worker.introduced, worker.heard) = (now, now);
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

    fn setup_failed(&mut self, name: WorkerName, error: SetupError, now: Duration) {
        let Some(worker) = self.workers.get_mut(&name.seat) else { return };
        worker.phase = Phase::Leaving;
        let shown = worker.shown(name.seat);
        let node = worker.hello.node.clone();
        self.blame_node(&node);
        self.start_failures += 1;
        if self.start_failures >= START_TRIES {
            return self.report(Report::SetupFailed(error));
        }
        let message = match &error {
            SetupError::Task(f) => format!("{}: {}", f.exception_type, f.message),
            SetupError::Host(reason) => reason.clone(),
        };
        let again = format!("{shown}: Task setup failed: {message}; another worker will try");
        self.note(Level::Warning, again);
        self.pause(now, &format!("`setup` failed on {node}"));
    }

    fn host_failed(&mut self, name: WorkerName, reason: &str, now: Duration) {
        let Some(worker) = self.workers.get_mut(&name.seat) else { return };
        worker.phase = Phase::Leaving;
        let shown = worker.shown(name.seat);
        let node = worker.hello.node.clone();
        self.blame_node(&node);
        self.start_failures += 1;
        let reason = format!("{shown}: {reason}");
        if self.start_failures >= START_TRIES {
            return self.report(Report::HostFailed(reason));
        }
        self.note(Level::Error, reason);
        self.pause(now, &format!("a worker failed on {node}"));
    }

    fn ended(&mut self, name: WorkerName, ended: Ended, now: Duration) {
        let Some(worker) = self.workers.get_mut(&name.seat) else { return };
        let Some(held) = worker.held.remove(&ended.seq) else { return };
        worker.begun -= usize::from(held.begun.is_some());
        worker.done += 1;
        worker.meter.count(now);
        self.nodes.remove(&worker.hello.node);
        (self.troubles, self.start_failures) = (0, 0);
        if held.void {
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
        let Some(held) = worker.held.remove(&seq) else { return };
        worker.begun -= usize::from(held.begun.is_some());
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
            let mut held = self.workers.values_mut().flat_map(|w| w.held.values_mut());
            let Some(held) = held.find(|held| held.job.id == id && !held.void) else { return };
            held.void = true;
        }
        let Ended { outcome, attempt, duration, slot, .. } = ended;
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

    fn bye(&mut self, name: WorkerName) {
        let Some(worker) = self.workers.get(&name.seat) else { return };
        let done = worker.done;
        let shown = worker.shown(name.seat);
        // What it was given after it had looked for the last time.
        let held: Vec<u32> = worker.held.keys().rev().copied().collect();
        for seq in held {
            self.hand_back(name.seat, seq);
        }
        self.workers.remove(&name.seat);
        let how = format!("left after {}", count(done as usize, "file"));
        self.note(Level::Info, format!("{shown} {how}"));
        self.gone(Some(name), name.seat, how, false, false);
    }

    /// Slurm has taken a submission, or not.
    pub fn submitted(&mut self, submission: u32, result: Result<u64, Trouble>, now: Duration) {
        let Some((current, workers)) = self.submitting.take() else { return };
        debug_assert_eq!(current, submission);
        let seats = (0..workers as u32).map(|index| Seat { submission, index });
        match result {
            Ok(base) => {
                self.refusals = 0;
                self.note_job(base);
                self.reachable();
                for seat in seats {
                    let index = (workers > 1).then_some(seat.index);
                    let job = JobId { base, index };
                    // It may have introduced itself, and even left, before.
                    if let Some(worker) = self.workers.get_mut(&seat) {
                        worker.job = Some(job);
                        if worker.phase == Phase::Asked {
                            worker.phase = Phase::Pending;
                        }
                    }
                }
                let what = count(workers, "worker");
                self.note(Level::Info, format!("Submitted {what} with Slurm job ID {base}"));
                if self.drained.is_some() {
                    self.cancel(|w| w.phase == Phase::Pending);
                }
            }
            Err(trouble) => {
                for seat in seats {
                    self.workers.remove(&seat);
                    self.gone(None, seat, "was not submitted".into(), false, false);
                }
                self.in_trouble(trouble, workers, now);
            }
        }
        self.tell_status();
    }

    fn in_trouble(&mut self, trouble: Trouble, workers: usize, now: Duration) {
        match trouble {
            Trouble::Unreachable(message) => {
                self.not_reached(&message);
                self.pause(now, &message);
            }
            Trouble::Busy(message) => {
                // An array is taken as a whole or not at all.
                self.array = (self.array.min(workers) / 2).max(1);
                self.pause(now, &message);
                self.note(Level::Warning, format!("Slurm takes no more workers now: {message}"));
            }
            Trouble::Refused(message) => {
                self.refusals += 1;
                self.pause(now, &message);
                let text = format!("Slurm refused a worker: {message}");
                if self.refusals >= REFUSALS && self.workers.is_empty() {
                    return self.report(Report::HostFailed(text));
                }
                self.note(Level::Warning, text);
            }
        }
    }

    fn not_reached(&mut self, message: &str) {
        if !std::mem::replace(&mut self.unreachable, true) {
            let text = format!("Slurm does not answer, waiting for it: {message}");
            self.note(Level::Warning, text);
        }
    }

    fn reachable(&mut self) {
        if std::mem::replace(&mut self.unreachable, false) {
            self.note(Level::Info, "Slurm answers again".into());
        }
    }

    fn note_job(&mut self, base: u64) {
        self.made.push_back(base);
        if self.made.len() > JOBS_KEPT {
            self.made.pop_front();
        }
    }

    /// Jobs that were made, the latest ones: what Slurm may still be busy with.
    pub fn made(&self) -> Vec<u64> {
        self.made.iter().copied().collect()
    }

    /// Slurm has no arrays here: the submission is made again, a worker at a
    /// time.
    pub fn submit_singly(&mut self) {
        self.array = 1;
        let Some((submission, workers)) = self.submitting.take() else { return };
        for index in 0..workers as u32 {
            let seat = Seat { submission, index };
            self.workers.remove(&seat);
            self.gone(None, seat, "was not submitted".into(), false, false);
        }
    }

    /// Submissions of a coordinator that died of which nobody knows whether Slurm
    /// took them.
    pub fn lost_submissions(&self) -> Vec<u32> {
        let current = self.submitting.map(|(submission, _)| submission);
        let asked = self.workers.iter().filter(|(_, w)| w.phase == Phase::Asked);
        let mut lost: Vec<u32> = asked.map(|(seat, _)| seat.submission).collect();
        lost.dedup();
        lost.retain(|submission| Some(*submission) != current);
        lost
    }

    /// Whether a worker has, or waits for, this seat.
    pub fn has_seat(&self, seat: Seat) -> bool {
        self.workers.contains_key(&seat)
    }

    /// Whether something is expected of Slurm: the start of a job or its end.
    pub fn awaits_slurm(&self, now: Duration) -> bool {
        self.drained.is_some()
            || self.workers.values().any(|w| {
                let age = now.saturating_sub(w.heard);
                match w.restart {
                    None => age < UNKNOWN,
                    Some(_) => age > QUIET && age < UNKNOWN,
                }
            })
    }

    /// Slurm could not be asked.
    pub fn queue_failed(&mut self, message: &str, now: Duration) {
        self.not_reached(message);
        // Nobody knows what became of jobs meanwhile, so no time counts.
        for worker in self.workers.values_mut() {
            worker.unknown_since = worker.unknown_since.map(|_| now);
        }
    }

    /// Slurm's queue, all that it knows of [`jobs`](Self::jobs). `asked`: when the
    /// question was put.
    pub fn queue(&mut self, queue: &[JobStatus], asked: Duration, now: Duration) {
        self.reachable();
        let states: HashMap<JobId, &JobStatus> = queue.iter().map(|s| (s.id, s)).collect();
        let seats: Vec<(Seat, JobId)> =
            self.workers.iter().filter_map(|(seat, w)| Some((*seat, w.job?))).collect();
        for (seat, job) in seats {
            // A single job's number has no index, and one element's may.
            let status = states.get(&job).copied();
            self.job_status(seat, status, asked, now);
        }
        self.tell_status();
    }

    /// The job of a submission whose answer was lost is found, or was never
    /// made.
    pub fn found(&mut self, submission: u32, base: Option<u64>, now: Duration) {
        let current = self.submitting.map(|(submission, _)| submission);
        if Some(submission) == current {
            return;
        }
        let of = |seat: &Seat| seat.submission == submission;
        let workers = self.workers.keys().filter(|seat| of(seat)).count();
        for (seat, worker) in self.workers.iter_mut().filter(|(seat, _)| of(seat)) {
            if let Some(base) = base
                && worker.job.is_none()
            {
                worker.job = Some(JobId { base, index: (workers > 1).then_some(seat.index) });
                worker.phase = Phase::Pending;
            }
        }
        let never: Vec<Seat> = self
            .workers
            .iter()
            .filter(|(seat, w)| {
                of(seat) && w.phase == Phase::Asked && now.saturating_sub(w.heard) > LAST_WORDS
            })
            .map(|(seat, _)| *seat)
            .collect();
        for seat in never {
            self.workers.remove(&seat);
            self.gone(None, seat, "was not submitted".into(), false, false);
        }
    }

    fn job_status(
        &mut self,
        seat: Seat,
        status: Option<&JobStatus>,
        asked: Duration,
        now: Duration,
    ) {
        let Some(worker) = self.workers.get_mut(&seat) else { return };
        let Some(status) = status else {
            worker.unknown_since.get_or_insert(now);
            return;
        };
        worker.unknown_since = None;
        worker.reason.clone_from(&status.reason);
        worker.time_left = status.time_left.map(|left| (now, left));
        // It was asked before this worker said hello: that is news enough.
        let outdated = worker.restart.is_some() && worker.introduced >= asked;
        if outdated && !status.state.is_over() {
            return;
        }
        let state = std::mem::replace(&mut worker.state, status.state.clone());
        if status.state.is_over() {
            if worker.over.is_none() {
                worker.over = Some((now, status.state.clone()));
            }
            return;
        }
        worker.over = None;
        let runs = status.state.is_running();
        let restarted = runs && !worker.start.is_empty() && worker.start != status.start;
        if runs {
            worker.start.clone_from(&status.start);
        }
        if worker.restart.is_some()
            && (status.state.is_waiting() || (restarted && state.is_running()))
        {
            self.lose(seat, Loss::requeued(), now);
        }
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

    /// Gives up the workers that are gone.
    fn check(&mut self, now: Duration) {
        self.ghosts.retain(|_, ghost| now.saturating_sub(ghost.since) < GHOST);

        let mut lost = Vec::new();
        for (seat, worker) in &self.workers {
            let silent = now.saturating_sub(worker.heard);
            let unknown =
                worker.unknown_since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
            if let Some((since, state)) = &worker.over {
                let words = worker.restart.is_some() && !worker.held.is_empty();
                if !words || now.saturating_sub(*since) >= LAST_WORDS {
                    lost.push((*seat, Loss::of(state, worker.cancelled)));
                }
            } else if unknown >= UNKNOWN && silent >= UNKNOWN {
                // An element of an array that is cancelled before it runs leaves no
                // trace.
                let (why, blames_files) = match worker.restart {
                    Some(_) => ("is unknown to Slurm, and says nothing", true),
                    None => ("is unknown to Slurm: it was cancelled, say", false),
                };
                lost.push((*seat, Loss::new(why, blames_files, false)));
            } else if worker.restart.is_some() && silent >= SILENCE && !self.unreachable {
                self.actions.extend(worker.job.map(|job| Action::Cancel(vec![job])));
                let why = format!("said nothing for {}", humantime::format_duration(SILENCE));
                lost.push((*seat, Loss::new(&why, false, true)));
            }
        }
        for (seat, loss) in lost {
            self.lose(seat, loss, now);
        }
    }

    /// A worker is gone, or believed to be: its files go elsewhere.
    fn lose(&mut self, seat: Seat, loss: Loss, now: Duration) {
        let Some(mut worker) = self.workers.remove(&seat) else { return };
        let name = worker.restart.map(|restart| WorkerName { seat, restart });
        let shown = worker.shown(seat);
        let node = worker.hello.node.clone();
        let origin = name.map(|name| worker.origin(name)).unwrap_or_default();
        let why = format!("{shown} {}", loss.why);
        let mut ghost = HashMap::new();
        let (mut again, mut unbegun) = (0, 0);
        // What is handed back last is handed out first.
        while let Some((seq, held)) = worker.held.pop_last() {
            if held.void {
                continue;
            }
            let id = held.job.id;
            ghost.insert(seq, id);
            self.contested.insert(id);
            let Some(since) = held.begun else {
                unbegun += 1;
                self.report(Report::HandedBack(id));
                continue;
            };
            let duration = now.saturating_sub(since);
            if held.alone && loss.blames_files {
                self.contested.remove(&id);
                let (job, why, origin) = (held.job, loss.why.clone(), origin.clone());
                self.actions.push(Action::Convict { job, why, duration, origin });
                continue;
            }
            again += 1;
            let explained = !loss.blames_files;
            self.report(Report::Ended(executor::Ended {
                id,
                outcome: Outcome::Interrupted { why: why.clone(), explained },
                attempt: held.job.attempts_before + 1,
                duration,
                slot: 0,
                origin: Some(origin.clone()),
            }));
        }
        if let Some(name) = name
            && !ghost.is_empty()
        {
            self.ghosts.insert(name, Ghost { files: ghost, since: now });
            // It may live on where Slurm sees it no more.
            self.tell(name, Order::Dismissed);
        }
        let files = match (again, unbegun) {
            (0, 0) => String::new(),
            (n, 0) => format!("; {} in flight will run again", count(n, "file")),
            (n, m) => {
                format!(
                    "; {} in flight will run again, {m} not begun go elsewhere",
                    count(n, "file")
                )
            }
        };
        let died_early = worker.restart.is_none() || worker.phase == Phase::Starting;
        let unasked = !loss.requeued && !worker.cancelled && self.drained.is_none();
        if !worker.cancelled {
            let level = if loss.requeued { Level::Warning } else { Level::Error };
            self.note(level, format!("{why}{files}"));
        }
        let tell_log = unasked && (loss.blames_files || died_early);
        self.gone(name, seat, loss.why.clone(), loss.requeued, tell_log);
        if loss.requeued {
            let mut next = Worker::new(worker.job, Phase::Pending, now);
            next.start = worker.start;
            next.state = worker.state;
            self.workers.insert(seat, next);
            return;
        }
        if !unasked {
            return;
        }
        if loss.blames_node {
            self.blame_node(&node);
        }
        if worker.done == 0 {
            self.pause(now, &why);
        }
        if died_early && loss.blames_files {
            self.start_failures += 1;
            if self.start_failures >= START_TRIES {
                let failures = self.start_failures;
                self.report(Report::SetupFailed(SetupError::Host(format!(
                    "{failures} workers in a row ended before they could take a file; the last one: \
                     {why} (do the compute nodes see the output directory and tigerflow-host itself? \
                     does `setup` need more than --memory?)"
                ))));
            }
        }
    }

    fn gone(
        &mut self,
        worker: Option<WorkerName>,
        seat: Seat,
        how: String,
        requeued: bool,
        tell_log: bool,
    ) {
        self.actions.push(Action::Gone { worker, seat, how, requeued, tell_log });
    }

    fn blame_node(&mut self, node: &str) {
        if node.is_empty() {
            return;
        }
        let failures = self.nodes.entry(node.into()).or_default();
        *failures += 1;
        if *failures == NODE_TRIES && !self.excluded.iter().any(|n| n == node) {
            self.excluded.push(node.into());
            let text = format!(
                "Node {node} is excluded from now on: {NODE_TRIES} workers in a row failed there"
            );
            self.note(Level::Warning, text);
        }
    }

    fn pause(&mut self, now: Duration, why: &str) {
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.troubles.min(20));
        self.troubles += 1;
        self.not_before = self.not_before.max(now + pause.min(LONGEST_PAUSE));
        self.trouble = why.into();
    }

    fn scale(&mut self, now: Duration) {
        let mut view = View::default();
        for worker in self.workers.values() {
            match worker.phase {
                Phase::Asked | Phase::Pending => view.pending += 1,
                Phase::Starting | Phase::Ready if worker.over.is_none() => view.running += 1,
                _ => view.leaving += 1,
            }
            if worker.phase != Phase::Leaving {
                view.backlog += worker.held.len();
            }
        }
        view.backlog += self.queue.len() + self.waiting;
        view.held_back = self.submitting.is_some() || now < self.not_before;
        match self.autoscaler.decide(view, now) {
            Decision::Submit(workers) => {
                let workers = workers.min(self.array);
                self.why = Why::Enough;
                self.submissions += 1;
                let submission = self.submissions;
                for index in 0..workers as u32 {
                    let seat = Seat { submission, index };
                    self.workers.insert(seat, Worker::new(None, Phase::Asked, now));
                }
                self.submitting = Some((submission, workers));
                let exclude = self.excluded.clone();
                self.actions.push(Action::Submit { submission, workers, exclude });
            }
            Decision::CancelPending(surplus) => {
                self.why = Why::Enough;
                let mut left = surplus;
                // The last ones first: the others have waited longer.
                let seats: Vec<Seat> = self.workers.keys().rev().copied().collect();
                let mut chosen = HashSet::new();
                for seat in seats {
                    let worker = &self.workers[&seat];
                    if left > 0 && worker.phase == Phase::Pending && !worker.cancelled {
                        chosen.insert(worker.job);
                        left -= 1;
                    }
                }
                self.cancel(|worker| chosen.contains(&worker.job));
            }
            Decision::Stay(why) => self.why = why,
        }
    }

    fn cancel(&mut self, mut which: impl FnMut(&Worker) -> bool) {
        let mut jobs = Vec::new();
        let mut never = Vec::new();
        for (seat, worker) in &mut self.workers {
            if let Some(job) = worker.job
                && !worker.cancelled
                && which(worker)
            {
                worker.cancelled = true;
                jobs.push(job);
                // Slurm forgets elements of an array that never ran: nothing
                // more will be heard of it.
                if worker.phase == Phase::Pending {
                    self.cancelled.insert(job);
                    never.push(*seat);
                }
            }
        }
        for seat in never {
            // Should it have begun all the same, it introduces itself and is
            // told to leave.
            self.workers.remove(&seat);
            self.gone(None, seat, "was cancelled before it began".into(), false, false);
        }
        if !jobs.is_empty() {
            self.actions.push(Action::Cancel(jobs));
        }
    }

    /// Gives files to workers that have room.
    fn hand_out(&mut self, now: Duration) {
        let mut allowed = self.pace.as_mut().map_or(usize::MAX, |pace| pace.allowed(now));
        // The hungriest first.
        let mut hungry: Vec<(usize, Seat, usize)> = Vec::new();
        for (seat, worker) in &mut self.workers {
            let room = worker.room(self.settings.concurrency, self.pace.is_some(), now);
            if room > 0 {
                hungry.push((worker.held.len(), *seat, room));
            }
        }
        hungry.sort_unstable();
        let mut takers = hungry.len();
        for (held, seat, room) in hungry {
            let share = self.queue.len().div_ceil(takers);
            takers -= 1;
            let free = self.settings.concurrency.saturating_sub(held);
            let files = room.min(share.max(free)).min(allowed).min(self.queue.len());
            if files == 0 {
                continue;
            }
            let Some(worker) = self.workers.get_mut(&seat) else { continue };
            let Some(restart) = worker.restart else { continue };
            let mut batch = Vec::with_capacity(files);
            for job in self.queue.drain(..files) {
                let assignment = Assignment {
                    seq: worker.next,
                    name: (&*job.name).into(),
                    attempts_before: job.attempts_before,
                    retries: job.retries,
                    interruptions: job.interruptions,
                    link: job.link,
                    alone: job.interruptions > 0,
                    contested: self.contested.contains(&job.id),
                };
                worker.next += 1;
                let alone = assignment.alone;
                worker.held.insert(assignment.seq, Held { job, alone, begun: None, void: false });
                batch.push(assignment);
                if alone {
                    // Whoever has one gets no more until it has ended.
                    break;
                }
            }
            allowed = allowed.saturating_sub(batch.len());
            if let Some(pace) = &mut self.pace {
                pace.take(batch.len());
            }
            self.tell(WorkerName { seat, restart }, Order::Take(batch));
        }
    }

    /// Where a worker has nothing to do, and another more than it works on, that
    /// one gives some back.
    fn even_out(&mut self) {
        if !self.queue.is_empty() || self.waiting > 0 {
            return;
        }
        let concurrency = self.settings.concurrency;
        let free: usize = self
            .workers
            .values()
            .filter(|w| w.phase == Phase::Ready)
            .map(|w| concurrency.saturating_sub(w.held.len()))
            .sum();
        let most = self
            .workers
            .iter_mut()
            .filter(|(_, w)| w.phase == Phase::Ready && w.asked_back == 0 && w.restart.is_some())
            .max_by_key(|(_, w)| w.held.len() - w.begun);
        if let Some((&seat, worker)) = most
            && free > 0
        {
            let spare = worker.held.len().saturating_sub(concurrency.max(worker.begun));
            // A fast worker is done with them before they are elsewhere.
            let slow = worker.meter.in_time(LOOKAHEAD / 4) < spare;
            let back = free.min(spare.div_ceil(2));
            if back > 0 && slow {
                worker.asked_back = back;
                let restart = worker.restart.unwrap_or_default();
                self.tell(WorkerName { seat, restart }, Order::HandBack(back));
            }
        }
    }

    /// Tells as many workers to stay as must.
    fn keep(&mut self) {
        let mut kept = 0;
        let mut orders = Vec::new();
        for (seat, worker) in &mut self.workers {
            let Some(restart) = worker.restart else { continue };
            if worker.phase == Phase::Leaving {
                continue;
            }
            let stay = kept < self.settings.limits.min;
            kept += 1;
            if std::mem::replace(&mut worker.stay, stay) != stay {
                orders.push((WorkerName { seat: *seat, restart }, Order::Stay(stay)));
            }
        }
        for (name, order) in orders {
            self.tell(name, order);
        }
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

    /// Leaves at once: all jobs to cancel, and all files that workers have.
    pub fn abandon(&mut self) -> (Vec<JobId>, Vec<(Job, bool)>) {
        let jobs = self.workers.values().filter_map(|w| w.job).collect();
        let held =
            self.workers.values_mut().flat_map(|w| std::mem::take(&mut w.held).into_values());
        let files = held.filter(|h| !h.void).map(|h| (h.job, h.begun.is_some())).collect();
        (jobs, files)
    }

    /// Attempts at work, by the workers' last words.
    pub fn at_work(&self) -> (usize, Vec<InFlight>) {
        let running = self.workers.values().map(|w| w.begun).sum();
        let oldest = self.workers.values().flat_map(|w| w.in_flight.iter().cloned()).collect();
        (running, oldest)
    }

    /// Every worker, for `status`.
    pub fn view(&self, now: Duration) -> Vec<WorkerView> {
        let view = |(seat, w): (&Seat, &Worker)| WorkerView {
            seat: *seat,
            job: w.job,
            node: w.hello.node.clone(),
            phase: w.phase,
            state: w.state.clone(),
            reason: w.reason.clone(),
            done: w.done,
            running: w.begun,
            waiting: w.held.len() - w.begun,
            idle_since: w.idle_since,
            time_left: w.time_left.map(|(at, left)| left.saturating_sub(now.saturating_sub(at))),
        };
        self.workers.iter().map(view).collect()
    }

    /// Why there are not more workers, in words.
    pub fn scaling(&self, now: Duration) -> String {
        if self.drained.is_some() {
            return "the run is ending".into();
        }
        if self.unreachable {
            return format!("Slurm does not answer: {}", self.trouble);
        }
        let max = self.settings.limits.max;
        match self.why {
            Why::Enough if self.workers.is_empty() => "nothing to do".into(),
            Why::Enough => "as many workers as the backlog asks for".into(),
            Why::AtMost => format!("--max-workers {max} is reached"),
            Why::AskedOften => "Slurm was asked often enough for now".into(),
            Why::HeldBack if self.submitting.is_some() => "waiting for sbatch".into(),
            Why::HeldBack => {
                let left = self.not_before.saturating_sub(now).as_secs();
                format!("pausing for {left} s after trouble: {}", self.trouble)
            }
        }
    }

    fn tell_status(&mut self) {
        let running =
            self.workers.values().filter(|w| w.restart.is_some() && w.over.is_none()).count();
        let pending = self.workers.values().find(|w| w.restart.is_none() && w.job.is_some());
        let status = match (running, pending) {
            (0, None) => INACTIVE.into(),
            (0, Some(worker)) => {
                let reason = if worker.reason.is_empty() { "None" } else { &worker.reason };
                format!("PENDING (Reason: {})", reason)
            }
            (n, _) => format!("ACTIVE ({n} workers)"),
        };
        if status != self.status {
            let before = std::mem::replace(&mut self.status, status);
            self.note(Level::Info, format!("Status changed: {before} -> {}", self.status));
        }
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

const INACTIVE: &str = "INACTIVE";

impl Worker {
    fn new(job: Option<JobId>, phase: Phase, now: Duration) -> Self {
        Worker {
            job,
            phase,
            restart: None,
            introduced: now,
            hello: Hello::default(),
            held: BTreeMap::new(),
            begun: 0,
            next: 0,
            done: 0,
            meter: Meter::default(),
            heard: now,
            idle_since: None,
            stay: false,
            asked_back: 0,
            state: State::Pending,
            reason: String::new(),
            start: String::new(),
            time_left: None,
            unknown_since: None,
            over: None,
            cancelled: false,
            in_flight: Vec::new(),
        }
    }

    /// How it is called in messages: with what an administrator asks for.
    fn shown(&self, seat: Seat) -> String {
        match (self.job, &*self.hello.node) {
            (None, _) => format!("Worker {seat}"),
            (Some(job), "") => format!("Worker {seat} (job {job})"),
            (Some(job), node) => format!("Worker {seat} (job {job} on {node})"),
        }
    }

    fn origin(&self, name: WorkerName) -> Origin {
        Origin {
            worker: name.to_string(),
            job: self.job.map(|job| job.to_string()).unwrap_or_default(),
            node: self.hello.node.clone(),
        }
    }

    /// How many files more it may be given.
    fn room(&mut self, concurrency: usize, paced: bool, now: Duration) -> usize {
        let takes = matches!(self.phase, Phase::Starting | Phase::Ready) && self.over.is_none();
        if !takes || self.restart.is_none() || self.held.values().any(|held| held.alone) {
            return 0;
        }
        let ahead = match self.phase {
            _ if paced => 0,
            // What comes after the first files is seen when they have ended.
            Phase::Starting => 0,
            _ => self.meter.expect(LOOKAHEAD, now).clamp(1, MOST_AHEAD),
        };
        // A paced file begins at once, or it is not given.
        let most = if paced && self.phase == Phase::Starting { 1 } else { concurrency + ahead };
        most.saturating_sub(self.held.len())
    }
}

/// How a worker was lost.
struct Loss {
    why: String,
    blames_files: bool,
    blames_node: bool,
    requeued: bool,
}

impl Loss {
    fn new(why: &str, blames_files: bool, blames_node: bool) -> Self {
        Loss { why: why.into(), blames_files, blames_node, requeued: false }
    }

    fn requeued() -> Self {
        Loss { requeued: true, ..Loss::new("was requeued by Slurm", false, false) }
    }

    fn of(state: &State, cancelled: bool) -> Self {
        let why = match cancelled {
            true => "was cancelled".into(),
            false => format!("ended as {state}: {}", state.meaning()),
        };
        let blames = !cancelled;
        Loss::new(&why, blames && state.blames_files(), blames && state.blames_node())
    }
}

#[cfg(test)]
mod tests;
