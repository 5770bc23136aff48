//! Slurm in virtual time: its jobs, what befalls them, and its commands.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::super::job::{JobId, JobStatus, State};
use super::super::super::protocol::{Seat, WorkerName};
use super::super::Trouble;
use super::worker::{Exit, Ground, MS, Process, S};

/// How long Slurm remembers a job that is over.
const REMEMBERED: Duration = Duration::from_secs(300);

pub const NODES: usize = 6;

/// What befalls a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes back into the queue.
    Requeued,
    /// The same, and its process lives on.
    RequeuedAlive,
    /// Its process dies.
    Preempted,
    Cancelled,
    TimedOut,
    OutOfMemory,
    Failed,
    NodeFail,
    /// It ends without a word.
    Completed,
    /// Its node is lost, and its process lives on.
    NodeFailAlive,
    /// Its process never starts.
    NotLaunched,
    /// Its process stands still.
    Hangs,
    /// It dies, and Slurm remembers nothing of it.
    Forgotten,
    /// Somebody cancels it while it waits.
    CancelledBefore,
    /// It is told to end, and its place is taken some time later.
    ToldAndPreempted,
    /// The same, and it goes back into the queue.
    ToldAndRequeued,
}

impl Fate {
    pub const ALL: [Fate; 16] = [
        Fate::Requeued,
        Fate::RequeuedAlive,
        Fate::Preempted,
        Fate::Cancelled,
        Fate::TimedOut,
        Fate::OutOfMemory,
        Fate::Failed,
        Fate::NodeFail,
        Fate::Completed,
        Fate::NodeFailAlive,
        Fate::NotLaunched,
        Fate::Hangs,
        Fate::Forgotten,
        Fate::CancelledBefore,
        Fate::ToldAndPreempted,
        Fate::ToldAndRequeued,
    ];

    fn state(self) -> Option<State> {
        Some(match self {
            Fate::Preempted | Fate::ToldAndPreempted => State::Preempted,
            Fate::Cancelled | Fate::CancelledBefore => State::Cancelled,
            Fate::TimedOut => State::Timeout,
            Fate::OutOfMemory => State::OutOfMemory,
            Fate::Failed | Fate::NotLaunched => State::Failed,
            Fate::NodeFail | Fate::NodeFailAlive => State::NodeFail,
            Fate::Completed => State::Completed,
            Fate::Requeued
            | Fate::RequeuedAlive
            | Fate::ToldAndRequeued
            | Fate::Hangs
            | Fate::Forgotten => return None,
        })
    }
}

/// How a cluster is.
#[derive(Clone, Debug)]
pub struct Weather {
    /// How many jobs run at once.
    pub capacity: usize,
    /// How long a job waits at least.
    pub wait: Duration,
    /// How long `setup` takes.
    pub setup: Duration,
    /// How many of a hundred jobs something befalls.
    pub trouble: u32,
    /// What that may be.
    pub fates: Vec<Fate>,
    /// Nodes on which `setup` fails.
    pub bad_nodes: Vec<usize>,
    /// When Slurm does not answer.
    pub outages: Vec<(Duration, Duration)>,
    /// Of a hundred submissions, how many are refused, find Slurm busy, and get no
    /// answer.
    pub refused: u32,
    pub busy: u32,
    pub unanswered: u32,
    /// Whether there are arrays.
    pub arrays: bool,
    /// When all trouble is over.
    pub calm: Duration,
}

pub struct SimJob {
    pub id: JobId,
    pub seat: Seat,
    pub state: State,
    restart: u32,
    started: u64,
    due: Duration,
    node: Option<usize>,
    exclude: Vec<String>,
    /// Its process starts then.
    launch: Option<Duration>,
    pub process: Option<WorkerName>,
    fate: Option<(Duration, Fate)>,
    over: Option<Duration>,
    /// The coordinator has cancelled it.
    pub unwanted: bool,
}

pub struct Cluster {
    pub weather: Weather,
    pub jobs: BTreeMap<JobId, SimJob>,
    pub processes: BTreeMap<WorkerName, Process>,
    plan: String,
    numbers: u64,
    /// Workers that ended before they took a file, or were not launched.
    pub early_ends: usize,
}

/// What `sbatch` comes back with.
pub enum Submitted {
    Job(u64),
    Failed(Trouble),
    NoArrays,
}

impl Cluster {
    pub fn new(weather: Weather, plan: &str) -> Self {
        Cluster {
            weather,
            jobs: BTreeMap::new(),
            processes: BTreeMap::new(),
            plan: plan.into(),
            numbers: 100,
            early_ends: 0,
        }
    }

    pub fn is_down(&self, now: Duration) -> bool {
        self.weather.outages.iter().any(|(from, to)| *from <= now && now < *to)
    }

    pub fn sbatch(
        &mut self,
        submission: u32,
        workers: usize,
        exclude: &[String],
        now: Duration,
        random: &mut fastrand::Rng,
    ) -> Submitted {
        let trouble = now < self.weather.calm;
        let meets = |random: &mut fastrand::Rng, chance| trouble && random.u32(0..100) < chance;
        let lost = || Submitted::Failed(Trouble::Unreachable("no answer".into()));
        if self.is_down(now) {
            return lost();
        }
        if workers > 1 && !self.weather.arrays {
            return Submitted::NoArrays;
        }
        if meets(random, self.weather.refused) || exclude.len() >= NODES {
            return Submitted::Failed(Trouble::Refused("no such node".into()));
        }
        if meets(random, self.weather.busy) {
            return Submitted::Failed(Trouble::Busy("full".into()));
        }
        let unanswered = meets(random, self.weather.unanswered);
        if unanswered && random.bool() {
            return lost();
        }
        self.numbers += 1;
        let base = self.numbers;
        for index in 0..workers as u32 {
            let id = JobId { base, index: (workers > 1).then_some(index) };
            let seat = Seat { submission, index };
            let due = now + self.weather.wait.mul_f64(1.0 + random.f64());
            let fate = meets(random, self.weather.trouble / 4)
                && self.weather.fates.contains(&Fate::CancelledBefore);
            self.jobs.insert(
                id,
                SimJob {
                    id,
                    seat,
                    state: State::Pending,
                    restart: 0,
                    started: 0,
                    due,
                    node: None,
                    exclude: exclude.to_vec(),
                    launch: None,
                    process: None,
                    fate: fate.then(|| (now + S * random.u32(0..10), Fate::CancelledBefore)),
                    over: None,
                    unwanted: false,
                },
            );
        }
        if unanswered { lost() } else { Submitted::Job(base) }
    }

    pub fn squeue(&self, which: impl Fn(&SimJob) -> bool) -> Vec<(JobStatus, u32)> {
        let status = |job: &SimJob| JobStatus {
            id: job.id,
            state: job.state.clone(),
            reason: String::new(),
            node: job.node.map(|node| format!("n{node}")).unwrap_or_default(),
            start: if job.started > 0 { format!("t{}", job.started) } else { String::new() },
            time_left: None,
            comment: String::new(),
        };
        let jobs = self.jobs.values().filter(|job| which(job));
        jobs.map(|job| (status(job), job.seat.submission)).collect()
    }

    pub fn scancel(&mut self, ids: &[JobId], now: Duration, ground: &mut Ground) {
        let of = |job: &SimJob| {
            ids.iter().any(|id| id.base == job.id.base && (id.index.is_none() || *id == job.id))
        };
        let jobs: Vec<JobId> = self.jobs.values().filter(|j| of(j)).map(|job| job.id).collect();
        for id in jobs {
            self.end(id, State::Cancelled, true, now, ground);
        }
    }

    /// A job is over.
    fn end(&mut self, id: JobId, state: State, kills: bool, now: Duration, ground: &mut Ground) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.over.is_some() {
            return;
        }
        (job.state, job.over, job.fate) = (state, Some(now), None);
        let never_ran = job.started == 0;
        let launching = job.launch.take().is_some();
        let process = job.process.take();
        let fresh =
            process.and_then(|name| self.processes.get(&name)).is_some_and(|p| p.is_fresh());
        self.early_ends += usize::from(launching || fresh);
        if let Some(name) = process {
            self.leave_behind(name, kills, now, ground);
        }
        // Of elements that never ran, Slurm keeps nothing.
        if never_ran && id.index.is_some() {
            self.jobs.remove(&id);
        }
    }

    /// Whether this worker is what Slurm thinks that it is.
    pub fn is_well(&self, name: WorkerName) -> bool {
        self.processes.get(&name).is_some_and(|process| !process.hangs)
            && self.jobs.values().any(|job| job.process == Some(name))
    }

    /// A process that is its job's no more.
    fn leave_behind(&mut self, name: WorkerName, kills: bool, now: Duration, ground: &mut Ground) {
        let Some(process) = self.processes.get_mut(&name) else { return };
        process.cut_off(now, ground);
        if kills {
            self.processes.remove(&name);
        } else {
            process.muffled = S * ground.random.u32(0..40);
            process.advance(now, ground);
        }
    }

    pub fn next(&self, ground: &Ground) -> Duration {
        let mut next = Duration::MAX;
        let full = self.running() >= self.weather.capacity;
        for job in self.jobs.values().filter(|job| job.over.is_none()) {
            if job.state == State::Pending && !full {
                next = next.min(job.due);
            }
            next = next.min(job.launch.unwrap_or(Duration::MAX));
            next = next.min(job.fate.map_or(Duration::MAX, |(at, _)| at));
        }
        self.processes.values().map(|p| p.next(ground)).fold(next, Duration::min)
    }

    fn running(&self) -> usize {
        self.jobs.values().filter(|job| job.state == State::Running).count()
    }

    pub fn advance(&mut self, now: Duration, ground: &mut Ground) {
        let names: Vec<WorkerName> = self.processes.keys().copied().collect();
        for name in names {
            let Some(process) = self.processes.get_mut(&name) else { continue };
            process.advance(now, ground);
            let Some(exit) = process.over else { continue };
            let (fresh, told) = (process.is_fresh(), process.is_told());
            self.processes.remove(&name);
            let owner = self.jobs.values_mut().find(|job| job.process == Some(name));
            if let Some(job) = owner {
                job.process = None;
                let id = job.id;
                if told && let Some((_, fate)) = job.fate {
                    job.fate = Some((now, fate));
                    continue;
                }
                let oom = ground.random.bool();
                let state = match exit {
                    Exit::Left if fresh => State::Failed,
                    Exit::Left => State::Completed,
                    Exit::Killed if oom => State::OutOfMemory,
                    Exit::Killed => State::Failed,
                };
                self.early_ends += usize::from(fresh);
                self.end(id, state, true, now, ground);
            }
        }
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            self.befall(id, now, ground);
            self.start(id, now, ground);
        }
        self.jobs.retain(|_, job| job.over.is_none_or(|at| now - at < REMEMBERED));
    }

    fn befall(&mut self, id: JobId, now: Duration, ground: &mut Ground) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some((at, fate)) = job.fate else { return };
        if at > now || job.over.is_some() {
            return;
        }
        job.fate = None;
        match fate {
            Fate::ToldAndPreempted | Fate::ToldAndRequeued => {
                let then =
                    if fate == Fate::ToldAndPreempted { Fate::Preempted } else { Fate::Requeued };
                job.fate = Some((now + 30 * S, then));
                if let Some(process) = job.process.and_then(|name| self.processes.get_mut(&name)) {
                    process.terminate(now, ground);
                }
            }
            Fate::Requeued | Fate::RequeuedAlive => {
                job.state = State::Pending;
                job.restart += 1;
                job.due = now + self.weather.wait.mul_f64(ground.random.f64());
                job.launch = None;
                if let Some(name) = job.process.take() {
                    self.leave_behind(name, fate == Fate::Requeued, now, ground);
                }
            }
            Fate::Hangs => {
                if let Some(process) = job.process.and_then(|name| self.processes.get_mut(&name)) {
                    process.hangs = true;
                    process.cut_off(now, ground);
                }
            }
            Fate::Forgotten => {
                self.end(id, State::Completed, true, now, ground);
                self.jobs.remove(&id);
            }
            Fate::CancelledBefore if job.state != State::Pending => {}
            // It has all of its time again: longer than between two looks at it.
            Fate::TimedOut if job.restart > 0 => {}
            other => {
                let alive = other == Fate::NodeFailAlive;
                self.end(id, other.state().unwrap_or(State::Failed), !alive, now, ground);
            }
        }
    }

    fn start(&mut self, id: JobId, now: Duration, ground: &mut Ground) {
        let room = self.running() < self.weather.capacity;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let random = &mut ground.random;
        if job.state == State::Pending && job.due <= now && room {
            self.numbers += 1;
            (job.state, job.started) = (State::Running, self.numbers);
            let free = |node: &usize| !job.exclude.contains(&format!("n{node}"));
            let nodes: Vec<usize> = (0..NODES).filter(free).collect();
            job.node = random.choice(nodes);
            job.launch = Some(now + MS * random.u32(10..1_000));
            let fates = &self.weather.fates;
            if now < self.weather.calm && random.u32(0..100) < self.weather.trouble {
                // Some at once, some late.
                let after = MS.mul_f64(10_f64.powf(random.f64() * 4.8));
                job.fate = random.choice(fates).map(|fate| (now + after, *fate));
            }
        }
        if job.launch.is_some_and(|at| at <= now) {
            job.launch = None;
            if let Some((_, Fate::NotLaunched)) = job.fate {
                self.early_ends += 1;
                return self.end(id, State::Failed, true, now, ground);
            }
            let node = job.node.unwrap_or_default();
            let works = !self.weather.bad_nodes.contains(&node);
            let setup = (now + self.weather.setup.mul_f64(0.5 + random.f64()), works);
            let name = WorkerName { seat: job.seat, restart: job.restart };
            job.process = Some(name);
            let process = Process::start(name, id, node, &self.plan, setup, now, ground);
            self.processes.insert(name, process);
        }
    }
}
