//! Tasks in JavaScript and TypeScript: esbuild and componentize-js, which npm
//! installs, do the work.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ProjectError, tools};

const GET_NODE: &str = "install Node.js 20 or newer with npm (https://nodejs.org)";
/// The SDK's program that makes a component of a project.
const BUILD: &str = "node_modules/@tigerflow/task/build.mjs";

pub fn build(project: &Path, place: PathBuf) -> Result<PathBuf, ProjectError> {
    let node = tools::require("node", GET_NODE)?;
    let build = project.join(BUILD);
    if !build.is_file() {
        install(project)?;
    }
    if !build.is_file() {
        return Err(ProjectError::Result(format!(
            "`{}` does not depend on the SDK: put `\"@tigerflow/task\": \"file:./sdk\"` into its dependencies \
             (`tigerflow-host new --lang js NAME` makes such a project)",
            project.join("package.json").display()
        )));
    }
    let mut command = Command::new(node);
    command.arg(&build).arg(project).arg("-o").arg(&place);
    tools::run(&mut command)?;
    Ok(place)
}

fn install(project: &Path) -> Result<(), ProjectError> {
    let npm = tools::require("npm", GET_NODE)?;
    let locked = project.join("package-lock.json").is_file();
    let mut command = Command::new(npm);
    command.current_dir(project).arg(if locked { "ci" } else { "install" });
    command.args(["--no-audit", "--no-fund", "--loglevel=error"]);
    tracing::info!("Installing what the project depends on");
    tools::run_with_hint(&mut command, "npm takes packages from its registry: is that in reach?")
}
