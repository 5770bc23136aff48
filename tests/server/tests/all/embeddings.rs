//! `/v1/embeddings`, and the faults in it.

use std::io::Read;
use std::time::Duration;

use serde_json::json;
use tigerflow_test_server::{Answer, Fault, Faults, TestServer, embedding};

use crate::{Reply, ask, said, wait_until};

fn posted(server: &TestServer, key: &str, body: &str) -> Reply {
    let headers = format!("authorization: Bearer {key}\r\ncontent-type: application/json\r\n");
    ask(server, "POST", "/v1/embeddings", &headers, body)
}

fn embed(server: &TestServer, text: &str) -> Reply {
    posted(server, "test-key", &json!({ "input": text, "model": "m" }).to_string())
}

#[test]
fn texts_are_embedded() {
    let server = TestServer::builder().key("secret").dimension(20).start();
    let asked =
        json!({ "input": ["one", "zwei ü"], "model": "voyage-3", "input_type": "document" });
    let answer = posted(&server, "secret", &asked.to_string()).json();
    for (index, text) in ["one", "zwei ü"].into_iter().enumerate() {
        let told = &answer["data"][index];
        assert_eq!((&told["object"], &told["index"]), (&"embedding".into(), &index.into()));
        assert_eq!(told["embedding"], json!(embedding(text, 20)));
        let attempts = server.attempts(text);
        assert_eq!(attempts.len(), 1);
        assert_eq!(attempts[0].answer, Answer::Full(200));
    }
    assert_eq!((&answer["object"], &answer["model"]), (&"list".into(), &"voyage-3".into()));
    assert!(answer["usage"]["total_tokens"].as_u64().unwrap() > 0);
}

#[test]
fn wrong_requests_are_refused() {
    let server = TestServer::start();
    let refused = posted(&server, "other", r#"{"input":"a","model":"m"}"#);
    assert_eq!(
        (refused.status, &refused.json()["detail"]),
        (401, &"Provided API key is invalid.".into())
    );
    assert_eq!(posted(&server, "test-key", "{").status, 400);
    assert_eq!(ask(&server, "GET", "/v1/embeddings", "", "").status, 405);
    assert!(server.attempts_by_text().is_empty());
}

#[test]
fn an_answer_is_delayed() {
    let server = TestServer::builder().delay(Duration::from_millis(50)).start();
    assert_eq!(embed(&server, "a").status, 200);
    let request = &server.requests()[0];
    assert!(request.ended.unwrap() - request.arrived >= Duration::from_millis(50));
}

#[test]
fn faults_come_as_planned() {
    let faults = Faults { share: 0.6, seed: 7, ..Faults::default() };
    let server =
        TestServer::builder().faults(faults.clone()).silence(Duration::from_millis(1)).start();
    let mut seen = std::collections::HashSet::new();
    for n in 0..40 {
        let text = format!("text {n}");
        let planned = faults.fault(&text, 0);
        seen.insert(planned);
        let body = json!({ "input": text, "model": "m" }).to_string();
        let mut stream = said(
            &server,
            &format!(
                "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nauthorization: Bearer test-key\r\n\
                 connection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
        );
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        if planned == Some(Fault::Silence) {
            assert!(all.is_empty(), "{text}");
        } else {
            let reply = crate::parsed(&all);
            let status = match planned {
                Some(Fault::TooMany) => 429,
                Some(Fault::ServerError) => 500,
                _ => 200,
            };
            assert_eq!(reply.status, status, "{text}");
            let limited = planned == Some(Fault::TooMany);
            assert_eq!(reply.header("retry-after"), limited.then_some("1"));
            let length: usize = reply.header("content-length").unwrap().parse().unwrap();
            assert_eq!(reply.body.len() < length, planned == Some(Fault::Cut), "{text}");
        }
        let answer = match planned {
            None => Answer::Full(200),
            Some(Fault::TooMany) => Answer::Full(429),
            Some(Fault::ServerError) => Answer::Full(500),
            Some(Fault::Cut) => Answer::Partial(200),
            Some(Fault::Silence) => Answer::Nothing,
        };
        wait_until("it has ended", || server.attempts(&text)[0].ended.is_some());
        assert_eq!(server.attempts(&text)[0].answer, answer, "{text}");
    }
    assert_eq!(seen.len(), 5, "every fault and none: {seen:?}");
    assert_eq!(server.attempts_by_text().len(), 40);
}

#[test]
fn early_retries_are_told() {
    let faults = Faults { share: 1.0, kinds: vec![Fault::TooMany], most: 1, ..Faults::default() };
    let server = TestServer::builder().faults(faults).start();
    for text in ["patient", "hasty"] {
        assert_eq!(embed(&server, text).status, 429);
    }
    assert_eq!(server.attempts("hasty")[0].retry_after, Some(Duration::from_secs(1)));
    assert_eq!(embed(&server, "hasty").status, 200);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(embed(&server, "patient").status, 200);
    let early = server.early_retries();
    assert_eq!(early.len(), 1, "{early:?}");
    assert!(early[0].contains("hasty"));
}
