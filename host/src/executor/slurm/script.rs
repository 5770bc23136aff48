//! What Slurm is given: the options of `sbatch`, and the script that becomes a
//! worker.
//!
//! A value of a script's `#SBATCH` lines gives way to one of the environment
//! (`SBATCH_PARTITION`), and that to one of the command line. So what is only a
//! default stands in the script, and what must hold on the command line.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::options::{given, words};

/// Setup commands that failed, for the worker: number and exit code of each, as in
/// `2:127 3:1`.
pub const SETUP_FAILURES: &str = "TIGERFLOW_SETUP_FAILURES";

/// When the job began, for the worker: seconds since 1970.
pub const JOB_BEGAN: &str = "TIGERFLOW_JOB_BEGAN";

/// What users ask for of each worker's job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobRequest {
    /// The task's name.
    pub task_name: String,
    /// Cores.
    pub cpus: Option<u32>,
    /// Memory, as Slurm writes it.
    pub memory: Option<String>,
    /// Wall time, as Slurm writes it.
    pub time: Option<String>,
    /// GPUs.
    pub gpus: Option<u32>,
    /// Options of `sbatch` as users gave them: `--mail-user=x`, `-p gpu`.
    pub options: Vec<String>,
    /// Commands of bash that run before the worker, in its shell.
    pub setup_commands: Vec<String>,
}

/// What a script starts.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// tigerflow-host, by its absolute path.
    pub binary: &'a Path,
    /// The run's directory.
    pub run_dir: &'a Path,
    /// The submission's number.
    pub submission: u64,
    /// By what the job is known in Slurm's own books, unless users chose another
    /// comment.
    pub comment: &'a str,
    /// Where compiled components are kept.
    pub cache_dir: &'a Path,
    /// Which plan the worker reads.
    pub plan: &'a str,
}

impl JobRequest {
    /// Refuses options that no worker could work with, each with what to do instead.
    pub fn check(&self) -> Result<(), String> {
        for text in &self.options {
            let fault =
                |why: String| Err(format!("--sbatch-option `{}`: {why}", text.escape_debug()));
            if text.chars().any(char::is_control) {
                return fault("it holds a control character, and must be on one line".into());
            }
            if !text.trim_start().starts_with('-') {
                return fault(
                    "it must begin with `-`, as in `--sbatch-option=--partition=gpu`".into(),
                );
            }
            let words = match words(text) {
                Ok(words) => words,
                Err(why) => return fault(why),
            };
            for given in given(&words) {
                if given.is_incomplete() {
                    return fault(format!("`--{}` lacks its value", given.name));
                }
                if let Some(why) = self.objection(given.name, given.value.unwrap_or_default()) {
                    return fault(format!("`--{}`: {why}", given.name));
                }
            }
        }
        Ok(())
    }

    /// Why an option cannot be had.
    fn objection(&self, name: &str, value: &str) -> Option<&'static str> {
        let reason = match name {
            "output" | "error" | "open-mode" => {
                "the host keeps the log of each worker, and `tigerflow-host status` says where: \
                 leave it out"
            }
            "input" => "a worker reads nothing from there: leave it out",
            "array" => "the host decides how many workers there are: set --max-workers instead",
            "wrap" | "external" => {
                "the host brings its own script: give commands by --setup-command instead"
            }
            "parsable" | "test-only" | "wait" | "quiet" | "help" | "usage" | "version"
            | "autocomplete" => {
                "the host itself reads what `sbatch` answers, right after each submission: \
                 leave it out"
            }
            "clusters" | "cluster" => {
                "`squeue` and `scancel` must ask the same cluster: \
                 `export SLURM_CLUSTERS=NAME` instead"
            }
            "nodes" | "ntasks" if !matches!(value, "1" | "1-1") => {
                "a worker is one process on one node: set --max-workers for more workers, and \
                 --cpus for more cores of each"
            }
            "exclude" if value.contains('/') => {
                "the host adds nodes to this list, so it cannot be a file: name the nodes here"
            }
            "time" if self.time.is_some() => "--time says it already: leave one of them out",
            "cpus-per-task" if self.cpus.is_some() => {
                "--cpus says it already: leave one of them out"
            }
            "mem" | "mem-per-cpu" | "mem-per-gpu" if self.memory.is_some() => {
                "--memory says it already: leave one of them out"
            }
            "gpus" | "gpus-per-node" | "gpus-per-task" | "gpus-per-socket"
                if self.gpus.is_some() =>
            {
                "--gpus says it already: leave one of them out"
            }
            _ => return None,
        };
        Some(reason)
    }

    /// The options of `sbatch`, less `--parsable`, for so many workers. Their logs are
    /// `LOGS/SUBMISSION-INDEX.log`; no worker runs on an `excluded` node.
    pub fn arguments(
        &self,
        how_many: u32,
        logs: &Path,
        submission: u64,
        excluded: &[String],
    ) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut nodes: Vec<String> = Vec::new();
        for text in &self.options {
            // What cannot be read was refused by `check`.
            for given in given(&words(text).unwrap_or_default()) {
                // They are in the script, too, where Slurm reads all of them. Here are
                // those for which the environment may say something else.
                if let Some(argument) = given.repeated() {
                    arguments.push(argument.into());
                }
                if given.name == "exclude" {
                    // As for Slurm, the last one counts.
                    nodes = given.value.into_iter().map(str::to_owned).collect();
                }
            }
        }
        let mut push = |name: &str, value: &dyn std::fmt::Display| {
            arguments.push(format!("--{name}={value}").into());
        };
        if let Some(cpus) = self.cpus {
            push("cpus-per-task", &cpus);
        }
        if let Some(memory) = &self.memory {
            push("mem", memory);
        }
        if let Some(time) = &self.time {
            push("time", time);
        }
        if let Some(gpus) = self.gpus {
            push("gpus", &gpus);
        }
        if !excluded.is_empty() {
            nodes.extend_from_slice(excluded);
            push("exclude", &nodes.join(","));
        }
        if how_many > 1 {
            push("array", &format_args!("0-{}", how_many - 1));
        }
        arguments.push(output(logs, submission, how_many > 1));
        // After a restart of the job the log goes on.
        arguments.push("--open-mode=append".into());
        arguments.push("--nodes=1".into());
        arguments.push("--ntasks=1".into());
        arguments
    }

    /// The script of a worker's job, in bash.
    pub fn script(&self, launch: &Launch<'_>) -> Vec<u8> {
        let mut text = String::from("#!/bin/bash\n");
        let mut line = |option: &str| text.extend(["#SBATCH ", option, "\n"]);
        line(&format!("--job-name=tigerflow-{}", plain(&self.task_name)));
        line(&format!("--comment={}", sbatch_word(launch.comment)));
        line("--requeue");
        self.options.iter().for_each(|option| line(option));

        let cache_dir = bash_word(launch.cache_dir);
        let _ = write!(
            text,
            r#"
# This job is a worker of tigerflow-host.
printf -v {JOB_BEGAN} '%(%s)T' -1
export {JOB_BEGAN}
export {SETUP_FAILURES}=
export TIGERFLOW_CACHE_DIR={cache_dir}
"#,
        );
        if !self.setup_commands.is_empty() {
            let _ = write!(
                text,
                r#"
# A setup command that fails does not stop the worker, which tells of it.
tigerflow_failed() {{
    echo "warning: setup command $1 failed with exit code $2" >&2
    {SETUP_FAILURES}="${SETUP_FAILURES}${{{SETUP_FAILURES}:+ }}$1:$2"
}}
trap 'echo "error: setup command $tigerflow_setup ended the job, with exit code $?" >&2' EXIT
"#,
            );
        }
        for (index, command) in self.setup_commands.iter().enumerate() {
            let number = index + 1;
            let command = bash_word(OsStr::new(command));
            // By `eval` a mistake in one command leaves the others, and the script,
            // alone. What it sets for its own faults (`set -eu`) ends with it.
            let _ = write!(
                text,
                "tigerflow_setup={number}\n\
                 eval -- {command} || tigerflow_failed {number} $?\n\
                 set +eu\n"
            );
        }
        if !self.setup_commands.is_empty() {
            text.push_str("trap - EXIT\n");
        }
        let binary = bash_word(launch.binary);
        let run_dir = bash_word(launch.run_dir);
        let (submission, plan) = (launch.submission, bash_word(OsStr::new(launch.plan)));
        let _ = write!(
            text,
            r#"
tigerflow_node=${{SLURMD_NODENAME:-$HOSTNAME}}
tigerflow_binary={binary}
tigerflow_dir={run_dir}
if [ ! -x "$tigerflow_binary" ]; then
    echo "error: tigerflow-host is not at \`$tigerflow_binary\` on node $tigerflow_node, or may not be run there: put it where compute nodes see it, too (a shared file system)" >&2
    exit 127
fi
if [ ! -d "$tigerflow_dir" ]; then
    echo "error: the run's directory \`$tigerflow_dir\` is not there on node $tigerflow_node: choose an output directory that compute nodes see, too (a shared file system)" >&2
    exit 126
fi
exec "$tigerflow_binary" worker "$tigerflow_dir" "{submission}-${{SLURM_ARRAY_TASK_ID:-0}}" {plan}
"#,
        );
        text.into_bytes()
    }
}

/// `--output`: where Slurm puts what a job prints.
fn output(logs: &Path, submission: u64, array: bool) -> OsString {
    let mut option = b"--output=".to_vec();
    let path = logs.as_os_str().as_bytes();
    // A backslash anywhere has Slurm take all else as it stands, so each job of an
    // array writes to the same log.
    let literal = path.contains(&b'\\');
    for &byte in path {
        if byte == if literal { b'\\' } else { b'%' } {
            option.push(byte);
        }
        option.push(byte);
    }
    let index = if array && !literal { "%a" } else { "0" };
    option.extend_from_slice(format!("/{submission}-{index}.log").as_bytes());
    OsString::from_vec(option)
}

/// A task's name as part of a job's: other letters trouble some commands of Slurm's.
fn plain(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

/// A value for a line of `#SBATCH`.
fn sbatch_word(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.,:=/@+".contains(&b)) {
        return text.into();
    }
    let mut word = String::from("\"");
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if matches!(c, '"' | '\\') {
            word.push('\\');
        }
        word.push(c);
    }
    word.push('"');
    word.into()
}

/// A word for bash, whatever bytes it is of.
fn bash_word(text: impl AsRef<OsStr>) -> String {
    let bytes = text.as_ref().as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.is_empty() && bytes.iter().all(|b| is_plain(*b)) => text.into(),
        // `sbatch` refuses scripts with carriage returns at the ends of lines.
        Ok(text) if !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => {
            let mut word = String::from("$'");
            for &byte in bytes {
                match byte {
                    b'\\' | b'\'' => word.extend(['\\', char::from(byte)]),
                    b' '..=b'~' => word.push(char::from(byte)),
                    _ => drop(write!(word, "\\x{byte:02x}")),
                }
            }
            word.push('\'');
            word
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_./,:=+@%".contains(&byte)
}

#[cfg(test)]
mod tests;
