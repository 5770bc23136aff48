//! Pipelines on the built binary: a tree of tasks at work as one.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tigerflow_tests::{Bench, Done, finish, guest, host};

use crate::live::Live;

mod changes;
mod config;
mod deletion;
mod disks;
mod examples;
mod faults;
mod life;
mod report;
mod service;
mod slurm;
mod storm;
mod tasks;

/// A task of a configuration, in one line of YAML: this guest, from one extension to
/// another. `more`: further keys, as `depends_on: one, retries: 2`.
pub fn task(name: &str, component: &str, from: &str, to: &str, more: &str) -> String {
    // That it is there.
    guest(component);
    let more = if more.is_empty() { String::new() } else { format!(", {more}") };
    format!(
        "{{name: {name}, kind: local, module: guests/{component}.wasm, input_ext: {from}, \
         output_ext: {to}{more}}}"
    )
}

/// A configuration, an input and an output directory in a temporary place.
pub struct Pipeline {
    bench: Bench,
}

impl Deref for Pipeline {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl Pipeline {
    /// One of these tasks.
    pub fn new<T: AsRef<str>>(tasks: &[T]) -> Pipeline {
        Pipeline::staged(tasks, &[])
    }

    /// The same with steps of staging.
    pub fn staged<T: AsRef<str>>(tasks: &[T], steps: &[&str]) -> Pipeline {
        let pipeline = Pipeline { bench: Bench::new() };
        let guests = guest("upper").parent().expect("it is in a directory").to_path_buf();
        symlink(guests, pipeline.path().join("guests")).expect("a link");
        pipeline.configure(tasks, steps);
        pipeline
    }

    /// `upper` so often, each on what the one before it made: `one` from `.txt` to
    /// `.one`, `two` to `.two` and `three` to `.three`.
    pub fn chain(tasks: usize) -> Pipeline {
        let names = ["one", "two", "three"];
        let tasks: Vec<String> = (0..tasks)
            .map(|n| match n {
                0 => task(names[n], "upper", ".txt", ".one", ""),
                _ => {
                    let (parent, name) = (names[n - 1], names[n]);
                    let (from, to) = (format!(".{parent}"), format!(".{name}"));
                    task(name, "upper", &from, &to, &format!("depends_on: {parent}"))
                }
            })
            .collect();
        Pipeline::new(&tasks)
    }

    /// Writes its configuration anew.
    pub fn configure<T: AsRef<str>>(&self, tasks: &[T], steps: &[&str]) {
        let mut text = "tasks:\n".to_owned();
        for task in tasks {
            text.push_str(&format!("  - {}\n", task.as_ref()));
        }
        if !steps.is_empty() {
            text.push_str("staging:\n  steps:\n");
        }
        for step in steps {
            text.push_str(&format!("    - {step}\n"));
        }
        fs::write(self.config(), text).expect("a configuration can be written");
    }

    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        self.path().join("pipeline.yaml")
    }

    /// `pipeline run` of it, without `--once`.
    pub fn serve(&self, more: &[&str]) -> Command {
        let mut command = host();
        command.args(["pipeline", "run"]).arg(self.config()).arg(self.input()).arg(self.output());
        command.args(more);
        command
    }

    /// `pipeline run --once`, to its end.
    pub fn run(&self, more: &[&str]) -> Done {
        finish(self.serve(more).arg("--once"))
    }

    /// `pipeline run`, at work.
    pub fn live(&self, more: &[&str]) -> Live {
        Live::start(self, &mut self.serve(more))
    }

    /// `pipeline COMMAND OUTPUT_DIR`.
    pub fn about(&self, command: &str, more: &[&str]) -> Command {
        let mut line = host();
        line.args(["pipeline", command]).arg(self.output()).args(more);
        line
    }

    /// What `pipeline report --json` says.
    pub fn report(&self) -> Value {
        let done = finish(&mut self.about("report", &["--json"])).expect(0);
        serde_json::from_str(&done.stdout).expect("a report is JSON")
    }

    /// The workspace of a task, or with `.pipeline` that of all.
    pub fn workspace(&self, task: &str) -> PathBuf {
        self.output().join(".tigerflow").join(task)
    }

    /// The names of what users see of a task, sorted.
    pub fn shown(&self, task: &str) -> Vec<String> {
        list(&self.output().join(task))
    }

    /// The names of what a task made of files that are not finished, sorted.
    pub fn inner(&self, task: &str) -> Vec<String> {
        list(&self.workspace(task).join("outputs"))
    }

    /// The names on the list of files that are done with, in its order.
    pub fn finished(&self) -> Vec<String> {
        let list = fs::read(self.workspace(".pipeline").join("finished")).unwrap_or_default();
        let names = list
            .split(|&byte| byte == 0)
            .filter(|entry| !entry.is_empty())
            .map(|entry| entry.rsplit(|&byte| byte == b'\t').next().expect("a name"));
        names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }
}

/// The names in a directory, sorted; none where there is no directory.
pub fn list(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let name = |e: std::io::Result<fs::DirEntry>| e.expect("an entry").file_name();
    let mut names: Vec<_> = entries.map(|e| name(e).to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
