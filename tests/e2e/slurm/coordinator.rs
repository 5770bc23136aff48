//! The coordinator dies, and another one goes on where it was.

use std::time::Duration;

use super::*;

#[test]
fn another_coordinator_goes_on_with_the_same_workers() {
    let fake = FakeSlurm::new();
    let site = Site::with_files(60);
    let more = ["--max-workers", "2", "--pause", "100", "--files-per-worker", "20"];
    let start = || site.start(site.witness(&fake, &more));
    let mut live = start();
    for calls in [1, 8, 20, 34] {
        site.wait_for_calls(calls);
        live.kill();
        if calls > 1 {
            // Workers go on meanwhile, as far as they know what with.
            site.wait_for_calls(calls + 2);
        }
        live = start();
        live.says("Taking over from process");
    }
    live.wait().expect(0);
    site.assert_all_witnessed();
    assert_eq!(site.gate.count("call-"), 60, "nothing was begun twice");
    assert_eq!(fake.submissions().len(), 1);
    assert_no_job(&fake);
    let journal = site.bench.journal("witness");
    let of = |event: &str| journal.iter().filter(|r| r["event"] == event).count();
    assert_eq!((of("run-started"), of("run-ended"), of("attempt")), (5, 1, 60));
    assert!((2..=10).contains(&of("worker-started")), "{}", of("worker-started"));
}

#[test]
fn kills_at_any_moment_leave_one_record_of_each() {
    const FILES: usize = 500;
    let fake = FakeSlurm::new();
    let site = Site::with_files(FILES);
    let more = ["--max-workers", "2", "--concurrency-limit", "2", "--pause", "20"];
    let more = [&more[..], &["--files-per-worker", "50"]].concat();
    for kill in 0..40 {
        let before = site.bench.names().len();
        let live = site.start(site.witness(&fake, &more));
        // Some outputs come while it starts, and others when it is at work.
        let more = kill % 5 * 2 + 1;
        wait_until("it goes on", || site.bench.names().len() >= (before + more).min(FILES - 1));
        live.kill();
    }
    finish(&mut site.witness(&fake, &more)).expect(0);
    site.assert_all_witnessed();
    assert_eq!(site.gate.count("call-"), FILES, "nothing was begun twice");
    assert_eq!(fake.submissions().len(), 1);
    assert_no_job(&fake);
}

#[test]
fn failures_and_retries_are_known_after_it_died() {
    let fake = FakeSlurm::new();
    let site = Site::new();
    let state = site.bench.path().join("state");
    fs::create_dir(&state).expect("a directory");
    for number in 0..8 {
        site.bench.add(format!("{number}-fail.txt"), "fail 9");
        site.bench.add(format!("{number}-flaky.txt"), "transient 1 after 200");
        site.bench.add(format!("{number}-good.txt"), "fail 0");
    }
    let grant = format!("{}::/state:rw", state.display());
    let more = ["--max-workers", "2", "--dir", &grant, "--retries", "4", "--files-per-worker", "9"];
    let start = || site.start(site.command(&fake, &guest("flaky"), &more));
    for outcomes in [1, 7] {
        let live = start();
        wait_until("there are some outcomes", || site.bench.names().len() >= outcomes);
        live.kill();
    }
    start().wait().expect(3);
    assert_eq!(site.bench.names().len(), 24);
    for number in 0..8 {
        assert_eq!(site.bench.err(format!("{number}-fail.err"))["attempts"], 1);
        let history = site.bench.history("flaky", &format!("{number}-fail.txt"));
        assert_eq!(history, ["failed"], "{number}");
        assert!(site.bench.out(format!("{number}-flaky.out")).contains("after 200 at try 2"));
        let history = site.bench.history("flaky", &format!("{number}-flaky.txt"));
        assert_eq!(history.last().map(String::as_str), Some("succeeded"), "{number}");
    }
    assert_eq!(fake.submissions().len(), 1);
    assert_no_job(&fake);
}

#[test]
fn a_submission_that_nobody_saw_answered_is_found() {
    together(&[&|| nobody_sees_the_answer(true), &|| nobody_sees_the_answer(false)]);
}

fn nobody_sees_the_answer(accepted: bool) {
    let fake = FakeSlurm::new();
    let site = Site::with_files(6);
    let more = ["--max-workers", "2", "--files-per-worker", "3"];
    if !accepted {
        fake.fail_submissions(1, "sbatch: error: Batch job submission failed: Slurm is no more");
    }
    fake.delay("sbatch", Duration::from_millis(700));
    let live = site.start(site.witness(&fake, &more));
    wait_until("Slurm is asked for workers", || !fake.submissions().is_empty());
    live.kill();
    fake.delay("sbatch", Duration::ZERO);
    finish(&mut site.witness(&fake, &more)).expect(0);
    site.assert_all_witnessed();
    assert_eq!(fake.submissions().len(), if accepted { 1 } else { 2 });
    assert_no_job(&fake);
}

#[test]
fn workers_that_wait_in_the_queue_are_kept_and_those_that_died_are_missed() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt", "c.txt", "d.txt"], "wait here");
    let more = ["--max-workers", "4", "--files-per-worker", "1"];
    fake.slots(2);
    let start = || site.start(site.witness(&fake, &more));
    let live = start();
    site.wait_for_calls(2);
    live.kill();
    // One dies while nobody looks, and so another begins.
    fake.kill(&fake.running()[0].id, "KILL");
    wait_until("a third has its place", || fake.running().len() == 2);
    let live = start();
    live.says("FAILED");
    fake.slots(9);
    site.gate.open("open");
    live.wait().expect(0);
    site.assert_all_witnessed();
    assert_no_job(&fake);
    assert!(fake.submissions().len() <= 2);
}

#[test]
fn workers_without_a_coordinator_finish_and_leave() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt", "c.txt"], "wait here");
    let more = ["--max-workers", "2", "--files-per-worker", "1", "--worker-idle-timeout", "1s"];
    let live = site.start(site.witness(&fake, &more));
    site.wait_for_calls(2);
    live.kill();
    site.gate.open("open");
    wait_until("they have left", || fake.queue_is_empty());
    let outputs = site.bench.names().len();
    assert!((2..=3).contains(&outputs), "{outputs}");
    finish(&mut site.witness(&fake, &more)).expect(0);
    site.assert_all_witnessed();
    assert_eq!(site.gate.count("call-"), 3);
    assert_no_job(&fake);
}

#[test]
fn with_another_component_other_workers_are_made() {
    let fake = FakeSlurm::new();
    let site = Site::with_files(12);
    let component = site.bench.path().join("task.wasm");
    let more = ["--max-workers", "2", "--files-per-worker", "4", "--task-name", "changing"];
    fs::copy(guest("slow"), &component).expect("a copy");
    let pause = [&more[..], &["--pause", "700"]].concat();
    let live = site.start(site.command(&fake, &component, &pause));
    wait_until("there are some outputs", || site.bench.names().len() >= 3);
    live.kill();
    fs::copy(guest("upper"), &component).expect("a copy");
    finish(&mut site.command(&fake, &component, &more)).expect(0);
    for number in 0..12 {
        assert_eq!(site.bench.out(format!("{number:04}.out")), content(number).to_uppercase());
    }
    site.assert_recorded_once();
    assert!((2..=3).contains(&fake.submissions().len()), "{}", shown(&fake.squeue()));
    assert_no_job(&fake);
    let jobs = fake.squeue();
    assert!(jobs.iter().all(|job| job.state != "FAILED"), "by themselves:\n{}", shown(&jobs));
    let old = jobs.iter().filter(|job| job.array_base == jobs[0].array_base);
    assert!(old.clone().count() == 2 && old.clone().all(|job| job.state == "COMPLETED"));
}

#[test]
fn what_workers_still_have_is_not_run_here() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt"], "wait here");
    let live = site.start(site.witness(&fake, &["--max-workers", "1"]));
    site.wait_for_calls(1);
    live.kill();
    let job = fake.running()[0].id.clone();
    let done = finish(&mut site.witness_here());
    assert_ne!(done.code, 0);
    done.says(&job).says("--executor slurm").says("tigerflow-host stop");
    assert_eq!(site.gate.count("call-"), 1);
    site.gate.open("open");
    finish(&mut site.witness(&fake, &["--max-workers", "1"])).expect(0);
    site.assert_all_witnessed();
    // After that it may.
    site.bench.add("c.txt", "here");
    finish(&mut site.witness_here()).expect(0);
    site.assert_all_witnessed();
}
