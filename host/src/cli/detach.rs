//! `run --detach`: the same run, in a process that outlives its terminal.
//!
//! That process is started in the foreground, where all checks are made and told
//! of. Once the run has begun, it leaves the terminal by itself, and says so by a
//! pipe that it has for stdin.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::workspace::Layout;
use crate::workspace::lock::Owner;

/// The option that tells the process which `--detach` starts from the one that
/// starts it.
pub const DETACHED: &str = "--detached";

/// Starts the run of this command line in the background, and says where it is.
/// Where it does not begin, the exit code is its own.
pub fn start(output_dir: &Path, task: &str, arguments: &[OsString]) -> anyhow::Result<u8> {
    let failed = "failed to start the run in the background";
    let program = std::env::current_exe().context(failed)?;
    let (mut begun, stdin) = std::io::pipe().context(failed)?;
    // `PROGRAM run …`: values of variables were hidden before, in the environment.
    let (name, rest) = arguments.split_at(1);
    let (run, rest) = rest.split_at(1);
    let mut command = Command::new(program);
    command.arg0(&name[0]).args(run).arg(DETACHED).args(rest).stdin(stdin);
    let mut child = command.spawn().context(failed)?;
    // The pipe ends with the child, then.
    drop(command);
    if begun.read_exact(&mut [0]).is_err() {
        let status = child.wait().context(failed)?;
        let signal = || 128 + status.signal().unwrap_or_default();
        return Ok(status.code().unwrap_or_else(signal) as u8);
    }
    let several = Layout::all(output_dir).is_ok_and(|all| all.len() > 1);
    let line = |command| super::command_line(command, output_dir, several.then_some(task));
    let log = Layout::new(output_dir, task).log();
    let log = std::path::absolute(&log).unwrap_or(log);
    super::print(&format!(
        "The run goes on in the background: process {} on {}\n\
         Its log is {}\n\n\
         How far it is:     {}\n\
         Follow its log:    {}\n\
         End it:            {}\n",
        child.id(),
        Owner::current().host,
        log.display(),
        line("status"),
        line("attach"),
        line("stop"),
    ));
    Ok(0)
}
