//! What is known of workers that died: their last words, and files that are to
//! blame.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::SlurmExecutor;
use super::protocol::{Seat, WorkerName};
use crate::executor::{Ended, Job, Origin, Report, attempt};
use crate::outcome::{AttemptOutcome, Cause, Failure, Outcome};
use crate::workspace::StagingArea;
use crate::workspace::error_file::{ErrorFile, TaskIdentity};
use crate::workspace::names::Pairing;
use crate::workspace::staging::Durability;

/// How many lines of a worker's log are told when it died.
const LOG_LINES: usize = 5;

/// How much of the end of a worker's log is read, in bytes.
const LOG_TAIL: u64 = 2_000;

/// What is needed to publish an `.err` for a file that kills its workers.
pub struct Court {
    /// Where to write it.
    pub staging: StagingArea,
    /// How names pair.
    pub pairing: Pairing,
    /// The input directory.
    pub input_dir: PathBuf,
    /// Who makes it.
    pub identity: TaskIdentity,
}

impl Court {
    /// Whether an output, or an `.err`, of this input stands.
    pub(super) fn stands(&self, input: &OsStr) -> bool {
        let stem = self.pairing.stem(input).unwrap_or_default();
        let Ok(place) = self.staging.place("coordinator") else { return false };
        place.is_published(&self.pairing.output_name(stem))
            || place.is_published(&self.pairing.error_name(stem))
    }
}

impl SlurmExecutor {
    /// Repeats what a worker's log says last.
    pub(super) fn tell_log(&self, seat: Seat) {
        let path = self.dir.log(seat);
        let lines = self.last_words(seat);
        if lines.is_empty() {
            return tracing::error!("    its log is empty: {}", path.display());
        }
        tracing::error!("    its log ends so ({}):", path.display());
        lines.iter().for_each(|line| tracing::error!("    {line}"));
    }

    /// The last lines of a worker's log.
    pub(super) fn last_words(&self, seat: Seat) -> Vec<String> {
        let path = self.dir.log(seat);
        let read = || -> io::Result<String> {
            let file = File::open(&path)?;
            let length = file.metadata()?.len();
            let from = length.saturating_sub(LOG_TAIL);
            let mut bytes = vec![0; (length - from) as usize];
            file.read_exact_at(&mut bytes, from)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let mut lines: Vec<String> = Vec::new();
        for line in read().unwrap_or_default().lines().filter(|line| !line.trim().is_empty()) {
            // Slurm says some things twice.
            if !lines.iter().any(|before| before == line) {
                lines.push(line.into());
            }
        }
        lines.split_off(lines.len().saturating_sub(LOG_LINES))
    }

    /// Publishes the `.err` of a file that kills its workers.
    pub(super) fn convict(&mut self, job: &Job, why: &str, duration: Duration, origin: Origin) {
        let worker: Option<WorkerName> = origin.worker.parse().ok();
        let log = worker.map(|name| self.last_words(name.seat).join("\n")).unwrap_or_default();
        let court = &self.court;
        let stem = court.pairing.stem(&job.name).unwrap_or_default();
        let failure = Failure {
            cause: Cause::Crash,
            exception_type: "WorkerLost".into(),
            message: format!(
                "it ended its worker twice, the last time running alone in job {} on {}: the job {why}",
                origin.job, origin.node
            ),
            traceback: String::new(),
            stderr: log,
        };
        let attempt = job.attempts_before + job.interruptions + 1;
        let error = ErrorFile {
            file: court.input_dir.join(&job.name).to_string_lossy().into_owned(),
            timestamp: Timestamp::now(),
            outcome: Some(AttemptOutcome::Failed),
            exception_type: failure.exception_type.clone(),
            message: failure.message.clone(),
            traceback: String::new(),
            attempts: attempt,
            duration_seconds: duration.as_secs_f64(),
            stderr: failure.stderr.clone(),
            task: court.identity.clone(),
        };
        let publish = || -> Result<Outcome, String> {
            let place = court.staging.place("coordinator").map_err(|e| e.to_string())?;
            if place.is_published(&court.pairing.output_name(stem)) {
                return Ok(Outcome::Stood);
            }
            let name = court.pairing.error_name(stem);
            // Rare enough to be synced always.
            place
                .publish_error(&name, &error.to_bytes(), Durability::Batch)
                .map_err(|e| e.to_string())?;
            Ok(Outcome::Failed(failure))
        };
        let outcome = match publish() {
            Ok(outcome) => outcome,
            Err(reason) => {
                self.reports.push(Report::HostFailed(reason));
                return self.reports.push(Report::HandedBack(job.id));
            }
        };
        attempt::tell(&job.name, &outcome, Some(&origin));
        let (id, origin) = (job.id, Some(origin));
        self.reports.push(Report::Ended(Ended { id, outcome, attempt, duration, slot: 0, origin }));
    }
}
