//! Pipelines with a task in Slurm jobs: quick ones on the fake, and the example of
//! transcripts on a cluster, with an API that fails at times, killed in the middle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tigerflow_test_server::{Fault, Faults, TestServer, embedding};
use tigerflow_tests::cluster::{Cluster, Options};
use tigerflow_tests::fake_slurm::FakeSlurm;
use tigerflow_tests::{finish, guest, wait_until};

use super::examples::Example;
use super::{Pipeline, list, task};
use crate::live::{Gate, Live};

/// A task in Slurm jobs: as [`task`], of `.txt` to `.one`.
fn on_nodes(component: &str, more: &str) -> String {
    guest(component);
    format!(
        "{{name: one, kind: slurm, module: guests/{component}.wasm, input_ext: .txt, \
         output_ext: .one, max_workers: 2, squeue_interval: 500ms{more}}}"
    )
}

/// What takes that here.
fn here() -> String {
    task("two", "upper", ".one", ".two", "depends_on: one")
}

/// A pipeline of `gated` on nodes, and its gate.
fn gated() -> (Pipeline, Gate) {
    let pipeline = Pipeline::new::<&str>(&[]);
    let gate = Gate::new(&pipeline);
    let grant = format!(", dirs: '{}', files_per_worker: 1", gate.grant());
    pipeline.configure(&[on_nodes("gated", &grant), here()], &[]);
    (pipeline, gate)
}

fn add(pipeline: &Pipeline, files: usize) {
    for number in 0..files {
        pipeline.add(format!("{number:02}.txt"), format!("text {number}"));
    }
}

/// Fails unless all are finished, and no job is left.
#[track_caller]
fn assert_all_done(pipeline: &Pipeline, fake: &FakeSlurm, files: usize) {
    for number in 0..files {
        assert_eq!(pipeline.out(format!("two/{number:02}.two")), format!("TEXT {number}"));
    }
    let (one, two) = (pipeline.shown("one"), pipeline.shown("two"));
    assert_eq!((one.len(), two.len()), (files, files), "{one:?} {two:?}");
    assert_eq!((pipeline.inner("one"), pipeline.inner("two")), (vec![], vec![]));
    assert!(fake.queue_is_empty(), "{:?}", fake.squeue());
}

#[test]
fn what_is_made_on_nodes_is_worked_on_here() {
    let fake = FakeSlurm::new();
    let pipeline = Pipeline::new(&[on_nodes("upper", ", setup_commands: [export A=1]"), here()]);
    add(&pipeline, 12);
    let done = finish(fake.aim(pipeline.serve(&[])).arg("--once")).expect(0);
    done.says("12 files finished, 0 failed").says("[one] Starting as a SLURM task");
    assert_all_done(&pipeline, &fake, 12);
    assert!(fake.submissions().iter().any(|call| call.script.contains("export A=1")));
}

#[test]
fn a_pipeline_that_is_stopped_leaves_no_job() {
    let fake = FakeSlurm::new();
    let (pipeline, gate) = gated();
    add(&pipeline, 8);
    let live = Live::start(&pipeline, &mut fake.aim(pipeline.serve(&[])));
    wait_until("workers are at work", || gate.count("begun-") >= 2);
    let mut stop = fake.aim(pipeline.about("stop", &[]));
    let stop = std::thread::spawn(move || finish(&mut stop));
    wait_until("workers have heard of it", || {
        live.log().matches("leaves: it was told to").count() == 2
    });
    let begun = gate.count("begun-");
    gate.open("open");
    let done = live.wait().says("Pipeline shutdown complete");
    stop.join().expect("it ends").expect(0);
    assert!(done.code > 128, "a signal's: {}", done.code);
    assert!(fake.queue_is_empty(), "{:?}", fake.squeue());
    assert_eq!(gate.count("begun-"), begun, "no other began");
    assert_eq!(pipeline.shown("one").len(), begun, "those in flight were finished");

    finish(fake.aim(pipeline.serve(&[])).arg("--once")).expect(0);
    assert_all_done(&pipeline, &fake, 8);
}

#[test]
fn a_pipeline_that_is_killed_by_force_leaves_no_job() {
    let fake = FakeSlurm::new();
    let (pipeline, gate) = gated();
    add(&pipeline, 4);
    let live = Live::start(&pipeline, &mut fake.aim(pipeline.serve(&[])));
    wait_until("workers are at work", || gate.count("begun-") >= 2);
    finish(&mut fake.aim(pipeline.about("stop", &["--force"]))).expect(0);
    live.wait();
    wait_until("no job is left", || fake.queue_is_empty());
    gate.open("open");
    finish(fake.aim(pipeline.serve(&[])).arg("--once")).expect(0);
    assert_all_done(&pipeline, &fake, 4);
}

/// Its workers go on, and the next pipeline takes them over: what they hold is finished
/// as any other file, and its input deleted where that was asked for.
#[test]
fn a_pipeline_that_died_finds_its_workers() {
    let fake = FakeSlurm::new();
    let (pipeline, gate) = gated();
    add(&pipeline, 6);
    let serve = || fake.aim(pipeline.serve(&["--delete-input", "--settle", "0s"]));
    let live = Live::start(&pipeline, &mut serve());
    wait_until("workers are at work", || gate.count("begun-") >= 2);
    live.kill();
    let live = Live::start(&pipeline, &mut serve());
    live.says("to go on with");
    gate.open("open");
    wait_until("all inputs are deleted", || list(&pipeline.input()).is_empty());
    live.signal(Signal::INT);
    live.wait().expect(130).says("6 files finished, 0 failed");
    assert_all_done(&pipeline, &fake, 6);
    assert_eq!((gate.count("begun-"), gate.count("setup-")), (6, 2), "no other worker was needed");
}

#[test]
fn a_setup_that_fails_ends_the_pipeline_and_its_jobs() {
    // On nodes.
    let fake = FakeSlurm::new();
    let pipeline = Pipeline::new(&[on_nodes("misbehave", ", params: {at_setup: fail 7}"), here()]);
    add(&pipeline, 3);
    let done = finish(&mut fake.aim(pipeline.serve(&[]))).expect(4).says("[one]");
    done.says("7 is no answer").says("0 files finished, 0 failed");
    assert!(fake.queue_is_empty(), "{:?}", fake.squeue());
    assert_eq!(pipeline.shown("one"), [""; 0]);

    // Here, while workers are at work.
    let (pipeline, gate) = gated();
    let bad = "depends_on: one, params: {at_setup: fail 7}";
    let grant = format!(", dirs: '{}'", gate.grant());
    pipeline.configure(
        &[on_nodes("gated", &grant), task("two", "misbehave", ".one", ".two", bad)],
        &[],
    );
    add(&pipeline, 3);
    gate.open("open-00.txt");
    let live = Live::start(&pipeline, &mut fake.aim(pipeline.serve(&[])));
    live.says("7 is no answer");
    gate.open("open");
    live.wait().expect(4).says("[two]");
    assert!(fake.queue_is_empty(), "{:?}", fake.squeue());
}

/// The example, with an API of its own in the place of the one that it names.
struct Transcripts {
    example: Example,
    cluster: Cluster,
    server: TestServer,
}

impl Transcripts {
    fn command(&self) -> Command {
        let run = self.example.serve("pipeline.yaml", &self.example.bench.input());
        let mut command = self.cluster.aim(run);
        for name in ["NO_PROXY", "no_proxy", "https_proxy", "REQUEST_METHOD", "SSL_CERT_DIR"] {
            command.env_remove(name);
        }
        command.env("VOYAGE_API_KEY", "key-of-mine");
        command.env("HTTPS_PROXY", self.server.proxy_url());
        command.env("SSL_CERT_FILE", self.server.ca_file());
        command
    }

    fn start(&self) -> Live {
        Live::start(&self.example.bench, &mut self.command())
    }

    /// Adds inputs, each of which comes whole.
    fn arrive(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.example.bench.arrive(format!("{number:02}.mp4"), spoken(number));
        }
    }

    /// How many files are done with.
    fn finished(&self) -> usize {
        let list = self.example.bench.output().join(".tigerflow/.pipeline/finished");
        let list = fs::read(list).unwrap_or_default();
        list.iter().filter(|&&byte| byte == 0).count()
    }

    fn shown(&self, task: &str) -> Vec<String> {
        list(&self.example.bench.output().join(task))
    }
}

/// What is "spoken" in a file; in some nothing that could be.
fn spoken(number: usize) -> Vec<u8> {
    match is_bad(number) {
        true => vec![0xff; number],
        false => format!("what is said in {number}").into(),
    }
}

fn is_bad(number: usize) -> bool {
    number % 25 == 7
}

fn transcript(number: usize) -> String {
    format!("Transcript, WHAT IS SAID IN {number}")
}

#[test]
fn transcripts_outlast_two_kills_and_an_api_in_trouble() {
    const FILES: usize = 60;
    // Two GPUs for three workers.
    let options = Options { nodes: 2, mem_mb: 16_000, gpus: 1, ..Options::default() };
    let Some(cluster) = Cluster::start(&options) else { return };
    let faults = Faults {
        share: 0.25,
        kinds: vec![Fault::TooMany, Fault::ServerError, Fault::Cut],
        most: 3,
        ..Faults::default()
    };
    let server = TestServer::builder()
        .names(&["api.voyageai.com"])
        .key("key-of-mine")
        .delay(Duration::from_millis(400))
        .faults(faults)
        .start();
    let it = Transcripts { example: Example::copy("transcripts"), cluster, server };
    let begun = Instant::now();
    let story = |what: &str| {
        let at = begun.elapsed().as_secs_f64();
        eprintln!("{at:5.1} s: {} finished, {what}", it.finished());
    };

    it.arrive(0..20);
    let live = it.start();
    wait_until("the first transcript is there", || !it.shown("transcribe").is_empty());
    story("kill -9 while it transcribes");
    live.kill();
    it.arrive(20..40);
    let live = it.start();
    wait_until("half of them are done", || it.finished() >= 15);
    story("kill -9 while it embeds and ingests");
    live.kill();
    it.arrive(40..FILES);
    let done = finish(it.command().arg("--once")).expect(3);
    story("done");
    done.says("files finished, ").says("[transcribe] ");

    let (bad, good): (Vec<usize>, Vec<usize>) = (0..FILES).partition(|&number| is_bad(number));
    let names = |numbers: &[usize], extension: &str| -> Vec<String> {
        numbers.iter().map(|number| format!("{number:02}.{extension}")).collect()
    };
    let expected: BTreeSet<String> =
        names(&good, "txt").into_iter().chain(names(&bad, "err")).collect();
    assert!(it.shown("transcribe").iter().eq(&expected), "{:?}", it.shown("transcribe"));
    for &number in &good {
        let shown = it.example.out(&format!("transcribe/{number:02}.txt"));
        assert_eq!(shown, transcript(number));
    }
    // Nothing failed in the other tasks, and their outputs are not kept.
    assert_eq!((it.shown("embed"), it.shown("ingest")), (vec![], vec![]));
    let inner =
        |task: &str| list(&it.example.bench.output().join(".tigerflow").join(task).join("outputs"));
    assert_eq!(inner("transcribe"), names(&bad, "err"), "of failed ones only");
    it.example.assert_nothing_left(&["embed", "ingest"]);
    assert_eq!(it.finished(), good.len(), "each is on the list once");

    if let Some(rows) = it.example.rows("transcripts.db", "embeddings") {
        let sources: Vec<String> = good.iter().map(|number| format!("{number:02}")).collect();
        assert!(rows.keys().eq(&sources), "{:?}", rows.keys());
        for (source, (times, document)) in rows {
            assert_eq!(times, 1, "{source} is in the database once");
            let found: Vec<f32> =
                serde_json::from_value(document["embedding"].clone()).expect("numbers");
            let number = source.parse().expect("a number");
            assert_eq!(found, embedding(&transcript(number), 8), "{source}");
        }
    }
    assert!(it.cluster.queue_is_empty(), "{:?}", it.cluster.squeue());
    let jobs = it.cluster.squeue();
    assert!(jobs.len() <= 9, "three workers for each of three runs at most: {jobs:?}");

    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for request in it.server.requests().iter().filter(|r| r.path == "/v1/embeddings") {
        for text in &request.texts {
            *asked.entry(text.clone()).or_default() += 1;
        }
    }
    let requests: usize = asked.values().sum();
    story(&format!("{requests} requests for {} embeddings, {} jobs", asked.len(), jobs.len()));
    assert!(requests > good.len(), "some were answered with an error");
    let most = asked.values().max().copied().unwrap_or_default();
    assert!(most <= 3 + 3, "asked for {most} times: three faults and two kills");
    let error = it.example.bench.err(format!("transcribe/{:02}.err", bad[0]));
    assert!(error["message"].as_str().is_some_and(|m| m.contains("UTF-8")), "{error}");
    assert_ne!(error["attempts"], Value::Null, "{error}");
}
