//! Workers in Slurm jobs, on a cluster that this section starts on this machine: beside TigerFlow's, how fast files are
//! handed out and at what cost, and what is lost where files take their time.

use std::{
    collections::BTreeMap,
    env, fs,
    io::ErrorKind,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail};

use super::{
    Bench,
    chart::{Bar, Chart, Scale},
    measure::{self, Finished},
    report::{Goal, Report, Target},
    stats::{Grouped, Sample},
    throughput::row,
    tigerflow,
    workload::{Workload, count},
};
use crate::{
    process::{self, note},
    repo,
};

const NODES: usize = 3;
const CPUS: usize = 4;
const WORKERS: usize = 4;
const MEMORY: &str = "500M";

const FILES: usize = 1_000;
const DISPATCHED: usize = 50_000;
/// What each file of the last part waits for, in milliseconds.
const WAIT: u64 = 100;

const TASK: &str = "xtask/bench/tigerflow/upper_slurm.py";
/// TigerFlow looks for files every 3 s and at its workers' number every 15 s.
const LIMIT: Duration = Duration::from_secs(180);

/// What start-cluster exits with where Slurm cannot run.
const IMPOSSIBLE: i32 = 3;

/// Calls that name a file, ask for what it is, or list.
const METADATA: &str = "^(open|creat|l?stat|f?stat|newfstat|getdents|rename|unlink|mkdir|rmdir|link|symlink|readlink|f?access)";
/// Those that make a thread or a process.
const MAKING: &str = "^(clone|v?fork|execve)";

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let cluster = match Cluster::start()? {
        Ok(cluster) => cluster,
        Err(reason) => {
            note(&format!("LEFT OUT: {reason}"));
            report.section("Slurm", &format!("**Left out**: {reason}."));
            return Ok(());
        }
    };
    report.section(
        "Slurm",
        &format!(
            "A real cluster on this machine (tests/slurm/start-cluster): {NODES} nodes that claim {CPUS} CPUs each, and \
             share the cores with all else. A job starts within a second. Files are on a tmpfs. Host: `run --once \
             --max-workers {WORKERS} --cpus 1 --memory {MEMORY} --time 10`, with its usual log; from its second run on, a \
             component comes from the cache."
        ),
    );
    beside_tigerflow(bench, &cluster, report)?;
    dispatch(bench, &cluster, report)?;
    overhead(bench, &cluster, report)
}

/// One run, with times in seconds since its start.
struct Run {
    first: f64,
    last: f64,
    /// Peak memory of what coordinates, in MB.
    memory: f64,
}

fn sample(runs: &[Run], value: impl Fn(&Run) -> f64) -> Sample {
    Sample::new(runs.iter().map(value).collect())
}

fn beside_tigerflow(bench: &Bench, cluster: &Cluster, report: &mut Report) -> Result<()> {
    let repetitions = if bench.quick { 3 } else { 5 };
    let workload = Workload::new(bench, "slurm", FILES, 1024)?;
    // Python compiles its modules to bytecode the first time.
    note("once before, not counted");
    cluster.host(bench, &workload, &bench.upper, &[])?;
    let mut python = tigerflow::set_up();
    let mut old = vec![];
    let (mut new, mut whole) = (vec![], vec![]);
    for repetition in 0..=repetitions {
        if repetition > 0 {
            note(&format!("repetition {repetition} of {repetitions}"));
            let (run, finished) = cluster.host(bench, &workload, &bench.upper, &[])?;
            workload.check()?;
            new.push(run);
            whole.push(finished.seconds());
        }
        if let Ok(program) = &python {
            match cluster.tigerflow(program, &workload) {
                Ok(run) if repetition > 0 => old.push(run),
                Ok(_) => {}
                Err(error) => python = Err(error),
            }
        }
    }

    report.paragraph(&format!(
        "**{} files of 1 KB, upper-cased**, beside TigerFlow 0.3.1 (a `SlurmTask`, {TASK}; same options; it serves for \
         ever, and is stopped when all outputs are there). Times from just before the process is started to an \
         output's rename. Memory: the host's process; of TigerFlow the process that the user starts and the one that it \
         starts in a job, which holds Dask's scheduler. {repetitions} repetitions, in turn.",
        Grouped(FILES as f64, 0)
    ));
    let nothing = || "–".to_owned();
    let line = |what: &str, value: fn(&Run) -> f64, unit: &str, word: &str, goal: &str| {
        let new = sample(&new, value);
        let (theirs, ratio) = match &python {
            Ok(_) => {
                let old = sample(&old, value);
                let ratio = old.median() / new.median();
                (format!("{} {unit}", old.shown(2)), format!("**{ratio:.1} × {word}**"))
            }
            Err(_) => (nothing(), nothing()),
        };
        vec![what.to_owned(), theirs, format!("{} {unit}", new.shown(2)), ratio, goal.to_owned()]
    };
    let whole = format!("{} s", Sample::new(whole).shown(2));
    report.table(&[
        row(["What", "TigerFlow 0.3.1", "tigerflow-host", "Ratio", "Goal"]),
        line("First output", |run| run.first, "s", "sooner", "≤ 3 s"),
        line("Last output", |run| run.last, "s", "sooner", "≤ 5 s"),
        vec!["Whole process".to_owned(), nothing(), whole, nothing(), nothing()],
        line("Peak memory of the coordinator", |run| run.memory, "MB", "less", "< 50 MB"),
    ]);
    let slurm = "most of it is what Slurm takes to start the jobs";
    let names = "most of it is the program and the names of the files";
    for (what, value, limit, unit, why) in [
        ("start to first output", (|run| run.first) as fn(&Run) -> f64, 3.0, "s", slurm),
        ("start to last output", |run| run.last, 5.0, "s", slurm),
        ("peak memory of the coordinator", |run| run.memory, 50.0, "MB", names),
    ] {
        let value = sample(&new, value).median();
        goal(report, what, Target::AtMost(limit), value, unit, why);
    }
    if python.is_ok() {
        let bars = [("first", (|run| run.first) as fn(&Run) -> f64), ("last", |run| run.last)];
        let bars = bars.into_iter().flat_map(|(which, value)| {
            let host = Bar::host(format!("tigerflow-host, {which}"), &sample(&new, value));
            [host, Bar::peer(format!("TigerFlow 0.3.1, {which}"), &sample(&old, value))]
        });
        report.chart(&Chart {
            name: "slurm",
            title: &format!(
                "Slurm: from process start to the first and the last of {FILES} outputs"
            ),
            unit: "s, less is better",
            scale: Scale::Log,
            bars: bars.collect(),
        });
    }
    if let Err(error) = &python {
        report.paragraph(&format!("TigerFlow is left out: {error:#}."));
    }
    workload.remove()
}

/// Notes a goal of this section.
fn goal(
    report: &mut Report,
    what: &str,
    target: Target,
    value: f64,
    unit: &'static str,
    why: &str,
) {
    report.goal(Goal { what: format!("Slurm: {what}"), target, value, unit, why: why.to_owned() });
}

fn dispatch(bench: &Bench, cluster: &Cluster, report: &mut Report) -> Result<()> {
    let repetitions = bench.repetitions().min(5);
    let component = bench.guest("misbehave")?;
    let workload = Workload::saying(bench, "slurm-dispatch", DISPATCHED, "nothing")?;
    let check = || match count(&workload.output, ".txt") {
        DISPATCHED => Ok(()),
        outputs => bail!("{outputs} outputs instead of {DISPATCHED}"),
    };
    let (mut runs, mut whole, mut cpu) = (vec![], vec![], vec![]);
    for repetition in 1..=repetitions {
        note(&format!("{DISPATCHED} files, repetition {repetition} of {repetitions}"));
        let (run, finished) = cluster.host(bench, &workload, &component, &[])?;
        check()?;
        runs.push(run);
        whole.push(DISPATCHED as f64 / finished.seconds());
        cpu.push(1e6 * finished.cpu.as_secs_f64() / DISPATCHED as f64);
    }
    note("its calls, by strace");
    let calls = cluster.calls(bench, &workload, &component);
    if calls.is_ok() {
        check()?;
    }

    report.paragraph(&format!(
        "**Dispatch: {} files on which next to nothing is done** (the guest `misbehave` reads `nothing` and writes \
         none; the outputs are empty). Calls: of the coordinator and its threads, not of `sbatch` and `squeue`, start \
         and listing included: all that open, stat, list, rename, make, link, unlink or check for access; counted by \
         `strace -f` in a run of its own. CPU time: of the coordinator and Slurm's commands. {repetitions} repetitions.",
        Grouped(DISPATCHED as f64, 0)
    ));
    let files = DISPATCHED as f64;
    let hundredth =
        calls.as_ref().map(|calls| 100.0 * calls.values().sum::<usize>() as f64 / files);
    let counted = hundredth.as_ref().map_or("–".to_owned(), |calls| format!("**{calls:.2}**"));
    let rate = sample(&runs, |run| files / (run.last - run.first));
    let why = "workers and coordinator share this machine's cores";
    goal(report, "files handed out", Target::AtLeast(10_000.0), rate.median(), "files/s", why);
    if let Ok(calls) = hundredth {
        let why = "what is opened at the start counts, too";
        let what = "metadata calls of the coordinator for 100 files";
        goal(report, what, Target::AtMost(3.0), calls, "calls", why);
    }
    let rate = rate.shown(0);
    let memory = sample(&runs, |run| run.memory).shown(1);
    let rows = [
        ["Files a second, first to last output", &format!("**{rate}**"), "≥ 10,000"],
        ["Files a second, whole process", &Sample::new(whole).shown(0), "–"],
        ["Metadata calls of the coordinator for 100 files", &counted, "≤ 3"],
        [
            "CPU time of the coordinator for a file",
            &format!("{} µs", Sample::new(cpu).shown(1)),
            "–",
        ],
        ["Peak memory of the coordinator", &format!("{memory} MB"), "–"],
    ];
    let head = row(["What", "tigerflow-host", "Goal"]);
    report.table(&[vec![head], rows.map(row).to_vec()].concat());
    match calls {
        Ok(calls) => {
            let mut calls: Vec<_> = calls.into_iter().collect();
            calls.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
            let calls: Vec<_> =
                calls.iter().map(|(name, number)| format!("{name} {number}")).collect();
            report.paragraph(&format!("The calls: {}.", calls.join(", ")));
        }
        Err(error) => {
            let reason = format!("The calls were not counted: {error:#}.");
            note(&reason);
            report.paragraph(&reason);
        }
    }
    workload.remove()
}

fn overhead(bench: &Bench, cluster: &Cluster, report: &mut Report) -> Result<()> {
    let files = if bench.quick { 400 } else { 1_000 };
    let repetitions = 3;
    let component = bench.guest("slow")?;
    let workload = Workload::new(bench, "slurm-slow", files, 1024)?;
    let wait = WAIT as f64 / 1000.0;
    let ideal = files as f64 * wait / WORKERS as f64;
    let (mut runs, mut whole) = (vec![], vec![]);
    for repetition in 1..=repetitions {
        note(&format!("{files} files of {WAIT} ms, repetition {repetition} of {repetitions}"));
        let pause = ["--pause", &WAIT.to_string()];
        let (run, finished) = cluster.host(bench, &workload, &component, &pause)?;
        workload.check()?;
        runs.push(run);
        whole.push(finished.seconds());
    }
    report.paragraph(&format!(
        "**Overhead: {} files of {WAIT} ms each** (the guest `slow`), {WORKERS} workers of 1 CPU; ideal: {ideal:.0} s. \
         First start to last end: from {WAIT} ms before the first output is published to when the last is; so a worker \
         that starts later than the first counts, too. {repetitions} repetitions.",
        Grouped(files as f64, 0)
    ));
    let net = sample(&runs, |run| run.last - run.first + wait);
    let lost = net.clone().map(|seconds| 100.0 * (seconds / ideal - 1.0));
    let why = "a worker that starts later than the first counts as lost, too";
    let what = "over the ideal, with files of 100 ms";
    goal(report, what, Target::AtMost(3.0), lost.median(), "%", why);
    let rows = [
        ["First start to last end", &format!("{} s", net.shown(2)), "–"],
        ["Over the ideal", &format!("**{} %**", lost.shown(2)), "≤ 3 %"],
        ["Whole process", &format!("{} s", Sample::new(whole).shown(2)), "–"],
    ];
    report.table(&[vec![row(["What", "tigerflow-host", "Goal"])], rows.map(row).to_vec()].concat());
    workload.remove()
}

/// A running cluster. Dropped, it is gone with all of its jobs, as it is when this process ends.
struct Cluster {
    root: PathBuf,
    guard: Child,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

impl Cluster {
    /// Starts one; the inner error says why there can be none.
    fn start() -> Result<Result<Self, String>> {
        // A short path, as sockets lie in it.
        let root = PathBuf::from(format!("/tmp/tf-bench-{}", std::process::id()));
        fs::create_dir_all(root.join("work"))
            .with_context(|| format!("could not create {}", root.display()))?;
        let guard = process::command("bash")
            .args(["-c", r#"cat >/dev/null; "$1" "$2"; rm -rf "$2""#, "guard"])
            .arg(repo::path("tests/slurm/stop-cluster"))
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of the terminal's Ctrl-C.
            .process_group(0)
            .spawn()
            .context("could not start bash")?;
        let cluster = Self { root, guard };
        let mut command = process::command(repo::path("tests/slurm/start-cluster"));
        command.arg(&cluster.root);
        command.env("NODES", NODES.to_string()).env("CPUS", CPUS.to_string());
        let started = process::step("Slurm cluster", || {
            let done = away_from_slurm(&mut command).output()?;
            let word = if done.status.success() { "up" } else { "none" };
            Ok((done, word.to_owned()))
        })?;
        let told = String::from_utf8_lossy(&started.stderr).trim().to_owned();
        match started.status.code() {
            Some(0) => Ok(Ok(cluster)),
            Some(IMPOSSIBLE) => Ok(Err(told)),
            _ => bail!("no Slurm cluster:\n{told}"),
        }
    }

    /// Makes a command use this cluster, and leave what it leaves there.
    fn aim<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        away_from_slurm(command)
            .env("SLURM_CONF", self.root.join("etc/slurm.conf"))
            .current_dir(self.root.join("work"))
    }

    fn host_command(
        &self,
        bench: &Bench,
        workload: &Workload,
        component: &Path,
        options: &[&str],
    ) -> Command {
        let mut command = measure::program(&bench.host);
        command.env("TIGERFLOW_CACHE_DIR", &bench.cache);
        command.arg("run").arg(component);
        directories(&mut command, workload);
        command.args(["--once", "--max-workers", &WORKERS.to_string(), "--cpus", "1"]);
        command.args(["--memory", MEMORY, "--time", "10"]).args(options);
        self.aim(&mut command);
        command
    }

    fn host(
        &self,
        bench: &Bench,
        workload: &Workload,
        component: &Path,
        options: &[&str],
    ) -> Result<(Run, Finished)> {
        workload.reset()?;
        let mut command = self.host_command(bench, workload, component, options);
        let start = SystemTime::now();
        let finished = measure::run(&mut command)?;
        let (first, last) = times(workload, start)?;
        self.settle()?;
        let run = Run { first, last, memory: finished.peak_memory as f64 / 1e6 };
        Ok((run, finished))
    }

    /// Upper-cases by TigerFlow.
    fn tigerflow(&self, python: &Path, workload: &Workload) -> Result<Run> {
        workload.reset()?;
        let log = self.root.join("tigerflow.log");
        let written = fs::File::create(&log)?;
        let mut command = process::command(python);
        command.arg(repo::path(TASK));
        directories(&mut command, workload);
        command.args(["--max-workers", &WORKERS.to_string(), "--cpus", "1"]);
        command.args(["--memory", MEMORY, "--time", "00:10:00"]);
        // Its job runs `python`, and Dask writes into the user's home what it finds nowhere else.
        let programs = python.parent().context("a program lies in a folder")?.to_path_buf();
        let path = env::var_os("PATH").unwrap_or_default();
        command
            .env("PATH", env::join_paths([programs].into_iter().chain(env::split_paths(&path)))?);
        command.env("DASK_CONFIG", self.root.join("dask"));
        command.stdout(Stdio::null()).stderr(written);
        let start = SystemTime::now();
        let watch = Instant::now();
        let mut child = process::spawn(self.aim(&mut command))?;
        // Without it its job ends at once, as Slurm cannot open the log, and it waits for ever.
        fs::create_dir_all(workload.output.join("logs").join(child.id().to_string()))?;
        let mut fault = None;
        while count(&workload.output, ".txt") < workload.files {
            if let Some(status) = child.try_wait()? {
                fault = Some(format!("it ended ({status})"));
            } else if watch.elapsed() > LIMIT {
                fault = Some(format!("its outputs were not there within {} s", LIMIT.as_secs()));
            }
            if fault.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        let memory = coordinators(child.id()).map(peak_memory).sum();
        measure::stop(&mut child)?;
        self.settle()?;
        if let Some(fault) = fault {
            let log = fs::read_to_string(&log).unwrap_or_default();
            let last = log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing");
            bail!("{fault}; the last that it said: {last}");
        }
        workload.check()?;
        let (first, last) = times(workload, start)?;
        Ok(Run { first, last, memory })
    }

    /// Has the cluster empty before the next run; what a killed program left is cancelled.
    fn settle(&self) -> Result<()> {
        let start = Instant::now();
        let mut cancelled = false;
        loop {
            let queue = process::output(self.aim(process::command("squeue").arg("-h")))?;
            if queue.is_empty() {
                return Ok(());
            }
            if start.elapsed() > Duration::from_secs(60) {
                bail!("there are jobs that do not end:\n{queue}");
            }
            if start.elapsed() > Duration::from_secs(15) && !cancelled {
                cancelled = true;
                let jobs = queue.lines().filter_map(|line| line.split_whitespace().next());
                process::quietly(self.aim(process::command("scancel").args(jobs)))?;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// How often the host's process, with its threads, calls what concerns the names of files.
    fn calls(
        &self,
        bench: &Bench,
        workload: &Workload,
        component: &Path,
    ) -> Result<BTreeMap<String, usize>> {
        match Command::new("strace").arg("-V").output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("`strace` is not there (Debian: apt-get install strace)")
            }
            result => result.context("could not start strace")?,
        };
        workload.reset()?;
        let folder = self.root.join("calls");
        repo::remove_dir(&folder)?;
        fs::create_dir(&folder)?;
        let host = self.host_command(bench, workload, component, &[]);
        let mut command = measure::program("strace");
        // A file for each thread. No other call stops the host.
        command.args(["-f", "--seccomp-bpf", "-ff", "-qq", "-e", "signal=none"]);
        command.arg("-e").arg(format!("trace=/{METADATA}|{MAKING}"));
        command.arg("-o").arg(folder.join("of")).arg(host.get_program()).args(host.get_args());
        for (name, value) in host.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        measure::run(self.aim(&mut command))?;
        self.settle()?;
        count_calls(&folder, host.get_program().to_str().context("a path that is not Unicode")?)
    }
}

/// Counts the calls in strace's files, one a thread, of the process that became `program`.
fn count_calls(folder: &Path, program: &str) -> Result<BTreeMap<String, usize>> {
    let mut texts = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let thread = path.extension().and_then(|id| id.to_str()?.parse::<u32>().ok());
        texts
            .insert(thread.context("a file of strace's has no number")?, fs::read_to_string(path)?);
    }
    let begin = format!("execve(\"{program}\"");
    let mut left: Vec<u32> =
        texts.iter().filter(|(_, text)| text.starts_with(&begin)).map(|(id, _)| *id).collect();
    if left.len() != 1 {
        bail!("strace told of {} processes of the host", left.len());
    }
    let mut counts = BTreeMap::new();
    while let Some(text) = left.pop().and_then(|thread| texts.remove(&thread)) {
        for line in text.lines() {
            let name = line.split('(').next().unwrap_or_default();
            match name {
                "clone" | "clone3" | "fork" | "vfork" => {
                    if line.contains("CLONE_THREAD") {
                        left.extend(
                            line.rsplit_once(" = ").and_then(|(_, id)| id.parse::<u32>().ok()),
                        );
                    }
                }
                "execve" => {}
                _ => *counts.entry(name.to_owned()).or_default() += 1,
            }
        }
    }
    Ok(counts)
}

/// What every program is told of a workload.
fn directories(command: &mut Command, workload: &Workload) {
    command.arg("--input-dir").arg(&workload.input).args(["--input-ext", ".txt"]);
    command.arg("--output-dir").arg(&workload.output).args(["--output-ext", ".txt"]);
}

/// A command that does not take itself to be in a job, or on a cluster, that this benchmark happens to run in.
fn away_from_slurm(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ["SLURM", "SBATCH_", "SQUEUE_", "SCANCEL_"].iter().any(|begin| text.starts_with(begin)) {
            command.env_remove(name);
        }
    }
    command
}

/// Seconds from `start` to the first and to the last output.
fn times(workload: &Workload, start: SystemTime) -> Result<(f64, f64)> {
    let (first, last) = workload.published()?;
    let since = |time: SystemTime| {
        let time = time.duration_since(start).context("an output is older than its run")?;
        anyhow::Ok(time.as_secs_f64())
    };
    Ok((since(first)?, since(last)?))
}

/// TigerFlow's process, and the one in its job, which names it.
fn coordinators(runner: u32) -> impl Iterator<Item = u32> {
    let mark = format!("--runner-pid={runner}");
    let named = move |id: &u32| {
        let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == mark.as_bytes())
    };
    let entries = fs::read_dir("/proc").into_iter().flatten();
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    [runner].into_iter().chain(ids.filter(move |id| named(id)))
}

/// The largest resident set so far of a process that runs, in MB.
fn peak_memory(id: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_the_program_and_its_threads_count_and_of_its_children_do_not() {
        let folder = env::temp_dir().join(format!("tigerflow-xtask-calls-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder can be made");
        let thread = "clone3({flags=CLONE_VM|CLONE_THREAD, tls=0x7} => {parent_tid=[8]}, 88) = 8";
        let child = "clone3({flags=CLONE_VM|CLONE_VFORK, stack=0x7}, 88) = 9";
        let files = [
            (
                "of.7",
                format!(
                    "execve(\"/host\", [\"/host\"], 0x7) = 0\nopenat(3, \"a\") = 4\n{thread}\n{child}\n"
                ),
            ),
            ("of.8", "openat(3, \"b\") = 5\nrename(\"b\", \"c\") = 0\n".to_owned()),
            (
                "of.9",
                "execve(\"/sbatch\", [\"sbatch\"], 0x7) = 0\nopenat(3, \"d\") = 4\n".to_owned(),
            ),
        ];
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("a file can be written");
        }
        let counts = count_calls(&folder, "/host");
        fs::remove_dir_all(&folder).expect("the folder can be removed");
        let expected = [("openat".to_owned(), 2), ("rename".to_owned(), 1)];
        assert_eq!(counts.expect("they are counted"), BTreeMap::from(expected));
    }
}
