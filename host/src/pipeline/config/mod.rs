//! The file that says what a pipeline is.
//!
//! [`parse`] reads it in four steps, none of which stops at the first problem:
//! text to a tree that knows where everything stands (`yaml`), the tree against
//! the schema (`structure`), the tasks against one another (`relations`), and the
//! types ([`Config`]). The types are the one source of what may be in a file: the
//! schema is made from them, and the walk follows the schema.

mod formats;
mod hints;
mod options;
mod path;
mod problem;
mod relations;
mod schema;
mod structure;
mod tree;
mod types;
mod values;
mod yaml;

#[cfg(test)]
mod tests;

use std::fmt;

pub use options::{Opt, Parameter, parameters};
pub use path::{Path, Position, Step as PathStep};
pub use problem::{Problem, Problems};
pub use schema::schema;
pub use tree::Tree;
pub use types::{Cause, Config, Isolate, Kind, Resources, SortKey, Staging, Step, Task};
pub use values::{Bytes, Environment, Many, Scalar, Value};
pub use yaml::Place;

/// What an output's name ends in where nobody says.
const DEFAULT_OUTPUT: &str = ".out";

/// The schema and the types do not agree: a fault of ours.
const NOT_TAKEN: &str = "tigerflow-host cannot read this, though it seems well";

/// A file in which nothing is wrong.
pub struct Document {
    root: yaml::Node,
    config: Config,
    tree: Tree,
}

impl Document {
    /// What it says.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How its tasks follow one another.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Where a value stands, and its key. None for what the file does not say.
    pub fn position(&self, path: &Path) -> Option<Place> {
        let (place, taken) = self.root.find(path);
        (taken == path.steps().len()).then_some(place)
    }

    /// Something wrong with a value that only somebody else could see. Where the
    /// file does not have it, it is shown at what would hold it.
    pub fn problem(&self, path: &Path, message: impl Into<String>) -> Problem {
        Problem::new(self.root.find(path).0.value, path, message)
    }
}

impl fmt::Debug for Document {
    // The tree holds values of environment variables.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

/// Reads a file, or says all that is wrong with it.
pub fn parse(text: &str) -> Result<Document, Problems> {
    let mut problems = Problems::default();
    let Some(root) = yaml::read(text, &mut problems) else { return Err(problems) };
    let value = structure::check(&root, schema(), &mut problems);
    let tree = relations::check(&root, &value, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    // What the schema lets through, the types take.
    let config = serde_json::from_value(value).map_err(|error| {
        Problem::new(root.position, &Path::root(), format!("{NOT_TAKEN}: {error}"))
    })?;
    let circle = || Problem::new(root.position, &Path::root(), "the tasks form no tree");
    Ok(Document { tree: tree.ok_or_else(circle)?, root, config })
}

/// The same for a file's bytes.
pub fn parse_bytes(bytes: &[u8]) -> Result<Document, Problems> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let position = Position { line, column };
        Problem::new(position, &Path::root(), "this is not UTF-8: save the file in that encoding")
    })?;
    parse(text)
}
