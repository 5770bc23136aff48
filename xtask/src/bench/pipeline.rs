//! Pipelines: small files through several tasks, a file that comes late, and very many files.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    Bench,
    chart::{Bar, Chart, Scale},
    machine,
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

const PEER: &str = "TigerFlow 0.3.1";
/// Where the trees of tasks are.
const FOLDER: &str = "xtask/bench/tigerflow";
/// The module of every task there.
const MODULE: &str = "xtask/bench/tigerflow/upper.py";
const FILES: usize = 1_000;
const SIZE: usize = 1024;
/// Runs of the host for each of TigerFlow's, which take as long as a hundred.
const HOST_RUNS: usize = 10;
/// Files that come late to the host, one after another.
const LATE: usize = 20;
/// What a file has that goes through three tasks.
const SMALL: usize = 100;
/// Repetitions over very many files.
const REPETITIONS: usize = 3;
/// What their inputs and outputs take of a tmpfs, with room for the host.
const NEEDED: u64 = 4 << 30;
/// TigerFlow's looks are 10 s apart at most.
const LIMIT: Duration = Duration::from_secs(120);

/// A tree of tasks, each of which upper-cases.
struct Tree {
    name: &'static str,
    file: &'static str,
    /// The names of its tasks, and their extensions. The last one is done last.
    outputs: &'static [(&'static str, &'static str)],
}

const ONE: Tree =
    Tree { name: "one task", file: "pipeline_one.yaml", outputs: &[("first", ".out")] };
const TWO: Tree = Tree {
    name: "two tasks",
    file: "pipeline_two.yaml",
    outputs: &[("first", ".up"), ("second", ".out")],
};
const THREE: Tree = Tree {
    name: "three tasks",
    file: "pipeline_three.yaml",
    outputs: &[("first", ".up"), ("second", ".out"), ("third", ".out")],
};

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let python = tigerflow::set_up();
    let peer = python.as_deref().ok();
    report.section(
        "Pipelines",
        &format!(
            "Tasks that upper-case, connected by a configuration: those of {FOLDER} \
             (`pipeline_….yaml`). {PEER} runs them in Python ({MODULE}), one process a task; the \
             host (`pipeline run`) has the guest `upper` as every task's module and runs as many \
             files at once as there are cores. All else is what both do by themselves: every \
             task's outputs are kept, the usual log is written, TigerFlow looks for new files \
             every 3 s in a task and every 10 s in the pipeline. On a tmpfs."
        ),
    );
    if let Err(error) = &python {
        report.paragraph(&format!("TigerFlow is left out: {error:#}."));
    }
    if let Some(python) = peer {
        // Python's modules are compiled and read once before.
        process::quietly(tigerflow_program(python)?.arg("--help"))?;
    }
    whole_runs(bench, report, peer)?;
    late_files(bench, report, peer)?;
    very_many(bench, report)
}

/// A thousand files, start-up included.
fn whole_runs(bench: &Bench, report: &mut Report, peer: Option<&Path>) -> Result<()> {
    let workload = Workload::new(bench, "pipeline", FILES, SIZE)?;
    let repetitions = peer_repetitions(bench);
    // The first run compiles the component, and is not counted.
    ONE.once(bench, &workload)?;
    let mut rates: [[Vec<f64>; 2]; 2] = Default::default();
    for repetition in 0..repetitions {
        note(&format!("whole runs, repetition {} of {repetitions}", repetition + 1));
        for (tree, [host, old]) in [ONE, TWO].iter().zip(&mut rates) {
            for _ in 0..HOST_RUNS {
                host.push(FILES as f64 / tree.once(bench, &workload)?.seconds());
            }
            if let Some(python) = peer {
                old.push(FILES as f64 / tree.tigerflow_once(python, &workload)?);
            }
        }
    }
    workload.remove()?;

    report.paragraph(&format!(
        "Whole runs: {} files of 1 KB that are there at the start. The host: from process start to \
         its end (`--once`). TigerFlow, which goes on: from process start to when the last output \
         of its last task stands (its directory's time). Repetitions of TigerFlow: {repetitions}; \
         of the host: {HOST_RUNS} for each of them, in turn.",
        Grouped(FILES as f64, 0)
    ));
    let mut rows = vec![row(["Whole run", "Files/s, start-up included", "Beside TigerFlow"])];
    let mut bars = vec![];
    for (tree, [host, old]) in [ONE, TWO].iter().zip(rates) {
        let host = Sample::new(host);
        let mut ratio = String::new();
        if !old.is_empty() {
            let old = Sample::new(old);
            let times = host.median() / old.median();
            ratio = format!("**{times:.0} ×**");
            rows.push(vec![format!("{PEER}, {}", tree.name), old.shown(0), String::new()]);
            bars.push(Bar::peer(format!("{PEER}, {}", tree.name), &old));
            report.goal(Goal {
                what: format!("Small files through a pipeline of {} beside TigerFlow", tree.name),
                target: Target::AtLeast(50.0),
                value: times,
                unit: "× TigerFlow's files/s",
                why: format!(
                    "TigerFlow took {:.1} s, of which its looks at directories are most; the host \
                     {:.2} s, from which reading, writing and the start cannot go",
                    FILES as f64 / old.median(),
                    FILES as f64 / host.median()
                ),
            });
        }
        rows.push(vec![format!("tigerflow-host, {}", tree.name), host.shown(0), ratio]);
        bars.push(Bar::host(format!("tigerflow-host, {}", tree.name), &host));
    }
    report.table(&rows);
    report.chart(&Chart {
        name: "pipeline",
        title: "Small files through a pipeline on a tmpfs, start-up included",
        unit: "files/s",
        scale: Scale::Log,
        bars,
    });
    Ok(())
}

/// Files that come to a pipeline that has nothing to do.
fn late_files(bench: &Bench, report: &mut Report, peer: Option<&Path>) -> Result<()> {
    let workload = Workload::new(bench, "pipeline-late", 1, SIZE)?;
    note(&format!("{LATE} late files"));
    let mut command = TWO.host(bench, &workload)?;
    // Not in step with anything.
    let host = late(&mut command, &workload, (0..LATE as u64).map(|file| 50 + 7 * (file % 10)))?;
    let old = match peer {
        Some(python) => {
            // On average they come in the middle between two of its looks.
            let pauses: &[u64] = if bench.quick { &[5_000] } else { &[3_000, 7_000] };
            note("late files for TigerFlow");
            let mut command = TWO.tigerflow(python, &workload)?;
            Some(late(&mut command, &workload, pauses.iter().copied())?)
        }
        None => None,
    };
    workload.remove()?;

    let mut explanation = format!(
        "A late file: the pipeline of two tasks has nothing to do, and a file is moved into its \
         inputs; from just before that to when its last output stands (looked for every 50 µs). \
         {} of them for the host",
        host.len()
    );
    if let Some(old) = &old {
        explanation.push_str(&format!(
            ", and {} for TigerFlow, 5 s after it had looked for new files on average, which it \
             does every 10 s",
            old.len()
        ));
    }
    report.paragraph(&format!("{explanation}."));
    let mut rows = vec![row(["A late file to its last output", "Time", "Beside TigerFlow"])];
    let (mut bars, mut ratio) = (vec![], String::new());
    if let Some(old) = &old {
        ratio = format!("**{} × sooner**", Grouped(old.median() / host.median(), 0));
        rows.push(vec![PEER.into(), format!("{} ms", old.shown(0)), String::new()]);
        bars.push(Bar::peer(PEER, old));
    }
    rows.push(vec!["tigerflow-host".into(), format!("{} ms", host.shown(1)), ratio]);
    bars.push(Bar::host("tigerflow-host", &host));
    report.table(&rows);
    report.chart(&Chart {
        name: "pipeline-late",
        title: "A late file through two tasks to its last output",
        unit: "ms",
        scale: Scale::Log,
        bars,
    });
    report.goal(Goal {
        what: format!("A late file through two tasks, the slowest of {LATE}"),
        target: Target::AtMost(300.0),
        value: host.max(),
        unit: "ms",
        why: "no event told of it, so it waited for a look, or for a core".to_owned(),
    });
    Ok(())
}

/// Few and very many files: what a file takes, and how much memory all of them do.
fn very_many(bench: &Bench, report: &mut Report) -> Result<()> {
    let sizes: &[usize] = if bench.quick { &[10_000, 20_000] } else { &[25_000, 50_000, 100_000] };
    let (fewest, most) = (sizes[0], sizes[sizes.len() - 1]);
    report.paragraph(&format!(
        "Very many: files of {SMALL} bytes through three tasks, of which the second and the third \
         work on what the first has made, `pipeline run --once`. Time and CPU time of whole \
         processes, memory as their largest resident set (`ru_maxrss`); {REPETITIONS} \
         repetitions, in turn."
    ));
    let free = machine::memory("MemAvailable");
    if free < NEEDED {
        report.paragraph(&format!(
            "Left out: it needs {} GiB of free memory, and there are {}.",
            NEEDED >> 30,
            free >> 30
        ));
        return Ok(());
    }
    let mut series = vec![];
    for &files in sizes {
        let workload = Workload::new(bench, &format!("pipeline-{files}"), files, SMALL)?;
        series.push(Series { workload, time: vec![], cpu: vec![], memory: vec![] });
    }
    for repetition in 0..REPETITIONS {
        note(&format!("very many files, repetition {} of {REPETITIONS}", repetition + 1));
        for series in &mut series {
            series.run(bench)?;
        }
    }

    let mut rows = vec![row(["Files", "Time", "A file", "A file, CPU time", "Peak memory"])];
    let mut measured = vec![];
    for series in series {
        let [time, cpu, memory] = [series.time, series.cpu, series.memory].map(Sample::new);
        let files = series.workload.files as f64;
        let each = time.clone().map(|seconds| 1e6 * seconds / files);
        rows.push(vec![
            Grouped(files, 0).to_string(),
            format!("{} s", time.shown(2)),
            format!("**{} µs**", each.shown(1)),
            format!("{} µs", cpu.map(|seconds| 1e6 * seconds / files).shown(1)),
            format!("**{} MiB**", memory.shown(1)),
        ]);
        measured.push((each.median(), memory.median()));
        series.workload.remove()?;
    }
    report.table(&rows);
    let ((few_time, few_memory), (time, memory)) = (measured[0], measured[measured.len() - 1]);
    let compared = format!("{} beside {}", Grouped(most as f64, 0), Grouped(fewest as f64, 0));
    report.goal(Goal {
        what: format!("Three tasks: time a file, {compared} files"),
        target: Target::AtMost(1.15),
        value: time / few_time,
        unit: "× as long",
        why: "the CPU time a file tells whether the host does more for each, or had less of the \
              machine"
            .to_owned(),
    });
    report.goal(Goal {
        what: format!("Three tasks: memory, {compared} files"),
        target: Target::AtMost(12.0),
        value: memory - few_memory,
        unit: "MiB more",
        why: "the name of each known input is kept, with some 30 bytes, in the pipeline and in \
              its tasks"
            .to_owned(),
    });
    Ok(())
}

/// What was measured over one number of files.
struct Series {
    workload: Workload,
    /// In seconds.
    time: Vec<f64>,
    cpu: Vec<f64>,
    /// In MiB.
    memory: Vec<f64>,
}

impl Series {
    fn run(&mut self, bench: &Bench) -> Result<()> {
        let finished = THREE.once(bench, &self.workload)?;
        self.time.push(finished.seconds());
        self.cpu.push(finished.cpu.as_secs_f64());
        self.memory.push(finished.peak_mib());
        // The outputs of all numbers of files at once would need twice the room.
        self.workload.reset()
    }
}

/// Runs of TigerFlow: each takes a quarter of a minute.
fn peer_repetitions(bench: &Bench) -> usize {
    if bench.quick { 1 } else { 2 }
}

impl Tree {
    fn path(&self) -> PathBuf {
        repo::path(FOLDER).join(self.file)
    }

    /// The host's run over a workload, with the component in place of the module.
    fn host(&self, bench: &Bench, workload: &Workload) -> Result<Command> {
        let path = self.path();
        let text = fs::read_to_string(&path)
            .with_context(|| format!("could not read {}", path.display()))?;
        let config = bench.scratch.join(self.file);
        fs::write(&config, text.replace(MODULE, &format!("{:?}", bench.upper)))
            .with_context(|| format!("could not write {}", config.display()))?;
        let mut command = measure::program(&bench.host);
        command.env("TIGERFLOW_CACHE_DIR", &bench.cache);
        command.args(["pipeline", "run"]).arg(config).arg(&workload.input).arg(&workload.output);
        Ok(command)
    }

    /// The host's run to its end.
    fn once(&self, bench: &Bench, workload: &Workload) -> Result<Finished> {
        workload.reset()?;
        let finished = measure::run(self.host(bench, workload)?.arg("--once"))?;
        self.check(workload)?;
        Ok(finished)
    }

    /// Seconds from TigerFlow's start to its last output.
    ///
    /// The directory is counted only now and then, to leave the cores to what is measured.
    fn tigerflow_once(&self, python: &Path, workload: &Workload) -> Result<f64> {
        workload.reset()?;
        let mut command = self.tigerflow(python, workload)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let (task, extension) = self.last();
        let folder = Self::folder(task, workload);
        let start = SystemTime::now();
        let watch = Instant::now();
        let mut child = process::spawn(&mut command)?;
        while count(&folder, extension) < workload.files {
            if watch.elapsed() > LIMIT {
                measure::stop(&mut child)?;
                let limit = LIMIT.as_secs();
                bail!("`{}` did not finish within {limit} s", process::shown(&command));
            }
            thread::sleep(Duration::from_millis(100));
        }
        let last = fs::metadata(&folder)?.modified()?;
        // It would go on for ten minutes.
        measure::stop(&mut child)?;
        self.check(workload)?;
        Ok(last.duration_since(start).context("an output is older than its run")?.as_secs_f64())
    }

    fn tigerflow(&self, python: &Path, workload: &Workload) -> Result<Command> {
        let mut command = tigerflow_program(python)?;
        command.arg("run").arg(self.path()).arg(&workload.input).arg(&workload.output);
        Ok(command)
    }

    /// The directory of a task's outputs.
    fn folder(task: &str, workload: &Workload) -> PathBuf {
        workload.output.join(task)
    }

    /// The task that is done last, and its extension.
    fn last(&self) -> (&'static str, &'static str) {
        self.outputs[self.outputs.len() - 1]
    }

    fn last_output(&self, workload: &Workload, file: usize) -> PathBuf {
        let (task, extension) = self.last();
        Self::folder(task, workload).join(format!("{file:07}{extension}"))
    }

    /// Checks that all outputs of all tasks stand, with what is right in a sample of them.
    fn check(&self, workload: &Workload) -> Result<()> {
        for (task, extension) in self.outputs {
            let folder = Self::folder(task, workload);
            let outputs = count(&folder, extension);
            let wanted = workload.files;
            ensure!(outputs == wanted, "{outputs} outputs in {} of {wanted}", folder.display());
            for file in (0..wanted).step_by(wanted.div_ceil(16)) {
                let input = fs::read_to_string(workload.input.join(format!("{file:07}.txt")))?;
                let output = folder.join(format!("{file:07}{extension}"));
                ensure!(
                    fs::read_to_string(&output)? == input.to_uppercase(),
                    "{} is not its input in upper case",
                    output.display()
                );
            }
        }
        Ok(())
    }
}

/// TigerFlow's own program, with its defaults, and its Python as `python`.
fn tigerflow_program(python: &Path) -> Result<Command> {
    let bin = python.parent().context("TigerFlow's Python has no folder")?;
    let mut folders = vec![bin.to_path_buf()];
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let path: OsString = std::env::join_paths(folders).context("a folder with `:` in its name")?;
    let mut command = process::command(bin.join("tigerflow"));
    command.env("PATH", path);
    command.env_remove("TIGERFLOW_PIPELINE_POLL_INTERVAL");
    command.env_remove("TIGERFLOW_TASK_POLL_INTERVAL");
    Ok(command)
}

/// Milliseconds from when each file is moved in to when its last output stands, with a pause of
/// so many milliseconds before each.
fn late(
    command: &mut Command,
    workload: &Workload,
    pauses: impl Iterator<Item = u64>,
) -> Result<Sample> {
    workload.reset()?;
    let (_, mut child) = measure::until_file(command, &TWO.last_output(workload, 0), LIMIT)?;
    let (mut times, mut places) = (vec![], vec![]);
    for (index, pause) in pauses.enumerate() {
        let file = workload.files + index;
        let aside = workload.input.with_file_name("late.txt");
        fs::write(&aside, "a late text")?;
        thread::sleep(Duration::from_millis(pause));
        let place = workload.input.join(format!("{file:07}.txt"));
        let output = TWO.last_output(workload, file);
        let start = Instant::now();
        fs::rename(&aside, &place)?;
        while !output.exists() {
            if start.elapsed() > LIMIT {
                measure::stop(&mut child)?;
                bail!("a late file had no output after {} s", LIMIT.as_secs());
            }
            thread::sleep(Duration::from_micros(50));
        }
        times.push(1000.0 * start.elapsed().as_secs_f64());
        places.push(place);
    }
    measure::stop(&mut child)?;
    // They are late again for whoever is measured next.
    for place in places {
        fs::remove_file(place)?;
    }
    Ok(Sample::new(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tree_names_the_module_once_a_task_and_all_outputs() {
        for tree in [ONE, TWO, THREE] {
            let text = fs::read_to_string(tree.path()).expect("the configuration is there");
            assert_eq!(text.matches(MODULE).count(), tree.outputs.len(), "{}", tree.file);
            for (task, extension) in tree.outputs {
                let wanted = [format!("name: {task}\n"), format!("output_ext: {extension}\n")];
                assert!(wanted.iter().all(|line| text.contains(line)), "{}: {task}", tree.file);
            }
        }
    }
}
