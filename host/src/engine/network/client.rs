//! Sends requests.
//!
//! Built on hyper-util's client rather than on reqwest: a check of addresses
//! needs the port, and to know whether a name is the target's or the proxy's.
//! reqwest's resolvers are told neither, and what it adds (redirects, cookies,
//! decompression) is the guest's own business here.
//!
//! Each thread of the executor has a client, and so a pool of connections, of
//! its own: a connection lives on the runtime that opened it, and its data never
//! changes threads. The client is made when a request is permitted for the first time.
//!
//! A request is sent once. Only where the pool's connection turns out to be
//! closed before a byte of the request went out, another is taken.

use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::Network;
use super::body::{Progress, RequestBody, ResponseBody, SECOND_LOOK};
use super::connect::{Connector, origin, origin_of};
use super::origin::Origins;
use super::trouble::{Code, Trouble};

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(90);
/// Most bytes of a response's head over HTTP/1, and of what is read at once.
const HEAD_LIMIT: usize = 256 << 10;
/// Most headers of a response over HTTP/1; hyper's own limit of 100 is less than
/// some servers send.
const HEADERS: usize = 1_000;
/// Most bytes of a response's headers over HTTP/2, unpacked.
const HEADERS_LIMIT: u32 = 128 << 10;
/// What a guest that does not name itself is.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("tigerflow-host/", env!("CARGO_PKG_VERSION")));

/// A pool of connections, for the requests of one thread.
#[derive(Clone)]
struct Client {
    http: legacy::Client<Connector, RequestBody>,
    origins: Arc<Origins>,
}

impl Client {
    fn new(network: Arc<Network>) -> Self {
        let origins = Arc::<Origins>::default();
        let connector =
            Connector { network, origins: Arc::clone(&origins), lookups: Arc::default() };
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(HEAD_LIMIT)
            .http1_max_headers(HEADERS)
            .http2_max_header_list_size(HEADERS_LIMIT)
            .build(connector);
        Client { http, origins }
    }
}

/// A client lives as long as the runtime that drives its connections.
struct Local {
    runtime: tokio::runtime::Id,
    network: Arc<Network>,
    client: Client,
}

thread_local! {
    static LOCAL: RefCell<Option<Local>> = const { RefCell::new(None) };
}

/// Closes this thread's connections that no request uses; the others close when
/// theirs is done.
pub(super) fn close_idle() {
    LOCAL.with_borrow_mut(|local| drop(local.take()));
}

/// The client of this thread.
fn client(network: &Arc<Network>) -> Client {
    let runtime = tokio::runtime::Handle::current().id();
    LOCAL.with_borrow_mut(|local| {
        if let Some(local) = local
            && local.runtime == runtime
            && Arc::ptr_eq(&local.network, network)
        {
            return local.client.clone();
        }
        let client = Client::new(Arc::clone(network));
        let network = Arc::clone(network);
        *local = Some(Local { runtime, network, client: client.clone() });
        client
    })
}

/// Sends a request, and waits for the response to begin. Its body comes as it is
/// read. Errors are logged, once for each host and kind.
pub(super) async fn send(
    network: &Arc<Network>,
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<Response<WasiBody>, Error> {
    let origin = origin_of(request.uri());
    match exchange(network, request, options.unwrap_or_default()).await {
        Ok(response) => Ok(response),
        Err(trouble) => Err(trouble.report(network, &origin)),
    }
}

async fn exchange(
    network: &Arc<Network>,
    mut request: Request<WasiBody>,
    options: RequestOptions,
) -> Result<Response<WasiBody>, Trouble> {
    let target = network.check(request.uri())?;
    if request.method() == Method::CONNECT {
        return Err(Trouble::new(Code::Method, "tunnels (CONNECT) are not supported"));
    }
    let limits = &network.limits;
    let at_most = |asked: Option<Duration>, limit: Duration| asked.map_or(limit, |d| d.min(limit));
    let connect = at_most(options.connect_timeout, limits.connect);
    let first = at_most(options.first_byte_timeout, limits.request_timeout);
    let between = at_most(options.between_bytes_timeout, limits.request_timeout);

    request.headers_mut().entry(USER_AGENT).or_insert(AGENT);
    // Where the proxy passes plain requests on, each has to show who sends it.
    if !target.tls
        && let Some(proxy) = network.proxy(request.uri(), &target)?
        && let Some(auth) = proxy.basic_auth()
    {
        request.headers_mut().insert(PROXY_AUTHORIZATION, auth.clone());
    }
    let client = client(network);
    // The runtime looks at its sockets meanwhile, so that a pooled connection
    // that was closed while a guest kept this thread busy is known to be.
    tokio::task::yield_now().await;

    let progress = Progress::new();
    let mut request = request.map(|inner| RequestBody { inner, progress: progress.clone() });
    let mut connected = capture_connection(&mut request);
    let mut connected_first = connected.clone();
    let name = origin(&target);
    let mut response = pin!(async {
        let first = match target.tls {
            true => client.origins.get(&name).enter().await,
            false => None,
        };
        let mut response = pin!(client.http.request(request));
        if first.is_some() {
            tokio::select! {
                biased;
                response = &mut response => return response,
                _ = connected_first.wait_for_connection_metadata() => {}
            }
            drop(first);
        }
        response.await
    });

    let connecting = async {
        tokio::select! {
            biased;
            response = &mut response => Some(response),
            _ = connected.wait_for_connection_metadata() => None,
        }
    };
    let early = within(connect, connecting).await.ok_or_else(|| {
        let limit = humantime::format_duration(connect);
        Trouble::new(Code::ConnectTimeout, format!("there was no connection after {limit}"))
    })?;
    let response = match early {
        Some(response) => response,
        None => {
            progress.begin();
            moving(first, &progress, response).await.ok_or_else(|| {
                let limit = humantime::format_duration(first);
                let message = format!("nothing came for {limit} in answer to the request");
                Trouble::new(Code::ReadTimeout, message)
            })?
        }
    };
    let response = response.map_err(|error| Trouble::exchange(&error, false))?;
    Ok(response.map(|body| {
        ResponseBody::new(body, Arc::clone(network), between, name.clone()).boxed_unsync()
    }))
}

/// Waits for something, for a time.
async fn within<T>(limit: Duration, wanted: impl Future<Output = T>) -> Option<T> {
    let mut wanted = pin!(wanted);
    match tokio::time::timeout(limit, &mut wanted).await {
        Ok(done) => Some(done),
        Err(_) => tokio::time::timeout(SECOND_LOOK, wanted).await.ok(),
    }
}

/// Waits for a response, as long as the other side moves: it takes the request's
/// body, or waits for the guest to write more of it.
async fn moving<T>(
    limit: Duration,
    progress: &Progress,
    mut wanted: impl Future<Output = T> + Unpin,
) -> Option<T> {
    loop {
        let left = limit.saturating_sub(progress.stalled());
        if let Ok(done) = tokio::time::timeout(left.max(SECOND_LOOK), &mut wanted).await {
            return Some(done);
        }
        if left < SECOND_LOOK && progress.stalled() >= limit {
            return None;
        }
    }
}
