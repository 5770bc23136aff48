//! The proxy.

use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tigerflow_test_server::{ProxyUse, TestServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::secure::{block_on, handshake};

/// What the proxy says to this, and its connection.
async fn said(server: &TestServer, bytes: &str) -> (TcpStream, String) {
    let address = server.proxy_url().strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut buffer = vec![0; 4 << 10];
    let length = stream.read(&mut buffer).await.unwrap();
    buffer.truncate(length);
    (stream, String::from_utf8(buffer).unwrap())
}

#[test]
fn a_tunnel_leads_to_the_server_by_its_name() {
    let server = TestServer::builder().names(&["api.example.test"]).start();
    block_on(async {
        let head = "CONNECT api.example.test:443 HTTP/1.1\r\nhost: api.example.test:443\r\n\
            Proxy-Authorization: Basic dTpw\r\n\r\n";
        let (stream, answer) = said(&server, head).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let stream = handshake(&server, stream, "api.example.test", &[]).await.unwrap();
        let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("/ok").header("host", "api.example.test");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        assert_eq!(client.send_request(request).await.unwrap().status(), 200);
    });
    let request = &server.requests()[0];
    assert!(request.proxied && request.secure);
    assert_eq!(request.host, "api.example.test");
    assert_eq!(
        server.proxy_uses(),
        [ProxyUse {
            target: "api.example.test:443".into(),
            authorization: Some("Basic dTpw".into()),
        }]
    );
}

#[test]
fn tunnels_lead_to_local_ports_and_nowhere_else() {
    let (server, other) = (TestServer::start(), TestServer::start());
    block_on(async {
        for (port, asked) in [(server.http_port(), &server), (other.http_port(), &other)] {
            let head = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n");
            let (mut stream, answer) = said(&server, &head).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            let get = b"GET /ok HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            stream.write_all(get).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with("ok\n"), "{answer}");
            assert_eq!(asked.count("/ok"), 1);
        }
        for target in ["example.test:443", "192.0.2.1:80", "localhost", ":", "x"] {
            let (_, answer) = said(&server, &format!("CONNECT {target} HTTP/1.1\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 502"), "{target}: {answer}");
        }
    });
    assert_eq!(server.proxy_uses().len(), 7);
}

#[test]
fn plain_requests_for_whole_urls() {
    let server = TestServer::builder().names(&["api.example.test"]).start();
    block_on(async {
        let own = server.http_url();
        for (url, status) in [
            ("http://api.example.test", "200"),
            (own.as_str(), "200"),
            ("http://example.test", "502"),
        ] {
            let head = format!("GET {url}/ok?a=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            let (_, answer) = said(&server, &head).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{url}: {answer}");
        }
    });
    let request = &server.requests()[0];
    assert!(request.proxied && !request.secure);
    assert_eq!((request.host.as_str(), request.path.as_str()), ("api.example.test", "/ok"));
    assert_eq!(server.proxy_uses()[0].target, "http://api.example.test/ok?a=1");
    assert_eq!(server.proxy_uses().len(), 3);
}
