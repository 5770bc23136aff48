//! The second example of TigerFlow's own page: embeddings from an API, thirty at
//! a time and with a rate limit.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tigerflow_test_server::{Answer, TestServer};
use tigerflow_tests::{Bench, finish, plugin, wait_until};

use super::{
    KEY, SECOND, add_texts, assert_embedded, assert_secret, embed, journal, most_within, run,
    secure, serve, staged, text,
};
use crate::live::Live;

/// How many numbers an embedding of the model has.
const DIMENSION: usize = 1024;

/// The seconds at which attempts began, by the journal.
fn starts(bench: &Bench) -> Vec<f64> {
    let records = journal(bench, "embed");
    let attempts = records.iter().filter(|record| record["event"] == "attempt");
    attempts.map(began).collect()
}

/// When an attempt began, in seconds of its day.
fn began(record: &Value) -> f64 {
    let time = record["time"].as_str().expect("a time");
    let clock = time.split_once('T').expect("a date").1.trim_end_matches('Z');
    let seconds =
        clock.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().expect("a number"));
    seconds - record["duration_ms"].as_f64().expect("a duration") / 1e3
}

#[test]
fn the_example_of_the_page_embeds_every_text() {
    const FILES: usize = 120;
    let server =
        TestServer::builder().dimension(DIMENSION).delay(Duration::from_millis(100)).start();
    let bench = Bench::new();
    let texts = add_texts(&bench, FILES);
    let more = ["--concurrency-limit", "30", "--rate-limit", "1800/min", "--once"];
    let done = finish(&mut embed(&bench, &server, &more)).expect(0);
    let done = done.says("120 succeeded, 0 failed");
    for (number, text) in texts.iter().enumerate() {
        assert_embedded(&bench, &format!("{number:04}.out"), text, DIMENSION);
    }
    let output: Value = serde_json::from_str(&bench.out("0000.out")).expect("JSON");
    assert_eq!(output["model"], "voyage-3.5");
    assert_eq!(output["tokens"], texts[0].len() / 4 + 1);
    assert_eq!(bench.names().len(), FILES);

    // As the API wants it, and once for each.
    let requests = server.requests();
    assert_eq!(requests.len(), FILES);
    for request in &requests {
        assert_eq!((&*request.method, &*request.version), ("POST", "HTTP/2.0"));
        assert_eq!(request.header("authorization"), Some("Bearer test-key"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(
            (&body["model"], &body["input_type"]),
            (&"voyage-3.5".into(), &"document".into())
        );
    }
    assert!(server.peak_in_flight() <= 30, "{}", server.peak_in_flight());
    assert!(server.connections() <= 16, "{}", server.connections());
    assert_secret(&bench, &done, KEY);

    // 1,800 in any minute are 30 in a second, and some more at once: a limit on
    // minutes is none on seconds.
    let most = most_within(&starts(&bench), 1.0);
    assert!(most <= 32, "{most} began within a second");
}

#[test]
fn no_window_holds_more_than_the_rate() {
    const FILES: usize = 90;
    let server = TestServer::builder().delay(Duration::from_millis(50)).start();
    let bench = Bench::new();
    add_texts(&bench, FILES);
    let more = ["--concurrency-limit", "30", "--rate-limit", "20/s", "--once"];
    finish(&mut embed(&bench, &server, &more)).expect(0).says("90 succeeded");
    let most = most_within(&starts(&bench), 1.0);
    assert!(most <= 20, "{most} began within a second");
    // What starts in a window may arrive a little later: on a machine that is
    // busy, later than the next ones start.
    let most = server.most_in_any_window(SECOND - Duration::from_millis(150));
    assert!(most <= 20, "{most} arrived within a second");
    eprintln!("most in a second: {}", server.most_in_any_window(SECOND));
}

#[test]
fn a_rate_holds_over_instances_and_retries() {
    let server = TestServer::start();
    let bench = Bench::new();
    for number in 0..30 {
        let path = format!("/flaky?fails=1&status=503&n={number}");
        bench.add(format!("{number}.txt"), format!("GET {}{path}", server.https_url()));
    }
    for component in super::both() {
        let more = [
            "--allow-host",
            &secure(&server),
            "--strict",
            "--retry-delay",
            "1ms",
            "--rate-limit",
            "20/s",
            "--concurrency-limit",
            "8",
            "--task-name",
            component.file_stem().and_then(|name| name.to_str()).expect("a name"),
        ];
        let before = server.requests().len();
        run(&bench, &server, &component, &more).expect(0).says("30 succeeded");
        let arrived = server.requests().len() - before;
        for number in 0..30 {
            std::fs::remove_file(bench.output().join(format!("{number}.out"))).expect("an output");
        }
        let most = server.most_in_any_window(SECOND - Duration::from_millis(150));
        assert!(most <= 20, "{most} of {arrived} arrived within a second");
    }
    // Each failed once, the first time.
    assert_eq!(server.requests().len(), 90);
}

#[test]
fn what_the_task_needs_is_asked_for_with_the_whole_command_line() {
    let server = TestServer::start();
    let bench = Bench::new();
    add_texts(&bench, 1);
    let url = format!("{}/v1/embeddings", server.https_url());
    let more = ["--url", &url, "--allow-host", &secure(&server), "--model", "a b's", "--once"];
    let mut command = serve(&bench, &server, &plugin("embed"), &more);
    // That it is set grants nothing.
    command.env("VOYAGE_API_KEY", KEY);
    let done = finish(&mut command).expect(2);
    let done = done.says("\n  --env VOYAGE_API_KEY   Signs each request with it\n");
    assert_eq!(bench.names(), [""; 0]);
    assert_eq!(server.connections(), 0);
    assert_secret(&bench, &done, KEY);

    // As it stands there, it does.
    let (_, line) = done.stderr.split_once("grants it:\n").expect("a command line");
    let line = line.lines().next().expect("a line");
    let mut shell = Command::new("sh");
    shell.args(["-c", line]);
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    finish(shell.current_dir(bench.path())).expect(0).says("1 succeeded");
    assert_embedded(&bench, "0000.out", &text(0), 8);
    let body: Value = serde_json::from_slice(&server.requests()[0].body).expect("JSON");
    assert_eq!(body["model"], "a b's");
}

#[test]
fn a_host_that_is_not_granted_is_named_and_the_key_is_not_sent() {
    let server = TestServer::start();
    let bench = Bench::new();
    add_texts(&bench, 20);
    let url = format!("{}/v1/embeddings", server.https_url());
    let more = ["--url", &url, "--env", "VOYAGE_API_KEY", "--once"];
    let mut command = serve(&bench, &server, &plugin("embed"), &more);
    let done = finish(command.env("VOYAGE_API_KEY", KEY)).expect(3);
    let target = secure(&server);
    let told = format!("--allow-host {target} would grant it");
    assert_eq!(done.stderr.matches(&told).count(), 1, "{}", done.stderr);
    assert_eq!(bench.err("0007.err")["exception_type"], "RequestDenied");
    assert_secret(&bench, &done, KEY);
    // The page's own host, where no other is given.
    let more = ["--env", "VOYAGE_API_KEY", "--once", "--retry-failed"];
    let mut command = serve(&bench, &server, &plugin("embed"), &more);
    let done = finish(command.env("VOYAGE_API_KEY", KEY)).expect(3);
    done.says("--allow-host api.voyageai.com would grant it");
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_wrong_key_is_final_and_not_told() {
    let server = TestServer::start();
    let bench = Bench::new();
    add_texts(&bench, 12);
    let mut command = embed(&bench, &server, &["--once", "-vv"]);
    let done = finish(command.env("VOYAGE_API_KEY", "sk-verywrong")).expect(3);
    let done = done.says("0 succeeded, 12 failed");
    let error = bench.err("0003.err");
    assert_eq!((&error["exception_type"], &error["attempts"]), (&"HttpStatus".into(), &1.into()));
    let message = error["message"].as_str().expect("a message");
    let end = "/v1/embeddings: the server answered 401 Unauthorized: {\"detail\":\"Provided API \
               key is invalid.\"}";
    assert!(message.ends_with(end), "{message}");
    assert_eq!(server.requests().len(), 12, "it is final");
    assert_secret(&bench, &done, "verywrong");

    // No key at all fails before any file is begun.
    let bench = Bench::new();
    add_texts(&bench, 3);
    for key in ["", "  ", "two words", "line\nbreak", "ключ"] {
        let mut command = embed(&bench, &server, &["--once"]);
        let done = finish(command.env("VOYAGE_API_KEY", key)).expect(4).says("VOYAGE_API_KEY");
        assert!(!done.stderr.contains("Starting processing"), "{}", done.stderr);
        assert_eq!(bench.names(), [""; 0]);
    }
    // Where the variable is not even set, it is bad usage.
    let mut command = embed(&bench, &server, &["--once"]);
    finish(command.env_remove("VOYAGE_API_KEY")).expect(2).says("VOYAGE_API_KEY");
    // Space around it, as files have it, does no harm.
    let mut command = embed(&bench, &server, &["--once"]);
    finish(command.env("VOYAGE_API_KEY", "test-key\n")).expect(0);
}

#[test]
fn keys_come_from_files_and_options_too() {
    let server = TestServer::builder().key("sk-ofafile").start();
    let bench = Bench::new();
    add_texts(&bench, 2);
    let url = format!("{}/v1/embeddings", server.https_url());
    let file = bench.path().join("keys");
    std::fs::write(&file, "# keys\nVOYAGE_API_KEY=sk-ofafile\n").expect("a file");
    let file = file.display().to_string();
    for given in [["--env-file", &file], ["--env", "VOYAGE_API_KEY=sk-ofafile"]] {
        let more = ["--url", &url, "--allow-host", &secure(&server), "--once", "-vv"];
        let more = [&more[..], &given].concat();
        let done = finish(&mut serve(&bench, &server, &plugin("embed"), &more)).expect(0);
        assert_secret(&bench, &done, "ofafile");
        for name in bench.names() {
            std::fs::remove_file(bench.output().join(name)).expect("an output");
        }
    }
}

#[test]
fn an_empty_text_is_declined_and_costs_no_request() {
    let server = TestServer::start();
    let bench = Bench::new();
    bench.add("a.txt", "").add("b.txt", " \n\t\n").add("c.txt", "a text").add("d.txt", b"\xff\xfe");
    let done = finish(&mut embed(&bench, &server, &["--once"])).expect(3);
    done.says("1 succeeded, 1 failed, 2 aborted");
    for name in ["a.err", "b.err"] {
        let error = bench.err(name);
        assert_eq!(error["exception_type"], "Aborted");
        assert_eq!(error["message"], "nothing to embed");
    }
    assert_embedded(&bench, "c.out", "a text", 8);
    let message = bench.err("d.err")["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("UTF-8"), "{message}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn options_reach_the_api() {
    let server = TestServer::builder().dimension(3).start();
    let bench = Bench::new();
    bench.add("a.txt", "which tiger?");
    let more = ["--model", "voyage-law-2", "--input-type", "query", "--once"];
    finish(&mut embed(&bench, &server, &more)).expect(0);
    let body: Value = serde_json::from_slice(&server.requests()[0].body).expect("JSON");
    let expected = serde_json::json!({
        "input": ["which tiger?"], "model": "voyage-law-2", "input_type": "query",
    });
    assert_eq!(body, expected);
    let output: Value = serde_json::from_str(&bench.out("a.out")).expect("JSON");
    assert_eq!(output["model"], "voyage-law-2");
    assert_embedded(&bench, "a.out", "which tiger?", 3);

    bench.add("b.txt", "none");
    finish(&mut embed(&bench, &server, &["--input-type", "none", "--once"])).expect(0);
    let body: Value = serde_json::from_slice(&server.requests()[1].body).expect("JSON");
    assert_eq!(body["input_type"], Value::Null);
    let more = ["--input-type", "neither", "--once"];
    finish(&mut embed(&bench, &server, &more)).expect(2).says("[possible values: document, query");
}

#[test]
fn any_text_comes_through() {
    let server = TestServer::start();
    let bench = Bench::new();
    let texts = [
        "\"quotes\" and \\ and \u{0} and \u{7f}".to_owned(),
        "Ελλάδα 日本語 🐅 \u{feff}".to_owned(),
        "</script>\r\n\t\u{2028}".to_owned(),
        "long ".repeat(200_000),
    ];
    for (number, text) in texts.iter().enumerate() {
        bench.add(format!("{number}.txt"), text);
    }
    finish(&mut embed(&bench, &server, &["--once"])).expect(0);
    for (number, text) in texts.iter().enumerate() {
        assert_embedded(&bench, &format!("{number}.out"), text, 8);
    }
}

/// Fails unless every output is whole and is what the server answers.
#[track_caller]
fn assert_whole(bench: &Bench, texts: &[String]) -> usize {
    let names = bench.names();
    for name in &names {
        let number: usize =
            name.strip_suffix(".out").expect("an output").parse().expect("a number");
        assert_embedded(bench, name, &texts[number], 8);
    }
    names.len()
}

#[test]
fn an_interrupt_lets_what_is_in_flight_finish_and_the_next_run_does_the_rest() {
    const FILES: usize = 300;
    for signal in [Signal::INT, Signal::TERM] {
        let server = TestServer::builder().delay(Duration::from_millis(300)).start();
        let bench = Bench::new();
        let texts = add_texts(&bench, FILES);
        let more = ["--concurrency-limit", "30", "--once"];
        let live = Live::start(&bench, &mut embed(&bench, &server, &more));
        wait_until("it is at work", || server.requests().len() > 60);
        live.signal(signal);
        let done = live.wait().expect(128 + signal.as_raw());
        let done = done.says("initiating shutdown").says("Task shutdown complete");
        assert!(!done.stderr.contains("Failed"), "{}", done.stderr);
        assert!(!done.stderr.contains("WARNING  | A request"), "{}", done.stderr);

        // What was asked was answered, and what was answered is there.
        let requests = server.requests();
        assert!(requests.iter().all(|request| request.answer == Answer::Full(200)));
        let finished = assert_whole(&bench, &texts);
        assert_eq!(finished, requests.len());
        assert!(finished > 30 && finished < FILES, "{finished}");
        assert_eq!(staged(&bench, "embed"), [""; 0]);
        assert_secret(&bench, &done, KEY);

        let done = finish(&mut embed(&bench, &server, &more)).expect(0);
        done.says(&format!("{finished} succeeded before"));
        assert_eq!(assert_whole(&bench, &texts), FILES);
        // Each text was paid for once.
        assert_eq!(server.requests().len(), FILES);
    }
}

#[test]
fn a_second_interrupt_leaves_at_once_and_costs_no_file() {
    for component in super::both() {
        let server = TestServer::start();
        let bench = Bench::new();
        for number in 0..20 {
            let path = if number % 2 == 0 { "/silent" } else { "/drip?ms=100&n=100000" };
            bench.add(format!("{number}.txt"), format!("GET {}{path}", server.https_url()));
        }
        let more = ["--allow-host", &secure(&server), "--concurrency-limit", "8", "--once"];
        let live = Live::start(&bench, &mut serve(&bench, &server, &component, &more));
        wait_until("requests are in flight", || server.requests().len() >= 8);
        live.signal(Signal::INT).says("initiating shutdown");
        live.signal(Signal::INT);
        live.wait().expect(130).says("leaving at once");
        assert_eq!(bench.names(), [""; 0], "no partial file and no failure");

        // All are still to do.
        for number in 0..20 {
            bench.add(format!("{number}.txt"), format!("GET {}/ok", server.https_url()));
        }
        run(&bench, &server, &component, &more[..4]).expect(0).says("20 succeeded");
        let name = component.file_stem().and_then(|name| name.to_str()).expect("a name");
        assert_eq!(staged(&bench, name), [""; 0]);
    }
}

#[test]
fn a_timeout_ends_requests_that_get_no_answer() {
    for component in super::both() {
        let server = TestServer::start();
        let bench = Bench::new();
        for number in 0..12 {
            let path = ["/silent", "/ok", "/drip?ms=50&n=100000"][number % 3];
            let url = if number % 2 == 0 { server.http_url() } else { server.https_url() };
            bench.add(format!("{number:02}.txt"), format!("GET {url}{path}"));
        }
        let grants = ["--allow-host", &super::plain(&server), "--allow-host", &secure(&server)];
        let more = [&grants[..], &["--timeout", "1s", "--concurrency-limit", "12"]].concat();
        run(&bench, &server, &component, &more)
            .expect(3)
            .says("4 succeeded, 0 failed, 8 timed out");
        for number in 0..12 {
            if number % 3 == 1 {
                assert_eq!(bench.out(format!("{number:02}.out")).lines().next(), Some("200"));
            } else {
                let error = bench.err(format!("{number:02}.err"));
                assert_eq!(error["exception_type"], "Timeout", "{error:#}");
                assert!(error["message"].as_str().is_some_and(|m| m.contains("1s")), "{error:#}");
            }
        }
        // What was given up does not go on at the server's cost.
        wait_until("the connections end", || {
            server.requests().iter().all(|request| request.ended.is_some())
        });
    }
}

#[test]
fn a_request_that_is_given_up_ends_while_others_go_on() {
    for component in super::both() {
        for http2 in [true, false] {
            let server = TestServer::builder().http2(http2).start();
            let bench = Bench::new();
            let url = server.https_url();
            let more = ["--allow-host", &secure(&server), "--timeout", "2s"];
            let more = [&more[..], &["--concurrency-limit", "10"]].concat();
            for number in 0..4 {
                bench.add(format!("{number}.txt"), format!("GET {url}/silent?n={number}"));
            }
            let live = Live::start(&bench, &mut serve(&bench, &server, &component, &more));
            wait_until("all are asked for", || server.count("/silent") == 4);
            // New ones all the time, so that the instance has no rest to end in.
            let mut next = 0;
            wait_until("the four are given up, at the server too", || {
                if server.requests().iter().filter(|r| r.ended.is_none()).count() < 7 {
                    next += 1;
                    let request = format!("GET {url}/slow?ms=700&n={next}");
                    let new = bench.path().join("new");
                    std::fs::write(&new, request).expect("a file");
                    std::fs::rename(new, bench.input().join(format!("s{next}.txt")))
                        .expect("moved");
                }
                let requests = server.requests();
                requests.iter().all(|r| r.path != "/silent" || r.ended.is_some())
            });
            assert!(server.requests().iter().any(|r| r.ended.is_none()), "none was beside them");
            live.signal(Signal::INT);
            let done = live.wait().expect(130);
            done.says(" 0 failed, 4 timed out");
        }
    }
}

#[test]
fn a_kill_costs_at_most_what_was_in_flight() {
    const FILES: usize = 400;
    const LIMIT: usize = 20;
    let server = TestServer::builder().delay(Duration::from_millis(40)).start();
    let bench = Bench::new();
    let texts = add_texts(&bench, FILES);
    let limit = LIMIT.to_string();
    let more = ["--concurrency-limit", &limit, "--once"];
    let mut kills = 0;
    for wanted in [1, 60, 140, 250] {
        let live = Live::start(&bench, &mut embed(&bench, &server, &more));
        wait_until("it makes progress", || bench.names().len() >= wanted);
        live.kill();
        kills += 1;
        assert!(assert_whole(&bench, &texts) < FILES);
    }
    finish(&mut embed(&bench, &server, &more)).expect(0);
    assert_eq!(assert_whole(&bench, &texts), FILES);
    assert_eq!(staged(&bench, "embed"), [""; 0]);
    let asked: BTreeMap<String, usize> =
        server.attempts_by_text().into_iter().map(|(text, all)| (text, all.len())).collect();
    assert_eq!(asked.len(), FILES);
    let again: usize = asked.values().map(|times| times - 1).sum();
    // A few were answered and not yet published.
    assert!(again <= kills * LIMIT * 2, "{again} texts were paid for again");
}

#[test]
fn two_runs_share_a_server_and_a_label() {
    let server = TestServer::builder().delay(Duration::from_millis(60)).start();
    let labels = tempfile::tempdir().expect("a place");
    let (one, other) = (Bench::new(), Bench::new());
    let texts = add_texts(&one, 60);
    add_texts(&other, 60);
    let start = |bench: &Bench| {
        let more = ["--concurrency-limit", "30", "--label", "voyage=5", "--once"];
        let mut command = embed(bench, &server, &more);
        Live::start(bench, command.env("TIGERFLOW_LABEL_DIR", labels.path()))
    };
    let (first, second) = (start(&one), start(&other));
    first.wait().expect(0).says("60 succeeded");
    second.wait().expect(0).says("60 succeeded");
    assert_eq!((assert_whole(&one, &texts), assert_whole(&other, &texts)), (60, 60));
    let peak = server.peak_in_flight();
    assert!((2..=5).contains(&peak), "{peak} at once");
    // Both worked, and neither waited for the other's end.
    assert!(server.attempts_by_text().values().all(|attempts| attempts.len() == 2));
}

#[test]
fn a_server_of_files_takes_them_as_they_come() {
    let server = TestServer::start();
    let bench = Bench::new();
    let live = Live::start(&bench, &mut embed(&bench, &server, &[]));
    for number in 0..25 {
        // Moved into place, as a careful writer does.
        let hidden = bench.path().join("new");
        std::fs::write(&hidden, text(number)).expect("a file");
        std::fs::rename(hidden, bench.input().join(format!("{number:04}.txt"))).expect("a move");
    }
    wait_until("all are there", || bench.names().len() == 25);
    live.signal(Signal::TERM);
    live.wait().expect(143);
    let texts: Vec<String> = (0..25).map(text).collect();
    assert_eq!(assert_whole(&bench, &texts), 25);
}
