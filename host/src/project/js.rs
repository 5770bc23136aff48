//! Tasks in JavaScript and TypeScript: esbuild and componentize-js, which npm
//! installs, do the work.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ProjectError, publish_from, tools};

const GET_NODE: &str = "install Node.js 20.11 or newer with npm (https://nodejs.org)";
const OLDEST: (u32, u32) = (20, 11);
/// The SDK's program that makes a component of a project.
const BUILD: &str = "node_modules/@tigerflow/task/build.mjs";

pub fn build(project: &Path, place: PathBuf) -> Result<PathBuf, ProjectError> {
    let node = tools::require("node", GET_NODE)?;
    let version = tools::ask(Command::new(&node).arg("--version")).unwrap_or_default();
    if number(&version).is_none_or(|found| found < OLDEST) {
        return Err(ProjectError::Tool {
            problem: format!("`{}` is {version}, and tasks need 20.11", node.display()),
            remedy: GET_NODE.into(),
        });
    }
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
    command.arg(&build).arg(project).arg("-o");
    publish_from(&place, |made| tools::run(command.arg(made)).map_err(ProjectError::of_builder))?;
    Ok(place)
}

/// `v20.11.1` as (20, 11).
fn number(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
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
