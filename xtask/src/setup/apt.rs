//! Programs from packages of the system.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::process::{self, note};

/// It takes 10 seconds. Past this, the servers of packages do not answer.
const LIMIT: Duration = Duration::from_secs(300);

/// Sees to it that all `programs` are there: by installing `packages`, where one is missing and we may.
/// Returns whether it installed them.
pub fn provide(programs: &[&str], packages: &[&str]) -> Result<bool> {
    let lacking = missing(programs);
    if lacking.is_empty() {
        return Ok(false);
    }
    let shown = format!("`{}`", lacking.join("`, `"));
    install(packages).with_context(|| {
        format!(
            "{shown} cannot be found and could not be installed; on Debian or Ubuntu, as root: \
             apt-get install --no-install-recommends {}",
            packages.join(" ")
        )
    })?;
    let lacking = missing(programs);
    if !lacking.is_empty() {
        bail!("the packages were installed and hold no `{}`", lacking.join("`, `"));
    }
    Ok(true)
}

/// Where a program lies. The daemons' place is not on every user's PATH; tests look there, too.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    places.find_map(|place| Some(place.join(program)).filter(|file| file.is_file()))
}

fn missing<'a>(programs: &[&'a str]) -> Vec<&'a str> {
    programs.iter().copied().filter(|program| find(program).is_none()).collect()
}

/// Installs packages, if we are root and have apt-get.
pub fn install(packages: &[&str]) -> Result<()> {
    // SAFETY: it returns a number, and nothing else.
    if unsafe { libc::geteuid() } != 0 {
        bail!("only root can install it");
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("this system has no apt-get");
    }
    note(&format!("installing Debian's {}", packages.join(", ")));
    if from_lists(packages).is_err() {
        // A fresh machine has no package lists, and old ones name files that are gone.
        process::within(LIMIT, process::command("apt-get").args(["update", "-qq"]))?;
        from_lists(packages)?;
    }
    Ok(())
}

/// Installs with the package lists that are there.
fn from_lists(packages: &[&str]) -> Result<()> {
    let mut apt = process::command("apt-get");
    apt.args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive");
    process::within(LIMIT, &mut apt)
}
