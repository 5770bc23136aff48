//! Whole runs, with servers that the test stands in for.

use std::fs;
use std::path::PathBuf;

use tigerflow_task::testing::{HttpAnswer, answer_http, block_on};

use super::*;

fn fetch() -> Fetch {
    Fetch { max_bytes: 100, user_agent: "tester".into(), redirects: 10, any_type: false }
}

/// Runs the task on a file; gives back the output.
fn run(task: &Fetch, file: &str, answer: HttpAnswer) -> Result<Vec<u8>> {
    answer_http(move |request| {
        assert_eq!(request.headers.get("user-agent"), Some("tester"));
        answer.clone()
    });
    let directory = Directory::new();
    let (input, output) = (directory.0.join("a.url"), directory.0.join("a.txt"));
    fs::write(&input, file)?;
    block_on(task.run(&Input::new(input), &Output::new(&output)))?;
    Ok(fs::read(output)?)
}

/// A directory of one test, which goes with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("fetch-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn page(content_type: &str, body: &str) -> HttpAnswer {
    HttpAnswer::new(200).header("Content-Type", content_type).body(body)
}

#[test]
fn html_becomes_text_and_text_stays() {
    let html = page("text/html", "<h2>Hello</h2>there");
    assert_eq!(run(&fetch(), "\nhttp://a.b/\n", html).unwrap(), b"## Hello\n\nthere\n");
    let csv = page("text/csv; charset=utf-8", "a,<b>\n");
    assert_eq!(run(&fetch(), "http://a.b/", csv).unwrap(), b"a,<b>\n");
}

#[test]
fn what_is_no_text_needs_to_be_asked_for() {
    let pdf = page("application/pdf", "%PDF\n\x01");
    let error = run(&fetch(), "http://a.b/", pdf.clone()).unwrap_err();
    assert_eq!(error.kind(), "ContentType");
    assert_eq!(
        error.message(),
        "the page is `application/pdf`, and no text; `--any-type` writes it as it is"
    );
    let any = Fetch { any_type: true, ..fetch() };
    assert_eq!(run(&any, "http://a.b/", pdf).unwrap(), b"%PDF\n\x01");
}

#[test]
fn errors_say_what_is_wrong() {
    let message = |task: &Fetch, file: &str, answer| run(task, file, answer).unwrap_err().message();
    let nothing = || HttpAnswer::new(404).body("gone");
    assert_eq!(message(&fetch(), "", nothing()), "the file is empty: it must hold a URL");
    assert_eq!(
        message(&fetch(), "ftp://a.b/c", nothing()),
        "cannot ask `a.b/c`: only `http` and `https` URLs can be asked"
    );
    assert_eq!(message(&fetch(), "a.b", nothing()), "cannot ask `a.b`: it is no absolute URL");
    assert_eq!(
        message(&fetch(), "http://a.b/c?d", nothing()),
        "GET a.b/c: the server answered 404 Not Found: gone"
    );
    let long = message(&fetch(), "http://a.b/", page("text/plain", &"x".repeat(101)));
    assert!(long.contains("longer than 100 bytes"), "{long}");
    let stays = Fetch { redirects: 0, ..fetch() };
    let moved = HttpAnswer::new(301).header("location", "/c");
    assert_eq!(
        message(&stays, "http://a.b/", moved),
        "the server answered 301, and no page; see `--redirects`"
    );
}
