//! What a run tells of itself: while it works, after, and after it died.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;
use tigerflow_tests::{Bench, Done, finish, guest, host, wait, wait_until};

use crate::live::{Gate, Live};

fn status(bench: &Bench, more: &[&str]) -> String {
    let done = finish(host().arg("status").arg(bench.output()).args(more)).expect(0);
    assert_eq!(done.stderr, "", "status says what it has to say on stdout");
    done.stdout
}

/// The tasks that `status --json` reports.
fn reports(bench: &Bench) -> Vec<Value> {
    serde_json::from_str(&status(bench, &["--json"])).expect("it is JSON")
}

/// The counts of a run without timeouts, retries and interruptions.
fn counts(succeeded: u32, failed: u32, aborted: u32) -> Value {
    serde_json::json!({
        "succeeded": succeeded, "failed": failed, "timed_out": 0, "aborted": aborted,
        "retries": 0, "interrupted": 0,
    })
}

/// The line of `status` that begins with this word.
#[track_caller]
fn line(text: &str, word: &str) -> String {
    let found = text.lines().find(|line| line.starts_with(word));
    found.unwrap_or_else(|| panic!("no line `{word}` in:\n{text}")).into()
}

#[test]
fn it_follows_a_run_from_begin_to_end() {
    let bench = Bench::new();
    let gate = Gate::new(&bench);
    for name in ["a.txt", "b.txt", "c.txt"] {
        bench.add(name, name);
    }
    let arguments = ["--once", "--concurrency-limit", "1", "--dir", &gate.grant()];
    let live = Live::start(&bench, &mut bench.serve(&guest("gated"), &arguments));
    gate.wait("begun-a.txt");
    wait_until("status shows what is in flight", || {
        reports(&bench).first().is_some_and(|report| report["in_flight"][0]["file"] == "a.txt")
    });
    let report = &reports(&bench)[0];
    assert_eq!(report["task"], "gated");
    assert_eq!(report["state"], "running");
    assert_eq!(report["run"]["pid"], live.pid());
    assert_eq!(report["run"]["to_do"], 3);
    assert_eq!((&report["waiting"], &report["running"]), (&2.into(), &1.into()));
    assert_eq!((&report["retrying"], &report["interrupted"]), (&0.into(), &0.into()));
    assert_eq!(
        report["total"],
        serde_json::json!({"succeeded": 0, "failed": 0, "timed_out": 0, "aborted": 0})
    );
    assert_eq!(report["ended"], Value::Null);
    let text = status(&bench, &[]);
    let state = line(&text, "state");
    assert!(state.contains(&format!("running: process {} on ", live.pid())), "{state}");
    assert!(
        line(&text, "files").ends_with("3: 0 succeeded, 0 failed, 0 timed out, 0 aborted, 2 waiting, 1 running, 0 retrying, 0 interrupted")
    );
    assert!(line(&text, "in flight").contains("a.txt since "));

    gate.open("open-a.txt");
    gate.wait("begun-b.txt");
    wait_until("status counts what is done", || {
        let report = &reports(&bench)[0];
        report["counts"]["succeeded"] == 1 && report["in_flight"][0]["file"] == "b.txt"
    });
    gate.open("open");
    live.wait().expect(0);
    let report = &reports(&bench)[0];
    assert_eq!((&report["state"], &report["ended"]["exit_code"]), (&"ended".into(), &0.into()));
    assert_eq!(report["counts"]["succeeded"], 3);
    assert_eq!((&report["waiting"], &report["in_flight"]), (&0.into(), &Value::Array(vec![])));
    assert!(report["timings"]["longest"].as_f64().is_some_and(|ms| ms > 0.0), "{report}");
    let text = status(&bench, &[]);
    assert!(line(&text, "state").ends_with("with exit code 0"));
    assert!(
        line(&text, "files").ends_with("3: 3 succeeded, 0 failed, 0 timed out, 0 aborted, 0 waiting, 0 running, 0 retrying, 0 interrupted")
    );
}

#[test]
fn a_run_that_was_killed_died() {
    let bench = Bench::new();
    let gate = Gate::new(&bench);
    bench.add("a.txt", "one").add("b.txt", "two");
    gate.open("open-a.txt");
    let arguments = ["--concurrency-limit", "1", "--settle", "0", "--dir", &gate.grant()];
    let live = Live::start(&bench, &mut bench.serve(&guest("gated"), &arguments));
    gate.wait("begun-b.txt");
    wait_until("it is recorded that the first is done and the second at work", || {
        let report = &reports(&bench)[0];
        report["counts"]["succeeded"] == 1 && report["in_flight"][0]["file"] == "b.txt"
    });
    live.kill();
    let report = &reports(&bench)[0];
    assert_eq!(report["state"], "died", "{report}");
    assert_eq!(report["counts"], counts(1, 0, 0));
    let left = ["waiting", "running", "retrying", "interrupted"].map(|key| report[key].as_u64());
    assert_eq!(left, [0, 0, 0, 1].map(Some), "{report}");
    assert_eq!(report["in_flight"], Value::Array(vec![]), "nothing is in flight any more");
    let state = line(&status(&bench, &[]), "state");
    assert!(state.contains("died") && state.contains("run the same command again"), "{state}");

    gate.open("open");
    bench.run(&guest("gated"), &["--dir", &gate.grant()]).expect(0);
    let report = &reports(&bench)[0];
    assert_eq!(report["state"], "ended");
    assert_eq!(
        (&report["total"]["succeeded"], &report["counts"]["succeeded"]),
        (&2.into(), &1.into())
    );
}

#[test]
fn failures_are_told_with_their_kinds_and_the_latest_of_them() {
    let bench = Bench::new();
    for number in 0..30 {
        let content = ["fail", "decline", "good"][number % 3];
        bench.add(format!("{number:02}.txt"), content);
    }
    let done = bench.run(&guest("slow"), &["--param", "pause=0"]).expect(3);
    let done = done.says("30 files: 0 succeeded before, 0 failed before, 30 to do");
    done.says("10 succeeded, 10 failed, 10 aborted, 0 skipped in ");
    let report = &reports(&bench)[0];
    assert_eq!(report["counts"], counts(10, 10, 10));
    assert_eq!(report["failures_by_type"], serde_json::json!({"Failed": 10}));
    let latest = report["latest_failures"].as_array().expect("a list");
    assert_eq!(latest.len(), 10);
    assert!(latest.iter().all(|failure| failure["message"] == "told to fail"), "{report}");
    let text = status(&bench, &[]);
    assert!(line(&text, "failures").ends_with("10 Failed"), "{text}");
    assert!(line(&text, "failed").contains(".txt: told to fail"), "{text}");

    // What was before stays in the sum, and is told at start and end.
    let again = bench.run(&guest("slow"), &["--param", "pause=0"]).expect(3);
    let again = again.says("30 files: 10 succeeded before, 10 failed before (--retry-failed runs");
    let again = again.says("10 aborted before (--retry-aborted runs them again), 0 to do");
    again.says("0 succeeded, 0 failed, 30 skipped");
    let report = &reports(&bench)[0];
    assert_eq!(
        report["total"],
        serde_json::json!({"succeeded": 10, "failed": 10, "timed_out": 0, "aborted": 10})
    );
    assert_eq!(report["counts"], counts(0, 0, 0));
}

#[test]
fn tasks_in_one_output_directory_are_told_apart() {
    let bench = Bench::new();
    bench.add("a.txt", "one");
    bench.run(&guest("upper"), &["--task-name", "first"]).expect(0);
    bench.run(&guest("slow"), &["--task-name", "second task"]).expect(0);
    let tasks: Vec<Value> = reports(&bench).iter().map(|report| report["task"].clone()).collect();
    assert_eq!(tasks, ["first", "second task"]);
    let text = status(&bench, &[]);
    assert_eq!(text.lines().filter(|line| line.starts_with("task ")).count(), 2, "{text}");
    let text = status(&bench, &["--task-name", "first"]);
    assert!(line(&text, "task").contains("first"));
    assert!(!text.contains("second task"), "{text}");
    let done = finish(host().arg("status").arg(bench.output()).args(["--task-name", "third"]));
    done.expect(2).says("no run is recorded");
}

#[test]
fn names_that_a_terminal_would_obey_are_shown_escaped() {
    let bench = Bench::new();
    bench.add("bad\n\u{1b}[2J.txt", "fail");
    bench.run(&guest("slow"), &[]).expect(3);
    let text = status(&bench, &[]);
    assert!(text.contains("bad\\n\\u{1b}[2J.txt: told to fail"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

/// Each line of a log in JSON.
fn json_lines(done: &Done) -> Vec<Value> {
    done.stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

#[test]
fn a_log_in_json_is_json_in_every_line() {
    let bench = Bench::new();
    bench.add("a \"quoted\"\n.txt", "one").add("b.txt", "fail").add("c.txt", "decline");
    std::os::unix::fs::symlink("nowhere", bench.input().join("d.txt")).expect("a link");
    let done = bench.run(&guest("slow"), &["--log-format", "json", "-vv"]).expect(3);
    let lines = json_lines(&done);
    for line in &lines {
        assert!(line["time"].as_str().is_some_and(|time| time.starts_with("20")), "{line}");
        assert!(line["message"].is_string(), "{line}");
    }
    let level = |text: &str| {
        let found = lines.iter().find(|l| l["message"].as_str().is_some_and(|m| m.contains(text)));
        found.unwrap_or_else(|| panic!("`{text}` is missing:\n{}", done.stderr))["level"].clone()
    };
    assert_eq!(level("Successfully processed: a \"quoted\"\\n.txt"), "INFO");
    assert_eq!(level("Failed processing: b.txt"), "ERROR");
    assert_eq!(level("Skipped d.txt"), "WARNING");
    assert_eq!(level("1 succeeded, 1 failed, 1 aborted"), "INFO");
}

#[test]
fn how_much_is_told_can_be_chosen() {
    let bench = Bench::new();
    let run = |more: &[&str]| {
        for (name, content) in [("a.txt", "one"), ("b.txt", "fail")] {
            bench.add(name, content);
            let _ = fs::remove_file(bench.output().join(name).with_extension("out"));
            let _ = fs::remove_file(bench.output().join(name).with_extension("err"));
        }
        bench.run(&guest("slow"), more).expect(3).stderr
    };
    let plain = run(&[]);
    assert!(plain.contains("| INFO     | Starting processing: a.txt"), "{plain}");
    assert!(
        plain.contains("| ERROR    | Failed processing: b.txt (Failed: told to fail)"),
        "{plain}"
    );
    assert!(!plain.contains("DEBUG"), "{plain}");
    let verbose = run(&["-v"]);
    assert!(verbose.lines().count() >= plain.lines().count(), "{verbose}");
    for quiet in [run(&["-q"]), run(&["-qq"])] {
        assert_eq!(quiet.lines().count(), 1, "failures only: {quiet}");
        assert!(quiet.contains("Failed processing: b.txt"), "{quiet}");
    }
}

#[test]
fn a_progress_bar_beside_a_file_breaks_nothing() {
    let bench = Bench::new();
    for number in 0..200 {
        bench.add(format!("{number}.txt"), if number == 7 { "fail" } else { "good" });
    }
    let done = bench.run(&guest("slow"), &["--progress", "always"]).expect(3);
    assert_eq!(bench.names().len(), 200);
    let done = done.says("199 succeeded, 1 failed, 0 skipped").says("Failed processing: 7.txt");
    // The bar stands in for a line for each file that goes well.
    assert!(!done.stderr.contains("Successfully processed"), "{}", done.stderr);
    let never = Bench::new();
    never.add("a.txt", "good");
    let done = never.run(&guest("slow"), &["--progress", "never"]).expect(0);
    done.says("Successfully processed: a.txt");
}

#[test]
fn readers_that_go_away_are_harmless() {
    let bench = Bench::new();
    for number in 0..500 {
        bench.add(format!("{number:03}.txt"), "x".repeat(100));
    }
    // As `2>&1 | head -n 1`: one line is read, and the pipe closed.
    let mut child = bench
        .serve(&guest("slow"), &["--once", "--param", "pause=0"])
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut first = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    stderr.read_line(&mut first).expect("a line");
    assert!(first.contains("500 files"), "{first}");
    drop(stderr);
    wait(child).expect(0);
    assert_eq!(bench.names().len(), 500);
    for more in [&[][..], &["--json"][..]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = host();
        let command = command.arg("status").arg(bench.output()).args(more).stdout(writer);
        assert_eq!(command.status().expect("it starts").code(), Some(0));
    }
}

#[test]
fn a_server_that_was_told_to_stop_says_so_in_its_status() {
    let bench = Bench::new();
    let live = Live::start(&bench, &mut bench.serve(&guest("upper"), &[]));
    live.says("Task setup complete").signal(Signal::INT);
    live.wait().expect(130);
    let report = &reports(&bench)[0];
    assert_eq!((&report["state"], &report["ended"]["exit_code"]), (&"ended".into(), &130.into()));
}
