//! What a run tells of its workers: status, journal and logs.

use std::time::Duration;

use tigerflow_tests::host;

use super::*;

fn status(site: &Site) -> String {
    finish(host().arg("status").arg(site.bench.output())).expect(0).stdout
}

pub(super) fn status_shows_workers_and_why_there_are_not_more() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt", "c.txt", "d.txt"], "wait here");
    fake.hold_for("QOSMaxJobsPerUserLimit");
    let more = ["--max-workers", "2", "--files-per-worker", "1", "--time", "1:00:00"];
    fake.fail_submissions(3, "sbatch: error: Batch job submission failed: Job queue full");
    let live = site.start(site.witness(&fake, &more));
    wait_until("it is recorded", || site.bench.status()["run"]["to_do"] == 4);
    let says = |words: &[&str]| {
        let missing = || words.iter().copied().find(|word| !status(&site).contains(word));
        wait_until(&format!("status says {words:?}"), || missing().is_none());
    };
    says(&["0 workers; pausing for ", " s after trouble: Job queue full"]);
    live.says("PENDING (Reason: QOSMaxJobsPerUserLimit)");
    wait_until("both wait", || fake.squeue().len() == 2);
    let [first, second] = [0, 1].map(|number| fake.squeue()[number].id.clone());
    says(&["2 workers; --max-workers 2 is reached; logs in ", "4 waiting"]);
    says(&[&format!("worker      4-0 (job {first}): pending (QOSMaxJobsPerUserLimit)")]);

    fake.hold(false);
    site.wait_for_calls(2);
    says(&[
        &format!("worker      5-0 (job {second} on node"),
        ": working, 0 done, 1 at work,",
        "59m",
    ]);
    says(&["in flight   a.txt since "]);
    let report = site.bench.status();
    assert_eq!((&report["running"], &report["state"]), (&2.into(), &"running".into()), "{report}");
    let worker = &report["workers"]["all"][0];
    assert_eq!((&worker["worker"], &worker["state"]), (&"4-0".into(), &"working".into()));
    assert_eq!((&worker["running"], &worker["done"]), (&1.into(), &0.into()), "{worker}");
    assert!(worker["seconds_left"].as_u64().is_some_and(|s| (3500..=3600).contains(&s)));

    site.gate.open("open");
    live.wait().expect(0);
    let text = status(&site);
    assert!(text.contains("with exit code 0") && text.contains("4 succeeded"), "{text}");
    assert!(!text.contains("pending"), "none is left:\n{text}");
    assert!(text.contains("gone        worker 4-0: left after "), "{text}");
}

#[test]
fn each_worker_has_a_log_before_it_is_asked_for() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt"], "lines 1");
    fake.delay("sbatch", Duration::from_millis(500));
    let more = ["--max-workers", "2", "--files-per-worker", "1"];
    let live = site.start(site.command(&fake, &guest("misbehave"), &more));
    wait_until("Slurm is asked for workers", || !fake.submissions().is_empty());
    assert!(fake.squeue().is_empty(), "it has not taken them yet");
    let logs = site.run_dir().join("workers");
    for name in ["1-0.log", "1-1.log"] {
        assert_eq!(fs::metadata(logs.join(name)).expect("it is there").len(), 0);
    }
    let options = given(&fake.submissions()[0], "output");
    assert_eq!(options.map(PathBuf::from), Some(logs.join("1-%a.log")));
    let done = live.wait().expect(0);
    // What the task says is in its worker's log, and the run's says what counts.
    let all = ["1-0", "1-1"].map(|name| site.log(name)).concat();
    for name in ["a.txt", "b.txt"] {
        assert!(all.contains(&format!("Successfully processed: {name}")), "{all}");
        assert!(all.contains(&format!("{} 0 ---", &name[..1])), "{all}");
    }
    assert!(done.stderr.contains("2 processed files") && !done.stderr.contains("a.txt"));
    assert!(status(&site).contains("2 succeeded"));

    // The next run keeps its own.
    site.bench.add("c.txt", "lines 1");
    finish(&mut site.command(&fake, &guest("misbehave"), &more)).expect(0);
    assert!(site.log("1-0").contains("Successfully processed: c.txt"));
}

#[test]
fn the_journal_tells_of_workers() {
    let fake = FakeSlurm::new();
    let site = Site::with_files(8);
    let more = ["--max-workers", "2", "--cpus", "2", "--files-per-worker", "4"];
    let gpus = ["--setup-command", "export CUDA_VISIBLE_DEVICES=2,3", "--pause", "100"];
    finish(&mut site.witness(&fake, &[&more[..], &gpus].concat())).expect(0);
    site.assert_all_witnessed();
    let started = site.workers("worker-started");
    let names: Vec<_> = started.iter().map(|record| text(&record["worker"])).collect();
    assert!(names.len() == 2 && names.contains(&"1-0".into()), "{names:?}");
    for record in &started {
        assert_eq!((&record["cpus"], &record["gpus"]), (&2.into(), &"2,3".into()), "{record}");
        let job = fake.job(&text(&record["job"])).expect("it is known");
        assert_eq!((job.state.as_str(), &*job.node), ("COMPLETED", &*text(&record["node"])));
    }
    let mut done = 0;
    for record in site.workers("worker-ended") {
        let how = text(&record["how"]);
        let files = how.strip_prefix("left after ").and_then(|rest| rest.split(' ').next());
        done += files.expect("a number").parse::<usize>().expect("a number");
    }
    assert_eq!(done, 8);
    for record in site.bench.journal("witness").iter().filter(|r| r["event"] == "attempt") {
        assert!(names.contains(&text(&record["worker"])), "{record}");
    }
}

#[test]
fn slurm_is_asked_one_question_for_all_jobs() {
    let fake = FakeSlurm::new();
    let site = Site::with(&["a.txt", "b.txt", "c.txt"], "wait here");
    fake.slots(2);
    let more = ["--max-workers", "3", "--files-per-worker", "1"];
    let live = site.start(site.witness(&fake, &more));
    site.wait_for_calls(2);
    let before = fake.calls("squeue").len();
    wait_until("it is asked again", || fake.calls("squeue").len() > before + 2);
    let times = std::time::Instant::now();
    site.gate.open("open");
    live.wait().expect(0);
    assert!(times.elapsed() < Duration::from_secs(10));
    for call in fake.calls("squeue") {
        let jobs = call.arguments.iter().position(|word| word == "--jobs").expect("by number");
        assert_eq!(call.arguments[jobs + 1], fake.squeue()[0].array_base.to_string());
    }
}

#[test]
fn after_a_run_in_good_order_only_records_are_left() {
    let fake = FakeSlurm::new();
    let site = Site::with_files(3);
    finish(&mut site.witness(&fake, &["--max-workers", "2"])).expect(0);
    let names = |path: PathBuf| {
        let entries = fs::read_dir(path).expect("it can be listed");
        let mut names: Vec<_> = entries
            .map(|e| e.expect("an entry").file_name().into_string().expect("plain"))
            .collect();
        names.sort();
        names
    };
    let workspace = site.bench.output().join(".tigerflow/witness");
    assert_eq!(names(workspace.clone()), ["journal.jsonl", "lock", "run.json", "slurm", "staging"]);
    assert!(names(workspace.join("staging")).is_empty());
    assert_eq!(names(site.run_dir()), ["ledger.jsonl", "workers"]);
    assert_eq!(names(site.run_dir().join("workers")), ["1-0.log", "1-1.log"]);
}
