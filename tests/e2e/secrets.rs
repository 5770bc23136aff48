//! Values of granted environment variables show nowhere, whatever the task does
//! with them.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use tigerflow_tests::{Bench, Done, finish, guest, host, wait_until};

use crate::live::Live;

const SECRET: &str = "hunter2-0123456789abcdef";

/// What `tell` can do with it, and fails by, or does not.
const WAYS: [&str; 10] = [
    "stdout",
    "stderr",
    "log",
    "error",
    "transient",
    "aborted",
    "panic",
    "kind",
    "trace",
    "length",
];

/// How a variable is granted.
#[derive(Clone, Copy, Debug)]
enum How {
    /// Its name, and the value in the host's own environment.
    Name,
    /// Both, as one argument or two.
    Value,
    ValueAsOne,
    /// A file of both.
    File,
}

const ALL: [How; 4] = [How::Name, How::Value, How::ValueAsOne, How::File];

fn grant(command: &mut Command, bench: &Bench, how: How) {
    match how {
        How::Name => command.args(["--env", "TELL_KEY"]).env("TELL_KEY", SECRET),
        How::Value => command.arg("--env").arg(format!("TELL_KEY={SECRET}")),
        How::ValueAsOne => command.arg(format!("--env=TELL_KEY={SECRET}")),
        How::File => {
            let file = bench.path().join("secrets.env");
            fs::write(&file, format!("# of the tests\nTELL_KEY={SECRET}\n")).expect("a file");
            command.arg("--env-file").arg(file)
        }
    };
}

/// Fails where the secret is in what the run said, or in any file that it left.
#[track_caller]
fn assert_kept(bench: &Bench, done: &Done, what: &str) {
    for (name, text) in [("stdout", &done.stdout), ("stderr", &done.stderr)] {
        assert!(!text.contains(SECRET), "{what}: it is in {name}:\n{text}");
    }
    let mut left = vec![bench.output()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).expect("it can be listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
                continue;
            }
            let text = String::from_utf8_lossy(&fs::read(&path).expect("a file")).into_owned();
            assert!(!text.contains(SECRET), "{what}: it is in {}:\n{text}", path.display());
        }
    }
    for more in [&[][..], &["--json"]] {
        let status = finish(host().arg("status").arg(bench.output()).args(more));
        assert!(!status.stdout.contains(SECRET), "{what}: {}", status.stdout);
    }
}

#[test]
fn a_value_shows_nowhere_whatever_the_task_does_with_it() {
    for how in ALL {
        for verbose in ["-q", "-vv", "--log-format=json"] {
            let bench = Bench::new();
            for way in WAYS {
                bench.add(format!("{way}.txt"), way);
            }
            let more = ["--once", "--retries", "1", "--retry-delay", "1ms", verbose];
            let mut command = bench.serve(&guest("tell"), &more);
            grant(&mut command, &bench, how);
            let done = finish(&mut command).expect(3);
            // It has the value.
            assert_eq!(bench.out("length.out"), SECRET.len().to_string(), "{how:?}");
            assert_kept(&bench, &done, &format!("{how:?} {verbose}"));
            // In its place is its name.
            assert!(done.stdout.contains("stdout: [TELL_KEY]"), "{}", done.stdout);
            for (file, key, text) in [
                ("stderr.err", "stderr", "stderr: [TELL_KEY]\n"),
                ("error.err", "message", "error: [TELL_KEY]"),
                ("transient.err", "message", "transient: [TELL_KEY]"),
                ("aborted.err", "message", "aborted: [TELL_KEY]"),
                ("kind.err", "exception_type", "Kind[TELL_KEY]"),
                ("trace.err", "message", "see the trace: cause: [TELL_KEY]"),
            ] {
                assert_eq!(bench.err(file)[key], text, "{file}");
            }
            let panic = bench.err("panic.err");
            assert!(panic["message"].as_str().is_some_and(|m| m.ends_with("panic: [TELL_KEY]")));
            if verbose != "-q" {
                assert!(done.stderr.contains("log.txt: log: [TELL_KEY]"), "{}", done.stderr);
            }
        }
    }
}

#[test]
fn a_value_shows_nowhere_where_setup_fails() {
    for how in ALL {
        let bench = Bench::new();
        bench.add("a.txt", "length");
        let mut command = bench.serve(&guest("tell"), &["--once", "--fail-setup", "-vv"]);
        grant(&mut command, &bench, how);
        let done = finish(&mut command).expect(4);
        assert_kept(&bench, &done, &format!("{how:?}"));
        done.says("setup does not like [TELL_KEY]").says("stderr of setup: [TELL_KEY]");
    }
}

#[test]
fn a_value_is_in_no_list_of_processes() {
    for how in ALL {
        let bench = Bench::new();
        let mut command = bench.serve(&guest("tell"), &["--progress", "never"]);
        grant(&mut command, &bench, how);
        let live = Live::start(&bench, &mut command);
        live.says("Task setup complete");
        let read = |pid: &str, what: &str| {
            let bytes = fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let own = read(&live.pid().to_string(), "cmdline");
        // Its command line as it was, less the value.
        assert!(
            own.contains("run ") && own.contains("tell.wasm") && own.contains("--progress never")
        );
        assert!(!own.contains(SECRET), "{how:?}: {own}");
        if matches!(how, How::Value | How::ValueAsOne) {
            assert!(own.contains("TELL_KEY"), "{how:?}: {own}");
        }
        // Nor do threads or helpers have another.
        for task in fs::read_dir(format!("/proc/{}/task", live.pid())).expect("it runs") {
            let task = task.expect("an entry").file_name().to_string_lossy().into_owned();
            assert!(!read(&task, "cmdline").contains(SECRET));
            assert!(!read(&task, "comm").contains(SECRET));
        }
        bench.add("a.txt", "length");
        wait_until("it works", || bench.has("a.out"));
        assert_eq!(bench.out("a.out"), SECRET.len().to_string(), "{how:?}");
        live.signal(Signal::TERM);
        let done = live.wait().expect(143);
        assert_kept(&bench, &done, &format!("{how:?}"));
    }
}

#[test]
fn values_of_any_shape_arrive_as_they_are() {
    for value in ["", "x", "a=b=c", "with spaces  ", "--env", "größe", "'quoted'", "$HOME", "#no"]
    {
        for as_one in [false, true] {
            let bench = Bench::new();
            bench.add("a.txt", "length");
            let mut command = bench.serve(&guest("tell"), &["--once"]);
            if as_one {
                command.arg(format!("--env=TELL_KEY={value}"));
            } else {
                command.arg("--env").arg(format!("TELL_KEY={value}"));
            }
            finish(&mut command).expect(0);
            assert_eq!(bench.out("a.out"), value.len().to_string(), "{value:?}");
        }
    }
    // After `--` nothing is an option, and the last of two values holds.
    let bench = Bench::new();
    bench.add("a.txt", "length");
    let more = ["--once", "--env", "TELL_KEY=longer", "--env", "TELL_KEY=last"];
    finish(&mut bench.serve(&guest("tell"), &more)).expect(0);
    assert_eq!(bench.out("a.out"), "4");
}

#[test]
fn values_of_several_lines_are_kept_line_by_line() {
    let bench = Bench::new();
    for way in WAYS {
        bench.add(format!("{way}.txt"), way);
    }
    let key = format!("-----BEGIN-----\n{SECRET}\nshort\n{SECRET}-and-more\n-----END-----\n");
    let mut command = bench.serve(&guest("tell"), &["--once", "--retries", "0", "-vv"]);
    let done = finish(command.arg("--env").arg(format!("TELL_KEY={key}"))).expect(3);
    assert_kept(&bench, &done, "several lines");
    assert_eq!(bench.out("length.out"), key.len().to_string());
}

/// Runs `tell` with a file of variables.
fn with_file(bench: &Bench, content: &[u8]) -> Done {
    let file = bench.path().join("secrets.env");
    fs::write(&file, content).expect("a file");
    bench.add("a.txt", "length");
    let mut command = bench.serve(&guest("tell"), &["--once"]);
    finish(command.arg("--env-file").arg(&file))
}

#[test]
fn a_file_of_variables_is_read_as_such_files_are() {
    for (content, length) in [
        ("TELL_KEY=four\n", 4),
        ("TELL_KEY=four", 4),
        ("TELL_KEY=four\r\n", 4),
        ("# TELL_KEY=no\n\n  \nOTHER=x\nTELL_KEY=four\n", 4),
        ("export TELL_KEY=four\n", 4),
        ("TELL_KEY=\"with spaces\"\n", 11),
        ("TELL_KEY='with # and $HOME'\n", 16),
        ("TELL_KEY=a=b\n", 3),
        ("TELL_KEY=pa$word\n", 7),
        ("TELL_KEY=\n", 0),
        ("TELL_KEY=größe\n", 7),
    ] {
        let bench = Bench::new();
        with_file(&bench, content.as_bytes()).expect(0);
        assert_eq!(bench.out("a.out"), length.to_string(), "{content:?}");
    }
}

#[test]
fn what_a_later_option_says_holds() {
    let files = |bench: &Bench| {
        fs::write(bench.path().join("1.env"), "TELL_KEY=1\nSECOND=x\n").expect("a file");
        fs::write(bench.path().join("2.env"), "TELL_KEY=22\n").expect("a file");
        ["1.env", "2.env"].map(|name| bench.path().join(name).display().to_string())
    };
    let length = |more: &dyn Fn(&[String; 2]) -> Vec<String>| {
        let bench = Bench::new();
        bench.add("a.txt", "length");
        let files = files(&bench);
        finish(bench.serve(&guest("tell"), &["--once"]).args(more(&files))).expect(0);
        bench.out("a.out")
    };
    let args = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    // Of two files the later one; and the command line before all files.
    assert_eq!(length(&|f| args(&["--env-file", &f[0], "--env-file", &f[1]])), "2");
    assert_eq!(length(&|f| args(&["--env-file", &f[1], "--env-file", &f[0]])), "1");
    assert_eq!(length(&|f| args(&["--env-file", &f[0], "--env", "TELL_KEY=333"])), "3");
    assert_eq!(length(&|f| args(&["--env", "TELL_KEY=333", "--env-file", &f[0]])), "3");
}

#[test]
fn a_file_that_cannot_be_read_is_refused_without_its_content() {
    for content in [
        format!("{SECRET}\n"),
        format!("TELL_KEY {SECRET}\n"),
        format!("TELL_KEY=\"{SECRET}\n"),
        format!("TELL_KEY='{SECRET}\n"),
        format!("TELL_KEY=\"a\"{SECRET}\" b\n"),
        format!("TELL KEY={SECRET}\n"),
        format!("={SECRET}\n"),
        format!("TELL_KEY=good\n{SECRET}\n"),
        format!("1{SECRET}=x\n"),
        format!("{{\"TELL_KEY\": \"{SECRET}\"}}\n"),
    ] {
        let bench = Bench::new();
        let done = with_file(&bench, content.as_bytes()).expect(2);
        let done = done.says("--env-file").says("secrets.env");
        assert!(!done.stderr.contains(SECRET), "{content:?}: {}", done.stderr);
        assert!(!done.stderr.contains("panicked"), "{content:?}: {}", done.stderr);
        assert_eq!(fs::read_dir(bench.output()).expect("out").count(), 0, "{content:?}");
    }
    let bench = Bench::new();
    let bytes = [b"TELL_KEY=\xff\xfe", SECRET.as_bytes(), b"\n"].concat();
    let done = with_file(&bench, &bytes).expect(2).says("secrets.env");
    assert!(!done.stderr.contains(SECRET), "{}", done.stderr);
    // One that is missing, and one that is a directory.
    for name in ["missing.env", "in"] {
        let file = bench.path().join(name);
        let mut command = bench.serve(&guest("tell"), &["--once"]);
        let done = finish(command.arg("--env-file").arg(&file)).expect(2);
        done.says("--env-file").says(name);
    }
    assert_eq!(fs::read_dir(bench.output()).expect("out").count(), 0);
}

#[test]
fn a_wrong_command_line_is_not_repeated_with_its_values() {
    let bench = Bench::new();
    bench.add("a.txt", "length");
    let given = format!("TELL_KEY={SECRET}");
    let as_one = format!("--env=TELL_KEY={SECRET}");
    let nameless = format!("--env=={SECRET}");
    for more in [
        &["--env", &*given, "--bogus"][..],
        &["--env", &given, "--retries", "many"],
        &["--env", &given, "stray"],
        &["--env", &given, "--param", "x"],
        &["--env", &given, "--param", "x=y"],
        &[&as_one, "--bogus"],
        &[&as_one, "--env", "NOT_SET_ANYWHERE"],
        &["--bogus", "--env", &given],
        &[&nameless],
    ] {
        let done = finish(bench.serve(&guest("tell"), &["--once"]).args(more)).expect(2);
        assert!(!done.stderr.contains(SECRET), "{more:?}: {}", done.stderr);
        assert!(!bench.has(".tigerflow"), "{more:?}");
    }
    // Where `run` itself cannot be told.
    for arguments in [
        &["run", "missing.wasm", "--env", &*given][..],
        &["run", "--env", &given],
        &["status", "--env", &given],
        &["--env", &given],
    ] {
        let done = finish(host().args(arguments)).expect(2);
        assert!(!done.stderr.contains(SECRET), "{arguments:?}: {}", done.stderr);
    }
    let done = finish(bench.serve(&guest("tell"), &["--once"]).args(["--env", "NOT_SET_ANYWHERE"]));
    done.expect(2).says("NOT_SET_ANYWHERE").says("export");
}

#[test]
fn the_command_line_that_would_work_has_no_values() {
    let bench = Bench::new();
    bench.add("a.txt", "x");
    let given = format!("--env=OTHER={SECRET}");
    for more in [&[&*given][..], &["--env", &given[6..]]] {
        let mut command = bench.serve(&guest("single"), &["--once"]);
        let done = finish(command.args(more)).expect(2).says("the task single needs more");
        assert!(!done.stderr.contains(SECRET), "{}", done.stderr);
        let line = done.stderr.lines().find(|line| line.contains(" run ")).expect("a command line");
        assert!(line.contains("OTHER=…"), "{line}");
        assert!(line.contains("--env SINGLE_KEY") && line.contains("--dir HOST_DIR::/notes:rw"));
    }
}
