//! What a file may hold. The comments here are the descriptions in the schema,
//! which editors show: they speak to who writes such a file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::values::{Bytes, Environment, Many, Scalar, Value};
use crate::workspace::names::Extension;

/// A pipeline: tasks that each turn a file into another, from one to the next.
/// Keys at the top that begin with `x-` are passed over: a place for what
/// `&anchors` and `<<` repeat.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("patternProperties" = { "^x-": true }))]
pub struct Config {
    /// Which files enter the pipeline, when, and in what order. Default: all, as they arrive.
    #[serde(default)]
    pub staging: Staging,
    /// The tasks, 1 to 64. A task without `depends_on` reads the input directory; the others
    /// read what another one makes.
    #[schemars(length(min = 1, max = 64))]
    pub tasks: Vec<Task>,
}

/// Which files enter the pipeline, when, and in what order.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Staging {
    /// Steps that waiting files pass, one after the other: each lets some through, in some order.
    /// Those that the last one lets through enter the pipeline. Default: none, so all enter.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// A step of the staging.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Lets through files of at least so many bytes.
    MinSize {
        /// The least size: a number of bytes, or `512K`, `10M`, `1G` (powers of 1024).
        bytes: Bytes,
    },
    /// Lets through files of at most so many bytes.
    MaxSize {
        /// The greatest size: a number of bytes, or `512K`, `10M`, `1G` (powers of 1024).
        bytes: Bytes,
    },
    /// Lets through files that were not changed for so long.
    MinAge {
        /// Seconds since the last change; `0.5` is half of one.
        #[schemars(extend("exclusiveMinimum" = 0))]
        seconds: f64,
    },
    /// Lets through files in whose name the pattern is found.
    FilenameMatch {
        /// A regular expression, found anywhere in the name unless it begins with `^` and ends in
        /// `$`. Write it in single quotes.
        #[schemars(extend("format" = "regex"), example = r"^\d{4}-")]
        pattern: String,
    },
    /// Lets through files that have another beside them, of the same name with this extension.
    CompanionFile {
        /// The other file's extension, with its dot.
        #[serde(deserialize_with = "extension")]
        #[schemars(with = "String", extend("format" = "file-extension"), example = &".json")]
        ext: Extension,
    },
    /// Lets through files while fewer than so many are in the pipeline.
    MaxStaged {
        /// Most files in the pipeline at once.
        #[schemars(range(min = 1))]
        count: u64,
    },
    /// Lets through so many files each time that new ones are looked for.
    MaxBatch {
        /// Most files at a time.
        #[schemars(range(min = 1))]
        count: u64,
    },
    /// Puts the files in order, and lets all through.
    SortBy {
        /// What they are ordered by. Default: `name`.
        #[serde(default)]
        key: SortKey,
        /// The other way round: Z to A, the largest or the newest first. Default: `false`.
        #[serde(default)]
        reverse: bool,
    },
    /// Asks a component which files to let through, and in what order.
    Component {
        /// The component, a `.wasm` file; relative to this file.
        #[schemars(extend("format" = "module"), example = &"stage.wasm")]
        module: String,
        /// Its parameters, by name. One without a value (`null`) is left out.
        #[serde(default)]
        params: BTreeMap<String, Option<Value>>,
    },
}

impl Step {
    /// Its `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Step::MinSize { .. } => "min_size",
            Step::MaxSize { .. } => "max_size",
            Step::MinAge { .. } => "min_age",
            Step::FilenameMatch { .. } => "filename_match",
            Step::CompanionFile { .. } => "companion_file",
            Step::MaxStaged { .. } => "max_staged",
            Step::MaxBatch { .. } => "max_batch",
            Step::SortBy { .. } => "sort_by",
            Step::Component { .. } => "component",
        }
    }
}

/// What files are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SortKey {
    /// The name, A to Z.
    #[default]
    Name,
    /// The size, the smallest first.
    Size,
    /// The time of the last change, the oldest first.
    Mtime,
}

/// Where a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// On this machine's cores.
    Local,
    /// On this machine, many files at once, which mostly wait: for an asynchronous component.
    LocalAsync,
    /// In Slurm jobs on a cluster's nodes.
    Slurm,
}

impl Kind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Local => "local",
            Kind::LocalAsync => "local_async",
            Kind::Slurm => "slurm",
        }
    }
}

/// What is kept apart by giving it instances of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Isolate {
    /// Nothing: an instance works on one file after another.
    None,
    /// Each file: `setup`, `run` and `teardown` in a fresh instance for each.
    File,
}

/// What may be worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An error that the task calls transient.
    Transient,
    /// An attempt that took longer than `timeout`.
    Timeout,
    /// A crash.
    Crash,
    /// Nothing; goes with no other.
    None,
}

/// A task: a component that turns each file into another.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("allOf" = [{
    "if": { "properties": { "kind": { "const": "slurm" } }, "required": ["kind"] },
    "then": { "required": ["max_workers"] },
}]))]
pub struct Task {
    /// Its name, of which there is no other: a letter, then letters, digits, `-` and `_`; at most
    /// 100. Its outputs are in OUTPUT_DIR/NAME.
    #[schemars(
        regex(pattern = "^[a-zA-Z][a-zA-Z0-9_-]*$"),
        length(max = 100),
        extend("format" = "task-name"),
        example = &"transcribe"
    )]
    pub name: String,
    /// Where it runs: `local`, `local_async` or `slurm`.
    pub kind: Kind,
    /// The component, a `.wasm` file; relative to this file.
    #[schemars(extend("format" = "module"), example = &"transcribe.wasm")]
    pub module: String,
    /// The task whose outputs it reads. Default: none; it reads the input directory.
    #[schemars(example = &"transcribe")]
    pub depends_on: Option<String>,
    /// The task's parameters, by name. One without a value (`null`) is left out.
    #[serde(default)]
    pub params: BTreeMap<String, Option<Value>>,
    /// What the names of its inputs end in; for a task that depends on another, that one's
    /// `output_ext`.
    #[serde(deserialize_with = "extension")]
    #[schemars(
        with = "String",
        regex(pattern = r"^(\.[a-zA-Z0-9_]+)+$"),
        extend("format" = "file-extension"),
        example = &".txt"
    )]
    pub input_ext: Extension,
    /// What the names of its outputs end in. Default: `.out`.
    #[serde(deserialize_with = "extension", default = "default_output")]
    #[schemars(
        with = "String",
        regex(pattern = r"^(\.[a-zA-Z0-9_]+)+$"),
        extend("format" = "file-extension", "default" = ".out"),
        example = &".json"
    )]
    pub output_ext: Extension,
    /// Whether its outputs are kept in OUTPUT_DIR/NAME. Default: `true`.
    #[serde(default = "yes")]
    pub keep_output: bool,

    /// Shell commands to run before the task starts: for `slurm`, on the node before each worker,
    /// in its shell; else once, in a shell here. Default: none.
    #[serde(default)]
    pub setup_commands: Vec<String>,
    /// How many files it works on at once; for `slurm`, in each worker. Default: the number of
    /// cores, or 30 in an asynchronous task.
    #[schemars(range(min = 1, max = 10_000))]
    pub concurrency_limit: Option<u32>,
    /// For `slurm`, and needed there: most workers at a time.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_workers: Option<u32>,
    /// For `slurm`: what each worker is given. Default: what the cluster gives.
    #[serde(default)]
    pub worker_resources: Option<Resources>,

    /// For `slurm`: workers that are kept even where there is nothing to do. Default: 0.
    #[schemars(range(max = 10_000))]
    pub min_workers: Option<u32>,
    /// For `slurm`: one worker more is asked for for each so many files to do. Default: as many as
    /// a worker has in flight.
    #[schemars(range(min = 1))]
    pub files_per_worker: Option<u32>,
    /// For `slurm`: a worker leaves when it had nothing to do for so long. Default: `1m`.
    #[schemars(example = &"1m")]
    pub worker_idle_timeout: Option<Scalar>,
    /// For `slurm`: how long files in flight may go on when the pipeline is told to stop. Default:
    /// `1m`.
    #[schemars(example = &"1m")]
    pub grace: Option<Scalar>,
    /// For `slurm`: how often Slurm is asked for the jobs' states. Default: `10s`.
    #[schemars(example = &"10s")]
    pub squeue_interval: Option<Scalar>,

    /// Stops an attempt that takes longer: `30s`, `5m`, `2h`. Default: no limit.
    #[schemars(example = &"5m")]
    pub timeout: Option<Scalar>,
    /// Stops a `setup` that takes longer: `30s`, `5m`, `2h`. Default: no limit.
    #[schemars(example = &"5m")]
    pub setup_timeout: Option<Scalar>,
    /// Most memory of each instance, of which there are as many as files in flight: `512M`, `12G`.
    /// Default: `1G`.
    #[schemars(example = &"1G")]
    pub memory_limit: Option<Scalar>,
    /// Most bytes that an attempt may write: `512M`, `12G`. Default: `64G`.
    #[schemars(example = &"64G")]
    pub output_limit: Option<Scalar>,
    /// Gives up a request over the network when nothing moves for so long. Default: `5m`.
    #[schemars(example = &"5m")]
    pub request_timeout: Option<Scalar>,
    /// Most bytes of a response's body: `512M`, `12G`. Default: `1G`.
    #[schemars(example = &"1G")]
    pub response_limit: Option<Scalar>,
    /// How many times more a file is tried whose attempt fails in one of the ways of `retry_on`.
    /// Default: 3.
    pub retries: Option<u32>,
    /// What is worth another try: one of `transient`, `timeout`, `crash`, a list of them, or
    /// `none`. Default: `transient`.
    pub retry_on: Option<Many<Cause>>,
    /// How long to wait before the first retry, unless the task knows better. Default: `1s`.
    #[schemars(example = &"1s")]
    pub retry_delay: Option<Scalar>,
    /// By how much each further wait is longer: a factor of 1 or more. Default: 2.
    #[schemars(example = &"2")]
    pub retry_backoff: Option<Scalar>,
    /// The longest wait, unless the task asks for more. Default: `1m`.
    #[schemars(example = &"1m")]
    pub retry_max_delay: Option<Scalar>,
    /// Stops the pipeline when so many files have failed on this task, or so many of a hundred:
    /// `100`, `5%`. Default: never.
    #[schemars(example = &"5%")]
    pub max_failures: Option<Scalar>,
    /// Begins no more attempts than these in any second, minute or hour: `30/s`, `2000/min`,
    /// `10000/h`. Default: no limit.
    #[schemars(example = &"30/s")]
    pub rate_limit: Option<Scalar>,
    /// Shares a limit with all your tasks on this machine that have the same label: `gpu=2` for two
    /// attempts at once over all of them. One, or a list.
    #[serde(default)]
    #[schemars(example = &"gpu=2")]
    pub label: Many<Scalar>,
    /// How many instances an asynchronous task has: a number, or `cores`. Default: 1.
    #[schemars(example = &"cores")]
    pub instances: Option<Scalar>,
    /// What has instances of its own: `none`, or `file`. Default: `none`.
    pub isolate: Option<Isolate>,

    /// Directories that the task may reach: `HOST::GUEST`, read-only, or `HOST::GUEST:rw`. HOST is
    /// relative to this file. One, or a list.
    #[serde(default)]
    #[schemars(example = &"models::/models:ro")]
    pub dirs: Many<Scalar>,
    /// Environment variables that the task may see: a list of `NAME`, with the value that it has
    /// where the pipeline is started, and `NAME=VALUE`; or a mapping of names to values.
    #[serde(default)]
    #[schemars(example = &"API_KEY")]
    pub env: Environment,
    /// Files with lines `NAME=VALUE`, variables that the task may see; relative to this file. One,
    /// or a list.
    #[serde(default)]
    #[schemars(example = &".env")]
    pub env_file: Many<Scalar>,
    /// Hosts that the task may send HTTP requests to: `api.example.org`, `'*.example.org'`,
    /// `10.0.0.0/8`, each with `:PORT` where need be. One, or a list.
    #[serde(default)]
    #[schemars(example = &"api.example.org")]
    pub allow_host: Many<Scalar>,
}

/// What each Slurm worker is given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// CPUs. Default: what the cluster gives.
    #[schemars(range(min = 1, max = 100_000))]
    pub cpus: Option<u32>,
    /// GPUs. Default: none.
    #[schemars(range(max = 1_000))]
    pub gpus: Option<u32>,
    /// Memory, as Slurm writes it: `12G`. Default: what the cluster gives.
    #[schemars(example = &"12G")]
    pub memory: Option<Scalar>,
    /// Wall time, as Slurm writes it: `02:00:00`. Default: what the cluster gives.
    #[schemars(example = &"02:00:00")]
    pub time: Option<Scalar>,
    /// Further options of `sbatch`: `--partition=gpu`. Default: none.
    #[serde(default)]
    pub sbatch_options: Vec<String>,
}

fn extension<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Extension, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

fn default_output() -> Extension {
    super::DEFAULT_OUTPUT.parse().expect("it is an extension")
}

fn yes() -> bool {
    true
}
