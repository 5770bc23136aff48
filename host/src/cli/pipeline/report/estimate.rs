//! How fast a pipeline is, and how long it will take.

use jiff::Timestamp;

use super::follow::{Done, Stats};
use crate::workspace::journal::AttemptOutcome;

/// How far back "lately" goes, in seconds, where enough has happened since.
const LATELY: f64 = 60.0;

/// How many files it takes to tell a rate by, where there are so many: slow tasks are looked
/// at for longer than [`LATELY`].
const ENOUGH: usize = 20;

/// The speed of a pipeline, in files a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Speed {
    /// Files finished, over the whole run.
    pub overall: Option<f64>,
    /// Files finished lately.
    pub lately: Option<f64>,
    /// Until all files are settled, in seconds.
    pub seconds_left: Option<f64>,
}

/// A run, seen from outside.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// When it began.
    pub began: Timestamp,
    /// Now, or when it ended.
    pub until: Timestamp,
    /// Whether it is at work.
    pub is_running: bool,
    /// Files that it has finished.
    pub finished: usize,
    /// Files that are neither finished nor failed nor aborted.
    pub left: usize,
}

impl Run {
    /// How fast it is. `tasks`: what each has done, and whether it is a leaf of the tree.
    ///
    /// A file is finished when all leaves have it, so the slowest leaf tells the rate. What
    /// some task failed on, or declined, is settled as well.
    pub fn speed(&self, tasks: &[(&Stats, bool)]) -> Speed {
        let seconds = seconds(self.began, self.until);
        let overall = (seconds > 0.0).then(|| self.finished as f64 / seconds);
        if !self.is_running {
            return Speed { overall, ..Speed::default() };
        }
        let leaves = tasks.iter().filter(|(_, is_leaf)| *is_leaf);
        let rates: Option<Vec<f64>> =
            leaves.map(|(stats, _)| self.recent(stats, |outcome| outcome == WELL)).collect();
        let lately = rates.and_then(|rates| rates.into_iter().reduce(f64::min));
        let lost: f64 = tasks
            .iter()
            .filter_map(|(stats, _)| self.recent(stats, |outcome| outcome != WELL))
            .sum();
        let seconds_left = match lately {
            _ if self.left == 0 => Some(0.0),
            Some(rate) if rate > 0.0 => Some(self.left as f64 / (rate + lost)),
            _ => None,
        };
        Speed { overall, lately, seconds_left }
    }

    fn recent(&self, stats: &Stats, wanted: fn(AttemptOutcome) -> bool) -> Option<f64> {
        let known = |done: &&Done| !done.late && done.finished >= self.began;
        // Before the oldest that is kept, others may have ended.
        let since = match stats.latest.front().filter(known) {
            Some(oldest) if stats.is_cut() => oldest.finished,
            _ => self.began,
        };
        let ends = stats.latest.iter().filter(known).filter(|done| wanted(done.outcome));
        recent(ends.map(|done| done.finished).collect(), since, self.until)
    }
}

const WELL: AttemptOutcome = AttemptOutcome::Succeeded;

/// How many a second there were lately; none if there were none. `ends`: those after `since`.
fn recent(mut ends: Vec<Timestamp>, since: Timestamp, until: Timestamp) -> Option<f64> {
    // Machines of a cluster report in any order.
    ends.sort();
    let in_window = ends.iter().filter(|end| seconds(**end, until) < LATELY).count();
    let taken = in_window.max(ENOUGH).min(ends.len());
    let before = ends.len().checked_sub(taken + 1).map_or(since, |i| ends[i]);
    let mut span = seconds(before, until);
    if taken == in_window && taken >= ENOUGH {
        span = span.min(LATELY);
    }
    // Clocks differ: what ended in the future tells no rate.
    (taken > 0 && span > 0.0).then(|| taken as f64 / span)
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn stats(ends: impl Iterator<Item = (i64, AttemptOutcome)>) -> Stats {
        let mut stats = Stats::default();
        for (second, outcome) in ends {
            let (file, finished) = ("f".into(), at(second));
            stats.add(Done { file, finished, duration_ms: 1.0, outcome, late: false });
        }
        stats
    }

    #[test]
    fn a_steady_rate_is_told() {
        let ends = |n: i64| (1..=n).map(at).collect::<Vec<_>>();
        let close = |rate: Option<f64>, wanted: f64| {
            let rate = rate.unwrap();
            assert!((rate - wanted).abs() < wanted * 0.05, "{rate} for {wanted}");
        };
        close(recent(ends(300), at(0), at(300)), 1.0);
        close(recent(ends(30), at(0), at(30)), 1.0);
        close(recent(ends(3), at(0), at(3)), 1.0);
        // One in five minutes.
        let slow = (1..=40).map(|i| at(i * 300)).collect();
        close(recent(slow, at(0), at(12_000)), 1.0 / 300.0);
        // Quiet since long: it decays.
        assert!(recent(ends(300), at(0), at(4_000)).unwrap() < 0.01);
        // After a pause, what counts is how fast it is now.
        let pause = (0..10).map(at).chain((3_600..3_630).map(at)).collect();
        close(recent(pause, at(0), at(3_630)), 0.5);
        assert_eq!(recent(Vec::new(), at(0), at(9)), None);
        assert_eq!(recent(vec![at(9)], at(9), at(5)), None);
    }

    #[test]
    fn the_slowest_leaf_tells_when_it_will_be_over() {
        let root = stats((1..=100).map(|s| (s, WELL)));
        let fast = stats((1..=100).map(|s| (s, WELL)));
        let slow = stats((1..=50).map(|s| (s * 2, WELL)));
        let run = Run { began: at(0), until: at(100), is_running: true, finished: 50, left: 100 };
        let speed = run.speed(&[(&root, false), (&fast, true), (&slow, true)]);
        assert_eq!(speed.overall, Some(0.5));
        let left = speed.seconds_left.unwrap();
        assert!((190.0..210.0).contains(&left), "{left}");

        // Files that fail are settled too.
        let failing = stats((1..=100).map(|s| (s, AttemptOutcome::Failed)));
        let left = run.speed(&[(&failing, false), (&slow, true)]).seconds_left.unwrap();
        assert!((63.0..70.0).contains(&left), "{left}");
    }

    #[test]
    fn nothing_is_said_of_what_nobody_knows() {
        let run = Run { began: at(0), until: at(60), is_running: true, finished: 0, left: 10 };
        let (well, none) = (stats((1..=50).map(|s| (s, WELL))), Stats::default());
        let speed = run.speed(&[(&well, false), (&none, true)]);
        assert_eq!((speed.lately, speed.seconds_left), (None, None));
        assert_eq!(Run { left: 0, ..run }.speed(&[(&none, true)]).seconds_left, Some(0.0));
        let ended = Run { is_running: false, ..run }.speed(&[(&well, true)]);
        assert_eq!((ended.lately, ended.seconds_left), (None, None));
        // What earlier runs did is no sign of this one's speed.
        let later = Run { began: at(55), until: at(60), ..run };
        assert_eq!(later.speed(&[(&well, true)]).lately, None);
    }
}
