//! What people do without a task host: a process for each file.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    Bench,
    chart::{Chart, Scale, Who},
    measure,
    report::Report,
    stats::Grouped,
    throughput::row,
    way::{self, Way},
    workload::Workload,
};
use crate::{
    build,
    process::{self, note, step},
    repo, setup,
};

const SIZE: usize = 1024;
const JOBS: usize = 2;

/// One file, as carefully as the host: the output appears when it is whole. `$1` and `$2` are the directories.
const TR: &str =
    r#"sh -c 'tr a-z A-Z < "$1/$3" > "$2/.$3" && mv "$2/.$3" "$2/$3"' sh "$1" "$2" {}"#;
/// The same by a component: `$3` is wasmtime, `$4` the component, compiled.
const WASMTIME: &str = r#""$3" run --allow-precompiled --dir "$1"::/in --dir "$2"::/out "$4" {}"#;

/// What is written for wasmtime's own program, in Rust.
const COMMAND: &str = "xtask/bench/command";

const XARGS: &str = "xargs -0 -P2 -I{}";
const PARALLEL: &str = "parallel --will-cite -0 -j2 -q";

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let parallel = setup::parallel();
    let wasmtime = wasmtime(bench);
    let count = if bench.quick { 500 } else { 2_000 };
    let files = Workload::new(bench, "shell", count, SIZE)?;
    let host = || files.host(bench, &bench.upper, JOBS);
    let mut ways = vec![
        Way::new("xargs, tr", Who::Peer, || each(&files, XARGS, TR, &[])),
        Way::new("tigerflow-host", Who::Host, host),
    ];
    if parallel.is_ok() {
        let command = || each(&files, PARALLEL, TR, &[]);
        ways.push(Way::new("GNU parallel, tr", Who::Peer, command));
    }
    if let Ok(programs) = &wasmtime {
        let command = || each(&files, XARGS, WASMTIME, programs);
        ways.push(Way::new("xargs, wasmtime run", Who::Peer, command));
    }
    // The host caches the compiled component; the first run is not counted.
    files.reset()?;
    measure::run(&mut host())?;
    for repetition in 0..bench.repetitions().min(3) {
        note(&format!("repetition {}", repetition + 1));
        for way in &mut ways {
            files.reset()?;
            way.rates.push(count as f64 / measure::run(&mut (way.command)())?.seconds());
            files.check()?;
        }
    }
    let bars: Vec<_> = ways.into_iter().map(Way::bar).collect();
    files.remove()?;
    report.section(
        "Beside a process for each file",
        &format!(
            "{} files of 1 KB upper-cased on a tmpfs, {JOBS} at a time, whole processes: `xargs -P{JOBS}` and GNU \
             `parallel -j{JOBS}` start a shell with `tr` and `mv` for each file, or `wasmtime run` with a component in \
             Rust ({COMMAND}) that was compiled before; the host keeps instances of the guest `upper`. 3 repetitions, in \
             turn.",
            Grouped(count as f64, 0)
        ),
    );
    let head = row(["What", "Files/s", "Beside `xargs` with `tr`"]);
    report.table(&[vec![head], way::rows(&bars, &bars[0])].concat());
    report.chart(&Chart {
        name: "shell",
        title: "Small files upper-cased, beside a process for each file",
        unit: "files/s",
        scale: Scale::Log,
        bars,
    });
    for left_out in [parallel.err(), wasmtime.err()].into_iter().flatten() {
        let reason = format!("Left out: {left_out:#}.");
        note(&reason);
        report.paragraph(&reason);
    }
    Ok(())
}

/// A process for each file of the workload: `giver` has its name from `find`, and puts it into `line`.
fn each(files: &Workload, giver: &str, line: &str, programs: &[PathBuf]) -> Command {
    let mut command = measure::program("sh");
    command.arg("-c").arg(format!(r#"find "$1" -type f -printf '%f\0' | {giver} {line}"#));
    command.arg("sh").arg(&files.input).arg(&files.output).args(programs);
    command
}

/// wasmtime's own program, and a component that it has compiled.
fn wasmtime(bench: &Bench) -> Result<[PathBuf; 2]> {
    let wasmtime = setup::wasmtime(!bench.quick)?;
    let component = command_component()?;
    let compiled = bench.scratch.join("upper-command.cwasm");
    let mut compile = process::command(&wasmtime);
    process::quietly(compile.arg("compile").arg("-o").arg(&compiled).arg(component))
        .context("wasmtime could not compile its component")?;
    Ok([wasmtime, compiled])
}

fn command_component() -> Result<PathBuf> {
    let toolchain = setup::rust()?;
    step("component for wasmtime's own program", || {
        let mut cargo = toolchain.command("cargo");
        cargo.current_dir(repo::path(COMMAND));
        cargo.args(["build", "--release", "--target", build::GUEST_TARGET]);
        process::cargo_quietly(&mut cargo)?;
        let built = Path::new(build::GUEST_TARGET).join("release/upper-command.wasm");
        let component = repo::guest_target().join(built);
        let place = repo::shown(&component);
        Ok((component, place))
    })
}
