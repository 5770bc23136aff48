//! The signals that ask a run to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT, SIGTERM and SIGHUP.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where it is ignored: a run under `nohup` goes on when its terminal
    /// is closed.
    hangup: Option<Signal>,
    /// Caught so that it does not kill: a write over `ulimit -f` fails then, and
    /// the task is told.
    _file_size: Signal,
}

impl Signals {
    /// Catches them from now on.
    pub fn new() -> io::Result<Self> {
        let hangup = SignalKind::hangup();
        let file_size = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        Ok(Signals {
            _file_size: signal(file_size)?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: (!is_ignored(hangup.as_raw_value())).then(|| signal(hangup)).transpose()?,
        })
    }

    /// The number of the next one.
    pub async fn next(&mut self) -> i32 {
        let hangup = async {
            match &mut self.hangup {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Where two are sent at once, it is known which one came second.
            biased;
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = hangup => SignalKind::hangup().as_raw_value(),
        }
    }
}

/// Whether the process was started with this signal ignored.
fn is_ignored(signal: i32) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
