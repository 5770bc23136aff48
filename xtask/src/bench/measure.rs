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
}

impl Finished {
    pub fn seconds(&self) -> f64 {
        self.wall.as_secs_f64()
    }

    pub fn peak_mib(&self) -> f64 {
        self.peak_memory as f64 / (1024.0 * 1024.0)
    }
}

/// Runs a command to its end; anything but success is an error with what it printed.
pub fn run(command: &mut Command) -> Result<Finished> {
    let start = Instant::now();
    let mut child =
        process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()))?;
    let errors = child.stderr.take().expect("stderr is piped");
    let reader = thread::spawn(move || io::read_to_string(errors).unwrap_or_default());
    let (status, peak_memory) = wait(&child)?;
    let wall = start.elapsed();
    if !status.success() {
        let printed = reader.join().unwrap_or_default();
        let tail: Vec<&str> = printed.lines().rev().take(5).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        bail!("`{}` failed ({status}):\n{}", process::shown(command), tail.join("\n"));
    }
    Ok(Finished { wall, peak_memory })
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

/// Waits for the child and returns its status and its peak memory in bytes.
fn wait(child: &Child) -> Result<(ExitStatus, u64)> {
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
    // Linux counts it in KiB.
    let peak = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024;
    Ok((ExitStatus::from_raw(status), peak))
}
