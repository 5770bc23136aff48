//! A new project: a template with its names filled in, and the SDK beside it.

use std::path::Path;

use heck::ToSnakeCase;

use super::{Language, ProjectError, files};
use crate::engine::description::is_kebab_case;

/// What would be taken for something of the project's own, or of a language's.
const TAKEN: [&str; 7] = ["sdk", "samples", "out", "build", "tests", "target", "tigerflow-task"];

/// Makes the project `directory`, whose last part is the task's name.
///
/// # Errors
/// When the name is none, or something is there already.
pub fn create(language: Language, directory: &Path) -> Result<(), ProjectError> {
    let Some(name) = directory.file_name().map(|name| name.to_string_lossy()) else {
        return Err(ProjectError::Place(format!(
            "`{}` names no directory to make: give the task's name, as in `count-words`",
            directory.display()
        )));
    };
    if !is_kebab_case(&name) {
        return Err(ProjectError::Place(format!(
            "a task cannot be called `{name}`: use lower-case letters, digits and single dashes, as in \
             `count-words`"
        )));
    }
    if TAKEN.contains(&&*name) {
        return Err(ProjectError::Place(format!(
            "a task called `{name}` would clash with what is in each project; choose another name"
        )));
    }
    let there = std::fs::read_dir(directory);
    if there.is_ok_and(|mut entries| entries.next().is_some()) || directory.is_file() {
        return Err(ProjectError::Place(format!(
            "`{}` is there already; choose another name, or remove it",
            directory.display()
        )));
    }
    let fill = |text: &str| {
        text.replace("{{name}}", &name).replace("{{name_snake}}", &name.to_snake_case())
    };
    let filled = files::template(language).map(|(path, bytes)| match String::from_utf8(bytes) {
        Ok(text) => (fill(&path), fill(&text).into_bytes()),
        Err(error) => (fill(&path), error.into_bytes()),
    });
    files::write(filled, directory)?;
    files::write(files::sdk(language), &directory.join("sdk"))
}
