//! `new` and `build`: a project, and its component.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{LogArgs, quote};
use crate::engine::{Purpose, Task};
use crate::log;
use crate::project::{self, Language};

/// Make a new project: a task that works, in the language of your choice
///
/// Writes a directory with a small task, a sample input, and the SDK that the
/// task is written with. `tigerflow-host build` makes the component of it.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The language
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    lang: Language,
    /// The directory to make, by the name of the task: `count-words`
    #[arg(value_name = "NAME")]
    directory: PathBuf,
}

/// Build a project: from its source to the component that `run` takes
///
/// Calls the language's own tools, and says which one is missing and how to get
/// it. Then it makes sure that what came out is a task. A task of a single file
/// (.py, .c, .cpp) needs no project.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The project's directory, or a single source file
    #[arg(value_name = "DIR", default_value = ".")]
    source: PathBuf,
    /// The component to make [default: NAME.wasm in the project, or beside the file]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

pub fn new(args: &NewArgs) -> anyhow::Result<u8> {
    project::create(args.lang, &args.directory)?;
    let directory = quote(args.directory.to_string_lossy().trim_end_matches('/'));
    let name = args.directory.file_name().unwrap_or_default().to_string_lossy();
    super::print(&format!(
        "Made {directory}/, a task in {}. Now:\n\n  cd {directory}\n  tigerflow-host build\n  \
         tigerflow-host run {name}.wasm --input-dir samples --input-ext .txt --output-dir out \
         --output-ext .txt --once\n",
        args.lang.name(),
    ));
    Ok(0)
}

pub fn build(args: &BuildArgs) -> anyhow::Result<u8> {
    log::init(args.log.log_format, args.log.level(), true);
    let component = project::build(&args.source, args.output.as_deref())?;
    let task = Task::load(&component, Purpose::default())?;
    if let Some(warning) = &task.warning {
        tracing::warn!("{warning}");
    }
    let size = std::fs::metadata(&component).map_or(0, |data| data.len());
    tracing::info!(
        "Built {} ({}): the task {} {}",
        shown(&component),
        bytesize::ByteSize(size).display().si(),
        task.description.name,
        task.description.version,
    );
    Ok(0)
}

/// Without the `./` that a project's default directory puts in front.
fn shown(path: &Path) -> String {
    quote(&path.strip_prefix(".").unwrap_or(path).to_string_lossy())
}
