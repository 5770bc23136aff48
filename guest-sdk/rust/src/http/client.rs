//! The client of asynchronous tasks.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::exchange::{Exchange, Head, Parts};
use super::fault::Fault;
#[cfg(not(target_family = "wasm"))]
use super::native::asynchronous as sys;
#[cfg(target_family = "wasm")]
use super::wasi3 as sys;
use super::{Headers, builder, status};
use crate::{Result, time};

/// A request of an [`AsyncTask`](crate::AsyncTask): [`get`], [`post`] and their
/// like make it, [`send`](Request::send) sends it.
#[must_use = "a request does nothing until `send`"]
pub struct Request {
    parts: Parts,
}

/// What a server answered to a [`Request`].
pub struct Response {
    exchange: Exchange,
    head: Head,
    body: sys::Body,
    read: u64,
}

builder!();

impl Request {
    /// Sends it, and waits until the answer begins. Dropping the future ends
    /// the request.
    ///
    /// # Errors
    /// Where no answer begins: see [Errors](crate::http#errors).
    #[track_caller]
    pub fn send(self) -> impl Future<Output = Result<Response>> {
        let caller = Location::caller();
        async move {
            let mut exchange = self.parts.begin(caller)?;
            loop {
                let answer = within(&exchange, sys::exchange(&exchange.outgoing)).await;
                let (head, body) = answer.map_err(|fault| exchange.error(fault))?;
                if !exchange.follow(&head)? {
                    return Ok(Response { exchange, head, body, read: 0 });
                }
            }
        }
    }
}

impl Response {
    /// The body's next piece, as it comes, or `None` at its end.
    ///
    /// # Errors
    /// Where the body ends too early, takes too long, or is longer than
    /// `max_bytes`.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        self.piece(false).await
    }

    /// The whole body.
    ///
    /// # Errors
    /// As for [`chunk`](Response::chunk).
    pub async fn bytes(mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece(true).await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// The whole body as text. What of it is not UTF-8 is replaced by `�`.
    ///
    /// # Errors
    /// As for [`chunk`](Response::chunk).
    pub async fn text(self) -> Result<String> {
        Ok(super::text(self.bytes().await?))
    }

    /// The value that a body of JSON holds.
    ///
    /// # Errors
    /// As for [`chunk`](Response::chunk), and where the body is no such JSON.
    #[cfg(feature = "json")]
    pub async fn json<T: serde::de::DeserializeOwned>(mut self) -> Result<T> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece(true).await? {
            bytes.extend_from_slice(&piece);
        }
        self.exchange.parse(&bytes)
    }

    /// Makes an error of the kind `HttpStatus` of a status of 400 or more, with
    /// the begin of the body; see [Errors](crate::http#errors).
    ///
    /// # Errors
    /// See above.
    pub async fn error_for_status(mut self) -> Result<Self> {
        if self.head.status < 400 {
            return Ok(self);
        }
        let mut begin = Vec::new();
        let read = async {
            while begin.len() < status::EXCERPT_BYTES {
                match self.piece(false).await {
                    Ok(Some(piece)) => begin.extend_from_slice(&piece),
                    _ => break,
                }
            }
        };
        // What the body does not say, the status says.
        let _ = time::within(status::EXCERPT_TIME, read).await;
        Err(self.exchange.status_error(&self.head, &begin))
    }

    /// The body's next piece; `whole`: all of it goes into memory.
    async fn piece(&mut self, whole: bool) -> Result<Option<Vec<u8>>> {
        let piece = within(&self.exchange, self.body.chunk()).await;
        let piece = piece.map_err(|fault| self.exchange.error(fault))?;
        self.read += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        self.exchange.check_length(self.read, whole)?;
        Ok(piece)
    }
}

/// Waits no longer than the whole exchange may take.
async fn within<T>(
    exchange: &Exchange,
    future: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match exchange.time_left()? {
        Some(left) => time::within(left, future).await.unwrap_or_else(|| Err(Fault::too_late())),
        None => future.await,
    }
}
