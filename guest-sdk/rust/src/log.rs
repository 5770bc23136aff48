//! What a task says while it works: lines in the host's log, with a level.
//!
//! ```
//! use tigerflow_task::log;
//!
//! let files = 3;
//! log::info!("read {files} files");
//! log::warn!("one of them is empty");
//! ```
//!
//! The host shows `info!` and above by default, `debug!` with `-v` and
//! `trace!` with `-vv`. A task's `println!` goes to the host's stdout, and its
//! `eprintln!` to the `.err` file of an attempt that fails. Outside of a
//! component the lines go to stderr.

use std::fmt::Arguments;

pub use crate::bindings::tigerflow::task::report::Level;
#[doc(inline)]
pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_trace as trace,
    __log_warn as warn,
};

/// Writes one line to the host's log. Lines over 8 KiB are cut.
pub fn line(level: Level, message: Arguments<'_>) {
    #[cfg(target_family = "wasm")]
    match message.as_str() {
        Some(text) => crate::bindings::tigerflow::task::report::log(level, text),
        None => crate::bindings::tigerflow::task::report::log(level, &message.to_string()),
    }
    #[cfg(not(target_family = "wasm"))]
    eprintln!("{level:?}: {message}");
}

/// Tells the host how far the work on one input is, from 0.0 to 1.0.
pub(crate) fn progress(input: &str, fraction: f64) {
    #[cfg(target_family = "wasm")]
    crate::bindings::tigerflow::task::report::progress(input, fraction);
    #[cfg(not(target_family = "wasm"))]
    let _ = (input, fraction);
}

/// Writes a line that `-vv` shows.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_trace {
    ($($message:tt)+) => {
        $crate::log::line($crate::log::Level::Trace, ::core::format_args!($($message)+))
    };
}

/// Writes a line that `-v` shows.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($message:tt)+) => {
        $crate::log::line($crate::log::Level::Debug, ::core::format_args!($($message)+))
    };
}

/// Writes a line that is shown by default.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($message:tt)+) => {
        $crate::log::line($crate::log::Level::Info, ::core::format_args!($($message)+))
    };
}

/// Writes a line that says that something is off, and the task goes on.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($message:tt)+) => {
        $crate::log::line($crate::log::Level::Warn, ::core::format_args!($($message)+))
    };
}

/// Writes a line that says that something failed.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($message:tt)+) => {
        $crate::log::line($crate::log::Level::Error, ::core::format_args!($($message)+))
    };
}
