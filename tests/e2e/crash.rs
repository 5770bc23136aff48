//! Kill it at any moment and start it again: nothing is lost, doubled or
//! half-written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tigerflow_tests::random::Random;
use tigerflow_tests::{Bench, finish, guest, host, wait_until};

use crate::live::{Gate, Live};

/// All files under a directory, by their path in it.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_path_buf()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).expect("it can be listed") {
            let entry = entry.expect("an entry");
            if entry.file_type().expect("a type").is_dir() {
                left.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(directory).expect("within").to_path_buf();
                found.insert(name, fs::read(entry.path()).expect("it can be read"));
            }
        }
    }
    found
}

/// What users see of an output directory: all but the workspace.
fn outcomes(bench: &Bench) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = files(&bench.output());
    all.retain(|name, _| !name.starts_with(".tigerflow"));
    all
}

fn slow(bench: &Bench, pause: u32, more: &[&str]) -> Command {
    let pause = format!("pause={pause}");
    let mut arguments = vec!["--once", "--concurrency-limit", "4", "--param", &pause];
    arguments.extend(more);
    bench.serve(&guest("slow"), &arguments)
}

/// Kills a run at a random moment: after some more outcomes than before, and
/// then some more microseconds.
fn kill_at_random(bench: &Bench, random: &mut Random, command: &mut Command, most: u64) {
    let count = || fs::read_dir(bench.output()).expect("out can be listed").count() as u64;
    let wanted = count() + random.below(most);
    let live = Live::start(bench, command);
    if wanted == count() {
        // Also before the first outcome: while it starts.
        std::thread::sleep(Duration::from_micros(random.below(60_000)));
    } else {
        wait_until("it makes progress", || count() >= wanted);
        std::thread::sleep(Duration::from_micros(random.below(4_000)));
    }
    live.kill();
}

#[test]
fn fifty_kills_lose_nothing_and_double_nothing() {
    const FILES: usize = 2_000;
    const KILLS: usize = 50;
    let mut random = Random::seeded();
    let (bench, undisturbed) = (Bench::new(), Bench::new());
    for number in 0..FILES {
        // From nothing to some pages, so that a write takes more than one go.
        let content = format!("content of file {number}\n").repeat(number % 400);
        let name = format!("{number:04}.txt");
        bench.add(&name, &content);
        undisturbed.add(&name, &content);
    }
    finish(&mut slow(&undisturbed, 0, &[])).expect(0);
    let expected = outcomes(&undisturbed);
    assert_eq!(expected.len(), FILES);

    for kill in 0..KILLS {
        // Some outcomes come between the last look and the kill: the aim is
        // for half of the files, so that the run never ends by itself.
        kill_at_random(&bench, &mut random, &mut slow(&bench, 4, &[]), 40);
        for (name, content) in outcomes(&bench) {
            assert_eq!(Some(&content), expected.get(&name), "{} after kill {kill}", name.display());
        }
    }
    let before = outcomes(&bench).len();
    assert!(before > 0 && before < FILES, "{before} outputs after {KILLS} kills prove little");
    finish(&mut slow(&bench, 0, &[])).expect(0).says(&format!("{before} succeeded before"));
    assert!(outcomes(&bench) == expected, "outputs as those of an undisturbed run");
    bench.assert_tidy("slow");

    // What was published was never worked on again.
    let journal = fs::read(bench.output().join(".tigerflow/slow/journal.jsonl")).expect("journal");
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    for line in journal.split(|&b| b == b'\n') {
        // A kill may have cut a line off.
        let Ok(record) = serde_json::from_slice::<Value>(line) else { continue };
        if record["event"] == "attempt" {
            assert_eq!(record["outcome"], "succeeded", "{record}");
            *done.entry(record["file"].as_str().expect("a name").into()).or_default() += 1;
        }
    }
    let twice: Vec<_> = done.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "published twice: {twice:?}");
    let missing = FILES - done.len();
    eprintln!("{missing} of {FILES} attempts were published and not recorded");
}

#[test]
fn kills_among_failures_leave_one_outcome_for_each_input() {
    const FILES: usize = 450;
    let mut random = Random::seeded();
    let bench = Bench::new();
    let name = |number: usize| format!("{number:03}.txt");
    for number in 0..FILES {
        let content = ["fail this", "decline this", "take this"][number % 3];
        bench.add(name(number), content);
    }
    for _ in 0..10 {
        kill_at_random(&bench, &mut random, &mut slow(&bench, 6, &[]), 20);
        for (path, content) in outcomes(&bench) {
            if path.extension().is_some_and(|e| e == "err") {
                let error: Value = serde_json::from_slice(&content).expect("an .err is whole");
                let message = error["message"].as_str().expect("a message");
                assert!(message.starts_with("told to "), "{error}");
                assert_eq!(error["attempts"], 1, "{error}");
            } else {
                assert_eq!(content, b"TAKE THIS", "{}", path.display());
            }
        }
    }
    finish(&mut slow(&bench, 0, &[])).expect(3);
    let names: Vec<String> = bench.names();
    let expected: Vec<String> = (0..FILES)
        .map(|n| name(n).replace("txt", if n % 3 == 2 { "out" } else { "err" }))
        .collect();
    assert_eq!(names, expected);

    // The same when they are run again and now go well: an output that
    // overtakes its `.err` leaves both for a moment, and never in the end.
    for number in 0..FILES {
        bench.add(name(number), "take this");
    }
    let failed = |bench: &Bench| bench.names().iter().filter(|n| n.ends_with(".err")).count();
    for _ in 0..10 {
        let wanted = failed(&bench).saturating_sub(random.below(6) as usize);
        let live = Live::start(&bench, &mut slow(&bench, 40, &["--retry-failed"]));
        wait_until("some failures are mended", || failed(&bench) <= wanted);
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        live.kill();
        assert!(outcomes(&bench).iter().all(|(path, content)| {
            path.extension().is_some_and(|e| e == "err") || content == b"TAKE THIS"
        }));
    }
    assert!(failed(&bench) > FILES / 3, "nothing is left to mend for the last run");
    // What the task declined did not fail, and so is not run again.
    finish(&mut slow(&bench, 0, &["--retry-failed"])).expect(0);
    let left = outcomes(&bench);
    for number in 0..FILES {
        let (out, err) = (name(number).replace("txt", "out"), name(number).replace("txt", "err"));
        let both = (left.contains_key(Path::new(&out)), left.contains_key(Path::new(&err)));
        let expected = if number % 3 == 1 { (false, true) } else { (true, false) };
        assert_eq!(both, expected, "{out} and {err}");
    }
    bench.assert_tidy("slow");
}

#[test]
fn an_outdated_err_beside_its_output_goes() {
    // As a run leaves them that is killed between the two.
    let bench = Bench::new();
    bench.add("a.txt", "one").add("b.txt", "two");
    fs::write(bench.output().join("a.out"), "ONE").expect("an output");
    fs::write(bench.output().join("a.err"), "{}").expect("an .err");
    bench.run(&guest("upper"), &[]).expect(0).says("1 succeeded before, 0 failed before, 1 to do");
    assert_eq!(bench.names(), ["a.out", "b.out"]);
}

#[test]
fn a_journal_that_was_cut_off_misleads_nobody() {
    let bench = Bench::new();
    bench.add("a.txt", "one");
    bench.run(&guest("slow"), &[]).expect(0);
    let path = bench.output().join(".tigerflow/slow/journal.jsonl");
    let whole = fs::read_to_string(&path).expect("a journal");
    // The last line ends in its middle, in a character of two bytes at that.
    let mut cut = whole.clone().into_bytes();
    cut.extend(b"{\"event\":\"attempt\",\"file\":\"gr\xc3");
    fs::write(&path, cut).expect("it can be damaged");

    let status = |code| finish(host().arg("status").arg(bench.output())).expect(code);
    assert!(status(0).stdout.contains("1: 1 succeeded, 0 failed"));
    bench.add("b.txt", "two");
    bench.run(&guest("slow"), &[]).expect(0).says("1 succeeded before, 0 failed before, 1 to do");
    assert_eq!(bench.out("b.out"), "TWO");
    let journal = fs::read(&path).expect("a journal");
    let lines: Vec<Value> = journal
        .split(|&b| b == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let events: Vec<&str> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    let run = ["run-started", "attempt", "run-ended"];
    assert_eq!(events, [run, run].concat(), "only the damaged line is lost");
    assert!(status(0).stdout.contains("2: 2 succeeded, 0 failed"));
}

#[test]
fn a_dead_runs_lock_is_taken_over() {
    let bench = Bench::new();
    let gate = Gate::new(&bench);
    bench.add("a.txt", "one");
    let live = Live::start(&bench, &mut bench.serve(&guest("gated"), &["--dir", &gate.grant()]));
    gate.wait("begun-a.txt");
    let pid = live.pid();
    live.kill();

    gate.open("open");
    let done = bench.run(&guest("gated"), &["--dir", &gate.grant()]).expect(0);
    let done = done.says(&format!("Taking over from process {pid} on "));
    done.says("1 to do");
    assert_eq!(bench.out("a.out"), "ONE");
    // The run after it has nobody to take over from.
    let done = bench.run(&guest("gated"), &["--dir", &gate.grant()]).expect(0);
    assert!(!done.stderr.contains("Taking over"), "{}", done.stderr);
}

#[test]
fn a_second_run_is_refused_and_the_first_goes_on() {
    let bench = Bench::new();
    let gate = Gate::new(&bench);
    bench.add("a.txt", "one").add("b.txt", "two");
    let arguments = ["--once", "--concurrency-limit", "1", "--dir", &gate.grant()];
    let live = Live::start(&bench, &mut bench.serve(&guest("gated"), &arguments));
    gate.wait("begun-a.txt");

    let second = bench.run(&guest("gated"), &["--dir", &gate.grant()]).expect(2);
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let second = second.says(&format!("process {} on {hostname}, since 2", live.pid()));
    let second = second.says("another run is at work");
    // It says what to do.
    let second = second.says("--output-dir");
    assert!(!second.stderr.contains("panicked"), "{}", second.stderr);
    assert_eq!(gate.count("begun-"), 1, "the second run began nothing");
    assert_eq!(gate.count("setup-"), 1, "the second run set nothing up");

    // Another task name has a workspace of its own.
    let other = finish(
        host()
            .arg("run")
            .arg(guest("upper"))
            .args(["--once", "--task-name", "other"])
            .args(["--input-ext", ".txt", "--output-ext", ".other", "--input-dir"])
            .arg(bench.input())
            .arg("--output-dir")
            .arg(bench.output()),
    );
    other.expect(0);
    assert_eq!(bench.names(), ["a.other", "b.other"]);

    gate.open("open");
    live.wait().expect(0).says("2 succeeded, 0 failed");
    assert_eq!(bench.names(), ["a.other", "a.out", "b.other", "b.out"]);
    assert_eq!(bench.out("b.out"), "TWO");
}
