//! Whose fault it is: what goes wrong in a call costs its own file, and no neighbour.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tigerflow_tests::{Bench, guest, wait_until};

use super::{history, lines, proc_status, run, serve};
use crate::live::Live;

#[test]
fn every_way_to_end_is_told_of_its_own_file() {
    let bench = Bench::new();
    for number in 0..5 {
        bench.add(format!("good-{number}.txt"), format!("text {number}"));
        bench.add(format!("fail-{number}.txt"), format!("fail {number}"));
        bench.add(format!("decline-{number}.txt"), format!("decline {number}"));
        bench.add(format!("again-{number}.txt"), format!("again {number}"));
        bench.add(format!("nothing-{number}.txt"), "nothing");
    }
    let more = ["--retries", "1", "--retry-delay", "10ms"];
    let done = run(&bench, &more).expect(3);
    assert_eq!(done.stdout, "setup\nteardown\n", "an error costs no instance");
    for number in 0..5 {
        assert_eq!(bench.out(format!("good-{number}.out")), format!("TEXT {number}"));
        assert_eq!(bench.out(format!("nothing-{number}.out")), "", "an empty placeholder");
        for (word, exception_type, message, attempts, history) in [
            ("fail", "Failed", "told to fail", 1, &["failed"][..]),
            ("decline", "Aborted", "told to decline", 1, &["aborted"]),
            ("again", "Transient", "told to try again", 2, &["retrying", "failed"]),
        ] {
            let error = bench.err(format!("{word}-{number}.err"));
            assert_eq!(error["exception_type"], exception_type, "{error:#}");
            assert_eq!(error["message"], format!("{message}: {number}"));
            assert_eq!(error["attempts"], attempts, "{error:#}");
            let file = format!("{word}-{number}.txt");
            assert_eq!(error["file"], bench.input().join(&file).to_str().expect("UTF-8"));
            assert_eq!(bench.history("async-upper", &file), history);
        }
    }
    assert_eq!(bench.names().len(), 25);
    done.says("10 succeeded, 10 failed, 5 aborted, 0 skipped, 5 retries in ");
    bench.assert_tidy("async-upper");
}

#[test]
fn a_trap_ends_its_own_file_and_the_others_run_again_unblamed() {
    let bench = Bench::new();
    for number in 0..9 {
        bench.add(format!("{number}.txt"), "wait 1000");
    }
    // One that fails by itself once it has time enough.
    bench.add("late.txt", "limit 1000");
    bench.add("trap.txt", "trap at last");
    let done = run(&bench, &["--retries", "0"]).expect(3);
    assert_eq!(done.stdout, "setup\nsetup\nteardown\n", "{}", done.stderr);
    let error = bench.err("trap.err");
    assert_eq!(error["exception_type"], "Panic", "{error:#}");
    let message = error["message"].as_str().expect("a message");
    assert!(message.starts_with("panicked at src/async-upper.rs:"), "{message}");
    assert!(message.ends_with("trap at last"), "{message}");
    assert!(error["traceback"].as_str().is_some_and(|t| t.contains("async_upper")), "{error:#}");
    assert_eq!(
        (&error["attempts"], history(&bench, "trap.txt")),
        (&1.into(), vec!["failed".into()])
    );
    assert_eq!(bench.err("late.err")["attempts"], 1, "to be cut off is no attempt that counts");
    for file in (0..9).map(|number| format!("{number}.txt")).chain(["late.txt".into()]) {
        let attempts = bench.attempts("async-upper", &file);
        let last = if file == "late.txt" { "failed" } else { "succeeded" };
        assert_eq!(history(&bench, &file), ["interrupted", last], "{file}");
        assert!(attempts.iter().all(|attempt| attempt["attempt"] == 1), "{attempts:?}");
        let why = attempts[0]["message"].as_str().expect("a reason");
        assert!(why.contains("trap.txt ended the instance"), "{why}");
    }
    assert!(!done.stderr.contains("ERROR    | Failed processing: 0.txt"), "{}", done.stderr);
    done.says("9 succeeded, 2 failed, 0 skipped, 10 interrupted in ");
    bench.assert_tidy("async-upper");
}

#[test]
fn what_was_given_up_and_then_computes_or_panics_harms_nobody() {
    for word in ["late 1300", "burst 1300"] {
        let bench = Bench::new();
        bench.add("0.txt", word);
        for number in 1..=6 {
            bench.add(format!("{number}.txt"), "wait 700");
        }
        let more = ["--timeout", "1s", "--concurrency-limit", "2"];
        let done = run(&bench, &more).expect(3).says("6 succeeded, 0 failed, 1 timed out");
        assert_eq!(bench.err("0.err")["outcome"], "timed-out", "{}", done.stderr);
        for number in 1..=6 {
            assert_eq!(bench.out(format!("{number}.out")), "WAIT 700", "{word}");
        }
    }
}

#[test]
fn however_many_traps_hit_a_file_it_is_blamed_for_none() {
    let bench = Bench::new();
    for number in 0..20 {
        bench.add(format!("good-{number:02}.txt"), "wait 2000");
    }
    for number in 0..8 {
        bench.add(format!("trap-{number}.txt"), format!("trap {number}"));
    }
    let done = run(&bench, &["--concurrency-limit", "28"]).expect(3);
    done.says("20 succeeded, 8 failed");
    for number in 0..8 {
        let error = bench.err(format!("trap-{number}.err"));
        let message = error["message"].as_str().expect("a message");
        assert!(message.ends_with(&format!("trap {number}")), "{message}");
        assert_eq!(error["attempts"], 1);
        // What it said is its own: not what the other traps did.
        let stderr = error["stderr"].as_str().expect("a text");
        assert_eq!(stderr.matches("panicked at").count(), 1, "{stderr}");
    }
    for number in 0..20 {
        let attempts = history(&bench, &format!("good-{number:02}.txt"));
        let (last, before) = attempts.split_last().expect("attempts");
        assert_eq!(last, "succeeded");
        assert!(before.iter().all(|outcome| outcome == "interrupted"), "{attempts:?}");
    }
}

#[test]
fn a_call_that_waits_too_long_is_given_up_and_its_neighbours_keep_their_progress() {
    let bench = Bench::new();
    bench.arrive("stuck.txt", "wait 600000");
    let live = serve(&bench, &["--timeout", "6s"]);
    live.says("Starting processing: stuck.txt");
    std::thread::sleep(Duration::from_secs(4));
    // It waits longer than the first one has left, and was begun long before.
    bench.arrive("long.txt", "wait 4000");
    live.says("Starting processing: long.txt");
    assert!(!bench.has("stuck.err"), "this machine is too busy to tell");
    wait_until("the first is given up", || bench.has("stuck.err"));
    // What comes now is taken at once, by another instance.
    bench.arrive("new.txt", "new");
    wait_until("a new file is done", || bench.has("new.out"));
    assert!(!bench.has("long.out"), "new files waited for the old instance");
    wait_until("the neighbour is done", || bench.has("long.out"));
    live.signal(Signal::TERM);
    let done = live.wait().expect(143);
    assert_eq!(done.stderr.matches("Starting processing: long.txt").count(), 1, "{}", done.stderr);
    assert_eq!(history(&bench, "long.txt"), ["succeeded"]);
    assert_eq!(history(&bench, "stuck.txt"), ["timed-out"]);
    let error = bench.err("stuck.err");
    assert_eq!((&error["exception_type"], &error["attempts"]), (&"Timeout".into(), &1.into()));
    assert!(error["message"].as_str().is_some_and(|m| m.contains("--timeout")), "{error:#}");
    assert_eq!(lines(&done.stdout, "setup"), 2, "{}", done.stdout);
    assert_eq!(lines(&done.stdout, "teardown"), 1, "of the instance without a stuck call");
    done.says("2 succeeded, 0 failed, 1 timed out");
    bench.assert_tidy("async-upper");
}

#[test]
fn calls_that_were_given_up_do_not_pile_up() {
    const ROUNDS: usize = 60;
    let bench = Bench::new();
    for number in 0..ROUNDS {
        bench.add(format!("{number:02}.txt"), "wait 600000");
    }
    let more = ["--timeout", "150ms", "--concurrency-limit", "1"];
    let live = serve(&bench, &more);
    let ended = |count: usize| bench.names().len() >= count;
    wait_until("a few are given up", || ended(5));
    let (threads, memory) = (proc_status(live.pid(), "Threads"), proc_status(live.pid(), "VmRSS"));
    wait_until("all are given up", || ended(ROUNDS));
    bench.arrive("good.txt", "good");
    wait_until("a good file is done", || bench.has("good.out"));
    let after = (proc_status(live.pid(), "Threads"), proc_status(live.pid(), "VmRSS"));
    assert!(after.0 <= threads + 1, "{threads} threads became {}", after.0);
    assert!(after.1 < memory + (100 << 10), "{memory} kB became {} kB", after.1);
    let handles = fs::read_dir(format!("/proc/{}/fd", live.pid())).expect("it runs").count();
    assert!(handles < 100, "{handles} files are open");
    live.signal(Signal::TERM);
    let done = live.wait().expect(143).says(&format!("1 succeeded, 0 failed, {ROUNDS} timed out"));
    assert_eq!(done.stdout, format!("{}teardown\n", "setup\n".repeat(ROUNDS + 1)));
    bench.assert_tidy("async-upper");
}

#[test]
fn a_guest_that_computes_or_blocks_past_its_time_costs_its_own_file() {
    for (content, more) in [
        ("loop", &[][..]),
        ("sleep 600000", &[]),
        ("loop", &["--instances", "2"]),
        ("sleep 600000", &["--instances", "2"]),
    ] {
        let bench = Bench::new();
        for number in 0..12 {
            bench.add(format!("{number:02}.txt"), format!("wait {}", 100 * number));
        }
        bench.add("05-stuck.txt", content);
        let more = [&["--timeout", "3s"], more].concat();
        let done = run(&bench, &more).expect(3);
        let error = bench.err("05-stuck.err");
        assert_eq!(error["exception_type"], "Timeout", "{content}: {error:#}");
        assert_eq!(error["attempts"], 1, "{content}");
        for number in 0..12 {
            let file = format!("{number:02}.txt");
            let attempts = history(&bench, &file);
            let (last, before) = attempts.split_last().expect("attempts");
            assert_eq!(last, "succeeded", "{content}: {file} {attempts:?}\n{}", done.stderr);
            assert!(before.iter().all(|outcome| outcome == "interrupted"), "{attempts:?}");
        }
        done.says("12 succeeded, 0 failed, 1 timed out");
        bench.assert_tidy("async-upper");
    }
}

#[test]
fn stuck_calls_of_both_kinds_at_once_harm_no_neighbour() {
    let bench = Bench::new();
    for number in 0..10 {
        bench.add(format!("{number}.txt"), "wait 800");
    }
    bench.add("a-loop.txt", "loop").add("b-loop.txt", "loop").add("a-sleep.txt", "sleep 600000");
    bench.add("b-sleep.txt", "sleep 600000").add("a-wait.txt", "wait 600000");
    bench.add("b-trap.txt", "trap");
    let done = run(&bench, &["--timeout", "2s"]).expect(3);
    for name in ["a-loop", "b-loop", "a-sleep", "b-sleep", "a-wait"] {
        let error = bench.err(format!("{name}.err"));
        assert_eq!(error["exception_type"], "Timeout", "{name}: {error:#}");
    }
    assert_eq!(bench.err("b-trap.err")["exception_type"], "Panic");
    done.says("10 succeeded, 1 failed, 5 timed out");
}

#[test]
fn a_call_that_takes_too_much_costs_its_own_file() {
    for (content, more, exception_type) in [
        ("x".repeat(200_000), ["--output-limit", "100000"], "OutputLimit"),
        ("x".repeat(200 << 20), ["--memory-limit", "64M"], "MemoryLimit"),
    ] {
        let bench = Bench::new();
        for number in 0..10 {
            bench.add(format!("{number}.txt"), "wait 500");
        }
        bench.add("5-much.txt", content);
        let done = run(&bench, &more).expect(3).says("10 succeeded, 1 failed");
        let error = bench.err("5-much.err");
        assert_eq!(error["exception_type"], exception_type, "{error:#}");
        let option = error["message"].as_str().is_some_and(|m| m.contains(more[0]));
        assert!(option && error["attempts"] == 1, "{error:#}");
        assert!(lines(&done.stdout, "setup") <= 2, "{}", done.stdout);
        bench.assert_tidy("async-upper");
    }
}

/// Kinds of input, and how each ends: with an output, or with an `.err` of this
/// type after so many attempts.
const KINDS: [(&str, Option<(&str, u64)>); 13] = [
    ("good", None),
    ("wait 10", None),
    ("wait 700", None),
    ("trap", Some(("Panic", 1))),
    ("wait 300", None),
    ("fail x", Some(("Failed", 1))),
    ("decline x", Some(("Aborted", 1))),
    ("talk x", None),
    ("again x", Some(("Transient", 2))),
    ("hold", None),
    ("join 100", None),
    ("nothing", None),
    ("turn 1", None),
];

/// Those that keep an instance for long, or from its turn.
const STUCK: [&str; 4] = ["wait 600000", "loop", "sleep 600000", "wait 600000"];

#[test]
fn in_a_mix_of_everything_each_file_ends_as_it_should_whatever_stops_the_run() {
    const FILES: usize = 390;
    let bench = Bench::new();
    let name = |number: usize| format!("{number:03}");
    let stuck = |number: usize| (number % 60 == 30).then(|| STUCK[number / 60 % STUCK.len()]);
    for number in 0..FILES {
        let content = stuck(number).unwrap_or(KINDS[number % KINDS.len()].0);
        bench.add(name(number) + ".txt", content);
    }
    let more = ["--timeout", "3s", "--retries", "1", "--retry-delay", "200ms", "--instances", "2"];
    let more = [&more[..], &["--concurrency-limit", "24", "--once"]].concat();
    for round in 0..6 {
        let before = bench.names().len();
        let mut live = Live::start(&bench, &mut bench.serve(&guest("async-upper"), &more));
        wait_until("it makes progress, or ends", || {
            bench.names().len() > before + 10 + 5 * round || !live.runs()
        });
        if !live.runs() {
            live.wait().expect(3);
            break;
        }
        match round % 3 {
            0 => live.kill(),
            1 => {
                live.signal(Signal::INT);
                let code = live.wait().code;
                assert!([130, 3].contains(&code), "{code}");
                bench.assert_tidy("async-upper");
            }
            _ => {
                live.signal(Signal::TERM).signal(Signal::INT);
                let code = live.wait().code;
                assert!([130, 143].contains(&code), "{code}");
            }
        }
        let status = bench.status();
        let number = |of: &Value| of.as_u64().expect("a number") as usize;
        let left = ["waiting", "running", "retrying", "interrupted"].map(|k| number(&status[k]));
        let ended = ["succeeded", "failed", "timed_out", "aborted"];
        let ended: usize = ended.iter().map(|key| number(&status["total"][key])).sum();
        assert_eq!(left[1] + left[2], 0, "nothing is at work any more: {status}");
        // A kill may have kept some from the journal.
        let all = ended + left.iter().sum::<usize>();
        assert_eq!(all, FILES, "round {round}: {status}");
        assert!(ended <= bench.names().len(), "round {round}: {status}");
    }
    run(&bench, &more[..more.len() - 1]).expect(3);
    for number in 0..FILES {
        let (content, mut end) = KINDS[number % KINDS.len()];
        let content = stuck(number).inspect(|_| end = Some(("Timeout", 1))).unwrap_or(content);
        let (out, err) = (name(number) + ".out", name(number) + ".err");
        assert_eq!((bench.has(&out), bench.has(&err)), (end.is_none(), end.is_some()), "{content}");
        match end {
            Some((exception_type, attempts)) => {
                let error = bench.err(&err);
                assert_eq!(error["exception_type"], exception_type, "{content}: {error:#}");
                assert_eq!(error["attempts"], attempts, "{content}: {error:#}");
            }
            None if content == "nothing" => assert_eq!(bench.out(&out), ""),
            None => assert_eq!(bench.out(&out), content.to_uppercase()),
        }
    }
    bench.assert_tidy("async-upper");
}

#[test]
fn traps_among_a_thousand_calls_cost_their_own_files_only() {
    const FILES: usize = 1_000;
    let bench = Bench::new();
    for number in 0..FILES {
        let content = if number % 200 == 150 { "trap" } else { "wait 100" };
        bench.add(format!("{number:04}.txt"), content);
    }
    let done = run(&bench, &["--concurrency-limit", "300"]).expect(3);
    done.says("995 succeeded, 5 failed");
    assert_eq!(bench.names().len(), FILES);
    bench.assert_tidy("async-upper");
}
