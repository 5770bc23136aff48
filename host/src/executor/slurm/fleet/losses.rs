//! The ends of workers: what they mean for the files that they held, for their
//! nodes and for the run.

use super::jobs::QUIET;
use super::worker::{Ghost, Phase, Worker};
use super::{Action, Fleet, Level};
use crate::engine::SetupError;
use crate::executor;
use crate::executor::Report;
use crate::executor::slurm::job::State;
use crate::executor::slurm::protocol::{Order, Seat, WorkerName};
use crate::outcome::Outcome;
use crate::text::count;
use std::collections::HashMap;
use std::time::Duration;

/// How long a worker's last words may be on their way when Slurm says that its
/// job is over.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(5);

/// The same for a worker that has said nothing yet: a short one, since it mostly
/// died before it could.
const FIRST_WORDS: Duration = Duration::from_secs(1);

/// How long a job may be unknown to Slurm, and its worker silent, before it is
/// given up. Right after its submission a job may be unknown for moments.
pub(super) const UNKNOWN: Duration = Duration::from_secs(60);

/// How long a worker may be silent while Slurm says that it runs. It says
/// something every few seconds; a file server that hangs may hold that up.
pub(super) const SILENCE: Duration = Duration::from_secs(10 * 60);

/// How long a worker that was given up is listened to.
pub(super) const GHOST: Duration = Duration::from_secs(15 * 60);

/// How many workers in a row may fail to start, or in `setup`, before the run
/// gives up. More than one, as a node may be at fault.
pub(super) const START_TRIES: u32 = 3;

/// How many workers in a row may fail on a node before it is excluded.
pub(super) const NODE_TRIES: u32 = 2;

/// The first pause after trouble, which doubles each time.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause after trouble.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(300);

impl Fleet {
    pub(super) fn setup_failed(&mut self, name: WorkerName, error: SetupError, now: Duration) {
        let Some(worker) = self.workers.get_mut(&name.seat) else { return };
        worker.phase = Phase::Leaving;
        let shown = worker.shown(name.seat);
        let node = worker.hello.node.clone();
        self.count_start_failure(&node);
        self.blame_node(&node);
        self.pause(now, &format!("`setup` failed on {node}"));
        if self.start_failures >= START_TRIES {
            return self.report(Report::SetupFailed(error));
        }
        let message = match &error {
            SetupError::Task(f) => format!("{}: {}", f.exception_type, f.message),
            SetupError::Host(reason) => reason.clone(),
        };
        let again = format!("{shown}: Task setup failed: {message}; another worker will try");
        self.note(Level::Warning, again);
    }

    pub(super) fn host_failed(&mut self, name: WorkerName, reason: &str, now: Duration) {
        let Some(worker) = self.workers.get_mut(&name.seat) else { return };
        worker.phase = Phase::Leaving;
        let shown = worker.shown(name.seat);
        let node = worker.hello.node.clone();
        self.count_start_failure(&node);
        self.blame_node(&node);
        self.pause(now, &format!("a worker failed on {node}"));
        let reason = format!("{shown}: {reason}");
        if self.start_failures >= START_TRIES {
            return self.report(Report::HostFailed(reason));
        }
        self.note(Level::Error, reason);
    }

    /// Gives up the workers that are gone.
    pub(super) fn check(&mut self, now: Duration) {
        self.ghosts.retain(|_, ghost| now.saturating_sub(ghost.since) < GHOST);

        let mut lost = Vec::new();
        self.quiet = false;
        for (seat, worker) in &self.workers {
            let silent = now.saturating_sub(worker.heard);
            self.quiet |= worker.restart.is_some() && silent > QUIET;
            let unknown =
                worker.unknown_since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
            if let Some((since, state)) = &worker.over {
                let patience = match worker.restart {
                    // It may have begun and ended between two looks.
                    None if !worker.vacated => FIRST_WORDS,
                    // It went by itself, and its good-bye may be on its way.
                    Some(_) if *state == State::Completed => LAST_WORDS,
                    Some(_) if !worker.held.is_empty() => LAST_WORDS,
                    _ => Duration::ZERO,
                };
                if now.saturating_sub(*since) >= patience {
                    lost.push((*seat, Loss::of(state, worker.cancelled)));
                }
            } else if unknown >= UNKNOWN && silent >= UNKNOWN {
                // An element of an array that is cancelled before it runs leaves no
                // trace.
                let (why, blames_files) = match worker.restart {
                    Some(_) => ("is unknown to Slurm, and says nothing", true),
                    None => ("is unknown to Slurm: it was cancelled, say", false),
                };
                lost.push((*seat, Loss::new(why, blames_files, false)));
            } else if worker.restart.is_some() && silent >= SILENCE && !self.unreachable {
                self.actions.extend(worker.job.map(|job| Action::Cancel(vec![job])));
                let why = format!("said nothing for {}", humantime::format_duration(SILENCE));
                lost.push((*seat, Loss::new(&why, false, true)));
            }
        }
        for (seat, loss) in lost {
            self.lose(seat, loss, now);
        }
    }

    /// A worker is gone, or believed to be: its files go elsewhere.
    pub(super) fn lose(&mut self, seat: Seat, loss: Loss, now: Duration) {
        let Some(mut worker) = self.workers.remove(&seat) else { return };
        if worker.vacated {
            return self.gone(None, seat, loss.why, false, false);
        }
        let name = worker.restart.map(|restart| WorkerName { seat, restart });
        let shown = worker.shown(seat);
        let node = worker.hello.node.clone();
        let origin = name.map(|name| worker.origin(name)).unwrap_or_default();
        let why = format!("{shown} {}", loss.why);
        let mut ghost = HashMap::new();
        let (mut again, mut unbegun) = (0, 0);
        // What is handed back last is handed out first.
        while let Some((seq, held)) = worker.held.pop_last() {
            if held.void {
                continue;
            }
            let id = held.job.id;
            ghost.insert(seq, id);
            self.contested.insert(id);
            let Some(since) = held.begun else {
                unbegun += 1;
                self.report(Report::HandedBack(id));
                continue;
            };
            let duration = now.saturating_sub(since);
            if held.alone && loss.blames_files {
                self.contested.remove(&id);
                let (job, why, origin) = (held.job, loss.why.clone(), origin.clone());
                self.actions.push(Action::Convict { job, why, duration, origin });
                continue;
            }
            again += 1;
            let explained = !loss.blames_files;
            self.report(Report::Ended(executor::Ended {
                id,
                outcome: Outcome::Interrupted { why: why.clone(), explained },
                attempt: held.job.attempts_before + 1,
                duration,
                slot: 0,
                origin: Some(origin.clone()),
            }));
        }
        if let Some(name) = name
            && !ghost.is_empty()
        {
            self.ghosts.insert(name, Ghost { files: ghost, since: now });
            // It may live on where Slurm sees it no more.
            self.tell(name, Order::Dismissed);
        }
        let files = match (again, unbegun) {
            (0, 0) => String::new(),
            (n, 0) => format!("; {} in flight will run again", count(n, "file")),
            (n, m) => {
                format!(
                    "; {} in flight will run again, {m} not begun go elsewhere",
                    count(n, "file")
                )
            }
        };
        let died_early = worker.restart.is_none() || worker.phase == Phase::Starting;
        let unasked = !loss.requeued && !worker.cancelled && self.drained.is_none();
        if !worker.cancelled {
            let level = if loss.requeued { Level::Warning } else { Level::Error };
            self.note(level, format!("{why}{files}"));
        }
        let tell_log = unasked && (loss.blames_files || died_early);
        self.gone(name, seat, loss.why.clone(), loss.requeued, tell_log);
        if loss.requeued {
            let mut next = Worker::new(worker.job, Phase::Pending, now);
            next.start = worker.start;
            next.state = worker.state;
            self.workers.insert(seat, next);
            return;
        }
        if !unasked {
            return;
        }
        if worker.done == 0 {
            self.pause(now, &why);
        }
        if died_early && loss.blames_files {
            self.count_start_failure(&node);
            if self.start_failures >= START_TRIES {
                let failures = self.start_failures;
                self.report(Report::SetupFailed(SetupError::Host(format!(
                    "{failures} workers in a row ended before they could take a file; the last one: \
                     {why} (do the compute nodes see the output directory and tigerflow-host itself? \
                     does `setup` need more than --memory?)"
                ))));
            }
        }
        if loss.blames_node {
            self.blame_node(&node);
        }
    }

    pub(super) fn gone(
        &mut self,
        worker: Option<WorkerName>,
        seat: Seat,
        how: String,
        requeued: bool,
        tell_log: bool,
    ) {
        self.actions.push(Action::Gone { worker, seat, how, requeued, tell_log });
    }

    /// A worker did not come to take files. What fails on a node that is left out
    /// says nothing of others.
    fn count_start_failure(&mut self, node: &str) {
        if !self.excluded.iter().any(|excluded| excluded == node) {
            self.start_failures += 1;
        }
    }

    fn blame_node(&mut self, node: &str) {
        if node.is_empty() || self.no_other_nodes {
            return;
        }
        let failures = self.nodes.entry(node.into()).or_default();
        *failures += 1;
        if *failures == NODE_TRIES && !self.excluded.iter().any(|n| n == node) {
            self.excluded.push(node.into());
            let text = format!(
                "Node {node} is excluded from now on: {NODE_TRIES} workers in a row failed there"
            );
            self.note(Level::Warning, text);
        }
    }

    pub(super) fn pause(&mut self, now: Duration, why: &str) {
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.troubles.min(20));
        self.troubles += 1;
        self.not_before = self.not_before.max(now + pause.min(LONGEST_PAUSE));
        self.trouble = why.into();
    }
}

/// How a worker was lost.
pub(super) struct Loss {
    pub(super) why: String,
    pub(super) blames_files: bool,
    pub(super) blames_node: bool,
    pub(super) requeued: bool,
}

impl Loss {
    pub(super) fn new(why: &str, blames_files: bool, blames_node: bool) -> Self {
        Loss { why: why.into(), blames_files, blames_node, requeued: false }
    }

    pub(super) fn requeued() -> Self {
        Loss { requeued: true, ..Loss::new("was requeued by Slurm", false, false) }
    }

    pub(super) fn of(state: &State, cancelled: bool) -> Self {
        let why = match cancelled {
            true => "was cancelled".into(),
            false => format!("ended as {state}: {}", state.meaning()),
        };
        let blames = !cancelled;
        Loss::new(&why, blames && state.blames_files(), blames && state.blames_node())
    }
}
