//! Which Rust toolchain builds the guests, and how to call it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{process, repo};

/// `cargo component build` wants the first, plain `cargo build` makes components with the second.
pub const TARGETS: [&str; 2] = ["wasm32-wasip1", "wasm32-wasip2"];

/// Guests use WebAssembly's vector instructions, as new projects do: guest-sdk/rust/template/.cargo/config.toml.
const GUEST_FLAGS: (&str, &str) =
    ("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", "-C target-feature=+simd128");

/// A toolchain that has both targets.
pub enum Toolchain {
    /// The one that runs us (`rustc` on PATH).
    Active,
    /// The one that `cargo xtask setup rust` made from Debian's packages, in this folder.
    Local(PathBuf),
}

impl Toolchain {
    /// The toolchain to use, if there is one: the active one before the one in `.tools`.
    pub fn find() -> Option<Self> {
        if sysroot("rustc").is_some_and(|sysroot| has_targets(&sysroot)) {
            return Some(Self::Active);
        }
        let local = local_folder();
        // A cargo that is gone is a link into a toolchain that was removed since.
        let usable =
            has_targets(&local) && local.join("bin/cargo").exists() && has_current_recipe(&local);
        usable.then_some(Self::Local(local))
    }

    /// The toolchain to use, or how to get one.
    pub fn require() -> Result<Self> {
        match Self::find() {
            Some(toolchain) => Ok(toolchain),
            None => bail!(
                "no Rust toolchain here builds {}; run `cargo xtask setup rust`",
                TARGETS.join(" and ")
            ),
        }
    }

    /// Where it is, for people.
    pub fn shown(&self) -> String {
        match self {
            Self::Active => "the active toolchain".to_owned(),
            Self::Local(folder) => format!("the toolchain in {}", repo::shown(folder)),
        }
    }

    /// The environment in which `cargo`, `rustc`, `cargo component` and this repository's tools are the right ones.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut folders =
            vec![repo::tools().join("bin"), repo::tools().join("cargo-component/bin")];
        let go = crate::setup::go_folder().join("bin");
        if go.exists() {
            folders.push(go);
        }
        let mut variables = vec![];
        if let Self::Local(folder) = self {
            folders.insert(0, folder.join("bin"));
            variables.push(("RUSTC", folder.join("bin/rustc").into()));
            variables.push(("RUSTDOC", folder.join("bin/rustdoc").into()));
        }
        folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let path = std::env::join_paths(folders).expect("the checkout's path holds no `:`");
        variables.push(("PATH", path));
        variables
    }

    /// A command that runs in that environment and builds into the guests' target directory.
    pub fn command(&self, program: &str) -> Command {
        let mut command = process::command(program);
        // On PATH as we set it, not as it is for us.
        if let Self::Local(folder) = self {
            if program == "cargo" {
                command = process::command(folder.join("bin/cargo"));
            }
            command.env_remove("RUSTUP_TOOLCHAIN");
        }
        command.envs(self.environment()).env("CARGO_TARGET_DIR", repo::guest_target());
        let (variable, flags) = GUEST_FLAGS;
        if std::env::var_os(variable).is_none() {
            command.env(variable, flags);
        }
        command
    }
}

/// Where the Debian route leaves its toolchain.
pub fn local_folder() -> PathBuf {
    repo::tools().join("rust")
}

/// The recipe that made a toolchain is kept inside it: another recipe makes it anew.
pub const RECIPE: &str = "2";

pub fn recipe_file(folder: &Path) -> PathBuf {
    folder.join("recipe")
}

fn has_current_recipe(folder: &Path) -> bool {
    std::fs::read_to_string(recipe_file(folder)).is_ok_and(|recipe| recipe.trim() == RECIPE)
}

fn sysroot(rustc: &str) -> Option<PathBuf> {
    let printed = process::output(process::command(rustc).args(["--print", "sysroot"])).ok()?;
    Some(printed.trim().into())
}

/// Whether std is there for both targets.
fn has_targets(sysroot: &Path) -> bool {
    TARGETS.iter().all(|target| {
        let folder = sysroot.join("lib/rustlib").join(target).join("lib");
        repo::files_with_extension(&folder, "rlib").is_ok_and(|files| {
            files
                .iter()
                .filter_map(|file| file.file_name()?.to_str())
                .any(|name| name.starts_with("libstd-"))
        })
    })
}

/// `cargo xtask env`.
pub fn print_environment() -> Result<()> {
    let toolchain = Toolchain::require()?;
    for (name, value) in toolchain.environment() {
        println!("export {name}='{}'", value.to_string_lossy().replace('\'', r"'\''"));
    }
    if let Toolchain::Local(_) = toolchain {
        println!("unset RUSTUP_TOOLCHAIN");
    }
    Ok(())
}
