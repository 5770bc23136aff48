//! Asking servers, by the host's HTTP client: [`blocking`] for a
//! [`Task`](crate::Task), and, with the feature `async`, an asynchronous one for
//! an [`AsyncTask`](crate::AsyncTask), with the same names.
//!
//! ```
//! use std::time::Duration;
//! use tigerflow_task::http;
//! use tigerflow_task::prelude::*;
//!
//! # #[cfg(feature = "async")]
//! async fn title(id: &str, key: &str) -> Result<String> {
//!     http::get("https://api.example.org/titles")
//!         .query("id", id)
//!         .header("authorization", format!("Bearer {key}"))
//!         .timeout(Duration::from_secs(30))
//!         .send()
//!         .await?
//!         .error_for_status()
//!         .await?
//!         .text()
//!         .await
//! }
//! ```
//!
//! The user grants each server: `--allow-host api.example.org`. A task says
//! which ones it needs with [`Grant::host`](crate::Grant::host).
//!
//! # Errors
//!
//! An error names the method, the host and the path; never the query or a
//! header, which may hold keys. What another try may mend is
//! [transient](crate::Error::transient): a connection that was refused or lost,
//! a timeout, and of answers the statuses 408, 425, 429, 500, 502, 503 and 504,
//! with the time that their `Retry-After` says. Final are the other statuses, a
//! server that is not granted, a bad URL, and a bad certificate. The kinds:
//! `HttpStatus`, `RequestDenied`, `InvalidUrl`, `InvalidRequest`, `Timeout`,
//! `DnsError`, `ConnectionRefused`, `ConnectionError`, `TlsError`,
//! `IncompleteResponse`, `ResponseTooLarge`, `TooManyRedirects`, `InvalidJson`,
//! `ProtocolError`, `HttpError`.
//!
//! An answer is an answer, whatever its status: what makes an error of a status
//! is [`error_for_status`](Response::error_for_status).
//!
//! # Limits
//!
//! There are no time limits but the host's, unless `timeout`, `connect_timeout`
//! or `read_timeout` set them. Up to 10 redirects are followed as browsers do;
//! to another server go only headers that cannot be secret. `bytes`, `text` and
//! `json` refuse a body over 64 MiB, or over `max_bytes`. Bodies come as they
//! are sent: nothing asks for a compressed one.
//!
//! Outside of a component there is no network. A native test says what the
//! servers answer with [`testing::answer_http`](crate::testing::answer_http).

// Why not a crate: `wstd` (asynchronous) and `waki` (blocking) know WASI 0.2
// only, where a request stalls every call of an asynchronous instance.

pub mod blocking;
#[cfg(feature = "async")]
mod client;
mod exchange;
mod fault;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;
mod status;
#[cfg(all(test, feature = "async", feature = "json"))]
mod tests;
mod url;
#[cfg(target_family = "wasm")]
mod wasi2;
#[cfg(all(target_family = "wasm", feature = "async"))]
mod wasi3;

#[cfg(feature = "async")]
pub use client::{Request, Response, delete, get, head, patch, post, put, request};

/// The headers of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first header of this name, in whatever case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers of this name, in whatever case: `set-cookie` comes often.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All names and values. What of a value is not UTF-8 is replaced by `�`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// From what WASI hands over.
    #[cfg(target_family = "wasm")]
    fn of(entries: Vec<(String, Vec<u8>)>) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self(entries.into_iter().map(|(name, value)| (name, text(value))).collect())
    }
}

impl FromIterator<(String, String)> for Headers {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(headers: I) -> Self {
        Self(headers.into_iter().collect())
    }
}

/// A body as text.
fn text(body: Vec<u8>) -> String {
    String::from_utf8(body)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// What a request's builder can say, in both clients.
macro_rules! builder {
    () => {
        /// A request of any method: `request("OPTIONS", url)`.
        pub fn request(method: impl AsRef<str>, url: impl AsRef<str>) -> Request {
            Request { parts: Parts::new(method.as_ref(), url.as_ref()) }
        }

        /// Fetches what stands at a URL.
        pub fn get(url: impl AsRef<str>) -> Request {
            request("GET", url)
        }

        /// Sends something to a URL.
        pub fn post(url: impl AsRef<str>) -> Request {
            request("POST", url)
        }

        /// Puts something at a URL.
        pub fn put(url: impl AsRef<str>) -> Request {
            request("PUT", url)
        }

        /// Changes what stands at a URL.
        pub fn patch(url: impl AsRef<str>) -> Request {
            request("PATCH", url)
        }

        /// Removes what stands at a URL.
        pub fn delete(url: impl AsRef<str>) -> Request {
            request("DELETE", url)
        }

        /// Asks for the headers of what stands at a URL.
        pub fn head(url: impl AsRef<str>) -> Request {
            request("HEAD", url)
        }

        impl Request {
            /// Adds a parameter to the URL's query, percent-encoded.
            pub fn query(mut self, name: impl AsRef<str>, value: impl ToString) -> Self {
                self.parts.query(name.as_ref(), &value.to_string());
                self
            }

            /// Sets a header, in place of one of that name.
            pub fn header(mut self, name: impl AsRef<str>, value: impl Into<String>) -> Self {
                self.parts.header(name.as_ref(), value.into());
                self
            }

            /// Sets the body. It has no `content-type` but what a header says.
            pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
                self.parts.body(body.into(), None);
                self
            }

            /// Sets the body to a text, as `text/plain` where no header says
            /// otherwise.
            pub fn text(mut self, text: impl Into<String>) -> Self {
                let text = text.into().into_bytes();
                self.parts.body(text, Some("text/plain; charset=utf-8"));
                self
            }

            /// Sets the body to a value as JSON, as `application/json` where no
            /// header says otherwise. That a value cannot become JSON is an
            /// error of `send`.
            #[cfg(feature = "json")]
            #[track_caller]
            pub fn json(mut self, value: &impl serde::Serialize) -> Self {
                self.parts.json(value);
                self
            }

            /// How long all of it may take: from `send` to the last byte of the
            /// answer's body, over all redirects.
            pub fn timeout(mut self, limit: Duration) -> Self {
                self.parts.timeout = Some(limit);
                self
            }

            /// How long connecting may take.
            pub fn connect_timeout(mut self, limit: Duration) -> Self {
                self.parts.connect_timeout = Some(limit);
                self
            }

            /// How long the server may send nothing.
            pub fn read_timeout(mut self, limit: Duration) -> Self {
                self.parts.read_timeout = Some(limit);
                self
            }

            /// How many redirects to follow: 10 by default, 0 for none. Then the
            /// answer is the redirect itself.
            pub fn redirects(mut self, most: u32) -> Self {
                self.parts.redirects = most;
                self
            }

            /// How long the answer's body may be, in bytes: 64 MiB by default
            /// for `bytes`, `text` and `json`, and without a limit for `chunk`.
            pub fn max_bytes(mut self, most: u64) -> Self {
                self.parts.max_bytes = Some(most);
                self
            }
        }

        /// Method, host and path: neither the query nor a header, which may hold
        /// keys.
        impl fmt::Debug for Request {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "Request({})", self.parts.shown())
            }
        }

        impl Response {
            /// The status: 200, 404.
            #[must_use]
            pub fn status(&self) -> u16 {
                self.head.status
            }

            /// Whether the status is one of success: 200 to 299.
            #[must_use]
            pub fn is_success(&self) -> bool {
                (200..300).contains(&self.head.status)
            }

            /// All headers.
            #[must_use]
            pub fn headers(&self) -> &Headers {
                &self.head.headers
            }

            /// The first header of this name, in whatever case.
            #[must_use]
            pub fn header(&self, name: &str) -> Option<&str> {
                self.head.headers.get(name)
            }

            /// The URL that answered, after all redirects. It may hold keys.
            #[must_use]
            pub fn url(&self) -> &str {
                self.exchange.outgoing.url.as_str()
            }
        }

        /// Method, host, path and status.
        impl fmt::Debug for Response {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let outgoing = &self.exchange.outgoing;
                write!(f, "Response({} {}: {})", outgoing.method, outgoing.url, self.head.status)
            }
        }
    };
}
use builder;
