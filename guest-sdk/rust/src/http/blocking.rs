//! The client of plain tasks: as in [`http`](crate::http), and every call
//! waits.
//!
//! ```
//! use tigerflow_task::http::blocking as http;
//! use tigerflow_task::prelude::*;
//!
//! fn title(id: &str) -> Result<String> {
//!     http::get("https://api.example.org/titles")
//!         .query("id", id)
//!         .send()?
//!         .error_for_status()?
//!         .text()
//! }
//! ```
//!
//! Other instances go on meanwhile. In an [`AsyncTask`](crate::AsyncTask) these
//! calls would stall every other call of the instance.

use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use super::exchange::{Exchange, Head, Parts};
#[cfg(not(target_family = "wasm"))]
use super::native::blocking as sys;
#[cfg(target_family = "wasm")]
use super::wasi2 as sys;
use super::{Headers, builder, status};
use crate::Result;

/// A request of a [`Task`](crate::Task): [`get`], [`post`] and their like make
/// it, [`send`](Request::send) sends it.
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
    /// Sends it, and waits until the answer begins.
    ///
    /// # Errors
    /// Where no answer begins: see [Errors](crate::http#errors).
    #[track_caller]
    pub fn send(self) -> Result<Response> {
        let mut exchange = self.parts.begin(Location::caller())?;
        loop {
            let answer = sys::exchange(&exchange.outgoing, exchange.deadline);
            let (head, body) = answer.map_err(|fault| exchange.error(fault))?;
            if !exchange.follow(&head)? {
                return Ok(Response { exchange, head, body, read: 0 });
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
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        self.piece(false, self.exchange.deadline)
    }

    /// The whole body.
    ///
    /// # Errors
    /// As for [`chunk`](Response::chunk).
    pub fn bytes(mut self) -> Result<Vec<u8>> {
        self.all()
    }

    /// The whole body as text. What of it is not UTF-8 is replaced by `�`.
    ///
    /// # Errors
    /// As for [`chunk`](Response::chunk).
    pub fn text(mut self) -> Result<String> {
        Ok(super::text(self.all()?))
    }

    /// The value that a body of JSON holds.
    ///
    /// # Errors
    /// As for [`chunk`](Response::chunk), and where the body is no such JSON.
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(mut self) -> Result<T> {
        let body = self.all()?;
        self.exchange.parse(&body)
    }

    /// Makes an error of the kind `HttpStatus` of a status of 400 or more, with
    /// the begin of the body; see [Errors](crate::http#errors).
    ///
    /// # Errors
    /// See above.
    pub fn error_for_status(mut self) -> Result<Self> {
        if self.head.status < 400 {
            return Ok(self);
        }
        let end = Instant::now() + status::EXCERPT_TIME;
        let end = self.exchange.deadline.map_or(end, |deadline| deadline.min(end));
        let mut begin = Vec::new();
        while begin.len() < status::EXCERPT_BYTES {
            // What the body does not say, the status says.
            match self.piece(false, Some(end)) {
                Ok(Some(piece)) => begin.extend_from_slice(&piece),
                _ => break,
            }
        }
        Err(self.exchange.status_error(&self.head, &begin))
    }

    fn all(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece(true, self.exchange.deadline)? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// The body's next piece; `whole`: all of it goes into memory.
    fn piece(&mut self, whole: bool, deadline: Option<Instant>) -> Result<Option<Vec<u8>>> {
        let piece = self.body.chunk(deadline).map_err(|fault| self.exchange.error(fault))?;
        self.read += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        self.exchange.check_length(self.read, whole)?;
        Ok(piece)
    }
}
