//! A guest's fault costs one attempt: the instance is replaced, the neighbours
//! go on, and the `.err` says what happened in words that a person can act on.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;
use tigerflow_tests::{Bench, Done, finish, guest, limited, wait, wait_until};

use crate::live::Live;

/// Limits under which each fault shows within moments.
const LIMITS: [&str; 6] = ["--timeout", "2s", "--memory-limit", "64M", "--output-limit", "10M"];

/// A way to fail: the input's name and content, and what its `.err` says.
struct Bad {
    name: &'static str,
    content: &'static str,
    exception_type: &'static str,
    /// What the message must hold.
    message: &'static str,
    /// What the traceback must hold.
    traceback: &'static str,
    /// Whether the instance cannot go on.
    deadly: bool,
}

const fn bad(
    name: &'static str,
    content: &'static str,
    [exception_type, message, traceback]: [&'static str; 3],
    deadly: bool,
) -> Bad {
    Bad { name, content, exception_type, message, traceback, deadly }
}

/// One of each kind. Their names lie among those of the good files.
const BAD: [Bad; 20] = [
    bad("0050-abort", "abort", ["Trap", "aborted itself", "misbehave::call"], true),
    bad("0100-panic", "panic boom at last", ["Panic", "boom at last", "misbehave::call"], true),
    bad("0150-exit-0", "exit 0", ["Exit", "instead of returning", "misbehave::call"], true),
    bad("0200-exit-3", "exit 3", ["Exit", "instead of returning", "misbehave::call"], true),
    bad("0250-loop", "loop", ["Timeout", "--timeout", ""], true),
    bad("0300-sleep", "sleep", ["Timeout", "stopped after 2s", ""], true),
    bad("0350-bomb", "bomb", ["MemoryLimit", "--memory-limit", "misbehave::call"], true),
    bad("0400-deep", "deep", ["StackOverflow", "recursion", "misbehave::deep"], true),
    bad("0450-frames", "deep-frames", ["Trap", "recursion", "misbehave::deep_frames"], true),
    bad("0500-flood", "write 20000000", ["OutputLimit", "--output-limit", ""], true),
    bad("0550-stderr", "stderr 20000", ["Failed", "see stderr", "misbehave.rs:"], false),
    bad("0600-error", "fail x", ["ParseIntError", "is no number: inv", "caused by: inv"], false),
    bad("0650-failed", "fail 41", ["Failed", "41 is no answer", "misbehave.rs:"], false),
    bad("0700-transient", "transient busy", ["Transient", "busy", "misbehave.rs:"], false),
    bad("0750-partial", "partial fail 1", ["Failed", "1 is no answer", ""], false),
    bad("0800-half", "partial panic half-way", ["Panic", "half-way", "misbehave::call"], true),
    bad("0850-directory", "directory", ["BadOutput", "left a directory", ""], false),
    bad("0900-symlink", "symlink nowhere", ["BadOutput", "left a symbolic link", ""], false),
    bad("0920-forever", "forever", ["Timeout", "--timeout", ""], true),
    bad("0950-long", "long-error 1000000", ["Failed", "xxx", ""], false),
];

/// How many lines of stdout are this.
fn lines(done: &Done, line: &str) -> usize {
    done.stdout.lines().filter(|l| *l == line).count()
}

fn text<'a>(error: &'a Value, key: &str) -> &'a str {
    error[key].as_str().unwrap_or_else(|| panic!("no text `{key}` in {error}"))
}

#[test]
fn a_thousand_good_files_and_one_of_each_bad_kind() {
    let bench = Bench::new();
    for number in 0..1000 {
        bench.add(format!("{number:04}.txt"), format!("good file {number}"));
    }
    for bad in &BAD {
        bench.add(format!("{}.txt", bad.name), bad.content);
    }
    bench.add("0700-aborted.txt", "aborted nothing to do here");
    bench.add("0800-extra.txt", "extra").add("0810-nothing.txt", "nothing");

    let more = [&LIMITS[..], &["--concurrency-limit", "4", "--retries", "0"]].concat();
    let done = bench.run(&guest("misbehave"), &more).expect(3);

    for number in 0..1000 {
        // Each found its `/output` empty, whatever was there before.
        assert_eq!(bench.out(format!("{number:04}.out")), format!("FILE {number} 0"));
    }
    for bad in &BAD {
        let error = bench.err(format!("{}.err", bad.name));
        assert_eq!(text(&error, "exception_type"), bad.exception_type, "{error:#}");
        assert!(text(&error, "message").contains(bad.message), "{error:#}");
        assert!(text(&error, "traceback").contains(bad.traceback), "{error:#}");
        assert!(text(&error, "file").ends_with(&format!("{}.txt", bad.name)), "{error:#}");
        assert_eq!(text(&error["task"], "name"), "misbehave");
    }
    let aborted = bench.err("0700-aborted.err");
    assert_eq!(text(&aborted, "exception_type"), "Aborted");
    assert_eq!(text(&aborted, "message"), "nothing to do here");
    assert_eq!(bench.out("0800-extra.out"), "done");
    assert_eq!(bench.out("0810-nothing.out"), "");

    // One outcome for each input, and nothing else.
    let mut names: Vec<String> = (0..1000).map(|number| format!("{number:04}.out")).collect();
    names.extend(BAD.iter().map(|bad| format!("{}.err", bad.name)));
    names.extend(["0700-aborted.err", "0800-extra.out", "0810-nothing.out"].map(String::from));
    names.sort();
    assert_eq!(bench.names(), names);
    let staging = bench.output().join(".tigerflow/misbehave/staging");
    assert_eq!(fs::read_dir(staging).expect("staging is there").count(), 0);

    // Each deadly fault cost its instance, and nothing else did.
    let deaths = BAD.iter().filter(|bad| bad.deadly).count();
    let (setups, teardowns) = (lines(&done, "setup"), lines(&done, "teardown"));
    assert_eq!(setups, teardowns + deaths, "{}", done.stderr);
    assert!(setups <= 4 + deaths, "{setups} instances for {deaths} faults");
    let late = BAD.iter().filter(|bad| bad.exception_type == "Timeout").count();
    let failed = BAD.len() - late;
    done.says(&format!("1002 succeeded, {failed} failed, {late} timed out, 1 aborted, 0 skipped"));
}

#[test]
fn an_instance_is_replaced_after_a_fault_and_reused_otherwise() {
    let bench = Bench::new();
    bench.add("a.txt", "good one").add("b.txt", "fail 1").add("c.txt", "abort");
    bench.add("d.txt", "good two").add("e.txt", "aborted no").add("f.txt", "sleep");
    bench.add("g.txt", "directory").add("h.txt", "good three").add("i.txt", "exit 0");
    let limits = ["--concurrency-limit", "1", "--timeout", "500ms"];
    let done = bench.run(&guest("misbehave"), &limits).expect(3);
    // The last one died, too: there is nothing to tear down.
    assert_eq!(done.stdout, "setup\nsetup\nsetup\n");
    for (name, content) in [("a.out", "ONE 0"), ("d.out", "TWO 0"), ("h.out", "THREE 0")] {
        assert_eq!(bench.out(name), content);
    }
}

#[test]
fn what_an_attempt_leaves_is_gone_before_the_next() {
    for before in
        ["extra", "partial fail 1", "directory", "symlink ..", "pieces 2000 10", "nest 300"]
    {
        let bench = Bench::new();
        bench.add("a.txt", before).add("b.txt", "good next");
        let done = bench.run(&guest("misbehave"), &["--concurrency-limit", "1"]);
        assert_eq!(done.stdout, "setup\nteardown\n", "{before}: one instance does both");
        assert_eq!(bench.out("b.out"), "NEXT 0", "{before}");
        assert!(!done.stderr.contains("WARNING"), "{before}: {}", done.stderr);
    }
}

#[test]
fn what_a_lost_instance_leaves_is_gone_as_well() {
    let partial =
        ["partial abort", "partial exit 0", "partial sleep", "partial loop", "partial bomb"];
    for before in [&partial[..], &["write 20000000", "pieces 50 1000000"]].concat() {
        let bench = Bench::new();
        bench.add("a.txt", before).add("b.txt", "good next");
        let more = [&LIMITS[..], &["--concurrency-limit", "1"]].concat();
        let done = bench.run(&guest("misbehave"), &more).expect(3);
        assert_eq!(done.stdout, "setup\nsetup\nteardown\n", "{before}: it takes two instances");
        assert_eq!(bench.names(), ["a.err", "b.out"], "{before}");
        assert_eq!(bench.out("b.out"), "NEXT 0", "{before}");
    }
}

#[test]
fn an_output_is_complete_once_it_is_published() {
    // A task, or a library in it, that keeps its file open must not change an
    // output that others read by now.
    let bench = Bench::new();
    bench.add("a.txt", "keep").add("b.txt", "write-to-kept").add("c.txt", "good c");
    bench.run(&guest("misbehave"), &["--concurrency-limit", "1"]).expect(0);
    assert_eq!(bench.out("a.out"), "complete");
    assert_eq!(bench.out("c.out"), "C 0");
}

#[test]
fn a_nest_of_directories_harms_nobody() {
    let bench = Bench::new();
    bench.add("a.txt", "nest 1500").add("b.txt", "good next");
    // Fewer files at once than the nest is deep, for the host as well.
    let host = bench.serve(&guest("misbehave"), &["--once", "--concurrency-limit", "1"]);
    let done = finish(&mut limited("-n 256", &host)).expect(0);
    assert!(!done.stderr.contains("WARNING"), "{}", done.stderr);
    assert_eq!(bench.out("b.out"), "NEXT 0");
    let staging = bench.output().join(".tigerflow/misbehave/staging");
    assert_eq!(fs::read_dir(staging).expect("staging is there").count(), 0);
}

#[test]
fn of_a_flood_on_stderr_the_end_is_kept() {
    let bench = Bench::new();
    bench.add("a.txt", "stderr 200000").add("b.txt", "stderr 1");
    bench.run(&guest("misbehave"), &["--concurrency-limit", "1"]).expect(3);
    let error = bench.err("a.err");
    let tail = text(&error, "stderr");
    assert!(tail.ends_with("\nline 199999 of what goes wrong\n"), "{tail}");
    assert!(tail.starts_with('…') && (10_000..20_000).contains(&tail.len()), "{}", tail.len());
    // An attempt tells of itself only.
    assert_eq!(text(&bench.err("b.err"), "stderr"), "line 0 of what goes wrong\n");
}

#[test]
fn stdout_is_the_hosts_and_its_lines_stay_whole() {
    let bench = Bench::new();
    bench.add("a.txt", "lines 20000").add("b.txt", "lines 20000");
    let done = bench.run(&guest("misbehave"), &["--concurrency-limit", "2"]).expect(0);
    for stem in ["a", "b"] {
        let expected = (0..20_000).map(|number| format!("{stem} {number} {}", "-".repeat(50)));
        let start = format!("{stem} ");
        assert!(done.stdout.lines().filter(|l| l.starts_with(&start)).eq(expected), "{stem}");
    }
    let others = done.stdout.lines().filter(|l| !l.ends_with(&"-".repeat(50)));
    assert!(
        others.clone().all(|l| l == "setup" || l == "teardown"),
        "{:?}",
        others.collect::<Vec<_>>()
    );
}

#[test]
fn a_guest_that_computes_for_ever_holds_up_no_neighbour() {
    // More in flight than there are cores, and no time limit.
    let slots = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    let bench = Bench::new();
    let limit = slots.to_string();
    let more = ["--settle", "0", "--concurrency-limit", &limit];
    let live = Live::start(&bench, &mut bench.serve(&guest("misbehave"), &more));
    // Whole at once: without a settle time a file is taken as it comes.
    let arrive = |name: &str, content: &str| {
        bench.add("part", content);
        fs::rename(bench.input().join("part"), bench.input().join(name)).expect("a rename");
    };
    for number in 1..slots {
        arrive(&format!("{number}.txt"), "wait-for /input/go");
    }
    wait_until("all slots but one are busy", || {
        live.log().matches("Starting processing: ").count() == slots - 1
    });
    arrive("endless.txt", "loop");
    live.says("Starting processing: endless.txt");
    arrive("go", "");
    wait_until("all neighbours are done", || bench.names().len() == slots - 1);
    arrive("late.txt", "good late");
    wait_until("a late file is done", || bench.has("late.out"));
    assert!(!bench.has("endless.out") && !bench.has("endless.err"));
    // Asked once it waits for the endless file; asked twice it leaves.
    live.signal(Signal::INT).says("initiating shutdown").signal(Signal::INT);
    live.wait().expect(130);
}

#[test]
fn a_reader_of_stdout_that_left_is_no_fault() {
    let bench = Bench::new();
    bench.add("a.txt", "lines 20000").add("b.txt", "good b");
    let mut child = bench.serve(&guest("misbehave"), &["--once"]).spawn().expect("it starts");
    drop(child.stdout.take());
    wait(child).expect(0).says("2 succeeded, 0 failed");
    assert_eq!(bench.names(), ["a.out", "b.out"]);
}

#[test]
fn long_words_are_cut() {
    let bench = Bench::new();
    bench.add("a.txt", "long-error 1000000").add("b.txt", "long-reason 1000000");
    bench.add("c.txt", "panic x");
    let done = bench.run(&guest("misbehave"), &[]).expect(3);
    for name in ["a.err", "b.err"] {
        let message = bench.err(name);
        let length = text(&message, "message").len();
        assert!((1_000..100_000).contains(&length), "{name}: {length}");
    }
    let longest = done.stderr.lines().map(str::len).max().expect("there is a log");
    assert!(longest < 10_000, "a log line of {longest} bytes");
}

#[test]
fn a_panic_is_told_with_its_place() {
    let bench = Bench::new();
    bench.add("a.txt", "panic the sky fell");
    let done = bench.run(&guest("misbehave"), &[]).expect(3);
    let error = bench.err("a.err");
    let message = text(&error, "message");
    assert!(message.starts_with("panicked at src/misbehave.rs:"), "{message}");
    assert!(message.ends_with(": the sky fell"), "{message}");
    assert!(text(&error, "stderr").contains("the sky fell"));
    done.says("Failed processing: a.txt (Panic: panicked at src/misbehave.rs:");
}

#[test]
fn a_wrong_exit_code_is_not_made_up() {
    // WASI tells success from failure, and no more.
    let bench = Bench::new();
    bench.add("a.txt", "exit 3");
    bench.run(&guest("misbehave"), &[]).expect(3);
    let error = bench.err("a.err");
    assert!(!text(&error, "message").contains("code 1 "), "{error:#}");
}

/// An instance whose output stays open is torn down before the next file, and one
/// that fails is replaced: what either leaves is nobody's output.
#[test]
fn what_a_teardown_writes_is_no_files_output() {
    let bench = Bench::new();
    bench.add("a.txt", "keep").add("b.txt", "nothing").add("c.txt", "good c");
    let leaves = "at-teardown=leave /output/b.out";
    let more = ["--concurrency-limit", "1", "--param", leaves];
    let done = bench.run(&guest("misbehave"), &more).expect(0);
    assert_eq!(bench.out("b.out"), "");
    assert_eq!(bench.out("c.out"), "C 0");
    assert!(done.stderr.contains("keeps its output open"), "{}", done.stderr);
}
