//! Names, links and directories as users have them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use tigerflow_tests::{Bench, Done, finish, guest, host, wait_until};

use crate::live::Live;
use crate::unprivileged::{Unprivileged, give};

/// `run COMPONENT --once` between any two directories.
fn run(component: &str, from: (&Path, &str), to: (&Path, &str), more: &[&str]) -> Done {
    finish(command(component, from, to).arg("--once").args(more))
}

fn command(component: &str, from: (&Path, &str), to: (&Path, &str)) -> Command {
    let mut command = host();
    command
        .arg("run")
        .arg(guest(component))
        .arg("--input-dir")
        .arg(from.0)
        .args(["--input-ext", from.1, "--output-ext", to.1, "--output-dir"])
        .arg(to.0);
    command
}

/// The names in a directory but the workspace, as bytes, sorted.
fn names(directory: &Path) -> Vec<OsString> {
    let mut names: Vec<OsString> = fs::read_dir(directory)
        .expect("it can be listed")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name != ".tigerflow")
        .collect();
    names.sort();
    names
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).expect("a pipe can be made");
}

#[test]
fn a_name_keeps_its_bytes_whatever_they_are() {
    let stems: &[&[u8]] = &[
        b"plain",
        b"two words",
        b" spaces around ",
        "größe-日本語-🐯".as_bytes(),
        // The same letter as one character and as two.
        "\u{e9}".as_bytes(),
        "e\u{301}".as_bytes(),
        b"new\nline",
        b"escape\x1b[2J\x07",
        b"tab\tand\rreturn",
        b"-rf",
        b"--input-dir",
        b".hidden",
        b".",
        b"..",
        b"a.tar",
        b"back\\slash",
        b"*?[glob]$HOME`x`\"'",
        b"not utf-8 \xff\xfe",
        b"not utf-8 \xfe\xff",
        b"latin-1 gr\xfc\xdfe",
        b"C:drive",
        b".txt",
    ];
    let bench = Bench::new();
    let name =
        |stem: &[u8], extension: &str| OsString::from_vec([stem, extension.as_bytes()].concat());
    for (number, stem) in stems.iter().enumerate() {
        bench.add(name(stem, ".txt"), format!("content {number}"));
    }
    let done = bench.run(&guest("upper"), &[]).expect(0);
    let mut expected: Vec<OsString> = stems.iter().map(|stem| name(stem, ".out")).collect();
    expected.sort();
    assert_eq!(names(&bench.output()), expected);
    for (number, stem) in stems.iter().enumerate() {
        assert_eq!(bench.out(name(stem, ".out")), format!("CONTENT {number}"));
    }

    // One line a message, and nothing that a terminal obeys.
    let done = done.says("Starting processing: new\\nline.txt");
    for line in done.stderr.lines() {
        assert!(line.get(19..22) == Some(" | "), "not a log line: {line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    // A second run knows all of them.
    let all = stems.len();
    let again = bench.run(&guest("upper"), &[]).expect(0);
    again.says(&format!("{all} files: {all} succeeded before, 0 failed before, 0 to do"));
}

#[test]
fn failures_keep_the_bytes_of_their_names_too() {
    let bench = Bench::new();
    let stem = OsStr::from_bytes(b"bad\n\xff");
    let with =
        |extension: &str| OsString::from_vec([stem.as_bytes(), extension.as_bytes()].concat());
    bench.add(with(".txt"), "fail");
    bench.run(&guest("slow"), &[]).expect(3).says("Failed processing: bad\\n\u{fffd}.txt");
    assert_eq!(names(&bench.output()), [with(".err")]);
    let error = bench.err(with(".err"));
    let file = error["file"].as_str().expect("a name");
    assert!(file.ends_with("/in/bad\n\u{fffd}.txt"), "{file:?}");
    // And they are known by the next run, which runs them again when asked.
    bench.run(&guest("slow"), &[]).expect(3).says("1 file: 0 succeeded before, 1 failed before");
    bench.add(with(".txt"), "good");
    bench.run(&guest("slow"), &["--retry-failed"]).expect(0);
    assert_eq!(names(&bench.output()), [with(".out")]);
}

#[test]
fn long_names_work_to_the_last_byte() {
    let bench = Bench::new();
    let longest = "n".repeat(251);
    bench.add(format!("{longest}.txt"), "long").add("short.txt", "short");
    // In WASI each of these bytes is a character of three.
    let wild = OsString::from_vec([&[0xff; 150][..], b".txt"].concat());
    bench.add(&wild, "wild");
    bench.run(&guest("upper"), &[]).expect(0);
    assert_eq!(bench.out(format!("{longest}.out")), "LONG");
    assert_eq!(bench.out(OsString::from_vec([&[0xff; 150][..], b".out"].concat())), "WILD");

    // One byte more than fits: it is told, and the others are done.
    let other = bench.path().join("other");
    let done = run("upper", (&bench.input(), ".txt"), (&other, ".json"), &[]).expect(0);
    done.says(&format!("Skipped {longest}.txt: the name is too long"));
    assert_eq!(names(&other).len(), 2);
    assert_eq!(fs::read_to_string(other.join("short.json")).expect("it is done"), "SHORT");
}

#[test]
fn an_extension_may_have_several_dots() {
    let bench = Bench::new();
    for name in ["a.tar.gz", "b.gz", "c.tar.gz.bak", ".tar.gz", "tar.gz", "d.TAR.GZ", "e.x.tar.gz"]
    {
        bench.add(name, name);
    }
    let (input, output) = (bench.input(), bench.output());
    run("upper", (&input, ".tar.gz"), (&output, ".out.json"), &[]).expect(0);
    assert_eq!(bench.names(), ["a.out.json", "e.x.out.json"]);
    let second = bench.path().join("second");
    run("upper", (&input, ".gz"), (&second, ".json"), &[]).expect(0);
    let stems = [".tar.json", "a.tar.json", "b.json", "e.x.tar.json", "tar.json"];
    assert_eq!(names(&second), stems);
}

#[test]
fn of_two_inputs_of_one_stem_the_extension_decides() {
    let bench = Bench::new();
    bench.add("a.txt", "text").add("a.md", "markdown").add("a", "bare");
    bench.run(&guest("upper"), &[]).expect(0).says("1 file:");
    assert_eq!(bench.names(), ["a.out"]);
    assert_eq!(bench.out("a.out"), "TEXT");
    // The other one has the same output: that is there, and stays.
    let (input, output) = (bench.input(), bench.output());
    let more = ["--task-name", "other"];
    run("upper", (&input, ".md"), (&output, ".out"), &more).expect(0).says("1 succeeded before");
    assert_eq!(bench.out("a.out"), "TEXT");
}

#[test]
fn empty_inputs_have_outputs() {
    let bench = Bench::new();
    bench.add("empty.txt", "");
    bench.run(&guest("upper"), &[]).expect(0).says("1 succeeded, 0 failed");
    assert_eq!(bench.out("empty.out"), "");
}

#[test]
fn a_huge_file_takes_little_memory() {
    const SIZE: u64 = 300 << 20;
    let bench = Bench::new();
    let mut file = File::create(bench.input().join("huge.txt")).expect("an input");
    file.write_all(b"begin").expect("it is written");
    file.seek(SeekFrom::Start(SIZE - 3)).expect("a hole");
    file.write_all(b"end").expect("it is written");
    drop(file);
    let live = Live::start(&bench, &mut bench.serve(&guest("stream"), &["--settle", "0"]));
    wait_until("the output stands", || bench.has("huge.out"));
    let status = fs::read_to_string(format!("/proc/{}/status", live.pid())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kilobytes < 100 << 10, "{kilobytes} kB were in memory for a file of {SIZE} bytes");
    live.signal(Signal::TERM);
    live.wait().expect(128 + 15);

    let mut output = File::open(bench.output().join("huge.out")).expect("an output");
    assert_eq!(output.metadata().expect("its size").len(), SIZE);
    let mut piece = vec![0; 1 << 20];
    output.read_exact(&mut piece).expect("its begin");
    assert!(piece.starts_with(b"BEGIN\0"));
    output.seek(SeekFrom::End(-4)).expect("its end");
    piece.clear();
    output.read_to_end(&mut piece).expect("its end");
    assert_eq!(piece, b"\0END");
}

#[test]
fn links_within_the_input_directory_are_inputs() {
    let bench = Bench::new();
    let input = bench.input();
    fs::create_dir(input.join("sub")).expect("a directory");
    fs::write(input.join("sub/deep.dat"), "deep").expect("a file");
    bench.add("real.dat", "real");
    let link = |target: &Path, name: &str| symlink(target, input.join(name)).expect("a link");
    link(Path::new("real.dat"), "relative.txt");
    link(&input.join("real.dat"), "absolute.txt");
    link(Path::new("sub/deep.dat"), "deep.txt");
    link(Path::new("relative.txt"), "chain.txt");
    link(Path::new("../in/real.dat"), "out-and-in.txt");
    link(Path::new("real.dat"), "gr\u{fc}n.txt");
    symlink("real.dat", input.join(OsStr::from_bytes(b"wild\xff.txt"))).expect("a link");
    bench.run(&guest("upper"), &[]).expect(0).says("7 files:");
    for name in ["relative", "absolute", "chain", "out-and-in", "gr\u{fc}n"] {
        assert_eq!(bench.out(format!("{name}.out")), "REAL", "{name}");
    }
    assert_eq!(bench.out(OsStr::from_bytes(b"wild\xff.out")), "REAL");
    assert_eq!(bench.out("deep.out"), "DEEP");
    // Outputs are files, and the links are as they were.
    assert!(bench.output().join("relative.out").symlink_metadata().expect("it").is_file());
    assert!(input.join("relative.txt").symlink_metadata().expect("it").is_symlink());
}

#[test]
fn an_input_directory_may_be_a_link_itself() {
    let bench = Bench::new();
    bench.add("a.txt", "one");
    symlink("a.txt", bench.input().join("b.txt")).expect("a link");
    let door = bench.path().join("door");
    symlink(bench.input(), &door).expect("a link");
    run("upper", (&door, ".txt"), (&bench.output(), ".out"), &[]).expect(0);
    assert_eq!((bench.out("a.out"), bench.out("b.out")), ("ONE".into(), "ONE".into()));
}

#[test]
fn links_out_of_the_input_directory_need_a_word_and_open_nothing_else() {
    let bench = Bench::new();
    let outside = bench.path().join("outside");
    fs::create_dir(&outside).expect("a directory");
    fs::write(outside.join("secret.txt"), "hidden").expect("a file");
    let tried = [
        "secret.txt",
        "/secret.txt",
        "/input/secret.txt",
        "/input/../outside/secret.txt",
        "/input/../../../../../../../../etc/passwd",
        "/input/other.txt",
        "/input/directory/secret.txt",
        "/outside/secret.txt",
        &outside.join("secret.txt").display().to_string(),
        &format!("/input{}", outside.join("secret.txt").display()),
    ];
    fs::write(outside.join("list.dat"), tried.join("\n")).expect("a file");
    symlink(outside.join("list.dat"), bench.input().join("list.txt")).expect("a link");
    symlink("../outside/list.dat", bench.input().join("relative.txt")).expect("a link");
    symlink("list.txt", bench.input().join("chain.txt")).expect("a link");
    symlink(outside.join("secret.txt"), bench.input().join("other.txt")).expect("a link");
    symlink(&outside, bench.input().join("directory")).expect("a link");
    bench.add("plain.txt", tried.join("\n"));

    let without = bench.run(&guest("peek"), &[]).expect(0);
    let mut without = without.says("1 file:");
    for name in ["list", "relative", "chain", "other"] {
        without = without.says(&format!("Skipped {name}.txt: a symbolic link that leads out"));
    }
    without.says("--follow-links");
    assert_eq!(bench.names(), ["plain.out"]);
    let nothing = |name: &str| {
        let mut lines = vec![format!("/input/{name}.txt")];
        lines.extend(tried.iter().map(|path| format!("{path}: no")));
        lines.join("\n") + "\n"
    };
    assert_eq!(bench.out("plain.out"), nothing("plain"));

    // With it, the guest reads the linked file; not what lies beside it, and
    // not the link of another attempt.
    bench.run(&guest("peek"), &["--follow-links"]).expect(0).says("1 succeeded before");
    assert_eq!(bench.names(), ["chain.out", "list.out", "other.out", "plain.out", "relative.out"]);
    for name in ["list", "relative", "chain"] {
        assert_eq!(bench.out(format!("{name}.out")), nothing(name));
    }
    assert_eq!(bench.out("other.out"), "/input/other.txt\nhidden: no\n");
}

#[test]
fn what_is_no_file_is_no_input() {
    let bench = Bench::new();
    let input = bench.input();
    bench.add("file.txt", "file").add(".txt", "only the extension");
    fs::create_dir(input.join("directory.txt")).expect("a directory");
    fs::write(input.join("directory.txt/inner.txt"), "inner").expect("a file");
    symlink("directory.txt", input.join("to-directory.txt")).expect("a link");
    symlink("nowhere", input.join("dangling.txt")).expect("a link");
    symlink("loop.txt", input.join("loop.txt")).expect("a link");
    fifo(&input.join("pipe.txt"));
    symlink("pipe.txt", input.join("to-pipe.txt")).expect("a link");
    let _socket = UnixListener::bind(input.join("socket.txt")).expect("a socket");
    symlink("/dev/zero", input.join("to-device.txt")).expect("a link");

    for more in [&[][..], &["--follow-links"][..]] {
        let mut done = bench.run(&guest("upper"), more).expect(0).says("1 file:");
        for name in ["to-directory", "dangling", "loop", "to-pipe", "to-device"] {
            done = done.says(&format!("Skipped {name}.txt: a symbolic link that leads to no file"));
        }
        assert!(!done.stderr.contains("inner"), "{}", done.stderr);
        assert_eq!(bench.names(), ["file.out"]);
    }

    // To a server they are no inputs either; a file in their place is one.
    let live = Live::start(&bench, &mut bench.serve(&guest("upper"), &["--settle", "0"]));
    live.says("Task setup complete");
    fifo(&input.join("late-pipe.txt"));
    symlink("not-yet", input.join("late-link.txt")).expect("a link");
    live.says("Skipped late-link.txt");
    fs::remove_file(input.join("dangling.txt")).expect("it can be removed");
    bench.add("staged", "now a file");
    fs::rename(input.join("staged"), input.join("dangling.txt")).expect("it can be renamed");
    wait_until("the file is taken", || bench.has("dangling.out"));
    live.signal(Signal::TERM);
    live.wait().expect(128 + 15);
    assert_eq!(bench.names(), ["dangling.out", "file.out"]);
    assert_eq!(bench.out("dangling.out"), "NOW A FILE");
}

#[test]
fn read_only_inputs_are_read_and_stay_and_unreadable_ones_fail() {
    let bench = Bench::new();
    bench.add("locked.txt", "locked").add("closed.txt", "closed");
    for (name, mode) in [("locked.txt", 0o444), ("closed.txt", 0o000)] {
        let path = bench.input().join(name);
        give(&path);
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("modes can be set");
    }
    let Some(user) = Unprivileged::new(&bench, &guest("upper")) else { return };
    // The input directory itself may be read-only, too.
    fs::set_permissions(bench.input(), Permissions::from_mode(0o555)).expect("modes can be set");
    finish(&mut user.run(&bench, &bench.input(), &bench.output())).expect(3);
    fs::set_permissions(bench.input(), Permissions::from_mode(0o755)).expect("modes can be set");
    assert_eq!(bench.names(), ["closed.err", "locked.out"]);
    assert_eq!(bench.out("locked.out"), "LOCKED");
    let message = bench.err("closed.err")["message"].as_str().expect("a message").to_lowercase();
    assert!(message.contains("permission denied"), "{message}");
    assert!(message.contains("closed.txt"), "{message}");
    assert!(bench.input().join("locked.txt").exists());
}

#[test]
fn input_and_output_directory_may_be_the_same() {
    let bench = Bench::new();
    let dir = bench.input();
    bench.add("a.txt", "one").add("b.txt", "two");
    run("upper", (&dir, ".txt"), (&dir, ".out"), &[]).expect(0).says("2 files:");
    assert_eq!(names(&dir), ["a.out", "a.txt", "b.out", "b.txt"]);
    run("upper", (&dir, ".txt"), (&dir, ".out"), &[]).expect(0).says("2 succeeded before");
    // The next task of a chain takes the outputs of the one before.
    let more = ["--task-name", "second"];
    run("upper", (&dir, ".out"), (&dir, ".fin"), &more).expect(0).says("2 files:");
    assert_eq!(names(&dir), ["a.fin", "a.out", "a.txt", "b.fin", "b.out", "b.txt"]);

    // The same with servers: the second takes what the first publishes.
    let first = Live::start(&bench, &mut command("upper", (&dir, ".txt"), (&dir, ".out")));
    let mut second = command("upper", (&dir, ".out"), (&dir, ".fin"));
    let second = Live::start(&bench, second.args(more));
    first.says("Task setup complete");
    second.says("Task setup complete");
    bench.add("c.txt", "three");
    wait_until("the chain is through", || dir.join("c.fin").exists());
    assert_eq!(fs::read_to_string(dir.join("c.fin")).expect("it is whole"), "THREE");
    for live in [first, second] {
        live.signal(Signal::TERM);
        live.wait().expect(128 + 15);
    }
}

#[test]
fn an_output_that_would_be_an_input_again_is_refused() {
    let bench = Bench::new();
    let dir = bench.input();
    bench.add("a.txt", "one");
    let door = bench.path().join("door");
    symlink(&dir, &door).expect("a link");
    for (output, extension) in [(&dir, ".txt"), (&dir, ".out.txt"), (&door, ".txt")] {
        let done = run("upper", (&dir, ".txt"), (output, extension), &[]).expect(2);
        done.says("would be an input again").says("choose another --output-ext or --output-dir");
    }
    assert_eq!(fs::read_dir(&dir).expect("it").count(), 1, "nothing was made");
    // In another directory it harms nobody.
    run("upper", (&dir, ".txt"), (&bench.output(), ".txt"), &[]).expect(0);
    assert_eq!(bench.out("a.txt"), "ONE");
}

#[test]
fn input_and_output_directory_may_be_nested() {
    let bench = Bench::new();
    bench.add("a.txt", "one");
    let inner = bench.input().join("inner");
    run("upper", (&bench.input(), ".txt"), (&inner, ".out"), &[]).expect(0);
    assert_eq!(names(&inner), ["a.out"]);
    // Outputs there end in the input's extension, and still are no inputs.
    run("upper", (&bench.input(), ".txt"), (&inner, ".txt"), &[]).expect(0).says("1 file:");
    run("upper", (&bench.input(), ".txt"), (&inner, ".txt"), &[])
        .expect(0)
        .says("1 succeeded before");
    assert_eq!(names(&inner), ["a.out", "a.txt"]);

    let within = bench.output().join("within");
    fs::create_dir(&within).expect("a directory");
    fs::write(within.join("b.txt"), "two").expect("an input");
    run("upper", (&within, ".txt"), (&bench.output(), ".out"), &[]).expect(0);
    assert_eq!(bench.names(), ["b.out", "within"]);
    assert_eq!(names(&within), ["b.txt"]);
}
