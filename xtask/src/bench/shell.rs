//! What people do without a task host: a line of shell for each file.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use super::{
    Bench, measure,
    report::Report,
    stats::{Grouped, Sample},
    throughput::row,
    workload::Workload,
};
use crate::process::{self, note};

const FILES: usize = 2_000;
const SIZE: usize = 1024;
const JOBS: usize = 2;

/// One file, as carefully as the host: the output appears when it is whole.
const LINE: &str = r#"tr a-z A-Z < "$1" > "$2/.${1##*/}" && mv "$2/.${1##*/}" "$2/${1##*/}""#;

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let files = Workload::new(bench, "shell", FILES, SIZE)?;
    let mut ways: Vec<(&str, Vec<f64>)> = vec![("`xargs -P2 -n1 sh -c …`", vec![])];
    let has_parallel = process::output(process::command("parallel").arg("--version")).is_ok();
    if has_parallel {
        ways.push(("GNU `parallel -j2`", vec![]));
    }
    ways.push(("tigerflow-host", vec![]));
    for repetition in 0..bench.repetitions().min(3) {
        note(&format!("repetition {}", repetition + 1));
        for (name, rates) in &mut ways {
            files.reset()?;
            let mut command = match *name {
                "tigerflow-host" => files.host(bench, &bench.upper, JOBS),
                name => shell(&files, name.contains("parallel")),
            };
            rates.push(FILES as f64 / measure::run(&mut command)?.seconds());
            files.check()?;
        }
    }
    let mut rows = vec![row(["What", "Files/s"])];
    let mut medians = vec![];
    for (name, rates) in ways {
        let rates = Sample::new(rates);
        medians.push(rates.median());
        rows.push(vec![name.to_owned(), rates.shown(0)]);
    }
    files.remove()?;
    report.section(
        "Beside the shell",
        &format!(
            "{} files of 1 KB upper-cased on a tmpfs, {JOBS} at a time, whole processes: with `tr` and `mv` for each \
             file, and the guest `upper` in the host.",
            Grouped(FILES as f64, 0)
        ),
    );
    report.table(&rows);
    let most = medians.last().copied().unwrap_or(f64::NAN) / medians[0];
    report.paragraph(&format!("**{most:.0} times** as many as by `xargs`."));
    if !has_parallel {
        report.paragraph("GNU parallel is not installed here, and was left out.");
    }
    Ok(())
}

fn shell(files: &Workload, parallel: bool) -> Command {
    let (input, output): (&PathBuf, &PathBuf) = (&files.input, &files.output);
    let each = match parallel {
        true => format!("parallel -j{JOBS} -q -0 sh -c '{LINE}' sh {{}} \"$2\""),
        false => format!("xargs -0 -P{JOBS} -I{{}} sh -c '{LINE}' sh {{}} \"$2\""),
    };
    let mut command = measure::program("sh");
    command.arg("-c").arg(format!("find \"$1\" -type f -print0 | {each}"));
    command.arg("sh").arg(input).arg(output);
    command
}
