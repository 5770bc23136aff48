//! A million inputs: how soon a run begins, and what a server costs that watches them.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    Bench, machine, measure,
    report::{Goal, Report, Target},
    resident,
    stats::{Grouped, Sample},
    throughput::row,
    workload::Workload,
};
use crate::{process, process::note, repo};

/// What an empty file takes of memory on a tmpfs, generously.
const EACH: u64 = 3 << 10;
/// New files, one after another.
const NEW: usize = 20;
/// Far above what anything here takes: past it, something is wrong.
const LIMIT: Duration = Duration::from_secs(60);

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let files = if bench.quick { 100_000 } else { 1_000_000 };
    let shown = Grouped(files as f64, 0).to_string();
    report.section(
        &format!("{shown} inputs"),
        &format!(
            "Empty files on a tmpfs, a concurrency of 2. Start: half of the outputs are there; from just before the \
             process is started to the log's line of the first file that is done, with the CPU time of all threads \
             and the largest resident set until then; {} repetitions, in turn. Idle: a server (no `--once`) over \
             outputs that are all there, CPU time of all threads. A new file: from just before it is renamed into \
             that server's input directory to when its output is there (looked for every 50 µs); {NEW} of them.",
            repetitions(bench)
        ),
    );
    if let Some(lacking) = lacking(bench, files)? {
        report.paragraph(&format!("Left out: {lacking}."));
        return Ok(());
    }
    note(&format!("{shown} files are made"));
    let inputs = Inputs(Workload::saying(bench, "scan", files, "")?);
    inputs.0.reset()?;
    inputs.finish(0..files / 2)?;
    let [once, server] = inputs.starts(bench)?;
    inputs.finish(files / 2..files)?;
    let idle = inputs.idle(bench)?;
    inputs.0.remove()?;

    report.table(&[
        row(["Start to the first file done", "Time", "CPU time", "Peak memory"]),
        once.row("`--once`"),
        server.row("as a server"),
    ]);
    report.table(&[
        row(["A server over what is all done", "Measured"]),
        vec!["CPU while idle".into(), format!("**{:.2} %** of a core", idle.cpu)],
        vec!["A new file to its output".into(), format!("**{} ms**", idle.latency.shown(1))],
    ]);
    let (time, memory) = (Sample::new(server.seconds), Sample::new(server.megabytes));
    let mut goal = |what: &str, most, value, unit, why: &str| {
        report.goal(Goal {
            what: format!("{shown} inputs: {what}"),
            target: Target::AtMost(most),
            value,
            unit,
            why: why.to_owned(),
        });
    };
    let listed =
        "one thread lists and pairs all names; a server also asks of each file to do how old it is";
    goal("start of a server to the first file done", 2.0, time.median(), "s", listed);
    goal("memory at that time", 200.0, memory.median(), "MB", "each name is kept");
    goal(
        "CPU of an idle server",
        0.5,
        idle.cpu,
        "% of a core",
        "it looks at the directory's time every 3 s, and lists it only when that changed",
    );
    goal(
        "a new file to its output",
        100.0,
        idle.latency.median(),
        "ms",
        "no event told of it, so it waited for a look",
    );
    Ok(())
}

/// What the machine lacks for so many inputs and as many outputs.
fn lacking(bench: &Bench, files: usize) -> Result<Option<String>> {
    let needed = 2 * files as u64 + 10_000;
    let free = machine::memory("MemAvailable");
    if free < needed * EACH {
        let (needed, free) = ((needed * EACH) >> 20, free >> 20);
        return Ok(Some(format!("it needs {needed} MiB of free memory, and there are {free}")));
    }
    let mut df = process::command("df");
    let printed = process::output(df.arg("--output=iavail").arg(&bench.scratch))?;
    let free: u64 = printed.lines().last().and_then(|line| line.trim().parse().ok()).unwrap_or(0);
    Ok((free < needed).then(|| {
        format!("the tmpfs has room for {free} files more, and {needed} are needed (`nr_inodes`)")
    }))
}

fn repetitions(bench: &Bench) -> usize {
    if bench.quick { 2 } else { 5 }
}

/// The inputs and outputs; all are empty.
struct Inputs(Workload);

/// Starts of the host, until the first file was done.
#[derive(Default)]
struct Starts {
    seconds: Vec<f64>,
    cpu: Vec<f64>,
    megabytes: Vec<f64>,
}

impl Starts {
    fn row(&self, name: &str) -> Vec<String> {
        let [seconds, cpu, megabytes] =
            [&self.seconds, &self.cpu, &self.megabytes].map(|values| Sample::new(values.clone()));
        vec![
            name.to_owned(),
            format!("**{} s**", seconds.shown(2)),
            format!("{} s", cpu.shown(2)),
            format!("{} MB", megabytes.shown(0)),
        ]
    }
}

/// A server that has nothing to do.
struct Idle {
    /// In per cent of a core.
    cpu: f64,
    latency: Sample,
}

impl Inputs {
    fn output(&self, number: usize) -> PathBuf {
        self.0.output.join(format!("{number:07}.txt"))
    }

    /// Makes the outputs of some.
    fn finish(&self, numbers: impl Iterator<Item = usize>) -> Result<()> {
        for number in numbers {
            let path = self.output(number);
            fs::write(&path, "").with_context(|| format!("could not write {}", path.display()))?;
        }
        Ok(())
    }

    /// Starts over the first half's outputs, with `--once` and without, each ended once it is at work.
    fn starts(&self, bench: &Bench) -> Result<[Starts; 2]> {
        let mut all: [Starts; 2] = Default::default();
        // The first of them fills the cache, and is not counted.
        for repetition in 0..=repetitions(bench) {
            note(&format!("starts, repetition {repetition}"));
            for (starts, option) in all.iter_mut().zip([Some("--once"), None]) {
                let mut server = Server::start(self.command(bench).args(option))?;
                let seconds = server.until("Successfully processed")?.as_secs_f64();
                let (cpu, peak) = (resident::cpu(server.id())?, peak(server.id())?);
                server.end()?;
                if repetition > 0 {
                    starts.seconds.push(seconds);
                    starts.cpu.push(cpu.as_secs_f64());
                    starts.megabytes.push(peak / 1e6);
                }
                self.undo()?;
            }
        }
        Ok(all)
    }

    /// Removes what a start has done.
    fn undo(&self) -> Result<()> {
        repo::remove_dir(&self.0.output.join(".tigerflow"))?;
        for number in self.0.files / 2..self.0.files {
            match fs::remove_file(self.output(number)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn idle(&self, bench: &Bench) -> Result<Idle> {
        let window = Duration::from_secs(if bench.quick { 3 } else { 10 });
        let mut server = Server::start(&mut self.command(bench))?;
        server.until(" 0 to do")?;
        server.until("setup complete")?;
        // What is done late at a start is not idling.
        thread::sleep(Duration::from_secs(1));
        note(&format!("idle for {} s", window.as_secs()));
        let before = resident::cpu(server.id())?;
        thread::sleep(window);
        let spent = resident::cpu(server.id())? - before;
        let latency = (0..NEW)
            .map(|number| self.new_file(self.0.files + number))
            .collect::<Result<Vec<f64>>>()?;
        server.end()?;
        Ok(Idle {
            cpu: 100.0 * spent.as_secs_f64() / window.as_secs_f64(),
            latency: Sample::new(latency),
        })
    }

    /// Milliseconds from when a file is moved in to when its output is there.
    fn new_file(&self, number: usize) -> Result<f64> {
        let aside = self.0.input.with_file_name("new.txt");
        fs::write(&aside, "a new text")?;
        // Not in step with anything.
        thread::sleep(Duration::from_millis(50 + 7 * (number % 10) as u64));
        let (place, output) = (self.0.input.join(format!("{number:07}.txt")), self.output(number));
        let start = Instant::now();
        fs::rename(&aside, place)?;
        while !output.exists() {
            if start.elapsed() > LIMIT {
                bail!("a new file had no output after {} s", LIMIT.as_secs());
            }
            thread::sleep(Duration::from_micros(50));
        }
        Ok(1000.0 * start.elapsed().as_secs_f64())
    }

    fn command(&self, bench: &Bench) -> Command {
        let mut command = measure::program(&bench.host);
        command.env("TIGERFLOW_CACHE_DIR", &bench.cache);
        command.arg("run").arg(&bench.upper);
        command.arg("--input-dir").arg(&self.0.input).args(["--input-ext", ".txt"]);
        command.arg("--output-dir").arg(&self.0.output).args(["--output-ext", ".txt"]);
        command.args(["--concurrency-limit", "2"]);
        command
    }
}

/// A host at work, and its log.
struct Server {
    child: Child,
    log: BufReader<ChildStderr>,
    started: Instant,
}

impl Server {
    fn start(command: &mut Command) -> Result<Self> {
        let started = Instant::now();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = process::spawn(command)?;
        let log = BufReader::new(child.stderr.take().expect("stderr is piped"));
        Ok(Self { child, log, started })
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of the log, and returns how long after the start it came.
    fn until(&mut self, text: &str) -> Result<Duration> {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            if self.log.read_line(&mut line)? == 0 {
                bail!("the host ended, and its log does not say `{text}`");
            }
        }
        Ok(self.started.elapsed())
    }

    /// Ends it at once.
    fn end(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

/// The largest resident set of a process so far, in bytes.
fn peak(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.context("the kernel says no VmHWM")? * 1024.0)
}
