//! The task `compute` and the native programs of the same source: what cpu and stream compare.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use super::{Bench, measure, workload::Workload};
use crate::{
    process,
    projects::{self, Missing},
    repo, setup,
};

/// Where the sources are.
pub const SOURCE: &str = "xtask/bench/compute";
const NATIVE: &str = "xtask/bench/compute/native";
/// Rust flags with which the crate `sha2` leaves the CPU's instructions for SHA-256 alone.
const SOFT: &str = "--cfg sha2_backend=\"soft\"";

/// All of it, built.
pub struct Compute {
    component: PathBuf,
    native: PathBuf,
    soft: PathBuf,
}

impl Compute {
    pub fn build() -> Result<Self> {
        let folder = repo::target().join("bench/compute");
        fs::create_dir_all(&folder)
            .with_context(|| format!("could not create {}", folder.display()))?;
        let component = folder.join("compute.wasm");
        projects::project(&setup::rust()?, &repo::path(SOURCE), &component, Missing::Install)?;
        let [native, soft] = [("native", ""), ("soft", SOFT)].map(|(name, flags)| {
            let target = folder.join(name);
            process::step(&format!("{NATIVE} ({name})"), || {
                let mut cargo = process::cargo();
                cargo.current_dir(repo::path(NATIVE)).args(["build", "--release"]);
                cargo.env("CARGO_TARGET_DIR", &target);
                if !flags.is_empty() {
                    cargo.env("RUSTFLAGS", flags);
                }
                process::cargo_quietly(&mut cargo)?;
                let program = target.join("release/compute-native");
                let shown = repo::shown(&program);
                Ok((program, shown))
            })
        });
        Ok(Self { component, native: native?, soft: soft? })
    }

    /// The task in the host.
    pub fn task(&self, bench: &Bench, work: &str, files: &Workload, threads: usize) -> Command {
        let mut command = files.host(bench, &self.component, threads);
        command.args(["--work", work]);
        command
    }

    /// The native program.
    pub fn native(&self, work: &str, files: &Workload, threads: usize) -> Command {
        let mut command = measure::program(&self.native);
        command.arg(work).args([&files.input, &files.output]).arg(threads.to_string());
        command
    }

    /// The native program without the CPU's instructions for SHA-256.
    pub fn soft(&self, work: &str, files: &Workload, threads: usize) -> Command {
        let mut command = measure::program(&self.soft);
        command.arg(work).args([&files.input, &files.output]).arg(threads.to_string());
        command
    }
}
