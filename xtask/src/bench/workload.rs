//! Input files, and the host's command line over them.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};

use super::{Bench, measure};
use crate::repo;

/// A folder of inputs and one of outputs that is empty before each run.
pub struct Workload {
    pub input: PathBuf,
    pub output: PathBuf,
    pub files: usize,
}

impl Workload {
    /// `files` text files of `size` bytes each, of letters, in `SCRATCH/NAME`.
    pub fn new(bench: &Bench, name: &str, files: usize, size: usize) -> Result<Self> {
        Self::in_folder(&bench.scratch.join(name), files, size)
    }

    /// The same in another folder.
    pub fn in_folder(folder: &Path, files: usize, size: usize) -> Result<Self> {
        Self::made(folder, files, |file| {
            let letter = |index: usize| b'a' + ((index * 7 + file) % 26) as u8;
            (0..size).map(|index| if index % 64 == 63 { b'\n' } else { letter(index) }).collect()
        })
    }

    /// `files` texts of words of some letters, frequent ones and rare ones, in `SCRATCH/NAME`.
    pub fn texts(bench: &Bench, name: &str, files: usize, size: usize) -> Result<Self> {
        Self::of(bench, name, files, |file| {
            let mut state = file as u64 + 1;
            let mut next = move || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize
            };
            let mut text = Vec::with_capacity(size + 16);
            while text.len() < size {
                // The smaller of three: some words are frequent, most are rare.
                let mut word = (next() % 20_000).min(next() % 20_000).min(next() % 20_000) + 26;
                while word > 0 {
                    text.push(b'a' + (word % 26) as u8);
                    word /= 26;
                }
                text.push(if next() % 12 == 0 { b'\n' } else { b' ' });
            }
            text.truncate(size);
            text
        })
    }

    /// `files` files of the same content, in `SCRATCH/NAME`.
    pub fn saying(bench: &Bench, name: &str, files: usize, content: &str) -> Result<Self> {
        Self::of(bench, name, files, |_| content.into())
    }

    fn of(
        bench: &Bench,
        name: &str,
        files: usize,
        content: impl Fn(usize) -> Vec<u8>,
    ) -> Result<Self> {
        Self::made(&bench.scratch.join(name), files, content)
    }

    fn made(folder: &Path, files: usize, content: impl Fn(usize) -> Vec<u8>) -> Result<Self> {
        let input = folder.join("in");
        fs::create_dir_all(&input)
            .with_context(|| format!("could not create {}", input.display()))?;
        for file in 0..files {
            let path = input.join(format!("{file:07}.txt"));
            fs::write(&path, content(file))
                .with_context(|| format!("could not write {}", path.display()))?;
        }
        Ok(Self { input, output: folder.join("out"), files })
    }

    /// Empties the outputs.
    pub fn reset(&self) -> Result<()> {
        repo::remove_dir(&self.output)?;
        fs::create_dir_all(&self.output)
            .with_context(|| format!("could not create {}", self.output.display()))
    }

    /// Removes all of it.
    pub fn remove(self) -> Result<()> {
        repo::remove_dir(self.input.parent().expect("the workload has a folder"))
    }

    /// Checks that every output is there, with what upper-casing makes of the input in a sample of them.
    pub fn check(&self) -> Result<()> {
        let outputs = count(&self.output, ".txt");
        if outputs != self.files {
            bail!("{} outputs in {} instead of {}", outputs, self.output.display(), self.files);
        }
        for file in (0..self.files).step_by(self.files.div_ceil(16)) {
            let name = format!("{file:07}.txt");
            let input = fs::read_to_string(self.input.join(&name))?;
            if fs::read_to_string(self.output.join(&name))? != input.to_uppercase() {
                bail!("{} is not its input in upper case", self.output.join(&name).display());
            }
        }
        Ok(())
    }

    /// When the first output was published, and when the last.
    ///
    /// A rename sets a file's time of change, to a timer tick (4 ms).
    pub fn published(&self) -> Result<(SystemTime, SystemTime)> {
        let mut times = vec![];
        for entry in fs::read_dir(&self.output)? {
            let data = entry?.metadata()?;
            if !data.is_file() {
                continue;
            }
            let (seconds, nanoseconds) =
                (u64::try_from(data.ctime())?, u32::try_from(data.ctime_nsec())?);
            times.push(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds));
        }
        let (first, last) = (times.iter().min(), times.iter().max());
        Ok((*first.context("there is no output")?, *last.context("there is no output")?))
    }

    /// The first output to wait for, where there is one file.
    pub fn only_output(&self) -> PathBuf {
        self.output.join("0000000.txt")
    }

    /// The host's run over this workload, which logs failures only.
    pub fn host(&self, bench: &Bench, component: &Path, concurrency: usize) -> Command {
        let mut command = self.host_with_log(bench, component, concurrency);
        command.arg("-q");
        command
    }

    /// The host's run over this workload with its usual two log lines a file.
    pub fn host_with_log(&self, bench: &Bench, component: &Path, concurrency: usize) -> Command {
        let mut command = measure::program(&bench.host);
        command.env("TIGERFLOW_CACHE_DIR", &bench.cache);
        command.arg("run").arg(component);
        command.arg("--input-dir").arg(&self.input).args(["--input-ext", ".txt"]);
        command.arg("--output-dir").arg(&self.output).args(["--output-ext", ".txt"]);
        command.args(["--once", "--concurrency-limit", &concurrency.to_string()]);
        command
    }
}

/// How many names in `folder` end in `suffix`.
pub fn count(folder: &Path, suffix: &str) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let hidden = |name: &str| name.starts_with('.');
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(suffix) && !hidden(name))
        .count()
}
