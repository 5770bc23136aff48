//! `--durability batch`: outputs are synced, many at once, before they have their
//! names.

use rustix::process::Signal;
use tigerflow_tests::{Bench, guest, wait_until};

use crate::live::Live;

const BATCH: [&str; 2] = ["--durability", "batch"];

#[test]
fn every_way_to_end_is_as_without() {
    let bench = Bench::new();
    for number in 0..300 {
        bench.add(format!("{number}.txt"), format!("good file {number}"));
    }
    for (name, content) in [
        ("empty.txt", "nothing"),
        ("fails.txt", "fail"),
        ("panics.txt", "panic"),
        ("extra.txt", "extra"),
        ("directory.txt", "directory"),
    ] {
        bench.add(name, content);
    }
    bench.run(&guest("misbehave"), &BATCH).expect(3);
    let plain = Bench::new();
    for entry in std::fs::read_dir(bench.input()).expect("inputs") {
        let path = entry.expect("an entry").path();
        plain.add(path.file_name().expect("a name"), std::fs::read(&path).expect("an input"));
    }
    plain.run(&guest("misbehave"), &[]).expect(3);
    assert_eq!(bench.names(), plain.names());
    for name in bench.names().iter().filter(|name| name.ends_with(".out")) {
        assert_eq!(bench.out(name), plain.out(name), "{name}");
    }
    bench.assert_tidy("misbehave");
    let ended = bench.journal("misbehave").iter().filter(|r| r["event"] == "attempt").count();
    assert_eq!(ended, 305);
}

#[test]
fn an_asynchronous_task_publishes_so_as_well() {
    let bench = Bench::new();
    for number in 0..200 {
        bench.add(format!("{number}.txt"), format!("text {number}"));
    }
    bench.run(&guest("async-upper"), &BATCH).expect(0);
    for number in 0..200 {
        assert_eq!(bench.out(format!("{number}.out")), format!("TEXT {number}"));
    }
}

#[test]
fn an_err_goes_when_its_output_comes() {
    let bench = Bench::new();
    bench.add("a.txt", "fail");
    bench.run(&guest("misbehave"), &BATCH).expect(3);
    assert_eq!(bench.names(), ["a.err"]);
    bench.add("a.txt", "good now");
    bench.run(&guest("misbehave"), &["--durability", "batch", "--retry-failed"]).expect(0);
    assert_eq!(bench.names(), ["a.out"]);
}

/// Killed at any moment, it leaves nothing half done, and goes on.
#[test]
fn kills_lose_nothing() {
    let bench = Bench::new();
    for number in 0..3_000 {
        bench.add(format!("{number:04}.txt"), format!("text {number}"));
    }
    for kill in 1..=4 {
        let live = Live::start(&bench, &mut bench.serve(&guest("upper"), &BATCH));
        wait_until("it makes progress", || bench.names().len() > kill * 300);
        live.kill();
        for name in bench.names() {
            assert_eq!(bench.out(&name), format!("TEXT {}", number(&name)), "{name}");
        }
    }
    let live = Live::start(&bench, &mut bench.serve(&guest("upper"), &BATCH));
    wait_until("all are done", || bench.names().len() == 3_000);
    live.signal(Signal::TERM);
    live.wait().expect(143);
    for name in bench.names() {
        assert_eq!(bench.out(&name), format!("TEXT {}", number(&name)), "{name}");
    }
}

fn number(name: &str) -> u32 {
    name.trim_end_matches(".out").parse().expect("a number")
}
