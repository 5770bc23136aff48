//! A large component: one written in Python carries its interpreter, 18 MB.

use std::{fs, path::PathBuf};

use anyhow::Result;

use super::{Bench, report::Report, start, stats::Sample, throughput::row, workload::Workload};
use crate::{process, repo, setup};

const SOURCE: &str = "xtask/bench/python";

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let component = component()?;
    let size = fs::metadata(&component)?.len() as f64 / 1e6;
    let one = Workload::new(bench, "python", 1, 1024)?;
    // A cache that is empty shows what the first start costs; the user's own cache is left alone.
    let times = start::first_file(bench, &one, &component, bench.short_repetitions() / 2)?;
    report.section(
        "A large component: the second start",
        &format!(
            "A task in Python made with componentize-py ({SOURCE}), {size:.1} MB: from process start to the published \
             output of 1 file, after a run that filled the cache, {} times.",
            times.len()
        ),
    );
    report.table(&[
        row(["What", "Time"]),
        vec!["Second start to first file".into(), format!("**{} ms**", shown(&times))],
    ]);
    Ok(())
}

fn shown(times: &Sample) -> String {
    times.shown(1)
}

/// Makes the component with componentize-py unless it is newer than its source and the interface.
fn component() -> Result<PathBuf> {
    let program = setup::python_tool()?;
    let component = repo::target().join("bench/upper-python.wasm");
    process::step("Python component", || {
        let source = repo::path(SOURCE).join("app.py");
        let mut sources = repo::files_with_extension(&repo::path("wit"), "wit")?;
        sources.push(source);
        let made = fs::metadata(&component).and_then(|data| data.modified());
        let is_new = made.is_ok_and(|made| {
            sources.iter().all(|file| {
                fs::metadata(file).and_then(|data| data.modified()).is_ok_and(|time| time < made)
            })
        });
        if is_new {
            return Ok(((), "up to date".to_owned()));
        }
        fs::create_dir_all(repo::target().join("bench"))?;
        let mut make = process::command(program);
        make.arg("--wit-path").arg(repo::path("wit")).args([
            "--world",
            "task-component",
            "componentize",
            "app",
        ]);
        make.arg("--python-path").arg(repo::path(SOURCE)).arg("--output").arg(&component);
        process::quietly(&mut make)?;
        Ok(((), repo::shown(&component)))
    })?;
    Ok(component)
}
