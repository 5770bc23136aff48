//! From nothing to a first run, in each language: `new`, `build`, `run`; and
//! what goes wrong on the way.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;
use tigerflow_tests::{Bench, Done, finish, host};

/// Where the languages' tools are, as `cargo xtask env` says.
static ENVIRONMENT: LazyLock<Vec<(String, OsString)>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the checkout");
    let done = finish(Command::new("cargo").current_dir(root).args(["xtask", "env"])).expect(0);
    let variable = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').into()))
    };
    let mut variables: Vec<_> = done.stdout.lines().filter_map(variable).collect();
    // What Rust's templates need is built there already.
    variables.push(("CARGO_TARGET_DIR".into(), root.join("target/guests").into()));
    variables
});

/// `build`, with the languages' tools.
pub fn build() -> Command {
    let mut command = host();
    command.arg("build").envs(ENVIRONMENT.iter().cloned()).env_remove("RUSTUP_TOOLCHAIN");
    command
}

fn new(place: &TempDir, language: &str, name: &str) -> Done {
    finish(host().current_dir(place).args(["new", "--lang", language, name]))
}

/// What a new user does, as `new` says it, on 100 files.
fn first_minute(language: &str) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let made = new(&place, language, "my-task").expect(0);
    assert!(made.stdout.contains("cd my-task"), "{}", made.stdout);
    let project = place.path().join("my-task");
    finish(build().current_dir(&project)).expect(0).says("Built my-task.wasm");
    let component = project.join("my-task.wasm");

    let sample = Bench::new();
    fs::copy(project.join("samples/world.txt"), sample.input().join("world.txt")).expect("copied");
    sample.run(&component, &[]).expect(0);
    assert_eq!(sample.out("world.out"), "Hello, WORLD\n");

    let bench = Bench::new();
    for number in 0..100 {
        bench.add(format!("{number}.txt"), format!("file {number}"));
    }
    bench.run(&component, &["--greeting", "Good day"]).expect(0);
    for number in 0..100 {
        assert_eq!(bench.out(format!("{number}.out")), format!("Good day, FILE {number}"));
    }
    let done = finish(host().arg("inspect").arg(&component)).expect(0);
    assert!(done.stdout.contains("my-task 0.1.0"), "{}", done.stdout);
    // Again, with what is there.
    finish(build().arg(&project)).expect(0);
}

#[test]
fn rust() {
    first_minute("rust");
}

#[test]
fn python() {
    first_minute("python");
}

#[test]
fn go() {
    first_minute("go");
}

#[test]
fn js() {
    first_minute("js");
}

#[test]
fn c() {
    first_minute("c");
}

#[test]
fn bad_names_and_places_are_refused() {
    let place = tempfile::tempdir().expect("a temporary directory");
    for name in ["Hello", "count_words", "2x", "größe", ".."] {
        let done = new(&place, "rust", name).expect(2);
        assert!(done.stderr.contains("`count-words`"), "{}", done.stderr);
    }
    new(&place, "cobol", "hello").expect(2).says("python");
    fs::create_dir(place.path().join("full")).expect("a directory");
    fs::write(place.path().join("full/file"), "mine").expect("a file");
    new(&place, "c", "full").expect(2).says("`full` is there already");
    assert_eq!(fs::read_to_string(place.path().join("full/file")).expect("it is there"), "mine");
    for name in ["sdk", "samples", &"long".repeat(40)] {
        new(&place, "c", name).expect(2);
        assert!(!place.path().join(name).exists());
    }
    new(&place, "c", ".").expect(2).says("names no directory");
    // An empty one does no harm.
    fs::create_dir(place.path().join("empty")).expect("a directory");
    new(&place, "c", "empty").expect(0);
}

#[test]
fn what_is_no_project_is_refused() {
    let place = tempfile::tempdir().expect("a temporary directory");
    finish(build().arg(place.path())).expect(2).says("tigerflow-host new --lang");
    finish(build().arg(place.path().join("gone"))).expect(2).says("no directory");
    fs::write(place.path().join("task.f90"), "").expect("a file");
    finish(build().arg(place.path().join("task.f90"))).expect(2).says(".py, .c");
}

/// A component that works stays where what came out is no task.
#[test]
fn what_is_no_task_replaces_nothing() {
    let place = tempfile::tempdir().expect("a temporary directory");
    new(&place, "go", "idle").expect(0);
    let project = place.path().join("idle");
    fs::write(project.join("idle.wasm"), "as it was").expect("a file");
    fs::write(project.join("main.go"), "package main\n\nfunc main() {}\n").expect("a file");
    fs::remove_file(project.join("main_test.go")).expect("removed");
    finish(build().arg(&project)).expect(2);
    assert_eq!(fs::read_to_string(project.join("idle.wasm")).expect("it is there"), "as it was");
    let left = fs::read_dir(&project).expect("it can be listed");
    let names: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(
        names.iter().filter(|n| n.to_string_lossy().ends_with(".wasm")).count() == 1,
        "{names:?}"
    );
}

/// Names that mean something in a language make no broken project.
#[test]
fn names_that_mean_something_are_fine() {
    let place = tempfile::tempdir().expect("a temporary directory");
    for (language, name) in [("rust", "task"), ("python", "none"), ("go", "main"), ("c", "main")] {
        let directory = format!("{language}/{name}");
        fs::create_dir_all(place.path().join(language)).expect("a directory");
        new(&place, language, &directory).expect(0);
        finish(build().arg(place.path().join(directory)))
            .expect(0)
            .says(&format!("task {name} 0.1.0"));
    }
}

/// Without its tools each language says which one is missing, and how to get it.
#[test]
fn a_missing_tool_is_named() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let tools = [
        ("rust", "cargo", "rustup"),
        ("python", "python3", "python.org"),
        ("go", "go", "go.dev"),
        ("js", "node", "nodejs.org"),
        ("c", "zig", "ziglang"),
    ];
    for (language, tool, remedy) in tools {
        new(&place, language, language).expect(0);
        let mut build = build();
        build.arg(place.path().join(language)).env("PATH", place.path());
        build.env_remove("CC").env_remove("WASI_SDK_PATH").env_remove("VIRTUAL_ENV");
        let done = finish(&mut build).expect(2);
        assert!(done.stderr.contains(&format!("`{tool}` is not on PATH")), "{}", done.stderr);
        assert!(done.stderr.contains(remedy), "{}", done.stderr);
    }
}

/// What the language's own compiler says is shown.
#[test]
fn mistakes_in_the_source_are_shown() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let broken = [
        ("python", "task.py", "def (", "task.py"),
        ("go", "main.go", "package main\nfunc main() { nonsense }\n", "nonsense"),
        ("js", "task.js", "export default {", "task.js"),
        ("c", "main.c", "int nonsense\n", "main.c"),
    ];
    for (language, file, text, said) in broken {
        new(&place, language, language).expect(0);
        let project = place.path().join(language);
        fs::write(project.join(file), text).expect("a file");
        let done = finish(build().arg(&project)).expect(2).says(said);
        assert!(!project.join(format!("{language}.wasm")).exists(), "{}", done.stderr);
    }
}
