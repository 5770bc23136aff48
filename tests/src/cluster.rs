//! Real Slurm clusters on this machine, one a test.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::{PATIENCE, wait_until};

/// Set to 1, it makes a test fail that finds no Slurm, as in CI. Else the test
/// is skipped.
const REQUIRE: &str = "TIGERFLOW_REQUIRE_SLURM";

/// How many clusters there may be at once: with more, daemons on a small machine
/// answer so late that Slurm takes them for dead.
const AT_ONCE: usize = 2;

/// What `start-cluster` exits with where Slurm cannot run.
const IMPOSSIBLE: i32 = 3;

/// The fields of a [`Job`], for squeue.
const FIELDS: &str = "%i|%A|%F|%K|%T|%r|%N";

/// What a cluster is to have. None of it must really be there.
#[derive(Debug, Clone)]
pub struct Options {
    /// Nodes, called `node1`, `node2`, …
    pub nodes: u32,
    /// Cores of a node.
    pub cpus: u32,
    /// Memory of a node, in MB. A job that asks for none has a core's share, and
    /// one that takes more than it has is killed.
    pub mem_mb: u32,
    /// GPUs of a node.
    pub gpus: u32,
    /// Seconds for which squeue knows of a job that ended.
    pub min_job_age: u32,
    /// Seconds from SIGTERM to SIGKILL.
    pub kill_wait: u32,
    /// Seconds for which a requeued job waits; 5 is the least, and it is one or
    /// two more.
    pub requeue_wait: u32,
    /// More lines for `slurm.conf`. They win over those that are there.
    pub extra: String,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            nodes: 2,
            cpus: 4,
            mem_mb: 8000,
            gpus: 0,
            min_job_age: 300,
            kill_wait: 2,
            requeue_wait: 5,
            extra: String::new(),
        }
    }
}

/// What squeue says of a job, or of a task of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// `12`, or `12_3` for a task of an array. It is the same after a requeue.
    pub id: String,
    /// `SLURM_JOB_ID` in the job. A task that has not begun has the array's.
    pub job_id: u64,
    /// What sbatch printed.
    pub array_base: u64,
    /// `SLURM_ARRAY_TASK_ID`, in an array.
    pub array_index: Option<u32>,
    /// `PENDING`, `RUNNING`, `COMPLETING`, `COMPLETED`, `FAILED`, …
    pub state: String,
    /// Why it waits or failed, or `None`.
    pub reason: String,
    /// Where it runs or ran, or nothing.
    pub node: String,
}

impl Job {
    /// The jobs in what squeue prints for [`squeue_arguments`].
    pub(crate) fn list(printed: &str) -> Vec<Job> {
        printed.lines().map(Job::parse).collect()
    }

    fn parse(line: &str) -> Job {
        let fields: Vec<&str> = line.split('|').collect();
        let [id, job_id, base, index, state, reason, node] = fields[..] else {
            panic!("squeue printed `{line}`");
        };
        Job {
            id: id.to_owned(),
            job_id: job_id.parse().expect("a job's number"),
            array_base: base.parse().expect("an array's number"),
            array_index: index.parse().ok(),
            state: state.to_owned(),
            reason: reason.to_owned(),
            node: node.to_owned(),
        }
    }
}

/// The arguments with which squeue prints what [`Job::list`] reads, of all jobs
/// that it knows.
pub(crate) fn squeue_arguments() -> [&'static str; 6] {
    ["-h", "-r", "-t", "all", "-o", FIELDS]
}

/// A file or directory of `tests/slurm`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("slurm").join(name)
}

/// A command that does not take itself to be in a job, or on a cluster, that the
/// tests happen to run in.
pub(crate) fn away_from_slurm(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["SLURM", "SBATCH_", "SQUEUE_", "SCANCEL_"].iter().any(|begin| text.starts_with(begin)) {
            command.env_remove(name);
        }
    }
    command
}

/// Clears up as soon as it is dropped, or this process is gone, however it went.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    /// With the shell's lines that clear up, and the arguments `$1`, … for them.
    pub(crate) fn new(lines: &str, arguments: &[&OsStr]) -> Guard {
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("cat >/dev/null\n{lines}"), "guard"])
            .args(arguments)
            // The end of this process closes it.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of the terminal's Ctrl-C.
            .process_group(0);
        Guard(command.spawn().expect("bash starts"))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// A running cluster. Dropped, it is gone with all of its jobs.
///
/// A job starts within a second of sbatch. Of what Slurm itself takes its time
/// for, [`Cluster::node_down`] is the quick way to a lost node: Slurm notices by
/// itself after half a minute.
#[derive(Debug)]
pub struct Cluster {
    root: PathBuf,
    // Dropped in this order: the place is free once the cluster is gone.
    _guard: Guard,
    _place: File,
}

impl Cluster {
    /// Starts one, after waiting for a place: there are never more than two, so a
    /// test must not hold one while it starts another. `None`, and a line that
    /// says so, where Slurm is not there.
    pub fn start(options: &Options) -> Option<Cluster> {
        if let Some(program) = missing() {
            return skip(&format!("`{program}` is not there"));
        }
        let place = place();
        // A short path, as sockets lie in it.
        let root = tempfile::Builder::new().prefix("tf-slurm-").tempdir_in("/tmp");
        let root = root.expect("a temporary directory").keep();
        let guard = Guard::new(
            r#""$1" "$2"; rm -rf "$2""#,
            &[script("stop-cluster").as_os_str(), root.as_os_str()],
        );
        let mut command = Command::new(script("start-cluster"));
        let started = away_from_slurm(&mut command)
            .arg(&root)
            .env("NODES", options.nodes.to_string())
            .env("CPUS", options.cpus.to_string())
            .env("MEM", options.mem_mb.to_string())
            .env("GPUS", options.gpus.to_string())
            .env("MINJOBAGE", options.min_job_age.to_string())
            .env("KILLWAIT", options.kill_wait.to_string())
            .env("REQUEUEWAIT", options.requeue_wait.to_string())
            .env("EXTRA_CONF", &options.extra)
            .output()
            .expect("start-cluster can be run");
        let told = String::from_utf8_lossy(&started.stderr);
        if started.status.code() == Some(IMPOSSIBLE) {
            return skip(told.trim());
        }
        assert!(started.status.success(), "no cluster: {told}");
        Some(Cluster { root, _guard: guard, _place: place })
    }

    /// `slurm.conf`, for `SLURM_CONF`.
    pub fn conf(&self) -> PathBuf {
        self.root.join("etc/slurm.conf")
    }

    /// A program that uses this cluster.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.aim(Command::new(program))
    }

    /// The host, with this cluster to submit to.
    pub fn host(&self) -> Command {
        self.aim(crate::host())
    }

    /// Makes a command use this cluster.
    pub fn aim(&self, mut command: Command) -> Command {
        away_from_slurm(&mut command).env("SLURM_CONF", self.conf());
        command
    }

    /// What a program of Slurm prints; it must succeed. A controller that gives no
    /// answer in time, as on a busy machine, is asked again.
    #[track_caller]
    pub fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            let mut command = self.command(program);
            command.args(arguments).stdin(Stdio::null());
            let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
            let told = String::from_utf8_lossy(&output.stderr);
            let unanswered =
                ["timed out", "Unable to contact"].iter().any(|how| told.contains(how));
            if output.status.success() || !unanswered || begun.elapsed() > PATIENCE {
                return printed(&command, &output);
            }
        }
    }

    /// Submits a script; returns the number of the job.
    #[track_caller]
    pub fn sbatch(&self, arguments: &[&str], script: &str) -> String {
        submit(self.command("sbatch"), arguments, script)
    }

    /// All jobs that Slurm knows of, ended ones among them.
    #[track_caller]
    pub fn squeue(&self) -> Vec<Job> {
        Job::list(&self.ask("squeue", &squeue_arguments()))
    }

    /// A job by its [`Job::id`].
    #[track_caller]
    pub fn job(&self, id: &str) -> Option<Job> {
        self.squeue().into_iter().find(|job| job.id == id)
    }

    /// The state of a job, or nothing where Slurm does not know it.
    #[track_caller]
    pub fn state(&self, id: &str) -> String {
        self.job(id).map(|job| job.state).unwrap_or_default()
    }

    /// Whether no job waits, runs or is about to end.
    #[track_caller]
    pub fn queue_is_empty(&self) -> bool {
        self.ask("squeue", &["-h", "-r"]).is_empty()
    }

    /// `scontrol`; returns what it printed.
    #[track_caller]
    pub fn scontrol(&self, arguments: &[&str]) -> String {
        self.ask("scontrol", arguments)
    }

    /// Cancels a job, an array (`12`) or a task of it (`12_3`).
    #[track_caller]
    pub fn cancel(&self, job: &str) {
        self.ask("scancel", &[job]);
    }

    /// Ends a job and puts it back into the queue, where it waits for some 6
    /// seconds (see [`Options::requeue_wait`]).
    #[track_caller]
    pub fn requeue(&self, job: &str) {
        self.scontrol(&["requeue", job]);
    }

    /// The processes of a job or of a task of an array, whatever Slurm knows of
    /// them: a node that Slurm has lost may go on working.
    pub fn processes(&self, job: &str) -> Vec<i32> {
        let conf = format!("SLURM_CONF={}", self.conf().display());
        let marks = match job.split_once('_') {
            Some((base, index)) => {
                vec![format!("SLURM_ARRAY_JOB_ID={base}"), format!("SLURM_ARRAY_TASK_ID={index}")]
            }
            None => vec![format!("SLURM_JOB_ID={job}")],
        };
        let of_job = |directory: &Path| {
            let environment = fs::read(directory.join("environ")).unwrap_or_default();
            let has = |mark: &str| environment.split(|&b| b == 0).any(|v| v == mark.as_bytes());
            // A step's own process has the settings of its daemon, and no job's.
            has(&conf) && marks.iter().all(|mark| has(mark))
        };
        let entries = fs::read_dir("/proc").expect("/proc can be listed");
        let entries = entries.filter_map(Result::ok);
        let numbers = entries.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
        numbers
            .filter(|pid| {
                let directory = PathBuf::from(format!("/proc/{pid}"));
                of_job(&directory) && alive(*pid)
            })
            .collect()
    }

    /// Takes a node out of service, at once. Its jobs are put back, or end as
    /// `NODE_FAIL` with `--no-requeue`; their processes are killed unless
    /// [`Cluster::kill_slurmd`] was there first.
    #[track_caller]
    pub fn node_down(&self, name: &str) {
        self.scontrol(&["update", &format!("NodeName={name}"), "State=DOWN", "Reason=test"]);
    }

    /// Puts a node back into service. Its daemon must run.
    #[track_caller]
    pub fn node_resume(&self, name: &str) {
        self.scontrol(&["update", &format!("NodeName={name}"), "State=RESUME"]);
        // A star means that it has not answered yet.
        wait_until(&format!("{name} is back"), || {
            ["idle", "mix", "alloc"].contains(&self.node_state(name).as_str())
        });
    }

    /// `idle`, `mix`, `alloc`, `down`, … and a star after it if it does not answer.
    #[track_caller]
    pub fn node_state(&self, name: &str) -> String {
        self.ask("sinfo", &["-h", "-N", "-n", name, "-o", "%t"]).trim().to_owned()
    }

    /// Kills a node's daemon. The jobs on the node go on, and Slurm notices after
    /// half a minute; with [`Cluster::node_down`] after it, it has lost the node
    /// at once.
    #[track_caller]
    pub fn kill_slurmd(&self, name: &str) {
        self.signal_daemon(&format!("slurmd-{name}"), Signal::KILL);
    }

    /// Starts a node's daemon again. It kills the processes of jobs that Slurm has
    /// given up.
    #[track_caller]
    pub fn start_slurmd(&self, name: &str) {
        self.daemon("slurmd", &["-N", name]);
    }

    /// Stops the controller, in good order. Until it is back, squeue, sbatch and
    /// scancel fail after 9 seconds (less with `MessageTimeout=3` in
    /// [`Options::extra`]), and jobs go on.
    #[track_caller]
    pub fn stop_controller(&self) {
        self.signal_daemon("slurmctld", Signal::TERM);
    }

    /// Starts the controller again. It answers at once, and starts no job until
    /// its nodes have answered, for some seconds.
    #[track_caller]
    pub fn start_controller(&self) {
        self.daemon("slurmctld", &[]);
        wait_until("the controller answers", || {
            let ping = self.command("scontrol").arg("ping").output();
            ping.expect("scontrol can be run").status.success()
        });
    }

    #[track_caller]
    fn daemon(&self, program: &str, arguments: &[&str]) {
        let path = find(program).expect("it is there, as it was when the cluster started");
        succeed(self.command(path).arg("-f").arg(self.conf()).args(arguments));
    }

    #[track_caller]
    fn signal_daemon(&self, name: &str, signal: Signal) {
        let file = self.root.join(format!("run/{name}.pid"));
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let pid = text.trim().parse().expect("a process's number");
        kill_process(Pid::from_raw(pid).expect("a process's number"), signal)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        wait_until(&format!("{name} is gone"), || !alive(pid));
        let _ = fs::remove_file(file);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.root.join("log/slurmctld.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(30)..];
            eprintln!("the controller's last words:\n{}", last.join("\n"));
        }
    }
}

/// Submits a script, and returns what `sbatch --parsable` printed.
#[track_caller]
pub(crate) fn submit(mut sbatch: Command, arguments: &[&str], script: &str) -> String {
    let mut child = sbatch
        .arg("--parsable")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sbatch can be run");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(script.as_bytes()).expect("sbatch reads its script");
    drop(stdin);
    let output = child.wait_with_output().expect("sbatch ends");
    printed(&sbatch, &output).trim().to_owned()
}

/// Runs a command that must succeed; returns what it printed.
#[track_caller]
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
    printed(command, &output)
}

#[track_caller]
fn printed(command: &Command, output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{told}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether a process is there, and no zombie.
pub fn alive(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name is in parentheses, and may hold anything.
    let state = status.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where the daemons are is not on everyone's PATH.
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    places.map(|place| place.join(program)).find(|file| file.is_file())
}

fn missing() -> Option<&'static str> {
    ["munged", "slurmctld", "slurmd", "sbatch"].into_iter().find(|program| find(program).is_none())
}

fn skip(why: &str) -> Option<Cluster> {
    let how = "`cargo xtask setup slurm` installs it";
    let required = std::env::var_os(REQUIRE).is_some_and(|value| value == "1");
    assert!(!required, "{REQUIRE}=1, and there is no Slurm: {why}; {how}");
    // Past what the test runner captures: a skipped test looks like a passed one.
    let _ = writeln!(std::io::stderr(), "SKIPPED a test on a Slurm cluster: {why}; {how}");
    None
}

/// Waits for one of the places that clusters have on this machine, in whatever
/// process.
fn place() -> File {
    let user = geteuid().as_raw();
    let open = |number| {
        let path = std::env::temp_dir().join(format!("tigerflow-slurm-{user}-{number}.lock"));
        File::options().create(true).append(true).open(path).expect("a lock file can be made")
    };
    loop {
        for number in 0..AT_ONCE {
            let file = open(number);
            match file.try_lock() {
                Ok(()) => return file,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => panic!("a lock file: {error}"),
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
