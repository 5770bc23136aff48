//! What comes of files, and what reaches the task, is what it is on one machine.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

const SECRET: &str = "hunter2-0123456789abcdef";

#[test]
fn files_of_any_name_are_found_on_nodes() {
    let fake = FakeSlurm::new();
    let site = Site::new();
    let mut names: Vec<OsString> = ["a b", "it's \"it\"", "100% %a $HOME", "back\\slash", "größe"]
        .into_iter()
        .chain(["-dash", "new\nline", ".hidden"])
        .map(|stem| format!("{stem}.txt").into())
        .collect();
    names.push(OsString::from_vec(b"no \xff\xfe text.txt".to_vec()));
    for name in &names {
        site.bench.add(name, format!("in {}", name.display()));
    }
    fs::write(site.bench.path().join("elsewhere"), "linked").expect("a file");
    symlink("../elsewhere", site.bench.input().join("link.txt")).expect("a link");
    let more = ["--max-workers", "2", "--concurrency-limit", "2", "--follow-links"];
    finish(&mut site.command(&fake, &guest("upper"), &more)).expect(0);
    for name in &names {
        let output = PathBuf::from(name).with_extension("out");
        assert_eq!(site.bench.out(output), format!("in {}", name.display()).to_ascii_uppercase());
    }
    assert_eq!(site.bench.out("link.out"), "LINKED");
    assert_eq!(site.bench.names().len(), names.len() + 1);
}

#[test]
fn directories_of_any_name_are_found_on_nodes() {
    let fake = FakeSlurm::new();
    let place = tempfile::tempdir().expect("a temporary directory");
    // Those that trouble Slurm itself are on the real cluster.
    for name in [&b"a 'b' \"c\" $d `e` & #"[..], b"two\nlines\t", b"no \xff\xfe text"] {
        let place = place.path().join(OsString::from_vec(name.to_vec()));
        fs::create_dir_all(place.join("in")).expect("a directory");
        fs::write(place.join("in/1.txt"), "text").expect("a file");
        let mut command = fake.host();
        command.arg("run").arg(guest("upper")).arg("--input-dir").arg(place.join("in"));
        command.args(["--input-ext", ".txt", "--output-dir"]).arg(place.join("out"));
        command.args(["--output-ext", ".out", "--once", "--max-workers", "1"]);
        finish(command.args(["--squeue-interval", "1s"])).expect(0);
        assert_eq!(fs::read_to_string(place.join("out/1.out")).expect("an output"), "TEXT");
    }
}

/// The `.err` files, less what differs from run to run.
fn errors(bench: &Bench) -> BTreeMap<String, Value> {
    let names = bench.names().into_iter().filter(|name| name.ends_with(".err"));
    let read = |name: String| {
        let mut error = bench.err(&name);
        let fields = error.as_object_mut().expect("an object");
        for field in ["timestamp", "duration_seconds", "file"] {
            assert!(fields.remove(field).is_some(), "{name}: {field}");
        }
        (name, error)
    };
    names.map(read).collect()
}

#[test]
fn outcomes_are_those_of_a_local_run() {
    let inputs = [
        ("good", "good text"),
        ("nothing", "nothing"),
        ("aborted", "aborted not of interest"),
        ("fail", "fail 7"),
        ("chain", "fail seven"),
        ("panic", "panic out of luck"),
        ("exit", "exit 7"),
        ("abort", "abort"),
        ("loop", "loop"),
        ("sleep", "sleep"),
        ("stderr", "stderr 3"),
        ("directory", "directory"),
        ("extra", "extra"),
        ("grow", "grow 2000000"),
        ("unknown", "what is this"),
    ];
    let (local, site) = (Site::new(), Site::new());
    for (stem, content) in inputs {
        local.bench.add(format!("{stem}.txt"), content);
        site.bench.add(format!("{stem}.txt"), content);
    }
    let limits = ["--timeout", "400ms", "--output-limit", "1M", "--concurrency-limit", "2"];
    local.bench.run(&guest("misbehave"), &limits).expect(3);
    let fake = FakeSlurm::new();
    let more = [&limits[..], &["--max-workers", "2"]].concat();
    let done = finish(&mut site.command(&fake, &guest("misbehave"), &more)).expect(3);
    let done = done.says("Failed processing: fail.txt on node");
    assert_eq!(site.bench.names(), local.bench.names());
    for (name, expected) in errors(&local.bench) {
        assert_eq!(errors(&site.bench)[&name], expected, "{name}");
    }
    for name in local.bench.names().iter().filter(|name| name.ends_with(".out")) {
        assert_eq!(site.bench.out(name), local.bench.out(name), "{name}");
    }
    let words = |site: &Site| -> BTreeMap<String, Vec<String>> {
        let history = |stem: &str| site.bench.history("misbehave", &format!("{stem}.txt"));
        inputs.iter().map(|(stem, _)| ((*stem).to_owned(), history(stem))).collect()
    };
    assert_eq!(words(&site), words(&local));
    let last = |done: &str| done.lines().rev().nth(1).expect("a summary").to_owned();
    assert!(last(&done.stderr).contains("succeeded"), "{}", done.stderr);
    assert_eq!(fake.submissions().len(), 1, "no worker was lost");

    // Again: what has failed has failed; `--retry-failed` goes to workers, too.
    finish(&mut site.command(&fake, &guest("misbehave"), &more)).expect(3);
    assert_eq!(fake.submissions().len(), 1, "there is nothing to do");
    site.bench.add("fail.txt", "good after all");
    let more = [&more[..], &["--retry-failed"]].concat();
    finish(&mut site.command(&fake, &guest("misbehave"), &more)).expect(3);
    assert_eq!(site.bench.out("fail.out"), "AFTER ALL 0");
    assert!(!site.bench.has("fail.err"));
    assert_eq!(site.bench.err("panic.err")["attempts"], 2);
}

#[test]
fn attempts_are_counted_wherever_they_are_made() {
    let fake = FakeSlurm::new();
    let site = Site::new();
    let state = site.bench.path().join("state");
    fs::create_dir(&state).expect("a directory");
    let inputs = [
        ("a", "transient 2"),
        ("b", "trap 1"),
        ("c", "hang 1"),
        ("d", "transient 9"),
        ("e", "transient 1 after 300"),
        ("f", "fail 1"),
    ];
    for (stem, content) in inputs {
        site.bench.add(format!("{stem}.txt"), content);
    }
    let grant = format!("{}::/state:rw", state.display());
    let more = ["--max-workers", "3", "--dir", &grant, "--retries", "2", "--retry-delay", "50ms"];
    let policy = ["--timeout", "500ms", "--retry-on", "transient,crash,timeout"];
    let more = [&more[..], &policy].concat();
    finish(&mut site.command(&fake, &guest("flaky"), &more)).expect(3);
    assert_eq!(site.bench.out("a.out"), "transient 2 at try 3\n");
    assert_eq!(site.bench.out("b.out"), "trap 1 at try 2\n");
    assert_eq!(site.bench.out("c.out"), "hang 1 at try 2\n");
    assert_eq!(site.bench.out("e.out"), "transient 1 after 300 at try 2\n");
    let error = site.bench.err("d.err");
    assert_eq!((&error["attempts"], &error["message"]), (&3.into(), &"busy at try 3".into()));
    assert_eq!(site.bench.err("f.err")["attempts"], 1);
    let history = |file| site.bench.history("flaky", file);
    assert_eq!(history("a.txt"), ["retrying", "retrying", "succeeded"]);
    assert_eq!(history("d.txt"), ["retrying", "retrying", "failed"]);
    let waited = &site.bench.attempts("flaky", "e.txt")[0]["retry_after_seconds"];
    assert!(waited.as_f64().is_some_and(|s| (0.3..0.5).contains(&s)), "{waited}");
}

#[test]
fn parameters_and_directories_reach_workers() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt"], "x");
    let more = ["--max-workers", "9", "--times", "3", "--polite", "--param", "greeting=it's \"1\""];
    let done = finish(&mut site.command(&fake, &guest("options"), &more)).expect(0);
    assert_eq!(site.bench.out("a.out"), r#""it's \"1\"" 3 None true small"#);
    // Its task takes 7 files at a time, wherever.
    done.says("--max-workers 9 is lowered to 7");

    // Relative paths are of the place where the run was started.
    let site = Site::with(&["a.txt"], "/data/x\n/data/../x\n/input/a.txt\n");
    fs::create_dir(site.bench.path().join("my data")).expect("a directory");
    fs::write(site.bench.path().join("my data/x"), "found").expect("a file");
    let mut command = fake.host();
    command.current_dir(site.bench.path()).arg("run").arg(guest("peek"));
    command.args(["--input-dir", "in", "--input-ext", ".txt", "--output-dir", "./out"]);
    command.args(["--output-ext", ".out", "--dir", "my data::/data:ro", "--once"]);
    finish(command.args(["--max-workers", "1", "--squeue-interval", "1s"])).expect(0);
    let report = site.bench.out("a.out");
    assert!(report.starts_with("/input/a.txt\n/data/x: ok found\n/data/../x: no\n"), "{report}");
}

/// All files below a directory that hold the secret.
fn keepers(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("it can be listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(keepers(&path));
        } else if String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).contains(SECRET) {
            found.push(path);
        }
    }
    found
}

#[test]
fn values_of_the_environment_reach_the_task_and_nobody_else() {
    let fake = FakeSlurm::new();
    let site = Site::new();
    for way in ["stdout", "stderr", "log", "error", "panic", "kind", "trace", "length"] {
        site.bench.add(format!("{way}.txt"), way);
    }
    let grant = format!("TELL_KEY={SECRET}");
    let seen = site.bench.path().join("seen");
    let watch = format!("env >'{}'; cat /proc/$PPID/cmdline >>'{0}'", seen.display());
    let more = ["--max-workers", "1", "--env", &grant, "--setup-command", &watch];
    fake.hold(true);
    let live = site.start(site.command(&fake, &guest("tell"), &more));
    live.says("PENDING (Reason: Resources)");
    // Workers read it in a file of the user's own.
    let plans = keepers(&site.bench.output());
    assert_eq!(plans.len(), 1, "{plans:?}");
    assert_eq!(fs::metadata(&plans[0]).expect("it is there").permissions().mode() & 0o777, 0o600);
    assert_eq!(keepers(fake.path()), [""; 0].map(PathBuf::from), "nor is Slurm told");
    fake.hold(false);
    let done = live.wait().expect(3);
    assert_eq!(site.bench.out("length.out"), SECRET.len().to_string());
    for name in site.bench.names().iter().filter(|name| name.ends_with(".err")) {
        let kept = site.bench.out(name);
        assert!(kept.contains("[TELL_KEY]") || name == "stderr.err", "{kept}");
    }
    assert!(!format!("{}{}", done.stdout, done.stderr).contains(SECRET), "{}", done.stderr);
    let seen = fs::read_to_string(seen).expect("the job saw something");
    assert!(seen.contains("SLURM_JOB_ID=") && !seen.contains("TIGERFLOW_HIDDEN_ENV"), "{seen}");
    assert_eq!(keepers(site.bench.path()), [""; 0].map(PathBuf::from), "it is gone");
}

#[test]
fn an_asynchronous_task_is_as_concurrent_in_a_worker() {
    let fake = FakeSlurm::new();
    let site = Site::new();
    for number in 0..20 {
        site.bench.add(format!("{number:02}.txt"), "wait 300");
    }
    site.bench.add("20.txt", "peak").add("21.txt", "trap").add("22.txt", "fail");
    let more = ["--max-workers", "2", "--concurrency-limit", "5", "--files-per-worker", "12"];
    let done = finish(&mut site.command(&fake, &guest("async-upper"), &more)).expect(3);
    assert_eq!(site.bench.out("20.out"), "5", "{}", done.stderr);
    assert_eq!(site.bench.out("07.out"), "WAIT 300");
    assert_eq!(
        site.bench.err("21.err")["message"].as_str().map(|m| m.contains("trap")),
        Some(true)
    );
    assert_eq!(site.bench.names().len(), 23);
    assert_eq!(given(&fake.submissions()[0], "array").as_deref(), Some("0-1"));
}

#[test]
fn each_worker_has_as_many_files_in_flight() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["1.txt", "2.txt", "3.txt", "4.txt", "5.txt", "6.txt", "7.txt"], "text");
    let more = ["--max-workers", "2", "--concurrency-limit", "3", "--dir", &site.gate.grant()];
    let live = site.start(site.command(&fake, &guest("gated"), &more));
    site.gate.wait("seen-6");
    wait_until("it is known how many are at work", || site.bench.status()["running"] == 6);
    site.gate.open("open");
    live.wait().expect(0);
    assert!(!site.gate.has("seen-7"));
    assert_eq!(site.gate.count("setup-"), site.gate.count("teardown-"));
    assert_eq!(site.bench.names().len(), 7);
}

#[test]
fn a_task_that_takes_one_file_at_a_time_has_one_worker() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["1.txt", "2.txt", "3.txt", "4.txt", "5.txt"], "text");
    let notes = site.bench.path().join("notes");
    fs::create_dir(&notes).expect("a directory");
    let grant = format!("{}::/notes:rw", notes.display());
    let more = ["--max-workers", "4", "--cpus", "2", "--dir", &grant, "--env", "SINGLE_KEY=x"];
    let done = finish(&mut site.command(&fake, &guest("single"), &more)).expect(0);
    done.says("--max-workers 4 is lowered to 1");
    assert_eq!(fake.squeue().len(), 1, "{}", shown(&fake.squeue()));
    let calls = fs::read_to_string(notes.join("calls")).expect("notes");
    let calls: Vec<&str> = calls.lines().collect();
    let expected = [&["setup"][..], &["begin", "end"].repeat(5), &["teardown"]].concat();
    assert_eq!(calls, expected);
    assert_eq!(given(&fake.submissions()[0], "cpus-per-task").as_deref(), Some("2"));
}
