//! The network on the built binary: what is granted, what is not, and what
//! becomes of servers that misbehave.

mod answers;
mod embed;
mod fetch;
mod grants;
mod proxies;
mod thousands;
mod wire;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tigerflow_test_server::{TestServer, embedding};
use tigerflow_tests::{Bench, Done, finish, guest, plugin};

/// What would lead requests elsewhere, or have others trusted, on the machine
/// that the tests run on.
const FOREIGN: [&str; 12] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "REQUEST_METHOD",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "VOYAGE_API_KEY",
];

/// The key that the test server takes.
const KEY: &str = "test-key";

/// Both kinds of task that send what their input says: of WASI 0.2, and of 0.3.
fn both() -> [PathBuf; 2] {
    [guest("http"), guest("async-http")]
}

/// `run` without `--once`, in this machine's environment less what is foreign,
/// with the server's certificate trusted.
fn serve(bench: &Bench, server: &TestServer, component: &Path, more: &[&str]) -> Command {
    let mut command = bench.serve(component, more);
    for name in FOREIGN {
        command.env_remove(name);
    }
    command.env("SSL_CERT_FILE", server.ca_file());
    command
}

/// `run --once` to its end.
fn run(bench: &Bench, server: &TestServer, component: &Path, more: &[&str]) -> Done {
    finish(serve(bench, server, component, more).arg("--once"))
}

/// `127.0.0.1:PORT`, where the server speaks plain HTTP.
fn plain(server: &TestServer) -> String {
    format!("127.0.0.1:{}", server.http_port())
}

/// `127.0.0.1:PORT`, where the server speaks TLS.
fn secure(server: &TestServer) -> String {
    format!("127.0.0.1:{}", server.https_port())
}

/// One request of a guest, on a bench of its own.
struct Asked {
    bench: Bench,
    done: Done,
}

impl Asked {
    /// Has a guest send a request. Errors are final, unless `more` says else.
    fn new(server: &TestServer, component: &Path, request: &str, more: &[&str]) -> Asked {
        let bench = Bench::new();
        bench.add("a.txt", request);
        let retries = more.contains(&"--retries");
        let more = [if retries { &[][..] } else { &["--retries", "0"] }, more].concat();
        let done = run(&bench, server, component, &more);
        Asked { bench, done }
    }

    /// The status and the body of its answer.
    #[track_caller]
    fn answer(&self) -> (u16, String) {
        assert_eq!(self.done.code, 0, "{}", self.done.stderr);
        let output = self.bench.out("a.out");
        let (head, body) = output.split_once("\n\n").expect("a head and a body");
        let status = head.lines().next().and_then(|line| line.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    /// The kind and the message of its error.
    #[track_caller]
    fn error(&self) -> (String, String) {
        assert_eq!(self.done.code, 3, "{}", self.done.stderr);
        assert_eq!(self.bench.names(), ["a.err"]);
        let error = self.bench.err("a.err");
        let text = |key: &str| error[key].as_str().expect(key).to_owned();
        (text("exception_type"), text("message"))
    }

    /// Fails unless its error is of this kind, and the message ends like this.
    #[track_caller]
    fn fails(&self, kind: &str, end: &str) -> &Self {
        let (found, message) = self.error();
        assert!(found == kind && message.ends_with(end), "{found}: {message}\nnot {kind}: …{end}");
        self
    }

    /// Fails unless stderr holds this text, once.
    #[track_caller]
    fn tells_once(&self, text: &str) -> &Self {
        let times = self.done.stderr.matches(text).count();
        assert_eq!(times, 1, "`{text}` in\n{}", self.done.stderr);
        self
    }
}

/// What a test must never find: a secret in what a run says or leaves behind.
#[track_caller]
fn assert_secret(bench: &Bench, done: &Done, secret: &str) {
    for (place, text) in [("stdout", &done.stdout), ("stderr", &done.stderr)] {
        assert!(!text.contains(secret), "`{secret}` is in {place}:\n{text}");
    }
    let mut left = vec![bench.output()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).expect("it can be listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
                continue;
            }
            let content = fs::read(&path).expect("it can be read");
            let found = content.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "`{secret}` is in {}", path.display());
        }
    }
}

/// What lies in a workspace's staging directory.
fn staged(bench: &Bench, task: &str) -> Vec<OsString> {
    let staging = bench.output().join(".tigerflow").join(task).join("staging");
    let entries = fs::read_dir(staging).expect("staging stands");
    entries.map(|entry| entry.expect("an entry").file_name()).collect()
}

/// The records of a run's journal.
fn journal(bench: &Bench, task: &str) -> Vec<Value> {
    let path = bench.output().join(".tigerflow").join(task).join("journal.jsonl");
    let journal = fs::read_to_string(path).expect("a journal");
    // A kill may have cut a line off.
    journal.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// `run` of the plugin `embed` with the server's key, over TLS.
fn embed(bench: &Bench, server: &TestServer, more: &[&str]) -> Command {
    let url = format!("{}/v1/embeddings", server.https_url());
    let grant = secure(server);
    let mut arguments = vec!["--url", &url, "--allow-host", &grant, "--env", "VOYAGE_API_KEY"];
    arguments.extend(more);
    let mut command = serve(bench, server, &plugin("embed"), &arguments);
    command.env("VOYAGE_API_KEY", KEY);
    command
}

/// Adds so many inputs with texts of their own.
fn add_texts(bench: &Bench, count: usize) -> Vec<String> {
    let texts: Vec<String> = (0..count).map(text).collect();
    for (number, text) in texts.iter().enumerate() {
        bench.add(format!("{number:04}.txt"), text);
    }
    texts
}

/// The text of an input.
fn text(number: usize) -> String {
    format!("This is the text of file {number}; no other file has it.\n")
}

/// Fails unless an output of `embed` holds what the server answers for a text.
#[track_caller]
fn assert_embedded(bench: &Bench, name: &str, text: &str, dimension: usize) {
    let output: Value = serde_json::from_str(&bench.out(name)).expect("JSON");
    let found: Vec<f32> =
        serde_json::from_value(output["embedding"].clone()).expect("a list of numbers");
    assert_eq!(found, embedding(text, dimension), "{name}");
}

/// The most of these times, in seconds, that lie less than so many seconds apart.
fn most_within(times: &[f64], window: f64) -> usize {
    let within = |first: f64| times.iter().filter(|t| (first..first + window).contains(t)).count();
    times.iter().map(|first| within(*first)).max().unwrap_or(0)
}

const SECOND: Duration = Duration::from_secs(1);
