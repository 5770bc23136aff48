//! Bodies on their way through: limits on time and size, and what errors mean.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;
use wasmtime_wasi_http::{Error, WasiBody};

use super::Network;
use super::trouble::{Code, Trouble};
use crate::text::size;

/// How long to look once more after a limit on time has passed: what was waited
/// for may have come while a guest kept this thread busy.
pub(super) const SECOND_LOOK: Duration = Duration::from_millis(50);

/// How a request's body gets on, for the limit on the time without progress.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Mutex<Step>>);

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The guest is to write more of the body.
    AtGuest,
    /// The last part went out then.
    Sent(Instant),
}

impl Progress {
    pub(super) fn new() -> Self {
        Progress(Arc::new(Mutex::new(Step::Sent(Instant::now()))))
    }

    fn set(&self, step: Step) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = step;
    }

    /// The connection is there: the time counts from now.
    pub(super) fn begin(&self) {
        let mut step = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Step::Sent(since) = &mut *step {
            *since = Instant::now();
        }
    }

    /// How long the other side has not moved; nothing, while it waits for the
    /// guest.
    pub(super) fn stalled(&self) -> Duration {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Step::AtGuest => Duration::ZERO,
            Step::Sent(since) => since.elapsed(),
        }
    }
}

/// The body of a request.
pub(super) struct RequestBody {
    pub(super) inner: WasiBody,
    pub(super) progress: Progress,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let poll = Pin::new(&mut self.inner).poll_frame(cx);
        self.progress.set(match poll {
            Poll::Pending => Step::AtGuest,
            Poll::Ready(_) => Step::Sent(Instant::now()),
        });
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a response.
pub(super) struct ResponseBody {
    /// Dropped after an error, which ends the exchange.
    inner: Option<Incoming>,
    received: u64,
    limit: u64,
    patience: Duration,
    waiting: Option<Waiting>,
    network: Arc<Network>,
    origin: String,
}

/// The guest waits for the next part.
struct Waiting {
    timer: Pin<Box<Sleep>>,
    second_look: bool,
}

impl ResponseBody {
    /// `patience`: most time between two parts. `origin`: for messages.
    pub(super) fn new(
        inner: Incoming,
        network: Arc<Network>,
        patience: Duration,
        origin: String,
    ) -> Self {
        let limit = network.limits.response_limit;
        ResponseBody {
            inner: Some(inner),
            received: 0,
            limit,
            patience,
            waiting: None,
            network,
            origin,
        }
    }

    fn fail(&mut self, trouble: Trouble) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.inner = None;
        Poll::Ready(Some(Err(trouble.report(&self.network, &self.origin))))
    }

    fn too_large(&mut self) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let limit = size(self.limit);
        let message = format!("the response has more than {limit} (raise --response-limit)");
        self.fail(Trouble::new(Code::TooLarge(self.limit), message))
    }

    /// Whether the guest has waited for too long. Time counts while it waits
    /// only: a guest that is slow to read is not the host's fault.
    fn expired(&mut self, cx: &mut Context<'_>) -> bool {
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            timer: Box::pin(tokio::time::sleep(patience)),
            second_look: false,
        });
        while waiting.timer.as_mut().poll(cx).is_ready() {
            if waiting.second_look {
                return true;
            }
            waiting.second_look = true;
            waiting.timer.as_mut().reset(tokio::time::Instant::now() + SECOND_LOOK);
        }
        false
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        // Known before the first byte came.
        if this.received == 0 && inner.size_hint().lower() > this.limit {
            return this.too_large();
        }
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting = None;
                let length = frame.data_ref().map_or(0, Bytes::len);
                this.received += length as u64;
                if this.received > this.limit {
                    return this.too_large();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => this.fail(Trouble::exchange(&error, true)),
            Poll::Ready(None) => {
                this.inner = None;
                Poll::Ready(None)
            }
            Poll::Pending if this.expired(cx) => {
                let limit = humantime::format_duration(this.patience);
                let message = format!("nothing came for {limit} in the middle of the response");
                this.fail(Trouble::new(Code::ReadTimeout, message))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}
