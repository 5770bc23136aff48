//! `run --detach`: the same run, in a process that outlives its terminal.
//!
//! That process is started in the foreground, where all checks are made and told
//! of. Once the run has begun, it leaves the terminal by itself, and says so by a
//! pipe that it has for stdin.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::workspace::Layout;
use crate::workspace::lock::Owner;

/// The option that tells the process which `--detach` starts from the one that
/// starts it.
pub const DETACHED: &str = "--detached";

/// What is started in the background.
pub trait Background {
    /// The words that the command is of: `run`, `pipeline run`.
    const WORDS: usize;
    /// What it is, for messages.
    const WHAT: &'static str;

    /// Its log.
    fn log(&self) -> PathBuf;

    /// What shows how far it is, what follows its log, and what ends it.
    fn commands(&self) -> [String; 3];
}

/// A run.
pub struct OfRun<'a> {
    /// Where its outputs go.
    pub output_dir: &'a Path,
    /// Its workspace.
    pub task: &'a str,
}

impl Background for OfRun<'_> {
    const WORDS: usize = 1;
    const WHAT: &'static str = "run";

    fn log(&self) -> PathBuf {
        Layout::new(self.output_dir, self.task).log()
    }

    fn commands(&self) -> [String; 3] {
        let several = Layout::all(self.output_dir).is_ok_and(|all| all.len() > 1);
        let task = several.then_some(self.task);
        ["status", "attach", "stop"].map(|c| super::command_line(c, self.output_dir, task))
    }
}

/// Starts what this command line says in the background, and says where it is.
/// Where it does not begin, the exit code is its own.
pub fn start<B: Background>(what: &B, arguments: &[OsString]) -> anyhow::Result<u8> {
    let failed = || format!("failed to start the {} in the background", B::WHAT);
    let program = std::env::current_exe().with_context(failed)?;
    let (mut begun, stdin) = std::io::pipe().with_context(failed)?;
    // `PROGRAM run …`: values of variables were hidden before, in the environment.
    let (name, rest) = arguments.split_at(1);
    let (words, rest) = rest.split_at(B::WORDS);
    let mut command = Command::new(program);
    command.arg0(&name[0]).args(words).arg(DETACHED).args(rest).stdin(stdin);
    let mut child = command.spawn().with_context(failed)?;
    // The pipe ends with the child, then.
    drop(command);
    if begun.read_exact(&mut [0]).is_err() {
        let status = child.wait().with_context(failed)?;
        let signal = || 128 + status.signal().unwrap_or_default();
        return Ok(status.code().unwrap_or_else(signal) as u8);
    }
    let log = what.log();
    let log = std::path::absolute(&log).unwrap_or(log);
    let [status, attach, stop] = what.commands();
    super::print(&format!(
        "The {} goes on in the background: process {} on {}\n\
         Its log is {}\n\n\
         How far it is:     {status}\n\
         Follow its log:    {attach}\n\
         End it:            {stop}\n",
        B::WHAT,
        child.id(),
        Owner::current().host,
        log.display(),
    ));
    Ok(0)
}
