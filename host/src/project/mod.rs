//! Projects of tasks: the files of a new one, and its way to a component.
//!
//! Each language's own tools do the work. What of an SDK a build needs, and the
//! templates of new projects, are in this binary.

mod c;
mod core_module;
mod files;
mod go;
mod js;
mod new;
mod python;
mod rust;
mod tools;

use std::path::{Path, PathBuf};

pub use new::create;

use crate::engine::{LoadError, Purpose, Task};

/// A language in which tasks are written, with an SDK for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// Rust, by Cargo.
    Rust,
    /// Python, by componentize-py.
    Python,
    /// Go, by its own compiler.
    Go,
    /// JavaScript and TypeScript, by componentize-js.
    Js,
    /// C, by Clang or zig.
    C,
}

impl Language {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Language::Rust => "Rust",
            Language::Python => "Python",
            Language::Go => "Go",
            Language::Js => "JavaScript",
            Language::C => "C",
        }
    }

    /// The folder of its SDK.
    fn folder(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Python => "python",
            Language::Go => "go",
            Language::Js => "js",
            Language::C => "c",
        }
    }

    /// The language of a project, by its files.
    fn of(project: &Path) -> Result<Self, ProjectError> {
        let has = |name: &str| project.join(name).is_file();
        if has("Cargo.toml") {
            Ok(Language::Rust)
        } else if has("go.mod") {
            Ok(Language::Go)
        } else if has("package.json") {
            Ok(Language::Js)
        } else if has("task.py") || has("pyproject.toml") {
            Ok(Language::Python)
        } else if !c::sources(project)?.is_empty() {
            Ok(Language::C)
        } else {
            Err(ProjectError::NoProject { path: project.into() })
        }
    }
}

/// Why a project was not made, or not built.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// A directory that holds no task.
    #[error(
        "`{}` holds no task that this host knows to build: no Cargo.toml, go.mod, package.json, \
         task.py, pyproject.toml, *.c or *.cpp; `tigerflow-host new --lang LANGUAGE NAME` makes a project",
        path.display()
    )]
    NoProject {
        /// The directory.
        path: PathBuf,
    },
    /// What was given is no project.
    #[error("`{}` is no directory, and no source file of a task (.py, .c, .cc, .cpp, .cxx)", path.display())]
    NoSource {
        /// What was given.
        path: PathBuf,
    },
    /// A program is missing, or too old.
    #[error("{problem}; {remedy}")]
    Tool {
        /// What is wrong with it.
        problem: String,
        /// How to get it.
        remedy: String,
    },
    /// A tool has failed. What it said was shown as it came.
    #[error("`{command}` failed ({status}); what it said stands above{hint}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What may mend it, behind a semicolon.
        hint: String,
    },
    /// An SDK's own builder has refused. What it said was shown as it came.
    #[error("there is no component: what is wrong stands above")]
    NotBuilt,
    /// What came out is no task.
    #[error(transparent)]
    NoTask(#[from] LoadError),
    /// A tool has made something else than a component.
    #[error("{0}")]
    Result(String),
    /// The project cannot be made there.
    #[error("{0}")]
    Place(String),
    /// A file or directory.
    #[error("could not {what} `{}`: {cause}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
}

impl ProjectError {
    /// What a builder of an SDK says needs no command line to be understood.
    fn of_builder(self) -> Self {
        match self {
            ProjectError::Failed { .. } => ProjectError::NotBuilt,
            other => other,
        }
    }

    fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| ProjectError::File { what, path, cause }
    }
}

/// Builds a project, or a task of a single file, and returns the component's
/// path: `output`, or the task's name with `.wasm` in the project's directory
/// (beside the single file).
///
/// # Errors
/// When it is no project, a tool is missing, or the tool fails.
pub fn build(source: &Path, output: Option<&Path>) -> Result<PathBuf, ProjectError> {
    if source.is_dir() {
        let language = Language::of(source)?;
        tracing::info!("Building a task in {}: {}", language.name(), source.display());
        let place = |name: &str| place(output, source, name);
        return match language {
            Language::Rust => rust::build(source, place),
            Language::Python => python::build(source, place(&directory_name(source)?)),
            Language::Go => go::build(source, place(&directory_name(source)?)),
            Language::Js => js::build(source, place(&directory_name(source)?)),
            Language::C => c::build(source, place(&directory_name(source)?)),
        };
    }
    if !source.is_file() {
        return Err(ProjectError::NoSource { path: source.into() });
    }
    let stem = source.file_stem().unwrap_or_default().to_string_lossy();
    let place = place(output, source.parent().unwrap_or(Path::new("")), &stem);
    match source.extension().and_then(|extension| extension.to_str()) {
        Some("py") => python::build(source, place),
        Some(extension) if c::EXTENSIONS.contains(&extension) => c::build(source, place),
        _ => Err(ProjectError::NoSource { path: source.into() }),
    }
}

fn place(output: Option<&Path>, folder: &Path, name: &str) -> PathBuf {
    output.map_or_else(|| folder.join(format!("{name}.wasm")), Path::to_path_buf)
}

/// The name of a directory, also of `.`.
fn directory_name(directory: &Path) -> Result<String, ProjectError> {
    let whole = directory.canonicalize().map_err(ProjectError::file("find", directory))?;
    Ok(whole.file_name().map_or_else(|| "task".into(), |name| name.to_string_lossy().into_owned()))
}

/// Puts a finished component into its place: whole, and only if it is a task.
fn publish(component: &[u8], place: &Path) -> Result<(), ProjectError> {
    let folder = match place.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(ProjectError::file("create", folder))?;
    let write = || {
        use std::io::Write;
        use std::os::unix::fs::PermissionsExt;
        // The mode of a plain file: what tempfile makes is private.
        let mut file = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o666))
            .suffix(".wasm")
            .tempfile_in(folder)?;
        file.write_all(component)?;
        Ok(file)
    };
    let file = write().map_err(ProjectError::file("write", place))?;
    // What was there, and worked, stays where this does not.
    Task::load(file.path(), Purpose::default()).map_err(|error| error.at(place))?;
    let persisted = file.persist(place).map_err(|error| error.error);
    persisted.map(drop).map_err(ProjectError::file("write", place))
}

/// Has a builder of an SDK write a component, and puts it into its place.
fn publish_from(
    place: &Path,
    build: impl FnOnce(&Path) -> Result<(), ProjectError>,
) -> Result<(), ProjectError> {
    let folder = temporary_directory()?;
    let made = folder.path().join("task.wasm");
    build(&made)?;
    let component = std::fs::read(&made).map_err(ProjectError::file("read", &made))?;
    publish(&component, place)
}

fn temporary_directory() -> Result<tempfile::TempDir, ProjectError> {
    tempfile::tempdir().map_err(ProjectError::file("create a directory in", &std::env::temp_dir()))
}
