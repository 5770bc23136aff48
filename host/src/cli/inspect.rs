//! `inspect`: all that a component says of itself.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{LogArgs, parameters};
use crate::engine::description::{Description, Grant, Kind, Parameter};
use crate::engine::{Purpose, Task};
use crate::log;
use crate::text::one_line;

/// Show what a task is, what it takes and what it needs
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The component, or a file made by `tigerflow-host compile`
    #[arg(value_name = "TASK.wasm")]
    component: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    log: LogArgs,
}

/// What `inspect --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    path: String,
    digest: &'a str,
    interface: &'a str,
    #[serde(flatten)]
    description: &'a Description,
    imports: &'a [String],
    exports: &'a [String],
}

pub fn inspect(args: &InspectArgs) -> anyhow::Result<u8> {
    log::init(args.log.log_format, args.log.level(), true);
    let task = Task::load(&args.component, Purpose::default())?;
    if let Some(warning) = &task.warning {
        tracing::warn!("{warning}");
    }
    let run = <super::Cli as clap::CommandFactory>::command();
    let run = run.find_subcommand("run").cloned().unwrap_or_default();
    if let Err(clash) = parameters::add(run, &task.description) {
        tracing::warn!("`run` will refuse this task: {clash}");
    }
    let report = Report {
        path: args.component.display().to_string(),
        digest: &task.digest,
        interface: task.shape.interface().unwrap_or_default(),
        description: &task.description,
        imports: &task.shape.imports,
        exports: &task.shape.exports,
    };
    if args.json {
        super::print(&(serde_json::to_string_pretty(&report)? + "\n"));
    } else {
        super::print(&text(&report));
    }
    Ok(0)
}

fn text(report: &Report<'_>) -> String {
    let d = report.description;
    let mut out = String::new();
    let mut line =
        |name: &str, value: &str| out.push_str(&format!("{name:<13} {}\n", one_line(value)));
    line("task", &format!("{} {}", d.name, d.version));
    line("summary", &d.summary);
    line("interface", &format!("tigerflow:task/{}", report.interface));
    line("digest", &format!("sha256 {}", report.digest));
    line(
        "concurrency",
        &match d.max_concurrency {
            Some(1) => "1 file at a time".into(),
            Some(most) => format!("{most} files at a time at most"),
            None => "as many files at a time as asked for".into(),
        },
    );
    let many = |name: &str, lines: Vec<String>, line: &mut dyn FnMut(&str, &str)| match &lines[..] {
        [] => line(name, "none"),
        [first, rest @ ..] => {
            line(name, first);
            rest.iter().for_each(|l| line("", l));
        }
    };
    many("parameters", d.parameters.iter().map(parameter).collect(), &mut line);
    many("grants", d.grants.iter().map(grant).collect(), &mut line);
    let defaults = d.option_defaults.iter().map(|(o, v)| format!("--{o} {v}")).collect();
    many("defaults", defaults, &mut line);
    many("imports", report.imports.to_vec(), &mut line);
    out
}

fn parameter(p: &Parameter) -> String {
    let kind = match &p.kind {
        Kind::Text => "TEXT".into(),
        Kind::Integer => "INTEGER".into(),
        Kind::Number => "NUMBER".into(),
        Kind::Boolean => "true|false".into(),
        Kind::Choice(choices) => choices.join("|"),
    };
    let note = match &p.default {
        Some(default) => format!("[default: {default}]"),
        None if p.required => "[required]".into(),
        None => "[optional]".into(),
    };
    format!("--{} {kind}   {} {note}", p.name, p.help)
}

fn grant(g: &Grant) -> String {
    let need = if g.required { "required" } else { "optional" };
    format!("{}   {} [{need}]", g.option(), g.reason)
}
