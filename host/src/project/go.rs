//! Tasks in Go: the stock compiler makes a core module.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::files::sdk_directory;
use super::{Language, ProjectError, core_module, publish, temporary_directory, tools};

/// The first release whose code for `wasip1` the bindings work with.
const OLDEST: (u32, u32) = (1, 26);
const GET_GO: &str = "install Go 1.26 or newer (https://go.dev/dl)";

pub fn build(project: &Path, place: PathBuf) -> Result<PathBuf, ProjectError> {
    let go = tools::require("go", GET_GO)?;
    // In the project's directory: its go.mod may ask for another toolchain.
    let version = tools::ask(Command::new(&go).current_dir(project).args(["env", "GOVERSION"]));
    let version = version.unwrap_or_default();
    if number(&version).is_none_or(|found| found < OLDEST) {
        return Err(ProjectError::Tool {
            problem: format!("`{}` is {version}, and tasks need 1.26", go.display()),
            remedy: GET_GO.into(),
        });
    }
    let folder = temporary_directory()?;
    let core = folder.path().join("core.wasm");
    let mut command = Command::new(&go);
    command.current_dir(project).envs([
        ("GOOS", "wasip1"),
        ("GOARCH", "wasm"),
        ("CGO_ENABLED", "0"),
    ]);
    command.args(["build", "-trimpath", "-buildvcs=false", "-buildmode=c-shared"]);
    command.arg("-o").arg(&core).arg(".");
    tools::run(&mut command)?;
    let core = std::fs::read(&core).map_err(ProjectError::file("read", &core))?;
    let sdk = sdk_directory(Language::Go, Some(project))?;
    publish(&core_module::component(&core, &sdk.path().join("wit"), "task")?, &place)?;
    Ok(place)
}

/// `go1.26.8` as (1, 26).
fn number(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix("go")?.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn versions_are_read() {
        assert_eq!(number("go1.26.8"), Some((1, 26)));
        assert_eq!(number("go1.27rc1"), Some((1, 27)));
        assert_eq!(number("go1.9"), Some((1, 9)));
        assert_eq!(number("devel"), None);
        assert_eq!(number(""), None);
    }
}
