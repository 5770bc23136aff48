//! From a URL to a connection: the proxy that the environment names, if any, the
//! name's addresses, TCP, TLS.
//!
//! With a proxy, the target's name was checked, and its address cannot be: the
//! proxy resolves it. The proxy itself needs no grant, as the user named it.
//! This machine is never reached through a proxy: there it would be another.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::Network;
use super::address::Reach;
use super::origin::{Origins, Shared};
use super::policy::is_localhost;
use super::rule::{Host, Target};
use super::trouble::{Code, Trouble};

/// How long what a name resolves to is taken for true. Long enough for the
/// requests of a moment to share an answer.
const LOOKUP_LIFETIME: Duration = Duration::from_secs(10);
/// The same for a name that does not resolve.
const FAILURE_LIFETIME: Duration = Duration::from_secs(1);
/// Most names that are kept.
const LOOKUPS: usize = 256;

/// Where systems keep the certificates that they trust.
const SYSTEM_CERTIFICATES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// After how long without traffic the system asks whether the other side is
/// still there, how often it repeats that, and how many times before it gives
/// up.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(15), 4);

/// Opens connections for the clients of one thread.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) network: Arc<Network>,
    pub(super) origins: Arc<Origins>,
    pub(super) lookups: Arc<Lookups>,
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Trouble;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Trouble>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Trouble>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        let limit = self.network.limits.connect;
        Box::pin(async move {
            let full = || {
                let message = "as many connections are open as the process may have";
                Trouble::new(Code::TooMany, message)
            };
            let permits = connector.network.connections();
            if permits.available_permits() == 0 {
                // Those that are kept for a next request make way.
                super::client::close_idle();
            }
            let permit = tokio::time::timeout(limit, permits.acquire_owned()).await;
            let permit = permit.ok().and_then(Result::ok).ok_or_else(full)?;
            let connected = tokio::time::timeout(limit, connector.connect(uri, permit)).await;
            connected.unwrap_or_else(|_| {
                Err(Trouble::new(Code::ConnectTimeout, "the connection took too long"))
            })
        })
    }
}

impl Connector {
    async fn connect(self, uri: Uri, permit: OwnedSemaphorePermit) -> Result<Stream, Trouble> {
        // Once more, as this is where it counts.
        let target = self.network.check(&uri)?;
        let (io, proxied) = match self.network.proxy(&uri, &target)? {
            None => (self.direct(&uri, &target).await?, false),
            Some(proxy) => self.through(&proxy, &uri, &target).await?,
        };
        if !target.tls {
            return Ok(Stream {
                io: TokioIo::new(io),
                http2: false,
                proxied,
                _shared: None,
                _permit: permit,
            });
        }
        let (io, http2) = tls(&self.network, &target, io).await?;
        let shared = self.origins.get(&origin(&target)).connected(http2);
        Ok(Stream { io: TokioIo::new(io), http2, proxied: false, _shared: shared, _permit: permit })
    }

    async fn direct(&self, uri: &Uri, target: &Target) -> Result<Io, Trouble> {
        let addresses = match &target.host {
            Host::Name(name) => self.addresses(name, target).await?,
            // Granted as such.
            Host::Address(address) => vec![SocketAddr::new(*address, target.port)],
        };
        let mut tcp = HttpConnector::new_with_resolver(Resolved(addresses));
        self.set_up(&mut tcp);
        let stream = tcp.call(uri.clone()).await.map_err(|error| Trouble::connecting(&error))?;
        Ok(Box::new(stream.into_inner()))
    }

    fn set_up<R>(&self, tcp: &mut HttpConnector<R>) {
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Shared between the addresses, so that a dead one leaves time for the
        // next.
        tcp.set_connect_timeout(Some(self.network.limits.connect));
        let (time, interval, retries) = KEEPALIVE;
        tcp.set_keepalive(Some(time));
        tcp.set_keepalive_interval(Some(interval));
        tcp.set_keepalive_retries(Some(retries));
    }

    /// What a name resolves to, as far as that is permitted.
    async fn addresses(&self, name: &str, target: &Target) -> Result<Vec<SocketAddr>, Trouble> {
        #[cfg(test)]
        if let Some(addresses) = self.network.names.get(name) {
            let addresses: Vec<_> = addresses.iter().map(|a| SocketAddr::new(*a, 0)).collect();
            return self.network.permitted(target, &addresses);
        }
        let addresses = self.lookups.resolve(name).await.map_err(|reason| {
            Trouble::new(Code::Dns, format!("the name `{name}` does not resolve: {reason}"))
        })?;
        self.network.permitted(target, &addresses)
    }

    /// Connects through a proxy. Also says whether requests are addressed to the
    /// proxy, which passes them on.
    async fn through(
        &self,
        proxy: &Intercept,
        uri: &Uri,
        target: &Target,
    ) -> Result<(Io, bool), Trouble> {
        let scheme = proxy.uri().scheme_str().unwrap_or_default();
        let trouble = |code, error: &dyn std::fmt::Display| {
            Trouble::new(code, format!("the proxy {}: {error}", shown(proxy.uri())))
        };
        let failed = |error: &dyn std::fmt::Display| trouble(Code::Proxy, error);
        // A proxy that wants a password goes on to; what else it could not do may
        // work later.
        let refused = |error: &dyn std::fmt::Display| match error.to_string() {
            text if text.contains("auth") => trouble(Code::Proxy, &text),
            text => trouble(Code::Unreachable, &text),
        };
        let at = with_port(proxy.uri()).ok_or_else(|| failed(&"its URL is malformed"))?;
        let mut tcp = HttpConnector::new();
        self.set_up(&mut tcp);
        let io = tcp.call(at.clone()).await.map_err(|error| {
            let connecting = Trouble::connecting(&error);
            trouble(connecting.code, &connecting)
        })?;
        let mut io: Io = Box::new(io.into_inner());
        if scheme == "https" {
            let proxy = Target::of(&at).ok_or_else(|| failed(&"its URL is malformed"))?;
            io = handshake(&self.network, &proxy, io, false).await.map_err(|e| failed(&e))?.0;
        }
        // What it is to connect to: with a scheme that says so, the name resolved
        // here and its address checked.
        let by_name = !matches!(scheme, "socks4" | "socks5");
        let wanted = match &target.host {
            Host::Name(name) if !by_name => {
                let addresses = self.addresses(name, target).await?;
                let v4 = addresses.iter().find(|address| address.is_ipv4());
                v4.or(addresses.first()).map(ToString::to_string)
            }
            _ => None,
        };
        let wanted = wanted.unwrap_or_else(|| target.to_string());
        let wanted = Uri::builder().scheme("http").authority(wanted).path_and_query("/").build();
        let wanted = wanted.map_err(|error| failed(&error))?;
        let given = Given(Some(TokioIo::new(io)));
        let io = match (scheme, proxy.raw_auth()) {
            ("socks5" | "socks5h", auth) => {
                let mut socks = SocksV5::new(at, given);
                if let Some((user, password)) = auth {
                    socks = socks.with_auth(user.into(), password.into());
                }
                socks.call(wanted).await.map_err(|error| refused(&error))?
            }
            ("socks4" | "socks4a", _) => {
                let mut socks = SocksV4::new(at, given);
                socks.call(wanted).await.map_err(|error| refused(&error))?
            }
            _ if target.tls => {
                let mut tunnel = Tunnel::new(at, given);
                if let Some(auth) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                tunnel.call(wanted).await.map_err(|error| refused(&error))?
            }
            _ => {
                let Given(Some(io)) = given else { return Err(failed(&"no connection")) };
                return Ok((io.into_inner(), true));
            }
        };
        tracing::trace!("{} through {}", origin_of(uri), shown(proxy.uri()));
        Ok((io.into_inner(), false))
    }
}

impl Network {
    /// The proxy that a request goes through.
    pub(super) fn proxy(&self, uri: &Uri, target: &Target) -> Result<Option<Intercept>, Trouble> {
        let own = match &target.host {
            Host::Name(name) => is_localhost(name),
            Host::Address(address) => Reach::of(*address) == Reach::Loopback,
        };
        if own {
            return Ok(None);
        }
        match self.proxies() {
            Ok(proxies) => Ok(proxies.intercept(uri)),
            Err(reason) => Err(Trouble::new(Code::Proxy, reason)),
        }
    }
}

/// TLS to a target, with HTTP/2 where it speaks that. Also says whether it does.
async fn tls(network: &Network, target: &Target, io: Io) -> Result<(Io, bool), Trouble> {
    handshake(network, target, io, true).await
}

async fn handshake(
    network: &Network,
    target: &Target,
    io: Io,
    http2: bool,
) -> Result<(Io, bool), Trouble> {
    let mut config = network.tls().map_err(|reason| Trouble::new(Code::Machine, reason))?;
    if !http2 {
        Arc::make_mut(&mut config).alpn_protocols.clear();
    }
    let name = match &target.host {
        Host::Address(address) => ServerName::from(*address),
        Host::Name(name) => ServerName::try_from(name.clone())
            .map_err(|error| Trouble::new(Code::Tls, format!("`{name}`: {error}")))?,
    };
    let stream = TlsConnector::from(config)
        .connect(name, io)
        .await
        .map_err(|error| Trouble::handshake(&error))?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((Box::new(stream), http2))
}

/// TLS that trusts what this system trusts: its own certificates, or those that
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` name. Takes milliseconds.
pub(super) fn system_tls() -> Result<Arc<rustls::ClientConfig>, String> {
    let found = rustls_native_certs::load_native_certs();
    let named =
        ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find(|n| std::env::var_os(n).is_some());
    for error in &found.errors {
        match named {
            Some(name) => tracing::warn!("A certificate that {name} names cannot be read: {error}"),
            None => tracing::debug!("A certificate of this system cannot be read: {error}"),
        }
    }
    let mut roots = rustls::RootCertStore::empty();
    let (mut trusted, _) = roots.add_parsable_certificates(found.certs);
    // What the variable names comes to what the system trusts, not in its place.
    if named.is_some()
        && let Some(file) = SYSTEM_CERTIFICATES.iter().map(Path::new).find(|file| file.exists())
    {
        let system = rustls_native_certs::load_certs_from_paths(Some(file), None);
        trusted += roots.add_parsable_certificates(system.certs).0;
    }
    if trusted == 0 {
        return Err(
            "this machine has no certificates to trust: install `ca-certificates`, or name \
                    a file of them with SSL_CERT_FILE"
                .into(),
        );
    }
    tls_with(roots).map_err(|error| format!("TLS cannot be set up: {error}"))
}

/// TLS that trusts these certificates.
pub(super) fn tls_with(
    roots: rustls::RootCertStore,
) -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
    Ok(Arc::new(config))
}

/// A target as logs show it: `https://HOST:PORT`.
pub(super) fn origin(target: &Target) -> String {
    let scheme = if target.tls { "https" } else { "http" };
    format!("{scheme}://{target}")
}

/// Of a URL, what logs may show.
pub(super) fn origin_of(uri: &Uri) -> String {
    Target::of(uri).map_or_else(|| "an unknown host".into(), |target| origin(&target))
}

/// The proxies that the environment names, as curl reads it: `HTTP_PROXY`,
/// `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, also in lower case. One that is
/// malformed is not passed over: a request that should go through a proxy must
/// not go out without.
pub(super) fn proxies() -> Result<Matcher, String> {
    let anywhere = Uri::from_static("http://example.org/");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        for name in [name.to_owned(), name.to_ascii_lowercase()] {
            // Without its value, which may hold a password.
            if let Some(value) = std::env::var(&name).ok().filter(|value| !value.is_empty())
                && Matcher::builder().all(value).build().intercept(&anywhere).is_none()
            {
                return Err(format!("{name} is no URL of a proxy: mend it, or unset it"));
            }
        }
    }
    Ok(Matcher::from_env())
}

/// A proxy as messages show it.
fn shown(proxy: &Uri) -> String {
    let host = proxy.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{}://{host}", proxy.scheme_str().unwrap_or("http"))
}

/// A proxy's URL with the port that its scheme implies.
fn with_port(proxy: &Uri) -> Option<Uri> {
    if proxy.port().is_some() {
        return Some(proxy.clone());
    }
    let scheme = proxy.scheme_str()?;
    let port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => 1080,
    };
    let authority = format!("{}:{port}", proxy.host()?);
    Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build().ok()
}

/// Names that were resolved a moment ago, for one thread.
#[derive(Debug, Default)]
pub(super) struct Lookups(Mutex<HashMap<String, Arc<Lookup>>>);

/// What a name resolves to, and since when. Those who ask meanwhile wait for the
/// answer.
type Lookup = tokio::sync::Mutex<Option<(Instant, Result<Vec<SocketAddr>, String>)>>;

impl Lookups {
    async fn resolve(&self, name: &str) -> Result<Vec<SocketAddr>, String> {
        let lookup = {
            let mut lookups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if lookups.len() >= LOOKUPS {
                lookups.retain(|_, lookup| Arc::strong_count(lookup) > 1);
            }
            Arc::clone(lookups.entry(name.into()).or_default())
        };
        let mut answer = lookup.lock().await;
        if let Some((since, known)) = &*answer {
            let lifetime = if known.is_ok() { LOOKUP_LIFETIME } else { FAILURE_LIFETIME };
            if since.elapsed() < lifetime {
                return known.clone();
            }
        }
        let found = tokio::net::lookup_host((name, 0)).await;
        let found = found.map(Iterator::collect).map_err(|error: io::Error| {
            let text = error.to_string();
            text.trim_start_matches("failed to lookup address information: ").to_owned()
        });
        *answer = Some((Instant::now(), found.clone()));
        found
    }
}

/// A resolver that knows the answer.
#[derive(Clone)]
struct Resolved(Vec<SocketAddr>);

impl Service<Name> for Resolved {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(self.0.clone().into_iter()))
    }
}

/// A connector that is connected: to the proxy.
struct Given(Option<TokioIo<Io>>);

impl Service<Uri> for Given {
    type Response = TokioIo<Io>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<Io>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection of any kind.
type Io = Box<dyn Duplex>;

/// A connection that HTTP can be spoken on.
pub(super) struct Stream {
    io: TokioIo<Io>,
    http2: bool,
    /// Whether requests on it are addressed to a proxy.
    proxied: bool,
    _shared: Option<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.proxied);
        if self.http2 { connected.negotiated_h2() } else { connected }
    }
}

impl Stream {
    fn io(&mut self) -> Pin<&mut TokioIo<Io>> {
        Pin::new(&mut self.io)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.io().poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write_vectored(cx, slices)
    }
}
