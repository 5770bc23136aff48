//! Tasks that `tigerflow-host build` builds, as users do: plugins in other languages than Rust, and the conformance
//! components.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{self, note, step},
    repo, setup,
    toolchain::Toolchain,
};

/// What to do about a task whose tools are not set up.
#[derive(Clone, Copy, PartialEq)]
pub enum Missing {
    /// Leave it out, and say how to build it.
    Tell,
    /// Install them.
    Install,
}

/// A language, as `cargo xtask setup` calls it.
#[derive(Clone, Copy, PartialEq)]
pub enum Language {
    Rust,
    Python,
    Go,
    Js,
    C,
}

impl Language {
    pub const ALL: [Language; 5] =
        [Language::Rust, Language::Python, Language::Go, Language::Js, Language::C];

    /// The language of a project, by its files.
    pub fn of(folder: &Path) -> Result<Self> {
        let has = |name: &str| folder.join(name).exists();
        Ok(if has("Cargo.toml") {
            Language::Rust
        } else if has("go.mod") {
            Language::Go
        } else if has("package.json") {
            Language::Js
        } else if !repo::files_with_extension(folder, "py")?.is_empty() {
            Language::Python
        } else if !repo::files_with_extension(folder, "c")?.is_empty() {
            Language::C
        } else {
            bail!("{} holds no task", folder.display())
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Python => "python",
            Language::Go => "go",
            Language::Js => "js",
            Language::C => "c",
        }
    }

    /// Whether its tools are there, without a look at the network.
    fn is_set_up(self) -> bool {
        let tool = |name: &str| repo::tools().join("bin").join(name).exists();
        let runs = |name: &str| process::output(process::command(name).arg("version")).is_ok();
        match self {
            Language::Rust => true,
            Language::Python => tool("componentize-py"),
            Language::Go => runs("go") || setup::go_folder().exists(),
            Language::Js => {
                tool("node") || process::output(process::command("node").arg("--version")).is_ok()
            }
            Language::C => tool("zig"),
        }
    }

    pub fn set_up(self) -> Result<()> {
        match self {
            Language::Rust => setup::rust().map(drop),
            Language::Python => setup::python_tool().map(drop),
            Language::Go => setup::go(),
            Language::Js => setup::node(),
            Language::C => setup::zig(),
        }
    }
}

/// Builds the project in `folder` to `place`, unless nothing of it is newer.
pub fn project(toolchain: &Toolchain, folder: &Path, place: &Path, missing: Missing) -> Result<()> {
    let name = repo::shown(folder);
    let language = Language::of(folder)?;
    if missing == Missing::Tell && !language.is_set_up() {
        let language = language.name();
        note(&format!(
            "{name} left out: it is in another language. `cargo xtask setup {language}` installs what it needs"
        ));
        return Ok(());
    }
    step(&name, || {
        let sdk = repo::path("guest-sdk").join(language.name());
        let sources = [folder.to_owned(), sdk, repo::path("wit"), repo::path("host/src/project")];
        if is_newer(place, &sources)? {
            return Ok(((), "up to date".to_owned()));
        }
        let mut build = toolchain.command(&repo::host_binary().to_string_lossy());
        build.arg("build").arg(folder).arg("-o").arg(place).env("TIGERFLOW_CACHE_DIR", cache());
        process::quietly(&mut build)?;
        Ok(((), "built".to_owned()))
    })
}

/// The components in tests/conformance: `target/components/conformance/NAME.wasm`.
pub fn conformance(toolchain: &Toolchain) -> Result<()> {
    for language in Language::ALL {
        language.set_up()?;
    }
    for folder in folders(&repo::path("tests/conformance"))? {
        let name = folder.file_name().expect("a folder in a folder has a name");
        let place = repo::components().join("conformance").join(name).with_extension("wasm");
        project(toolchain, &folder, &place, Missing::Install)?;
    }
    Ok(())
}

/// Plugins that no Cargo workspace holds.
pub fn foreign_plugins() -> Result<Vec<PathBuf>> {
    let mut folders = folders(&repo::path("plugins"))?;
    folders.retain(|folder| !folder.join("Cargo.toml").exists() && Language::of(folder).is_ok());
    Ok(folders)
}

fn folders(of: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(of).with_context(|| format!("could not list {}", of.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut folders: Vec<PathBuf> = paths.filter(|path| path.is_dir()).collect();
    folders.sort();
    Ok(folders)
}

/// The compile cache that the end-to-end tests use.
fn cache() -> PathBuf {
    repo::target().join("tmp/cache")
}

/// Whether `file` is there, and newer than all in these folders.
fn is_newer(file: &Path, folders: &[PathBuf]) -> Result<bool> {
    let Ok(made) = fs::metadata(file).and_then(|data| data.modified()) else { return Ok(false) };
    for folder in folders {
        if newest(folder)? > made {
            return Ok(false);
        }
    }
    Ok(true)
}

fn newest(folder: &Path) -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    let entries =
        fs::read_dir(folder).with_context(|| format!("could not list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let data = entry.metadata()?;
        let built = ["node_modules", "target", "__pycache__"];
        if built.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        newest = newest.max(match data.is_dir() {
            true => self::newest(&entry.path())?,
            false => data.modified()?,
        });
    }
    Ok(newest)
}
