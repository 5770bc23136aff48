//! Two thousand files against a server of which nearly every third answer fails.

use std::time::Instant;

use serde_json::Value;
use tigerflow_test_server::{Fault, Faults, TestServer};
use tigerflow_tests::{Bench, finish};

use super::{add_texts, assert_embedded, embed, staged};

const FILES: usize = 2_000;

fn faults() -> Faults {
    Faults { share: 0.3, seed: 11, ..Faults::default() }
}

#[test]
fn with_retries_every_file_is_done_and_every_wait_kept() {
    let faults = faults();
    let server = TestServer::builder().faults(faults.clone()).start();
    let bench = Bench::new();
    let texts = add_texts(&bench, FILES);
    let more = [
        "--retries",
        "10",
        "--retry-on",
        "transient,timeout",
        "--timeout",
        "2s",
        "--retry-delay",
        "100ms",
        "--once",
    ];
    let begun = Instant::now();
    let done = finish(&mut embed(&bench, &server, &more)).expect(0);
    eprintln!("{FILES} files with retries: {:?}, {:?}", begun.elapsed(), server.counts());
    let done = done.says("2000 succeeded, 0 failed");
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    assert_eq!(bench.names().len(), FILES);
    assert_eq!(server.early_retries(), [""; 0]);
    assert!(server.peak_in_flight() <= 35, "{}", server.peak_in_flight());
    assert_eq!(staged(&bench, "embed"), [""; 0]);

    let attempts = server.attempts_by_text();
    let mut seen = [0; Fault::ALL.len()];
    for (number, text) in texts.iter().enumerate() {
        assert_embedded(&bench, &format!("{number:04}.out"), text, 8);
        // As often as the plan has it fail, and once more; and nothing is
        // repeated behind the task's back.
        let fails = (0..).map_while(|attempt| faults.fault(text, attempt));
        let fails: Vec<Fault> = fails.collect();
        assert!(fails.len() <= 10, "another seed: one fails too often for the test");
        assert_eq!(attempts[text].len(), fails.len() + 1, "{text} {fails:?}");
        for fault in fails {
            seen[Fault::ALL.iter().position(|kind| *kind == fault).expect("a kind")] += 1;
        }
    }
    assert!(seen.iter().all(|times| *times > 100), "{seen:?}");
    // The next run finds nothing to do.
    finish(&mut embed(&bench, &server, &["--once"])).expect(0).says("2000 succeeded before");
}

/// Fails unless an `.err` says what went wrong.
#[track_caller]
fn assert_says(error: &Value, fault: Fault) {
    let (kind, words) = match fault {
        Fault::TooMany => (
            "HttpStatus",
            "the server answered 429 Too Many Requests: {\"detail\":\"You have exceeded your rate \
             limit.\"}",
        ),
        Fault::ServerError => (
            "HttpStatus",
            "the server answered 500 Internal Server Error: {\"detail\":\"An unexpected error \
             occurred.\"}",
        ),
        Fault::Cut => ("IncompleteResponse", "the answer ended too early"),
        Fault::Silence => ("Timeout", "5s"),
    };
    let message = error["message"].as_str().expect("a message");
    let found = error["exception_type"].as_str().expect("a kind");
    assert!(found == kind && message.contains(words), "{fault:?}: {found}: {message}");
    assert_eq!(error["attempts"], 1, "{error:#}");
}

/// One run without retries. Gives back the place, and the texts.
fn run_once(server: &TestServer) -> (Bench, Vec<String>) {
    let faults = faults();
    let bench = Bench::new();
    let texts = add_texts(&bench, FILES);
    let more = ["--retries", "0", "--timeout", "5s", "--concurrency-limit", "100", "--once"];
    let begun = Instant::now();
    let done = finish(&mut embed(&bench, server, &more)).expect(3);
    eprintln!("{FILES} files without retries: {:?}, {:?}", begun.elapsed(), server.counts());
    let (mut failed, mut silent) = (0, 0);
    for (number, text) in texts.iter().enumerate() {
        let Some(fault) = faults.fault(text, 0) else {
            assert_embedded(&bench, &format!("{number:04}.out"), text, 8);
            continue;
        };
        assert_says(&bench.err(format!("{number:04}.err")), fault);
        match fault {
            Fault::Silence => silent += 1,
            _ => failed += 1,
        }
    }
    assert!(failed > 400 && silent > 100, "{failed}, {silent}");
    assert_eq!(bench.names().len(), FILES, "one of both for each");
    let succeeded = FILES - failed - silent;
    done.says(&format!("{succeeded} succeeded, {failed} failed, {silent} timed out"));
    assert_eq!(server.requests().len(), FILES, "each was asked for once");
    // What was given up is given up at the server, too, if a moment later.
    assert!(server.peak_in_flight() <= 110, "{}", server.peak_in_flight());
    assert_eq!(staged(&bench, "embed"), [""; 0]);
    (bench, texts)
}

#[test]
fn without_retries_exactly_those_fail_that_the_server_fails() {
    let server = TestServer::builder().faults(faults()).http2(false).start();
    run_once(&server);
    assert!(server.requests().iter().all(|request| request.version == "HTTP/1.1"));
}

#[test]
fn those_that_failed_are_done_by_a_later_run_and_only_those() {
    let server = TestServer::builder().faults(faults()).start();
    let (bench, texts) = run_once(&server);
    assert!(server.requests().iter().all(|request| request.version == "HTTP/2.0"));
    let more = ["--retry-failed", "--retries", "12", "--retry-delay", "50ms", "--once"];
    let more = [&more[..], &["--timeout", "2s", "--retry-on", "transient,timeout"]].concat();
    finish(&mut embed(&bench, &server, &more)).expect(0);
    assert_eq!(server.early_retries(), [""; 0]);
    let attempts = server.attempts_by_text();
    for (number, text) in texts.iter().enumerate() {
        assert_embedded(&bench, &format!("{number:04}.out"), text, 8);
        let fails = (0..).take_while(|attempt| faults().fault(text, *attempt).is_some()).count();
        assert_eq!(attempts[text].len(), fails + 1, "{text}");
    }
    assert!(bench.names().iter().all(|name| name.ends_with(".out")));
}
