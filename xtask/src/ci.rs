//! `cargo xtask ci`: what `.ci/run` runs.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::{
    build::GUEST_TARGET,
    instructions,
    process::{self, heading, step},
    repo, setup, test,
};

/// The workspaces of guests.
const GUESTS: [&str; 10] = [
    "guest-sdk/rust",
    "plugins",
    "plugins/ingest",
    "tests/guests",
    "tests/conformance/rust",
    "tests/conformance/rust-async",
    "xtask/bench/words/rust",
    "xtask/bench/command",
    "xtask/bench/compute",
    "xtask/bench/compute/native",
];
/// Those of them with code for WebAssembly alone, which a native clippy does not see.
const WASM_ONLY: [&str; 2] = ["guest-sdk/rust", "tests/guests"];

/// `cargo xtask ci`
pub fn command(arguments: &[String]) -> Result<ExitCode> {
    if let Some(word) = arguments.first() {
        bail!("`cargo xtask ci` takes no arguments, and was given `{word}`");
    }
    heading("Format");
    require(process::cargo(), "fmt", "rustfmt")?;
    for folder in std::iter::once(".").chain(GUESTS) {
        check(process::cargo(), folder, "format", &["fmt", "--all", "--", "--check"])?;
    }

    heading("Clippy, warnings denied");
    require(process::cargo(), "clippy", "clippy")?;
    // The release profile shares its build scripts and macros with the builds that follow.
    check(
        process::cargo(),
        ".",
        "clippy",
        &["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"],
    )?;
    for folder in GUESTS {
        let mut cargo = process::cargo();
        cargo.env("CARGO_TARGET_DIR", repo::target().join("clippy"));
        check(
            cargo,
            folder,
            "clippy",
            &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        )?;
    }
    let toolchain = setup::rust()?;
    require(toolchain.command("cargo"), "clippy", "clippy")?;
    for folder in WASM_ONLY {
        let cargo = toolchain.command("cargo");
        let arguments = [
            "clippy",
            "--workspace",
            "--lib",
            "--examples",
            "--target",
            GUEST_TARGET,
            "--",
            "-D",
            "warnings",
        ];
        check(cargo, folder, "clippy for WebAssembly", &arguments)?;
    }
    // Before the tests, whose sum is the last thing to be said; they run, whatever comes of it.
    let well = instructions::in_ci();
    let tested = test::command(&[])?;
    Ok(if well { tested } else { ExitCode::FAILURE })
}

/// One check, one line.
fn check(mut cargo: Command, folder: &str, what: &str, arguments: &[&str]) -> Result<()> {
    let name = if folder == "." { "the workspace" } else { folder };
    step(&format!("{what}: {name}"), || {
        process::cargo_quietly(cargo.current_dir(repo::path(folder)).args(arguments))?;
        Ok(((), "ok".to_owned()))
    })
}

/// A component of the Rust toolchain, or how to install it.
fn require(mut cargo: Command, subcommand: &str, component: &str) -> Result<()> {
    process::quietly(cargo.args([subcommand, "--version"])).with_context(|| {
        format!("this check needs {component}, and the toolchain has none: rustup component add {component}")
    })
}
