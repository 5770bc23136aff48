//! The host as a user whom permissions bind, where the tests run as root.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use tigerflow_tests::{Bench, binary};

/// The user and group `nobody`.
const NOBODY: u32 = 65534;

/// Commands of a user who is not root.
pub struct Unprivileged {
    binary: PathBuf,
    component: PathBuf,
    wrapper: Option<&'static str>,
}

impl Unprivileged {
    /// As `nobody` where the tests run as root, and else as who they run as.
    /// `None`, and a line that says so, where there is no way to change. The
    /// bench's directories are that user's afterwards.
    pub fn new(bench: &Bench, component: &Path) -> Option<Unprivileged> {
        if !rustix::process::geteuid().is_root() {
            let (binary, component) = (binary(), component.to_path_buf());
            return Some(Unprivileged { binary, component, wrapper: None });
        }
        if Command::new("setpriv").arg("--version").output().is_err() {
            eprintln!(
                "SKIPPED: permissions do not bind root, and `setpriv` (util-linux) is not there"
            );
            return None;
        }
        // Copies, as the checkout may be out of that user's reach.
        let copy = |from: &Path, name: &str| {
            let to = bench.path().join(name);
            fs::copy(from, &to).expect("it can be copied");
            to
        };
        let made = Unprivileged {
            binary: copy(&binary(), "tigerflow-host"),
            component: copy(component, "task.wasm"),
            wrapper: Some("setpriv"),
        };
        for path in [bench.path(), &bench.input(), &bench.output()] {
            give(path);
        }
        Some(made)
    }

    /// `run TASK --once` from one directory into another, `.txt` to `.out`.
    pub fn run(&self, bench: &Bench, input: &Path, output: &Path) -> Command {
        let mut command = match self.wrapper {
            None => Command::new(&self.binary),
            Some(wrapper) => {
                let mut command = Command::new(wrapper);
                let id = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
                command.args(id).arg("--clear-groups").arg(&self.binary);
                command
            }
        };
        command
            .env("TIGERFLOW_CACHE_DIR", bench.path().join("cache"))
            .arg("run")
            .arg(&self.component)
            .args(["--once", "--input-ext", ".txt", "--output-ext", ".out", "--input-dir"])
            .arg(input)
            .arg("--output-dir")
            .arg(output);
        command
    }
}

/// Makes a file that user's own, where the tests run as root.
pub fn give(path: &Path) {
    if rustix::process::geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("root can give files away");
    }
}
