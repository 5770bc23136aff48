//! What the crate `log` is told, on its way to the host's log.

use std::fmt::Arguments;

use log::{LevelFilter, Log, Metadata, Record};

use super::{Level, line, min_level};

/// Sends what the crates `log` and `tracing` are told to the host. `module` is
/// one of the task's own crate.
pub fn install(module: &'static str) {
    let lines = Lines { own: name_of(module) };
    // That there is a logger already would be no reason to fail.
    let _ = log::set_boxed_logger(Box::new(lines));
    // Each line is looked at by `is_shown`.
    log::set_max_level(LevelFilter::Trace);
    #[cfg(feature = "tracing")]
    super::events::install(lines);
}

/// What becomes a line of the host's log.
#[derive(Debug, Clone, Copy)]
pub struct Lines {
    /// The task's own crate, whose lines need no name in front.
    own: &'static str,
}

impl Lines {
    /// Whether a line is worth a call to the host. The task's own lines are,
    /// since the host knows what its user wants to see. Those of libraries are
    /// many, so they have to matter.
    pub fn is_shown(self, level: Level, target: &str) -> bool {
        level >= min_level() || name_of(target) == self.own
    }

    /// Says a line, with the library's name in front where it is one's.
    pub fn say(self, level: Level, target: &str, message: Arguments<'_>) {
        if name_of(target) == self.own {
            line(level, message);
        } else {
            line(level, format_args!("{target}: {message}"));
        }
    }
}

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.is_shown(level_of(metadata.level()), metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.say(level_of(record.level()), record.target(), *record.args());
        }
    }

    fn flush(&self) {}
}

/// The crate of a module's path: `a` of `a::b`.
fn name_of(module: &str) -> &str {
    // A search for `::` would put 3 KB of code into every component.
    module.split(':').next().unwrap_or(module)
}

fn level_of(level: log::Level) -> Level {
    match level {
        log::Level::Error => Level::Error,
        log::Level::Warn => Level::Warn,
        log::Level::Info => Level::Info,
        log::Level::Debug => Level::Debug,
        log::Level::Trace => Level::Trace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_lines_are_all_shown_and_others_have_to_matter() {
        let lines = Lines { own: name_of("task::inner") };
        for target in ["task", "task::other"] {
            assert!(lines.is_shown(Level::Trace, target), "{target}");
        }
        for target in ["tasks", "library::task", ""] {
            assert!(!lines.is_shown(Level::Debug, target), "{target}");
            assert!(lines.is_shown(Level::Info, target), "{target}");
        }
        super::super::show_others_from(Level::Debug);
        assert!(lines.is_shown(Level::Debug, "library"));
        assert!(!lines.is_shown(Level::Trace, "library"));
    }
}
