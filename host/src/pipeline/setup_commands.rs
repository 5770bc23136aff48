//! Shell commands that a local task wants to be run before it starts.

use std::process::{Command, Stdio};

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
    let output = Command::new("bash").arg("-c").arg(script).stdin(Stdio::null()).output();
    match output {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            for line in String::from_utf8_lossy(&said).lines() {
                tracing::info!("setup_commands: {line}");
            }
        }
        Err(error) => tracing::warn!("failed to run setup_commands in `bash`: {error}"),
    }
}
