//! Workers in Slurm jobs: what to ask Slurm for.

use std::io::Write;
use std::path::Path;

use std::process::{Command, Stdio};
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, ValueEnum};

use super::{Usage, values};
use crate::engine::description::Description;
use crate::executor::slurm::autoscale::Limits;
use crate::executor::slurm::client::{Client, SubmitError};
use crate::executor::slurm::job::{parse_memory, parse_time_limit};
use crate::executor::slurm::script::{JobRequest, Launch};

/// Most workers.
const MOST_WORKERS: u32 = 10_000;

/// The options of `--executor slurm`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Slurm")]
pub struct SlurmArgs {
    /// Where the task runs: in this process, or in Slurm jobs on a cluster's nodes
    /// [default: local; slurm with --max-workers]
    #[arg(long, value_enum, value_name = "WHERE")]
    executor: Option<Where>,
    /// Most workers at a time. There are as many as the backlog asks for, and none
    /// where there is nothing to do
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_WORKERS)))]
    max_workers: Option<u32>,
    /// Workers that are kept even where there is nothing to do
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_WORKERS)), default_value = "0")]
    min_workers: u32,
    /// CPUs of each worker: its --concurrency-limit, if that is not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    cpus: Option<u32>,
    /// Memory of each worker, as Slurm writes it: `12G` [default: the cluster's]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory: Option<String>,
    /// Wall time of each worker, as Slurm writes it: `02:00:00`. Before it is over
    /// a worker leaves, and is replaced [default: the cluster's]
    #[arg(long, value_name = "LIMIT", allow_hyphen_values = true)]
    time: Option<String>,
    /// GPUs of each worker
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    gpus: Option<u32>,
    /// A further option of `sbatch` for each worker: `--partition=gpu`
    /// (repeatable)
    #[arg(long = "sbatch-option", value_name = "OPT", allow_hyphen_values = true)]
    sbatch_options: Vec<String>,
    /// A shell command to run on the node before the worker starts, in the same
    /// shell (repeatable). One that fails is told of, and the worker starts all
    /// the same; end it with `|| exit 1` if it must not
    #[arg(long = "setup-command", value_name = "CMD", allow_hyphen_values = true)]
    setup_commands: Vec<String>,
    /// Ask for one worker more for each so many files to do [default: as many as
    /// a worker has in flight]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    files_per_worker: Option<u32>,
    /// A worker leaves when it had nothing to do for so long
    #[arg(long, value_name = "DURATION", value_parser = values::duration, allow_hyphen_values = true, default_value = "1m")]
    worker_idle_timeout: Duration,
    /// How long files in flight may go on after Ctrl-C, before their jobs are
    /// cancelled
    #[arg(long, value_name = "DURATION", value_parser = values::duration, allow_hyphen_values = true, default_value = "1m")]
    grace: Duration,
    /// How often to ask Slurm for the jobs' states, one question for all of them;
    /// sooner where an answer is awaited
    #[arg(long, value_name = "DURATION", value_parser = values::limit, allow_hyphen_values = true, default_value = "10s")]
    squeue_interval: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Where {
    Local,
    Slurm,
}

/// What Slurm is asked for, with every check made but Slurm's own.
#[derive(Debug)]
pub struct Workers {
    /// A job.
    pub request: JobRequest,
    /// How many.
    pub limits: Limits,
    /// Most files in flight in each.
    pub concurrency: usize,
    /// See `--worker-idle-timeout`.
    pub idle_timeout: Duration,
    /// See `--grace`.
    pub grace: Duration,
    /// See `--squeue-interval`.
    pub interval: Duration,
    /// Wall time, where one was given.
    pub wall_time: Option<Duration>,
}

impl SlurmArgs {
    /// Whether the task is to run in Slurm jobs.
    pub fn is_chosen(&self) -> bool {
        match self.executor {
            Some(place) => place == Where::Slurm,
            None => self.max_workers.is_some(),
        }
    }

    /// How many files are in flight in a worker where nobody says.
    pub fn cores(&self) -> usize {
        self.cpus.unwrap_or(1) as usize
    }

    /// Checks what belongs to Slurm where it was not chosen.
    pub fn check_local(matches: &ArgMatches) -> Result<(), Usage> {
        let command = SlurmArgs::augment_args(clap::Command::new("run"));
        let given = |arg: &&clap::Arg| {
            let id = arg.get_id().as_str();
            id != "executor" && matches.value_source(id) == Some(ValueSource::CommandLine)
        };
        match command.get_arguments().find(given).and_then(clap::Arg::get_long) {
            Some(option) => Err(Usage(format!(
                "--{option} is for workers in Slurm jobs: give --max-workers N as well, or leave it \
                 out (--memory-limit bounds an instance's memory, --timeout an attempt's time)"
            ))),
            None => Ok(()),
        }
    }

    /// Makes every check that needs no Slurm. `concurrency`: most files in flight
    /// in each worker, within what the task allows.
    pub fn resolve(
        self,
        task_name: &str,
        description: &Description,
        concurrency: usize,
    ) -> Result<Workers, Usage> {
        let Some(max) = self.max_workers else {
            return Err(Usage(
                "--executor slurm needs --max-workers N: most workers at a time".into(),
            ));
        };
        let named = |option: &str, error: String| Usage(format!("--{option}: {error}"));
        let wall_time = match &self.time {
            Some(text) => parse_time_limit(text).map_err(|error| named("time", error))?,
            None => None,
        };
        if let Some(memory) = &self.memory {
            parse_memory(memory).map_err(|error| named("memory", error))?;
        }
        let mut max = max as usize;
        // What a task allows goes for all of its instances: a database with one
        // writer has one, wherever that is.
        if let Some(most) = description.max_concurrency {
            let workers = (most as usize / concurrency).max(1);
            if workers < max {
                tracing::info!(
                    "The task takes {} at a time at most: --max-workers {max} is lowered to {workers}",
                    crate::text::count(most as usize, "file")
                );
                max = workers;
            }
        }
        if self.min_workers as usize > max {
            let min = self.min_workers;
            return Err(Usage(format!("--min-workers {min} is more than --max-workers {max}")));
        }
        for command in &self.setup_commands {
            check_command(command)?;
        }
        let request = JobRequest {
            task_name: task_name.into(),
            cpus: self.cpus,
            memory: self.memory,
            time: self.time,
            gpus: self.gpus,
            options: self.sbatch_options,
            setup_commands: self.setup_commands,
        };
        request.check().map_err(Usage)?;
        let files_per_worker = self.files_per_worker.map_or(concurrency, |n| n as usize);
        Ok(Workers {
            request,
            limits: Limits { min: self.min_workers as usize, max, files_per_worker },
            concurrency,
            idle_timeout: self.worker_idle_timeout,
            grace: self.grace,
            interval: self.squeue_interval,
            wall_time,
        })
    }
}

impl Workers {
    /// Asks Slurm whether it would take such a job. Where it does not answer, the
    /// run will wait for it.
    pub fn ask(&self) -> anyhow::Result<()> {
        let nowhere = Path::new("/nonexistent");
        let launch = Launch {
            binary: nowhere,
            run_dir: nowhere,
            submission: 0,
            comment: "",
            cache_dir: nowhere,
            plan: "",
        };
        let script = self.request.script(&launch);
        let options = self.request.arguments(1, nowhere, 0, &[]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match runtime.block_on(Client::new().test(&options, &script)) {
            Ok(()) => Ok(()),
            Err(error @ (SubmitError::Unreachable(_) | SubmitError::Busy(_))) => {
                tracing::warn!("Slurm could not be asked whether it takes such workers: {error}");
                Ok(())
            }
            Err(error) => Err(Usage(error.to_string()).into()),
        }
    }
}

/// Checks that the shell can read a command: in a job it would break all that
/// follows.
fn check_command(command: &str) -> Result<(), Usage> {
    if command.contains('\0') {
        return Err(Usage("--setup-command holds a null byte".into()));
    }
    let check = || -> std::io::Result<Option<String>> {
        let mut bash = Command::new("bash")
            .arg("-n")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = bash.stdin.take() {
            stdin.write_all(format!("{{ {command}\n}}\n").as_bytes())?;
        }
        let output = bash.wait_with_output()?;
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Ok((!output.status.success()).then_some(message))
    };
    match check() {
        Ok(Some(message)) => {
            Err(Usage(format!("--setup-command `{command}` is no shell command: {message}")))
        }
        // Without a shell here, the nodes' will tell.
        Ok(None) | Err(_) => Ok(()),
    }
}
