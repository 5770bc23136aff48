//! All that knows wasmtime: what a component is, how it is compiled and cached,
//! linked, sandboxed, limited and called, and what its faults mean.

mod bindings;
mod cache;
mod clocks;
pub mod component;
mod concurrent;
pub mod description;
mod fault;
mod files;
mod guest;
mod instance;
pub mod network;
mod notices;
mod pool;
mod secrets;
pub mod stage;
mod stdio;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, Store};
use wasmtime_wasi::WasiCtx;

pub use self::cache::CACHE_VARIABLE;
pub use self::component::{INTERFACE_VERSION, Interface, LoadError, Shape};
pub use self::concurrent::{Calls, ConcurrentInstance, Lost};
pub use self::guest::{Alias, GUEST_INPUT, GUEST_OUTPUT, Gauge};
pub use self::instance::{Directory, Instance, Isolation, RunEnd, Sandbox, SetupError};
pub use self::network::{HostRule, Network};
pub use self::notices::Notices;
pub use self::secrets::Environment;

use self::bindings::TaskComponentPre;
use self::bindings::concurrent::AsyncTaskComponentPre;
use self::bindings::tigerflow::task::types as wit;
use self::description::Description;
use self::guest::{Attempt, Current, Guest, OWN_LANE};
use self::stdio::Stdio;

/// How often a guest that may be interrupted looks whether to yield. A timeout
/// may be late by as much for each busy neighbour on its thread.
const TICK: Duration = Duration::from_millis(10);

/// Most time for `describe`, which does next to nothing.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(10);

/// Most memory for `describe`, in bytes: what a 32-bit guest can address.
const DESCRIBE_MEMORY: usize = 4 << 30;

/// Stack of a guest, in bytes: room for a deep but sane recursion. Twice
/// wasmtime's own default; interpreters recurse.
const GUEST_STACK: usize = 1 << 20;

/// Address space that an engine needs for each memory by default. Where the
/// process is limited to less, memories are bounds-checked instead.
const AMPLE_ADDRESS_SPACE: u64 = 1 << 40;

/// A component that is a task, ready to be instantiated.
pub struct Task {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// Its imports and exports.
    pub shape: Shape,
    /// What it says of itself.
    pub description: Description,
    /// What it was loaded for.
    pub purpose: Purpose,
    /// Whether it was compiled ahead of time.
    pub precompiled: bool,
    /// Why it is compiled anew each time, where it is.
    pub warning: Option<String>,
    pre: Pre,
}

/// What a task is loaded for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purpose {
    /// Whether its code can be interrupted while it computes, as a time limit needs,
    /// and instances that share a thread. It costs a few per cent. A precompiled file
    /// always can.
    pub interruptible: bool,
    /// For how many instances at once room is kept, where each file has a fresh one.
    pub fresh: u32,
}

/// A component that was checked and linked, by the interface that it exports.
#[derive(Clone)]
enum Pre {
    Task(TaskComponentPre<Guest>),
    AsyncTask(AsyncTaskComponentPre<Guest>),
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("path", &self.path).field("digest", &self.digest).finish()
    }
}

impl Task {
    /// Loads a component, or a file made by [`precompile`].
    pub fn load(path: &Path, purpose: Purpose) -> Result<Self, LoadError> {
        match Self::load_for(path, purpose) {
            // It may be too large for the room that is kept: then none is.
            Err(LoadError::Compile { .. } | LoadError::Precompiled { .. }) if purpose.fresh > 0 => {
                let task = Self::load_for(path, Purpose { fresh: 0, ..purpose })?;
                Ok(Task { purpose, ..task })
            }
            loaded => loaded,
        }
    }

    fn load_for(path: &Path, purpose: Purpose) -> Result<Self, LoadError> {
        let compiled = Compiled::load(path, purpose)?;
        let pre = link(path, &compiled.component, &compiled.shape)?;
        let Compiled { digest, shape, purpose, precompiled, warning, .. } = compiled;
        let mut task = Task {
            path: path.into(),
            digest,
            shape,
            description: Description::default(),
            purpose,
            precompiled,
            warning,
            pre,
        };
        task.description = task
            .describe()
            .map_err(|problem| LoadError::Describe { path: path.into(), problem })?;
        Ok(task)
    }

    /// Puts what was compiled of it into a cache that other processes use, on
    /// machines with the same kind of CPU.
    pub fn seed_cache(&self, directory: &Path) -> anyhow::Result<()> {
        let component = match &self.pre {
            Pre::Task(pre) => pre.instance_pre().component(),
            Pre::AsyncTask(pre) => pre.instance_pre().component(),
        };
        match self.precompiled {
            true => Ok(()),
            false => cache::seed(directory, component, &self.digest),
        }
    }

    /// Which interface it exports.
    pub fn interface(&self) -> Interface {
        match self.pre {
            Pre::Task(_) => Interface::Task,
            Pre::AsyncTask(_) => Interface::AsyncTask,
        }
    }

    /// A store with a guest's data in it. `wasi` makes its sandbox.
    fn store<E>(
        &self,
        memory_limit: usize,
        own: Attempt,
        environment: &Environment,
        wasi: impl FnOnce(&Stdio) -> Result<WasiCtx, E>,
    ) -> Result<Store<Guest>, E> {
        let engine = match &self.pre {
            Pre::Task(pre) => pre.engine(),
            Pre::AsyncTask(pre) => pre.engine(),
        };
        let mut store =
            store(engine, &self.description.name, memory_limit, own, environment, wasi)?;
        if self.purpose.interruptible {
            make_interruptible(&mut store);
        }
        Ok(store)
    }

    /// Asks the task what it is.
    fn describe(&self) -> Result<Description, String> {
        let own = Attempt::new(0, Gauge::default());
        let store = self.store(DESCRIBE_MEMORY, own, &Environment::default(), nothing_granted)?;
        let pre = self.pre.clone();
        Description::check(describe(store, async move |store| pre.describe(store).await)?)
    }
}

impl Pre {
    async fn describe(&self, store: &mut Store<Guest>) -> wasmtime::Result<wit::Description> {
        match self {
            Pre::Task(pre) => {
                let component = pre.instantiate_async(&mut *store).await?;
                component.tigerflow_task_task().call_describe(store).await
            }
            Pre::AsyncTask(pre) => {
                let component = pre.instantiate_async(&mut *store).await?;
                component.tigerflow_task_async_task().call_describe(store).await
            }
        }
    }
}

/// A component that was compiled, before it is known what it is.
struct Compiled {
    component: Component,
    digest: String,
    shape: Shape,
    purpose: Purpose,
    precompiled: bool,
    warning: Option<String>,
}

impl Compiled {
    /// Reads a component, or a file made by [`precompile`].
    fn load(path: &Path, mut purpose: Purpose) -> Result<Self, LoadError> {
        let bytes = read(path)?;
        let precompiled = cache::is_precompiled(&bytes);
        // A component is harmless to look at; machine code is not, and must not
        // pass for one.
        if precompiled && path.extension().is_none_or(|e| e != PRECOMPILED_EXTENSION) {
            let problem = format!(
                "is machine code made by `tigerflow-host compile`, not a component: if you trust \
                 it as a program, rename it to end in `.{PRECOMPILED_EXTENSION}`"
            );
            return Err(LoadError::Unfit { path: path.into(), problem });
        }
        purpose.interruptible |= precompiled;
        let asynchronous = match precompiled {
            true => cache::is_asynchronous(&bytes),
            false => component::is_asynchronous(&bytes),
        };
        let engine = engine(purpose, asynchronous)?;
        let (component, digest, warning) = if precompiled {
            let (component, digest) = cache::load_precompiled(&engine, path, &bytes)?;
            (component, digest, None)
        } else {
            component::check_bytes(path, &bytes)?;
            let digest = digest(&bytes);
            let (component, warning) = cache::load(&engine, path, &bytes, &digest)?;
            (component, digest, warning)
        };
        let shape = Shape::of(&engine, &component);
        if purpose.interruptible {
            start_ticker(&engine);
        }
        Ok(Compiled { component, digest, shape, purpose, precompiled, warning })
    }
}

/// A store with a guest's data in it, which bears `name` in the log. `wasi` makes
/// its sandbox.
fn store<E>(
    engine: &Engine,
    name: &str,
    memory_limit: usize,
    own: Attempt,
    environment: &Environment,
    wasi: impl FnOnce(&Stdio) -> Result<WasiCtx, E>,
) -> Result<Store<Guest>, E> {
    let current = Current::default();
    let stdio = Stdio::new(current.clone(), environment.clone());
    let wasi = wasi(&stdio)?;
    let environment = environment.clone();
    let guest = Guest::new(wasi, stdio, current, name.into(), environment, memory_limit, own);
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.memory);
    Ok(store)
}

/// Lets what runs in a store yield with each tick of its engine, which was made for
/// that.
fn make_interruptible(store: &mut Store<Guest>) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
}

/// The sandbox of `describe`.
fn nothing_granted(stdio: &Stdio) -> Result<WasiCtx, String> {
    Ok(WasiCtx::builder().stderr(stdio.stderr()).build())
}

/// Asks a component what it is.
fn describe<T: Send + 'static>(
    mut store: Store<Guest>,
    ask: impl AsyncFnOnce(&mut Store<Guest>) -> wasmtime::Result<T> + Send + 'static,
) -> Result<T, String> {
    let (send, receive) = mpsc::channel();
    // On a thread of its own: a guest that never returns is left behind
    // there, and ends with the process, which says why it gives up.
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answer = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
            runtime.block_on(async {
                match ask(&mut store).await {
                    Ok(raw) => Ok(raw),
                    Err(error) => {
                        let fault = fault::Fault::Trap(&error);
                        Err(fault::describe(&fault, store.data_mut(), OWN_LANE).message)
                    }
                }
            })
        });
        let _ = send.send(answer);
    });
    receive
        .recv_timeout(DESCRIBE_LIMIT)
        .map_err(|_| format!("`describe` did not return within {DESCRIBE_LIMIT:?}"))?
}

/// Whether a file is an asynchronous task, as far as a look at it tells.
pub fn is_asynchronous(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| match cache::is_precompiled(&bytes) {
        true => cache::is_asynchronous(&bytes),
        false => component::is_asynchronous(&bytes),
    })
}

/// What the name of a precompiled file ends in.
pub const PRECOMPILED_EXTENSION: &str = "cwasm";

/// Compiles a component ahead of time, for this version of this host on this
/// kind of CPU.
pub fn precompile(path: &Path, to: &Path) -> Result<(), LoadError> {
    let bytes = read(path)?;
    if cache::is_precompiled(&bytes) {
        let problem = "is precompiled already".into();
        return Err(LoadError::Unfit { path: path.into(), problem });
    }
    if to.extension().is_none_or(|e| e != PRECOMPILED_EXTENSION) {
        let problem =
            format!("must end in `.{PRECOMPILED_EXTENSION}`, to be known as machine code");
        return Err(LoadError::Unfit { path: to.into(), problem });
    }
    component::check_bytes(path, &bytes)?;
    let asynchronous = component::is_asynchronous(&bytes);
    let engine = engine(Purpose { interruptible: true, fresh: 0 }, asynchronous)?;
    let component = cache::compile(&engine, path, &bytes)?;
    link(path, &component, &Shape::of(&engine, &component))?;
    cache::write_precompiled(&component, &bytes, asynchronous, to)
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    if path.is_dir() {
        let problem = "is a directory: name the .wasm file in it".into();
        return Err(LoadError::Unfit { path: path.into(), problem });
    }
    fs::read(path).map_err(|cause| LoadError::Read { path: path.into(), cause })
}

/// SHA-256 in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An engine for plain components or for `asynchronous` ones.
fn engine(purpose: Purpose, asynchronous: bool) -> Result<Engine, LoadError> {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(purpose.interruptible)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(2 * GUEST_STACK)
        // Plain functions are 5 to 15 % faster without it.
        .concurrency_support(asynchronous);
    let address_space = rustix::process::getrlimit(rustix::process::Resource::As).current;
    if address_space.is_some_and(|limit| limit < AMPLE_ADDRESS_SPACE) {
        config.memory_reservation(0).memory_guard_size(0).memory_reservation_for_growth(1 << 20);
    } else if purpose.fresh > 0 {
        config.allocation_strategy(pool::strategy(purpose.fresh));
        if let Ok(engine) = Engine::new(&config) {
            return Ok(engine);
        }
        // The address space that it takes is not to be had: as well without.
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    }
    Engine::new(&config).map_err(|error| LoadError::Engine(format!("{error:#}")))
}

/// Checks a component against the interface, and joins it with what the host
/// provides.
fn link(path: &Path, component: &Component, shape: &Shape) -> Result<Pre, LoadError> {
    let interface = shape.check(path)?;
    join(path, component, shape, |pre| match interface {
        Interface::Task => TaskComponentPre::new(pre).map(Pre::Task),
        Interface::AsyncTask => AsyncTaskComponentPre::new(pre).map(Pre::AsyncTask),
    })
}

/// Joins a component with what the host provides. `to` looks for what it exports.
fn join<T>(
    path: &Path,
    component: &Component,
    shape: &Shape,
    to: impl FnOnce(InstancePre<Guest>) -> wasmtime::Result<T>,
) -> Result<T, LoadError> {
    let linker =
        linker(component.engine()).map_err(|error| LoadError::Engine(format!("{error:#}")))?;
    linker.instantiate_pre(component).and_then(to).map_err(|error| LoadError::Unfit {
        path: path.into(),
        problem: shape.explain(&format!("{error:#}")),
    })
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    files::shadow(&mut linker)?;
    clocks::shadow(&mut linker)?;
    network::link(&mut linker)?;
    if engine.get_concurrency_support() {
        // All but the file system: WASI 0.2's, with its limits, is beside it.
        wasmtime_wasi::p3::cli::add_to_linker(&mut linker)?;
        wasmtime_wasi::p3::clocks::add_to_linker(&mut linker)?;
        wasmtime_wasi::p3::random::add_to_linker(&mut linker)?;
        wasmtime_wasi::p3::sockets::add_to_linker(&mut linker)?;
        clocks::shadow_concurrent(&mut linker)?;
        network::link_concurrent(&mut linker)?;
    }
    bindings::tigerflow::task::types::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?;
    bindings::tigerflow::task::report::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?;
    Ok(linker)
}

/// Lets busy guests yield, for as long as the engine lives.
fn start_ticker(engine: &Engine) {
    let engine = engine.weak();
    thread::spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    });
}
