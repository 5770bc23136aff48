//! A server takes files as they arrive, and leaves in good order.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use tigerflow_tests::{Bench, finish, guest, host, wait_until};

use crate::live::{Gate, Live};

/// A server of `upper`, set up and waiting.
fn upper(bench: &Bench, more: &[&str]) -> Live {
    let live = Live::start(bench, &mut bench.serve(&guest("upper"), more));
    live.says("Task setup complete");
    live
}

/// A server of `gated`.
fn gated(bench: &Bench, gate: &Gate, more: &[&str]) -> Live {
    Live::start(bench, bench.serve(&guest("gated"), more).args(["--dir", &gate.grant()]))
}

/// Ends a server that is idle.
#[track_caller]
fn stop(live: Live) -> String {
    live.signal(Signal::TERM);
    live.wait().expect(128 + 15).stderr
}

#[test]
fn files_are_taken_however_they_arrive() {
    let bench = Bench::new();
    bench.add("first.txt", "first").add("elsewhere", "renamed").add("other", "linked");
    // Longer than anybody waits here: what is taken, an event told of, or its
    // content had been still for long enough before.
    let more = ["--settle", "10m", "--poll-interval", "10m"];
    let old = SystemTime::now() - Duration::from_secs(3600);
    for name in ["first.txt", "other"] {
        let file = File::options().write(true).open(bench.input().join(name)).expect("an input");
        file.set_modified(old).expect("times can be set");
    }
    let live = upper(&bench, &more);
    wait_until("what was there is taken", || bench.has("first.out"));

    bench.add("written.txt", "written");
    wait_until("a file that was written and closed", || bench.has("written.out"));
    let input = bench.input();
    fs::rename(input.join("elsewhere"), input.join("renamed.txt")).expect("it can be renamed");
    wait_until("a file that was renamed into place", || bench.has("renamed.out"));
    fs::hard_link(input.join("other"), input.join("linked.txt")).expect("it can be linked");
    wait_until("a file that was linked", || bench.has("linked.out"));
    fs::copy(input.join("other"), input.join("copied.txt")).expect("it can be copied");
    wait_until("a file that was copied", || bench.has("copied.out"));
    std::os::unix::fs::symlink("other", input.join("symbolic.txt")).expect("a link");
    wait_until("a symbolic link", || bench.has("symbolic.out"));

    assert_eq!(bench.out("renamed.out"), "RENAMED");
    assert_eq!(bench.out("linked.out"), "LINKED");
    let log = stop(live);
    assert!(log.contains("1 file: 0 succeeded before, 0 failed before, 1 to do"), "{log}");
    assert!(log.contains("6 succeeded, 0 failed, 0 skipped"), "{log}");
}

#[test]
fn a_file_that_is_still_written_to_is_not_taken() {
    const SETTLE: Duration = Duration::from_millis(1_500);
    // A try counts where the writer was never held up for long: the machine
    // may be busy, and a real pause is a file that settled.
    for _ in 0..5 {
        let bench = Bench::new();
        let path = bench.input().join("slow.txt");
        // It is there when the server starts, and no event ever says that it
        // is complete: only its size and time tell.
        let mut file = File::create(&path).expect("an input");
        file.write_all(b"begin\n").expect("it is written");
        let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
        let live = Live::start(&bench, &mut bench.serve(&guest("upper"), &["--settle", "1500ms"]));
        let begun = Instant::now();
        let mut pieces = 0;
        while begun.elapsed() < 3 * SETTLE {
            file.write_all(b"piece\n").expect("it is written");
            pieces += 1;
            longest = longest.max(last.elapsed());
            last = Instant::now();
            let taken = bench.has("slow.out");
            assert!(!taken || longest > SETTLE / 2, "taken half-written:\n{}", live.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        if longest > SETTLE / 2 {
            continue;
        }
        // Held open, and still: now it counts as complete.
        wait_until("it is taken in the end", || bench.has("slow.out"));
        assert_eq!(bench.out("slow.out"), format!("BEGIN\n{}", "PIECE\n".repeat(pieces)));
        stop(live);
        return;
    }
    panic!("this machine is too busy to tell");
}

#[test]
fn a_closed_file_is_taken_before_it_has_settled() {
    let bench = Bench::new();
    let live = upper(&bench, &["--settle", "10m"]);
    let mut file = File::create(bench.input().join("a.txt")).expect("an input");
    file.write_all(b"one ").expect("it is written");
    // Another file is through from event to output; so would this one be.
    bench.add("b.txt", "other");
    wait_until("the other file is taken", || bench.has("b.out"));
    assert!(!bench.has("a.out"), "taken before it was closed");
    file.write_all(b"two").expect("it is written");
    drop(file);
    wait_until("the closed file is taken", || bench.has("a.out"));
    assert_eq!(bench.out("a.out"), "ONE TWO");
    stop(live);
}

#[test]
fn without_settling_a_file_is_taken_as_it_is() {
    let bench = Bench::new();
    // Never closed, and changed just now.
    let mut file = File::create(bench.input().join("a.txt")).expect("an input");
    file.write_all(b"half").expect("it is written");
    let live = upper(&bench, &["--settle", "0"]);
    wait_until("the open file is taken", || bench.has("a.out"));
    assert_eq!(bench.out("a.out"), "HALF");
    stop(live);

    // `--once` does not wait either, unless it is told to.
    let mut file = File::create(bench.input().join("b.txt")).expect("an input");
    file.write_all(b"half").expect("it is written");
    bench.run(&guest("upper"), &[]).expect(0);
    assert_eq!(bench.out("b.out"), "HALF");
    file.write_all(b"more").expect("it is written");
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(bench.input().join("c.txt"))
        .expect("an input");
    file.write_all(b"new").expect("it is written");
    let begun = Instant::now();
    bench.run(&guest("upper"), &["--settle", "300ms"]).expect(0);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(bench.out("c.out"), "NEW");
}

#[test]
fn once_takes_what_is_there_and_ends() {
    let bench = Bench::new();
    for number in 0..100 {
        bench.add(format!("{number}.txt"), "x");
    }
    bench.run(&guest("upper"), &[]).expect(0).says("100 succeeded, 0 failed, 0 skipped");
    assert_eq!(bench.names().len(), 100);
    // With nothing to do, nothing is set up.
    let done = bench.run(&guest("upper"), &[]).expect(0);
    assert!(!done.stderr.contains("Setting up"), "{}", done.stderr);
    done.says("0 succeeded, 0 failed, 100 skipped");
}

#[test]
fn an_idle_server_ends_when_it_is_told_how_long_to_wait() {
    let bench = Bench::new();
    let live = upper(&bench, &["--idle-timeout", "500ms"]);
    bench.add("a.txt", "one");
    let begun = Instant::now();
    live.wait().expect(0).says("1 succeeded, 0 failed");
    assert!(begun.elapsed() >= Duration::from_millis(500), "it waits after the last file, too");
    assert_eq!(bench.out("a.out"), "ONE");
    // A file in flight is no idleness, however long it takes.
    let gate = Gate::new(&bench);
    bench.add("b.txt", "two");
    let mut live = gated(&bench, &gate, &["--idle-timeout", "1ms", "--concurrency-limit", "2"]);
    gate.wait("begun-b.txt");
    bench.add("c.txt", "three");
    gate.open("open-c.txt");
    wait_until("a file beside it is done", || bench.has("c.out"));
    assert!(live.runs(), "{}", live.log());
    gate.open("open-b.txt");
    live.wait().expect(0).says("2 succeeded, 0 failed");
}

/// Whether this process, and with it what it starts, ignores a signal.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("it can be read");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a mask");
    u64::from_str_radix(mask.trim(), 16).expect("a number") & (1 << (signal - 1)) != 0
}

#[test]
fn a_signal_lets_files_in_flight_finish() {
    for (signal, number) in [(Signal::INT, 2), (Signal::TERM, 15), (Signal::HUP, 1)] {
        if is_ignored(number) {
            eprintln!(
                "SKIPPED: signal {number} is ignored here, as under nohup, and so the host does"
            );
            continue;
        }
        let bench = Bench::new();
        let gate = Gate::new(&bench);
        for name in ["a.txt", "b.txt", "c.txt"] {
            bench.add(name, name);
        }
        let live = gated(&bench, &gate, &["--concurrency-limit", "1", "--settle", "0"]);
        gate.wait("begun-a.txt");
        live.signal(signal);
        live.says(&format!("Received signal {number}, initiating shutdown"));
        gate.open("open");
        let done = live
            .wait()
            .expect(128 + number)
            .says("1 succeeded, 0 failed, 0 skipped, 2 still to do");
        done.says("Task shutdown complete");
        assert_eq!(bench.names(), ["a.out"]);
        assert_eq!((gate.count("begun-"), gate.count("setup-")), (1, 1));
        assert!(gate.has("teardown-0"), "the instance is torn down");
        bench.run(&guest("gated"), &["--dir", &gate.grant()]).expect(0).says("1 succeeded before");
        assert_eq!(bench.names(), ["a.out", "b.out", "c.out"]);
    }
}

#[test]
fn a_second_signal_leaves_at_once() {
    // The second kind counts; a guest that computes holds nobody up either.
    for (content, second, code) in [("waits", Signal::INT, 130), ("spins", Signal::TERM, 143)] {
        let bench = Bench::new();
        let gate = Gate::new(&bench);
        let content = if content == "spins" { "spin for ever" } else { content };
        bench.add("a.txt", content).add("b.txt", "two");
        let live = gated(&bench, &gate, &["--concurrency-limit", "1", "--settle", "0"]);
        gate.wait("begun-a.txt");
        live.signal(Signal::INT).says("Received signal 2, initiating shutdown");
        live.signal(second);
        live.wait().expect(code).says("leaving at once: files in flight are still to do");
        let status = finish(host().arg("status").arg(bench.output())).expect(0).stdout;
        assert!(status.contains(&format!("with exit code {code}")), "{status}");
        assert_eq!(bench.names(), [""; 0], "nothing half-done");
        assert!(!gate.has("teardown-0"));

        bench.add("a.txt", "one");
        gate.open("open");
        let done = bench.run(&guest("gated"), &["--dir", &gate.grant()]).expect(0);
        done.says("2 files: 0 succeeded before, 0 failed before, 2 to do");
        assert_eq!((bench.out("a.out"), bench.out("b.out")), ("ONE".into(), "TWO".into()));
    }
}

#[test]
fn an_idle_server_stops_and_tears_down() {
    let bench = Bench::new();
    let gate = Gate::new(&bench);
    let live = gated(&bench, &gate, &[]);
    live.says("Task setup complete");
    live.signal(Signal::INT);
    live.wait().expect(130).says("0 succeeded, 0 failed");
    assert!(gate.has("teardown-0"));
}

#[test]
fn a_run_under_nohup_outlives_its_terminal() {
    let bench = Bench::new();
    let plain = bench.serve(&guest("upper"), &[]);
    let mut command = Command::new("nohup");
    command.arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        command.env(name, value.expect("a value"));
    }
    let live = Live::start(&bench, &mut command);
    live.says("Task setup complete").signal(Signal::HUP);
    bench.add("a.txt", "one");
    wait_until("it goes on", || bench.has("a.out"));
    let log = stop(live);
    assert!(!log.contains("Received signal 1,"), "{log}");
}

#[test]
fn an_input_that_is_gone_before_its_turn_is_no_failure() {
    let bench = Bench::new();
    let gate = Gate::new(&bench);
    bench.add("a.txt", "one").add("b.txt", "two").add("c.txt", "three");
    let more = ["--concurrency-limit", "1", "--settle", "0"];
    let live = gated(&bench, &gate, &more);
    gate.wait("begun-a.txt");
    fs::remove_file(bench.input().join("b.txt")).expect("it can be removed");
    gate.open("open");
    wait_until("the last one is done", || bench.has("c.out"));
    // Should it come back, it is an input.
    live.says("Gone before it was processed: b.txt");
    assert_eq!(bench.names(), ["a.out", "c.out"]);
    bench.add("b.txt", "again");
    wait_until("it is taken", || bench.has("b.out"));
    let log = stop(live);
    assert!(log.contains("3 succeeded, 0 failed"), "{log}");
}

#[test]
fn a_name_that_comes_again_after_its_output_was_taken_away_is_new_work() {
    let bench = Bench::new();
    let live = upper(&bench, &[]);
    for round in ["first", "second"] {
        bench.add("order.txt", round);
        wait_until(&format!("the {round} order is done"), || bench.has("order.out"));
        assert_eq!(bench.out("order.out"), round.to_uppercase());
        fs::remove_file(bench.output().join("order.out")).expect("the user takes it");
        fs::remove_file(bench.input().join("order.txt")).expect("and the order");
    }
    stop(live);
}

#[test]
fn one_instance_serves_a_trickle() {
    let bench = Bench::new();
    let gate = Gate::new(&bench);
    gate.open("open");
    let live = gated(&bench, &gate, &["--concurrency-limit", "4"]);
    live.says("Task setup complete");
    let journal = bench.output().join(".tigerflow/gated/journal.jsonl");
    for number in 0..20 {
        bench.add(format!("{number}.txt"), "x");
        // The output stands a moment before the run knows that its instance is
        // free; the journal is written after that.
        wait_until("it is recorded", || {
            let journal = fs::read_to_string(&journal).expect("a journal");
            journal.matches("\"event\":\"attempt\"").count() > number
        });
        assert!(bench.has(format!("{number}.out")));
    }
    stop(live);
    assert_eq!((gate.count("setup-"), gate.count("teardown-")), (1, 1));
}

#[test]
fn files_in_flight_are_as_many_as_allowed_and_never_more() {
    for limit in [1, 3, 8] {
        let bench = Bench::new();
        let gate = Gate::new(&bench);
        for number in 0..12 {
            bench.add(format!("{number:02}.txt"), "x");
        }
        let number = limit.to_string();
        let live = gated(&bench, &gate, &["--once", "--concurrency-limit", &number]);
        // More than there are cores: they wait, and so overlap.
        wait_until("as many as allowed are at work", || gate.count("begun-") == limit);
        gate.open("open");
        live.wait().expect(0).says("12 succeeded, 0 failed");
        assert!(gate.has(&format!("seen-{limit}")), "all of them at once");
        let more = (limit + 1..=12).find(|n| gate.has(&format!("seen-{n}")));
        assert_eq!(more, None, "at work at once, with a limit of {limit}");
        assert_eq!(gate.count("setup-"), limit, "an instance each");
        assert_eq!(gate.count("teardown-"), limit);
    }
}

#[test]
fn files_that_no_event_tells_of_are_found() {
    // The kernel keeps 16,384 events for a reader that does not come.
    const FILES: usize = 20_000;
    let bench = Bench::new();
    let live = upper(&bench, &["--settle", "0", "--poll-interval", "10m"]);
    live.signal(Signal::STOP);
    for number in 0..FILES {
        bench.add(format!("{number}.txt"), "x");
    }
    live.signal(Signal::CONT);
    let outputs = || fs::read_dir(bench.output()).expect("out can be listed").count() - 1;
    wait_until("all of them are done", || outputs() == FILES);
    let log = stop(live);
    assert!(log.contains(&format!("{FILES} succeeded, 0 failed, 0 skipped")), "{log:.2000}");
}

#[test]
fn an_output_directory_that_is_taken_away_stops_the_run() {
    let bench = Bench::new();
    let gate = Gate::new(&bench);
    for name in ["a.txt", "b.txt", "c.txt", "d.txt"] {
        bench.add(name, name);
    }
    let live = gated(&bench, &gate, &["--once", "--concurrency-limit", "1"]);
    gate.wait("begun-a.txt");
    fs::remove_dir_all(bench.output()).expect("it can be removed");
    gate.open("open");
    let done = live.wait().expect(1).says("failed to publish `a.err`").says("4 still to do");
    assert_eq!(done.stderr.matches("ERROR").count(), 1, "{}", done.stderr);
    assert!(!bench.output().exists());
}

#[test]
fn an_unchanged_directory_is_not_listed_again() {
    let bench = Bench::new();
    let input = bench.input();
    // Listing a directory renews its access time, where the file system keeps
    // one, if that is older than its content.
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let accessed = || fs::metadata(&input).expect("it").accessed().expect("a time");
    let age = || {
        let times = fs::FileTimes::new().set_accessed(old);
        File::open(&input).expect("it opens").set_times(times).expect("times can be set");
    };
    age();
    assert_eq!(fs::read_dir(&input).expect("it").count(), 0);
    if accessed() == old {
        eprintln!("SKIPPED: this file system does not tell when a directory was listed");
        return;
    }
    let live = upper(&bench, &["--poll-interval", "20ms"]);
    bench.add("a.txt", "one");
    wait_until("a file arrives", || bench.has("a.out"));
    // For two seconds after a change another one may hide behind the same
    // time stamp, so that it is listed once more.
    let changed = Instant::now();
    wait_until("the change is long past", || changed.elapsed() > Duration::from_secs(4));
    age();
    let idle = Instant::now();
    wait_until("many looks have passed", || idle.elapsed() > Duration::from_secs(1));
    assert_eq!(accessed(), old, "it was listed, and nothing had changed");
    bench.add("b.txt", "two");
    wait_until("it is awake", || bench.has("b.out"));
    stop(live);
}
