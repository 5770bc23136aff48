//! Listeners, threads, and a connection's way from one to the other.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

use crate::body::{self, Body, Broken};
use crate::log::Log;
use crate::paths::{self, Paths};
use crate::proxy;
use crate::tls::Tls;
use crate::wire::{Link, Stream, Wire};

/// Connections that may wait to be taken.
const BACKLOG: u32 = 4_096;

/// What every connection of a server shares.
pub struct Shared {
    /// What was seen.
    pub log: Arc<Log>,
    /// What is answered.
    pub paths: Paths,
    /// TLS.
    pub tls: Tls,
    /// Where it listens.
    pub ports: Ports,
    /// The names that the proxy takes for this server's.
    pub names: Vec<String>,
}

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// For plain HTTP.
    pub http: SocketAddr,
    /// For HTTP in TLS.
    pub https: SocketAddr,
    /// As a proxy.
    pub proxy: SocketAddr,
}

/// What comes on a port.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Plain HTTP.
    Http,
    /// HTTP in TLS.
    Https,
    /// Requests to a proxy.
    Proxy,
}

/// Threads, each with a runtime that drives connections of its own.
pub struct Workers {
    handles: Vec<Handle>,
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// So many threads, with nothing to do so far.
    pub fn start(threads: usize) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut workers = Workers { handles: Vec::new(), threads: Vec::new(), stop };
        for _ in 0..threads.max(1) {
            let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
            let mut stopped = stopped.clone();
            workers.handles.push(runtime.handle().clone());
            let thread = thread::Builder::new().name("test-server".into());
            workers.threads.push(thread.spawn(move || {
                // Dropping the runtime drops every connection at once.
                let _ = runtime.block_on(stopped.wait_for(|stop| *stop));
            })?);
        }
        Ok(workers)
    }

    /// Listens on any free port of 127.0.0.1.
    pub fn listen(&self) -> io::Result<TcpListener> {
        let _entered = self.handles[0].enter();
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        socket.listen(BACKLOG)
    }

    /// Takes connections from now on, and hands them to the threads in turn.
    pub fn accept(&self, listener: TcpListener, kind: Kind, shared: Arc<Shared>) {
        let handles = self.handles.clone();
        let next = AtomicUsize::new(0);
        self.handles[0].spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of descriptors, for example: that may pass.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let shared = shared.clone();
                let turn = next.fetch_add(1, Relaxed) % handles.len();
                if turn == 0 {
                    tokio::spawn(connection(stream, kind, shared));
                } else if let Ok(stream) = stream.into_std() {
                    handles[turn].spawn(async move {
                        if let Ok(stream) = TcpStream::from_std(stream) {
                            connection(stream, kind, shared).await;
                        }
                    });
                }
            }
        });
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// One connection to its end.
async fn connection(stream: TcpStream, kind: Kind, shared: Arc<Shared>) {
    match kind {
        Kind::Http => plain(stream, false, shared).await,
        Kind::Https => secure(stream, false, shared).await,
        Kind::Proxy => proxy::connection(stream, shared).await,
    }
}

/// HTTP/1, as it comes.
pub async fn plain(stream: TcpStream, proxied: bool, shared: Arc<Shared>) {
    let link = Arc::new(Link::new(shared.log.connected(), false, proxied));
    serve(Stream::Plain(stream), false, link, shared).await;
}

/// HTTP/1 or HTTP/2 in TLS.
pub async fn secure(stream: TcpStream, proxied: bool, shared: Arc<Shared>) {
    let Ok(stream) = shared.tls.acceptor.accept(stream).await else {
        shared.log.handshake_failed();
        return;
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let link = Arc::new(Link::new(shared.log.connected(), true, proxied));
    serve(Stream::Tls(Box::new(stream)), http2, link, shared).await;
}

async fn serve(stream: Stream, http2: bool, link: Arc<Link>, shared: Arc<Shared>) {
    let wire = TokioIo::new(Wire::new(stream, link.clone()));
    let service = service_fn(move |request| answer(request, link.clone(), shared.clone()));
    // How a connection ends is told by its requests.
    let _ = match http2 {
        true => http2::Builder::new(TokioExecutor::new()).serve_connection(wire, service).await,
        false => http1::Builder::new().serve_connection(wire, service).await,
    };
}

async fn answer(
    request: Request<hyper::body::Incoming>,
    link: Arc<Link>,
    shared: Arc<Shared>,
) -> Result<Response<Body>, Broken> {
    let follower = shared.log.arrived(&link, &request);
    let head = request.method() == Method::HEAD;
    let (parts, body) = request.into_parts();
    let (body, received) = body::read(body).await.map_err(|_| Broken)?;
    follower.received(&body, received);
    let request = Request::from_parts(parts, body);

    let mut response = match link.proxied && !proxy::leads_here(&request, &shared) {
        true => paths::error(502, "this proxy reaches no other server in plain HTTP"),
        false => {
            let paths = &shared.paths;
            paths.answer(&request, received, &link, &follower).await.ok_or(Broken)?
        }
    };
    follower.answers(response.status().as_u16(), response.headers());
    if head {
        if let Some(length) = response.body().length() {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        *response.body_mut() = Body::full("");
    }
    Ok(response.map(|body| body.followed(follower)))
}
