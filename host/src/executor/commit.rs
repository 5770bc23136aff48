//! Outputs that survive a power loss: one sync for many of them, and only then
//! are they published.

use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use super::local::Outbox;
use super::{Ended, Report, attempt};
use crate::workspace::StagingArea;
use crate::workspace::staging::{Prepared, PublishError};

/// Most files of one sync.
const MOST: usize = 4_096;

/// A file that went well, whose output is to be published.
pub(super) struct Finished {
    pub(super) name: OsString,
    pub(super) ended: Ended,
    pub(super) output: Prepared,
}

/// The thread that publishes. While it syncs, the next files gather.
pub(super) struct Committer {
    pub(super) queue: Sender<Finished>,
    thread: JoinHandle<()>,
}

impl Committer {
    pub(super) fn start(staging: StagingArea, outbox: Arc<Outbox>) -> io::Result<Self> {
        let (queue, finished) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("committer".into())
            .spawn(move || serve(&finished, &staging, &outbox))?;
        Ok(Committer { queue, thread })
    }

    /// Waits for the last of them. Every other sender must be gone.
    pub(super) fn join(self) {
        drop(self.queue);
        let _ = self.thread.join();
    }
}

fn serve(finished: &Receiver<Finished>, staging: &StagingArea, outbox: &Outbox) {
    while let Ok(first) = finished.recv() {
        let mut batch = vec![first];
        batch.extend(finished.try_iter().take(MOST - 1));
        match commit(&batch, staging) {
            Ok(()) => {
                for Finished { name, ended, .. } in batch {
                    attempt::tell(&name, &ended.outcome, None);
                    outbox.push(Report::Ended(ended));
                }
            }
            Err(error) => {
                outbox.push(Report::HostFailed(error.to_string()));
                // Those that are published are found when the run begins again.
                for Finished { ended, .. } in batch {
                    outbox.push(Report::HandedBack(ended.id));
                }
            }
        }
    }
}

fn commit(batch: &[Finished], staging: &StagingArea) -> Result<(), PublishError> {
    // What is in the files, before they have their names.
    staging.sync_all()?;
    for Finished { output, .. } in batch {
        output.publish()?;
    }
    staging.sync_names()
}
