//! What is wrong with a file, all of it at once.

use std::fmt;

use super::path::{Path, Position};

/// Most problems that are shown: more help nobody.
const MOST_SHOWN: usize = 50;

/// Something wrong in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its line, from 1.
    pub line: usize,
    /// Its column, from 1, in characters.
    pub column: usize,
    /// The value that it is about: `tasks[1].timeout`; empty for the whole file.
    pub path: String,
    /// What is wrong, and what to write.
    pub message: String,
}

impl Problem {
    /// A problem with what stands there.
    pub fn new(position: Position, path: &Path, message: impl Into<String>) -> Problem {
        let Position { line, column } = position;
        Problem { line, column, path: path.to_string(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// All that is wrong with a file, by position. Without the file's name it shows
/// as lines `LINE:COLUMN: PATH: MESSAGE`; see [`Problems::of`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        let at = |p: &Problem| (p.line, p.column);
        let place = self.0.partition_point(|earlier| at(earlier) <= at(&problem));
        self.0.insert(place, problem);
    }

    /// Adds one about what stands there.
    pub fn add(&mut self, position: Position, path: &Path, message: impl Into<String>) {
        self.push(Problem::new(position, path, message));
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// From the top of the file to its end.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// To show them with the file's name: lines `FILE:LINE:COLUMN: PATH: MESSAGE`,
    /// which editors and terminals can jump to.
    pub fn of<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| self.write(f, Some(file)))
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, file: Option<&str>) -> fmt::Result {
        for (i, problem) in self.0.iter().take(MOST_SHOWN).enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            if let Some(file) = file {
                write!(f, "{file}:")?;
            }
            write!(f, "{problem}")?;
        }
        match self.0.len().saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, None)
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems(vec![problem])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_show_in_the_files_order_with_its_name() {
        let mut problems = Problems::default();
        let at = |line, column| Position { line, column };
        problems.add(at(7, 3), &Path::task(1).key("timeout"), "too short");
        problems.add(at(2, 1), &Path::root(), "odd");
        assert_eq!(
            problems.of("pipeline.yaml").to_string(),
            "pipeline.yaml:2:1: odd\npipeline.yaml:7:3: tasks[1].timeout: too short"
        );
        assert_eq!(problems.to_string(), "2:1: odd\n7:3: tasks[1].timeout: too short");
        for line in 10..70 {
            problems.add(at(line, 1), &Path::root(), "odd");
        }
        assert!(problems.to_string().ends_with("\n… and 12 more"));
    }
}
