//! The smallest task stays small.

#[test]
fn the_smallest_task_is_under_15_lines() {
    let lines = include_str!("../examples/upper/src/lib.rs").lines().count();
    assert!(lines < 15, "it has {lines} lines");
}
