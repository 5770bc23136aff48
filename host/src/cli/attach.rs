//! `attach`: follows the log of a run that has no terminal.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::Usage;
use super::workspaces::{self, LOOK, Place, Run};
use crate::pipeline::WORKSPACE;
use crate::workspace::lock::{self, Owner};

/// How much is read at once, in bytes.
const CHUNK: u64 = 1 << 16;

/// Follow the log of a run that was started with --detach
///
/// Shows the end of the log, and what is added to it until the run has ended. Ctrl-C
/// leaves the run as it is. Works on every machine that sees the directory.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: that of the run, also where it has ended before · 1 it died · 2 \
                        there is nothing to follow · 130 Ctrl-C, and the run goes on."
)]
pub struct AttachArgs {
    /// The run's --output-dir
    #[arg(value_name = "OUTPUT_DIR")]
    output_dir: PathBuf,
    /// The task, where several are at work in the directory
    #[arg(long, value_name = "NAME")]
    task_name: Option<String>,
    /// How many lines to show of what was said before: a number, or `all`
    #[arg(long, value_name = "N", value_parser = lines, default_value = "20")]
    lines: usize,
}

fn lines(text: &str) -> Result<usize, &'static str> {
    match text {
        "all" => Ok(usize::MAX),
        number => number.parse().map_err(|_| "write a number of lines, or `all`"),
    }
}

pub fn attach(args: &AttachArgs) -> anyhow::Result<u8> {
    let output_dir = &args.output_dir;
    let place = choose(output_dir, args.task_name.as_deref())?;
    let run = Run::find(&place.layout, place.holder.as_ref())?;
    let status = super::command_line("status", output_dir, args.task_name.as_deref());
    let run = match (run, &place.holder) {
        (Some(run), _) if run.started.detached => run,
        (Some(run), None) => {
            println(&format!(
                "The last run was not started with --detach, so it left no log here. It {}",
                run.end()
            ));
            return Ok(run.code());
        }
        (Some(_), Some(Owner { pid, host, .. })) => Err(Usage(format!(
            "the run that is at work here, process {pid} on {host}, was not started with --detach: \
             its log is where it was started; `{status}` shows how far it is"
        )))?,
        (None, Some(Owner { pid, host, .. })) => Err(Usage(format!(
            "the run of process {pid} on {host} has not begun yet: try again in a moment"
        )))?,
        (None, None) => Err(workspaces::nothing_in(output_dir))?,
    };
    let path = place.layout.log();
    let gone = || format!("failed to read the run's log `{}`", path.display());
    let mut log = Log::open(&path, args.lines).with_context(gone)?;
    if let Some(owner) = &place.holder {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match runtime.block_on(follow(&mut log, &place, owner)).with_context(gone)? {
            Left::Run => {}
            Left::Reader => return Ok(0),
            Left::User => {
                let stop = if place.task == WORKSPACE { "pipeline stop" } else { "stop" };
                let line =
                    |command| super::command_line(command, output_dir, args.task_name.as_deref());
                eprintln!(
                    "\nThe run goes on: process {} on {}. `{}` follows it again, `{}` ends it",
                    owner.pid,
                    owner.host,
                    line("attach"),
                    line(stop)
                );
                return Ok(128 + SignalKind::interrupt().as_raw_value() as u8);
            }
        }
    } else if log.show().with_context(gone)?.is_none() {
        return Ok(0);
    }
    let ended = match &place.holder {
        Some(owner) => Run::find_ended(&place.layout, owner)?.unwrap_or(run),
        None => run,
    };
    eprintln!("The run {}", ended.end());
    Ok(ended.code())
}

/// The workspace that is meant: the only one, or the only one at work.
fn choose(output_dir: &Path, task: Option<&str>) -> Result<Place, Usage> {
    if task.is_none()
        && let Some(place) = workspaces::pipeline(output_dir)
    {
        return Ok(place);
    }
    let mut places = workspaces::all(output_dir, task)?;
    if places.len() > 1 && places.iter().any(|place| place.holder.is_some()) {
        places.retain(|place| place.holder.is_some());
        if places.len() > 1 {
            return Err(workspaces::several("are at work in", output_dir, &places));
        }
    }
    match places.pop() {
        Some(place) if places.is_empty() => Ok(place),
        Some(place) => {
            places.push(place);
            Err(workspaces::several("have worked, and none is at work, in", output_dir, &places))
        }
        None => Err(workspaces::nothing_in(output_dir)),
    }
}

/// Who went away.
enum Left {
    Run,
    /// Who read what this process says.
    Reader,
    User,
}

async fn follow(log: &mut Log, place: &Place, owner: &Owner) -> io::Result<Left> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        // Before the log is read: what it said last is in there then.
        let ended = lock::holder(&place.layout.lock()).as_ref() != Some(owner);
        if log.show()?.is_none() {
            return Ok(Left::Reader);
        }
        if ended {
            return Ok(Left::Run);
        }
        tokio::select! {
            _ = interrupt.recv() => return Ok(Left::User),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// A log that is shown as it grows.
struct Log {
    path: PathBuf,
    file: File,
    offset: u64,
}

impl Log {
    /// The log at `path`, with so many of its lines yet to be shown.
    fn open(path: &Path, lines: usize) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut offset = file.metadata()?.len();
        // The break at the very end begins no line.
        let mut breaks = lines.saturating_add(1);
        'found: while offset > 0 && lines < usize::MAX {
            let begin = offset.saturating_sub(CHUNK);
            let mut chunk = vec![0; (offset - begin) as usize];
            file.read_exact_at(&mut chunk, begin)?;
            for (at, _) in chunk.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                breaks -= 1;
                if breaks == 0 {
                    offset = begin + at as u64 + 1;
                    break 'found;
                }
            }
            offset = begin;
        }
        if lines == usize::MAX {
            offset = 0;
        }
        Ok(Log { path: path.into(), file, offset })
    }

    /// Shows what was added. Nothing where nobody reads it.
    fn show(&mut self) -> io::Result<Option<()>> {
        // Opened anew, a network file system tells what another machine has
        // written; but a later run has another log.
        if let Ok(file) = File::open(&self.path) {
            let (old, new) = (self.file.metadata()?, file.metadata()?);
            if (old.dev(), old.ino()) == (new.dev(), new.ino()) {
                self.file = file;
            }
        }
        let mut chunk = [0; CHUNK as usize];
        loop {
            let length = self.file.read_at(&mut chunk, self.offset)?;
            if length == 0 {
                return Ok(Some(()));
            }
            self.offset += length as u64;
            let mut stdout = io::stdout();
            if stdout.write_all(&chunk[..length]).and_then(|()| stdout.flush()).is_err() {
                return Ok(None);
            }
        }
    }
}

fn println(text: &str) {
    super::print(&format!("{text}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let from = |content: &str, lines| {
            std::fs::write(&path, content).unwrap();
            content[Log::open(&path, lines).unwrap().offset as usize..].to_owned()
        };
        assert_eq!(from("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(from("a\nb\nc\n", 3), "a\nb\nc\n");
        assert_eq!(from("a\nb\nc\n", 0), "");
        assert_eq!(from("a\nb\n", usize::MAX), "a\nb\n");
        assert_eq!(from("", 5), "");
        let long = "x".repeat(100_000);
        assert_eq!(from(&format!("a\n{long}\nb\n"), 2), format!("{long}\nb\n"));
    }
}
