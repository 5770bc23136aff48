//! `--isolate file`: each file has a fresh instance, from `setup` to `teardown`.

use tigerflow_tests::{Bench, Done, conformance, fake_slurm::FakeSlurm, finish, guest, limited};

const FILE: [&str; 2] = ["--isolate", "file"];

/// Lines that the guest prints itself.
fn printed(done: &Done, line: &str) -> usize {
    done.stdout.lines().filter(|l| *l == line).count()
}

/// Inputs of this content, `000.txt` and so on.
fn with_files(files: usize, content: &str) -> Bench {
    let bench = Bench::new();
    for number in 0..files {
        bench.add(format!("{number:03}.txt"), content);
    }
    bench
}

#[track_caller]
fn assert_each(bench: &Bench, files: usize, output: &str) {
    for number in 0..files {
        assert_eq!(bench.out(format!("{number:03}.out")), output, "{number}");
    }
    assert_eq!(bench.names().len(), files);
}

#[test]
fn nothing_is_left_of_the_file_before() {
    let bench = with_files(200, "runs");
    let one_by_one = ["--concurrency-limit", "1"];
    let done = bench.run(&guest("misbehave"), &one_by_one).expect(0);
    assert_eq!((bench.out("199.out").as_str(), printed(&done, "setup")), ("200", 1));

    let bench = with_files(200, "runs");
    let done = bench.run(&guest("misbehave"), &[&FILE[..], &one_by_one].concat()).expect(0);
    assert_each(&bench, 200, "1");
    assert_eq!((printed(&done, "setup"), printed(&done, "teardown")), (200, 200));
    bench.assert_tidy("misbehave");
}

#[test]
fn calls_of_an_asynchronous_task_are_kept_apart_and_overlap() {
    let bench = with_files(100, "peak");
    bench.add("waits.txt", "wait 300");
    let done = bench.run(&guest("async-upper"), &FILE).expect(0);
    assert_eq!(bench.out("waits.out"), "WAIT 300");
    assert_eq!((printed(&done, "setup"), printed(&done, "teardown")), (101, 101));
    for number in 0..100 {
        assert_eq!(bench.out(format!("{number:03}.out")), "1");
    }
    // The one that waits comes last by its name, and all others end before it.
    let ended = |file: &str| {
        let journal = bench.journal("async-upper");
        journal.iter().position(|r| r["event"] == "attempt" && r["file"] == file)
    };
    assert!(ended("099.txt") < ended("waits.txt"));
    bench.assert_tidy("async-upper");
}

/// There are never more instances than files in flight, however long they take to end.
#[test]
fn an_instance_that_is_torn_down_holds_its_place() {
    let bench = with_files(60, "text");
    let more = ["--concurrency-limit", "4", "--teardown-wait", "150"];
    let done = bench.run(&guest("async-upper"), &[&FILE[..], &more].concat()).expect(0);
    assert_each(&bench, 60, "TEXT");
    assert_eq!((printed(&done, "setup"), printed(&done, "teardown")), (60, 60));
}

#[test]
fn files_that_may_be_open_suffice() {
    for (concurrency, durability) in [("50", "none"), ("8", "batch"), ("100", "batch")] {
        let bench = with_files(900, "text");
        let more = ["--concurrency-limit", concurrency, "--durability", durability, "--once"];
        let run = bench.serve(&guest("async-upper"), &[&FILE[..], &more].concat());
        finish(&mut limited("-n 400", &run)).expect(0);
        assert_each(&bench, 900, "TEXT");
        bench.assert_tidy("async-upper");
    }
}

#[test]
fn a_broken_instance_costs_its_file_and_what_it_left_goes() {
    let bench = with_files(60, "good file");
    bench.add("0100-panics.txt", "panic now");
    bench.add("0200-keeps.txt", "keep");
    bench.add("0300-writes.txt", "write-to-kept");
    bench.add("0400-leaves.txt", "extra");
    bench.add("0500-takes-all.txt", "bomb");
    let more = ["--at-teardown", "leave /output/059.out", "--memory-limit", "64M"];
    let done = bench.run(&guest("misbehave"), &[&FILE[..], &more].concat()).expect(3);
    assert_eq!(bench.err("0100-panics.err")["exception_type"], "Panic");
    assert_eq!(bench.err("0500-takes-all.err")["exception_type"], "MemoryLimit");
    assert_eq!(bench.out("0200-keeps.out"), "complete", "a later file has nothing of it");
    assert_eq!(bench.out("0300-writes.out"), "");
    for number in 0..60 {
        // It counts what else is in its `/output`: nothing.
        assert_eq!(bench.out(format!("{number:03}.out")), "FILE 0");
    }
    assert!(!done.stderr.contains("keeps its output open"), "{}", done.stderr);
    bench.assert_tidy("misbehave");
}

#[test]
fn every_language_fits_and_so_do_many_instances() {
    for language in ["rust", "c", "go", "js", "python"] {
        let bench = with_files(4, "context\n");
        bench.run(&conformance(language), &[&FILE[..], &["--tag", "x"]].concat()).expect(0);
        assert_each(&bench, 4, "setup 1, run 1, tag x");
    }
    for language in ["rust-async", "python-async"] {
        let bench = with_files(4, "echo\nGrüße");
        bench.run(&conformance(language), &FILE).expect(0);
        assert_each(&bench, 4, "Grüße");
    }
    // More than there is room for are made from nothing.
    for concurrency in ["300", "1200"] {
        let bench = with_files(50, "text");
        let more = [&FILE[..], &["--concurrency-limit", concurrency]].concat();
        bench.run(&guest("upper"), &more).expect(0);
        assert_each(&bench, 50, "TEXT");
    }
}

#[test]
fn limits_hold_in_fresh_instances() {
    let bench = with_files(20, "good file");
    bench.add("5-loops.txt", "loop");
    let more = [&FILE[..], &["--timeout", "300ms"]].concat();
    bench.run(&guest("misbehave"), &more).expect(3);
    assert_eq!(bench.err("5-loops.err")["exception_type"], "Timeout");
    assert_eq!(bench.names().len(), 21);
}

#[test]
fn workers_in_jobs_keep_files_apart_as_well() {
    let fake = FakeSlurm::new();
    let bench = with_files(40, "runs");
    let more = [&FILE[..], &["--once", "--max-workers", "2", "--squeue-interval", "500ms"]];
    finish(&mut fake.aim(bench.serve(&guest("misbehave"), &more.concat()))).expect(0);
    assert_each(&bench, 40, "1");
}

#[test]
fn a_setup_that_fails_stops_the_run() {
    let bench = with_files(10, "runs");
    let more = [&FILE[..], &["--at-setup", "fail 7"]].concat();
    bench.run(&guest("misbehave"), &more).expect(4).says("7 is no answer");
    assert!(bench.names().is_empty());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let bench = with_files(1, "runs");
    let more = [&FILE[..], &["--instances", "2"]].concat();
    bench.run(&guest("async-upper"), &more).expect(2).says("leave --instances out");
    bench.run(&guest("upper"), &["--isolate", "run"]).expect(2).says("none, file");
}
