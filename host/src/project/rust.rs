//! Tasks in Rust: Cargo makes the component by itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{ProjectError, publish, tools};

const TARGET: &str = "wasm32-wasip2";
const GET_RUST: &str = "install Rust 1.95 or newer (https://rustup.rs)";

pub fn build(project: &Path, place: impl FnOnce(&str) -> PathBuf) -> Result<PathBuf, ProjectError> {
    let cargo = tools::require("cargo", GET_RUST)?;
    require_target(project)?;
    let mut command = Command::new(cargo);
    command.current_dir(project).args(["build", "--release", "--target", TARGET]);
    command.arg("--message-format=json-render-diagnostics");
    let printed = tools::output(&mut command, "")?;
    let mut built: Vec<(String, PathBuf)> = printed.lines().filter_map(component).collect();
    match (built.pop(), built.pop()) {
        (Some((name, file)), None) => {
            let place = place(&name);
            let component = std::fs::read(&file).map_err(ProjectError::file("read", &file))?;
            publish(&component, &place)?;
            Ok(place)
        }
        (None, _) => Err(ProjectError::Result(format!(
            "Cargo made no component of `{}`: its Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\"]`",
            project.display()
        ))),
        (Some(_), Some(_)) => Err(ProjectError::Result(format!(
            "`{}` is a workspace of several tasks; name the directory of one",
            project.display()
        ))),
    }
}

/// Without std for the target the compiler says "can't find crate for `std`".
fn require_target(project: &Path) -> Result<(), ProjectError> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = tools::ask(Command::new(rustc).current_dir(project).args(["--print", "sysroot"]));
    let there = sysroot
        .is_some_and(|sysroot| Path::new(&sysroot).join("lib/rustlib").join(TARGET).is_dir());
    if there {
        return Ok(());
    }
    Err(ProjectError::Tool {
        problem: format!("Rust's standard library for {TARGET} is not installed"),
        remedy: format!("install it with `rustup target add {TARGET}`"),
    })
}

/// The name and file of the component in one of Cargo's messages, if it tells
/// of one that this project makes.
fn component(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    // A program beside it is something else.
    let kinds = message["target"]["crate_types"].as_array()?;
    if !kinds.iter().any(|kind| kind == "cdylib") {
        return None;
    }
    let files = message["filenames"].as_array()?;
    let file = files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".wasm"))?;
    let name = message["target"]["name"].as_str()?.replace('_', "-");
    Some((name, file.into()))
}
