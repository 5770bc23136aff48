//! One connection for many requests: where a host speaks HTTP/2, the first
//! request connects, and those that come meanwhile wait for its connection
//! instead of opening one each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Most hosts that are remembered without being in use.
const REMEMBERED: usize = 256;

/// The hosts that were asked over TLS, by `https://HOST:PORT`.
#[derive(Debug, Default)]
pub(super) struct Origins(Mutex<HashMap<String, Arc<Origin>>>);

impl Origins {
    pub(super) fn get(&self, name: &str) -> Arc<Origin> {
        let mut origins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(origin) = origins.get(name) {
            return Arc::clone(origin);
        }
        if origins.len() >= REMEMBERED {
            origins.retain(|_, origin| Arc::strong_count(origin) > 1);
        }
        Arc::clone(origins.entry(name.into()).or_default())
    }
}

/// A host, as far as its connections go.
#[derive(Debug, Default)]
pub(super) struct Origin {
    /// Who holds it connects.
    gate: Arc<AsyncMutex<()>>,
    /// Whether each request may open a connection: the host speaks HTTP/1, or
    /// does not answer.
    open: AtomicBool,
    /// HTTP/2 connections that live.
    shared: AtomicUsize,
}

impl Origin {
    /// Waits until a request may go: at once, where it needs a connection of its
    /// own or finds one. Otherwise it is the first; the others wait until what
    /// is returned is dropped.
    pub(super) async fn enter(self: &Arc<Self>) -> Option<First> {
        if self.is_open() {
            return None;
        }
        let guard = Arc::clone(&self.gate).lock_owned().await;
        (!self.is_open()).then(|| First { origin: Arc::clone(self), _guard: guard })
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) || self.shared.load(Ordering::Relaxed) > 0
    }

    /// Notes a connection.
    pub(super) fn connected(self: &Arc<Self>, http2: bool) -> Option<Shared> {
        self.open.store(!http2, Ordering::Relaxed);
        http2.then(|| {
            self.shared.fetch_add(1, Ordering::Relaxed);
            Shared(Arc::clone(self))
        })
    }
}

/// The request that connects first.
#[derive(Debug)]
pub(super) struct First {
    origin: Arc<Origin>,
    _guard: OwnedMutexGuard<()>,
}

impl Drop for First {
    fn drop(&mut self) {
        // It failed: the others find out for themselves, all at once.
        if !self.origin.is_open() {
            self.origin.open.store(true, Ordering::Relaxed);
        }
    }
}

/// An HTTP/2 connection that lives.
#[derive(Debug)]
pub(super) struct Shared(Arc<Origin>);

impl Drop for Shared {
    fn drop(&mut self) {
        self.0.shared.fetch_sub(1, Ordering::Relaxed);
    }
}
