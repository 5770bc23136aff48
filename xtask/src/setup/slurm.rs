//! Slurm, for the tests that start a cluster of their own on this machine.

use anyhow::{Context, Result};

use super::apt;
use crate::process::{self, step};

const PACKAGES: [&str; 4] = ["slurmctld", "slurmd", "slurm-client", "munge"];
/// A program of each package.
const PROGRAMS: [&str; 4] = ["slurmctld", "slurmd", "sbatch", "munged"];

/// Slurm's daemons and clients: from packages of the system, where they are missing and we may install them.
///
/// What the packages start as services, or fail to, does not matter: a test's cluster has its own configuration, key,
/// sockets and ports.
pub fn slurm() -> Result<()> {
    step("Slurm", || {
        let installed = apt::provide(&PROGRAMS, &PACKAGES)?;
        let version = version()?;
        Ok(((), if installed { format!("installed {version}") } else { version }))
    })
}

fn version() -> Result<String> {
    // The daemon, as `sbatch --version` fails where no cluster is configured.
    let program = apt::find("slurmctld").context("`slurmctld` cannot be found")?;
    let printed = process::output(process::command(program).arg("-V"))?;
    Ok(printed.trim().trim_start_matches("slurm-wlm ").to_owned())
}
