//! Where the files of a task lie, and what happens to them there.
//!
//! ```text
//! OUTPUT_DIR/
//!   TASK/NAME.json, NAME.err         what users see
//!   .tigerflow/TASK/outputs/         what the task published: its children's inputs
//! ```
//!
//! Both are names of one file: nothing is copied where the file system has hard
//! links. What is in `outputs` says what is done, until the file is finished.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::PipelineError;
use super::tracker::Stands;
use crate::workspace::catalog::State;
use crate::workspace::error_file::read_verdict;
use crate::workspace::names::Pairing;
use crate::workspace::{Layout, advice, open_dir};

/// The directory in a task's workspace that holds its outputs.
const OUTPUTS: &str = "outputs";

/// What is about to take another file's place where users see it. No output has this
/// name.
const PART: &str = ".tigerflow-part";

/// Where a task publishes its outputs.
pub fn outputs(output_dir: &Path, task: &str) -> PathBuf {
    Layout::new(output_dir, task).root().join(OUTPUTS)
}

/// The files of one task.
#[derive(Debug)]
pub struct Places {
    pairing: Pairing,
    /// What it published.
    outputs: Directory,
    /// What users see: of outputs, where they are kept, and of errors.
    visible: PathBuf,
    /// The same, once something was put there.
    shown: Option<Directory>,
    keep: bool,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    handle: OwnedFd,
}

impl Directory {
    fn make(path: PathBuf) -> Result<Self, PipelineError> {
        fs::create_dir_all(&path).map_err(PipelineError::io("create", &path))?;
        let handle = open_dir(&path).map_err(PipelineError::io("open", &path))?;
        Ok(Directory { path, handle })
    }

    fn remove(&self, name: &OsStr) -> Result<(), PipelineError> {
        match rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(PipelineError::io("remove", &self.path.join(name))(error.into())),
        }
    }
}

impl Places {
    /// Those of a task; they are made where there are none.
    pub fn make(
        output_dir: &Path,
        task: &str,
        pairing: Pairing,
        keep: bool,
    ) -> Result<Self, PipelineError> {
        let outputs = Directory::make(outputs(output_dir, task))?;
        let visible = output_dir.join(task);
        // Left by a run that was killed; where there is none, there is nothing to do.
        let _ = fs::remove_file(visible.join(PART));
        // Of one that is not kept there may be errors of earlier runs.
        let shown = (keep || visible.is_dir()).then(|| Directory::make(visible.clone()));
        let shown = shown.transpose()?;
        Ok(Places { pairing, outputs, visible, shown, keep })
    }

    /// Where its outputs are.
    pub fn outputs(&self) -> &Path {
        &self.outputs.path
    }

    /// What stands of the task's work, by stem. Only unfinished files have any.
    pub fn stands(&self) -> Result<Vec<(OsString, State, u32)>, PipelineError> {
        let failed = |cause| PipelineError::io("list", &self.outputs.path)(cause);
        let mut found: HashMap<OsString, (State, u32)> = HashMap::new();
        for entry in fs::read_dir(&self.outputs.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if let Some(stem) = self.pairing.stem_of_error(&name) {
                let path = self.outputs.path.join(&name);
                let verdict = read_verdict(&path);
                // An output overtakes its `.err`, whichever is listed first.
                if !found.contains_key(stem) {
                    found.insert(stem.into(), (verdict.state, verdict.attempts));
                }
            } else if let Some(stem) = self.pairing.stem_of_output(&name) {
                found.insert(stem.into(), (State::Succeeded, 1));
            }
        }
        Ok(found.into_iter().map(|(stem, (state, n))| (stem, state, n)).collect())
    }

    /// A task has made its output of this file: shows it, where it is kept, and
    /// removes an error of an earlier attempt. `failed_before`: whether there may be
    /// one among the outputs. False: the output is not to be seen here yet.
    pub fn succeeded(&mut self, stem: &OsStr, failed_before: bool) -> Result<bool, PipelineError> {
        let name = self.pairing.output_name(stem);
        if self.keep {
            if !self.show(&name)? {
                return Ok(false);
            }
        } else if !self.is_there(&name) {
            return Ok(false);
        }
        let error = self.pairing.error_name(stem);
        if failed_before {
            self.outputs.remove(&error)?;
        }
        if let Some(shown) = &self.shown {
            shown.remove(&error)?;
        }
        Ok(true)
    }

    /// A task failed on this file, or declined it: shows why. False: its error is not
    /// to be seen here yet.
    pub fn failed(&mut self, stem: &OsStr) -> Result<bool, PipelineError> {
        let name = self.pairing.error_name(stem);
        self.show(&name)
    }

    /// Whether the task's output of this file stands.
    pub fn stands_for(&mut self, stem: &OsStr) -> bool {
        let name = self.pairing.output_name(stem);
        self.is_there(&name)
    }

    /// Whether a file of this name was published. Another machine may have done so,
    /// and a directory that is opened anew shows what a file server knows.
    fn is_there(&mut self, name: &OsStr) -> bool {
        let is_there = |directory: &Directory| {
            rustix::fs::statat(&directory.handle, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
        };
        is_there(&self.outputs) || self.reopen() && is_there(&self.outputs)
    }

    fn reopen(&mut self) -> bool {
        open_dir(&self.outputs.path).map(|handle| self.outputs.handle = handle).is_ok()
    }

    /// Gives what was published under this name the same name where users see it.
    fn show(&mut self, name: &OsStr) -> Result<bool, PipelineError> {
        if self.shown.is_none() {
            self.shown = Some(Directory::make(self.visible.clone())?);
        }
        let Some(shown) = &self.shown else { return Ok(false) };
        let linked = link(&self.outputs.handle, name, &shown.handle, name);
        match linked {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) if !self.is_there(name) => Ok(false),
            Err(_) => self.replace(name).map(|()| true),
        }
    }

    /// The same where something is in the way, or there can be no link.
    fn replace(&self, name: &OsStr) -> Result<(), PipelineError> {
        let Some(shown) = &self.shown else { return Ok(()) };
        let target = shown.path.join(name);
        let failed = |cause: io::Error| PipelineError::Show {
            path: target.clone(),
            advice: advice(&cause),
            cause,
        };
        let from = rustix::fs::statat(&self.outputs.handle, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| failed(error.into()))?;
        match rustix::fs::statat(&shown.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            // It was shown before.
            Ok(stat) if (stat.st_dev, stat.st_ino) == (from.st_dev, from.st_ino) => return Ok(()),
            _ => {}
        }
        // On the same file system as the target.
        let part = OsStr::new(PART);
        let replace = || -> io::Result<()> {
            shown.remove(part).map_err(io::Error::other)?;
            match link(&self.outputs.handle, name, &shown.handle, part) {
                Ok(()) => {}
                Err(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP) => {
                    self.copy(name, &shown.path.join(part))?;
                }
                Err(error) => return Err(error.into()),
            }
            Ok(rustix::fs::renameat(&shown.handle, part, &shown.handle, name)?)
        };
        replace().map_err(|cause| {
            let is_directory = cause.kind() == io::ErrorKind::IsADirectory;
            // It would be seen, and take room where there may be none.
            drop(shown.remove(part));
            let mut error = failed(cause);
            if is_directory && let PipelineError::Show { advice, .. } = &mut error {
                *advice = " (move that directory away, and run the same command again)";
            }
            error
        })
    }

    fn copy(&self, name: &OsStr, to: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let from = rustix::fs::openat(&self.outputs.handle, name, flags, Mode::empty())?;
        io::copy(&mut File::from(from), &mut File::create(to)?)?;
        Ok(())
    }

    /// The file is done with: removes its output. What users see stays.
    pub fn remove_output(&self, stem: &OsStr) -> Result<(), PipelineError> {
        self.outputs.remove(&self.pairing.output_name(stem))
    }

    /// What the task made of this file is of no use: removes it, with what users see
    /// of its error.
    pub fn discard(&self, stem: &OsStr) -> Result<(), PipelineError> {
        self.remove_output(stem)?;
        self.remove_error(stem)?;
        self.shown.as_ref().map_or(Ok(()), |shown| shown.remove(&self.pairing.error_name(stem)))
    }

    /// Removes its error, too. What users see stays.
    pub fn remove_error(&self, stem: &OsStr) -> Result<(), PipelineError> {
        self.outputs.remove(&self.pairing.error_name(stem))
    }

    /// Where outputs lie, and where users see them, which may be another file system.
    pub fn directories(&self) -> impl Iterator<Item = &OwnedFd> {
        std::iter::once(&self.outputs).chain(&self.shown).map(|directory| &directory.handle)
    }
}

fn link(from: impl AsFd, name: &OsStr, to: impl AsFd, as_name: &OsStr) -> rustix::io::Result<()> {
    rustix::fs::linkat(from, name, to, as_name, AtFlags::empty())
}

/// What stands of all tasks' work, by stem.
pub fn all_that_stands(places: &[Places]) -> Result<HashMap<OsString, Vec<Stands>>, PipelineError> {
    let mut all: HashMap<OsString, Vec<Stands>> = HashMap::new();
    for (task, places) in places.iter().enumerate() {
        for (stem, state, attempts) in places.stands()? {
            all.entry(stem).or_default().push(Stands { task, state, attempts });
        }
    }
    Ok(all)
}

/// A handle to each file system that something was written on.
pub fn file_systems<'a>(places: impl Iterator<Item = &'a Places>) -> io::Result<Vec<OwnedFd>> {
    let mut found = HashMap::new();
    for directory in places.flat_map(Places::directories) {
        found.entry(rustix::fs::fstat(directory)?.st_dev).or_insert(directory);
    }
    found.into_values().map(OwnedFd::try_clone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(root: &Path, keep: bool) -> Places {
        let pairing = Pairing { input: ".txt".parse().unwrap(), output: ".out".parse().unwrap() };
        Places::make(root, "t", pairing, keep).unwrap()
    }

    fn read(path: impl AsRef<Path>) -> String {
        fs::read_to_string(path).unwrap_or_else(|_| "-".into())
    }

    #[test]
    fn what_is_kept_has_two_names() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let mut places = places(dir.path(), true);
        let (inner, shown) = (outputs(dir.path(), "t").join("a.out"), dir.path().join("t/a.out"));
        let a = OsStr::new("a");
        assert!(!places.succeeded(a, false).unwrap(), "there is nothing yet");
        fs::write(&inner, "1").unwrap();
        assert!(places.succeeded(a, false).unwrap());
        assert!(places.succeeded(a, true).unwrap(), "once more is no error");
        assert_eq!(fs::metadata(&shown).unwrap().ino(), fs::metadata(&inner).unwrap().ino());
        // Another file is in the way.
        fs::remove_file(&shown).unwrap();
        fs::write(&shown, "old").unwrap();
        assert!(places.succeeded(a, false).unwrap());
        assert_eq!(read(&shown), "1");
        places.remove_output(a).unwrap();
        assert_eq!((read(&shown).as_str(), read(&inner).as_str()), ("1", "-"));
        assert_eq!(fs::read_dir(dir.path().join("t")).unwrap().count(), 1);
        // A kill left it.
        fs::write(dir.path().join("t").join(PART), "1").unwrap();
        self::places(dir.path(), true);
        assert_eq!(fs::read_dir(dir.path().join("t")).unwrap().count(), 1);
    }

    #[test]
    fn an_error_is_shown_until_it_is_overtaken() {
        let dir = tempfile::tempdir().unwrap();
        let mut places = places(dir.path(), false);
        let (inner, shown) = (outputs(dir.path(), "t"), dir.path().join("t"));
        let a = OsStr::new("a");
        assert!(!shown.exists(), "nothing is kept of it");
        fs::write(inner.join("a.err"), "first").unwrap();
        assert!(places.failed(a).unwrap());
        assert_eq!(read(shown.join("a.err")), "first");
        assert_eq!(places.stands().unwrap(), [("a".into(), State::Failed, 1)]);
        fs::remove_file(inner.join("a.err")).unwrap();
        fs::write(inner.join("a.err"), "second").unwrap();
        assert!(places.failed(a).unwrap());
        assert_eq!(read(shown.join("a.err")), "second");
        fs::write(inner.join("a.out"), "").unwrap();
        assert_eq!(places.stands().unwrap(), [("a".into(), State::Succeeded, 1)]);
        assert!(places.succeeded(a, true).unwrap());
        assert_eq!(fs::read_dir(&shown).unwrap().count(), 0);
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1);
    }
}
