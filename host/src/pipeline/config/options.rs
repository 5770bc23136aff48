//! A task's keys as options of `tigerflow-host run`.

use std::fmt;

use super::types::{Cause, Isolate, Kind, Resources, Task};
use super::values::{Many, Scalar, Value};

/// An option of `run`, from a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Opt {
    /// The key, for [`super::Path::keys`]: `timeout`, `worker_resources.cpus`.
    pub key: &'static str,
    /// The option: `--timeout`, `--cpus`.
    pub option: String,
    /// Its values; with more than one, the option is given so many times.
    pub values: Vec<String>,
}

impl Opt {
    /// As arguments of the command line, `--option=value`: so a value may begin
    /// with a `-`.
    pub fn arguments(&self) -> impl Iterator<Item = String> {
        self.values.iter().map(|value| format!("{}={value}", self.option))
    }
}

impl fmt::Debug for Opt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An environment variable's value may be secret.
        match self.key {
            "env" => write!(f, "{} …", self.option),
            _ => write!(f, "{} {:?}", self.option, self.values),
        }
    }
}

/// A value of a parameter, from `params`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The name as it is in the file.
    pub name: String,
    /// What was written; several for a list.
    pub values: Vec<String>,
    /// Whether it was a list, be it of one.
    pub is_list: bool,
}

/// Options whose name is not their key's.
const NAMES: [(&str, &str); 7] = [
    ("dirs", "--dir"),
    ("setup_commands", "--setup-command"),
    ("worker_resources.cpus", "--cpus"),
    ("worker_resources.gpus", "--gpus"),
    ("worker_resources.memory", "--memory"),
    ("worker_resources.time", "--time"),
    ("worker_resources.sbatch_options", "--sbatch-option"),
];

#[derive(Default)]
struct Options(Vec<Opt>);

impl Options {
    fn add(&mut self, key: &'static str, values: impl IntoIterator<Item = impl fmt::Display>) {
        let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
        if !values.is_empty() {
            let renamed = NAMES.iter().find(|(name, _)| *name == key);
            let option = match renamed {
                Some((_, option)) => (*option).to_owned(),
                None => format!("--{}", key.replace('_', "-")),
            };
            self.0.push(Opt { key, option, values });
        }
    }
}

impl Task {
    /// Its keys as options of `run`, less those that the pipeline itself acts on:
    /// `name`, `kind`, `module`, `depends_on`, `params`, `input_ext`, `output_ext`
    /// and `keep_output`; and `setup_commands` of a task that is not in Slurm jobs.
    pub fn options(&self) -> Vec<Opt> {
        // Taken apart, so that no key is forgotten.
        let Task {
            name: _,
            kind,
            module: _,
            depends_on: _,
            params: _,
            input_ext: _,
            output_ext: _,
            keep_output: _,
            setup_commands,
            concurrency_limit,
            max_workers,
            worker_resources,
            min_workers,
            files_per_worker,
            worker_idle_timeout,
            grace,
            squeue_interval,
            timeout,
            setup_timeout,
            memory_limit,
            output_limit,
            request_timeout,
            response_limit,
            retries,
            retry_on,
            retry_delay,
            retry_backoff,
            retry_max_delay,
            max_failures,
            rate_limit,
            label,
            instances,
            isolate,
            dirs,
            env,
            env_file,
            allow_host,
        } = self;
        let mut options = Options::default();
        options.add("concurrency_limit", concurrency_limit);
        options.add("max_workers", max_workers);
        if let Some(resources) = worker_resources {
            let Resources { cpus, gpus, memory, time, sbatch_options } = resources;
            options.add("worker_resources.cpus", cpus);
            // None is as good as not said, and no option.
            options.add("worker_resources.gpus", gpus.filter(|gpus| *gpus > 0));
            options.add("worker_resources.memory", memory);
            options.add("worker_resources.time", time);
            let sbatch_options = sbatch_options.iter().map(|option| option.trim());
            options.add("worker_resources.sbatch_options", sbatch_options);
        }
        if *kind == Kind::Slurm {
            options.add("setup_commands", setup_commands);
        }
        options.add("min_workers", min_workers);
        options.add("files_per_worker", files_per_worker);
        options.add("worker_idle_timeout", worker_idle_timeout);
        options.add("grace", grace);
        options.add("squeue_interval", squeue_interval);
        options.add("timeout", timeout);
        options.add("setup_timeout", setup_timeout);
        options.add("memory_limit", memory_limit);
        options.add("output_limit", output_limit);
        options.add("request_timeout", request_timeout);
        options.add("response_limit", response_limit);
        options.add("retries", retries);
        let causes = retry_on.iter().flat_map(|Many(causes)| causes.iter().map(cause));
        options.add("retry_on", causes);
        options.add("retry_delay", retry_delay);
        options.add("retry_backoff", retry_backoff);
        options.add("retry_max_delay", retry_max_delay);
        options.add("max_failures", max_failures);
        options.add("rate_limit", rate_limit);
        options.add("label", list(label));
        options.add("instances", instances);
        options.add("isolate", isolate.map(isolation));
        options.add("dirs", list(dirs));
        options.add("env", env.variables());
        options.add("env_file", list(env_file));
        options.add("allow_host", list(allow_host));
        options.0
    }

    /// Its parameters, less those without a value.
    pub fn parameters(&self) -> Vec<Parameter> {
        super::parameters(&self.params)
    }
}

/// The parameters of `params`, less those without a value.
pub fn parameters<'a>(
    params: impl IntoIterator<Item = (&'a String, &'a Option<Value>)>,
) -> Vec<Parameter> {
    let given = params.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    given
        .map(|(name, value)| match value {
            Value::List(items) => {
                let values = items.iter().filter_map(Value::text).collect();
                Parameter { name: name.clone(), values, is_list: true }
            }
            one => {
                let values = one.text().into_iter().collect();
                Parameter { name: name.clone(), values, is_list: false }
            }
        })
        .collect()
}

fn list(many: &Many<Scalar>) -> &[Scalar] {
    &many.0
}

fn cause(cause: &Cause) -> &'static str {
    match cause {
        Cause::Transient => "transient",
        Cause::Timeout => "timeout",
        Cause::Crash => "crash",
        Cause::None => "none",
    }
}

fn isolation(isolate: Isolate) -> &'static str {
    match isolate {
        Isolate::None => "none",
        Isolate::File => "file",
    }
}
