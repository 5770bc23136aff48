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

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

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

/// A file that was read, whatever is wrong with it.
pub struct Draft {
    root: yaml::Node,
    /// What it says; what is wrong is `null` in it, or not there.
    value: Json,
    tree: Option<Tree>,
}

impl Draft {
    /// The tasks that are well enough to look further at, by their index in the file.
    pub fn tasks(&self) -> Vec<(usize, Task)> {
        self.well("/tasks")
    }

    /// The steps of the staging that are.
    pub fn steps(&self) -> Vec<(usize, Step)> {
        self.well("/staging/steps")
    }

    fn well<T: DeserializeOwned>(&self, list: &str) -> Vec<(usize, T)> {
        let items = self.value.pointer(list).and_then(Json::as_array).into_iter().flatten();
        let well = |(index, item): (usize, &Json)| {
            let mut item = item.clone();
            // What was wrong counts as not said.
            item.as_object_mut()?.retain(|_, value| !value.is_null());
            Some((index, serde_json::from_value(item).ok()?))
        };
        items.enumerate().filter_map(well).collect()
    }

    /// See [`Document::problem`].
    pub fn problem(&self, path: &Path, message: impl Into<String>) -> Problem {
        Problem::new(self.root.find(path).0.value, path, message)
    }

    /// The file, if nothing was wrong with it.
    pub fn document(self) -> Result<Document, Problems> {
        let Draft { root, value, tree } = self;
        // What the schema lets through, the types take.
        let config = serde_json::from_value(value).map_err(|error| {
            Problem::new(root.position, &Path::root(), format!("{NOT_TAKEN}: {error}"))
        })?;
        let circle = || Problem::new(root.position, &Path::root(), "the tasks form no tree");
        Ok(Document { tree: tree.ok_or_else(circle)?, root, config })
    }
}

/// Reads a file, or says all that is wrong with it.
pub fn parse(text: &str) -> Result<Document, Problems> {
    let mut problems = Problems::default();
    let draft = draft(text, &mut problems);
    match draft.filter(|_| problems.is_empty()) {
        Some(draft) => draft.document(),
        None => Err(problems),
    }
}

/// Reads a file, and says all that is wrong with it. None where it cannot be read on.
pub fn draft(text: &str, problems: &mut Problems) -> Option<Draft> {
    let root = yaml::read(text, problems)?;
    let value = structure::check(&root, schema(), problems);
    let tree = relations::check(&root, &value, problems);
    Some(Draft { root, value, tree })
}

/// The same for a file's bytes.
pub fn draft_bytes(bytes: &[u8], problems: &mut Problems) -> Option<Draft> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let position = Position { line, column };
        Problem::new(position, &Path::root(), "this is not UTF-8: save the file in that encoding")
    });
    match text {
        Ok(text) => draft(text, problems),
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}
