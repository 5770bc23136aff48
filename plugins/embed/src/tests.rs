//! Whole runs, with an API that the test stands in for.

use std::fs;
use std::path::PathBuf;

use tigerflow_task::testing::{HttpAnswer, HttpRequest, answer_http, block_on};

use super::*;

const GOOD: &str = r#"{"object":"list","data":[{"object":"embedding",
    "embedding":[-0.013131560757756233, 1.0,
    2e-7],"index":0}],
    "model":"voyage-3.5","usage":{"total_tokens":3}}"#;

/// Runs the task on a text; gives back the output.
fn run(text: &str, answer: impl FnMut(&HttpRequest) -> HttpAnswer + 'static) -> Result<String> {
    answer_http(answer);
    let task = Embed {
        url: "https://api.example.org/v1/embeddings?version=secret".into(),
        authorization: "Bearer secret".into(),
        model: "voyage-3.5".into(),
        input_type: InputType::Document,
    };
    let directory = Directory::new();
    let (input, output) = (directory.0.join("a.txt"), directory.0.join("a.json"));
    fs::write(&input, text)?;
    block_on(task.run(&Input::new(input), &Output::new(&output)))?;
    Ok(fs::read_to_string(output)?)
}

/// A directory of one test, which goes with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("embed-{}-{:?}", std::process::id(), std::thread::current().id());
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

fn error(answer: HttpAnswer) -> Error {
    run("a text", move |_| answer.clone()).unwrap_err()
}

#[test]
fn an_embedding_is_asked_for_and_written() {
    let output = run("a \"text\"", |request| {
        assert_eq!(request.method, "POST");
        assert_eq!(request.headers.get("authorization"), Some("Bearer secret"));
        assert_eq!(request.headers.get("content-type"), Some("application/json"));
        let body = std::str::from_utf8(&request.body).unwrap();
        let asked = r#"{"input":["a \"text\""],"model":"voyage-3.5","input_type":"document"}"#;
        assert_eq!(body, asked);
        HttpAnswer::new(200).body(GOOD)
    });
    assert_eq!(
        output.unwrap(),
        r#"{"model":"voyage-3.5","embedding":[-0.013131560757756233,1.0,2e-7],"tokens":3}"#
            .to_owned()
            + "\n"
    );
}

#[test]
fn an_empty_text_is_not_asked_for() {
    let error = run(" \n\t", |_| unreachable!("it was asked")).unwrap_err();
    assert!(error.is_aborted());
    assert_eq!(error.message(), "nothing to embed");
}

#[test]
fn a_busy_api_is_asked_again() {
    let busy = HttpAnswer::new(429).header("retry-after", "20").body(r#"{"detail":"slow down"}"#);
    let error = error(busy);
    assert!(error.is_transient());
    assert_eq!(
        error.message(),
        "POST api.example.org/v1/embeddings: the server answered 429 Too Many Requests: \
         {\"detail\":\"slow down\"}"
    );
}

#[test]
fn what_the_api_refuses_is_final_and_keeps_the_key() {
    let error = error(HttpAnswer::new(401).body(r#"{"detail":"no such key"}"#));
    assert!(!error.is_transient());
    assert!(error.message().contains("401 Unauthorized: {\"detail\":\"no such key\"}"), "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[test]
fn an_answer_that_makes_no_sense_is_final_and_shown() {
    let shown = |body: &str| {
        let error = error(HttpAnswer::new(200).body(body));
        assert!(!error.is_transient());
        error.message()
    };
    assert!(shown("<html>oops</html>").ends_with(": <html>oops</html>"));
    for odd in ["[\"x\"]", "[[1]]", "[null]", "7", "{}", "[1,true]"] {
        let body = format!("{{\"data\":[{{\"embedding\":{odd}}}]}}");
        assert!(shown(&body).contains("the embedding is no list of numbers"), "{odd}");
    }
    assert_eq!(shown(r#"{"data":[]}"#), "the API answered 0 embeddings for one text");
    let empty = shown(r#"{"data":[{"embedding":[]}]}"#);
    assert_eq!(empty, "the API answered an embedding without numbers");
}

#[test]
fn what_the_api_does_not_say_is_left_out() {
    let output = run("x", |_| HttpAnswer::new(200).body(r#"{"data":[{"embedding":[0.5]}]}"#));
    assert_eq!(output.unwrap(), "{\"model\":\"voyage-3.5\",\"embedding\":[0.5]}\n");
}
