//! `cargo xtask test`: set-up, builds, and every test there is, with one sum at the end.

use std::{
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    build::{self, GUEST_TARGET},
    process::{self, heading, note, step},
    projects::{self, Language, Missing},
    repo, setup,
    toolchain::Toolchain,
};

/// The task that the SDK promises to build in both ways.
const SMALLEST_TASK: &str = "guest-sdk/rust/examples/upper";

/// Makes it an error where Slurm is missing; tests know it, too.
const REQUIRE_SLURM: &str = "TIGERFLOW_REQUIRE_SLURM";

/// Tests counted over all suites.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Suites with a failure, for the summary.
    failures: Vec<String>,
    /// What was left out, and why.
    left_out: Vec<String>,
}

/// `cargo xtask test [FILTER]…`
pub fn command(filters: &[String]) -> Result<ExitCode> {
    let mut tally = Tally::default();
    if let Err(error) = everything(filters, &mut tally) {
        // Without what it builds on, no later test says anything: that is one failure, and the sum tells it.
        tally.failed += 1;
        tally.failures.push(format!("{error:#}"));
    }
    Ok(tally.summary(filters))
}

fn everything(filters: &[String], tally: &mut Tally) -> Result<()> {
    heading("Set up");
    let toolchain = setup::rust()?;
    setup::cargo_component()?;
    if let Err(error) = setup::slurm() {
        // Not every machine can have it. Where it must be there, as in CI, the variable says so.
        if std::env::var_os(REQUIRE_SLURM).is_some_and(|value| value == "1") {
            return Err(error);
        }
        let text = format!("the tests on real Slurm clusters: {error:#}");
        note(&format!("SKIPPED {text}"));
        tally.left_out.push(text);
    }

    for language in Language::ALL {
        language.set_up()?;
    }

    heading("Build");
    build::host()?;
    build::plugins(&toolchain, Missing::Install)?;
    build::test_guests(&toolchain)?;
    projects::conformance(&toolchain)?;

    heading("The SDK's smallest task, built both ways");
    tally.smallest_task(&toolchain, filters);
    for folder in ["guest-sdk/rust", "plugins", "plugins/ingest"] {
        heading(&format!("Native tests of {folder}"));
        tally.suite(folder, native_tests(&toolchain, folder), filters)?;
    }
    heading("Tests of the other SDKs and their plugins, by their own tools");
    tally.foreign(&toolchain, filters)?;
    // One package at a time: what Cargo builds for a whole workspace has the features that any member wants, and
    // wasmtime would be compiled again for those.
    for package in packages()? {
        heading(&format!("Tests of {package}"));
        let mut cargo = process::cargo();
        cargo.args(["test", "--release", "--no-fail-fast", "--package", &package]);
        if package == "tigerflow-tests" && std::env::var_os("RUST_TEST_THREADS").is_none() {
            // Most of them wait most of the time: for timers, for Slurm, for files.
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            cargo.env("RUST_TEST_THREADS", (2 * cores + 1).to_string());
        }
        tally.suite(&package, cargo, filters)?;
    }
    Ok(())
}

/// The SDKs and plugins in other languages than Rust that have tests.
fn foreign_suites() -> Result<Vec<(PathBuf, Language)>> {
    let sdk = |language: Language| repo::path("guest-sdk").join(language.name());
    let mut suites: Vec<(PathBuf, Language)> =
        Language::ALL.into_iter().map(|language| (sdk(language), language)).collect();
    for folder in projects::foreign_plugins()? {
        let language = Language::of(&folder)?;
        suites.push((folder, language));
    }
    suites.retain(|(folder, language)| match language {
        Language::Rust => false,
        Language::Python => folder.join("tests").exists(),
        Language::Go => folder.join("go.mod").exists(),
        Language::Js => folder.join("package.json").exists(),
        Language::C => folder.join("Makefile").exists(),
    });
    Ok(suites)
}

/// The members of the host's workspace.
fn packages() -> Result<Vec<String>> {
    let mut cargo = process::cargo();
    let printed = process::output(cargo.args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value =
        serde_json::from_str(&printed).context("`cargo metadata` did not print JSON")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    Ok(packages.filter_map(|package| Some(package["name"].as_str()?.to_owned())).collect())
}

/// Native tests of a workspace of guests, with the toolchain and target directory that it is built with.
fn native_tests(toolchain: &Toolchain, folder: &str) -> Command {
    let mut cargo = toolchain.command("cargo");
    cargo.current_dir(repo::path(folder)).args(["test", "--workspace", "--no-fail-fast"]);
    cargo
}

impl Tally {
    /// Runs a `cargo test`, shows its output as it comes, and adds up its result lines.
    fn suite(&mut self, name: &str, mut cargo: Command, filters: &[String]) -> Result<()> {
        process::end_line();
        cargo.arg("--").args(filters);
        if process::on_terminal() {
            cargo.args(["--color", "always"]);
        }
        let failed_before = self.failed;
        let mut child = process::spawn(cargo.stdout(Stdio::piped()))?;
        process::tee(&mut child, |line| {
            if let Some((passed, failed, ignored)) = result_line(line) {
                self.passed += passed;
                self.failed += failed;
                self.ignored += ignored;
            } else if let Some(test) = failed_test(line) {
                self.failures.push(format!("{name}: {test}"));
            }
        })?;
        let status = child.wait()?;
        if !status.success() && self.failed == failed_before {
            // It did not compile, or a test ended its process: no result line counts that.
            self.failed += 1;
            self.failures.push(format!("{name}: `{}` failed", process::shown(&cargo)));
        }
        Ok(())
    }

    /// What the other languages' own test runners run; each is one test.
    fn foreign(&mut self, toolchain: &Toolchain, filters: &[String]) -> Result<()> {
        for (folder, language) in foreign_suites()? {
            let name = format!("tests of {}", repo::shown(&folder));
            if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
                continue;
            }
            let words: &[&str] = match language {
                Language::Python => &["python3", "-m", "unittest", "discover", "-s", "tests", "-q"],
                Language::Go => &["go", "test", "./..."],
                Language::Js => &["npm", "test", "--silent"],
                Language::C => &["make", "--silent", "test"],
                Language::Rust => continue,
            };
            let mut command = toolchain.command(words[0]);
            command.current_dir(&folder).args(&words[1..]);
            command.env("PYTHONDONTWRITEBYTECODE", "1");
            command.env("PYTHONPATH", repo::path("guest-sdk/python"));
            self.one(&name, &mut command);
        }
        Ok(())
    }

    /// A command whose success is one test.
    fn one(&mut self, name: &str, command: &mut Command) {
        let result = step(name, || {
            process::quietly(command)?;
            Ok(((), "ok".to_owned()))
        });
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => {
                process::end_line();
                self.failed += 1;
                self.failures.push(format!("{name}: {error:#}"));
            }
        }
    }

    /// Builds the smallest task as a component in both documented ways; each is one test.
    fn smallest_task(&mut self, toolchain: &Toolchain, filters: &[String]) {
        let folder = repo::path(SMALLEST_TASK);
        let ways: [(&str, &[&str]); 2] = [
            ("smallest_task_builds_with_cargo_component", &["component", "build", "--release"]),
            (
                "smallest_task_builds_with_cargo_build",
                &["build", "--release", "--target", GUEST_TARGET],
            ),
        ];
        for (name, arguments) in ways {
            if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
                continue;
            }
            let mut cargo = toolchain.command("cargo");
            // A directory of their own: both ways leave a file of the same name.
            cargo.current_dir(&folder).args(arguments).env("CARGO_TARGET_DIR", both_ways_target());
            self.one(name, &mut cargo);
        }
    }

    /// Prints the sum, as the last lines.
    fn summary(&self, filters: &[String]) -> ExitCode {
        process::end_line();
        println!();
        for text in &self.left_out {
            println!("SKIPPED {text}");
        }
        for failure in &self.failures {
            println!("FAILED {failure}");
        }
        let nothing = self.passed + self.failed == 0;
        if nothing {
            println!("no test's name contains {}", filters.join(" or "));
        }
        let ignored =
            if self.ignored > 0 { format!(", {} skipped", self.ignored) } else { String::new() };
        println!("{} passed, {} failed{ignored}", self.passed, self.failed);
        if self.failed > 0 || nothing { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

fn both_ways_target() -> PathBuf {
    repo::target().join("both-ways")
}

/// The counts in `test result: ok. 12 passed; 0 failed; 1 ignored; …`
fn result_line(line: &str) -> Option<(u64, u64, u64)> {
    let counts = line.trim_start().strip_prefix("test result: ")?.split_once(". ")?.1;
    let count = |word: &str| {
        counts.split(';').find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
    };
    Some((count("passed")?, count("failed")?, count("ignored").unwrap_or(0)))
}

/// The name in `test NAME ... FAILED`
fn failed_test(line: &str) -> Option<&str> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    outcome.contains("FAILED").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{failed_test, result_line};

    #[test]
    fn failed_tests_are_named() {
        assert_eq!(failed_test("test a::b ... FAILED"), Some("a::b"));
        assert_eq!(failed_test("test a::b ... ok"), None);
    }

    #[test]
    fn result_lines_are_counted() {
        let line = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(result_line(line), Some((12, 0, 1)));
        let coloured = "test result: \u{1b}[31mFAILED\u{1b}(B\u{1b}[m. 3 passed; 2 failed; 0 ignored; 0 measured";
        assert_eq!(result_line(coloured), Some((3, 2, 0)));
        assert_eq!(result_line("test result"), None);
        assert_eq!(result_line("running 3 tests"), None);
    }
}
