//! Compiled once, and kept where nobody else writes.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tigerflow_tests::{Bench, Done, finish, guest, host};

use crate::unprivileged::Unprivileged;

/// `run upper --once` with a cache of its own.
fn run(bench: &Bench, cache: &Path) -> Done {
    finish(cached(bench, cache).arg("-v"))
}

fn cached(bench: &Bench, cache: &Path) -> Command {
    let mut command = bench.serve(&guest("upper"), &["--once"]);
    command.env("TIGERFLOW_CACHE_DIR", cache);
    command
}

fn bench() -> (Bench, PathBuf) {
    let bench = Bench::new();
    bench.add("a.txt", "one");
    let cache = bench.path().join("cache");
    (bench, cache)
}

/// The compiled files in a cache.
fn kept(cache: &Path) -> Vec<PathBuf> {
    let mut kept: Vec<PathBuf> = fs::read_dir(cache)
        .expect("it can be listed")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    kept.sort();
    kept
}

/// The one compiled file.
#[track_caller]
fn the(cache: &Path) -> PathBuf {
    let kept = kept(cache);
    assert_eq!(kept.len(), 1, "{kept:?}");
    kept[0].clone()
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).expect("it stands").ino()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it stands").mode() & 0o777
}

#[test]
fn the_second_start_compiles_nothing() {
    let (bench, cache) = bench();
    run(&bench, &cache).expect(0);
    let file = the(&cache);
    let (before, content) = (inode(&file), fs::read(&file).expect("it can be read"));
    run(&bench, &cache).expect(0);
    // What is compiled is put into place as a new file.
    assert_eq!((the(&cache), inode(&file)), (file.clone(), before));
    assert!(fs::read(&file).expect("it can be read") == content);
    // A time limit needs other code: kept beside it.
    finish(cached(&bench, &cache).args(["--timeout", "1m"])).expect(0);
    assert_eq!(kept(&cache).len(), 2);
    finish(cached(&bench, &cache).args(["--timeout", "2m"])).expect(0);
    assert_eq!(kept(&cache).len(), 2);
}

#[test]
fn the_cache_is_private_whatever_the_umask() {
    let (bench, cache) = bench();
    // The shell sets the mask, and becomes the host.
    let plain = cached(&bench, &cache.join("deep/er"));
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0; exec \"$@\"", "sh"]).arg(plain.get_program());
    command.args(plain.get_args()).env("TIGERFLOW_CACHE_DIR", cache.join("deep/er"));
    finish(&mut command).expect(0);
    assert_eq!(mode(&cache.join("deep/er")), 0o700);
    let file = the(&cache.join("deep/er"));
    assert_eq!(mode(&file) & 0o022, 0, "nobody else writes to machine code");
    // Outputs, in turn, follow it.
    assert_eq!(mode(&bench.output().join("a.out")), 0o666);
}

#[test]
fn a_cache_that_others_could_write_to_is_not_trusted() {
    let (bench, cache) = bench();
    run(&bench, &cache).expect(0);
    let file = the(&cache);
    let (before, first) = (inode(&file), fs::read(&file).expect("it can be read"));
    // A hard link keeps the old file from giving its inode to the new one.
    fs::hard_link(&file, bench.path().join("old")).expect("it can be linked");
    for open in [0o777, 0o770, 0o707, 0o720] {
        fs::set_permissions(&cache, Permissions::from_mode(open)).expect("modes can be set");
        let planted = cache.join("planted.cwasm");
        fs::write(&planted, &first).expect("anybody could");
        run(&bench, &cache).expect(0);
        assert_eq!(mode(&cache), 0o700, "after {open:o}");
        assert!(!planted.exists());
        assert_ne!(inode(&the(&cache)), before, "compiled again, after {open:o}");
    }
}

#[test]
fn a_damaged_file_in_the_cache_is_compiled_again() {
    let (bench, cache) = bench();
    run(&bench, &cache).expect(0);
    let file = the(&cache);
    let good = fs::read(&file).expect("it can be read");
    let damages: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("garbage", b"not machine code".repeat(1000)),
        ("cut in the middle", good[..good.len() / 2].to_vec()),
        ("cut at its end", good[..good.len() - 1].to_vec()),
        ("a header alone", good[..64].to_vec()),
    ];
    for (what, damaged) in damages {
        // In a new file: who maps the old one keeps it.
        fs::remove_file(&file).expect("it can be removed");
        fs::write(&file, &damaged).expect("it can be damaged");
        let _ = fs::remove_file(bench.output().join("a.out"));
        run(&bench, &cache).expect(0);
        assert_eq!(bench.out("a.out"), "ONE", "{what}");
        assert_eq!(fs::read(&file).expect("it is there").len(), good.len(), "{what}: made again");
    }
    // What is no file at all in its place.
    fs::remove_file(&file).expect("it can be removed");
    fs::create_dir(&file).expect("a directory");
    fs::remove_file(bench.output().join("a.out")).expect("it is there");
    run(&bench, &cache).expect(0).says("compiled anew each time");
    assert_eq!(bench.out("a.out"), "ONE");
}

#[test]
fn many_may_start_at_once_on_an_empty_cache() {
    let (_, cache) = bench();
    let benches: Vec<Bench> = (0..6).map(|_| bench().0).collect();
    let children: Vec<_> =
        benches.iter().map(|bench| cached(bench, &cache).spawn().expect("it starts")).collect();
    for (bench, child) in benches.iter().zip(children) {
        let done = tigerflow_tests::wait(child).expect(0);
        assert!(!done.stderr.contains("WARNING"), "{}", done.stderr);
        assert_eq!(bench.out("a.out"), "ONE");
    }
    // One file, and nothing that was on its way to be one.
    the(&cache);
}

#[test]
fn without_a_cache_it_warns_and_works() {
    let (bench, cache) = bench();
    fs::write(&cache, "a file is in the way").expect("it is written");
    run(&bench, &cache)
        .expect(0)
        .says("compiled anew each time")
        .says(&cache.display().to_string());
    assert_eq!(bench.out("a.out"), "ONE");
    // Nor is one known.
    fs::remove_file(bench.output().join("a.out")).expect("it is there");
    let mut command = cached(&bench, &cache);
    for variable in ["TIGERFLOW_CACHE_DIR", "XDG_CACHE_HOME", "HOME"] {
        command.env_remove(variable);
    }
    finish(&mut command).expect(0).says("set TIGERFLOW_CACHE_DIR");
    assert_eq!(bench.out("a.out"), "ONE");
}

#[test]
fn a_cache_out_of_reach_or_of_another_user_is_left_alone() {
    let (bench, cache) = bench();
    let Some(user) = Unprivileged::new(&bench, &guest("upper")) else { return };
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can make a directory of another user");
        return;
    }
    // Of root, and writable by all: what lies there is not trusted, nor changed.
    fs::create_dir(&cache).expect("a directory");
    fs::set_permissions(&cache, Permissions::from_mode(0o777)).expect("modes can be set");
    fs::write(cache.join("theirs.cwasm"), "theirs").expect("it is written");
    let done = finish(&mut user.run(&bench, &bench.input(), &bench.output())).expect(0);
    done.says("belongs to another user (set TIGERFLOW_CACHE_DIR)");
    assert_eq!(kept(&cache), [cache.join("theirs.cwasm")]);
    assert_eq!(mode(&cache), 0o777);
    // A link to it is no better.
    fs::rename(&cache, bench.path().join("theirs")).expect("it can be renamed");
    symlink("theirs", &cache).expect("a link");
    let done = finish(&mut user.run(&bench, &bench.input(), &bench.output())).expect(0);
    done.says("belongs to another user");
}

#[test]
fn a_component_compiled_ahead_runs_and_its_damage_is_seen() {
    let (bench, cache) = bench();
    let compiled = bench.path().join("upper.cwasm");
    let compile = |to: &Path| finish(host().arg("compile").arg(guest("upper")).arg("-o").arg(to));
    compile(&compiled).expect(0).says("Compiled ");
    let run = |component: &Path| {
        let _ = fs::remove_file(bench.output().join("a.out"));
        let mut command = bench.serve(component, &["--once"]);
        finish(command.env("TIGERFLOW_CACHE_DIR", &cache))
    };
    run(&compiled).expect(0);
    assert_eq!(bench.out("a.out"), "ONE");
    assert!(!cache.exists(), "it needs no cache");
    // It can be stopped while it computes, too.
    let limited = bench.serve(&compiled, &["--once", "--timeout", "1m"]).output().expect("it");
    assert!(limited.status.success());
    let inspect = finish(host().arg("inspect").arg(&compiled)).expect(0);
    let original = finish(host().arg("inspect").arg(guest("upper"))).expect(0);
    let digest = |text: &str| text.lines().find(|l| l.starts_with("digest")).map(str::to_owned);
    assert_eq!(digest(&inspect.stdout), digest(&original.stdout));
    assert!(digest(&inspect.stdout).is_some());
    finish(host().arg("compile").arg(&compiled)).expect(2).says("is precompiled already");

    let good = fs::read(&compiled).expect("it can be read");
    let patched = |find: &[u8], put: &[u8]| {
        let at = good.windows(find.len()).rposition(|w| w == find).expect("it is in there");
        let mut bytes = good.clone();
        bytes[at..at + find.len()].copy_from_slice(put);
        bytes
    };
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let hole = [&good[..good.len() / 3], &good[good.len() / 2..]].concat();
    let version = b"\"host_version\":\"0.1.0\"";
    let cpu_at = good.windows(17).rposition(|w| w == b"\"compatibility\":\"").expect("a note") + 17;
    let mut other_cpu = good.clone();
    other_cpu[cpu_at] = if good[cpu_at] == b'0' { b'1' } else { b'0' };
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("a bit is flipped", flipped, "is damaged"),
        ("a part is missing", hole, "is damaged"),
        (
            "of another version",
            patched(version, b"\"host_version\":\"0.0.9\""),
            "0.0.9, and this is",
        ),
        ("of another CPU", other_cpu, "another kind of CPU"),
        ("its end is missing", good[..good.len() - 20].to_vec(), "`tigerflow-host compile`"),
        (
            "its note is garbage",
            patched(b"\"component\":", b"\"component!!"),
            "`tigerflow-host compile`",
        ),
    ];
    for (what, bytes, words) in cases {
        let path = bench.path().join("damaged.cwasm");
        fs::write(&path, bytes).expect("it is written");
        let done = run(&path).expect(2).says(words);
        let done = done.says("make it again with `tigerflow-host compile`");
        assert!(!done.stderr.contains("panicked"), "{what}: {}", done.stderr);
        assert!(!bench.has("a.out"), "{what}");
    }
}

#[test]
fn compile_follows_the_umask_and_replaces_what_is_there() {
    let bench = Bench::new();
    let to = bench.path().join("x.cwasm");
    File::create(&to).expect("a file");
    let compile = |mask: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {mask}; exec \"$@\""), "sh"]).arg(host().get_program());
        finish(command.arg("compile").arg(guest("upper")).arg("-o").arg(&to)).expect(0);
        mode(&to)
    };
    assert_eq!(compile("022"), 0o644);
    assert_eq!(compile("077"), 0o600);
    assert_eq!(fs::read_dir(bench.path()).expect("it").count(), 3, "no temporary file stays");
    // By default it lies beside the component.
    let component = bench.path().join("task.v1.wasm");
    fs::copy(guest("upper"), &component).expect("it can be copied");
    finish(host().arg("compile").arg(&component)).expect(0);
    assert!(bench.path().join("task.v1.cwasm").exists());
}
