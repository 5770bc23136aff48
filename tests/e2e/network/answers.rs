//! What servers answer, and what they fail to answer.

use std::path::Path;

use serde_json::Value;
use tigerflow_test_server::{Answer, Certificate, TestServer};
use tigerflow_tests::{Bench, finish};

use super::{Asked, SECOND, assert_secret, both, plain, run, secure, serve};

/// A request to a path of the server over plain HTTP, and the grant for it.
fn http(server: &TestServer, path: &str) -> (String, [String; 2]) {
    (format!("GET {}{path}", server.http_url()), ["--allow-host".into(), plain(server)])
}

/// The same over TLS.
fn https(server: &TestServer, path: &str) -> (String, [String; 2]) {
    (format!("GET {}{path}", server.https_url()), ["--allow-host".into(), secure(server)])
}

/// Has a guest send it.
fn ask(
    server: &TestServer,
    component: &Path,
    (request, grant): &(String, [String; 2]),
    more: &[&str],
) -> Asked {
    let more = [&[&*grant[0], &*grant[1]][..], more].concat();
    Asked::new(server, component, request, &more)
}

#[test]
fn requests_arrive_as_the_guest_wrote_them() {
    let server = TestServer::start();
    for component in both() {
        for (url, version) in [(server.http_url(), "HTTP/1.1"), (server.https_url(), "HTTP/2.0")] {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                let body = if method == "GET" { "" } else { "{\"text\": \"Grüße\"}\n" };
                let request = format!(
                    "{method} {url}/echo?q=a%20b&ü=1\nx-test: yes\ncontent-type: \
                     application/json\naccept: application/json\n\n{body}"
                );
                let grants = ["--allow-host", &plain(&server), "--allow-host", &secure(&server)];
                let (status, told) = Asked::new(&server, &component, &request, &grants).answer();
                assert_eq!(status, 200);
                let told: Value = serde_json::from_str(&told).expect("JSON");
                assert_eq!(told["method"], method);
                assert_eq!(told["version"], version);
                assert_eq!(told["query"], "q=a%20b&%C3%BC=1");
                assert_eq!(told["body"], body);
                assert_eq!(told["headers"]["x-test"], "yes");
                assert_eq!(told["headers"]["content-type"], "application/json");
                assert_eq!(told["headers"]["accept"], "application/json");
                let agent = told["headers"]["user-agent"].as_str().expect("a name");
                assert!(agent.starts_with("tigerflow-"), "{agent}");
                // Not in chunks: some servers take none.
                assert_eq!(told["headers"]["transfer-encoding"], Value::Null);
            }
        }
    }
}

#[test]
fn what_is_answered_comes_whole() {
    let server = TestServer::start();
    for component in both() {
        for way in [http, https] {
            let asked = ask(&server, &component, &way(&server, "/ok"), &[]);
            assert_eq!(asked.answer(), (200, "ok\n".into()));
            let asked = ask(&server, &component, &way(&server, "/status/204"), &[]);
            assert_eq!(asked.answer(), (204, String::new()));
            let asked = ask(&server, &component, &way(&server, "/headers?n=90"), &[]);
            assert_eq!(asked.answer(), (200, "headers\n".into()));
            let asked = ask(&server, &component, &way(&server, "/headers?n=2&bytes=30000"), &[]);
            assert_eq!(asked.answer(), (200, "headers\n".into()));
            // A status that the guest does not object to is an answer.
            let asked = ask(&server, &component, &way(&server, "/status/503?message=busy"), &[]);
            let (status, body) = asked.answer();
            assert!(status == 503 && body.contains("busy"), "{status}: {body}");
            let asked = ask(&server, &component, &way(&server, "/big?bytes=20000000"), &[]);
            let (status, body) = asked.answer();
            assert_eq!((status, body.len()), (200, 20_000_000));
        }
        let head = format!("HEAD {}/big?bytes=20000000", server.http_url());
        let asked = Asked::new(&server, &component, &head, &["--allow-host", &plain(&server)]);
        assert_eq!(asked.answer(), (200, String::new()));
    }
}

#[test]
fn a_large_request_arrives_whole() {
    let server = TestServer::start();
    let body = "0123456789".repeat(600_000);
    for component in both() {
        for (url, grant) in
            [(server.http_url(), plain(&server)), (server.https_url(), secure(&server))]
        {
            let request = format!("POST {url}/echo\n\n{body}");
            let bench = Bench::new();
            bench.add("a.txt", request);
            run(&bench, &server, &component, &["--allow-host", &grant]).expect(0);
            let arrived = server.requests().pop().expect("a request");
            assert_eq!(arrived.body_bytes, body.len());
            assert_eq!(arrived.header("content-length"), Some("6000000"));
        }
    }
}

#[test]
fn slow_answers_are_waited_for() {
    let server = TestServer::start();
    // Ten pieces, each within the limit; all of them together are not.
    let more = ["--request-timeout", "1500ms"];
    for component in both() {
        for way in [http, https] {
            let asked = ask(&server, &component, &way(&server, "/slow?ms=400"), &more);
            assert_eq!(asked.answer(), (200, "slow\n".into()));
            let asked = ask(&server, &component, &way(&server, "/drip?ms=200&n=10"), &more);
            let (status, body) = asked.answer();
            assert_eq!((status, body.lines().count()), (200, 10));
        }
    }
}

#[test]
fn a_status_that_says_no_is_told_with_what_the_server_says() {
    for component in both() {
        let server = TestServer::start();
        for (status, words) in [
            (400, "400 Bad Request"),
            (401, "401 Unauthorized"),
            (403, "403 Forbidden"),
            (404, "404 Not Found"),
            (413, "413 Content Too Large"),
            (422, "422 Unprocessable Content"),
            (501, "501 Not Implemented"),
            (777, "777"),
        ] {
            let path = format!("/status/{status}?message=the+reason+%22why%22&retry-after=30");
            let more = ["--strict", "--retries", "5"];
            let asked = ask(&server, &component, &http(&server, &path), &more);
            let end = format!(
                "/status/{status}: the server answered {words}: \
                 {{\"error\":{{\"code\":{status},\"message\":\"the reason \\\"why\\\"\"}}}}"
            );
            asked.fails("HttpStatus", &end);
            // Final, and the query of a URL is nobody's business.
            assert_eq!(asked.bench.err("a.err")["attempts"], 1, "{status}");
            assert!(!asked.error().1.contains("retry-after"), "{}", asked.error().1);
            assert_eq!(server.count(&format!("/status/{status}")), 1, "{status}");
        }
    }
}

#[test]
fn a_passing_status_is_tried_again_and_the_last_one_told() {
    let more = ["--strict", "--retries", "2", "--retry-delay", "10ms"];
    for component in both() {
        for status in [408, 425, 429, 500, 502, 503, 504] {
            let server = TestServer::start();
            let path = format!("/flaky?fails=2&status={status}");
            let asked = ask(&server, &component, &http(&server, &path), &more);
            assert_eq!(asked.answer(), (200, "ok\n".into()));
            assert_eq!(server.count("/flaky"), 3, "{status}");
            assert_eq!(asked.done.stderr.matches("Retrying in ").count(), 2);

            let path = format!("/status/{status}");
            let asked = ask(&server, &component, &https(&server, &path), &more);
            let (kind, message) = asked.error();
            let told = format!("the server answered {status} ");
            assert!(kind == "HttpStatus" && message.contains(&told), "{kind}: {message}");
            assert_eq!(asked.bench.err("a.err")["attempts"], 3, "{status}");
            assert_eq!(server.count(&path), 3);
        }
    }
}

#[test]
fn a_wait_that_a_server_asks_for_is_kept() {
    for component in both() {
        let server = TestServer::start();
        let bench = Bench::new();
        for number in 0..10 {
            let path = format!("/flaky?fails=2&status=429&retry-after=1&n={number}");
            bench.add(format!("{number}.txt"), http(&server, &path).0);
        }
        let more = ["--allow-host", &plain(&server), "--strict", "--retry-delay", "1ms"];
        run(&bench, &server, &component, &more).expect(0).says("10 succeeded");
        let requests = server.requests();
        assert_eq!(requests.len(), 30);
        for (at, request) in requests.iter().enumerate() {
            let next = requests[at + 1..].iter().find(|next| next.query == request.query);
            let Some(next) = next else { continue };
            let ended = request.ended.expect("it ended");
            let waited = next.arrived.saturating_duration_since(ended);
            assert!(waited >= SECOND, "{waited:?} after {request:?}");
        }
    }
}

#[test]
fn a_wait_that_is_over_or_makes_no_sense_is_none() {
    for component in both() {
        let server = TestServer::start();
        for after in ["Sun,+06+Nov+1994+08:49:37+GMT", "soon", "-1", "0", ""] {
            let path = format!("/flaky?fails=1&status=503&retry-after={after}");
            let more = ["--strict", "--retries", "1", "--retry-delay", "10ms"];
            let asked = ask(&server, &component, &http(&server, &path), &more);
            assert_eq!(asked.answer(), (200, "ok\n".into()), "{after}");
        }
    }
}

#[test]
fn a_cut_answer_is_called_so() {
    for (http2, way) in [(false, http as fn(&_, &_) -> _), (false, https), (true, https)] {
        let server = TestServer::builder().http2(http2).start();
        for component in both() {
            for bytes in [1_000, 1_000_000] {
                let path = format!("/cut?bytes={bytes}");
                let asked = ask(&server, &component, &way(&server, &path), &[]);
                asked.fails("IncompleteResponse", "/cut: the answer ended too early");
                let words = "the connection was cut in the middle of the response";
                let cut = asked.done.stderr.contains(words)
                    || asked.done.stderr.contains("cut it in the middle of the response");
                assert!(cut, "HTTP/2: {http2}\n{}", asked.done.stderr);
            }
        }
        let version = server.requests()[0].version.clone();
        assert_eq!(version, if http2 { "HTTP/2.0" } else { "HTTP/1.1" });
    }
}

#[test]
fn what_is_no_answer_at_all_is_worth_another_try() {
    let more = ["--retries", "2", "--retry-delay", "10ms", "--request-timeout", "300ms"];
    for (http2, way) in [(false, http as fn(&_, &_) -> _), (false, https), (true, https)] {
        for component in both() {
            for (path, kind, end) in [
                ("/reset", "ConnectionError", "the connection was lost"),
                ("/malformed", "ProtocolError", "the answer is no proper HTTP"),
                ("/silent", "Timeout", "the server sent nothing for too long"),
                ("/stall?bytes=1000", "Timeout", "the server sent nothing for too long"),
            ] {
                let server = TestServer::builder().http2(http2).start();
                let asked = ask(&server, &component, &way(&server, path), &more);
                let (path, _) = path.split_once('?').unwrap_or((path, ""));
                asked.fails(kind, &format!("{path}: {end}"));
                assert_eq!(asked.bench.err("a.err")["attempts"], 3, "{path}");
                // Sent as often as tried: nothing is repeated behind the task's back.
                assert_eq!(server.count(path), 3, "{path}, HTTP/2: {http2}");
                asked.tells_once("A request to http");
            }
        }
    }
}

#[test]
fn nothing_listens_and_no_such_name() {
    let server = TestServer::start();
    let more = ["--retries", "1", "--retry-delay", "10ms", "--allow-host"];
    for component in both() {
        let asked = Asked::new(
            &server,
            &component,
            "GET http://127.0.0.1:1/x",
            &[&more[..], &["127.0.0.1:1"]].concat(),
        );
        asked.fails("ConnectionRefused", "GET 127.0.0.1:1/x: the connection was refused");
        asked.tells_once("A request to http://127.0.0.1:1 failed: nothing listens there");
        assert_eq!(asked.bench.err("a.err")["attempts"], 2);

        let name = "nowhere.invalid";
        let asked = Asked::new(
            &server,
            &component,
            "GET https://nowhere.invalid/x?key=hush",
            &[&more[..], &[name]].concat(),
        );
        assert_eq!(asked.error().0, "DnsError");
        asked.tells_once("failed: the name `nowhere.invalid` does not resolve");
        assert_secret(&asked.bench, &asked.done, "hush");
    }
}

#[test]
fn a_guest_has_limits_of_its_own() {
    let server = TestServer::start();
    for component in both() {
        for way in [http, https] {
            for (path, option) in [
                ("/silent", "--read-timeout"),
                ("/stall", "--read-timeout"),
                ("/silent", "--total-timeout"),
                ("/drip?ms=50&n=1000", "--total-timeout"),
                ("/stall", "--total-timeout"),
            ] {
                let asked = ask(&server, &component, &way(&server, path), &[option, "300"]);
                let words = match option {
                    "--read-timeout" => ": the server sent nothing for too long",
                    _ => ": the whole answer took too long",
                };
                asked.fails("Timeout", words);
            }
        }
    }
}

#[test]
fn a_body_without_end_is_stopped_by_its_size() {
    let server = TestServer::start();
    for component in both() {
        for way in [http, https] {
            for path in ["/endless", "/big?bytes=5000000"] {
                let more = ["--response-limit", "1M", "--retries", "3"];
                let asked = ask(&server, &component, &way(&server, path), &more);
                asked.fails("ResponseTooLarge", ": the answer is too large");
                asked.tells_once("the response has more than 1.0 MiB (raise --response-limit)");
                assert_eq!(asked.bench.err("a.err")["attempts"], 1, "it is final");
            }
            // Exactly as much as may be.
            let more = ["--response-limit", "1M"];
            let asked = ask(&server, &component, &way(&server, "/big?bytes=1048576"), &more);
            assert_eq!(asked.answer().1.len(), 1 << 20);
        }
    }
}

#[test]
fn a_body_without_end_fills_no_disk() {
    let server = TestServer::start();
    for component in both() {
        let more = ["--output-limit", "2M"];
        let asked = ask(&server, &component, &http(&server, "/endless"), &more);
        let (_, message) = asked.error();
        assert!(message.contains("--output-limit") || asked.done.stderr.contains("--output-limit"));
        assert_eq!(asked.bench.names(), ["a.err"]);
    }
}

#[test]
fn many_headers_are_taken() {
    let server = TestServer::start();
    for component in both() {
        for way in [http, https] {
            let asked = ask(&server, &component, &way(&server, "/headers?n=300"), &[]);
            assert_eq!(asked.answer(), (200, "headers\n".into()));
        }
    }
}

#[test]
fn huge_headers_are_refused() {
    let server = TestServer::start();
    for component in both() {
        for way in [http, https] {
            for path in ["/headers?n=5000&bytes=100", "/headers?n=4&bytes=500000"] {
                let asked = ask(&server, &component, &way(&server, path), &[]);
                assert_eq!(asked.done.code, 3, "{}", asked.done.stderr);
                assert!(!asked.done.stderr.contains("panicked"), "{}", asked.done.stderr);
                let (kind, _) = asked.error();
                let known = ["ResponseTooLarge", "ProtocolError", "ConnectionError"];
                assert!(known.contains(&&*kind), "{kind}: {}", asked.done.stderr);
            }
            // The host goes on after it.
            let asked = ask(&server, &component, &way(&server, "/ok"), &[]);
            assert_eq!(asked.answer(), (200, "ok\n".into()));
        }
    }
}

#[test]
fn redirects_are_followed_to_their_end() {
    let server = TestServer::start();
    for component in both() {
        let asked = ask(&server, &component, &http(&server, "/redirect-loop?n=10"), &[]);
        assert_eq!(asked.answer(), (200, "out of the loop\n".into()));
        for path in ["/redirect-loop", "/redirect-loop?n=11"] {
            let asked = ask(&server, &component, &https(&server, path), &["--retries", "3"]);
            asked.fails("TooManyRedirects", ": it was redirected more than 10 times");
            assert_eq!(asked.bench.err("a.err")["attempts"], 1, "it is final");
        }
        let asked =
            ask(&server, &component, &http(&server, "/redirect-loop"), &["--redirects", "0"]);
        assert_eq!(asked.answer(), (302, String::new()));
        let request = http(&server, "/redirect?to=mailto:a@b.test");
        let asked = ask(&server, &component, &request, &[]);
        assert_eq!(asked.error().0, "InvalidUrl");
    }
}

#[test]
fn what_was_posted_is_posted_again_where_the_redirect_says_so() {
    let server = TestServer::start();
    for component in both() {
        for (code, method, body) in [
            (301, "GET", ""),
            (302, "GET", ""),
            (303, "GET", ""),
            (307, "POST", "hello"),
            (308, "POST", "hello"),
        ] {
            let request =
                format!("POST {}/redirect?to=/echo&code={code}\n\nhello", server.http_url());
            let grant = ["--allow-host", &plain(&server)];
            let (_, told) = Asked::new(&server, &component, &request, &grant).answer();
            let told: Value = serde_json::from_str(&told).expect("JSON");
            assert_eq!((&told["method"], &told["body"]), (&method.into(), &body.into()), "{code}");
        }
    }
}

#[test]
fn a_key_does_not_follow_a_redirect_to_another_server() {
    let (first, second) = (TestServer::start(), TestServer::start());
    for component in both() {
        let request = format!(
            "GET {}/redirect?to={}/echo\nauthorization: Bearer hush\nx-api-key: hush\ncookie: a=hush",
            first.https_url(),
            second.http_url()
        );
        let grants = ["--allow-host", &secure(&first), "--allow-host", &plain(&second)];
        let asked = Asked::new(&first, &component, &request, &grants);
        assert_eq!(asked.done.code, 0, "{}", asked.done.stderr);
        assert_secret(&asked.bench, &asked.done, "hush");
        assert_eq!(first.requests().pop().expect("one").header("x-api-key"), Some("hush"));
        // On one server it does.
        let request = format!("GET {}/redirect?to=/echo\nx-api-key: hush", first.https_url());
        let asked = Asked::new(&first, &component, &request, &grants);
        assert!(asked.answer().1.contains("hush"));
    }
}

#[test]
fn a_certificate_that_is_not_right_is_final_and_told() {
    for component in both() {
        for (certificate, words) in [
            (Certificate::Expired, "expired"),
            (Certificate::WrongName, "elsewhere.test"),
            (Certificate::SelfSigned, "UnknownIssuer"),
        ] {
            let server = TestServer::builder().certificate(certificate).start();
            let asked = ask(&server, &component, &https(&server, "/ok"), &["--retries", "3"]);
            asked.fails("TlsError", "/ok: the server's certificate is not trusted");
            assert_eq!(asked.bench.err("a.err")["attempts"], 1, "it is final");
            let line = asked.done.stderr.lines().find(|line| line.contains("is not trusted: "));
            let line = line.unwrap_or_else(|| panic!("{}", asked.done.stderr));
            assert!(line.contains(words) && line.contains("SSL_CERT_FILE"), "{line}");
            assert_eq!(server.requests().len(), 0, "it was asked all the same");
        }
        // A certificate of a CA that is not trusted.
        let (server, other) = (TestServer::start(), TestServer::start());
        let bench = Bench::new();
        bench.add("a.txt", format!("GET {}/ok", server.https_url()));
        let more = ["--allow-host", &secure(&server), "--once"];
        let mut command = serve(&bench, &server, &component, &more);
        let done = finish(command.env("SSL_CERT_FILE", other.ca_file())).expect(3);
        done.says("its certificate is not trusted: ").says("SSL_CERT_FILE");
        assert_eq!(bench.err("a.err")["exception_type"], "TlsError");
    }
}

#[test]
fn a_certificate_file_that_is_missing_is_told() {
    let server = TestServer::start();
    for component in both() {
        for missing in ["/nonexistent/ca.pem", "/"] {
            let bench = Bench::new();
            bench.add("a.txt", format!("GET {}/ok", server.https_url()));
            let more = ["--allow-host", &secure(&server), "--once", "--retries", "0"];
            let mut command = serve(&bench, &server, &component, &more);
            command.env("SSL_CERT_FILE", missing);
            let done = finish(&mut command).expect(3).says("SSL_CERT_FILE");
            assert!(done.stderr.contains(missing), "which one?\n{}", done.stderr);
        }
        // Without TLS nobody looks.
        let bench = Bench::new();
        bench.add("a.txt", format!("GET {}/ok", server.http_url()));
        let more = ["--allow-host", &plain(&server), "--once"];
        let mut command = serve(&bench, &server, &component, &more);
        let done = finish(command.env("SSL_CERT_FILE", "/nonexistent/ca.pem")).expect(0);
        assert!(!done.stderr.contains("WARNING"), "{}", done.stderr);
    }
}

#[test]
fn connections_are_shared_and_kept() {
    const FILES: usize = 240;
    for component in both() {
        for (http2, way) in [(true, https as fn(&_, &_) -> _), (false, https), (false, http)] {
            let server = TestServer::builder().http2(http2).start();
            let bench = Bench::new();
            let mut grant = Default::default();
            for number in 0..FILES {
                let (request, granted) = way(&server, &format!("/echo?n={number}"));
                bench.add(format!("{number}.txt"), request);
                grant = granted;
            }
            let more = [&*grant[0], &*grant[1], "--concurrency-limit", "8"];
            run(&bench, &server, &component, &more).expect(0).says("240 succeeded");
            let version = if http2 { "HTTP/2.0" } else { "HTTP/1.1" };
            let requests = server.requests();
            assert!(requests.iter().all(|request| request.version == version));
            assert!(requests.iter().all(|request| request.answer == Answer::Full(200)));
            assert_eq!(requests.len(), FILES);
            // Over HTTP/1 each that is at work needs one, and threads share none. One
            // more is opened where none is free, and kept where one is by then.
            let connections = server.connections();
            assert!((1..=16).contains(&connections), "{connections} over {version}");
            assert!(server.peak_in_flight() <= 8);
            assert_eq!(server.counts().failed_handshakes, 0);
        }
    }
}

#[test]
fn one_connection_carries_all_requests_of_an_instance_over_http2() {
    let server = TestServer::start();
    let bench = Bench::new();
    for number in 0..200 {
        let (request, _) = https(&server, &format!("/slow?ms=20&n={number}"));
        bench.add(format!("{number}.txt"), request);
    }
    let more = ["--allow-host", &secure(&server), "--concurrency-limit", "50"];
    run(&bench, &server, &both()[1], &more).expect(0);
    assert_eq!(server.connections(), 1);
    assert!(server.peak_in_flight() <= 50);
    assert!(server.peak_in_flight() > 1, "none ran beside another");
}

#[test]
fn a_broken_connection_costs_its_own_request_only() {
    for component in both() {
        for http2 in [true, false] {
            let server = TestServer::builder().http2(http2).start();
            let bench = Bench::new();
            for number in 0..60 {
                let path = match number % 3 {
                    0 => ["/reset", "/cut"][number % 2],
                    _ => "/ok",
                };
                let request = https(&server, &format!("{path}?n={number}")).0;
                bench.add(format!("{number:02}.txt"), request);
            }
            // One after the other, so that over HTTP/2, too, none is in flight beside it.
            let more = ["--allow-host", &secure(&server), "--retries", "0"];
            let more = [&more[..], &["--concurrency-limit", "1"]].concat();
            run(&bench, &server, &component, &more).expect(3).says("40 succeeded, 20 failed");
            for number in 0..60 {
                let end = if number % 3 == 0 { "err" } else { "out" };
                assert!(bench.has(format!("{number:02}.{end}")), "{number}");
            }
            assert_eq!(server.requests().len(), 60);
        }
    }
}

#[test]
fn many_servers_are_asked_at_once() {
    let servers: Vec<TestServer> = (0..6).map(|_| TestServer::start()).collect();
    for component in both() {
        let bench = Bench::new();
        let mut more = Vec::new();
        for (number, server) in servers.iter().enumerate() {
            more.extend(["--allow-host".to_owned(), plain(server)]);
            for file in 0..20 {
                let request = format!("GET {}/slow?ms=30&n={file}", server.http_url());
                bench.add(format!("{number}-{file}.txt"), request);
            }
        }
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        run(&bench, &servers[0], &component, &more).expect(0).says("120 succeeded");
    }
    for server in &servers {
        assert_eq!(server.count("/slow"), 40);
    }
}
