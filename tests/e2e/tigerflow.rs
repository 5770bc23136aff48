//! TigerFlow's own tasks, letter by letter: the examples of its documentation.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tigerflow_test_server::{TestServer, embedding};
use tigerflow_tests::fake_slurm::FakeSlurm;
use tigerflow_tests::{Bench, finish};

use crate::projects::build;

/// A component of one of them, by the command that TigerFlow's users type.
fn built(name: &str) -> (TempDir, PathBuf) {
    let tasks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tigerflow");
    let place = tempfile::tempdir().expect("a temporary directory");
    // Beside what stands in for a speech model.
    for file in [name, "whisper.py"] {
        fs::copy(tasks.join(file), place.path().join(file)).expect("copied");
    }
    let component = Path::new(name).with_extension("wasm");
    finish(build().current_dir(&place).arg(name).arg("-o").arg(&component)).expect(0);
    let component = place.path().join(component);
    (place, component)
}

#[test]
fn hello_runs_and_says_what_it_says_there() {
    let (_place, component) = built("hello.py");
    let bench = Bench::new();
    for number in 1..=5 {
        bench.add(format!("{number}.txt"), format!("text {number}\n"));
    }
    let done = bench.run(&component, &["--concurrency-limit", "1"]).expect(0);
    for number in 1..=5 {
        assert_eq!(bench.out(format!("{number}.out")), format!("Hello, TEXT {number}\n"));
    }
    assert_eq!(done.stdout, "Setup executed successfully!\nTeardown executed successfully!\n");
    for line in [
        "INFO     | Setting up task",
        "INFO     | Task setup complete",
        "INFO     | Starting processing: 5.txt",
        "INFO     | Successfully processed: 5.txt",
        "INFO     | Shutting down task",
        "INFO     | Task shutdown complete",
    ] {
        assert!(done.stderr.lines().any(|said| said.ends_with(line)), "{line}: {}", done.stderr);
    }
}

/// The asynchronous task, whose API is ours here: a proxy leads to it.
#[test]
fn embed_has_many_requests_in_flight() {
    let (_place, component) = built("embed.py");
    let server =
        TestServer::builder().names(&["api.voyageai.com"]).key("key-of-mine").dimension(8).start();
    let bench = Bench::new();
    for number in 0..30 {
        bench.add(format!("{number}.txt"), format!("text {number}"));
    }
    let more = [
        "--concurrency-limit",
        "30",
        "--allow-host",
        "api.voyageai.com",
        "--env",
        "VOYAGE_API_KEY",
    ];
    let mut command = bench.serve(&component, &more);
    command.arg("--once").env("VOYAGE_API_KEY", "key-of-mine");
    command.env("HTTPS_PROXY", server.proxy_url()).env("SSL_CERT_FILE", server.ca_file());
    for name in ["NO_PROXY", "no_proxy", "https_proxy", "REQUEST_METHOD"] {
        command.env_remove(name);
    }
    let done = finish(&mut command).expect(0);
    assert!(done.stdout.starts_with("Session created successfully!\n"), "{}", done.stdout);
    assert!(done.stdout.ends_with("Session closed successfully!\n"), "{}", done.stdout);
    for number in 0..30 {
        let answer: serde_json::Value =
            serde_json::from_str(&bench.out(format!("{number}.out"))).expect("JSON");
        let expected: Vec<f64> =
            embedding(&format!("text {number}"), 8).into_iter().map(f64::from).collect();
        let given = answer["data"][0]["embedding"].as_array().expect("numbers");
        let given: Vec<f64> = given.iter().map(|n| n.as_f64().expect("a number")).collect();
        assert_eq!(given, expected);
    }
    // With a second of sleep in each, one after another would be half a minute.
    let lines: Vec<&str> = done.stderr.lines().collect();
    let begun =
        lines.iter().rposition(|line| line.contains("Starting processing")).expect("a line");
    let ended = lines.iter().position(|line| line.contains("Successfully processed"));
    assert!(ended.is_some_and(|ended| begun < ended), "{}", done.stderr);
}

/// The Slurm task, with the options that TigerFlow's page gives it.
#[test]
fn transcribe_runs_in_workers() {
    let (_place, component) = built("transcribe.py");
    let slurm = FakeSlurm::new();
    let bench = Bench::new();
    for number in 0..12 {
        bench.add(format!("{number}.txt"), vec![0; number * 1024]);
    }
    let more = ["--max-workers", "3", "--cpus", "1", "--memory", "12G", "--time", "02:00:00"];
    let mut command = slurm.aim(bench.serve(&component, &more));
    finish(command.args(["--once", "--squeue-interval", "500ms"])).expect(0);
    assert_eq!(bench.out("0.out"), "");
    assert_eq!(bench.out("11.out"), "zero one two three four five six seven eight nine zero");
}
