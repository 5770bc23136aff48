//! What comes of each input, and what the next run makes of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;
use tigerflow_tests::{Bench, Done, finish, guest};

/// How many inputs the run worked on.
fn begun(done: &Done) -> usize {
    done.stderr.matches("Starting processing: ").count()
}

/// How many lines of stdout are this.
fn lines(done: &Done, line: &str) -> usize {
    done.stdout.lines().filter(|l| *l == line).count()
}

/// The same command under a umask.
fn under_umask(mask: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("umask {mask}; exec \"$0\" \"$@\"")]).arg(command.get_program());
    shell.args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

#[test]
fn where_nothing_is_written_a_placeholder_stands() {
    let bench = Bench::new();
    bench.add("a.txt", "nothing");
    bench.run(&guest("misbehave"), &[]).expect(0);
    assert_eq!(bench.names(), ["a.out"]);
    assert_eq!(bench.out("a.out"), "");
    let done = bench.run(&guest("misbehave"), &[]).expect(0).says("1 file: 1 succeeded before");
    assert_eq!(begun(&done), 0);
}

#[test]
fn modes_follow_the_umask() {
    for (mask, mode) in [("027", 0o640), ("077", 0o600), ("022", 0o644)] {
        let bench = Bench::new();
        bench.add("a.txt", "good a").add("b.txt", "nothing").add("c.txt", "fail 1");
        bench.add("d.txt", "aborted no").add("e.txt", "write 100000").add("f.txt", "abort");
        let command = bench.serve(&guest("misbehave"), &["--once"]);
        finish(&mut under_umask(mask, &command)).expect(3);
        let names = ["a.out", "b.out", "c.err", "d.err", "e.out", "f.err"];
        assert_eq!(bench.names(), names);
        for name in names {
            let meta = fs::metadata(bench.output().join(name)).expect(name);
            let found = meta.permissions().mode() & 0o7777;
            assert_eq!(found, mode, "{name} under {mask}: {found:o}");
        }
    }
}

#[test]
fn an_err_says_all_that_there_is_to_say() {
    let bench = Bench::new();
    bench.add("a.txt", "stderr 2").add("b.txt", "panic x").add("c.txt", "aborted no need");
    bench.run(&guest("misbehave"), &[]).expect(3);
    for name in ["a", "b", "c"] {
        let error = bench.err(format!("{name}.err"));
        let mut keys: Vec<&String> = error.as_object().expect("an object").keys().collect();
        keys.sort();
        let expected = [
            "attempts",
            "duration_seconds",
            "exception_type",
            "file",
            "message",
            "outcome",
            "stderr",
            "task",
            "timestamp",
            "traceback",
        ];
        assert_eq!(keys, expected);
        let input = bench.input().join(format!("{name}.txt"));
        assert_eq!(error["file"], input.to_str().expect("UTF-8"));
        assert_eq!(error["attempts"], 1);
        assert!(error["duration_seconds"].as_f64().is_some_and(|s| (0.0..60.0).contains(&s)));
        let task = &error["task"];
        assert_eq!((&task["name"], &task["version"]), (&"misbehave".into(), &"1.2.3".into()));
        let digest = task["digest"].as_str().expect("a digest");
        assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{digest}");
        let time = error["timestamp"].as_str().expect("a time");
        assert!(time.starts_with("20") && time.contains('T'), "{time}");
        assert!(bench.out(format!("{name}.err")).ends_with("}\n"));
    }
    let error = bench.err("a.err");
    assert_eq!(error["stderr"], "line 0 of what goes wrong\nline 1 of what goes wrong\n");
    assert_eq!(error["message"], "see stderr");
    assert_eq!(bench.err("c.err")["exception_type"], "Aborted");
}

#[test]
fn a_failed_file_is_run_again_only_when_asked() {
    let bench = Bench::new();
    bench.add("a.txt", "fail 1").add("b.txt", "good b").add("c.txt", "aborted no");
    bench
        .run(&guest("misbehave"), &[])
        .expect(3)
        .says("3 files: 0 succeeded before")
        .says("3 to do");
    // Nothing to do, and still one failed.
    let done = bench.run(&guest("misbehave"), &[]).expect(3);
    let done =
        done.says("1 succeeded before, 1 failed before (--retry-failed").says("1 aborted before");
    assert_eq!((begun(&done), lines(&done, "setup")), (0, 0));

    for attempts in 2..=3 {
        let done = bench.run(&guest("misbehave"), &["--retry-failed"]).expect(3);
        let done = done.says("1 to do (1 of them again)");
        assert_eq!(begun(&done), 1, "{}", done.stderr);
        assert_eq!(bench.err("a.err")["attempts"], attempts);
    }

    bench.add("a.txt", "good now");
    bench.run(&guest("misbehave"), &["--retry-failed"]).expect(0).says("1 succeeded, 0 failed");
    // The `.err` goes when the output comes.
    assert_eq!(bench.names(), ["a.out", "b.out", "c.err"]);
    assert_eq!(bench.out("a.out"), "NOW 0");
    let done = bench.run(&guest("misbehave"), &["--retry-failed"]).expect(0);
    assert_eq!(begun(&done), 0);
}

#[test]
fn attempts_are_counted_over_faults_of_every_kind() {
    let bench = Bench::new();
    for (attempts, content) in ["abort", "transient busy", "sleep", "directory"].iter().enumerate()
    {
        bench.add("a.txt", content);
        let more = ["--retry-failed", "--timeout", "500ms", "--retries", "0"];
        bench.run(&guest("misbehave"), &more).expect(3);
        assert_eq!(bench.err("a.err")["attempts"], attempts + 1, "{content}");
    }
    bench.add("a.txt", "aborted no");
    bench.run(&guest("misbehave"), &["--retry-failed"]).expect(0);
    assert_eq!(bench.err("a.err")["attempts"], 5);
    assert_eq!(bench.names(), ["a.err"]);
}

#[test]
fn an_aborted_file_is_no_failure() {
    let bench = Bench::new();
    bench.add("a.txt", "aborted nothing in it").add("b.txt", "good b");
    let done = bench.run(&guest("misbehave"), &[]).expect(0);
    done.says("Aborted processing: a.txt (nothing in it)").says("1 succeeded, 0 failed, 1 aborted");
    assert_eq!(bench.names(), ["a.err", "b.out"]);
    let done = bench.run(&guest("misbehave"), &["--retry-failed"]).expect(0);
    let hint = "1 aborted before (--retry-aborted runs them again), 0 to do";
    assert_eq!(begun(&done.says(hint)), 0);
}

#[test]
fn of_an_output_and_an_err_the_output_wins() {
    let bench = Bench::new();
    bench.add("a.txt", "fail 1");
    bench.run(&guest("misbehave"), &[]).expect(3);
    // A run was killed between the two steps of publishing.
    fs::write(bench.output().join("a.out"), "complete").expect("an output");
    let done =
        bench.run(&guest("misbehave"), &[]).expect(0).says("1 succeeded before, 0 failed before");
    assert_eq!(begun(&done), 0);
    assert_eq!(bench.names(), ["a.out"]);
    assert_eq!(bench.out("a.out"), "complete");
}

#[test]
fn an_err_of_another_program_counts_as_one_failure() {
    for content in ["", "Traceback (most recent call last)", "{\"file\": 1}", "[]"] {
        let bench = Bench::new();
        bench.add("a.txt", "fail 1");
        fs::write(bench.output().join("a.err"), content).expect("an .err");
        let done = bench.run(&guest("misbehave"), &[]).expect(3).says("1 failed before");
        assert_eq!(begun(&done), 0);
        bench.run(&guest("misbehave"), &["--retry-failed"]).expect(3);
        assert_eq!(bench.err("a.err")["attempts"], 2, "{content}");
        bench.add("a.txt", "good a");
        bench.run(&guest("misbehave"), &["--retry-failed"]).expect(0);
        assert_eq!(bench.names(), ["a.out"]);
    }
}

#[test]
fn a_setup_that_fails_stops_the_run_once() {
    for (misdeed, words) in [
        ("fail x", &["ParseIntError", "the file is no number: invalid digit", "caused by"][..]),
        ("panic no model here", &["Panic", "no model here", "misbehave.rs:"]),
        ("abort", &["Trap", "aborted itself", "misbehave::call"]),
        ("exit 0", &["Exit", "instead of returning"]),
        ("transient busy", &["busy"]),
        ("aborted no need", &["no need"]),
        ("bomb", &["MemoryLimit", "--memory-limit"]),
        ("deep", &["StackOverflow", "recursion"]),
        ("stderr 2", &["see stderr", "line 1 of what goes wrong"]),
    ] {
        let bench = Bench::new();
        for number in 0..20 {
            bench.add(format!("{number}.txt"), "good one");
        }
        let more = ["--at-setup", misdeed, "--memory-limit", "64M", "--concurrency-limit", "4"];
        let mut done = bench.run(&guest("misbehave"), &more).expect(4);
        for word in words {
            done = done.says(word);
        }
        assert_eq!(bench.names(), [""; 0], "{misdeed}");
        assert_eq!(begun(&done), 0, "{misdeed}");
        // Each slot may have tried, and none of them twice.
        assert!(lines(&done, "setup") <= 4, "{misdeed}: {}", done.stdout);
        assert_eq!(lines(&done, "teardown"), 0, "{misdeed}");
        assert_eq!(done.stderr.matches("Task setup failed").count(), 1, "{}", done.stderr);
        done.says("20 still to do");
        // All is still to do.
        bench.run(&guest("misbehave"), &[]).expect(0).says("20 succeeded, 0 failed");
    }
}

#[test]
fn a_server_shows_at_once_that_setup_fails() {
    let bench = Bench::new();
    let mut command = bench.serve(&guest("misbehave"), &["--at-setup", "fail x"]);
    let done = finish(&mut command).expect(4).says("Task setup failed: ParseIntError");
    assert_eq!(done.stdout, "setup\n");
}

#[test]
fn without_work_nothing_is_set_up() {
    let bench = Bench::new();
    let done = bench.run(&guest("misbehave"), &["--at-setup", "fail x"]).expect(0);
    assert_eq!(done.stdout, "");
    done.says("0 files");
}

#[test]
fn each_live_instance_is_torn_down_once() {
    let bench = Bench::new();
    for number in 0..200 {
        bench.add(format!("{number}.txt"), "good one");
    }
    let done = bench.run(&guest("misbehave"), &["--concurrency-limit", "3"]).expect(0);
    let setups = lines(&done, "setup");
    assert!((1..=3).contains(&setups), "{setups}");
    assert_eq!(lines(&done, "teardown"), setups);
}

#[test]
fn a_teardown_that_fails_is_told() {
    for (misdeed, word) in [
        ("fail 7", "7 is no answer"),
        ("panic at the end", "at the end"),
        ("exit 1", "instead of returning"),
    ] {
        let bench = Bench::new();
        bench.add("a.txt", "good a");
        let more = ["--at-teardown", misdeed, "--concurrency-limit", "1"];
        let done = bench.run(&guest("misbehave"), &more).expect(3);
        assert_eq!(done.stdout, "setup\nteardown\n");
        done.says("| ERROR    | Task teardown failed").says(word).says("1 succeeded, 0 failed");
        assert_eq!(bench.names(), ["a.out"]);
    }
}

/// A place with a directory for the notes of `single`, and how to run it there.
fn with_notes() -> (Bench, String) {
    let bench = Bench::new();
    fs::create_dir(bench.path().join("notes")).expect("notes");
    let option = format!("{}::/notes:rw", bench.path().join("notes").display());
    (bench, option)
}

fn notes(bench: &Bench) -> String {
    fs::read_to_string(bench.path().join("notes/calls")).expect("notes")
}

#[test]
fn a_single_writer_is_alone_whatever_is_asked_for() {
    let (bench, notes_option) = with_notes();
    for number in 0..100 {
        bench.add(format!("{number}.txt"), "text");
    }
    let more = ["--dir", &notes_option, "--env", "SINGLE_KEY=x", "--concurrency-limit", "8"];
    let done = bench.run(&guest("single"), &more).expect(0);
    done.says("1 file at a time").says("--concurrency-limit 8");
    let expected = format!("setup\n{}teardown\n", "begin\nend\n".repeat(100));
    assert_eq!(notes(&bench), expected);
    // By default it is alone as well, and there is nothing to note.
    let (bench, notes_option) = with_notes();
    bench.add("a.txt", "a").add("b.txt", "b");
    let more = ["--dir", &notes_option, "--env", "SINGLE_KEY=x"];
    let done = bench.run(&guest("single"), &more).expect(0);
    assert!(!done.stderr.contains("--concurrency-limit"), "{}", done.stderr);
    assert_eq!(notes(&bench), "setup\nbegin\nend\nbegin\nend\nteardown\n");
}

#[test]
fn a_setup_that_fails_from_some_time_on_stops_the_run() {
    let (bench, notes_option) = with_notes();
    bench.add("a.txt", "a").add("b.txt", "last").add("c.txt", "c").add("d.txt", "d");
    let more = ["--dir", &notes_option, "--env", "SINGLE_KEY=x"];
    let done = bench.run(&guest("single"), &more).expect(4);
    done.says("the notes say no more").says("2 still to do");
    assert_eq!(bench.names(), ["a.out", "b.err"]);
    let tries = notes(&bench).matches("setup\n").count();
    assert!((2..=10).contains(&tries), "{tries} tries");
    // The files after it are to do, not failed.
    fs::remove_file(bench.path().join("notes/no-more")).expect("the note");
    bench.run(&guest("single"), &more).expect(3).says("1 succeeded before, 1 failed before");
    assert_eq!(bench.names(), ["a.out", "b.err", "c.out", "d.out"]);
}

#[test]
fn the_journal_tells_of_every_attempt() {
    let bench = Bench::new();
    bench.add("a.txt", "good a").add("b.txt", "fail 1").add("c.txt", "aborted no");
    bench.run(&guest("misbehave"), &[]).expect(3);
    bench.run(&guest("misbehave"), &["--retry-failed"]).expect(3);
    let path = bench.output().join(".tigerflow/misbehave/journal.jsonl");
    let journal = fs::read_to_string(path).expect("a journal");
    let records: Vec<Value> =
        journal.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut attempts: Vec<_> = records
        .iter()
        .filter(|record| record["event"] == "attempt")
        .map(|record| {
            let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
            (text("file"), record["attempt"].as_u64(), text("outcome"))
        })
        .collect();
    attempts.sort();
    let attempt = |file: &str, number, outcome: &str| (file.into(), Some(number), outcome.into());
    let expected = [
        attempt("a.txt", 1, "succeeded"),
        attempt("b.txt", 1, "failed"),
        attempt("b.txt", 2, "failed"),
        attempt("c.txt", 1, "aborted"),
    ];
    assert_eq!(attempts, expected);
    let ends = records.iter().filter(|r| r["event"] == "run-ended" && r["exit_code"] == 3);
    assert_eq!(ends.count(), 2);
}
