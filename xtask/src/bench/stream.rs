//! One very large file, streamed: at what rate, and in how much memory.

use std::{
    fs::{self, File, OpenOptions},
    io::Read,
};

use anyhow::{Context, Result, ensure};

use super::{
    Bench,
    chart::{Bar, Chart, Scale},
    compute::{Compute, SOURCE},
    machine, measure,
    net::percent,
    report::{Goal, Report, Target},
    stats::Sample,
    throughput::row,
    workload::Workload,
};
use crate::process::note;

const WORK: &str = "upper";
/// Letters at the beginning of the file; all else is a hole, which reads as zeros.
const LETTERS: usize = 1 << 20;
/// What the machine needs beside the output.
const ROOM: u64 = 2 << 30;
/// In full and in quick.
const REPETITIONS: usize = 3;

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let gigabytes: u64 = if bench.quick { 2 } else { 10 };
    let size = gigabytes * 1_000_000_000;
    report.section(
        &format!("A file of {gigabytes} GB, streamed"),
        &format!(
            "Read in pieces of 1 MiB, upper-cased (ASCII) and written, from a sparse file on a tmpfs to one of the \
             same size: by the component ({SOURCE}), and by a native program of the same source. Whole processes; \
             {REPETITIONS} repetitions, in turn. Memory: the largest resident set of the process."
        ),
    );
    let free = machine::memory("MemAvailable");
    if free < size + ROOM {
        report.paragraph(&format!(
            "Left out: it needs {} GB of free memory, for the output and some room, and there are {}.",
            (size + ROOM) / 1_000_000_000,
            free / 1_000_000_000
        ));
        return Ok(());
    }

    let compute = Compute::build()?;
    let file = Workload::new(bench, "stream", 1, LETTERS)?;
    let input = file.input.join("0000000.txt");
    OpenOptions::new().write(true).open(&input)?.set_len(size)?;
    // The first run of the component compiles it.
    let small = Workload::new(bench, "stream-small", 1, LETTERS)?;
    small.reset()?;
    measure::run(&mut compute.task(bench, WORK, &small, 1))?;
    small.remove()?;

    let (mut rates, mut peaks) = ([vec![], vec![]], [vec![], vec![]]);
    for repetition in 0..REPETITIONS {
        note(&format!("repetition {} of {REPETITIONS}", repetition + 1));
        let programs = [compute.native(WORK, &file, 1), compute.task(bench, WORK, &file, 1)];
        for (which, mut program) in programs.into_iter().enumerate() {
            file.reset()?;
            let finished = measure::run(&mut program)?;
            check(&file, size)?;
            rates[which].push(size as f64 / 1e6 / finished.seconds());
            peaks[which].push(finished.peak_mib());
        }
    }
    file.remove()?;

    let [native, task] = rates.map(Sample::new);
    let [native_peak, task_peak] = peaks.map(Sample::new);
    let share = percent(&task, &native);
    report.table(&[
        row(["What", "MB/s", "Of native", "Peak memory"]),
        vec![
            "Native".into(),
            native.shown(0),
            String::new(),
            format!("{} MiB", native_peak.shown(1)),
        ],
        vec![
            "Component".into(),
            task.shown(0),
            format!("**{share:.0} %**"),
            format!("**{} MiB**", task_peak.shown(1)),
        ],
    ]);
    report.chart(&Chart {
        name: "stream",
        title: &format!("A file of {gigabytes} GB, streamed"),
        unit: "MB/s",
        scale: Scale::Linear,
        bars: vec![Bar::native("native", &native), Bar::host("component", &task)],
    });
    report.goal(Goal {
        what: format!("A file of {gigabytes} GB streamed through a component"),
        target: Target::AtLeast(70.0),
        value: share,
        unit: "% of native",
        why: "each piece is copied twice more, into and out of the component's memory".to_owned(),
    });
    report.goal(Goal {
        what: format!("Memory of the host that streams {gigabytes} GB"),
        target: Target::AtMost(64.0),
        value: task_peak.median(),
        unit: "MiB",
        why: "pieces of the file are kept somewhere".to_owned(),
    });
    Ok(())
}

/// Looks at the output's size, and at its beginning, where the letters are.
fn check(file: &Workload, size: u64) -> Result<()> {
    let output = file.only_output();
    let long =
        fs::metadata(&output).with_context(|| format!("{} is missing", output.display()))?.len();
    ensure!(long == size, "the output has {long} bytes instead of {size}");
    let letters = |path| -> Result<Vec<u8>> {
        let mut bytes = vec![0; LETTERS];
        File::open(path)?.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    let input = letters(file.input.join("0000000.txt"))?;
    ensure!(letters(output)? == input.to_ascii_uppercase(), "the output is not in upper case");
    Ok(())
}
