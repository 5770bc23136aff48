//! A fake Slurm: `sbatch`, `squeue` and `scancel` whose jobs are processes of this
//! machine. It is quick, needs nothing installed, and fails on demand.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cluster::{self, Guard, Job, script};

/// How many times something is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// So many times, and then no more.
    Next(u32),
    /// Until [`FakeSlurm::mend`].
    Always,
}

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `sbatch`, without accepting the job. Calls with `--test-only` do not count.
    Submission,
    /// `sbatch --test-only`.
    Check,
    /// `sbatch`, after the job was accepted: nobody is told its number.
    Reply,
    /// `squeue`.
    Query,
    /// `scancel`.
    Cancellation,
}

impl Fault {
    fn word(self) -> &'static str {
        match self {
            Fault::Submission => "sbatch",
            Fault::Check => "sbatch-test-only",
            Fault::Reply => "sbatch-reply",
            Fault::Query => "squeue",
            Fault::Cancellation => "scancel",
        }
    }
}

/// What a program was called with.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The script that `sbatch` was given.
    pub script: String,
}

impl Call {
    /// Whether an argument is this word.
    pub fn has(&self, word: &str) -> bool {
        self.arguments.iter().any(|argument| argument == word)
    }
}

/// A cluster that is none, with four nodes of any size. Dropped, all of its jobs
/// are gone.
///
/// A job starts at once. What has ended stays known; see [`FakeSlurm::forget`].
/// Its numbers and words are those of Slurm 22.05; its time limits are only told.
#[derive(Debug)]
pub struct FakeSlurm {
    root: PathBuf,
    _guard: Guard,
}

impl Default for FakeSlurm {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeSlurm {
    /// With no job.
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("tf-fake-slurm-").tempdir();
        let root = root.expect("a temporary directory").keep();
        for name in ["calls", "batches", "jobs"] {
            fs::create_dir(root.join(name)).expect("a directory can be made");
        }
        // What watches a job may write while the directory goes.
        let lines = r#"FAKE_SLURM_DIR=$2 "$1" end
            for i in {1..100}; do rm -rf "$2" && break; sleep 0.05; done"#;
        let guard = Guard::new(lines, &[script("fake-control").as_os_str(), root.as_os_str()]);
        FakeSlurm { root, _guard: guard }
    }

    /// Where the fake keeps its state, for looking into it after a failure.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A program that finds the fake `sbatch`, `squeue` and `scancel`, or one of
    /// these.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let program = program.as_ref();
        let own = script("fake").join(program);
        self.aim(if own.is_file() { Command::new(own) } else { Command::new(program) })
    }

    /// The host, with the fake to submit to.
    pub fn host(&self) -> Command {
        self.aim(crate::host())
    }

    /// Makes a command use the fake.
    pub fn aim(&self, mut command: Command) -> Command {
        let mut path = script("fake").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        cluster::away_from_slurm(&mut command).env("PATH", path).env("FAKE_SLURM_DIR", &self.root);
        command
    }

    /// What a program (`sbatch`, `squeue`, `scancel`) was called with, in order.
    pub fn calls(&self, program: &str) -> Vec<Call> {
        let entries = fs::read_dir(self.root.join("calls")).expect("calls can be listed");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(&format!("-{program}")))
            .collect();
        names.sort();
        let read = |name: &String, file: &str| {
            let bytes = fs::read(self.root.join("calls").join(name).join(file));
            String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
        };
        names
            .iter()
            .map(|name| {
                let words = read(name, "argv");
                let arguments = words.split_terminator('\0').map(str::to_owned).collect();
                Call { arguments, script: read(name, "script") }
            })
            .collect()
    }

    /// The calls of `sbatch` that were to submit a job, whatever came of them.
    pub fn submissions(&self) -> Vec<Call> {
        let mut calls = self.calls("sbatch");
        calls.retain(|call| !call.has("--test-only"));
        calls
    }

    /// Submits a script; returns the number of the job.
    #[track_caller]
    pub fn sbatch(&self, arguments: &[&str], script: &str) -> String {
        cluster::submit(self.command("sbatch"), arguments, script)
    }

    /// All jobs that the fake knows of. It is no call of squeue.
    #[track_caller]
    pub fn squeue(&self) -> Vec<Job> {
        let mut squeue = self.command("squeue");
        squeue.args(cluster::squeue_arguments()).env("FAKE_SLURM_UNSEEN", "1");
        Job::list(&cluster::succeed(squeue.stdin(Stdio::null())))
    }

    /// A job by its [`Job::id`].
    #[track_caller]
    pub fn job(&self, id: &str) -> Option<Job> {
        self.squeue().into_iter().find(|job| job.id == id)
    }

    /// The state of a job, or nothing where the fake does not know it.
    #[track_caller]
    pub fn state(&self, id: &str) -> String {
        self.job(id).map(|job| job.state).unwrap_or_default()
    }

    /// Whether no job waits, runs or is about to end.
    #[track_caller]
    pub fn queue_is_empty(&self) -> bool {
        let open = ["PENDING", "RUNNING", "COMPLETING"];
        !self.squeue().iter().any(|job| open.contains(&job.state.as_str()))
    }

    /// The process of a job's script, which leads a group of its own, while it
    /// runs.
    pub fn process(&self, id: &str) -> Option<i32> {
        let text = fs::read_to_string(self.root.join("jobs").join(id).join("pid")).ok()?;
        text.trim().parse().ok()
    }

    /// Makes something fail, with this on stderr. A later word about the same
    /// fault takes its place.
    pub fn fail(&self, fault: Fault, times: Times, code: u8, stderr: &str) {
        let times = match times {
            Times::Next(0) => return self.mend(fault),
            Times::Next(times) => times.to_string(),
            Times::Always => "always".to_owned(),
        };
        self.write(&format!("fail-{}", fault.word()), &format!("{times}\n{code}\n{stderr}\n"));
    }

    /// Ends a fault.
    pub fn mend(&self, fault: Fault) {
        let _ = fs::remove_file(self.root.join(format!("fail-{}", fault.word())));
    }

    /// The next so many submissions fail, with exit code 1 and this on stderr.
    pub fn fail_submissions(&self, times: u32, stderr: &str) {
        self.fail(Fault::Submission, Times::Next(times), 1, stderr);
    }

    /// squeue fails, as it does where the controller is down (though at once).
    pub fn squeue_down(&self, down: bool) {
        if down {
            let text =
                "slurm_load_jobs error: Unable to contact slurm controller (connect failure)";
            self.fail(Fault::Query, Times::Always, 1, text);
        } else {
            self.mend(Fault::Query);
        }
    }

    /// Makes each call of a program take longer.
    pub fn delay(&self, program: &str, time: Duration) {
        self.write(&format!("delay-{program}"), &format!("{}\n", time.as_secs_f64()));
    }

    /// What is submitted from now on waits (`Resources`), until this is called
    /// with `false`: then all that waits starts.
    #[track_caller]
    pub fn hold(&self, hold: bool) {
        if hold {
            self.hold_for("Resources");
        } else {
            self.control(&["release"]);
        }
    }

    /// As [`FakeSlurm::hold`], for a reason.
    #[track_caller]
    pub fn hold_for(&self, reason: &str) {
        self.control(&["hold", reason]);
    }

    /// Starts what is held of an array (`12`), or a job (`12_3`).
    #[track_caller]
    pub fn release(&self, job: &str) {
        self.control(&["release", job]);
    }

    /// At most so many jobs run at once; others wait (`Resources`).
    #[track_caller]
    pub fn slots(&self, slots: u32) {
        self.control(&["slots", &slots.to_string()]);
    }

    /// Makes squeue tell a state of a job or an array, whatever it does. Its
    /// processes are left alone.
    #[track_caller]
    pub fn set_state(&self, job: &str, state: &str) {
        let reason = match state {
            "NODE_FAIL" => "NodeDown",
            "TIMEOUT" => "TimeLimit",
            "OUT_OF_MEMORY" => "OutOfMemory",
            "FAILED" => "NonZeroExitCode",
            "PENDING" => "Resources",
            _ => "None",
        };
        self.control(&["change", job, state, reason]);
    }

    /// Takes back what [`FakeSlurm::set_state`] did.
    #[track_caller]
    pub fn true_state(&self, job: &str) {
        self.control(&["change", job, "", ""]);
    }

    /// squeue knows nothing of a job any more, as some minutes after its end. Its
    /// processes go on.
    #[track_caller]
    pub fn forget(&self, job: &str) {
        self.control(&["forget", job]);
    }

    /// Sends a signal (`KILL`, `TERM`, …) to all processes of a job.
    #[track_caller]
    pub fn kill(&self, job: &str, signal: &str) {
        self.control(&["signal", job, signal]);
    }

    /// Ends a job and starts it again, with `SLURM_RESTART_COUNT` set.
    #[track_caller]
    pub fn requeue(&self, job: &str) {
        self.control(&["requeue", job]);
    }

    /// Starts a job again while its first processes go on, as those on a node that
    /// Slurm has lost.
    #[track_caller]
    pub fn lose_node(&self, job: &str) {
        self.control(&["lose-node", job]);
    }

    #[track_caller]
    fn control(&self, arguments: &[&str]) {
        let mut command = self.aim(Command::new(script("fake-control")));
        cluster::succeed(command.args(arguments).stdin(Stdio::null()));
    }

    /// Writes a file of the fake's, whole at once.
    fn write(&self, name: &str, content: &str) {
        let part = self.root.join(format!("{name}.part"));
        fs::write(&part, content).expect("a file can be written");
        fs::rename(part, self.root.join(name)).expect("it can be renamed");
    }
}
