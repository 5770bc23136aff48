//! Exchanges, with servers that a test stands in for.

use super::blocking as http;
use crate::testing::{HttpAnswer, HttpRequest, answer_http, block_on};

/// Answers `/N` with the N-th of these; gives back what was asked.
fn servers(answers: Vec<HttpAnswer>) -> std::rc::Rc<std::cell::RefCell<Vec<HttpRequest>>> {
    let asked = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let log = std::rc::Rc::clone(&asked);
    let mut answers = answers.into_iter();
    answer_http(move |request| {
        log.borrow_mut().push(request.clone());
        answers.next().expect("one more request than answers")
    });
    asked
}

fn to(status: u16, location: &str) -> HttpAnswer {
    HttpAnswer::new(status).header("location", location)
}

#[test]
fn a_request_says_what_its_builder_was_told() {
    let asked = servers(vec![HttpAnswer::new(200).header("X-Kind", "b").body("héllo")]);
    let response = http::post("https://a.b/x")
        .query("q", 1.5)
        .header("X-Key", "old")
        .header("x-key", "new")
        .json(&[1, 2])
        .send()
        .unwrap();
    assert_eq!((response.status(), response.header("x-kind")), (200, Some("b")));
    assert_eq!(response.text().unwrap(), "héllo");
    let asked = &asked.borrow()[0];
    assert_eq!((&*asked.method, &*asked.url), ("POST", "https://a.b/x?q=1.5"));
    assert_eq!(asked.body, b"[1,2]");
    assert_eq!(asked.headers.get_all("x-key").collect::<Vec<_>>(), ["new"]);
    assert_eq!(asked.headers.get("content-type"), Some("application/json"));
    assert_eq!(asked.headers.get("content-length"), Some("5"));
    assert!(asked.headers.get("user-agent").unwrap().starts_with("tigerflow-task/"));
}

#[test]
fn both_clients_are_alike() {
    servers(vec![HttpAnswer::new(200).body("[1]"), HttpAnswer::new(418).body("a\npot")]);
    let body: Vec<u8> = block_on(async {
        super::get("http://a.b/").send().await?.error_for_status().await?.json().await
    })
    .unwrap();
    assert_eq!(body, [1]);
    let error =
        block_on(async { super::get("http://a.b/").send().await?.error_for_status().await })
            .unwrap_err();
    assert_eq!(error.message(), "GET a.b/: the server answered 418: a pot");
    assert!(error.trace().contains("src/http/tests.rs:"), "{}", error.trace());
}

#[test]
fn an_error_of_a_status_tells_whether_to_try_again() {
    let failed = |answer| {
        servers(vec![answer]);
        let url = "https://user.example:8/x?key=secret";
        http::get(url).header("authorization", "secret").send().unwrap().error_for_status()
    };
    let error = failed(HttpAnswer::new(429).header("Retry-After", "7").body("slow down"));
    let error = error.unwrap_err();
    assert_eq!(
        error.message(),
        "GET user.example:8/x: the server answered 429 Too Many Requests: slow down"
    );
    assert_eq!(error.kind(), "HttpStatus");
    assert!(error.is_transient());
    assert!(format!("{:?}", error.into_run_error()).contains("Some(7000)"));
    assert!(!failed(HttpAnswer::new(404)).unwrap_err().is_transient());
    assert!(failed(HttpAnswer::new(503)).unwrap_err().is_transient());
    assert_eq!(failed(HttpAnswer::new(304)).unwrap().status(), 304);
}

#[test]
fn redirects_are_followed_as_browsers_do() {
    let asked = servers(vec![to(302, "/b?c"), to(307, "d"), HttpAnswer::new(200)]);
    let form = http::post("http://a.b/a").header("authorization", "key").text("form");
    let response = form.send().unwrap();
    assert_eq!(response.url(), "http://a.b/d");
    let asked = asked.borrow();
    let seen: Vec<_> = asked.iter().map(|r| (&*r.method, &*r.url, r.body.len())).collect();
    assert_eq!(
        seen,
        [("POST", "http://a.b/a", 4), ("GET", "http://a.b/b?c", 0), ("GET", "http://a.b/d", 0)]
    );
    assert_eq!(asked[2].headers.get("authorization"), Some("key"));
    assert_eq!(asked[2].headers.get("content-type"), None);
    assert_eq!(asked[2].headers.get("content-length"), None);
}

#[test]
fn a_put_is_put_where_it_leads() {
    let asked = servers(vec![to(308, "/b"), HttpAnswer::new(201)]);
    http::put("http://a.b/a").body("x").send().unwrap();
    let asked = asked.borrow();
    assert_eq!((&*asked[1].method, &*asked[1].body), ("PUT", &b"x"[..]));
}

#[test]
fn another_server_gets_no_secret() {
    let asked = servers(vec![to(301, "https://a.b/"), HttpAnswer::new(200)]);
    let request = http::get("http://a.b/").header("cookie", "c").header("x-api-key", "k");
    request.header("accept-language", "de").send().unwrap();
    let asked = asked.borrow();
    let names: Vec<_> = asked[1].headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["accept-language", "accept", "user-agent"]);
}

#[test]
fn redirects_have_an_end() {
    let circle = || servers((0..20).map(|_| to(302, "/?key=secret")).collect());
    let asked = circle();
    let error = http::get("http://a.b/").send().unwrap_err();
    assert_eq!(error.message(), "GET a.b/: it was redirected more than 10 times");
    assert_eq!((asked.borrow().len(), error.kind()), (11, "TooManyRedirects"));
    let asked = circle();
    assert_eq!(http::get("http://a.b/").redirects(0).send().unwrap().status(), 302);
    assert_eq!(asked.borrow().len(), 1);
    servers(vec![to(302, "ftp://a.b/x?key=secret")]);
    let error = http::get("http://a.b/").send().unwrap_err();
    assert_eq!(
        error.message(),
        "GET a.b/: it was redirected to `a.b/x`: only `http` and `https` URLs can be asked"
    );
}

#[test]
fn what_is_too_long_is_refused() {
    servers(vec![HttpAnswer::new(200).body("12345"), HttpAnswer::new(200).body("12345")]);
    assert_eq!(http::get("http://a.b/").max_bytes(5).send().unwrap().text().unwrap(), "12345");
    let error = http::get("http://a.b/").max_bytes(4).send().unwrap().text().unwrap_err();
    assert_eq!(error.kind(), "ResponseTooLarge");
    assert_eq!(error.message(), "GET a.b/: the answer is longer than 4 bytes, see `max_bytes`");
}

#[test]
fn what_cannot_be_asked_or_read_says_why() {
    let error = http::get("https://key@a.b/?key").send().unwrap_err();
    assert_eq!(error.kind(), "InvalidUrl");
    assert!(error.message().starts_with("cannot ask `a.b/`: it holds a user name"), "{error}");
    servers(vec![HttpAnswer::new(200).body("<html>\n")]);
    let error = http::get("http://a.b/").send().unwrap().json::<u8>().unwrap_err();
    assert_eq!(
        error.message(),
        "GET a.b/: the answer is not the JSON that was expected: \
         expected value at line 1 column 1: <html>"
    );
    let nan = std::collections::HashMap::from([([0], 1)]);
    let error = http::post("http://a.b/").json(&nan).send().unwrap_err();
    assert_eq!(error.message(), "a request's body cannot become JSON: key must be a string");
}

#[test]
fn without_servers_there_is_no_network() {
    let error = http::get("http://a.b/").send().unwrap_err();
    assert_eq!(error.kind(), "Unsupported");
    assert!(!format!("{:?}", http::get("http://a.b/?secret")).contains("secret"));
}
