//! What an SDK's asynchronous tasks must be able to do, where a language has
//! them.

use tigerflow_tests::Bench;

use super::{component, language};

fn conforms(name: &str) {
    assert_eq!(language(name).asynchronous, Ok(()));
    let component = component(&format!("{name}-async"));
    let bench = Bench::new();
    for number in 0..30 {
        bench.add(format!("{number}.txt"), "wait 200");
    }
    let done = bench.run(&component, &["--concurrency-limit", "30", "--instances", "1"]).expect(0);
    let most = (0..30).map(|number| bench.out(format!("{number}.out")).trim().parse::<u32>());
    let most = most.map(|number| number.expect("a number")).max();
    assert_eq!(most, Some(30), "{}", done.stderr);

    let bench = Bench::new();
    bench.add("a.txt", "fail Too much ☂").add("b.txt", "panic").add("c.txt", "echo\nwell");
    bench.add("d.txt", "wait 100").add("e.txt", "http http://127.0.0.1:1/");
    bench.run(&component, &["--instances", "1"]).expect(3);
    assert_eq!(bench.names(), ["a.err", "b.err", "c.out", "d.out", "e.err"]);
    assert_eq!(bench.out("c.out"), "well");
    let error = bench.err("a.err");
    assert_eq!(error["exception_type"], "TooBad");
    assert!(error["message"].as_str().is_some_and(|m| m.starts_with("Too much ☂")), "{error}");
    assert!(error["traceback"].as_str().is_some_and(|t| t.contains("the cause of it")), "{error}");
    assert!(bench.err("b.err").to_string().contains("this is a mistake"));
}

#[test]
fn rust() {
    conforms("rust");
}

#[test]
fn python() {
    conforms("python");
}
