//! What pipelines are known to stumble over.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tigerflow_tests::{finish, guest, host, limited, wait_until};

use super::{Pipeline, list, task};
use crate::live::{Gate, Live};

const GATE: &str = "dirs: ['gate::/gate:rw']";

#[test]
fn leaves_finish_at_different_times() {
    let pipeline = Pipeline::new(&[
        task("root", "upper", ".txt", ".mid", "keep_output: false"),
        task("fast", "upper", ".mid", ".fast", "depends_on: root"),
        task("late", "gated", ".mid", ".late", &format!("depends_on: root, {GATE}")),
    ]);
    let gate = Gate::new(&pipeline);
    pipeline.add("a.txt", "one").add("b.txt", "two");
    let live = pipeline.live(&["--once"]);
    wait_until("the fast one is done", || pipeline.shown("fast").len() == 2);
    gate.wait("begun-a.mid");
    gate.open("open-b.mid");
    wait_until("one is finished", || pipeline.finished() == ["b.txt"]);
    wait_until("its intermediates go", || pipeline.inner("root") == ["a.mid"]);
    assert_eq!(pipeline.shown("late"), ["b.late"]);
    gate.open("open");
    live.wait().expect(0).says("2 files finished, 0 failed");
    assert_eq!(pipeline.inner("root"), [""; 0]);
    assert_eq!(pipeline.out("late/a.late"), "ONE");
}

#[test]
fn a_file_that_fails_in_two_leaves_counts_once_and_idleness_comes() {
    let pipeline = Pipeline::new(&[
        task("root", "upper", ".txt", ".mid", ""),
        task("left", "misbehave", ".mid", ".left", "depends_on: root"),
        task("right", "misbehave", ".mid", ".right", "depends_on: root"),
        task("below", "upper", ".right", ".below", "depends_on: right"),
    ]);
    pipeline.add("a.txt", "fail one").add("b.txt", "fail two");
    let begun = Instant::now();
    let live = pipeline.live(&["--idle-timeout", "1s", "--settle", "0"]);
    let done = live.wait().expect(3).says("0 files finished, 2 failed");
    done.says("Idle timeout reached");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let report = pipeline.report();
    assert_eq!(report["progress"]["pipeline"]["errored"], 2);
    assert_eq!(report["progress"]["tasks"][1]["failed"], 2);
    assert_eq!(
        (pipeline.shown("left"), pipeline.shown("right")),
        (vec!["a.err".into(), "b.err".to_owned()], vec!["a.err".into(), "b.err".to_owned()],)
    );
}

#[test]
fn a_task_whose_setup_fails_stops_all_with_its_message() {
    let tasks = [
        task("one", "upper", ".txt", ".one", ""),
        task("two", "misbehave", ".one", ".two", "depends_on: one, params: {at_setup: fail two}"),
        task("three", "upper", ".two", ".three", "depends_on: two"),
    ];
    // Served or not, with files or without.
    let pipeline = Pipeline::new(&tasks);
    for number in 0..50 {
        pipeline.add(format!("{number}.txt"), "good one");
    }
    let told = "the file is no number";
    pipeline.run(&[]).expect(4).says(told).says("two");
    pipeline.live(&[]).wait().expect(4).says(told);
    let empty = Pipeline::new(&tasks);
    empty.live(&[]).wait().expect(4).says(told);
    // It goes on where it was.
    pipeline.configure(&[tasks[0].as_str(), &tasks[1].replace("fail two", "''"), &tasks[2]], &[]);
    pipeline.run(&[]).expect(3).says("50 failed");
    assert_eq!(pipeline.shown("one").len(), 50);
}

#[test]
fn a_second_one_in_the_same_place_is_refused() {
    let pipeline = Pipeline::new(&[task("one", "gated", ".txt", ".one", GATE)]);
    let gate = Gate::new(&pipeline);
    pipeline.add("a.txt", "one");
    let live = pipeline.live(&["--once"]);
    gate.wait("begun-a.txt");
    for more in [&["--once"][..], &[], &["--background"]] {
        let second = finish(&mut pipeline.serve(more)).expect(2);
        let second = second.says("another pipeline is at work in `");
        second.says(&format!("process {} on ", live.pid())).says("pipeline stop");
    }
    // A run of one task by itself would take its files.
    let mut alone = host();
    alone.arg("run").arg(guest("upper")).args(["--once", "--task-name", "one", "--input-ext"]);
    alone.args([".txt", "--output-ext", ".x", "--input-dir"]).arg(pipeline.input());
    let alone = finish(alone.arg("--output-dir").arg(pipeline.output()));
    alone.expect(2).says("another run is at work");
    assert_eq!((gate.count("begun-"), gate.count("setup-")), (1, 1));
    gate.open("open");
    live.wait().expect(0).says("1 file finished, 0 failed");
}

#[test]
fn names_may_be_anything() {
    let pipeline = Pipeline::new(&[
        task("First-task_1", "upper", ".In", ".mid.d", ""),
        task("second", "peek", ".mid.d", ".out", "depends_on: First-task_1"),
    ]);
    let text = fs::read_to_string(pipeline.config()).expect("a configuration");
    let odd = OsString::from_vec(b"a \"place\" with $HOME; \xff and \xc3\xbc".to_vec());
    let place = pipeline.path().join(odd);
    let (input, output) = (place.join("in ü"), place.join("out*"));
    fs::create_dir_all(&input).expect("a directory");
    let config = place.join("pipe line 'ü'.yaml");
    let absolute = pipeline.path().join("guests");
    fs::write(&config, text.replace("guests/", &format!("{}/", absolute.display()))).expect("it");
    let stems: [&[u8]; 9] = [
        b"with space",
        b"'quoted' \"twice\"",
        b"$(rm -rf x)`",
        b"new\nline\t",
        b"\xff\xfe",
        b"-n",
        b"\xe6\x97\xa5\xe6\x9c\xac",
        b"a.b..c.",
        b"*?[a]\\",
    ];
    let name = |stem: &[u8], end: &str| OsString::from_vec([stem, end.as_bytes()].concat());
    for stem in stems {
        fs::write(input.join(name(stem, ".In")), "text").expect("an input");
    }
    let run = || {
        let mut command = host();
        command.args(["pipeline", "run"]).arg(&config).arg(&input).arg(&output).arg("--once");
        finish(&mut command)
    };
    run().expect(0).says("9 files finished, 0 failed");
    for stem in stems {
        let first = output.join("First-task_1").join(name(stem, ".mid.d"));
        assert_eq!(fs::read_to_string(&first).expect("an output"), "TEXT", "{}", first.display());
        let second = output.join("second").join(name(stem, ".out"));
        assert!(second.exists(), "{}", second.display());
    }
    assert_eq!(list(&output.join(".tigerflow/First-task_1/outputs")), [""; 0]);
    run().expect(0).says("9 files finished before, 0 to go on with, 0 waiting");
    let report = finish(host().args(["pipeline", "report", "--json"]).arg(&output)).expect(0);
    assert!(report.stdout.contains("\"finished\": 9"), "{}", report.stdout);
}

#[test]
fn extensions_may_have_several_dots() {
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".tar.gz", ".x.json", ""),
        task("two", "upper", ".x.json", ".x.txt", "depends_on: one"),
    ]);
    pipeline.add("a.tar.gz", "one").add("a.b.tar.gz", "two").add("c.gz", "no").add(".tar.gz", "no");
    pipeline.run(&[]).expect(0).says("2 files finished, 0 failed");
    assert_eq!(pipeline.shown("one"), ["a.b.x.json", "a.x.json"]);
    assert_eq!(pipeline.shown("two"), ["a.b.x.txt", "a.x.txt"]);
}

#[test]
fn a_name_that_is_too_long_for_a_later_task_stops_nobody() {
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".t", ".one", ""),
        task("two", "upper", ".one", ".muchlonger", "depends_on: one"),
    ]);
    let fits = "a".repeat(255 - ".muchlonger".len());
    let no = "b".repeat(255 - ".one".len());
    pipeline.add(format!("{fits}.t"), "fits").add(format!("{no}.t"), "does not");
    pipeline.add("short.t", "one");
    // It is not begun, and stops nobody.
    let done = pipeline.run(&[]).expect(0).says("2 files finished, 0 failed");
    done.says("the name is too long for an output");
    assert_eq!(pipeline.shown("one").len(), 2);
    assert!(pipeline.has("two/short.muchlonger") && pipeline.has(format!("two/{fits}.muchlonger")));
}

#[test]
fn outputs_have_the_modes_that_the_umask_leaves() {
    for (mask, mode) in [("022", 0o644), ("027", 0o640), ("002", 0o664)] {
        let pipeline = Pipeline::new(&[
            task("one", "upper", ".txt", ".one", ""),
            task("two", "misbehave", ".one", ".two", "depends_on: one"),
        ]);
        pipeline.add("a.txt", "nothing good");
        let command = pipeline.serve(&["--once"]);
        let mut shell = std::process::Command::new("sh");
        shell.arg("-c").arg(format!("umask {mask}; exec \"$0\" \"$@\""));
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            shell.env(name, value.expect("a value"));
        }
        finish(&mut shell).expect(3);
        for name in ["one/a.one", "two/a.err"] {
            let found = fs::metadata(pipeline.output().join(name)).expect("it is there");
            assert_eq!(found.permissions().mode() & 0o777, mode, "{name} under {mask}");
        }
        for name in ["one", "two", ".tigerflow", ".tigerflow/one/outputs"] {
            let found = fs::metadata(pipeline.output().join(name)).expect("it is there");
            let expected = mode | (mode & 0o444) >> 2;
            assert_eq!(found.permissions().mode() & 0o777, expected, "{name} under {mask}");
        }
    }
}

#[test]
fn idleness_ends_it_and_failures_are_no_work() {
    let pipeline = Pipeline::new(&[task("one", "misbehave", ".txt", ".one", "")]);
    pipeline.add("a.txt", "good one");
    let live = pipeline.live(&["--idle-timeout", "600ms", "--settle", "0"]);
    live.wait().expect(0).says("1 file finished, 0 failed").says("Idle timeout reached");
    pipeline.add("b.txt", "fail this").add("c.txt", "good this");
    let live = pipeline.live(&["--idle-timeout", "600ms", "--settle", "0"]);
    live.wait().expect(3).says("1 file finished, 1 failed").says("Idle timeout reached");
    // Nothing to do at all.
    let empty = Pipeline::chain(2);
    empty.live(&["--idle-timeout", "300ms"]).wait().expect(0).says("0 files finished, 0 failed");
    // So many minutes, as TigerFlow has it.
    for wrong in ["0", "-1", "soon", "1.5"] {
        finish(&mut empty.serve(&["--idle-timeout", wrong])).expect(2).says("minutes");
    }
    let live = empty.live(&["--idle-timeout", "1"]);
    live.says("Task setup complete");
    live.signal(Signal::TERM).says("Received signal 15");
    live.wait().expect(143);
}

#[test]
fn work_is_no_idleness_however_long_it_takes() {
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".txt", ".one", ""),
        task("two", "gated", ".one", ".two", &format!("depends_on: one, {GATE}")),
    ]);
    let gate = Gate::new(&pipeline);
    pipeline.add("a.txt", "one");
    let mut live = pipeline.live(&["--idle-timeout", "1ms", "--settle", "0"]);
    gate.wait("begun-a.one");
    std::thread::sleep(Duration::from_millis(300));
    assert!(live.runs(), "{}", live.log());
    gate.open("open");
    live.wait().expect(0).says("1 file finished, 0 failed");
}

#[test]
fn a_file_that_waits_for_its_companion_is_no_work() {
    // However the steps are asked again meanwhile.
    for (steps, poll) in [
        (&["{kind: companion_file, ext: .done}"][..], "100ms"),
        (&["{kind: companion_file, ext: .done}", "{kind: max_batch, count: 1}"], "100ms"),
        (&["{kind: min_size, bytes: 1000}", "{kind: max_staged, count: 5}"], "50ms"),
        // So many are looked at on another thread.
        (&["{kind: min_size, bytes: 1000}", "{kind: sort_by, key: size}"], "50ms"),
    ] {
        let pipeline = Pipeline::staged(&[task("one", "upper", ".txt", ".one", "")], steps);
        pipeline.add("a.txt", "one").add("b.txt", "x".repeat(2000)).add("b.done", "");
        let many = if steps[1..] == ["{kind: sort_by, key: size}"] { 1_500 } else { 0 };
        for number in 0..many {
            pipeline.add(format!("{number}.txt"), "small");
        }
        let more = ["--idle-timeout", "1500ms", "--poll-interval", poll, "--settle", "0"];
        let live = pipeline.live(&more);
        let begun = Instant::now();
        let waiting = format!("1 file finished, 0 failed, {} waiting", 1 + many);
        let done = live.wait().expect(0).says(&waiting);
        assert!(begun.elapsed() < Duration::from_secs(20), "{steps:?}: {}", done.stderr);
        assert_eq!(pipeline.shown("one"), ["b.one"], "{steps:?}");
    }
}

#[test]
fn tasks_share_the_files_that_may_be_open() {
    let pipeline = Pipeline::chain(3);
    for number in 0..200 {
        pipeline.add(format!("{number}.txt"), "x");
    }
    let done = finish(&mut limited("-n 200", &pipeline.serve(&["--once"]))).expect(0);
    done.says("200 files finished, 0 failed");
}

#[test]
fn each_line_about_a_file_says_in_which_task() {
    let pipeline = Pipeline::new(&[
        task("root", "upper", ".txt", ".mid", ""),
        task("left", "slow", ".mid", ".left", "depends_on: root"),
        task("right", "slow", ".mid", ".right", "depends_on: root"),
    ]);
    for number in 0..20 {
        pipeline.add(format!("{number}.txt"), "fail it");
    }
    let done = pipeline.run(&[]).expect(3);
    for task in ["left", "right"] {
        let lines = done.stderr.matches(&format!("[{task}] Failed processing: ")).count();
        assert_eq!(lines, 20, "{}", done.stderr);
    }
    for line in done.stderr.lines().filter(|line| line.contains("Setting up task")) {
        assert!(line.contains("| ["), "{line}");
    }
}

#[test]
fn an_input_that_is_still_written_to_is_not_taken() {
    use std::io::Write;
    let pipeline = Pipeline::chain(2);
    let live = pipeline.live(&["--settle", "10m"]);
    live.says("All tasks started");
    let mut file = File::create(pipeline.input().join("a.txt")).expect("an input");
    file.write_all(b"half").expect("it is written");
    pipeline.add("b.txt", "other");
    wait_until("the other is through", || pipeline.has("two/b.two"));
    assert!(!pipeline.has("one/a.one"));
    file.write_all(b" and half").expect("it is written");
    drop(file);
    wait_until("it is through", || pipeline.has("two/a.two"));
    assert_eq!(pipeline.out("two/a.two"), "HALF AND HALF");
    live.signal(Signal::TERM);
    live.wait().expect(143);
}

#[test]
fn a_directory_that_is_taken_away_stops_it() {
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".txt", ".one", ""),
        task("two", "gated", ".one", ".two", &format!("depends_on: one, {GATE}")),
    ]);
    let gate = Gate::new(&pipeline);
    pipeline.add("a.txt", "one").add("b.txt", "two");
    let live = pipeline.live(&["--once"]);
    gate.wait("begun-a.one");
    fs::remove_dir_all(pipeline.output()).expect("it can be removed");
    gate.open("open");
    let done = live.wait().expect(1);
    assert!(done.stderr.contains("ERROR"), "{}", done.stderr);
    assert!(!pipeline.output().exists(), "nothing is made there again");

    let served = Pipeline::chain(1);
    let live = Live::start(&served, &mut served.serve(&["--poll-interval", "50ms"]));
    live.says("Task setup complete");
    fs::remove_dir_all(served.input()).expect("it can be removed");
    live.wait().expect(1).says("failed to list");
}
