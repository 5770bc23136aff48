//! Outputs that survive a power loss: one sync for many of them, and only then
//! are they published.

use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use super::local::{Activity, Outbox};
use super::{Ended, Report, attempt};
use crate::workspace::StagingArea;
use crate::workspace::catalog::FileId;
use crate::workspace::staging::{Prepared, PublishError};

/// Most files of one sync.
const MOST: usize = 4_096;

/// A file that went well, whose output is to be published.
pub(super) struct Finished {
    pub(super) name: OsString,
    pub(super) ended: Ended,
    pub(super) output: Prepared,
    /// Where it is in flight until it is published.
    pub(super) activity: Arc<Activity>,
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
        let ids = batch.iter().map(|finished| finished.ended.id).collect();
        let mut guard = Guard { ids, finished, outbox };
        commit(batch, staging, outbox);
        guard.ids.clear();
    }
}

/// Publishes those that it can, and reports on all.
fn commit(batch: Vec<Finished>, staging: &StagingArea, outbox: &Outbox) {
    // What is in the files, before they have their names.
    if let Err(error) = staging.sync_all() {
        return hand_back(batch, &error, outbox);
    }
    let mut published = Vec::with_capacity(batch.len());
    for mut finished in batch {
        match finished.output.publish() {
            Ok(()) => published.push(finished),
            Err(error) => hand_back(vec![finished], &error, outbox),
        }
    }
    if let Err(error) = staging.sync_names() {
        // They are there, as a run that begins again will see.
        return hand_back(published, &error, outbox);
    }
    for Finished { name, ended, activity, .. } in published {
        activity.end(ended.id);
        attempt::tell(&name, &ended.outcome, None);
        outbox.push(Report::Ended(ended));
    }
}

fn hand_back(batch: Vec<Finished>, error: &PublishError, outbox: &Outbox) {
    outbox.push(Report::HostFailed(error.to_string()));
    for Finished { ended, activity, .. } in batch {
        activity.end(ended.id);
        outbox.push(Report::HandedBack(ended.id));
    }
}

/// Not even a fault of the host has a run wait for ever: it hands back what nobody
/// will report on.
struct Guard<'a> {
    ids: Vec<FileId>,
    finished: &'a Receiver<Finished>,
    outbox: &'a Outbox,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let reason = "an internal fault of tigerflow-host (see above); please report it";
            self.outbox.push(Report::HostFailed(reason.into()));
            let waiting = self.finished.try_iter().map(|finished| finished.ended.id);
            for id in self.ids.drain(..).chain(waiting) {
                self.outbox.push(Report::HandedBack(id));
            }
        }
    }
}
