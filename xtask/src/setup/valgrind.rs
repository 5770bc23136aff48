//! valgrind, which counts instructions.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::apt;
use crate::process::{self, step};

/// valgrind: from a package of the system, where it is missing and we may install it. Returns where it lies.
pub fn valgrind() -> Result<PathBuf> {
    step("valgrind", || {
        let installed = apt::provide(&["valgrind"], &["valgrind"])?;
        let program = apt::find("valgrind").context("`valgrind` cannot be found")?;
        let printed = process::output(process::command(&program).arg("--version"))?;
        let version = printed.trim().trim_start_matches("valgrind-").to_owned();
        Ok((program, if installed { format!("installed {version}") } else { version }))
    })
}
