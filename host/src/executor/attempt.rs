//! What surrounds a call of `run`: the names of its files before, and the
//! publishing of what comes of it after.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::local::Shared;
use super::{Ended, Job, Origin};
use crate::engine::{Alias, RunEnd};
use crate::log;
use crate::outcome::{Cause, Failure, Outcome};
use crate::text::{clip, size};
use crate::workspace::error_file::{ABORTED, ErrorFile};
use crate::workspace::names::{guest_name, shown};
use crate::workspace::staging::{Durability, Prepared, PublishError, Staging};

/// A disk with so much room, in bytes, is not full by what a run needs.
const AMPLE_ROOM: u64 = 1 << 30;

/// Longest message of a task that goes on a log line, in bytes.
const LOG_MESSAGE: usize = 500;

/// An attempt that has begun.
pub(super) struct Attempt {
    /// What it works on.
    pub(super) job: Job,
    /// Where the guest writes.
    staging: Staging,
    /// The slot that makes it.
    slot: usize,
    begun: Instant,
}

/// What came of a file that another worker has published meanwhile: there is
/// nothing to attempt.
pub(super) fn stood(job: &Job, shared: &Shared, staging: &Staging, slot: usize) -> Option<Ended> {
    let stem = shared.pairing.stem(&job.name).unwrap_or_default();
    let stands = job.contested && staging.is_published(&shared.pairing.output_name(stem));
    stands.then(|| Ended {
        id: job.id,
        outcome: Outcome::Stood,
        attempt: job.attempts_before + 1,
        duration: Duration::ZERO,
        slot: slot as u32,
        origin: None,
    })
}

/// How an attempt ended.
pub(super) struct Concluded {
    pub(super) ended: Ended,
    /// Its output, where that is still to be synced and published.
    pub(super) output: Option<Prepared>,
}

/// What a guest may have left in its staging place, beside its output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Left {
    /// Nothing: it made its output, and else nothing.
    Nothing,
    /// Anything.
    Anything,
    /// Anything, and it might write to its output still.
    InUse,
}

/// Why an attempt has no outcome: something that goes for every file.
pub(super) struct HostFailure(pub(super) String);

impl Attempt {
    pub(super) fn begin(job: Job, staging: Staging, slot: usize) -> Self {
        tracing::info!(target: log::FILE, "Starting processing: {}", shown(&job.name));
        Attempt { job, staging, slot, begun: Instant::now() }
    }

    /// The input's name within `/input`.
    pub(super) fn input(&self, shared: &Shared) -> String {
        guest_name(self.stem(shared), &shared.pairing.input)
    }

    /// The output's name within its staging place.
    fn staged(&self, shared: &Shared) -> String {
        guest_name(self.stem(shared), &shared.pairing.output)
    }

    /// The output's name within `/output`.
    pub(super) fn output(&self, shared: &Shared) -> String {
        self.staging.guest_name(&self.staged(shared))
    }

    /// The input as the host opens it for the guest, where WASI cannot.
    pub(super) fn alias(&self, shared: &Shared) -> Option<Alias> {
        let name = &self.job.name;
        (self.job.link || name.to_str().is_none()).then(|| Alias {
            guest_name: self.input(shared),
            path: shared.sandbox.input_dir.join(name),
            within: shared.canonical_input.clone(),
            follow_links: shared.follow_links,
        })
    }

    /// Which file lies at the output path, if one does: its device and inode.
    pub(super) fn output_identity(&self, shared: &Shared) -> Option<(u64, u64)> {
        self.staging.identity(&self.staged(shared))
    }

    /// Publishes what came of it, and what the guest left beside goes. `left` may
    /// be less than all.
    pub(super) fn conclude(
        &self,
        shared: &Shared,
        end: RunEnd,
        left: Left,
    ) -> Result<Concluded, HostFailure> {
        let attempt = self.job.attempts_before + 1;
        let mut output = None;
        let outcome = match end {
            RunEnd::Ok => {
                let outcome = self.publish(shared, left == Left::InUse, &mut output);
                outcome.or_else(blame)?
            }
            RunEnd::Failed(_) | RunEnd::Aborted(_) if self.is_gone(shared) => Outcome::Vanished,
            RunEnd::Failed(failure) => {
                match shared.retry.next(failure.cause, self.job.retries, fastrand::f64()) {
                    Some(after) => Outcome::Retrying(failure, after),
                    None => Outcome::Failed(failure),
                }
            }
            RunEnd::Aborted(reason) => Outcome::Aborted(reason),
            RunEnd::DiskFull(written) => self.disk_full(written)?,
        };
        let duration = self.begun.elapsed();
        let outcome = self.publish_error(shared, outcome, attempt, duration)?;
        if left != Left::Nothing || outcome != Outcome::Succeeded {
            self.clear()?;
        }
        // What is to be synced first is told of then.
        if output.is_none() {
            tell(&self.job.name, &outcome, None);
        }
        let slot = self.slot as u32;
        let ended = Ended { id: self.job.id, outcome, attempt, duration, slot, origin: None };
        Ok(Concluded { ended, output })
    }

    /// Ends it without an outcome: it was cut off by no fault of its own.
    /// `explained`: by something that is known.
    pub(super) fn interrupt(&self, why: String, explained: bool) -> Result<Concluded, HostFailure> {
        self.clear()?;
        let outcome = Outcome::Interrupted { why, explained };
        tell(&self.job.name, &outcome, None);
        let ended = Ended {
            id: self.job.id,
            outcome,
            attempt: self.job.attempts_before + 1,
            duration: self.begun.elapsed(),
            slot: self.slot as u32,
            origin: None,
        };
        Ok(Concluded { ended, output: None })
    }

    /// The next attempt must not find what this one left.
    fn clear(&self) -> Result<(), HostFailure> {
        self.staging.clear().map_err(|error| {
            let place = self.staging.guest_path();
            HostFailure(format!("failed to empty `{}`: {error}", place.display()))
        })
    }

    /// Publishes the output, or only prepares it where it has to be synced before.
    fn publish(
        &self,
        shared: &Shared,
        held: bool,
        prepared: &mut Option<Prepared>,
    ) -> Result<Outcome, PublishError> {
        let stem = self.stem(shared);
        let (staged, name) = (self.staged(shared), shared.pairing.output_name(stem));
        // A rival may leave one at any time.
        let outdated = shared.rivals || self.job.has_error();
        let error = outdated.then(|| shared.pairing.error_name(stem));
        let limit = shared.sandbox.output_limit;
        match shared.durability {
            Durability::None => {
                self.staging.publish(&staged, &name, limit, held)?;
                if let Some(error) = error {
                    self.staging.remove_error(&error)?;
                }
            }
            Durability::Batch => {
                *prepared = Some(self.staging.prepare(&staged, name, error, limit, held)?);
            }
        }
        Ok(Outcome::Succeeded)
    }

    /// Whose fault a full disk is: of the task, if it alone has filled a disk
    /// that has ample room, and else of nobody in here.
    fn disk_full(&self, written: u64) -> Result<Outcome, HostFailure> {
        let staging = &self.staging;
        let room = staging.clear().and_then(|()| staging.room()).unwrap_or(0);
        if room >= AMPLE_ROOM && written >= room / 2 {
            let message = format!(
                "it filled the disk: it wrote {} (--output-limit bounds that for each file)",
                size(written)
            );
            return Ok(failed("OutputLimit", message));
        }
        Err(HostFailure(format!(
            "no space is left, in `{}` or in a granted directory, for {}, which had written {}: \
             free some and run the same command again, nothing is lost",
            staging.output_dir().display(),
            shown(&self.job.name),
            size(written)
        )))
    }

    /// Publishes the `.err`, where it is one that ended so. An output that a rival
    /// has published stands, whatever came of this attempt: before, or while the
    /// `.err` came to stand beside it.
    fn publish_error(
        &self,
        shared: &Shared,
        outcome: Outcome,
        attempts: u32,
        duration: Duration,
    ) -> Result<Outcome, HostFailure> {
        if !matches!(outcome, Outcome::Failed(_) | Outcome::Aborted(_)) {
            return Ok(outcome);
        }
        let output = shared.pairing.output_name(self.stem(shared));
        let has_lost = || shared.rivals && self.staging.is_published(&output);
        if has_lost() {
            return Ok(Outcome::Stood);
        }
        let name = shared.pairing.error_name(self.stem(shared));
        let error = self.error_file(shared, &outcome, attempts, duration);
        self.staging.publish_error(&name, &error.to_bytes(), shared.durability)?;
        if has_lost() {
            self.staging.remove_error(&name)?;
            return Ok(Outcome::Stood);
        }
        Ok(outcome)
    }

    fn error_file(
        &self,
        shared: &Shared,
        outcome: &Outcome,
        attempts: u32,
        duration: Duration,
    ) -> ErrorFile {
        let (exception_type, message, traceback, stderr) = match outcome {
            Outcome::Failed(f) => (&*f.exception_type, &*f.message, &*f.traceback, &*f.stderr),
            Outcome::Aborted(reason) => (ABORTED, &**reason, "", ""),
            _ => ("", "", "", ""),
        };
        ErrorFile {
            file: shared.sandbox.input_dir.join(&self.job.name).to_string_lossy().into_owned(),
            timestamp: Timestamp::now(),
            outcome: outcome.in_short(),
            exception_type: exception_type.into(),
            message: message.into(),
            traceback: traceback.into(),
            attempts,
            duration_seconds: duration.as_secs_f64(),
            stderr: stderr.into(),
            task: shared.identity.clone(),
        }
    }

    fn stem<'a>(&'a self, shared: &Shared) -> &'a OsStr {
        shared.pairing.stem(&self.job.name).unwrap_or_default()
    }

    fn is_gone(&self, shared: &Shared) -> bool {
        let path = shared.sandbox.input_dir.join(&self.job.name);
        fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }
}

/// The outcome of a file whose output could not be published, where that is its
/// own fault.
fn blame(error: PublishError) -> Result<Outcome, HostFailure> {
    match error {
        PublishError::NotAFile(_) | PublishError::NoLane => {
            Ok(failed("BadOutput", error.to_string()))
        }
        PublishError::TooLarge(..) => Ok(failed("OutputLimit", error.to_string())),
        PublishError::Io { .. } | PublishError::Sync { .. } => Err(error.into()),
    }
}

impl From<PublishError> for HostFailure {
    fn from(error: PublishError) -> Self {
        HostFailure(error.to_string())
    }
}

/// Tells of an outcome on a log line. `origin`: the worker that it came from.
pub(super) fn tell(name: &OsStr, outcome: &Outcome, origin: Option<&Origin>) {
    let name = match origin {
        Some(Origin { node, job, .. }) if !node.is_empty() => {
            format!("{} on {node}, job {job}", shown(name))
        }
        _ => shown(name),
    };
    match outcome {
        Outcome::Succeeded => {
            tracing::info!(target: log::FILE, "Successfully processed: {name}");
        }
        Outcome::Stood => tracing::info!("Published by another worker: {name}"),
        Outcome::Failed(failure) => {
            tracing::error!("Failed processing: {name} ({})", summary(failure));
        }
        Outcome::Retrying(failure, after) => tracing::warn!(
            "Retrying in {}: {name} ({})",
            humantime::format_duration(Duration::from_millis(after.as_millis() as u64)),
            summary(failure)
        ),
        Outcome::Aborted(reason) => {
            tracing::info!("Aborted processing: {name} ({})", first_line(reason));
        }
        Outcome::Vanished => tracing::info!("Gone before it was processed: {name}"),
        Outcome::Interrupted { why, .. } => {
            tracing::info!("Interrupted, runs again: {name} ({why})");
        }
    }
}

/// A failure that the host saw, rather than the task.
fn failed(exception_type: &str, message: String) -> Outcome {
    Outcome::Failed(Failure {
        cause: Cause::Failed,
        exception_type: exception_type.into(),
        message,
        traceback: String::new(),
        stderr: String::new(),
    })
}

/// A failure as it fits a log line.
fn summary(failure: &Failure) -> String {
    format!("{}: {}", failure.exception_type, first_line(&failure.message))
}

/// A message as it fits a log line; the `.err` has it whole.
fn first_line(message: &str) -> String {
    clip(message.lines().next().unwrap_or_default().into(), LOG_MESSAGE)
}
