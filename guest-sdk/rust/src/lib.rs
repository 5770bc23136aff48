//! Write a [tigerflow] task in Rust.
//!
//! A task turns one input file into one output file. It is a type: `setup`
//! makes it, `run` uses it for every file, `teardown` takes it apart. Built
//! for WebAssembly it is one component, which `tigerflow-host run` loads into
//! a sandbox.
//!
//! ```
//! use tigerflow_task::prelude::*;
//!
//! struct Hello {
//!     greeting: String,
//! }
//!
//! #[derive(Params)]
//! struct Options {
//!     /// Words to put before the text
//!     #[param(default = "Hello")]
//!     greeting: String,
//! }
//!
//! impl Task for Hello {
//!     type Params = Options;
//!
//!     fn setup(options: Options) -> Result<Self> {
//!         Ok(Hello { greeting: options.greeting })
//!     }
//!
//!     fn run(&self, input: &Input, output: &Output) -> Result<()> {
//!         let text = input.read_to_string()?;
//!         output.write(format!("{}, {}", self.greeting, text.to_uppercase()))
//!     }
//! }
//!
//! export_task!(Hello);
//! ```
//!
//! The crate needs `crate-type = ["cdylib"]`, and is built with
//! `cargo build --release --target wasm32-wasip2` or with
//! `cargo component build --release`. Add `"rlib"` to `crate-type` to test it
//! natively with `cargo test`: everything in this crate works there too.
//!
//! # Where things are
//!
//! - [`Task`], [`export_task!`], [`About`], [`Grant`]: what a task is and needs.
//! - [`AsyncTask`], [`export_async_task!`], [`time`]: a task that mostly waits.
//!   It needs the feature `async`.
//! - [`Params`], [`Choice`]: its parameters, which become options of the
//!   command line.
//! - [`Input`], [`Output`]: its files. Both are also a [`Path`](std::path::Path).
//! - [`Error`], [`Result`], [`Context`], [`bail!`]: how it fails.
//! - [`http`]: asking servers.
//! - [`log`]: what it says while it works.
//! - [`fs`]: whole files by path, faster than `std::fs` in a component.
//! - [`stage`]: a step of a pipeline's staging, which is a component of its own.
//! - [`testing`]: what native tests need.
//!
//! [tigerflow]: https://github.com/tigerflow-host/tigerflow-host

#![deny(missing_docs)]

// Lets the code that the macros write name this crate from inside it, too.
extern crate self as tigerflow_task;

#[doc(hidden)]
#[allow(missing_docs, clippy::all)]
pub mod bindings;
#[doc(hidden)]
#[allow(missing_docs, clippy::all)]
#[cfg(feature = "async")]
pub mod bindings_async;
#[doc(hidden)]
#[allow(missing_docs, clippy::all)]
pub mod bindings_stage;
mod error;
#[doc(hidden)]
pub mod export;
#[doc(hidden)]
#[cfg(feature = "async")]
pub mod export_async;
#[doc(hidden)]
pub mod export_stage;
mod file;
pub mod fs;
pub mod http;
pub mod log;
pub mod params;
pub mod stage;
mod task;
pub mod testing;
#[cfg(feature = "async")]
pub mod time;

pub use error::{Context, Error, Result};
pub use file::{Input, Output, Reader, Writer};
pub use params::{Choice, Params};
#[cfg(feature = "async")]
pub use task::AsyncTask;
pub use task::{About, Grant, Task};
pub use tigerflow_task_derive::{Choice, Params};

/// Exports an asynchronous task: a feature of this crate that is off.
#[cfg(not(feature = "async"))]
#[macro_export]
macro_rules! export_async_task {
    ($task:ty) => {
        ::core::compile_error!(
            "asynchronous tasks are a feature: tigerflow-task = { …, features = [\"async\"] }"
        );
    };
}

/// All that a task usually needs: `use tigerflow_task::prelude::*;`.
pub mod prelude {
    #[cfg(feature = "async")]
    pub use crate::AsyncTask;
    pub use crate::{
        About, Choice, Context, Error, Grant, Input, Output, Params, Result, Task, bail,
        export_async_task, export_task,
    };
}
