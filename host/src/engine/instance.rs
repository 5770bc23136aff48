//! A live component with its context.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{FsPerms, WasiCtx};

use super::Task;
use super::bindings::TaskComponent;
use super::bindings::tigerflow::task::types as wit;
use super::description::Value;
use super::fault::{self, Fault};
use super::files;
use super::guest::{
    Alias, GUEST_INPUT, GUEST_OUTPUT, Gauge, Guest, HANDLES, MemoryLimit, Meter, Opened,
};
use super::network::{Http, Network};
use super::stdio::Stdio;
use crate::outcome::{Cause, Failure};

/// What every instance of a run may reach, and how much of it.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Preopened read-only as `/input`.
    pub input_dir: PathBuf,
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

/// Environment variables, whose values no log may show.
#[derive(Clone, Default)]
pub struct Environment(pub Vec<(String, String)>);

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
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
#[derive(Clone, Debug, PartialEq)]
pub enum SetupError {
    /// The task's `setup` failed, or the guest broke in it.
    Task(Failure),
    /// The host could not make the sandbox.
    Host(String),
}

/// A live component with its context.
pub struct Instance {
    store: Store<Guest>,
    component: TaskComponent,
    timeout: Option<Duration>,
    alive: bool,
}

impl Instance {
    /// Instantiates a task in its sandbox and calls `setup`.
    pub async fn create(
        task: &Task,
        sandbox: &Sandbox,
        staging: PathBuf,
        gauge: Gauge,
    ) -> Result<Self, SetupError> {
        let stdio = Stdio::new();
        let wasi = wasi(sandbox, staging, &stdio)?;
        let mut store = task.store(wasi, stdio, sandbox.memory_limit, sandbox.output_limit, gauge);
        store.data_mut().opened = Opened::new(sandbox.open_files);
        store.data_mut().http = Http::new(Arc::clone(&sandbox.network));
        let host_error = |error: wasmtime::Error| SetupError::Host(format!("{error:#}"));
        files::note_directories(store.data_mut(), sandbox).map_err(host_error)?;
        let arguments: Vec<wit::Argument> = sandbox
            .arguments
            .iter()
            .map(|(name, value)| wit::Argument { name: name.clone(), value: value.clone().into() })
            .collect();

        let call = async {
            let component = task.pre.instantiate_async(&mut store).await?;
            let result = component.tigerflow_task_task().call_setup(&mut store, &arguments).await?;
            Ok((component, result))
        };
        match within(sandbox.setup_timeout, "--setup-timeout", call).await {
            Ok((component, Ok(()))) => {
                Ok(Instance { store, component, timeout: sandbox.timeout, alive: true })
            }
            Ok((_, Err(raw))) => {
                let stderr = store.data().stdio.stderr_tail();
                Err(SetupError::Task(fault::failure(raw, Cause::Failed, stderr)))
            }
            Err(stop) => Err(SetupError::Task(stop.describe(store.data()))),
        }
    }

    /// Whether the instance can still be called. A trap or a timeout kills it.
    pub fn is_alive(&self) -> bool {
        self.alive
    }

    /// Whether the guest holds so many files open, which it should have closed,
    /// that a later attempt might suffer.
    pub fn is_leaking(&mut self) -> bool {
        let opened = &mut self.store.data_mut().opened;
        opened.held() > opened.limit / 2
    }

    /// Whether the guest holds this file open, by device and inode.
    pub fn holds(&self, file: impl FnOnce() -> Option<(u64, u64)>) -> bool {
        use std::os::unix::fs::MetadataExt;
        let mut open = self.store.data().opened.iter().peekable();
        // Hardly ever is one open, so the file is seldom looked at.
        if open.peek().is_none() {
            return false;
        }
        let Some(file) = file() else { return false };
        open.any(|held| held.metadata().is_ok_and(|meta| (meta.dev(), meta.ino()) == file))
    }

    /// Calls `run`. `input` and `output` are names within `/input` and `/output`.
    pub async fn run(&mut self, input: &str, output: &str, alias: Option<Alias>) -> RunEnd {
        let guest = self.store.data_mut();
        guest.begin();
        guest.alias = alias;
        input.clone_into(&mut guest.input_name);
        // Until the call returns, so that an attempt that is dropped in the
        // middle leaves no instance that seems to work.
        self.alive = false;
        let task = self.component.tigerflow_task_task();
        let input = format!("{GUEST_INPUT}/{input}");
        let output = format!("{GUEST_OUTPUT}/{output}");
        let call = task.call_run(&mut self.store, &input, &output);
        let result = within(self.timeout, "--timeout", call).await;
        let guest = self.store.data();
        match result {
            Ok(result) => {
                self.alive = true;
                match result {
                    // Also where it returned well: a guest that overlooked a
                    // failed write has left half an output.
                    _ if guest.meter.disk_full() => RunEnd::DiskFull(guest.meter.written()),
                    Ok(()) => RunEnd::Ok,
                    Err(error) => self.error(error),
                }
            }
            Err(_) if guest.meter.disk_full() => RunEnd::DiskFull(guest.meter.written()),
            Err(stop) => RunEnd::Failed(stop.describe(guest)),
        }
    }

    fn error(&self, error: wit::RunError) -> RunEnd {
        let stderr = self.store.data().stdio.stderr_tail();
        match error {
            wit::RunError::Failed(raw) => {
                RunEnd::Failed(fault::failure(raw, Cause::Failed, stderr))
            }
            wit::RunError::Transient(raw) => {
                let retry_after = raw.retry_after.map(Duration::from_millis);
                let cause = Cause::Transient { retry_after };
                RunEnd::Failed(fault::failure(raw.failure, cause, stderr))
            }
            wit::RunError::Aborted(reason) => RunEnd::Aborted(fault::clip(reason)),
        }
    }

    /// Calls `teardown` and drops the instance.
    pub async fn teardown(mut self) -> Result<(), Failure> {
        self.store.data_mut().begin();
        let task = self.component.tigerflow_task_task();
        let call = task.call_teardown(&mut self.store);
        match within(self.timeout, "--timeout", call).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(raw)) => {
                let stderr = self.store.data().stdio.stderr_tail();
                Err(fault::failure(raw, Cause::Failed, stderr))
            }
            Err(stop) => Err(stop.describe(self.store.data())),
        }
    }
}

/// Why a call gave no answer.
enum Stop {
    Trap(wasmtime::Error),
    Timeout(Duration, &'static str),
}

impl Stop {
    fn describe(&self, guest: &Guest) -> Failure {
        let fault = match self {
            Stop::Trap(error) => Fault::Trap(error),
            &Stop::Timeout(limit, option) => Fault::Timeout { limit, option },
        };
        fault::describe(&fault, guest)
    }
}

/// Bounds a call into the guest. The epoch makes a busy guest yield, so that
/// the timer gets its turn.
async fn within<T>(
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
    for (name, value) in &sandbox.environment.0 {
        builder.env(name, value);
    }
    Ok(builder.build())
}

impl Task {
    pub(super) fn store(
        &self,
        wasi: WasiCtx,
        stdio: Stdio,
        memory_limit: usize,
        output_limit: u64,
        gauge: Gauge,
    ) -> Store<Guest> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        let guest = Guest {
            wasi,
            table,
            stdio,
            http: Http::new(Arc::new(Network::none())),
            memory: MemoryLimit::new(memory_limit),
            meter: Arc::new(Meter::new(output_limit)),
            input_dir: None,
            output_dir: None,
            own_staging: None,
            granted_writing: false,
            input_name: String::new(),
            opened: Opened::new(0),
            task_name: self.description.name.clone(),
            alias: None,
            gauge,
            log_lines: 0,
        };
        let mut store = Store::new(self.pre.engine(), guest);
        store.limiter(|guest| &mut guest.memory);
        if self.interruptible {
            store.set_epoch_deadline(1);
            store.epoch_deadline_async_yield_and_update(1);
        }
        store
    }
}
