//! Tasks in Python: componentize-py does the work, led by the SDK's own module,
//! which knows Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::files::sdk_directory;
use super::{Language, ProjectError, tools};

const GET_PYTHON: &str = "install Python 3.10 or newer (https://python.org)";

/// `source`: a project's directory, or one file.
pub fn build(source: &Path, place: PathBuf) -> Result<PathBuf, ProjectError> {
    let python = python()?;
    let sdk = sdk_directory(Language::Python, source.is_dir().then_some(source))?;
    let mut command = Command::new(python);
    // Nothing is left in the SDK that a project holds.
    command.env("PYTHONPATH", sdk.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    command.args(["-m", "tigerflow_task.build"]).arg(source).arg("-o").arg(&place);
    if let Some(tool) = tools::find("componentize-py") {
        command.arg("--componentize-py").arg(tool);
    }
    tools::run(&mut command)?;
    Ok(place)
}

/// That of the active virtual environment first, as `activate` would have it.
fn python() -> Result<PathBuf, ProjectError> {
    let own = std::env::var_os("VIRTUAL_ENV").map(|home| Path::new(&home).join("bin/python3"));
    match own.filter(|python| tools::is_program(python)) {
        Some(python) => Ok(python),
        None => tools::require("python3", GET_PYTHON),
    }
}
