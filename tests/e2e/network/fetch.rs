//! The plugin `fetch`: pages of the web as text.

use std::process::Command;

use tigerflow_test_server::{LATIN1, TestServer};
use tigerflow_tests::{Bench, Done, finish, plugin};

use super::{plain, secure, serve};

/// `run` of the plugin with grants for the server.
fn command(bench: &Bench, server: &TestServer, more: &[&str]) -> Command {
    let grants = ["--allow-host", &plain(server), "--allow-host", &secure(server), "--once"];
    serve(bench, server, &plugin("fetch"), &[&grants[..], more].concat())
}

fn fetch(bench: &Bench, server: &TestServer, more: &[&str]) -> Done {
    finish(&mut command(bench, server, more))
}

/// What becomes of one page.
struct Page {
    bench: Bench,
    done: Done,
}

fn page(server: &TestServer, file: impl AsRef<[u8]>, more: &[&str]) -> Page {
    let bench = Bench::new();
    bench.add("a.txt", file);
    let done = fetch(&bench, server, &[&["--retries", "0"], more].concat());
    Page { bench, done }
}

impl Page {
    #[track_caller]
    fn text(&self) -> String {
        assert_eq!(self.done.code, 0, "{}", self.done.stderr);
        self.bench.out("a.out")
    }

    #[track_caller]
    fn fails(&self, kind: &str, end: &str) {
        assert_eq!(self.done.code, 3, "{}", self.done.stderr);
        assert_eq!(self.bench.names(), ["a.err"]);
        let error = self.bench.err("a.err");
        let message = error["message"].as_str().expect("a message");
        assert!(error["exception_type"] == kind && message.ends_with(end), "{error:#}");
    }
}

#[test]
fn a_page_becomes_its_text() {
    let server = TestServer::start();
    for url in [server.http_url(), server.https_url()] {
        let text = page(&server, format!("{url}/page\n"), &[]).text();
        assert!(text.starts_with("# Tigers & flows\n"), "{text}");
        for part in [
            "Entities: <tag> \"quoted\" €20 🐅 café\u{a0}noir.",
            "Not ASCII: naïve façade, Grüße, Ελλάδα, 日本語, 🐅.",
            "* a link from the root\n* a relative one\n* an absolute one\n",
            "two\n  lines",
        ] {
            let spaced = |text: &str| text.replace('\u{a0}', " ");
            assert!(spaced(&text).contains(&spaced(part)), "`{part}` is missing in\n{text}");
        }
        for no in ["rgb(", "document.title", "markup", "<", "/ok"] {
            let text = text.replace("<tag>", "");
            assert!(!text.contains(no), "`{no}` is in\n{text}");
        }
    }
    let request = &server.requests()[0];
    assert!(request.header("user-agent").is_some_and(|name| name.starts_with("tigerflow-fetch/")));
    let more = ["--user-agent", "library-bot (mail@example.org)"];
    page(&server, format!("{}/page", server.http_url()), &more).text();
    let request = server.requests().pop().expect("a request");
    assert_eq!(request.header("user-agent"), Some("library-bot (mail@example.org)"));
}

#[test]
fn a_page_is_read_in_its_own_character_set() {
    let server = TestServer::start();
    let text = page(&server, format!("{}/latin1", server.http_url()), &[]).text();
    assert!(LATIN1.contains("Grüße, señor: ½ £5 © São Paulo"));
    assert_eq!(text, "Grüße, señor: ½ £5 © São Paulo\n");
}

#[test]
fn what_is_text_stays_as_it_is() {
    let server = TestServer::start();
    let url = format!("\u{feff}\n\n  {}/ok  \r\nwhatever else stands here\n", server.http_url());
    assert_eq!(page(&server, url, &[]).text(), "ok\n");
}

#[test]
fn what_is_no_text_is_taken_only_if_asked_for() {
    let server = TestServer::start();
    let url = format!("{}/binary", server.https_url());
    let end = "the page is `image/png`, and no text; `--any-type` writes it as it is";
    page(&server, &url, &[]).fails("ContentType", end);
    let taken = page(&server, &url, &["--any-type"]);
    assert_eq!(taken.done.code, 0, "{}", taken.done.stderr);
    let picture = std::fs::read(taken.bench.output().join("a.out")).expect("an output");
    assert!(picture.starts_with(b"\x89PNG") && picture.ends_with(b"IEND\xaeB`\x82"));
    // A page that it could read is text all the same.
    let text = page(&server, format!("{}/page", server.http_url()), &["--any-type"]).text();
    assert!(text.starts_with("# Tigers"), "{text}");
}

#[test]
fn a_page_has_a_size_that_it_may_have() {
    let server = TestServer::start();
    let url = |bytes: u32| format!("{}/big?bytes={bytes}", server.http_url());
    let more = ["--max-bytes", "100000"];
    assert_eq!(page(&server, url(100_000), &more).text().len(), 100_000);
    page(&server, url(100_001), &more)
        .fails("ResponseTooLarge", "/big: the answer is longer than 100000 bytes, see `max_bytes`");
    let endless = page(&server, format!("{}/endless", server.http_url()), &more);
    assert_eq!(endless.bench.err("a.err")["exception_type"], "ResponseTooLarge");
    // The host's own limit holds as well.
    let more = ["--response-limit", "10K"];
    let refused = page(&server, url(100_000), &more);
    assert_eq!(refused.bench.err("a.err")["exception_type"], "ResponseTooLarge");
    assert!(refused.done.stderr.contains("--response-limit"), "{}", refused.done.stderr);
}

#[test]
fn redirects_lead_to_the_page() {
    let server = TestServer::start();
    for code in [301, 302, 303, 307, 308] {
        let url = format!("{}/redirect?to=/page&code={code}", server.http_url());
        assert!(page(&server, url, &[]).text().starts_with("# Tigers"), "{code}");
    }
    let url = format!("{}/redirect-loop?n=3", server.http_url());
    assert_eq!(page(&server, &url, &["--redirects", "3"]).text(), "out of the loop\n");
    page(&server, &url, &["--redirects", "2"])
        .fails("TooManyRedirects", ": it was redirected more than 2 times");
    let stays = page(&server, &url, &["--redirects", "0"]);
    stays.fails("Failed", "the server answered 302, and no page; see `--redirects`");
    let elsewhere = format!("{}/redirect?to=http://10.1.2.3/secret", server.http_url());
    page(&server, elsewhere, &[])
        .fails("RequestDenied", "the host does not grant it: `--allow-host 10.1.2.3`");
}

#[test]
fn what_is_no_url_is_told() {
    let server = TestServer::start();
    for (file, end) in [
        ("", "the file is empty: it must hold a URL"),
        (" \n\r\n", "the file is empty: it must hold a URL"),
        ("www.example.org", "cannot ask `www.example.org`: it is no absolute URL"),
        ("ftp://example.org/x", "only `http` and `https` URLs can be asked"),
        ("file:///etc/passwd", "only `http` and `https` URLs can be asked"),
        ("http://me:hush@example.org/", "put them into a header"),
        ("http://", "it names no host"),
        ("http://a b/", ""),
        ("http://127.0.0.1:99999/", ""),
    ] {
        let refused = page(&server, file, &[]);
        assert_eq!(refused.done.code, 3, "`{file}`: {}", refused.done.stderr);
        let error = refused.bench.err("a.err");
        let message = error["message"].as_str().expect("a message");
        assert!(message.ends_with(end), "`{file}`: {message}");
        assert!(!refused.done.stderr.contains("hush"), "{}", refused.done.stderr);
        assert_eq!(error["attempts"], 1);
    }
    let no_text = page(&server, b"http://\xff\xfe/", &[]);
    assert_eq!(no_text.done.code, 3);
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_status_that_says_no_fails_the_page() {
    let server = TestServer::start();
    let url = |status: u32| format!("{}/status/{status}?message=gone+away", server.http_url());
    page(&server, url(404), &[]).fails(
        "HttpStatus",
        "/status/404: the server answered 404 Not Found: \
         {\"error\":{\"code\":404,\"message\":\"gone away\"}}",
    );
    let bench = Bench::new();
    bench.add("a.txt", url(503));
    let more = ["--retries", "2", "--retry-delay", "10ms"];
    fetch(&bench, &server, &more).expect(3);
    assert_eq!(bench.err("a.err")["attempts"], 3);
    assert_eq!((server.count("/status/404"), server.count("/status/503")), (1, 3));
}

#[test]
fn a_name_for_the_client_is_one() {
    let server = TestServer::start();
    let bench = Bench::new();
    bench.add("a.txt", format!("{}/page", server.http_url()));
    for name in ["", " ", "a\r\nx-evil: 1"] {
        fetch(&bench, &server, &["--user-agent", name]).expect(4).says("--user-agent");
    }
    fetch(&bench, &server, &["--max-bytes", "-1"]).expect(4);
    assert_eq!(server.connections(), 0);
}

#[test]
fn many_pages_are_fetched_at_once() {
    const FILES: usize = 300;
    let server = TestServer::start();
    let bench = Bench::new();
    for number in 0..FILES {
        let url = match number % 6 {
            0 => format!("{}/page?n={number}", server.https_url()),
            1 => format!("{}/latin1?n={number}", server.http_url()),
            2 => format!("{}/slow?ms=50&n={number}", server.https_url()),
            3 => format!("{}/redirect?to=/page&n={number}", server.http_url()),
            4 => format!("{}/status/404?n={number}", server.https_url()),
            _ => format!("{}/binary?n={number}", server.http_url()),
        };
        bench.add(format!("{number:03}.txt"), url);
    }
    let done = fetch(&bench, &server, &["--concurrency-limit", "40"]).expect(3);
    done.says("200 succeeded, 100 failed");
    for number in 0..FILES {
        let (text, error) = (format!("{number:03}.out"), format!("{number:03}.err"));
        match number % 6 {
            0 | 3 => assert!(bench.out(text).starts_with("# Tigers"), "{number}"),
            1 => assert_eq!(bench.out(text), "Grüße, señor: ½ £5 © São Paulo\n"),
            2 => assert_eq!(bench.out(text), "slow\n"),
            4 => assert_eq!(bench.err(error)["exception_type"], "HttpStatus"),
            _ => assert_eq!(bench.err(error)["exception_type"], "ContentType"),
        }
    }
    assert_eq!(server.requests().len(), FILES + FILES / 6);
    assert!(server.connections() <= 80, "{}", server.connections());
    assert!(server.peak_in_flight() <= 40, "{}", server.peak_in_flight());
}
