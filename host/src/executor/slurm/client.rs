//! Slurm's own commands: what is asked of them, and what their answers mean.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::answers::{ALREADY_OVER, NO_CONFIGURATION, UNREACHABLE, says, submit_error, words};
pub use super::answers::{QueryError, SubmitError};
use super::job::{JobId, JobStatus, QUEUE_FORMAT, parse_queue};

/// How long a command may take. Slurm's own give up after some 10 seconds without
/// an answer, and after some minutes when the controller says that it is too busy.
const LIMIT: Duration = Duration::from_secs(60);

/// Most jobs that one command line names: far from the system's limit on those.
const AT_ONCE: usize = 1_000;

/// Variables of Slurm's that say where the cluster is and who asks. All others of
/// `SLURM_` belong to the job that this process may itself run in: `sbatch` and the
/// jobs that it makes would take them for their own (`SLURM_MEM_PER_NODE`,
/// `SLURM_CPUS_PER_TASK`, `SLURM_ARRAY_TASK_ID`, …), or they change how `squeue`
/// writes (`SLURM_TIME_FORMAT`).
const KEPT: [&str; 7] = [
    "SLURM_CONF",
    "SLURM_CONF_SERVER",
    "SLURM_CLUSTERS",
    "SLURM_JWT",
    "SLURM_SACK_SOCKET",
    "SLURM_SACK_KEY",
    "SLURM_SACK_JWKS",
];

/// Defaults for `sbatch` that break workers. All others, such as `SBATCH_ACCOUNT`
/// and `SBATCH_PARTITION`, are the user's wishes.
const BREAKING: [&str; 8] = [
    // The host makes arrays itself.
    "SBATCH_ARRAY_INX",
    // It reads each job's one log.
    "SBATCH_OUTPUT",
    "SBATCH_ERROR",
    "SBATCH_INPUT",
    "SBATCH_OPEN_MODE",
    // It must know the job's number before the job has ended.
    "SBATCH_WAIT",
    // Most signals end a worker at once that knows nothing of them.
    "SBATCH_SIGNAL",
    // It makes messages longer.
    "SBATCH_DEBUG",
];

/// Where values of `--env` stand for this process alone: a job's environment is
/// kept by Slurm, and can be read by its administrators.
const HIDDEN: &str = "TIGERFLOW_HIDDEN_ENV";

/// Runs `sbatch`, `squeue` and `scancel`.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where the commands are. Empty: where `PATH` says.
    folder: PathBuf,
    limit: Duration,
}

/// What a command came back with.
struct Said {
    status: ExitStatus,
    out: String,
    error: String,
}

/// Why a command came back with nothing.
enum Fault {
    Missing(&'static str),
    Silent(String),
    /// It had complained until its time was over.
    Slow(String),
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// One that runs the commands which `PATH` leads to.
    pub fn new() -> Self {
        Client { folder: PathBuf::new(), limit: LIMIT }
    }

    /// Submits a job with these options of `sbatch`, and returns its number: that of
    /// the array, if it is one.
    pub async fn submit(&self, options: &[OsString], script: &[u8]) -> Result<u64, SubmitError> {
        let said = self.sbatch("--parsable", options, script).await?;
        // Wrappers of sites may print more than the number.
        said.out.lines().rev().find_map(job_number).ok_or_else(|| {
            SubmitError::Unreachable(format!("`sbatch` told no job's number: `{}`", said.shown()))
        })
    }

    /// Asks whether Slurm would take such a job, and submits none.
    ///
    /// Here Slurm also says no where it would take the job and let it wait, for nodes
    /// that are down; and a machine that is none of a cluster's is told as such.
    pub async fn test(&self, options: &[OsString], script: &[u8]) -> Result<(), SubmitError> {
        match self.sbatch("--test-only", options, script).await {
            Err(SubmitError::Unreachable(message)) if says(&message, &[NO_CONFIGURATION]) => {
                Err(SubmitError::Refused(message))
            }
            result => result.map(drop),
        }
    }

    /// What Slurm knows of these jobs and of all elements of these arrays: nothing
    /// where it has forgotten them, or never knew them.
    pub async fn queue(&self, jobs: &[u64]) -> Result<Vec<JobStatus>, QueryError> {
        let mut found = Vec::new();
        for jobs in jobs.chunks(AT_ONCE) {
            let jobs: Vec<String> = jobs.iter().map(u64::to_string).collect();
            found.extend(self.squeue("--jobs", &jobs.join(",")).await?);
        }
        Ok(found)
    }

    /// What Slurm knows of all jobs of this user.
    pub async fn queue_of_user(&self) -> Result<Vec<JobStatus>, QueryError> {
        self.squeue("--user", &rustix::process::getuid().as_raw().to_string()).await
    }

    /// Cancels jobs. It is no error if some are over, or unknown to Slurm.
    pub async fn cancel(&self, jobs: &[JobId]) -> Result<(), QueryError> {
        for jobs in jobs.chunks(AT_ONCE) {
            let jobs: Vec<OsString> = jobs.iter().map(|job| job.to_string().into()).collect();
            let said = self.run("scancel", &jobs, b"").await?;
            let over = |line: &str| {
                let line = line.to_ascii_lowercase();
                ALREADY_OVER.iter().any(|text| line.contains(text))
            };
            if !said.status.success() && !said.error.lines().all(over) {
                return Err(said.query_error());
            }
        }
        Ok(())
    }

    /// A command of Slurm's with nothing in its environment that changes what it
    /// means.
    pub fn command(&self, program: &str) -> std::process::Command {
        let mut command = std::process::Command::new(self.folder.join(program));
        for (name, _) in std::env::vars_os() {
            if is_left_out(&name) {
                command.env_remove(name);
            }
        }
        // The one that only `sbatch` knows: all three must ask the same cluster.
        let clusters = std::env::var_os("SBATCH_CLUSTERS");
        if let Some(clusters) = clusters.filter(|_| std::env::var_os("SLURM_CLUSTERS").is_none()) {
            command.env("SLURM_CLUSTERS", clusters);
        }
        command
    }

    async fn sbatch(
        &self,
        mode: &str,
        options: &[OsString],
        script: &[u8],
    ) -> Result<Said, SubmitError> {
        let mut arguments = vec![mode.into()];
        arguments.extend_from_slice(options);
        let said = self.run("sbatch", &arguments, script).await.map_err(|fault| match fault {
            Fault::Missing(program) => SubmitError::Missing(program),
            Fault::Silent(message) => SubmitError::Unreachable(message),
            // It slept between its own tries, so none of them is under way.
            Fault::Slow(message) => match submit_error(message) {
                SubmitError::Busy(message) => SubmitError::Busy(message),
                other => SubmitError::Unreachable(other.to_string()),
            },
        })?;
        match said.status.code() {
            Some(0) => Ok(said),
            Some(_) => Err(submit_error(said.shown())),
            None => Err(SubmitError::Unreachable(said.shown())),
        }
    }

    async fn squeue(&self, by: &str, value: &str) -> Result<Vec<JobStatus>, QueryError> {
        // Jobs in hidden partitions, too; a line for each element of an array; those
        // that are over, too.
        let arguments = ["--all", "--noheader", "--array", "--states=all", "--format"];
        let rest = [QUEUE_FORMAT, by, value];
        let arguments: Vec<OsString> = arguments.into_iter().chain(rest).map(Into::into).collect();
        let said = self.run("squeue", &arguments, b"").await?;
        // Asked for one job only, it says so of one that it has forgotten.
        if said.status.success() || said.error.contains("Invalid job id specified") {
            return Ok(parse_queue(&said.out));
        }
        Err(said.query_error())
    }

    async fn run(
        &self,
        program: &'static str,
        arguments: &[OsString],
        input: &[u8],
    ) -> Result<Said, Fault> {
        let mut command = Command::from(self.command(program));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Ctrl-C is for this process, which decides what becomes of a submission.
        command.stderr(Stdio::piped()).kill_on_drop(true).process_group(0);
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Fault::Missing(program),
            _ => Fault::Silent(format!("`{program}` did not start: {error}")),
        })?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (mut out, mut error) = (Vec::new(), Vec::new());
        let work = async {
            let write = async {
                if let Some(mut stdin) = stdin {
                    // If it ends before it has read all, its message says why.
                    let _ = stdin.write_all(input).await;
                }
                Ok(0)
            };
            let read_out = async {
                match stdout {
                    Some(mut stdout) => stdout.read_to_end(&mut out).await,
                    None => Ok(0),
                }
            };
            let read_error = async {
                match stderr {
                    Some(mut stderr) => stderr.read_to_end(&mut error).await,
                    None => Ok(0),
                }
            };
            tokio::try_join!(write, read_out, read_error)?;
            child.wait().await
        };
        let status = tokio::time::timeout(self.limit, work).await;
        let (out, error) = (lossy(out), lossy(error));
        match status {
            Ok(Ok(status)) => Ok(Said { status, out, error }),
            Ok(Err(cause)) => Err(Fault::Silent(format!("failed to run `{program}`: {cause}"))),
            Err(_) => {
                let limit = self.limit.as_secs_f64();
                let message = format!("`{program}` did not end within {limit} s");
                Err(match words(&error) {
                    words if words.is_empty() => Fault::Silent(message),
                    words => Fault::Slow(format!("{message}: {words}")),
                })
            }
        }
    }
}

impl Said {
    /// What it complained of, for people.
    fn shown(&self) -> String {
        let said = if self.error.trim().is_empty() { &self.out } else { &self.error };
        let words = words(said);
        if words.is_empty() {
            format!("it said nothing, and ended with {}", self.status)
        } else {
            words
        }
    }

    fn query_error(&self) -> QueryError {
        let message = self.shown();
        match says(&message, UNREACHABLE) || self.status.code().is_none() {
            true => QueryError::Unreachable(message),
            false => QueryError::Failed(message),
        }
    }
}

impl From<Fault> for QueryError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Missing(program) => QueryError::Missing(program),
            Fault::Silent(message) | Fault::Slow(message) => QueryError::Unreachable(message),
        }
    }
}

/// Whether a variable must not reach Slurm's commands, and the jobs that they make.
fn is_left_out(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let of_this_job = name.starts_with("SLURM_") && !KEPT.contains(&name);
    // Filters and formats; SCANCEL_INTERACTIVE would ask before it cancels.
    let of_commands = name.starts_with("SQUEUE_") || name.starts_with("SCANCEL_");
    of_this_job || of_commands || BREAKING.contains(&name) || name == HIDDEN
}

/// The number in a line of `sbatch --parsable`: `JOB` or `JOB;CLUSTER`.
fn job_number(line: &str) -> Option<u64> {
    let number = line.trim().split(';').next()?;
    number.parse().ok().filter(|number| *number > 0)
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests;
