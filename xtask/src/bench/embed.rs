//! A task that asks an API over HTTP, beside a native program that does the same.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    Bench,
    chart::{Bar, Chart, Scale},
    measure,
    report::Report,
    stats::{Grouped, Sample},
    throughput::row,
    workload::{Workload, count},
};
use crate::{build, process, process::note, repo, setup};

const CONCURRENCY: usize = 100;
const SIZE: usize = 1024;
/// How long the API takes for an answer, in milliseconds, and how many numbers that holds.
const DELAY: usize = 20;
const DIMENSION: usize = 1024;
const KEY: &str = "test-key";
const PACKAGE: &str = "tigerflow-test-server";
const EXAMPLE: &str = "embed";

/// Figures of one program.
#[derive(Default)]
struct Series {
    whole: Vec<f64>,
    start: Vec<f64>,
    /// CPU time for each file, in microseconds: the program's.
    cpu: Vec<f64>,
    /// The server's meanwhile.
    server_cpu: Vec<f64>,
    peak: Vec<f64>,
}

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    build_programs()?;
    let component = repo::components().join("embed.wasm");
    let cores = std::thread::available_parallelism()?;
    let files = if bench.quick { 2_000 } else { 5_000 };
    let many = Workload::new(bench, "embed", files, SIZE)?;
    let one = Workload::new(bench, "embed-one", 1, SIZE)?;
    let server = Server::start()?;
    let native = |workload: &Workload| {
        let mut command = measure::program(repo::target().join("release/examples").join(EXAMPLE));
        command.args([&workload.input, &workload.output]).arg(&server.url);
        command.args([CONCURRENCY.to_string(), cores.to_string()]);
        with_key(command)
    };
    let host = |workload: &Workload| {
        let mut command = measure::program(&bench.host);
        command.env("TIGERFLOW_CACHE_DIR", &bench.cache).arg("run").arg(&component);
        command.arg("--input-dir").arg(&workload.input).args(["--input-ext", ".txt"]);
        command.arg("--output-dir").arg(&workload.output).args(["--output-ext", ".json"]);
        command.args(["--once", "-q", "--progress", "never", "--instances", "cores"]);
        command.args(["--concurrency-limit", &CONCURRENCY.to_string()]);
        command.args(["--url", &server.url, "--env", "VOYAGE_API_KEY"]);
        command.args(["--allow-host", &server.address]);
        with_key(command)
    };

    // The host caches the compiled component; the first run is not counted. Both have to write the same.
    one.reset()?;
    measure::run(&mut host(&one))?;
    let written = fs::read(one.output.join("0000000.json"))?;
    one.reset()?;
    measure::run(&mut native(&one))?;
    if fs::read(one.output.join("0000000.json"))? != written {
        bail!("the plugin `embed` and the native program write different outputs");
    }

    let mut series: [Series; 2] = Default::default();
    let commands: [&dyn Fn(&Workload) -> Command; 2] = [&native, &host];
    for repetition in 0..bench.repetitions() {
        note(&format!("repetition {} of {}", repetition + 1, bench.repetitions()));
        for (command, series) in commands.into_iter().zip(&mut series) {
            one.reset()?;
            series.start.push(measure::run(&mut command(&one))?.seconds());
            many.reset()?;
            let before = server.cpu()?;
            let finished = measure::run(&mut command(&many))?;
            let server_cpu = server.cpu()?.saturating_sub(before);
            let outputs = count(&many.output, ".json");
            if outputs != files {
                bail!("{outputs} outputs instead of {files}");
            }
            let each = |time: Duration| 1e6 * time.as_secs_f64() / files as f64;
            series.whole.push(finished.seconds());
            series.cpu.push(each(finished.cpu));
            series.server_cpu.push(each(server_cpu));
            series.peak.push(finished.peak_mib());
        }
    }

    report.section(
        &format!(
            "Over HTTP: {} files of 1 KB embedded, {CONCURRENCY} at once",
            Grouped(files as f64, 0)
        ),
        &format!(
            "An API on this machine (`{PACKAGE}`, one thread, plain HTTP/1) answers {DELAY} ms after a request with \
             {DIMENSION} numbers. Host: the plugin `embed`, `--instances cores` ({cores} here), `run --once -q`. \
             Native: a Rust program of this repository (tests/server/examples/{EXAMPLE}.rs) with the same HTTP client \
             and {cores} threads, which reads, asks, parses the answer, writes it to a temporary name and renames \
             that. Both write the same bytes. They share {cores} cores with the server. Rate: from start to exit; net \
             of start-up: less the median time of the same command over 1 file. Without any work it could be {:.0} \
             files/s. {} repetitions, in turn.",
            CONCURRENCY as f64 / (DELAY as f64 / 1000.0),
            bench.repetitions()
        ),
    );
    let [native, host] = series.map(|series| series.figures(files));
    let bars = vec![
        Bar::host("Plugin embed", &host[0]),
        Bar::host("Plugin embed, net of start-up", &host[1]),
        Bar::native("Native Rust", &native[0]),
        Bar::native("Native Rust, net of start-up", &native[1]),
    ];
    let mut rows = vec![row(["What", "Native", "Host", "Host / native"])];
    for (line, (native, host)) in native.into_iter().zip(host).enumerate() {
        let (name, unit, decimals, is_goal) = FIGURES[line];
        let ratio = 100.0 * host.median() / native.median();
        rows.push(vec![
            name.to_owned(),
            format!("{}{unit}", native.shown(decimals)),
            format!("{}{unit}", host.shown(decimals)),
            if is_goal { format!("**{ratio:.0} %**") } else { format!("{ratio:.0} %") },
        ]);
    }
    report.table(&rows);
    report.chart(&Chart {
        name: "embed",
        title: &format!("Files embedded by an API, {CONCURRENCY} at once"),
        unit: "files/s",
        scale: Scale::Linear,
        bars,
    });
    for workload in [many, one] {
        workload.remove()?;
    }
    Ok(())
}

/// Name, unit, decimals, whether there is a goal for it.
const FIGURES: [(&str, &str, usize, bool); 6] = [
    ("Files/s, start-up included", "", 0, true),
    ("Files/s, net of start-up", "", 0, true),
    ("Start + 1 file", " ms", 1, false),
    ("CPU time for each file", " µs", 0, false),
    ("The server's CPU time for each file", " µs", 0, false),
    ("Peak memory", " MiB", 1, false),
];

impl Series {
    /// As in `FIGURES`.
    fn figures(self, files: usize) -> [Sample; 6] {
        let start = Sample::new(self.start);
        let rate = |files: usize, start: f64| {
            Sample::new(self.whole.iter().map(|total| files as f64 / (total - start)).collect())
        };
        let (whole, net) = (rate(files, 0.0), rate(files - 1, start.median()));
        let start = start.map(|seconds| 1000.0 * seconds);
        let (cpu, server_cpu) = (Sample::new(self.cpu), Sample::new(self.server_cpu));
        [whole, net, start, cpu, server_cpu, Sample::new(self.peak)]
    }
}

/// The plugin, the server and the native program, optimised.
fn build_programs() -> Result<()> {
    build::plugin(&setup::rust()?, "embed")?;
    process::step("server and native program (optimised)", || {
        process::cargo_quietly(process::cargo().args([
            "build",
            "--release",
            "--package",
            PACKAGE,
            "--bins",
            "--example",
            EXAMPLE,
        ]))?;
        Ok(((), repo::shown(&repo::target().join("release").join(PACKAGE))))
    })
}

/// With the API's key, and without a proxy.
fn with_key(mut command: Command) -> Command {
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command.env("VOYAGE_API_KEY", KEY);
    command
}

/// The API, until it is dropped.
struct Server {
    child: Child,
    /// Of its embeddings.
    url: String,
    /// `127.0.0.1:PORT`.
    address: String,
}

impl Server {
    fn start() -> Result<Self> {
        let mut command = measure::program(repo::target().join("release").join(PACKAGE));
        command.args(["--delay-ms", &DELAY.to_string(), "--dimension", &DIMENSION.to_string()]);
        command.args(["--key", KEY]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = process::spawn(&mut command)?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut server = Self { child, url: String::new(), address: String::new() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line).context("the server is not ready")?;
        let http = ready["http"].as_str().context("the server has no URL")?;
        server.url = format!("{http}/v1/embeddings");
        server.address = http.trim_start_matches("http://").to_owned();
        Ok(server)
    }

    /// CPU time so far.
    fn cpu(&self) -> Result<Duration> {
        super::resident::cpu(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It serves until its stdin is closed.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
