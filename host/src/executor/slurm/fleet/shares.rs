//! Which worker gets which files.

use super::Fleet;
use super::worker::{Held, Phase, Worker};
use crate::executor::Job;
use crate::executor::slurm::protocol::{Assignment, Order, Seat, WorkerName};
use std::time::Duration;

/// For how long a worker is given files ahead: longer than it takes until it
/// sees what was written for it, on a network file system too.
pub(super) const LOOKAHEAD: Duration = Duration::from_secs(2);

/// Most files that a worker is given ahead.
pub(super) const MOST_AHEAD: usize = 8_192;

impl Fleet {
    /// Gives files to workers that have room.
    pub(super) fn hand_out(&mut self, now: Duration) {
        let mut allowed = self.pace.as_mut().map_or(usize::MAX, |pace| pace.allowed(now));
        // The hungriest first.
        let mut hungry: Vec<(usize, Seat, usize)> = Vec::new();
        for (seat, worker) in &mut self.workers {
            let room = worker.room(self.settings.concurrency, self.pace.is_some(), now);
            if room > 0 {
                hungry.push((worker.held.len(), *seat, room));
            }
        }
        hungry.sort_unstable();
        let mut takers = hungry.len();
        for (held, seat, room) in hungry {
            let share = self.queue.len().div_ceil(takers);
            takers -= 1;
            let free = self.settings.concurrency.saturating_sub(held);
            let files = room.min(share.max(free)).min(allowed).min(self.queue.len());
            if files == 0 {
                continue;
            }
            let Some(worker) = self.workers.get_mut(&seat) else { continue };
            let Some(restart) = worker.restart else { continue };
            let mut batch = Vec::with_capacity(files);
            // A paced file begins at once: one that runs alone waits for nobody.
            let fits = |job: &mut Job, worker: &Worker| {
                self.pace.is_none() || job.interruptions == 0 || worker.held.is_empty()
            };
            while batch.len() < files {
                let Some(job) = self.queue.pop_front_if(|job| fits(job, worker)) else { break };
                let assignment = Assignment {
                    seq: worker.next,
                    name: (&*job.name).into(),
                    attempts_before: job.attempts_before,
                    retries: job.retries,
                    interruptions: job.interruptions,
                    link: job.link,
                    alone: job.interruptions > 0,
                    contested: self.contested.contains(&job.id),
                };
                worker.next += 1;
                let alone = assignment.alone;
                worker.held.insert(assignment.seq, Held { job, alone, begun: None, void: false });
                batch.push(assignment);
                if alone {
                    // Whoever has one gets no more until it has ended.
                    break;
                }
            }
            if batch.is_empty() {
                continue;
            }
            allowed = allowed.saturating_sub(batch.len());
            if let Some(pace) = &mut self.pace {
                pace.take(batch.len());
            }
            self.tell(WorkerName { seat, restart }, Order::Take(batch));
        }
    }

    /// Where a worker has nothing to do, and another more than it works on, that
    /// one gives some back.
    pub(super) fn even_out(&mut self) {
        if !self.queue.is_empty() || self.waiting > 0 {
            return;
        }
        let concurrency = self.settings.concurrency;
        let free: usize = self
            .workers
            .values()
            .filter(|w| w.phase == Phase::Ready)
            .map(|w| concurrency.saturating_sub(w.held.len()))
            .sum();
        let most = self
            .workers
            .iter_mut()
            .filter(|(_, w)| w.phase == Phase::Ready && w.asked_back == 0 && w.restart.is_some())
            .max_by_key(|(_, w)| w.held.len() - w.begun);
        if let Some((&seat, worker)) = most
            && free > 0
        {
            let spare = worker.held.len().saturating_sub(concurrency.max(worker.begun));
            // A fast worker is done with them before they are elsewhere.
            let slow = worker.meter.in_time(LOOKAHEAD / 4) < spare;
            let back = free.min(spare.div_ceil(2));
            if back > 0 && slow {
                worker.asked_back = back;
                let restart = worker.restart.unwrap_or_default();
                self.tell(WorkerName { seat, restart }, Order::HandBack(back));
            }
        }
    }

    /// Tells as many workers to stay as must.
    pub(super) fn keep(&mut self) {
        let mut kept = 0;
        let mut orders = Vec::new();
        for (seat, worker) in &mut self.workers {
            let Some(restart) = worker.restart else { continue };
            if worker.phase == Phase::Leaving {
                continue;
            }
            // One that waits for its first file has done nothing to leave for: its
            // `setup` may take longer than it may be idle.
            let new = worker.phase == Phase::Starting || worker.next == 0 && !self.queue.is_empty();
            let stay = kept < self.settings.limits.min || new;
            kept += 1;
            if std::mem::replace(&mut worker.stay, stay) != stay {
                orders.push((WorkerName { seat: *seat, restart }, Order::Stay(stay)));
            }
        }
        for (name, order) in orders {
            self.tell(name, order);
        }
    }
}
