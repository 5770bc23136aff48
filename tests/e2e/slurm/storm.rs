//! All that can happen to a run, in one run.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tigerflow_tests::cluster::Options;

use super::*;

/// Kills the processes of a job.
fn kill_all(cluster: &Cluster, job: &str) {
    for process in cluster.processes(job) {
        let _ = kill_process(Pid::from_raw(process).expect("a process"), Signal::KILL);
    }
}

#[test]
fn two_thousand_files_outlast_every_fault() {
    const FILES: usize = 2_000;
    let extra = "MessageTimeout=3".to_owned();
    let options = Options { nodes: 3, cpus: 2, extra, ..Options::default() };
    let Some(cluster) = Cluster::start(&options) else { return };
    let site = Site::with_files(FILES);
    let more = ["--max-workers", "6", "--files-per-worker", "50", "--pause", "300"];
    let start = || site.start(site.witness(&cluster, &more));
    let begun = Instant::now();
    let story = |what: &str| {
        let outputs = site.bench.names().len();
        eprintln!("{:5.1} s: {outputs} outputs, {what}", begun.elapsed().as_secs_f64());
    };
    let wait_for = |outputs: usize| {
        let from = Instant::now();
        while site.bench.names().len() < outputs {
            assert!(from.elapsed() < Duration::from_secs(100), "{outputs} outputs do not come");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let some_job = || {
        wait_until("a job runs", || !cluster.running().is_empty());
        cluster.running().pop().expect("a job runs")
    };

    let live = start();
    wait_for(100);
    let job = some_job();
    story(&format!("kill -9 of the worker of {}", job.id));
    kill_all(&cluster, &job.id);
    wait_for(200);
    story("node1 goes down");
    cluster.node_down("node1");
    wait_for(300);
    story("node1 is back");
    cluster.node_resume("node1");
    wait_for(400);
    story("node2 is lost, and works on");
    cluster.kill_slurmd("node2");
    cluster.node_down("node2");
    wait_for(500);
    story("node2 is back");
    cluster.start_slurmd("node2");
    cluster.node_resume("node2");
    wait_for(600);
    let job = some_job();
    story(&format!("somebody cancels {}", job.id));
    cluster.cancel(&job.id);
    wait_for(700);
    let job = some_job();
    story(&format!("somebody requeues {}", job.id));
    cluster.requeue(&job.id);
    wait_for(800);
    let job = some_job();
    story("the controller goes away");
    cluster.stop_controller();
    let away = Instant::now();
    wait_for(900);
    story(&format!("the coordinator dies, and the worker of {}; another one goes on", job.id));
    live.kill();
    kill_all(&cluster, &job.id);
    let live = start();
    wait_for(1_000);
    while away.elapsed() < Duration::from_secs(60) && site.bench.names().len() < FILES - 150 {
        std::thread::sleep(Duration::from_millis(100));
    }
    story("the controller is back");
    cluster.start_controller();
    wait_for(FILES - 100);
    story("a worker dies once more");
    if let Some(job) = cluster.running().pop() {
        kill_all(&cluster, &job.id);
    }
    live.wait().expect(0);
    story("done");
    site.assert_all_witnessed();
    assert_no_job(&cluster);
    let calls = site.gate.count("call-");
    eprintln!("{} attempts were cut off", calls - FILES);
    assert!(calls < FILES + 60, "{calls} attempts at {FILES} files");
    let whole = begun.elapsed();
    assert!(whole < Duration::from_secs(240), "it took {whole:?}");
}
