//! What a configuration says of a task is what the task is run with.

use std::fs;
use std::time::{Duration, Instant};

use tigerflow_tests::wait_until;

use super::{Pipeline, list, task};
use crate::live::Gate;

const BELOW: &str = "depends_on: one";

/// `one`, which copies upper-cased, and below it `two`, which is this guest.
fn below_one(component: &str, more: &str) -> Pipeline {
    Pipeline::new(&[
        task("one", "upper", ".txt", ".one", ""),
        task("two", component, ".one", ".two", &format!("{BELOW}, {more}")),
    ])
}

#[test]
fn a_time_limit_holds_for_its_task_only() {
    let pipeline = Pipeline::new(&[
        task("one", "slow", ".txt", ".one", "params: {pause: 1500}"),
        task("two", "misbehave", ".txt", ".two", "timeout: 500ms, concurrency_limit: 1"),
    ]);
    pipeline.add("a.txt", "sleep").add("b.txt", "good one");
    pipeline.run(&[]).expect(3).says("1 file finished, 1 failed");
    assert_eq!(pipeline.shown("one"), ["a.one", "b.one"]);
    assert_eq!(pipeline.history("two", "a.txt"), ["timed-out"]);
    assert_eq!(pipeline.shown("two"), ["a.err", "b.two"]);
}

#[test]
fn files_are_tried_again_as_it_says() {
    let more = "dirs: ['state::/state:rw'], retries: 2, retry_on: [transient, crash], \
                retry_delay: 10ms, retry_backoff: 1";
    let pipeline = Pipeline::new(&[
        task("one", "flaky", ".txt", ".one", more),
        task("two", "upper", ".one", ".two", BELOW),
    ]);
    fs::create_dir(pipeline.path().join("state")).expect("a directory");
    pipeline.add("a.txt", "transient 2").add("b.txt", "trap 1").add("c.txt", "fail 1");
    pipeline.add("d.txt", "transient 3");
    pipeline.run(&[]).expect(3).says("2 files finished, 2 failed");
    let attempts = |name| pipeline.history("one", name).len();
    assert_eq!(["a.txt", "b.txt", "c.txt", "d.txt"].map(attempts), [3, 2, 1, 3]);
    assert_eq!(pipeline.out("two/a.two"), "TRANSIENT 2 AT TRY 3\n");
    // Once more, each is good.
    pipeline.run(&[]).expect(0).says("2 files finished before, 2 to go on with");
    assert_eq!((pipeline.shown("one").len(), pipeline.shown("two").len()), (4, 4));
    assert!(pipeline.shown("one").iter().all(|name| name.ends_with(".one")));
}

#[test]
fn limits_grants_and_variables_reach_the_task() {
    let more = "depends_on: one, dirs: ['notes of it::/notes:rw'], env: {SINGLE_KEY: 'x y'}";
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".txt", ".one", ""),
        task("two", "single", ".one", ".two", more),
    ]);
    // Relative to the configuration, wherever it is called.
    let notes = pipeline.path().join("notes of it");
    fs::create_dir(&notes).expect("a directory");
    for number in 0..10 {
        pipeline.add(format!("{number}.txt"), "x");
    }
    pipeline.run(&[]).expect(0).says("10 files finished, 0 failed");
    let calls = fs::read_to_string(notes.join("calls")).expect("notes");
    let mut expected = vec!["setup"];
    expected.extend(["begin", "end"].repeat(10));
    expected.push("teardown");
    assert_eq!(calls.lines().collect::<Vec<_>>(), expected, "one at a time");
}

#[test]
fn values_of_variables_are_told_nowhere() {
    const SECRET: &str = "hunter2-0123456789abcdef";
    let pipeline = Pipeline::new(&[task("one", "tell", ".txt", ".one", "env_file: secrets.env")]);
    fs::write(pipeline.path().join("secrets.env"), format!("TELL_KEY={SECRET}\n")).expect("it");
    pipeline.add("a.txt", "error").add("b.txt", "length").add("c.txt", "log");
    let done = pipeline.run(&["-v"]).expect(3);
    assert!(!done.stderr.contains(SECRET) && !done.stdout.contains(SECRET), "{}", done.stderr);
    assert_eq!(pipeline.out("one/b.one"), SECRET.len().to_string());
    assert!(!pipeline.out("one/a.err").contains(SECRET));
    for name in ["run.json", "journal.jsonl"] {
        for task in ["one", ".pipeline"] {
            let text =
                fs::read_to_string(pipeline.workspace(task).join(name)).expect("it is there");
            assert!(!text.contains(SECRET), "{task}/{name}");
        }
    }
}

#[test]
fn parameters_may_be_written_with_underscores() {
    let more = "params: {greeting: \"it's: \\\"x\\\"\", times: 3, volume: 1.5, polite: true, \
                letters: extra-large}";
    let pipeline = below_one("options", more);
    pipeline.add("a.txt", "one");
    pipeline.run(&[]).expect(0);
    assert_eq!(pipeline.out("two/a.two"), r#""it's: \"x\"" 3 Some(1.5) true extra-large"#);
    let setup = below_one("misbehave", "params: {at_setup: '', at_teardown: ''}");
    setup.add("a.txt", "good one");
    setup.run(&[]).expect(3).says("no such misdeed: GOOD");
}

#[test]
fn a_rate_is_kept() {
    let pipeline = below_one("upper", "rate_limit: 10/s, concurrency_limit: 4");
    for number in 0..15 {
        pipeline.add(format!("{number}.txt"), "x");
    }
    let begun = Instant::now();
    pipeline.run(&[]).expect(0);
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
}

#[test]
fn too_many_failures_end_it() {
    let pipeline = below_one("misbehave", "max_failures: 3, concurrency_limit: 1");
    for number in 0..50 {
        pipeline.add(format!("{number:02}.txt"), "fail it");
    }
    let done = pipeline.run(&[]).expect(3);
    let failed = pipeline.shown("two").len();
    assert!((3..50).contains(&failed), "{failed}: {}", done.stderr);
}

#[test]
fn a_grant_that_contains_the_output_directory_takes_nothing_from_its_task() {
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".txt", ".one", "dirs: ['.::/place']"),
        task("two", "upper", ".one", ".two", "depends_on: one, dirs: ['.::/place', 'out::/out']"),
        task("three", "peek", ".two", ".three", "depends_on: two, dirs: ['.::/place:ro']"),
    ]);
    pipeline.add("a.txt", "one").add("b.txt", "two");
    let done = pipeline.run(&[]);
    let done = done.expect(0).says("2 files finished, 0 failed");
    assert!(!done.stderr.contains("ERROR"), "{}", done.stderr);
    assert_eq!(pipeline.out("two/a.two"), "ONE");
}

#[test]
fn setup_commands_run_before_their_task() {
    let pipeline = Pipeline::chain(1);
    let mark = pipeline.path().join("mark");
    let command = format!("setup_commands: ['echo told && touch {}', 'exit 3']", mark.display());
    pipeline.configure(&[task("one", "upper", ".txt", ".one", &command)], &[]);
    pipeline.add("a.txt", "one");
    pipeline.run(&[]).expect(0).says("told");
    assert!(mark.exists());
}

#[test]
fn many_files_go_through_and_each_is_right() {
    const FILES: usize = 2_000;
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".txt", ".one", "keep_output: false"),
        task("two", "slow", ".one", ".two", "depends_on: one, params: {pause: 0}"),
        task("three", "upper", ".two", ".three", "depends_on: two"),
    ]);
    for number in 0..FILES {
        pipeline.add(format!("{number}.txt"), format!("content {number}\n"));
    }
    pipeline.run(&[]).expect(0).says(&format!("{FILES} files finished, 0 failed"));
    for number in 0..FILES {
        for name in ["two", "three"] {
            let content = pipeline.out(format!("{name}/{number}.{name}"));
            assert_eq!(content, format!("CONTENT {number}\n"));
        }
    }
    for name in ["one", "two", "three"] {
        assert_eq!(pipeline.inner(name), [""; 0], "{name}");
        let attempts = pipeline.journal(name).iter().filter(|r| r["event"] == "attempt").count();
        assert_eq!(attempts, FILES, "{name}");
    }
    assert_eq!(pipeline.finished().len(), FILES);
    let again = pipeline.run(&[]).expect(0);
    again.says(&format!("{FILES} files finished before, 0 to go on with, 0 waiting"));
}

#[test]
fn what_is_between_tasks_is_bounded() {
    const BOUND: usize = 5;
    let pipeline = Pipeline::staged(
        &[
            task("one", "upper", ".txt", ".one", "keep_output: false"),
            task("two", "gated", ".one", ".two", "depends_on: one, dirs: ['gate::/gate:rw']"),
        ],
        &["{kind: max_staged, count: 5}"],
    );
    let gate = Gate::new(&pipeline);
    for number in 0..40 {
        pipeline.add(format!("{number:02}.txt"), "x");
    }
    let live = pipeline.live(&["--once"]);
    wait_until("as many as may be are between", || pipeline.inner("one").len() == BOUND);
    let still = Instant::now();
    wait_until("there are never more", || {
        assert!(pipeline.inner("one").len() <= BOUND);
        still.elapsed() > Duration::from_millis(500)
    });
    for number in 0..40 {
        gate.open(&format!("open-{number:02}.one"));
        assert!(list(&pipeline.workspace("one").join("outputs")).len() <= BOUND);
    }
    wait_until("all are done", || {
        assert!(pipeline.inner("one").len() <= BOUND);
        pipeline.finished().len() == 40
    });
    live.wait().expect(0).says("40 files finished, 0 failed");
}

#[test]
fn a_task_that_takes_all_cores_does_not_starve_another() {
    let pipeline = Pipeline::new(&[
        // As many files at once as there are cores, none of which ever ends by itself.
        task("heavy", "misbehave", ".txt", ".heavy", "timeout: 1h"),
        task("light", "upper", ".txt", ".light", ""),
    ]);
    for number in 0..100 {
        pipeline.add(format!("{number:03}.txt"), "loop");
    }
    let live = pipeline.live(&["--once"]);
    wait_until("the light one is done", || pipeline.shown("light").len() == 100);
    assert_eq!(pipeline.shown("heavy"), [""; 0]);
    live.kill();
}
