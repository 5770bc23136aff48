//! Slurm's own commands: what is asked of them, and what their answers mean.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::job::{JobId, JobStatus, QUEUE_FORMAT, parse_queue};
use crate::text::{clip, one_line};

/// How long a command may take. Slurm's own give up after some 10 seconds without
/// an answer, and after some minutes when the controller says that it is too busy.
const LIMIT: Duration = Duration::from_secs(60);

/// Most jobs that one command line names: far from the system's limit on those.
const AT_ONCE: usize = 1_000;

/// Most bytes of a message of Slurm's that are repeated. A site's own notices may
/// be long.
const MESSAGE: usize = 1_000;

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

/// Why a job was not submitted, or nobody knows whether it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// There is no such command here.
    #[error("`{0}` was not found: run this on a login node of the cluster")]
    Missing(&'static str),
    /// Slurm did not answer. It may have taken the job nevertheless: look for its
    /// comment before it is submitted again.
    #[error("{0}")]
    Unreachable(String),
    /// Slurm takes no more now: another try is worth it later, or with fewer jobs
    /// at once.
    #[error("{0}")]
    Busy(String),
    /// Slurm takes no array, or none that large: submit one by one.
    #[error("{0}")]
    NoArrays(String),
    /// Slurm takes no such job.
    #[error("{}{}", .0, advice(.0))]
    Refused(String),
}

/// Why Slurm did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// There is no such command here.
    #[error("`{0}` was not found: run this on a login node of the cluster")]
    Missing(&'static str),
    /// Slurm did not answer.
    #[error("{0}")]
    Unreachable(String),
    /// All else.
    #[error("{0}")]
    Failed(String),
}

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
    /// that are down: the message says so where that may be the reason.

    pub async fn test(&self, options: &[OsString], script: &[u8]) -> Result<(), SubmitError> {
        match self.sbatch("--test-only", options, script).await {
            Err(SubmitError::Refused(message)) if message.contains(NO_SUCH_NODE) => {
                Err(SubmitError::Refused(format!(
                    "{message} (no node in service has what --cpus, --memory, --gpus and \
                     --sbatch-option ask for; `sinfo` shows the nodes)"
                )))
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

/// What Slurm complained of, on one line: less the names of its programs, and less
/// what it says again and again.
fn words(said: &str) -> String {
    const PREFIXES: [&str; 9] = [
        "sbatch: ",
        "squeue: ",
        "scancel: ",
        "error: ",
        "fatal: ",
        "slurm_load_jobs error: ",
        "slurm_kill_job error: ",
        "Batch job submission failed: ",
        "allocation failure: ",
    ];
    let mut lines: Vec<&str> = Vec::new();
    for line in said.lines() {
        let mut line = line.trim();
        while let Some(rest) = PREFIXES.iter().find_map(|prefix| line.strip_prefix(prefix)) {
            line = rest.trim_start();
        }
        if !line.is_empty() && !lines.contains(&line) {
            lines.push(line);
        }
    }
    clip(one_line(&lines.join("; ")).into_owned(), MESSAGE)
}

fn says(message: &str, texts: &[&str]) -> bool {
    let message = message.to_ascii_lowercase();
    texts.iter().any(|text| message.contains(text))
}

/// What a job gets for an answer that asks for more than any node in service has.
const NO_SUCH_NODE: &str = "Requested node configuration is not available";

/// What `scancel` says of jobs that are over. In lower case, as all that follow.
const ALREADY_OVER: [&str; 4] = [
    "invalid job id specified",
    "already completing or completed",
    "job has already finished",
    "no active jobs match",
];

/// Slurm's controller, or what leads to it, does not answer. The texts are of Slurm
/// 20.11 to 25.11 (`src/common/slurm_errno.c`) and of the C library.
const UNREACHABLE: &[&str] = &[
    "unable to contact slurm controller",
    "socket timed out",
    "connection timed out",
    "connection refused",
    "connection reset",
    "no route to host",
    "network is unreachable",
    "backup controller in standby mode",
    "controller is in standby mode",
    "zero bytes were transmitted",
    "communication connection failure",
    "communication shutdown failure",
    "message send failure",
    "message receive failure",
    "unexpected missing socket",
    // Names that are not resolved, and configurations that are not fetched.
    "can't find an address",
    "name or service not known",
    "temporary failure in name resolution",
    "unable to establish control",
    "could not establish a configuration source",
    "unable to process configuration file",
    // Munge, on this machine.
    "munged",
    "munge encode failed",
    "protocol authentication error",
    "invalid authentication credential",
    "failed to connect to authentication agent",
];

/// Slurm takes no more for now.
const BUSY: &[&str] = &[
    "temporarily unable to accept job",
    "resource temporarily unavailable",
    "job queue full",
    "maxjobcount limit reached",
    "unable to create job record, try again",
    "job creation temporarily disabled",
    "rate limit exceeded",
    "too many jobs",
    "requested nodes are busy",
    "required ports are in use",
    "system submissions disabled",
    "required partition not available (inactive or drain)",
    "partition in down state",
];

/// A limit of accounting; the line before it may say which.
const LIMITED: &[&str] = &["job violates accounting/qos policy"];

/// Slurm, or a rule of the site, takes no such array.
const NO_ARRAYS: &[&str] = &["job array", "array job", "--array", "arrays"];

/// What `sbatch` means by a message.
fn submit_error(message: String) -> SubmitError {
    if says(&message, UNREACHABLE) {
        return SubmitError::Unreachable(message);
    }
    // Limits that name how much one job may have stay; those on jobs in the queue
    // (QOSMaxSubmitJobPerUserLimit, AssocMaxSubmitJobLimit, …) pass. Older versions
    // do not say which it was.
    let limit = message.split("; ").find(|line| {
        let word = line.bytes().all(|b| b.is_ascii_alphanumeric());
        word && (line.starts_with("QOS") || line.starts_with("Assoc") || line.starts_with("Max"))
    });
    let passing = limit.map(|limit| limit.contains("Submit"));
    if says(&message, BUSY) || passing.unwrap_or_else(|| says(&message, LIMITED)) {
        SubmitError::Busy(message)
    } else if says(&message, NO_ARRAYS) {
        SubmitError::NoArrays(message)
    } else {
        SubmitError::Refused(message)
    }
}

/// What may help, where Slurm's message does not say it.
fn advice(message: &str) -> &'static str {
    let table: [(&[&str], &str); 6] = [
        (
            &["invalid partition", "no partition specified"],
            ": choose one that `sinfo` lists, by `--sbatch-option=--partition=NAME`",
        ),
        (&["invalid account"], ": name yours, by `--sbatch-option=--account=NAME`"),
        (&["invalid qos"], ": name one of yours, by `--sbatch-option=--qos=NAME`"),
        (
            &["time limit is invalid", "time limit specification", "walldurationperjob"],
            ": set another one, by `--time`",
        ),
        (&["invalid generic resource", "invalid gres"], ": ask for what `sinfo -o %G` lists"),
        (
            &["requested node configuration", "memory specification", "more processors requested"],
            ": no node that it may use has as much: lower `--cpus`, `--memory` or `--gpus`, or \
             choose another partition by `--sbatch-option=--partition=NAME`",
        ),
    ];
    table.iter().find(|(texts, _)| says(message, texts)).map_or("", |(_, advice)| advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// What `sbatch` printed, and the name of what it means.
    const ANSWERS: &[(&str, &str)] = &[
        (
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
            "Unreachable",
        ),
        (
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
            "Unreachable",
        ),
        ("sbatch: error: Batch job submission failed: Connection refused", "Unreachable"),
        (
            "sbatch: error: Batch job submission failed: Slurm backup controller in standby mode",
            "Unreachable",
        ),
        (
            "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
            "Unreachable",
        ),
        (
            "sbatch: error: If munged is up, restart with --num-threads=10\n\
             sbatch: error: Munge encode failed: Failed to access \"/run/munge/munge.socket.2\": No such file or directory\n\
             sbatch: error: Batch job submission failed: Protocol authentication error",
            "Unreachable",
        ),
        (
            "sbatch: error: s_p_parse_file: cannot stat file /nope: No such file or directory, retrying in 1sec up to 60sec\n\
             sbatch: error: ClusterName needs to be specified\n\
             sbatch: fatal: Unable to process configuration file",
            "Unreachable",
        ),
        (
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying.\n\
             sbatch: error: Batch job submission failed: Resource temporarily unavailable",
            "Busy",
        ),
        ("sbatch: error: Slurm job queue full, sleeping and retrying", "Busy"),
        ("sbatch: error: Batch job submission failed: MaxJobCount limit reached", "Busy"),
        (
            "sbatch: error: Batch job submission failed: Rate limit exceeded, please retry momentarily",
            "Busy",
        ),
        (
            "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            "Busy",
        ),
        (
            "sbatch: error: QOSMaxSubmitJobPerUserLimit\n\
             sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            "Busy",
        ),
        ("sbatch: error: AssocMaxSubmitJobLimit", "Busy"),
        (
            "sbatch: error: Batch job submission failed: Required partition not available (inactive or drain)",
            "Busy",
        ),
        (
            "sbatch: error: QOSMaxWallDurationPerJobLimit\n\
             sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            "Refused",
        ),
        (
            "sbatch: error: QOSMaxMemoryPerJob\n\
             sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            "Refused",
        ),
        ("sbatch: error: Batch job submission failed: Invalid job array specification", "NoArrays"),
        ("sbatch: error: Job arrays are not allowed in this partition", "NoArrays"),
        (
            "sbatch: error: invalid partition specified: nope\n\
             sbatch: error: Batch job submission failed: Invalid partition name specified",
            "Refused",
        ),
        (
            "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
            "Refused",
        ),
        (
            "sbatch: error: Memory specification can not be satisfied\n\
             sbatch: error: Batch job submission failed: Requested node configuration is not available",
            "Refused",
        ),
        ("sbatch: error: Batch job submission failed: Access/permission denied", "Refused"),
        ("sbatch: error: Invalid --time specification", "Refused"),
        ("allocation failure: Invalid qos specification", "Refused"),
        ("sbatch: fatal: stdin: line 2: Unmatched `\"` in [--comment=\"x]", "Refused"),
    ];

    #[test]
    fn messages_of_slurm_are_told_apart() {
        for (said, meaning) in ANSWERS {
            let error = format!("{:?}", submit_error(words(said)));
            assert!(error.starts_with(meaning), "{said} is {error}");
        }
    }

    #[test]
    fn messages_are_for_people() {
        let said = "sbatch: error: invalid partition specified: nope\n\n\
            sbatch: error: Batch job submission failed: Invalid partition name specified\n\
            sbatch: error: Batch job submission failed: Invalid partition name specified\n";
        let error = submit_error(words(said)).to_string();
        let text =
            "invalid partition specified: nope; Invalid partition name specified: choose one";
        assert!(error.starts_with(text), "{error}");
        assert!(error.ends_with("`--sbatch-option=--partition=NAME`"), "{error}");
        let policy = "QOSMaxMemoryPerJob; Job violates accounting/QOS policy (job submit limit, \
            user's size and/or time limits)";
        assert_eq!(submit_error(policy.into()).to_string(), policy);
        assert_eq!(words("sbatch: fatal: \u{1b}[1mno\n"), "\\u{1b}[1mno");
        assert!(words(&"x ".repeat(MESSAGE)).len() < MESSAGE + 10);
    }

    #[test]
    fn a_jobs_number_is_found() {
        assert_eq!(job_number("123"), Some(123));
        assert_eq!(job_number(" 123;cluster "), Some(123));
        for line in ["", "0", "Submitted batch job 123", "123 welcome", "-1"] {
            assert_eq!(job_number(line), None, "{line}");
        }
    }

    #[test]
    fn a_job_around_this_process_is_not_the_workers() {
        for name in [
            "SLURM_JOB_ID",
            "SLURM_MEM_PER_NODE",
            "SLURM_CPUS_PER_TASK",
            "SLURM_ARRAY_TASK_ID",
            "SLURM_TIME_FORMAT",
            "SBATCH_WAIT",
            "SBATCH_ARRAY_INX",
            "SQUEUE_FORMAT",
            "SCANCEL_INTERACTIVE",
            "TIGERFLOW_HIDDEN_ENV",
        ] {
            assert!(is_left_out(OsStr::new(name)), "{name}");
        }
        for name in ["SLURM_CONF", "SLURM_CLUSTERS", "SBATCH_ACCOUNT", "SBATCH_EXPORT", "PATH"] {
            assert!(!is_left_out(OsStr::new(name)), "{name}");
        }
    }

    /// A client of programs that are these bash scripts.
    fn client(folder: &Path, programs: &[(&str, &str)]) -> Client {
        for (name, script) in programs {
            // Not by this process, whose other tests begin processes meanwhile: they
            // would hold it open for a moment, and what is open for writing does not run.
            let write = r#"printf '#!/bin/bash\n%s\n' "$1" > "$0"; chmod +x "$0""#;
            let mut bash = std::process::Command::new("bash");
            bash.arg("-c").arg(write).arg(folder.join(name)).arg(script);
            assert!(bash.status().unwrap().success());
        }
        Client { folder: folder.into(), limit: Duration::from_secs(20) }
    }

    /// Runs `work` with these programs for Slurm's.
    fn with<T>(programs: &[(&str, &str)], work: impl AsyncFnOnce(Client, &Path) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work(client(folder.path(), programs), folder.path()))
    }

    #[test]
    fn a_job_is_submitted_by_its_script() {
        let fake =
            "cat > \"$0.script\"; printf '%s\\n' \"$@\" > \"$0.args\"; echo hello; echo '7;north'";
        with(&[("sbatch", fake)], async |client, folder| {
            let options = ["--mem=1G".into(), "--output=/a b/%a.log".into()];
            // More than a pipe holds, in both directions.
            let script = vec![b'x'; 300_000];
            assert_eq!(client.submit(&options, &script).await, Ok(7));
            assert_eq!(fs::read(folder.join("sbatch.script")).unwrap(), script);
            let arguments = fs::read_to_string(folder.join("sbatch.args")).unwrap();
            assert_eq!(arguments, "--parsable\n--mem=1G\n--output=/a b/%a.log\n");
            assert_eq!(client.test(&options, b"").await, Ok(()));
            let arguments = fs::read_to_string(folder.join("sbatch.args")).unwrap();
            assert!(arguments.starts_with("--test-only\n"));
        });
    }

    #[test]
    fn answers_that_are_none() {
        // It reads no script, and tells no number.
        with(&[("sbatch", "echo welcome")], async |client, _| {
            let error = client.submit(&[], &[b'x'; 300_000]).await.unwrap_err();
            let text = "`sbatch` told no job's number: `welcome`";
            assert_eq!(error, SubmitError::Unreachable(text.into()));
        });
        with(&[("sbatch", "kill -9 $$")], async |client, _| {
            let error = client.submit(&[], b"").await.unwrap_err();
            assert!(
                matches!(&error, SubmitError::Unreachable(m) if m.contains("signal: 9")),
                "{error}"
            );
        });
        with(&[("sbatch", "exit 3")], async |client, _| {
            let error = client.submit(&[], b"").await.unwrap_err();
            assert!(
                matches!(&error, SubmitError::Refused(m) if m.contains("exit status: 3")),
                "{error}"
            );
        });
        with(&[], async |client, _| {
            assert_eq!(client.submit(&[], b"").await, Err(SubmitError::Missing("sbatch")));
            assert_eq!(client.queue(&[1]).await, Err(QueryError::Missing("squeue")));
            let message = client.queue_of_user().await.unwrap_err().to_string();
            assert_eq!(message, "`squeue` was not found: run this on a login node of the cluster");
        });
    }

    #[test]
    fn commands_that_do_not_end_are_left() {
        let full =
            "echo 'sbatch: error: Slurm job queue full, sleeping and retrying' >&2; exec sleep 600";
        with(&[("sbatch", full), ("squeue", "exec sleep 600")], async |mut client, _| {
            client.limit = Duration::from_millis(700);
            let error = client.submit(&[], b"").await.unwrap_err();
            assert!(matches!(&error, SubmitError::Busy(m) if m.contains("queue full")), "{error}");
            let error = client.queue(&[1]).await.unwrap_err();
            assert_eq!(error.to_string(), "`squeue` did not end within 0.7 s");
        });
    }

    #[test]
    fn what_no_node_has_is_explained() {
        let no =
            "echo 'allocation failure: Requested node configuration is not available' >&2; exit 1";
        with(&[("sbatch", no)], async |client, _| {
            let error = client.test(&[], b"").await.unwrap_err().to_string();
            assert!(error.contains("--memory"), "{error}");
            assert!(matches!(client.submit(&[], b"").await, Err(SubmitError::Refused(_))));
        });
    }

    #[test]
    fn the_queue_is_asked_in_parts() {
        let fake = "echo \"${@: -1}\" >> \"$0.jobs\"; echo '5|N/A|RUNNING|None|n1|x|1:00|'";
        with(&[("squeue", fake)], async |client, folder| {
            let jobs: Vec<u64> = (1..=2_500).collect();
            assert_eq!(client.queue(&jobs).await.unwrap().len(), 3);
            assert_eq!(client.queue(&[]).await.unwrap(), []);
            let asked = fs::read_to_string(folder.join("squeue.jobs")).unwrap();
            let parts: Vec<usize> = asked.lines().map(|line| line.split(',').count()).collect();
            assert_eq!(parts, [1000, 1000, 500]);
        });
    }

    #[test]
    fn a_forgotten_job_is_no_error() {
        let forgotten = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1";
        with(&[("squeue", forgotten)], async |client, _| {
            assert_eq!(client.queue(&[999]).await, Ok(vec![]));
        });
        let down = "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1";
        with(&[("squeue", down)], async |client, _| {
            let error = client.queue(&[999]).await.unwrap_err();
            let text = "Unable to contact slurm controller (connect failure)";
            assert_eq!(error, QueryError::Unreachable(text.into()));
        });
    }

    #[test]
    fn jobs_that_are_over_need_no_cancelling() {
        let over = "printf '%s\\n' \"$@\" > \"$0.args\"
            echo 'scancel: error: Kill job error on job id 7_1: Job/step already completing or completed' >&2
            echo 'scancel: error: Kill job error on job id 8: Invalid job id specified' >&2; exit 1";
        let jobs = [JobId { base: 7, index: Some(1) }, JobId { base: 8, index: None }];
        with(&[("scancel", over)], async |client, folder| {
            assert_eq!(client.cancel(&jobs).await, Ok(()));
            assert_eq!(fs::read_to_string(folder.join("scancel.args")).unwrap(), "7_1\n8\n");
        });
        let other = "echo 'scancel: error: Kill job error on job id 7_1: Access/permission denied' >&2; exit 1";
        with(&[("scancel", other)], async |client, _| {
            let text = "Kill job error on job id 7_1: Access/permission denied";
            assert_eq!(client.cancel(&jobs).await, Err(QueryError::Failed(text.into())));
            assert_eq!(client.cancel(&[]).await, Ok(()));
        });
    }
}
