//! A pipeline takes files as they arrive, and leaves in good order.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tigerflow_tests::cluster::alive;
use tigerflow_tests::{finish, host, wait_until};

use super::{Pipeline, task};
use crate::live::{Gate, Live};

const GATE: &str = "dirs: ['gate::/gate:rw']";

/// `one`, and then `two`, which is `gated` and takes this many files at a time.
fn gated(limit: usize) -> (Pipeline, Gate) {
    let more = format!("depends_on: one, {GATE}, concurrency_limit: {limit}");
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".txt", ".one", ""),
        task("two", "gated", ".one", ".two", &more),
    ]);
    let gate = Gate::new(&pipeline);
    (pipeline, gate)
}

#[test]
fn a_file_that_arrives_goes_through_without_delay() {
    let pipeline = Pipeline::chain(3);
    let live = pipeline.live(&["--poll-interval", "10m", "--settle", "10m"]);
    live.says("All tasks started");
    let mut shortest = Duration::MAX;
    for round in 0..5 {
        std::thread::sleep(Duration::from_millis(50));
        let begun = Instant::now();
        pipeline.add(format!("{round}.txt"), "x");
        wait_until("it is through", || pipeline.has(format!("three/{round}.three")));
        shortest = shortest.min(begun.elapsed());
    }
    assert!(shortest < Duration::from_millis(400), "{shortest:?}");
    wait_until("all are finished", || pipeline.finished().len() == 5);
    live.signal(Signal::TERM);
    live.wait().expect(143).says("5 files finished, 0 failed");
}

#[test]
fn a_signal_lets_what_is_in_flight_finish_and_the_next_run_goes_on() {
    let (pipeline, gate) = gated(1);
    pipeline.add("a.txt", "one").add("b.txt", "two").add("c.txt", "three");
    let live = pipeline.live(&["--settle", "0"]);
    wait_until("one is at work", || gate.count("begun-") == 1);
    wait_until("the first task is done", || pipeline.shown("one").len() == 3);
    live.signal(Signal::INT).says("Received signal 2, initiating shutdown");
    gate.open("open");
    let done = live.wait().expect(130).says("1 file finished, 0 failed");
    done.says("2 still in the pipeline").says("Pipeline shutdown complete");
    assert!(gate.has("teardown-0"), "instances are torn down");
    assert_eq!((pipeline.shown("two").len(), pipeline.finished().len()), (1, 1));
    assert_eq!(pipeline.report()["status"]["exit_code"], 130);
    let done = pipeline.run(&[]).expect(0);
    done.says("1 file finished before, 2 to go on with, 0 waiting").says("2 files finished");
    assert_eq!(pipeline.shown("two"), ["a.two", "b.two", "c.two"]);
    assert_eq!(pipeline.journal("one").iter().filter(|r| r["event"] == "attempt").count(), 3);
}

#[test]
fn a_second_signal_leaves_at_once() {
    let (pipeline, gate) = gated(1);
    pipeline.add("a.txt", "one").add("b.txt", "two");
    let live = pipeline.live(&["--settle", "0"]);
    wait_until("one is at work", || gate.count("begun-") == 1);
    live.signal(Signal::INT).says("Received signal 2, initiating shutdown");
    live.signal(Signal::TERM);
    live.wait().expect(143).says("leaving at once");
    let status = &pipeline.report()["status"];
    assert_eq!((&status["running"], &status["exit_code"]), (&false.into(), &143.into()));
    assert_eq!(pipeline.shown("two"), [""; 0]);
    gate.open("open");
    pipeline.run(&[]).expect(0).says("2 to go on with").says("2 files finished");
}

#[test]
fn stop_waits_for_what_is_in_flight_and_says_what_it_is() {
    let (pipeline, gate) = gated(2);
    pipeline.add("a.txt", "one").add("b.txt", "two").add("c.txt", "three");
    let live = pipeline.live(&["--settle", "0"]);
    wait_until("both are at work", || gate.count("begun-") == 2);
    wait_until("it is told what is in flight", || {
        pipeline.report()["progress"]["tasks"][1]["running"] == 2
    });
    let mut stop = Live::start(&pipeline, &mut pipeline.about("stop", &[]));
    live.says("initiating shutdown");
    wait_until("it says so", || stop.stdout().contains("in flight: "));
    let told = stop.stdout();
    assert!(told.contains("2 files are in flight: ") && told.contains(" in two, "), "{told}");
    wait_until("a report tells", || pipeline.report()["status"]["stopping"] == true);
    assert!(stop.runs());
    gate.open("open");
    live.wait().expect(143).says("2 files finished, 0 failed, 1 still in the pipeline");
    let done = stop.wait().expect(0);
    assert!(done.stdout.contains("exit code 143"), "{}", done.stdout);
    let done = finish(&mut pipeline.about("stop", &[])).expect(0);
    assert!(done.stdout.contains("No pipeline is at work in"), "{}", done.stdout);
    assert!(done.stdout.contains("exit code 143"), "{}", done.stdout);
    pipeline.run(&[]).expect(0).says("2 files finished before, 1 to go on with");
}

#[test]
fn stop_by_force_kills_it_and_nothing_is_lost() {
    let (pipeline, gate) = gated(2);
    pipeline.add("a.txt", "one").add("b.txt", "two");
    let live = pipeline.live(&["--settle", "0"]);
    wait_until("both are at work", || gate.count("begun-") == 2);
    let done = finish(&mut pipeline.about("stop", &["--force"])).expect(0);
    assert!(done.stdout.contains(&format!("Process {} on ", live.pid())), "{}", done.stdout);
    assert!(done.stdout.contains("still to do"), "{}", done.stdout);
    live.wait().expect(137);
    let status = &pipeline.report()["status"];
    assert_eq!((&status["running"], &status["state"]), (&false.into(), &"died".into()));
    gate.open("open");
    pipeline.run(&[]).expect(0).says("2 to go on with").says("2 files finished, 0 failed");
    assert_eq!(pipeline.out("two/a.two"), "ONE");
}

#[test]
fn one_in_the_background_is_followed_and_stopped() {
    let (pipeline, gate) = gated(1);
    pipeline.add("a.txt", "one");
    let told = finish(&mut pipeline.serve(&["--settle", "0", "--background"])).expect(0);
    let place = pipeline.output().display().to_string();
    for command in ["pipeline report", "attach", "pipeline stop"] {
        let line = format!("tigerflow-host {command} {place}");
        assert!(told.stdout.contains(&line), "{line} is missing in:\n{}", told.stdout);
    }
    let lock = fs::read(pipeline.workspace(".pipeline").join("lock")).expect("a lock");
    let owner: Value = serde_json::from_slice(&lock).expect("JSON");
    let pid = i32::try_from(owner["pid"].as_i64().expect("a process")).expect("a process");
    let end = End(pid);
    assert!(told.stdout.contains(&format!("process {pid}")), "{}", told.stdout);
    let log =
        || fs::read_to_string(pipeline.workspace(".pipeline").join("run.log")).expect("a log");
    gate.wait("begun-a.one");
    let report = pipeline.report();
    assert_eq!(
        (&report["status"]["running"], &report["status"]["pid"]),
        (&true.into(), &pid.into())
    );
    let mut attached = Live::start(&pipeline, host().arg("attach").arg(pipeline.output()));
    wait_until("it follows", || attached.stdout().contains("All tasks started"));
    gate.open("open");
    pipeline.arrive("b.txt", "two");
    wait_until("it takes files still", || pipeline.has("two/b.two"));
    assert!(attached.runs());
    let done = finish(&mut pipeline.about("stop", &[])).expect(0);
    assert!(done.stdout.contains("exit code 143"), "{}", done.stdout);
    wait_until("it is gone", || !alive(pid));
    let seen = attached.wait().expect(143);
    assert_eq!(seen.stdout, log(), "all was shown");
    assert!(log().contains("2 files finished, 0 failed"), "{}", log());
    drop(end);

    // What is wrong is told on the terminal.
    pipeline.configure(&[task("one", "single", ".txt", ".one", "")], &[]);
    finish(&mut pipeline.serve(&["--background"])).expect(2).says("needs more than is granted");
}

/// Kills a process in the end.
struct End(i32);

impl Drop for End {
    fn drop(&mut self) {
        if alive(self.0) {
            let _ = kill_process(Pid::from_raw(self.0).expect("not zero"), Signal::KILL);
        }
    }
}

#[test]
fn commands_for_single_runs_know_a_pipeline() {
    let (pipeline, gate) = gated(2);
    pipeline.add("a.txt", "one").add("b.txt", "two");
    let about = |command: &str, more: &[&str]| {
        finish(host().arg(command).arg(pipeline.output()).args(more))
    };
    let live = pipeline.live(&["--settle", "0"]);
    gate.wait("begun-a.one");
    wait_until("it is told", || {
        let status = about("status", &["--json"]).expect(0);
        let tasks: Value = serde_json::from_str(&status.stdout).expect("JSON");
        tasks
            .as_array()
            .is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["state"] == "running"))
    });
    let text = about("status", &[]).expect(0).stdout;
    assert!(text.contains("one") && text.contains("two") && !text.contains(".pipeline"), "{text}");
    // A task of a pipeline does not end by itself.
    about("stop", &[]).expect(2).says("end it with `tigerflow-host pipeline stop ");
    gate.open("open");
    wait_until("it goes on", || pipeline.finished().len() == 2);
    live.signal(Signal::TERM);
    live.wait().expect(143).says("2 files finished, 0 failed");
    let nothing = Pipeline::chain(1);
    for command in ["report", "stop"] {
        finish(&mut nothing.about(command, &[])).expect(2).says("OUTPUT_DIR of");
    }
    assert!(!nothing.output().join(".tigerflow").exists(), "nothing is made by asking");
}

#[test]
fn one_that_was_killed_goes_on_where_it_was() {
    let (pipeline, gate) = gated(1);
    for name in ["a.txt", "b.txt", "c.txt"] {
        pipeline.add(name, name);
    }
    let live = pipeline.live(&["--settle", "0"]);
    wait_until("one is at work", || gate.count("begun-") == 1);
    let begun = super::list(&pipeline.path().join("gate"));
    let begun = begun.iter().find_map(|name| name.strip_prefix("begun-")).expect("it is begun");
    gate.open(&format!("open-{begun}"));
    wait_until("the next is at work", || gate.count("begun-") == 2);
    wait_until("the first is finished", || pipeline.finished().len() == 1);
    wait_until("the first task is done", || pipeline.shown("one").len() == 3);
    live.kill();
    gate.open("open");
    let done = pipeline.run(&[]).expect(0).says("1 file finished before, 2 to go on with");
    done.says("2 files finished, 0 failed");
    assert_eq!(pipeline.shown("two"), ["a.two", "b.two", "c.two"]);
    let attempts = pipeline.journal("one").iter().filter(|r| r["event"] == "attempt").count();
    assert!(attempts <= 3, "what was made is not made again");
    for name in ["one", "two"] {
        assert_eq!(pipeline.inner(name), [""; 0]);
    }
}
