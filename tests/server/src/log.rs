//! What the server saw: every request with its answer, and a few counts.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{HOST, HeaderMap, RETRY_AFTER};

use crate::wire::Link;

/// As much of a request's body is kept.
const BODY_KEPT: usize = 64 << 10;

/// One request, and what became of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// When its head had been read.
    pub arrived: Instant,
    /// Which connection it came on: the first one is 1.
    pub connection: usize,
    /// Whether it came over TLS.
    pub secure: bool,
    /// Whether it came through the proxy.
    pub proxied: bool,
    /// `GET`, `POST`, …
    pub method: String,
    /// The host that was asked for, with its port if that was said.
    pub host: String,
    /// The path, without the query.
    pub path: String,
    /// The query, without its question mark; may be empty.
    pub query: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// All headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The length of the body, once it was read to its end.
    pub body_bytes: usize,
    /// The first 64 KiB of the body.
    pub body: Bytes,
    /// The texts to be embedded; empty for all other requests.
    pub texts: Vec<String>,
    /// What was answered.
    pub answer: Answer,
    /// The answer's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// When its answer was handed over in full, or was given up.
    pub ended: Option<Instant>,
}

impl Request {
    /// A header by its name in lower case; the first, if it is there twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing so far; for good, if the request has ended.
    Nothing,
    /// This status, and so far not all of the body.
    Partial(u16),
    /// This status, and all of the body.
    Full(u16),
    /// The connection was reset before any answer.
    Reset,
    /// Bytes that are not HTTP.
    Garbage,
}

/// One attempt to have a text embedded.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// When it arrived.
    pub arrived: Instant,
    /// What was answered.
    pub answer: Answer,
    /// The answer's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// When its answer was handed over in full, or was given up.
    pub ended: Option<Instant>,
}

impl Attempt {
    /// What this request is for each of its texts.
    pub(crate) fn of(request: &Request) -> Self {
        let Request { arrived, answer, retry_after, ended, .. } = *request;
        Attempt { arrived, answer, retry_after, ended }
    }
}

/// One use of the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyUse {
    /// `host:port` of a tunnel, or the whole URL of a plain request.
    pub target: String,
    /// The `Proxy-Authorization` header.
    pub authorization: Option<String>,
}

/// Counts that are kept even where the requests are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Requests.
    pub requests: usize,
    /// Answers handed over in full, whatever their status.
    pub answered: usize,
    /// Connections on which a request could come: over TLS, after the handshake.
    pub connections: usize,
    /// The most requests in work at any time.
    pub peak_in_flight: usize,
    /// TLS handshakes that failed.
    pub failed_handshakes: usize,
}

/// The log of one server.
#[derive(Default)]
pub struct Log {
    keep: bool,
    requests: Mutex<Vec<Request>>,
    proxy_uses: Mutex<Vec<ProxyUse>>,
    total: AtomicUsize,
    answered: AtomicUsize,
    connections: AtomicUsize,
    in_flight: AtomicUsize,
    peak: AtomicUsize,
    failed_handshakes: AtomicUsize,
}

impl Log {
    /// An empty one, that keeps requests or counts alone.
    pub fn new(keep: bool) -> Self {
        Log { keep, ..Log::default() }
    }

    /// All requests so far, in the order of their arrival.
    pub fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All uses of the proxy so far.
    pub fn proxy_uses(&self) -> MutexGuard<'_, Vec<ProxyUse>> {
        self.proxy_uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        Counts {
            requests: self.total.load(Relaxed),
            answered: self.answered.load(Relaxed),
            connections: self.connections.load(Relaxed),
            peak_in_flight: self.peak.load(Relaxed),
            failed_handshakes: self.failed_handshakes.load(Relaxed),
        }
    }

    /// Gives a new connection its number.
    pub fn connected(&self) -> usize {
        self.connections.fetch_add(1, Relaxed) + 1
    }

    /// Notes that a TLS handshake failed.
    pub fn handshake_failed(&self) {
        self.failed_handshakes.fetch_add(1, Relaxed);
    }

    /// Notes a use of the proxy.
    pub fn proxied(&self, target: String, authorization: Option<String>) {
        self.proxy_uses().push(ProxyUse { target, authorization });
    }

    /// Notes a request whose head has been read.
    pub fn arrived<B>(self: &Arc<Self>, link: &Link, request: &hyper::Request<B>) -> Follower {
        self.total.fetch_add(1, Relaxed);
        let now = self.in_flight.fetch_add(1, Relaxed) + 1;
        self.peak.fetch_max(now, Relaxed);
        let mut index = None;
        if self.keep {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            let headers = request.headers().iter();
            let mut entry = Request {
                arrived: Instant::now(),
                connection: link.number,
                secure: link.secure,
                proxied: link.proxied,
                method: request.method().to_string(),
                host: match request.uri().authority() {
                    Some(authority) => authority.to_string(),
                    None => text(request.headers().get(HOST).map_or(b"", |v| v.as_bytes())),
                },
                path: request.uri().path().to_owned(),
                query: request.uri().query().unwrap_or_default().to_owned(),
                version: format!("{:?}", request.version()),
                headers: headers.map(|(k, v)| (k.to_string(), text(v.as_bytes()))).collect(),
                body_bytes: 0,
                body: Bytes::new(),
                texts: Vec::new(),
                answer: Answer::Nothing,
                retry_after: None,
                ended: None,
            };
            let mut requests = self.requests();
            // Taken under the lock, so that the log is in the order of arrival.
            entry.arrived = Instant::now();
            index = Some(requests.len());
            requests.push(entry);
        }
        Follower { log: self.clone(), index, ended: false }
    }
}

/// Follows one request to its end, which is its drop at the latest.
pub struct Follower {
    log: Arc<Log>,
    index: Option<usize>,
    ended: bool,
}

impl Follower {
    fn note(&self, change: impl FnOnce(&mut Request)) {
        if let Some(index) = self.index {
            change(&mut self.log.requests()[index]);
        }
    }

    /// The body is there.
    pub fn received(&self, body: &Bytes, length: usize) {
        self.note(|entry| {
            entry.body_bytes = length;
            // A part of its own: it would keep all of a large body otherwise.
            entry.body = match body.len() {
                0..=BODY_KEPT => body.clone(),
                _ => Bytes::copy_from_slice(&body[..BODY_KEPT]),
            };
        });
    }

    /// These texts are to be embedded.
    pub fn texts(&self, texts: impl IntoIterator<Item = impl Into<String>>) {
        self.note(|entry| entry.texts = texts.into_iter().map(Into::into).collect());
    }

    /// This is the head of the answer.
    pub fn answers(&self, status: u16, headers: &HeaderMap) {
        self.note(|entry| {
            let seconds = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
            entry.retry_after = seconds.map(Duration::from_secs);
            if entry.answer == Answer::Nothing {
                entry.answer = Answer::Partial(status);
            }
        });
    }

    /// This is no answer.
    pub fn breaks(&self, answer: Answer) {
        self.note(|entry| entry.answer = answer);
    }

    /// The answer was handed over in full.
    pub fn completed(&mut self) {
        self.log.answered.fetch_add(1, Relaxed);
        self.note(|entry| {
            if let Answer::Partial(status) = entry.answer {
                entry.answer = Answer::Full(status);
            }
        });
        self.end();
    }

    fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            self.log.in_flight.fetch_sub(1, Relaxed);
            self.note(|entry| entry.ended = Some(Instant::now()));
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.end();
    }
}

/// The most of these times, sorted, that lie less than `window` apart.
pub fn most_in_any_window(times: &[Instant], window: Duration) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, time) in times.iter().enumerate() {
        while first <= last && *time - times[first] >= window {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_exact() {
        let begin = Instant::now();
        let at = |ms: &[u64]| -> Vec<Instant> {
            ms.iter().map(|ms| begin + Duration::from_millis(*ms)).collect()
        };
        let second = Duration::from_secs(1);
        assert_eq!(most_in_any_window(&[], second), 0);
        assert_eq!(most_in_any_window(&at(&[0, 999]), second), 2);
        // Half-open: what comes a whole window later is not in it.
        assert_eq!(most_in_any_window(&at(&[0, 1000, 2000]), second), 1);
        // The fullest window begins at none of the whole seconds.
        assert_eq!(most_in_any_window(&at(&[0, 900, 950, 1000, 1890, 1901]), second), 4);
        assert_eq!(most_in_any_window(&at(&[5, 5, 5]), Duration::ZERO), 0);
    }
}
