//! What is tried again, when, and how often.

use std::fs;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;
use tigerflow_tests::{Bench, finish, guest, host, wait_until};

use super::{flaky, seconds, tries};
use crate::live::Live;

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
