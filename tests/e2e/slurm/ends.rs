//! However a job ends, its files are done; and what Slurm calls dead may live.

use rustix::process::{Pid, Signal, kill_process};
use tigerflow_tests::cluster::alive;

use super::*;

pub(super) fn signal(process: i32, signal: Signal) {
    let process = Pid::from_raw(process).expect("a process");
    kill_process(process, signal).expect("it can be signalled");
}

/// The end of each worker, by its job.
#[track_caller]
fn assert_ended(site: &Site, job: &str, how: &str) {
    let ends = site.ends();
    let of_job = ends.get(job).cloned().unwrap_or_default();
    assert!(of_job.iter().any(|end| end.contains(how)), "{job}, `{how}`: {ends:#?}");
}

#[test]
fn whatever_ends_a_job_its_files_are_done() {
    let fake = FakeSlurm::new();
    let names: Vec<String> = (0..12).map(|n| format!("{n:02}.txt")).collect();
    let site = Site::with(&names.iter().map(String::as_str).collect::<Vec<_>>(), "wait here");
    let more = ["--max-workers", "7", "--files-per-worker", "1"];
    let live = site.start(site.witness(&fake, &more));
    site.wait_for_calls(7);
    let jobs = fake.running();
    let ids: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
    let [killed, cancelled, requeued, down, late, preempted, _] = ids[..] else {
        panic!("seven run:\n{}", shown(&jobs));
    };
    // What Slurm says of them is what it says when it has killed them.
    for (job, state) in [(down, "NODE_FAIL"), (late, "TIMEOUT"), (preempted, "PREEMPTED")] {
        fake.set_state(job, state);
        fake.kill(job, "KILL");
    }
    fake.kill(killed, "KILL");
    finish(fake.command("scancel").arg(cancelled)).expect(0);
    fake.requeue(requeued);
    wait_until("all are missed", || site.workers("worker-ended").len() >= 6);
    site.gate.open("open");
    let done = live.wait().expect(0);
    site.assert_all_witnessed();
    assert_ended(&site, killed, "FAILED");
    assert_ended(&site, cancelled, "CANCELLED");
    assert_ended(&site, requeued, "requeued");
    assert_ended(&site, down, "NODE_FAIL");
    assert_ended(&site, late, "TIMEOUT");
    assert_ended(&site, preempted, "PREEMPTED");
    assert_no_job(&fake);
    // What was in flight ran again, and nothing else did.
    assert!((13..=19).contains(&site.gate.count("call-")), "{}", done.stderr);
    assert!(fake.submissions().len() <= 7, "{}", done.stderr);
}

#[test]
fn a_lost_node_that_works_on_does_no_harm() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt"], "wait here");
    let live = site.start(site.witness(&fake, &["--max-workers", "1"]));
    site.gate.wait("call-0-a.txt");
    let job = fake.running()[0].id.clone();
    let zombie = fake.process(&job).expect("it runs");
    // Slurm starts it again elsewhere, and both have the file.
    signal(zombie, Signal::STOP);
    fake.lose_node(&job);
    site.gate.wait("call-1-a.txt");
    site.gate.open("open");
    signal(zombie, Signal::CONT);
    let done = live.wait().expect(0);
    site.assert_all_witnessed();
    assert_ended(&site, &job, "requeued");
    assert_eq!(fake.submissions().len(), 1, "it kept its place: {}", done.stderr);
    assert_no_job(&fake);
}

#[test]
fn what_a_lost_node_publishes_after_the_run_does_no_harm() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt"], "wait here");
    let more = ["--max-workers", "1", "--worker-idle-timeout", "2s"];
    let live = site.start(site.witness(&fake, &more));
    site.gate.wait("call-0-a.txt");
    let job = fake.running()[0].id.clone();
    let zombie = fake.process(&job).expect("it runs");
    signal(zombie, Signal::STOP);
    fake.lose_node(&job);
    site.gate.wait("call-1-a.txt");
    site.gate.open("open");
    live.wait().expect(0);
    site.assert_all_witnessed();
    let before = fs::metadata(site.bench.output().join("a.out")).expect("it is there");

    signal(zombie, Signal::CONT);
    wait_until("it leaves by itself", || !alive(zombie));
    site.assert_all_witnessed();
    let after = fs::metadata(site.bench.output().join("a.out")).expect("it is there");
    assert_eq!(before.len(), after.len());
    finish(&mut site.witness(&fake, &["--max-workers", "1"])).expect(0);
    assert_eq!(fake.submissions().len(), 1, "there is nothing to do");
    site.assert_all_witnessed();
}

#[test]
fn a_job_that_waits_again_and_again_keeps_its_place() {
    let fake = FakeSlurm::new();
    let site = Site::with_files(12);
    let live = site.start(site.witness(&fake, &["--max-workers", "1", "--pause", "300"]));
    for calls in [1, 3, 5] {
        site.wait_for_calls(calls);
        fake.requeue(&fake.running()[0].id);
        wait_until("it is missed", || site.workers("worker-ended").len() >= calls.div_ceil(2));
    }
    let done = live.wait().expect(0);
    site.assert_all_witnessed();
    assert_eq!(fake.submissions().len(), 1, "{}", done.stderr);
    let workers: Vec<_> =
        site.workers("worker-started").iter().map(|r| text(&r["worker"])).collect();
    assert_eq!(workers, ["1-0", "1-0.1", "1-0.2", "1-0.3"]);
    assert_no_job(&fake);
}
