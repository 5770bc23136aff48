//! Shell commands that a local task wants to be run before it starts.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::process::{Command, ExitStatus, Stdio};

/// Most that is told of what they say, in bytes.
const SAID: u64 = 1 << 16;

/// Runs them in one shell, here. They cannot change what a component sees; they may
/// make a directory, or start a server. One that fails is told of, and the task
/// starts all the same, as it does in a Slurm job.
pub fn run(commands: &[String]) {
    if commands.is_empty() {
        return;
    }
    let mut script = String::new();
    for (number, command) in commands.iter().enumerate() {
        let number = number + 1;
        script.push_str(&format!(
            "{command}\n_code=$?; [ $_code = 0 ] || echo \"command {number} ended with exit code $_code\" >&2\n"
        ));
    }
    // So that the last one's is not the shell's own.
    script.push_str(":\n");
    match execute(&script) {
        Ok((status, said)) => {
            for line in said.lines() {
                tracing::info!("setup_commands: {line}");
            }
            if !status.success() {
                tracing::warn!("setup_commands ended their shell ({status}): the rest was not run");
            }
        }
        Err(error) => tracing::warn!("failed to run setup_commands in `bash`: {error}"),
    }
}

/// Waits for the shell, and not for what it leaves in the background.
fn execute(script: &str) -> io::Result<(ExitStatus, String)> {
    let mut said: File = tempfile::tempfile()?;
    let (stdout, stderr) = (said.try_clone()?, said.try_clone()?);
    let mut bash = Command::new("bash");
    bash.arg("-c").arg(script).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let status = bash.status()?;
    said.rewind()?;
    let mut text = Vec::new();
    said.take(SAID).read_to_end(&mut text)?;
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_in_the_background_is_not_waited_for() {
        let (status, said) = execute("sleep 600 & echo $!; false").unwrap();
        assert!(!status.success());
        let pid = said.trim().parse().ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}
