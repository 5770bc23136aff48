//! The command line: arguments in, exit code out.

mod attach;
mod detach;
mod grants;
mod inspect;
mod parameters;
mod pipeline;
mod policies;
mod project;
mod run;
mod secrets;
mod slurm;
mod status;
mod stop;
mod values;
mod worker;
mod workspaces;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing::level_filters::LevelFilter;

use crate::engine::{self, LoadError};
use crate::log;

/// The host failed.
const EXIT_HOST: u8 = 1;
/// Bad usage, a bad component, or a grant that is missing. Nothing was
/// processed.
const EXIT_USAGE: u8 = 2;
/// `setup` failed.
const EXIT_SETUP: u8 = 4;

/// Hosts WebAssembly tasks: turns every input file into one output file.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 all done · 1 the host failed · 2 bad usage, bad component or missing grant (nothing
was processed) · 3 done, some files failed · 4 `setup` failed · 128+n ended by signal n.

Try `tigerflow-host run TASK.wasm --help` for a task's own parameters."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(project::NewArgs),
    Build(project::BuildArgs),
    Run(Box<run::RunArgs>),
    Pipeline(pipeline::PipelineArgs),
    Inspect(inspect::InspectArgs),
    Status(status::StatusArgs),
    Attach(attach::AttachArgs),
    Stop(stop::StopArgs),
    Compile(CompileArgs),
    #[command(hide = true)]
    Worker(worker::WorkerArgs),
}

/// Compile a task ahead of time, for this machine
///
/// Makes a file that `run` loads without compiling, for machines whose cache is
/// empty. It holds for this version of tigerflow-host and this kind of CPU. It
/// is machine code: run only those that you would run as a program.
#[derive(Debug, Args)]
struct CompileArgs {
    /// The component
    #[arg(value_name = "TASK.wasm")]
    component: PathBuf,
    /// The file to make [default: the component's name with `.cwasm`]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

/// How much is told, and how.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Log")]
struct LogArgs {
    /// Tell more; twice: everything
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// Tell warnings and errors only; twice: errors only
    #[arg(short, long, action = ArgAction::Count, conflicts_with = "verbose")]
    quiet: u8,
    /// How log lines on stderr look
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    log_format: log::Format,
}

impl LogArgs {
    fn level(&self) -> LevelFilter {
        match (self.quiet, self.verbose) {
            (0, 0) => LevelFilter::INFO,
            (1, _) => LevelFilter::WARN,
            (2.., _) => LevelFilter::ERROR,
            (_, 1) => LevelFilter::DEBUG,
            (_, 2..) => LevelFilter::TRACE,
        }
    }
}

/// The program. Returns its exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    secrets::hide(&arguments);
    match dispatch(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let code = code_of(&error);
            match error.downcast::<clap::Error>() {
                Ok(error) => {
                    // `--help` goes to stdout and is success. A reader that went
                    // away is no error.
                    let _ = error.print();
                    ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 })
                }
                Err(error) => {
                    eprintln!("error: {error:#}");
                    ExitCode::from(code)
                }
            }
        }
    }
}

/// A mistake of the user, before anything was processed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn code_of(error: &anyhow::Error) -> u8 {
    use crate::pipeline::PipelineError;
    use crate::project::ProjectError;
    use crate::run::plan::DirectoryError;
    match error.downcast_ref() {
        Some(ProjectError::File { .. }) => return EXIT_HOST,
        Some(_) => return EXIT_USAGE,
        None => {}
    }
    if error.is::<Usage>() || error.is::<LoadError>() || error.is::<DirectoryError>() {
        return EXIT_USAGE;
    }
    if let Some(PipelineError::Run(error) | PipelineError::Task { cause: error, .. }) =
        error.downcast_ref()
    {
        return code_of_run(Some(error));
    }
    if let Some(PipelineError::Staging(_)) = error.downcast_ref() {
        return EXIT_SETUP;
    }
    code_of_run(error.downcast_ref())
}

fn code_of_run(error: Option<&crate::run::RunError>) -> u8 {
    use crate::run::RunError;
    use crate::workspace::Error as WorkspaceError;
    use crate::workspace::lock::LockError;
    match error {
        Some(RunError::Workspace(WorkspaceError::Locked {
            cause: LockError::Held(_) | LockError::HeldByUnknown,
            ..
        })) => EXIT_USAGE,
        Some(RunError::Label(_)) => EXIT_USAGE,
        _ => EXIT_HOST,
    }
}

fn dispatch(arguments: Vec<OsString>) -> anyhow::Result<u8> {
    let command = Cli::command();
    if let Some(prepared) = run::prepare(&command, &arguments)? {
        let matches = prepared.command.clone().try_get_matches_from(&arguments)?;
        let cli = Cli::from_arg_matches(&matches)?;
        if let (Command::Run(args), Some(("run", matches))) = (cli.command, matches.subcommand()) {
            return run::run(*args, matches, prepared, &arguments);
        }
        anyhow::bail!("the command line reads as `run` and does not parse as it");
    }
    match Cli::try_parse_from(&arguments)?.command {
        // Without a component clap itself has said what is missing.
        Command::Run(_) => Err(Usage("the component is missing".into()).into()),
        Command::New(args) => project::new(&args),
        Command::Build(args) => project::build(&args),
        Command::Pipeline(args) => pipeline::pipeline(args, &arguments),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Status(args) => status::status(&args),
        Command::Attach(args) => attach::attach(&args),
        Command::Stop(args) => stop::stop(&args),
        Command::Worker(args) => worker::worker(&args),

        Command::Compile(args) => {
            log::init(args.log.log_format, args.log.level(), true);
            let output = args.output.unwrap_or_else(|| args.component.with_extension("cwasm"));
            engine::precompile(&args.component, &output)?;
            tracing::info!("Compiled {} to {}", args.component.display(), output.display());
            Ok(0)
        }
    }
}

/// A command that the user may give next, with `--task-name` where it is needed.
fn command_line(command: &str, output_dir: &Path, task: Option<&str>) -> String {
    let place = std::path::absolute(output_dir).unwrap_or_else(|_| output_dir.into());
    let mut line = format!("tigerflow-host {command} {}", quote(&place.to_string_lossy()));
    if let Some(task) = task {
        line.push_str(&format!(" --task-name {}", quote(task)));
    }
    line
}

/// An argument as a shell takes it.
fn quote(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.into()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

/// Prints to stdout. A reader that went away (`| head`) is no error.
fn print(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}
