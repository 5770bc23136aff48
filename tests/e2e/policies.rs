//! What is done about failures and load: retries, rate limits, labels that runs
//! share, a limit on failures; and a task's own defaults for them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;
use tigerflow_tests::{Bench, Done, finish, guest, host, wait_until};

use crate::live::{Gate, Live};

/// A place for `flaky`, with the directory where it counts its tries.
fn flaky() -> (Bench, String) {
    let bench = Bench::new();
    fs::create_dir(bench.path().join("state")).expect("a directory");
    let grant = format!("{}::/state:rw", bench.path().join("state").display());
    (bench, grant)
}

/// How often `flaky` tried a file.
fn tries(bench: &Bench, name: &str) -> usize {
    let path = bench.path().join("state").join(name);
    fs::read_to_string(path).map_or(0, |lines| lines.lines().count())
}

/// Seconds since 1970 of a record, or of a line of a log in JSON.
fn seconds(record: &Value) -> f64 {
    let time = record["time"].as_str().unwrap_or_else(|| panic!("no time in {record}"));
    let (date, clock) = time.trim_end_matches('Z').split_once('T').expect("a date and a time");
    let numbers: Vec<f64> = clock.split(':').map(|n| n.parse().expect("a number")).collect();
    let date: Vec<i64> = date.split('-').map(|n| n.parse().expect("a number")).collect();
    let [year, month, day] = date[..] else { panic!("{time}") };
    // Days since 1970, by the civil calendar.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    days as f64 * 86_400.0 + numbers[0] * 3600.0 + numbers[1] * 60.0 + numbers[2]
}

/// When the attempts of a run began, in order, as a log in JSON tells it.
fn starts(done: &Done) -> Vec<f64> {
    let mut starts: Vec<f64> = done
        .stderr
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("each line is JSON"))
        .filter(|l| l["message"].as_str().is_some_and(|m| m.starts_with("Starting processing: ")))
        .map(|line| seconds(&line))
        .collect();
    starts.sort_by(f64::total_cmp);
    starts
}

#[test]
fn times_are_read_right() {
    let at = |time: &str| seconds(&serde_json::json!({ "time": time }));
    assert_eq!(at("1970-01-01T00:00:00Z"), 0.0);
    assert_eq!(at("2026-11-22T18:09:59.5Z"), 1_795_370_999.5);
    assert_eq!(at("2024-03-01T00:00:00Z") - at("2024-02-28T23:59:59Z"), 86_401.0);
}

#[test]
fn what_is_worth_another_try_is_chosen() {
    let inputs = [("transient", "transient 1"), ("timeout", "hang 1"), ("crash", "trap 1")];
    for chosen in [
        &[][..],
        &["none"],
        &["transient"],
        &["timeout"],
        &["crash"],
        &["timeout,crash"],
        &["transient", "timeout,crash"],
    ] {
        let (bench, grant) = flaky();
        for (cause, content) in inputs {
            bench.add(format!("{cause}.txt"), content);
        }
        bench.add("failed.txt", "fail 1");
        let mut more = vec!["--dir", &grant, "--timeout", "1s", "--retry-delay", "10ms"];
        for causes in chosen {
            more.extend(["--retry-on", causes]);
        }
        bench.run(&guest("flaky"), &more).expect(3);
        for (cause, content) in inputs {
            let default = chosen.is_empty() && cause == "transient";
            let expected = default || chosen.iter().any(|causes| causes.contains(cause));
            let history = bench.history("flaky", &format!("{cause}.txt"));
            if expected {
                assert_eq!(bench.out(format!("{cause}.out")), format!("{content} at try 2\n"));
                assert_eq!(history, ["retrying", "succeeded"], "{chosen:?}");
                assert!(!bench.has(format!("{cause}.err")));
            } else {
                let error = bench.err(format!("{cause}.err"));
                assert_eq!(error["attempts"], 1, "{chosen:?}: {error:#}");
                let word = if cause == "timeout" { "timed-out" } else { "failed" };
                assert_eq!(history, [word], "{chosen:?}");
            }
        }
        // What the task calls failed is final, whatever is chosen.
        assert_eq!(bench.err("failed.err")["attempts"], 1);
        assert_eq!(tries(&bench, "failed.txt"), 1);
        bench.assert_tidy("flaky");
    }
}

#[test]
fn tries_are_counted_and_end() {
    for (retries, content, attempts, exception_type) in [
        ("0", "transient 9", 1, "Transient"),
        ("1", "transient 9", 2, "Transient"),
        ("5", "transient 9", 6, "Transient"),
        ("2", "trap 9", 3, "Panic"),
        ("1", "hang 9", 2, "Timeout"),
    ] {
        let (bench, grant) = flaky();
        bench.add("a.txt", content);
        let more = ["--dir", &grant, "--timeout", "500ms", "--retry-delay", "10ms"];
        let causes = ["--retry-on", "transient,timeout,crash", "--retries", retries];
        let done = bench.run(&guest("flaky"), &[&more[..], &causes].concat()).expect(3);
        assert_eq!(tries(&bench, "a.txt"), attempts);
        let error = bench.err("a.err");
        assert_eq!(error["exception_type"], exception_type, "{error:#}");
        assert_eq!(error["attempts"], attempts);
        let records = bench.attempts("flaky", "a.txt");
        assert_eq!(records.len(), attempts);
        for (number, record) in records.iter().enumerate() {
            assert_eq!(record["attempt"], number + 1, "{record}");
            assert_eq!(record["exception_type"], exception_type, "{record}");
            assert!(record["message"].is_string(), "{record}");
            let last = number + 1 == attempts;
            assert_eq!(record["outcome"] == "retrying", !last, "{record}");
            let wait = record["retry_after_seconds"].as_f64();
            assert_eq!(wait.is_some(), !last, "{record}");
            assert!(wait.is_none_or(|seconds| seconds >= 0.01), "{record}");
        }
        let status = bench.status();
        assert_eq!(status["counts"]["retries"], attempts - 1, "{status}");
        assert_eq!((&status["retrying"], &status["waiting"]), (&0.into(), &0.into()), "{status}");
        assert_eq!(done.stderr.matches("Retrying in ").count(), attempts - 1, "{}", done.stderr);
    }
}

#[test]
fn tries_of_all_runs_are_counted_together() {
    let (bench, grant) = flaky();
    bench.add("a.txt", "transient 5");
    let more = ["--dir", &grant, "--retry-delay", "1ms", "--retries", "2"];
    bench.run(&guest("flaky"), &more).expect(3);
    assert_eq!(bench.err("a.err")["attempts"], 3);
    let again = [&more[..], &["--retry-failed"]].concat();
    let done = bench.run(&guest("flaky"), &again).expect(0);
    done.says("1 to do (1 of them again)").says("1 succeeded, 0 failed");
    // Each run has its own retries.
    assert_eq!(bench.out("a.out"), "transient 5 at try 6\n");
    assert_eq!(bench.names(), ["a.out"]);
    let numbers: Vec<Value> =
        bench.attempts("flaky", "a.txt").iter().map(|record| record["attempt"].clone()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}

/// The waits before each further attempt at `a.txt`, as they were announced, and
/// as they were.
fn waits(bench: &Bench) -> Vec<(f64, f64)> {
    let records = bench.attempts("flaky", "a.txt");
    records
        .windows(2)
        .map(|pair| {
            let began = seconds(&pair[1]) - pair[1]["duration_ms"].as_f64().expect("it") / 1e3;
            let said = pair[0]["retry_after_seconds"].as_f64().expect("a number");
            (said, began - seconds(&pair[0]))
        })
        .collect()
}

#[test]
fn waits_grow_up_to_their_limit_and_are_kept() {
    for (content, more, expected) in [
        (
            "transient 4",
            &["--retry-delay", "200ms", "--retry-max-delay", "700ms", "--retries", "4"][..],
            &[0.2, 0.4, 0.7, 0.7][..],
        ),
        ("transient 2", &["--retry-delay", "100ms", "--retry-backoff", "5"], &[0.1, 0.5]),
        ("transient 2", &["--retry-delay", "150ms", "--retry-backoff", "1"], &[0.15, 0.15]),
        ("transient 1", &["--retry-delay", "0"], &[0.0]),
        // The task knows better, whatever the host would do.
        (
            "transient 1 after 1200",
            &["--retry-delay", "10ms", "--retry-max-delay", "100ms"],
            &[1.2],
        ),
        ("transient 1 after 10", &["--retry-delay", "10m"], &[0.01]),
    ] {
        let (bench, grant) = flaky();
        bench.add("a.txt", content);
        bench.run(&guest("flaky"), &[&["--dir", &grant], more].concat()).expect(0);
        let waits = waits(&bench);
        assert_eq!(waits.len(), expected.len(), "{more:?}");
        for ((said, kept), least) in waits.into_iter().zip(expected) {
            assert!(said >= *least - 0.001 && said <= least * 1.25 + 0.002, "{more:?}: {said}");
            // The record of an end may be a moment later than the end.
            assert!(kept >= said - 0.02, "{more:?}: {kept} instead of {said}");
        }
    }
}

#[test]
fn a_file_that_waits_for_its_next_try_takes_no_place() {
    let (bench, grant) = flaky();
    bench.add("a.txt", "transient 1 after 3000");
    for number in 0..20 {
        bench.add(format!("b-{number:02}.txt"), "transient 0");
    }
    let more = ["--dir", &grant, "--concurrency-limit", "1"];
    bench
        .run(&guest("flaky"), &more)
        .expect(0)
        .says("21 succeeded, 0 failed, 0 skipped, 1 retries");
    let mut records = bench.journal("flaky");
    records.retain(|record| record["event"] == "attempt");
    let order: Vec<(&str, &str)> = records
        .iter()
        .map(|r| (r["file"].as_str().expect("it"), r["outcome"].as_str().expect("it")))
        .collect();
    assert_eq!(order[0], ("a.txt", "retrying"));
    assert_eq!(order[21], ("a.txt", "succeeded"), "others pass meanwhile");
    assert_eq!(order.len(), 22);
}

#[test]
fn a_stop_during_the_wait_leaves_the_file_to_do() {
    for how in ["signal", "signals", "kill"] {
        let (bench, grant) = flaky();
        bench.add("a.txt", "transient 1 after 3600000").add("b.txt", "transient 0");
        let more = ["--dir", &grant, "--settle", "0"];
        let live = Live::start(&bench, &mut bench.serve(&guest("flaky"), &more));
        wait_until("status shows the wait", || bench.status()["retrying"] == 1);
        wait_until("the other one is done", || bench.has("b.out"));
        wait_until("that is written down", || bench.status()["counts"]["succeeded"] == 1);
        let status = bench.status();
        assert_eq!((&status["running"], &status["waiting"]), (&0.into(), &0.into()), "{status}");
        let text = finish(host().arg("status").arg(bench.output())).expect(0).stdout;
        assert!(text.contains("2: 1 succeeded,") && text.contains("1 retrying"), "{text}");
        match how {
            "kill" => live.kill(),
            "signal" => {
                live.signal(Signal::INT);
                live.wait()
                    .expect(130)
                    .says("1 succeeded, 0 failed, 0 skipped, 1 retries, 1 still");
            }
            _ => {
                live.signal(Signal::INT).signal(Signal::TERM);
                let done = live.wait();
                assert!([130, 143].contains(&done.code), "{}", done.stderr);
            }
        }
        assert_eq!(bench.names(), ["b.out"], "no .err before its time");
        assert_eq!(bench.history("flaky", "a.txt"), ["retrying"]);
        let status = bench.status();
        let left = ["waiting", "running", "retrying", "interrupted"].map(|k| status[k].as_u64());
        assert_eq!(left, [1, 0, 0, 0].map(Some), "{how}: {status}");
        // The next run does it, at once.
        bench.run(&guest("flaky"), &["--dir", &grant]).expect(0).says("1 to do");
        assert_eq!(bench.out("a.out"), "transient 1 after 3600000 at try 2\n");
        bench.assert_tidy("flaky");
    }
}

#[test]
fn who_waits_for_a_retry_is_not_idle() {
    let (bench, grant) = flaky();
    bench.add("a.txt", "transient 1 after 1500");
    let more = ["--dir", &grant, "--settle", "0", "--idle-timeout", "100ms"];
    let live = Live::start(&bench, &mut bench.serve(&guest("flaky"), &more));
    live.wait().expect(0).says("1 succeeded, 0 failed");
}

#[test]
fn an_input_that_is_gone_before_its_retry_is_no_failure() {
    let (bench, grant) = flaky();
    bench.add("a.txt", "transient 1 after 1500").add("b.txt", "transient 0");
    let more = ["--dir", &grant, "--settle", "0", "--poll-interval", "50ms"];
    let live = Live::start(&bench, &mut bench.serve(&guest("flaky"), &more));
    live.says("Retrying in ");
    fs::remove_file(bench.input().join("a.txt")).expect("it can be removed");
    live.says("Gone before it was processed: a.txt");
    // It comes back: an input again.
    bench.arrive("a.txt", "transient 0");
    wait_until("it is done", || bench.has("a.out"));
    live.signal(Signal::TERM);
    live.wait().expect(143).says("2 succeeded, 0 failed");
}

#[test]
fn a_file_that_changes_while_it_waits_is_tried_as_it_is_then() {
    let (bench, grant) = flaky();
    bench.add("a.txt", "transient 9 after 1000");
    let more = ["--dir", &grant, "--settle", "0", "--poll-interval", "50ms"];
    let live = Live::start(&bench, &mut bench.serve(&guest("flaky"), &more));
    live.says("Retrying in ");
    bench.arrive("a.txt", "transient 0");
    wait_until("it is done", || bench.has("a.out"));
    assert_eq!(bench.out("a.out"), "transient 0 at try 2\n");
    live.signal(Signal::TERM);
    live.wait().expect(143).says("1 succeeded, 0 failed");
}

#[test]
fn asynchronous_calls_are_tried_again_as_well() {
    let bench = Bench::new();
    for number in 0..20 {
        bench.add(format!("{number:02}.txt"), "wait 1200");
    }
    bench.add("trap.txt", "trap").add("stuck.txt", "wait 600000").add("loop.txt", "loop");
    let more = ["--timeout", "3s", "--retries", "1", "--retry-delay", "10ms"];
    let more = [&more[..], &["--retry-on", "crash,timeout"]].concat();
    let done = bench.run(&guest("async-upper"), &more).expect(3);
    done.says("20 succeeded, 1 failed, 2 timed out");
    for (name, last) in [("trap", "failed"), ("stuck", "timed-out"), ("loop", "timed-out")] {
        let mut history = bench.history("async-upper", &format!("{name}.txt"));
        history.retain(|outcome| outcome != "interrupted");
        assert_eq!(history, ["retrying", last], "{name}");
        assert_eq!(bench.err(format!("{name}.err"))["attempts"], 2, "{name}");
    }
}

#[test]
fn a_rate_is_kept_in_every_window() {
    for (component, files, content, more, attempts) in [
        ("upper", 40, "text", &["--rate-limit", "20/s"][..], 40),
        ("upper", 40, "text", &["--rate-limit", "20/s", "--concurrency-limit", "40"], 40),
        ("async-upper", 40, "wait 100", &["--rate-limit", "20/s", "--instances", "2"], 40),
        // A retry is an attempt, too.
        ("flaky", 20, "transient 1", &["--rate-limit", "20/s", "--retry-delay", "0"], 40),
        ("upper", 6, "text", &["--rate-limit", "2/s"], 6),
    ] {
        let (bench, grant) = flaky();
        for number in 0..files {
            bench.add(format!("{number:02}.txt"), content);
        }
        let grant = ["--dir", &*grant];
        let grant = if component == "flaky" { &grant[..] } else { &[] };
        let more = [grant, &["--log-format", "json"], more].concat();
        let done = bench.run(&guest(component), &more).expect(0);
        let starts = starts(&done);
        assert_eq!(starts.len(), attempts, "{more:?}");
        let limit = if files == 6 { 2 } else { 20 };
        for (number, first) in starts.iter().enumerate() {
            let within = starts[number..].iter().filter(|&&start| start - first < 1.0).count();
            assert!(within <= limit, "{within} began within a second, {more:?}: {starts:?}");
        }
    }
}

#[test]
fn a_rate_that_is_no_limit_costs_nothing() {
    let bench = Bench::new();
    for number in 0..500 {
        bench.add(format!("{number}.txt"), "text");
    }
    for rate in ["1000000/s", "4000000000/h"] {
        bench.run(&guest("upper"), &["--rate-limit", rate]).expect(0);
        assert_eq!(bench.names().len(), 500);
        fs::remove_dir_all(bench.output()).expect("it can be removed");
    }
}

#[test]
fn a_stop_while_files_wait_for_the_rate_is_prompt() {
    for component in ["upper", "async-upper"] {
        let bench = Bench::new();
        for number in 0..50 {
            bench.add(format!("{number}.txt"), "text");
        }
        let more = ["--settle", "0", "--rate-limit", "1/h"];
        let live = Live::start(&bench, &mut bench.serve(&guest(component), &more));
        wait_until("the first is done", || bench.names().len() == 1);
        live.signal(Signal::INT);
        let done = live.wait().expect(130);
        let done = done.says("1 succeeded, 0 failed, 0 skipped, 49 still to do");
        assert_eq!(done.stderr.matches("Starting processing: ").count(), 1, "{}", done.stderr);
        let status = bench.status();
        assert_eq!((&status["waiting"], &status["interrupted"]), (&49.into(), &0.into()));
    }
}

#[test]
fn policies_that_make_no_sense_are_refused() {
    let bench = Bench::new();
    bench.add("a.txt", "text");
    for (option, value, word) in [
        ("--rate-limit", "0/s", "30/s"),
        ("--rate-limit", "20", "30/s"),
        ("--rate-limit", "20/d", "30/s"),
        ("--rate-limit", "-1/s", "30/s"),
        ("--rate-limit", "1.5/s", "30/s"),
        ("--rate-limit", "many/s", "30/s"),
        ("--rate-limit", "/s", "30/s"),
        ("--rate-limit", "99999999999999/s", "30/s"),
        ("--rate-limit", "", "--rate-limit"),
        ("--label", "", "--label"),
        ("--label", "gpu=0", "gpu=2"),
        ("--label", "gpu=x", "gpu=2"),
        ("--label", "gpu=-1", "gpu=2"),
        ("--label", "gpu=", "gpu=2"),
        ("--label", "a/b", "letters"),
        ("--label", "..", "letters"),
        ("--label", "../x=1", "letters"),
        ("--label", "=1", "letters"),
        ("--max-failures", "0", "--max-failures"),
        ("--max-failures", "0%", "100 %"),
        ("--max-failures", "101%", "100 %"),
        ("--max-failures", "-1", "5%"),
        ("--max-failures", "x%", "5%"),
        ("--max-failures", "NaN%", "100 %"),
        ("--max-failures", "", "5%"),
        ("--retries", "-1", "--retries"),
        ("--retries", "many", "--retries"),
        ("--retry-on", "failed", "transient, timeout, crash, none"),
        ("--retry-on", "none,crash", "`none`"),
        ("--retry-on", "", "--retry-on"),
        ("--retry-delay", "5", "5s"),
        ("--retry-delay", "-1s", "--retry-delay"),
        ("--retry-backoff", "0.5", "--retry-backoff"),
        ("--retry-backoff", "NaN", "--retry-backoff"),
        ("--retry-backoff", "inf", "--retry-backoff"),
        ("--retry-max-delay", "soon", "30s"),
    ] {
        let option = format!("{option}={value}");
        let done = bench.run(&guest("upper"), &[&option]).expect(2).says(word);
        assert!(!done.stderr.contains("panicked"), "{option}: {}", done.stderr);
        assert!(!bench.has(".tigerflow"), "{option}: a workspace was made");
    }
    assert_eq!(bench.names(), [""; 0]);
}

/// Runs of `gated` that share labels, through one gate.
struct Sharing {
    gate: Gate,
    labels: PathBuf,
    bench: Bench,
}

impl Sharing {
    fn new() -> Sharing {
        let bench = Bench::new();
        Sharing { gate: Gate::new(&bench), labels: bench.path().join("labels"), bench }
    }

    /// A place for one of the runs: its files are called `NAME0` and so on.
    fn place(&self, name: &str, files: usize) -> Bench {
        let bench = Bench::new();
        for number in 0..files {
            bench.add(format!("{name}{number}.txt"), "text");
        }
        bench
    }

    fn run(&self, bench: &Bench, labels: &[&str]) -> Command {
        let grant = self.gate.grant();
        let mut command = bench.serve(&guest("gated"), &["--once", "--concurrency-limit", "4"]);
        command.args(["--dir", &grant]).env("TIGERFLOW_LABEL_DIR", &self.labels);
        for label in labels {
            command.args(["--label", label]);
        }
        command
    }

    fn start(&self, bench: &Bench, labels: &[&str]) -> Live {
        Live::start(bench, &mut self.run(bench, labels))
    }
}

#[test]
fn runs_share_the_places_under_a_label() {
    for (labels, most) in [
        (["gpu=1", "gpu=1"], 1),
        // Without a number it is one.
        (["gpu", "gpu"], 1),
        (["gpu=2", "gpu=2"], 2),
        // Each run keeps to what itself was told.
        (["gpu=3", "gpu=3"], 3),
    ] {
        let sharing = Sharing::new();
        let (a, b) = (sharing.place("a", 6), sharing.place("b", 6));
        let live = (sharing.start(&a, &labels[..1]), sharing.start(&b, &labels[1..]));
        wait_until("as many as allowed are at work", || sharing.gate.count("begun-") == most);
        // Long enough for another one to begin, if it could.
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(sharing.gate.count("begun-"), most, "{labels:?}");
        sharing.gate.open("open");
        live.0.wait().expect(0).says("6 succeeded");
        live.1.wait().expect(0).says("6 succeeded");
        let seen: Vec<usize> =
            (1..=12).filter(|n| sharing.gate.has(&format!("seen-{n}"))).collect();
        assert!(seen.iter().all(|&number| number <= most), "{labels:?}: {seen:?} at once");
        assert!(seen.contains(&most), "{labels:?}: {seen:?}");
    }
}

#[test]
fn other_labels_are_no_hindrance_and_several_hold_together() {
    // Each run has its own label: four and four.
    let sharing = Sharing::new();
    let (a, b) = (sharing.place("a", 4), sharing.place("b", 4));
    let live = (sharing.start(&a, &["gpu=4"]), sharing.start(&b, &["disk=4"]));
    wait_until("all of them are at work", || sharing.gate.count("begun-") == 8);
    sharing.gate.open("open");
    live.0.wait().expect(0);
    live.1.wait().expect(0);

    // In whatever order they are given, nobody waits in a circle.
    let sharing = Sharing::new();
    sharing.gate.open("open");
    let (a, b) = (sharing.place("a", 30), sharing.place("b", 30));
    let live = (sharing.start(&a, &["x=1", "y=1"]), sharing.start(&b, &["y=1", "x=1"]));
    live.0.wait().expect(0).says("30 succeeded");
    live.1.wait().expect(0).says("30 succeeded");
    assert!(sharing.gate.has("seen-1") && !sharing.gate.has("seen-2"));
}

#[test]
fn whoever_is_killed_frees_its_places() {
    let sharing = Sharing::new();
    let (a, b) = (sharing.place("a", 2), sharing.place("b", 2));
    let holder = sharing.start(&a, &["gpu=1"]);
    wait_until("the holder is at work", || sharing.gate.count("begun-a") == 1);
    let waiting = sharing.start(&b, &["gpu=1"]);
    waiting.says("2 to do");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(sharing.gate.count("begun-b"), 0);
    assert_eq!(b.status()["running"], 0, "who waits for a place does not run");
    holder.kill();
    wait_until("the other one is at work", || sharing.gate.count("begun-b") == 1);
    sharing.gate.open("open");
    waiting.wait().expect(0).says("2 succeeded");
}

#[test]
fn a_stop_while_files_wait_for_a_label_is_prompt() {
    let sharing = Sharing::new();
    let (a, b) = (sharing.place("a", 1), sharing.place("b", 3));
    let holder = sharing.start(&a, &["gpu=1"]);
    wait_until("the holder is at work", || sharing.gate.count("begun-a") == 1);
    let waiting = sharing.start(&b, &["gpu=1"]);
    waiting.says("Task setup complete").signal(Signal::INT);
    let done = waiting.wait().expect(130).says("0 succeeded, 0 failed, 0 skipped, 3 still to do");
    assert!(!done.stderr.contains("Starting processing"), "{}", done.stderr);
    sharing.gate.open("open");
    holder.wait().expect(0);
}

#[test]
fn labels_are_the_users_own_files() {
    use std::os::unix::fs::PermissionsExt;
    let sharing = Sharing::new();
    sharing.gate.open("open");
    let a = sharing.place("a", 1);
    finish(&mut sharing.run(&a, &["gpu=1"])).expect(0);
    let mode = fs::metadata(&sharing.labels).expect("it was made").permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    assert!(sharing.labels.join("gpu").is_dir());
    // A place that cannot be had is told, with the way out.
    let b = sharing.place("b", 1);
    fs::write(sharing.bench.path().join("file"), "").expect("a file");
    let mut command = sharing.run(&b, &["gpu=1"]);
    let command = command.env("TIGERFLOW_LABEL_DIR", sharing.bench.path().join("file/labels"));
    let done = finish(command).says("--label").says("TIGERFLOW_LABEL_DIR");
    assert!([1, 2].contains(&done.code), "{}", done.stderr);
    assert_eq!(b.names(), [""; 0]);
    // Without the variable it is a directory in the system's temporary one.
    let mut command = sharing.run(&b, &["gpu=1"]);
    let temporary = sharing.bench.path().join("tmp");
    fs::create_dir(&temporary).expect("a directory");
    finish(command.env_remove("TIGERFLOW_LABEL_DIR").env("TMPDIR", &temporary)).expect(0);
    let made: Vec<String> = fs::read_dir(&temporary)
        .expect("it can be listed")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(made.len() == 1 && made[0].starts_with("tigerflow-host-labels-"), "{made:?}");
}

#[test]
fn a_run_stops_when_enough_files_have_failed() {
    let bench = Bench::new();
    for number in 0..100 {
        let content = ["fail", "decline", "good", "good"][number % 4];
        bench.add(format!("{number:03}.txt"), content);
    }
    let more = ["--max-failures", "3", "--concurrency-limit", "1", "--param", "pause=20"];
    let done = bench.run(&guest("slow"), &more).expect(3);
    let done = done.says("files failed: that is enough (--max-failures), stopping");
    assert_eq!(done.stderr.matches("that is enough").count(), 1);
    // The third is 008; the next was begun before anybody knew. What the task
    // declines is no failure.
    let ended = bench.names().len();
    assert!((9..40).contains(&ended), "{ended} files ended");
    let done = done.says(&format!(" aborted, 0 skipped, {} still to do", 100 - ended));
    assert_eq!(done.stderr.matches("Starting processing: ").count(), ended);
    bench.assert_tidy("slow");
    assert_eq!(bench.status()["waiting"], 100 - ended);
    assert_eq!(bench.status()["ended"]["exit_code"], 3);
    let failed = bench.status()["total"]["failed"].as_u64().expect("a number");
    assert!((3..11).contains(&failed), "{failed}");
    // Those of earlier runs do not count; and the next run does the rest.
    let max = (25 - failed + 1).to_string();
    let more = ["--max-failures", &max, "--concurrency-limit", "1", "--param", "pause=0"];
    let done = bench.run(&guest("slow"), &more).expect(3);
    assert!(!done.stderr.contains("that is enough"), "{}", done.stderr);
    assert_eq!(bench.names().len(), 100);
}

#[test]
fn files_in_flight_finish_when_enough_have_failed() {
    let bench = Bench::new();
    bench.add("00.txt", "fail it");
    for number in 1..30 {
        bench.add(format!("{number:02}.txt"), "wait 1000");
    }
    let more = ["--max-failures", "1", "--concurrency-limit", "10"];
    let done = bench.run(&guest("async-upper"), &more).expect(3);
    let done = done.says("1 file failed: that is enough").says("1 failed, 0 skipped, ");
    let begun = done.stderr.matches("Starting processing: ").count();
    assert!((10..30).contains(&begun), "{}", done.stderr);
    assert_eq!(bench.names().len(), begun, "what was begun was finished");
    let left = 30 - begun;
    done.says(&format!("{left} still to do"));
    bench.assert_tidy("async-upper");
}

#[test]
fn of_a_part_of_all_files_some_must_have_ended_first() {
    // All fail: a quarter is reached at once, and taken for true after twenty.
    let bench = Bench::new();
    for number in 0..100 {
        bench.add(format!("{number:03}.txt"), "fail");
    }
    let more = ["--max-failures", "25%", "--concurrency-limit", "1", "--param", "pause=20"];
    bench.run(&guest("slow"), &more).expect(3).says("files failed: that is enough");
    // The next one is begun before anybody knows of the twentieth.
    let ended = bench.names().len();
    assert!((20..60).contains(&ended), "{ended} files ended");

    // Every other one, from the 31st file on.
    let bench = Bench::new();
    for number in 0..100 {
        let content = if number >= 30 && number % 2 == 0 { "fail" } else { "good" };
        bench.add(format!("{number:03}.txt"), content);
    }
    let more = ["--max-failures", "20%", "--concurrency-limit", "1", "--param", "pause=20"];
    bench.run(&guest("slow"), &more).expect(3).says("files failed: that is enough");
    // 10 of 49 are the first that are a fifth.
    let ended = bench.names().len();
    assert!((49..90).contains(&ended), "{ended} files ended");

    // Never as many, however many.
    let bench = Bench::new();
    for number in 0..60 {
        bench.add(format!("{number:03}.txt"), if number % 3 == 2 { "fail" } else { "good" });
    }
    let more = ["--max-failures", "33.5%", "--concurrency-limit", "1", "--param", "pause=0"];
    let done =
        bench.run(&guest("slow"), &more).expect(3).says("40 succeeded, 20 failed, 0 skipped in");
    assert!(!done.stderr.contains("that is enough"), "{}", done.stderr);
}

#[test]
fn only_a_final_failure_counts_and_of_every_kind() {
    let (bench, grant) = flaky();
    for number in 0..5 {
        bench.add(format!("a{number}.txt"), "transient 2");
    }
    let more = ["--dir", &grant, "--concurrency-limit", "1", "--retry-delay", "1ms"];
    let max = ["--max-failures", "1"];
    let done = bench.run(&guest("flaky"), &[&more[..], &max].concat()).expect(0);
    done.says("5 succeeded, 0 failed, 0 skipped, 10 retries");
    // A timeout, a crash, and the last try of a transient one.
    bench.add("b.txt", "hang 9").add("c.txt", "trap 9").add("d.txt", "transient 9");
    let max = ["--max-failures", "3", "--timeout", "500ms", "--retries", "0"];
    let done = bench.run(&guest("flaky"), &[&more[..], &max].concat()).expect(3);
    let done = done.says("3 files failed: that is enough");
    done.says("0 succeeded, 2 failed, 1 timed out, 5 skipped in ");
    // A server ends as well.
    bench.arrive("f.txt", "fail 9");
    let more = [&more[..], &["--max-failures", "1", "--settle", "0"]].concat();
    let live = Live::start(&bench, &mut bench.serve(&guest("flaky"), &more));
    live.wait().expect(3).says("1 file failed: that is enough");
}

#[test]
fn a_tasks_own_defaults_hold_unless_the_command_line_says_otherwise() {
    let run = |more: &[&str]| {
        let bench = Bench::new();
        for name in ["a-transient", "b-crash"] {
            bench.add(format!("{name}.txt"), &name[2..]);
        }
        let done = bench.run(&guest("persistent"), more).expect(3);
        (bench, done)
    };
    let attempts = |bench: &Bench| {
        ["a-transient.err", "b-crash.err"].map(|name| bench.err(name)["attempts"].as_u64())
    };
    let (bench, done) = run(&[]);
    assert_eq!(attempts(&bench), [Some(3), Some(3)]);
    for option in [
        "--retries 2",
        "--retry-delay 10ms",
        "--retry-on transient,crash",
        "--max-failures 2",
        "--rate-limit 1000/s",
    ] {
        let line = format!("The task's own default: {option}");
        assert!(done.stderr.contains(&line), "{line}:\n{}", done.stderr);
    }
    let policies = bench.status()["run"]["policies"].to_string();
    assert!(policies.contains("--retries 2") && policies.contains("--rate-limit 1000/s"));

    let (bench, done) = run(&["--retries", "0"]);
    assert_eq!(attempts(&bench), [Some(1), Some(1)]);
    assert!(!done.stderr.contains("own default: --retries "), "{}", done.stderr);
    let policies = bench.status()["run"]["policies"].to_string();
    assert!(policies.contains("--retries 0") && !policies.contains("--retries 2"), "{policies}");
    assert_eq!(attempts(&run(&["--retry-on", "crash"]).0), [Some(1), Some(3)]);
    assert_eq!(attempts(&run(&["--retry-on", "none"]).0), [Some(1), Some(1)]);
    let (bench, _) = run(&["--retry-delay", "300ms", "--retries", "1"]);
    let waits = bench.attempts("persistent", "b-crash.txt");
    assert!(waits[0]["retry_after_seconds"].as_f64().is_some_and(|s| s >= 0.3), "{waits:?}");

    for (more, stops) in
        [(&[][..], true), (&["--max-failures", "301"], false), (&["--max-failures=50%"], true)]
    {
        let bench = Bench::new();
        for number in 0..300 {
            bench.add(format!("{number}.txt"), "fail");
        }
        // Slowly, so that what was begun before anybody knew is not all.
        let more = [&["--rate-limit", "200/s"], more].concat();
        let done = bench.run(&guest("persistent"), &more).expect(3);
        assert_eq!(done.stderr.contains("that is enough"), stops, "{more:?}");
        assert_eq!(bench.names().len() < 300, stops, "{more:?}");
    }
    // Help and inspect tell of them.
    let help = finish(host().arg("run").arg(guest("persistent")).arg("--help")).expect(0).stdout;
    let of = |option: &str| {
        let text = help.split(&format!("\n      {option} <")).nth(1).expect("the option");
        text.split("\n      --").next().expect("some text").to_owned()
    };
    assert!(of("--retries").contains("[default: 2]"), "{}", of("--retries"));
    assert!(of("--max-failures").contains("[default: 2]"), "{}", of("--max-failures"));
    assert!(of("--rate-limit").contains("[default: 1000/s]"), "{}", of("--rate-limit"));
    let inspect = finish(host().arg("inspect").arg(guest("persistent"))).expect(0).stdout;
    assert!(inspect.contains("--retry-on transient,crash"), "{inspect}");
}

#[test]
fn what_was_declined_runs_again_when_that_is_asked_for() {
    let bench = Bench::new();
    bench.add("a.txt", "decline").add("b.txt", "fail").add("c.txt", "good");
    bench.run(&guest("slow"), &[]).expect(3).says("1 succeeded, 1 failed, 1 aborted");
    let again = |option: &str| {
        let done = bench.run(&guest("slow"), &[option]);
        let begun = done.stderr.lines().filter_map(|l| l.split("Starting processing: ").nth(1));
        let begun: Vec<String> = begun.map(str::to_owned).collect();
        (done, begun)
    };
    assert_eq!(again("--retry-failed").1, ["b.txt"]);
    let (done, begun) = again("--retry-aborted");
    assert_eq!(begun, ["a.txt"]);
    done.expect(3).says("1 to do (1 of them again)").says("0 succeeded, 0 failed, 1 aborted");
    assert_eq!(bench.err("a.err")["attempts"], 2);
    assert_eq!(bench.err("b.err")["attempts"], 2);
    assert_eq!(again("--once").1, [""; 0]);
    bench.add("a.txt", "now good").add("b.txt", "now good");
    assert_eq!(again("--retry-aborted").1, ["a.txt"]);
    assert_eq!(bench.names(), ["a.out", "b.err", "c.out"]);
    let both = bench.run(&guest("slow"), &["--retry-aborted", "--retry-failed"]).expect(0);
    both.says("1 succeeded, 0 failed, 2 skipped");
    assert_eq!(bench.names(), ["a.out", "b.out", "c.out"]);
}

#[test]
fn what_timed_out_is_a_failure_of_its_own_kind() {
    let bench = Bench::new();
    bench.add("a.txt", "sleep").add("b.txt", "fail 1").add("c.txt", "good c");
    let more = ["--timeout", "500ms"];
    bench.run(&guest("misbehave"), &more).expect(3).says("1 succeeded, 1 failed, 1 timed out");
    assert_eq!(bench.history("misbehave", "a.txt"), ["timed-out"]);
    let expected = serde_json::json!({"succeeded": 1, "failed": 1, "timed_out": 1, "aborted": 0});
    assert_eq!(bench.status()["total"], expected);
    // The next run knows it from the `.err`.
    let done = bench.run(&guest("misbehave"), &more).expect(3);
    done.says("1 succeeded before, 2 failed before (--retry-failed runs them again), 0 to do");
    assert_eq!(bench.status()["total"], expected);
    bench.add("a.txt", "good a");
    bench.run(&guest("misbehave"), &["--retry-failed"]).expect(3).says("2 to do (2 of them again)");
    assert_eq!(bench.names(), ["a.out", "b.err", "c.out"]);
}

#[test]
fn a_thousand_retries_are_no_burden() {
    let bench = Bench::new();
    for number in 0..1_000 {
        bench.add(format!("{number:04}.txt"), "again at once");
    }
    let begun = SystemTime::now();
    let more = ["--retries", "2", "--retry-delay", "100ms", "--concurrency-limit", "100"];
    let done = bench.run(&guest("async-upper"), &more).expect(3);
    done.says("0 succeeded, 1000 failed, 0 skipped, 2000 retries");
    assert!(begun.elapsed().is_ok_and(|time| time < Duration::from_secs(120)));
    assert!((0..1_000).all(|n| bench.err(format!("{n:04}.err"))["attempts"] == 3));
    bench.assert_tidy("async-upper");
}

#[test]
fn a_label_is_given_once() {
    let bench = Bench::new();
    let done = bench.run(&guest("upper"), &["--label", "gpu=2", "--label", "gpu=3"]).expect(2);
    done.says("--label `gpu` is given twice");
}
