//! What becomes of a file on its way down the tree, and what is left of it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::{Pipeline, list, task};
use crate::live::Gate;

#[test]
fn a_file_goes_through_all_tasks_and_leaves_its_outputs_only() {
    let pipeline = Pipeline::chain(3);
    pipeline.add("a.txt", "one").add("b.txt", "two").add("c.other", "no input");
    pipeline.run(&[]).expect(0).says("2 files finished, 0 failed");
    for name in ["one", "two", "three"] {
        assert_eq!(pipeline.shown(name), [format!("a.{name}"), format!("b.{name}")]);
        assert_eq!(pipeline.inner(name), [""; 0], "intermediates go");
        assert_eq!(pipeline.out(format!("{name}/a.{name}")), "ONE");
    }
}
