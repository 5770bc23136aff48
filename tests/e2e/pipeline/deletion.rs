//! Inputs that are deleted once they are finished, and never before.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::Signal;
use tigerflow_tests::wait_until;

use super::{Pipeline, list, task};
use crate::live::Gate;

const GATE: &str = "dirs: ['gate::/gate:rw']";

#[test]
fn inputs_go_when_they_are_finished_and_others_stay() {
    let pipeline = Pipeline::new(&[
        task("one", "slow", ".txt", ".one", ""),
        task("two", "gated", ".one", ".two", &format!("depends_on: one, {GATE}")),
    ]);
    let gate = Gate::new(&pipeline);
    pipeline.add("a.txt", "one").add("b.txt", "two").add("c.txt", "fail it");
    pipeline.add("d.txt", "decline it").add("e.other", "");
    let live = pipeline.live(&["--delete-input", "--settle", "0"]);
    gate.wait("begun-a.one");
    gate.open("open-b.one");
    wait_until("the finished one goes", || !pipeline.input().join("b.txt").exists());
    assert_eq!(pipeline.out("two/b.two"), "TWO");
    assert_eq!(list(&pipeline.input()), ["a.txt", "c.txt", "d.txt", "e.other"]);
    gate.open("open");
    wait_until("the other one goes", || !pipeline.input().join("a.txt").exists());
    live.signal(Signal::TERM);
    live.wait().expect(143).says("2 files finished, 1 failed, 1 aborted");
    assert_eq!(list(&pipeline.input()), ["c.txt", "d.txt", "e.other"]);

    // What waits when it ends is deleted, too; so with --once.
    pipeline.add("f.txt", "six");
    pipeline.run(&["--delete-input"]).expect(3).says("1 file finished, 1 failed");
    assert_eq!(list(&pipeline.input()), ["c.txt", "d.txt", "e.other"]);
    assert_eq!(pipeline.shown("two"), ["a.two", "b.two", "f.two"]);
}

#[test]
fn a_name_that_comes_again_is_new_work() {
    let pipeline = Pipeline::chain(2);
    let live = pipeline.live(&["--delete-input", "--settle", "0"]);
    for round in ["first", "second", "third"] {
        pipeline.arrive("a.txt", round);
        wait_until(round, || {
            let content = fs::read_to_string(pipeline.output().join("two/a.two"));
            content.is_ok_and(|content| content == round.to_uppercase())
        });
        wait_until("it goes", || !pipeline.input().join("a.txt").exists());
    }
    live.signal(Signal::TERM);
    live.wait().expect(143).says("3 files finished, 0 failed");
    // And in the next run.
    pipeline.add("a.txt", "fourth");
    pipeline.run(&["--delete-input"]).expect(0).says("1 file finished, 0 failed");
    assert_eq!(pipeline.out("two/a.two"), "FOURTH");
    assert_eq!(list(&pipeline.input()), [""; 0]);
    pipeline.run(&["--delete-input"]).expect(0).says("0 to go on with, 0 waiting");
    // Also in one in which inputs stay.
    pipeline.add("a.txt", "fifth");
    pipeline.run(&[]).expect(0).says("1 file finished, 0 failed");
    assert_eq!(pipeline.out("two/a.two"), "FIFTH");
    assert_eq!(list(&pipeline.input()), ["a.txt"]);
}

#[test]
fn a_file_that_is_replaced_meanwhile_stays_and_is_work() {
    let pipeline = Pipeline::new(&[task("one", "gated", ".txt", ".one", GATE)]);
    let gate = Gate::new(&pipeline);
    pipeline.add("a.txt", "old");
    let live = pipeline.live(&["--delete-input", "--settle", "0"]);
    gate.wait("begun-a.txt");
    pipeline.arrive("a.txt", "newer");
    gate.open("open");
    wait_until("the newer one is done", || {
        fs::read_to_string(pipeline.output().join("one/a.one")).is_ok_and(|text| text == "NEWER")
    });
    wait_until("it goes", || !pipeline.input().join("a.txt").exists());
    live.signal(Signal::TERM);
    live.wait().expect(143);
    assert_eq!(pipeline.out("one/a.one"), "NEWER");
}

/// What the list of finished files knows an input by.
fn look(path: &Path) -> String {
    let meta = fs::metadata(path).expect("it is there");
    format!("{} {} {} {}", meta.size(), meta.mtime(), meta.mtime_nsec(), meta.ino())
}

#[test]
fn a_crash_before_an_input_went_is_made_up_for() {
    let pipeline = Pipeline::chain(2);
    pipeline.run(&[]).expect(0);
    let list_of = pipeline.workspace(".pipeline").join("finished");
    pipeline.add("a.txt", "one").add("b.txt", "two").add("c.txt", "three");
    let [a, b] = ["a.txt", "b.txt"].map(|name| look(&pipeline.input().join(name)));
    let other = b.replacen(|c: char| c.is_ascii_digit(), "77", 1);
    // `a` is the file that was finished, `b` is another one of that name.
    fs::write(&list_of, format!("F\t{a}\ta.txt\0F\t{other}\tb.txt\0F\t{a}\tx.txt\0F\t1 2"))
        .expect("it");
    // Its intermediates were left.
    fs::write(pipeline.workspace("one").join("outputs/a.one"), "ONE").expect("an output");
    fs::write(pipeline.workspace("two").join("outputs/a.two"), "ONE").expect("an output");
    pipeline.run(&["--delete-input"]).expect(0).says("2 files finished, 0 failed");
    assert_eq!(list(&pipeline.input()), [""; 0]);
    assert_eq!(pipeline.shown("two"), ["b.two", "c.two"], "what was finished is not done again");
    assert_eq!(pipeline.history("one", "a.txt"), [""; 0]);
    assert_eq!((pipeline.inner("one"), pipeline.inner("two")), (vec![], vec![]));
}

#[test]
fn what_was_finished_before_inputs_were_to_go_stays_and_is_not_done_again() {
    let pipeline = Pipeline::chain(1);
    pipeline.add("a.txt", "one");
    pipeline.run(&[]).expect(0).says("1 file finished");
    pipeline.add("b.txt", "two");
    let done = pipeline.run(&["--delete-input"]).expect(0);
    done.says("1 file finished before").says("1 file finished, 0 failed");
    assert_eq!(pipeline.history("one", "a.txt"), ["succeeded"]);
    assert_eq!(list(&pipeline.input()), ["a.txt"]);
    // Nor is it the other way round.
    pipeline.run(&[]).expect(0).says("0 to go on with, 0 waiting");
}

#[test]
fn one_that_was_killed_deletes_what_is_finished() {
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".txt", ".one", "keep_output: false"),
        task(
            "two",
            "gated",
            ".one",
            ".two",
            &format!("depends_on: one, {GATE}, concurrency_limit: 1"),
        ),
    ]);
    let gate = Gate::new(&pipeline);
    for number in 0..6 {
        pipeline.add(format!("{number}.txt"), "x");
    }
    let live = pipeline.live(&["--delete-input", "--settle", "0"]);
    wait_until("some are at work", || gate.count("begun-") == 1);
    let begun = list(&pipeline.path().join("gate"))
        .into_iter()
        .find_map(|name| name.strip_prefix("begun-").map(str::to_owned))
        .expect("one is begun");
    gate.open(&format!("open-{begun}"));
    wait_until("it is on the list", || pipeline.finished().len() == 1);
    live.kill();
    gate.open("open");
    pipeline.run(&["--delete-input"]).expect(0).says("1 file finished before, 5 to go on with");
    assert_eq!(list(&pipeline.input()), [""; 0]);
    assert_eq!(pipeline.shown("two").len(), 6);
}
