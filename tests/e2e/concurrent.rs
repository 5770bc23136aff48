//! An asynchronous task: many files at once in one instance, which share its
//! fate only as far as they must. And many instances that wait.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
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
fn an_output_that_the_guest_keeps_open_is_complete_and_stays_so() {
    let bench = Bench::new();
    for number in 0..3 {
        bench.add(format!("a-hold-{number}.txt"), format!("hold {number}"));
    }
    let live = serve(&bench, &[]);
    wait_until("all are published", || bench.names().len() == 3);
    let inode = |name: &str| fs::metadata(bench.output().join(name)).expect("it stands").ino();
    let inodes: Vec<u64> = (0..3).map(|n| inode(&format!("a-hold-{n}.out"))).collect();
    for number in 0..3 {
        assert_eq!(bench.out(format!("a-hold-{number}.out")), format!("HOLD {number}"));
    }
    bench.arrive("scribble.txt", "scribble");
    wait_until("the guest has tried", || bench.has("scribble.out"));
    for (number, before) in inodes.into_iter().enumerate() {
        let name = format!("a-hold-{number}.out");
        assert_eq!(bench.out(&name), format!("HOLD {number}"));
        assert_eq!(inode(&name), before, "nor was it replaced");
    }
    live.signal(Signal::TERM);
    // Nobody was cut off for it.
    assert_eq!(live.wait().expect(143).stdout, "setup\nteardown\n");
    bench.assert_tidy("async-upper");
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
fn names_and_links_are_those_of_their_own_call() {
    use std::os::unix::ffi::OsStrExt;
    // What WASI cannot name, and what the host opens for the guest.
    let bench = Bench::new();
    let odd = |byte: u8| std::ffi::OsStr::from_bytes(&[b'n', byte]).to_owned();
    for byte in 0xf0..0xfa {
        let mut name = odd(byte);
        name.push(".txt");
        bench.add(&name, format!("byte {byte}"));
    }
    for number in 0..10 {
        fs::write(bench.path().join(format!("far-{number}")), format!("far {number}")).expect("it");
        let link = bench.input().join(format!("link-{number}.txt"));
        symlink(bench.path().join(format!("far-{number}")), link).expect("a link");
    }
    run(&bench, &["--follow-links"]).expect(0).says("20 succeeded");
    for byte in 0xf0..0xfa {
        let mut name = odd(byte);
        name.push(".out");
        assert_eq!(bench.out(&name), format!("BYTE {byte}"));
    }
    for number in 0..10 {
        assert_eq!(bench.out(format!("link-{number}.out")), format!("FAR {number}"));
    }
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

/// What a hostile task did with its files, and what stands around them.
fn lanes(files: &[(&str, &str)]) -> (Bench, Done) {
    let bench = Bench::new();
    for (name, content) in files {
        bench.add(format!("{name}.txt"), content);
    }
    // What links may lead to: each has the name of an output.
    for (name, _) in files {
        fs::write(bench.path().join(format!("{name}.out")), "from elsewhere").expect("a decoy");
    }
    let done = bench.run(&guest("lanes"), &["--retries", "0"]);
    for (name, _) in files {
        let decoy = fs::read_to_string(bench.path().join(format!("{name}.out")));
        assert_eq!(decoy.expect("it stands"), "from elsewhere");
        let out = bench.output().join(format!("{name}.out"));
        if let Ok(meta) = fs::symlink_metadata(&out) {
            assert!(meta.is_file(), "{name}");
            assert_ne!(fs::read_to_string(&out).expect("a text"), "from elsewhere");
        }
        assert_ne!(bench.has(format!("{name}.out")), bench.has(format!("{name}.err")), "{name}");
    }
    assert_eq!(bench.names().len(), files.len(), "nothing else came: {:?}", bench.names());
    bench.assert_tidy("lanes");
    (bench, done)
}

#[test]
fn a_call_that_replaces_its_directory_publishes_nothing_from_elsewhere() {
    // From the workspace's staging place up to where the decoys are.
    let up = "../../../../../..";
    let up = format!("link {up}");
    let files = [
        ("a-up", &*up),
        ("b-up", "link .."),
        ("c-self", "link ."),
        ("d-input", "link ../../../../../../in"),
        ("e-neighbour", "link 1"),
        ("f-nowhere", "link nowhere"),
        ("g-file", "file"),
        ("h-gone", "gone"),
    ];
    for alone in files {
        let (bench, done) = lanes(&[alone, ("z-good", "good after")]);
        assert_eq!(done.code, 3, "{alone:?}: {}", done.stderr);
        let error = bench.err(format!("{}.err", alone.0));
        assert_eq!(error["exception_type"], "BadOutput", "{alone:?}: {error:#}");
        assert_eq!(bench.out("z-good.out"), "AFTER", "{alone:?}");
    }
    let all: Vec<(&str, &str)> = files.into_iter().chain([("z-good", "good after")]).collect();
    let (bench, _) = lanes(&all);
    assert_eq!(bench.out("z-good.out"), "AFTER");
    // The lanes are used again after that.
    let many: Vec<(String, &str)> = (0..60)
        .map(|n| {
            (format!("{n:02}"), if n % 2 == 0 { files[n / 2 % files.len()].1 } else { "good x" })
        })
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, content)| (&**name, *content)).collect();
    let (bench, _) = lanes(&many);
    for number in (1..60).step_by(2) {
        assert_eq!(bench.out(format!("{number:02}.out")), "X");
    }
}

#[test]
fn calls_that_reach_into_each_others_directories_harm_no_host() {
    // They are one task, and may take from each other; what comes of it is an
    // output or an error of one of them.
    let files = [("a", "write a"), ("b", "write b"), ("c", "wipe")];
    let (bench, _) = lanes(&files);
    assert_eq!(bench.out("c.out"), "wiped");
    let (bench, _) = lanes(&[("a", "write of a"), ("b", "steal")]);
    assert_eq!(bench.out("b.out"), "of a");
    lanes(&[("a", "write of a"), ("b", "swap")]);
    lanes(&[("a", "good a"), ("b", "swap"), ("c", "wipe"), ("d", "gone"), ("e", "steal")]);
    let (bench, done) = lanes(&[("a", "leave"), ("b", "good b"), ("c", "leave")]);
    assert_eq!((done.code, bench.out("a.out")), (0, "left".into()));
}

#[test]
fn an_output_that_is_a_link_is_refused() {
    let up = "plant ../../../../../../../a.out";
    let (bench, _) = lanes(&[("a", up), ("b", "plant b.txt"), ("c", "plant ../2/b.out")]);
    for name in ["a.err", "b.err", "c.err"] {
        assert_eq!(bench.err(name)["exception_type"], "BadOutput");
    }
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
