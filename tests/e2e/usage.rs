//! Wrong things that a new user tries: each ends with exit code 2 and a message
//! that names the fix, before anything is done.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tigerflow_tests::{Bench, Done, binary, finish, guest, host};

use crate::unprivileged::{Unprivileged, give};

/// A bench with an input that nobody may touch.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.add("a.txt", "one");
    bench
}

/// Nothing was processed, and no workspace was made.
#[track_caller]
fn untouched(bench: &Bench) {
    assert_eq!(fs::read_dir(bench.output()).expect("out can be listed").count(), 0);
}

/// Refused, with all these words, in few lines and without a trace of panic.
#[track_caller]
fn refused(done: Done, words: &[&str]) {
    let mut done = done.expect(2);
    for word in words {
        done = done.says(word);
    }
    for bad in ["panicked", "RUST_BACKTRACE", "error: error"] {
        assert!(!done.stderr.contains(bad), "{}", done.stderr);
    }
    assert_eq!(done.stdout, "", "a refusal goes to stderr");
}

#[track_caller]
fn assert_refused(bench: &Bench, component: &Path, more: &[&str], words: &[&str]) {
    refused(bench.run(component, more), words);
    untouched(bench);
}

/// A component from its text.
fn wat(bench: &Bench, name: &str, text: &str) -> PathBuf {
    let path = bench.path().join(name).with_extension("wasm");
    fs::write(&path, wat::parse_str(text).expect("the text is sound")).expect("it is written");
    path
}

#[test]
fn without_arguments_it_says_what_there_is() {
    let done = finish(&mut host()).expect(2).says("Usage: tigerflow-host <COMMAND>");
    for command in ["run", "inspect", "status", "compile"] {
        assert!(done.stderr.contains(&format!("  {command} ")), "{}", done.stderr);
    }
    let help = finish(host().arg("--help")).expect(0);
    assert!(help.stderr.is_empty() && help.stdout.contains("Exit codes: 0 all done"));
    let version = finish(host().arg("--version")).expect(0);
    assert!(version.stdout.starts_with("tigerflow-host 0."), "{}", version.stdout);
    let help = finish(host().args(["run", "--help"])).expect(0);
    for option in ["--input-dir", "--concurrency-limit", "--once", "--timeout", "--dir"] {
        assert!(help.stdout.contains(option), "{option} is missing in:\n{}", help.stdout);
    }
    refused(finish(host().arg("rum")), &["unrecognized subcommand 'rum'", "'run'"]);
    let done = finish(host().arg("run")).expect(2);
    done.says("--input-dir <DIR>").says("<TASK.wasm>");
    finish(host().arg("run").arg(guest("upper"))).expect(2).says("--output-ext <.EXT>");
}

#[test]
fn a_closed_pipe_is_no_error() {
    // `tigerflow-host --help | true`: nobody reads.
    for arguments in [&["--help"][..], &["run", "--help"][..]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let status = host().args(arguments).stdout(writer).status().expect("it starts");
        assert_eq!(status.code(), Some(0));
    }
}

#[test]
fn what_is_no_component_is_refused() {
    let bench = bench();
    let file = |name: &str, content: &[u8]| {
        let path = bench.path().join(name);
        fs::write(&path, content).expect("it is written");
        path
    };
    let whole = fs::read(guest("upper")).expect("a component");
    let build = "cargo build --release --target wasm32-wasip2";
    let cases: &[(PathBuf, &[&str])] = &[
        (file("text.wasm", b"hello\n"), &["is not a WebAssembly component", build]),
        (file("image.wasm", b"\x89PNG\r\n\x1a\n...."), &["is not a WebAssembly component", build]),
        (binary(), &["is a program for this machine", build]),
        (file("empty.wasm", b""), &["is empty", "build cut off"]),
        (file("short.wasm", b"\0as"), &["is not a WebAssembly component", build]),
        (file("header.wasm", &whole[..8]), &["exports nothing", "export_task!"]),
        (file("cut.wasm", &whole[..whole.len() / 2]), &["does not compile", "build it again"]),
        (file("text.wat", b"(component)"), &["is WebAssembly text", "wasm-tools parse"]),
        (wat(&bench, "core", "(module)"), &["is a WebAssembly core module", build]),
        (bench.path().join("missing.wasm"), &["missing.wasm", "is its path right?"]),
        (bench.input(), &["is a directory"]),
    ];
    for (path, words) in cases {
        assert_refused(&bench, path, &[], words);
        // The other commands say the same.
        for command in ["inspect", "compile"] {
            refused(finish(host().arg(command).arg(path)), words);
        }
    }
}

#[test]
fn what_is_no_task_is_refused_with_what_it_is() {
    let bench = bench();
    let empty =
        |export: &str| format!(r#"(component (instance $x) (export "{export}" (instance $x)))"#);
    let program = r#"(component
        (core module $m (func (export "run") (result i32) i32.const 0))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $x (export "run" (func $run)))
        (export "wasi:cli/run@0.2.6" (instance $x)))"#;
    let asynchronous = r#"(component
        (core module $m
            (func (export "f") (result i32) i32.const 0)
            (func (export "c") (param i32 i32 i32) (result i32) i32.const 0))
        (core instance $i (instantiate $m))
        (type $t (func async (result (result))))
        (func $f (type $t)
            (canon lift (core func $i "f") async (callback (core func $i "c"))))
        (instance $x (export "teardown" (func $f)))
        (export "tigerflow:task/async-task@0.1.0" (instance $x)))"#;
    let foreign = r#"(component
        (import "acme:gpu/compute@1.0.0" (instance (export "go" (func))))
        (instance $x) (export "tigerflow:task/task@0.1.0" (instance $x)))"#;
    let newer = r#"(component
        (import "wasi:filesystem/preopens@0.3.0" (instance (export "x" (func (result u64)))))
        (instance $x) (export "tigerflow:task/task@0.1.0" (instance $x)))"#;
    let cases: &[(&str, &str, &[&str])] = &[
        ("program", program, &["is a command-line program", "cdylib", "export_task!"]),
        ("newer", &empty("tigerflow:task/task@0.9.0"), &["task@0.9.0", "task@0.1.0", "rebuild it"]),
        ("major", &empty("tigerflow:task/task@1.0.0"), &["task@1.0.0", "rebuild it"]),
        ("later", &empty("tigerflow:task/async-task@0.9.0"), &["async-task@0.9.0", "rebuild it"]),
        ("async", asynchronous, &["does not fit", "async-task@0.1.0", "`describe`"]),
        ("void", &empty("tigerflow:task/async-task@0.1.0"), &["does not fit", "`describe`"]),
        ("nothing", "(component)", &["exports nothing", "is `export_task!` called in it?"]),
        ("another", &empty("acme:plugin/api@2.0.0"), &["acme:plugin/api@2.0.0", "export_task!"]),
        ("foreign", foreign, &["imports `acme:gpu/compute@1.0.0`", "does not provide"]),
        ("wasip3", newer, &["imports `wasi:filesystem/preopens@0.3.0`", "does not provide"]),
        ("hollow", &empty("tigerflow:task/task@0.1.0"), &["does not fit", "`describe`"]),
    ];
    for (name, text, words) in cases {
        let path = wat(&bench, name, text);
        assert_refused(&bench, &path, &[], words);
        for command in ["inspect", "compile"] {
            refused(finish(host().arg(command).arg(&path)), words);
        }
    }
}

#[test]
fn directories_that_do_not_do_are_named() {
    let bench = bench();
    let run = |input: &Path, output: &Path| {
        finish(
            host()
                .arg("run")
                .arg(guest("upper"))
                .args(["--once", "--input-ext", ".txt", "--output-ext", ".out", "--input-dir"])
                .arg(input)
                .arg("--output-dir")
                .arg(output),
        )
    };
    let (input, output) = (bench.input(), bench.output());
    let file = input.join("a.txt");
    let missing = bench.path().join("missing");
    let deep = missing.join("deep/er");
    refused(run(&missing, &output), &["--input-dir", "does not exist: is it spelt right?"]);
    refused(run(&file, &output), &["--input-dir", "a.txt` is not a directory"]);
    refused(run(&input, &file), &["--output-dir", "a.txt` is not a directory"]);
    refused(run(&input, &deep), &["--output-dir", &format!("`mkdir -p {}`", deep.display())]);
    refused(run(&input, &file.join("out")), &["--output-dir", "cannot be"]);
    assert!(!missing.exists());
    untouched(&bench);
    // Where only its last part is missing, it is made.
    run(&input, &missing).expect(0);
    assert_eq!(fs::read_to_string(missing.join("a.out")).expect("an output"), "ONE");
}

#[test]
fn a_lack_of_permission_is_told() {
    let bench = bench();
    let (input, output) = (bench.input(), bench.output());
    let Some(user) = Unprivileged::new(&bench, &guest("upper")) else { return };
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("modes can be set");
    };
    mode(&input, 0o300);
    let done = finish(&mut user.run(&bench, &input, &output));
    refused(done, &["--input-dir", "/in` cannot be listed", "Permission denied"]);
    mode(&input, 0o700);
    mode(&output, 0o500);
    let done = finish(&mut user.run(&bench, &input, &output));
    refused(done, &["--output-dir", "/out` cannot be written to", "Permission denied"]);
    let new = output.join("new");
    let done = finish(&mut user.run(&bench, &input, &new));
    refused(done, &["--output-dir", "/out/new` cannot be created", "Permission denied"]);
    mode(&output, 0o700);
    untouched(&bench);

    // The workspace of somebody else in a directory that both may write to.
    let workspace = output.join(".tigerflow/upper");
    fs::create_dir_all(&workspace).expect("a workspace");
    fs::write(workspace.join("lock"), "").expect("a lock");
    mode(&workspace.join("lock"), 0o000);
    if !rustix::process::geteuid().is_root() {
        give(&workspace);
    }
    let mut command = user.run(&bench, &input, &output);
    let done = finish(command.args(["--task-name", "upper"]));
    assert!(matches!(done.code, 1 | 2), "{done:?}");
    assert!(!done.stderr.contains("not free"), "nobody holds it: {}", done.stderr);
    done.says("ermission denied").says(".tigerflow/upper/lock");
    assert_eq!(bench.names(), [""; 0]);
}

#[test]
fn values_that_do_not_do_are_told_with_one_that_does() {
    let bench = bench();
    let cases: &[(&[&str], &[&str])] = &[
        (&["--timeout", "30"], &["--timeout", "write `30s` for seconds"]),
        (&["--timeout", "soon"], &["--timeout", "write it as `30s`, `5m` or `2h`"]),
        (&["--timeout", "5 parsecs"], &["--timeout", "write it as `30s`, `5m` or `2h`"]),
        (&["--timeout", "-5s"], &["--timeout", "write it as `30s`, `5m` or `2h`"]),
        (&["--timeout", "0"], &["--timeout", "leave it out for no limit"]),
        (&["--timeout", ""], &["--timeout"]),
        (&["--settle", "1"], &["--settle", "write `1s` for seconds"]),
        (&["--memory-limit", "lots"], &["--memory-limit", "write it as `512M` or `12G`"]),
        (&["--memory-limit", "-1G"], &["--memory-limit", "write it as `512M` or `12G`"]),
        (&["--memory-limit", "0"], &["--memory-limit", "more than 0"]),
        (&["--output-limit", "5Q"], &["--output-limit", "write it as `512M` or `12G`"]),
        (&["--concurrency-limit", "0"], &["--concurrency-limit", "1..=10000"]),
        (&["--concurrency-limit", "all"], &["--concurrency-limit", "'all'"]),
        (&["--task-name", "a/b"], &["--task-name", "no `/`"]),
        (&["--task-name", ".."], &["--task-name", "names a directory"]),
        (&["--task-name", ""], &["--task-name", "names a directory"]),
        (&["--dir", "data"], &["--dir", "HOST_DIR::/GUEST_DIR:ro"]),
        (&["--dir", "data::/input:rw"], &["--dir", "choose another path"]),
        (&["--dir", "no-such::/data"], &["--dir `no-such` cannot be opened"]),
        (&["--env", "TIGERFLOW_SURELY_NOT_SET"], &["--env", "`export TIGERFLOW_SURELY_NOT_SET="]),
        (&["--log-format", "xml"], &["--log-format", "text, json"]),
        (&["--progress", "maybe"], &["--progress", "auto, always, never"]),
        (&["--idle-timeout", "5s"], &["cannot be used with", "--once", "--idle-timeout"]),
        (&["-v", "-q"], &["cannot be used with"]),
        (&["--once"], &["'--once' cannot be used multiple times"]),
        (&["--input-dir", "other"], &["'--input-dir <DIR>' cannot be used multiple times"]),
        (&["--outputdir", "x"], &["'--outputdir'", "'--output-dir'"]),
        (&["another.wasm"], &["another.wasm"]),
        (&["--param", "greeting"], &["--param", "NAME=VALUE"]),
    ];
    for (more, words) in cases {
        assert_refused(&bench, &guest("upper"), more, words);
    }
}

#[test]
fn extensions_that_do_not_do_are_told_with_one_that_does() {
    let bench = bench();
    let run = |input: &str, output: &str| {
        let mut command: Command = host();
        command.arg("run").arg(guest("upper")).arg("--once");
        command.arg("--input-dir").arg(bench.input()).arg("--output-dir").arg(bench.output());
        finish(command.arg(format!("--input-ext={input}")).arg(format!("--output-ext={output}")))
    };
    let form = "dots and letters, digits or `_`, as `.txt` or `.tar.gz`";
    let cases: &[(&str, &[&str])] = &[
        ("txt", &["write `.txt`"]),
        ("tar.gz", &["write `.tar.gz`"]),
        (".err", &["`.err` is reserved"]),
        (".old.err", &["`.err` is reserved"]),
        ("*.txt", &[form]),
        (".t x t", &[form]),
        (".", &[form]),
        ("..", &[form]),
        (".txt.", &[form]),
        (".a/b", &[form]),
        ("", &[form]),
    ];
    for (extension, words) in cases {
        for (done, option) in
            [(run(extension, ".out"), "--input-ext"), (run(".txt", extension), "--output-ext")]
        {
            refused(done.says(option), words);
        }
    }
    untouched(&bench);
}

#[test]
fn status_of_nothing_says_where_to_look() {
    let bench = bench();
    for path in [bench.output(), bench.path().join("missing"), bench.input().join("a.txt")] {
        let done = finish(host().arg("status").arg(&path));
        refused(done, &["no run is recorded in", "is it the --output-dir of one?"]);
    }
    refused(finish(host().arg("status")), &["<OUTPUT_DIR>"]);
    untouched(&bench);
}

#[test]
fn compile_says_why_it_cannot_write() {
    let bench = bench();
    let place = bench.path().join("no/such");
    let done =
        finish(host().arg("compile").arg(guest("upper")).arg("-o").arg(place.join("x.cwasm")));
    refused(done, &[&format!("mkdir -p {}", place.display())]);
}
