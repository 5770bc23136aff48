//! A step of a pipeline's staging: which of the waiting input files are taken next,
//! and in which order.
//!
//! ```
//! use std::cmp::Reverse;
//!
//! use tigerflow_task::stage::prelude::*;
//!
//! struct LargestFirst {
//!     most: usize,
//! }
//!
//! #[derive(Params)]
//! struct Options {
//!     /// How many files to take at a time
//!     #[param(default = 2)]
//!     most: u32,
//! }
//!
//! impl Stage for LargestFirst {
//!     type Params = Options;
//!
//!     fn setup(options: Options) -> Result<Self> {
//!         Ok(LargestFirst { most: options.most as usize })
//!     }
//!
//!     fn choose(&mut self, mut files: Vec<Candidate>, _: &Counts) -> Result<Vec<Candidate>> {
//!         files.sort_by_key(|file| Reverse(file.size));
//!         files.truncate(self.most);
//!         Ok(files)
//!     }
//! }
//!
//! export_stage!(LargestFirst);
//! ```
//!
//! It is built as a task is, and named in a pipeline's configuration:
//!
//! ```yaml
//! staging:
//!   steps:
//!     - kind: component
//!       module: largest_first.wasm
//!       params: {most: 5}
//! ```

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

pub use crate::bindings_stage::exports::tigerflow::task::stage::Counts;
use crate::{About, Params, Result};

/// All that a staging step usually needs: `use tigerflow_task::stage::prelude::*;`.
pub mod prelude {
    pub use super::{Candidate, Counts, Stage};
    pub use crate::{About, Choice, Context, Error, Params, Result, bail, export_stage};
}

/// A staging step: a type whose value lives in one instance, from call to call.
///
/// It sees the input directory, read-only, as `/input`, and nothing else. A panic, an
/// error or 30 seconds in one call cost it its value: no file is taken this time, and
/// the next time [`setup`](Stage::setup) makes another one.
pub trait Stage: Sized + 'static {
    /// The step's parameters: a type with `#[derive(Params)]`, or `()`.
    type Params: Params;

    /// What the step is. By default the name, the version and the description of its
    /// Cargo package; what else [`About`] tells is for tasks.
    ///
    /// It is asked before anything is granted, so it must not read files.
    #[must_use]
    fn about() -> About {
        About::new()
    }

    /// Makes the value.
    ///
    /// # Errors
    /// An error here means that the step cannot work with these parameters.
    fn setup(params: Self::Params) -> Result<Self>;

    /// Chooses from the files that the steps before this one have left. What it
    /// returns is taken, in this order.
    ///
    /// # Errors
    /// An error goes to the host's log, and no file is taken this time.
    fn choose(&mut self, files: Vec<Candidate>, counts: &Counts) -> Result<Vec<Candidate>>;
}

/// An input file that waits to be taken. There is one value of it, so that none is
/// taken twice.
#[derive(Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name. What of it is not Unicode is replaced by U+FFFD.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written to. Before 1970 is 1970.
    pub modified: SystemTime,
    pub(crate) place: u32,
}

impl Candidate {
    /// A file for a native test of [`Stage::choose`].
    #[must_use]
    pub fn new(name: impl Into<String>, size: u64, modified: SystemTime) -> Self {
        Self { name: name.into(), size, modified, place: 0 }
    }

    /// Where the step sees it: `/input/NAME`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/input").join(&self.name)
    }

    /// How long ago it was last written to; no time at all where that is in the
    /// future.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.modified.elapsed().unwrap_or_default()
    }
}
