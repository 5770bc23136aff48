//! What is done about failures and load: retries, rate limits, labels that runs
//! share, a limit on failures; and a task's own defaults for them.

mod labels;
mod retries;

use std::fs;

use rustix::process::Signal;
use serde_json::Value;
use tigerflow_tests::{Bench, Done, finish, guest, host, wait_until};

use crate::live::Live;

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
