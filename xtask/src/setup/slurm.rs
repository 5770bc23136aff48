//! Slurm, for the tests that start a cluster of their own on this machine.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::process::{self, note, step};

const PACKAGES: [&str; 4] = ["slurmctld", "slurmd", "slurm-client", "munge"];
/// A program of each package.
const PROGRAMS: [&str; 4] = ["slurmctld", "slurmd", "sbatch", "munged"];

/// It takes 10 seconds. Past this, the servers of packages do not answer.
const APT_LIMIT: Duration = Duration::from_secs(300);

/// Slurm's daemons and clients: from packages of the system, where they are missing and we may install them.
///
/// What the packages start as services, or fail to, does not matter: a test's cluster has its own configuration, key,
/// sockets and ports.
pub fn slurm() -> Result<()> {
    step("Slurm", || {
        let missing = missing();
        if missing.is_empty() {
            return Ok(((), version()?));
        }
        install().with_context(|| {
            format!(
                "`{}` cannot be found and could not be installed; on Debian or Ubuntu, as root: \
                 apt-get install --no-install-recommends {}",
                missing.join("`, `"),
                PACKAGES.join(" ")
            )
        })?;
        Ok(((), format!("installed {}", version()?)))
    })
}

/// Where a program lies. The daemons' place is not on every user's PATH; tests look there, too.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    places.find_map(|place| Some(place.join(program)).filter(|file| file.is_file()))
}

fn missing() -> Vec<&'static str> {
    PROGRAMS.into_iter().filter(|program| find(program).is_none()).collect()
}

fn version() -> Result<String> {
    // The daemon, as `sbatch --version` fails where no cluster is configured.
    let program = find("slurmctld").context("`slurmctld` cannot be found")?;
    let printed = process::output(process::command(program).arg("-V"))?;
    Ok(printed.trim().trim_start_matches("slurm-wlm ").to_owned())
}

fn install() -> Result<()> {
    // SAFETY: it returns a number, and nothing else.
    if unsafe { libc::geteuid() } != 0 {
        bail!("only root can install it");
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("this system has no apt-get");
    }
    note(&format!("installing Debian's {}", PACKAGES.join(", ")));
    if from_lists().is_err() {
        // A fresh machine has no package lists, and old ones name files that are gone.
        process::within(APT_LIMIT, process::command("apt-get").args(["update", "-qq"]))?;
        from_lists()?;
    }
    let missing = missing();
    if !missing.is_empty() {
        bail!("the packages were installed and hold no `{}`", missing.join("`, `"));
    }
    Ok(())
}

/// Installs with the package lists that are there.
fn from_lists() -> Result<()> {
    let mut apt = process::command("apt-get");
    apt.args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(PACKAGES)
        .env("DEBIAN_FRONTEND", "noninteractive");
    process::within(APT_LIMIT, &mut apt)
}
