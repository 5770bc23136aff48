//! Edges of the sandbox and of the file system: links, appends, short reads,
//! limits of the process.

use std::fs;
use std::os::unix::fs::symlink;

use tigerflow_tests::{Bench, finish, guest, host, limited};

#[test]
fn appends_of_neighbours_are_all_kept() {
    let bench = Bench::new();
    let shared = bench.path().join("shared");
    fs::create_dir(&shared).expect("shared");
    for i in 0..20 {
        bench.add(format!("{i}.txt"), "append /w/log");
    }
    let grant = format!("{}::/w:rw", shared.display());
    bench.run(&guest("misbehave"), &["--concurrency-limit", "4", "--dir", &grant]).expect(0);
    let log = fs::read_to_string(shared.join("log")).expect("the log is there");
    assert_eq!(log.lines().filter(|line| *line == "8 bytes").count(), 20 * 200);
}

#[test]
fn an_output_with_another_name_is_not_published() {
    let bench = Bench::new();
    // On the same file system as the output: a link to elsewhere cannot be made.
    let granted = bench.output().join("granted");
    fs::create_dir(&granted).expect("granted");
    bench.add("a.txt", "hard-link /w/keep");
    let grant = format!("{}::/w:rw", granted.display());
    bench.run(&guest("misbehave"), &["--dir", &grant]).expect(3);
    assert_eq!(bench.err("a.err")["exception_type"], "BadOutput");
    assert!(!bench.has("a.out"));
}

#[test]
fn a_file_that_gives_less_than_was_asked_for_is_read_to_its_end() {
    // The kernel gives a few kilobytes of it at a time, and no size.
    let file = "/proc/kallsyms";
    let bench = Bench::new();
    symlink(file, bench.input().join("a.txt")).expect("a link");
    bench.run(&guest("upper"), &["--follow-links"]).expect(0);
    let whole = fs::read(file).expect("it can be read").to_ascii_uppercase();
    let output = fs::read(bench.output().join("a.out")).expect("the output is there");
    assert!(whole.len() > 100_000, "it is long enough to tell");
    assert_eq!(output.len(), whole.len());
}

#[test]
fn no_link_of_the_guests_own_leads_into_the_workspace() {
    let bench = Bench::new();
    let granted = bench.input().join("sub");
    fs::create_dir(&granted).expect("sub");
    bench.add("1.txt", "plant ../.tigerflow /w/link");
    bench.add("2.txt", "read /input/sub/link/misbehave/lock");
    bench.add("3.txt", "read /w/link/misbehave/lock");
    let grant = format!("{}::/w:rw", granted.display());
    let mut command = host();
    command.arg("run").arg(guest("misbehave")).arg("--once");
    command.arg("--input-dir").arg(bench.input()).arg("--output-dir").arg(bench.input());
    command.args(["--input-ext", ".txt", "--output-ext", ".out", "--concurrency-limit", "1"]);
    finish(command.args(["--dir", &grant])).expect(3);
    assert!(granted.join("link/misbehave/lock").exists(), "the link does lead there");
    for name in ["2.err", "3.err"] {
        let error = fs::read_to_string(bench.input().join(name)).expect("it failed");
        assert!(error.contains("not permitted"), "{error}");
    }
}

#[test]
fn machine_code_does_not_pass_for_a_component() {
    let bench = Bench::new();
    let code = bench.path().join("upper.cwasm");
    finish(host().arg("compile").arg(guest("upper")).arg("-o").arg(&code)).expect(0);
    let disguised = bench.path().join("upper.wasm");
    fs::rename(&code, &disguised).expect("it can be renamed");
    bench.add("a.txt", "one");
    for command in
        [host().arg("inspect").arg(&disguised), &mut bench.serve(&disguised, &["--once"])]
    {
        finish(command).expect(2).says("is machine code").says(".cwasm");
    }
    assert!(!bench.has(".tigerflow"));
    let no_name = bench.path().join("upper.bin");
    finish(host().arg("compile").arg(guest("upper")).arg("-o").arg(&no_name))
        .expect(2)
        .says("must end in `.cwasm`");
}

#[test]
fn a_limit_on_file_size_fails_the_file_and_not_the_host() {
    let bench = Bench::new();
    bench.add("a.txt", "write 3000000").add("b.txt", "good one");
    let run = bench.serve(&guest("misbehave"), &["--once", "--concurrency-limit", "1"]);
    // In blocks of 512 bytes, or kilobytes.
    finish(&mut limited("-f 1000", &run)).expect(3);
    assert!(bench.has("a.err") && bench.has("b.out"), "{:?}", bench.names());
}
