//! What the host keeps for each instance: its sandbox, its limits and what the
//! current attempt has done so far.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::bindings::tigerflow::task::{report, types};
use super::network::Http;
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

/// Most elements of a guest's tables together. A Python component has 10,000.
const TABLE_ELEMENTS: usize = 1_000_000;

/// Most handles (files, streams, …) that a guest may hold at once.
pub(super) const HANDLES: usize = 8_192;

/// The store's data.
pub(super) struct Guest {
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) stdio: Stdio,
    /// For requests over the network.
    pub(super) http: Http,
    pub(super) memory: MemoryLimit,
    pub(super) meter: Arc<Meter>,
    /// The preopened handles of input and output, by which they are told from
    /// others.
    pub(super) input_dir: Option<Arc<File>>,
    pub(super) output_dir: Option<Arc<File>>,
    /// Where the staging place really is, if the guest might reach the host's
    /// workspace around it.
    pub(super) own_staging: Option<PathBuf>,
    /// Whether the guest writes elsewhere than in its staging place.
    pub(super) granted_writing: bool,
    /// The name of the attempt's input within `/input`.
    pub(super) input_name: String,
    /// The files and directories that it opened, and may hold still.
    pub(super) opened: Opened,
    /// For its log lines.
    pub(super) task_name: String,
    /// The input that WASI cannot open by itself.
    pub(super) alias: Option<Alias>,
    /// Tells how far the attempt is.
    pub(super) gauge: Gauge,
    pub(super) log_lines: u32,
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
    pub(super) limit: usize,
}

impl Opened {
    pub(super) fn new(limit: usize) -> Self {
        Opened { files: Vec::new(), limit }
    }

    /// Takes note of a file that was opened.
    pub(super) fn add(&mut self, file: &Arc<File>) -> Result<(), TooManyOpen> {
        if self.files.len() >= self.limit && self.held() >= self.limit {
            return Err(TooManyOpen);
        }
        self.files.push(Arc::downgrade(file));
        Ok(())
    }

    /// How many are open still.
    pub(super) fn held(&mut self) -> usize {
        self.files.retain(|file| file.strong_count() > 0);
        self.files.len()
    }

    /// Those that are open still.
    pub(super) fn iter(&self) -> impl Iterator<Item = Arc<File>> {
        self.files.iter().filter_map(Weak::upgrade)
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
    /// Whether the limit refused something since the attempt began.
    pub(super) refused: bool,
}

impl MemoryLimit {
    pub(super) fn new(limit: usize) -> Self {
        MemoryLimit { limit, used: 0, table_elements: 0, refused: false }
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
            self.refused = true;
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
    /// A call begins: what the last one did counts no more.
    pub(super) fn begin(&mut self) {
        self.stdio.begin();
        self.meter.begin();
        self.gauge.reset();
        self.memory.refused = false;
        self.log_lines = 0;
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for Guest {}

impl report::Host for Guest {
    fn log(&mut self, level: report::Level, message: String) {
        self.log_lines += 1;
        match self.log_lines {
            ..=LOG_LINES => {}
            n if n == LOG_LINES + 1 => {
                tracing::warn!("the task writes too many log lines: the rest is dropped");
                return;
            }
            _ => return,
        }
        let (task, message) = (&self.task_name, clip(message, LOG_LINE));
        match level {
            report::Level::Trace => tracing::trace!("{task}: {message}"),
            report::Level::Debug => tracing::debug!("{task}: {message}"),
            report::Level::Info => tracing::info!("{task}: {message}"),
            report::Level::Warn => tracing::warn!("{task}: {message}"),
            report::Level::Error => tracing::error!("{task}: {message}"),
        }
    }

    fn progress(&mut self, input: String, fraction: f64) {
        let name = input.strip_prefix(GUEST_INPUT).and_then(|rest| rest.strip_prefix('/'));
        if name == Some(&self.input_name) {
            self.gauge.set(fraction);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_summed_over_memories() {
        let mut limit = MemoryLimit::new(100);
        assert!(limit.memory_growing(0, 60, None).unwrap());
        assert!(limit.memory_growing(0, 30, None).unwrap());
        assert!(!limit.memory_growing(30, 50, None).unwrap());
        assert!(limit.refused);
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
