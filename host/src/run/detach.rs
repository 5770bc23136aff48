//! Leaves the terminal behind, once a run has begun.

use std::fs::File;
use std::io::{self, Write};

use rustix::process::setsid;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Says from now on in `log` what went to the terminal, and what it said there so
/// far. The process that waits at the other end of stdin is told that the run has
/// begun; if there is none any more, the run goes on all the same.
pub fn leave_terminal(mut log: File) -> io::Result<()> {
    let null = File::open("/dev/null")?;
    log.write_all(&crate::log::take_kept())?;
    // Neither Ctrl-C nor the end of the terminal reaches it then.
    setsid()?;
    dup2_stdout(&log)?;
    dup2_stderr(&log)?;
    let _ = rustix::io::write(io::stdin(), b"\n");
    dup2_stdin(null)?;
    Ok(())
}
