//! What Slurm is asked for, and what it answers.

use super::losses::{LAST_WORDS, Loss, UNKNOWN};
use super::worker::{Phase, Worker};
use super::{Action, Fleet, Level, Trouble};
use crate::executor::Report;
use crate::executor::slurm::autoscale::{Decision, View, Why};
use crate::executor::slurm::job::{JobId, JobStatus};
use crate::executor::slurm::protocol::Seat;
use crate::text::count;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// How many submissions in a row Slurm may refuse.
pub(super) const REFUSALS: u32 = 3;

/// A worker that said nothing for so long may be dead: Slurm is asked. It says
/// something every 5 seconds.
pub(super) const QUIET: Duration = Duration::from_secs(12);

/// How many jobs are remembered that were made.
pub(super) const JOBS_KEPT: usize = 1_000;

/// Most workers of one submission.
pub(super) const ARRAY: usize = 500;

impl Fleet {
    /// Jobs to ask Slurm about.
    pub fn jobs(&self) -> Vec<u64> {
        let mut jobs: Vec<u64> = self.workers.values().filter_map(|w| Some(w.job?.base)).collect();
        jobs.dedup();
        jobs
    }

    /// Slurm has taken a submission, or not.
    pub fn submitted(&mut self, submission: u32, result: Result<u64, Trouble>, now: Duration) {
        let Some((current, workers)) = self.submitting.take() else { return };
        debug_assert_eq!(current, submission);
        let seats = (0..workers as u32).map(|index| Seat { submission, index });
        match result {
            Ok(base) => {
                self.refusals = 0;
                self.note_job(base);
                self.reachable();
                for seat in seats {
                    let index = (workers > 1).then_some(seat.index);
                    let job = JobId { base, index };
                    // It may have introduced itself, and even left, before.
                    if let Some(worker) = self.workers.get_mut(&seat) {
                        worker.job = Some(job);
                        if worker.phase == Phase::Asked {
                            worker.phase = Phase::Pending;
                        }
                    }
                }
                let what = count(workers, "worker");
                self.note(Level::Info, format!("Submitted {what} with Slurm job ID {base}"));
                if self.drained.is_some() {
                    self.cancel(|w| w.phase == Phase::Pending);
                    // The wait for it was given up.
                    if !self.workers.keys().any(|seat| seat.submission == submission) {
                        self.actions.push(Action::Cancel(vec![JobId { base, index: None }]));
                    }
                }
            }
            // Slurm may have taken it all the same: that is found out first.
            Err(Trouble::Unreachable(message)) => {
                self.not_reached(&message);
                self.pause(now, &message);
                for seat in seats {
                    if let Some(worker) = self.workers.get_mut(&seat) {
                        worker.heard = now;
                    }
                }
            }
            Err(trouble) => {
                for seat in seats {
                    self.workers.remove(&seat);
                    self.gone(None, seat, "was not submitted".into(), false, false);
                }
                self.in_trouble(trouble, workers, now);
            }
        }
        self.tell_status();
    }

    pub(super) fn in_trouble(&mut self, trouble: Trouble, workers: usize, now: Duration) {
        match trouble {
            Trouble::Unreachable(message) => self.not_reached(&message),
            Trouble::Busy(message) => {
                // An array is taken as a whole or not at all.
                self.array = (self.array.min(workers) / 2).max(1);
                self.pause(now, &message);
                self.note(Level::Warning, format!("Slurm takes no more workers now: {message}"));
            }
            Trouble::Refused(message) if !self.excluded.is_empty() => {
                self.excluded.clear();
                self.no_other_nodes = true;
                let text = format!("No node is excluded any more, Slurm has no others: {message}");
                self.note(Level::Warning, text);
            }
            Trouble::Refused(message) => {
                self.refusals += 1;
                self.pause(now, &message);
                let text = format!("Slurm refused a worker: {message}");
                if self.refusals >= REFUSALS && self.workers.is_empty() {
                    return self.report(Report::HostFailed(text));
                }
                self.note(Level::Warning, text);
            }
        }
    }

    pub(super) fn not_reached(&mut self, message: &str) {
        if !std::mem::replace(&mut self.unreachable, true) {
            let text = format!("Slurm does not answer, waiting for it: {message}");
            self.note(Level::Warning, text);
        }
    }

    pub(super) fn reachable(&mut self) {
        if std::mem::replace(&mut self.unreachable, false) {
            self.note(Level::Info, "Slurm answers again".into());
        }
    }

    pub(super) fn note_job(&mut self, base: u64) {
        self.made.push_back(base);
        if self.made.len() > JOBS_KEPT {
            self.made.pop_front();
        }
    }

    /// Jobs that were made, the latest ones: what Slurm may still be busy with.
    pub fn made(&self) -> Vec<u64> {
        self.made.iter().copied().collect()
    }

    /// Slurm has no arrays here: the submission is made again, a worker at a
    /// time.
    pub fn submit_singly(&mut self) {
        self.array = 1;
        let Some((submission, workers)) = self.submitting.take() else { return };
        for index in 0..workers as u32 {
            let seat = Seat { submission, index };
            self.workers.remove(&seat);
            self.gone(None, seat, "was not submitted".into(), false, false);
        }
    }

    /// Submissions of a coordinator that died of which nobody knows whether Slurm
    /// took them.
    pub fn lost_submissions(&self) -> Vec<u32> {
        let current = self.submitting.map(|(submission, _)| submission);
        let asked = self.workers.iter().filter(|(_, w)| w.phase == Phase::Asked);
        let mut lost: Vec<u32> = asked.map(|(seat, _)| seat.submission).collect();
        lost.dedup();
        lost.retain(|submission| Some(*submission) != current);
        lost
    }

    /// Whether something is expected of Slurm: the start of a job or its end.
    pub fn awaits_slurm(&self, now: Duration) -> bool {
        self.drained.is_some()
            || self.workers.values().any(|w| {
                let age = now.saturating_sub(w.heard);
                match w.restart {
                    None => age < UNKNOWN,
                    Some(_) => age > QUIET && age < UNKNOWN,
                }
            })
    }

    /// Slurm could not be asked.
    pub fn queue_failed(&mut self, message: &str, now: Duration) {
        self.not_reached(message);
        // Nobody knows what became of jobs meanwhile, so no time counts.
        for worker in self.workers.values_mut() {
            worker.unknown_since = worker.unknown_since.map(|_| now);
        }
    }

    /// Slurm's queue, all that it knows of [`jobs`](Self::jobs). `asked`: when the
    /// question was put.
    pub fn queue(&mut self, queue: &[JobStatus], asked: Duration, now: Duration) {
        self.reachable();
        let states: HashMap<JobId, &JobStatus> = queue.iter().map(|s| (s.id, s)).collect();
        let seats: Vec<(Seat, JobId)> =
            self.workers.iter().filter_map(|(seat, w)| Some((*seat, w.job?))).collect();
        for (seat, job) in seats {
            // A single job's number has no index, and one element's may.
            let status = states.get(&job).copied();
            self.job_status(seat, status, asked, now);
        }
        self.tell_status();
    }

    /// The job of a submission whose answer was lost is found, or was never
    /// made.
    pub fn found(&mut self, submission: u32, base: Option<u64>, now: Duration) {
        let current = self.submitting.map(|(submission, _)| submission);
        if Some(submission) == current {
            return;
        }
        let of = |seat: &Seat| seat.submission == submission;
        let workers = self.workers.keys().filter(|seat| of(seat)).count();
        for (seat, worker) in self.workers.iter_mut().filter(|(seat, _)| of(seat)) {
            if let Some(base) = base
                && worker.job.is_none()
            {
                worker.job = Some(JobId { base, index: (workers > 1).then_some(seat.index) });
                worker.phase = Phase::Pending;
            }
        }
        let never: Vec<Seat> = self
            .workers
            .iter()
            .filter(|(seat, w)| {
                of(seat) && w.phase == Phase::Asked && now.saturating_sub(w.heard) > LAST_WORDS
            })
            .map(|(seat, _)| *seat)
            .collect();
        for seat in never {
            self.workers.remove(&seat);
            self.gone(None, seat, "was not submitted".into(), false, false);
        }
        if self.drained.is_some() {
            self.cancel(|w| w.phase == Phase::Pending);
        }
    }

    pub(super) fn job_status(
        &mut self,
        seat: Seat,
        status: Option<&JobStatus>,
        asked: Duration,
        now: Duration,
    ) {
        let Some(worker) = self.workers.get_mut(&seat) else { return };
        let Some(status) = status else {
            worker.unknown_since.get_or_insert(now);
            return;
        };
        worker.unknown_since = None;
        if worker.restart.is_none() && !status.node.is_empty() {
            worker.hello.node.clone_from(&status.node);
        }
        worker.reason.clone_from(&status.reason);
        worker.time_left = status.time_left.map(|left| (now, left));
        // It was asked before this worker said hello: that is news enough.
        let outdated = worker.restart.is_some() && worker.introduced >= asked;
        if outdated && !status.state.is_over() {
            return;
        }
        let state = std::mem::replace(&mut worker.state, status.state.clone());
        let other_start =
            !worker.start.is_empty() && !status.start.is_empty() && worker.start != status.start;
        if status.state.is_over() {
            // Another worker has been there since.
            if other_start && worker.restart.is_some() {
                self.lose(seat, Loss::requeued(), now);
            }
            if let Some(worker) = self.workers.get_mut(&seat) {
                worker.over.get_or_insert((now, status.state.clone()));
            }
            return;
        }
        worker.over = None;
        let runs = status.state.is_running();
        let restarted = runs && other_start;
        if runs {
            worker.start.clone_from(&status.start);
        }
        if worker.restart.is_some()
            && (status.state.is_waiting() || (restarted && state.is_running()))
        {
            self.lose(seat, Loss::requeued(), now);
        }
    }

    pub(super) fn scale(&mut self, now: Duration) {
        let mut view = View::default();
        let mut unbegun = self.queue.len() + self.waiting;
        let (mut begun, mut at_work, mut void) = (0, 0, 0);
        for worker in self.workers.values() {
            match worker.phase {
                Phase::Asked | Phase::Pending => view.pending += 1,
                Phase::Starting | Phase::Ready if worker.over.is_none() => view.running += 1,
                _ => view.leaving += 1,
            }
            if worker.phase != Phase::Leaving {
                begun += worker.begun;
                void += worker.void;
                at_work += usize::from(worker.begun > 0);
                unbegun += worker.held.len() - worker.begun;
            }
        }
        // What is begun stays where it is: one worker more has nothing of it.
        let useful = (at_work + unbegun).min(self.fed());
        let files_per_worker = self.settings.limits.files_per_worker.max(1);
        view.backlog = (begun + unbegun - void).min(useful.saturating_mul(files_per_worker));
        view.held_back = self.submitting.is_some() || now < self.not_before;
        match self.autoscaler.decide(view, now) {
            Decision::Submit(workers) => {
                let workers = workers.min(self.array);
                self.why = Why::Enough;
                self.submissions += 1;
                let submission = self.submissions;
                for index in 0..workers as u32 {
                    let seat = Seat { submission, index };
                    self.workers.insert(seat, Worker::new(None, Phase::Asked, now));
                }
                self.submitting = Some((submission, workers));
                let exclude = self.excluded.clone();
                self.actions.push(Action::Submit { submission, workers, exclude });
            }
            Decision::CancelPending(surplus) => {
                self.why = Why::Enough;
                let mut left = surplus;
                // The last ones first: the others have waited longer.
                let seats: Vec<Seat> = self.workers.keys().rev().copied().collect();
                let mut chosen = HashSet::new();
                for seat in seats {
                    let worker = &self.workers[&seat];
                    if left > 0 && worker.phase == Phase::Pending && !worker.cancelled {
                        chosen.insert(worker.job);
                        left -= 1;
                    }
                }
                self.cancel(|worker| chosen.contains(&worker.job));
            }
            Decision::Stay(why) => self.why = why,
        }
    }

    /// How many workers the rate keeps busy: with those files that so many
    /// attempts a second make at once.
    fn fed(&self) -> usize {
        let Some(rate) = self.settings.rate else { return usize::MAX };
        let attempts = f64::from(rate.attempts.get());
        let at_once = match self.average {
            Some(average) => attempts * average / rate.window.as_secs_f64(),
            None => attempts,
        };
        1 + (at_once / self.settings.concurrency as f64).ceil() as usize
    }

    pub(super) fn cancel(&mut self, mut which: impl FnMut(&Worker) -> bool) {
        let mut jobs = Vec::new();
        let mut never = Vec::new();
        for (seat, worker) in &mut self.workers {
            if let Some(job) = worker.job
                && !worker.cancelled
                && which(worker)
            {
                worker.cancelled = true;
                jobs.push(job);
                // Slurm forgets elements of an array that never ran: nothing
                // more will be heard of it.
                if worker.phase == Phase::Pending {
                    self.cancelled.insert(job);
                    never.push(*seat);
                }
            }
        }
        for seat in never {
            // Should it have begun all the same, it introduces itself and is
            // told to leave.
            self.workers.remove(&seat);
            self.gone(None, seat, "was cancelled before it began".into(), false, false);
        }
        if !jobs.is_empty() {
            self.actions.push(Action::Cancel(jobs));
        }
    }
}
