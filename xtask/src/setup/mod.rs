//! `cargo xtask setup`: the tools that guests are built with, all inside `.tools/`; and, from packages of the system,
//! Slurm, which tests need, and valgrind, which counts instructions.
//!
//! Each part first looks whether it is done, so a second run only looks.

mod apt;
mod go;
mod peers;
mod rust;
mod slurm;
mod tools;
mod valgrind;

use anyhow::{Result, bail};

use crate::process;

pub use go::{folder as go_folder, go};
pub use peers::{parallel, wasmtime};
pub use rust::{cargo_component, rust};
pub use slurm::slurm;
pub use tools::{node, python_tool, venv, zig};
pub use valgrind::valgrind;

/// `cargo xtask setup [WHAT]…`
pub fn command(arguments: &[String]) -> Result<()> {
    let all = ["rust", "python", "go", "js", "c"];
    let mut chosen: Vec<&str> = vec![];
    for word in arguments {
        match word.as_str() {
            "all" => chosen.extend(all),
            // No part of `all`: they are installed into the system, and only tests need them.
            word if ["slurm", "valgrind"].contains(&word) || all.contains(&word) => {
                chosen.push(word)
            }
            other => bail!(
                "`{other}` cannot be set up; choose from rust, python, go, js, c, all, slurm, valgrind"
            ),
        }
    }
    if chosen.is_empty() {
        chosen.push("rust");
    }
    for what in chosen {
        process::heading(&format!("setup {what}"));
        match what {
            "rust" => {
                rust()?;
                cargo_component()?;
            }
            "c" => zig()?,
            "python" => drop(python_tool()?),
            "go" => go()?,
            "slurm" => slurm()?,
            "valgrind" => drop(valgrind()?),
            _ => node()?,
        }
    }
    Ok(())
}
