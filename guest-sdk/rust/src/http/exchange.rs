//! One request from its builder to its answer, over all redirects: what is the
//! same whether the task waits or the instance does.

use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Headers;
use super::fault::{DENIED, Fault};
use super::url::{Url, shown};
use crate::{Error, Result};

/// How many redirects are followed where the task does not say.
const REDIRECTS: u32 = 10;

/// How long a body may be that is read into memory, where the task does not
/// say. The host's `--memory-limit` would end the whole instance instead.
const BODY_BYTES: u64 = 64 << 20;

/// What a request's builder gathers.
pub struct Parts {
    method: String,
    url: Result<Url, (&'static str, String)>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    problem: Option<Error>,
    pub timeout: Option<Duration>,
    pub connect_timeout: Option<Duration>,
    pub read_timeout: Option<Duration>,
    pub redirects: u32,
    pub max_bytes: Option<u64>,
}

impl Parts {
    pub fn new(method: &str, url: &str) -> Self {
        Self {
            method: method.to_ascii_uppercase(),
            url: Url::parse(url).map_err(|problem| (problem, shown(url).to_owned())),
            headers: Vec::new(),
            body: None,
            problem: None,
            timeout: None,
            connect_timeout: None,
            read_timeout: None,
            redirects: REDIRECTS,
            max_bytes: None,
        }
    }

    pub fn query(&mut self, name: &str, value: &str) {
        if let Ok(url) = &mut self.url {
            url.add_query(name, value);
        }
    }

    /// Sets a header, in place of one of that name.
    pub fn header(&mut self, name: &str, value: String) {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_ascii_lowercase(), value));
    }

    /// Sets a header that the task has not set.
    fn default_header(&mut self, name: &str, value: &str) {
        if !self.headers.iter().any(|(other, _)| other == name) {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
    }

    pub fn body(&mut self, body: Vec<u8>, content_type: Option<&str>) {
        self.body = Some(body);
        if let Some(content_type) = content_type {
            self.default_header("content-type", content_type);
        }
    }

    #[cfg(feature = "json")]
    #[track_caller]
    pub fn json(&mut self, value: &impl serde::Serialize) {
        match serde_json::to_vec(value) {
            Ok(body) => self.body(body, Some("application/json")),
            Err(error) => {
                let error = Error::from(error).context("a request's body cannot become JSON");
                self.problem.get_or_insert(error);
            }
        }
    }

    /// Method, host and path.
    pub fn shown(&self) -> String {
        match &self.url {
            Ok(url) => format!("{} {url}", self.method),
            Err((_, shown)) => format!("{} {shown}", self.method),
        }
    }

    /// Makes the first request of it.
    pub fn begin(mut self, caller: &'static Location<'static>) -> Result<Exchange> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        if let Err((problem, shown)) = &self.url {
            return Err(Error::failed(format_args!("cannot ask `{shown}`: {problem}"))
                .with_kind("InvalidUrl")
                .at(caller));
        }
        self.default_header("accept", "*/*");
        // Some servers refuse a request that does not say who asks.
        self.default_header("user-agent", concat!("tigerflow-task/", env!("CARGO_PKG_VERSION")));
        if self.body.is_some() || !matches!(&*self.method, "GET" | "HEAD") {
            // Without it a body goes out in chunks, which not every server takes.
            let length = self.body.as_ref().map_or(0, Vec::len).to_string();
            self.default_header("content-length", &length);
        }
        let url = match self.url {
            Ok(url) => url,
            Err(_) => unreachable!("it was looked at above"),
        };
        Ok(Exchange {
            outgoing: Outgoing {
                method: self.method,
                url,
                headers: self.headers,
                body: self.body.map(Rc::from),
                connect_timeout: self.connect_timeout,
                read_timeout: self.read_timeout,
            },
            deadline: self.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            redirects: self.redirects,
            left: self.redirects,
            max_bytes: self.max_bytes,
            caller,
        })
    }
}

/// One request, as it goes out.
#[derive(Debug)]
#[cfg_attr(not(target_family = "wasm"), allow(dead_code))] // A test has no limits.
pub struct Outgoing {
    pub method: String,
    pub url: Url,
    pub headers: Vec<(String, String)>,
    pub body: Option<Rc<[u8]>>,
    pub connect_timeout: Option<Duration>,
    pub read_timeout: Option<Duration>,
}

/// How an answer begins.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    pub headers: Headers,
}

/// A request and what follows from its answers.
#[derive(Debug)]
pub struct Exchange {
    pub outgoing: Outgoing,
    /// When all of it must be over.
    pub deadline: Option<Instant>,
    redirects: u32,
    left: u32,
    max_bytes: Option<u64>,
    /// Where the task sent the request.
    caller: &'static Location<'static>,
}

impl Exchange {
    /// Whether the answer leads elsewhere; then `outgoing` is the next request.
    ///
    /// # Errors
    /// Where it leads nowhere, or too often.
    pub fn follow(&mut self, head: &Head) -> Result<bool> {
        if self.redirects == 0 || !matches!(head.status, 301 | 302 | 303 | 307 | 308) {
            return Ok(false);
        }
        let Some(location) = head.headers.get("location") else {
            return Ok(false);
        };
        if self.left == 0 {
            return Err(self.error(Fault::lasting(
                "TooManyRedirects",
                format!("it was redirected more than {} times", self.redirects),
            )));
        }
        self.left -= 1;
        let outgoing = &mut self.outgoing;
        let next = match outgoing.url.join(location) {
            Ok(next) => next,
            Err(problem) => {
                let what = format!("it was redirected to `{}`: {problem}", shown(location));
                return Err(self.error(Fault::lasting("InvalidUrl", what)));
            }
        };
        // As browsers do: after a form was sent, the answer is fetched.
        let becomes_get = match head.status {
            303 => outgoing.method != "HEAD",
            301 | 302 => outgoing.method == "POST",
            _ => false,
        };
        if becomes_get {
            "GET".clone_into(&mut outgoing.method);
            outgoing.body = None;
            outgoing.headers.retain(|(name, _)| !name.starts_with("content-"));
        }
        if !outgoing.url.same_origin(&next) {
            // Any other header may hold a key that was meant for one server.
            outgoing.headers.retain(|(name, _)| {
                name.starts_with("accept")
                    || name.starts_with("content-")
                    || matches!(&**name, "user-agent" | "range")
            });
        }
        outgoing.url = next;
        Ok(true)
    }

    /// The task's view of what went wrong on the way.
    pub fn error(&self, fault: Fault) -> Error {
        let Outgoing { method, url, .. } = &self.outgoing;
        let error = if fault.kind == DENIED && fault.what.is_empty() {
            Error::failed(format_args!(
                "{method} {url}: the host does not grant it: `--allow-host {}`",
                url.grant()
            ))
        } else {
            Error::failed(format_args!("{method} {url}: {}", fault.what))
        };
        let error = error.with_kind(fault.kind).at(self.caller);
        if fault.transient { error.into_transient() } else { error }
    }

    /// What follows from having read this much of the body; `whole`: into
    /// memory.
    ///
    /// # Errors
    /// Where that is more than the task wants.
    pub fn check_length(&self, read: u64, whole: bool) -> Result<()> {
        let limit = self.max_bytes.or(whole.then_some(BODY_BYTES));
        match limit {
            Some(limit) if read > limit => Err(self.error(Fault::lasting(
                "ResponseTooLarge",
                format!("the answer is longer than {limit} bytes, see `max_bytes`"),
            ))),
            _ => Ok(()),
        }
    }

    /// How much time is left, where there is a limit.
    ///
    /// # Errors
    /// Where there is none left.
    #[cfg(feature = "async")]
    pub fn time_left(&self) -> Result<Option<Duration>, Fault> {
        match self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            Some(left) if left.is_zero() => Err(Fault::too_late()),
            left => Ok(left),
        }
    }

    /// The value that a body of JSON holds.
    ///
    /// # Errors
    /// With what does not fit, and the body's begin.
    #[cfg(feature = "json")]
    pub fn parse<T: serde::de::DeserializeOwned>(&self, body: &[u8]) -> Result<T> {
        serde_json::from_slice(body).map_err(|error| {
            let excerpt = super::status::excerpt(body);
            let what = format!("the answer is not the JSON that was expected: {error}: {excerpt}");
            self.error(Fault::lasting("InvalidJson", what))
        })
    }
}
