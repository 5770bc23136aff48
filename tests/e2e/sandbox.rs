//! The guest reaches what was granted, and nothing else.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use tigerflow_tests::{Bench, Done, finish, guest, host, wait_until};

use crate::live::Live;

/// What came of each attempt that a report tells of: the line, and what was
/// reached or `None`.
fn results(report: &str) -> Vec<(&str, Option<&str>)> {
    report
        .lines()
        .map(|line| match line.split_once(": reached ") {
            Some((attempt, what)) => (attempt, Some(what.trim_matches('"'))),
            None => (line.split_once(": denied (").expect("reached or denied").0, None),
        })
        .collect()
}

/// Fails unless each of these attempts was made, and denied.
#[track_caller]
fn assert_denied(report: &str, attempts: &[&str]) {
    let results = results(report);
    assert_eq!(results.len(), attempts.len(), "{report}");
    let reached: Vec<_> = results.iter().filter(|(_, what)| what.is_some()).collect();
    assert!(reached.is_empty(), "out of the sandbox: {reached:#?}");
    // An attempt that the guest does not know is no attempt.
    assert!(!report.contains("no such attempt"), "{report}");
}

/// Fails unless each of these attempts reached this.
#[track_caller]
fn assert_reached(report: &str, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(attempt, what)| (*attempt, Some(*what))).collect();
    assert_eq!(results(report), expected, "{report}");
}

/// Makes the attempts, and returns the report.
#[track_caller]
fn report(bench: &Bench, attempts: &[&str], more: &[&str]) -> String {
    bench.add("a.txt", attempts.join("\n"));
    bench.run(&guest("reach"), more).expect(0);
    bench.out("a.out")
}

/// A place with something beside the input directory that is not to be reached,
/// and something in it that is not to be changed.
fn place() -> Bench {
    let bench = Bench::new();
    fs::write(bench.path().join("secret"), "the secret").expect("a secret");
    fs::create_dir(bench.path().join("beside")).expect("a directory");
    fs::write(bench.path().join("beside/secret"), "the secret").expect("a secret");
    bench.add("victim.dat", "precious");
    fs::create_dir(bench.input().join("empty")).expect("a directory");
    bench
}

#[test]
fn files_beyond_the_input_are_not_reached() {
    let bench = place();
    let inside = bench.input();
    symlink("../secret", inside.join("link")).expect("a link");
    symlink("/etc/passwd", inside.join("absolute")).expect("a link");
    symlink("..", inside.join("up")).expect("a link");
    symlink("/", inside.join("root")).expect("a link");
    symlink("../beside", inside.join("beside")).expect("a link");
    let secret = bench.path().join("secret").display().to_string();
    let attempts = [
        "read /etc/passwd",
        "read etc/passwd",
        "read ../etc/passwd",
        &format!("read {secret}"),
        "stat /etc/passwd",
        "list /",
        "list /etc",
        "list ..",
        "read /input/../secret",
        "read /input/../../../../../../../../etc/passwd",
        "read /input/empty/../../secret",
        "read /output/../../../../../secret",
        "list /input/..",
        "list /output/..",
        "list /output/../..",
        "read /proc/self/environ",
        "read /input/../proc/self/environ",
        // Links that the user made, and that lead out.
        "read /input/link",
        "stat /input/link",
        "read /input/absolute",
        "list /input/up",
        "read /input/up/secret",
        "list /input/root",
        "read /input/root/etc/passwd",
        "list /input/beside",
        "read /input/beside/secret",
        // A link of the guest's own.
        "symlink /etc/passwd /output/passwd",
        "read /output/passwd",
        // What a hostile guest calls.
        "raw-read /input ../secret",
        "raw-read /input /etc/passwd",
        "raw-read /input empty/../../secret",
        "raw-read /input link",
        "raw-read /input up/secret",
        "raw-read /input root/etc/passwd",
        "raw-read /output ../../../../../secret",
        "raw-read /output ../error",
        "raw-stat /input ../secret",
        "raw-stat /output ..",
        "raw-stat /input /etc/passwd",
        "raw-write /output ../../../../planted",
        "raw-write /input up/planted",
    ];
    assert_denied(&report(&bench, &attempts, &[]), &attempts);
    assert!(!bench.path().join("planted").exists());
}

#[test]
fn links_that_the_guest_makes_lead_nowhere() {
    let bench = place();
    let attempts = [
        "symlink ../../../../../secret /output/out",
        "symlink ../../../../.. /output/far",
        "symlink .. /output/up",
        "read /output/out",
        "list /output/far",
        "read /output/far/secret",
        "list /output/up",
        "overwrite /output/up/planted",
        "raw-read /output out",
        "raw-write /output up/planted",
    ];
    let report = report(&bench, &attempts, &[]);
    // Making one is harmless; using it is what counts.
    let reached: Vec<_> =
        results(&report).into_iter().filter(|(_, what)| what.is_some()).map(|(a, _)| a).collect();
    assert!(reached.iter().all(|attempt| attempt.starts_with("symlink ")), "{report}");
    assert_eq!(bench.names(), ["a.out"]);
}

#[test]
fn the_input_directory_is_not_written_to() {
    let bench = place();
    let modified =
        |path: &str| fs::metadata(bench.input().join(path)).expect(path).modified().expect("time");
    let before = (modified("victim.dat"), modified("empty"));
    let attempts = [
        "create /input/planted",
        "overwrite /input/victim.dat",
        "append /input/victim.dat",
        "truncate /input/victim.dat",
        "cut /input/victim.dat",
        "scribble /input/victim.dat",
        "touch /input/victim.dat",
        "touch /input/empty",
        "remove /input/victim.dat",
        "rename /input/victim.dat /input/other.dat",
        "rename /input/victim.dat /output/taken",
        "hardlink /input/victim.dat /output/taken",
        "hardlink /input/victim.dat /input/other.dat",
        "symlink victim.dat /input/planted",
        "mkdir /input/planted",
        "rmdir /input/empty",
        "create /input/empty/planted",
        "overwrite /input/a.txt",
        "remove /input/a.txt",
        "raw-write /input planted",
        "raw-write /input victim.dat",
        "raw-write /input a.txt",
    ];
    assert_denied(&report(&bench, &attempts, &[]), &attempts);
    assert_eq!(
        fs::read_to_string(bench.input().join("victim.dat")).expect("it is there"),
        "precious"
    );
    assert_eq!((modified("victim.dat"), modified("empty")), before);
    let mut left: Vec<_> = fs::read_dir(bench.input())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    left.sort();
    assert_eq!(left, ["a.txt", "empty", "victim.dat"]);
    assert_eq!(
        fs::read_to_string(bench.input().join("a.txt")).expect("a.txt"),
        attempts.join("\n")
    );
}

#[test]
fn what_is_granted_by_default_is_reached() {
    // Without this, a guest that reaches nothing at all would pass every test.
    let bench = place();
    let attempts = [
        ("read /input/victim.dat", "precious"),
        ("raw-read /input victim.dat", "precious"),
        ("stat /input/victim.dat", "8"),
        ("list /input", "a.txt empty victim.dat"),
        ("list /output", ""),
        ("create /output/own", ""),
        ("append /output/own", ""),
        ("read /output/own", "intruderintruder"),
        ("hardlink /output/own /output/hard", ""),
        ("rename /output/own /output/renamed", ""),
        ("touch /output/renamed", ""),
        ("mkdir /output/dir", ""),
        ("symlink ../renamed /output/dir/link", ""),
        ("read /output/dir/link", "intruderintruder"),
        ("remove /output/hard", ""),
        ("raw-write /output raw", ""),
    ];
    let lines: Vec<&str> = attempts.iter().map(|(attempt, _)| *attempt).collect();
    assert_reached(&report(&bench, &lines, &[]), &attempts);
    assert_eq!(bench.names(), ["a.out"]);
}

/// `reach` on an input directory that is, or holds, the output directory.
fn within(bench: &Bench, output: &Path) -> Command {
    let mut command = host();
    command.arg("run").arg(guest("reach")).arg("--input-dir").arg(bench.input());
    command.args(["--input-ext", ".txt", "--output-ext", ".out", "--output-dir"]).arg(output);
    command.args(["--concurrency-limit", "2"]);
    command
}

#[test]
fn a_neighbours_staging_is_not_reached() {
    // The first file holds its slot, with something in staging, while the
    // second one looks for it. Input and output directory are one.
    let bench = place();
    bench.add("1.txt", "create /output/half\nawait /input/2.out");
    let live = Live::start(&bench, within(&bench, &bench.input()).args(["--settle", "0"]));
    let staging = bench.input().join(".tigerflow/reach/staging");
    wait_until("the first file is in the middle of its work", || {
        (0..2).any(|slot| staging.join(format!("{slot}/guest/half")).exists())
    });
    let attempts = [
        "read /output/half",
        "read /output/../../0/guest/half",
        "read /output/../../1/guest/half",
        "list /output/../..",
        "list /input/.tigerflow",
        "list /input/.tigerflow/reach",
        "list /input/.tigerflow/reach/staging",
        "list /input/.tigerflow/reach/staging/0/guest",
        "list /input/.tigerflow/reach/staging/1/guest",
        "read /input/.tigerflow/reach/staging/0/guest/half",
        "read /input/.tigerflow/reach/staging/1/guest/half",
        "stat /input/.tigerflow/reach/staging/0/guest/half",
        "stat /input/.tigerflow/reach/staging/1/guest/half",
        "read /input/./.tigerflow/reach/lock",
        "read /input/empty/../.tigerflow/reach/lock",
        "read /input//.tigerflow//reach/journal.jsonl",
        "stat /input/.tigerflow/reach/lock",
        "raw-read /input .tigerflow/reach/lock",
        "raw-read /input ./.tigerflow/reach/staging/0/guest/half",
        "raw-read /input empty/../.tigerflow/reach/staging/0/guest/half",
        "raw-stat /input .tigerflow/reach/lock",
        "raw-write /input .tigerflow/reach/lock",
        "overwrite /input/.tigerflow/reach/staging/0/guest/half",
        "remove /input/.tigerflow/reach/staging/0/guest/half",
    ];
    bench.add("2.part", attempts.join("\n"));
    fs::rename(bench.input().join("2.part"), bench.input().join("2.txt")).expect("a rename");
    let output = |name: &str| bench.input().join(name);
    wait_until("both are done", || output("1.out").exists() && output("2.out").exists());
    live.signal(Signal::INT);
    live.wait().expect(130);
    assert_denied(&fs::read_to_string(output("2.out")).expect("a report"), &attempts);
    let first = fs::read_to_string(output("1.out")).expect("a report");
    assert_reached(&first, &[("create /output/half", ""), ("await /input/2.out", "")]);
}

#[test]
fn the_workspace_in_a_nested_output_directory_is_not_reached() {
    let bench = place();
    let output = bench.input().join("results");
    let attempts = [
        "list /input/results/.tigerflow",
        "read /input/results/.tigerflow/reach/lock",
        "read /input/results/.tigerflow/reach/journal.jsonl",
        "raw-read /input results/.tigerflow/reach/lock",
        "raw-stat /input results/.tigerflow/reach/lock",
        "create /input/results/planted",
    ];
    bench.add("a.txt", attempts.join("\n"));
    finish(within(&bench, &output).arg("--once")).expect(0);
    assert_denied(&fs::read_to_string(output.join("a.out")).expect("a report"), &attempts);
}

#[test]
fn neither_environment_nor_arguments_nor_stdin_is_reached() {
    let bench = place();
    let attempts = ["env TIGERFLOW_SECRET", "env PATH", "env HOME", "env-all", "args", "stdin"];
    let attempts = [&attempts[..], &["spawn /bin/sh"]].concat();
    bench.add("a.txt", attempts.join("\n"));
    let stdin = fs::File::open(bench.path().join("secret")).expect("a file");
    let mut command = bench.serve(&guest("reach"), &["--once"]);
    finish(command.env("TIGERFLOW_SECRET", "hush").stdin(stdin)).expect(0);
    assert_denied(&bench.out("a.out"), &attempts);
}

#[test]
fn the_network_is_not_reached() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    tcp.set_nonblocking(true).expect("a socket");
    udp.set_nonblocking(true).expect("a socket");
    let bench = place();
    let attempts = [
        &*format!("tcp {}", tcp.local_addr().expect("an address")),
        &*format!("udp {}", udp.local_addr().expect("an address")),
        "tcp 127.0.0.1:22",
        "tcp [::1]:22",
        "listen 127.0.0.1:0",
        "listen 0.0.0.0:0",
        "dns localhost",
        "dns example.org",
    ];
    assert_denied(&report(&bench, &attempts, &[]), &attempts);
    assert!(tcp.accept().is_err(), "somebody connected");
    assert!(udp.recv(&mut [0; 8]).is_err(), "somebody sent a packet");
}

#[test]
fn a_directory_is_granted_for_reading() {
    let bench = place();
    let granted = bench.path().join("beside");
    symlink("../secret", granted.join("link")).expect("a link");
    let option = format!("{}::/beside", granted.display());
    let denied = [
        "create /beside/planted",
        "overwrite /beside/secret",
        "append /beside/secret",
        "remove /beside/secret",
        "touch /beside/secret",
        "mkdir /beside/planted",
        "rename /beside/secret /output/secret",
        "hardlink /beside/secret /output/secret",
        "raw-write /beside planted",
        "read /beside/../secret",
        "read /beside/link",
        "raw-read /beside ../secret",
        "raw-read /beside link",
    ];
    for option in [option.clone(), format!("{option}:ro")] {
        let bench = Bench::new();
        bench.add("a.txt", denied.join("\n")).add("b.txt", "read /beside/secret\nlist /beside");
        bench.run(&guest("reach"), &["--dir", &option]).expect(0);
        assert_denied(&bench.out("a.out"), &denied);
        let reached = [("read /beside/secret", "the secret"), ("list /beside", "link secret")];
        assert_reached(&bench.out("b.out"), &reached);
    }
    assert_eq!(fs::read_to_string(granted.join("secret")).expect("it is there"), "the secret");
}

#[test]
fn a_directory_is_granted_for_writing() {
    let bench = place();
    let granted = bench.path().join("beside");
    bench.add("b.txt", "read /db/../secret\ncreate /db/../planted\nraw-write /db ../planted");
    let option = format!("{}::/db:rw", granted.display());
    let reached =
        [("create /db/new", ""), ("append /db/new", ""), ("read /db/secret", "the secret")];
    let attempts: Vec<&str> = reached.iter().map(|(attempt, _)| *attempt).collect();
    assert_reached(&report(&bench, &attempts, &["--dir", &option]), &reached);
    let denied = ["read /db/../secret", "create /db/../planted", "raw-write /db ../planted"];
    assert_denied(&bench.out("b.out"), &denied);
    assert_eq!(fs::read_to_string(granted.join("new")).expect("new"), "intruderintruder");
    assert!(!bench.path().join("planted").exists());
}

#[test]
fn a_denied_reach_names_the_option_that_would_grant_it() {
    // With the SDK's functions. A language's own library looks for the path
    // among what was granted, and the host never hears of it.
    let bench = place();
    bench.add("a.txt", "read-by-sdk /db/words").add("b.txt", "read /db/words");
    bench.run(&guest("misbehave"), &[]).expect(3);
    let error = bench.err("a.err");
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("/db/words") && message.contains("--dir"), "{message}");
    assert_eq!(bench.err("b.err")["exception_type"], "NotFound");
}

#[test]
fn a_grant_for_writing_must_not_hold_the_workspace() {
    let bench = place();
    bench.add("a.txt", "list /x");
    let link = bench.path().join("link-to-out");
    symlink(bench.output(), &link).expect("a link");
    fs::create_dir(bench.output().join(".tigerflow")).expect("a directory");
    let all = [bench.path(), &bench.output(), &link, &bench.output().join(".tigerflow")];
    for directory in all {
        let option = format!("{}::/x:rw", directory.display());
        let done = bench.run(&guest("reach"), &["--dir", &option]).expect(2);
        done.says("workspace").says("--dir");
        assert!(!bench.has("a.out"));
    }
    // For reading it may, and the workspace in it stays closed.
    let option = format!("{}::/x:ro", bench.output().display());
    let attempts = ["list /x/.tigerflow", "read /x/.tigerflow/reach/lock"];
    assert_denied(&report(&bench, &attempts, &["--dir", &option]), &attempts);
}

#[test]
fn a_directory_that_is_missing_is_refused() {
    let bench = place();
    bench.add("a.txt", "list /x");
    for (option, word) in [
        ("/surely/not/there::/x", "/surely/not/there"),
        ("/tmp::/input", "/input"),
        ("/tmp::/output/x", "/output"),
        ("/tmp:/x", "HOST_DIR::/GUEST_DIR"),
        ("/tmp::/x:rx", ":rx"),
        ("/tmp::x", "absolute"),
    ] {
        bench.run(&guest("reach"), &["--dir", option]).expect(2).says(word);
        assert_eq!(bench.names(), [""; 0]);
    }
}

#[test]
fn environment_variables_are_granted_by_name_or_value() {
    let bench = place();
    let attempts = "env GREETING\nenv ANSWER\nenv-all\nenv TIGERFLOW_SECRET";
    bench.add("a.txt", attempts);
    let mut command = bench.serve(&guest("reach"), &["--once", "--env", "GREETING"]);
    command.args(["--env", "ANSWER=4=2"]).env("GREETING", "Good day");
    finish(command.env("TIGERFLOW_SECRET", "hush")).expect(0);
    let expected = [
        ("env GREETING", Some("Good day")),
        ("env ANSWER", Some("4=2")),
        ("env-all", Some("GREETING ANSWER")),
        ("env TIGERFLOW_SECRET", None),
    ];
    assert_eq!(results(&bench.out("a.out")), expected);
    // One that is not set here is a mistake, not an empty value.
    bench.run(&guest("reach"), &["--env", "TIGERFLOW_NOT_SET"]).expect(2).says("TIGERFLOW_NOT_SET");
}

#[test]
fn values_of_variables_are_told_to_nobody() {
    const SECRET: &str = "hush-hush-4711";
    let bench = place();
    bench.add("a.txt", "panic a").add("b.txt", "fail 1").add("c.txt", "good c");
    bench.add("d.txt", "env-length KEY");
    let check = |done: &Done| {
        assert!(!done.stderr.contains(SECRET), "{}", done.stderr);
        assert!(!done.stdout.contains(SECRET), "{}", done.stdout);
        let mut stack = vec![bench.output()];
        while let Some(path) = stack.pop() {
            if path.is_dir() {
                stack
                    .extend(fs::read_dir(path).expect("a directory").map(|e| e.expect("e").path()));
            } else {
                let text = fs::read(&path).expect("a file");
                let text = String::from_utf8_lossy(&text);
                assert!(!text.contains(SECRET), "{}", path.display());
            }
        }
    };
    let given = format!("KEY={SECRET}");
    for task in ["misbehave", "reach"] {
        check(&bench.run(&guest(task), &["-vv", "--env", &given, "--retry-failed"]));
    }
    assert_eq!(results(&bench.out("d.out")), [("env-length KEY", Some("14"))]);
    bench.add("e.txt", "good e");
    check(&bench.run(&guest("misbehave"), &["--env", &given, "--at-setup", "panic x"]).expect(4));
    // Mistakes that make the host repeat the command line.
    for mistake in [&["--timeout", "soon"][..], &["--gretting", "x"], &["--dir", "/not/there::/x"]]
    {
        check(&bench.run(&guest("reach"), &[&["--env", &given], mistake].concat()).expect(2));
    }
    check(&bench.run(&guest("single"), &["--env", &given]).expect(2).says("KEY=…"));
    let inline = format!("--env={given}");
    check(&bench.run(&guest("single"), &[&inline]).expect(2).says("KEY=…"));
    check(&bench.run(&guest("reach"), &["--env", &format!("={SECRET}")]).expect(2));
}
