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
//! `trace!` with `-vv`, with the name of the file that is being worked on.
//!
//! The crate `log` reaches the host's log, too, and with the feature `tracing`
//! the crate `tracing`: the task's own lines all, those of libraries from
//! `info` on, or as [`show_others_from`] says, with the library's name in front.
//!
//! A task's `println!` goes to the host's stdout, and its
//! `eprintln!` to the `.err` file of an attempt that fails. Outside of a
//! component the lines go to stderr.

#[cfg(feature = "tracing")]
mod events;
mod facade;

use std::fmt::Arguments;
use std::sync::atomic::{AtomicU8, Ordering};

pub(crate) use facade::install;

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

/// From which level on a library's line is shown.
static OTHERS: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Shows the lines of libraries from this level on, where they use the crates
/// `log` or `tracing`; from [`Level::Info`] on by default. Some say a lot, and
/// each line is a call to the host.
pub fn show_others_from(level: Level) {
    OTHERS.store(level as u8, Ordering::Relaxed);
    #[cfg(feature = "tracing")]
    events::refresh();
}

fn min_level() -> Level {
    match OTHERS.load(Ordering::Relaxed) {
        0 => Level::Trace,
        1 => Level::Debug,
        2 => Level::Info,
        3 => Level::Warn,
        _ => Level::Error,
    }
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
