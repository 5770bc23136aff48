//! What a run will do, with every check made: past the plan nothing asks what an
//! option was.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::{Sandbox, Task};
use crate::executor::gate::{Label, Rate};
use crate::executor::slurm::SlurmPlan;
use crate::schedule::{MaxFailures, Mode, RetryPolicy};
use crate::workspace::DIRECTORY;
use crate::workspace::names::Pairing;
use crate::workspace::staging::Durability;

/// What a run will do.
#[derive(Debug)]
pub struct Plan {
    /// The task.
    pub task: Task,
    /// What its instances may reach.
    pub sandbox: Sandbox,
    /// Where outputs go.
    pub output_dir: PathBuf,
    /// How names pair.
    pub pairing: Pairing,
    /// The workspace's name.
    pub task_name: String,
    /// Most files in flight.
    pub concurrency: usize,
    /// Most instances of an asynchronous task.
    pub instances: usize,
    /// When an attempt that failed is made again.
    pub retry: RetryPolicy,
    /// How often attempts begin.
    pub rate: Option<Rate>,
    /// Limits that it shares with other runs on this machine.
    pub labels: Vec<Label>,
    /// When it gives up because too many files fail.
    pub max_failures: Option<MaxFailures>,
    /// All of these as options, for the journal.
    pub policies: Vec<String>,
    /// When the run ends.
    pub mode: Mode,
    /// How long an input must be unchanged before it is taken.
    pub settle: Duration,
    /// How often to look at a directory that sends no events.
    pub poll: Duration,
    /// Whether files with an `.err` are run again.
    pub retry_failed: bool,
    /// Whether files that the task declined are run again.
    pub retry_aborted: bool,
    /// Whether links may lead out of the input directory.
    pub follow_links: bool,
    /// What outputs survive.
    pub durability: Durability,
    /// Whether to show a progress bar.
    pub bar: bool,
    /// Whether to go on without the terminal once it has begun.
    pub detached: bool,
    /// The workers in Slurm jobs, where the run is to have such.
    pub slurm: Option<SlurmPlan>,
}

/// Why the directories do not do.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// One is missing, or is no directory.
    #[error("{option} `{}` {problem}", path.display())]
    Unfit {
        /// The option that named it.
        option: &'static str,
        /// The directory.
        path: PathBuf,
        /// What is wrong, and how to mend it.
        problem: String,
    },
    /// Outputs would be inputs again, for ever.
    #[error(
        "input and output directory are the same, and an output that ends in `{output}` would be \
         an input again: choose another --output-ext or --output-dir"
    )]
    FeedsItself {
        /// The output extension.
        output: String,
    },
}

/// Checks the input directory.
pub fn check_input_dir(path: &Path) -> Result<(), DirectoryError> {
    let unfit = |problem: String| {
        Err(DirectoryError::Unfit { option: "--input-dir", path: path.into(), problem })
    };
    match fs::read_dir(path) {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => unfit("does not exist: is it spelt right?".into()),
            io::ErrorKind::NotADirectory => unfit("is not a directory".into()),
            _ => unfit(format!("cannot be listed: {error}")),
        },
    }
}

/// Checks the output directory; makes it where only its last part is missing.
pub fn check_output_dir(path: &Path) -> Result<(), DirectoryError> {
    let unfit = |problem: String| {
        Err(DirectoryError::Unfit { option: "--output-dir", path: path.into(), problem })
    };
    match fs::metadata(path) {
        Ok(meta) if !meta.is_dir() => return unfit("is not a directory".into()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Err(error) = fs::create_dir(path) {
                return match error.kind() {
                    io::ErrorKind::NotFound => {
                        let shown = path.display();
                        unfit(format!("does not exist, nor does its parent: `mkdir -p {shown}`"))
                    }
                    _ => unfit(format!("cannot be created: {error}")),
                };
            }
        }
        Err(error) => return unfit(format!("cannot be reached: {error}")),
    }
    if let Err(error) = rustix::fs::access(path, rustix::fs::Access::WRITE_OK) {
        return unfit(format!("cannot be written to: {}", io::Error::from(error)));
    }
    Ok(())
}

/// Checks that outputs do not become inputs.
pub fn check_pairing(input: &Path, output: &Path, pairing: &Pairing) -> Result<(), DirectoryError> {
    if pairing.feeds_itself() && is_same_file(input, output) {
        return Err(DirectoryError::FeedsItself { output: pairing.output.to_string() });
    }
    Ok(())
}

/// Whether two paths lead to one file or directory.
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Whether a directory that is granted for writing would open the workspace.
pub fn opens_workspace(granted: &Path, output_dir: &Path) -> io::Result<bool> {
    let granted = granted.canonicalize()?;
    let workspace = output_dir.canonicalize()?.join(DIRECTORY);
    Ok(workspace.starts_with(&granted) || granted.starts_with(&workspace))
}
