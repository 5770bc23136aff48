//! How many workers there are, and when they come and go.

use std::time::{Duration, Instant};

use super::*;

/// A server, with files as they arrive.
fn serve(site: &Site, slurm: &dyn Slurm, more: &[&str]) -> Live {
    let command = slurm.aim(site.bench.serve(&guest("witness"), more));
    let mut command = site.grant(command);
    command.args(["--squeue-interval", "500ms", "--settle", "0"]);
    site.start(command)
}

#[test]
fn there_are_as_many_workers_as_the_files_ask_for() {
    for (files, per_worker, max, workers) in
        [(7, "3", "9", 3), (7, "1", "2", 2), (1, "1", "5", 1), (0, "1", "5", 0)]
    {
        let fake = FakeSlurm::new();
        let site = Site::with_files(files);
        let more = ["--max-workers", max, "--files-per-worker", per_worker];
        finish(&mut site.witness(&fake, &more)).expect(0);
        site.assert_all_witnessed();
        assert_eq!(fake.squeue().len(), workers, "{files} files, {per_worker} per worker");
        assert_no_job(&fake);
    }
}

#[test]
fn workers_come_with_the_files_and_leave_when_there_are_none() {
    let fake = FakeSlurm::new();
    let site = Site::new();
    let live = serve(&site, &fake, &["--max-workers", "2", "--worker-idle-timeout", "1s"]);
    live.says("0 to do");
    assert!(fake.squeue().is_empty(), "none where there is nothing to do");
    for round in 1..=2 {
        site.bench.arrive(format!("{round}.txt"), "text");
        wait_until("it is done", || site.bench.has(format!("{round}.out")));
        wait_until("its worker leaves", || fake.queue_is_empty());
        wait_until("that is known", || site.workers("worker-ended").len() == round);
    }
    live.says("leaves: there was nothing to do").says("-> INACTIVE");
    assert_eq!(fake.submissions().len(), 2);
    live.signal(rustix::process::Signal::INT);
    live.wait().expect(130);
    site.assert_all_witnessed();
}

#[test]
fn some_workers_are_kept() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt", "c.txt"], "wait here");
    let more = ["--max-workers", "3", "--min-workers", "1", "--files-per-worker", "1"];
    let more = [&more[..], &["--worker-idle-timeout", "500ms"]].concat();
    let live = serve(&site, &fake, &more);
    site.wait_for_calls(3);
    site.gate.open("open");
    wait_until("two of them leave", || site.workers("worker-ended").len() == 2);
    wait_until("the third is idle", || {
        let workers = site.bench.status()["workers"]["all"].clone();
        workers.as_array().is_some_and(|all| all.len() == 1 && all[0]["state"] == "idle")
    });
    let idle = Instant::now();
    while idle.elapsed() < Duration::from_secs(2) {
        assert_eq!(fake.running().len(), 1, "it stays: {}", live.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    // One that is lost is made anew, without any file.
    fake.kill(&fake.running()[0].id, "KILL");
    wait_until("there is another one", || fake.submissions().len() == 2);
    wait_until("it runs", || fake.running().len() == 1);
    live.signal(rustix::process::Signal::INT);
    live.wait().expect(130);
    assert_no_job(&fake);
}

#[test]
fn one_that_has_nothing_to_do_takes_from_one_that_has_much() {
    let fake = FakeSlurm::new();
    let site = Site::with_files(40);
    let more = ["--max-workers", "2", "--files-per-worker", "20", "--pause", "150"];
    fake.slots(1);
    let live = site.start(site.witness(&fake, &more));
    // The first has all of them by now, or as many as it is to have.
    site.wait_for_calls(20);
    fake.slots(2);
    live.wait().expect(0);
    site.assert_all_witnessed();
    let second = site.bench.journal("witness");
    let second = second.iter().filter(|r| r["event"] == "attempt" && r["worker"] == "1-1").count();
    assert!(second >= 4, "{second} of the 20 that were left");
    assert_eq!(site.gate.count("call-"), 40);
}
