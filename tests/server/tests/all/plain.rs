//! Plain HTTP/1: every path, the log, and the program.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tigerflow_test_server::{Answer, LATIN1, PAGE, TestServer};

use crate::{PATIENCE, ask, get, parsed, said, wait_until};

#[test]
fn two_requests_of_one_connection_are_in_the_log() {
    let server = TestServer::start();
    let mut stream = said(&server, "GET /ok?a=1 HTTP/1.1\r\nHost: h\r\nX-Two: 2\r\n\r\n");
    let mut first = vec![0; 1 << 10];
    let length = stream.read(&mut first).unwrap();
    assert!(first[..length].ends_with(b"ok\n"));
    stream.write_all(b"POST /ok HTTP/1.0\r\ncontent-length: 4\r\n\r\nbody").unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();

    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let (one, two) = (&requests[0], &requests[1]);
    assert_eq!((one.method.as_str(), one.path.as_str(), one.query.as_str()), ("GET", "/ok", "a=1"));
    assert_eq!((one.version.as_str(), two.version.as_str()), ("HTTP/1.1", "HTTP/1.0"));
    assert_eq!((one.header("x-two"), two.header("x-two")), (Some("2"), None));
    assert_eq!((one.host.as_str(), two.host.as_str()), ("h", ""));
    assert_eq!((one.connection, two.connection), (1, 1));
    assert_eq!((two.body_bytes, &two.body[..]), (4, &b"body"[..]));
    assert_eq!((one.answer, two.answer), (Answer::Full(200), Answer::Full(200)));
    assert!(one.arrived < one.ended.unwrap() && one.ended.unwrap() < two.arrived);
    assert!(!one.secure && !one.proxied && one.texts.is_empty());
    assert_eq!((server.count("/ok"), server.count("/"), server.connections()), (2, 0, 1));
    assert_eq!(server.peak_in_flight(), 1);
    assert_eq!(server.most_in_any_window(Duration::from_secs(60)), 2);
    assert_eq!(server.most_in_any_window(two.arrived - one.arrived), 1);
    let counts = server.counts();
    assert_eq!((counts.requests, counts.answered), (2, 2));
}

#[test]
fn answers_that_are_well() {
    let server = TestServer::start();
    let echo = ask(&server, "PUT", "/echo?q=%41", "x-a: 1\r\nx-a: 2\r\n", "grün").json();
    assert_eq!(echo["method"], "PUT");
    assert_eq!((&echo["path"], &echo["query"]), (&"/echo".into(), &"q=%41".into()));
    assert_eq!(echo["headers"]["x-a"], "1, 2");
    assert_eq!((&echo["body"], &echo["body_bytes"]), (&"grün".into(), &5.into()));

    let big = get(&server, "/big?bytes=100001");
    assert_eq!((big.body.len(), big.header("content-length")), (100_001, Some("100001")));
    assert_eq!(get(&server, "/page").text(), PAGE);
    let latin1 = get(&server, "/latin1");
    assert!(std::str::from_utf8(&latin1.body).is_err());
    assert_eq!(latin1.body.iter().map(|byte| *byte as char).collect::<String>(), LATIN1);
    assert_eq!(latin1.header("content-type"), Some("text/html; charset=ISO-8859-1"));
    let binary = get(&server, "/binary");
    assert_eq!(binary.header("content-type"), Some("image/png"));
    assert!(binary.body.starts_with(b"\x89PNG\r\n"));
    let headers = get(&server, "/headers?n=200&bytes=300");
    assert_eq!(headers.header("x-header-199").map(str::len), Some(300));
    let head = ask(&server, "HEAD", "/big?bytes=77", "", "");
    assert_eq!((head.header("content-length"), head.body.len()), (Some("77"), 0));
    assert!(server.requests().iter().all(|request| request.answer == Answer::Full(200)));
}

#[test]
fn answers_of_other_statuses() {
    let server = TestServer::start();
    let limited = get(&server, "/status/429?retry-after=2");
    assert_eq!((limited.status, limited.header("retry-after")), (429, Some("2")));
    assert_eq!(limited.json()["error"]["code"], 429);
    assert_eq!(server.requests()[0].retry_after, Some(Duration::from_secs(2)));
    assert_eq!(get(&server, "/status/500?message=no%20way").json()["error"]["message"], "no way");
    assert_eq!(get(&server, "/status/204").body.len(), 0);
    assert_eq!(get(&server, "/status/799").status, 799);
    assert_eq!(get(&server, "/status/7").status, 400);
    assert_eq!(get(&server, "/nowhere").status, 404);

    let moved = get(&server, "/redirect?to=http%3A%2F%2Fx.test%2F%3Fa%3D1&code=308");
    assert_eq!((moved.status, moved.header("location")), (308, Some("http://x.test/?a=1")));
    assert_eq!(get(&server, "/redirect-loop").header("location"), Some("/redirect-loop"));
    assert_eq!(get(&server, "/redirect-loop?n=2").header("location"), Some("/redirect-loop?n=1"));
    assert_eq!(get(&server, "/redirect-loop?n=0").status, 200);

    assert_eq!(get(&server, "/auth?token=t").header("www-authenticate"), Some("Bearer"));
    let auth = |value| {
        ask(&server, "GET", "/auth?token=t", &format!("authorization: {value}\r\n"), "").status
    };
    assert_eq!((auth("Bearer t"), auth("Bearer u")), (200, 401));

    let flaky = || get(&server, "/flaky?fails=2&retry-after=0").status;
    assert_eq!((flaky(), flaky(), flaky()), (503, 503, 200));
}

#[test]
fn answers_that_take_their_time() {
    let server = TestServer::start();
    let begun = Instant::now();
    assert_eq!(get(&server, "/slow?ms=60").status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(60));

    let begun = Instant::now();
    assert_eq!(get(&server, "/drip?ms=20&n=4").text(), "drop 0\ndrop 1\ndrop 2\ndrop 3\n");
    assert!(begun.elapsed() >= Duration::from_millis(60));

    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| get(&server, "/slow?ms=200"));
        }
    });
    assert_eq!(server.peak_in_flight(), 8);
    assert_eq!(server.connections(), 10);
}

#[test]
fn answers_that_break() {
    let server = TestServer::start();
    let cut = get(&server, "/cut?bytes=2000");
    assert_eq!((cut.header("content-length"), cut.body.len()), (Some("2000"), 1000));
    wait_until("the cut is over", || server.requests()[0].ended.is_some());
    assert_eq!(server.requests()[0].answer, Answer::Partial(200));

    let mut stream = said(&server, "GET /reset HTTP/1.1\r\nhost: x\r\n\r\n");
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(server.requests()[1].answer, Answer::Reset);

    let mut garbage = Vec::new();
    said(&server, "GET /malformed HTTP/1.1\r\nhost: x\r\n\r\n").read_to_end(&mut garbage).unwrap();
    assert!(!garbage.is_empty() && !garbage.starts_with(b"HTTP"));
    assert_eq!(server.requests()[2].answer, Answer::Garbage);
}

#[test]
fn answers_that_never_end() {
    let server = TestServer::start();
    let ended = |n: usize| server.requests().get(n).is_some_and(|request| request.ended.is_some());

    let mut stall = said(&server, "GET /stall?bytes=600 HTTP/1.1\r\nhost: x\r\n\r\n");
    stall.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut all = Vec::new();
    assert_eq!(stall.read_to_end(&mut all).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(parsed(&all).body.len(), 300);
    assert!(!ended(0));
    drop(stall);
    wait_until("it sees that the client left", || ended(0));
    assert_eq!(server.requests()[0].answer, Answer::Partial(200));

    let mut silent = said(&server, "GET /silent HTTP/1.1\r\nhost: x\r\n\r\n");
    silent.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(silent);
    wait_until("it sees that the client left", || ended(1));
    assert_eq!(server.requests()[1].answer, Answer::Nothing);

    let mut endless = said(&server, "GET /endless HTTP/1.1\r\nhost: x\r\n\r\n");
    endless.read_exact(&mut vec![0; 8 << 20]).unwrap();
    drop(endless);
    wait_until("it sees that the client left", || ended(2));
    assert_eq!(server.counts().answered, 0);
}

#[test]
fn silence_is_bounded() {
    let server = TestServer::builder().silence(Duration::from_millis(50)).start();
    for path in ["/silent", "/stall"] {
        let begun = Instant::now();
        let mut stream = said(&server, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
        stream.read_to_end(&mut Vec::new()).unwrap();
        assert!(begun.elapsed() < PATIENCE / 2);
    }
}

#[test]
fn a_large_body_is_cut_in_the_log_alone() {
    let server = TestServer::start();
    let body = "b".repeat(300_000);
    let echo = ask(&server, "POST", "/echo", "", &body).json();
    assert_eq!((&echo["body"], &echo["body_bytes"]), (&body.into(), &300_000.into()));
    let request = &server.requests()[0];
    assert_eq!((request.body_bytes, request.body.len()), (300_000, 64 << 10));
}

#[test]
fn it_ends_when_it_is_dropped() {
    let server = TestServer::builder().threads(3).start();
    let ca_file = server.ca_file().to_owned();
    let mut open: Vec<TcpStream> =
        (0..5).map(|_| said(&server, "GET /stall?bytes=2 HTTP/1.1\r\nhost: x\r\n\r\n")).collect();
    wait_until("all have come", || server.count("/stall") == 5);
    assert!(ca_file.exists());
    drop(server);
    assert!(!ca_file.exists());
    for stream in &mut open {
        // At its end, by a close or by a reset.
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

#[test]
fn the_program_serves_until_its_input_ends() {
    let place = tempfile::tempdir().unwrap();
    let ca_file = place.path().join("ca.pem");
    let mut program = Command::new(env!("CARGO_BIN_EXE_tigerflow-test-server"))
        .args(["--dimension", "16", "--key", "k", "--threads", "2", "--ca-file"])
        .arg(&ca_file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let ready: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert!(std::fs::read_to_string(&ca_file).unwrap().contains("BEGIN CERTIFICATE"));
    let address = ready["http"].as_str().unwrap().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let body = r#"{"input":"a","model":"m"}"#;
    write!(
        stream,
        "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         authorization: Bearer k\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let answer = parsed(&all).json();
    assert_eq!(answer["data"][0]["embedding"].as_array().unwrap().len(), 16);

    drop(program.stdin.take());
    let counts: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&counts["requests"], &counts["answered"]), (&1.into(), &1.into()));
    assert!(program.wait().unwrap().success());

    let wrong = Command::new(env!("CARGO_BIN_EXE_tigerflow-test-server")).arg("--x").output();
    assert_eq!(wrong.unwrap().status.code(), Some(2));
}
