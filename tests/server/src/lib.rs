//! A local HTTP server with faults on demand.
//!
//! It listens on 127.0.0.1, in plain HTTP/1, in TLS with HTTP/1 and HTTP/2, and
//! as a forward proxy; it needs no network. What it answers depends on the path:
//!
//! | Path | Answer |
//! |---|---|
//! | `/ok` | a text |
//! | `/echo` | the request, as JSON |
//! | `/status/429?retry-after=2&message=` | any status, with an error in JSON |
//! | `/flaky?fails=1&status=503&retry-after=` | fails so many times for this URL, then a text |
//! | `/slow?ms=500` | a pause before the headers |
//! | `/drip?ms=50&n=10` | chunks with pauses |
//! | `/silent` | nothing |
//! | `/stall?bytes=1000` | half of the body, then nothing |
//! | `/cut?bytes=1000` | half of the body, then the end of the connection |
//! | `/reset` | a reset of the connection (RST) |
//! | `/malformed` | something else than HTTP |
//! | `/endless?ms=0` | a body without end |
//! | `/big?bytes=1048576` | a body of this size |
//! | `/redirect?to=/ok&code=302` | a redirect |
//! | `/redirect-loop?n=` | redirects, for ever or so many |
//! | `/page` | [`PAGE`], a web page |
//! | `/latin1` | [`LATIN1`], in ISO-8859-1 |
//! | `/binary` | a picture |
//! | `/headers?n=100&bytes=20` | many headers, or large ones |
//! | `/auth?token=` | 401 without this bearer token |
//! | `/v1/embeddings` | an API in the form of Voyage AI's, that fails by a plan: [`Faults`] |
//!
//! Over HTTP/2 a cut or a missing answer ends the stream, not the connection.

#![forbid(unsafe_code)]

mod body;
mod embeddings;
mod faults;
mod log;
mod paths;
mod proxy;
mod query;
mod serve;
mod tls;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempPath;

pub use embeddings::embedding;
pub use faults::{Fault, Faults};
pub use log::{Answer, Attempt, Counts, ProxyUse, Request, most_in_any_window};
pub use paths::{LATIN1, PAGE};
pub use tls::Certificate;

use embeddings::{Api, Settings};
use log::Log;
use paths::Paths;
use serve::{Kind, Ports, Shared, Workers};
use tls::Tls;

/// A server that is to be started.
#[derive(Clone, Debug)]
pub struct Builder {
    api: Settings,
    names: Vec<String>,
    certificate: Certificate,
    http2: bool,
    threads: usize,
    keep_log: bool,
    ca_file: Option<PathBuf>,
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            api: Settings {
                key: "test-key".into(),
                dimension: 8,
                delay: Duration::ZERO,
                silence: Duration::from_secs(60),
                faults: Faults::default(),
            },
            names: Vec::new(),
            certificate: Certificate::Good,
            http2: true,
            threads: 1,
            keep_log: true,
            ca_file: None,
        }
    }
}

impl Builder {
    /// How long every answer of `/v1/embeddings` takes; no time by default.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.api.delay = delay;
        self
    }

    /// Which requests to `/v1/embeddings` fail; none by default.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.api.faults = faults;
        self
    }

    /// The key that `/v1/embeddings` takes; `test-key` by default.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.api.key = key.into();
        self
    }

    /// How many numbers an embedding has; 8 by default.
    pub fn dimension(mut self, dimension: usize) -> Self {
        self.api.dimension = dimension;
        self
    }

    /// How long it waits for a client to leave, where it does not answer; a minute by default.
    pub fn silence(mut self, silence: Duration) -> Self {
        self.api.silence = silence;
        self
    }

    /// More names for the certificate; the proxy takes them for this server's.
    pub fn names(mut self, names: &[&str]) -> Self {
        self.names.extend(names.iter().map(|name| (*name).to_owned()));
        self
    }

    /// Shows a certificate that clients should refuse.
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = certificate;
        self
    }

    /// Whether it offers HTTP/2 over TLS; it does by default.
    pub fn http2(mut self, http2: bool) -> Self {
        self.http2 = http2;
        self
    }

    /// How many threads drive its connections; 1 by default.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Whether requests are kept, and not only counted; they are by default.
    pub fn keep_log(mut self, keep: bool) -> Self {
        self.keep_log = keep;
        self
    }

    /// Where the CA's certificate is written; by default a file that goes with the server.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Starts it. A test that has no server cannot go on: it panics then.
    pub fn start(self) -> TestServer {
        self.try_start().expect("the test server starts")
    }

    /// Starts it, if it can.
    pub fn try_start(self) -> Result<TestServer, Box<dyn Error>> {
        let tls = Tls::new(self.certificate, &self.names, self.http2)?;
        let (ca_file, temporary) = match self.ca_file {
            Some(path) => (path, None),
            None => {
                let file = tempfile::Builder::new().prefix("test-ca-").suffix(".pem").tempfile()?;
                let path = file.into_temp_path();
                (path.to_path_buf(), Some(path))
            }
        };
        fs::write(&ca_file, &tls.ca)?;

        let workers = Workers::start(self.threads)?;
        let (http, https, proxy) = (workers.listen()?, workers.listen()?, workers.listen()?);
        let ports = Ports {
            http: http.local_addr()?,
            https: https.local_addr()?,
            proxy: proxy.local_addr()?,
        };
        let silence = self.api.silence;
        let shared = Arc::new(Shared {
            log: Arc::new(Log::new(self.keep_log)),
            paths: Paths { api: Api::new(self.api), silence, flaky: Mutex::new(HashMap::new()) },
            tls,
            ports,
            names: self.names,
        });
        workers.accept(http, Kind::Http, shared.clone());
        workers.accept(https, Kind::Https, shared.clone());
        workers.accept(proxy, Kind::Proxy, shared.clone());
        Ok(TestServer { _workers: workers, shared, ca_file, _temporary: temporary })
    }
}

/// A server that runs until it is dropped.
pub struct TestServer {
    _workers: Workers,
    shared: Arc<Shared>,
    ca_file: PathBuf,
    _temporary: Option<TempPath>,
}

impl TestServer {
    /// A server that is to be started.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// One as it is by default, started.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// `http://127.0.0.1:PORT`.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.shared.ports.http)
    }

    /// `https://127.0.0.1:PORT`.
    pub fn https_url(&self) -> String {
        format!("https://{}", self.shared.ports.https)
    }

    /// `http://127.0.0.1:PORT`, to be set as a proxy.
    pub fn proxy_url(&self) -> String {
        format!("http://{}", self.shared.ports.proxy)
    }

    /// The port for plain HTTP.
    pub fn http_port(&self) -> u16 {
        self.shared.ports.http.port()
    }

    /// The port for HTTP in TLS.
    pub fn https_port(&self) -> u16 {
        self.shared.ports.https.port()
    }

    /// The file of the CA that is to be trusted, as PEM.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The certificate of that CA, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.shared.tls.ca
    }

    /// All requests so far, in the order of their arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.requests().clone()
    }

    /// How many requests there were for this path, whatever their query.
    pub fn count(&self, path: &str) -> usize {
        self.shared.log.requests().iter().filter(|request| request.path == path).count()
    }

    /// The counts so far, which are there even if requests are not kept.
    pub fn counts(&self) -> Counts {
        self.shared.log.counts()
    }

    /// How many connections there were; of those in TLS, those that agreed on it.
    pub fn connections(&self) -> usize {
        self.counts().connections
    }

    /// The most requests that were in work at any time.
    pub fn peak_in_flight(&self) -> usize {
        self.counts().peak_in_flight
    }

    /// The most requests that arrived in any stretch of time of this length.
    pub fn most_in_any_window(&self, window: Duration) -> usize {
        let arrivals: Vec<Instant> =
            self.shared.log.requests().iter().map(|request| request.arrived).collect();
        most_in_any_window(&arrivals, window)
    }

    /// All attempts to have this text embedded, in their order.
    pub fn attempts(&self, text: &str) -> Vec<Attempt> {
        self.attempts_by_text().remove(text).unwrap_or_default()
    }

    /// All attempts for each text.
    pub fn attempts_by_text(&self) -> BTreeMap<String, Vec<Attempt>> {
        let mut all: BTreeMap<String, Vec<Attempt>> = BTreeMap::new();
        for request in self.shared.log.requests().iter() {
            for text in &request.texts {
                all.entry(text.clone()).or_default().push(Attempt::of(request));
            }
        }
        all
    }

    /// Every attempt that came sooner than the `Retry-After` of the one before allows, in words.
    pub fn early_retries(&self) -> Vec<String> {
        let mut early = Vec::new();
        for (text, attempts) in self.attempts_by_text() {
            for pair in attempts.windows(2) {
                let (Some(asked), Some(ended)) = (pair[0].retry_after, pair[0].ended) else {
                    continue;
                };
                let waited = pair[1].arrived.saturating_duration_since(ended);
                if waited < asked {
                    let text: String = text.chars().take(60).collect();
                    early.push(format!("{text:?} came after {waited:?}, not {asked:?}"));
                }
            }
        }
        early
    }

    /// All uses of the proxy so far.
    pub fn proxy_uses(&self) -> Vec<ProxyUse> {
        self.shared.log.proxy_uses().clone()
    }
}
