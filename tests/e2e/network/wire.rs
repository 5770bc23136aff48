//! Servers that speak below HTTP, or speak it oddly.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustix::process::Signal;
use tigerflow_test_server::TestServer;
use tigerflow_tests::{Bench, finish, limited, wait_until};

use super::{Asked, both, plain, secure, serve};
use crate::live::Live;

/// A server that does this with each connection, until the test process ends.
struct Raw {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Raw {
    fn start(each: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> Raw {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Relaxed);
                let each = each.clone();
                std::thread::spawn(move || each(stream));
            }
        });
        Raw { port, connections }
    }

    /// One that answers every request with these bytes, and ends the connection.
    fn answering(bytes: &'static [u8]) -> Raw {
        Raw::start(move |mut stream| {
            if head(&mut stream) {
                let _ = stream.write_all(bytes);
            }
        })
    }

    fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// Has a guest ask it.
    fn ask(&self, component: &Path, scheme: &str, more: &[&str]) -> Asked {
        let host = format!("127.0.0.1:{}", self.port);
        let more = [&["--allow-host", &*host][..], more].concat();
        let server = TestServer::start();
        Asked::new(&server, component, &format!("GET {scheme}://{host}/x"), &more)
    }
}

/// Reads a request's head. Says whether there was one.
fn head(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    true
}

#[test]
fn answers_of_old_and_odd_servers_are_understood() {
    for (bytes, status, body) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"[..], 200, "hello"),
        // The body ends with the connection.
        (b"HTTP/1.0 200 OK\r\n\r\nhello", 200, "hello"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", 200, "hello"),
        (b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello", 200, "hello"),
        // More than was announced.
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello and more", 200, "hello"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nt: 1\r\n\r\n",
            200,
            "hello",
        ),
        // Words before the answer.
        (
            b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
              HTTP/1.1 201 Created\r\ncontent-length: 5\r\n\r\nhello",
            201,
            "hello",
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        (b"HTTP/1.1 200 Gr\xc3\xbc\xc3\x9fe\r\nx-test: \xe9\xff\r\ncontent-length: 5\r\n\r\nhello", 200, "hello"),
        (b"HTTP/1.1 302 Found\r\ncontent-length: 5\r\n\r\nhello", 302, "hello"),
    ] {
        for component in both() {
            let asked = Raw::answering(bytes).ask(&component, "http", &[]);
            assert_eq!(asked.answer(), (status, body.into()), "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn what_is_no_answer_fails_and_harms_nobody() {
    for bytes in [
        &b""[..],
        b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-test: y",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nx y: z\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: \0\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\nhello",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 1000 High\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        for component in both() {
            let raw = Raw::answering(bytes);
            let asked = raw.ask(&component, "http", &[]);
            let (kind, message) = asked.error();
            let known = ["ProtocolError", "ConnectionError", "IncompleteResponse"];
            assert!(known.contains(&&*kind), "{}: {kind}: {message}", bytes.escape_ascii());
            assert!(!asked.done.stderr.contains("panicked"), "{}", asked.done.stderr);
            asked.tells_once(&format!("A request to http://127.0.0.1:{} failed: ", raw.port));
            // Where another answer may come, it is asked for again.
            let more = ["--retries", "1", "--retry-delay", "1ms"];
            let asked = raw.ask(&component, "http", &more);
            assert_eq!(asked.bench.err("a.err")["attempts"], 2, "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn what_is_no_tls_is_told() {
    for component in both() {
        // A server of plain HTTP, and one that hangs up.
        let server = TestServer::start();
        let request = format!("GET https://{}/ok", plain(&server));
        let asked = Asked::new(&server, &component, &request, &["--allow-host", &plain(&server)]);
        assert_eq!(asked.error().0, "TlsError", "{}", asked.done.stderr);
        asked.tells_once("A request to https://127.0.0.1:");
        let asked = Raw::start(drop).ask(&component, "https", &[]);
        asked.tells_once("the connection was cut during TLS");
        asked.error();
    }
}

#[test]
fn a_server_that_takes_connections_and_is_silent_is_given_up() {
    let hold = |_stream: TcpStream| std::thread::sleep(Duration::from_secs(300));
    for component in both() {
        for scheme in ["http", "https"] {
            let raw = Raw::start(hold);
            let asked = raw.ask(&component, scheme, &["--total-timeout", "300"]);
            asked.fails("Timeout", ": the whole answer took too long");
            let asked = raw.ask(&component, scheme, &["--timeout", "500ms"]);
            assert_eq!(asked.error().0, "Timeout");
            assert!(asked.done.stderr.contains("--timeout"), "{}", asked.done.stderr);
        }
    }
}

#[test]
fn a_silent_server_does_not_hold_up_what_is_asked_of_others() {
    let raw = Raw::start(|_stream: TcpStream| std::thread::sleep(Duration::from_secs(300)));
    let server = TestServer::start();
    for component in both() {
        let bench = Bench::new();
        for number in 0..40 {
            let url = match number % 4 {
                0 => format!("https://127.0.0.1:{}/x", raw.port),
                _ => format!("{}/ok?n={number}", server.https_url()),
            };
            bench.add(format!("{number:02}.txt"), format!("GET {url}"));
        }
        let silent = format!("127.0.0.1:{}", raw.port);
        let grants = ["--allow-host", &silent, "--allow-host", &secure(&server)];
        let more = ["--concurrency-limit", "40", "--total-timeout", "3000", "--retries", "0"];
        let more = [&grants[..], &more, &["--once"]].concat();
        let done = finish(&mut serve(&bench, &server, &component, &more)).expect(3);
        let done = done.says("30 succeeded, 10 failed");
        // Those were done before the first of the others was given up.
        let failed = done.stderr.find("Failed processing").expect("failures");
        let before = done.stderr[..failed].matches("Successfully processed").count();
        assert_eq!(before, 30, "{}", done.stderr);
    }
}

#[test]
fn a_connection_that_the_server_closed_meanwhile_is_not_used_again() {
    for component in both() {
        // It promises to keep the connection, and does not.
        let raw = Raw::start(|mut stream| {
            if head(&mut stream) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
        });
        let server = TestServer::start();
        let bench = Bench::new();
        let host = format!("127.0.0.1:{}", raw.port);
        let more = ["--allow-host", &*host, "--retries", "0", "--concurrency-limit", "1"];
        let live = Live::start(&bench, &mut serve(&bench, &server, &component, &more));
        for number in 0..5 {
            let new = bench.path().join("new");
            std::fs::write(&new, format!("GET http://{host}/{number}")).expect("a file");
            std::fs::rename(new, bench.input().join(format!("{number}.txt"))).expect("a move");
            wait_until("it is answered", || bench.names().len() > number);
            // Its end arrives.
            std::thread::sleep(Duration::from_millis(100));
        }
        live.signal(Signal::INT);
        live.wait().expect(130).says("5 succeeded, 0 failed");
        assert_eq!(raw.connections(), 5);
    }
}

#[test]
fn few_open_files_are_enough_for_many_requests() {
    for component in both() {
        for http2 in [true, false] {
            let server = TestServer::builder().http2(http2).start();
            let bench = Bench::new();
            for number in 0..200 {
                let request = format!("GET {}/slow?ms=20&n={number}", server.https_url());
                bench.add(format!("{number:03}.txt"), request);
            }
            let more = ["--allow-host", &secure(&server), "--concurrency-limit", "64"];
            let more = [&more[..], &["--retries", "0", "--once"]].concat();
            let command = serve(&bench, &server, &component, &more);
            finish(&mut limited("-n 400", &command)).expect(0).says("200 succeeded, 0 failed");
        }
    }
}
