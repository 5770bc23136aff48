//! Tasks in Python: componentize-py does the work, led by the SDK's own module,
//! which knows Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::files::sdk_directory;
use super::{Language, ProjectError, publish_from, tools};

const GET_PYTHON: &str = "install Python 3.10 or newer (https://python.org)";

/// `source`: a project's directory, or one file.
pub fn build(source: &Path, place: PathBuf) -> Result<PathBuf, ProjectError> {
    let python = python()?;
    let sdk = sdk_directory(Language::Python, source.is_dir().then_some(source))?;
    let source = source.canonicalize().map_err(ProjectError::file("find", source))?;
    let mut command = Command::new(python);
    // Elsewhere Python would take the project's files for its own library's.
    let own = sdk.path().canonicalize().map_err(ProjectError::file("find", sdk.path()))?;
    command.current_dir(&own).env("PYTHONPATH", &own);
    // Nothing is left in the SDK that a project holds.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.args(["-m", "tigerflow_task.build"]).arg(&source);
    if let Some(tool) = tools::find("componentize-py") {
        command.arg("--componentize-py").arg(tool);
    }
    publish_from(&place, |made| {
        tools::run(command.arg("-o").arg(made)).map_err(ProjectError::of_builder)
    })?;
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
