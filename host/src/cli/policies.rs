//! What to do about failures and load: retries, rate, labels, an early end.

use std::time::Duration;

use clap::{ArgMatches, Args, ValueEnum};

use super::{Usage, values};
use crate::executor::gate::{Label, Rate};
use crate::schedule::{MaxFailures, RetryOn, RetryPolicy};

/// The options that say so. A task may have its own defaults for them, and the
/// journal keeps what was in force.
pub const POLICIES: [&str; 12] = [
    "timeout",
    "retries",
    "retry-delay",
    "retry-backoff",
    "retry-max-delay",
    "retry-on",
    "rate-limit",
    "label",
    "max-failures",
    "concurrency-limit",
    "instances",
    "isolate",
];

/// Those of them that are not among the limits of a task.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// How many times more a file is tried whose attempt fails in one of the
    /// ways of --retry-on. Until then it takes no place
    #[arg(long, value_name = "N", default_value = "3", help_heading = "Retries")]
    pub retries: u32,
    /// What is worth another try: `transient` errors, which the task calls so,
    /// a `timeout`, a `crash`; or `none`. What the task calls failed is final
    #[arg(
        long,
        value_name = "CAUSE",
        value_enum,
        value_delimiter = ',',
        default_value = "transient",
        help_heading = "Retries"
    )]
    pub retry_on: Vec<Retried>,
    /// How long to wait before the first retry, unless the task knows better (a
    /// server's `Retry-After`); up to a quarter more, at random
    #[arg(long, value_name = "DURATION", value_parser = values::duration, allow_hyphen_values = true, default_value = "1s", help_heading = "Retries")]
    pub retry_delay: Duration,
    /// By how much each further wait is longer
    #[arg(long, value_name = "FACTOR", value_parser = values::backoff, default_value = "2", help_heading = "Retries")]
    pub retry_backoff: f64,
    /// The longest wait, unless the task asks for more
    #[arg(long, value_name = "DURATION", value_parser = values::duration, allow_hyphen_values = true, default_value = "1m", help_heading = "Retries")]
    pub retry_max_delay: Duration,
    /// Stop early when so many files have failed in this run, or so many of a
    /// hundred that ended, once 20 have: `100`, `5%` [default: never]
    #[arg(long, value_name = "N|P%", value_parser = values::max_failures, help_heading = "Retries")]
    pub max_failures: Option<MaxFailures>,

    /// Begin no more attempts than these in any second, minute or hour, over all
    /// instances: `30/s`, `2000/min`, `10000/h` [default: no limit]
    #[arg(long, value_name = "N/UNIT", value_parser = values::rate, help_heading = "Limits")]
    pub rate_limit: Option<Rate>,
    /// Share a limit with all your runs on this machine that give the same label:
    /// `gpu=2` for two attempts at once over all of them
    #[arg(long = "label", value_name = "NAME[=N]", value_parser = values::label, help_heading = "Limits")]
    pub label: Vec<Label>,
}

/// What may be worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Retried {
    Transient,
    Timeout,
    Crash,
    None,
}

impl PolicyArgs {
    /// When an attempt that failed is made again; checks the rest as well.
    pub fn retry(&self) -> Result<RetryPolicy, Usage> {
        for (i, label) in self.label.iter().enumerate() {
            if self.label[..i].iter().any(|earlier| earlier.name == label.name) {
                return Err(Usage(format!("--label `{}` is given twice", label.name)));
            }
        }
        let retried = |cause| self.retry_on.contains(&cause);
        if retried(Retried::None) && self.retry_on.len() > 1 {
            return Err(Usage("--retry-on `none` goes with no other cause".into()));
        }
        Ok(RetryPolicy {
            retries: self.retries,
            delay: self.retry_delay,
            backoff: self.retry_backoff,
            max_delay: self.retry_max_delay,
            on: RetryOn {
                transient: retried(Retried::Transient),
                timeout: retried(Retried::Timeout),
                crash: retried(Retried::Crash),
            },
        })
    }
}

/// The policies in force, as options with their values.
pub fn in_force(matches: &ArgMatches) -> Vec<String> {
    POLICIES
        .into_iter()
        .filter_map(|option| {
            let values = matches.get_raw(&option.replace('-', "_"))?;
            let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
            Some(format!("--{option} {}", values.join(",")))
        })
        .collect()
}
