//! TLS, with HTTP/1 and HTTP/2.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tigerflow_test_server::{Answer, Certificate, TestServer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::wait_until;

/// What may go wrong in a client.
pub type Fails<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Runs a test's client.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

/// TLS over a stream, as a client that trusts the server's CA alone.
pub async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    server: &TestServer,
    stream: S,
    name: &str,
    alpn: &[&str],
) -> Fails<TlsStream<S>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.ca_file())?)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned())?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

async fn connect(server: &TestServer, name: &str, alpn: &[&str]) -> Fails<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", server.https_port())).await?;
    handshake(server, stream, name, alpn).await
}

fn request(server: &TestServer, target: &str) -> Request<Empty<Bytes>> {
    let uri = format!("{}{target}", server.https_url());
    Request::get(uri).body(Empty::new()).unwrap()
}

/// The body in full, or why it broke.
async fn whole(response: Response<Incoming>) -> Result<Bytes, hyper::Error> {
    Ok(response.into_body().collect().await?.to_bytes())
}

#[test]
fn http1_and_every_name() {
    let server = TestServer::builder().names(&["api.example.test"]).start();
    block_on(async {
        for name in ["localhost", "127.0.0.1", "::1", "api.example.test"] {
            let stream = connect(&server, name, &[]).await.unwrap();
            let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let response = client.send_request(request(&server, "/ok")).await.unwrap();
            assert_eq!(whole(response).await.unwrap(), "ok\n");
        }
        assert!(connect(&server, "other.example.test", &[]).await.is_err());
    });
    assert!(server.requests().iter().all(|r| r.secure && r.version == "HTTP/1.1"));
    assert_eq!((server.connections(), server.count("/ok")), (4, 4));
    wait_until("the refusal is counted", || server.counts().failed_handshakes == 1);
}

#[test]
fn http2_shares_a_connection() {
    let server = TestServer::start();
    block_on(async {
        let stream = connect(&server, "localhost", &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let io = TokioIo::new(stream);
        let (client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let slow: Vec<_> = (0..10)
            .map(|_| {
                let (mut client, request) = (client.clone(), request(&server, "/slow?ms=200"));
                tokio::spawn(async move { client.send_request(request).await.unwrap().status() })
            })
            .collect();
        for slow in slow {
            assert_eq!(slow.await.unwrap(), 200);
        }
        assert_eq!((server.connections(), server.peak_in_flight()), (1, 10));

        // A cut and a missing answer end the stream alone.
        let mut client = client;
        let response = client.send_request(request(&server, "/cut")).await.unwrap();
        assert!(whole(response).await.is_err());
        let silent = client.send_request(request(&server, "/silent"));
        assert!(tokio::time::timeout(Duration::from_millis(50), silent).await.is_err());
        let response = client.send_request(request(&server, "/big?bytes=300000")).await.unwrap();
        assert_eq!(whole(response).await.unwrap().len(), 300_000);
        let head = Request::head(server.https_url() + "/big?bytes=9").body(Empty::new()).unwrap();
        let response = client.send_request(head).await.unwrap();
        assert_eq!(response.headers()["content-length"], "9");

        // A reset ends it all.
        assert!(client.send_request(request(&server, "/reset")).await.is_err());
        assert!(client.send_request(request(&server, "/ok")).await.is_err());
    });
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.version == "HTTP/2.0"));
    let answer = |path: &str| requests.iter().find(|r| r.path == path).unwrap().answer;
    assert_eq!((answer("/cut"), answer("/silent")), (Answer::Partial(200), Answer::Nothing));
    assert_eq!((answer("/big"), answer("/reset")), (Answer::Full(200), Answer::Reset));
    wait_until("all have ended", || server.requests().iter().all(|r| r.ended.is_some()));
}

#[test]
fn garbage_in_tls() {
    let server = TestServer::start();
    block_on(async {
        let stream = connect(&server, "localhost", &["h2"]).await.unwrap();
        let io = TokioIo::new(stream);
        let (mut client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        assert!(client.send_request(request(&server, "/malformed")).await.is_err());

        let stream = connect(&server, "localhost", &["http/1.1"]).await.unwrap();
        let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let error = client.send_request(request(&server, "/malformed")).await.unwrap_err();
        assert!(error.is_parse(), "{error}");
    });
}

#[test]
fn http2_can_be_left_out() {
    let server = TestServer::builder().http2(false).start();
    block_on(async {
        let stream = connect(&server, "localhost", &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    });
}

#[test]
fn wrong_certificates_are_wrong() {
    for (kind, expected) in [
        (Certificate::Expired, "Expired"),
        (Certificate::WrongName, "NotValidForName"),
        (Certificate::SelfSigned, "UnknownIssuer"),
    ] {
        let server = TestServer::builder().certificate(kind).start();
        let error = block_on(connect(&server, "localhost", &[])).map(drop).unwrap_err();
        assert!(format!("{error:?}").contains(expected), "{kind:?}: {error:?}");
        assert_eq!(server.connections(), 0);
    }
}
