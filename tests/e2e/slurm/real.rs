//! What only Slurm itself shows: its limits, its ends of jobs, its nodes.

use std::os::unix::fs::DirBuilderExt;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tigerflow_tests::cluster::{Options, alive};

use super::*;

/// Kills a worker's process, as the kernel does where memory is short.
#[track_caller]
fn kill_worker(cluster: &Cluster, job: &str) {
    let processes = cluster.processes(job);
    assert!(!processes.is_empty(), "{job} runs");
    for process in processes {
        let process = Pid::from_raw(process).expect("a process");
        let _ = kill_process(process, Signal::KILL);
    }
}

#[test]
fn the_command_of_tigerflows_page() {
    let options = Options { nodes: 2, mem_mb: 16_000, gpus: 1, ..Options::default() };
    let Some(cluster) = Cluster::start(&options) else { return };
    let site = Site::new();
    for number in 0..8 {
        site.bench.add(format!("{number}.mp4"), content(number));
    }
    let mut command = cluster.host();
    command.arg("run").arg(guest("slow")).arg("--input-dir").arg(site.bench.input());
    command.args(["--input-ext", ".mp4", "--output-dir"]).arg(site.bench.output());
    command.args(["--output-ext", ".txt", "--max-workers", "3", "--cpus", "1", "--memory", "12G"]);
    command.args(["--time", "02:00:00", "--gpus", "1"]);
    command.args(["--sbatch-option", "--mail-user=sp8538@princeton.edu"]);
    command.args(["--setup-command", "module purge"]);
    command.args(["--setup-command", "module load anaconda3/2024.6"]);
    command.args(["--setup-command", "conda activate tiktok"]);
    command.args(["--pause", "600", "--squeue-interval", "500ms"]);
    let live = site.start(command);
    live.says("Submitted 3 workers with Slurm job ID ").says("Status changed: INACTIVE -> PENDING");
    // There are two GPUs.
    live.says("-> ACTIVE (2 workers)").says("conda activate tiktok").says(" processed files");
    wait_until("status shows the third", || {
        let workers = site.bench.status()["workers"]["all"].clone();
        let all = workers.as_array().cloned().unwrap_or_default();
        all.iter().any(|worker| worker["state"] == "pending" && worker["reason"] == "Resources")
            || site.bench.names().len() == 8
    });
    wait_until("all is done", || site.bench.names().len() == 8);
    for number in 0..8 {
        assert_eq!(site.bench.out(format!("{number}.txt")), content(number).to_uppercase());
    }
    let started = site.workers("worker-started");
    assert!(started.len() >= 2);
    for record in &started {
        assert_eq!((&record["cpus"], &record["gpus"]), (&1.into(), &"0".into()), "{record}");
    }
    let job = cluster.scontrol(&["show", "job", &text(&started[0]["job"])]);
    for word in ["TimeLimit=02:00:00", "gpu", "JobName=tigerflow-slow", "mem=12G"] {
        assert!(job.contains(word), "{word}: {job}");
    }
    live.signal(Signal::INT);
    let done = live.wait().expect(130);
    for command in ["module purge", "module load anaconda3/2024.6", "conda activate tiktok"] {
        let warning = format!("--setup-command `{command}` ended with exit code 127 on node");
        assert_eq!(done.stderr.matches(&warning).count(), 1, "{warning}: {}", done.stderr);
    }
    done.says("Received signal 2, initiating shutdown").says("Task shutdown complete");
    assert_no_job(&cluster);

    // The directories have any name, which Slurm's options must bear.
    for name in ["100% %a_%j 'it' \"is\" $HOME `x`", "back\\slash %a", "größe;&|* #"] {
        let place = site.bench.path().join(name);
        fs::DirBuilder::new().mode(0o755).recursive(true).create(place.join("in")).expect("in");
        for number in 0..3 {
            fs::write(place.join(format!("in/{number}.txt")), content(number)).expect("a file");
        }
        let mut command = cluster.host();
        command.arg("run").arg(guest("upper")).arg("--input-dir").arg(place.join("in"));
        command.args(["--input-ext", ".txt", "--output-dir"]).arg(place.join("out"));
        command.args(["--output-ext", ".out", "--max-workers", "2", "--files-per-worker", "1"]);
        finish(command.args(["--once", "--squeue-interval", "500ms"])).expect(0);
        for number in 0..3 {
            let output = fs::read_to_string(place.join(format!("out/{number}.out")));
            assert_eq!(output.expect("an output"), content(number).to_uppercase(), "{name}");
        }
    }
    assert_no_job(&cluster);
}

#[test]
fn whatever_slurm_does_to_a_job_its_files_are_done() {
    let Some(cluster) = Cluster::start(&Options { nodes: 3, cpus: 2, ..Options::default() }) else {
        return;
    };
    let names: Vec<String> = (0..8).map(|n| format!("{n}.txt")).collect();
    let site = Site::with(&names.iter().map(String::as_str).collect::<Vec<_>>(), "wait here");
    let live = site.start(site.witness(&cluster, &["--max-workers", "6"]));
    site.wait_for_calls(6);
    let jobs = cluster.running();
    assert_eq!(jobs.len(), 6, "{}", shown(&jobs));
    let on = |node: &str| -> Vec<String> {
        jobs.iter().filter(|job| job.node == node).map(|job| job.id.clone()).collect()
    };
    let (first, second, third) = (on("node1"), on("node2"), on("node3"));
    // A node that Slurm has lost, and that works on.
    let left: Vec<i32> = third.iter().flat_map(|job| cluster.processes(job)).collect();
    cluster.kill_slurmd("node3");
    cluster.node_down("node3");
    kill_worker(&cluster, &first[0]);
    cluster.requeue(&first[1]);
    cluster.cancel(&second[0]);
    finish(cluster.command("scontrol").args([
        "update",
        &format!("JobId={}", second[1]),
        "TimeLimit=0",
    ]))
    .expect(0);
    wait_until("all are missed", || site.workers("worker-ended").len() >= 6);
    site.gate.open("open");
    cluster.start_slurmd("node3");
    cluster.node_resume("node3");
    let done = live.wait().expect(0);
    site.assert_all_witnessed();
    let ends = site.ends();
    let ended = |job: &str, how: &str| {
        let of_job = ends.get(job).cloned().unwrap_or_default();
        assert!(of_job.iter().any(|end| end.contains(how)), "{job}, `{how}`: {ends:#?}");
    };
    ended(&first[0], "FAILED");
    ended(&first[1], "requeued");
    ended(&second[0], "CANCELLED");
    ended(&second[1], "TIMEOUT");
    third.iter().for_each(|job| ended(job, "requeued"));
    assert_no_job(&cluster);
    wait_until("nobody is left", || !left.iter().any(|&process| alive(process)));
    assert!(site.gate.count("call-") <= 14, "{}", done.stderr);
}

#[test]
fn memory_and_time_are_what_was_asked_for() {
    let Some(cluster) = Cluster::start(&Options { nodes: 2, ..Options::default() }) else { return };
    // Of two runs on one cluster, one has little time for each worker.
    let short = Site::with_files(32);
    let more = ["--max-workers", "1", "--time", "1", "--pause", "2000"];
    let live = short.start(short.witness(&cluster, &more));

    let site = Site::with_files(12);
    site.bench.add("0003-bad.txt", "eat 700");
    let more = ["--max-workers", "2", "--memory", "250M", "--files-per-worker", "4"];
    let more = [&more[..], &["--pause", "500", "--memory-limit", "2G"]].concat();
    let done = finish(&mut site.witness(&cluster, &more)).expect(3);
    for number in 0..12 {
        site.assert_witnessed(&format!("{number:04}.txt"));
    }
    let error = site.bench.err("0003-bad.err");
    assert_eq!(error["exception_type"], "WorkerLost", "{error}");
    let message = text(&error["message"]);
    // Without control groups Slurm has no other word for it.
    assert!(message.contains("FAILED") || message.contains("OUT_OF_MEMORY"), "{message}");
    site.assert_none_late();
    site.assert_recorded_once();
    assert!(site.workers("worker-started").len() <= 5, "{}", done.stderr);

    let done = live.wait().expect(0).says("its wall time is nearly over");
    short.assert_all_witnessed();
    assert_eq!(short.gate.count("call-"), 32, "none was cut off:\n{}", done.stderr);
    assert_eq!(short.workers("worker-started").len(), 2, "{}", done.stderr);
    assert!(!done.stderr.contains("TIMEOUT"), "{}", done.stderr);
    assert_no_job(&cluster);
}

#[test]
fn a_coordinator_that_died_finds_its_jobs() {
    let Some(cluster) = Cluster::start(&Options::default()) else { return };
    let site = Site::with_files(80);
    let more = ["--max-workers", "3", "--files-per-worker", "20", "--pause", "150"];
    let start = || site.start(site.witness(&cluster, &more));
    // At the first moment at which Slurm may have taken the jobs.
    let live = start();
    wait_until("it submits", || {
        let runs = site.bench.output().join(".tigerflow/witness/slurm");
        let runs = fs::read_dir(runs).into_iter().flatten().filter_map(Result::ok);
        let mut ledgers = runs.map(|run| fs::read_to_string(run.path().join("ledger.jsonl")));
        ledgers.any(|ledger| ledger.is_ok_and(|text| text.contains("submitting")))
    });
    live.kill();
    let live = start();
    site.wait_for_calls(12);
    live.kill();
    site.wait_for_calls(15);
    start().wait().expect(0);
    site.assert_all_witnessed();
    assert_eq!(site.gate.count("call-"), 80, "nothing was begun twice");
    assert_eq!(cluster.squeue().len(), 3, "{}", shown(&cluster.squeue()));
    assert_no_job(&cluster);

    // A second Ctrl-C, with jobs that run and one that waits.
    let site = Site::with_files(12);
    let more = ["--max-workers", "10", "--files-per-worker", "1", "--pause", "60000"];
    let live = site.start(site.witness(&cluster, &more));
    site.wait_for_calls(8);
    live.signal(Signal::INT).says("initiating shutdown");
    live.signal(Signal::INT);
    live.wait().expect(130);
    wait_until("no job is left", || cluster.queue_is_empty());
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        assert_no_job(&cluster);
        std::thread::sleep(Duration::from_millis(100));
    }
}
