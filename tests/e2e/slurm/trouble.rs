//! Slurm itself fails: it is waited for, and asked for nothing twice.

use std::time::{Duration, Instant};

use super::*;

const AWAY: &str = "sbatch: error: Batch job submission failed: Unable to contact slurm controller \
                    (connect failure)";

pub(super) fn slurm_is_away() {
    submissions_fail_for_a_while(AWAY, "Slurm does not answer, waiting for it");
}

pub(super) fn slurm_is_busy() {
    let busy = "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n\
                sbatch: error: Batch job submission failed: Resource temporarily unavailable";
    submissions_fail_for_a_while(busy, "Slurm takes no more workers now");
}

pub(super) fn slurm_sets_limits() {
    let limited = "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission \
                   failed: Job violates accounting/QOS policy (job submit limit, user's size and/or \
                   time limits)";
    submissions_fail_for_a_while(limited, "Slurm takes no more workers now");
}

fn submissions_fail_for_a_while(message: &str, said: &str) {
    let fake = FakeSlurm::new();
    let site = Site::with_files(4);
    fake.fail_submissions(2, message);
    let begun = Instant::now();
    let done = finish(&mut site.witness(&fake, &["--max-workers", "2"])).expect(0);
    let done = done.says(said);
    site.assert_all_witnessed();
    assert!(begun.elapsed() >= Duration::from_secs(3), "after 1 s, and then 2:\n{}", done.stderr);
    assert!((3..=4).contains(&fake.submissions().len()), "{}", done.stderr);
    assert_no_job(&fake);
}

#[test]
fn a_slurm_that_refuses_stops_the_run() {
    let fake = FakeSlurm::new();
    let site = Site::with_files(1);
    let no = "sbatch: error: Batch job submission failed: Invalid qos specification";
    fake.fail(Fault::Submission, Times::Always, 1, no);
    let done = finish(&mut site.witness(&fake, &["--max-workers", "2"])).expect(1);
    done.says("Slurm refused a worker").says("Invalid qos specification").says("--qos");
    assert_eq!(fake.submissions().len(), 3);
    assert!(site.bench.names().is_empty());
}

#[test]
fn where_there_are_no_arrays_workers_come_one_by_one() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt", "c.txt"], "wait here");
    let no = "sbatch: error: Batch job submission failed: Job array specification exceeds a limit";
    fake.fail_submissions(1, no);
    let more = ["--max-workers", "3", "--files-per-worker", "1"];
    let live = site.start(site.witness(&fake, &more));
    site.wait_for_calls(3);
    assert_eq!(fake.running().len(), 3, "{}", live.log());
    site.gate.open("open");
    live.wait().expect(0);
    let arrays: Vec<_> = fake.submissions().iter().map(|call| given(call, "array")).collect();
    assert_eq!(arrays, [Some("0-2".to_owned()), None, None, None]);
    site.assert_all_witnessed();
    assert_no_job(&fake);
}

#[test]
fn a_submission_whose_answer_was_lost_is_found() {
    together(&[&|| an_answer_is_lost(Fault::Reply), &|| an_answer_is_lost(Fault::Submission)]);
}

fn an_answer_is_lost(fault: Fault) {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt", "c.txt"], "wait here");
    let lost =
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation";
    fake.hold(true);
    fake.fail(fault, Times::Next(1), 1, lost);
    let more = ["--max-workers", "2", "--files-per-worker", "1"];
    let live = site.start(site.witness(&fake, &more));
    let waiting = || fake.squeue().iter().filter(|job| job.state == "PENDING").count();
    wait_until("workers wait", || waiting() >= 2);
    live.says("PENDING (Reason: Resources)");
    assert_eq!(waiting(), 2, "--max-workers: {}\n{}", shown(&fake.squeue()), live.log());
    site.gate.open("open");
    fake.hold(false);
    live.wait().expect(0);
    site.assert_all_witnessed();
    assert_no_job(&fake);
}

pub(super) fn jobs_go_on_while_slurm_cannot_be_asked() {
    let fake = FakeSlurm::new();
    let site = Site::with_files(20);
    let more = ["--max-workers", "2", "--pause", "300", "--files-per-worker", "9"];
    fake.squeue_down(true);
    let live = site.start(site.witness(&fake, &more));
    site.wait_for_calls(2);
    // One dies meanwhile: nobody knows, until Slurm says so.
    fake.kill(&fake.running()[0].id, "KILL");
    live.says("Slurm does not answer, waiting for it");
    let status = || text(&site.bench.status()["workers"]["scaling"]);
    wait_until("status says so", || status().contains("Slurm does not answer"));
    site.wait_for_calls(12);
    assert_eq!(fake.submissions().len(), 1, "{}", live.log());
    fake.squeue_down(false);
    let done = live.says("Slurm answers again").says("FAILED");
    assert_eq!(done.log().matches("Slurm does not answer").count(), 1, "{}", done.log());
    live.wait().expect(0);
    site.assert_all_witnessed();
    assert_no_job(&fake);
}

#[test]
fn a_run_needs_no_squeue_where_all_goes_well() {
    let fake = FakeSlurm::new();
    let site = Site::with_files(6);
    fake.squeue_down(true);
    finish(&mut site.witness(&fake, &["--max-workers", "2"])).expect(0);
    site.assert_all_witnessed();
    assert_no_job(&fake);
}

#[test]
fn a_slow_slurm_is_asked_one_thing_at_a_time() {
    let fake = FakeSlurm::new();
    let site = Site::with_files(10);
    fake.delay("squeue", Duration::from_secs(1));
    let more = ["--max-workers", "2", "--pause", "500", "--files-per-worker", "4"];
    let begun = Instant::now();
    finish(&mut site.witness(&fake, &more)).expect(0);
    let asked = fake.calls("squeue").len();
    let most = begun.elapsed().as_secs() as usize + 2;
    assert!(asked <= most, "{asked} calls in {:?}", begun.elapsed());
    site.assert_all_witnessed();
}
