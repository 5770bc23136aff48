//! Waiting, in an [`AsyncTask`](crate::AsyncTask): other calls go on meanwhile.
//!
//! ```
//! use std::time::Duration;
//! use tigerflow_task::prelude::*;
//! use tigerflow_task::time;
//!
//! async fn patiently() -> Result<()> {
//!     time::sleep(Duration::from_millis(5)).await;
//!     time::timeout(Duration::from_secs(1), async { /* … */ }).await
//! }
//! # tigerflow_task::testing::block_on(patiently()).unwrap();
//! ```

use std::future::poll_fn;
use std::panic::Location;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::{Error, Result};

/// Waits this long, by the monotonic clock.
pub async fn sleep(duration: Duration) {
    sys::sleep(duration).await;
}

/// Waits for `future`, but no longer than `limit`; then drops it, which cancels
/// the request or the wait that it was at.
///
/// # Errors
/// After `limit`: of the kind `Timeout`, and worth another try.
#[track_caller]
pub fn timeout<F: Future>(limit: Duration, future: F) -> impl Future<Output = Result<F::Output>> {
    let caller = Location::caller();
    async move {
        within(limit, future).await.ok_or_else(|| {
            Error::transient(format_args!("nothing came within {limit:?}"))
                .with_kind("Timeout")
                .at(caller)
        })
    }
}

/// What comes of `future` within `limit`.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut end = pin!(sleep(limit));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => end.as_mut().poll(context).map(|()| None),
    })
    .await
}

#[cfg(target_family = "wasm")]
mod sys {
    use std::time::Duration;

    pub async fn sleep(duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        wasip3::clocks::monotonic_clock::wait_for(nanoseconds).await;
    }
}

/// Outside of a component, for tests: a thread that sleeps.
#[cfg(not(target_family = "wasm"))]
mod sys {
    use std::future::poll_fn;
    use std::task::Poll;
    use std::thread;
    use std::time::{Duration, Instant};

    pub async fn sleep(duration: Duration) {
        let end = Instant::now() + duration;
        poll_fn(|context| {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Poll::Ready(());
            }
            let waker = context.waker().clone();
            thread::spawn(move || {
                thread::sleep(left);
                waker.wake();
            });
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;
    use std::time::Instant;

    #[test]
    fn sleeps_as_long_as_it_is_told() {
        let begun = Instant::now();
        block_on(sleep(Duration::from_millis(20)));
        assert!(begun.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn a_timeout_ends_what_takes_too_long_and_only_that() {
        let quick = block_on(timeout(Duration::from_secs(60), async { 1 }));
        assert_eq!(quick.unwrap(), 1);
        let slow = timeout(Duration::from_millis(5), sleep(Duration::from_secs(60)));
        let error = block_on(slow).unwrap_err();
        assert_eq!(error.kind(), "Timeout");
        assert!(error.is_transient());
        assert_eq!(error.message(), "nothing came within 5ms");
        assert!(error.trace().contains("src/time.rs:"), "{}", error.trace());
    }
}
