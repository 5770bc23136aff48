//! What a file is: a component of ours, or what else, and how to mend that.

use std::path::{Path, PathBuf};

use wasmparser::{Chunk, Parser, Payload};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

/// The package of the interface, and its version that this host speaks.
pub(super) const PACKAGE: &str = "tigerflow:task/";
/// The version of the interface that this host speaks.
pub const INTERFACE_VERSION: &str = "0.1.0";

/// Why a file cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("failed to read the component `{}`: {cause}; is its path right?", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It is not what it should be.
    #[error("`{}` {problem}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What it is instead, and how to mend that.
        problem: String,
    },
    /// The engine does not take it.
    #[error("`{}` does not compile: is it whole? Try to build it again ({reason})", path.display())]
    Compile {
        /// The file.
        path: PathBuf,
        /// The engine's words.
        reason: String,
    },
    /// A precompiled file does not fit this host.
    #[error("`{}` {problem}; make it again with `tigerflow-host compile`", path.display())]
    Precompiled {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// Its `describe` does not work, or returns nonsense.
    #[error("the component `{}` does not describe itself: {problem}", path.display())]
    Describe {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        problem: String,
    },
    /// The engine could not be set up on this machine.
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
}

impl LoadError {
    /// The same of the file at another path.
    pub fn at(mut self, place: &Path) -> Self {
        match &mut self {
            LoadError::Read { path, .. }
            | LoadError::Unfit { path, .. }
            | LoadError::Compile { path, .. }
            | LoadError::Precompiled { path, .. }
            | LoadError::Describe { path, .. } => *path = place.into(),
            LoadError::Engine(_) => {}
        }
        self
    }
}

const HOW_TO_BUILD: &str = "build the task with `cargo build --release --target wasm32-wasip2` \
                            and the crate `tigerflow-task`";

/// Refuses, by its first bytes, what cannot be a component.
pub(super) fn check_bytes(path: &Path, bytes: &[u8]) -> Result<(), LoadError> {
    let unfit = |problem: String| Err(LoadError::Unfit { path: path.into(), problem });
    match bytes {
        [] => unfit("is empty: was its build cut off?".into()),
        // The magic number, then version and layer: 1, 0 is a core module.
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            unfit(format!("is a WebAssembly core module, not a component: {HOW_TO_BUILD}"))
        }
        [0, b'a', b's', b'm', ..] => Ok(()),
        [0x7f, b'E', b'L', b'F', ..] => unfit(format!(
            "is a program for this machine, not a WebAssembly component: {HOW_TO_BUILD}"
        )),
        _ if bytes.starts_with(b"(component") || bytes.starts_with(b"(module") => {
            unfit("is WebAssembly text: translate it with `wasm-tools parse -o TASK.wasm`".into())
        }
        _ => unfit(format!("is not a WebAssembly component: {HOW_TO_BUILD}")),
    }
}

/// What a task exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// Plain functions: an instance makes one attempt at a time.
    Task,
    /// Asynchronous functions: an instance makes many attempts at once.
    AsyncTask,
}

impl Interface {
    /// Its name within the package.
    pub fn name(self) -> &'static str {
        match self {
            Interface::Task => "task",
            Interface::AsyncTask => "async-task",
        }
    }
}

/// The name of what a staging step exports, within the package.
const STAGE: &str = "stage";

/// Whether an engine needs asynchronous functions for this component. It has to
/// be known before the component is compiled, and costs plain tasks some speed.
pub(super) fn is_asynchronous(bytes: &[u8]) -> bool {
    let mut parser = Parser::new(0);
    let mut rest = bytes;
    let own = format!("{PACKAGE}{}@", Interface::AsyncTask.name());
    // What is malformed here is refused when it is compiled.
    while let Ok(Chunk::Parsed { consumed, payload }) = parser.parse(rest, true) {
        rest = &rest[consumed..];
        match payload {
            Payload::ComponentImportSection(imports) => {
                let mut names = imports.into_iter().flatten();
                if names.any(|i| i.name.name.starts_with("wasi:") && i.name.name.contains("@0.3."))
                {
                    return true;
                }
            }
            Payload::ComponentExportSection(exports) => {
                let mut names = exports.into_iter().flatten();
                if names.any(|export| export.name.name.starts_with(&own)) {
                    return true;
                }
            }
            Payload::ModuleSection { unchecked_range, .. }
            | Payload::ComponentSection { unchecked_range, .. } => {
                let Some(after) = rest.get(unchecked_range.len()..) else { return false };
                rest = after;
            }
            Payload::End(_) => return false,
            _ => {}
        }
    }
    false
}

/// The imports and exports of a component, by name.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shape {
    /// What it asks its host for.
    pub imports: Vec<String>,
    /// What it offers.
    pub exports: Vec<String>,
}

impl Shape {
    pub(super) fn of(engine: &Engine, component: &Component) -> Self {
        let ty = component.component_type();
        let interface = |(name, item): (&str, _)| match item {
            ComponentItem::Type(_) => None,
            _ => Some(name.to_owned()),
        };
        Shape {
            imports: ty.imports(engine).filter_map(|(n, e)| interface((n, e.ty))).collect(),
            exports: ty.exports(engine).filter_map(|(n, e)| interface((n, e.ty))).collect(),
        }
    }

    /// The interface that the component exports: `task@0.1.0`.
    pub fn interface(&self) -> Option<&str> {
        self.exports.iter().find_map(|name| name.strip_prefix(PACKAGE))
    }

    /// Which interface it is, or why the component is no task of this version.
    pub(super) fn check(&self, path: &Path) -> Result<Interface, LoadError> {
        let unfit = |problem: String| Err(LoadError::Unfit { path: path.into(), problem });
        let spoken = format!("task@{INTERFACE_VERSION}");
        match self.interface() {
            Some(interface) => match compatible(interface) {
                Some(interface) => Ok(interface),
                None if is_stage(interface) => unfit(format!(
                    "is a staging step (it exports `{PACKAGE}{interface}`), not a task: name it \
                     in the configuration of a pipeline, at `staging.steps`, as the `module` of a \
                     step of `kind: component`"
                )),
                None => unfit(format!(
                    "was built for `{PACKAGE}{interface}`, and this host speaks \
                     `{PACKAGE}{spoken}` and `{PACKAGE}async-{spoken}`: rebuild it with \
                     `tigerflow-task` {INTERFACE_VERSION}, or use a host of its version"
                )),
            },
            None if self.exports.iter().any(|name| name.starts_with("wasi:cli/run@")) => {
                unfit(format!(
                    "is a command-line program (it exports `wasi:cli/run`), not a task: make it a \
                     library (`crate-type = [\"cdylib\"]`) that exports `{PACKAGE}{spoken}`, as \
                     `export_task!` of the crate `tigerflow-task` does"
                ))
            }
            None => unfit(format!(
                "exports {}, and a task exports `{PACKAGE}{spoken}`: is `export_task!` called in it?",
                self.shown_exports()
            )),
        }
    }

    /// Fails unless the component is a staging step of this version.
    pub(super) fn check_stage(&self, path: &Path) -> Result<(), LoadError> {
        let unfit = |problem: String| Err(LoadError::Unfit { path: path.into(), problem });
        let spoken = format!("{PACKAGE}{STAGE}@{INTERFACE_VERSION}");
        match self.interface() {
            Some(interface) if is_stage(interface) => match speaks(interface) {
                true => Ok(()),
                false => unfit(format!(
                    "was built for `{PACKAGE}{interface}`, and this host speaks `{spoken}`: \
                     rebuild it with `tigerflow-task` {INTERFACE_VERSION}, or use a host of its \
                     version"
                )),
            },
            Some(interface) => unfit(format!(
                "is a task (it exports `{PACKAGE}{interface}`), not a staging step, which exports \
                 `{spoken}`, as `export_stage!` of the crate `tigerflow-task` does: tasks belong \
                 at `tasks`"
            )),
            None => unfit(format!(
                "exports {}, and a staging step exports `{spoken}`: is `export_stage!` called in \
                 it?",
                self.shown_exports()
            )),
        }
    }

    /// What it exports, for people.
    fn shown_exports(&self) -> String {
        match &self.exports[..] {
            [] => "nothing".into(),
            exports => exports.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "),
        }
    }

    /// What a failure to link means, in a sentence.
    pub(super) fn explain(&self, reason: &str) -> String {
        let foreign: Vec<String> = self
            .imports
            .iter()
            .filter(|name| !is_provided(name))
            .map(|name| format!("`{name}`"))
            .collect();
        if foreign.is_empty() {
            format!(
                "does not fit the interface `{PACKAGE}{}` as this host has it: build it again with \
                 `tigerflow-task` {INTERFACE_VERSION} ({reason})",
                self.interface().unwrap_or("task")
            )
        } else {
            format!(
                "imports {}, which this host does not provide: build it without what needs that",
                foreign.join(", ")
            )
        }
    }
}

/// The interface of a task of this name, if the host speaks its version.
fn compatible(interface: &str) -> Option<Interface> {
    let (name, _) = interface.split_once('@')?;
    let mut known = [Interface::Task, Interface::AsyncTask].into_iter();
    known.find(|known| known.name() == name && speaks(interface))
}

/// Whether an interface is a staging step's, of whatever version.
fn is_stage(interface: &str) -> bool {
    interface.split_once('@').is_some_and(|(name, _)| name == STAGE)
}

/// Whether the host speaks the version of an interface. Below 1.0 a minor version
/// changes the interface; patches do not.
fn speaks(interface: &str) -> bool {
    let minor = |v: &str| v.rsplit_once('.').map(|(minor, _)| minor.to_owned());
    interface.split_once('@').is_some_and(|(_, v)| minor(v) == minor(INTERFACE_VERSION))
}

fn is_provided(import: &str) -> bool {
    // Of WASI 0.3 all but its file system, whose calls know no limits here.
    let both = ["cli", "clocks", "http", "random", "sockets"];
    import.starts_with(PACKAGE)
        || is_wasi(import, "@0.2.", &both)
        || is_wasi(import, "@0.2.", &["filesystem", "io"])
        || is_wasi(import, "@0.3.", &both)
}

/// Whether an interface is of one of these packages of WASI, in this version.
fn is_wasi(import: &str, version: &str, packages: &[&str]) -> bool {
    import.split_once(version).is_some_and(|(interface, _)| {
        packages.iter().any(|package| interface.starts_with(&format!("wasi:{package}/")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(exports: &[&str]) -> Shape {
        Shape { imports: vec![], exports: exports.iter().map(|&e| e.into()).collect() }
    }

    #[test]
    fn versions_are_compared_as_semver_does() {
        let path = Path::new("x.wasm");
        assert!(shape(&["tigerflow:task/task@0.1.0"]).check(path).is_ok());
        assert!(shape(&["tigerflow:task/task@0.1.7"]).check(path).is_ok());
        assert!(shape(&["tigerflow:task/async-task@0.1.0"]).check(path).is_ok());
        for other in ["task@0.2.0", "task@1.1.0", "async-task@0.2.0", "other@0.1.0"] {
            assert!(shape(&[&format!("tigerflow:task/{other}")]).check(path).is_err(), "{other}");
        }
    }

    #[test]
    fn a_task_is_no_staging_step_nor_the_other_way_round() {
        let path = Path::new("x.wasm");
        let refusal = |refused: Result<(), LoadError>| refused.unwrap_err().to_string();
        let stage = shape(&["tigerflow:task/stage@0.1.3"]);
        assert!(stage.check_stage(path).is_ok());
        let said = refusal(stage.check(path).map(drop));
        assert!(said.contains("is a staging step") && said.contains("`kind: component`"), "{said}");
        for (exports, words) in [
            ("tigerflow:task/task@0.1.0", "is a task"),
            ("tigerflow:task/async-task@0.2.0", "is a task"),
            ("tigerflow:task/stage@0.2.0", "this host speaks `tigerflow:task/stage@0.1.0`"),
            ("wasi:cli/run@0.2.0", "exports `wasi:cli/run@0.2.0`, and a staging step exports"),
        ] {
            let said = refusal(shape(&[exports]).check_stage(path));
            assert!(said.contains(words), "{said}");
        }
    }
}
