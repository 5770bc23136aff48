//! A host that is at work while a test does something to it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};
use tigerflow_tests::{Bench, Done, assert_sound, wait, wait_until};

/// A running host. What is left of it is killed when it is dropped.
pub struct Live {
    child: Option<Child>,
    log: PathBuf,
}

impl Live {
    /// Starts it. Its stderr goes to a file, so that it can be read meanwhile.
    #[track_caller]
    pub fn start(bench: &Bench, command: &mut Command) -> Live {
        let number = fs::read_dir(bench.path()).expect("the place can be listed").count();
        let log = bench.path().join(format!("log-{number}"));
        let stderr = File::create(&log).expect("a log can be made");
        let stdout = File::create(log.with_extension("stdout")).expect("a log can be made");
        let child = command.stdout(stdout).stderr(stderr).spawn().expect("the host starts");
        Live { child: Some(child), log }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// What it wrote to stderr so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).expect("the log can be read")).into_owned()
    }

    /// What it wrote to stdout so far.
    pub fn stdout(&self) -> String {
        let bytes = fs::read(self.log.with_extension("stdout")).expect("it can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until stderr holds this text.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        wait_until(&format!("stderr says `{text}`"), || self.log().contains(text));
        self
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        let child = self.child.as_mut().expect("it is waited for once");
        child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Sends a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) -> &Self {
        let pid = Pid::from_raw(self.pid().try_into().expect("a process id")).expect("not zero");
        kill_process(pid, signal).expect("it can be signalled");
        self
    }

    /// Kills it at once. Fails where it had ended by itself.
    #[track_caller]
    pub fn kill(mut self) {
        assert!(self.runs(), "it ended before it was killed:\n{}", self.log());
        self.signal(Signal::KILL);
        self.wait().expect(128 + 9);
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Done {
        let done = wait(self.child.take().expect("it is waited for once"));
        assert_sound(&self.log());
        Done { stdout: self.stdout(), stderr: self.log(), ..done }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what the host said so far:\n{}", self.log());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The directory through which the guest `gated` is told when to go on.
pub struct Gate(PathBuf);

impl Gate {
    /// A closed one.
    pub fn new(bench: &Bench) -> Gate {
        let gate = bench.path().join("gate");
        fs::create_dir(&gate).expect("a gate");
        Gate(gate)
    }

    /// The grant for the guest: the value of `--dir`.
    pub fn grant(&self) -> String {
        format!("{}::/gate:rw", self.0.display())
    }

    /// Lets all inputs pass, or with `open-NAME` this one.
    pub fn open(&self, name: &str) {
        fs::write(self.0.join(name), "").expect("the gate can be opened");
    }

    /// Whether the guest left this.
    pub fn has(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }

    /// Waits until the guest left this.
    #[track_caller]
    pub fn wait(&self, name: &str) {
        wait_until(&format!("the guest leaves `{name}`"), || self.has(name));
    }

    /// How many things the guest left whose names begin so.
    pub fn count(&self, prefix: &str) -> usize {
        fs::read_dir(&self.0)
            .expect("the gate can be listed")
            .filter(|entry| {
                let name = entry.as_ref().expect("an entry").file_name();
                name.to_string_lossy().starts_with(prefix)
            })
            .count()
    }
}
