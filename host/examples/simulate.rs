//! Drives the coordinator's core by a simulated cluster in virtual time: what a
//! file costs it, with how many workers and files.
//!
//! `cargo run --release --example simulate -- WORKERS FILES` prints a line of
//! JSON. Everything that decides is the real thing (scheduler, autoscaler, fleet,
//! catalog); Slurm, the workers and the files between are not there.

#![allow(missing_docs)]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsString;
use std::time::{Duration, Instant};

use tigerflow_host::executor::slurm::autoscale::Limits;
use tigerflow_host::executor::slurm::fleet::{Action, Fleet, Settings};
use tigerflow_host::executor::slurm::job::JobId;
use tigerflow_host::executor::slurm::protocol::{Ended, Hello, Order, Saying, Seat, WorkerName};
use tigerflow_host::executor::{Job, Report};
use tigerflow_host::outcome::Outcome;
use tigerflow_host::schedule::{self, Event, Mode, Scheduler};
use tigerflow_host::workspace::catalog::{Catalog, FileId, State};

/// How long the coordinator looks away, in virtual time.
const LOOK: Duration = Duration::from_millis(50);

/// How many files a worker ends in that time: 200 a second.
const SPEED: usize = 10;

/// How many files the coordinator has handed out at most, as in a run.
const WINDOW: usize = 50_000;

const PLAN: &str = "plan";

/// A worker that never fails.
#[derive(Default)]
struct Worker {
    files: VecDeque<u32>,
    leaves: bool,
}

struct Simulation {
    now: Duration,
    fleet: Fleet,
    scheduler: Scheduler,
    catalog: Catalog,
    workers: BTreeMap<WorkerName, Worker>,
    most_workers: usize,
    submissions: usize,
    done: usize,
    over: bool,
}

impl Simulation {
    fn new(workers: usize, files: usize) -> Self {
        let mut catalog = Catalog::new();
        let mut ids: Vec<FileId> = Vec::with_capacity(files);
        for number in 0..files {
            let name = OsString::from(format!("recording-{number:09}.txt"));
            let (id, _) = catalog.insert(&name).expect("four gigabytes of names are enough");
            catalog.set_state(id, State::Waiting);
            ids.push(id);
        }
        let settings = Settings {
            limits: Limits { min: 0, max: workers, files_per_worker: 4 },
            concurrency: 4,
            rate: None,
            plan: PLAN.into(),
            grace: Duration::from_secs(60),
        };
        let mut simulation = Simulation {
            now: Duration::ZERO,
            fleet: Fleet::new(settings, 0),
            scheduler: Scheduler::new(Mode::Once, WINDOW, None),
            catalog,
            workers: BTreeMap::new(),
            most_workers: 0,
            submissions: 0,
            done: 0,
            over: false,
        };
        simulation.step(Event::Found(ids));
        simulation
    }

    fn step(&mut self, event: Event) {
        for action in self.scheduler.on(event, self.now, 0) {
            match action {
                schedule::Action::HandOut(files) => {
                    for id in files {
                        self.catalog.set_state(id, State::Running);
                        let name = self.catalog.name(id).to_owned();
                        self.fleet.give(Job { id, ..Job::nobodys(name) });
                    }
                }
                schedule::Action::Drain => self.fleet.drain(self.now),
                schedule::Action::End(_) | schedule::Action::Abandon(_) => self.over = true,
            }
        }
        self.fleet.set_waiting(self.scheduler.waiting());
    }

    /// Does what the fleet says, until it says nothing more.
    fn act(&mut self) {
        loop {
            let actions = self.fleet.take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.carry_out(action);
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Submit { submission, workers, .. } => {
                self.submissions += 1;
                let base = 1_000 + u64::from(submission);
                self.fleet.submitted(submission, Ok(base), self.now);
                for index in 0..workers as u32 {
                    let name = WorkerName { seat: Seat { submission, index }, restart: 0 };
                    let hello = Hello {
                        job: Some(JobId { base, index: (workers > 1).then_some(index) }),
                        node: format!("node{}", index % 100),
                        plan: PLAN.into(),
                        ..Hello::default()
                    };
                    self.workers.insert(name, Worker::default());
                    self.fleet.heard(name, Saying::Hello(Box::new(hello)), self.now);
                    self.fleet.heard(name, Saying::SetupWorked, self.now);
                }
                self.most_workers = self.most_workers.max(self.workers.len());
            }
            Action::Tell(name, order) => {
                let Some(worker) = self.workers.get_mut(&name) else { return };
                match order {
                    Order::Take(batch) => worker.files.extend(batch.iter().map(|a| a.seq)),
                    Order::HandBack(most) => {
                        let from = worker.files.len() - most.min(worker.files.len());
                        let back = worker.files.split_off(from).into();
                        self.fleet.heard(name, Saying::HandedBack(back), self.now);
                    }
                    Order::Leave => worker.leaves = true,
                    Order::Stay(_) | Order::Dismissed => {}
                }
            }
            Action::Ended(_, ended) => {
                self.catalog.set_state(ended.id, State::Succeeded);
                self.done += 1;
                self.step(Event::Ended { file: ended.id, failed: false });
            }
            Action::Report(Report::HandedBack(id)) => {
                self.catalog.set_state(id, State::Waiting);
                self.step(Event::HandedBack(id));
            }
            Action::Report(Report::SetupWorked) => self.step(Event::SetupWorked),
            Action::Report(report) => panic!("nothing fails here: {report:?}"),
            _ => {}
        }
    }

    /// All workers work for a look's time.
    fn work(&mut self) {
        let names: Vec<WorkerName> = self.workers.keys().copied().collect();
        for name in names {
            let Some(worker) = self.workers.get_mut(&name) else { continue };
            let files: Vec<u32> = worker.files.drain(..SPEED.min(worker.files.len())).collect();
            let leaves = worker.leaves && worker.files.is_empty();
            for seq in files {
                self.fleet.heard(name, Saying::Begun(seq), self.now);
                let ended =
                    Ended { seq, outcome: Outcome::Succeeded, attempt: 1, duration: LOOK, slot: 0 };
                self.fleet.heard(name, Saying::Ended(ended), self.now);
            }
            if leaves {
                self.workers.remove(&name);
                self.fleet.heard(name, Saying::Bye, self.now);
            }
        }
    }

    fn run(&mut self) {
        while !(self.over && self.fleet.is_gone()) {
            self.now += LOOK;
            self.work();
            self.fleet.tick(self.now);
            self.act();
        }
    }
}

/// A figure of this process, in KiB.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut fields: HashMap<&str, &str> =
        status.lines().filter_map(|l| l.split_once(':')).collect();
    let value = fields.remove(name).unwrap_or_default();
    value.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse().expect("WORKERS FILES"));
    let (workers, files) = (arguments.next().unwrap_or(1_000), arguments.next().unwrap_or(100_000));
    let mut simulation = Simulation::new(workers, files);
    let catalog = memory("VmRSS");
    let begun = Instant::now();
    simulation.run();
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(simulation.done, files, "every file is done once");
    println!(
        "{}",
        serde_json::json!({
            "workers": workers,
            "files": files,
            "most_workers": simulation.most_workers,
            "submissions": simulation.submissions,
            "virtual_seconds": simulation.now.as_secs_f64(),
            "seconds": seconds,
            "microseconds_per_file": seconds * 1e6 / files as f64,
            "files_known_kib": catalog,
            "peak_kib": memory("VmHWM"),
        })
    );
}
