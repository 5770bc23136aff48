//! A file that kills its workers kills two of them, and no more. The stories are
//! told in [`awaits`](super::awaits).

use super::*;

/// A command for jobs that kills the worker as soon as its log says that it
/// begins a file of this name: as Slurm would, that found it to take too much.
fn kills(name: &str) -> String {
    format!(
        "log=$(readlink /proc/$$/fd/1); (while sleep 0.05; do if grep -q 'Starting processing: \
         {name}' \"$log\"; then kill -KILL $$; fi; done) &"
    )
}

pub(super) fn one_among_many() {
    let fake = FakeSlurm::new();
    let site = Site::with_files(30);
    // It never ends by itself.
    site.bench.add("0005-bad.txt", "wait");
    let killer = kills("0005-bad.txt");
    let more = ["--max-workers", "2", "--concurrency-limit", "3", "--files-per-worker", "4"];
    let more = [&more[..], &["--pause", "200", "--setup-command", &killer]].concat();
    let done = finish(&mut site.witness(&fake, &more)).expect(3);
    for number in 0..30 {
        site.assert_witnessed(&format!("{number:04}.txt"));
    }
    site.assert_none_late();
    site.assert_recorded_once();
    assert_eq!(site.bench.names().len(), 31);
    let error = site.bench.err("0005-bad.err");
    assert_eq!(error["exception_type"], "WorkerLost");
    assert_eq!((&error["outcome"], &error["attempts"]), (&"failed".into(), &2.into()));
    let message = text(&error["message"]);
    let job = message.split("in job ").nth(1).and_then(|rest| rest.split(' ').next());
    assert!(message.contains("FAILED") && message.contains(" on node"), "{message}");
    let job = fake.job(job.expect("a job")).expect("it is known");
    assert_eq!(job.state, "FAILED");
    assert_eq!(site.bench.history("witness", "0005-bad.txt"), ["interrupted", "failed"]);
    assert_eq!(site.gate.count("call-1-0005-bad"), 1);
    assert_eq!(site.gate.count("call-2-0005-bad"), 0, "{}", done.stderr);
    let jobs = fake.squeue().len();
    assert!(jobs <= 5, "two were killed, and made anew:\n{}", shown(&fake.squeue()));
    let done = done.says("Failed processing: 0005-bad.txt").says("WorkerLost");
    done.says("30 succeeded, 1 failed");
    assert_no_job(&fake);
}

pub(super) fn some_among_many() {
    let fake = FakeSlurm::new();
    let site = Site::with_files(20);
    for number in [3, 4, 11] {
        site.bench.add(format!("{number:04}-bad.txt"), "wait");
    }
    let killer = kills("00..-bad.txt");
    let more = ["--max-workers", "3", "--files-per-worker", "2", "--pause", "100"];
    let more = [&more[..], &["--setup-command", &killer]].concat();
    let done = finish(&mut site.witness(&fake, &more)).expect(3);
    for number in 0..20 {
        site.assert_witnessed(&format!("{number:04}.txt"));
    }
    for number in [3, 4, 11] {
        assert_eq!(site.bench.err(format!("{number:04}-bad.err"))["exception_type"], "WorkerLost");
    }
    site.assert_none_late();
    assert!(fake.squeue().len() <= 10, "{}", done.stderr);
    assert_no_job(&fake);
}

/// Its neighbours are not blamed.
pub(super) fn one_that_was_only_there() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt", "c.txt", "d.txt"], "wait here");
    let more = ["--max-workers", "1", "--concurrency-limit", "4", "--files-per-worker", "4"];
    let live = site.start(site.witness(&fake, &more));
    // Twice somebody kills the worker, whatever it is at.
    site.wait_for_calls(4);
    fake.kill(&fake.running()[0].id, "KILL");
    wait_until("one of them is tried again", || site.gate.count("call-1-") > 0);
    // Each is tried alone: the first of them must not take the others with it.
    assert_eq!(site.gate.count("call-"), 5, "nothing beside it");
    fake.kill(&fake.running()[0].id, "KILL");
    wait_until("it has its .err", || !site.bench.names().is_empty());
    let unlucky = site.bench.names()[0].replace(".err", ".txt");
    site.gate.open("open");
    live.wait().expect(3);
    for name in ["a.txt", "b.txt", "c.txt", "d.txt"].iter().filter(|name| **name != unlucky) {
        site.assert_witnessed(name);
        assert_eq!(site.bench.history("witness", name), ["interrupted", "succeeded"]);
    }
    site.assert_none_late();
    // It may have been innocent.
    finish(&mut site.witness(&fake, &["--max-workers", "1", "--retry-failed"])).expect(0);
    site.assert_all_witnessed();
}
