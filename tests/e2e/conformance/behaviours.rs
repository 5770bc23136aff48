//! The list.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use rustix::process::Signal;
use serde_json::{Value, json};
use tigerflow_test_server::TestServer;
use tigerflow_tests::{Bench, finish, host, wait_until};

use super::{Behaviour, Subject};
use crate::live::Live;

pub const BEHAVIOURS: &[Behaviour] = &[
    Behaviour {
        name: "describe",
        title: "describes itself: name, version, summary, parameters, grants, its own defaults",
        check: describe,
    },
    Behaviour {
        name: "context",
        title: "`setup` once in each instance; its context is kept",
        check: context,
    },
    Behaviour { name: "params", title: "parameters of every type, with defaults", check: params },
    Behaviour {
        name: "bad-params",
        title: "values that do not fit are refused before anything runs",
        check: bad_params,
    },
    Behaviour {
        name: "setup-fails",
        title: "an error in `setup` ends the run, in the task's own words",
        check: setup_fails,
    },
    Behaviour {
        name: "fail",
        title: "an error of the task's own type, with its causes",
        check: fail,
    },
    Behaviour { name: "io", title: "an error of the language's own library, as it is", check: io },
    Behaviour { name: "transient", title: "errors worth another try, and when", check: transient },
    Behaviour { name: "abort", title: "declines a file", check: abort },
    Behaviour {
        name: "panic",
        title: "a mistake (panic, uncaught exception, trap) costs one file",
        check: mistake,
    },
    Behaviour { name: "exit", title: "so does leaving the program", check: exit },
    Behaviour { name: "loop", title: "an endless loop is stopped", check: endless },
    Behaviour { name: "memory", title: "a memory bomb is stopped", check: memory },
    Behaviour {
        name: "names",
        title: "unicode, spaces, line breaks and bytes that are no text in file names",
        check: names,
    },
    Behaviour { name: "empty", title: "no output, an empty output, an empty input", check: empty },
    Behaviour { name: "bytes", title: "all bytes, whole files at once", check: bytes },
    Behaviour {
        name: "stream",
        title: "a file of 100 MB, streamed within its memory limit",
        check: stream,
    },
    Behaviour {
        name: "stdio",
        title: "stdout is the host's; the end of stderr goes into the `.err`",
        check: stdio,
    },
    Behaviour { name: "log", title: "log lines with their level", check: log },
    Behaviour { name: "progress", title: "progress on a file", check: progress },
    Behaviour {
        name: "grants",
        title: "granted directories and variables, and no others",
        check: grants,
    },
    Behaviour { name: "http", title: "HTTP requests", check: http },
    Behaviour {
        name: "teardown",
        title: "`teardown` when the run is told to end",
        check: teardown,
    },
];

fn describe(subject: &Subject) {
    let done = finish(host().arg("inspect").arg(&subject.component).arg("--json")).expect(0);
    let told: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(told["name"], subject.task());
    assert_eq!(told["version"], "1.2.3");
    assert_eq!(told["summary"], "Does what the first line of each input says");
    let help = finish(host().arg("run").arg(&subject.component).arg("--help")).expect(0).stdout;
    let lines = [
        "A text that must be given",
        "A text [default: untitled]",
        "A whole number [default: 3]",
        "A number [default: 0.5]",
        "A switch",
        "One of two [default: fast]",
        "A text that may be missing",
        "fast",
        "careful",
    ];
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = words(&help);
    for line in lines {
        assert!(help.contains(line), "`{line}` is missing in {help}");
    }
    let text = done.stdout;
    for part in ["/gate", "waits for /gate/open", "SETTING", "is shown", "10m"] {
        assert!(text.contains(part), "`{part}` is missing in {text}");
    }
    assert_eq!(told["max_concurrency"], Value::Null);
    assert_eq!(told["grants"].as_array().map(Vec::len), Some(2), "{text}");
}

fn context(subject: &Subject) {
    let bench = Bench::new();
    for name in ["a.txt", "b.txt", "c.txt"] {
        bench.add(name, "context");
    }
    subject.run(&bench, &["--concurrency-limit", "1"]).expect(0);
    let mut said: Vec<String> = ["a.out", "b.out", "c.out"].map(|name| bench.out(name)).into();
    said.sort();
    assert_eq!(said, [1, 2, 3].map(|run| format!("setup 1, run {run}, tag x")));
}

fn params(subject: &Subject) {
    let defaults =
        "tag=x\ntitle=untitled\ncount=3\nratio=0.5\nloud=false\nmode=fast\nnote=(none)\n";
    assert_eq!(subject.makes("params", &[]), defaults);
    let given = [
        "--title",
        "größer = 100 %",
        "--count",
        "-9007199254740993",
        "--ratio",
        "-2.25",
        "--loud",
        "--mode",
        "careful",
        "--note",
        "",
    ];
    assert_eq!(
        subject.makes("params", &given),
        "tag=x\ntitle=größer = 100 %\ncount=-9007199254740993\nratio=-2.25\nloud=true\nmode=careful\nnote=\n"
    );
}

fn bad_params(subject: &Subject) {
    let bench = Bench::new();
    bench.add("a.txt", "params");
    bench.run(&subject.component, &[]).expect(2).says("--tag");
    for (name, value) in [
        ("--count", "3.5"),
        ("--ratio", "half"),
        ("--mode", "slow"),
        ("--count", "9223372036854775808"),
    ] {
        let done = subject.run(&bench, &[name, value]).expect(2);
        assert!(done.stderr.contains(value) && done.stderr.contains(name), "{}", done.stderr);
    }
    assert_eq!(bench.names(), [""; 0]);
}

fn setup_fails(subject: &Subject) {
    let bench = Bench::new();
    bench.add("a.txt", "echo");
    let done = bench.run(&subject.component, &["--tag", "fail"]).expect(4);
    let done = done.says("setup was told to fail");
    assert!(done.stderr.contains("TooBad"), "{}", done.stderr);
    assert_eq!(bench.names(), [""; 0]);
}

fn fail(subject: &Subject) {
    let error = subject.fails("fail Too much ☂", &[]);
    assert_eq!(error["outcome"], "failed");
    assert_eq!(error["exception_type"], "TooBad");
    // Rust's says the causes, too.
    assert!(error["message"].as_str().is_some_and(|m| m.starts_with("Too much ☂")), "{error}");
    assert!(error["traceback"].as_str().is_some_and(|t| t.contains("the cause of it")), "{error}");
}

fn io(subject: &Subject) {
    let error = subject.fails("io", &[]);
    assert_eq!(error["exception_type"], subject.language.missing_file);
    assert!(
        error.to_string().contains("there-is-none") || subject.language.name == "rust",
        "{error}"
    );
}

fn transient(subject: &Subject) {
    let bench = Bench::new();
    bench.add("a.txt", "transient 50");
    let more = ["--concurrency-limit", "1", "--retries", "1", "--retry-delay", "1h"];
    subject.run(&bench, &more).expect(0);
    assert_eq!(bench.out("a.out"), "run again");
    let attempts = bench.attempts(&subject.task(), "a.txt");
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert!(attempts[0].to_string().contains("come again"), "{attempts:?}");
}

fn abort(subject: &Subject) {
    let bench = Bench::new();
    bench.add("a.txt", "abort not today");
    subject.run(&bench, &[]).expect(0);
    let error = bench.err("a.err");
    assert_eq!((&error["outcome"], &error["message"]), (&json!("aborted"), &json!("not today")));
}

fn mistake(subject: &Subject) {
    let bench = Bench::new();
    bench.add("a.txt", "panic").add("b.txt", "echo\nwell").add("c.txt", "echo\nwell");
    subject.run(&bench, &["--concurrency-limit", "1"]).expect(3);
    assert_eq!([bench.out("b.out"), bench.out("c.out")], ["well"; 2]);
    let error = bench.err("a.err");
    assert_eq!(error["exception_type"], subject.language.mistake, "{error}");
    assert!(
        error.to_string().contains("this is a mistake") || subject.language.name == "c",
        "{error}"
    );
}

fn exit(subject: &Subject) {
    let bench = Bench::new();
    bench.add("a.txt", "exit").add("b.txt", "echo\nwell").add("c.txt", "echo\nwell");
    subject.run(&bench, &["--concurrency-limit", "1"]).expect(3);
    assert_eq!([bench.out("b.out"), bench.out("c.out")], ["well"; 2]);
    let error = bench.err("a.err");
    assert_eq!(error["exception_type"], "Exit", "{error}");
}

fn endless(subject: &Subject) {
    let bench = Bench::new();
    bench.add("a.txt", "loop").add("b.txt", "echo\nwell");
    let more = ["--concurrency-limit", "1", "--timeout", "1s"];
    subject.run(&bench, &more).expect(3);
    assert_eq!(bench.out("b.out"), "well");
    assert_eq!(bench.err("a.err")["exception_type"], "Timeout");
}

fn memory(subject: &Subject) {
    let bench = Bench::new();
    bench.add("a.txt", "memory").add("b.txt", "echo\nwell");
    let more = ["--concurrency-limit", "1", "--memory-limit", subject.language.memory_limit];
    subject.run(&bench, &more).expect(3);
    assert_eq!(bench.out("b.out"), "well");
    let error = bench.err("a.err");
    assert_eq!(error["exception_type"], "MemoryLimit", "{error}");
}

fn names(subject: &Subject) {
    let bench = Bench::new();
    let names = [
        "größe ☂ 名前",
        " - two  spaces",
        "line\nbreak",
        "-x --y",
        "a\\b\"c'd",
        "a.b.c",
        "e\u{301}",
    ];
    for name in names {
        bench.add(format!("{name}.txt"), "names");
    }
    let odd = OsStr::from_bytes(b"no\xfftext.txt");
    bench.add(odd, "names");
    subject.run(&bench, &[]).expect(0);
    for name in names {
        assert_eq!(bench.out(format!("{name}.out")), format!("{name}.txt\n{name}.out"));
    }
    assert_eq!(
        bench.out(OsStr::from_bytes(b"no\xfftext.out")),
        "no\u{fffd}text.txt\nno\u{fffd}text.out"
    );
}

fn empty(subject: &Subject) {
    let bench = Bench::new();
    bench.add("a.txt", "nothing").add("b.txt", "empty").add("c.txt", "echo\n").add("d.txt", "");
    subject.run(&bench, &[]).expect(3);
    assert_eq!(["a.out", "b.out", "c.out"].map(|name| bench.out(name)), [""; 3]);
    // A word that it does not know.
    assert_eq!(bench.names(), ["a.out", "b.out", "c.out", "d.err"]);
}

fn bytes(subject: &Subject) {
    let bench = Bench::new();
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    bench.add("a.txt", [&b"echo\n"[..], &all].concat());
    subject.run(&bench, &[]).expect(0);
    assert!(fs::read(bench.output().join("a.out")).expect("an output") == all);
}

fn stream(subject: &Subject) {
    let bench = Bench::new();
    let block: Vec<u8> =
        (0..1_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut input = fs::File::create(bench.input().join("a.txt")).expect("an input");
    input.write_all(b"copy\n").expect("written");
    for _ in 0..100 {
        input.write_all(&block).expect("written");
    }
    subject.run(&bench, &["--memory-limit", "64M"]).expect(0);
    let [input, output] = [bench.input().join("a.txt"), bench.output().join("a.out")]
        .map(|path| fs::read(path).expect("a file"));
    assert!(input == output, "{} of {} bytes", output.len(), input.len());
}

fn stdio(subject: &Subject) {
    let bench = Bench::new();
    bench.add("a.txt", "stdout").add("b.txt", "stderr it is over");
    let done = subject.run(&bench, &["--concurrency-limit", "1"]).expect(3);
    assert!(done.stdout.lines().any(|line| line == "on stdout"), "{}", done.stdout);
    let error = bench.err("b.err");
    assert!(error["message"].as_str().is_some_and(|m| m.starts_with("it is over")), "{error}");
    let stderr = error["stderr"].as_str().expect("text");
    assert!(stderr.contains("line 999\nline 1000"), "{stderr}");
}

fn log(subject: &Subject) {
    let bench = Bench::new();
    bench.add("a.txt", "log");
    let done = subject.run(&bench, &["-vv"]).expect(0);
    for (level, word) in [
        ("TRACE", "at trace"),
        ("DEBUG", "at debug"),
        ("INFO", "at info"),
        ("WARNING", "at warn"),
        ("ERROR", "at error"),
    ] {
        let line = done.stderr.lines().find(|line| line.ends_with(word));
        let line = line.unwrap_or_else(|| panic!("{word} is missing:\n{}", done.stderr));
        assert!(line.contains(&format!("| {level}")) && line.contains("a.txt"), "{line}");
    }
    fs::remove_file(bench.output().join("a.out")).expect("removed");
    let done = subject.run(&bench, &[]).expect(0);
    assert!(
        !done.stderr.contains("at debug") && done.stderr.contains("at info"),
        "{}",
        done.stderr
    );
}

fn progress(subject: &Subject) {
    let bench = Bench::new();
    let gate = bench.path().join("gate");
    fs::create_dir(&gate).expect("a directory");
    bench.add("a.txt", "progress");
    let dir = format!("{}::/gate:ro", gate.display());
    let more = ["--tag", "x", "--settle", "0", "--dir", &dir];
    let live = Live::start(&bench, &mut bench.serve(&subject.component, &more));
    wait_until("the fraction shows", || bench.status()["in_flight"][0]["fraction"] == 0.25);
    fs::write(gate.join("open"), "").expect("a file");
    wait_until("it is done", || bench.has("a.out"));
    live.signal(Signal::TERM);
    live.wait().expect(143);
}

fn grants(subject: &Subject) {
    let bench = Bench::new();
    let gate = bench.path().join("gate");
    fs::create_dir(&gate).expect("a directory");
    fs::write(gate.join("word"), "from the gate").expect("a file");
    bench
        .add("a.txt", "env SETTING")
        .add("b.txt", "env HOME")
        .add("c.txt", "read /gate/word")
        .add("d.txt", "write /gate/new\nno")
        .add("e.txt", "read /etc/hostname")
        .add("f.txt", "write /input/new\nno");
    let dir = format!("{}::/gate:ro", gate.display());
    subject.run(&bench, &["--env", "SETTING=two words", "--dir", &dir]).expect(3);
    let read = ["a.out", "b.out", "c.out"].map(|name| bench.out(name));
    assert_eq!(read, ["two words", "(none)", "from the gate"]);
    assert!(!gate.join("new").exists() && !bench.input().join("new").exists());
    for name in ["d.err", "e.err", "f.err"] {
        assert_eq!(bench.err(name)["outcome"], "failed");
    }
}

fn http(subject: &Subject) {
    let server = TestServer::start();
    let bench = Bench::new();
    let url = |path: &str| format!("http {}{path}", server.http_url());
    bench.add("a.txt", url("/echo?two=3")).add("b.txt", url("/status/404"));
    let allow = format!("127.0.0.1:{}", server.http_port());
    subject.run(&bench, &["--allow-host", &allow]).expect(3);
    assert!(bench.out("a.out").contains("two=3"), "{}", bench.out("a.out"));
    let message = bench.err("b.err")["message"].to_string();
    assert!(message.contains("404"), "{message}");
    // What comes back soon is worth another try.
    let flaky = Bench::new();
    flaky.add("a.txt", url("/flaky?fails=1&status=503&retry-after=0"));
    subject.run(&flaky, &["--allow-host", &allow, "--retries", "1"]).expect(0);
    // A server that was not granted.
    let other = Bench::new();
    other.add("a.txt", url("/echo?two=3"));
    subject.run(&other, &[]).expect(3);
    assert_eq!(server.requests().len(), 4);
}

fn teardown(subject: &Subject) {
    let bench = Bench::new();
    bench.add("a.txt", "echo\n1").add("b.txt", "fail now");
    let more = ["--tag", "x", "--settle", "0", "--concurrency-limit", "1"];
    let live = Live::start(&bench, &mut bench.serve(&subject.component, &more));
    wait_until("both are done", || bench.has("a.out") && bench.has("b.err"));
    live.signal(Signal::TERM);
    let done = live.wait().expect(143);
    let said: Vec<&str> = done.stdout.lines().filter(|line| line.starts_with("teardown")).collect();
    assert_eq!(said, ["teardown after 2 runs"], "{}", done.stdout);
}
