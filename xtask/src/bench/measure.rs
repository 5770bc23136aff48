//! Processes measured from outside: wall time, CPU time, peak memory, and when a file appeared.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::process;

/// A process that ended.
pub struct Finished {
    /// From just before it was started to when it had ended.
    pub wall: Duration,
    /// Its largest resident set, in bytes. The kernel counts the starting process into it, which here is small.
    pub peak_memory: u64,
    /// CPU time of all its threads, in the kernel and outside.
    pub cpu: Duration,
    /// What it wrote to stderr.
    pub log: String,
}

impl Finished {
    pub fn seconds(&self) -> f64 {
        self.wall.as_secs_f64()
    }

    pub fn peak_mib(&self) -> f64 {
        self.peak_memory as f64 / (1024.0 * 1024.0)
    }
}

/// A program to be measured.
pub fn program(path: impl AsRef<Path>) -> Command {
    let mut command = process::command(path.as_ref());
    // Whoever has these set would measure how long backtraces take: errors keep one, also those that nobody sees.
    command.env_remove("RUST_BACKTRACE").env_remove("RUST_LIB_BACKTRACE");
    command
}

/// Runs a command to its end; anything but success is an error with what it printed.
pub fn run(command: &mut Command) -> Result<Finished> {
    let start = Instant::now();
    let mut child =
        process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()))?;
    let errors = child.stderr.take().expect("stderr is piped");
    let reader = thread::spawn(move || io::read_to_string(errors).unwrap_or_default());
    let ended = wait(&child)?;
    let wall = start.elapsed();
    let log = reader.join().unwrap_or_default();
    if !ended.status.success() {
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        bail!("`{}` failed ({}):\n{}", process::shown(command), ended.status, tail.join("\n"));
    }
    Ok(Finished { wall, peak_memory: ended.peak_memory, cpu: ended.cpu, log })
}

/// Starts a command and returns how long it took until `file` existed; the process goes on.
pub fn until_file(
    command: &mut Command,
    file: &Path,
    limit: Duration,
) -> Result<(Duration, Child)> {
    let start = Instant::now();
    let mut child =
        process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
    // Asking costs 2 µs and the pause is short beside the milliseconds measured; a watch for events would wake later.
    while !file.exists() {
        if start.elapsed() > limit {
            stop(&mut child)?;
            bail!(
                "`{}` published no {} within {} s",
                process::shown(command),
                file.display(),
                limit.as_secs()
            );
        }
        thread::sleep(Duration::from_micros(50));
    }
    Ok((start.elapsed(), child))
}

/// Asks a process to end, and waits; after 10 s it is killed.
pub fn stop(child: &mut Child) -> Result<()> {
    let id = libc::pid_t::try_from(child.id()).context("a process id that is too large")?;
    // SAFETY: `kill` has no memory effects; the child was not waited for, so its id is still its own.
    unsafe { libc::kill(id, libc::SIGTERM) };
    let asked = Instant::now();
    while child.try_wait()?.is_none() {
        if asked.elapsed() > Duration::from_secs(10) {
            child.kill()?;
            child.wait()?;
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// What the kernel tells of a process that ended.
pub struct Ended {
    pub status: ExitStatus,
    /// In bytes.
    pub peak_memory: u64,
    pub cpu: Duration,
}

/// Waits for the child.
pub fn wait(child: &Child) -> Result<Ended> {
    let id = libc::pid_t::try_from(child.id()).context("a process id that is too large")?;
    let mut status = 0;
    // SAFETY: all-zero bytes are a valid `rusage`, a structure of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live variables of the right types.
        let waited = unsafe { libc::wait4(id, &raw mut status, 0, &raw mut usage) };
        if waited == id {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error).context("could not wait for a process");
        }
    }
    let time = |time: libc::timeval| {
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::from_secs(seconds)
            + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
    };
    Ok(Ended {
        status: ExitStatus::from_raw(status),
        // Linux counts it in KiB.
        peak_memory: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
    })
}
