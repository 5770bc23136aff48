//! How fast files go: measured for each worker, and bounded for all.

use std::time::Duration;

use crate::executor::gate::Rate;

/// How long a worker's speed is looked back on.
const SPAN: Duration = Duration::from_secs(2);

/// No speed is taken of a shorter time.
const LEAST: Duration = Duration::from_millis(50);

/// How late after its hand-out an attempt may begin.
const LATE: Duration = Duration::from_secs(1);

/// How fast a worker is: files in this span of time and the one before.
#[derive(Debug, Default)]
pub struct Meter {
    since: Duration,
    now: u32,
    /// Files per second in the span before.
    before: f64,
    last: f64,
}

impl Meter {
    /// A file has ended, which took so long.
    pub fn count(&mut self, took: Duration, now: Duration) {
        if self.now == 0 && self.before == 0.0 {
            self.since = now.saturating_sub(took.max(LEAST));
        }
        self.now += 1;
    }

    /// How many files it may end in this time.
    pub fn expect(&mut self, time: Duration, now: Duration) -> usize {
        let elapsed = now.saturating_sub(self.since).max(LEAST);
        let rate = f64::from(self.now) / elapsed.as_secs_f64();
        // A slow one may end none in a whole span, and is not idle for that.
        self.last = rate.max(self.before / 2.0);
        if elapsed >= SPAN {
            (self.since, self.now, self.before) = (now, 0, self.last);
        }
        self.in_time(time)
    }

    /// The same, as of the last time.
    pub fn in_time(&self, time: Duration) -> usize {
        (self.last * time.as_secs_f64()).ceil() as usize
    }
}

/// Lets no more attempts begin than a rate allows, over all workers.
///
/// An attempt begins a little after it was handed out. So that no window of time
/// sees too many, the rate is taken over a window that is longer by as much.
#[derive(Debug)]
pub struct Pace {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Duration,
}

impl Pace {
    /// A pace for this rate.
    pub fn new(rate: Rate) -> Self {
        let attempts = f64::from(rate.attempts.get());
        let per_second = attempts / (rate.window + LATE).as_secs_f64();
        // What may begin together: what goes by between two looks.
        let burst = (per_second / 10.0).max(1.0);
        // A window sees a burst and what comes in its time, less what makes no whole
        // attempt.
        let per_second = per_second * ((attempts + 0.99 - burst) / attempts).min(1.0);
        Pace { per_second, burst, tokens: 1.0, at: Duration::ZERO }
    }

    /// How many may begin now.
    pub fn allowed(&mut self, now: Duration) -> usize {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        self.tokens as usize
    }

    /// So many begin.
    pub fn take(&mut self, attempts: usize) {
        self.tokens -= attempts as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_fast_worker_is_known_after_a_moment() {
        let mut meter = Meter::default();
        for _ in 0..100 {
            meter.count(MS, Duration::from_secs(5));
        }
        assert_eq!(meter.expect(SPAN, Duration::from_secs(5)), 4_000);
    }

    #[test]
    fn a_slow_worker_is_not_idle() {
        let mut meter = Meter::default();
        for second in (0..60).step_by(10) {
            meter.count(Duration::from_secs(9), Duration::from_secs(second));
            for part in 0..100 {
                meter.expect(SPAN, Duration::from_secs(second) + 100 * part * MS);
            }
        }
        assert_eq!(meter.in_time(SPAN), 1);
    }

    proptest! {
        #[test]
        fn no_window_sees_too_many(
            attempts in 1u32..5_000, window in 1u64..100, steps in proptest::collection::vec((0u64..3_000, 0u64..1_000), 1..400),
        ) {
            let window = Duration::from_secs(window);
            let mut pace = Pace::new(Rate { attempts: NonZeroU32::new(attempts).unwrap(), window });
            let mut now = Duration::ZERO;
            let mut begun: Vec<(Duration, usize)> = Vec::new();
            for (pause, late) in steps {
                now += MS * pause as u32;
                let n = pace.allowed(now);
                pace.take(n);
                begun.push((now + MS * late as u32, n));
            }
            for (from, _) in &begun {
                let within = begun.iter().filter(|(at, _)| at >= from && *at < *from + window);
                let total: usize = within.map(|(_, n)| n).sum();
                prop_assert!(total <= attempts as usize, "{total} of {attempts}");
            }
        }
    }
}
