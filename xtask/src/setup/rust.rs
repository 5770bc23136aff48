//! Rust for WebAssembly: the targets, and cargo-component for those who build with it.

use std::{ffi::OsString, fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{
    process::{self, note, step},
    repo,
    toolchain::{self, RECIPE, TARGETS, Toolchain},
};

/// The version that was tried with this repository's interface.
const CARGO_COMPONENT: &str = "0.21.1";

/// Two targets are 40 MB to download. Past this, the network does not answer, and the next route is tried.
const RUSTUP_LIMIT: Duration = Duration::from_secs(300);

/// Finds or makes a toolchain with both wasm targets.
///
/// The routes, in order: the active toolchain has them; `.tools/rust` has them; rustup adds them to the active
/// toolchain; they are built from Debian's packages into `.tools/rust`.
pub fn rust() -> Result<Toolchain> {
    step("wasm targets", || {
        if let Some(found) = Toolchain::find() {
            let place = found.shown();
            return Ok((found, format!("in {place}")));
        }
        let mut reasons = vec![];
        match by_rustup() {
            Ok(()) => {
                return Ok((
                    Toolchain::Active,
                    "added by rustup to the active toolchain".to_owned(),
                ));
            }
            Err(error) => reasons.push(format!("rustup: {error:#}")),
        }
        note(&reasons[0]);
        match from_debian() {
            Ok(found) => {
                let place = found.shown();
                Ok((found, format!("made from Debian's packages: {place}")))
            }
            Err(error) => {
                reasons.push(format!("Debian's packages: {error:#}"));
                bail!(
                    "no Rust toolchain for {} could be had.\n  {}\nTo fix it, install Rust with rustup and run \
                     `rustup target add {}`, then this command again",
                    TARGETS.join(" and "),
                    reasons.join("\n  "),
                    TARGETS.join(" "),
                )
            }
        }
    })
}

fn by_rustup() -> Result<()> {
    if std::env::var("TIGERFLOW_WASM_TOOLCHAIN").is_ok_and(|route| route == "debian") {
        bail!("not asked, because TIGERFLOW_WASM_TOOLCHAIN=debian");
    }
    let mut command = process::command("rustup");
    // A server that cannot be reached will not be reached a moment later either.
    command.args(["target", "add"]).args(TARGETS).env("RUSTUP_MAX_RETRIES", "0");
    process::within(RUSTUP_LIMIT, &mut command)?;
    match Toolchain::find() {
        Some(Toolchain::Active) => Ok(()),
        _ => bail!("it added the targets, but `rustc` on PATH is not rustup's and lacks them"),
    }
}

fn from_debian() -> Result<Toolchain> {
    if !cfg!(target_os = "linux") {
        bail!("this is not a Debian system");
    }
    note("making a toolchain from Debian's packages in .tools/rust, about 2 minutes:");
    // Made aside and renamed when complete, so that an interrupted run leaves nothing that looks usable.
    let partial = repo::tools().join("rust.partial");
    repo::remove_dir(&partial)?;
    fs::create_dir_all(repo::tools()).context("could not create .tools")?;
    let script = repo::path("xtask/scripts/debian-rust-wasm.sh");
    process::visibly(process::command("bash").arg(script).arg(&partial))?;
    fs::write(toolchain::recipe_file(&partial), RECIPE)
        .context("could not write into .tools/rust.partial")?;
    let folder = toolchain::local_folder();
    repo::remove_dir(&folder)?;
    fs::rename(&partial, &folder).context("could not rename .tools/rust.partial to .tools/rust")?;
    // Cargo does not notice a std that was rebuilt by the same compiler: what was built on it fails with E0463.
    repo::remove_dir(&repo::guest_target())?;
    match Toolchain::find() {
        Some(found) => Ok(found),
        None => bail!("the toolchain in .tools/rust was made but lacks a target"),
    }
}

/// Installs cargo-component into `.tools/cargo-component`.
///
/// Unoptimised it compiles in a quarter of the time and gives the same bytes.
pub fn cargo_component() -> Result<()> {
    step(&format!("cargo-component {CARGO_COMPONENT}"), || {
        let folder = repo::tools().join("cargo-component");
        cargo_install(&folder, "cargo-component", "cargo-component", CARGO_COMPONENT, &["--debug"])
    })
}

/// `cargo install` of the crate `name` into a folder of its own, unless that version is there with its program.
pub fn cargo_install(
    folder: &Path,
    name: &str,
    program: &str,
    version: &str,
    options: &[&str],
) -> Result<((), String)> {
    let place = format!("in {}", repo::shown(folder));
    if is_installed(folder, name, program, version) {
        return Ok(((), place));
    }
    let mut command = process::cargo();
    command
        .args(["install", "--locked", name, "--version", version, "--root"])
        .arg(folder)
        .args(options)
        .env_remove("CARGO_TARGET_DIR")
        // Cargo warns when the programs it installs are not on PATH; here that is meant so.
        .env("PATH", path_with(&folder.join("bin")))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_STRIP", "debuginfo");
    process::cargo_quietly(&mut command)?;
    Ok(((), format!("installed {place}")))
}

/// Whether `cargo_install` has been here.
pub fn is_installed(folder: &Path, name: &str, program: &str, version: &str) -> bool {
    let listed = fs::read_to_string(folder.join(".crates.toml")).unwrap_or_default();
    listed.contains(&format!("\"{name} {version} ")) && folder.join("bin").join(program).exists()
}

/// PATH with a folder at its end.
fn path_with(folder: &Path) -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":");
    path.push(folder);
    path
}
