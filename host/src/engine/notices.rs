//! What the log says of a task once in a run, however often it happens.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use super::Environment;

/// Most things that are kept in mind; a hostile task may come up with more.
const LIMIT: usize = 1_000;

/// What was told already.
#[derive(Debug, Default)]
pub struct Notices {
    told: Mutex<HashSet<String>>,
    /// What no line may show: a task may put a key where a host's name belongs.
    environment: Environment,
}

impl Notices {
    /// Nothing was told yet of a task with these variables.
    pub fn new(environment: Environment) -> Self {
        Notices { told: Mutex::default(), environment }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.told.lock().unwrap().len()
    }

    /// Warns of something, unless that was done. `about`: what it is about,
    /// where the text itself varies.
    pub fn tell(&self, about: &str, text: &str) {
        let text = self.environment.mask(text.into());
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let first = told.len() < LIMIT && told.insert(about.into());
        drop(told);
        if first {
            tracing::warn!("{text}");
        } else {
            tracing::debug!("{text}");
        }
    }
}
