//! Outputs that are kept on another file system, or on one that is full.

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tigerflow_tests::{Bench, Done, finish, guest};

use super::{Pipeline, list, task};
use crate::unprivileged::{Unprivileged, give};

/// A small disk of its own, in memory.
struct Disk(PathBuf);

impl Disk {
    /// `None`, and a line that says so, where mounting is not allowed.
    fn new(bench: &Bench, options: &str) -> Option<Disk> {
        let path = bench.path().join("disk");
        fs::create_dir(&path).expect("a directory");
        let options = CString::new(options).expect("no zero");
        let flags = MountFlags::empty();
        if let Err(error) = mount("tigerflow-test", &path, "tmpfs", flags, Some(options.as_c_str()))
        {
            eprintln!("SKIPPED: a small disk cannot be mounted ({error}); root can");
            return None;
        }
        Some(Disk(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// Fills it until this many bytes are left, in pages.
    fn fill(&self, left: usize) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::create(&path).expect("a file");
        let mut pages = 0_u64;
        loop {
            match file.write_all(&[b'x'; 4096]) {
                Ok(()) => pages += 1,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
        file.set_len((pages - (left as u64).div_ceil(4096)) * 4096).expect("it can be cut");
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).expect("what was mounted can be unmounted");
    }
}

#[test]
fn what_is_kept_on_another_file_system_is_copied() {
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".txt", ".one", ""),
        task("two", "slow", ".one", ".two", "depends_on: one"),
    ]);
    let Some(disk) = Disk::new(&pipeline, "size=8m") else { return };
    for name in ["one", "two"] {
        fs::create_dir(disk.path().join(name)).expect("a directory");
        symlink(disk.path().join(name), pipeline.output().join(name)).expect("a link");
    }
    for number in 0..50 {
        pipeline.add(format!("{number}.txt"), "x".repeat(number * 100));
    }
    pipeline.add("bad.txt", "fail this");
    pipeline.run(&[]).expect(3).says("50 files finished, 1 failed");
    assert_eq!(list(&disk.path().join("one")).len(), 51, "nothing half-written is left");
    assert_eq!(pipeline.shown("two").len(), 51);
    assert_eq!(pipeline.err("two/bad.err")["message"], "told to fail");
    for number in 0..50 {
        assert_eq!(pipeline.out(format!("two/{number}.two")), "X".repeat(number * 100));
    }
    let inner = pipeline.workspace("one").join("outputs/bad.one");
    let device = |path: &Path| fs::metadata(path).expect("it is there").dev();
    assert_ne!(device(&inner), device(&disk.path().join("one/bad.one")));
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode();
    assert_eq!(mode(&inner), mode(&disk.path().join("one/bad.one")));
    // Mended, it leaves no error.
    pipeline.add("bad.txt", "good");
    fs::remove_file(inner).expect("it is there");
    pipeline.run(&[]).expect(0).says("1 file finished, 0 failed");
    assert!(!pipeline.has("two/bad.err"));
    assert_eq!((pipeline.inner("one"), pipeline.inner("two")), (vec![], vec![]));
}

const SIZE: usize = 64 << 10;

#[test]
fn a_disk_that_is_full_of_what_is_kept_stops_it() {
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".txt", ".one", "keep_output: false"),
        task("two", "upper", ".one", ".two", "depends_on: one"),
    ]);
    let Some(disk) = Disk::new(&pipeline, "size=8m") else { return };
    let shown = disk.path().join("two");
    fs::create_dir(&shown).expect("a directory");
    symlink(&shown, pipeline.output().join("two")).expect("a link");
    for number in 0..40 {
        pipeline.add(format!("{number:02}.txt"), "y".repeat(SIZE));
    }
    let filler = disk.fill(15 * SIZE + SIZE / 2);
    for _ in 0..2 {
        let done = pipeline.run(&[]).expect(1).says("failed to keep").says("free some");
        assert_eq!(done.stderr.matches("failed to keep").count(), 1, "{}", done.stderr);
        for name in list(&shown) {
            assert!(name.ends_with(".two"), "{name}");
            assert_eq!(fs::read(shown.join(&name)).expect("it").len(), SIZE, "{name} is not whole");
        }
    }
    let before = list(&shown).len();
    assert!((1..40).contains(&before), "{before}");
    fs::remove_file(filler).expect("space can be freed");
    pipeline.run(&[]).expect(0).says("finished before");
    assert_eq!(list(&shown).len(), 40);
    assert_eq!((pipeline.inner("one"), pipeline.inner("two")), (vec![], vec![]));
    assert_eq!(pipeline.finished().len(), 40);
}

#[test]
fn a_disk_that_is_full_of_all_stops_it() {
    let pipeline = Pipeline::chain(2);
    let Some(disk) = Disk::new(&pipeline, "size=8m") else { return };
    let output = disk.path().join("out");
    for number in 0..40 {
        pipeline.add(format!("{number:02}.txt"), "y".repeat(SIZE));
    }
    let filler = disk.fill(30 * SIZE);
    let run = || {
        let mut command = tigerflow_tests::host();
        command.args(["pipeline", "run"]).arg(pipeline.config()).arg(pipeline.input());
        finish(command.arg(&output).arg("--once"))
    };
    run().expect(1).says("free some");
    fs::remove_file(filler).expect("space can be freed");
    run().expect(0);
    for name in ["one", "two"] {
        let names = list(&output.join(name));
        assert_eq!(names.len(), 40);
        for file in names {
            let content = fs::read(output.join(name).join(&file)).expect("an output");
            assert_eq!(content, "Y".repeat(SIZE).as_bytes(), "{file} is not whole");
        }
    }
}

/// `pipeline run` of a task as a user whom permissions bind.
fn unprivileged(pipeline: &Pipeline) -> Option<impl Fn(&Path, &Path) -> Done> {
    let user = Unprivileged::new(pipeline, &guest("upper"))?;
    let text = "tasks:\n  - {name: one, kind: local, module: task.wasm, input_ext: .txt}\n";
    let task = pipeline.path().join("task.wasm");
    if !task.exists() {
        fs::copy(guest("upper"), task).expect("it can be copied");
    }
    fs::write(pipeline.config(), text).expect("a configuration");
    let config = pipeline.config();
    // How that user calls the host, with other words for what it is to do.
    let plain = user.run(pipeline, Path::new("."), Path::new("."));
    Some(move |input: &Path, output: &Path| {
        let mut command = Command::new(plain.get_program());
        command.args(plain.get_args().take_while(|word| *word != OsStr::new("run")));
        for (name, value) in plain.get_envs() {
            command.env(name, value.expect("a value"));
        }
        command.args(["pipeline", "run"]).arg(&config).arg(input).arg(output);
        finish(command.arg("--once"))
    })
}

#[test]
fn directories_that_are_out_of_reach_are_told() {
    let pipeline = Pipeline::chain(1);
    pipeline.add("a.txt", "one");
    let Some(run) = unprivileged(&pipeline) else { return };
    let (input, output) = (pipeline.input(), pipeline.output());
    let set = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("modes can be set");
    };
    set(&input, 0o300);
    let done = run(&input, &output);
    assert!([1, 2].contains(&done.code) && done.stderr.contains("ermission denied"), "{done:?}");
    set(&input, 0o755);
    set(&output, 0o555);
    let done = run(&input, &output);
    assert!([1, 2].contains(&done.code) && done.stderr.contains("ermission denied"), "{done:?}");
    assert!(done.stderr.contains(&output.display().to_string()), "{done:?}");
    set(&output, 0o755);
    // Where users are to see them.
    fs::create_dir(output.join("one")).expect("a directory");
    give(&output.join("one"));
    set(&output.join("one"), 0o555);
    run(&input, &output).expect(1).says("failed to keep").says("ermission denied");
    set(&output.join("one"), 0o755);
    run(&input, &output).expect(0).says("1 file finished, 0 failed");
    assert_eq!(pipeline.out("one/a.out"), "ONE");
}
