//! What the host keeps for each instance: its sandbox, its limits, and what each
//! attempt in it has done so far.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use tokio_util::sync::CancellationToken;
use wasmtime::component::{GuestTaskId, ResourceTable};
use wasmtime::{ResourceLimiter, StoreContextMut};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::bindings::tigerflow::task::{report, types};
use super::network::{Http, Network};
use super::notices::Notices;
use super::secrets::Environment;
use super::stdio::Stdio;
use crate::text::clip;

/// Where the guest sees the input directory.
pub const GUEST_INPUT: &str = "/input";
/// Where the guest sees its staging place.
pub const GUEST_OUTPUT: &str = "/output";

/// Longest log line that a guest may write, in bytes.
const LOG_LINE: usize = 8 << 10;

/// Most log lines of one attempt; a hostile guest must not fill the log.
const LOG_LINES: u32 = 1_000;

/// Files that a guest may have forgotten to close before it is replaced: half of
/// what C's library for WASI can hold. Or two for each call in flight, which may
/// have them open by right.
const FORGOTTEN: usize = 64;

/// Most elements of a guest's tables together. A Python component has 10,000.
const TABLE_ELEMENTS: usize = 1_000_000;

/// Most handles (files, streams, …) that a guest may hold at once.
pub(super) const HANDLES: usize = 8_192;

/// Handles that a call may hold on average, where many are in flight in an
/// instance. A request over the network takes about ten.
pub(super) const HANDLES_OF_A_CALL: usize = 64;

/// The store's data.
pub(super) struct Guest {
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) stdio: Stdio,
    /// For requests over the network.
    pub(super) http: Http,
    pub(super) memory: MemoryLimit,
    /// The preopened handles of input and output, by which they are told from
    /// others.
    pub(super) input_dir: Option<Arc<File>>,
    pub(super) output_dir: Option<Arc<File>>,
    /// The granted directories that it may read only, by their guest paths.
    pub(super) read_only: Vec<(String, Arc<File>)>,
    pub(super) notices: Arc<Notices>,
    /// Where the staging place really is, if the guest might reach the host's
    /// workspace around it.
    pub(super) own_staging: Option<PathBuf>,
    /// Where its inputs really are, if that is in a workspace: what another task of a
    /// pipeline has made for it.
    pub(super) own_input: Option<PathBuf>,
    /// Whether the guest writes elsewhere than in its staging place.
    pub(super) granted_writing: bool,
    /// Whether it may have made something else than the outputs that it was asked
    /// for.
    pub(super) made_more: bool,
    /// The files and directories that it opened, and may hold still.
    pub(super) opened: Opened,
    /// For its log lines.
    pub(super) task_name: String,
    /// What it was granted, and no log may show.
    pub(super) environment: Environment,
    /// By lane. The first is that of an instance that makes one attempt at a
    /// time, and of what belongs to no attempt: `setup`, `teardown`.
    attempts: Vec<Option<Box<Attempt>>>,
    /// The lane at work.
    pub(super) current: Current,
    /// Which lane a call is in, where several are in flight.
    lanes: HashMap<GuestTaskId, u32>,
}

/// The lane of what belongs to no attempt, and of the only attempt in an
/// instance that makes one at a time.
pub(super) const OWN_LANE: u32 = 0;

/// Which lane the guest's code works for just now; shared with what has no
/// access to the store.
#[derive(Clone, Debug, Default)]
pub(super) struct Current(Arc<AtomicU32>);

impl Current {
    pub(super) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, lane: u32) {
        self.0.store(lane, Ordering::Relaxed);
    }
}

/// One call into the guest: what it works on, and what it has done so far.
pub(super) struct Attempt {
    /// The names of its files within `/input` and `/output`; empty for `setup` and
    /// the like.
    pub(super) input_name: String,
    pub(super) output_name: String,
    /// The input that WASI cannot open by itself.
    pub(super) alias: Option<Alias>,
    pub(super) meter: Arc<Meter>,
    /// Ends what it waits for outside, when it is given up.
    given_up: Option<CancellationToken>,
    /// Tells how far it is.
    gauge: Gauge,
    log_lines: u32,
}

impl Attempt {
    pub(super) fn new(output_limit: u64, gauge: Gauge) -> Self {
        let meter = Arc::new(Meter::new(output_limit));
        Attempt {
            input_name: String::new(),
            output_name: String::new(),
            alias: None,
            meter,
            given_up: None,
            gauge,
            log_lines: 0,
        }
    }
}

/// An input that the host opens for the guest: its name is not Unicode, or it
/// is a symbolic link.
#[derive(Clone, Debug)]
pub struct Alias {
    /// The name under which the guest asks for it, within `/input`.
    pub guest_name: String,
    /// Where it is.
    pub path: PathBuf,
    /// The input directory, resolved.
    pub within: PathBuf,
    /// Whether it may lie outside of that.
    pub follow_links: bool,
}

/// How far an attempt is, from 0 to 1, readable by other threads.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<AtomicU64>);

impl Default for Gauge {
    fn default() -> Self {
        let gauge = Gauge(Arc::default());
        gauge.reset();
        gauge
    }
}

impl Gauge {
    /// The task has not said.
    pub fn reset(&self) {
        self.0.store(f64::NAN.to_bits(), Ordering::Relaxed);
    }

    /// What the task said last.
    pub fn fraction(&self) -> Option<f64> {
        let fraction = f64::from_bits(self.0.load(Ordering::Relaxed));
        (!fraction.is_nan()).then_some(fraction)
    }

    fn set(&self, fraction: f64) {
        if fraction.is_finite() {
            self.0.store(fraction.clamp(0.0, 1.0).to_bits(), Ordering::Relaxed);
        }
    }
}

/// The guest holds more files open than it may: it is stopped.
#[derive(Debug, thiserror::Error)]
#[error("the limit on open files is reached")]
pub(super) struct TooManyOpen;

/// The files that an instance opened. Each takes one of the process's own.
#[derive(Debug)]
pub(super) struct Opened {
    files: Vec<Weak<File>>,
    /// How many of them the context holds.
    context: usize,
    pub(super) limit: usize,
}

impl Opened {
    pub(super) fn new(limit: usize) -> Self {
        Opened { files: Vec::new(), context: 0, limit }
    }

    /// Takes note of a file that was opened.
    pub(super) fn add(&mut self, file: &Arc<File>) -> Result<(), TooManyOpen> {
        if self.files.len() >= self.limit && self.held() >= self.limit {
            return Err(TooManyOpen);
        }
        self.files.push(Arc::downgrade(file));
        Ok(())
    }

    /// Whether so many are open that a later attempt might suffer, with so many
    /// calls in flight.
    pub(super) fn is_leaking(&mut self, calls: usize) -> bool {
        self.held().saturating_sub(self.context) > (self.limit / 2).min(FORGOTTEN.max(2 * calls))
    }

    /// What is open now belongs to the context that `setup` made.
    pub(super) fn belong_to_context(&mut self) {
        self.context = self.held();
    }

    /// How many are open still.
    fn held(&mut self) -> usize {
        self.files.retain(|file| file.strong_count() > 0);
        self.files.len()
    }

    /// Whether this file is among them, by device and inode.
    pub(super) fn hold(&self, file: impl FnOnce() -> Option<(u64, u64)>) -> bool {
        use std::os::unix::fs::MetadataExt;
        let mut open = self.files.iter().filter_map(Weak::upgrade).peekable();
        // Hardly ever is one open, so the file is seldom looked at.
        if open.peek().is_none() {
            return false;
        }
        let Some(file) = file() else { return false };
        open.any(|held| held.metadata().is_ok_and(|meta| (meta.dev(), meta.ino()) == file))
    }
}

/// What an attempt wrote, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Meter {
    written: AtomicU64,
    limit: u64,
    over: AtomicBool,
    disk_full: AtomicBool,
}

/// The guest wrote more than it may: it is stopped.
#[derive(Debug, thiserror::Error)]
#[error("the limit on written bytes is reached")]
pub(super) struct OverLimit;

impl Meter {
    pub(super) fn new(limit: u64) -> Self {
        Meter { limit, ..Meter::default() }
    }

    /// Counts bytes that are about to be written.
    pub(super) fn add(&self, bytes: u64) -> Result<(), OverLimit> {
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        self.check(before.saturating_add(bytes))
    }

    /// Checks a size that is about to be set.
    pub(super) fn check(&self, size: u64) -> Result<(), OverLimit> {
        if size > self.limit {
            self.over.store(true, Ordering::Relaxed);
            return Err(OverLimit);
        }
        Ok(())
    }

    /// Remembers that the disk is full, if that is what happened.
    pub(super) fn note(&self, error: &std::io::Error) {
        if crate::workspace::is_full(error) {
            self.disk_full.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn begin(&self) {
        self.written.store(0, Ordering::Relaxed);
        self.over.store(false, Ordering::Relaxed);
        self.disk_full.store(false, Ordering::Relaxed);
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Relaxed)
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }
}

/// The memory of an instance: the sum over its linear memories.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    pub(super) limit: usize,
    used: usize,
    table_elements: usize,
    /// The lane that was refused memory last, since an attempt began in it.
    refused: Option<u32>,
    current: Current,
}

impl MemoryLimit {
    pub(super) fn new(limit: usize, current: Current) -> Self {
        MemoryLimit { limit, used: 0, table_elements: 0, refused: None, current }
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self.used - current.min(self.used) + desired;
        if used > self.limit {
            self.refused = Some(self.current.get());
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = self.table_elements - current.min(self.table_elements) + desired;
        if elements > TABLE_ELEMENTS {
            return Ok(false);
        }
        self.table_elements = elements;
        Ok(true)
    }
}

impl Guest {
    pub(super) fn new(
        wasi: WasiCtx,
        stdio: Stdio,
        current: Current,
        task_name: String,
        environment: Environment,
        memory_limit: usize,
        own: Attempt,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        Guest {
            http: Http::new(Arc::new(Network::none())),
            wasi,
            table,
            stdio,
            memory: MemoryLimit::new(memory_limit, current.clone()),
            input_dir: None,
            output_dir: None,
            read_only: Vec::new(),
            notices: Arc::default(),
            own_staging: None,
            own_input: None,
            granted_writing: false,
            made_more: false,
            opened: Opened::new(0),
            task_name,
            environment,
            attempts: vec![Some(Box::new(own))],
            current,
            lanes: HashMap::new(),
        }
    }

    /// The attempt at work.
    pub(super) fn attempt(&mut self) -> &mut Attempt {
        self.attempt_in(self.current.get())
    }

    /// The attempt in a lane; where that is over, the instance's own.
    pub(super) fn attempt_in(&mut self, lane: u32) -> &mut Attempt {
        let taken = |a: &Option<_>| a.is_some();
        let lane =
            if self.attempts.get(lane as usize).is_some_and(taken) { lane } else { OWN_LANE };
        self.attempts[lane as usize].as_mut().expect("the instance's own lane is never empty")
    }

    /// A call begins in the instance's own lane: what the last one did counts
    /// no more.
    pub(super) fn begin(&mut self) -> &mut Attempt {
        self.forget(OWN_LANE);
        let attempt = self.attempt_in(OWN_LANE);
        attempt.meter.begin();
        attempt.gauge.reset();
        attempt.alias = None;
        attempt.input_name.clear();
        attempt.output_name.clear();
        attempt.log_lines = 0;
        attempt
    }

    /// A call begins in a lane of its own.
    pub(super) fn begin_in(&mut self, lane: u32, task: GuestTaskId, mut attempt: Attempt) {
        self.forget(lane);
        attempt.given_up = Some(CancellationToken::new());
        let lane = lane as usize;
        if self.attempts.len() <= lane {
            self.attempts.resize_with(lane + 1, || None);
        }
        self.attempts[lane] = Some(Box::new(attempt));
        self.lanes.insert(task, lane as u32);
    }

    /// A call in a lane of its own is over. What it may go on to do belongs to
    /// the instance.
    pub(super) fn end_in(&mut self, lane: u32, task: Option<GuestTaskId>) {
        if let Some(task) = task {
            self.lanes.remove(&task);
        }
        if let Some(attempt) = self.attempts.get_mut(lane as usize) {
            *attempt = None;
        }
        if self.current.get() == lane {
            self.work_in(OWN_LANE);
        }
        self.forget(lane);
    }

    /// An attempt is given up: its requests end.
    pub(super) fn give_up(&mut self, lane: u32) {
        if let Some(token) = &self.attempt_in(lane).given_up {
            token.cancel();
        }
    }

    /// The guest is at work in this lane from now on.
    fn work_in(&mut self, lane: u32) {
        if self.current.get() != lane {
            self.current.set(lane);
            let given_up = self.attempt_in(lane).given_up.clone();
            self.http.send_for(given_up);
        }
    }

    /// Forgets what was said and refused in a lane.
    fn forget(&mut self, lane: u32) {
        self.stdio.begin(lane);
        if self.memory.refused == Some(lane) {
            self.memory.refused = None;
        }
    }

    /// Whose line it is that the guest writes: the file's, or the task's own.
    fn said_by(&mut self) -> String {
        match &self.attempt().input_name {
            name if name.is_empty() => self.task_name.clone(),
            name => name.clone(),
        }
    }

    /// Whether the attempt in this lane was refused memory.
    pub(super) fn was_refused_memory(&self, lane: u32) -> bool {
        self.memory.refused == Some(lane)
    }
}

/// Finds out for which attempt the guest's code is about to work, or has called
/// the host.
pub(super) fn note_current(mut store: StoreContextMut<'_, Guest>) -> wasmtime::Result<()> {
    let root = store.async_call_stack()?.last();
    let guest = store.data_mut();
    let lane = root.and_then(|task| guest.lanes.get(&task)).copied();
    guest.work_in(lane.unwrap_or(OWN_LANE));
    Ok(())
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for Guest {}

impl report::Host for Guest {
    fn log(&mut self, level: report::Level, message: String) {
        let name = self.said_by();
        let attempt = self.attempt();
        attempt.log_lines += 1;
        match attempt.log_lines {
            ..=LOG_LINES => {}
            n if n == LOG_LINES + 1 => {
                tracing::warn!("{name}: the task writes too many log lines: the rest is dropped");
                return;
            }
            _ => return,
        }
        let message = clip(self.environment.mask(message), LOG_LINE);
        match level {
            report::Level::Trace => tracing::trace!("{name}: {message}"),
            report::Level::Debug => tracing::debug!("{name}: {message}"),
            report::Level::Info => tracing::info!("{name}: {message}"),
            report::Level::Warn => tracing::warn!("{name}: {message}"),
            report::Level::Error => tracing::error!("{name}: {message}"),
        }
    }

    fn progress(&mut self, input: String, fraction: f64) {
        let name = input.strip_prefix(GUEST_INPUT).and_then(|rest| rest.strip_prefix('/'));
        let attempt = self.attempt();
        if name == Some(&attempt.input_name) {
            attempt.gauge.set(fraction);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_summed_over_memories() {
        let mut limit = MemoryLimit::new(100, Current::default());
        assert!(limit.memory_growing(0, 60, None).unwrap());
        assert!(limit.memory_growing(0, 30, None).unwrap());
        assert!(!limit.memory_growing(30, 50, None).unwrap());
        assert_eq!(limit.refused, Some(OWN_LANE));
        assert!(limit.memory_growing(30, 40, None).unwrap());
    }

    #[test]
    fn files_that_were_closed_do_not_count() {
        let file = || Arc::new(File::open("/dev/null").unwrap());
        let mut opened = Opened::new(2);
        let held = file();
        opened.add(&held).unwrap();
        for _ in 0..10 {
            opened.add(&file()).unwrap();
        }
        assert_eq!(opened.held(), 1);
        let more = file();
        opened.add(&more).unwrap();
        assert!(opened.add(&file()).is_err());
    }

    #[test]
    fn a_meter_counts_to_its_limit() {
        let meter = Meter::new(10);
        assert!(meter.add(10).is_ok());
        assert!(meter.add(1).is_err());
        assert!(meter.is_over());
        meter.begin();
        assert!(meter.add(1).is_ok() && !meter.is_over());
        assert!(meter.add(u64::MAX).is_err());
    }
}
