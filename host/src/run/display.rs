//! What a person sees of a run, beside the log: the bar and the summary.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::log;
use crate::text::count;
use crate::workspace::intake::Before;
use crate::workspace::progress_file::{Counts, InFlight};

/// How often the bar is drawn at most.
pub const REDRAW: Duration = Duration::from_millis(200);

/// Between two lines that stand for the bar where nothing can be drawn.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// How the run's progress is shown.
pub enum Bar {
    /// By a line for each file.
    None,
    /// By a bar on the terminal.
    Drawn {
        /// The bar itself.
        bar: ProgressBar,
        /// When it is drawn next.
        due: Instant,
    },
    /// By a line now and then: it was asked for, and stderr is no terminal.
    Lines {
        /// When the run began.
        begun: Instant,
        /// When the next line is due.
        next: Instant,
    },
}

impl Bar {
    /// A bar over this many files, if wanted.
    pub fn new(wanted: bool, files: usize) -> Self {
        if !wanted {
            return Bar::None;
        }
        let begun = Instant::now();
        if !std::io::stderr().is_terminal() {
            return Bar::Lines { begun, next: begun + LINE_INTERVAL };
        }
        let bar = {
            let bar = ProgressBar::with_draw_target(
                Some(files as u64),
                ProgressDrawTarget::stderr_with_hz(5),
            );
            let style = "{bar:30} {pos}/{len} {rate}, {eta} left{msg}";
            let style = ProgressStyle::with_template(style)
                .expect("the template is sound")
                .with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                    let _ = write!(out, "{:.1} files/s", state.per_sec());
                });
            bar.set_style(style);
            log::show_above(bar.clone());
            bar
        };
        Bar::Drawn { bar, due: begun }
    }

    /// Whether it should be brought up to date.
    pub fn is_due(&mut self, now: Instant) -> bool {
        match self {
            Bar::None => false,
            Bar::Drawn { due, .. } | Bar::Lines { next: due, .. } if now < *due => false,
            Bar::Drawn { due, .. } => {
                *due = now + REDRAW;
                true
            }
            Bar::Lines { .. } => true,
        }
    }

    /// Whether there is one.
    pub fn is_shown(&self) -> bool {
        !matches!(self, Bar::None)
    }

    /// Shows how far the run is.
    /// `left`: files whose outcome is not settled. `in_flight`: the oldest first.
    pub fn update(&mut self, counts: &Counts, left: usize, in_flight: &[InFlight]) {
        let ended = counts.total();
        let bar = match self {
            Bar::None => return,
            Bar::Drawn { bar, .. } => bar,
            Bar::Lines { begun, next } => {
                let now = Instant::now();
                if now >= *next {
                    *next = now + LINE_INTERVAL;
                    let rate = ended as f64 / (now - *begun).as_secs_f64();
                    let all = ended + left;
                    let failed = counts.not_well();
                    tracing::info!("{ended} of {all} files, {failed} failed, {rate:.1} files/s");
                }
                return;
            }
        };
        bar.set_length((ended + left) as u64);
        bar.set_position(ended as u64);
        let mut message = String::new();
        if counts.not_well() > 0 {
            message = format!(", {} failed", counts.not_well());
        }
        if let Some(oldest) = in_flight.first() {
            let file: String = oldest.file.chars().take(40).collect();
            message.push_str(&match oldest.fraction {
                Some(fraction) => format!(" | {file} {:.0} %", fraction * 100.0),
                None => format!(" | {file}"),
            });
        }
        bar.set_message(message);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Bar::Drawn { bar, .. } = self {
            bar.finish_and_clear();
        }
    }
}

/// What a run finds: `200 files: 120 succeeded before, 3 failed before, 77 to do`.
pub fn found(before: &Before) -> String {
    let total = before.settled() + before.to_do;
    let mut parts = vec![format!("{} succeeded before", before.succeeded)];
    let not_well = before.failed + before.timed_out;
    if not_well > 0 {
        let hint = " (--retry-failed runs them again)";
        parts.push(format!("{not_well} failed before{hint}"));
    } else {
        parts.push("0 failed before".into());
    }
    if before.aborted > 0 {
        let hint = " (--retry-aborted runs them again)";
        parts.push(format!("{} aborted before{hint}", before.aborted));
    }
    let again = match before.retried {
        0 => String::new(),
        n => format!(" ({n} of them again)"),
    };
    let not_taken = match before.not_taken {
        0 => String::new(),
        n => format!(", {n} not taken (see above)"),
    };
    let total = count(total, "file");
    format!("{total}: {}, {} to do{again}{not_taken}", parts.join(", "), before.to_do)
}

/// What a run leaves behind undone.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// Inputs that are still to do.
    pub left: usize,
    /// Inputs that cannot be taken.
    pub not_taken: usize,
}

/// What a run did: `75 succeeded, 2 failed in 1.2s (64.2 files/s)`.
pub fn summary(before: &Before, counts: &Counts, rest: Rest, elapsed: Duration) -> String {
    let mut parts =
        vec![format!("{} succeeded", counts.succeeded), format!("{} failed", counts.failed)];
    let more = [(counts.timed_out, "timed out"), (counts.aborted, "aborted")];
    parts.extend(more.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
    parts.push(format!("{} skipped", before.settled()));
    let attempts = [(counts.retries, "retries"), (counts.interrupted, "interrupted")];
    parts.extend(attempts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
    if rest.left > 0 {
        parts.push(format!("{} still to do", rest.left));
    }
    if rest.not_taken > 0 {
        parts.push(format!("{} not taken (see above)", rest.not_taken));
    }
    let seconds = elapsed.as_secs_f64();
    let rate = counts.total() as f64 / seconds.max(1e-9);
    format!("{} in {seconds:.2} s ({rate:.1} files/s)", parts.join(", "))
}
