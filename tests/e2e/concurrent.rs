//! An asynchronous task: many files at once in one instance, which share its
//! fate only as far as they must. And many instances that wait.

mod blame;
mod lanes;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tigerflow_tests::{Bench, Done, finish, guest, host, limited, wait_until};

use crate::live::Live;

/// `run async-upper --once`, to its end.
fn run(bench: &Bench, more: &[&str]) -> Done {
    bench.run(&guest("async-upper"), more)
}

/// `run async-upper`, which takes files as they come.
fn serve(bench: &Bench, more: &[&str]) -> Live {
    let more = [&["--settle", "0"], more].concat();
    Live::start(bench, &mut bench.serve(&guest("async-upper"), &more))
}

/// How many lines of a text are this.
fn lines(text: &str, line: &str) -> usize {
    text.lines().filter(|l| *l == line).count()
}

/// How many attempts a log tells the begin of.
fn begun(log: &str) -> usize {
    log.matches("Starting processing: ").count()
}

fn history(bench: &Bench, file: &str) -> Vec<String> {
    bench.history("async-upper", file)
}

/// A value of a process's `/proc/PID/status`: `Threads`, `VmRSS` in kB.
fn proc_status(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let value = status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
    let value = value.expect("a value").trim().trim_end_matches(" kB");
    value.parse().expect("a number")
}

#[test]
fn many_files_are_in_flight_in_one_instance_and_no_more_than_allowed() {
    for (more, files, most) in [
        (&["--concurrency-limit", "20"][..], 50, 20),
        (&["--concurrency-limit", "1"], 3, 1),
        // Nobody says: more than there are cores.
        (&[], 40, 30),
    ] {
        let bench = Bench::new();
        for number in 0..files {
            bench.add(format!("{number:02}.txt"), "wait 700");
        }
        bench.add("last.txt", "peak");
        let done = run(&bench, more).expect(0).says(&format!("{} succeeded, 0 failed", files + 1));
        assert_eq!(done.stdout, "setup\nteardown\n", "one instance");
        assert_eq!(bench.out("last.out"), most.to_string(), "in flight at most, with {more:?}");
        assert_eq!(bench.out("00.out"), "WAIT 700");
        assert_eq!(bench.names().len(), files + 1);
        bench.assert_tidy("async-upper");
    }
}

#[test]
fn instances_share_the_files_in_flight() {
    // Three of seven, and two each.
    for (instances, limit, setups, most) in
        [("3", "7", 3, 3), ("2", "20", 2, 10), ("8", "2", 2, 1), ("cores", "1000", 0, 1000)]
    {
        let bench = Bench::new();
        for number in 0..40 {
            bench.add(format!("{number:02}.txt"), "wait 300");
        }
        for number in 0..40 {
            bench.add(format!("peak-{number:02}.txt"), "peak");
        }
        let more = ["--instances", instances, "--concurrency-limit", limit];
        let done = run(&bench, &more).expect(0);
        let expected = match setups {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            setups => setups,
        };
        assert_eq!(lines(&done.stdout, "setup"), expected, "{more:?}");
        assert_eq!(lines(&done.stdout, "teardown"), expected, "{more:?}");
        let peaks: Vec<usize> = (0..40)
            .map(|number| bench.out(format!("peak-{number:02}.out")).parse().expect("a number"))
            .collect();
        assert!(peaks.iter().all(|&peak| peak <= most), "{more:?}: {peaks:?}");
    }
    for bad in ["0", "many", "-1", "1001", ""] {
        let bench = Bench::new();
        let option = format!("--instances={bad}");
        run(&bench, &[&option]).expect(2).says("--instances");
    }
}

#[test]
fn an_instance_that_computes_for_ever_holds_up_no_other() {
    // More instances than cores, and no time limit.
    let instances = 2 * std::thread::available_parallelism().map_or(1, usize::from) + 1;
    let number = instances.to_string();
    let bench = Bench::new();
    let live = serve(&bench, &["--instances", &number, "--concurrency-limit", &number]);
    for number in 1..instances {
        bench.arrive(format!("wait-{number}.txt"), "wait 3000");
    }
    wait_until("all others are busy", || begun(&live.log()) == instances - 1);
    bench.arrive("endless.txt", "loop");
    live.says("Starting processing: endless.txt");
    wait_until("the others are done", || bench.names().len() == instances - 1);
    for number in 0..3 * instances {
        bench.arrive(format!("late-{number}.txt"), "late");
    }
    wait_until("late ones are done", || bench.names().len() == 4 * instances - 1);
    live.signal(Signal::INT).says("initiating shutdown").signal(Signal::INT);
    live.wait().expect(130);
    assert_eq!(history(&bench, "endless.txt"), ["interrupted"]);
}

#[test]
fn calls_wait_for_several_things_at_once_and_for_each_other() {
    let bench = Bench::new();
    for number in 0..10 {
        bench.add(format!("join-{number}.txt"), "join 200");
        bench.add(format!("turn-{number}.txt"), "turn 20");
    }
    bench.add("limit.txt", "limit 100");
    run(&bench, &["--retries", "0"]).expect(3).says("20 succeeded, 1 failed");
    let error = bench.err("limit.err");
    // The task's own limit, not the host's.
    assert_eq!(error["exception_type"], "Timeout");
    assert!(error["message"].as_str().is_some_and(|m| m.contains("100ms")), "{error:#}");
    assert_eq!(bench.attempts("async-upper", "limit.txt")[0]["exception_type"], "Timeout");
}

#[test]
fn files_that_wait_for_their_turn_are_not_lost_with_an_instance() {
    // Each trap meets some that have not begun: they wait for the rate, or for
    // a place under a label.
    for policy in [["--rate-limit", "60/s"], ["--label", "turn=3"]] {
        let bench = Bench::new();
        for number in 0..90 {
            let content = if number % 15 == 7 { "trap" } else { "wait 60" };
            bench.add(format!("{number:02}.txt"), content);
        }
        bench.add("last.txt", "peak");
        let more = ["--once", "--concurrency-limit", "20", policy[0], policy[1]];
        let mut command = bench.serve(&guest("async-upper"), &more);
        let command = command.env("TIGERFLOW_LABEL_DIR", bench.path().join("labels"));
        finish(command).expect(3).says("85 succeeded, 6 failed, 0 skipped");
        if policy[0] == "--label" {
            let peak: usize = bench.out("last.out").parse().expect("a number");
            assert!(peak <= 3, "{peak} at once");
        }
        bench.assert_tidy("async-upper");
    }
}

#[test]
fn an_output_directory_that_is_taken_away_stops_the_run() {
    let bench = Bench::new();
    for number in 0..20 {
        bench.add(format!("{number:02}.txt"), "wait 1500");
    }
    let live = serve(&bench, &["--concurrency-limit", "10"]);
    wait_until("ten are in flight", || begun(&live.log()) == 10);
    fs::remove_dir_all(bench.output()).expect("it can be removed");
    let done = live.wait().expect(1).says("20 still to do");
    assert_eq!(done.stderr.matches("| ERROR ").count(), 1, "{}", done.stderr);
    assert!(!bench.output().exists());
}

#[test]
fn what_calls_say_at_once_is_told_apart() {
    const FILES: usize = 12;
    let bench = Bench::new();
    for number in 0..FILES {
        bench.add(format!("talk-{number:02}.txt"), format!("talk t{number:02}"));
        bench.add(format!("complain-{number:02}.txt"), format!("complain c{number:02}"));
    }
    let done = run(&bench, &[]).expect(3);
    for number in 0..FILES {
        for (file, word) in [
            (format!("talk-{number:02}"), format!("t{number:02}")),
            (format!("complain-{number:02}"), format!("c{number:02}")),
        ] {
            for when in ["before", "after"] {
                assert_eq!(lines(&done.stdout, &format!("stdout {when} {word}")), 1);
                let said = format!("log {when} {word}");
                let found: Vec<&str> =
                    done.stderr.lines().filter(|line| line.ends_with(&said)).collect();
                let expected = format!("| INFO     | {file}.txt: {said}");
                assert!(found.len() == 1 && found[0].ends_with(&expected), "{found:?}");
            }
        }
        let error = bench.err(format!("complain-{number:02}.err"));
        let own = format!("stderr before c{number:02}\nstderr after c{number:02}\n");
        assert_eq!(error["stderr"], own, "only its own");
    }
    // Besides what the files say there is what the instance says.
    assert_eq!(done.stdout.lines().count(), 2 * 2 * FILES + 2, "{}", done.stdout);
}

#[test]
fn what_leaks_is_replaced_before_it_harms() {
    // Also where few files can be open at once.
    for files in ["$(ulimit -Hn)", "400", "200"] {
        let bench = Bench::new();
        for number in 0..600 {
            bench.add(format!("{number:03}.txt"), "hold it");
        }
        let more = ["--once", "--concurrency-limit", "20"];
        let command = bench.serve(&guest("async-upper"), &more);
        let done = finish(&mut limited(&format!("-n {files}"), &command))
            .expect(0)
            .says("600 succeeded, 0 failed");
        let setups = lines(&done.stdout, "setup");
        assert!((2..300).contains(&setups), "{setups} instances");
        assert_eq!(lines(&done.stdout, "teardown"), setups);
        assert_eq!(bench.out("599.out"), "HOLD IT");
        bench.assert_tidy("async-upper");
    }
}

#[test]
fn a_setup_that_fails_or_takes_too_long_stops_the_run() {
    let bench = Bench::new();
    bench.add("a.txt", "a").add("b.txt", "b");
    let done = run(&bench, &["--fail-setup"]).expect(4).says("told to fail in setup");
    assert_eq!(done.stdout, "setup\n", "once is enough");
    assert_eq!(begun(&done.stderr), 0);
    let more = ["--setup-wait", "600000", "--setup-timeout", "300ms"];
    run(&bench, &more).expect(4).says("--setup-timeout").says("300ms").says("2 still to do");
    let more = ["--fail-setup", "--instances", "4", "--concurrency-limit", "8"];
    run(&bench, &more).expect(4).says("2 still to do");
    assert_eq!(bench.names(), [""; 0]);
    // One that takes its time, within the limit, is waited for.
    let more = ["--setup-wait", "300", "--setup-timeout", "60s"];
    run(&bench, &more).expect(0).says("2 succeeded");
}

#[test]
fn a_signal_lets_calls_in_flight_finish() {
    let bench = Bench::new();
    for number in 0..20 {
        bench.add(format!("{number:02}.txt"), "wait 2000");
    }
    let live = serve(&bench, &["--concurrency-limit", "5"]);
    wait_until("five are in flight", || begun(&live.log()) == 5);
    live.signal(Signal::INT);
    let done = live.wait().expect(130).says("Received signal 2, initiating shutdown");
    assert_eq!(done.stdout, "setup\nteardown\n");
    assert_eq!(begun(&done.stderr), 5, "{}", done.stderr);
    done.says("5 succeeded, 0 failed, 0 skipped, 15 still to do").says("Task shutdown complete");
    let names: Vec<String> = (0..5).map(|number| format!("{number:02}.out")).collect();
    assert_eq!(bench.names(), names);
    bench.assert_tidy("async-upper");
    let status = bench.status();
    assert_eq!((&status["waiting"], &status["running"]), (&15.into(), &0.into()), "{status}");
    assert_eq!(status["interrupted"], 0, "{status}");
    run(&bench, &[]).expect(0).says("5 succeeded before, 0 failed before, 15 to do");
}

#[test]
fn a_second_signal_leaves_at_once_and_says_what_was_interrupted() {
    // Also more than `run.json` lists by name.
    for (files, content) in
        [(5, "wait 600000"), (3, "loop"), (3, "sleep 600000"), (150, "wait 600000")]
    {
        let bench = Bench::new();
        for number in 0..files {
            bench.add(format!("{number:03}.txt"), content);
        }
        let live = serve(&bench, &["--concurrency-limit", "200"]);
        // A guest that computes lets no neighbour begin.
        let begins = if content.starts_with("wait") { files } else { 1 };
        wait_until("they are in flight", || begun(&live.log()) >= begins);
        live.signal(Signal::INT).says("initiating shutdown").signal(Signal::INT);
        let done = live.wait().expect(130).says("leaving at once");
        let begun = begun(&done.stderr);
        assert!(begun >= begins);
        assert_eq!(bench.names(), [""; 0], "nothing half-done");
        let interrupted = |record: &&Value| record["outcome"] == "interrupted";
        let journal = bench.journal("async-upper");
        let count = journal.iter().filter(interrupted).count();
        assert_eq!(count, begun, "{content}: records of interrupted files");
        let ended = journal.last().expect("records");
        assert_eq!((&ended["event"], &ended["exit_code"]), (&"run-ended".into(), &130.into()));
        let status = bench.status();
        assert_eq!(status["state"], "ended", "{status}");
        assert_eq!(status["interrupted"], begun, "{content}: {status}");
        assert_eq!(status["counts"]["interrupted"], begun, "{status}");
        assert_eq!(status["waiting"], files - begun, "{status}");
        assert_eq!((&status["running"], &status["retrying"]), (&0.into(), &0.into()), "{status}");

        for number in 0..files {
            bench.add(format!("{number:03}.txt"), "good");
        }
        let words = format!("{files} files: 0 succeeded before, 0 failed before, {files} to do");
        run(&bench, &[]).expect(0).says(&words).says(&format!("{files} succeeded"));
        assert_eq!(bench.status()["interrupted"], 0);
        bench.assert_tidy("async-upper");
    }
}

#[test]
fn kills_lose_nothing_and_double_nothing() {
    const FILES: usize = 1_000;
    let bench = Bench::new();
    for number in 0..FILES {
        // Some in their middle at any moment, at different points of it.
        bench.add(format!("{number:04}.txt"), format!("wait {}", 20 + number % 80));
    }
    let more = ["--once", "--concurrency-limit", "50"];
    for kill in 0..8 {
        let before = bench.names().len();
        let mut command = bench.serve(&guest("async-upper"), &more);
        let live = Live::start(&bench, &mut command);
        wait_until("it makes progress", || bench.names().len() > before + 30 + 3 * kill);
        live.kill();
        for name in bench.names() {
            let number: usize = name.trim_end_matches(".out").parse().expect("an output");
            assert_eq!(bench.out(&name), format!("WAIT {}", 20 + number % 80));
        }
    }
    let before = bench.names().len();
    assert!(before < FILES, "the kills came too late to prove anything");
    run(&bench, &more[1..]).expect(0).says(&format!("{before} succeeded before"));
    assert_eq!(bench.names().len(), FILES);
    let mut done = BTreeSet::new();
    for record in bench.journal("async-upper").iter().filter(|r| r["event"] == "attempt") {
        assert_eq!(record["outcome"], "succeeded", "{record}");
        assert!(done.insert(record["file"].as_str().expect("a name").to_owned()), "{record}");
    }
    bench.assert_tidy("async-upper");
}

#[test]
fn thousands_of_files_go_through_one_instance() {
    const FILES: usize = 2_000;
    let bench = Bench::new();
    for number in 0..FILES {
        bench.add(format!("{number:04}.txt"), "wait 300");
    }
    bench.add("last.txt", "peak");
    let done = run(&bench, &["--concurrency-limit", "1000"]).expect(0);
    assert_eq!(done.stdout, "setup\nteardown\n");
    assert_eq!(bench.names().len(), FILES + 1);
    assert!((0..FILES).all(|number| bench.out(format!("{number:04}.out")) == "WAIT 300"));
    let peak: usize = bench.out("last.out").parse().expect("a number");
    // However slow the machine: many at once, and never too many.
    assert!((100..=1_000).contains(&peak), "{peak} in flight at most");
    bench.assert_tidy("async-upper");
}

#[test]
fn a_component_compiled_ahead_runs() {
    let bench = Bench::new();
    bench.add("a.txt", "wait 50").add("b.txt", "loop").add("c.txt", "trap");
    let compiled = bench.path().join("async-upper.cwasm");
    let mut compile = host();
    compile.arg("compile").arg(guest("async-upper")).arg("-o").arg(&compiled);
    finish(&mut compile).expect(0).says("Compiled ");
    bench.run(&compiled, &["--timeout", "1s"]).expect(3).says("1 succeeded, 1 failed, 1 timed out");
    assert_eq!(bench.out("a.out"), "WAIT 50");
    let inspect = |component: &Path| finish(host().arg("inspect").arg(component)).expect(0).stdout;
    assert_eq!(inspect(&compiled), inspect(&guest("async-upper")));
}

#[test]
fn inspect_shows_what_it_is() {
    let done = finish(host().arg("inspect").arg(guest("async-upper"))).expect(0);
    for (name, value) in [
        ("task ", "async-upper"),
        ("interface ", "tigerflow:task/async-task@0.1.0"),
        ("parameters ", "--fail-setup"),
    ] {
        let line = done.stdout.lines().find(|line| line.starts_with(name));
        assert!(line.is_some_and(|line| line.contains(value)), "{name}:\n{}", done.stdout);
    }
    assert_eq!(done.stderr, "");
    let done = finish(host().arg("inspect").arg(guest("async-upper")).arg("--json")).expect(0);
    let report: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(report["interface"], "async-task@0.1.0");
}

#[test]
fn status_follows_the_calls_in_flight() {
    let bench = Bench::new();
    for number in 0..10 {
        bench.add(format!("{number}.txt"), "wait 600000");
    }
    let live = serve(&bench, &["--concurrency-limit", "6"]);
    wait_until("six are at work", || bench.status()["running"] == 6);
    let status = bench.status();
    assert_eq!((&status["state"], &status["waiting"]), (&"running".into(), &4.into()), "{status}");
    let names: BTreeSet<&str> = status["in_flight"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|f| f["file"].as_str())
        .collect();
    assert_eq!(names, BTreeSet::from(["0.txt", "1.txt", "2.txt", "3.txt", "4.txt", "5.txt"]));
    let text = finish(host().arg("status").arg(bench.output())).expect(0).stdout;
    let words = "10: 0 succeeded, 0 failed, 0 timed out, 0 aborted, 4 waiting, 6 running, \
                 0 retrying, 0 interrupted";
    assert!(text.contains(words), "{text}");
    live.kill();
    let status = bench.status();
    assert_eq!((&status["state"], &status["interrupted"]), (&"died".into(), &6.into()), "{status}");
    assert_eq!((&status["waiting"], &status["running"]), (&4.into(), &0.into()), "{status}");
}

#[test]
fn an_input_that_is_gone_before_its_turn_is_no_failure() {
    let bench = Bench::new();
    bench.add("a.txt", "wait 1500").add("b.txt", "b").add("c.txt", "c");
    let live = serve(&bench, &["--concurrency-limit", "1"]);
    live.says("Starting processing: a.txt");
    fs::remove_file(bench.input().join("b.txt")).expect("it can be removed");
    wait_until("the last one is done", || bench.has("c.out"));
    live.says("Gone before it was processed: b.txt").signal(Signal::TERM);
    live.wait().expect(143).says("2 succeeded, 0 failed");
    assert_eq!(bench.names(), ["a.out", "c.out"]);
}

#[test]
fn a_thousand_instances_that_wait_overlap_and_take_no_time() {
    const FILES: usize = 1_000;
    let bench = Bench::new();
    for number in 0..FILES {
        bench.add(format!("{number:04}.txt"), "text");
    }
    let more = ["--settle", "0", "--concurrency-limit", "1000", "--param", "pause=600000"];
    let live = Live::start(&bench, &mut bench.serve(&guest("slow"), &more));
    live.says("Starting processing: ");
    // As many as the machine lets a process open files for.
    let log = live.log();
    let lowered = log.split("which is enough for ").nth(1).and_then(|l| l.split(' ').next());
    let all = lowered.map_or(FILES, |number| number.parse().expect("a number"));
    assert!(all == FILES || log.contains("`ulimit -n` tells the limit"), "{log}");
    wait_until("all of them wait", || begun(&live.log()) == all);
    wait_until("status counts them", || bench.status()["running"] == all);
    // Of the window in the middle of their sleep, no more than a tenth.
    let used = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", live.pid())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
        let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    };
    let (before, begun) = (used(), Instant::now());
    std::thread::sleep(Duration::from_secs(4));
    let (spent, window) = (used() - before, begun.elapsed());
    assert!(spent < window / 10, "{spent:?} of {window:?} were spent on waiting");
    live.signal(Signal::INT).says("initiating shutdown").signal(Signal::INT);
    live.wait().expect(130);
    assert_eq!(bench.names(), [""; 0]);
    assert_eq!(bench.status()["interrupted"], all);
}
