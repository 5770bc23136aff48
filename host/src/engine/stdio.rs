//! A guest's stdout and stderr.
//!
//! Stdout is the host's stdout, a line at a time, so that lines of neighbours
//! do not mix. Of stderr the end is kept for the `.err` file; with `-v` its
//! lines go to the log as well. Where several attempts share an instance, each
//! has its own lines: the host knows for which one the guest is at work. What
//! the guest's own library holds back in a buffer, it cannot know.

use std::collections::HashMap;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::guest::{Current, OWN_LANE};
use super::secrets::Environment;

/// How much of the end of stderr an `.err` file carries, in bytes.
pub const STDERR_TAIL: usize = 16 << 10;

/// The longest line that is held back until it ends, in bytes.
const LINE_LIMIT: usize = 8 << 10;

/// How much a guest may write before it is asked to write the rest, in bytes.
const CHUNK: usize = 64 << 10;

/// Where a stream's bytes go. In place, on the guest's own thread.
trait Sink: Send + 'static {
    /// `environment`: whose values are not to be shown.
    fn new(environment: Environment) -> Self;
    fn write(&mut self, bytes: &[u8]);
}

/// The host's stdout, a line at a time.
struct Lines {
    partial: Vec<u8>,
    environment: Environment,
}

impl Lines {
    fn emit(&mut self, end: usize) {
        // A reader that went away (`| head`) is no error of the task.
        let mut stdout = io::stdout().lock();
        let bytes = self.environment.mask_bytes(&self.partial[..end]);
        let _ = stdout.write_all(&bytes).and_then(|()| stdout.flush());
        self.partial.drain(..end);
    }
}

impl Sink for Lines {
    fn new(environment: Environment) -> Self {
        Lines { partial: Vec::new(), environment }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let end = match bytes.iter().rposition(|&b| b == b'\n') {
            Some(at) => self.partial.len() - bytes.len() + at + 1,
            None if self.partial.len() > LINE_LIMIT => self.partial.len(),
            None => return,
        };
        self.emit(end);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.partial.is_empty() {
            self.emit(self.partial.len());
        }
    }
}

/// The end of what was written to stderr.
struct Tail {
    bytes: Vec<u8>,
    /// Whether something before `bytes` was dropped.
    cut: bool,
    /// The line being written, for the log.
    line: Vec<u8>,
    environment: Environment,
}

impl Sink for Tail {
    fn new(environment: Environment) -> Self {
        Tail { bytes: Vec::new(), cut: false, line: Vec::new(), environment }
    }

    fn write(&mut self, bytes: &[u8]) {
        if tracing::enabled!(tracing::Level::DEBUG) {
            for &byte in bytes {
                if byte == b'\n' || self.line.len() >= LINE_LIMIT {
                    let line = String::from_utf8_lossy(&self.line).into_owned();
                    tracing::debug!("stderr: {}", self.environment.mask(line));
                    self.line.clear();
                }
                if byte != b'\n' {
                    self.line.push(byte);
                }
            }
        }
        self.bytes.extend_from_slice(&bytes[bytes.len().saturating_sub(STDERR_TAIL)..]);
        // Cut seldom, so that a byte is moved once on average.
        if self.bytes.len() > 2 * STDERR_TAIL {
            self.bytes.drain(..self.bytes.len() - STDERR_TAIL);
            self.cut = true;
        }
    }
}

/// A guest's stdio, as the host sees it.
#[derive(Clone)]
pub(super) struct Stdio {
    stdout: Lanes<Lines>,
    stderr: Lanes<Tail>,
    current: Current,
    environment: Environment,
}

/// A sink for each lane that something was written in.
type Lanes<S> = Arc<Mutex<HashMap<u32, S>>>;

impl Stdio {
    pub(super) fn new(current: Current, environment: Environment) -> Self {
        let (stdout, stderr) = (Lanes::default(), Lanes::default());
        Stdio { stdout, stderr, current, environment }
    }

    pub(super) fn stdout(&self) -> impl StdoutStream + 'static {
        self.stream(&self.stdout)
    }

    pub(super) fn stderr(&self) -> impl StdoutStream + 'static {
        self.stream(&self.stderr)
    }

    fn stream<S>(&self, lanes: &Lanes<S>) -> Stream<S> {
        Stream {
            lanes: Arc::clone(lanes),
            current: self.current.clone(),
            environment: self.environment.clone(),
        }
    }

    /// Forgets what was written to stderr in a lane: an attempt begins.
    pub(super) fn begin(&self, lane: u32) {
        lock(&self.stderr).remove(&lane);
        // An instance's only line is not ended by the next attempt.
        if lane != OWN_LANE {
            lock(&self.stdout).remove(&lane);
        }
    }

    /// The end of what was written to stderr in a lane since.
    pub(super) fn stderr_tail(&self, lane: u32) -> String {
        let lanes = lock(&self.stderr);
        let Some(tail) = lanes.get(&lane) else { return String::new() };
        // Masked as a whole, before it is cut: a value may come in several pieces.
        let text = String::from_utf8_lossy(&tail.bytes).into_owned();
        let text = tail.environment.mask(text);
        let start = text.ceil_char_boundary(text.len().saturating_sub(STDERR_TAIL));
        if tail.cut || start > 0 { format!("…{}", &text[start..]) } else { text }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Stream<S> {
    lanes: Lanes<S>,
    current: Current,
    environment: Environment,
}

impl<S: Sink> Stream<S> {
    fn put(&self, bytes: &[u8]) {
        let new = || S::new(self.environment.clone());
        lock(&self.lanes).entry(self.current.get()).or_insert_with(new).write(bytes);
    }
}

impl<S> Clone for Stream<S> {
    fn clone(&self) -> Self {
        Stream {
            lanes: Arc::clone(&self.lanes),
            current: self.current.clone(),
            environment: self.environment.clone(),
        }
    }
}

impl<S: Sink> IsTerminal for Stream<S> {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl<S: Sink> StdoutStream for Stream<S> {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl<S: Sink> Pollable for Stream<S> {
    async fn ready(&mut self) {}
}

#[async_trait]
impl<S: Sink> OutputStream for Stream<S> {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.put(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

impl<S: Sink> AsyncWrite for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, b: &[u8]) -> Poll<io::Result<usize>> {
        self.put(b);
        Poll::Ready(Ok(b.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_keeps_its_end_only() {
        let stdio = Stdio::new(Current::default(), Environment::default());
        let mut lanes = stdio.stderr.lock().unwrap();
        let sink = lanes.entry(OWN_LANE).or_insert_with(|| Tail::new(Environment::default()));
        for i in 0..100_000 {
            sink.write(format!("line {i}\n").as_bytes());
        }
        assert!(sink.bytes.len() <= 2 * STDERR_TAIL);
        drop(lanes);
        let tail = stdio.stderr_tail(OWN_LANE);
        assert!(tail.starts_with('…') && tail.ends_with("line 99999\n"));
        stdio.begin(OWN_LANE);
        assert_eq!(stdio.stderr_tail(OWN_LANE), "");
    }
}
