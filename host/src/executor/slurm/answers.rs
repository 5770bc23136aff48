//! What Slurm's messages mean.

use crate::text::{clip, one_line};

/// Most bytes of a message of Slurm's that are repeated. A site's own notices may
/// be long.
pub(super) const MESSAGE: usize = 1_000;

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

/// What Slurm complained of, on one line: less the names of its programs, and less
/// what it says again and again.
pub(super) fn words(said: &str) -> String {
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

pub(super) fn says(message: &str, texts: &[&str]) -> bool {
    let message = message.to_ascii_lowercase();
    texts.iter().any(|text| message.contains(text))
}

/// What a machine without a cluster's configuration says. In lower case, as all that
/// follow.
pub(super) const NO_CONFIGURATION: &str = "could not establish a configuration source";

/// What `scancel` says of jobs that are over.
pub(super) const ALREADY_OVER: [&str; 4] = [
    "invalid job id specified",
    "already completing or completed",
    "job has already finished",
    "no active jobs match",
];

/// Slurm's controller, or what leads to it, does not answer. The texts are of Slurm
/// 20.11 to 25.11 (`src/common/slurm_errno.c`) and of the C library.
pub(super) const UNREACHABLE: &[&str] = &[
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
    NO_CONFIGURATION,
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
pub(super) fn submit_error(message: String) -> SubmitError {
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
pub(super) fn advice(message: &str) -> &'static str {
    let table: [(&[&str], &str); 7] = [
        (&[NO_CONFIGURATION], ": run this on a login node of the cluster"),
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
            ": no node that it may use, and that is in service, has as much: lower `--cpus`, `--memory` or `--gpus`, or \
             choose another partition by `--sbatch-option=--partition=NAME`",
        ),
    ];
    table.iter().find(|(texts, _)| says(message, texts)).map_or("", |(_, advice)| advice)
}
