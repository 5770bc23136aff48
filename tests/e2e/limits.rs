//! What a task may take: time, memory, output, handles, and room in the log.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tigerflow_tests::{Bench, Done, finish, guest, host, limited, wait_until};

use crate::live::Live;

/// What an `.err` says: its type and its message.
#[track_caller]
fn verdict(bench: &Bench, name: &str) -> (String, String) {
    let error = bench.err(name);
    let text = |key: &str| error[key].as_str().expect("a text").to_owned();
    (text("exception_type"), text("message"))
}

/// The messages of the log's lines of this level.
fn log(done: &Done, level: &str) -> Vec<String> {
    let lines = done.stderr.lines().filter_map(|line| {
        let mut parts = line.splitn(3, " | ");
        let (_, found, message) = (parts.next()?, parts.next()?.trim(), parts.next()?);
        (found == level).then(|| message.to_owned())
    });
    lines.collect()
}

#[test]
fn memory_is_had_up_to_the_limit() {
    for (limit, least, most) in [("64M", 56, 64), ("200M", 190, 200)] {
        let bench = Bench::new();
        bench.add("a.txt", "memory").add("b.txt", "memory");
        // The second one in the same instance, which gave all of it back.
        let more = ["--memory-limit", limit, "--concurrency-limit", "1"];
        let done = bench.run(&guest("misbehave"), &more).expect(0);
        assert_eq!(done.stdout, "setup\nteardown\n");
        for name in ["a.out", "b.out"] {
            let had: u32 = bench.out(name).parse().expect("a number");
            assert!((least..=most).contains(&had), "{had} MiB under --memory-limit {limit}");
        }
    }
}

#[test]
fn a_memory_limit_too_small_to_start_is_told_before_any_file() {
    let bench = Bench::new();
    bench.add("a.txt", "good a");
    let done = bench.run(&guest("misbehave"), &["--memory-limit", "64K"]).expect(4);
    done.says("--memory-limit").says("64.0 KiB");
    assert_eq!(bench.names(), [""; 0]);
}

#[test]
fn output_is_counted_exactly_and_for_each_attempt() {
    let bench = Bench::new();
    let within = ["write 100000", "grow 100000", "far 99999", "pieces 9 10000"];
    let beyond =
        ["write 100001", "grow 100001", "far 100000", "far 1000000000000", "pieces 11 10000"];
    for (number, content) in within.iter().enumerate() {
        bench.add(format!("a{number}.txt"), content);
    }
    for (number, content) in beyond.iter().enumerate() {
        bench.add(format!("b{number}.txt"), content).add(format!("b{number}z.txt"), "good next");
    }
    let more = ["--output-limit", "100000", "--concurrency-limit", "1"];
    bench.run(&guest("misbehave"), &more).expect(3);
    let size = |name: &str| fs::metadata(bench.output().join(name)).expect(name).len();
    assert_eq!([size("a0.out"), size("a1.out"), size("a2.out")], [100_000; 3]);
    assert_eq!(bench.out("a3.out"), "done");
    for (number, content) in beyond.iter().enumerate() {
        assert!(!bench.has(format!("b{number}.out")), "{content}");
        let (exception_type, message) = verdict(&bench, &format!("b{number}.err"));
        assert_eq!(exception_type, "OutputLimit", "{content}: {message}");
        assert!(message.contains("--output-limit"), "{message}");
        assert_eq!(bench.out(format!("b{number}z.out")), "NEXT 0", "after {content}");
    }
}

#[test]
fn a_timeout_stops_what_computes_and_what_sleeps() {
    let bench = Bench::new();
    bench.add("a.txt", "loop").add("b.txt", "sleep").add("c.txt", "good c");
    let done = bench.run(&guest("misbehave"), &["--timeout", "500ms"]).expect(3);
    for name in ["a.err", "b.err"] {
        let (exception_type, message) = verdict(&bench, name);
        assert_eq!(exception_type, "Timeout");
        assert!(message.contains("500ms") && message.contains("--timeout"), "{message}");
        let seconds = bench.err(name)["duration_seconds"].as_f64().expect("a number");
        assert!((0.5..20.0).contains(&seconds), "{seconds}");
    }
    assert_eq!(bench.out("c.out"), "C 0");
    done.says("1 succeeded, 0 failed, 2 timed out");
}

#[test]
fn setup_has_a_timeout_of_its_own() {
    for hang in ["sleep", "loop"] {
        let bench = Bench::new();
        bench.add("a.txt", "good a");
        let more = ["--at-setup", hang, "--setup-timeout", "500ms"];
        let done = bench.run(&guest("misbehave"), &more).expect(4);
        done.says("500ms").says("--setup-timeout");
        assert_eq!(bench.names(), [""; 0]);
    }
}

#[test]
fn teardown_ends_with_the_timeout_too() {
    for hang in ["sleep", "loop"] {
        let bench = Bench::new();
        bench.add("a.txt", "good a");
        let more = ["--at-teardown", hang, "--timeout", "500ms"];
        let done = bench.run(&guest("misbehave"), &more).expect(3);
        done.says("teardown failed").says("500ms");
        assert_eq!(bench.out("a.out"), "A 0");
    }
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let bench = Bench::new();
    bench.add("a.txt", "good a");
    for (option, value, word) in [
        ("--timeout", "30", "30s"),
        ("--timeout", "0s", "no limit"),
        ("--timeout", "-1s", "--timeout"),
        ("--setup-timeout", "soon", "30s"),
        ("--memory-limit", "lots", "512M"),
        ("--memory-limit", "0", "more than 0"),
        ("--output-limit", "", "--output-limit"),
        ("--concurrency-limit", "0", "--concurrency-limit"),
        ("--concurrency-limit", "1000000", "--concurrency-limit"),
    ] {
        let option = format!("{option}={value}");
        let done = bench.run(&guest("misbehave"), &[&option]).expect(2).says(word);
        assert!(!done.stdout.contains("setup"), "{option}");
    }
    assert_eq!(bench.names(), [""; 0]);
}

/// The same command with fewer files open at once.
fn with_few_files(command: &Command) -> Command {
    limited("-n 300", command)
}

/// Two files that open what they can and close nothing, among 300 good ones.
fn hoarders_among_others(wrap: impl FnOnce(Command) -> Command) {
    let bench = Bench::new();
    for number in 0..300 {
        bench.add(format!("{number:03}.txt"), format!("good {number}"));
    }
    bench.add("100-hoard.txt", "hoard 100000").add("200-hoard.txt", "hoard 100000");
    let command = bench.serve(&guest("misbehave"), &["--once", "--concurrency-limit", "4"]);
    finish(&mut wrap(command)).expect(3).says("300 succeeded, 2 failed");
    for name in ["100-hoard.err", "200-hoard.err"] {
        let (exception_type, message) = verdict(&bench, name);
        let words = format!("{exception_type}: {message}");
        assert!(words.contains("open"), "{words}");
    }
}

#[test]
fn a_guest_that_closes_nothing_harms_no_neighbour() {
    hoarders_among_others(|command| command);
}

#[test]
fn a_guest_that_closes_nothing_leaves_handles_where_they_are_few() {
    hoarders_among_others(|command| with_few_files(&command));
}

#[test]
fn a_slow_leak_of_handles_costs_no_file() {
    let bench = Bench::new();
    for number in 0..200 {
        bench.add(format!("{number:03}.txt"), "hoard 50");
    }
    let done = bench.run(&guest("misbehave"), &["--concurrency-limit", "1"]).expect(0);
    let setups = done.stdout.lines().filter(|line| *line == "setup").count();
    assert!((2..=100).contains(&setups), "{setups} instances for 200 files");
}

#[test]
fn each_level_of_the_log_has_its_option() {
    let bench = Bench::new();
    bench.add("a.txt", "levels");
    for (options, levels) in [
        (&["-qq"][..], &["ERROR"][..]),
        (&["-q"], &["ERROR", "WARNING"]),
        (&[], &["ERROR", "WARNING", "INFO"]),
        (&["-v"], &["ERROR", "WARNING", "INFO", "DEBUG"]),
        (&["-vv"], &["ERROR", "WARNING", "INFO", "DEBUG", "TRACE"]),
    ] {
        let done = bench.run(&guest("talk"), options).expect(0);
        fs::remove_file(bench.output().join("a.out")).expect("an output");
        for (level, word) in [
            ("ERROR", "an error line"),
            ("WARNING", "a warn line"),
            ("INFO", "an info line"),
            ("DEBUG", "a debug line"),
            ("TRACE", "a trace line"),
        ] {
            let said = log(&done, level).iter().any(|message| message.ends_with(word));
            assert_eq!(said, levels.contains(&level), "{options:?} {level}:\n{}", done.stderr);
        }
    }
}

#[test]
fn a_log_line_bears_the_files_name_and_outside_of_files_the_tasks() {
    let bench = Bench::new();
    bench.add("a.txt", "levels").add("b.txt", "levels");
    let done = bench.run(&guest("talk"), &["--concurrency-limit", "1"]).expect(0);
    let said = |words: &str| -> Vec<String> {
        log(&done, "INFO").into_iter().filter(|message| message.ends_with(words)).collect()
    };
    assert_eq!(said("an info line"), ["a.txt: an info line", "b.txt: an info line"]);
    assert_eq!(said("ready to talk"), ["talk: ready to talk"]);
}

#[test]
fn a_log_line_is_one_line() {
    let bench = Bench::new();
    bench.add("a.txt", "forge").add("b.txt", "long 100000");
    let done = bench.run(&guest("talk"), &[]).expect(0);
    assert_eq!(log(&done, "ERROR"), [""; 0], "a forged line:\n{}", done.stderr);
    assert!(!done.stderr.contains('\x1b'), "a terminal's control sequence came through");
    let forged = log(&done, "INFO").into_iter().find(|message| message.contains("forged"));
    assert!(forged.expect("it is told").contains("one line"));
    let longest = done.stderr.lines().map(str::len).max().expect("lines");
    assert!((8_000..9_000).contains(&longest), "{longest}");

    fs::remove_file(bench.output().join("a.out")).expect("an output");
    let done = bench.run(&guest("talk"), &["--log-format", "json"]).expect(0);
    let messages: Vec<String> = done
        .stderr
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("each line is JSON");
            line["message"].as_str().expect("a message").to_owned()
        })
        .collect();
    assert!(messages.iter().any(|message| message.contains("forged")), "{messages:?}");
}

#[test]
fn a_flood_of_log_lines_is_dammed() {
    let bench = Bench::new();
    bench.add("a.txt", "flood 200000").add("b.txt", "flood 3");
    let done = bench.run(&guest("talk"), &["--concurrency-limit", "1"]).expect(0);
    let flood: Vec<String> =
        log(&done, "INFO").into_iter().filter(|message| message.contains("flood ")).collect();
    // A thousand of the first file, and all of the next.
    assert_eq!(flood.len(), 1_000 + 3, "{}", done.stderr);
    assert!(flood[0].ends_with("flood 0") && flood[999].ends_with("flood 999"));
    assert!(flood[1002].ends_with("flood 2"));
    let warnings = log(&done, "WARNING");
    assert!(warnings.len() == 1 && warnings[0].contains("too many log lines"), "{warnings:?}");
}

#[test]
fn progress_is_seen_while_it_runs() {
    let bench = Bench::new();
    bench.add("a.txt", "progress");
    let live = Live::start(&bench, &mut bench.serve(&guest("talk"), &["--settle", "0"]));
    let status = || {
        let done = finish(host().arg("status").arg(bench.output()).arg("--json"));
        serde_json::from_str::<Value>(&done.stdout).unwrap_or_default()
    };
    wait_until("the fraction shows", || {
        let fraction = &status()[0]["in_flight"][0]["fraction"];
        // 0.9 is what the task says of another file.
        assert!(fraction.is_null() || *fraction == 0.5, "{fraction}");
        *fraction == 0.5
    });
    assert_eq!(status()[0]["in_flight"][0]["file"], "a.txt");
    fs::write(bench.input().join("a.seen"), "").expect("a file");
    wait_until("it is done", || bench.has("a.out"));
    live.signal(Signal::TERM);
    live.wait().expect(143);
}
