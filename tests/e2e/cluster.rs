//! The clusters that tests of the Slurm executor run on: the real ones and the
//! fake, with jobs of a few shell lines. What the tests rely on is shown here.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tigerflow_tests::cluster::{Cluster, Job, Options, alive};
use tigerflow_tests::fake_slurm::{FakeSlurm, Fault, Times};
use tigerflow_tests::{Done, finish, wait_until};

/// Each start adds a line to `log.TASK`; then it waits.
const WAITING: &str = r#"#!/bin/bash
echo "$SLURM_JOB_ID $SLURM_ARRAY_JOB_ID restart=$SLURM_RESTART_COUNT $SLURMD_NODENAME" >>log.$SLURM_ARRAY_TASK_ID
exec sleep 600
"#;

/// A task for each way to end; the fourth waits to be cancelled.
const ENDINGS: &str = r#"#!/bin/bash
case $SLURM_ARRAY_TASK_ID in
  0) exit 0 ;;
  1) exit 7 ;;
  2) kill -KILL $$ ;;
  *) exec sleep 600 ;;
esac
"#;

fn lines(directory: &Path, task: u32) -> Vec<String> {
    let text = fs::read_to_string(directory.join(format!("log.{task}"))).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The one process of a job that has written its line and is becoming `sleep`: while
/// it does, its environment cannot be read.
fn sleeper(cluster: &Cluster, job: &str) -> i32 {
    let mut found = Vec::new();
    wait_until("the script has become `sleep`", || {
        found = cluster.processes(job);
        found.len() == 1
    });
    found[0]
}

/// What both have in common, for tests that compare them.
struct Either<'a> {
    sbatch: &'a dyn Fn(&[&str], &str) -> String,
    squeue: &'a dyn Fn() -> Vec<Job>,
    command: &'a dyn Fn(&str) -> Command,
}

impl Either<'_> {
    fn run(&self, program: &str, arguments: &[&str]) -> Done {
        finish((self.command)(program).args(arguments))
    }

    fn state(&self, id: &str) -> String {
        let jobs = (self.squeue)();
        jobs.into_iter().find(|job| job.id == id).map(|job| job.state).unwrap_or_default()
    }

    /// Submits, cancels and asks for what is not there; returns what came of it.
    fn story(&self) -> Vec<String> {
        let mut said = vec![];
        let mut say = |what: &str, done: Done| {
            said.push(format!("{what}: {} {:?} {:?}", done.code, done.stdout, done.stderr));
        };
        let base = (self.sbatch)(&["--array=0-4", "--output=/dev/null"], ENDINGS);
        wait_until("three have ended, and two run", || {
            let now = ["0", "1", "2", "3", "4"].map(|i| self.state(&format!("{base}_{i}")));
            now == ["COMPLETED", "FAILED", "FAILED", "RUNNING", "RUNNING"]
        });
        say("cancel", self.run("scancel", &[&format!("{base}_3")]));
        wait_until("it is cancelled", || self.state(&format!("{base}_3")) == "CANCELLED");
        say("cancel one that ended", self.run("scancel", &[&format!("{base}_0")]));
        say("cancel an unknown one", self.run("scancel", &["777777"]));
        let format = ["-h", "-r", "-t", "all", "-o", "%i|%F|%K|%T|%r|%j|%k|%L"];
        let ask = |jobs: &str| self.run("squeue", &[&format[..], &["-j", jobs]].concat());
        let sorted = |mut done: Done| {
            let mut lines: Vec<&str> = done.stdout.lines().collect();
            lines.sort();
            done.stdout = lines.join("\n");
            done
        };
        // The time that is left has no place in a comparison.
        let timeless = |mut done: Done| {
            let lines = done.stdout.lines().filter_map(|line| Some(line.rsplit_once('|')?.0));
            done.stdout = lines.collect::<Vec<_>>().join("\n");
            done
        };
        say("all", sorted(timeless(ask(&base))));
        say("one unknown", ask("777777"));
        say("two unknown", ask("777777,777778"));
        let open = ["-h", "-r", "-o", "%i %T"];
        say("what is open", self.run("squeue", &open));
        say("cancel the array", self.run("scancel", &[&base]));
        wait_until("all have ended", || self.run("squeue", &open).stdout.is_empty());
        let held = (self.sbatch)(&["--array=0-2", "--hold", "-J", "held"], WAITING);
        say("cancel one that waits", self.run("scancel", &[&format!("{held}_1")]));
        let id = format!("{held}_1");
        wait_until("it is gone", || self.state(&id) != "PENDING");
        let named = [&format[..5], &["%K|%T|%r|%N|%j", "--name=held"]].concat();
        say("those left", sorted(self.run("squeue", &named)));
        say("cancel those", self.run("scancel", &[&held]));
        say("those are cancelled", sorted(self.run("squeue", &named)));
        let bad_time = ["--test-only", "--time=soon", "--wrap=true"];
        say("a bad time", self.run("sbatch", &bad_time));
        say("no interpreter", self.run("sbatch", &["--test-only", "/etc/passwd"]));
        let check = self.run("sbatch", &["--test-only", "--wrap=true"]);
        assert!(check.stderr.contains(" to start at "), "{}", check.stderr);
        assert!(check.stdout.is_empty() && check.code == 0);
        said
    }
}

#[test]
fn the_fake_tells_what_the_real_one_tells() {
    let fake = FakeSlurm::new();
    let of_fake = Either {
        sbatch: &|arguments, script| fake.sbatch(arguments, script),
        squeue: &|| fake.squeue(),
        command: &|program| fake.command(program),
    };
    let fakes = of_fake.story();
    let Some(real) = Cluster::start(&Options::default()) else { return };
    let of_real = Either {
        sbatch: &|arguments, script| real.sbatch(arguments, script),
        squeue: &|| real.squeue(),
        command: &|program| real.command(program),
    };
    for (fake, real) in fakes.iter().zip(of_real.story()) {
        assert_eq!(*fake, real, "the fake, and the real one");
    }
}

#[test]
fn a_job_of_the_cluster_is_requeued_and_is_gone_with_it() {
    let Some(cluster) = Cluster::start(&Options { nodes: 1, ..Options::default() }) else { return };
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path().to_str().expect("a plain path");
    let base = cluster.sbatch(&["--array=0-1", "--output=/dev/null", "-D", directory], WAITING);
    let (first, second) = (format!("{base}_0"), format!("{base}_1"));
    wait_until("both run", || (0..2).all(|task| lines(place.path(), task).len() == 1));
    let job = cluster.job(&first).expect("it is known");
    assert_eq!((job.state.as_str(), job.node.as_str()), ("RUNNING", "node1"));
    assert_eq!((job.array_base.to_string(), job.array_index), (base.clone(), Some(0)));
    assert!(lines(place.path(), 0)[0].starts_with(&format!("{} {base} restart= ", job.job_id)));
    assert!(!cluster.queue_is_empty());

    cluster.requeue(&first);
    wait_until("it waits", || cluster.state(&first) == "PENDING");
    wait_until("it runs again", || lines(place.path(), 0).len() == 2);
    let again = cluster.job(&first).expect("it is known");
    assert_eq!((again.id, again.job_id), (first.clone(), job.job_id), "it keeps its numbers");
    assert!(lines(place.path(), 0)[1].contains("restart=1"));

    cluster.cancel(&second);
    wait_until("it is cancelled", || cluster.state(&second) == "CANCELLED");
    assert!(cluster.processes(&second).is_empty());
    let process = sleeper(&cluster, &first);
    drop(cluster);
    assert!(!alive(process));
}

#[test]
fn nodes_of_the_cluster_are_lost() {
    let Some(cluster) = Cluster::start(&Options { cpus: 2, ..Options::default() }) else { return };
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path().to_str().expect("a plain path");
    let submit = |more: &str, tasks: &str| {
        let arguments = ["--output=/dev/null", "-D", directory, "-w", "node1", more, tasks];
        cluster.sbatch(&arguments, WAITING)
    };
    let again = submit("--requeue", "--array=0");
    let lost = submit("--no-requeue", "--array=1");
    let (again, lost) = (format!("{again}_0"), format!("{lost}_1"));
    wait_until("both run", || (0..2).all(|task| lines(place.path(), task).len() == 1));

    let left = [&again, &lost].map(|id| sleeper(&cluster, id));

    // Slurm gives the node up, where the work goes on.
    cluster.kill_slurmd("node1");
    cluster.node_down("node1");
    assert_eq!(cluster.state(&again), "PENDING");
    let job = cluster.job(&lost).expect("it is known");
    assert_eq!((job.state.as_str(), job.reason.as_str()), ("NODE_FAIL", "NodeDown"));
    assert!(left.iter().all(|&pid| alive(pid)), "they work on");

    cluster.start_slurmd("node1");
    wait_until("its daemon clears up", || !left.iter().any(|&pid| alive(pid)));
    cluster.node_resume("node1");
    wait_until("it runs again", || lines(place.path(), 0).len() == 2);
    assert!(lines(place.path(), 0)[1].contains("restart=1"));

    // A node that is merely taken out of service kills its jobs.
    let left = sleeper(&cluster, &again);
    cluster.node_down("node1");
    wait_until("it is gone", || !alive(left));
}

#[test]
fn the_controller_of_the_cluster_is_away() {
    let options = Options { nodes: 1, gpus: 1, ..Options::default() };
    let Some(cluster) = Cluster::start(&options) else { return };
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path().to_str().expect("a plain path");
    let gpu = ["--array=0", "--output=/dev/null", "--gres=gpu:1", "-D", directory];
    let base = cluster.sbatch(&gpu, WAITING);
    wait_until("it runs", || lines(place.path(), 0).len() == 1);
    let left = sleeper(&cluster, &format!("{base}_0"));

    cluster.stop_controller();
    let done = finish(cluster.command("squeue").arg("-h")).expect(1);
    done.says("Unable to contact slurm controller");
    assert!(alive(left), "jobs go on");
    cluster.start_controller();
    assert_eq!(cluster.state(&format!("{base}_0")), "RUNNING");
    let waits = cluster.sbatch(&gpu, WAITING);
    cluster.cancel(&base);
    wait_until("the next has the GPU", || cluster.state(&format!("{waits}_0")) == "RUNNING");
}

#[test]
fn what_the_fake_is_called_with_is_known() {
    let fake = FakeSlurm::new();
    let script = "#!/bin/bash\n#SBATCH --comment 'of the script' --time=5\necho $1 $WORD >out.$SLURM_JOB_ID\n";
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path().to_str().expect("a plain path");
    let mut sbatch = fake.command("sbatch");
    sbatch.args(["--test-only", "--nice", "-c2", "--wrap=x"]);
    finish(&mut sbatch).expect(0);
    let arguments = ["-D", directory, "--export=ALL,WORD=given", "-t", "1-0", "-c", "3"];
    let id = fake.sbatch(&arguments, script);
    wait_until("it ends", || fake.state(&id) == "COMPLETED");
    let written = fs::read_to_string(place.path().join(format!("out.{id}"))).expect("it wrote");
    assert_eq!(written, "given\n");
    let shown = ["-h", "-r", "-t", "CD", "-o", "%k %L %.4i"];
    let done = finish(fake.command("squeue").args(shown)).expect(0);
    // Options of the command line win over those of the script. A second may have passed.
    let left = done.stdout.trim_start_matches("of the script ");
    assert!(left.starts_with("1-00:00:00") || left.starts_with("23:59:5"), "{}", done.stdout);
    assert!(left.ends_with(&format!(" {id:>4}\n")), "{}", done.stdout);

    let calls = fake.calls("sbatch");
    assert_eq!(calls.len(), 2);
    assert!(calls[0].has("-c2") && calls[0].script.ends_with("x\n"));
    assert_eq!(fake.submissions().len(), 1);
    assert_eq!(fake.submissions()[0].script, script);
    assert_eq!(fake.calls("squeue").len(), 1, "those of the harness are not counted");
}

#[test]
fn the_fake_fails_on_demand() {
    let fake = FakeSlurm::new();
    let sbatch = |job: &str| {
        let mut command = fake.command("sbatch");
        command.args(["--output=/dev/null", job]);
        command
    };
    fake.fail_submissions(2, "sbatch: error: no\nnot now");
    for _ in 0..2 {
        let done = finish(&mut sbatch("--wrap=true")).expect(1);
        assert_eq!(done.stderr, "sbatch: error: no\nnot now\n");
    }
    finish(&mut sbatch("--wrap=true")).expect(0);
    fake.fail(Fault::Check, Times::Next(1), 255, "bad");
    finish(&mut sbatch("--wrap=true")).expect(0);
    finish(sbatch("--wrap=true").arg("--test-only")).expect(255).says("bad");
    wait_until("both have ended", || fake.queue_is_empty());

    fake.fail(Fault::Reply, Times::Next(1), 1, "Socket timed out");
    let done = finish(&mut sbatch("--wrap=sleep 600")).expect(1);
    assert_eq!(done.stdout, "");
    assert_eq!(fake.squeue().len(), 3, "it was accepted");

    fake.squeue_down(true);
    finish(fake.command("squeue").args(["-h", "-r", "-o", "%i"]))
        .expect(1)
        .says("Unable to contact");
    assert_eq!(fake.squeue().len(), 3, "but the test may look");
    fake.squeue_down(false);
    finish(fake.command("squeue").args(["-h", "-r", "-o", "%i"])).expect(0);
    fake.delay("squeue", Duration::from_millis(300));
    let begun = std::time::Instant::now();
    finish(fake.command("squeue").args(["-h", "-r", "-o", "%i"])).expect(0);
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[test]
fn jobs_of_the_fake_wait_fail_and_come_back() {
    let fake = FakeSlurm::new();
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path().to_str().expect("a plain path");
    let arguments = ["--array=0-2%2", "--output=/dev/null", "-D", directory];
    fake.hold_for("QOSMaxJobsPerUserLimit");
    let base = fake.sbatch(&arguments, WAITING);
    let id = |task: u32| format!("{base}_{task}");
    let reason = |task| fake.job(&id(task)).expect("it is known").reason;
    assert_eq!(
        (fake.state(&id(0)), reason(0)),
        ("PENDING".into(), "QOSMaxJobsPerUserLimit".into())
    );
    fake.slots(1);
    fake.hold(false);
    let started = |task: u32, times| {
        wait_until("it has started", || lines(place.path(), task).len() == times);
    };
    started(0, 1);
    assert_eq!((fake.state(&id(1)), reason(1)), ("PENDING".into(), "Resources".into()));
    fake.slots(5);
    started(1, 1);
    assert_eq!(reason(2), "JobArrayTaskLimit");
    assert!(fake.process(&id(2)).is_none());

    // One that dies makes room.
    fake.kill(&id(1), "KILL");
    started(2, 1);
    assert_eq!((fake.state(&id(1)), reason(1)), ("FAILED".into(), "JobLaunchFailure".into()));

    let first = fake.process(&id(0)).expect("it runs");
    fake.requeue(&id(0));
    started(0, 2);
    assert!(!alive(first));
    assert!(lines(place.path(), 0)[1].contains("restart=1"));

    let second = fake.process(&id(0)).expect("it runs");
    fake.lose_node(&id(0));
    started(0, 3);
    assert!(alive(second), "it works on");
    wait_until("it runs", || fake.process(&id(0)).is_some());
    let third = fake.process(&id(0)).expect("it runs");

    fake.set_state(&id(2), "NODE_FAIL");
    assert_eq!((fake.state(&id(2)), reason(2)), ("NODE_FAIL".into(), "NodeDown".into()));
    fake.true_state(&id(2));
    assert_eq!(fake.state(&id(2)), "RUNNING");
    fake.forget(&id(2));
    assert_eq!(fake.state(&id(2)), "");
    let path = fake.path().to_path_buf();
    drop(fake);
    assert!(![first, second, third].into_iter().any(alive));
    assert!(!path.exists());
}
