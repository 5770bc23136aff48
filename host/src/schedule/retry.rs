//! Whether an attempt that failed is made again, and when.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::outcome::Cause;

/// Longest wait that a task may ask for. A server that says "next year" would
/// hold a run for ever.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How much longer than asked a wait may be, as a part of it: so that attempts
/// which failed together do not come again together.
const JITTER: f64 = 0.25;

/// When to try again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// How many times more an attempt is made for a file.
    pub retries: u32,
    /// The first wait.
    pub delay: Duration,
    /// By how much each further wait is longer than the one before.
    pub backoff: f64,
    /// The longest wait, unless the task asks for a longer one.
    pub max_delay: Duration,
    /// What is worth another try.
    pub on: RetryOn,
}

/// Which ends of an attempt are worth another try. What the task calls failed
/// never is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryOn {
    /// The task says so.
    pub transient: bool,
    /// The time limit was over.
    pub timeout: bool,
    /// The guest broke.
    pub crash: bool,
}

impl RetryPolicy {
    /// How long to wait before the next attempt, if there is one. `retries`:
    /// how many were made. `luck`: from 0 to 1, chosen at random.
    pub fn next(&self, cause: Cause, retries: u32, luck: f64) -> Option<Duration> {
        let asked = match cause {
            Cause::Transient { retry_after } if self.on.transient => retry_after,
            Cause::Timeout if self.on.timeout => None,
            Cause::Crash if self.on.crash => None,
            _ => return None,
        };
        if retries >= self.retries {
            return None;
        }
        let longest = self.max_delay.as_secs_f64();
        let factor = self.backoff.powi(i32::try_from(retries).unwrap_or(i32::MAX));
        let own = (self.delay.as_secs_f64() * factor).min(longest);
        let asked = asked.map(|asked| asked.min(LONGEST_RETRY_AFTER).as_secs_f64());
        // What a server asks for is the least that it wants.
        let wait = asked.unwrap_or(own) * (1.0 + JITTER * luck.clamp(0.0, 1.0));
        Some(Duration::try_from_secs_f64(wait).unwrap_or(LONGEST_RETRY_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);
    const TRANSIENT: Cause = Cause::Transient { retry_after: None };

    fn policy() -> RetryPolicy {
        RetryPolicy {
            retries: 3,
            delay: S,
            backoff: 2.0,
            max_delay: 3 * S,
            on: RetryOn { transient: true, ..RetryOn::default() },
        }
    }

    #[test]
    fn waits_grow_up_to_their_limit_and_end() {
        let policy = policy();
        let waits: Vec<_> = (0..5).map(|n| policy.next(TRANSIENT, n, 0.0)).collect();
        assert_eq!(waits, [Some(S), Some(2 * S), Some(3 * S), None, None]);
    }

    #[test]
    fn only_what_was_chosen_is_tried_again() {
        let mut policy = policy();
        for cause in [Cause::Failed, Cause::Crash, Cause::Timeout] {
            assert_eq!(policy.next(cause, 0, 0.5), None);
        }
        policy.on = RetryOn { transient: false, timeout: true, crash: true };
        assert_eq!(policy.next(TRANSIENT, 0, 0.5), None);
        assert!(policy.next(Cause::Crash, 0, 0.5).is_some());
        assert!(policy.next(Cause::Timeout, 0, 0.5).is_some());
        assert_eq!(policy.next(Cause::Failed, 0, 0.5), None);
    }

    proptest! {
        #[test]
        fn what_a_task_asks_for_is_obeyed(
            asked in any::<u64>(), retries in any::<u32>(), luck in 0.0..1.0,
            delay in any::<u32>(), backoff in 0.0..1e9, max_delay in any::<u32>(),
        ) {
            let policy = RetryPolicy {
                retries: u32::MAX,
                delay: Duration::from_millis(delay.into()),
                backoff,
                max_delay: Duration::from_millis(max_delay.into()),
                ..policy()
            };
            let asked = Duration::from_millis(asked);
            let cause = Cause::Transient { retry_after: Some(asked) };
            let wait = policy.next(cause, retries.min(u32::MAX - 1), luck).unwrap();
            prop_assert!(wait >= asked.min(LONGEST_RETRY_AFTER));
            let longest = asked.min(LONGEST_RETRY_AFTER);
            prop_assert!(wait <= longest.mul_f64(1.0 + JITTER) + Duration::from_millis(1));
        }
    }
}
