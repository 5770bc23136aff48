//! What every end-to-end test needs: a place with an input and an output
//! directory, the built host, and components to run in it.

pub mod cluster;
pub mod fake_slurm;
pub mod random;

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for something that must happen. Far beyond what it takes on a
/// slow machine: a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").join("target")
}

fn built(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run `cargo xtask build --guests`", path.display());
    path
}

/// The host that is to be tested, where it is not the one of the usual build.
const BINARY: &str = "TIGERFLOW_TEST_BINARY";

/// The built host.
pub fn binary() -> PathBuf {
    let given = std::env::var_os(BINARY).map(PathBuf::from);
    built(given.unwrap_or_else(|| target().join("release/tigerflow-host")))
}

/// A guest of `tests/guests`.
pub fn guest(name: &str) -> PathBuf {
    built(target().join(format!("components/guests/{name}.wasm")))
}

/// A plugin of `plugins`.
pub fn plugin(name: &str) -> PathBuf {
    built(target().join(format!("components/{name}.wasm")))
}

/// A component of `tests/conformance`.
pub fn conformance(language: &str) -> PathBuf {
    built(target().join(format!("components/conformance/{language}.wasm")))
}

/// The host, to be given arguments. Compiled components are shared between
/// tests, and with nobody else.
pub fn host() -> Command {
    let mut command = Command::new(binary());
    command.env("TIGERFLOW_CACHE_DIR", target().join("tmp/cache")).stdin(Stdio::null());
    command
}

/// What a run of the host left behind.
#[derive(Debug)]
pub struct Done {
    /// The exit code; 128+n for a process that signal n killed.
    pub code: i32,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
}

impl Done {
    /// Fails unless the exit code is this one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless stderr holds this text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "`{text}` is missing in stderr:\n{}", self.stderr);
        self
    }
}

/// The same command under a limit of the shell, as `-n 400`: 400 files open at once.
pub fn limited(limit: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("ulimit {limit}; exec \"$0\" \"$@\""));
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// Runs a command to its end.
pub fn finish(command: &mut Command) -> Done {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    wait(child)
}

/// Waits for a child to end, and no longer than [`PATIENCE`] times four.
pub fn wait(mut child: Child) -> Done {
    let read = |stream: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stream) = stream {
                stream.read_to_end(&mut text).expect("a pipe can be read");
            }
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = read(child.stdout.take().map(|s| Box::new(s) as _));
    let stderr = read(child.stderr.take().map(|s| Box::new(s) as _));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if begun.elapsed() > 4 * PATIENCE {
            child.kill().expect("a child can be killed");
            let _ = child.wait();
            panic!("it does not end; stderr:\n{}", stderr.join().expect("the reader ends"));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let done = Done {
        code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
        stdout: stdout.join().expect("the reader ends"),
        stderr: stderr.join().expect("the reader ends"),
    };
    assert_sound(&done.stderr);
    done
}

/// Fails where the host itself was at fault, whatever else came of a run.
#[track_caller]
pub fn assert_sound(stderr: &str) {
    assert!(!stderr.contains("an internal fault of tigerflow-host"), "{stderr}");
    // A guest's panic is told on a line that begins with the time, or not at all.
    assert!(!stderr.lines().any(|line| line.starts_with("thread '")), "{stderr}");
}

/// Waits until something holds.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it did not come to pass: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An input and an output directory in a temporary place.
pub struct Bench {
    /// The place itself.
    pub root: TempDir,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// With empty directories `in` and `out`.
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(root.path().join("in")).expect("in");
        fs::create_dir(root.path().join("out")).expect("out");
        Bench { root }
    }

    /// The place's path.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// The input directory.
    pub fn input(&self) -> PathBuf {
        self.path().join("in")
    }

    /// The output directory.
    pub fn output(&self) -> PathBuf {
        self.path().join("out")
    }

    /// Adds an input file.
    pub fn add(&self, name: impl AsRef<OsStr>, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.input().join(name.as_ref()), content).expect("an input can be written");
        self
    }

    /// Adds an input whole at once, for a server that waits for no file to
    /// settle.
    pub fn arrive(&self, name: impl AsRef<OsStr>, content: impl AsRef<[u8]>) -> &Self {
        self.add("part", content);
        let input = self.input();
        fs::rename(input.join("part"), input.join(name.as_ref())).expect("it can be renamed");
        self
    }

    /// The content of an output file, as text.
    #[track_caller]
    pub fn out(&self, name: impl AsRef<OsStr>) -> String {
        let path = self.output().join(name.as_ref());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Whether an output file is there.
    pub fn has(&self, name: impl AsRef<OsStr>) -> bool {
        self.output().join(name.as_ref()).symlink_metadata().is_ok()
    }

    /// The content of an `.err` file.
    #[track_caller]
    pub fn err(&self, name: impl AsRef<OsStr>) -> Value {
        serde_json::from_str(&self.out(name)).expect("an .err is JSON")
    }

    /// The records of a task's journal, but for a last line that is not whole.
    pub fn journal(&self, task: &str) -> Vec<Value> {
        let path = self.output().join(".tigerflow").join(task).join("journal.jsonl");
        let lines = fs::read(path).unwrap_or_default();
        lines.split(|&b| b == b'\n').filter_map(|l| serde_json::from_slice(l).ok()).collect()
    }

    /// What became of the attempts at a file, one after another.
    pub fn attempts(&self, task: &str, file: &str) -> Vec<Value> {
        let mut records = self.journal(task);
        records.retain(|record| record["event"] == "attempt" && record["file"] == file);
        records
    }

    /// The outcomes of the attempts at a file, one after another.
    pub fn history(&self, task: &str, file: &str) -> Vec<String> {
        let attempts = self.attempts(task, file);
        let word = |attempt: &Value| attempt["outcome"].as_str().expect("a word").to_owned();
        attempts.iter().map(word).collect()
    }

    /// What `status --json` says of the only task in the output directory, or
    /// nothing.
    pub fn status(&self) -> Value {
        let done = finish(host().arg("status").arg(self.output()).arg("--json"));
        let reports = serde_json::from_str::<Value>(&done.stdout).unwrap_or_default();
        reports[0].clone()
    }

    /// After a run in good order a workspace holds its three records, and
    /// nothing that was being written.
    #[track_caller]
    pub fn assert_tidy(&self, task: &str) {
        let workspace = self.output().join(".tigerflow").join(task);
        let list = |directory: &Path| -> Vec<String> {
            let entries = fs::read_dir(directory).expect("it can be listed");
            let name = |e: std::io::Result<fs::DirEntry>| e.expect("an entry").file_name();
            let mut names: Vec<_> =
                entries.map(|e| name(e).to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(list(&workspace), ["journal.jsonl", "lock", "run.json", "staging"]);
        assert_eq!(list(&workspace.join("staging")), [""; 0], "staging is empty");
    }

    /// The names of all output files, sorted; the workspace is left out.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.output())
            .expect("out can be listed")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name != ".tigerflow")
            .collect();
        names.sort();
        names
    }

    /// `run COMPONENT` on these directories, `.txt` to `.out`, without `--once`.
    pub fn serve(&self, component: &Path, more: &[&str]) -> Command {
        let mut command = host();
        command
            .arg("run")
            .arg(component)
            .arg("--input-dir")
            .arg(self.input())
            .args(["--input-ext", ".txt", "--output-ext", ".out", "--output-dir"])
            .arg(self.output())
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// `run COMPONENT --once` on these directories, to its end.
    pub fn run(&self, component: &Path, more: &[&str]) -> Done {
        finish(self.serve(component, more).arg("--once"))
    }
}
