//! Tasks in C: any Clang for WASI makes a core module.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::files::sdk_directory;
use super::{Language, ProjectError, core_module, publish, tools};

const GET_COMPILER: &str = "install zig (`pip install ziglang`, https://ziglang.org), or the WASI SDK and set \
                            WASI_SDK_PATH, or Debian's clang, lld, wasi-libc and libclang-rt-dev-wasm32, or \
                            name a compiler for wasm32-wasip1 in CC";

/// `source`: a project's directory, all whose `*.c` are the task, or one file.
pub fn build(source: &Path, place: PathBuf) -> Result<PathBuf, ProjectError> {
    let (project, files) = match source.is_dir() {
        true => (source, sources(source)?),
        false => (source.parent().unwrap_or(Path::new("")), vec![source.to_path_buf()]),
    };
    let sdk = sdk_directory(Language::C, source.is_dir().then_some(project))?;
    let folder = tempfile::tempdir()
        .map_err(ProjectError::file("create a directory in", &std::env::temp_dir()))?;
    let core = folder.path().join("core.wasm");
    let mut command = compiler()?;
    command.args(["-mexec-model=reactor", "-std=gnu11", "-O2", "-Wall", "-Wextra"]);
    command.arg("-I").arg(sdk.path()).arg("-I").arg(project).arg("-o").arg(&core);
    command.args(&files).arg(sdk.path().join("tigerflow.c")).arg("-lm");
    tools::run(&mut command)?;
    let core = std::fs::read(&core).map_err(ProjectError::file("read", &core))?;
    publish(&core_module::component(&core, &sdk.path().join("wit"), "task-component")?, &place)?;
    Ok(place)
}

/// The C files in a directory, in order.
pub fn sources(project: &Path) -> Result<Vec<PathBuf>, ProjectError> {
    let entries = std::fs::read_dir(project).map_err(ProjectError::file("list", project))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "c")).collect();
    files.sort();
    Ok(files)
}

/// A compiler for WASI, with the target that it is told.
fn compiler() -> Result<Command, ProjectError> {
    if let Some(words) = std::env::var("CC").ok().filter(|words| words.contains("wasi") || words.contains("zig")) {
        let mut words = words.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        return Ok(command);
    }
    if let Some(sdk) = std::env::var_os("WASI_SDK_PATH") {
        let mut command = Command::new(Path::new(&sdk).join("bin/clang"));
        command.arg("--target=wasm32-wasip1");
        return Ok(command);
    }
    if let Some(zig) = tools::find("zig") {
        let mut command = Command::new(zig);
        command.args(["cc", "-target", "wasm32-wasi"]);
        return Ok(command);
    }
    Err(tools::missing("zig", GET_COMPILER))
}
