//! Small files in each language, and with an instance of its own for each file.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use super::{
    Bench,
    chart::{Bar, Chart, Scale},
    native,
    net::{self, Start, percent},
    report::{Goal, Report, Target},
    stats::Grouped,
    throughput::row,
    workload::Workload,
};
use crate::{
    process::note,
    projects::{self, Language, Missing},
    repo, setup,
};

const SIZE: usize = 1024;
const THREADS: usize = 2;
const SOURCES: &str = "xtask/bench/upper";
/// An instance of its own for each file.
const FRESH: [&str; 2] = ["--isolate", "file"];

/// A component, and how it is run.
struct Subject {
    name: &'static str,
    component: PathBuf,
    options: &'static [&'static str],
    /// What is wanted, in per cent of native, and what stands in the way.
    goal: Option<(f64, &'static str)>,
}

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let subjects = subjects(bench)?;
    let number = if bench.quick { 2_500 } else { 10_000 };
    let one = Workload::new(bench, "small-one", 1, SIZE)?;
    let many = Workload::new(bench, "small", number, SIZE)?;
    let mut programs: Vec<Start> = vec![Box::new(|files| native::command(files, THREADS))];
    for subject in &subjects {
        programs.push(Box::new(|files| {
            let mut command = files.host(bench, &subject.component, THREADS);
            command.args(subject.options);
            command
        }));
    }
    note(&format!("{} programs, {} repetitions", programs.len(), bench.repetitions()));
    let rates = net::rates(&programs, &one, &many, bench.repetitions(), || many.check())?;
    drop(programs);

    let (native, files) = (&rates[0], Grouped(number as f64, 0));
    report.section(
        "Small files in each language",
        &format!(
            "{files} files of 1 KB upper-cased on a tmpfs, {THREADS} threads: by the smallest task in each language, \
             with what its SDK and its library have for it ({SOURCES}, tests/guests/src/upper.rs, xtask/bench/python). \
             Fresh: `--isolate file`, which gives each file an instance of its own. Native is the program in Rust from \
             above. Whole processes less the median time of the same command over one file; {} repetitions, in turn.",
            bench.repetitions()
        ),
    );
    let mut rows = vec![row(["What", "Files/s", "Of native"])];
    rows.push(vec!["native".into(), native.shown(0), String::new()]);
    let mut bars = vec![Bar::native("native", native)];
    for (subject, rate) in subjects.iter().zip(&rates[1..]) {
        let share = percent(rate, native);
        rows.push(vec![subject.name.into(), rate.shown(0), format!("**{share:.0} %**")]);
        bars.push(Bar::host(subject.name, rate));
        if let Some((wanted, why)) = subject.goal {
            report.goal(Goal {
                what: format!("Small files, {}, threads: {THREADS}", subject.name),
                target: Target::AtLeast(wanted),
                value: share,
                unit: "% of native",
                why: why.to_owned(),
            });
        }
    }
    report.table(&rows);
    report.chart(&Chart {
        name: "small",
        title: &format!("{files} files of 1 KB upper-cased, {THREADS} threads"),
        unit: "files/s",
        scale: Scale::Linear,
        bars,
    });
    one.remove()?;
    many.remove()
}

/// All of them, built.
fn subjects(bench: &Bench) -> Result<Vec<Subject>> {
    let toolchain = setup::rust()?;
    let folder = repo::target().join("bench");
    fs::create_dir_all(&folder)
        .with_context(|| format!("could not create {}", folder.display()))?;
    let built = |language: Language| -> Result<PathBuf> {
        language.set_up()?;
        let source = match language {
            Language::Python => repo::path("xtask/bench/python"),
            other => repo::path(SOURCES).join(other.name()),
        };
        let component = folder.join(format!("upper-{}.wasm", language.name()));
        projects::project(&toolchain, &source, &component, Missing::Install)?;
        Ok(component)
    };
    let rust = bench.upper.clone();
    let c = built(Language::C)?;
    let subject = |name, component, options, goal| Subject { name, component, options, goal };
    let fresh_rust = "an instance is made and its memory wiped for each file";
    let fresh_c = "C's library is of WASI's preview 1: the adapter to preview 2 makes two more modules an instance and \
                   lists the directories, memory grows five times (`mprotect`, on which threads wait for each other)";
    Ok(vec![
        subject("Rust", rust.clone(), &[], None),
        subject("C", c.clone(), &[], None),
        subject(
            "Go",
            built(Language::Go)?,
            &[],
            Some((35.0, "Go's own runtime and its two system calls more for each file")),
        ),
        subject(
            "Python",
            built(Language::Python)?,
            &[],
            Some((40.0, "what CPython does for a call, for a path and for each of its objects")),
        ),
        subject("JavaScript", built(Language::Js)?, &[], None),
        subject("Rust, fresh", rust, &FRESH, Some((25.0, fresh_rust))),
        subject("C, fresh", c, &FRESH, Some((45.0, fresh_c))),
    ])
}
