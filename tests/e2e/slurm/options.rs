//! What is asked for: options, and what Slurm refuses.

use std::fs;

use tigerflow_tests::cluster::Options;

use super::*;

/// A run of the guest `upper` on one file, which must not come to it.
#[track_caller]
fn refused(slurm: &dyn Slurm, more: &[&str], says: &[&str]) {
    let site = Site::with(&["a.txt"], "text");
    fs::remove_dir(site.bench.output()).expect("out is empty");
    let done = finish(slurm.aim(site.bench.serve(&guest("upper"), more)).arg("--once"));
    assert_eq!(done.code, 2, "{more:?}: {}", done.stderr);
    for text in says {
        assert!(done.stderr.contains(text), "{more:?}: `{text}` is missing in {}", done.stderr);
    }
    assert!(!site.bench.output().exists(), "{more:?}: something was made");
}

#[test]
fn options_of_workers_are_for_workers() {
    let fake = FakeSlurm::new();
    let options = [
        ["--min-workers", "1"],
        ["--cpus", "2"],
        ["--memory", "1G"],
        ["--time", "10"],
        ["--gpus", "1"],
        ["--sbatch-option", "--nice"],
        ["--setup-command", "true"],
        ["--files-per-worker", "3"],
        ["--worker-idle-timeout", "1m"],
        ["--grace", "1m"],
        ["--squeue-interval", "1m"],
    ];
    for option in options {
        refused(&fake, &option, &[option[0], "--max-workers"]);
    }
    refused(&fake, &["--executor", "slurm"], &["--max-workers"]);
    refused(&fake, &["--executor", "local", "--max-workers", "2"], &["--max-workers"]);
    assert!(fake.calls("sbatch").is_empty());
}

#[test]
fn values_that_cannot_be_are_refused_before_anything_is_made() {
    let fake = FakeSlurm::new();
    let workers = |more: &[&str], says: &[&str]| {
        refused(&fake, &[&["--max-workers", "2"], more].concat(), says);
    };
    workers(&["--max-workers", "0"], &["--max-workers"]);
    workers(&["--min-workers", "3"], &["--min-workers 3", "--max-workers 2"]);
    workers(&["--cpus", "0"], &["--cpus"]);
    workers(&["--gpus", "0"], &["--gpus"]);
    workers(&["--time", "soon"], &["--time", "1:30:00"]);
    workers(&["--memory", "lots"], &["--memory", "12G"]);
    workers(&["--files-per-worker", "0"], &["--files-per-worker"]);
    for option in ["--array=1-3", "-a1", "--output=x", "-o x", "--wrap=true", "--parsable", "-W"] {
        workers(&["--sbatch-option", option], &["--sbatch-option", option]);
    }
    workers(&["--sbatch-option", "partition=gpu"], &["partition=gpu", "`-`"]);
    workers(&["--sbatch-option", "--comment='open"], &["--comment"]);
    workers(&["--sbatch-option", "--nice\n#SBATCH --hold"], &["--sbatch-option"]);
    workers(&["--memory", "1G", "--sbatch-option", "--mem=2G"], &["--memory"]);
    workers(&["--setup-command", "echo 'open"], &["--setup-command", "echo 'open"]);
    workers(&["--setup-command", "if true"], &["--setup-command", "if true"]);
    assert!(fake.calls("sbatch").is_empty(), "Slurm was not asked");

    let no = "sbatch: error: Batch job submission failed: Invalid account or account/partition \
              combination specified";
    fake.fail(Fault::Check, Times::Always, 1, no);
    workers(&["--sbatch-option", "--account=none"], &["Invalid account", "--account"]);
    assert!(fake.submissions().is_empty());
}

#[test]
fn slurm_itself_refuses_before_anything_is_made() {
    let Some(cluster) = Cluster::start(&Options { nodes: 1, ..Options::default() }) else { return };
    let workers = |more: &[&str], says: &[&str]| {
        refused(&cluster, &[&["--max-workers", "2"], more].concat(), says);
    };
    workers(&["--memory", "999999G"], &["--memory"]);
    workers(&["--cpus", "999"], &["--cpus"]);
    workers(&["--gpus", "1"], &["--gpus"]);
    workers(&["--sbatch-option", "--partition=none"], &["invalid partition", "sinfo"]);
    workers(&["--sbatch-option", "--no-such-option"], &["no-such-option"]);
    workers(&["--sbatch-option=--constraint=none"], &["nvalid feature"]);
    assert!(cluster.squeue().is_empty(), "{}", shown(&cluster.squeue()));
}

#[test]
fn without_sbatch_it_says_so() {
    let site = Site::with(&["a.txt"], "text");
    let fake = FakeSlurm::new();
    let mut command = site.command(&fake, &guest("upper"), &["--max-workers", "2"]);
    let done = finish(command.env("PATH", site.bench.path())).expect(2);
    done.says("`sbatch` was not found").says("login node");
    assert_eq!(fs::read_dir(site.bench.output()).expect("out").count(), 0);
}

#[test]
fn what_is_asked_for_is_what_slurm_is_asked_for() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt"], "text");
    let more = [
        "--max-workers",
        "2",
        "--cpus",
        "3",
        "--files-per-worker",
        "1",
        "--memory",
        "12G",
        "--time",
        "02:00:00",
        "--gpus",
        "1",
        "--sbatch-option",
        "--mail-user=sp@example.edu",
        "--sbatch-option=-p gpu --nice=5",
        "--sbatch-option=--comment='it is \"mine\"'",
        "--setup-command",
        "export FIRST='one two'",
        "--setup-command",
        "echo \"$FIRST\" >\"$HOME/$SLURM_ARRAY_TASK_ID\"; false",
    ];
    let mut command = site.command(&fake, &guest("upper"), &more);
    let home = site.bench.path().join("home");
    fs::create_dir(&home).expect("a home");
    let done = finish(command.env("HOME", &home).env("SBATCH_PARTITION", "other")).expect(0);
    let done = done.says("Submitted 2 workers with Slurm job ID ").says("ACTIVE (");
    let done = done.says("2 processed files").says("exit code 1").says("echo \"$FIRST\"");
    assert_eq!(done.stderr.matches("exit code 1").count(), 1, "{}", done.stderr);
    assert_eq!((site.bench.out("a.out"), site.bench.out("b.out")), ("TEXT".into(), "TEXT".into()));

    let submissions = fake.submissions();
    assert_eq!(submissions.len(), 1, "one array");
    let call = &submissions[0];
    let expected = [
        ("cpus-per-task", "3"),
        ("mem", "12G"),
        ("time", "02:00:00"),
        ("gpus", "1"),
        ("array", "0-1"),
        ("mail-user", "sp@example.edu"),
        ("nodes", "1"),
        ("partition", "gpu"),
    ];
    for (option, value) in expected {
        assert_eq!(given(call, option).as_deref(), Some(value), "{option}: {call:?}");
    }
    assert!(call.script.contains("--nice=5"), "{call:?}");
    for index in ["0", "1"] {
        assert_eq!(fs::read_to_string(home.join(index)).expect("it ran"), "one two\n");
    }
    assert_no_job(&fake);
}

pub(super) fn the_host_is_not_there() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt"], "text");
    // Nodes see another /opt than the login node.
    let copy = site.bench.path().join("opt/tigerflow-host");
    fs::create_dir(copy.parent().expect("opt")).expect("opt");
    fs::copy(tigerflow_tests::binary(), &copy).expect("a copy");
    let plain = site.command(&fake, &guest("upper"), &["--max-workers", "2"]);
    let mut command = Command::new(&copy);
    command.args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    fake.hold(true);
    let live = site.start(command);
    live.says("PENDING (Reason: Resources)");
    fs::remove_file(&copy).expect("it is gone");
    fake.hold(false);
    let done = live.wait();
    assert!([1, 4].contains(&done.code), "{}", done.stderr);
    let done = done.says("tigerflow-host is not at `").says(&copy.display().to_string());
    let done = done.says("do the compute nodes see");
    assert!(site.log("1-0").contains("tigerflow-host is not at `"));
    let workers = done.stderr.matches("its log ends so").count();
    assert!((2..=4).contains(&workers), "after a few tries:\n{}", done.stderr);
    assert!(site.bench.names().is_empty(), "the file is still to do");
    assert_no_job(&fake);
}

/// Slurm ends a job whose log cannot be opened before it begins, as the fake does
/// where the directory to work in is gone.
pub(super) fn logs_cannot_be_opened() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt"], "text");
    let gone = site.bench.path().join("gone");
    fs::create_dir(&gone).expect("a directory");
    let mut command = site.command(&fake, &guest("upper"), &["--max-workers", "1"]);
    command.current_dir(&gone).env("PWD", &gone);
    fake.hold(true);
    let live = site.start(command);
    live.says("PENDING (Reason: Resources)");
    fs::remove_dir(&gone).expect("it is gone");
    fake.hold(false);
    let done = live.wait();
    assert!([1, 4].contains(&done.code), "{}", done.stderr);
    done.says("its log is empty").says("do the compute nodes see the output directory");
    assert_no_job(&fake);
}

pub(super) fn outputs_cannot_be_seen() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt"], "text");
    let out = site.bench.output();
    let elsewhere = format!(
        "[ -n \"$ELSEWHERE\" ] || {{ export ELSEWHERE=1; exec unshare --map-root-user --mount bash \
         -c 'mount -t tmpfs none \"$1\" && exec bash \"$2\"' bash '{}' \"$0\"; }}",
        out.display()
    );
    let more = ["--max-workers", "1", "--setup-command", &elsewhere];
    let done = finish(&mut site.command(&fake, &guest("upper"), &more));
    if done.stderr.contains("unshare:") {
        return eprintln!("SKIPPED: namespaces are not allowed here");
    }
    assert!([1, 4].contains(&done.code), "{}", done.stderr);
    done.says("the run's directory `").says("is not there on node").says("shared file system");
    assert_no_job(&fake);
}

#[test]
fn a_setup_that_fails_everywhere_stops_the_run() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt", "c.txt"], "good text");
    let more = ["--max-workers", "2", "--at-setup", "fail 7"];
    let done = finish(&mut site.command(&fake, &guest("misbehave"), &more)).expect(4);
    let done =
        done.says("Task setup failed").says("7 is no answer").says("another worker will try");
    let started = site.workers("worker-started").len();
    assert!((3..=5).contains(&started), "{started} workers:\n{}", done.stderr);
    assert!(site.bench.names().is_empty(), "the files are still to do");
    assert_no_job(&fake);
}
