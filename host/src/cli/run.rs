//! `run`: from arguments to a plan.
//!
//! A task's parameters are options too, and only the task knows them. So the
//! command line is read twice: once to find the component, and once, with the
//! task's parameters added, in earnest.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgMatches, Args, Command, ValueEnum};

use super::detach::{self, DETACHED};
use super::grants::GrantArgs;
use super::policies::{self, POLICIES, PolicyArgs};
use super::slurm::{SlurmArgs, Workers};
use super::{LogArgs, Usage, parameters, values};
use crate::engine::{
    self, Interface, Isolation, LoadError, Network, Notices, Purpose, Sandbox, Task, network,
};
use crate::executor::slurm::plan::WorkerPlan;
use crate::executor::slurm::{self, SlurmPlan};
use crate::run::plan::{self, Plan};
use crate::schedule::Mode;
use crate::workspace::Layout;
use crate::workspace::names::{Extension, Pairing};
use crate::workspace::staging::Durability;
use crate::{log, run};

/// Options whose default a task may choose, beside its policies.
const TASK_DEFAULTS: [&str; 6] = [
    "setup-timeout",
    "memory-limit",
    "output-limit",
    "request-timeout",
    "response-limit",
    "settle",
];

/// How many files are in flight in an asynchronous task, where nobody says.
pub const ASYNC_CONCURRENCY: usize = 30;

/// Most files in flight. Each takes an instance, or a call of one.
const CONCURRENCY_LIMIT: u32 = 10_000;

/// Turn every input file into one output file
///
/// Runs the task on every file of --input-dir whose name ends in --input-ext.
/// What the task makes of NAME.txt appears as NAME.json in --output-dir, whole
/// or not at all; where it fails, NAME.err there says why. Files that have
/// either are not run again. It goes on serving, and takes files as they
/// arrive, until it is told to stop (Ctrl-C): see --once and --idle-timeout.
///
/// The task reads the input directory and writes its own output. It reaches
/// nothing else: no other file, no environment variable, no network, unless
/// granted.
#[derive(Debug, Args)]
#[command(
    override_usage = "tigerflow-host run TASK.wasm --input-dir DIR --input-ext .EXT \
                      --output-dir DIR --output-ext .EXT [OPTIONS] [--PARAMETER VALUE]…",
    after_help = "A task's own parameters are options too: `tigerflow-host run TASK.wasm --help` \
                  lists them.\nExit codes: 0 all done · 3 some files failed · 4 `setup` failed · \
                  1 the host failed · 2 bad usage · 128+n signal n."
)]
pub struct RunArgs {
    /// The component, or a file made by `tigerflow-host compile`
    #[arg(value_name = "TASK.wasm")]
    component: PathBuf,

    /// Directory of the input files
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    input_dir: PathBuf,
    /// What the names of input files end in: `.txt`, `.tar.gz`
    #[arg(long, value_name = ".EXT", help_heading = "Files")]
    input_ext: Extension,
    /// Directory for the output files; made if only its last part is missing
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    output_dir: PathBuf,
    /// What the names of output files end in
    #[arg(long, value_name = ".EXT", help_heading = "Files")]
    output_ext: Extension,
    /// Run files again that have an `.err`
    #[arg(long, help_heading = "Files")]
    retry_failed: bool,
    /// Run files again that the task declined
    #[arg(long, help_heading = "Files")]
    retry_aborted: bool,
    /// What outputs survive: `none`, whatever ends the process, but a power loss
    /// may cost those of the last seconds; `batch`, a power loss, too. Many are
    /// synced at once, and published after
    #[arg(long, value_enum, value_name = "WHAT", default_value = "none", help_heading = "Files")]
    durability: Durability,
    /// Read inputs that are symbolic links out of the input directory. The task
    /// reads the file itself, and nothing beside it
    #[arg(long, help_heading = "Files")]
    follow_links: bool,
    /// Take a new file when it has been unchanged for so long; one that its
    /// writer closed or moved into place is taken at once where the system
    /// tells [default: 1s; 0 with --once]
    #[arg(long, value_name = "DURATION", value_parser = values::duration, allow_hyphen_values = true, help_heading = "Files")]
    settle: Option<Duration>,
    /// How often to look for new files where the system does not tell of them
    #[arg(long, value_name = "DURATION", value_parser = values::limit, allow_hyphen_values = true, default_value = "3s", help_heading = "Files")]
    poll_interval: Duration,

    /// How many files are in flight at once [default: the number of cores, or 30
    /// in an asynchronous task; never more than the task allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(CONCURRENCY_LIMIT)), help_heading = "Run")]
    concurrency_limit: Option<u32>,
    /// How many instances an asynchronous task has, between which the files in
    /// flight are shared: a number, or `cores`. A plain task has one for each
    /// file in flight
    #[arg(long, value_name = "N", value_parser = values::instances, default_value = "1", help_heading = "Run")]
    instances: usize,
    /// What has instances of its own: `none`, so that an instance works on one
    /// file after another; `file`, so that nothing is left of one file when the
    /// next begins: `setup`, `run` and `teardown` in a fresh instance for each
    #[arg(long, value_enum, value_name = "WHAT", default_value = "none", help_heading = "Run")]
    isolate: Isolation,
    /// Name of the workspace, in OUTPUT_DIR/.tigerflow [default: the task's name]
    #[arg(long, value_name = "NAME", value_parser = values::task_name, help_heading = "Run")]
    task_name: Option<String>,
    /// End when the files that are there now are done
    #[arg(long, conflicts_with = "idle_timeout", help_heading = "Run")]
    once: bool,
    /// End when there was nothing to do for so long
    #[arg(long, value_name = "DURATION", value_parser = values::duration, allow_hyphen_values = true, help_heading = "Run")]
    idle_timeout: Option<Duration>,
    /// Go on in the background, free of this terminal, once all is checked and
    /// the run has begun. Its log is OUTPUT_DIR/.tigerflow/TASK/run.log; see
    /// `tigerflow-host status`, `attach` and `stop`
    #[arg(long, help_heading = "Run")]
    detach: bool,
    /// This is the process that --detach starts
    #[arg(long, hide = true)]
    detached: bool,
    /// A task's parameter by name, like --NAME VALUE
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = values::named, help_heading = "Run")]
    params: Vec<(String, String)>,
    /// Show a progress bar instead of a line for each file that goes well; where
    /// stderr is no terminal, a line every 10 seconds
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", help_heading = "Log")]
    progress: ProgressBar,

    #[command(flatten)]
    policies: PolicyArgs,

    /// Stop an attempt that takes longer [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = values::limit, allow_hyphen_values = true, help_heading = "Limits")]
    timeout: Option<Duration>,
    /// Stop a `setup` that takes longer [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = values::limit, allow_hyphen_values = true, help_heading = "Limits")]
    setup_timeout: Option<Duration>,
    /// Most memory of each instance; there are as many as files in flight
    #[arg(long, value_name = "SIZE", value_parser = values::size, allow_hyphen_values = true, default_value = "1G", help_heading = "Limits")]
    memory_limit: u64,
    /// Most bytes that an attempt may write
    #[arg(long, value_name = "SIZE", value_parser = values::size, allow_hyphen_values = true, default_value = "64G", help_heading = "Limits")]
    output_limit: u64,

    /// Give up a request over the network when nothing moves for so long: until
    /// the response begins, and between two parts of it
    #[arg(long, value_name = "DURATION", value_parser = values::limit, allow_hyphen_values = true, default_value = "5m", help_heading = "Limits")]
    request_timeout: Duration,
    /// Most bytes of a response's body
    #[arg(long, value_name = "SIZE", value_parser = values::size, allow_hyphen_values = true, default_value = "1G", help_heading = "Limits")]
    response_limit: u64,

    #[command(flatten)]
    slurm: SlurmArgs,

    #[command(flatten)]
    pub grants: GrantArgs,

    #[command(flatten)]
    log: LogArgs,
}

/// When to show a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProgressBar {
    /// On a terminal
    Auto,
    Always,
    Never,
}

/// The command line with the task's parameters in it.
pub struct Prepared {
    /// To parse the arguments with.
    pub command: Command,
    /// The task.
    pub task: Task,
}

/// If this is a `run` with a component, loads that and adds what it tells of
/// itself to the command line.
pub fn prepare(command: &Command, arguments: &[OsString]) -> anyhow::Result<Option<Prepared>> {
    let Some(run) = command.find_subcommand("run") else { return Ok(None) };
    let is_run = arguments.get(1).is_some_and(|first| first == "run");
    let Some(path) = is_run.then(|| component(run, &arguments[2..])).flatten() else {
        return Ok(None);
    };
    // A guess, so that it is compiled once only; `run` decides.
    let given = |option| value_of(arguments, option);
    let isolated = given("--isolate").is_some_and(|what| what == "file");
    let usual = match isolated && engine::is_asynchronous(Path::new(path)) {
        true => ASYNC_CONCURRENCY,
        false => cores(),
    };
    let concurrency =
        given("--concurrency-limit").and_then(|n| n.parse().ok()).unwrap_or(usual as u32);
    let many = concurrency as usize > cores();
    let limited = many || given("--timeout").is_some() || given("--setup-timeout").is_some();
    let fresh = if isolated { concurrency } else { 0 };
    let purpose = Purpose { interruptible: limited, fresh };
    prepare_for(command, run, Path::new(path), purpose).map(Some)
}

/// The same for a component that is known, and for what is going to be done with it:
/// a guess, so that it is compiled once only.
pub fn prepare_for(
    command: &Command,
    run: &Command,
    path: &Path,
    purpose: Purpose,
) -> anyhow::Result<Prepared> {
    let task = Task::load(path, purpose)?;
    let mut run = parameters::add(run.clone(), &task.description)?;
    for (option, value) in task.description.option_defaults.clone() {
        run = set_default(run, &option, value)
            .map_err(|problem| LoadError::Describe { path: path.into(), problem })?;
    }
    let description = &task.description;
    let about = format!("{} {}: {}", description.name, description.version, description.summary);
    let about = crate::text::one_line(&about).into_owned();
    let general = run.get_long_about().map(|text| text.to_string()).unwrap_or_default();
    run = run.about(about.clone()).long_about(format!("{about}\n\n{general}"));
    let command = command.clone().mut_subcommand("run", |_| run.clone());
    Ok(Prepared { command, task })
}

/// The component among the arguments after `run`: the first that is no option
/// and no option's value. Parameters of the task come after it, as nobody knows
/// yet which of them take a value.
fn component<'a>(run: &Command, arguments: &'a [OsString]) -> Option<&'a OsStr> {
    let takes_value = |name: &str| {
        run.get_arguments().any(|a| {
            let long = a.get_long().is_some_and(|l| name == format!("--{l}"));
            long && a.get_action().takes_values()
        })
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--") => return arguments.next().map(OsString::as_os_str),
            Some(text) if text.starts_with('-') && text.len() > 1 => {
                if takes_value(text) {
                    arguments.next();
                }
            }
            _ => return Some(argument),
        }
    }
    None
}

/// The value of an option, as far as one can tell before parsing.
fn value_of(arguments: &[OsString], option: &str) -> Option<String> {
    arguments.iter().enumerate().find_map(|(at, argument)| {
        let rest = argument.to_str()?.strip_prefix(option)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(value.into()),
            None if rest.is_empty() => arguments.get(at + 1)?.to_str().map(Into::into),
            None => None,
        }
    })
}

fn set_default(run: Command, option: &str, value: String) -> Result<Command, String> {
    let allowed = [&POLICIES[..], &TASK_DEFAULTS].concat();
    if !allowed.contains(&option) {
        return Err(format!(
            "it has a default for the option `{option}`, and this version of tigerflow-host takes \
             one for {} only",
            allowed.join(", ")
        ));
    }
    let id = option.replace('-', "_");
    let arg = run.get_arguments().find(|a| a.get_id() == id.as_str()).cloned();
    let arg = arg.ok_or_else(|| format!("no option `{option}`"))?;
    Command::new("default")
        .no_binary_name(true)
        .arg(arg)
        .try_get_matches_from([format!("--{option}"), value.clone()])
        .map_err(|_| format!("its default `{value}` for the option `{option}` is malformed"))?;
    Ok(run.mut_arg(id, |arg| {
        // What the help says of the host's own default does not hold here.
        let help = arg.get_help().map(|help| help.to_string()).unwrap_or_default();
        let help = help.split(" [default:").next().unwrap_or_default().to_owned();
        arg.help(help).default_value(value)
    }))
}

/// Runs the task.
pub fn run(
    args: RunArgs,
    matches: &ArgMatches,
    prepared: Prepared,
    arguments: &[OsString],
) -> anyhow::Result<u8> {
    if args.detach && !args.detached {
        let task = args.task_name.as_deref().unwrap_or(&prepared.task.description.name);
        return detach::start(&detach::OfRun { output_dir: &args.output_dir, task }, arguments);
    }
    // As the user gave them, for messages.
    let arguments: Vec<OsString> = match args.detached {
        true => arguments.iter().filter(|argument| *argument != DETACHED).cloned().collect(),
        false => arguments.into(),
    };
    let bar = match args.progress {
        ProgressBar::Always => true,
        ProgressBar::Never => false,
        // It leaves the terminal.
        ProgressBar::Auto if args.detached => false,
        ProgressBar::Auto => {
            let for_people = args.log.quiet == 0 && args.log.log_format == log::Format::Text;
            for_people && std::io::stderr().is_terminal()
        }
    };
    if args.detached {
        log::keep();
    }
    log::init(args.log.log_format, args.log.level(), !bar || args.log.verbose > 0);
    if let Some(warning) = &prepared.task.warning {
        tracing::warn!("{warning}");
    }
    let plan = resolve(args, matches, prepared.task, bar, &arguments, true)?;
    Ok(run::execute(plan)?.code())
}

/// Makes a plan, with the task compiled for what it says. `ask`: whether to ask Slurm
/// if it would take the workers.
pub fn resolve(
    args: RunArgs,
    matches: &ArgMatches,
    task: Task,
    bar: bool,
    command_line: &[OsString],
    ask: bool,
) -> anyhow::Result<Plan> {
    let mut plan = plan(args, matches, task, bar, command_line, ask)?;
    // A guest that is busy must let the timer have its turn, and its neighbours
    // on the same thread.
    let limited = plan.sandbox.timeout.is_some() || plan.sandbox.setup_timeout.is_some();
    let instances = match plan.task.interface() {
        Interface::Task => plan.concurrency,
        Interface::AsyncTask => plan.instances,
    };
    let cores = match &plan.slurm {
        Some(slurm) => slurm.request.cpus.unwrap_or(1) as usize,
        None => cores(),
    };
    let fresh = match plan.sandbox.isolation {
        Isolation::File => u32::try_from(instances).unwrap_or(u32::MAX),
        Isolation::None => 0,
    };
    let purpose =
        Purpose { interruptible: limited || instances > cores || plan.task.precompiled, fresh };
    match &mut plan.slurm {
        Some(slurm) => slurm.worker.purpose = purpose,
        None if plan.task.purpose != purpose => {
            plan.task = Task::load(&plan.task.path, purpose)?;
        }
        None => {}
    }
    Ok(plan)
}

/// Makes every check there is to make before a file is touched.
fn plan(
    mut args: RunArgs,
    matches: &ArgMatches,
    task: Task,
    bar: bool,
    command_line: &[OsString],
    ask: bool,
) -> anyhow::Result<Plan> {
    args.grants.read()?;
    let arguments = parameters::resolve(&task.description, matches, &args.params)?;
    plan::check_input_dir(&args.input_dir)?;
    args.grants.check(&task.description, command_line)?;
    let pairing = Pairing { input: args.input_ext, output: args.output_ext };
    args.grants.check_directories()?;
    let task_name = args.task_name.unwrap_or_else(|| task.description.name.clone());
    let retry = args.policies.retry()?;
    let usual = match task.interface() {
        Interface::Task if args.slurm.is_chosen() => args.slurm.cores(),
        Interface::Task => cores(),
        Interface::AsyncTask => ASYNC_CONCURRENCY,
    };
    let concurrency = concurrency(args.concurrency_limit, usual, &task);
    let workers = match args.slurm.is_chosen() {
        true => Some(args.slurm.resolve(&task_name, &task.description, concurrency)?),
        false => {
            SlurmArgs::check_local(matches)?;
            None
        }
    };
    if let Some(workers) = &workers {
        // Nodes start elsewhere: nothing may depend on where this is.
        for path in [&mut args.input_dir, &mut args.output_dir] {
            *path = std::path::absolute(&path)?;
        }
        for directory in &mut args.grants.directories {
            directory.host_path = std::path::absolute(&directory.host_path)?;
        }
        // A run that goes on had its answer, and nodes may be down now.
        let layout = Layout::new(&args.output_dir, &task_name);
        if ask && !slurm::left_over::is_there(&layout.slurm()) {
            workers.ask()?;
        }
    }
    plan::check_output_dir(&args.output_dir)?;
    plan::check_pairing(&args.input_dir, &args.output_dir, &pairing)?;
    for directory in args.grants.directories.iter().filter(|d| d.writable) {
        if plan::opens_workspace(&directory.host_path, &args.output_dir)? {
            return Err(Usage(format!(
                "--dir `{}` would let the task write in the host's own workspace, which lies in \
                 --output-dir: grant a directory that does not hold it",
                directory.host_path.display()
            ))
            .into());
        }
    }
    let mut workspace_visible = plan::opens_workspace(&args.input_dir, &args.output_dir)?;
    for directory in &args.grants.directories {
        workspace_visible |= plan::opens_workspace(&directory.host_path, &args.output_dir)?;
    }
    // A task that sets its own limits does not do so unseen.
    for (option, value) in &task.description.option_defaults {
        if !is_given(matches, &option.replace('-', "_")) {
            tracing::info!("The task's own default: --{option} {value}");
        }
    }
    let mode = match args.idle_timeout {
        _ if args.once => Mode::Once,
        Some(limit) => Mode::Idle(limit),
        None => Mode::Serve,
    };
    let settle = match args.settle {
        // A task's own default is for servers, too.
        Some(settle) if !args.once => settle,
        Some(settle) if is_given(matches, "settle") => settle,
        _ if args.once => Duration::ZERO,
        _ => Duration::from_secs(1),
    };
    if args.isolate == Isolation::File && is_given(matches, "instances") {
        let problem = "--isolate file makes an instance for each file: leave --instances out";
        return Err(Usage(problem.into()).into());
    }
    let environment = args.grants.environment();
    let notices = Arc::new(Notices::new(environment.clone()));
    let hosts = args.grants.host_texts();
    let mut plan = Plan {
        sandbox: Sandbox {
            input_dir: args.input_dir,
            environment,
            directories: args.grants.directories,
            memory_limit: usize::try_from(args.memory_limit).unwrap_or(usize::MAX),
            output_limit: args.output_limit,
            isolation: args.isolate,
            open_files: 0,
            calls: 1,
            network: Arc::new(Network::new(
                args.grants.rules,
                network::Limits {
                    request_timeout: args.request_timeout,
                    response_limit: args.response_limit,
                    ..network::Limits::default()
                },
                Arc::clone(&notices),
            )),
            notices,
            workspace_visible,
            timeout: args.timeout,
            setup_timeout: args.setup_timeout,
            arguments,
        },
        output_dir: args.output_dir,
        pairing,
        task_name,
        concurrency,
        instances: match args.isolate {
            Isolation::File => concurrency,
            Isolation::None => args.instances.min(concurrency),
        },
        retry,
        rate: args.policies.rate_limit,
        labels: args.policies.label,
        max_failures: args.policies.max_failures,
        policies: policies::in_force(matches),
        retry_aborted: args.retry_aborted,
        mode,
        settle,
        poll: args.poll_interval,
        retry_failed: args.retry_failed,
        follow_links: args.follow_links,
        durability: args.durability,
        bar,
        detached: args.detached,
        slurm: None,
        task,
    };
    plan.slurm = workers.map(|workers| slurm_plan(workers, &plan, hosts));
    Ok(plan)
}

/// What workers must know of a plan.
fn slurm_plan(workers: Workers, plan: &Plan, hosts: Vec<String>) -> SlurmPlan {
    let sandbox = &plan.sandbox;
    let limits = sandbox.network.limits();
    let worker = WorkerPlan {
        version: env!("CARGO_PKG_VERSION").into(),
        component: plan.task.path.clone(),
        digest: plan.task.digest.clone(),
        input_dir: sandbox.input_dir.clone(),
        output_dir: plan.output_dir.clone(),
        input_ext: plan.pairing.input.to_string(),
        output_ext: plan.pairing.output.to_string(),
        follow_links: plan.follow_links,
        durability: plan.durability,
        directories: sandbox.directories.clone(),
        environment: sandbox.environment.variables().map(|(n, v)| (n.into(), v.into())).collect(),
        hosts,
        workspace_visible: sandbox.workspace_visible,
        arguments: sandbox.arguments.clone(),
        memory_limit: sandbox.memory_limit,
        output_limit: sandbox.output_limit,
        request_timeout: limits.request_timeout,
        response_limit: limits.response_limit,
        timeout: sandbox.timeout,
        setup_timeout: sandbox.setup_timeout,
        retry: plan.retry.clone(),
        labels: plan.labels.iter().map(|l| (l.name.clone(), l.limit)).collect(),
        concurrency: workers.concurrency,
        instances: plan.instances,
        // Decided when all else is.
        purpose: Purpose::default(),
        isolation: sandbox.isolation,
        idle_timeout: workers.idle_timeout,
        job: format!("{:?}", workers.request),
        wall_time: workers.wall_time,
    };
    SlurmPlan {
        request: workers.request,
        limits: workers.limits,
        grace: workers.grace,
        interval: workers.interval,
        rate: plan.rate,
        worker,
    }
}

fn is_given(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine)
}

/// How many files are in flight: what the user asks for, within what the task
/// allows.
fn concurrency(asked: Option<u32>, usual: usize, task: &Task) -> usize {
    let wanted = asked.map_or(usual, |n| n as usize);
    match task.description.max_concurrency {
        Some(most) if (most as usize) < wanted => {
            if asked.is_some() {
                tracing::info!(
                    "The task takes {} at a time at most: --concurrency-limit {wanted} is lowered",
                    crate::text::count(most as usize, "file")
                );
            }
            most as usize
        }
        _ => wanted,
    }
}

/// How many cores this machine has for us.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::super::Cli::command().debug_assert();
    }

    #[test]
    fn the_component_is_found_among_options() {
        let command = super::super::Cli::command();
        let run = command.find_subcommand("run").unwrap();
        let find = |line: &str| {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            component(run, &arguments).map(|c| c.to_string_lossy().into_owned())
        };
        assert_eq!(find("t.wasm --once").as_deref(), Some("t.wasm"));
        assert_eq!(find("--once --input-dir in t.wasm").as_deref(), Some("t.wasm"));
        assert_eq!(find("--input-dir=in -v t.wasm --greeting Hi").as_deref(), Some("t.wasm"));
        assert_eq!(find("--once -- -t.wasm").as_deref(), Some("-t.wasm"));
        assert_eq!(find("--help"), None);
    }
}
