//! A worker's process in virtual time, as `run::worker` has it; and the truth
//! about files, which it shares with all others.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::super::super::job::JobId;
use super::super::super::protocol::{
    Assignment, Beat, Ended, FileName, Hello, Order, Saying, WorkerName,
};
use crate::engine::SetupError;
use crate::outcome::{Cause, Failure, Outcome};

pub const MS: Duration = Duration::from_millis(1);
pub const S: Duration = Duration::from_secs(1);

const BEAT: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(10);

/// What comes of an attempt at a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Succeed,
    Fail,
    Abort,
    Vanish,
    /// It says so once, and succeeds the next time.
    Retry,
    /// It takes its worker's process with it.
    Kill,
}

/// A file.
#[derive(Clone, Debug)]
pub struct File {
    /// When it comes.
    pub comes: Duration,
    pub takes: Duration,
    pub end: End,
}

/// What really happened to a file.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Whether an output stands, or an `.err`.
    pub output: Option<bool>,
    pub vanished: bool,
    pub begun: usize,
    /// Attempts that were cut off, or of which Slurm might think so.
    pub cut_off: usize,
    /// Those of them that ran alone.
    pub cut_off_alone: usize,
    /// Workers that were lost, or seemed to be, with it.
    pub losses: usize,
}

/// What all processes share.
pub struct Ground {
    pub files: Vec<File>,
    pub truth: Vec<Truth>,
    /// When attempts began.
    pub begins: Vec<Duration>,
    pub channels: BTreeMap<WorkerName, Channel>,
    pub random: fastrand::Rng,
    /// Longest time that words take.
    pub latency: Duration,
    pub concurrency: usize,
}

/// The two files between a worker and the coordinator: each line, and when the
/// other side sees it.
#[derive(Default)]
pub struct Channel {
    pub orders: Vec<(Duration, Order)>,
    pub sayings: Vec<(Duration, Saying)>,
}

fn append<T>(lines: &mut Vec<(Duration, T)>, seen: Duration, line: T) {
    let after = lines.last().map_or(Duration::ZERO, |(at, _)| *at);
    lines.push((after.max(seen), line));
}

impl Ground {
    pub fn late(&mut self) -> Duration {
        self.latency.mul_f64(self.random.f64())
    }

    pub fn order(&mut self, to: WorkerName, order: Order, now: Duration) {
        let seen = now + self.late();
        append(&mut self.channels.entry(to).or_default().orders, seen, order);
    }

    pub fn index(name: &FileName) -> usize {
        let FileName::Text(text) = name else { panic!("a name that no file has") };
        text[1..].parse().unwrap()
    }
}

struct Running {
    assignment: Assignment,
    begun: Duration,
    ends: Duration,
}

pub struct Process {
    pub name: WorkerName,
    /// When the task is set up, and whether that works.
    setup: (Duration, bool),
    set_up: bool,
    orders_read: usize,
    behind: VecDeque<Assignment>,
    queue: VecDeque<Assignment>,
    running: Vec<Running>,
    alone: Option<u32>,
    held: usize,
    stay: bool,
    leaving: bool,
    idle_since: Duration,
    next_beat: Duration,
    /// What it says is seen later by as much.
    pub muffled: Duration,
    /// It stands still.
    pub hangs: bool,
    /// Slurm has told it to end.
    told: bool,
    /// Why it died, or that it left.
    pub over: Option<Exit>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Exit {
    Left,
    /// A file did that.
    Killed,
}

impl Process {
    pub fn start(
        name: WorkerName,
        job: JobId,
        node: usize,
        plan: &str,
        setup: (Duration, bool),
        now: Duration,
        ground: &mut Ground,
    ) -> Self {
        let mut process = Process {
            name,
            setup,
            set_up: false,
            orders_read: 0,
            behind: VecDeque::new(),
            queue: VecDeque::new(),
            running: Vec::new(),
            alone: None,
            held: 0,
            stay: false,
            leaving: false,
            idle_since: now,
            next_beat: now + BEAT,
            muffled: Duration::ZERO,
            hangs: false,
            told: false,
            over: None,
        };
        let hello = Hello {
            job: Some(job),
            node: format!("n{node}"),
            plan: plan.into(),
            ..Hello::default()
        };
        process.say(Saying::Hello(Box::new(hello)), now, ground);
        process
    }

    fn say(&mut self, saying: Saying, now: Duration, ground: &mut Ground) {
        let seen = now + ground.late() + self.muffled;
        append(&mut ground.channels.entry(self.name).or_default().sayings, seen, saying);
    }

    /// Whether it was never asked for anything, so that its end is one of a
    /// worker that did not start.
    pub fn is_fresh(&self) -> bool {
        !self.set_up
    }

    /// Notes that it dies, or that Slurm thinks so.
    pub fn cut_off(&self, now: Duration, ground: &mut Ground) {
        for running in &self.running {
            let truth = &mut ground.truth[Ground::index(&running.assignment.name)];
            truth.cut_off += 1;
            truth.cut_off_alone += usize::from(running.assignment.alone);
        }
        // What it was told, and not seen to have ended.
        let Some(channel) = ground.channels.get(&self.name) else { return };
        let mut lost: BTreeMap<u32, usize> = BTreeMap::new();
        for (_, order) in &channel.orders {
            if let Order::Take(batch) = order {
                lost.extend(batch.iter().map(|a| (a.seq, Ground::index(&a.name))));
            }
        }
        for (at, saying) in &channel.sayings {
            match saying {
                _ if *at + S > now => {}
                Saying::Ended(ended) => drop(lost.remove(&ended.seq)),
                Saying::HandedBack(seqs) => lost.retain(|seq, _| !seqs.contains(seq)),
                _ => {}
            }
        }
        for index in lost.into_values() {
            ground.truth[index].losses += 1;
        }
    }

    /// When there is something to do next.
    pub fn next(&self, ground: &Ground) -> Duration {
        if self.hangs || self.over.is_some() {
            return Duration::MAX;
        }
        let mut next = self.next_beat;
        if !self.set_up && !self.leaving {
            next = next.min(self.setup.0);
        }
        if !self.leaving && self.held == 0 {
            next = next.min(self.idle_since + IDLE);
        }
        if let Some((at, _)) =
            ground.channels.get(&self.name).and_then(|c| c.orders.get(self.orders_read))
        {
            next = next.min(*at);
        }
        self.running.iter().map(|r| r.ends).min().map_or(next, |ends| next.min(ends))
    }

    pub fn advance(&mut self, now: Duration, ground: &mut Ground) {
        if self.hangs || self.over.is_some() {
            return;
        }
        if !self.set_up && !self.leaving && self.setup.0 <= now {
            if self.setup.1 {
                self.set_up = true;
                self.say(Saying::SetupWorked, now, ground);
            } else {
                let error = SetupError::Task(failure("no model"));
                self.say(Saying::SetupFailed(error), now, ground);
                self.leave(now, ground);
            }
        }
        self.running.sort_by_key(|r| r.ends);
        while self.running.first().is_some_and(|r| r.ends <= now) {
            let running = self.running.remove(0);
            let kills = ground.files[Ground::index(&running.assignment.name)].end == End::Kill;
            if kills && !stands(&running.assignment, ground) {
                self.running.push(running);
                self.cut_off(now, ground);
                self.over = Some(Exit::Killed);
                return;
            }
            self.conclude(&running, now, ground);
        }
        while let Some(order) = self.next_order(now, ground) {
            self.obey(order, now, ground);
            if self.over.is_some() {
                return;
            }
        }
        self.begin(now, ground);
        if self.held > 0 {
            self.idle_since = now;
        } else if !self.leaving && !self.stay && now >= self.idle_since + IDLE {
            self.leave(now, ground);
        }
        if self.next_beat <= now {
            self.next_beat = now + BEAT;
            self.say(Saying::Beat(Beat::default()), now, ground);
        }
        if self.leaving && self.held == 0 {
            self.say(Saying::Bye, now, ground);
            self.over = Some(Exit::Left);
        }
    }

    /// Slurm tells it to end.
    pub fn terminate(&mut self, now: Duration, ground: &mut Ground) {
        self.told = true;
        self.leave(now, ground);
    }

    pub fn is_told(&self) -> bool {
        self.told
    }

    fn next_order(&mut self, now: Duration, ground: &Ground) -> Option<Order> {
        let (at, order) = ground.channels.get(&self.name)?.orders.get(self.orders_read)?;
        (*at <= now).then(|| {
            self.orders_read += 1;
            order.clone()
        })
    }

    fn obey(&mut self, order: Order, now: Duration, ground: &mut Ground) {
        match order {
            Order::Take(batch) if self.leaving => {
                let seqs = batch.iter().map(|a| a.seq).collect();
                self.say(Saying::HandedBack(seqs), now, ground);
            }
            Order::Take(batch) => {
                self.held += batch.len();
                self.behind.extend(batch);
                self.feed();
            }
            Order::HandBack(most) => {
                let waiting = most.min(self.behind.len());
                let behind = self.behind.split_off(self.behind.len() - waiting);
                let more = self.queue.len().saturating_sub(most - waiting);
                let mut back: Vec<u32> = self.queue.split_off(more).iter().map(|a| a.seq).collect();
                back.extend(behind.iter().map(|a| a.seq));
                self.held -= back.len();
                self.alone = self.alone.filter(|seq| !back.contains(seq));
                self.say(Saying::HandedBack(back), now, ground);
                self.feed();
            }
            Order::Stay(stay) => self.stay = stay,
            Order::Leave => self.leave(now, ground),
            Order::Dismissed => {
                self.say(Saying::Bye, now, ground);
                self.over = Some(Exit::Left);
            }
        }
    }

    fn leave(&mut self, now: Duration, ground: &mut Ground) {
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        let told_by_slurm = self.told;
        self.say(Saying::Leaving { why: "it does".into(), told_by_slurm }, now, ground);
        let back: Vec<u32> =
            self.queue.drain(..).chain(self.behind.drain(..)).map(|a| a.seq).collect();
        self.held -= back.len();
        if !back.is_empty() {
            self.say(Saying::HandedBack(back), now, ground);
        }
    }

    fn feed(&mut self) {
        while self.alone.is_none() {
            let others = self.held - self.behind.len();
            let Some(next) = self.behind.pop_front_if(|next| !next.alone || others == 0) else {
                return;
            };
            self.alone = next.alone.then_some(next.seq);
            self.queue.push_back(next);
        }
    }

    fn begin(&mut self, now: Duration, ground: &mut Ground) {
        while self.set_up && self.running.len() < ground.concurrency {
            let Some(assignment) = self.queue.pop_front() else { return };
            assert!(!assignment.alone || self.running.is_empty(), "it is not alone");
            assert!(self.running.iter().all(|r| !r.assignment.alone), "another one is alone");
            if stands(&assignment, ground) {
                self.end(&assignment, Outcome::Stood, Duration::ZERO, now, ground);
                continue;
            }
            let index = Ground::index(&assignment.name);
            ground.truth[index].begun += 1;
            ground.begins.push(now);
            self.say(Saying::Begun(assignment.seq), now, ground);
            let ends = now + ground.files[index].takes;
            self.running.push(Running { assignment, begun: now, ends });
        }
    }

    fn conclude(&mut self, running: &Running, now: Duration, ground: &mut Ground) {
        let assignment = &running.assignment;
        let index = Ground::index(&assignment.name);
        let end = ground.files[index].end;
        let truth = &mut ground.truth[index];
        let outcome = match end {
            End::Vanish => {
                truth.vanished = true;
                Outcome::Vanished
            }
            End::Retry if assignment.retries == 0 => {
                let after = ground.random.u64(0..5_000);
                Outcome::Retrying(failure("try again"), Duration::from_millis(after))
            }
            End::Fail | End::Abort | End::Kill if truth.output == Some(true) => Outcome::Stood,
            End::Fail | End::Kill => {
                truth.output = Some(false);
                Outcome::Failed(failure("bad"))
            }
            End::Abort => {
                truth.output = Some(false);
                Outcome::Aborted("not mine".into())
            }
            End::Succeed | End::Retry => {
                truth.output = Some(true);
                Outcome::Succeeded
            }
        };
        self.end(assignment, outcome, now - running.begun, now, ground);
    }

    fn end(
        &mut self,
        assignment: &Assignment,
        outcome: Outcome,
        duration: Duration,
        now: Duration,
        ground: &mut Ground,
    ) {
        self.held -= 1;
        if self.alone == Some(assignment.seq) {
            self.alone = None;
        }
        let ended = Ended {
            seq: assignment.seq,
            outcome,
            attempt: assignment.attempts_before + 1,
            duration,
            slot: 0,
        };
        self.say(Saying::Ended(ended), now, ground);
        self.feed();
    }
}

fn stands(assignment: &Assignment, ground: &Ground) -> bool {
    assignment.contested && ground.truth[Ground::index(&assignment.name)].output == Some(true)
}

pub fn failure(message: &str) -> Failure {
    Failure {
        cause: Cause::Failed,
        exception_type: "E".into(),
        message: message.into(),
        traceback: String::new(),
        stderr: String::new(),
    }
}
