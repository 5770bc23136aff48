//! What changes while a pipeline is at work, or between two runs of it; and what is
//! refused before it begins.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tigerflow_tests::cluster::alive;
use tigerflow_tests::{Bench, finish, guest, host, wait_until};

use super::{Pipeline, list, task};
use crate::live::{Gate, Live};
use crate::unprivileged::{Unprivileged, give};

const GATE: &str = "dirs: ['gate::/gate:rw']";

/// `one`, which is this guest, and then `two`, which is `gated`. What passes a gate is
/// told by its name: `a.txt` or `a.one`.
fn gates(one: &str) -> (Pipeline, Gate) {
    let first = if one == "gated" { GATE } else { "" };
    let second = format!("depends_on: one, {GATE}, concurrency_limit: 1");
    let pipeline = Pipeline::new(&[
        task("one", one, ".txt", ".one", first),
        task("two", "gated", ".one", ".two", &second),
    ]);
    let gate = Gate::new(&pipeline);
    (pipeline, gate)
}

/// The same, killed while `first` is between the tasks, and with its input taken away.
fn killed_without_input(more: &[&str]) -> (Pipeline, Gate) {
    let (pipeline, gate) = gates("gated");
    pipeline.add("a.txt", "first");
    gate.open("open-a.txt");
    let live = pipeline.live(more);
    gate.wait("begun-a.one");
    live.kill();
    fs::remove_file(pipeline.input().join("a.txt")).expect("it is there");
    for name in ["open-a.txt", "begun-a.txt", "begun-a.one"] {
        shut(&pipeline, name);
    }
    (pipeline, gate)
}

/// Takes away what was told to a guest, or what it left.
fn shut(pipeline: &Pipeline, name: &str) {
    fs::remove_file(pipeline.path().join("gate").join(name)).expect("it is there");
}

/// What users see of a file in a task; nothing where there is none.
fn seen(pipeline: &Pipeline, name: &str) -> String {
    fs::read_to_string(pipeline.output().join(name)).unwrap_or_default()
}

/// Fails unless this is what both tasks made of `a.txt`, and nothing is left between
/// them.
#[track_caller]
fn assert_made(pipeline: &Pipeline, content: &str) {
    assert_eq!(pipeline.out("one/a.one"), content);
    assert_eq!(pipeline.out("two/a.two"), content);
    assert_eq!((pipeline.inner("one"), pipeline.inner("two")), (vec![], vec![]));
}

/// Fails where a task has tried a file since its journal had so many records.
#[track_caller]
fn assert_not_tried(pipeline: &Pipeline, task: &str, before: usize) {
    let later = &pipeline.journal(task)[before..];
    assert!(later.iter().all(|record| record["event"] != "attempt"), "{later:?}");
}

/// The paths of all `.err` files in a directory, however deep.
fn errors(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in list(directory) {
        let path = directory.join(&name);
        if path.is_dir() {
            found.extend(errors(&path));
        } else if name.ends_with(".err") {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_file_that_takes_the_place_of_one_at_work_is_work_after_a_kill() {
    let (pipeline, gate) = gates("gated");
    pipeline.add("a.txt", "old");
    let live = pipeline.live(&["--delete-input", "--settle", "0"]);
    gate.wait("begun-a.txt");
    // It has read its input by then.
    std::thread::sleep(Duration::from_millis(100));
    pipeline.arrive("a.txt", "newer");
    gate.open("open-a.txt");
    gate.wait("begun-a.one");
    live.kill();
    gate.open("open");
    let done = pipeline.run(&["--delete-input"]).expect(0);
    done.says("1 file finished, 0 failed").says("has changed");
    assert_made(&pipeline, "NEWER");
    assert_eq!(list(&pipeline.input()), [""; 0]);
}

#[test]
fn a_file_with_other_permissions_is_the_same_file() {
    for more in [&["--settle", "0"][..], &["--settle", "0", "--delete-input"]] {
        let (pipeline, gate) = gates("gated");
        pipeline.add("a.txt", "old");
        gate.open("open-a.txt");
        let live = pipeline.live(more);
        gate.wait("begun-a.one");
        live.kill();
        let before = pipeline.journal("one").len();
        let input = pipeline.input().join("a.txt");
        fs::set_permissions(input, Permissions::from_mode(0o600)).expect("it is ours");
        shut(&pipeline, "open-a.txt");
        gate.open("open-a.one");
        pipeline.run(&more[2..]).expect(0).says("1 to go on with").says("1 file finished");
        assert_eq!(pipeline.out("two/a.two"), "OLD");
        assert_not_tried(&pipeline, "one", before);
    }
}

#[test]
fn a_name_that_comes_again_while_the_first_is_between_tasks_waits_for_it() {
    for more in [&[][..], &["--delete-input"]] {
        let (pipeline, gate) = killed_without_input(more);
        let live = pipeline.live(&[more, &["--idle-timeout", "500ms", "--settle", "0"]].concat());
        live.says("1 to go on with");
        gate.wait("begun-a.one");
        pipeline.arrive("a.txt", "second");
        // Also others go through meanwhile.
        pipeline.arrive("b.txt", "other");
        gate.open("open-b.txt");
        wait_until("the other is through `one`", || pipeline.has("one/b.one"));
        assert!(!gate.has("begun-a.txt"), "it waits for the first");
        gate.open("open-b.one");
        gate.open("open-a.one");
        wait_until("the first is through", || seen(&pipeline, "two/a.two") == "FIRST");
        gate.wait("begun-a.txt");
        gate.open("open-a.txt");
        let done = live.wait().expect(0);
        done.says("3 files finished, 0 failed").says("Idle timeout reached");
        assert_made(&pipeline, "SECOND");
        assert_eq!(pipeline.out("two/b.two"), "OTHER");
        let left = list(&pipeline.input());
        assert_eq!(left, if more.is_empty() { vec!["a.txt", "b.txt"] } else { vec![] });
        pipeline.run(more).expect(0).says("0 to go on with, 0 waiting");
    }
}

#[test]
fn what_came_after_one_whose_input_was_gone_goes_on_after_a_kill() {
    for more in [&[][..], &["--delete-input"]] {
        let (pipeline, gate) = killed_without_input(more);
        let live = pipeline.live(&[more, &["--settle", "0"]].concat());
        gate.wait("begun-a.one");
        pipeline.arrive("a.txt", "second");
        gate.open("open-a.one");
        gate.wait("begun-a.txt");
        assert_eq!(seen(&pipeline, "two/a.two"), "FIRST");
        shut(&pipeline, "open-a.one");
        shut(&pipeline, "begun-a.one");
        gate.open("open-a.txt");
        gate.wait("begun-a.one");
        live.kill();
        gate.open("open");
        let before = pipeline.journal("one").len();
        pipeline.run(more).expect(0).says("1 to go on with");
        assert_made(&pipeline, "SECOND");
        assert_not_tried(&pipeline, "one", before);
    }
}

#[test]
fn a_name_whose_file_was_taken_away_is_new_work_when_it_comes_again() {
    // While a pipeline is at work.
    let (pipeline, gate) = gates("upper");
    pipeline.add("a.txt", "first");
    let live = pipeline.live(&["--delete-input", "--settle", "0"]);
    gate.wait("begun-a.one");
    fs::remove_file(pipeline.input().join("a.txt")).expect("it is there");
    gate.open("open");
    wait_until("it is finished", || pipeline.finished() == ["a.txt"]);
    // Until it has seen that there is nothing to delete.
    std::thread::sleep(Duration::from_millis(1500));
    pipeline.arrive("a.txt", "second");
    wait_until("the second is through", || seen(&pipeline, "two/a.two") == "SECOND");
    wait_until("it goes", || list(&pipeline.input()).is_empty());
    live.signal(Signal::TERM);
    live.wait().expect(143).says("2 files finished, 0 failed");

    // And in the next one, whether it was gone when that began, or later.
    for is_killed in [true, false] {
        let (pipeline, gate) = gates("upper");
        pipeline.add("a.txt", "first");
        let live = pipeline.live(&["--delete-input", "--settle", "0"]);
        gate.wait("begun-a.one");
        if is_killed {
            live.kill();
            fs::remove_file(pipeline.input().join("a.txt")).expect("it is there");
            gate.open("open");
            pipeline.run(&["--delete-input"]).expect(0).says("1 file finished, 0 failed");
        } else {
            fs::remove_file(pipeline.input().join("a.txt")).expect("it is there");
            live.signal(Signal::TERM);
            gate.open("open");
            live.wait().expect(143).says("1 file finished, 0 failed");
        }
        assert_eq!(pipeline.out("two/a.two"), "FIRST");
        pipeline.add("a.txt", "second");
        let done = pipeline.run(&["--delete-input"]).expect(0);
        done.says("0 to go on with, 1 waiting").says("1 file finished, 0 failed");
        assert_eq!(pipeline.out("two/a.two"), "SECOND");
        assert_eq!(list(&pipeline.input()), [""; 0]);
    }
}

/// How much processor time a process has used so far.
fn used(live: &Live) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", live.pid())).expect("it runs");
    // What follows its name, which may hold anything.
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    let ticks = |field: usize| -> u64 {
        rest.split(' ').nth(field - 3).and_then(|n| n.parse().ok()).expect("ticks")
    };
    // Linux tells of hundredths of a second, whatever it counts by itself.
    Duration::from_millis((ticks(14) + ticks(15)) * 10)
}

#[test]
fn one_that_has_to_wait_does_not_spin() {
    let cases: [(&[&str], &[&str]); 5] = [
        (&["{kind: max_staged, count: 1}", "{kind: sort_by, key: name}"], &[]),
        (&["{kind: max_staged, count: 1}", "{kind: sort_by, key: name}"], &["--once"]),
        (&["{kind: sort_by, key: size}", "{kind: max_staged, count: 1}"], &["--delete-input"]),
        (&["{kind: max_batch, count: 1}", "{kind: max_staged, count: 1}"], &["--once"]),
        (&["{kind: max_staged, count: 1}", "{kind: min_age, seconds: 0.2}"], &[]),
    ];
    let all: Vec<_> = cases
        .into_iter()
        .map(|(steps, more)| {
            let one = task("one", "misbehave", ".txt", ".one", "");
            let pipeline = Pipeline::staged(&[one], steps);
            pipeline.add("a.txt", "sleep").add("b.txt", "sleep");
            let live = pipeline.live(&[&["--settle", "0"], more].concat());
            (pipeline, live, steps, more)
        })
        .collect();
    for (pipeline, ..) in &all {
        wait_until("a file is at work", || {
            let run = fs::read(pipeline.workspace(".pipeline").join("run.json"));
            run.is_ok() && pipeline.report()["progress"]["tasks"][0]["running"] == 1
        });
        pipeline.arrive("c.txt", "sleep");
    }
    let measure = |when: &str| {
        let before: Vec<Duration> = all.iter().map(|(_, live, ..)| used(live)).collect();
        std::thread::sleep(Duration::from_secs(2));
        for ((_, live, steps, more), before) in all.iter().zip(before) {
            let used = used(live) - before;
            eprintln!("{when}, {steps:?} {more:?}: {used:?}");
            assert!(used < Duration::from_millis(500), "{when}, {steps:?} {more:?}: {used:?}");
        }
    };
    measure("at work");
    for (_, live, ..) in &all {
        live.signal(Signal::INT).says("Received signal 2");
    }
    measure("after a signal");
    for (_, live, ..) in all {
        live.signal(Signal::INT);
        live.wait().expect(130);
    }
}

#[test]
fn a_file_whose_intermediate_was_taken_away_is_done_again() {
    for more in [&["--once"][..], &["--settle", "0", "--idle-timeout", "500ms"]] {
        let (pipeline, gate) = gates("upper");
        pipeline.add("a.txt", "one").add("b.txt", "two");
        let live = pipeline.live(more);
        wait_until("one is at work", || gate.count("begun-") == 1);
        wait_until("the other waits", || pipeline.inner("one") == ["a.one", "b.one"]);
        let other = if gate.has("begun-a.one") { "b" } else { "a" };
        let intermediate = pipeline.workspace("one").join(format!("outputs/{other}.one"));
        fs::remove_file(intermediate).expect("it is there");
        gate.open("open");
        live.wait().expect(0).says("2 files finished, 0 failed");
        assert_eq!(
            (pipeline.out("two/a.two"), pipeline.out("two/b.two")),
            ("ONE".into(), "TWO".into())
        );
        assert_eq!(pipeline.history("one", &format!("{other}.txt")), ["succeeded"; 2]);
        assert_eq!((pipeline.inner("one"), pipeline.inner("two")), (vec![], vec![]));
        assert_eq!(pipeline.finished().len(), 2);
        pipeline.run(&[]).expect(0).says("2 files finished before, 0 to go on with, 0 waiting");
    }
}

#[test]
fn what_was_made_of_a_name_that_came_again_is_not_made_twice() {
    let (pipeline, gate) = gates("upper");
    let live = pipeline.live(&["--delete-input", "--settle", "0"]);
    gate.open("open-a.one");
    pipeline.arrive("a.txt", "first");
    wait_until("the first goes", || {
        pipeline.has("two/a.two") && list(&pipeline.input()).is_empty()
    });
    for name in ["open-a.one", "begun-a.one"] {
        shut(&pipeline, name);
    }
    pipeline.arrive("a.txt", "second");
    gate.wait("begun-a.one");
    live.kill();
    assert_eq!(seen(&pipeline, "two/a.two"), "FIRST");
    let before = pipeline.journal("one").len();
    gate.open("open");
    let done = pipeline.run(&["--delete-input"]).expect(0);
    done.says("1 file finished before, 1 to go on with, 0 waiting");
    assert_not_tried(&pipeline, "one", before);
    assert_eq!(pipeline.history("two", "a.one").last().map(String::as_str), Some("succeeded"));
    assert_eq!(pipeline.out("two/a.two"), "SECOND");
    assert_eq!(list(&pipeline.input()), [""; 0]);
}

/// `upper` and `slow`, which fails and declines, in this order or the other.
fn moody(first: bool) -> Pipeline {
    let (one, two) = if first { ("slow", "upper") } else { ("upper", "slow") };
    Pipeline::new(&[
        task("one", one, ".txt", ".one", ""),
        task("two", two, ".one", ".two", "depends_on: one"),
    ])
}

#[test]
fn no_error_stands_beside_what_was_made_of_a_better_file() {
    for first in [true, false] {
        for (more, in_place) in [
            (&[][..], true),
            (&[][..], false),
            (&["--delete-input"][..], true),
            (&["--delete-input"][..], false),
        ] {
            let when = format!("first: {first}, {more:?}, in place: {in_place}");
            let pipeline = moody(first);
            pipeline.add("a.txt", "fail it").add("b.txt", "good");
            pipeline.run(more).expect(3).says("1 file finished, 1 failed");
            assert_eq!(pipeline.has("one/a.one"), !first, "{when}");
            assert!(pipeline.has(if first { "one/a.err" } else { "two/a.err" }), "{when}");
            match in_place {
                true => pipeline.add("a.txt", "newer"),
                false => pipeline.arrive("a.txt", "newer"),
            };
            pipeline.run(more).expect(0).says("1 file finished, 0 failed");
            assert_eq!(errors(&pipeline.output()), [""; 0], "{when}");
            for name in ["one/a.one", "two/a.two"] {
                assert_eq!(pipeline.out(name), "NEWER", "{when}");
            }
            assert_eq!(pipeline.shown("two"), ["a.two", "b.two"], "{when}");
            let left = list(&pipeline.input());
            assert_eq!(left.is_empty(), !more.is_empty(), "{when}: {left:?}");
        }
    }
}

#[test]
fn a_file_that_was_declined_is_taken_again_once_it_is_another() {
    for first in [true, false] {
        for more in [&[][..], &["--delete-input"]] {
            let when = format!("first: {first}, {more:?}");
            let pipeline = moody(first);
            pipeline.add("a.txt", "decline it");
            pipeline.run(more).expect(0).says("0 files finished, 0 failed, 1 aborted");
            let history = |task: &str, name: &str| pipeline.history(task, name).len();
            let (task, name) = if first { ("one", "a.txt") } else { ("two", "a.one") };
            assert_eq!(pipeline.history(task, name), ["aborted"], "{when}");
            pipeline.run(more).expect(0).says("1 aborted, 0 to go on with, 0 waiting");
            assert_eq!((history(task, name), history("one", "a.txt")), (1, 1), "{when}");
            assert!(pipeline.has(format!("{task}/a.err")), "{when}");

            pipeline.add("a.txt", "newer");
            let done = pipeline.run(more).expect(0).says("0 to go on with, 1 waiting");
            done.says("1 file finished, 0 failed");
            for name in ["one/a.one", "two/a.two"] {
                assert_eq!(pipeline.out(name), "NEWER", "{when}");
            }
            assert_eq!(errors(&pipeline.output()), [""; 0], "{when}");
            pipeline.run(more).expect(0).says("0 to go on with, 0 waiting");
        }
    }
}

/// `upper`, with these setup commands.
fn with_setup(commands: &str) -> Pipeline {
    let more = format!("setup_commands: [{commands}]");
    let pipeline = Pipeline::new(&[task("one", "upper", ".txt", ".one", &more)]);
    pipeline.add("a.txt", "one");
    pipeline
}

#[test]
fn a_server_that_setup_commands_start_holds_nothing_up() {
    // A place that no pipeline knows.
    let place = Bench::new();
    let pid = place.path().join("pid");
    let command = format!("'sleep 600 & echo $! > {}', 'echo begun'", pid.display());
    let pipeline = with_setup(&command);
    let begun = Instant::now();
    let done = pipeline.run(&[]).expect(0).says("begun").says("1 file finished, 0 failed");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(!done.stderr.contains("WARN"), "{}", done.stderr);
    let pid = fs::read_to_string(pid).expect("its number").trim().parse().expect("a process");
    assert!(alive(pid), "the server is the user's");
    kill_process(Pid::from_raw(pid).expect("not zero"), Signal::KILL).expect("it can be killed");
    assert_eq!(pipeline.out("one/a.one"), "ONE");
}

#[test]
fn setup_commands_that_fail_are_told() {
    for (commands, words, also) in [
        ("'true', 'false', 'echo last'", "command 2 ended with exit code 1", "last"),
        ("'nothing-of-this-name'", "command not found", "command 1 ended with exit code 127"),
        ("'exit 3', 'echo last'", "setup_commands ended their shell (", "the rest was not run"),
        ("'kill -9 $$'", "setup_commands ended their shell (", "signal: 9"),
        ("'if then'", "syntax error", "setup_commands ended their shell ("),
    ] {
        let pipeline = with_setup(commands);
        let done = pipeline.run(&[]).expect(0).says(words).says(also);
        done.says("1 file finished, 0 failed");
    }
    let pipeline = with_setup("'exit 3', 'echo last one'");
    let done = pipeline.run(&[]).expect(0);
    assert!(!done.stderr.contains("last one"), "{}", done.stderr);
    // All is well.
    let done = with_setup("'true'").run(&[]).expect(0);
    assert!(!done.stderr.contains("setup_commands"), "{}", done.stderr);
}

#[test]
fn inputs_that_cannot_be_deleted_are_told_before_anything_is_made() {
    let pipeline = Pipeline::chain(1);
    let Some(user) = Unprivileged::new(&pipeline, &guest("upper")) else { return };
    let module = pipeline.path().join("task.wasm");
    if !module.exists() {
        fs::copy(guest("upper"), module).expect("it can be copied");
    }
    pipeline.configure(
        &["{name: one, kind: local, module: task.wasm, input_ext: .txt, output_ext: .one}"],
        &[],
    );
    pipeline.add("a.txt", "one");
    give(&pipeline.input().join("a.txt"));
    let run = |more: &[&str]| {
        // How that user calls the host, with other words for what it is to do.
        let plain = user.run(&pipeline, Path::new("."), Path::new("."));
        let mut command = Command::new(plain.get_program());
        command.args(plain.get_args().take_while(|word| *word != OsStr::new("run")));
        for (name, value) in plain.get_envs() {
            command.env(name, value.expect("a value"));
        }
        command.args(["pipeline", "run"]).arg(pipeline.config());
        finish(command.arg(pipeline.input()).arg(pipeline.output()).arg("--once").args(more))
    };
    for mode in [0o555, 0o444] {
        let set = |mode| fs::set_permissions(pipeline.input(), Permissions::from_mode(mode));
        set(mode).expect("it is ours");
        let done = run(&["--delete-input"]);
        set(0o755).expect("it is ours");
        done.expect(2).says("INPUT_DIR `").says("--delete-input");
        assert_eq!(list(&pipeline.output()), [""; 0], "nothing is made");
        assert_eq!(list(&pipeline.input()), ["a.txt"]);
    }
    fs::set_permissions(pipeline.input(), Permissions::from_mode(0o555)).expect("it is ours");
    let done = run(&[]);
    fs::set_permissions(pipeline.input(), Permissions::from_mode(0o755)).expect("it is ours");
    done.expect(0).says("1 file finished, 0 failed");
    // What is finished is not done again; a second file goes.
    pipeline.add("b.txt", "two");
    run(&["--delete-input"]).expect(0).says("1 file finished, 0 failed");
    assert_eq!(list(&pipeline.input()), ["a.txt"]);
}

#[test]
fn files_that_a_step_which_fails_never_took_are_no_success() {
    for (how, words) in [
        ("error", "I would rather not"),
        ("panic", "I would really rather not"),
        ("beyond", "counted from 0"),
    ] {
        let module = guest("stage-misbehave").display().to_string();
        let step = format!("{{kind: component, module: '{module}', params: {{how: {how}}}}}");
        let one = task("one", "upper", ".txt", ".one", "");
        let pipeline = Pipeline::staged(&[one], &[&step]);
        // With nothing to choose among there is nothing to fail at.
        pipeline.run(&[]).expect(0);
        pipeline.add("a.txt", "one").add("b.txt", "two");
        let done = pipeline.run(&[]).expect(1);
        let done = done.says(words).says("staging step misbehave");
        done.says("0 files finished, 0 failed, 2 waiting");
        assert_eq!(pipeline.shown("one"), [""; 0], "{how}");
        // Once it works, they are taken.
        pipeline.add("calm", "");
        pipeline.run(&[]).expect(0).says("2 files finished, 0 failed");
    }
}

#[test]
fn a_time_that_nobody_lives_to_see_is_refused() {
    let pipeline = Pipeline::chain(1);
    for wrong in ["500000000000y", "99999999999999999999h", "4294967295", "101y"] {
        for option in ["--idle-timeout", "--settle", "--poll-interval"] {
            finish(&mut pipeline.serve(&[option, wrong])).expect(2).says(option);
        }
    }
    assert_eq!(list(&pipeline.output()), [""; 0]);
}

#[test]
fn directories_that_cannot_be_what_they_are_to_be_are_refused() {
    let pipeline = Pipeline::chain(2);
    let refused = |input: &Path, words: &str| {
        let mut command = host();
        command.args(["pipeline", "run"]).arg(pipeline.config()).arg(input);
        finish(command.arg(pipeline.output()).arg("--once")).expect(2).says(words)
    };
    // In the workspace, and by another way.
    let within = pipeline.output().join(".tigerflow");
    fs::create_dir_all(within.join("one/outputs")).expect("a directory");
    symlink(within.join("one"), pipeline.path().join("way")).expect("a link");
    let ways = [within.clone(), within.join("one"), pipeline.path().join("way/outputs")];
    for input in ways {
        refused(&input, "lies in the host's own workspace of OUTPUT_DIR: give another one");
    }
    fs::remove_dir_all(&within).expect("it is ours");

    // A link to nowhere where outputs are to go, and a file.
    let visible = pipeline.output().join("two");
    symlink("nowhere", &visible).expect("a link");
    let no_directory = "is no directory, and the outputs of task `two` go there: remove it";
    refused(&pipeline.input(), no_directory);
    fs::remove_file(&visible).expect("it is ours");
    fs::write(&visible, "").expect("a file");
    refused(&pipeline.input(), no_directory);
    fs::remove_file(&visible).expect("it is ours");
    assert_eq!(list(&pipeline.output()), [""; 0], "nothing is made");

    // A link to a directory is one.
    fs::create_dir(pipeline.path().join("elsewhere")).expect("a directory");
    symlink("../elsewhere", &visible).expect("a link");
    pipeline.add("a.txt", "one");
    pipeline.run(&[]).expect(0).says("1 file finished, 0 failed");
    assert_eq!(list(&pipeline.path().join("elsewhere")), ["a.two"]);
}
