//! Limits that runs on a machine share.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tigerflow_tests::{Bench, finish, guest, wait_until};

use crate::live::{Gate, Live};

/// Runs of `gated` that share labels, through one gate.
struct Sharing {
    gate: Gate,
    labels: PathBuf,
    bench: Bench,
}

impl Sharing {
    fn new() -> Sharing {
        let bench = Bench::new();
        Sharing { gate: Gate::new(&bench), labels: bench.path().join("labels"), bench }
    }

    /// A place for one of the runs: its files are called `NAME0` and so on.
    fn place(&self, name: &str, files: usize) -> Bench {
        let bench = Bench::new();
        for number in 0..files {
            bench.add(format!("{name}{number}.txt"), "text");
        }
        bench
    }

    fn run(&self, bench: &Bench, labels: &[&str]) -> Command {
        let grant = self.gate.grant();
        let mut command = bench.serve(&guest("gated"), &["--once", "--concurrency-limit", "4"]);
        command.args(["--dir", &grant]).env("TIGERFLOW_LABEL_DIR", &self.labels);
        for label in labels {
            command.args(["--label", label]);
        }
        command
    }

    fn start(&self, bench: &Bench, labels: &[&str]) -> Live {
        Live::start(bench, &mut self.run(bench, labels))
    }
}

#[test]
fn runs_share_the_places_under_a_label() {
    for (labels, most) in [
        (["gpu=1", "gpu=1"], 1),
        // Without a number it is one.
        (["gpu", "gpu"], 1),
        (["gpu=2", "gpu=2"], 2),
        // Each run keeps to what itself was told.
        (["gpu=3", "gpu=3"], 3),
    ] {
        let sharing = Sharing::new();
        let (a, b) = (sharing.place("a", 6), sharing.place("b", 6));
        let live = (sharing.start(&a, &labels[..1]), sharing.start(&b, &labels[1..]));
        wait_until("as many as allowed are at work", || sharing.gate.count("begun-") == most);
        // Long enough for another one to begin, if it could.
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(sharing.gate.count("begun-"), most, "{labels:?}");
        sharing.gate.open("open");
        live.0.wait().expect(0).says("6 succeeded");
        live.1.wait().expect(0).says("6 succeeded");
        let seen: Vec<usize> =
            (1..=12).filter(|n| sharing.gate.has(&format!("seen-{n}"))).collect();
        assert!(seen.iter().all(|&number| number <= most), "{labels:?}: {seen:?} at once");
        assert!(seen.contains(&most), "{labels:?}: {seen:?}");
    }
}

#[test]
fn other_labels_are_no_hindrance_and_several_hold_together() {
    // Each run has its own label: four and four.
    let sharing = Sharing::new();
    let (a, b) = (sharing.place("a", 4), sharing.place("b", 4));
    let live = (sharing.start(&a, &["gpu=4"]), sharing.start(&b, &["disk=4"]));
    wait_until("all of them are at work", || sharing.gate.count("begun-") == 8);
    sharing.gate.open("open");
    live.0.wait().expect(0);
    live.1.wait().expect(0);

    // In whatever order they are given, nobody waits in a circle.
    let sharing = Sharing::new();
    sharing.gate.open("open");
    let (a, b) = (sharing.place("a", 30), sharing.place("b", 30));
    let live = (sharing.start(&a, &["x=1", "y=1"]), sharing.start(&b, &["y=1", "x=1"]));
    live.0.wait().expect(0).says("30 succeeded");
    live.1.wait().expect(0).says("30 succeeded");
    assert!(sharing.gate.has("seen-1") && !sharing.gate.has("seen-2"));
}

#[test]
fn whoever_is_killed_frees_its_places() {
    let sharing = Sharing::new();
    let (a, b) = (sharing.place("a", 2), sharing.place("b", 2));
    let holder = sharing.start(&a, &["gpu=1"]);
    wait_until("the holder is at work", || sharing.gate.count("begun-a") == 1);
    let waiting = sharing.start(&b, &["gpu=1"]);
    waiting.says("2 to do");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(sharing.gate.count("begun-b"), 0);
    assert_eq!(b.status()["running"], 0, "who waits for a place does not run");
    holder.kill();
    wait_until("the other one is at work", || sharing.gate.count("begun-b") == 1);
    sharing.gate.open("open");
    waiting.wait().expect(0).says("2 succeeded");
}

#[test]
fn a_stop_while_files_wait_for_a_label_is_prompt() {
    let sharing = Sharing::new();
    let (a, b) = (sharing.place("a", 1), sharing.place("b", 3));
    let holder = sharing.start(&a, &["gpu=1"]);
    wait_until("the holder is at work", || sharing.gate.count("begun-a") == 1);
    let waiting = sharing.start(&b, &["gpu=1"]);
    waiting.says("Task setup complete").signal(Signal::INT);
    let done = waiting.wait().expect(130).says("0 succeeded, 0 failed, 0 skipped, 3 still to do");
    assert!(!done.stderr.contains("Starting processing"), "{}", done.stderr);
    sharing.gate.open("open");
    holder.wait().expect(0);
}

#[test]
fn labels_are_the_users_own_files() {
    use std::os::unix::fs::PermissionsExt;
    let sharing = Sharing::new();
    sharing.gate.open("open");
    let a = sharing.place("a", 1);
    finish(&mut sharing.run(&a, &["gpu=1"])).expect(0);
    let mode = fs::metadata(&sharing.labels).expect("it was made").permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    assert!(sharing.labels.join("gpu").is_dir());
    // A place that cannot be had is told, with the way out.
    let b = sharing.place("b", 1);
    fs::write(sharing.bench.path().join("file"), "").expect("a file");
    let mut command = sharing.run(&b, &["gpu=1"]);
    let command = command.env("TIGERFLOW_LABEL_DIR", sharing.bench.path().join("file/labels"));
    let done = finish(command).says("--label").says("TIGERFLOW_LABEL_DIR");
    assert!([1, 2].contains(&done.code), "{}", done.stderr);
    assert_eq!(b.names(), [""; 0]);
    // Without the variable it is a directory in the system's temporary one.
    let mut command = sharing.run(&b, &["gpu=1"]);
    let temporary = sharing.bench.path().join("tmp");
    fs::create_dir(&temporary).expect("a directory");
    finish(command.env_remove("TIGERFLOW_LABEL_DIR").env("TMPDIR", &temporary)).expect(0);
    let made: Vec<String> = fs::read_dir(&temporary)
        .expect("it can be listed")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(made.len() == 1 && made[0].starts_with("tigerflow-host-labels-"), "{made:?}");
}

#[test]
fn a_label_is_given_once() {
    let bench = Bench::new();
    let done = bench.run(&guest("upper"), &["--label", "gpu=2", "--label", "gpu=3"]).expect(2);
    done.says("--label `gpu` is given twice");
}
