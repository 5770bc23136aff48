//! Input files become output files.

use tigerflow_tests::{Bench, guest};

#[test]
fn each_input_becomes_an_output() {
    let bench = Bench::new();
    bench.add("a.txt", "one").add("b.txt", "two").add("c.md", "no input");
    bench.run(&guest("upper"), &[]).expect(0).says("2 files: 0 succeeded before");
    assert_eq!(bench.names(), ["a.out", "b.out"]);
    assert_eq!(bench.out("a.out"), "ONE");
}
