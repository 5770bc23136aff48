//! What the log says of a task once in a run, however often it happens.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Most things that are kept in mind; a hostile task may come up with more.
const LIMIT: usize = 1_000;

/// What was told already.
#[derive(Debug, Default)]
pub struct Notices(Mutex<HashSet<String>>);

impl Notices {
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Warns of something, unless that was done. `about`: what it is about,
    /// where the text itself varies.
    pub(super) fn tell(&self, about: &str, text: &str) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = told.len() < LIMIT && told.insert(about.into());
        drop(told);
        if first {
            tracing::warn!("{text}");
        } else {
            tracing::debug!("{text}");
        }
    }
}
