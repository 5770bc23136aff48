//! Kill it at any moment and start it again: what is made is what an undisturbed
//! pipeline makes, and nothing else is left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tigerflow_tests::random::Random;
use tigerflow_tests::{plugin, wait_until};

use super::{Pipeline, list, task};

/// The tasks: `root`, and its children `left` and `right`, of which the latter is not
/// kept.
const TASKS: [&str; 3] = ["root", "left", "right"];

/// What is to come of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Finished,
    /// `root` declines it.
    Declined,
    /// This task fails on it.
    Fails(&'static str),
}

fn fate(number: usize) -> Fate {
    match number % 50 {
        10 => Fate::Fails("root"),
        20 => Fate::Declined,
        30 => Fate::Fails("right"),
        _ => Fate::Finished,
    }
}

fn stem(number: usize) -> String {
    format!("{number:04}")
}

fn content(number: usize) -> Vec<u8> {
    let text = format!("content of file {number}\n");
    match fate(number) {
        Fate::Fails("root") => b"fail this".into(),
        Fate::Declined => b"decline this".into(),
        // No text, which is what `right` takes.
        Fate::Fails(_) => [b"\xff", text.as_bytes()].concat(),
        // A slow one.
        Fate::Finished if number % 150 == 40 => text.repeat(50_000).into(),
        // From nothing to some pages, so that a write takes more than one go.
        Fate::Finished => text.repeat(number % 200).into(),
    }
}

/// What `root` and `left` make of an input.
fn upper(number: usize) -> Vec<u8> {
    content(number).to_ascii_uppercase()
}

/// A pipeline that takes so many milliseconds for a file in `root`, and in `left`.
fn tree(pauses: [u32; 2]) -> Pipeline {
    let pause = |n: usize| format!("concurrency_limit: 3, params: {{pause: {}}}", pauses[n]);
    let right = plugin("hello").display().to_string();
    Pipeline::new(&[
        task("root", "slow", ".txt", ".one", &pause(0)),
        task("left", "slow", ".one", ".two", &format!("depends_on: root, {}", pause(1))),
        format!(
            "{{name: right, kind: local, module: '{right}', depends_on: root, input_ext: .one, \
             output_ext: .three, keep_output: false}}"
        ),
    ])
}

fn add(pipeline: &Pipeline, numbers: std::ops::Range<usize>) {
    for number in numbers {
        pipeline.add(format!("{}.txt", stem(number)), content(number));
    }
}

/// The number of a file, of its name.
fn number(name: &str) -> usize {
    let (stem, _) = name.split_once('.').expect("an extension");
    stem.parse().expect("a number")
}

/// Fails where a file is not whole that the pipeline has put somewhere: where users see
/// it, or between tasks.
#[track_caller]
fn assert_whole(pipeline: &Pipeline, when: &str) {
    for name in TASKS {
        for directory in [pipeline.output().join(name), pipeline.workspace(name).join("outputs")] {
            // What was about to take another's place goes with the next start.
            for file in list(&directory).iter().filter(|name| *name != ".tigerflow-part") {
                assert_is_whole(&directory, name, file, when);
            }
        }
    }
}

#[track_caller]
fn assert_is_whole(directory: &Path, task: &str, file: &str, when: &str) {
    let path = directory.join(file);
    let found = fs::read(&path).expect("it can be read");
    let shown = path.display();
    if file.ends_with(".err") {
        let error: Value = serde_json::from_slice(&found)
            .unwrap_or_else(|e| panic!("{shown} is not whole {when}: {e}"));
        assert!(error["message"].is_string(), "{shown} {when}: {error}");
        let expected = [Fate::Fails(if task == "right" { "right" } else { "root" })];
        let declined = task == "root" && fate(number(file)) == Fate::Declined;
        assert!(declined || expected.contains(&fate(number(file))), "{shown} {when}");
        return;
    }
    let mut expected = upper(number(file));
    if task == "right" {
        expected = [b"Hello, ", &expected[..]].concat();
    }
    let lengths = (found.len(), expected.len());
    assert!(found == expected, "{shown} is not whole {when}: {lengths:?} bytes");
}

/// The names of all that users see, with the content of what is no `.err`.
fn shown(pipeline: &Pipeline) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for task in TASKS {
        for name in pipeline.shown(task) {
            let path = pipeline.output().join(task).join(&name);
            let content = match name.ends_with(".err") {
                true => Vec::new(),
                false => fs::read(path).expect("it can be read"),
            };
            all.insert(format!("{task}/{name}"), content);
        }
    }
    all
}

/// Fails unless users see the same in both, byte for byte.
#[track_caller]
fn assert_same(one: &Pipeline, other: &Pipeline) {
    let (one, other) = (shown(one), shown(other));
    let names = one.keys().chain(other.keys());
    let differ: BTreeSet<_> = names.filter(|name| one.get(*name) != other.get(*name)).collect();
    assert!(differ.is_empty(), "{differ:?}");
}

/// The names of what is left between tasks.
fn left(pipeline: &Pipeline) -> BTreeMap<&'static str, Vec<String>> {
    TASKS.iter().map(|task| (*task, pipeline.inner(task))).collect()
}

/// What lies where a task's attempts write.
fn staging(pipeline: &Pipeline, task: &str) -> Vec<String> {
    list(&pipeline.workspace(task).join("staging"))
}

/// How many files are on their way, and not because a task failed on them.
fn on_their_way(pipeline: &Pipeline) -> usize {
    let names = TASKS.iter().flat_map(|task| pipeline.inner(task));
    let numbers: BTreeSet<usize> = names.map(|name| number(&name)).collect();
    numbers.into_iter().filter(|&number| !matches!(fate(number), Fate::Fails(_))).count()
}

/// Fails unless each file is on the list that belongs there, and no other.
#[track_caller]
fn assert_listed(pipeline: &Pipeline, files: usize) {
    let listed: BTreeSet<String> = pipeline.finished().into_iter().collect();
    let done = |&n: &usize| !matches!(fate(n), Fate::Fails(_));
    let expected: BTreeSet<String> =
        (0..files).filter(done).map(|n| format!("{}.txt", stem(n))).collect();
    assert_eq!(listed, expected);
}

#[test]
fn fifty_kills_leave_what_an_undisturbed_run_leaves() {
    const FILES: usize = 600;
    const KILLS: usize = 50;
    let mut random = Random::seeded();
    let (pipeline, undisturbed) = (tree([3, 8]), tree([0, 0]));
    add(&pipeline, 0..FILES);
    add(&undisturbed, 0..FILES);
    undisturbed.run(&[]).expect(3).says("24 failed, 12 aborted");
    assert_whole(&undisturbed, "undisturbed");
    assert_listed(&undisturbed, FILES);

    let (mut hits, mut early) = (0, 0);
    for kill in 0..KILLS {
        let count = || pipeline.shown("left").len();
        // The aim is for half of the files, so that it never ends by itself.
        let (before, wanted) = (count(), count() + random.below(8) as usize);
        let live = pipeline.live(&["--once"]);
        if wanted == before {
            // Also before the first output: while it starts, or finds what there is.
            std::thread::sleep(Duration::from_micros(random.below(40_000)));
        } else {
            wait_until("it makes progress", || count() >= wanted);
            std::thread::sleep(Duration::from_micros(random.below(6_000)));
        }
        live.kill();
        assert_whole(&pipeline, &format!("after kill {kill}"));
        hits += usize::from(TASKS.iter().any(|task| !staging(&pipeline, task).is_empty()));
        early += usize::from(count() == before);
    }
    let before = pipeline.finished().len();
    eprintln!(
        "{hits} of {KILLS} kills cut attempts off, {early} came before any output; {before} of \
         {FILES} files were done with"
    );
    assert!(hits >= KILLS * 2 / 3, "{hits} of {KILLS} kills prove little");
    assert!(before > 0 && before < FILES - 100, "{before} files after {KILLS} kills");

    pipeline.run(&[]).expect(3);
    assert_same(&pipeline, &undisturbed);
    assert_whole(&pipeline, "in the end");
    assert_listed(&pipeline, FILES);
    assert_eq!(left(&pipeline), left(&undisturbed), "of failed files only");
    for task in TASKS {
        assert_eq!(staging(&pipeline, task), [""; 0], "{task}");
    }
    // There is nothing left to do, but for those that failed.
    let done = pipeline.run(&[]).expect(3).says("24 to go on with, 0 waiting");
    done.says("0 files finished, 24 failed");
    assert_same(&pipeline, &undisturbed);
}

#[test]
fn no_input_is_deleted_whose_outputs_do_not_stand() {
    const EACH: usize = 30;
    const KILLS: usize = 12;
    let mut random = Random::seeded();
    let pipeline = tree([10, 60]);
    let inputs = |pipeline: &Pipeline| -> BTreeSet<usize> {
        list(&pipeline.input()).iter().map(|name| number(name)).collect()
    };
    let (mut halfway, mut deleted) = (0, 0);
    for kill in 0..KILLS {
        add(&pipeline, kill * EACH..(kill + 1) * EACH);
        let live = pipeline.live(&["--delete-input", "--settle", "0s"]);
        // They are deleted some second after they are finished, many at once.
        std::thread::sleep(Duration::from_millis(200 + random.below(1_700)));
        live.kill();
        assert_whole(&pipeline, &format!("after kill {kill}"));

        let there = inputs(&pipeline);
        let listed: BTreeSet<usize> = pipeline.finished().iter().map(|name| number(name)).collect();
        for gone in (0..(kill + 1) * EACH).filter(|number| !there.contains(number)) {
            let name = stem(gone);
            assert_eq!(fate(gone), Fate::Finished, "{name} is gone after kill {kill}");
            assert!(listed.contains(&gone), "{name} is gone, and not on the list");
            for output in [format!("root/{name}.one"), format!("left/{name}.two")] {
                assert!(pipeline.has(&output), "{output} is not there, nor its input");
            }
        }
        let done = listed.iter().filter(|number| fate(**number) == Fate::Finished);
        halfway += usize::from(done.clone().any(|number| there.contains(number)));
        deleted += usize::from(!there.contains(&(kill * EACH)));
    }
    eprintln!(
        "{halfway} of {KILLS} kills came between the end of files and that of their inputs, \
         {deleted} after some of the last inputs had gone"
    );
    assert!(halfway > 0, "no kill of {KILLS} came before an input was deleted");

    let files = KILLS * EACH;
    pipeline.run(&["--delete-input"]).expect(3);
    let kept: BTreeSet<usize> =
        (0..files).filter(|&number| fate(number) != Fate::Finished).collect();
    assert_eq!(inputs(&pipeline), kept, "those that failed or were declined stay");
    assert_whole(&pipeline, "in the end");
    let finished = (0..files).filter(|&number| fate(number) == Fate::Finished);
    for name in finished.map(stem) {
        assert!(pipeline.has(format!("root/{name}.one")), "{name}");
        assert!(pipeline.has(format!("left/{name}.two")), "{name}");
    }
    assert_eq!(on_their_way(&pipeline), 0, "{:?}", left(&pipeline));
    assert_listed(&pipeline, files);
}

#[test]
fn a_signal_while_tasks_are_torn_down_is_heard() {
    // One is gone at once, and the other never.
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".txt", ".one", ""),
        task("two", "misbehave", ".txt", ".two", "params: {at_teardown: sleep}"),
    ]);
    pipeline.add("a.txt", "good text");
    let live = pipeline.live(&["--once"]);
    live.says("Shutting down pipeline");
    // Until the first one is gone, which nobody tells of.
    std::thread::sleep(Duration::from_millis(200));
    live.signal(Signal::INT).says("Received signal 2, initiating shutdown");
    live.signal(Signal::INT);
    live.wait().expect(130);
    assert_eq!(pipeline.out("one/a.one"), "GOOD TEXT");
    assert_eq!(pipeline.finished(), ["a.txt"]);
    assert_eq!((pipeline.inner("one"), pipeline.inner("two")), (vec![], vec![]));
}
