//! A large component: one written in Python carries its interpreter, 18 MB.

use std::{fs, path::PathBuf};

use anyhow::Result;

use super::{Bench, report::Report, start::Starts, workload::Workload};
use crate::{process, repo, setup};

const SOURCE: &str = "xtask/bench/python";

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let component = component()?;
    let size = fs::metadata(&component)?.len() as f64 / 1e6;
    let one = Workload::new(bench, "python", 1, 1024)?;
    let starts = Starts::measure(bench, &one, &component, bench.short_repetitions() / 2)?;
    report.section(
        "A large component",
        &format!(
            "A task in Python made with componentize-py ({SOURCE}), {size:.1} MB, 1 file, measured as before. {}",
            starts.explained()
        ),
    );
    report.table(&starts.rows());
    Ok(())
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
