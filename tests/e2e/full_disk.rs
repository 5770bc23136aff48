//! A full disk is nobody's fault in here: it stops the run, and costs nothing.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tigerflow_tests::{Bench, Done, finish, guest, host};

/// A small disk of its own, in memory.
struct Disk(PathBuf);

impl Disk {
    /// `None`, and a line that says so, where mounting is not allowed.
    fn new(bench: &Bench, options: &str) -> Option<Disk> {
        let path = bench.path().join("disk");
        fs::create_dir(&path).expect("a directory");
        let options = std::ffi::CString::new(options).expect("no zero");
        if let Err(error) =
            mount("tigerflow-test", &path, "tmpfs", MountFlags::empty(), Some(options.as_c_str()))
        {
            eprintln!("SKIPPED: a small disk cannot be mounted ({error}); root can");
            return None;
        }
        Some(Disk(path))
    }

    /// Fills it until this many bytes are left, in pages.
    fn fill(&self, left: usize) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::create(&path).expect("a file");
        let page = [b'x'; 4096];
        let mut pages = 0_u64;
        loop {
            match file.write_all(&page) {
                Ok(()) => pages += 1,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
        let left = (left as u64).div_ceil(4096);
        file.set_len((pages - left) * 4096).expect("it can be cut");
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).expect("what was mounted can be unmounted");
    }
}

fn run(bench: &Bench, component: &str, output: &Path, more: &[&str]) -> Done {
    finish(
        host()
            .arg("run")
            .arg(guest(component))
            .args(["--once", "--input-ext", ".txt", "--output-ext", ".out", "--input-dir"])
            .arg(bench.input())
            .arg("--output-dir")
            .arg(output)
            .args(more),
    )
}

/// The names in a directory but the workspace, sorted.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .expect("it can be listed")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name != ".tigerflow")
        .collect();
    names.sort();
    names
}

/// It stopped because of the disk, and said so once, with the way out.
#[track_caller]
fn assert_full(done: Done, output: &Path) {
    let done = done.expect(1);
    let done = done.says(&output.display().to_string()).says("free some");
    let told = done.stderr.lines().filter(|line| line.contains("space")).count();
    assert_eq!(told, 1, "once is enough:\n{}", done.stderr);
    assert!(!done.stderr.contains("Failed processing"), "{}", done.stderr);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
}

const INPUTS: usize = 60;
const SIZE: usize = 64 << 10;

fn bench() -> Bench {
    let bench = Bench::new();
    for number in 0..INPUTS {
        bench.add(format!("{number:02}.txt"), "y".repeat(SIZE));
    }
    bench
}

/// Runs into the full disk; then frees some and completes with the same
/// command.
fn fill_and_go_on(component: &str, options: &str, more: &[&str]) {
    let bench = bench();
    let Some(disk) = Disk::new(&bench, options) else { return };
    let output = disk.0.join("out");
    // Two thirds of the outputs do not fit.
    let filler = disk.fill(INPUTS / 3 * SIZE);
    assert_full(run(&bench, component, &output, more), &output);
    let published = names(&output);
    assert!(!published.is_empty() && published.len() < INPUTS, "{} of them fit", published.len());
    for name in &published {
        assert!(name.ends_with(".out"), "{name}");
        let content = fs::read(output.join(name)).expect("an output");
        assert_eq!(content, "Y".repeat(SIZE).as_bytes(), "{name} is not whole");
    }
    // Nothing is kept of what was half-written.
    let staging = output.join(".tigerflow/upper/staging");
    assert_eq!(fs::read_dir(staging).expect("it stands").count(), 0);

    // Once more on the full disk: it says the same, and harms nothing.
    assert_full(run(&bench, component, &output, more), &output);
    assert!(names(&output).len() < INPUTS);

    fs::remove_file(filler).expect("space can be freed");
    let before = names(&output).len();
    let done = run(&bench, component, &output, more).expect(0);
    done.says(&format!("{before} succeeded before, 0 failed before"));
    assert_eq!(names(&output).len(), INPUTS);
    for name in names(&output) {
        let content = fs::read(output.join(&name)).expect("an output");
        assert_eq!(content, "Y".repeat(SIZE).as_bytes(), "{name} is not whole");
    }
}

#[test]
fn a_disk_that_fills_up_stops_the_run_and_freeing_some_lets_it_go_on() {
    let more = ["--task-name", "upper", "--concurrency-limit", "4"];
    fill_and_go_on("upper", "size=8m", &more);
}

#[test]
fn so_it_is_for_a_task_that_writes_piece_by_piece() {
    let more = ["--task-name", "upper", "--concurrency-limit", "4"];
    fill_and_go_on("stream", "size=8m", &more);
}

#[test]
fn so_it_is_where_outputs_are_synced_first() {
    let more = ["--task-name", "upper", "--concurrency-limit", "4", "--durability", "batch"];
    fill_and_go_on("upper", "size=8m", &more);
}

#[test]
fn so_it_is_for_an_asynchronous_task() {
    let more = ["--task-name", "upper", "--concurrency-limit", "8"];
    fill_and_go_on("async-upper", "size=8m", &more);
}

#[test]
fn a_task_that_overlooks_it_publishes_no_half_output() {
    // Nor does one that cleans up, and makes room for an `.err`, get one.
    for manner in ["careless", "tidy"] {
        let bench = Bench::new();
        let content = manner.to_owned() + &"y".repeat(SIZE - manner.len());
        for number in 0..INPUTS {
            bench.add(format!("{number:02}.txt"), &content);
        }
        let Some(disk) = Disk::new(&bench, "size=8m") else { return };
        let output = disk.0.join("out");
        // Half of the last output fits, and so its first half does.
        let filler = disk.fill(INPUTS / 3 * SIZE + SIZE * 3 / 4);
        let more = ["--param", "pause=0", "--concurrency-limit", "1"];
        assert_full(run(&bench, "slow", &output, &more), &output);
        let published = names(&output);
        assert!(!published.is_empty() && published.len() < INPUTS);
        for name in &published {
            let content = fs::read(output.join(name)).expect("an output");
            assert!(
                name.ends_with(".out") && content.len() == SIZE,
                "{manner}: {name} is not whole"
            );
        }
        fs::remove_file(filler).expect("space can be freed");
        run(&bench, "slow", &output, &more).expect(0);
        assert_eq!(names(&output).len(), INPUTS);
    }
}

#[test]
fn a_disk_without_room_for_another_file_is_full_too() {
    // Room for bytes, and for some dozen files.
    let bench = bench();
    let Some(disk) = Disk::new(&bench, "size=64m,nr_inodes=40") else { return };
    let output = disk.0.join("out");
    assert_full(run(&bench, "upper", &output, &["--concurrency-limit", "4"]), &output);
    let published = names(&output).len();
    assert!(published > 0 && published < INPUTS, "{published}");
    assert!(names(&output).iter().all(|name| name.ends_with(".out")));
}

#[test]
fn a_disk_that_is_full_at_the_start_is_told() {
    let bench = bench();
    let Some(disk) = Disk::new(&bench, "size=2m") else { return };
    let output = disk.0.join("out");
    fs::create_dir(&output).expect("a directory");
    let filler = disk.fill(0);
    assert_full(run(&bench, "upper", &output, &[]), &output);
    assert_eq!(names(&output), [""; 0]);
    fs::remove_file(filler).expect("space can be freed");
    fs::write(bench.input().join("00.txt"), "small").expect("an input");
    for number in 1..INPUTS {
        fs::remove_file(bench.input().join(format!("{number:02}.txt"))).expect("it is there");
    }
    run(&bench, "upper", &output, &[]).expect(0);
    assert_eq!(names(&output), ["00.out"]);
}

#[test]
fn a_journal_that_does_not_fit_stops_the_run_too() {
    let bench = Bench::new();
    const FILES: usize = 200;
    for number in 0..FILES {
        // An empty output takes no room, and its line in the journal does.
        bench.add(format!("{number:03}.txt"), "");
    }
    let Some(disk) = Disk::new(&bench, "size=1m") else { return };
    let output = disk.0.join("out");
    let filler = disk.fill(6 * 4096);
    assert_full(run(&bench, "slow", &output, &["--concurrency-limit", "2"]), &output);
    let before = names(&output).len();
    assert!(before < FILES, "the journal fits");
    fs::remove_file(filler).expect("space can be freed");
    let done = run(&bench, "slow", &output, &["--concurrency-limit", "2"]).expect(0);
    done.says(&format!("{before} succeeded before, 0 failed before"));
    assert_eq!(names(&output).len(), FILES);
}

#[test]
fn failures_on_a_full_disk_leave_no_half_err() {
    let bench = Bench::new();
    for number in 0..INPUTS {
        bench.add(format!("{number:02}.txt"), "fail this one");
    }
    let Some(disk) = Disk::new(&bench, "size=1m") else { return };
    let output = disk.0.join("out");
    // Room for some `.err` files, a page each, and not for all.
    let filler = disk.fill(25 * 4096);
    assert_full_of_failures(run(&bench, "slow", &output, &["--param", "pause=0"]), &output);
    for name in names(&output) {
        let content = fs::read(output.join(&name)).expect("an .err");
        let error: serde_json::Value = serde_json::from_slice(&content).expect("it is whole");
        assert_eq!(error["message"], "told to fail", "{name}");
    }
    assert!(names(&output).len() < INPUTS);
    fs::remove_file(filler).expect("space can be freed");
    run(&bench, "slow", &output, &["--param", "pause=0"]).expect(3);
    assert_eq!(names(&output).len(), INPUTS);
}

/// As [`assert_full`], where files also fail by themselves.
#[track_caller]
fn assert_full_of_failures(done: Done, output: &Path) {
    let done = done.expect(1);
    let done = done.says(&output.display().to_string()).says("free some");
    let told = done.stderr.lines().filter(|line| line.contains("space")).count();
    assert_eq!(told, 1, "once is enough:\n{}", done.stderr);
}
