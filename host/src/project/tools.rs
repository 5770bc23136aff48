//! Programs of others: finding them, running them, saying what is missing.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::ProjectError;

/// A program on `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|p| is_program(p))
}

/// Whether this file can be run.
pub fn is_program(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file()
}

/// A program on `PATH`, or what to do to have it there.
pub fn require(program: &str, remedy: &str) -> Result<PathBuf, ProjectError> {
    find(program).ok_or_else(|| missing(program, remedy))
}

pub fn missing(program: &str, remedy: &str) -> ProjectError {
    ProjectError::Tool { problem: format!("`{program}` is not on PATH"), remedy: remedy.to_owned() }
}

/// Runs a command. What it says goes to our stderr, as it comes.
pub fn run(command: &mut Command) -> Result<(), ProjectError> {
    run_with_hint(command, "")
}

/// The same; `hint` is a half-sentence that goes behind what failed.
pub fn run_with_hint(command: &mut Command, hint: &str) -> Result<(), ProjectError> {
    tracing::debug!("Running {}", shown(command));
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    let status = command.status().map_err(start_failed(command))?;
    check(command, status, hint)
}

/// Runs a command and returns its stdout. What it says on stderr is shown.
pub fn output(command: &mut Command, hint: &str) -> Result<String, ProjectError> {
    tracing::debug!("Running {}", shown(command));
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(start_failed(command))?;
    check(command, output.status, hint)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The stdout of a command that may well fail.
pub fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn start_failed(command: &Command) -> impl FnOnce(std::io::Error) -> ProjectError {
    ProjectError::file("start", Path::new(command.get_program()))
}

fn check(command: &Command, status: ExitStatus, hint: &str) -> Result<(), ProjectError> {
    if status.success() {
        return Ok(());
    }
    let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
    Err(ProjectError::Failed { command: shown(command), status, hint })
}

/// A command as a person types it: the program's name, and its arguments.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let words =
        std::iter::once(program.file_name().unwrap_or(OsStr::new(""))).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
