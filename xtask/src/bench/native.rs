//! The program to compare with: what a careful person would write in Rust for this one job.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context, Result, bail};

use super::{measure, workload::Workload};
use crate::{process, repo};

/// Builds this program optimised, as the host is.
pub fn build() -> Result<()> {
    process::step("native program (optimised)", || {
        process::cargo_quietly(process::cargo().args([
            "build",
            "--release",
            "--package",
            "xtask",
        ]))?;
        Ok(((), repo::shown(&program())))
    })
}

pub fn program() -> PathBuf {
    repo::target().join("release/xtask")
}

/// The native run over a workload.
pub fn command(workload: &Workload, threads: usize) -> Command {
    let mut command = measure::program(program());
    command
        .arg("__native-upper")
        .arg(&workload.input)
        .arg(&workload.output)
        .arg(threads.to_string());
    command
}

/// `xtask __native-upper INPUT-DIR OUTPUT-DIR THREADS`
pub fn child(arguments: &[String]) -> Result<()> {
    let [input, output, threads] = arguments else {
        bail!(
            "`__native-upper` needs an input directory, an output directory and a number of threads"
        );
    };
    upper_case(Path::new(input), Path::new(output), threads.parse().context("threads is a number")?)
}

/// Lists the inputs, then reads, upper-cases, writes under a temporary name and renames each, on so many threads.
fn upper_case(input: &Path, output: &Path, threads: usize) -> Result<()> {
    let names: Vec<OsString> = fs::read_dir(input)
        .with_context(|| format!("could not list {}", input.display()))?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<_>>()?;
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let (names, next) = (&names, &next);
                scope.spawn(move || -> Result<()> {
                    let temporary = output.join(format!(".{worker}.tmp"));
                    while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let text = fs::read_to_string(input.join(name))?;
                        fs::write(&temporary, text.to_uppercase())?;
                        fs::rename(&temporary, output.join(name))?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })
}
