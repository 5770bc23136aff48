//! Programs that the benchmark compares the host with.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use super::{apt, rust};
use crate::{
    process::{self, note, step},
    repo,
};

const WASMTIME: &str = "wasmtime-cli";
/// All that it takes to compile a component and to run it.
const FEATURES: &str = "run,compile,component-model";

/// GNU parallel: the system's, or Debian's package where we may install it.
pub fn parallel() -> Result<()> {
    step("GNU parallel", || {
        // moreutils has another program of that name.
        let version = || {
            let printed = process::output(process::command("parallel").arg("--version")).ok()?;
            printed.lines().next().filter(|line| line.starts_with("GNU")).map(str::to_owned)
        };
        if let Some(version) = version() {
            return Ok(((), version));
        }
        apt::install(&["parallel"]).context(
            "GNU parallel cannot be found and could not be installed (Debian: apt-get install parallel)",
        )?;
        let version =
            version().context("the package `parallel` was installed and holds no GNU parallel")?;
        Ok(((), format!("installed {version}")))
    })
}

/// wasmtime's own program, of the version that the host's engine has, in `.tools/wasmtime`. Returns its path.
///
/// Compiling it takes minutes: `may_install` says whether that is worth it.
pub fn wasmtime(may_install: bool) -> Result<PathBuf> {
    step("wasmtime's own program", || {
        let lock = repo::path("Cargo.lock");
        let lock = fs::read_to_string(&lock)
            .with_context(|| format!("could not read {}", lock.display()))?;
        let version = locked(&lock, "wasmtime").context("Cargo.lock names no wasmtime")?;
        let folder = repo::tools().join("wasmtime");
        if !rust::is_installed(&folder, WASMTIME, "wasmtime", version) {
            if !may_install {
                bail!(
                    "wasmtime's program is not installed; `cargo xtask bench` without `--quick` does that"
                );
            }
            note(&format!("compiling {WASMTIME} {version} once, about 5 minutes on 2 cores:"));
        }
        let options = ["--no-default-features", "--features", FEATURES];
        let ((), place) = rust::cargo_install(&folder, WASMTIME, "wasmtime", version, &options)?;
        Ok((folder.join("bin/wasmtime"), format!("{version} {place}")))
    })
}

/// The version of a package in a Cargo.lock.
fn locked<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::locked;

    #[test]
    fn a_version_is_found_in_a_lock_file() {
        let lock = "name = \"wasmtime-wasi\"\nversion = \"1.0.0\"\n\nname = \"wasmtime\"\nversion = \"2.3.4\"\n";
        assert_eq!(locked(lock, "wasmtime"), Some("2.3.4"));
        assert_eq!(locked(lock, "cranelift"), None);
    }
}
