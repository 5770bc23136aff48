//! `cargo xtask build`: the host, the plugins, and the guests that tests use.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    process::{self, heading, note, step},
    projects::{self, Language, Missing},
    repo, setup,
    toolchain::Toolchain,
};

/// What plugins are built for: its output is a component, with no step after the build.
pub const GUEST_TARGET: &str = "wasm32-wasip2";

/// `cargo xtask build [NAME]… [--guests]`
pub fn command(arguments: &[String]) -> Result<()> {
    let mut names: Vec<&str> = vec![];
    let mut guests = false;
    for word in arguments {
        match word.as_str() {
            "--guests" => guests = true,
            option if option.starts_with('-') => {
                bail!(
                    "`{option}` is not an option of `cargo xtask build`; `cargo xtask help` shows them"
                )
            }
            name => names.push(name),
        }
    }
    heading("build");
    let toolchain = setup::rust()?;
    host()?;
    if names.is_empty() {
        plugins(&toolchain, Missing::Tell)?;
    }
    for name in names {
        plugin(&toolchain, name)?;
    }
    if guests {
        test_guests(&toolchain)?;
        projects::conformance(&toolchain)?;
    }
    Ok(())
}

/// The host, optimised: `target/release/tigerflow-host`.
pub fn host() -> Result<()> {
    step("host", || {
        let mut cargo = process::cargo();
        process::cargo_quietly(cargo.args(["build", "--release", "--package", "tigerflow-host"]))?;
        Ok(((), repo::shown(&repo::host_binary())))
    })
}

/// Every plugin: `target/components/NAME.wasm`.
pub fn plugins(toolchain: &Toolchain, missing: Missing) -> Result<()> {
    step("plugins in Rust", || build_workspace(toolchain, &[]))?;
    for folder in scripted_plugins()? {
        scripted_plugin(toolchain, &folder, missing)?;
    }
    for folder in projects::foreign_plugins()? {
        projects::project(toolchain, &folder, &component_of(&folder), missing)?;
    }
    Ok(())
}

/// Where a plugin's component belongs.
fn component_of(folder: &Path) -> PathBuf {
    let name = folder.file_name().expect("a folder in plugins/ has a name");
    repo::components().join(name).with_extension("wasm")
}

/// One plugin, whatever it is built with.
pub fn plugin(toolchain: &Toolchain, name: &str) -> Result<()> {
    let folder = repo::path("plugins").join(name);
    if !folder.is_dir() {
        bail!("there is no plugin `{name}`: plugins/{name} does not exist");
    }
    if !folder.join("Cargo.toml").exists() {
        Language::of(&folder)?.set_up()?;
        return projects::project(toolchain, &folder, &component_of(&folder), Missing::Install);
    }
    if folder.join("build.sh").exists() {
        return scripted_plugin(toolchain, &folder, Missing::Install);
    }
    step(&format!("plugin {name}"), || build_workspace(toolchain, &["--package", name]))
}

/// The guests in tests/guests: `target/components/guests/NAME.wasm`.
pub fn test_guests(toolchain: &Toolchain) -> Result<()> {
    let folder = repo::path("tests/guests");
    step("test guests", || {
        let mut cargo = toolchain.command("cargo");
        cargo.current_dir(&folder).args([
            "build",
            "--release",
            "--examples",
            "--target",
            GUEST_TARGET,
        ]);
        collect(&mut cargo, &repo::test_components())
    })
}

/// Builds the workspace `plugins/`, or part of it.
fn build_workspace(toolchain: &Toolchain, selection: &[&str]) -> Result<((), String)> {
    let mut cargo = toolchain.command("cargo");
    cargo
        .current_dir(repo::path("plugins"))
        .args(["build", "--release", "--target", GUEST_TARGET])
        .args(selection);
    collect(&mut cargo, &repo::components())
}

/// Plugins with a `build.sh`: those that plain Cargo cannot build.
fn scripted_plugins() -> Result<Vec<PathBuf>> {
    let folder = repo::path("plugins");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("could not list {}", folder.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("build.sh").exists())
        .collect();
    found.sort();
    Ok(found)
}

/// Runs a plugin's `build.sh`, whose last line is the component's path. The guests' Rust and zig are on its PATH.
fn scripted_plugin(toolchain: &Toolchain, folder: &Path, missing: Missing) -> Result<()> {
    let name =
        folder.file_name().expect("a folder in plugins/ has a name").to_string_lossy().into_owned();
    if missing == Missing::Tell && !repo::tools().join("bin/zig").exists() {
        note(&format!(
            "plugin {name} left out: it holds C code. `cargo xtask setup c` installs what it needs"
        ));
        return Ok(());
    }
    setup::zig()?;
    step(&format!("plugin {name}"), || {
        let mut script = toolchain.command("sh");
        // A `ZIG` of the user's would be another version than the one that was tried.
        script.current_dir(folder).arg("build.sh").env_remove("ZIG");
        let printed = process::cargo_quietly(&mut script)?;
        let Some(built) = printed.lines().last().filter(|line| line.ends_with(".wasm")) else {
            bail!("plugins/{name}/build.sh did not print the path of a component as its last line");
        };
        let place = repo::components().join(format!("{name}.wasm"));
        let changed = repo::copy_if_changed(Path::new(built), &place)?;
        Ok(((), if changed { "built" } else { "up to date" }.to_owned()))
    })
}

/// Runs a `cargo build` and copies the components that it made (or found up to date) into `folder`.
fn collect(cargo: &mut Command, folder: &Path) -> Result<((), String)> {
    let printed = process::cargo_quietly(cargo.arg("--message-format=json-render-diagnostics"))?;
    let components: Vec<(String, PathBuf)> = printed
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter_map(|m| component(&m))
        .collect();
    if components.is_empty() {
        bail!("`{}` made no component", process::shown(cargo));
    }
    let mut new = 0;
    for (name, file) in &components {
        new += usize::from(repo::copy_if_changed(file, &folder.join(format!("{name}.wasm")))?);
    }
    Ok(((), format!("{} components, {new} changed, in {}", components.len(), repo::shown(folder))))
}

/// The name and file of the component in one of Cargo's messages, if it tells of one.
fn component(message: &Value) -> Option<(String, PathBuf)> {
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let files = message["filenames"].as_array()?;
    let file = files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".wasm"))?;
    let name = message["target"]["name"].as_str()?.replace('_', "-");
    Some((name, file.into()))
}
