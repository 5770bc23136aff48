//! `pipeline run`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::load::{self, Whereabouts};
use crate::cli::detach::{self, Background};
use crate::cli::{LogArgs, Usage, values};
use crate::log;
use crate::pipeline::{self, PipelinePlan};
use crate::run::plan::{self, DirectoryError};
use crate::schedule::Mode;
use crate::workspace::DIRECTORY;
use crate::workspace::staging::Durability;

/// Run a pipeline
///
/// Takes files from INPUT_DIR and sends each through all tasks of CONFIG. What a task
/// makes of NAME.mp4 appears as OUTPUT_DIR/TASK/NAME.txt, unless its `keep_output` is
/// false; where it fails, OUTPUT_DIR/TASK/NAME.err says why. It goes on serving, and
/// takes files as they arrive, until there was nothing to do for --idle-timeout, or it
/// is told to stop (Ctrl-C, `pipeline stop`). Started again, it goes on where it was;
/// files that failed are tried once more.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 done, also by the idle timeout · 1 the host failed · 2 bad \
                        usage or configuration, nothing was run · 3 done, some files failed · \
                        4 a task's `setup` failed · 128+n signal n.")]
pub struct RunArgs {
    /// The configuration
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Directory of the input files
    #[arg(value_name = "INPUT_DIR")]
    input_dir: PathBuf,
    /// Directory for the output files; made if only its last part is missing
    #[arg(value_name = "OUTPUT_DIR")]
    output_dir: PathBuf,

    /// End when there was nothing to do for so many minutes, or so long: `30`, `90s`,
    /// `12h`
    #[arg(long, value_name = "MINUTES", value_parser = idle, allow_hyphen_values = true, default_value = "10")]
    idle_timeout: Duration,
    /// End when the files that are there now are done
    #[arg(long, conflicts_with = "idle_timeout")]
    once: bool,
    /// Delete each input once all tasks have it, and what they made of it is safe on
    /// disk. Inputs that failed or were declined stay
    #[arg(long)]
    delete_input: bool,
    /// Go on in the background, free of this terminal, once all is checked and the
    /// pipeline has begun. Its log is OUTPUT_DIR/.tigerflow/.pipeline/run.log; see
    /// `pipeline report`, `attach` and `pipeline stop`
    #[arg(long, short)]
    background: bool,
    /// This is the process that --background starts
    #[arg(long, hide = true)]
    detached: bool,
    /// Take a new file when it has been unchanged for so long; one that its writer
    /// closed or moved into place is taken at once where the system tells [default:
    /// 1s; 0 with --once]
    #[arg(long, value_name = "DURATION", value_parser = values::duration, allow_hyphen_values = true)]
    settle: Option<Duration>,
    /// How often to look for new files where the system does not tell of them, and to
    /// ask staging steps again; the least time between two batches of `max_batch`
    #[arg(long, value_name = "DURATION", value_parser = values::limit, allow_hyphen_values = true, default_value = "3s")]
    poll_interval: Duration,
    /// What outputs survive, of all tasks: see `tigerflow-host run --help`
    #[arg(long, value_enum, value_name = "WHAT", default_value = "none")]
    durability: Durability,
    /// Read inputs that are symbolic links out of the input directory
    #[arg(long)]
    follow_links: bool,
    #[command(flatten)]
    log: LogArgs,
}

/// So many minutes, as in TigerFlow, or a duration.
fn idle(text: &str) -> anyhow::Result<Duration> {
    match text.parse::<u32>() {
        Ok(0) | Err(_) => values::limit(text).map_err(|_| {
            anyhow::anyhow!("write so many minutes, as `30`, or a time with its unit, as `90s`")
        }),
        Ok(minutes) => values::limit(&format!("{minutes}m")),
    }
}

/// A pipeline.
struct OfPipeline<'a>(&'a Path);

impl Background for OfPipeline<'_> {
    const WORDS: usize = 2;
    const WHAT: &'static str = "pipeline";

    fn log(&self) -> PathBuf {
        pipeline::layout(self.0).log()
    }

    fn commands(&self) -> [String; 3] {
        ["pipeline report", "attach", "pipeline stop"]
            .map(|command| crate::cli::command_line(command, self.0, None))
    }
}

pub fn run(args: RunArgs, arguments: &[OsString]) -> anyhow::Result<u8> {
    if args.background && !args.detached {
        return detach::start(&OfPipeline(&args.output_dir), arguments);
    }
    if args.detached {
        log::keep();
    }
    // What each file does in each task is too much for people.
    log::init(args.log.log_format, args.log.level(), args.log.verbose > 0);
    let loaded = load::load(&args.config)?;
    plan::check_input_dir(&args.input_dir).map_err(|error| named(error, "INPUT_DIR"))?;
    plan::check_output_dir(&args.output_dir).map_err(|error| named(error, "OUTPUT_DIR"))?;
    let input_dir = std::path::absolute(&args.input_dir)?;
    let output_dir = std::path::absolute(&args.output_dir)?;
    for task in &loaded.config().tasks {
        let visible = output_dir.join(&task.name);
        if plan::is_same_file(&visible, &input_dir) {
            return Err(Usage(format!(
                "INPUT_DIR `{}` is where the outputs of task `{}` go: give another INPUT_DIR or \
                 OUTPUT_DIR, or rename the task",
                args.input_dir.display(),
                task.name
            ))
            .into());
        }
        if std::fs::symlink_metadata(&visible).is_ok() && !visible.is_dir() {
            return Err(Usage(format!(
                "`{}` is no directory, and the outputs of task `{}` go there: remove it, or \
                 rename the task",
                visible.display(),
                task.name
            ))
            .into());
        }
    }
    let workspaces = output_dir.canonicalize()?.join(DIRECTORY);
    if input_dir.canonicalize()?.starts_with(workspaces) {
        return Err(Usage(format!(
            "INPUT_DIR `{}` lies in the host's own workspace of OUTPUT_DIR: give another one",
            args.input_dir.display()
        ))
        .into());
    }
    if args.delete_input {
        use rustix::fs::Access;
        rustix::fs::access(&input_dir, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
            Usage(format!(
                "INPUT_DIR `{}` does not let inputs be deleted (--delete-input): {}",
                args.input_dir.display(),
                std::io::Error::from(error)
            ))
        })?;
    }
    let lock = pipeline::layout(&output_dir).lock();
    if let Some(owner) = crate::workspace::lock::holder(&lock) {
        return Err(pipeline_at_work(&args.output_dir, &owner).into());
    }
    let (staging, max_staged, in_batches) = loaded.staging(&input_dir)?;
    let input_ext = loaded.config().tasks.iter().find(|task| task.depends_on.is_none());
    let input_ext = input_ext.map(|task| task.input_ext.clone());
    let input_ext = input_ext.ok_or_else(|| Usage("there is no task to begin with".into()))?;
    let whereabouts = Whereabouts {
        input_dir: &input_dir,
        output_dir: &output_dir,
        follow_links: args.follow_links,
        durability: args.durability,
        ask: true,
    };
    let names: Vec<String> = loaded.config().tasks.iter().map(|task| task.name.clone()).collect();
    let (tasks, tree) = loaded.plans(&whereabouts).inspect_err(|_| {
        // Directories that it has made for a pipeline that does not begin. Those that
        // hold something stay.
        for task in &names {
            let outputs = pipeline::places::outputs(&output_dir, task);
            for directory in outputs.ancestors().take(3) {
                let _ = std::fs::remove_dir(directory);
            }
        }
    })?;
    let mode = if args.once { Mode::Once } else { Mode::Idle(args.idle_timeout) };
    let settle = match args.settle {
        Some(settle) => settle,
        None if args.once => Duration::ZERO,
        None => Duration::from_secs(1),
    };
    let plan = PipelinePlan {
        config: std::path::absolute(&args.config)?,
        input_dir,
        input_ext,
        output_dir,
        tasks,
        tree,
        staging,
        max_staged,
        in_batches,
        mode,
        settle,
        poll: args.poll_interval,
        follow_links: args.follow_links,
        delete_input: args.delete_input,
        detached: args.detached,
    };
    Ok(pipeline::execute(plan)?.code())
}

/// A pipeline's directories have other names than a run's.
fn named(error: DirectoryError, name: &'static str) -> DirectoryError {
    match error {
        DirectoryError::Unfit { path, problem, .. } => {
            DirectoryError::Unfit { option: name, path, problem }
        }
        other => other,
    }
}

/// What to say where another pipeline is at work.
pub fn pipeline_at_work(output_dir: &Path, owner: &crate::workspace::lock::Owner) -> Usage {
    Usage(format!(
        "another pipeline is at work in `{}`: process {} on {}, since {} (wait for it, end it \
         with `{}`, or give this one another OUTPUT_DIR)",
        output_dir.display(),
        owner.pid,
        owner.host,
        log::local_time(owner.since),
        crate::cli::command_line("pipeline stop", output_dir, None)
    ))
}
