//! A run in the background: it outlives its terminal, is followed by `attach` and
//! ended by `stop`, as is every other run and what one that died has left.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tigerflow_tests::cluster::alive;
use tigerflow_tests::fake_slurm::{FakeSlurm, Fault, Times};
use tigerflow_tests::{Bench, Done, assert_sound, finish, guest, host, wait_until};

use crate::live::{Gate, Live};

/// A run in the background. What is left of it is killed when it is dropped.
struct Detached {
    pid: i32,
    workspace: PathBuf,
    /// What the terminal saw.
    told: Done,
}

impl Detached {
    /// Starts it.
    #[track_caller]
    fn start(command: &mut Command) -> Detached {
        Detached::told(finish(command.arg("--detach")))
    }

    /// From what the terminal saw.
    #[track_caller]
    fn told(told: Done) -> Detached {
        let told = told.expect(0);
        let word = |before: &str| {
            let rest = told.stdout.split_once(before).expect("it is told").1;
            rest.split_whitespace().next().expect("a word").to_owned()
        };
        let pid = word("process ").parse().expect("a process id");
        let log = PathBuf::from(word("Its log is "));
        assert!(log.is_absolute() && log.ends_with("run.log"), "{}", log.display());
        let workspace = log.parent().expect("it is in the workspace").to_path_buf();
        Detached { pid, workspace, told }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.workspace.join("run.log")).expect("there is a log")
    }

    #[track_caller]
    fn says(&self, text: &str) {
        wait_until(&format!("the log says `{text}`"), || self.log().contains(text));
    }

    #[track_caller]
    fn kill(&self) {
        kill_process(self.id(), Signal::KILL).expect("it can be killed");
        wait_until("it is gone", || !alive(self.pid));
    }

    fn id(&self) -> Pid {
        Pid::from_raw(self.pid).expect("not zero")
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        if alive(self.pid) {
            let _ = kill_process(self.id(), Signal::KILL);
        }
        if !std::thread::panicking() {
            assert_sound(&self.log());
        }
    }
}

/// A server of `gated`.
fn gated(bench: &Bench, gate: &Gate, more: &[&str]) -> Command {
    let mut command = bench.serve(&guest("gated"), more);
    command.args(["--dir", &gate.grant()]);
    command
}

/// `COMMAND OUTPUT_DIR`.
fn about(bench: &Bench, command: &str, more: &[&str]) -> Command {
    let mut line = host();
    line.arg(command).arg(bench.output()).args(more);
    line
}

fn stop(bench: &Bench, more: &[&str]) -> Done {
    finish(&mut about(bench, "stop", more))
}

fn attach(bench: &Bench, more: &[&str]) -> Done {
    finish(&mut about(bench, "attach", more))
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in:\n{text}");
    }
}

#[test]
fn it_goes_on_without_its_terminal() {
    let bench = Bench::new();
    let gate = Gate::new(&bench);
    bench.add("a.txt", "one");
    // The terminal's own group, in which all that is left gets its signals.
    let mut command = gated(&bench, &gate, &["--settle", "0"]);
    let group = command.process_group(0);
    let run = Detached::start(group);
    let place = bench.output().display().to_string();
    for command in ["status", "attach", "stop"] {
        assert_says(&run.told.stdout, &[&format!("tigerflow-host {command} {place}\n")]);
    }
    // What was said until it had begun was said on the terminal, too.
    assert_says(&run.told.stderr, &["1 file: 0 succeeded before"]);
    assert!(run.log().starts_with(&run.told.stderr), "{}", run.log());

    let stat = fs::read_to_string(format!("/proc/{}/stat", run.pid)).expect("it is alive");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
    let (session, terminal) = (fields[3], fields[4]);
    assert_eq!((session, terminal), (&*run.pid.to_string(), "0"), "it has a session of its own");
    let stream = |n| fs::read_link(format!("/proc/{}/fd/{n}", run.pid)).expect("it is open");
    assert_eq!([stream(0), stream(1)], [PathBuf::from("/dev/null"), run.workspace.join("run.log")]);
    assert_eq!(stream(1), stream(2));
    let lock = fs::read(run.workspace.join("lock")).expect("a lock");
    let owner: Value = serde_json::from_slice(&lock).expect("JSON");
    assert_eq!(owner["pid"], run.pid);
    let status = bench.status();
    assert_eq!((&status["state"], &status["run"]["detached"]), (&"running".into(), &true.into()));
    assert_eq!(status["log"], run.workspace.join("run.log").display().to_string());

    gate.wait("begun-a.txt");
    let mut attached = Live::start(&bench, &mut about(&bench, "attach", &[]));
    wait_until("what was said before is shown", || attached.stdout().contains("Setting up task"));
    gate.open("open");
    let done = "Successfully processed: a.txt";
    wait_until("what is said is shown", || attached.stdout().contains(done));
    bench.arrive("b.txt", "two");
    wait_until("it takes files still", || bench.has("b.out"));
    assert!(attached.runs());

    let told = stop(&bench, &[]).expect(0);
    assert_says(&told.stdout, &[&format!("Process {} on ", run.pid), "with exit code 143"]);
    wait_until("it is gone", || !alive(run.pid));
    let seen = attached.wait().expect(143).says("The run ended").says("with exit code 143");
    assert_eq!(seen.stdout, run.log(), "all was shown");
    assert_says(&run.log(), &["Received signal 15", "2 succeeded", "Task shutdown complete"]);
    assert_eq!(bench.journal("gated").last().expect("its end")["exit_code"], 143);
    let left = ["journal.jsonl", "lock", "run.json", "run.log", "staging"];
    let mut names: Vec<_> = fs::read_dir(&run.workspace)
        .expect("it can be listed")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, left);
    let again = attach(&bench, &["--lines", "1"]).expect(143);
    assert!(
        again.stdout.ends_with("Task shutdown complete\n") && again.stdout.lines().count() == 1
    );
    assert_eq!(attach(&bench, &["--lines", "all"]).expect(143).stdout, run.log());
}

#[test]
fn the_group_that_it_came_from_does_not_reach_it() {
    let bench = Bench::new();
    let mut command = bench.serve(&guest("upper"), &[]);
    let child = command.arg("--detach").process_group(0).spawn().expect("it starts");
    let group = Pid::from_raw(child.id().try_into().expect("an id")).expect("not zero");
    let run = Detached::told(tigerflow_tests::wait(child));
    assert!(kill_process_group(group, Signal::HUP).is_err(), "nobody is left in it");
    stop(&bench, &[]).expect(0);
    assert_says(&run.log(), &["Received signal 15"]);
}

#[test]
fn what_is_wrong_is_told_on_the_terminal() {
    let bench = Bench::new();
    bench.add("a.txt", "one");
    let done = finish(bench.serve(&guest("gated"), &["--once"]).arg("--detach")).expect(2);
    let line = "--once --detach --dir HOST_DIR::/gate:rw";
    let done = done.says("needs more than was granted").says(line);
    assert!(!done.stderr.contains("--detached") && done.stdout.is_empty(), "{done:?}");
    finish(bench.serve(&guest("upper"), &["--timeout", "3"]).arg("--detach")).expect(2);
    assert_eq!(fs::read_dir(bench.output()).expect("out").count(), 0, "nothing was made");

    let run = Detached::start(&mut bench.serve(&guest("upper"), &[]));
    run.says("Successfully processed: a.txt");
    let second = finish(bench.serve(&guest("upper"), &[]).arg("--detach")).expect(2);
    second.says("another run is at work here").says("tigerflow-host stop");
    assert_says(&run.log(), &["Successfully processed: a.txt"]);
    stop(&bench, &[]).expect(0);
    assert!(!run.log().contains("in the background"), "that is for the terminal");
}

#[test]
fn each_run_has_a_log_of_its_own_and_its_exit_code() {
    let bench = Bench::new();
    bench.add("a.txt", "one");
    let first = Detached::start(&mut bench.serve(&guest("upper"), &["--once"]));
    attach(&bench, &[]).expect(0).says("with exit code 0");
    assert_says(&first.log(), &["1 succeeded"]);

    bench.add("b.txt", "no such way");
    let mut command = bench.serve(&guest("tell"), &["--once", "--task-name"]);
    command.args(["tigerflow-test-guests", "--env", "TELL_KEY=hunter2"]);
    let second = Detached::start(&mut command);
    let seen = attach(&bench, &[]).expect(3).says("with exit code 3");
    assert_says(&seen.stdout, &["1 succeeded before", "1 failed"]);
    assert!(!second.log().contains("a.txt"), "{}", second.log());

    // One that stays on its terminal leaves the log alone, and has none.
    bench.run(&guest("upper"), &["--retry-failed"]).expect(0);
    let done = attach(&bench, &[]).expect(0);
    assert_says(&done.stdout, &["not started with --detach", "with exit code 0"]);
    assert!(!done.stdout.contains("1 failed"), "{}", done.stdout);
}

#[test]
fn values_of_variables_stay_hidden() {
    const SECRET: &str = "hunter2-0123456789abcdef";
    let bench = Bench::new();
    bench.add("a.txt", "log");
    let mut command = bench.serve(&guest("tell"), &["--env"]);
    let run = Detached::start(command.arg(format!("TELL_KEY={SECRET}")));
    wait_until("it works with the value", || bench.has("a.out") || bench.has("a.err"));
    let line = fs::read(format!("/proc/{}/cmdline", run.pid)).expect("it is alive");
    let line = String::from_utf8_lossy(&line).into_owned();
    assert!(line.contains("\0--env\0TELL_KEY\0") && !line.contains(SECRET), "{line}");
    stop(&bench, &[]).expect(0);
    assert!(!run.log().contains(SECRET) && !run.told.stderr.contains(SECRET));
}

#[test]
fn who_watches_may_leave() {
    let bench = Bench::new();
    let run = Detached::start(&mut bench.serve(&guest("upper"), &[]));
    let attached = Live::start(&bench, &mut about(&bench, "attach", &[]));
    wait_until("it is followed", || attached.stdout().contains("Task setup complete"));
    attached.signal(Signal::INT);
    let left = attached.wait().expect(130);
    let left = left.says(&format!("The run goes on: process {}", run.pid));
    left.says("tigerflow-host attach").says("tigerflow-host stop");

    let attached = Live::start(&bench, &mut about(&bench, "attach", &[]));
    wait_until("it is followed", || attached.stdout().contains("Task setup complete"));
    assert!(alive(run.pid));
    run.kill();
    attached.wait().expect(1).says(&format!("The run died: process {}", run.pid));
    attach(&bench, &[]).expect(1).says("The run died");
    let told = stop(&bench, &[]).expect(0);
    assert_says(&told.stdout, &["Nothing is at work in", "the last run died"]);
}

#[test]
fn a_run_on_its_terminal_is_stopped_too() {
    let bench = Bench::new();
    let gate = Gate::new(&bench);
    bench.add("a.txt", "one");
    let live = Live::start(&bench, &mut gated(&bench, &gate, &[]));
    gate.wait("begun-a.txt");
    let refused = attach(&bench, &[]).expect(2).says("was not started with --detach");
    refused.says("`tigerflow-host status ");

    // It finishes what is in flight, however often it is told.
    let first = Live::start(&bench, &mut about(&bench, "stop", &[]));
    live.says("Received signal 15, initiating shutdown");
    wait_until("status knows", || bench.status()["stopping"] == true);
    let status = finish(&mut about(&bench, "status", &[])).expect(0);
    assert_says(&status.stdout, &["stopping: process "]);
    let second = Live::start(&bench, &mut about(&bench, "stop", &[]));
    wait_until("it waits", || second.stdout().contains("was told to stop before"));
    gate.open("open");
    live.wait().expect(143);
    for waiting in [first, second] {
        assert_says(&waiting.wait().expect(0).stdout, &["The run ended", "with exit code 143"]);
    }
    assert_eq!(bench.names(), ["a.out"]);
    assert_eq!(bench.history("gated", "a.txt"), ["succeeded"]);
    bench.assert_tidy("gated");
    let done = attach(&bench, &[]).expect(143);
    assert_says(&done.stdout, &["was not started with --detach"]);
    assert_says(&stop(&bench, &[]).expect(0).stdout, &["Nothing is at work", "exit code 143"]);
}

#[test]
fn now_does_not_wait_for_what_is_in_flight() {
    let bench = Bench::new();
    let gate = Gate::new(&bench);
    bench.add("a.txt", "one");
    // At once, and after it was told to stop.
    for before in [false, true] {
        let live = Live::start(&bench, &mut gated(&bench, &gate, &[]));
        wait_until("it works", || bench.status()["in_flight"][0]["file"] == "a.txt");
        if before {
            let patient = Live::start(&bench, &mut about(&bench, "stop", &[]));
            wait_until("status knows", || bench.status()["stopping"] == true);
            stop(&bench, &["--now"]).expect(0);
            patient.wait().expect(0);
        } else {
            stop(&bench, &["--now"]).expect(0);
        }
        // Two signals that come together are seen in either order.
        let done = live.wait();
        assert!([130, 143].contains(&done.code), "{}", done.stderr);
        done.says("again, leaving at once");
        assert_eq!(bench.names(), [""; 0]);
    }
    assert_eq!(bench.history("gated", "a.txt"), ["interrupted"; 2]);
    let _run = Detached::start(&mut gated(&bench, &gate, &["--once"]));
    gate.open("open");
    attach(&bench, &[]).expect(0);
    assert_eq!(bench.names(), ["a.out"]);
}

/// Who holds the workspace of a task.
fn holder(bench: &Bench, task: &str) -> (PathBuf, Value) {
    let workspace = bench.output().join(".tigerflow").join(task);
    let lock = fs::read(workspace.join("lock")).expect("a lock");
    (workspace, serde_json::from_slice(&lock).expect("JSON"))
}

#[test]
fn a_run_elsewhere_is_asked_by_a_file() {
    let bench = Bench::new();
    let gate = Gate::new(&bench);
    bench.add("a.txt", "one");
    let live = Live::start(&bench, &mut gated(&bench, &gate, &[]));
    gate.wait("begun-a.txt");
    let (workspace, owner) = holder(&bench, "gated");
    let request = workspace.join("stop");
    let ask = |to: &Value, now: bool| {
        let text = serde_json::json!({"to": to, "from": "elsewhere", "now": now}).to_string();
        fs::write(workspace.join("part"), text).expect("it can be written");
        fs::rename(workspace.join("part"), &request).expect("it can be renamed");
        wait_until("it is taken", || !request.exists());
    };
    // One for a run before this one, and one that nobody can read.
    let mut other = owner.clone();
    other["since"] = "2026-01-01T00:00:00Z".into();
    ask(&other, true);
    fs::write(&request, "nonsense").expect("it can be written");
    wait_until("it is taken", || !request.exists());
    assert!(!live.log().contains("shutdown"), "{}", live.log());
    ask(&owner, false);
    live.says("Told to stop by `tigerflow-host stop` on elsewhere");
    ask(&owner, false);
    wait_until("it is stopping", || bench.status()["stopping"] == true);
    ask(&owner, true);
    live.wait().expect(143).says("Told to leave at once by `tigerflow-host stop --now`");
    assert!(!request.exists());

    // The other end of it: a holder on another machine, with a heartbeat.
    let (lock, mut owner) = (workspace.join("lock"), owner);
    owner["host"] = "elsewhere".into();
    fs::write(&lock, owner.to_string()).expect("it can be written");
    let stop = Live::start(&bench, &mut about(&bench, "stop", &["--now"]));
    wait_until("it asks", || request.exists());
    let asked: Value =
        serde_json::from_slice(&fs::read(&request).expect("a request")).expect("JSON");
    assert_eq!((&asked["to"], &asked["now"]), (&owner, &true.into()));
    assert_says(&stop.stdout(), &["on elsewhere is told to stop by a file"]);
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    let file = fs::File::options().write(true).open(&lock).expect("a lock");
    file.set_modified(long_ago).expect("times can be set");
    stop.wait().expect(0);
    assert!(!request.exists());
}

#[test]
fn one_of_several_is_named() {
    let bench = Bench::new();
    let serve = |name: &str| {
        let mut command = bench.serve(&guest("upper"), &["--task-name", name]);
        Detached::start(&mut command)
    };
    let one = serve("one");
    let two = serve("two");
    assert_says(&two.told.stdout, &["stop ", " --task-name two"]);
    assert!(!one.told.stdout.contains("--task-name"), "{}", one.told.stdout);
    for command in ["attach", "stop"] {
        let done = finish(&mut about(&bench, command, &[])).expect(2);
        done.says("several tasks are at work in").says("--task-name with one of one, two");
        let done = finish(&mut about(&bench, command, &["--task-name", "three"])).expect(2);
        done.says("no run is recorded in");
    }
    stop(&bench, &["--task-name", "one"]).expect(0);
    // The process outlives its lock by a moment.
    wait_until("the one is gone", || !alive(one.pid));
    assert!(alive(two.pid));
    stop(&bench, &[]).expect(0);
    wait_until("it is gone", || !alive(two.pid));
    attach(&bench, &[]).expect(2).says("and none is at work").says("one, two");
    let done = stop(&bench, &[]).expect(0);
    assert_says(&done.stdout, &["Nothing is at work in"]);
    for command in ["attach", "stop"] {
        let done = finish(host().arg(command).arg(bench.path())).expect(2);
        done.says("no run is recorded in").says("is it the --output-dir of one?");
    }
}

/// `gated` on a fake cluster.
struct Cluster {
    slurm: FakeSlurm,
    bench: Bench,
    gate: Gate,
}

impl Cluster {
    fn new() -> Cluster {
        let bench = Bench::new();
        for name in ["a.txt", "b.txt"] {
            bench.add(name, name);
        }
        let gate = Gate::new(&bench);
        Cluster { slurm: FakeSlurm::new(), bench, gate }
    }

    /// A server with two workers.
    fn serve(&self) -> Command {
        let mut command = gated(&self.bench, &self.gate, &["--max-workers", "2", "--cpus", "1"]);
        command.args(["--squeue-interval", "200ms"]);
        self.slurm.aim(command)
    }

    fn stop(&self, more: &[&str]) -> Done {
        finish(&mut self.slurm.aim(about(&self.bench, "stop", more)))
    }

    /// Fails unless nothing of a run is left: no job, no book that is open.
    #[track_caller]
    fn assert_cleared(&self) {
        assert!(self.slurm.queue_is_empty(), "{:?}", self.slurm.squeue());
        let done = self.stop(&[]).expect(0);
        assert_says(&done.stdout, &["Nothing is at work in"]);
        // A run without workers is refused where some of an earlier one may be left.
        self.gate.open("open");
        finish(gated(&self.bench, &self.gate, &["--once"]).arg("-v")).expect(0);
        assert_eq!(self.bench.names(), ["a.out", "b.out"]);
    }
}

#[test]
fn jobs_of_a_run_that_died_are_cancelled() {
    let site = Cluster::new();
    let live = Live::start(&site.bench, &mut site.serve());
    site.gate.wait("begun-a.txt");
    site.gate.wait("begun-b.txt");
    live.kill();
    assert!(!site.slurm.queue_is_empty());
    let refused = finish(gated(&site.bench, &site.gate, &["--once"]).arg("-v")).expect(1);
    refused.says("workers of an earlier run may be at work here").says("tigerflow-host stop");

    let down = "scancel: error: Unable to contact slurm controller (connect failure)";
    site.slurm.fail(Fault::Cancellation, Times::Next(1), 1, down);
    let failed = site.stop(&[]).expect(1).says("Unable to contact slurm controller");
    failed.says("try again with `tigerflow-host stop ");
    let done = site.stop(&[]).expect(0);
    assert_says(&done.stdout, &["2 jobs of Slurm are cancelled: ", "What is left is still to do"]);
    assert_eq!(site.bench.names(), [""; 0]);
    site.assert_cleared();
}

#[test]
fn jobs_that_nobody_was_told_of_are_found() {
    let site = Cluster::new();
    site.slurm.delay("sbatch", Duration::from_secs(2));
    let live = Live::start(&site.bench, &mut site.serve());
    wait_until("a job is under way", || !site.slurm.submissions().is_empty());
    live.kill();

    site.slurm.squeue_down(true);
    site.stop(&[]).expect(1).says("Unable to contact slurm controller");
    site.slurm.squeue_down(false);
    let done = site.stop(&[]).expect(0);
    assert_says(&done.stdout, &["The Slurm job ", " is cancelled"]);
    site.assert_cleared();
}

#[test]
fn a_run_on_a_cluster_goes_on_in_the_background() {
    let site = Cluster::new();
    site.slurm.fail(Fault::Check, Times::Next(1), 1, "sbatch: error: invalid partition specified");
    let refused = finish(site.serve().arg("--detach")).expect(2);
    refused.says("invalid partition specified");
    assert_eq!(fs::read_dir(site.bench.output()).expect("out").count(), 0);

    let run = Detached::start(&mut site.serve());
    site.gate.wait("begun-a.txt");
    site.gate.wait("begun-b.txt");
    let attached = Live::start(&site.bench, &mut about(&site.bench, "attach", &[]));
    let done = site.stop(&["--now"]).expect(0);
    assert_says(&done.stdout, &["with exit code 143"]);
    attached.wait().expect(143);
    assert_says(&run.log(), &["leaving at once"]);
    wait_until("the jobs are gone", || site.slurm.queue_is_empty());
    site.assert_cleared();
}
