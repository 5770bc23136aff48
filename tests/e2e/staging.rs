//! Which of the waiting files a pipeline takes next: the steps of its staging, and
//! components among them.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use tigerflow_tests::{Bench, Done, finish, guest, host, wait_until};

use crate::live::Live;

/// Writes the configuration of a pipeline of one task, `upper`, with these steps, each
/// a line of YAML. Gives its path.
fn configure(bench: &Bench, steps: &[&str]) -> std::path::PathBuf {
    let mut text = format!(
        "tasks:\n  - name: upper\n    kind: local\n    module: {}\n    input_ext: .txt\n\
         staging:\n  steps:\n",
        guest("upper").display()
    );
    for step in steps {
        text.push_str(&format!("    - {step}\n"));
    }
    let path = bench.path().join("pipeline.yaml");
    fs::write(&path, text).expect("a configuration can be written");
    path
}

/// `pipeline run` with these steps.
fn serve(bench: &Bench, steps: &[&str], more: &[&str]) -> Command {
    let config = configure(bench, steps);
    let mut command = host();
    command.args(["pipeline", "run"]).arg(config).arg(bench.input()).arg(bench.output());
    command.args(more);
    command
}

/// The same on what is there, to its end.
fn run(bench: &Bench, steps: &[&str]) -> Done {
    finish(&mut serve(bench, steps, &["--once"]))
}

/// Ends a pipeline that is idle.
#[track_caller]
fn stop(live: Live) -> String {
    live.signal(Signal::TERM);
    live.wait().expect(128 + 15).stderr
}

/// A step that is this component, with these parameters.
fn component(module: &Path, params: &str) -> String {
    format!("{{kind: component, module: {}, params: {{{params}}}}}", module.display())
}

/// A step that misbehaves in this way until `calm` is in the input directory.
fn misbehave(how: &str) -> String {
    component(&guest("stage-misbehave"), &format!("how: {how}"))
}

/// The names of the outputs, sorted.
fn outputs(bench: &Bench) -> Vec<String> {
    let Ok(entries) = fs::read_dir(bench.output().join("upper")) else { return Vec::new() };
    let name = |e: std::io::Result<fs::DirEntry>| e.expect("an entry").file_name();
    let mut names: Vec<_> = entries.map(|e| name(e).to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The names of the inputs, in the order in which they were worked on.
fn order(bench: &Bench) -> Vec<String> {
    let mut records = bench.journal("upper");
    records.retain(|record| record["event"] == "attempt");
    records.iter().map(|record| record["file"].as_str().expect("a name").to_owned()).collect()
}

/// An input that was written to so many seconds ago.
fn add_old(bench: &Bench, name: &str, content: &str, seconds: u64) {
    bench.add(name, content);
    let file = File::options().write(true).open(bench.input().join(name)).expect("an input");
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).expect("times can be set");
}

#[test]
fn each_step_leaves_what_it_says() {
    for (steps, expected) in [
        (&["{kind: min_size, bytes: 2}"][..], &["b.out", "c.1.out"][..]),
        (&["{kind: max_size, bytes: 2}"], &["a.out", "b.out"]),
        (&["{kind: min_age, seconds: 5000}"], &["b.out", "c.1.out"]),
        (&["{kind: filename_match, pattern: '^(?!a)[a-c]\\.txt$'}"], &["b.out"]),
        (&["{kind: filename_match, pattern: '1'}"], &["c.1.out"]),
        (&["{kind: companion_file, ext: .done}"], &["a.out", "c.1.out"]),
        (&["{kind: min_size, bytes: 2}", "{kind: max_size, bytes: 2}"], &["b.out"]),
    ] {
        let bench = Bench::new();
        add_old(&bench, "a.txt", "x", 10);
        add_old(&bench, "b.txt", "xx", 10_000);
        add_old(&bench, "c.1.txt", "xxx", 10_000);
        bench.add("a.done", "").add("c.1.done", "").add("c.done", "");
        fs::create_dir(bench.input().join("b.done")).expect("a directory");
        run(&bench, steps).expect(0);
        assert_eq!(outputs(&bench), expected, "{steps:?}");
    }
}

#[test]
fn files_are_taken_in_the_order_that_is_asked_for() {
    for (key, reverse, expected) in [
        ("name", false, ["a.txt", "b.txt", "c.txt"]),
        ("name", true, ["c.txt", "b.txt", "a.txt"]),
        ("size", false, ["b.txt", "a.txt", "c.txt"]),
        ("size", true, ["c.txt", "a.txt", "b.txt"]),
        ("mtime", false, ["c.txt", "b.txt", "a.txt"]),
        ("mtime", true, ["a.txt", "b.txt", "c.txt"]),
    ] {
        let bench = Bench::new();
        add_old(&bench, "a.txt", "xx", 100);
        add_old(&bench, "b.txt", "x", 200);
        add_old(&bench, "c.txt", "xxx", 300);
        let sort = format!("{{kind: sort_by, key: {key}, reverse: {reverse}}}");
        // One after another, so that the order can be seen.
        run(&bench, &[&sort, "{kind: max_staged, count: 1}"]).expect(0);
        assert_eq!(order(&bench), expected, "{key}, reverse: {reverse}");
    }
}

#[test]
fn limits_hold_files_back_for_later_only() {
    for step in ["{kind: max_batch, count: 2}", "{kind: max_staged, count: 2}"] {
        let bench = Bench::new();
        for number in 0..20 {
            bench.add(format!("{number}.txt"), "x");
        }
        run(&bench, &[step]).expect(0);
        assert_eq!(outputs(&bench).len(), 20, "{step}");
    }
}

#[test]
fn a_companion_that_arrives_lets_its_file_go() {
    let bench = Bench::new();
    bench.add("a.txt", "a").add("b.txt", "b").add("a.done", "");
    let more = ["--poll-interval", "10m"];
    let steps = ["{kind: companion_file, ext: .done}"];
    let live = Live::start(&bench, &mut serve(&bench, &steps, &more));
    wait_until("what has a companion is taken", || outputs(&bench) == ["a.out"]);
    bench.arrive("b.done", "");
    wait_until("the other one is taken", || outputs(&bench) == ["a.out", "b.out"]);
    stop(live);
}

#[test]
fn a_file_is_taken_when_it_is_old_enough() {
    let bench = Bench::new();
    add_old(&bench, "a.txt", "a", 100);
    bench.add("b.txt", "b");
    let begun = Instant::now();
    let more = ["--poll-interval", "10m", "--settle", "10ms"];
    let steps = ["{kind: min_age, seconds: 2.5}"];
    let live = Live::start(&bench, &mut serve(&bench, &steps, &more));
    wait_until("what is old is taken", || outputs(&bench).contains(&"a.out".into()));
    wait_until("the other one has become old", || outputs(&bench) == ["a.out", "b.out"]);
    assert!(begun.elapsed() > Duration::from_secs(2), "it was taken too early");
    stop(live);
}

#[test]
fn a_component_chooses() {
    let bench = Bench::new();
    bench.add("a.txt", "x").add("b.txt", "xxxx").add("c.txt", "xx").add("d.txt", "xxx");
    // What its counts say that is staged, it knows as well.
    let step = component(&guest("stage-largest"), "most: 1");
    run(&bench, &[&step]).expect(0);
    assert_eq!(order(&bench), ["b.txt", "d.txt", "c.txt", "a.txt"]);

    let bench = Bench::new();
    bench.add("a.txt", "x").add("b.txt", "xxxx").add("c.txt", "xx").add("d.txt", "xxx");
    let step = component(&guest("stage-largest"), "");
    // It is asked for what the steps before it have left, and those after it for what
    // it has chosen.
    run(&bench, &["{kind: max_size, bytes: 3}", &step, "{kind: filename_match, pattern: d}"])
        .expect(0);
    assert_eq!(outputs(&bench), ["d.out"]);
}

#[test]
fn a_component_looks_at_the_input_directory_and_reaches_nothing_else() {
    let bench = Bench::new();
    bench.add("a.txt", "a").add("b.txt", "b").add("list", "b.txt\nc.txt\n");
    run(&bench, &[&misbehave("listed")]).expect(0);
    assert_eq!(outputs(&bench), ["b.out"]);

    // A link out of the input directory, a workspace within it, and a way to that.
    let bench = Bench::new();
    bench.add("a.txt", "a");
    fs::create_dir_all(bench.input().join("a/.tigerflow")).expect("a directory");
    for (name, target) in [("link", "../out"), ("way", "a/.tigerflow")] {
        std::os::unix::fs::symlink(target, bench.input().join(name)).expect("a link");
    }
    let done = run(&bench, &[&misbehave("reach")]).expect(0);
    assert!(!done.stderr.contains("staging step misbehave"), "{}", done.stderr);
    assert_eq!(outputs(&bench), ["a.out"]);
    assert!(!bench.input().join("new").exists());
}

#[test]
fn a_component_that_fails_is_told_once_and_tried_again() {
    for (how, words) in [
        ("error", "I would rather not"),
        ("panic", "I would really rather not"),
        ("abort", "it aborted itself"),
        ("bomb", "needs more memory than 1.0 GiB"),
        ("beyond", "file 2, counted from 0, of 2"),
        ("twice", "file 0, counted from 0, twice"),
        ("listed", "No such file"),
    ] {
        let bench = Bench::new();
        bench.add("a.txt", "a").add("b.txt", "b");
        let more = ["--poll-interval", "100ms"];
        let live = Live::start(&bench, &mut serve(&bench, &[&misbehave(how)], &more));
        live.says(words);
        let calls = |live: &Live| live.log().matches("call 1 of this instance").count();
        // Each time in a new instance.
        wait_until("it is tried again", || calls(&live) > 1);
        assert_eq!(outputs(&bench), [""; 0], "{how}");
        bench.add("calm", "");
        wait_until("all are taken", || outputs(&bench) == ["a.out", "b.out"]);
        let log = stop(live);
        assert_eq!(log.matches(words).count(), 1, "{how}: {log}");
        assert!(log.contains("staging step misbehave"), "{how}: {log}");
    }
}

#[test]
fn a_component_that_never_returns_is_stopped() {
    let bench = Bench::new();
    bench.add("a.txt", "a");
    let more = ["--poll-interval", "100ms"];
    let live = Live::start(&bench, &mut serve(&bench, &[&misbehave("loop")], &more));
    live.says("call 1 of this instance");
    bench.add("calm", "");
    wait_until("it is stopped, and the next call returns", || outputs(&bench) == ["a.out"]);
    let log = stop(live);
    assert!(log.contains("it was stopped after 30s"), "{log}");
}

#[test]
fn a_pipeline_that_is_stopped_does_not_wait_for_a_component() {
    let bench = Bench::new();
    bench.add("a.txt", "a");
    let live = Live::start(&bench, &mut serve(&bench, &[&misbehave("loop")], &[]));
    live.says("call 1 of this instance");
    let begun = Instant::now();
    stop(live);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_component_that_cannot_begin_stops_the_pipeline() {
    for (module, params, words) in [
        ("stage-largest", "most: 0", "`most` is 0, and nothing would ever be taken"),
        ("stage-misbehave", "how: fail in setup", "`setup` failed: not\\nat all"),
        ("stage-misbehave", "how: trap in setup", "`setup` failed: it aborted itself"),
    ] {
        let bench = Bench::new();
        bench.add("a.txt", "a");
        run(&bench, &[&component(&guest(module), params)]).expect(4).says(words);
        assert_eq!(outputs(&bench), [""; 0], "{params}");
    }
}

#[test]
fn parameters_of_a_component_are_checked_before() {
    for (params, words) in [("", "how"), ("how: error, who: me", "params.who")] {
        let bench = Bench::new();
        bench.add("a.txt", "a");
        run(&bench, &[&component(&guest("stage-misbehave"), params)]).expect(2).says(words);
        assert!(!bench.has(".tigerflow"), "a workspace was made");
    }
}

#[test]
fn a_task_is_no_staging_step_nor_the_other_way_round() {
    let bench = Bench::new();
    bench.add("a.txt", "a");
    run(&bench, &[&component(&guest("upper"), "")])
        .expect(2)
        .says("is a task (it exports `tigerflow:task/task@0.1.0`), not a staging step");
    bench
        .run(&guest("stage-largest"), &[])
        .expect(2)
        .says("is a staging step (it exports `tigerflow:task/stage@0.1.0`), not a task");
    finish(host().arg("inspect").arg(guest("stage-largest"))).expect(2).says("is a staging step");
}
