//! How many workers there should be: a pure function of the backlog, of the
//! workers that there are, and of limits.
//!
//! Time and the workers' states come in as values; [`Decision`]s go out.

use std::collections::VecDeque;
use std::time::Duration;

/// Most calls of `sbatch` in any [`WINDOW`]. Slurm's controller serves a whole
/// site; an array makes many workers of one call.
pub const CALLS: usize = 10;

/// See [`CALLS`].
pub const WINDOW: Duration = Duration::from_secs(60);

/// How long there must be more pending workers than needed before they are
/// cancelled: a backlog that comes back finds its place in the queue kept.
pub const SURPLUS: Duration = Duration::from_secs(20);

/// What the user allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Workers that are kept even where there is nothing to do.
    pub min: usize,
    /// Most workers at a time, those that wait in Slurm's queue included.
    pub max: usize,
    /// How many files justify one worker more.
    pub files_per_worker: usize,
}

/// What there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Files to do: waiting, or with a worker that stays.
    pub backlog: usize,
    /// Workers that wait in Slurm's queue, or are being submitted.
    pub pending: usize,
    /// Workers that run and take files.
    pub running: usize,
    /// Workers that run and take no more files.
    pub leaving: usize,
    /// Whether nothing may be submitted now: after trouble, or because the
    /// answer to an earlier submission is not there yet.
    pub held_back: bool,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Ask Slurm for so many more.
    Submit(usize),
    /// Cancel so many of those that wait in its queue.
    CancelPending(usize),
    /// Nothing.
    Stay(Why),
}

/// Why there are not more workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There are as many as the backlog asks for.
    Enough,
    /// There are as many as --max-workers allows.
    AtMost,
    /// Trouble, or an answer that is not there yet.
    HeldBack,
    /// Slurm was asked often enough in the last minute.
    AskedOften,
}

/// Decides, and remembers when it asked for what.
#[derive(Clone, Debug)]
pub struct Autoscaler {
    limits: Limits,
    /// When `sbatch` was called, within the last [`WINDOW`].
    calls: VecDeque<Duration>,
    surplus_since: Option<Duration>,
}

impl Autoscaler {
    /// One that has asked for nothing yet.
    pub fn new(limits: Limits) -> Self {
        Autoscaler { limits, calls: VecDeque::new(), surplus_since: None }
    }

    /// How many workers this backlog asks for.
    pub fn target(&self, backlog: usize) -> usize {
        let Limits { min, max, files_per_worker } = self.limits;
        backlog.div_ceil(files_per_worker.max(1)).clamp(min.min(max), max)
    }

    /// What to do now. A `Submit` counts as a call.
    pub fn decide(&mut self, view: View, now: Duration) -> Decision {
        while self.calls.front().is_some_and(|&call| call + WINDOW <= now) {
            self.calls.pop_front();
        }
        let target = self.target(view.backlog);
        let wanted = view.pending + view.running;
        if wanted <= target {
            self.surplus_since = None;
        }
        // Those that leave hold their place until they are gone.
        let room = self.limits.max.saturating_sub(wanted + view.leaving);
        if wanted < target {
            let more = (target - wanted).min(room);
            return if view.held_back {
                Decision::Stay(Why::HeldBack)
            } else if more == 0 {
                Decision::Stay(Why::AtMost)
            } else if self.calls.len() >= CALLS {
                Decision::Stay(Why::AskedOften)
            } else {
                self.calls.push_back(now);
                Decision::Submit(more)
            };
        }
        let surplus = (wanted - target).min(view.pending);
        if surplus > 0 {
            let since = *self.surplus_since.get_or_insert(now);
            if now.saturating_sub(since) >= SURPLUS {
                self.surplus_since = None;
                return Decision::CancelPending(surplus);
            }
        }
        let at_most = wanted == self.limits.max && self.target(usize::MAX) == target;
        Decision::Stay(if at_most && view.backlog > 0 { Why::AtMost } else { Why::Enough })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);

    fn autoscaler(min: usize, max: usize, files_per_worker: usize) -> Autoscaler {
        Autoscaler::new(Limits { min, max, files_per_worker })
    }

    #[test]
    fn the_first_worker_is_asked_for_at_once() {
        let view = View { backlog: 1, ..View::default() };
        assert_eq!(autoscaler(0, 3, 4).decide(view, Duration::ZERO), Decision::Submit(1));
    }

    #[test]
    fn those_that_leave_hold_their_place() {
        let view = View { backlog: 100, running: 2, leaving: 1, ..View::default() };
        assert_eq!(autoscaler(0, 3, 1).decide(view, S), Decision::Stay(Why::AtMost));
        let view = View { leaving: 0, ..view };
        assert_eq!(autoscaler(0, 3, 1).decide(view, S), Decision::Submit(1));
    }

    #[test]
    fn pending_workers_are_cancelled_after_a_while_only() {
        let mut a = autoscaler(0, 10, 1);
        let view = View { backlog: 2, pending: 4, running: 1, ..View::default() };
        assert_eq!(a.decide(view, S), Decision::Stay(Why::Enough));
        assert_eq!(a.decide(view, SURPLUS), Decision::Stay(Why::Enough));
        // The backlog came back in between.
        assert_eq!(
            a.decide(View { backlog: 9, held_back: true, ..view }, SURPLUS),
            Decision::Stay(Why::HeldBack)
        );
        assert_eq!(a.decide(view, SURPLUS + S), Decision::Stay(Why::Enough));
        assert_eq!(a.decide(view, SURPLUS * 2 + S), Decision::CancelPending(3));
    }

    /// A cluster that starts and ends workers at random, and does what it is
    /// told.
    #[derive(Clone, Debug)]
    struct Step {
        seconds: u64,
        backlog: usize,
        start: usize,
        leave: usize,
        end: usize,
        held_back: bool,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = (0u64..40, 0usize..500, 0usize..8, 0usize..3, 0usize..3, any::<bool>());
        let step = step.prop_map(|(seconds, backlog, start, leave, end, held_back)| Step {
            seconds,
            backlog,
            start,
            leave,
            end,
            held_back,
        });
        proptest::collection::vec(step, 1..120)
    }

    proptest! {
        #[test]
        fn it_keeps_its_limits(
            min in 0usize..4, max in 1usize..40, files_per_worker in 1usize..20, steps in steps(),
        ) {
            let mut a = autoscaler(min, max, files_per_worker);
            let mut view = View::default();
            let mut now = Duration::ZERO;
            let mut calls: Vec<Duration> = Vec::new();
            for step in steps {
                now += S * step.seconds as u32;
                let started = step.start.min(view.pending);
                view.pending -= started;
                view.running += started;
                let leaving = step.leave.min(view.running);
                view.running -= leaving;
                view.leaving += leaving;
                view.leaving -= step.end.min(view.leaving);
                view.backlog = step.backlog;
                view.held_back = step.held_back;
                match a.decide(view, now) {
                    Decision::Submit(more) => {
                        prop_assert!(more > 0 && !view.held_back);
                        prop_assert!(view.backlog > 0 || min > 0, "there is nothing to do");
                        view.pending += more;
                        // Never more than needed, never more than allowed.
                        prop_assert!(view.pending + view.running <= a.target(view.backlog));
                        calls.push(now);
                        let recent = calls.iter().filter(|&&c| c + WINDOW > now).count();
                        prop_assert!(recent <= CALLS);
                    }
                    Decision::CancelPending(less) => {
                        prop_assert!(less <= view.pending);
                        view.pending -= less;
                        prop_assert!(view.pending + view.running >= a.target(view.backlog));
                        // It does not want them back at once.
                        let next = a.decide(view, now);
                        prop_assert!(matches!(next, Decision::Stay(_)), "{next:?}");
                    }
                    Decision::Stay(_) => {}
                }
                prop_assert!(view.pending + view.running + view.leaving <= max);
            }
        }

        #[test]
        fn a_steady_backlog_is_served_and_left_alone(
            max in 1usize..40, files_per_worker in 1usize..20, backlog in 0usize..500,
        ) {
            let mut a = autoscaler(0, max, files_per_worker);
            let mut view = View { backlog, ..View::default() };
            let mut changes = 0;
            for second in 0..200 {
                match a.decide(view, S * second) {
                    Decision::Submit(n) => { view.pending += n; changes += 1; }
                    Decision::CancelPending(n) => { view.pending -= n; changes += 1; }
                    Decision::Stay(_) => {}
                }
                if second % 7 == 0 {
                    view.running += view.pending;
                    view.pending = 0;
                }
            }
            prop_assert_eq!(view.running, a.target(backlog));
            prop_assert!(changes <= 1, "it flaps");
        }
    }
}
