//! Bodies of answers: one piece, or a script of pieces, pauses and a break.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use crate::log::Follower;

/// Of a request's body, no more than this is held.
const REQUEST_HELD: usize = 8 << 20;

/// What a scripted body does next.
pub enum Step {
    /// Sends this.
    Send(Bytes),
    /// Pauses.
    Wait(Duration),
    /// Breaks off: over HTTP/1 the connection is closed, over HTTP/2 the stream.
    Break,
}

/// The body of an answer.
pub struct Body {
    steps: Steps,
    length: Option<u64>,
    sent: u64,
    sleep: Option<Pin<Box<Sleep>>>,
    follower: Option<Follower>,
}

enum Steps {
    Once(Bytes),
    Script(Box<dyn Iterator<Item = Step> + Send>),
    Over,
}

/// The server broke off on purpose.
#[derive(Debug)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("broken off on purpose")
    }
}

impl Error for Broken {}

impl Body {
    /// In one piece.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let length = Some(bytes.len() as u64);
        let steps = if bytes.is_empty() { Steps::Over } else { Steps::Once(bytes) };
        Body { steps, length, sent: 0, sleep: None, follower: None }
    }

    /// As the script goes, of unknown length.
    pub fn script(steps: impl IntoIterator<Item = Step, IntoIter: Send + 'static>) -> Self {
        let steps = Steps::Script(Box::new(steps.into_iter()));
        Body { steps, length: None, sent: 0, sleep: None, follower: None }
    }

    /// Announces this length, whatever the script will do.
    pub fn announcing(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }

    /// The length that is announced.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Tells the log how it went.
    pub fn followed(mut self, mut follower: Follower) -> Self {
        if self.length == Some(0) {
            follower.completed();
        } else {
            self.follower = Some(follower);
        }
        self
    }

    fn complete(&mut self) {
        self.steps = Steps::Over;
        if let Some(follower) = &mut self.follower {
            follower.completed();
        }
        self.follower = None;
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(context));
                self.sleep = None;
            }
            let step = match &mut self.steps {
                Steps::Once(bytes) => {
                    let bytes = mem::take(bytes);
                    self.complete();
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Steps::Script(steps) => steps.next(),
                Steps::Over => None,
            };
            match step {
                Some(Step::Send(bytes)) => {
                    self.sent += bytes.len() as u64;
                    // At the announced length nobody asks for more.
                    if self.length == Some(self.sent) {
                        self.complete();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Step::Wait(time)) => self.sleep = Some(Box::pin(tokio::time::sleep(time))),
                Some(Step::Break) => {
                    self.steps = Steps::Over;
                    self.follower = None;
                    return Poll::Ready(Some(Err(Broken)));
                }
                None => {
                    self.complete();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.steps, Steps::Over)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}

/// Reads a request's body to its end. Gives its first 8 MiB, and its length.
pub async fn read(mut body: Incoming) -> Result<(Bytes, usize), hyper::Error> {
    let mut first = Bytes::new();
    let mut more = Vec::new();
    let mut length = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len();
        if first.is_empty() {
            // Most come in one piece, which is not copied.
            first = data;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&first);
            }
            let room = REQUEST_HELD.saturating_sub(more.len());
            more.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok((if more.is_empty() { first } else { more.into() }, length))
}
