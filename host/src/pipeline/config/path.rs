//! Where something stands: a line and a column for people, a path for code.

use std::fmt;

use crate::text::one_line;

/// A place in the file. Lines and columns are counted from 1, columns in
/// characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// Where the file begins.
    pub const START: Position = Position { line: 1, column: 1 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A way from the top of the file to a value: `tasks[1].timeout`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<Step>);

/// A step on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list, from 0.
    Index(usize),
}

impl Path {
    /// The file as a whole.
    pub fn root() -> Path {
        Path::default()
    }

    /// A task, by its index in the file.
    pub fn task(index: usize) -> Path {
        Path::root().key("tasks").index(index)
    }

    /// A step of the staging, by its index in the file.
    pub fn stage(index: usize) -> Path {
        Path::root().key("staging").key("steps").index(index)
    }

    /// The value of a key here.
    pub fn key(&self, key: &str) -> Path {
        self.and(Step::Key(key.into()))
    }

    /// The value of a key within that of another, as `worker_resources.cpus`:
    /// what [`super::Opt::key`] holds. No key of ours has a dot in it.
    pub fn keys(&self, keys: &str) -> Path {
        keys.split('.').fold(self.clone(), |path, key| path.key(key))
    }

    /// An item of the list here.
    pub fn index(&self, index: usize) -> Path {
        self.and(Step::Index(index))
    }

    fn and(&self, step: Step) -> Path {
        let mut path = self.clone();
        path.0.push(step);
        path
    }

    /// From the top to the value.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The last key on it.
    pub fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if i == 0 => f.write_str(&one_line(key))?,
                Step::Key(key) => write!(f, ".{}", one_line(key))?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
