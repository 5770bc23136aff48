//! A live component with its context.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmtime::Store;
use wasmtime_wasi::{FsPerms, WasiCtx};

use super::bindings::TaskComponent;
use super::bindings::tigerflow::task::types as wit;
use super::description::Value;
use super::fault::{self, Fault};
use super::files;
use super::guest::{
    Alias, Attempt, GUEST_INPUT, GUEST_OUTPUT, Gauge, Guest, HANDLES, HANDLES_OF_A_CALL, OWN_LANE,
    Opened,
};
use super::network::{Http, Network};
use super::stdio::Stdio;
use super::{Environment, Notices, Pre, Task};
use crate::outcome::{Cause, Failure};

/// What is kept apart by giving it instances of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Nothing: an instance works on one file after another, or on many at once.
    #[default]
    None,
    /// Each file: it has a fresh instance, from `setup` to `teardown`.
    File,
}

/// What every instance of a run may reach, and how much of it.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Preopened read-only as `/input`.
    pub input_dir: PathBuf,
    /// What has instances of its own.
    pub isolation: Isolation,
    /// What the log said of the task already.
    pub notices: Arc<Notices>,
    /// Whether the host's workspace lies in a directory that the guest sees.
    pub workspace_visible: bool,
    /// Further directories.
    pub directories: Vec<Directory>,
    /// Environment variables. Their values are secret.
    pub environment: Environment,
    /// Most memory of an instance, in bytes.
    pub memory_limit: usize,
    /// Most bytes that an attempt may write.
    pub output_limit: u64,
    /// Most files that an instance may hold open.
    pub open_files: usize,
    /// Most calls in flight in an instance.
    pub calls: usize,
    /// What it may reach over the network.
    pub network: Arc<Network>,
    /// Most time for an attempt, and for `teardown`.
    pub timeout: Option<Duration>,
    /// Most time for `setup`.
    pub setup_timeout: Option<Duration>,
    /// What `setup` receives.
    pub arguments: Vec<(String, Value)>,
}

/// A granted directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Where it is.
    pub host_path: PathBuf,
    /// Where the guest sees it.
    pub guest_path: String,
    /// Whether the guest may write there.
    pub writable: bool,
}

/// How a call of `run` ended, as far as the guest is concerned.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEnd {
    /// It returned well; what it wrote is to be published.
    Ok,
    /// It failed.
    Failed(Failure),
    /// It declined the file.
    Aborted(String),
    /// It failed because the disk is full, which is no fault of the file.
    /// So much the attempt had written, in bytes.
    DiskFull(u64),
}

/// Why there is no instance.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetupError {
    /// The task's `setup` failed, or the guest broke in it.
    Task(Failure),
    /// The host could not make the sandbox.
    Host(String),
}

/// A live component of plain functions with its context: one attempt at a time.
pub struct Instance {
    store: Store<Guest>,
    component: TaskComponent,
    timeout: Option<Duration>,
    alive: bool,
}

impl Instance {
    /// Instantiates a task in its sandbox and calls `setup`. The task exports
    /// plain functions.
    pub async fn create(
        task: &Task,
        sandbox: &Sandbox,
        staging: PathBuf,
        gauge: Gauge,
    ) -> Result<Self, SetupError> {
        let Pre::Task(pre) = &task.pre else { unreachable!("an asynchronous task") };
        let mut store = store(task, sandbox, staging, gauge)?;
        let arguments = arguments(sandbox);
        let call = async {
            let component = pre.instantiate_async(&mut store).await?;
            let result = component.tigerflow_task_task().call_setup(&mut store, &arguments).await?;
            Ok((component, result))
        };
        match within(sandbox.setup_timeout, "--setup-timeout", call).await {
            Ok((component, Ok(()))) => {
                store.data_mut().opened.belong_to_context();
                Ok(Instance { store, component, timeout: sandbox.timeout, alive: true })
            }
            Ok((_, Err(raw))) => Err(SetupError::Task(own_failure(raw, store.data()))),
            Err(stop) => Err(SetupError::Task(stop.describe(store.data_mut(), OWN_LANE))),
        }
    }

    /// Whether the instance can still be called. A trap or a timeout kills it.
    pub fn is_alive(&self) -> bool {
        self.alive
    }

    /// Whether the guest holds so many files open, which it should have closed,
    /// that a later attempt might suffer.
    pub fn is_leaking(&mut self) -> bool {
        self.store.data_mut().opened.is_leaking(0)
    }

    /// Whether the guest holds this file open, by device and inode.
    pub fn holds(&self, file: impl FnOnce() -> Option<(u64, u64)>) -> bool {
        self.store.data().opened.hold(file)
    }

    /// Whether the guest may have left something else in its staging place than
    /// outputs that it was asked for, since this was asked last.
    pub fn has_made_more(&mut self) -> bool {
        std::mem::take(&mut self.store.data_mut().made_more)
    }

    /// Calls `run`. `input` and `output` are names within `/input` and `/output`.
    pub async fn run(&mut self, input: &str, output: &str, alias: Option<Alias>) -> RunEnd {
        let guest = self.store.data_mut();
        let attempt = guest.begin();
        attempt.alias = alias;
        input.clone_into(&mut attempt.input_name);
        output.clone_into(&mut attempt.output_name);
        // Until the call returns, so that an attempt that is dropped in the
        // middle leaves no instance that seems to work.
        self.alive = false;
        let task = self.component.tigerflow_task_task();
        let input = format!("{GUEST_INPUT}/{input}");
        let output = format!("{GUEST_OUTPUT}/{output}");
        let call = task.call_run(&mut self.store, &input, &output);
        let result = within(self.timeout, "--timeout", call).await;
        let guest = self.store.data_mut();
        match result {
            Ok(answer) => {
                self.alive = true;
                answered(answer, guest, OWN_LANE)
            }
            Err(stop) => unanswered(&stop, guest, OWN_LANE),
        }
    }

    /// Calls `teardown`; the instance is of no use after.
    pub async fn teardown(&mut self) -> Result<(), Failure> {
        self.alive = false;
        self.store.data_mut().begin();
        let task = self.component.tigerflow_task_task();
        let call = task.call_teardown(&mut self.store);
        match within(self.timeout, "--timeout", call).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(raw)) => Err(own_failure(raw, self.store.data())),
            Err(stop) => Err(stop.describe(self.store.data_mut(), OWN_LANE)),
        }
    }
}

/// The store of a new instance, with its sandbox.
pub(super) fn store(
    task: &Task,
    sandbox: &Sandbox,
    staging: PathBuf,
    gauge: Gauge,
) -> Result<Store<Guest>, SetupError> {
    let own = Attempt::new(sandbox.output_limit, gauge);
    let mut store = task.store(sandbox.memory_limit, own, &sandbox.environment, |stdio| {
        wasi(sandbox, staging, stdio)
    })?;
    store.data_mut().opened = Opened::new(sandbox.open_files);
    let handles = HANDLES.max(HANDLES_OF_A_CALL * sandbox.calls);
    store.data_mut().table.set_max_capacity(handles);
    store.data_mut().http = Http::new(Arc::clone(&sandbox.network));
    files::note_directories(store.data_mut(), sandbox)
        .map_err(|error| SetupError::Host(format!("{error:#}")))?;
    Ok(store)
}

/// What `setup` receives.
pub(super) fn arguments(sandbox: &Sandbox) -> Vec<wit::Argument> {
    let argument = |(name, value): &(String, Value)| wit::Argument {
        name: name.clone(),
        value: value.clone().into(),
    };
    sandbox.arguments.iter().map(argument).collect()
}

/// What `setup` or `teardown` reports as failed.
pub(super) fn own_failure(raw: wit::Failure, guest: &Guest) -> Failure {
    fault::failure(raw, Cause::Failed, guest, OWN_LANE)
}

/// How a call of `run` in this lane ended that the guest answered.
pub(super) fn answered(answer: Result<(), wit::RunError>, guest: &mut Guest, lane: u32) -> RunEnd {
    let meter = &guest.attempt_in(lane).meter;
    // Also where it returned well: a guest that overlooked a failed write has
    // left half an output.
    if meter.disk_full() {
        return RunEnd::DiskFull(meter.written());
    }
    match answer {
        Ok(()) => RunEnd::Ok,
        Err(wit::RunError::Failed(raw)) => {
            RunEnd::Failed(fault::failure(raw, Cause::Failed, guest, lane))
        }
        Err(wit::RunError::Transient(raw)) => {
            let retry_after = raw.retry_after.map(Duration::from_millis);
            let cause = Cause::Transient { retry_after };
            RunEnd::Failed(fault::failure(raw.failure, cause, guest, lane))
        }
        Err(wit::RunError::Aborted(reason)) => {
            RunEnd::Aborted(fault::clip(guest.environment.mask(reason)))
        }
    }
}

/// How a call of `run` in this lane ended that the guest did not answer.
pub(super) fn unanswered(stop: &Stop, guest: &mut Guest, lane: u32) -> RunEnd {
    let meter = &guest.attempt_in(lane).meter;
    if meter.disk_full() {
        return RunEnd::DiskFull(meter.written());
    }
    RunEnd::Failed(stop.describe(guest, lane))
}

/// Why a call gave no answer.
pub(super) enum Stop {
    Trap(wasmtime::Error),
    Timeout(Duration, &'static str),
}

impl Stop {
    pub(super) fn describe(&self, guest: &mut Guest, lane: u32) -> Failure {
        let fault = match self {
            Stop::Trap(error) => Fault::Trap(error),
            &Stop::Timeout(limit, option) => Fault::Timeout { limit, option },
        };
        fault::describe(&fault, guest, lane)
    }
}

/// Bounds a call into the guest. The epoch makes a busy guest yield, so that
/// the timer gets its turn.
pub(super) async fn within<T>(
    limit: Option<Duration>,
    option: &'static str,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, Stop> {
    let result = match limit {
        Some(limit) => {
            tokio::time::timeout(limit, call).await.map_err(|_| Stop::Timeout(limit, option))?
        }
        None => call.await,
    };
    result.map_err(Stop::Trap)
}

fn wasi(sandbox: &Sandbox, staging: PathBuf, stdio: &Stdio) -> Result<WasiCtx, SetupError> {
    let mut builder = WasiCtx::builder();
    // Before the directories, which take it over.
    builder.allow_blocking_current_thread(true);
    builder.stdout(stdio.stdout()).stderr(stdio.stderr());
    let mut open = |path: &PathBuf, guest_path: &str, writable| {
        let perms = if writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        builder.preopened_dir(path, guest_path, perms).map(drop).map_err(|error| {
            SetupError::Host(format!("failed to open `{}`: {error:#}", path.display()))
        })
    };
    open(&sandbox.input_dir, GUEST_INPUT, false)?;
    open(&staging, GUEST_OUTPUT, true)?;
    for directory in &sandbox.directories {
        open(&directory.host_path, &directory.guest_path, directory.writable)?;
    }
    for (name, value) in sandbox.environment.variables() {
        builder.env(name, value);
    }
    Ok(builder.build())
}
