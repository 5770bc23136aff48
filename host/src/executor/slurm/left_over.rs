//! What a run that died has left in Slurm: ends it for good.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::client::{Client, QueryError};
use super::job::JobId;
use super::ledger::{Books, Entry, Ledger};
use super::protocol::RunDir;
use super::{SOON, SlurmError, comment, failed, take_over, tidy};

/// How long to look for a job whose submission was not answered.
const LOOK_FOR: Duration = Duration::from_secs(5);

/// How long cancelled jobs may take to end. Slurm kills what does not end by itself
/// after half a minute, where nobody chose otherwise.
const END_WITHIN: Duration = Duration::from_secs(120);

/// Why it is still there.
#[derive(Debug, thiserror::Error)]
pub enum ClearError {
    /// A file is out of reach.
    #[error(transparent)]
    File(#[from] SlurmError),
    /// Slurm does not do it.
    #[error(transparent)]
    Slurm(#[from] QueryError),
    /// They do not end.
    #[error("{} of the cancelled jobs, {} first, have not ended yet", .0.len(), .0[0])]
    Lasting(Vec<JobId>),
}

/// Whether a run that did not end in good order has, or may have, jobs. `root` is
/// where runs keep what is for their workers.
pub fn is_there(root: &Path) -> bool {
    matches!(latest(root), Ok(Some((_, books))) if !books.closed && !books.seats.is_empty())
}

fn latest(root: &Path) -> std::io::Result<Option<(PathBuf, Books)>> {
    let Some(run) = take_over::runs(root)?.pop() else { return Ok(None) };
    let books = Books::read(&RunDir::new(run.clone()).ledger())?;
    Ok(Some((run, books)))
}

/// Cancels its jobs, waits for their end and closes its books, so that no other run
/// goes on with them. Returns the jobs that were cancelled. Call it with the
/// workspace's lock held.
pub async fn clear(root: &Path) -> Result<Vec<JobId>, ClearError> {
    let Some((run, _)) = latest(root).map_err(failed("read", root))? else {
        return Ok(Vec::new());
    };
    let dir = RunDir::new(run);
    let client = Client::new();
    let jobs = cancel(&dir, &client).await?;
    wait_for_end(&client, &jobs).await?;
    close(&dir)?;
    Ok(jobs)
}

/// Closes the books of a run. What stays are its logs.
pub(super) fn close(dir: &RunDir) -> Result<(), SlurmError> {
    let path = dir.ledger();
    let mut ledger = Ledger::open(&path).map_err(failed("open", &path))?;
    ledger.push(&Entry::Closed);
    ledger.flush().and_then(|()| ledger.sync()).map_err(failed("write", &path))?;
    tidy(dir);
    Ok(())
}

/// Cancels all jobs of a run, and those of a submission that was not answered.
pub(super) async fn cancel(dir: &RunDir, client: &Client) -> Result<Vec<JobId>, ClearError> {
    let path = dir.ledger();
    let books = Books::read(&path).map_err(failed("read", &path))?;
    let mut ledger = Ledger::open(&path).map_err(failed("open", &path))?;
    let mut jobs: Vec<JobId> = books.seats.values().flatten().copied().collect();
    let lost = books.seats.iter().filter(|(_, job)| job.is_none()).map(|(seat, _)| seat.submission);
    let mut lost: BTreeSet<u32> = lost.collect();
    let begun = Instant::now();
    while !lost.is_empty() {
        let queue = client.queue_of_user().await?;
        lost.retain(|&submission| {
            let comment = comment(dir, submission);
            let found = queue.iter().find(|status| status.comment.trim() == comment);
            if let Some(status) = found {
                jobs.push(JobId { base: status.id.base, index: None });
                ledger.push(&Entry::Submitted { submission, job: status.id.base });
            }
            found.is_none()
        });
        // It may be on its way still. One that comes later finds no plan, and leaves.
        if begun.elapsed() > LOOK_FOR {
            break;
        }
        if !lost.is_empty() {
            tokio::time::sleep(LOOK_FOR / 10).await;
        }
    }
    ledger.flush().and_then(|()| ledger.sync()).map_err(failed("write", &path))?;
    client.cancel(&jobs).await?;
    Ok(jobs)
}

async fn wait_for_end(client: &Client, jobs: &[JobId]) -> Result<(), ClearError> {
    let bases: BTreeSet<u64> = jobs.iter().map(|job| job.base).collect();
    let bases: Vec<u64> = bases.into_iter().collect();
    let begun = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        let queue = client.queue(&bases).await?;
        let open = queue.iter().filter(|status| !status.state.is_over());
        let open: Vec<JobId> = open.map(|status| status.id).collect();
        if open.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > END_WITHIN {
            return Err(ClearError::Lasting(open));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(SOON);
    }
}
