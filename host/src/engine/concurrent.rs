//! A live asynchronous component: many attempts at once in one instance, which
//! share its context.
//!
//! A call cannot be taken back while its instance lives, and a trap ends all
//! calls of its instance. So an attempt that ran out of time while it waited is
//! given up: its requests are cut off, upon which it usually ends. Where it does
//! not, its instance takes no further ones: when its neighbours are done, it
//! goes, and what was given up goes with it. An instance whose guest
//! computes or blocks past an attempt's time limit, so that no neighbour gets
//! its turn, is ended at once, as after a trap. Either way the host knows whose
//! fault it was (see [`note_current`]); the neighbours are free to run again.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use wasmtime::component::{Accessor, TypedFunc};
use wasmtime::{AsContextMut, CallHook, Store};

use super::bindings::concurrent::AsyncTaskComponent;
use super::bindings::tigerflow::task::types as wit;
use super::component::PACKAGE;
use super::guest::{
    Alias, Attempt, Current, GUEST_INPUT, GUEST_OUTPUT, Gauge, Guest, OWN_LANE, note_current,
};
use super::instance::{
    RunEnd, Sandbox, SetupError, Stop, answered, arguments, own_failure, store, unanswered, within,
};
use super::{Pre, Task};
use crate::outcome::Failure;

/// How long after its time limit an attempt that waits is surely given up. One
/// that is not by then keeps the whole instance from its turn.
const GRACE: Duration = Duration::from_millis(500);

/// How long an attempt that is given up has to end by itself, before it is held to
/// go on. Less than the grace, as it counts as in flight until then.
const LEAVE: Duration = Duration::from_millis(200);

/// How often to look for such an attempt.
const WATCH: Duration = Duration::from_millis(100);

type RunFunc = TypedFunc<(String, String), (Result<(), wit::RunError>,)>;

/// A live asynchronous component with its context.
pub struct ConcurrentInstance {
    store: Store<Guest>,
    component: AsyncTaskComponent,
    run: RunFunc,
    timeout: Option<Duration>,
    output_limit: u64,
    current: Current,
    /// Whether an attempt was given up, and goes on in there.
    haunted: bool,
}

/// An instance that ended in the middle of its attempts.
#[derive(Debug)]
pub struct Lost {
    /// The attempt that ended it, where that is known.
    pub lane: Option<u32>,
    /// Whether an attempt that was given up went on in there: where it is none of
    /// those in flight, it was that one.
    pub haunted: bool,
    /// How that attempt ended.
    pub end: RunEnd,
}

impl ConcurrentInstance {
    /// Instantiates a task in its sandbox and calls `setup`. The task exports
    /// asynchronous functions.
    pub async fn create(
        task: &Task,
        sandbox: &Sandbox,
        staging: PathBuf,
    ) -> Result<Self, SetupError> {
        let Pre::AsyncTask(pre) = &task.pre else { unreachable!("a task of plain functions") };
        let mut store = store(task, sandbox, staging, Gauge::default())?;
        store.call_hook(|store, hook| match hook {
            CallHook::CallingHost | CallHook::CallingWasm => note_current(store),
            CallHook::ReturningFromHost | CallHook::ReturningFromWasm => Ok(()),
        });
        let arguments = arguments(sandbox);
        let interface = format!("{PACKAGE}{}", task.shape.interface().unwrap_or_default());
        let call = async {
            let instance = pre.instance_pre().instantiate_async(&mut store).await?;
            let component = AsyncTaskComponent::new(&mut store, &instance)?;
            let run = instance
                .get_export_index(&mut store, None, &interface)
                .and_then(|of| instance.get_export_index(&mut store, Some(&of), "run"))
                .ok_or_else(|| wasmtime::format_err!("it exports no `run`"))?;
            let run: RunFunc = instance.get_typed_func(&mut store, run)?;
            let exports = component.tigerflow_task_async_task();
            let setup =
                async |accessor: &Accessor<Guest>| exports.call_setup(accessor, arguments).await;
            let answer = store.run_concurrent(setup).await??;
            Ok((component, run, answer))
        };
        match within(sandbox.setup_timeout, "--setup-timeout", call).await {
            Ok((component, run, Ok(()))) => {
                store.data_mut().opened.belong_to_context();
                Ok(ConcurrentInstance {
                    current: store.data().current.clone(),
                    store,
                    component,
                    run,
                    timeout: sandbox.timeout,
                    output_limit: sandbox.output_limit,
                    haunted: false,
                })
            }
            Ok((_, _, Err(raw))) => Err(SetupError::Task(own_failure(raw, store.data()))),
            Err(stop) => Err(SetupError::Task(stop.describe(store.data_mut(), OWN_LANE))),
        }
    }

    /// Runs `serve`, which makes calls, for as long as it lasts and the instance
    /// lives.
    pub async fn serve<R>(&mut self, serve: impl AsyncFnOnce(&Calls<'_>) -> R) -> Result<R, Lost> {
        let watch = Watch { timeout: self.timeout, begun: RefCell::default() };
        let haunted = Cell::new(false);
        let (run, output_limit) = (self.run, self.output_limit);
        let calls = async |accessor: &Accessor<Guest>| {
            serve(&Calls { accessor, run, output_limit, watch: &watch, haunted: &haunted }).await
        };
        let result = tokio::select! {
            result = self.store.run_concurrent(calls) => result.map_err(Stop::Trap),
            stop = watch.stuck(&self.current) => Err(stop),
        };
        self.haunted |= haunted.get();
        result.map_err(|stop| {
            let lane = self.current.get();
            Lost {
                lane: watch.is_in_flight(lane).then_some(lane),
                haunted: self.haunted,
                end: unanswered(&stop, self.store.data_mut(), lane),
            }
        })
    }

    /// Calls `teardown`, unless an attempt that was given up goes on in there,
    /// and drops the instance.
    pub async fn teardown(mut self) -> Result<(), Failure> {
        if self.haunted {
            return Ok(());
        }
        self.store.data_mut().begin();
        let exports = self.component.tigerflow_task_async_task();
        let teardown = async |accessor: &Accessor<Guest>| exports.call_teardown(accessor).await;
        let call = async { self.store.run_concurrent(teardown).await? };
        match within(self.timeout, "--timeout", call).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(raw)) => Err(own_failure(raw, self.store.data())),
            Err(stop) => Err(stop.describe(self.store.data_mut(), OWN_LANE)),
        }
    }
}

/// Makes calls into an instance that is being served.
pub struct Calls<'a> {
    accessor: &'a Accessor<Guest>,
    run: RunFunc,
    output_limit: u64,
    watch: &'a Watch,
    haunted: &'a Cell<bool>,
}

impl Calls<'_> {
    /// Calls `run` in a lane, from 1, that no other call is in. `input` and
    /// `output` are names within `/input` and `/output`.
    pub async fn run(
        &self,
        lane: u32,
        input: &str,
        output: &str,
        alias: Option<Alias>,
        gauge: Gauge,
    ) -> RunEnd {
        gauge.reset();
        let mut attempt = Attempt::new(self.output_limit, gauge);
        attempt.alias = alias;
        input.clone_into(&mut attempt.input_name);
        let paths = (format!("{GUEST_INPUT}/{input}"), format!("{GUEST_OUTPUT}/{output}"));
        let started = self.accessor.with(|mut store| {
            let call = self.run.start_call_concurrent(store.as_context_mut(), paths)?;
            store.data_mut().begin_in(lane, call.task(), attempt);
            wasmtime::error::Ok(call)
        });
        self.watch.begin(lane);
        let (task, result) = match started {
            Ok(call) => {
                let task = call.task();
                let call = self.run.finish_call_concurrent(self.accessor, call);
                let mut call = std::pin::pin!(async { call.await.map(|(answer,)| answer) });
                let result = within(self.watch.timeout, "--timeout", call.as_mut()).await;
                let goes_on = match &result {
                    Ok(_) => false,
                    Err(Stop::Trap(_)) => true,
                    Err(Stop::Timeout(..)) => {
                        // Its requests end now, and so it mostly does as well.
                        self.accessor.with(|mut store| store.data_mut().give_up(lane));
                        tokio::time::timeout(LEAVE, call).await.is_err()
                    }
                };
                self.haunted.set(self.haunted.get() || goes_on);
                (Some(task), result)
            }
            Err(error) => (None, Err(Stop::Trap(error))),
        };
        self.watch.end(lane);
        self.accessor.with(|mut store| {
            let guest = store.data_mut();
            let end = match result {
                Ok(answer) => answered(answer, guest, lane),
                Err(stop) => unanswered(&stop, guest, lane),
            };
            guest.end_in(lane, task);
            end
        })
    }

    /// Whether the instance should take no further calls: an attempt in it was
    /// given up.
    pub fn is_haunted(&self) -> bool {
        self.haunted.get()
    }

    /// Whether the guest holds this file open, by device and inode.
    pub fn holds(&self, file: impl FnOnce() -> Option<(u64, u64)>) -> bool {
        self.accessor.with(|mut store| store.data_mut().opened.hold(file))
    }

    /// Whether the guest holds so many files open, which it should have closed,
    /// that a later attempt might suffer.
    pub fn is_leaking(&self) -> bool {
        let calls = self.watch.begun.borrow().len();
        self.accessor.with(|mut store| store.data_mut().opened.is_leaking(calls))
    }
}

/// When the calls in flight began.
struct Watch {
    timeout: Option<Duration>,
    begun: RefCell<HashMap<u32, Instant>>,
}

impl Watch {
    fn begin(&self, lane: u32) {
        self.begun.borrow_mut().insert(lane, Instant::now());
    }

    fn end(&self, lane: u32) {
        self.begun.borrow_mut().remove(&lane);
    }

    fn is_in_flight(&self, lane: u32) -> bool {
        self.begun.borrow().contains_key(&lane)
    }

    /// Waits until the guest is stuck in an attempt whose time is over. It is
    /// awaited beside the instance's own event loop, which does not turn then.
    async fn stuck(&self, current: &Current) -> Stop {
        let Some(limit) = self.timeout else { return std::future::pending().await };
        loop {
            tokio::time::sleep(WATCH.min(limit)).await;
            let late = |begun: &Instant| begun.elapsed() >= limit + GRACE;
            let begun = self.begun.borrow();
            // An attempt whose time is over would be gone if its timer had its turn.
            // Whoever keeps it from that has its own time in full, unless it is
            // none of them: what was given up, and computes.
            let at_work = begun.get(&current.get());
            if begun.values().any(late) && at_work.is_none_or(late) {
                return Stop::Timeout(limit, "--timeout");
            }
        }
    }
}
