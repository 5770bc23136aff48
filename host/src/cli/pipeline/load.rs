//! From a configuration to what its tasks are: every check that can be made before
//! anything is run, all mistakes at once, each with its place in the file.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{ArgMatches, CommandFactory, FromArgMatches, ValueEnum};

use super::check::{check_grants, check_options, check_parameters, parameter_name};

use crate::cli::run::{self, Prepared, RunArgs};
use crate::cli::{Cli, Command, Usage, parameters};
use crate::engine::description::{Description, Value};
use crate::engine::stage::{Stage, StageStep};
use crate::engine::{Interface, Purpose};
use crate::pipeline::config::{
    self, Document, Draft, Kind, Parameter, Path as Place, Problems, SortKey, Step,
};
use crate::pipeline::staging::{self, Staging};
use crate::pipeline::tracker::Tree;
use crate::pipeline::{MAX_STAGED, TaskPlan, places};
use crate::workspace::staging::Durability;

/// What a `setup` receives.
type Arguments = Vec<(String, Value)>;

/// A configuration whose components are loaded, and in which nothing is wrong that
/// can be seen before there are directories.
pub struct Loaded {
    /// The file.
    pub path: PathBuf,
    document: Document,
    /// The tasks, in the order of the file.
    tasks: Vec<Prepared>,
    /// The components of staging steps, in the order of the steps.
    stages: Vec<(Arc<Stage>, Arguments)>,
}

/// Where a pipeline is to work, and how.
pub struct Whereabouts<'a> {
    /// Where inputs are.
    pub input_dir: &'a Path,
    /// Where outputs go.
    pub output_dir: &'a Path,
    /// Whether links may lead out of the input directory.
    pub follow_links: bool,
    /// What outputs survive.
    pub durability: Durability,
    /// Whether to ask Slurm if it would take the workers.
    pub ask: bool,
}

impl Whereabouts<'_> {
    /// For what does not depend on it.
    fn nowhere() -> Self {
        Whereabouts {
            input_dir: Path::new("INPUT_DIR"),
            output_dir: Path::new("OUTPUT_DIR"),
            follow_links: false,
            durability: Durability::None,
            ask: false,
        }
    }
}

/// Reads a configuration.
pub fn read(path: &Path) -> anyhow::Result<Document> {
    let mut problems = Problems::default();
    match draft(path, &mut problems)?.filter(|_| problems.is_empty()) {
        Some(draft) => draft.document().map_err(|problems| told(path, &problems)),
        None => Err(told(path, &problems)),
    }
}

fn draft(path: &Path, problems: &mut Problems) -> anyhow::Result<Option<Draft>> {
    let shown = path.display();
    let bytes = fs::read(path).map_err(|error| {
        Usage(format!("failed to read the configuration `{shown}`: {error}; is its path right?"))
    })?;
    Ok(config::draft_bytes(&bytes, problems))
}

/// All that is wrong, as one error.
fn told(path: &Path, problems: &Problems) -> anyhow::Error {
    let shown = path.display().to_string();
    let number = crate::text::count(problems.len(), "problem");
    Usage(format!("{number} in the configuration:\n{}", problems.of(&shown))).into()
}

/// Reads a configuration and loads its components. Where something is wrong with it,
/// says so of all that can be looked at nevertheless.
pub fn load(path: &Path) -> anyhow::Result<Loaded> {
    let mut problems = Problems::default();
    let Some(draft) = draft(path, &mut problems)? else { return Err(told(path, &problems)) };
    let command = Cli::command();
    let base = base_of(path);
    let tasks = load_tasks(&draft, &command, &base, &mut problems)?;
    let stages = load_stages(&draft, &base, &mut problems)?;
    if !problems.is_empty() {
        return Err(told(path, &problems));
    }
    let document = draft.document().map_err(|problems| told(path, &problems))?;
    Ok(Loaded { path: path.into(), document, tasks, stages })
}

fn load_tasks(
    draft: &Draft,
    command: &clap::Command,
    base: &Path,
    problems: &mut Problems,
) -> anyhow::Result<Vec<Prepared>> {
    let mut tasks = Vec::new();
    for (index, task) in draft.tasks() {
        let at = Place::task(index);
        let given = task.options();
        let has = |key: &str| given.iter().any(|opt| opt.key == key);
        let cores = run::cores();
        let many = task.concurrency_limit.is_some_and(|n| n as usize > cores);
        let purpose = Purpose {
            interruptible: many || has("timeout") || has("setup_timeout"),
            fresh: match task.isolate {
                Some(config::Isolate::File) => {
                    task.concurrency_limit.unwrap_or(u32::try_from(cores).unwrap_or(1))
                }
                _ => 0,
            },
        };
        let Some(run) = command.find_subcommand("run") else { continue };
        let before = problems.len();
        match run::prepare_for(command, run, &base.join(&task.module), purpose) {
            Ok(prepared) => {
                check_options(draft, &at, &given, &prepared, problems);
                let description = &prepared.task.description;
                check_parameters(draft, &at, &task.parameters(), description, problems);
                if problems.len() == before {
                    let nowhere = Whereabouts::nowhere();
                    let line = command_line(base, &task, None, &prepared, &nowhere);
                    let (mut args, _) = parse(&prepared, &line)?;
                    if let Err(message) = check_grants(&mut args, description) {
                        problems.push(draft.problem(&at, message));
                    }
                }
                tasks.push(prepared);
            }
            Err(error) => problems.push(draft.problem(&at.key("module"), format!("{error:#}"))),
        }
    }
    Ok(tasks)
}

fn load_stages(
    draft: &Draft,
    base: &Path,
    problems: &mut Problems,
) -> anyhow::Result<Vec<(Arc<Stage>, Arguments)>> {
    let mut stages = Vec::new();
    for (index, step) in draft.steps() {
        let Step::Component { module, params } = step else { continue };
        let at = Place::stage(index);
        match Stage::load(&base.join(module)) {
            Ok(stage) => {
                let given = config::parameters(&params);
                let before = problems.len();
                check_parameters(draft, &at, &given, &stage.description, problems);
                if problems.len() == before {
                    let arguments = arguments(&stage.description, &given)?;
                    stages.push((Arc::new(stage), arguments));
                }
            }
            Err(error) => problems.push(draft.problem(&at.key("module"), error.to_string())),
        }
    }
    Ok(stages)
}

/// A task's command line, read.
fn parse(prepared: &Prepared, line: &[OsString]) -> anyhow::Result<(Box<RunArgs>, ArgMatches)> {
    let mut matches = prepared.command.clone().try_get_matches_from(line)?;
    let command = Cli::from_arg_matches(&matches)?.command;
    match (command, matches.remove_subcommand()) {
        (Command::Run(args), Some((_, matches))) => Ok((args, matches)),
        _ => anyhow::bail!("the command line of a task reads as another one"),
    }
}

/// What paths in a configuration are relative to.
fn base_of(config: &Path) -> PathBuf {
    let parent = config.parent().unwrap_or(Path::new(""));
    std::path::absolute(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
        .unwrap_or_else(|_| parent.into())
}

/// What a staging step's `setup` receives.
fn arguments(description: &Description, given: &[Parameter]) -> anyhow::Result<Arguments> {
    let command = parameters::add(clap::Command::new("stage").no_binary_name(true), description)?;
    let matches = command.try_get_matches_from(Vec::<OsString>::new())?;
    Ok(parameters::resolve(description, &matches, &named(given))?)
}

fn named(given: &[Parameter]) -> Vec<(String, String)> {
    let value = |parameter: &Parameter| parameter.values.first().cloned().unwrap_or_default();
    given.iter().map(|p| (parameter_name(&p.name), value(p))).collect()
}

impl Loaded {
    /// The configuration.
    pub fn config(&self) -> &config::Config {
        self.document.config()
    }

    /// Makes the checks that need directories in some that are thrown away. Returns
    /// how many tasks there are.
    pub fn check(self) -> anyhow::Result<usize> {
        let number = self.config().tasks.len();
        let nowhere = tempfile::tempdir().context("failed to make a directory for the check")?;
        let (input, output) = (nowhere.path().join("input"), nowhere.path().join("output"));
        for directory in [&input, &output] {
            fs::create_dir(directory).context("failed to make a directory for the check")?;
        }
        let whereabouts = Whereabouts {
            input_dir: &input,
            output_dir: &output,
            follow_links: false,
            durability: Durability::None,
            ask: false,
        };
        self.plans(&whereabouts)?;
        Ok(number)
    }

    /// The steps that choose among inputs, if there are any; most files in the
    /// pipeline; and whether a step limits how many are taken in a cycle.
    pub fn staging(&self, input_dir: &Path) -> anyhow::Result<(Option<Staging>, usize, bool)> {
        let (mut steps, mut max_staged, mut in_batches) = (Vec::new(), None::<usize>, false);
        let mut stages = self.stages.iter();
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        for step in &self.config().staging.steps {
            steps.push(match step {
                Step::MinSize { bytes } => staging::Step::MinSize(bytes.0),
                Step::MaxSize { bytes } => staging::Step::MaxSize(bytes.0),
                Step::MinAge { seconds } => {
                    staging::Step::MinAge(std::time::Duration::try_from_secs_f64(*seconds)?)
                }
                Step::FilenameMatch { pattern } => {
                    staging::Step::FilenameMatch(fancy_regex::Regex::new(pattern)?)
                }
                Step::CompanionFile { ext } => staging::Step::CompanionFile(ext.to_string().into()),
                Step::MaxStaged { count } => {
                    let count = number(*count);
                    max_staged = Some(max_staged.map_or(count, |most| most.min(count)));
                    staging::Step::MaxStaged(count)
                }
                Step::MaxBatch { count } => {
                    in_batches = true;
                    staging::Step::MaxBatch(number(*count))
                }
                Step::SortBy { key, reverse } => {
                    let key = match key {
                        SortKey::Name => staging::SortKey::Name,
                        SortKey::Size => staging::SortKey::Size,
                        SortKey::Mtime => staging::SortKey::Modified,
                    };
                    staging::Step::SortBy { key, reverse: *reverse }
                }
                Step::Component { .. } => {
                    let (stage, arguments) = stages.next().context("a stage was not loaded")?;
                    let step = StageStep::new(Arc::clone(stage), input_dir.into(), arguments)
                        .context("failed to start a staging step")?;
                    staging::Step::Component(Box::new(step))
                }
            });
        }
        // Where it comes last, the dispatcher's own bound is all there is to it.
        if let Some(staging::Step::MaxStaged(_)) = steps.last() {
            steps.pop();
        }
        let max_staged = max_staged.unwrap_or(MAX_STAGED);
        let staging = (!steps.is_empty()).then(|| Staging::new(input_dir.into(), steps));
        Ok((staging, max_staged, in_batches))
    }

    /// What each task will do, parents before their children, and their tree. Makes
    /// the directories that they need.
    pub fn plans(self, whereabouts: &Whereabouts<'_>) -> anyhow::Result<(Vec<TaskPlan>, Tree)> {
        let Loaded { path, document, tasks, .. } = self;
        let mut prepared: Vec<Option<Prepared>> = tasks.into_iter().map(Some).collect();
        let tree = document.tree();
        let mut problems = Problems::default();
        let mut plans = Vec::new();
        let mut parents = Vec::new();
        for &index in tree.order() {
            let Some(prepared) = prepared[index].take() else { continue };
            let task = &document.config().tasks[index];
            let parent = tree.parent(index);
            parents.push(parent.and_then(|p| tree.order().iter().position(|&other| other == p)));
            let span = crate::log::task_span(&task.name);
            let _within = span.enter();
            if let Some(warning) = &prepared.task.warning {
                tracing::warn!("{warning}");
            }
            let parent = parent.map(|parent| document.config().tasks[parent].name.as_str());
            let line = command_line(&base_of(&path), task, parent, &prepared, whereabouts);
            let outputs = places::outputs(whereabouts.output_dir, &task.name);
            fs::create_dir_all(&outputs)
                .with_context(|| format!("failed to create `{}`", outputs.display()))?;
            let (args, matches) = parse(&prepared, &line)?;
            let at = Place::task(index);
            match run::resolve(*args, &matches, prepared.task, false, &line, whereabouts.ask) {
                Ok(plan) => plans.push(TaskPlan {
                    name: task.name.clone(),
                    kind: task.kind.as_str(),
                    keep_output: task.keep_output,
                    setup_commands: match task.kind {
                        Kind::Slurm => Vec::new(),
                        Kind::Local | Kind::LocalAsync => task.setup_commands.clone(),
                    },
                    plan,
                }),
                Err(error) => problems.push(document.problem(&at, format!("{error:#}"))),
            }
        }
        if !problems.is_empty() {
            return Err(told(&path, &problems));
        }
        Ok((plans, Tree::new(parents)))
    }
}

/// The options that a task is run with, as the command line of `run` has them.
fn command_line(
    base: &Path,
    task: &config::Task,
    parent: Option<&str>,
    prepared: &Prepared,
    whereabouts: &Whereabouts<'_>,
) -> Vec<OsString> {
    let output_dir = places::outputs(whereabouts.output_dir, &task.name);
    let input_dir = match parent {
        Some(parent) => places::outputs(whereabouts.output_dir, parent),
        None => whereabouts.input_dir.into(),
    };
    let with = |option: &str, value: &Path| {
        let mut argument = OsString::from(option);
        argument.push("=");
        argument.push(value);
        argument
    };
    let mut line: Vec<OsString> = vec![
        "tigerflow-host".into(),
        "run".into(),
        base.join(&task.module).into(),
        with("--input-dir", &input_dir),
        format!("--input-ext={}", task.input_ext).into(),
        with("--output-dir", &output_dir),
        format!("--output-ext={}", task.output_ext).into(),
        format!("--task-name={}", task.name).into(),
        "--settle=0s".into(),
        "--retry-failed".into(),
        "--progress=never".into(),
        format!("--durability={}", durability(whereabouts.durability)).into(),
    ];
    if whereabouts.follow_links && parent.is_none() {
        line.push("--follow-links".into());
    }
    match task.kind {
        Kind::Slurm => line.push("--executor=slurm".into()),
        Kind::LocalAsync
            if task.concurrency_limit.is_none() && prepared.task.interface() == Interface::Task =>
        {
            line.push(format!("--concurrency-limit={}", run::ASYNC_CONCURRENCY).into());
        }
        Kind::Local | Kind::LocalAsync => {}
    }
    for opt in task.options() {
        for value in &opt.values {
            let value = match opt.key {
                "dirs" => absolute_grant(base, value),
                "env_file" => base.join(value).into(),
                _ => value.into(),
            };
            line.push(with(&opt.option, Path::new(&value)));
        }
    }
    for (name, value) in named(&task.parameters()) {
        line.push(format!("--param={name}={value}").into());
    }
    line
}

fn durability(durability: Durability) -> String {
    let value = durability.to_possible_value();
    value.map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// `HOST::GUEST`, with a relative `HOST` taken from where the configuration is.
fn absolute_grant(base: &Path, grant: &str) -> OsString {
    match grant.split_once("::") {
        Some((host, rest)) if !host.is_empty() => {
            let mut absolute = base.join(host).into_os_string();
            absolute.push("::");
            absolute.push(rest);
            absolute
        }
        _ => grant.into(),
    }
}
