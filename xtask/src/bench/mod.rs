//! `cargo xtask bench`: the host beside native code and TigerFlow, in one run on one machine.
//!
//! Every section is a module with one function that measures and writes its part of the report. Things compared with
//! each other are measured in turn, repetition by repetition, so that a machine that slows down slows down both.

mod chart;
mod compute;
mod cpu;
mod disk;
mod embed;
mod in_flight;
pub mod languages;
mod machine;
mod measure;
mod memory;
pub mod native;
mod net;
mod pipeline;
mod python;
mod report;
mod resident;
mod scan;
mod shell;
mod simulate;
mod slurm;
mod small;
mod start;
mod stats;
mod stream;
mod throughput;
mod tigerflow;
mod waiting;
mod way;
mod workload;

use std::{fs, path::PathBuf, time::Instant};

use anyhow::{Context, Result, bail};

use crate::{build, process, repo, setup};
use report::Report;

/// What every section is given.
pub struct Bench {
    /// Fewer repetitions, and nothing that takes minutes.
    pub quick: bool,
    /// A folder on a tmpfs, removed at the end.
    pub scratch: PathBuf,
    /// Where the host keeps compiled components: not the user's cache, and on disk as that is.
    pub cache: PathBuf,
    /// The host.
    pub host: PathBuf,
    /// The component that upper-cases, about 100 KB.
    pub upper: PathBuf,
}

impl Bench {
    /// The component of a guest in tests/guests.
    pub fn guest(&self, name: &str) -> Result<PathBuf> {
        let component = repo::test_components().join(format!("{name}.wasm"));
        if !component.exists() {
            bail!("{} is missing: tests/guests has no example `{name}`", repo::shown(&component));
        }
        Ok(component)
    }

    /// Repetitions of something that takes seconds.
    pub fn repetitions(&self) -> usize {
        if self.quick { 3 } else { 7 }
    }

    /// Repetitions of something that takes milliseconds.
    pub fn short_repetitions(&self) -> usize {
        if self.quick { 20 } else { 40 }
    }
}

type Section = fn(&Bench, &mut Report) -> Result<()>;

/// In the order in which they run and are reported.
const SECTIONS: [(&str, Section); 18] = [
    ("native", throughput::section),
    ("small", small::section),
    ("stream", stream::section),
    ("cpu", cpu::section),
    ("disk", disk::section),
    ("tigerflow", tigerflow::section),
    ("pipeline", pipeline::section),
    ("shell", shell::section),
    ("start", start::section),
    ("memory", memory::section),
    ("scan", scan::section),
    ("python", python::section),
    ("languages", languages::section),
    ("waiting", waiting::section),
    ("in-flight", in_flight::section),
    ("embed", embed::section),
    ("slurm", slurm::section),
    ("simulate", simulate::section),
];

/// What takes minutes: a quick run leaves it out, unless it is asked for.
const LONG: [&str; 7] =
    ["pipeline", "python", "languages", "in-flight", "embed", "slurm", "simulate"];

/// `cargo xtask bench [--quick] [--only SECTION]…`
pub fn command(arguments: &[String]) -> Result<()> {
    let names = SECTIONS.map(|(name, _)| name);
    let mut quick = false;
    let mut chosen: Vec<&str> = vec![];
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--quick" => quick = true,
            "--only" => match words.next() {
                Some(name) if names.contains(&name) => chosen.push(name),
                Some(other) => bail!(
                    "the benchmark has no section `{other}`; choose from {}",
                    names.join(", ")
                ),
                None => bail!("`--only` needs a section: {}", names.join(", ")),
            },
            other => bail!(
                "`{other}` is not an option of `cargo xtask bench`; it has --quick and --only SECTION"
            ),
        }
    }

    process::heading("Build");
    let toolchain = setup::rust()?;
    build::host()?;
    build::test_guests(&toolchain)?;
    native::build()?;

    let scratch = Scratch::new()?;
    let bench = Bench {
        quick,
        scratch: scratch.0.clone(),
        cache: repo::target().join("bench/cache"),
        host: repo::host_binary(),
        upper: repo::test_components().join("upper.wasm"),
    };
    if !bench.upper.exists() {
        bail!("{} is missing: tests/guests has no example `upper`", repo::shown(&bench.upper));
    }
    let limits = limits(quick, &chosen);
    let mut report = Report::new(&machine::describe()?, limits.as_deref());
    let mut failed = vec![];
    for (name, section) in SECTIONS {
        if is_run(name, quick, &chosen) {
            process::heading(&format!("Section {name}"));
            let begun = Instant::now();
            // What the other sections have measured is not lost with it.
            if let Err(error) = section(&bench, &mut report) {
                report.paragraph(&format!("**This section failed:** {error:#}"));
                failed.push(name);
            }
            process::note(&format!("{name} took {:.0} s", begun.elapsed().as_secs_f64()));
        }
    }
    report.finish()?;
    if !failed.is_empty() {
        bail!("these sections failed: {}; the report says why", failed.join(", "));
    }
    Ok(())
}

/// Whether a section is part of this run.
fn is_run(section: &str, quick: bool, chosen: &[&str]) -> bool {
    match chosen {
        [] => !(quick && LONG.contains(&section)),
        chosen => chosen.contains(&section),
    }
}

/// What this run leaves out of the whole benchmark, if anything, for its report.
fn limits(quick: bool, chosen: &[&str]) -> Option<String> {
    let sections = match chosen {
        [] => format!("the sections {} are left out", LONG.join(", ")),
        chosen => format!("only {} was asked for", chosen.join(", ")),
    };
    match quick {
        true => Some(format!("`--quick` repeats less, and {sections}")),
        false => (!chosen.is_empty()).then_some(sections),
    }
}

/// A folder in memory, removed when the benchmark ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let folder = PathBuf::from(format!("/dev/shm/tigerflow-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| {
            format!(
                "the benchmark needs a tmpfs at /dev/shm; could not create {}",
                folder.display()
            )
        })?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
