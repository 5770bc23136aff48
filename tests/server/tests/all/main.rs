//! Tests of the test server itself, by clients of the plainest kind.

mod embeddings;
mod plain;
mod proxy;
mod secure;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tigerflow_test_server::TestServer;

/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer, as it came over a connection of its own.
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).next()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }
}

/// A connection to the plain port, on which this has been said.
fn said(server: &TestServer, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", server.http_port())).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    stream
}

/// One request on a connection of its own, in full.
fn ask(server: &TestServer, method: &str, target: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    let mut stream = said(
        server,
        &format!(
            "{method} {target} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
             content-length: {length}\r\n{headers}\r\n{body}"
        ),
    );
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("an answer");
    parsed(&all)
}

fn get(server: &TestServer, target: &str) -> Reply {
    ask(server, "GET", target, "", "")
}

/// An answer taken apart; a body in chunks is put together.
fn parsed(all: &[u8]) -> Reply {
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(all[..end].to_vec()).expect("a head in text");
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a status");
    let mut reply = Reply { status, head, body: all[end + 4..].to_vec() };
    if reply.header("transfer-encoding") == Some("chunked") {
        let mut rest = reply.body.as_slice();
        let mut body = Vec::new();
        while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
            let length = std::str::from_utf8(&rest[..line]).expect("a length");
            let length = usize::from_str_radix(length, 16).expect("a length");
            body.extend_from_slice(&rest[line + 2..line + 2 + length]);
            rest = &rest[line + 2 + length + 2..];
        }
        reply.body = body;
    }
    reply
}

/// Waits until something holds.
#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it did not come to pass: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
