//! `cargo xtask setup`: the tools that guests are built with, all inside `.tools/`; and Slurm, which tests need.
//!
//! Each part first looks whether it is done, so a second run only looks.

mod go;
mod rust;
mod slurm;
mod tools;

use anyhow::{Result, bail};

use crate::process;

pub use go::{folder as go_folder, go};
pub use rust::{cargo_component, rust};
pub use slurm::slurm;
pub use tools::{node, python_tool, venv, zig};

/// `cargo xtask setup [WHAT]…`
pub fn command(arguments: &[String]) -> Result<()> {
    let all = ["rust", "python", "go", "js", "c"];
    let mut chosen: Vec<&str> = vec![];
    for word in arguments {
        match word.as_str() {
            "all" => chosen.extend(all),
            // No part of `all`: it is installed into the system, and only tests need it.
            word if word == "slurm" || all.contains(&word) => chosen.push(word),
            other => {
                bail!("`{other}` cannot be set up; choose from rust, python, go, js, c, all, slurm")
            }
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
            _ => node()?,
        }
    }
    Ok(())
}
