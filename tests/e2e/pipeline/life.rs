//! What becomes of a file on its way down the tree, and what is left of it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use tigerflow_tests::wait_until;

use super::{Pipeline, task};
use crate::live::Gate;

#[test]
fn a_file_goes_through_all_tasks_and_leaves_its_outputs_only() {
    let pipeline = Pipeline::chain(3);
    pipeline.add("a.txt", "one").add("b.txt", "two").add("c.other", "no input");
    pipeline.run(&[]).expect(0).says("2 files finished, 0 failed");
    for name in ["one", "two", "three"] {
        assert_eq!(pipeline.shown(name), [format!("a.{name}"), format!("b.{name}")]);
        assert_eq!(pipeline.inner(name), [""; 0], "intermediates go");
        assert_eq!(pipeline.out(format!("{name}/a.{name}")), "ONE");
    }
    assert_eq!(pipeline.names(), ["one", "three", "two"]);
    let mut finished = pipeline.finished();
    finished.sort();
    assert_eq!(finished, ["a.txt", "b.txt"]);

    // The next run finds that all is done, and sets nothing up.
    let done = pipeline.run(&[]).expect(0).says("2 files finished before, 0 to go on with");
    assert!(!done.stderr.contains("Setting up"), "{}", done.stderr);
    assert_eq!(pipeline.journal("one").iter().filter(|r| r["event"] == "attempt").count(), 2);
    pipeline.add("d.txt", "three");
    pipeline.run(&[]).expect(0).says("1 file finished, 0 failed");
    assert_eq!(pipeline.shown("three"), ["a.three", "b.three", "d.three"]);
}

#[test]
fn it_fans_out_from_one_root_and_from_several() {
    let pipeline = Pipeline::new(&[
        task("leaf", "upper", ".b", ".leaf", "depends_on: middle"),
        task("root", "upper", ".txt", ".a", ""),
        task("middle", "upper", ".a", ".b", "depends_on: root, keep_output: false"),
        task("beside", "upper", ".a", ".beside", "depends_on: root"),
        task("other", "upper", ".txt", ".other", ""),
        task("below", "upper", ".other", ".below", "depends_on: other, keep_output: false"),
    ]);
    for number in 0..20 {
        pipeline.add(format!("{number}.txt"), "x");
    }
    pipeline.run(&[]).expect(0).says("20 files finished, 0 failed");
    for (name, kept) in
        [("root", 20), ("middle", 0), ("leaf", 20), ("beside", 20), ("other", 20), ("below", 0)]
    {
        assert_eq!(pipeline.shown(name).len(), kept, "{name}");
        assert_eq!(pipeline.inner(name), [""; 0], "{name}");
        let attempts = pipeline.journal(name).iter().filter(|r| r["event"] == "attempt").count();
        assert_eq!(attempts, 20, "{name}");
    }
    assert!(
        !pipeline.has("middle") && !pipeline.has("below"),
        "nothing is made where none is kept"
    );
}

#[test]
fn an_output_is_one_file_with_two_names_until_it_is_finished() {
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".txt", ".one", ""),
        task("two", "gated", ".one", ".two", "depends_on: one, dirs: ['gate::/gate:rw']"),
    ]);
    let gate = Gate::new(&pipeline);
    pipeline.add("a.txt", "text");
    let live = pipeline.live(&["--once"]);
    gate.wait("begun-a.one");
    let inner = fs::metadata(pipeline.workspace("one").join("outputs/a.one")).expect("it is there");
    let shown = fs::metadata(pipeline.output().join("one/a.one")).expect("it is shown at once");
    assert_eq!((shown.ino(), shown.nlink()), (inner.ino(), 2));
    gate.open("open");
    live.wait().expect(0);
    let shown = fs::metadata(pipeline.output().join("one/a.one")).expect("it stays");
    assert_eq!((shown.ino(), shown.nlink()), (inner.ino(), 1));
}

#[test]
fn outputs_may_be_empty() {
    let pipeline = Pipeline::new(&[
        task("one", "misbehave", ".txt", ".one", ""),
        task("two", "upper", ".one", ".two", "depends_on: one"),
    ]);
    // One writes none, one writes nothing.
    pipeline.add("a.txt", "nothing").add("b.txt", "write 0");
    pipeline.run(&[]).expect(0).says("2 files finished, 0 failed");
    for name in ["one/a.one", "one/b.one", "two/a.two", "two/b.two"] {
        assert_eq!(pipeline.out(name), "", "{name}");
    }
}

#[test]
fn what_fails_in_the_middle_keeps_what_it_has_and_is_tried_again() {
    let tasks = |two: &str| {
        [
            task("one", "peek", ".txt", ".one", "keep_output: false"),
            task(
                "two",
                two,
                ".one",
                ".two",
                "depends_on: one, dirs: ['state::/state:rw'], keep_output: false",
            ),
            task("three", "upper", ".two", ".three", "depends_on: two"),
            task("beside", "upper", ".one", ".beside", "depends_on: one"),
        ]
    };
    // What `peek` writes begins with a path: to `misbehave` that is no misdeed it knows.
    let pipeline = Pipeline::new(&tasks("misbehave"));
    fs::create_dir(pipeline.path().join("state")).expect("a directory");
    pipeline.add("a.txt", "one").add("b.txt", "two");
    pipeline.run(&[]).expect(3).says("0 files finished, 2 failed");
    assert_eq!(pipeline.shown("two"), ["a.err", "b.err"], "errors are shown, outputs or not");
    assert_eq!(pipeline.err("two/a.err")["exception_type"], "Failed");
    assert_eq!(pipeline.inner("one"), ["a.one", "b.one"], "intermediates are kept");
    assert_eq!(pipeline.inner("two"), ["a.err", "b.err"]);
    assert_eq!(pipeline.shown("beside"), ["a.beside", "b.beside"], "others go on");
    assert_eq!((pipeline.shown("three"), pipeline.shown("one")), (vec![], vec![]));
    assert_eq!(pipeline.finished(), [""; 0]);

    // Once more, and the tasks before it are not.
    let done =
        pipeline.run(&[]).expect(3).says("0 files finished before, 2 to go on with, 0 waiting");
    done.says("0 files finished, 2 failed");
    assert_eq!(pipeline.history("one", "a.txt"), ["succeeded"]);
    assert_eq!(pipeline.history("beside", "a.one"), ["succeeded"]);
    assert_eq!(pipeline.history("two", "a.one"), ["failed", "failed"]);

    // It was repaired: its errors are gone everywhere.
    pipeline.configure(&tasks("upper"), &[]);
    pipeline.run(&[]).expect(0).says("2 files finished, 0 failed");
    assert_eq!(pipeline.shown("two"), [""; 0]);
    for name in ["one", "two", "three", "beside"] {
        assert_eq!(pipeline.inner(name), [""; 0], "{name}");
    }
    assert_eq!(pipeline.shown("three"), ["a.three", "b.three"]);
    assert_eq!(pipeline.history("one", "a.txt"), ["succeeded"]);
}

#[test]
fn what_a_task_declines_is_done_with() {
    let pipeline = Pipeline::new(&[
        task("one", "slow", ".txt", ".one", ""),
        task("two", "upper", ".one", ".two", "depends_on: one"),
        task("beside", "upper", ".txt", ".beside", ""),
    ]);
    pipeline.add("a.txt", "decline this").add("b.txt", "take this");
    pipeline.run(&[]).expect(0).says("1 file finished, 0 failed, 1 aborted");
    assert_eq!(pipeline.shown("one"), ["a.err", "b.one"], "it says why");
    assert_eq!(pipeline.shown("two"), ["b.two"]);
    assert_eq!(pipeline.shown("beside"), ["a.beside", "b.beside"]);
    for name in ["one", "two", "beside"] {
        assert_eq!(pipeline.inner(name), [""; 0], "{name}");
    }
    pipeline.run(&[]).expect(0).says("1 file finished before, 1 aborted, 0 to go on with");
    assert_eq!(pipeline.history("one", "a.txt").len(), 1);
    let files = &pipeline.report()["progress"]["pipeline"];
    assert_eq!((&files["finished"], &files["aborted"]), (&1.into(), &1.into()));
}

#[test]
fn an_input_that_is_gone_is_no_failure() {
    let pipeline = Pipeline::new(&[
        task("one", "gated", ".txt", ".one", "dirs: ['gate::/gate:rw'], concurrency_limit: 1"),
        task("two", "upper", ".one", ".two", "depends_on: one"),
    ]);
    let gate = Gate::new(&pipeline);
    pipeline.add("a.txt", "one").add("b.txt", "two");
    let live = pipeline.live(&["--settle", "0", "--idle-timeout", "1s"]);
    gate.wait("begun-a.txt");
    // One has been read, the other's turn has not come.
    fs::remove_file(pipeline.input().join("a.txt")).expect("it is there");
    fs::remove_file(pipeline.input().join("b.txt")).expect("it is there");
    gate.open("open");
    live.wait().expect(0).says("1 file finished, 0 failed");
    assert_eq!(pipeline.shown("two"), ["a.two"]);
    assert_eq!(pipeline.inner("one"), [""; 0]);
    // Should it come back, it is an input.
    pipeline.add("b.txt", "again");
    pipeline.run(&[]).expect(0).says("1 file finished, 0 failed");
    assert_eq!(pipeline.out("two/b.two"), "AGAIN");
}

#[test]
fn what_was_begun_goes_on_without_its_input() {
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".txt", ".one", "keep_output: false"),
        task("two", "gated", ".one", ".two", "depends_on: one, dirs: ['gate::/gate:rw']"),
    ]);
    let gate = Gate::new(&pipeline);
    pipeline.add("a.txt", "one");
    let live = pipeline.live(&[]);
    gate.wait("begun-a.one");
    live.kill();
    fs::remove_file(pipeline.input().join("a.txt")).expect("it is there");
    gate.open("open");
    pipeline.run(&[]).expect(0).says("1 file finished, 0 failed");
    assert_eq!(pipeline.out("two/a.two"), "ONE");
    wait_until("nothing is left", || pipeline.inner("one").is_empty());
}

#[test]
fn what_was_made_of_an_input_that_is_gone_goes_where_it_leads_nowhere() {
    // Two roots: one has it, the other cannot any more.
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".txt", ".one", ""),
        task("two", "gated", ".txt", ".two", "dirs: ['gate::/gate:rw']"),
    ]);
    let gate = Gate::new(&pipeline);
    pipeline.add("a.txt", "one");
    let live = pipeline.live(&[]);
    gate.wait("begun-a.txt");
    wait_until("one has it", || pipeline.has("one/a.one"));
    live.kill();
    fs::remove_file(pipeline.input().join("a.txt")).expect("it is there");
    pipeline.run(&[]).expect(0).says("The input of a is gone");
    assert_eq!(pipeline.inner("one"), [""; 0]);
    assert_eq!(pipeline.finished(), [""; 0]);
}
