//! Tasks in C: any Clang for WASI makes a core module.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::files::sdk_directory;
use super::{Language, ProjectError, core_module, publish, temporary_directory, tools};

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
    let folder = temporary_directory()?;
    let core = folder.path().join("core.wasm");
    let mut command = compiler()?;
    // Checks by `assert` stay: a file that breaks one gets its `.err`.
    command.args(["-mexec-model=reactor", "-O2", "-UNDEBUG", "-Wall", "-Wextra"]);
    // Vector instructions, which every host has.
    command.arg("-msimd128");
    // Where a compiler's default is 64 KiB, or 16 MiB in every instance.
    command.arg("-Wl,-z,stack-size=1048576");
    command.arg("-I").arg(sdk.path()).arg("-I").arg(project).arg("-o").arg(&core);
    command.args(&files).arg(sdk.path().join("tigerflow.c"));
    command.arg("-lm");
    if files.iter().any(|file| !has_extension(file, &["c"])) {
        command.arg("-lc++");
    }
    tools::run(&mut command)?;
    let core = std::fs::read(&core).map_err(ProjectError::file("read", &core))?;
    publish(&core_module::component(&core, &sdk.path().join("wit"), "task-component")?, &place)?;
    Ok(place)
}

/// What the names of C's and C++'s files end in.
pub const EXTENSIONS: [&str; 4] = ["c", "cc", "cpp", "cxx"];

/// The C and C++ files in a directory, in order.
pub fn sources(project: &Path) -> Result<Vec<PathBuf>, ProjectError> {
    files_of(project, &EXTENSIONS)
}

fn files_of(directory: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, ProjectError> {
    let entries = std::fs::read_dir(directory).map_err(ProjectError::file("list", directory))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = paths.filter(|path| has_extension(path, extensions)).collect();
    files.sort();
    Ok(files)
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    extensions.iter().any(|extension| path.extension().is_some_and(|e| e == *extension))
}

/// A compiler for WASI, with the target that it is told.
fn compiler() -> Result<Command, ProjectError> {
    // One that is set for other programs would make other code.
    let own = std::env::var("CC").ok();
    if let Some(line) = own.filter(|line| is_for_wasi(line)) {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        return Ok(command);
    }
    if let Some(sdk) = std::env::var_os("WASI_SDK_PATH") {
        let program = Path::new(&sdk).join("bin/clang");
        if !tools::is_program(&program) {
            let problem = format!("WASI_SDK_PATH leads to no `{}`", program.display());
            return Err(ProjectError::Tool { problem, remedy: GET_COMPILER.into() });
        }
        return Ok(clang(&program));
    }
    // The package of Python has it by the latter name.
    if let Some(zig) = tools::find("zig").or_else(|| tools::find("python-zig")) {
        let mut command = Command::new(zig);
        command.args(["cc", "-target", "wasm32-wasi"]);
        return Ok(command);
    }
    match tools::find("clang") {
        // Without WASI's C library it makes nothing that runs.
        Some(program) if Path::new("/usr/lib/wasm32-wasi").is_dir() => Ok(clang(&program)),
        _ => Err(tools::missing("zig", GET_COMPILER)),
    }
}

/// Whether a compiler's command line is one for WebAssembly.
fn is_for_wasi(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let program = Path::new(words.next().unwrap_or_default());
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let known = ["zig", "wasi", "wasm"];
    known.iter().any(|part| name.contains(part)) || words.any(|word| word.contains("wasm32"))
}

fn clang(program: &Path) -> Command {
    let mut command = Command::new(program);
    // zig does the latter by itself: a stack that runs over traps, and harms no data.
    command.args(["--target=wasm32-wasi", "-Wl,--stack-first"]);
    command
}

#[cfg(test)]
mod tests {
    use super::is_for_wasi;

    #[test]
    fn compilers_for_other_machines_are_left_alone() {
        for line in ["zig cc", "/opt/zig/zig cc", "wasm32-wasi-clang", "clang --target=wasm32-wasi"]
        {
            assert!(is_for_wasi(line), "{line}");
        }
        for line in ["gcc", "/home/zigmund/bin/gcc", "clang -O2", "", "ccache gcc"] {
            assert!(!is_for_wasi(line), "{line}");
        }
    }
}
