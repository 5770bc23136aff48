//! The host's log: TigerFlow's lines, or JSON, on stderr.
//!
//! ```text
//! 2026-01-31 10:54:23 | INFO     | Starting processing: 5.txt
//! ```

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use indicatif::ProgressBar;
use jiff::{Timestamp, tz::TimeZone};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::text::one_line;

/// Marks all lines that are written within it as those of a task.
pub fn task_span(name: &str) -> tracing::Span {
    // An error, so that it is there whatever is told.
    tracing::error_span!("task", task = name)
}

/// The target of the lines that each file causes when all is well. Where a
/// progress bar tells the same, they are left out.
pub const FILE: &str = "tigerflow_host::file";

/// The bar that log lines must not run into.
static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// Lines that were written, while they are kept.
static KEPT: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: `TIME | LEVEL | message`.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// Starts logging. Later calls change nothing.
pub fn init(format: Format, level: LevelFilter, file_lines: bool) {
    let subscriber = tracing_subscriber::registry().with(Lines { format, level, file_lines });
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Makes room for log lines above this bar from now on.
pub fn show_above(bar: ProgressBar) {
    let _ = BAR.set(bar);
}

/// Keeps all lines that are written from now on, for a log that is yet to be
/// opened.
pub fn keep() {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
}

/// The lines that were kept. No more are.
pub fn take_kept() -> Vec<u8> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
}

/// A moment in the user's own time zone: `2026-01-31 10:54:23`.
pub fn local_time(time: Timestamp) -> String {
    thread_local! {
        // Lines of the same second share their text: conversion to the local
        // zone costs more than all the rest of a line.
        static LAST: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    LAST.with_borrow_mut(|(second, text)| {
        if *second != time.as_second() {
            *second = time.as_second();
            *text = time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string();
        }
        text.clone()
    })
}

struct Lines {
    format: Format,
    level: LevelFilter,
    file_lines: bool,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // Libraries talk to their own developers: their debug lines stay out.
        let ours = metadata.target().starts_with(env!("CARGO_CRATE_NAME"));
        let level = if ours { self.level } else { self.level.min(LevelFilter::ERROR) };
        *metadata.level() <= level && (self.file_lines || metadata.target() != FILE)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut name = TaskName(String::new());
        attributes.record(&mut name);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(name);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let span = context.event_span(event);
        let extensions = span.as_ref().map(|span| span.extensions());
        let task = extensions.as_ref().and_then(|e| e.get::<TaskName>()).map(|task| &*task.0);
        let line = match self.format {
            Format::Text => {
                let time = local_time(Timestamp::now());
                // On one line, so that nobody forges lines of the host.
                let message = one_line(&message.0);
                let level = name(*event.metadata().level());
                match task {
                    Some(task) => format!("{time} | {level:<8} | [{task}] {message}\n"),
                    None => format!("{time} | {level:<8} | {message}\n"),
                }
            }
            Format::Json => {
                let mut line = serde_json::json!({
                    "time": Timestamp::now(),
                    "level": name(*event.metadata().level()),
                    "message": message.0,
                });
                if let Some(task) = task {
                    line["task"] = task.into();
                }
                format!("{line}\n")
            }
        };
        if let Some(kept) = &mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner) {
            kept.extend_from_slice(line.as_bytes());
        }
        // One call a line, so that lines of threads do not mix. A log that
        // nobody reads any more is no reason to stop.
        let write = || drop(io::stderr().write_all(line.as_bytes()));
        match BAR.get() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

/// The task that a line is of.
struct TaskName(String);

impl Visit for TaskName {
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}

    fn record_str(&mut self, _: &Field, value: &str) {
        self.0.push_str(value);
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0.push_str(value);
        }
    }
}
