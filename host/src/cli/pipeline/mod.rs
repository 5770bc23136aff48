//! `pipeline …`: tasks connected, files flowing through.

mod check;
mod load;
mod report;
mod run;
mod stop;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::{LogArgs, Usage, print};
use crate::pipeline::graph;
use crate::text::count;
use crate::{log, pipeline};

/// Run several tasks as one: each file goes down a tree of tasks
///
/// A file in YAML names the tasks, and which depends on which. The configuration of
/// a TigerFlow pipeline does as it is, with `.wasm` in place of `.py`.
#[derive(Debug, Args)]
pub struct PipelineArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Stop(stop::StopArgs),
    Report(report::ReportArgs),
    Check(CheckArgs),
    Graph(GraphArgs),
    Schema(SchemaArgs),
}

/// Say all that is wrong with a configuration, and run nothing
///
/// Each problem has its line and column. The components are loaded, and what they
/// need is compared with what they are granted.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 it can be run · 2 it cannot.")]
struct CheckArgs {
    /// The configuration
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    #[command(flatten)]
    log: LogArgs,
}

/// Draw the tree of tasks
#[derive(Debug, Args)]
struct GraphArgs {
    /// The configuration
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// For the terminal; for Markdown, as on GitHub; for Graphviz
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Mermaid,
    Dot,
}

/// Print the JSON schema of configurations, for editors
///
/// An editor that knows it completes keys, explains them, and underlines mistakes:
/// put `# yaml-language-server: $schema=pipeline.schema.json` on the first line of a
/// configuration, and this command's output in that file.
#[derive(Debug, Args)]
struct SchemaArgs {}

pub fn pipeline(args: PipelineArgs, arguments: &[std::ffi::OsString]) -> anyhow::Result<u8> {
    match args.command {
        Command::Run(args) => run::run(args, arguments),
        Command::Stop(args) => stop::stop(&args),
        Command::Report(args) => report::report(&args),
        Command::Check(args) => check(&args),
        Command::Graph(args) => graph(&args),
        Command::Schema(SchemaArgs {}) => {
            print(&(serde_json::to_string_pretty(pipeline::config::schema())? + "\n"));
            Ok(0)
        }
    }
}

fn check(args: &CheckArgs) -> anyhow::Result<u8> {
    log::init(args.log.log_format, args.log.level(), true);
    let loaded = load::load(&args.config)?;
    let tasks = loaded.check()?;
    print(&format!(
        "{}: nothing is wrong with its {}\n",
        args.config.display(),
        count(tasks, "task")
    ));
    Ok(0)
}

fn graph(args: &GraphArgs) -> anyhow::Result<u8> {
    let document = load::read(&args.config)?;
    let (config, tree) = (document.config(), document.tree());
    print(&match args.format {
        Format::Text => graph::text(config, tree),
        Format::Mermaid => graph::mermaid(config, tree),
        Format::Dot => graph::dot(config, tree),
    });
    Ok(0)
}

/// What to say of a directory in which no pipeline was run.
fn no_pipeline_in(output_dir: &Path) -> Usage {
    let hint = match crate::workspace::Layout::all(output_dir) {
        Ok(all) if !all.is_empty() => {
            let line = super::command_line("status", output_dir, None);
            format!("a task was run there by itself, see `{line}`")
        }
        _ => "is it the OUTPUT_DIR of one?".into(),
    };
    Usage(format!("no pipeline is recorded in `{}`: {hint}", output_dir.display()))
}
