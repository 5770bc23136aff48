//! A run in virtual time: the fleet between the real scheduler, as
//! `run::dispatch` has it, and a cluster, as `SlurmExecutor` has it. What must
//! always hold is asserted at every step.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::super::super::autoscale::Limits;
use super::super::super::job::{JobId, JobStatus};
use super::super::super::protocol::{Assignment, Order, Saying, Seat, WorkerName};
use super::super::{AFTER_CANCEL, Action, Fleet, Settings, Trouble};
use super::cluster::{Cluster, Submitted, Weather};
use super::worker::{Channel, File, Ground, MS, S, Truth, failure};
use crate::executor::gate::Rate;
use crate::executor::{Ended, Job, Report};
use crate::outcome::{AttemptOutcome, Outcome};
use crate::schedule::{self, Ending, Event, Mode, Scheduler};
use crate::workspace::catalog::{Catalog, FileId, State};

pub const PLAN: &str = "plan";

/// What makes a world.
#[derive(Clone, Debug)]
pub struct Scene {
    pub seed: u64,
    pub files: Vec<File>,
    pub limits: Limits,
    pub concurrency: usize,
    pub rate: Option<Rate>,
    pub grace: Duration,
    pub window: usize,
    /// Longest time that words take between coordinator and workers.
    pub latency: Duration,
    pub weather: Weather,
    /// When the coordinator dies.
    pub deaths: Vec<Duration>,
    /// When the run is told to stop.
    pub stop: Option<Duration>,
}

#[derive(Clone, Copy, Default)]
struct Tries {
    retries: u32,
    interruptions: u32,
}

/// What is on its way between the coordinator and Slurm. Each carries which
/// coordinator asked.
enum Post {
    Sbatch { submission: u32, workers: usize, exclude: Vec<String> },
    Submitted { submission: u32, workers: usize, result: Submitted },
    Squeue { asked: Duration, jobs: Option<Vec<u64>> },
    Queue { asked: Duration, queue: Option<Vec<JobStatus>> },
    All(Option<HashMap<u32, u64>>),
    Scancel(Vec<JobId>),
    Uncancelled(Vec<JobId>),
}

pub struct World {
    pub scene: Scene,
    pub now: Duration,
    /// When the coordinator began.
    epoch: Duration,
    life: u32,
    pub fleet: Fleet,
    pub scheduler: Scheduler,
    catalog: Catalog,
    tries: HashMap<FileId, Tries>,
    /// What the executor has.
    given: BTreeSet<FileId>,
    /// Which worker has a file, as the fleet thinks.
    assigned: HashMap<FileId, (WorkerName, u32)>,
    reports: Vec<Report>,
    arrived: usize,
    pub cluster: Cluster,
    pub ground: Ground,
    post: Vec<(Duration, u32, Post)>,
    asking: bool,
    next_query: Duration,
    pause: Duration,
    past: HashSet<WorkerName>,
    links: BTreeMap<WorkerName, usize>,
    seats: BTreeMap<Seat, Option<JobId>>,
    submissions: u32,
    sizes: HashMap<u32, usize>,
    pub ending: Option<Ending>,
    stopped: Option<Duration>,
    /// How often each file's outcome was settled.
    settled: Vec<usize>,
    pub outcomes: Vec<Option<Outcome>>,
    pub convicted: Vec<usize>,
    pub submits: usize,
    pub takeovers: usize,
    pub lost: usize,
    /// What happened, kept where `FLEET_LOG` names a file for it.
    log: Vec<String>,
    logs: bool,
}

impl World {
    pub fn new(scene: Scene) -> Self {
        let count = scene.files.len();
        let mut catalog = Catalog::new();
        for index in 0..count {
            catalog.insert(format!("f{index}").as_ref()).unwrap();
        }
        World {
            now: Duration::ZERO,
            epoch: Duration::ZERO,
            life: 0,
            fleet: Fleet::new(settings(&scene), 0),
            scheduler: Scheduler::new(Mode::Once, scene.window, None),
            catalog,
            tries: HashMap::new(),
            given: BTreeSet::new(),
            assigned: HashMap::new(),
            reports: Vec::new(),
            arrived: 0,
            cluster: Cluster::new(scene.weather.clone(), PLAN),
            ground: Ground {
                files: scene.files.clone(),
                truth: vec![Truth::default(); count],
                begins: Vec::new(),
                channels: BTreeMap::new(),
                random: fastrand::Rng::with_seed(scene.seed),
                latency: scene.latency,
                concurrency: scene.concurrency,
            },
            post: Vec::new(),
            asking: false,
            next_query: Duration::ZERO,
            pause: MS,
            past: HashSet::new(),
            links: BTreeMap::new(),
            seats: BTreeMap::new(),
            submissions: 0,
            sizes: HashMap::new(),
            ending: None,
            stopped: None,
            settled: vec![0; count],
            outcomes: vec![None; count],
            convicted: vec![0; count],
            submits: 0,
            takeovers: 0,
            lost: 0,
            log: Vec::new(),
            logs: std::env::var_os("FLEET_LOG").is_some(),
            scene,
        }
    }

    /// The fleet's time.
    fn time(&self) -> Duration {
        self.now - self.epoch
    }

    fn tell(&mut self, text: String) {
        if self.logs {
            self.log.push(format!("{:9.3} {text}", self.now.as_secs_f64()));
        }
    }

    /// Lives on until the run has ended and no job is left, or until then.
    pub fn run(&mut self, limit: Duration) {
        while !self.is_over() {
            assert!(self.now < limit, "it takes too long: {}", self.state());
            self.turn();
        }
        // What is left of Slurm's commands is waited for.
        let until = self.now + 700 * S;
        while self.post.iter().any(|(_, life, _)| *life == self.life) && self.now < until {
            self.now = self.next().max(self.now + MS);
            self.cluster.advance(self.now, &mut self.ground);
            self.deliver();
        }
        let left: Vec<_> = self.cluster.jobs.values().filter(|j| !j.state.is_over()).collect();
        let left: Vec<_> = left.iter().map(|j| (j.id, &j.state)).collect();
        assert!(left.is_empty(), "jobs are left behind: {left:?}");
    }

    pub fn is_over(&self) -> bool {
        self.ending.is_some() && self.fleet.is_gone()
    }

    pub fn state(&self) -> String {
        format!(
            "at {:?}: held {}, waiting {}, given {:?}, arrived {}, ending {:?}, scaling {}, \
             jobs {:?}, workers {:#?}",
            self.now,
            self.scheduler.held(),
            self.scheduler.waiting(),
            self.given,
            self.arrived,
            self.scheduler.ending(),
            self.fleet.scaling(self.time()),
            self.cluster
                .jobs
                .values()
                .map(|job| (job.id, &job.state, job.process))
                .collect::<Vec<_>>(),
            self.fleet.view(self.time()),
        )
    }

    fn turn(&mut self) {
        self.now = self.next().max(self.now + MS);
        self.cluster.advance(self.now, &mut self.ground);
        self.deliver();
        if self.scene.deaths.first().is_some_and(|at| *at <= self.now) {
            self.scene.deaths.remove(0);
            self.take_over();
        }
        self.arrivals();
        if self.stopped.is_none() && self.scene.stop.is_some_and(|at| at <= self.now) {
            self.stopped = Some(self.now);
            self.step(Event::StopAsked(2));
        }
        if self.scheduler.next_retry().is_some_and(|due| due <= self.time()) {
            self.step(Event::Tick);
        }
        self.look();
        self.book();
        self.check();
    }

    fn next(&self) -> Duration {
        let mut next = self.now + self.pause;
        next = next.min(self.cluster.next(&self.ground));
        self.post.iter().map(|(at, ..)| *at).min().map_or(next, |at| next.min(at))
    }

    fn check(&self) {
        assert_eq!(self.scheduler.held(), self.given.len(), "{}", self.state());
        assert!(self.scheduler.held() <= self.scene.window);
        let alive = self.cluster.jobs.values().filter(|j| !j.state.is_over() && !j.unwanted);
        let alive: Vec<_> = alive.map(|job| (job.id, &job.state)).collect();
        assert!(alive.len() <= self.scene.limits.max, "too many jobs: {alive:?}, {}", self.state());
        if let Some(stopped) = self.stopped {
            let command = 61 * S;
            let bound = stopped + self.scene.grace + AFTER_CANCEL + command + 2 * S;
            assert!(self.now <= bound, "it does not end: {}", self.state());
        }
    }

    fn arrivals(&mut self) {
        let mut found = Vec::new();
        while self.scene.files.get(self.arrived).is_some_and(|file| file.comes <= self.now) {
            let id = FileId(self.arrived as u32);
            self.set_state(id, State::Waiting);
            found.push(id);
            self.arrived += 1;
        }
        if !found.is_empty() {
            self.step(Event::Found(found));
        }
    }

    fn set_state(&mut self, id: FileId, state: State) {
        let before = self.catalog.state(id);
        assert!(before.can_become(state), "{id:?} went from {before:?} to {state:?}");
        self.catalog.set_state(id, state);
    }

    fn step(&mut self, event: Event) {
        let unsettled = self.scene.files.len() - self.arrived;
        let mut handed_out = false;
        for action in self.scheduler.on(event, self.time(), unsettled) {
            match action {
                schedule::Action::HandOut(files) => {
                    for id in files {
                        let tries = self.tries.get(&id).copied().unwrap_or_default();
                        self.set_state(id, State::Running);
                        assert!(self.given.insert(id));
                        self.fleet.give(Job {
                            id,
                            name: self.catalog.name(id).to_owned(),
                            attempts_before: tries.retries,
                            retries: tries.retries,
                            interruptions: tries.interruptions,
                            link: false,
                            contested: false,
                        });
                    }
                    handed_out = true;
                }
                schedule::Action::Drain => {
                    self.stopped = self.stopped.or(Some(self.now));
                    self.fleet.drain(self.time());
                    self.act();
                }
                schedule::Action::End(ending) => self.ending = Some(ending),
                schedule::Action::Abandon(_) => unreachable!(),
            }
        }
        let waiting = self.scheduler.waiting();
        if handed_out || waiting > 0 {
            self.fleet.set_waiting(waiting);
        }
    }

    /// What `Dispatcher::reports` does.
    fn book(&mut self) {
        while !self.reports.is_empty() {
            for report in std::mem::take(&mut self.reports) {
                self.tell(format!("{report:?}"));
                let event = match report {
                    Report::SetupWorked => Event::SetupWorked,
                    Report::SetupFailed(_) => Event::SetupFailed,
                    Report::HandedBack(id) => {
                        self.returned(id);
                        self.set_state(id, State::Waiting);
                        Event::HandedBack(id)
                    }
                    Report::Ended(ended) => self.record(ended),
                    Report::TeardownFailed(_) => continue,
                    Report::HostFailed(_) => Event::HostFailed,
                };
                self.step(event);
            }
        }
    }

    fn returned(&mut self, id: FileId) {
        assert!(self.given.remove(&id), "{id:?} is reported, and was not given");
        self.assigned.remove(&id);
    }

    fn record(&mut self, ended: Ended) -> Event {
        let id = ended.id;
        self.returned(id);
        let index = id.0 as usize;
        let Some(short) = ended.outcome.in_short() else {
            self.set_state(id, State::New);
            self.tries.remove(&id);
            self.settle(index, ended.outcome);
            return Event::Ended { file: id, failed: false };
        };
        let event = match &ended.outcome {
            Outcome::Retrying(_, after) => Event::Retry(id, *after),
            Outcome::Interrupted { .. } => Event::HandedBack(id),
            other => Event::Ended { file: id, failed: matches!(other, Outcome::Failed(_)) },
        };
        match short {
            AttemptOutcome::Retrying => {
                let tries = self.tries.entry(id).or_default();
                *tries = Tries { retries: tries.retries + 1, interruptions: 0 };
            }
            AttemptOutcome::Interrupted => {
                if matches!(ended.outcome, Outcome::Interrupted { explained: false, .. }) {
                    self.tries.entry(id).or_default().interruptions += 1;
                }
            }
            _ => drop(self.tries.remove(&id)),
        }
        self.set_state(id, State::from(short));
        if ended.outcome.is_final() {
            self.settle(index, ended.outcome);
        }
        event
    }

    fn settle(&mut self, index: usize, outcome: Outcome) {
        self.settled[index] += 1;
        assert_eq!(self.settled[index], 1, "file {index} is settled again");
        let truth = &self.ground.truth[index];
        match &outcome {
            Outcome::Succeeded | Outcome::Stood => assert_eq!(truth.output, Some(true)),
            Outcome::Failed(_) | Outcome::Aborted(_) => assert!(truth.output.is_some()),
            _ => assert!(truth.vanished),
        }
        self.outcomes[index] = Some(outcome);
    }

    /// What `SlurmExecutor::look` does.
    fn look(&mut self) {
        let now = self.time();
        if self.fleet.expects() {
            self.find_workers();
        }
        let mut heard = false;
        let names: Vec<WorkerName> = self.links.keys().copied().collect();
        for name in names {
            while let Some(saying) = self.next_saying(name) {
                heard = true;
                self.heard(name, saying, now);
            }
        }
        self.fleet.tick(now);
        heard |= self.act();
        if self.next_query <= self.now && !self.asking {
            self.query();
        }
        let slowest = if self.cluster.processes.is_empty() { 1000 * MS } else { 250 * MS };
        self.pause = if heard { 10 * MS } else { (self.pause * 2).min(slowest) };
    }

    fn heard(&mut self, name: WorkerName, saying: Saying, now: Duration) {
        if !matches!(saying, Saying::Beat(_)) {
            self.tell(format!("{name} {saying:?}"));
        }
        self.fleet.heard(name, saying, now);
    }

    fn find_workers(&mut self) {
        for (name, channel) in &self.ground.channels {
            let begun = channel.sayings.first().is_some_and(|(at, _)| *at <= self.now);
            if begun && !self.past.contains(name) {
                self.links.entry(*name).or_insert(0);
            }
        }
    }

    fn next_saying(&mut self, name: WorkerName) -> Option<Saying> {
        let read = self.links.get_mut(&name)?;
        let (at, saying) = self.ground.channels.get(&name)?.sayings.get(*read)?;
        (*at <= self.now).then(|| {
            *read += 1;
            saying.clone()
        })
    }

    fn act(&mut self) -> bool {
        let mut any = false;
        loop {
            let actions = self.fleet.take_actions();
            if actions.is_empty() {
                break;
            }
            any = true;
            for action in actions {
                self.carry_out(action);
            }
        }
        if any {
            let (fleet, past, channels) = (&self.fleet, &mut self.past, &self.ground.channels);
            self.links.retain(|name, _| {
                let introduced = channels.get(name).is_some_and(|c| !c.sayings.is_empty());
                let stays = !introduced || fleet.listens_to(*name);
                if !stays {
                    past.insert(*name);
                }
                stays
            });
        }
        any
    }

    fn carry_out(&mut self, action: Action) {
        match &action {
            Action::Ended(..) | Action::Report(_) => {}
            other => self.tell(format!("{other:?}")),
        }
        match action {
            Action::Tell(name, order) => {
                if let Order::Take(batch) = &order {
                    self.check_batch(name, batch);
                }
                self.links.entry(name).or_insert(0);
                self.ground.order(name, order, self.now);
            }
            Action::Submit { submission, workers, exclude } => {
                self.submits += 1;
                let files = self.given.len() + self.scheduler.waiting();
                assert!(files > 0 || self.scene.limits.min > 0, "there is nothing to do");
                assert!(workers > 0 && !self.seats.keys().any(|s| s.submission == submission));
                for index in 0..workers as u32 {
                    self.seats.insert(Seat { submission, index }, None);
                }
                self.sizes.insert(submission, workers);
                self.submissions = self.submissions.max(submission);
                let post = Post::Sbatch { submission, workers, exclude };
                self.send(post, 10, 1_000);
            }
            Action::Cancel(jobs) => {
                for job in self.cluster.jobs.values_mut() {
                    let base = JobId { base: job.id.base, index: None };
                    job.unwanted |= jobs.contains(&job.id) || jobs.contains(&base);
                }
                self.send(Post::Scancel(jobs), 10, 500);
            }
            Action::Started(..) | Action::Note(..) | Action::Late(..) => {}
            Action::Gone { worker, seat, how, requeued, .. } => {
                let well = ["left after", "was cancelled"].iter().any(|text| how.starts_with(text));
                if worker.is_some() && !well {
                    self.lost += 1;
                }
                if !requeued {
                    self.seats.remove(&seat);
                }
                let reported: HashSet<FileId> = self.reports.iter().filter_map(reported).collect();
                for (id, (name, _)) in &self.assigned {
                    let gone = worker == Some(*name) && !reported.contains(id);
                    assert!(!gone, "{name} is gone, and has {id:?}");
                }
            }
            Action::Ended(_, ended) => self.reports.push(Report::Ended(ended)),
            Action::Report(report) => self.reports.push(report),
            Action::Convict { job, duration, origin, .. } => self.convict(&job, duration, origin),
        }
    }

    fn check_batch(&mut self, name: WorkerName, batch: &[Assignment]) {
        if !self.cluster.is_well(name) {
            for assignment in batch {
                self.ground.truth[Ground::index(&assignment.name)].losses += 1;
            }
        }
        let mine: Vec<u32> =
            self.assigned.values().filter(|(n, _)| *n == name).map(|(_, seq)| *seq).collect();
        let settled: HashSet<FileId> = self.reports.iter().filter_map(reported).collect();
        for (at, assignment) in batch.iter().enumerate() {
            let id = FileId(Ground::index(&assignment.name) as u32);
            assert!(self.given.contains(&id), "{id:?} was not given");
            let before = self.assigned.insert(id, (name, assignment.seq));
            assert!(before.is_none() || settled.contains(&id), "{id:?} is with {before:?}");
            assert!(mine.iter().all(|seq| *seq < assignment.seq));
            assert!(!assignment.alone || at + 1 == batch.len(), "more after one that runs alone");
            let interrupted = self.tries.get(&id).is_some_and(|t| t.interruptions > 0);
            assert_eq!(assignment.alone, interrupted);
        }
    }

    fn convict(&mut self, job: &Job, duration: Duration, origin: crate::executor::Origin) {
        let index = job.id.0 as usize;
        self.convicted[index] += 1;
        let truth = &mut self.ground.truth[index];
        let killer = self.ground.files[index].end == super::worker::End::Kill;
        assert!(
            killer || (truth.cut_off >= 2 && truth.cut_off_alone >= 1),
            "{job:?} is innocent: {truth:?}"
        );
        let outcome = if truth.output == Some(true) {
            Outcome::Stood
        } else {
            truth.output = Some(false);
            Outcome::Failed(failure("WorkerLost"))
        };
        let attempt = job.attempts_before + job.interruptions + 1;
        let (id, origin) = (job.id, Some(origin));
        let ended = Ended { id, outcome, attempt, duration, slot: 0, origin };
        self.reports.push(Report::Ended(ended));
    }

    fn send(&mut self, post: Post, from: u32, to: u32) {
        let at = self.now + MS * self.ground.random.u32(from..to);
        self.post.push((at, self.life, post));
    }

    fn query(&mut self) {
        let jobs = self.fleet.jobs();
        let soon = self.fleet.awaits_slurm(self.time());
        self.next_query = self.now + if soon { 2 * S } else { 30 * S };
        if !self.fleet.lost_submissions().is_empty() {
            let asked = self.time();
            self.send(Post::Squeue { asked, jobs: None }, 10, 500);
        }
        if jobs.is_empty() {
            return;
        }
        self.asking = true;
        let asked = self.time();
        self.send(Post::Squeue { asked, jobs: Some(jobs) }, 10, 500);
    }

    fn deliver(&mut self) {
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.post).into_iter().partition(|(at, ..)| *at <= now);
        self.post = later;
        for (_, life, post) in due {
            self.open(life, post);
        }
    }

    fn open(&mut self, life: u32, post: Post) {
        let now = self.now;
        let dead = life != self.life;
        let time = self.time();
        match post {
            Post::Sbatch { submission, workers, exclude } => {
                let random = &mut self.ground.random;
                let result = self.cluster.sbatch(submission, workers, &exclude, now, random);
                let slow = matches!(result, Submitted::Failed(Trouble::Unreachable(_)));
                // Some answers come late.
                let late =
                    if slow { 60_000 } else { [500, 20_000][usize::from(random.u8(..) < 20)] };
                if !dead {
                    self.send(Post::Submitted { submission, workers, result }, 10, late);
                }
                return;
            }
            Post::Squeue { asked, jobs } => {
                let up = !self.cluster.is_down(now);
                let answer = match jobs {
                    None => {
                        let all = self.cluster.squeue(|_| true);
                        let all = all.into_iter().map(|(status, sub)| (sub, status.id.base));
                        Post::All(up.then(|| all.collect()))
                    }
                    Some(jobs) => {
                        let queue = self.cluster.squeue(|job| jobs.contains(&job.id.base));
                        let queue = queue.into_iter().map(|(status, _)| status).collect();
                        Post::Queue { asked, queue: up.then_some(queue) }
                    }
                };
                if !dead {
                    let late = if up { 1_000 } else { 20_000 };
                    self.send(answer, 10, late);
                }
                return;
            }
            Post::Scancel(jobs) => {
                if self.cluster.is_down(now) {
                    if !dead {
                        self.send(Post::Uncancelled(jobs), 10, 20_000);
                    }
                } else {
                    self.cluster.scancel(&jobs, now, &mut self.ground);
                }
                return;
            }
            _ if dead => return,
            Post::Submitted { submission, workers, result } => match result {
                Submitted::NoArrays if workers > 1 => self.fleet.submit_singly(),
                Submitted::NoArrays => unreachable!(),
                Submitted::Job(base) => {
                    self.enter(submission, base);
                    self.fleet.submitted(submission, Ok(base), time);
                    self.next_query = self.next_query.min(now + S);
                }
                Submitted::Failed(trouble) => self.fleet.submitted(submission, Err(trouble), time),
            },
            Post::Queue { asked, queue } => {
                self.asking = false;
                match queue {
                    Some(queue) => self.fleet.queue(&queue, asked, time),
                    None => self.fleet.queue_failed("no answer", time),
                }
                if self.fleet.awaits_slurm(time) {
                    self.next_query = self.next_query.min(now + 2 * S);
                }
            }
            Post::All(Some(all)) => {
                for submission in self.fleet.lost_submissions() {
                    let base = all.get(&submission).copied();
                    if let Some(base) = base {
                        self.enter(submission, base);
                    }
                    self.fleet.found(submission, base, time);
                }
            }
            Post::All(None) => self.fleet.queue_failed("no answer", time),
            Post::Uncancelled(jobs) => {
                self.fleet.queue_failed("no answer", time);
                let at = now + 2 * S;
                self.post.push((at, self.life, Post::Scancel(jobs)));
            }
        }
        self.act();
    }

    fn enter(&mut self, submission: u32, base: u64) {
        let array = self.sizes[&submission] > 1;
        for (seat, job) in self.seats.iter_mut().filter(|(seat, _)| seat.submission == submission) {
            *job = Some(JobId { base, index: array.then_some(seat.index) });
        }
    }

    /// The coordinator dies, and another one goes on: what
    /// `SlurmExecutor::resume` and `Dispatcher::start` do.
    fn take_over(&mut self) {
        if self.stopped.is_some() {
            return;
        }
        self.tell("the coordinator dies".into());
        self.takeovers += 1;
        self.now += S;
        self.cluster.advance(self.now, &mut self.ground);
        (self.epoch, self.life) = (self.now, self.life + 1);
        self.tries.clear();
        self.given.clear();
        self.assigned.clear();
        self.reports.clear();
        self.links.clear();
        self.past.clear();
        (self.asking, self.next_query) = (false, self.now);
        self.scheduler = Scheduler::new(Mode::Once, self.scene.window, None);
        self.fleet = Fleet::new(settings(&self.scene), self.submissions);
        for (seat, job) in self.seats.clone() {
            self.fleet.take_over(seat, job, Duration::ZERO);
        }
        // What stands in the directories is the truth, as of the listing.
        self.catalog = Catalog::new();
        let mut ready = Vec::new();
        for index in 0..self.scene.files.len() {
            let (id, _) = self.catalog.insert(format!("f{index}").as_ref()).unwrap();
            let truth = &self.ground.truth[index];
            let state = match truth.output {
                _ if index >= self.arrived || truth.vanished => State::New,
                Some(true) => State::Succeeded,
                Some(false) => State::Failed,
                None => State::Waiting,
            };
            self.settled[index] = usize::from(truth.output.is_some() || truth.vanished);
            self.catalog.set_state(id, state);
            if state == State::Waiting {
                ready.push(id);
            }
        }
        let mut newest: BTreeMap<Seat, WorkerName> = BTreeMap::new();
        let names: Vec<WorkerName> = self.ground.channels.keys().copied().collect();
        for name in names {
            let said = |c: &Channel| c.sayings.first().is_some_and(|(at, _)| *at <= self.now);
            if !said(&self.ground.channels[&name]) {
                continue;
            }
            if !self.fleet.has_seat(name.seat) {
                self.past.insert(name);
            } else if let Some(older) = newest.insert(name.seat, name) {
                self.past.insert(older);
            }
        }
        let mut claimed = 0;
        for name in newest.into_values() {
            claimed += self.resume(name);
        }
        self.act();
        self.scheduler.adopt(claimed);
        ready.retain(|&id| self.catalog.state(id) == State::Waiting);
        self.step(Event::Found(ready));
    }

    fn resume(&mut self, name: WorkerName) -> usize {
        let mut assignments: BTreeMap<u32, Assignment> = BTreeMap::new();
        for (_, order) in &self.ground.channels[&name].orders {
            if let Order::Take(batch) = order {
                assignments.extend(batch.iter().map(|a| (a.seq, a.clone())));
            }
        }
        let next = assignments.last_key_value().map_or(0, |(seq, _)| seq + 1);
        self.links.insert(name, 0);
        let mut begun: HashSet<u32> = HashSet::new();
        let mut later = Vec::new();
        while let Some(saying) = self.next_saying(name) {
            match saying {
                Saying::Hello(hello) => {
                    self.fleet.heard(name, Saying::Hello(hello), Duration::ZERO);
                }
                Saying::Begun(seq) => drop(begun.insert(seq)),
                Saying::Ended(ended) => {
                    begun.remove(&ended.seq);
                    let Some(assignment) = assignments.remove(&ended.seq) else { continue };
                    let id = FileId(Ground::index(&assignment.name) as u32);
                    if self.catalog.state(id) == State::Waiting && ended.outcome.is_final() {
                        self.fleet.contest(id);
                    }
                }
                Saying::HandedBack(seqs) => seqs.iter().for_each(|seq| {
                    assignments.remove(seq);
                }),
                other => later.push(other),
            }
        }
        let mut claimed = 0;
        let mut held = Vec::new();
        for (seq, assignment) in assignments {
            let id = FileId(Ground::index(&assignment.name) as u32);
            let job = (self.catalog.state(id) == State::Waiting).then(|| {
                self.catalog.set_state(id, State::Running);
                assert!(self.given.insert(id));
                self.assigned.insert(id, (name, seq));
                claimed += 1;
                Job {
                    id,
                    name: self.catalog.name(id).to_owned(),
                    attempts_before: assignment.attempts_before,
                    retries: assignment.retries,
                    interruptions: assignment.interruptions,
                    link: false,
                    contested: assignment.contested,
                }
            });
            held.push((assignment, job));
        }
        self.fleet.take_over_files(name, held, next);
        for seq in begun {
            self.fleet.heard(name, Saying::Begun(seq), Duration::ZERO);
        }
        for saying in later {
            self.fleet.heard(name, saying, Duration::ZERO);
        }
        claimed
    }

    /// How often each file's outcome was settled.
    pub fn settled(&self) -> &[usize] {
        &self.settled
    }
}

fn reported(report: &Report) -> Option<FileId> {
    match report {
        Report::HandedBack(id) => Some(*id),
        Report::Ended(ended) => Some(ended.id),
        _ => None,
    }
}

fn settings(scene: &Scene) -> Settings {
    Settings {
        limits: scene.limits,
        concurrency: scene.concurrency,
        rate: scene.rate,
        plan: PLAN.into(),
        grace: scene.grace,
    }
}

impl Drop for World {
    /// The last world of those that fail is the smallest that proptest finds.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(path) = std::env::var_os("FLEET_LOG")
        {
            let _ = std::fs::write(path, format!("{:#?}\n{}", self.scene, self.log.join("\n")));
        }
    }
}
