//! `pipeline report`: how far a pipeline is, or was, from what it wrote.

mod errors;
mod estimate;
mod figures;
mod follow;
mod gather;
mod json;
mod paint;
#[cfg(test)]
mod sample;
mod text;
mod view;
mod watch;
mod words;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use ratatui::crossterm::terminal;

use self::gather::{Gatherer, Snapshot};
use crate::cli::{Usage, print};

/// Columns where there is no terminal.
const WIDTH: usize = 80;

/// How many errors are shown once.
const ERRORS_SHOWN: usize = 10;

const EXIT_CODES: &str = "\
Exit codes: 0 it is shown · 1 it cannot be read · 2 no pipeline has worked here, or bad usage. With
--watch: that of the pipeline, once it has ended · 1 it died · 0 `q` or Esc · 130 Ctrl-C; then the
pipeline goes on.";

fn long_help() -> String {
    format!(
        "{EXIT_CODES}\n\n--json: keys that TigerFlow has mean what they mean there; lines with + \
         hold further ones.\n\n{}",
        json::SHAPE
    )
}

/// Show how far a pipeline is, or was
///
/// Reads what a pipeline and its tasks record in OUTPUT_DIR/.tigerflow, while it runs and
/// after. Works on every machine that sees the directory, and disturbs nobody.
///
/// In the bars `█` are files that went well, `×` files that failed, `–` files that a task
/// declined, and `░` what is left; a bar is full when all is done. The bar of a task is of
/// the files that it could have: of a root all that the pipeline knows, of others those that
/// their parent is done with. Durations are of successes, in all runs; the small blocks are
/// the latest 20 of them, and the longest of these has the full height. "Lately" is the last
/// minute, or the last 20 files where they take longer. The time left is what this rate
/// tells, and is not told before files are finished.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, after_long_help = long_help())]
pub struct ReportArgs {
    /// The OUTPUT_DIR of `pipeline run`
    #[arg(value_name = "OUTPUT_DIR")]
    output_dir: PathBuf,
    /// Show it again each second, until the pipeline has ended
    ///
    /// `q`, Esc or Ctrl-C leave, and the pipeline goes on; arrows, Page Up and Page Down
    /// scroll. On a terminal that cannot be redrawn (TERM=dumb) there is a line now and then.
    #[arg(short, long, conflicts_with = "json")]
    watch: bool,
    /// As JSON, whose shape --help tells
    #[arg(short, long)]
    json: bool,
    /// Only these sections, separated by commas: status, progress, metrics, errors
    #[arg(short, long, value_name = "SECTIONS", value_delimiter = ',', value_parser = section)]
    include: Vec<Section>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Status,
    Progress,
    Metrics,
    Errors,
}

fn section(text: &str) -> Result<Section, String> {
    match &*text.trim().to_lowercase() {
        "status" => Ok(Section::Status),
        "progress" => Ok(Section::Progress),
        "metrics" => Ok(Section::Metrics),
        "errors" => Ok(Section::Errors),
        _ => Err("there are status, progress, metrics and errors".into()),
    }
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
struct Sections {
    status: bool,
    progress: bool,
    metrics: bool,
    errors: bool,
}

impl Sections {
    const ALL: Self = Sections { status: true, progress: true, metrics: true, errors: true };
    #[cfg(test)]
    const NONE: Self = Sections { status: false, progress: false, metrics: false, errors: false };

    fn of(include: &[Section]) -> Self {
        let has = |section| include.contains(&section);
        if include.is_empty() {
            return Self::ALL;
        }
        Sections {
            status: has(Section::Status),
            progress: has(Section::Progress),
            metrics: has(Section::Metrics),
            errors: has(Section::Errors),
        }
    }

    /// Whether the journals tell any of it.
    fn need_journals(&self) -> bool {
        self.progress || self.metrics
    }
}

/// The command `pipeline report`. Returns its exit code.
pub fn report(args: &ReportArgs) -> anyhow::Result<u8> {
    let sections = Sections::of(&args.include);
    let is_terminal = std::io::stdout().is_terminal();
    if args.watch && !is_terminal {
        return Err(Usage(
            "--watch draws on a terminal, and stdout is none: leave it out, or repeat `pipeline \
             report --json`"
                .into(),
        )
        .into());
    }
    let mut gatherer = Gatherer::new(&args.output_dir, sections.need_journals())?;
    let colored = is_terminal && has_colors();
    if args.watch {
        return watch::watch(gatherer, &args.output_dir, sections, colored);
    }
    let mut snapshot = gatherer.look()?;
    if args.json {
        let found = if sections.errors {
            json::errors(&args.output_dir, &snapshot).context(errors_unread(&snapshot))?
        } else {
            Default::default()
        };
        print(&json::report(&gatherer, &snapshot, &sections, found)?);
        return Ok(0);
    }
    if sections.errors {
        add_errors(&mut snapshot, &args.output_dir, ERRORS_SHOWN)?;
    }
    show(&snapshot, &sections, colored);
    Ok(0)
}

/// Prints a report, as wide as the terminal.
fn show(snapshot: &Snapshot, sections: &Sections, colored: bool) {
    let is_terminal = std::io::stdout().is_terminal();
    let size = terminal::size().ok().filter(|(columns, _)| is_terminal && *columns > 0);
    let width = size.map_or(WIDTH, |(columns, _)| columns.into());
    print(&paint::render(&text::lines(snapshot, sections, width, true), colored));
}

/// Whether colours are welcome on a terminal.
fn has_colors() -> bool {
    let is_set = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_set && !watch::is_dumb()
}

fn add_errors(snapshot: &mut Snapshot, output_dir: &Path, limit: usize) -> anyhow::Result<()> {
    let tasks: Vec<String> = snapshot.tasks.iter().map(|task| task.task.name.clone()).collect();
    snapshot.errors = errors::of_all(output_dir, &tasks, limit).context(errors_unread(snapshot))?;
    Ok(())
}

fn errors_unread(snapshot: &Snapshot) -> String {
    format!("failed to read the errors, `{}`", snapshot.errors_in)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: ReportArgs,
    }

    fn parse(line: &str) -> Result<ReportArgs, String> {
        let words = std::iter::once("report").chain(line.split(' '));
        Ok(Command::try_parse_from(words).map_err(|error| error.to_string())?.args)
    }

    #[test]
    fn sections_are_checked() {
        let sections = Sections::of(&parse("out --include status,ERRORS").unwrap().include);
        assert!(sections.status && sections.errors && !sections.progress && !sections.metrics);
        assert!(!sections.need_journals());
        assert!(Sections::of(&parse("out").unwrap().include).need_journals());
        let error = parse("out --include status,nonsense").unwrap_err();
        assert!(error.contains("there are status, progress, metrics and errors"), "{error}");
    }

    #[test]
    fn watch_and_json_exclude_each_other() {
        assert!(parse("out --watch").unwrap().watch);
        assert!(parse("out --watch --json").unwrap_err().contains("cannot be used with"));
    }
}
