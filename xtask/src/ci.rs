//! `cargo xtask ci`: what `.ci/run` runs.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};

use crate::{
    process::{self, heading, step},
    repo, setup, test,
    toolchain::Toolchain,
};

/// The workspaces of guests. Each also compiles natively, which is how clippy reads it: the toolchain for WebAssembly
/// may be one without clippy.
const GUEST_WORKSPACES: [&str; 4] = ["guest-sdk/rust", "plugins", "plugins/ingest", "tests/guests"];

/// `cargo xtask ci`
pub fn command(arguments: &[String]) -> Result<ExitCode> {
    if let Some(word) = arguments.first() {
        bail!("`cargo xtask ci` takes no arguments, and was given `{word}`");
    }
    heading("Format");
    require("fmt", "rustfmt")?;
    check("workspace", Path::new("."), &["fmt", "--all", "--", "--check"], None)?;
    for folder in guest_workspaces() {
        check(folder, Path::new(folder), &["fmt", "--all", "--", "--check"], None)?;
    }

    heading("Clippy, warnings denied");
    require("clippy", "clippy")?;
    // The release profile shares its build scripts and macros with the builds that follow.
    let host = ["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"];
    check("workspace", Path::new("."), &host, None)?;
    let toolchain = setup::rust()?;
    for folder in guest_workspaces() {
        let guest = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        check(folder, Path::new(folder), &guest, Some(&toolchain))?;
    }
    test::command(&[])
}

fn guest_workspaces() -> impl Iterator<Item = &'static str> {
    GUEST_WORKSPACES.into_iter().filter(|folder| repo::path(folder).join("Cargo.toml").exists())
}

/// One check, one line.
fn check(name: &str, folder: &Path, arguments: &[&str], guests: Option<&Toolchain>) -> Result<()> {
    step(&format!("{} {name}", arguments[0]), || {
        let mut cargo = process::cargo();
        cargo.current_dir(repo::path(folder)).args(arguments);
        if guests.is_some() {
            cargo.env("CARGO_TARGET_DIR", repo::target().join("clippy"));
        }
        process::cargo_quietly(&mut cargo)?;
        Ok(((), "ok".to_owned()))
    })
}

/// A component of the Rust toolchain, or how to install it.
fn require(subcommand: &str, component: &str) -> Result<()> {
    process::quietly(process::cargo().args([subcommand, "--version"])).with_context(|| {
        format!("this check needs {component}, and the active toolchain has none: rustup component add {component}")
    })
}
