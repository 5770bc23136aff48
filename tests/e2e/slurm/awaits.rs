//! What a coordinator has patience with: stories of seconds and minutes, told side
//! by side. Some are in the modules that they belong to.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tigerflow_tests::cluster::alive;

use super::ends::signal;
use super::*;

#[test]
fn what_takes_its_time() {
    together(&[
        &a_job_that_slurm_forgot_is_given_up_if_it_is_silent,
        &workers_that_are_not_needed_any_more_leave_the_queue,
        &a_worker_that_was_given_up_is_sent_away,
        &what_a_lost_node_publishes_first_stands,
        &a_rate_is_kept_over_all_workers,
        &killer::one_among_many,
        &killer::some_among_many,
        &killer::one_that_was_only_there,
        &options::the_host_is_not_there,
        &options::logs_cannot_be_opened,
        &options::outputs_cannot_be_seen,
        &trouble::slurm_is_away,
        &trouble::slurm_is_busy,
        &trouble::slurm_sets_limits,
        &trouble::jobs_go_on_while_slurm_cannot_be_asked,
        &view::status_shows_workers_and_why_there_are_not_more,
    ]);
}

fn a_job_that_slurm_forgot_is_given_up_if_it_is_silent() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt"], "wait here");
    let more = ["--max-workers", "2", "--files-per-worker", "1"];
    let live = site.start(site.witness(&fake, &more));
    site.wait_for_calls(2);
    let jobs = fake.running();
    assert_eq!(jobs.len(), 2, "{}", shown(&jobs));
    // One dies, and one works on.
    fake.forget(&jobs[0].id);
    fake.forget(&jobs[1].id);
    fake.kill(&jobs[0].id, "KILL");
    let begun = Instant::now();
    site.gate.wait("call-0-a.txt");
    let again = || site.gate.has("call-1-a.txt") || site.gate.has("call-1-b.txt");
    while !again() && begun.elapsed() < Duration::from_secs(100) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(again(), "the file of the silent one goes to another:\n{}", live.log());
    site.gate.open("open");
    live.wait().expect(0);
    site.assert_all_witnessed();
    assert_eq!(site.gate.count("call-"), 3, "the other one was let alone");
}

fn workers_that_are_not_needed_any_more_leave_the_queue() {
    let fake = FakeSlurm::new();
    let site = Site::with_files(6);
    site.bench.add("last.txt", "wait");
    fake.slots(1);
    let more = ["--max-workers", "5", "--files-per-worker", "1"];
    let live = site.start(site.witness(&fake, &more));
    wait_until("only one is left to do", || site.bench.names().len() == 6);
    let waiting = || fake.squeue().iter().filter(|job| job.state == "PENDING").count();
    assert_eq!(waiting(), 4, "a backlog that comes back finds its place kept");
    let begun = Instant::now();
    wait_until("they are cancelled", || waiting() == 0);
    assert!(begun.elapsed() > Duration::from_secs(10), "{}", live.log());
    assert_eq!(fake.running().len(), 1);
    site.gate.open("open");
    live.wait().expect(0);
    site.assert_all_witnessed();
    assert_eq!(fake.submissions().len(), 1, "and none is asked for again");
    assert_no_job(&fake);
}

fn a_worker_that_was_given_up_is_sent_away() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt"], "wait here");
    let live = site.start(site.witness(&fake, &["--max-workers", "1", "--files-per-worker", "9"]));
    site.gate.wait("call-0-a.txt");
    let lost = fake.running()[0].id.clone();
    let zombie = fake.process(&lost).expect("it runs");
    fake.hold(true);
    fake.set_state(&lost, "NODE_FAIL");
    live.says("NODE_FAIL");
    // It is alive all the same, and hears that others have its files.
    wait_until("it has left", || !alive(zombie));
    site.gate.open("open");
    fake.hold(false);
    live.wait().expect(0);
    site.assert_all_witnessed();
    assert_eq!(site.bench.history("witness", "a.txt"), ["interrupted", "succeeded"]);
    assert_eq!(site.gate.count("call-"), 3);
    assert_no_job(&fake);
}

fn what_a_lost_node_publishes_first_stands() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt"], "wait here");
    let live = site.start(site.witness(&fake, &["--max-workers", "1"]));
    site.gate.wait("call-0-a.txt");
    let lost = fake.running()[0].id.clone();
    let zombie = fake.process(&lost).expect("it runs");
    fake.hold(true);
    fake.set_state(&lost, "NODE_FAIL");
    signal(zombie, Signal::STOP);
    live.says("NODE_FAIL");
    wait_until("there is another worker", || fake.submissions().len() == 2);
    // As it would be had it published before it was stopped.
    fs::write(site.bench.output().join("a.out"), "WAIT HERE").expect("it can be written");
    site.gate.open("open");
    fake.hold(false);
    live.wait().expect(0);
    site.assert_all_witnessed();
    assert_eq!(site.bench.history("witness", "a.txt"), ["interrupted", "succeeded"]);
    assert!(!site.gate.has("call-1-a.txt"), "nobody else began it");
    assert_no_job(&fake);
}

fn a_rate_is_kept_over_all_workers() {
    let fake = FakeSlurm::new();
    let site = Site::with_files(18);
    let more = ["--max-workers", "3", "--files-per-worker", "1", "--rate-limit", "6/s"];
    let begun = Instant::now();
    finish(&mut site.witness(&fake, &more)).expect(0);
    site.assert_all_witnessed();
    assert!(begun.elapsed() > Duration::from_secs(2), "{:?}", begun.elapsed());
    let time = |entry: std::io::Result<fs::DirEntry>| {
        entry.expect("an entry").metadata().expect("a call").modified().expect("a time")
    };
    let calls = fs::read_dir(site.bench.path().join("gate")).expect("the gate can be listed");
    let mut times: Vec<_> = calls.map(time).collect();
    times.sort();
    for window in times.windows(7) {
        let span = window[6].duration_since(window[0]).expect("in order");
        assert!(span >= Duration::from_millis(950), "seven attempts in {span:?}");
    }
}
