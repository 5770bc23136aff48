//! The proxies that the environment names.

use std::path::Path;

use tigerflow_test_server::{ProxyUse, TestServer};
use tigerflow_tests::{Bench, finish, plugin};

use super::{Asked, KEY, add_texts, assert_embedded, assert_secret, both, embed, run, serve};

/// A server that the proxy knows by names.
fn named() -> TestServer {
    TestServer::builder().names(&["api.test", "eu.api.test"]).start()
}

/// Has a guest ask for a URL with these variables set.
fn ask(
    server: &TestServer,
    component: &Path,
    url: &str,
    more: &[&str],
    variables: &[(&str, &str)],
) -> Asked {
    let bench = Bench::new();
    bench.add("a.txt", format!("GET {url}"));
    let mut command = serve(&bench, server, component, more);
    command.envs(variables.iter().copied()).arg("--once");
    let done = finish(&mut command);
    Asked { bench, done }
}

fn uses(server: &TestServer) -> Vec<String> {
    server.proxy_uses().into_iter().map(|ProxyUse { target, .. }| target).collect()
}

#[test]
fn requests_go_through_the_proxy_of_the_environment() {
    for component in both() {
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            let server = named();
            let proxy = [(name, &*server.proxy_url())];
            let grant = ["--allow-host", "api.test"];
            let asked = ask(&server, &component, "https://api.test/ok", &grant, &proxy);
            assert_eq!(asked.answer(), (200, "ok\n".into()), "{name}");
            assert_eq!(uses(&server), ["api.test:443"], "{name}");
            let request = &server.requests()[0];
            assert!(request.secure && request.proxied, "{request:?}");
            assert_eq!((&*request.host, &*request.version), ("api.test", "HTTP/2.0"));
        }
        for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
            let server = named();
            let proxy = [(name, &*server.proxy_url())];
            let grant = ["--allow-host", "api.test"];
            let asked = ask(&server, &component, "http://api.test/ok?a=b", &grant, &proxy);
            assert_eq!(asked.answer(), (200, "ok\n".into()), "{name}");
            assert_eq!(uses(&server), ["http://api.test/ok?a=b"], "{name}");
            let request = &server.requests()[0];
            assert!(!request.secure && request.proxied, "{request:?}");
        }
    }
}

#[test]
fn a_proxy_grants_nothing() {
    let server = named();
    let proxy = [("HTTPS_PROXY", &*server.proxy_url()), ("HTTP_PROXY", &*server.proxy_url())];
    for component in both() {
        for (url, granted, offered) in [
            ("https://api.test/ok", "eu.api.test", "api.test"),
            ("https://eu.api.test/ok", "api.test", "eu.api.test"),
            ("https://api.test/ok", "*.api.test", "api.test"),
            ("https://api.test/ok", "*.pi.test", "api.test"),
            ("https://api.test:8443/ok", "api.test", "api.test:8443"),
            ("https://api.test/ok", "api.test:80", "api.test"),
            ("http://api.test/ok", "api.test:443", "api.test"),
            ("http://api.test:443/ok", "api.test", "api.test:443"),
            ("https://api.test.evil.test/ok", "*.api.test", "api.test.evil.test"),
        ] {
            let asked = ask(&server, &component, url, &["--allow-host", granted], &proxy);
            asked.fails("RequestDenied", &format!("`--allow-host {offered}`"));
        }
    }
    assert_eq!(uses(&server), [""; 0], "the proxy was asked");
    // What the user grants goes through: the default ports of both schemes, and subdomains.
    for component in both() {
        for (url, granted) in [
            ("https://api.test/ok", "api.test"),
            ("http://api.test/ok", "api.test"),
            ("https://API.test/ok", "api.test"),
            ("https://api.test/ok", "api.test:443"),
            ("https://api.test:8443/ok", "api.test:8443"),
            ("https://eu.api.test/ok", "*.api.test"),
            ("https://eu.api.test/ok", "*.test"),
        ] {
            let asked = ask(&server, &component, url, &["--allow-host", granted], &proxy);
            assert_eq!(asked.answer(), (200, "ok\n".into()), "{url} by {granted}");
        }
    }
}

#[test]
fn exceptions_go_directly() {
    let server = named();
    let proxy = server.proxy_url();
    for component in both() {
        for exception in ["api.test", ".test", "*", "other.test,api.test"] {
            for name in ["NO_PROXY", "no_proxy"] {
                let variables = [("HTTPS_PROXY", &*proxy), (name, exception)];
                let more = ["--allow-host", "api.test", "--retries", "0"];
                let asked = ask(&server, &component, "https://api.test/ok", &more, &variables);
                // No resolver knows it.
                assert_eq!(asked.error().0, "DnsError", "{name}={exception}");
            }
        }
    }
    assert_eq!(uses(&server), [""; 0], "the proxy was asked");
}

#[test]
fn this_machine_is_not_reached_through_a_proxy() {
    let server = named();
    let proxy = server.proxy_url();
    let variables = [("HTTPS_PROXY", &*proxy), ("HTTP_PROXY", &*proxy), ("ALL_PROXY", &*proxy)];
    for component in both() {
        let (http, https) = (server.http_port(), server.https_port());
        for target in [format!("http://127.0.0.1:{http}"), format!("https://localhost:{https}")] {
            let (_, grant) = target.split_once("://").expect("a scheme");
            let more = ["--allow-host", grant];
            let asked = ask(&server, &component, &format!("{target}/ok"), &more, &variables);
            assert_eq!(asked.answer(), (200, "ok\n".into()), "{target}");
        }
    }
    assert_eq!(uses(&server), [""; 0], "the proxy was asked");
}

#[test]
fn the_guest_does_not_see_the_proxy() {
    let server = named();
    let proxy = format!("http://me:opensesame@127.0.0.1:{}", port(&server));
    for component in both() {
        let variables = [("HTTP_PROXY", &*proxy)];
        let grant = ["--allow-host", "api.test"];
        let asked = ask(&server, &component, "http://api.test/echo", &grant, &variables);
        let (status, body) = asked.answer();
        assert_eq!(status, 200);
        // The test's proxy passes on what a real one takes out.
        assert!(!body.contains("opensesame"), "{body}");
        assert_secret(&asked.bench, &asked.done, "opensesame");
    }
}

/// The proxy's port.
fn port(server: &TestServer) -> String {
    server.proxy_url().rsplit(':').next().expect("a port").to_owned()
}

/// `me:opensesame` as proxies are told it.
const AUTHORIZATION: &str = "Basic bWU6b3BlbnNlc2FtZQ==";

#[test]
fn who_asks_is_told_to_the_proxy_and_to_nobody_else() {
    for component in both() {
        let server = named();
        let proxy = format!("http://me:opensesame@127.0.0.1:{}", port(&server));
        let variables = [("HTTPS_PROXY", &*proxy), ("HTTP_PROXY", &*proxy)];
        for url in ["https://api.test/ok", "http://api.test/ok"] {
            let more = ["--allow-host", "api.test", "-vv"];
            let asked = ask(&server, &component, url, &more, &variables);
            assert_eq!(asked.answer(), (200, "ok\n".into()), "{url}");
            assert_secret(&asked.bench, &asked.done, "opensesame");
            assert_secret(&asked.bench, &asked.done, "bWU6b3BlbnNlc2FtZQ");
        }
        for used in server.proxy_uses() {
            assert_eq!(used.authorization.as_deref(), Some(AUTHORIZATION), "{used:?}");
        }
        assert_eq!(server.proxy_uses().len(), 2);
        let in_tunnel = server.requests().into_iter().find(|r| r.secure).expect("a request");
        assert_eq!(in_tunnel.header("proxy-authorization"), None);
    }
}

/// Fails unless a proxy's failure is told without its secrets, and was tried
/// again.
#[track_caller]
fn assert_tried_again(asked: &Asked, words: &str) {
    let Asked { bench, done } = asked;
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert!(done.stderr.contains(words), "`{words}` is missing in\n{}", done.stderr);
    assert_eq!(bench.err("a.err")["attempts"], 3, "{}", done.stderr);
    assert_secret(bench, done, "opensesame");
}

#[test]
fn a_proxy_that_is_down_is_tried_again() {
    let server = named();
    // Nobody listens there.
    let proxy = "http://me:opensesame@127.0.0.1:1";
    let variables = [("HTTPS_PROXY", proxy), ("HTTP_PROXY", proxy)];
    let more = ["--allow-host", "api.test", "--retries", "2", "--retry-delay", "10ms"];
    for component in both() {
        for url in ["https://api.test/ok", "http://api.test/ok"] {
            let asked = ask(&server, &component, url, &more, &variables);
            assert_tried_again(&asked, "the proxy http://127.0.0.1:1: nothing listens there");
        }
    }
}

#[test]
fn a_tunnel_that_fails_is_tried_again() {
    let server = named();
    let proxy = format!("http://me:opensesame@127.0.0.1:{}", port(&server));
    // The proxy answers 502 for hosts that it does not know.
    let more = ["--allow-host", "far.test", "--retries", "2", "--retry-delay", "10ms"];
    for component in both() {
        let variables = [("HTTPS_PROXY", &*proxy)];
        let asked = ask(&server, &component, "https://far.test/ok", &more, &variables);
        let words = format!("the proxy http://127.0.0.1:{}", port(&server));
        assert_tried_again(&asked, &words);
    }
    assert_eq!(server.proxy_uses().len(), 6);
}

#[test]
fn a_malformed_proxy_is_not_passed_over() {
    let server = named();
    for component in both() {
        for proxy in ["http://me:opensesame@not a proxy", "ftp://me:opensesame@127.0.0.1:1"] {
            let variables = [("HTTPS_PROXY", proxy)];
            let more = ["--allow-host", "api.test", "--retries", "0"];
            let asked = ask(&server, &component, "https://api.test/ok", &more, &variables);
            assert_eq!(asked.done.code, 3);
            let stderr = &asked.done.stderr;
            assert!(stderr.contains("HTTPS_PROXY"), "`{proxy}` is passed over:\n{stderr}");
            assert_secret(&asked.bench, &asked.done, "opensesame");
        }
    }
}

#[test]
fn an_empty_proxy_is_none() {
    let server = named();
    for component in both() {
        let request = format!("{}/ok", server.https_url());
        let grant = request.trim_start_matches("https://").trim_end_matches("/ok");
        let variables = [("HTTPS_PROXY", ""), ("HTTP_PROXY", ""), ("NO_PROXY", "")];
        let more = ["--allow-host", grant];
        let asked = ask(&server, &component, &request, &more, &variables);
        assert_eq!(asked.answer(), (200, "ok\n".into()));
        assert!(!asked.done.stderr.contains("WARNING"), "{}", asked.done.stderr);
    }
}

#[test]
fn keys_are_not_told_by_a_run_through_a_proxy() {
    let server = named();
    let bench = Bench::new();
    let texts = add_texts(&bench, 40);
    bench.add("empty.txt", " ");
    let proxy = format!("http://me:opensesame@127.0.0.1:{}", port(&server));
    let more = ["--url", "https://api.test/v1/embeddings?key=hush", "--allow-host", "api.test"];
    let mut command = serve(&bench, &server, &plugin("embed"), &more);
    command.args(["--env", "VOYAGE_API_KEY", "--once", "-vv"]);
    command.env("VOYAGE_API_KEY", KEY).env("HTTPS_PROXY", proxy);
    let done = finish(&mut command).expect(0);
    for (number, text) in texts.iter().enumerate() {
        assert_embedded(&bench, &format!("{number:04}.out"), text, 8);
    }
    for secret in [KEY, "opensesame", "bWU6b3BlbnNlc2FtZQ", "hush"] {
        assert_secret(&bench, &done, secret);
    }
    // Tunnels are shared by many requests.
    let tunnels = server.proxy_uses().len();
    assert!((1..=8).contains(&tunnels), "{tunnels}");
}

#[test]
fn two_ways_to_one_server_are_not_mixed_up() {
    // Through the proxy and directly, in one run.
    let server = named();
    let bench = Bench::new();
    for number in 0..40 {
        let url = match number % 2 {
            0 => format!("https://api.test/echo?n={number}"),
            _ => format!("{}/echo?n={number}", server.https_url()),
        };
        bench.add(format!("{number}.txt"), format!("GET {url}"));
    }
    for component in both() {
        let direct = super::secure(&server);
        let more = ["--allow-host", "api.test", "--allow-host", &direct, "--once"];
        let mut command = serve(&bench, &server, &component, &more);
        finish(command.env("HTTPS_PROXY", server.proxy_url())).expect(0);
        std::fs::remove_dir_all(bench.output()).expect("outputs");
        std::fs::create_dir(bench.output()).expect("out");
    }
    for request in server.requests() {
        let number: usize = request.query.trim_start_matches("n=").parse().expect("a number");
        assert_eq!(request.proxied, number.is_multiple_of(2), "{request:?}");
    }
    assert_eq!(server.requests().len(), 80);
}

#[test]
fn without_a_proxy_a_name_is_asked_directly() {
    let server = named();
    let bench = Bench::new();
    bench.add("a.txt", "GET https://api.test/ok");
    for component in both() {
        let more = ["--allow-host", "api.test", "--retries", "0", "--retry-failed"];
        run(&bench, &server, &component, &more).expect(3);
        assert_eq!(bench.err("a.err")["exception_type"], "DnsError");
    }
    assert_eq!(uses(&server), [""; 0]);
    // An embedding is no exception.
    let bench = Bench::new();
    add_texts(&bench, 1);
    finish(embed(&bench, &server, &["--once"]).env("NO_PROXY", "*")).expect(0);
}
