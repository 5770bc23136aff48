//! Workers in Slurm jobs: what a run with `--max-workers` does, whatever becomes
//! of its jobs, of Slurm and of itself. Most run on the fake, which is quick and
//! fails on demand; what only Slurm shows runs on a real cluster.

mod awaits;
mod coordinator;
mod ends;
mod files;
mod killer;
mod options;
mod real;
mod scale;
mod stop;
mod storm;
mod trouble;
mod view;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tigerflow_tests::cluster::{Cluster, Job};
use tigerflow_tests::fake_slurm::{FakeSlurm, Fault, Times};
use tigerflow_tests::{Bench, finish, guest, wait_until};

use crate::live::{Gate, Live};

/// Where the jobs run.
trait Slurm {
    fn aim(&self, command: Command) -> Command;
    fn squeue(&self) -> Vec<Job>;
    fn queue_is_empty(&self) -> bool;

    /// The jobs that run, in the order of their numbers.
    fn running(&self) -> Vec<Job> {
        let mut jobs = self.squeue();
        jobs.retain(|job| job.state == "RUNNING");
        jobs.sort_by_key(|job| (job.array_base, job.array_index));
        jobs
    }
}

impl Slurm for FakeSlurm {
    fn aim(&self, command: Command) -> Command {
        self.aim(command)
    }

    fn squeue(&self) -> Vec<Job> {
        self.squeue()
    }

    fn queue_is_empty(&self) -> bool {
        self.queue_is_empty()
    }
}

impl Slurm for Cluster {
    fn aim(&self, command: Command) -> Command {
        self.aim(command)
    }

    fn squeue(&self) -> Vec<Job> {
        self.squeue()
    }

    fn queue_is_empty(&self) -> bool {
        self.queue_is_empty()
    }
}

/// A bench with a gate, for the guests `gated` and `witness`.
struct Site {
    bench: Bench,
    gate: Gate,
}

impl Site {
    fn new() -> Site {
        let bench = Bench::new();
        let gate = Gate::new(&bench);
        Site { bench, gate }
    }

    /// With inputs of this content and these names.
    fn with(names: &[&str], content: &str) -> Site {
        let site = Site::new();
        for name in names {
            site.bench.add(name, content);
        }
        site
    }

    /// With so many inputs, `0000.txt` and so on, each of a content of its own.
    fn with_files(files: usize) -> Site {
        let site = Site::new();
        for number in 0..files {
            site.bench.add(format!("{number:04}.txt"), content(number));
        }
        site
    }

    /// `run COMPONENT --once`, with workers in jobs of this Slurm.
    fn command(&self, slurm: &dyn Slurm, component: &Path, more: &[&str]) -> Command {
        let mut command = slurm.aim(self.bench.serve(component, more));
        command.args(["--once", "--squeue-interval", "500ms"]);
        command
    }

    /// The same of the guest `witness`, with what it needs.
    fn witness(&self, slurm: &dyn Slurm, more: &[&str]) -> Command {
        self.grant(self.command(slurm, &guest("witness"), more))
    }

    /// The same, in the process itself.
    fn witness_here(&self) -> Command {
        let mut command = self.bench.serve(&guest("witness"), &[]);
        command.arg("--once");
        self.grant(command)
    }

    fn grant(&self, mut command: Command) -> Command {
        command.args(["--dir", &self.gate.grant(), "--dir"]);
        command.arg(format!("{}::/published:ro", self.bench.output().display()));
        command
    }

    fn start(&self, mut command: Command) -> Live {
        Live::start(&self.bench, &mut command)
    }

    /// The name of the only task that has worked here.
    fn task(&self) -> String {
        let place = self.bench.output().join(".tigerflow");
        let entries = fs::read_dir(&place).unwrap_or_else(|e| panic!("{}: {e}", place.display()));
        let mut names = entries.map(|e| e.expect("an entry").file_name().into_string());
        let name = names.next().expect("a task has worked").expect("a plain name");
        assert!(names.next().is_none(), "one task");
        name
    }

    /// The directory of the run, with its workers' files.
    fn run_dir(&self) -> PathBuf {
        let place = self.bench.output().join(".tigerflow").join(self.task()).join("slurm");
        let entries = fs::read_dir(&place).unwrap_or_else(|e| panic!("{}: {e}", place.display()));
        let mut runs: Vec<PathBuf> = entries
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| {
                path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("run-"))
            })
            .collect();
        runs.sort();
        runs.pop().expect("there was a run")
    }

    /// The log of a worker, by its name in the journal.
    fn log(&self, worker: &str) -> String {
        let path = self.run_dir().join(format!("workers/{worker}.log"));
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }

    /// What the journal says of workers: `worker-started` or `worker-ended`.
    fn workers(&self, event: &str) -> Vec<Value> {
        let mut records = self.bench.journal(&self.task());
        records.retain(|record| record["event"] == event);
        records
    }

    /// How workers ended, by their jobs.
    fn ends(&self) -> BTreeMap<String, Vec<String>> {
        let mut jobs = BTreeMap::new();
        for started in self.workers("worker-started") {
            jobs.insert(text(&started["worker"]), text(&started["job"]));
        }
        let mut ends: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ended in self.workers("worker-ended") {
            let job = jobs.get(&text(&ended["worker"])).cloned().unwrap_or_default();
            ends.entry(job).or_default().push(text(&ended["how"]));
        }
        ends
    }

    /// Waits until so many calls of `witness` have begun.
    #[track_caller]
    fn wait_for_calls(&self, calls: usize) {
        wait_until(&format!("{calls} calls began"), || self.gate.count("call-") >= calls);
    }

    /// Fails unless `witness` has made each output as it should be, was never
    /// called for one that was there, and the journal knows of each just once.
    #[track_caller]
    fn assert_all_witnessed(&self) {
        let mut inputs: Vec<_> = fs::read_dir(self.bench.input())
            .expect("in can be listed")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("plain"))
            .collect();
        inputs.sort();
        for input in &inputs {
            self.assert_witnessed(input);
        }
        let outputs: Vec<_> = inputs.iter().map(|name| name.replace(".txt", ".out")).collect();
        assert_eq!(self.bench.names(), outputs, "each has an output, and no .err");
        self.assert_recorded_once();
        self.assert_none_late();
    }

    /// The same of one output.
    #[track_caller]
    fn assert_witnessed(&self, input: &str) {
        let text = fs::read_to_string(self.bench.input().join(input)).expect("an input");
        assert_eq!(self.bench.out(input.replace(".txt", ".out")), text.to_uppercase(), "{input}");
    }

    /// Fails where `witness` was called for an input that had its output.
    #[track_caller]
    fn assert_none_late(&self) {
        let calls = fs::read_dir(self.bench.path().join("gate")).expect("the gate can be listed");
        let late: Vec<_> = calls
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| {
                path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("call-"))
            })
            .filter(|path| fs::read(path).expect("a call") == b"again")
            .collect();
        assert!(late.is_empty(), "begun after they were published: {late:?}");
    }

    /// Fails unless each output is in the journal just once.
    #[track_caller]
    fn assert_recorded_once(&self) {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for record in self.bench.journal(&self.task()) {
            if record["event"] == "attempt" && record["outcome"] == "succeeded" {
                *times.entry(text(&record["file"])).or_default() += 1;
            }
        }
        let outputs = self.bench.names().into_iter().filter(|name| name.ends_with(".out"));
        let expected: BTreeMap<_, _> =
            outputs.map(|name| (name.replace(".out", ".txt"), 1)).collect();
        let wrong: Vec<_> = expected
            .keys()
            .chain(times.keys())
            .filter(|name| times.get(*name) != Some(&1) || !expected.contains_key(*name))
            .map(|name| (name, times.get(name)))
            .collect();
        assert!(wrong.is_empty(), "not recorded just once: {wrong:?}");
    }
}

/// Tells stories side by side, as each of them spends its time waiting.
fn together(stories: &[&(dyn Fn() + Sync)]) {
    std::thread::scope(|scope| {
        let all: Vec<_> = stories.iter().map(|story| scope.spawn(story)).collect();
        for story in all {
            if let Err(panic) = story.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// The content of an input.
fn content(number: usize) -> String {
    format!("content of file {number}\n").repeat(number % 50 + 1)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What squeue prints of jobs.
fn shown(jobs: &[Job]) -> String {
    let lines = jobs.iter().map(|job| format!("{} {} {}", job.id, job.state, job.reason));
    lines.collect::<Vec<_>>().join("\n")
}

/// Fails where a job is left in the queue.
#[track_caller]
fn assert_no_job(slurm: &dyn Slurm) {
    assert!(slurm.queue_is_empty(), "jobs are left:\n{}", shown(&slurm.squeue()));
}

/// What an sbatch was given for an option `--NAME=VALUE`, on its command line or
/// in its script.
fn given(call: &tigerflow_tests::fake_slurm::Call, option: &str) -> Option<String> {
    let start = format!("--{option}=");
    let lines = call.script.lines().filter_map(|line| line.strip_prefix("#SBATCH "));
    let mut words = call.arguments.iter().map(String::as_str).chain(lines);
    words.find_map(|word| Some(word.strip_prefix(&start)?.to_owned()))
}
