//! The same work in each language: as a task, and as a native program in that language.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    Bench,
    chart::{Bar, Chart, Scale},
    measure,
    report::Report,
    stats::Sample,
    throughput::row,
    workload::Workload,
};
use crate::{
    process,
    projects::{self, Language, Missing},
    repo, setup,
    toolchain::Toolchain,
};

const SOURCES: &str = "xtask/bench/words";
const FILES: usize = 40;
const SIZE: usize = 1 << 20;
/// Instances at work, to see what each takes.
const INSTANCES: usize = 17;
/// Of each language's run: the slowest takes 20 s.
const REPETITIONS: usize = 3;

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let toolchain = setup::rust()?;
    let texts = Workload::texts(bench, "words", FILES, SIZE)?;
    let mut rows = vec![row([
        "Language",
        "Task",
        "Native program",
        "Of native",
        "Component",
        "Memory of an instance at work",
    ])];
    let mut bars = vec![];
    for language in Language::ALL {
        let subject = Subject::build(&toolchain, language)?;
        process::note(language.name());
        let (row, pair) = subject.measure(bench, &texts)?;
        rows.push(row);
        bars.extend(pair);
    }
    texts.remove()?;
    report.section(
        "The same work in each language",
        &format!(
            "Counting the words of {FILES} texts of 1 MiB on a tmpfs ({SOURCES}), one after another, whole processes from \
             start to end with a filled cache: as a task in the host, and as a native program of the same source. \
             Memory: the peak of the host with {INSTANCES} instances at work, less that with one, for each further one; \
             the text that it works on is part of it. {REPETITIONS} repetitions, in turn."
        ),
    );
    report.table(&rows);
    report.chart(&Chart {
        name: "languages",
        title: "Words of texts of 1 MiB counted, one after another",
        unit: "files/s",
        scale: Scale::Log,
        bars,
    });
    Ok(())
}

struct Subject {
    language: Language,
    component: PathBuf,
    native: Vec<PathBuf>,
}

impl Subject {
    fn build(toolchain: &Toolchain, language: Language) -> Result<Self> {
        language.set_up()?;
        let source = repo::path(SOURCES).join(language.name());
        let made = repo::target().join("bench/words");
        fs::create_dir_all(&made)
            .with_context(|| format!("could not create {}", made.display()))?;
        let component = made.join(format!("{}.wasm", language.name()));
        projects::project(toolchain, &source, &component, Missing::Install)?;
        let program = made.join(language.name());
        let native = match language {
            Language::Rust => vec![super::native::program()],
            Language::Python => vec!["python3".into(), source.join("native/main.py")],
            Language::Js => vec!["node".into(), source.join("native.mjs")],
            Language::Go => {
                let mut go = toolchain.command("go");
                go.current_dir(&source).args(["build", "-o"]).arg(&program).arg("./native");
                process::quietly(&mut go)?;
                vec![program]
            }
            Language::C => {
                let mut cc = process::command("cc");
                cc.args(["-O2", "-o"]).arg(&program);
                cc.arg(source.join("words.c")).arg(source.join("native/main.c"));
                process::quietly(&mut cc)?;
                vec![program]
            }
        };
        Ok(Self { language, component, native })
    }

    fn native(&self, texts: &Workload) -> Command {
        let mut command = measure::program(&self.native[0]);
        command.args(&self.native[1..]);
        if self.language == Language::Rust {
            command.arg("__native-words");
        }
        command.arg(&texts.input).arg(&texts.output);
        command
    }

    /// A row of the table, and the task's bar and the native program's.
    fn measure(&self, bench: &Bench, texts: &Workload) -> Result<(Vec<String>, [Bar; 2])> {
        let rate = |seconds: f64| FILES as f64 / seconds;
        let (mut task, mut native, mut ratio) = (vec![], vec![], vec![]);
        // The first fills the cache.
        texts.reset()?;
        measure::run(&mut texts.host(bench, &self.component, 1))?;
        for _ in 0..REPETITIONS {
            texts.reset()?;
            native.push(rate(measure::run(&mut self.native(texts))?.seconds()));
            let expected = self.outputs(texts)?;
            texts.reset()?;
            task.push(rate(measure::run(&mut texts.host(bench, &self.component, 1))?.seconds()));
            anyhow::ensure!(
                self.outputs(texts)? == expected,
                "the task and the native program differ"
            );
            ratio.push(100.0 * task[task.len() - 1] / native[native.len() - 1]);
        }
        let peak = |instances: usize| -> Result<f64> {
            texts.reset()?;
            Ok(measure::run(&mut texts.host(bench, &self.component, instances))?.peak_mib())
        };
        let (mut each, one) = (vec![], peak(1)?);
        for _ in 0..REPETITIONS {
            each.push((peak(INSTANCES)? - one) / (INSTANCES - 1) as f64);
        }
        let size = fs::metadata(&self.component)?.len() as f64 / 1e6;
        let name = self.language.name();
        let (task, native) = (Sample::new(task), Sample::new(native));
        let row = vec![
            name.to_owned(),
            format!("{} files/s", task.shown(1)),
            format!("{} files/s", native.shown(1)),
            format!("**{} %**", Sample::new(ratio).shown(0)),
            format!("{size:.1} MB"),
            format!("{} MiB", Sample::new(each).shown(1)),
        ];
        let bars = [
            Bar::host(format!("{name}, task"), &task),
            Bar::native(format!("{name}, native"), &native),
        ];
        Ok((row, bars))
    }

    /// The results, to see that both do the same.
    fn outputs(&self, texts: &Workload) -> Result<Vec<String>> {
        let file = |number: usize| texts.output.join(format!("{number:07}.txt"));
        let read = |path: PathBuf| {
            fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))
        };
        (0..FILES).map(|number| read(file(number))).collect()
    }
}

#[path = "../../bench/words/rust/src/words.rs"]
mod words;

/// `xtask __native-words INPUT-DIR OUTPUT-DIR`
pub fn child(arguments: &[String]) -> Result<()> {
    let [input, output] = arguments else {
        anyhow::bail!("`__native-words` needs an input directory and an output directory");
    };
    for entry in fs::read_dir(input)? {
        let entry = entry?;
        let text = fs::read_to_string(entry.path())?;
        fs::write(Path::new(output).join(entry.file_name()), words::count(&text))?;
    }
    Ok(())
}
