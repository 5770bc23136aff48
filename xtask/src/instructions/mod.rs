//! `cargo xtask instructions`: what the hot path costs, counted under valgrind and compared with what is checked in.
//!
//! However busy the machine is, a program executes nearly the same instructions each time: counts tell a loss of a few
//! percent, which no clock would. What the kernel does is not among them, so system calls are counted beside.

mod baseline;
mod counter;

use std::process::ExitCode;

use anyhow::{Result, bail};

use self::{
    baseline::{Baseline, Counts},
    counter::Counter,
};
use crate::{
    build,
    process::{self, heading, note, step},
    repo, setup,
};

/// A run of the host over small files, one thread and at most one event loop at work.
struct Scenario {
    name: &'static str,
    /// The component, in tests/guests.
    guest: &'static str,
    options: &'static [&'static str],
    /// What is counted is a run over so many files…
    files: usize,
    /// … less a run over so many, by which start-up and end drop out; with 0, they are what is counted.
    without: usize,
    /// The files have outputs already: all there is to do is to find that out.
    done: bool,
}

impl Scenario {
    /// Files of a kilobyte that are all to do.
    const fn to_do(
        name: &'static str,
        guest: &'static str,
        options: &'static [&'static str],
    ) -> Self {
        Self { name, guest, options, files: 2_500, without: 500, done: false }
    }
}

const ONE_AT_A_TIME: &str = "--concurrency-limit=1";

/// What is counted. A new line needs a new baseline.
const SCENARIOS: [Scenario; 6] = [
    Scenario { files: 1, without: 0, ..Scenario::to_do("start", "upper", &[ONE_AT_A_TIME]) },
    Scenario::to_do("upper", "upper", &[ONE_AT_A_TIME]),
    Scenario::to_do("upper, fresh instance", "upper", &[ONE_AT_A_TIME, "--isolate=file"]),
    Scenario::to_do("stream", "stream", &[ONE_AT_A_TIME]),
    Scenario::to_do("async-upper", "async-upper", &[]),
    Scenario {
        files: 5_000,
        without: 1_000,
        done: true,
        ..Scenario::to_do("done before", "upper", &[ONE_AT_A_TIME])
    },
];

/// `cargo xtask instructions [--update]`
pub fn command(arguments: &[String]) -> Result<ExitCode> {
    let update = match arguments {
        [] => false,
        [word] if word == "--update" => true,
        _ => bail!(
            "`cargo xtask instructions` takes `--update` or nothing; it was given `{}`",
            arguments.join(" ")
        ),
    };
    heading("Instructions and system calls");
    let now = measure()?;
    if update {
        now.write()?;
        note(&format!("written to {}: commit it", baseline::FILE));
        return Ok(ExitCode::SUCCESS);
    }
    Ok(if compare(&now)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The same as a part of CI, where a machine without valgrind is no failure. Returns whether all is well; what is not
/// has been told.
pub fn in_ci() -> bool {
    heading("Instructions and system calls");
    if let Err(error) = setup::valgrind() {
        note(&format!("SKIPPED the counts of instructions: {error:#}"));
        return true;
    }
    let well = measure().and_then(|now| compare(&now));
    well.unwrap_or_else(|error| {
        note(&format!("FAILED the counts of instructions: {error:#}"));
        false
    })
}

/// Builds all that is needed, and counts.
fn measure() -> Result<Baseline> {
    let valgrind = setup::valgrind()?;
    let toolchain = setup::rust()?;
    build::host()?;
    build::test_guests(&toolchain)?;

    let counter = Counter::new(valgrind)?;
    let mut counts = Counts::new();
    for scenario in &SCENARIOS {
        step(scenario.name, || {
            let (instructions, calls) = counter.count(scenario)?;
            let each = if scenario.without > 0 { " a file" } else { "" };
            counts.insert(format!("{}: instructions{each}", scenario.name), instructions);
            counts.insert(format!("{}: system calls{each}", scenario.name), calls);
            Ok(((), format!("{instructions} instructions, {calls} system calls{each}")))
        })?;
    }
    Ok(Baseline { made_with: counter.made_with(&toolchain)?, counts })
}

/// Prints how the counts stand to the baseline. Returns whether that is well.
fn compare(now: &Baseline) -> Result<bool> {
    let then = Baseline::read()?;
    let changes = baseline::changes(&then.counts, &now.counts);
    process::end_line();
    eprint!("\n{}", baseline::table(&changes));
    let elsewhere = baseline::differences(&then.made_with, &now.made_with);
    let update = "`cargo xtask instructions --update` takes the new counts; commit them";
    if !elsewhere.is_empty() {
        note("NOT CHECKED: the baseline was made with something else, which changes counts:");
        elsewhere.iter().for_each(|difference| note(&format!("  {difference}")));
        note(&format!("What stands above is only told. {update}"));
        return Ok(true);
    }
    if changes.iter().any(baseline::Change::is_fault) {
        note(&format!(
            "error: a count grew, or has nothing to compare with. If that is meant: {update}"
        ));
        return Ok(false);
    }
    if changes.iter().any(baseline::Change::is_news) {
        note(&format!("A count is smaller than it was, or gone. To hold that: {update}"));
    }
    Ok(true)
}

/// The baseline in this checkout.
fn file() -> std::path::PathBuf {
    repo::path(baseline::FILE)
}
