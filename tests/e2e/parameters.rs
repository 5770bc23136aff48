//! A task's parameters are options of the command line, and what it says of
//! itself is checked before anything is done.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tigerflow_tests::{Bench, Done, finish, guest, host, plugin};

/// `run OPTIONS` on one file, to its end.
fn options(bench: &Bench, more: &[&str]) -> Done {
    bench.add("a.txt", "x");
    bench.run(&guest("options"), more)
}

/// Fails unless this ends with 2 and these words, before any file is touched.
#[track_caller]
fn assert_refused(done: Done, bench: &Bench, words: &[&str]) {
    let mut done = done.expect(2);
    for word in words {
        done = done.says(word);
    }
    // The host itself did not panic; the task may have.
    assert!(!done.stderr.contains("thread '"), "{}", done.stderr);
    assert_eq!(done.stdout, "", "the task was set up");
    assert_eq!(bench.names(), [""; 0]);
    assert!(!bench.has(".tigerflow"), "a workspace was made");
}

fn inspect(component: &Path) -> Command {
    let mut command = host();
    command.arg("inspect").arg(component);
    command
}

#[test]
fn help_shows_the_parameters() {
    for help in ["--help", "-h"] {
        let done = finish(host().arg("run").arg(guest("options")).arg(help)).expect(0);
        // However the lines are broken.
        let text = done.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        for words in [
            "options 3.2.1: Writes the parameters that it received",
            "Parameters of the task:",
            "--greeting <TEXT>",
            "Words to put before each text [default: Hello]",
            "--times <INTEGER>",
            "How often to say it [required]",
            "--volume <NUMBER>",
            "How loud to say it [optional]",
            "--polite[=<true|false>]",
            "Whether to say it politely [default: false]",
            "--letters <CHOICE>",
            "[possible values: small, extra-large]",
            "In which letters [default: small]",
            // The host's own options are there, too.
            "--input-dir <DIR>",
        ] {
            assert!(text.contains(words), "{help}: `{words}` is missing:\n{}", done.stdout);
        }
    }
    // The task's own default of an option, and no other beside it.
    let done = finish(host().arg("run").arg(guest("options")).arg("--help")).expect(0);
    let of_timeout = done.stdout.split("--timeout <DURATION>").nth(1).expect("--timeout");
    let of_timeout = of_timeout.split("--setup-timeout").next().expect("some text");
    assert!(of_timeout.contains("[default: 5m]"), "{of_timeout}");
    assert!(!of_timeout.contains("no limit]"), "{of_timeout}");
}

#[test]
fn help_of_a_task_without_parameters_has_no_such_heading() {
    let done = finish(host().arg("run").arg(guest("upper")).arg("--help")).expect(0);
    assert!(!done.stdout.contains("Parameters of the task"), "{}", done.stdout);
}

#[test]
fn values_arrive_by_option_by_name_and_by_default() {
    for (more, expected) in [
        (&["--times", "3"][..], "\"Hello\" 3 None false small"),
        (
            &["--times=3", "--greeting", "Hi you", "--volume", "0.5", "--polite"],
            "\"Hi you\" 3 Some(0.5) true small",
        ),
        (
            &["--param", "times=3", "--param", "greeting=a=b", "--param", "polite=true"],
            "\"a=b\" 3 None true small",
        ),
        (
            &[
                "--polite=false",
                "--param",
                "volume=-1e3",
                "--times",
                "0",
                "--letters",
                "extra-large",
            ],
            "\"Hello\" 0 Some(-1000.0) false extra-large",
        ),
        (&["--greeting=", "--times", "255"], "\"\" 255 None false small"),
        (&["--greeting=-x", "--volume", "-2", "--times", "1"], "\"-x\" 1 Some(-2.0) false small"),
        (&["--greeting", "Grüß dich\n", "--times", "1"], "\"Grüß dich\\n\" 1 None false small"),
        (&["--param", "letters=extra-large", "--times", "1"], "\"Hello\" 1 None false extra-large"),
        (&["--polite", "--times", "1"], "\"Hello\" 1 None true small"),
    ] {
        let bench = Bench::new();
        options(&bench, more).expect(0);
        assert_eq!(bench.out("a.out"), expected, "{more:?}");
    }
}

#[test]
fn mistakes_are_refused_before_anything_is_done() {
    for (more, words) in [
        (&[][..], &["times", "missing", "How often to say it", "--times"][..]),
        (&["--times", "x"], &["--times", "'x'", "whole number"]),
        (&["--times", "1.5"], &["--times", "whole number"]),
        (&["--times", "99999999999999999999"], &["--times", "whole number"]),
        (&["--times", ""], &["--times"]),
        (&["--times"], &["--times", "value"]),
        (&["--param", "times=x"], &["times", "`x`", "whole number"]),
        (&["--times", "1", "--volume", "loud"], &["--volume", "number is expected"]),
        (&["--times", "1", "--polite=maybe"], &["--polite", "`true` or `false`"]),
        (&["--times", "1", "--param", "polite"], &["--param", "NAME=VALUE"]),
        (&["--times", "1", "--letters", "medium"], &["--letters", "small, extra-large"]),
        (&["--times", "1", "--param", "letters=medium"], &["letters", "small, extra-large"]),
        (&["--times", "1", "--tims", "2"], &["--tims", "--times"]),
        (&["--times", "1", "--param", "tims=2"], &["tims", "times"]),
        (&["--times", "1", "--times", "1"], &["--times"]),
        (&["--times", "1", "--param", "times=1"], &["`times` is given twice"]),
        (&["--param", "times=1", "--param", "times=1"], &["`times` is given twice"]),
        (&["--times", "1", "stray"], &["stray"]),
    ] {
        let bench = Bench::new();
        assert_refused(options(&bench, more), &bench, words);
    }
}

#[test]
fn a_value_that_the_task_itself_refuses_stops_the_run() {
    // The interface has no ranges: the SDK checks a `u8` in `setup`.
    let bench = Bench::new();
    options(&bench, &["--times", "256"]).expect(4).says("`times` must be from 0 to 255, not 256");
    assert_eq!(bench.names(), [""; 0]);
}

#[test]
fn a_parameter_that_clashes_with_an_option_is_refused() {
    let bench = Bench::new();
    bench.add("a.txt", "x");
    for more in [&[][..], &["--timeout", "3s"], &["--param", "timeout=3s"]] {
        let words = ["`timeout`", "clashes", "--timeout", "rename"];
        assert_refused(bench.run(&guest("clash"), more), &bench, &words);
    }
    // One may look at it, and is told.
    let done = finish(&mut inspect(&guest("clash"))).expect(0).says("clashes");
    assert!(done.stdout.contains("--timeout TEXT"), "{}", done.stdout);
}

#[test]
fn a_malformed_description_is_refused() {
    let bench = Bench::new();
    bench.add("a.txt", "x");
    let words = ["malformed.wasm", "../Malformed", "kebab-case", "count-words"];
    assert_refused(bench.run(&guest("malformed"), &[]), &bench, &words);
    finish(&mut inspect(&guest("malformed"))).expect(2).says("kebab-case");
    finish(host().arg("run").arg(guest("malformed")).arg("--help")).expect(2).says("kebab-case");
}

#[test]
fn a_task_that_cannot_describe_itself_is_refused() {
    for (name, words) in [
        ("mute", ["mute.wasm", "I would rather not say", "mute.rs:"]),
        ("stuck", ["stuck.wasm", "`describe`", "10s"]),
    ] {
        let bench = Bench::new();
        bench.add("a.txt", "x");
        let component = if name == "mute" { guest("mute") } else { guest("stuck") };
        assert_refused(bench.run(&component, &[]), &bench, &words);
    }
}

#[test]
fn a_task_has_its_own_defaults_for_options_and_the_command_line_wins() {
    let bench = Bench::new();
    bench.add("a.txt", "0").add("b.txt", "20000");
    bench.run(&guest("impatient"), &[]).expect(3).says("1 succeeded, 0 failed, 1 timed out");
    let error = bench.err("b.err");
    assert_eq!(error["exception_type"], "Timeout");
    assert!(error["message"].as_str().is_some_and(|m| m.contains("500ms")), "{error:#}");

    let bench = Bench::new();
    bench.add("a.txt", "800").add("b.txt", "800");
    let done = bench.run(&guest("impatient"), &["--timeout", "60s"]).expect(0);
    // Its default of one file in flight still holds…
    assert_eq!(done.stdout.matches("setup").count(), 1);

    let bench = Bench::new();
    bench.add("a.txt", "800").add("b.txt", "800");
    let more = ["--timeout", "60s", "--concurrency-limit", "2"];
    let done = bench.run(&guest("impatient"), &more).expect(0);
    // …and this one is a default, not a limit of the task.
    assert_eq!(done.stdout.matches("setup").count(), 2);
}

#[test]
fn missing_grants_are_named_with_a_command_line_that_works() {
    let bench = Bench::new();
    bench.add("a.txt", "x");
    let words = [
        "the task single needs more",
        "--dir HOST_DIR::/notes:rw   Notes its calls there",
        "--env SINGLE_KEY   Signs its notes with it",
    ];
    let done = bench.run(&guest("single"), &[]);
    assert_eq!(done.code, 2, "{}", done.stderr);
    // As a shell would read it, with a directory of one's own.
    let line = done.stderr.lines().find(|line| line.contains(" run ") && line.contains("--dir"));
    let line = line
        .expect("a command line")
        .replace("HOST_DIR", &bench.path().join("in").display().to_string());
    assert_refused(done, &bench, &words);
    let mut shell = Command::new("sh");
    finish(shell.arg("-c").arg(&line).env("SINGLE_KEY", "x"))
        .expect(0)
        .says("1 succeeded, 0 failed");
    assert_eq!(bench.out("a.out"), "x");
}

#[test]
fn a_grant_for_reading_is_none_for_writing() {
    let bench = Bench::new();
    bench.add("a.txt", "x");
    let option = format!("{}::/notes", bench.input().display());
    let more = ["--dir", &option, "--env", "SINGLE_KEY=x"];
    assert_refused(bench.run(&guest("single"), &more), &bench, &["/notes:rw"]);
}

#[test]
fn inspect_shows_all_of_it() {
    let done = finish(&mut inspect(&guest("options"))).expect(0);
    let (text, lines) = (&done.stdout, done.stdout.lines());
    let has = |start: &str, rest: &str| {
        assert!(
            lines.clone().any(|line| line.starts_with(start) && line.contains(rest)),
            "no `{start} … {rest}` in:\n{text}"
        );
    };
    has("task ", "options 3.2.1");
    has("summary ", "Writes the parameters that it received");
    has("interface ", "tigerflow:task/task@0.1.0");
    has("digest ", "sha256 ");
    has("concurrency ", "7 files at a time at most");
    has("parameters ", "--greeting TEXT   Words to put before each text [default: Hello]");
    has(" ", "--times INTEGER   How often to say it [required]");
    has(" ", "--volume NUMBER   How loud to say it [optional]");
    has(" ", "--polite true|false   Whether to say it politely [default: false]");
    has(" ", "--letters small|extra-large   In which letters [default: small]");
    has("grants ", "--dir HOST_DIR::/words:ro   Looks words up there [optional]");
    has(" ", "--env LANGUAGE   Speaks it [optional]");
    has("defaults ", "--timeout 5m");
    has("", "wasi:filesystem/types@0.2");
    assert_eq!(done.stderr, "");

    let single = finish(&mut inspect(&guest("single"))).expect(0).stdout;
    assert!(single.contains("1 file at a time"), "{single}");
    assert!(single.contains("--dir HOST_DIR::/notes:rw   Notes its calls there [required]"));
    let upper = finish(&mut inspect(&guest("upper"))).expect(0).stdout;
    assert!(upper.contains("as many files at a time as asked for"), "{upper}");
}

#[test]
fn inspect_as_json_is_for_programs() {
    let component = guest("options");
    let done = finish(inspect(&component).arg("--json")).expect(0);
    let report: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(report["name"], "options");
    assert_eq!(report["version"], "3.2.1");
    assert_eq!(report["summary"], "Writes the parameters that it received");
    assert_eq!(report["interface"], "task@0.1.0");
    assert_eq!(report["max_concurrency"], 7);
    assert_eq!(report["option_defaults"], json!([["timeout", "5m"]]));
    assert_eq!(report["path"], component.to_str().expect("UTF-8"));
    let parameters = report["parameters"].as_array().expect("a list");
    let brief: Vec<Value> = parameters
        .iter()
        .map(|p| json!([p["name"], p["type"], p["default"], p["required"], p["choices"]]))
        .collect();
    let none = Value::Null;
    assert_eq!(
        brief,
        [
            json!(["greeting", "text", "Hello", false, none]),
            json!(["times", "integer", none, true, none]),
            json!(["volume", "number", none, false, none]),
            json!(["polite", "boolean", false, false, none]),
            json!(["letters", "choice", "small", false, ["small", "extra-large"]]),
        ]
    );
    assert_eq!(parameters[1]["help"], "How often to say it");
    let expected = json!([
        {"kind": "directory", "guest_path": "/words", "writable": false, "required": false,
         "reason": "Looks words up there"},
        {"kind": "environment", "name": "LANGUAGE", "required": false, "reason": "Speaks it"},
    ]);
    assert_eq!(report["grants"], expected);
    assert_eq!(report["exports"], json!(["tigerflow:task/task@0.1.0"]));
    assert!(report["imports"].as_array().is_some_and(|all| all.len() > 3), "{report:#}");
    let digest = report["digest"].as_str().expect("a digest");
    let sum = finish(Command::new("sha256sum").arg(&component)).expect(0).stdout;
    assert_eq!(sum.split(' ').next(), Some(digest));
}

#[test]
fn inspect_shows_every_plugin() {
    for (name, summary) in [
        ("hello", "Greets"),
        ("count-words", "Counts"),
        ("thumbnail", "Makes a small picture"),
        ("ingest", ""),
    ] {
        let done = finish(inspect(&plugin(name)).arg("--json")).expect(0);
        let report: Value = serde_json::from_str(&done.stdout).expect("JSON");
        assert_eq!(report["name"], name);
        assert!(report["summary"].as_str().is_some_and(|s| s.starts_with(summary)), "{report:#}");
        assert_eq!(done.stderr, "", "no clash with an option of the host");
    }
}
