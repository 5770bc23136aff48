//! `cargo xtask setup`: the tools that guests are built with, all inside `.tools/`.
//!
//! Each part first looks whether it is done, so a second run only looks.

mod rust;
mod tools;

use anyhow::{Result, bail};

use crate::process;

pub use rust::{cargo_component, rust};
pub use tools::{python_tool, venv, zig};

/// `cargo xtask setup [WHAT]…`
pub fn command(arguments: &[String]) -> Result<()> {
    let all = ["rust", "c", "python", "go", "js"];
    let mut chosen: Vec<&str> = vec![];
    for word in arguments {
        match word.as_str() {
            "all" => chosen.extend(all),
            word if all.contains(&word) => chosen.push(word),
            other => bail!("`{other}` cannot be set up; choose from rust, python, go, js, c, all"),
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
            "c" => tools::c()?,
            "python" => tools::python()?,
            "go" => tools::go()?,
            _ => tools::js()?,
        }
    }
    Ok(())
}
