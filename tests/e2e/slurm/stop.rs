//! Ctrl-C, and what else ends a run early: no job outlives it.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::*;

#[test]
fn a_run_that_is_stopped_finishes_what_is_in_flight() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt", "c.txt", "d.txt", "e.txt", "f.txt"], "wait here");
    fake.slots(2);
    let more = ["--max-workers", "3", "--files-per-worker", "1", "--grace", "60s"];
    let live = site.start(site.witness(&fake, &more));
    site.wait_for_calls(2);
    live.says("ACTIVE (2 workers)");
    live.signal(Signal::INT).says("Received signal 2, initiating shutdown");
    wait_until("the one that waits is cancelled", || {
        fake.squeue().iter().all(|job| job.state != "PENDING")
    });
    wait_until("the others have heard of it", || {
        live.log().matches("leaves: it was told to").count() == 2
    });
    assert_eq!(fake.running().len(), 2, "they go on: {}", live.log());
    site.gate.open("open");
    let done = live.wait().expect(130).says("Task shutdown complete");
    assert_eq!(site.gate.count("call-"), 2, "no other began");
    assert_eq!(site.bench.names().len(), 2, "{}", done.stderr);
    done.says("2 succeeded").says("4 still to do");
    assert_no_job(&fake);
    finish(&mut site.witness(&fake, &more)).expect(0);
    site.assert_all_witnessed();
    assert_eq!(site.gate.count("call-"), 6);
}

#[test]
fn after_the_grace_jobs_are_cancelled() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt", "c.txt"], "wait here");
    let more = ["--max-workers", "2", "--files-per-worker", "1", "--grace", "1s"];
    let live = site.start(site.witness(&fake, &more));
    site.wait_for_calls(2);
    live.says("ACTIVE (2 workers)");
    live.signal(Signal::TERM);
    let begun = Instant::now();
    let done = live.wait().expect(143).says("Cancelling 2 workers").says("3 still to do");
    // A second until SIGKILL, and what it takes to be sure.
    assert!(begun.elapsed() < Duration::from_secs(12), "{}", done.stderr);
    assert!(site.bench.names().is_empty());
    assert_no_job(&fake);
    site.gate.open("open");
    finish(&mut site.witness(&fake, &more)).expect(0);
    site.assert_all_witnessed();
}

#[test]
fn a_second_signal_cancels_all_at_once() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt", "c.txt"], "wait here");
    fake.slots(1);
    let more = ["--max-workers", "2", "--files-per-worker", "1"];
    let live = site.start(site.witness(&fake, &more));
    site.wait_for_calls(1);
    wait_until("it is known to be at work", || site.bench.status()["running"] == 1);
    live.signal(Signal::INT).says("initiating shutdown");
    live.signal(Signal::INT);
    let begun = Instant::now();
    live.wait().expect(130).says("leaving at once");
    assert!(begun.elapsed() < Duration::from_secs(3));
    wait_until("no job is left", || fake.queue_is_empty());
    site.gate.open("open");
    finish(&mut site.witness(&fake, &more)).expect(0);
    site.assert_all_witnessed();
    assert_eq!(site.bench.history("witness", "a.txt"), ["interrupted", "succeeded"]);
}

#[test]
fn what_is_being_submitted_is_cancelled_too() {
    together(&[&|| stopped_while_it_submits(1), &|| stopped_while_it_submits(2)]);
}

fn stopped_while_it_submits(signals: u32) {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt"], "wait here");
    fake.delay("sbatch", Duration::from_millis(800));
    let live = site.start(site.witness(&fake, &["--max-workers", "2"]));
    wait_until("Slurm is asked for workers", || !fake.submissions().is_empty());
    live.signal(Signal::INT).says("initiating shutdown");
    if signals == 2 {
        live.signal(Signal::INT);
    }
    live.wait().expect(130);
    // It is taken, or not, when the run has ended.
    std::thread::sleep(Duration::from_millis(1_200));
    wait_until("no job is left", || fake.queue_is_empty());
    assert!(site.bench.names().is_empty(), "after {signals} signals");
}

#[test]
fn what_cannot_be_cancelled_at_once_is_cancelled_later() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt"], "wait here");
    fake.hold(true);
    let live = site.start(site.witness(&fake, &["--max-workers", "2"]));
    live.says("PENDING (Reason: Resources)");
    let away = "scancel: error: slurm_kill_job2 failed Unable to contact slurm controller";
    fake.fail(Fault::Cancellation, Times::Next(1), 1, away);
    live.signal(Signal::INT);
    live.wait().expect(130).says("failed to cancel the jobs");
    assert_eq!(fake.calls("scancel").len(), 2);
    assert_no_job(&fake);
}

#[test]
fn what_cannot_be_cancelled_is_told() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt"], "wait here");
    let live = site.start(site.witness(&fake, &["--max-workers", "1"]));
    site.wait_for_calls(1);
    let away = "scancel: error: slurm_kill_job2 failed Unable to contact slurm controller";
    fake.fail(Fault::Cancellation, Times::Always, 1, away);
    live.signal(Signal::INT).says("initiating shutdown");
    live.signal(Signal::INT);
    let done = live.wait().expect(130);
    done.says("failed to cancel the run's jobs").says("tigerflow-host stop");
    // It is none of those that are forgotten: the next run goes on with it.
    assert_eq!(fake.running().len(), 1);
    fake.mend(Fault::Cancellation);
    site.gate.open("open");
    finish(&mut site.witness(&fake, &["--max-workers", "1"])).expect(0);
    site.assert_all_witnessed();
    assert_no_job(&fake);
}

#[test]
fn too_many_failures_end_a_run_early() {
    let fake = FakeSlurm::new();
    let site = Site::new();
    for number in 0..200 {
        site.bench.add(format!("{number:03}.txt"), "fail this");
    }
    let more = ["--max-workers", "2", "--files-per-worker", "50", "--max-failures", "5"];
    let more = [&more[..], &["--pause", "400"]].concat();
    let done = finish(&mut site.command(&fake, &guest("slow"), &more)).expect(3);
    done.says("that is enough (--max-failures)");
    assert!((5..=9).contains(&site.bench.names().len()), "{}", site.bench.names().len());
    assert_no_job(&fake);
}
