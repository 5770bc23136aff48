//! A large component: one written in Python carries its interpreter, 18 MB.

use std::{fs, path::PathBuf};

use anyhow::Result;

use super::{Bench, report::Report, start::Starts, workload::Workload};
use crate::{
    projects::{self, Missing},
    repo, setup,
};

const SOURCE: &str = "xtask/bench/python";

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let component = component()?;
    let size = fs::metadata(&component)?.len() as f64 / 1e6;
    let one = Workload::new(bench, "python", 1, 1024)?;
    let repetitions = bench.short_repetitions() / 2;
    let starts = Starts::measure(bench, &one, &component, repetitions, || Ok(()))?;
    report.section(
        "A large component",
        &format!(
            "A task in Python ({SOURCE}), {size:.1} MB, 1 file, measured as before. {}",
            starts.explained()
        ),
    );
    report.table(&starts.rows());
    Ok(())
}

fn component() -> Result<PathBuf> {
    let component = repo::target().join("bench/upper-python.wasm");
    fs::create_dir_all(repo::target().join("bench"))?;
    setup::python_tool()?;
    let source = repo::path(SOURCE);
    projects::project(&setup::rust()?, &source, &component, Missing::Install)?;
    Ok(component)
}
