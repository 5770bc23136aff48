//! What every SDK must be able to do: one list of behaviours, run on one
//! component a language (tests/conformance), and the README's table of them.

mod asynchronous;
mod behaviours;
mod table;

use std::path::{Path, PathBuf};

use tigerflow_tests::{Bench, Done};

use behaviours::BEHAVIOURS;

/// A language with an SDK.
struct Language {
    /// Its word in `tigerflow-host new --lang`.
    name: &'static str,
    title: &'static str,
    /// Its own type of error for a file that is not there.
    missing_file: &'static str,
    /// What becomes of a mistake in a program.
    mistake: &'static str,
    /// Memory that an instance works in, and a limit that it hits in time.
    memory_limit: &'static str,
    /// Whether it has asynchronous tasks; otherwise why not.
    asynchronous: Result<(), &'static str>,
    /// Behaviours that it cannot have, and why.
    without: &'static [(&'static str, &'static str)],
}

const LANGUAGES: [Language; 5] = [
    Language {
        name: "rust",
        title: "Rust",
        missing_file: "NotFound",
        mistake: "Panic",
        memory_limit: "32M",
        asynchronous: Ok(()),
        without: &[],
    },
    Language {
        name: "python",
        title: "Python",
        missing_file: "FileNotFoundError",
        mistake: "RuntimeError",
        memory_limit: "128M",
        asynchronous: Ok(()),
        without: &[],
    },
    Language {
        name: "go",
        title: "Go",
        missing_file: "PathError",
        mistake: "Panic",
        memory_limit: "64M",
        asynchronous: Err(
            "the stock compiler makes no asynchronous exports: they need a patched Go",
        ),
        without: &[],
    },
    Language {
        name: "js",
        title: "JavaScript",
        missing_file: "ENOENT",
        mistake: "TypeError",
        memory_limit: "128M",
        asynchronous: Err("componentize-js makes no asynchronous exports"),
        without: &[],
    },
    Language {
        name: "c",
        title: "C",
        missing_file: "ENOENT",
        mistake: "AssertionFailed",
        memory_limit: "32M",
        asynchronous: Err("the language has no `async`"),
        without: &[("http", "WASI's C library has no HTTP client, and the SDK brings none")],
    },
];

/// What every SDK must be able to do.
struct Behaviour {
    name: &'static str,
    /// Its line in the README.
    title: &'static str,
    check: fn(&Subject),
}

/// A language's component.
struct Subject {
    language: &'static Language,
    component: PathBuf,
}

impl Subject {
    /// The name of its task.
    fn task(&self) -> String {
        format!("conformance-{}", self.language.name)
    }

    /// Runs it over the inputs, with the tag `x`.
    fn run(&self, bench: &Bench, more: &[&str]) -> Done {
        bench.run(&self.component, &[&["--tag", "x"], more].concat())
    }

    /// Runs it over one input and returns the `.err` of that.
    fn fails(&self, input: &str, more: &[&str]) -> serde_json::Value {
        let bench = Bench::new();
        bench.add("a.txt", input);
        self.run(&bench, more).expect(3);
        bench.err("a.err")
    }

    /// Runs it over one input and returns the output.
    fn makes(&self, input: &str, more: &[&str]) -> String {
        let bench = Bench::new();
        bench.add("a.txt", input);
        self.run(&bench, more).expect(0);
        bench.out("a.out")
    }
}

fn component(name: &str) -> PathBuf {
    tigerflow_tests::conformance(name)
}

fn language(name: &str) -> &'static Language {
    LANGUAGES.iter().find(|language| language.name == name).expect("a language of the list")
}

/// All of the list, told one by one; fails when any failed.
fn conforms(name: &str) {
    let language = language(name);
    let subject = Subject { language, component: component(name) };
    let mut failed = Vec::new();
    for behaviour in BEHAVIOURS {
        if language.without.iter().any(|(name, _)| *name == behaviour.name) {
            continue;
        }
        println!("{name}: {}", behaviour.title);
        let check = std::panic::AssertUnwindSafe(|| (behaviour.check)(&subject));
        if std::panic::catch_unwind(check).is_err() {
            failed.push(behaviour.name);
        }
    }
    assert!(failed.is_empty(), "{name} does not conform: {}", failed.join(", "));
}

#[test]
fn rust() {
    conforms("rust");
}

#[test]
fn python() {
    conforms("python");
}

#[test]
fn go() {
    conforms("go");
}

#[test]
fn js() {
    conforms("js");
}

#[test]
fn c() {
    conforms("c");
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
