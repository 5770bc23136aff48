//! What a file in flight costs that only waits: a call of an asynchronous instance, and an instance of a plain task.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    Bench,
    chart::{Bar, Chart, Scale},
    measure,
    report::{Goal, Report, Target},
    resident::{self, Resident},
    stats::{Grouped, Sample},
    throughput::row,
    workload::Workload,
};
use crate::{process, process::note};

/// How long each file waits, in milliseconds: all are to begin before the first ends.
const WAIT: u64 = 20_000;
/// CPU time is measured over as long. The host says how far it is every 2 s.
const WINDOW: Duration = Duration::from_secs(3);
/// Above this share of a core, files are still being begun.
const QUIET: f64 = 0.1;

/// Files in flight, and what they run in.
struct Case<'a> {
    name: &'a str,
    short: &'a str,
    files: usize,
    component: &'a Path,
    /// The content of each file, and what is given beside.
    content: String,
    options: Vec<String>,
    /// The same for files that do not wait.
    swift_content: &'a str,
    swift_options: &'a [&'a str],
    goal: f64,
}

/// A run while all of its files in flight wait.
struct Asleep {
    running: usize,
    memory: Resident,
    /// CPU time by time.
    cpu: f64,
}

/// Figures of a case, in KiB for each file in flight.
#[derive(Default)]
struct Series {
    running: usize,
    host: Vec<f64>,
    peak: Vec<f64>,
    stacks: Vec<f64>,
    heap: Vec<f64>,
    guest: Vec<f64>,
    page_tables: Vec<f64>,
    cpu: Vec<f64>,
    idle_cpu: Vec<f64>,
}

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let (asynchronous, plain) = (bench.guest("async-upper")?, bench.guest("slow")?);
    let pause = |wait: u64| vec!["--pause".to_owned(), wait.to_string()];
    let cases = [
        Case {
            name: "Calls in one asynchronous instance",
            short: "Call of an asynchronous task",
            files: 10_000,
            component: &asynchronous,
            content: format!("wait {WAIT}"),
            options: vec![],
            swift_content: "wait 0",
            swift_options: &[],
            goal: 8.0,
        },
        Case {
            name: "Instances of a plain task",
            short: "Instance of a plain task",
            files: 1_000,
            component: &plain,
            content: "a text".to_owned(),
            options: pause(WAIT),
            swift_content: "a text",
            swift_options: &["--pause", "0"],
            goal: 64.0,
        },
    ];
    let repetitions = if bench.quick { 1 } else { 3 };
    let mut measured = vec![];
    for case in &cases {
        measured.push((case, case.measure(bench, repetitions)?));
    }

    report.section(
        "Files in flight that wait",
        &format!(
            "{} files in one asynchronous instance (guest `async-upper`) and {} instances of a plain task (`slow`), \
             each file waiting for {} s. Once the host has used next to no CPU time for a while, `status` tells how many are at work and \
             `/proc/PID/smaps` where its memory is. A guest's linear memory is known by its reservation of 4 GiB of \
             address space, of which the beginning is writable; the host's memory is all that is resident but that. \
             Of both, the same is taken off that a run over as many files has with one in flight. The peak: the \
             largest resident set (`ru_maxrss`) of the whole run, less that of a run over as many files that do not \
             wait, one at a time, less the guests' memory as it was asleep. CPU time: of all threads, over {} s, as a \
             share of one core. Repetitions: {repetitions}.",
            Grouped(cases[0].files as f64, 0),
            Grouped(cases[1].files as f64, 0),
            WAIT / 1000,
            WINDOW.as_secs(),
        ),
    );
    let mut head = vec!["What".to_owned()];
    head.extend(cases.iter().map(|case| case.name.to_owned()));
    let mut rows = vec![head];
    let mut add = |name: &str, cell: &dyn Fn(&Case, &Series) -> String| {
        let mut row = row([name]);
        row.extend(measured.iter().map(|(case, series)| cell(case, series)));
        rows.push(row);
    };
    let size = |values: &[f64]| format!("{} KiB", Sample::new(values.to_vec()).shown(1));
    let share = |values: &[f64]| format!("{} %", Sample::new(values.to_vec()).shown(2));
    add("In flight", &|_, series| Grouped(series.running as f64, 0).to_string());
    add("Host's memory for each, asleep (goal)", &|case, series| {
        format!("**{}** (≤ {:.0} KiB)", size(&series.host), case.goal)
    });
    add("… of it stacks of fibers", &|_, series| size(&series.stacks));
    add("… of it the heap", &|_, series| size(&series.heap));
    add("Host's memory for each, at the peak", &|_, series| size(&series.peak));
    add("Guest's linear memory for each", &|_, series| size(&series.guest));
    add("Kernel's page tables for each", &|_, series| size(&series.page_tables));
    add("CPU while all are asleep", &|_, series| share(&series.cpu));
    add("CPU while one is asleep", &|_, series| share(&series.idle_cpu));
    report.table(&rows);
    let bar = |label: String, values: &[f64]| Bar::host(label, &Sample::new(values.to_vec()));
    report.chart(&Chart {
        name: "in-flight",
        title: "Memory of a file in flight that waits",
        unit: "KiB, less is better",
        scale: Scale::Log,
        bars: measured
            .iter()
            .flat_map(|(case, series)| {
                [
                    bar(format!("{}: host", case.short), &series.host),
                    bar(format!("{}: guest", case.short), &series.guest),
                ]
            })
            .collect(),
    });
    for (case, series) in &measured {
        report.goal(Goal {
            what: format!("Host's memory of a file in flight: {}", case.short.to_lowercase()),
            target: Target::AtMost(case.goal),
            value: Sample::new(series.host.clone()).median(),
            unit: "KiB",
            why: "most of it is the stack of the guest's fiber and what the engine keeps for each instance".into(),
        });
        if series.running < case.files {
            report.paragraph(&format!(
                "{}: {} were asked for; the host lowers that to what the process may open files for (`ulimit -Hn`).",
                case.name,
                Grouped(case.files as f64, 0)
            ));
        }
    }
    Ok(())
}

impl Case<'_> {
    fn measure(&self, bench: &Bench, repetitions: usize) -> Result<Series> {
        let waiting = Workload::saying(bench, "in-flight", self.files, &self.content)?;
        let swift = Workload::saying(bench, "in-flight-swift", self.files, self.swift_content)?;
        let host = |concurrency| {
            let mut command = waiting.host(bench, self.component, concurrency);
            command.args(&self.options);
            command
        };
        // The host caches the compiled component, which is another one where many instances share a core.
        let one = Workload::saying(bench, "in-flight-one", 1, self.swift_content)?;
        for concurrency in [1, self.files] {
            one.reset()?;
            let mut command = one.host(bench, self.component, concurrency);
            measure::run(command.args(self.swift_options))?;
        }
        let mut series = Series::default();
        for repetition in 0..repetitions {
            note(&format!("{}: repetition {} of {repetitions}", self.name, repetition + 1));
            swift.reset()?;
            let mut command = swift.host(bench, self.component, 1);
            let base = measure::run(command.args(self.swift_options))?;
            swift.check()?;

            waiting.reset()?;
            let (one, mut child) = asleep(bench, &mut host(1), &waiting, 1)?;
            child.kill()?;
            child.wait()?;

            waiting.reset()?;
            let (all, child) = asleep(bench, &mut host(self.files), &waiting, self.files)?;
            let ended = measure::wait(&child)?;
            if !ended.status.success() {
                bail!("the host failed ({}) with {} in flight", ended.status, all.running);
            }
            waiting.check()?;

            series.running = all.running;
            let more = all.running.checked_sub(one.running).filter(|more| *more > 0);
            let more = more.context("there were not more files in flight than one")? as f64;
            let each = |all: u64, one: u64| (all as f64 - one as f64) / 1024.0 / more;
            let by = |part: fn(&Resident) -> u64| each(part(&all.memory), part(&one.memory));
            series.host.push(by(Resident::host));
            series.stacks.push(by(|memory| memory.stacks));
            series.heap.push(by(|memory| memory.heap));
            series.guest.push(by(|memory| memory.guests));
            series.page_tables.push(by(|memory| memory.page_tables));
            let peak = ended.peak_memory.saturating_sub(all.memory.guests);
            series.peak.push(each(peak, base.peak_memory.saturating_sub(one.memory.guests)));
            series.cpu.push(100.0 * all.cpu);
            series.idle_cpu.push(100.0 * one.cpu);
        }
        for workload in [one, waiting, swift] {
            workload.remove()?;
        }
        Ok(series)
    }
}

/// Starts a run and looks at it once all of its files in flight wait. The process goes on.
fn asleep(
    bench: &Bench,
    command: &mut Command,
    workload: &Workload,
    wanted: usize,
) -> Result<(Asleep, Child)> {
    let mut child =
        process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
    match look(bench, &mut child, workload, wanted) {
        Ok(asleep) => Ok((asleep, child)),
        Err(error) => {
            child.kill()?;
            child.wait()?;
            Err(error)
        }
    }
}

fn look(bench: &Bench, child: &mut Child, workload: &Workload, wanted: usize) -> Result<Asleep> {
    let mut was_quiet = false;
    loop {
        let (begun, before) = (Instant::now(), resident::cpu(child.id())?);
        thread::sleep(WINDOW);
        if let Some(status) = child.try_wait()? {
            bail!("the host ended ({status}) before it was asleep");
        }
        let used = resident::cpu(child.id())?.saturating_sub(before);
        let cpu = used.as_secs_f64() / begun.elapsed().as_secs_f64();
        let is_quiet = cpu < QUIET;
        // A window that was quiet may hold the end of the beginning; the one after it does not.
        if !(std::mem::replace(&mut was_quiet, is_quiet) && is_quiet) {
            continue;
        }
        let (running, ended) = at_work(bench, &workload.output)?;
        if ended > 0 {
            bail!(
                "{ended} files had ended before {wanted} were in flight: the machine is too busy"
            );
        }
        if running > 0 {
            return Ok(Asleep { running, memory: Resident::of(child.id())?, cpu });
        }
    }
}

/// How many files are at work and how many have ended, as `status` tells.
fn at_work(bench: &Bench, output: &Path) -> Result<(usize, usize)> {
    let mut status = process::command(&bench.host);
    let text = process::output(status.arg("status").arg("--json").arg(output))?;
    let runs: Value = serde_json::from_str(&text).context("`status --json` is no JSON")?;
    let number = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
    let run = &runs[0];
    let running = number(&run["running"]).context("`status --json` tells no `running`")?;
    let ended = number(&run["counts"]["succeeded"]).context("`status --json` tells no counts")?;
    Ok((running, ended))
}
