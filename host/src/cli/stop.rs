//! `stop`: ends a run, wherever it is, and what one that died has left.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use super::Usage;
use super::workspaces::{self, LOOK, Place, Run};
use crate::executor::slurm::left_over;
use crate::text::count;
use crate::workspace::Layout;
use crate::workspace::lock::{self, Lock, Owner};
use crate::workspace::progress_file::Progress;
use crate::workspace::stop_request::StopRequest;

/// How many jobs are named.
const NAMED: usize = 10;

/// End a run
///
/// Asks it to stop, as Ctrl-C does: what is in flight is finished, what is left is
/// still to do. Waits until it has ended. It may be in the background, on another
/// terminal or on another machine that sees the directory. Where a run died and its
/// workers are still in Slurm jobs, cancels these.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 it has ended, or nothing was at work · 1 it could not be \
                        ended · 2 it is not clear what to end.")]
pub struct StopArgs {
    /// The run's --output-dir
    #[arg(value_name = "OUTPUT_DIR")]
    output_dir: PathBuf,
    /// The task, where several are at work in the directory
    #[arg(long, value_name = "NAME")]
    task_name: Option<String>,
    /// Leave at once, as a second Ctrl-C does: Slurm jobs are cancelled, and files
    /// in flight are still to do
    #[arg(long)]
    now: bool,
}

pub fn stop(args: &StopArgs) -> anyhow::Result<u8> {
    let output_dir = &args.output_dir;
    let pipeline = workspaces::pipeline(output_dir);
    if args.task_name.is_none() && pipeline.is_some_and(|place| place.holder.is_some()) {
        let line = super::command_line("pipeline stop", output_dir, None);
        return Err(Usage(format!(
            "a pipeline is at work in `{}`: end it with `{line}`",
            output_dir.display()
        ))
        .into());
    }
    let places = workspaces::all(output_dir, args.task_name.as_deref())?;
    let (mut open, idle): (Vec<Place>, Vec<Place>) = places
        .into_iter()
        .partition(|place| place.holder.is_some() || left_over::is_there(&root(place)));
    if open.len() > 1 {
        return Err(workspaces::several("are at work in", output_dir, &open).into());
    }
    let Some(place) = open.pop() else {
        nothing(output_dir, &idle)?;
        return Ok(0);
    };
    if let Some(owner) = &place.holder {
        let Owner { pid, host, .. } = owner;
        let progress = Progress::read(&place.layout.progress()).ok();
        let of_it = |p: &Progress| p.run.pid == *pid && p.run.host == *host && p.ended.is_none();
        let wording = Wording {
            now: args.now,
            at_once: super::command_line("stop --now", &args.output_dir, args.task_name.as_deref()),
            stopping: progress.as_ref().is_some_and(|p| of_it(p) && p.stopping),
        };
        ask(&wording, &place, owner)?;
        while lock::holder(&place.layout.lock()).as_ref() == Some(owner) {
            std::thread::sleep(LOOK);
        }
        // Where it ended before it looked.
        let _ = StopRequest::take(&place.layout.stop_request());
        match Run::find_ended(&place.layout, owner)? {
            Some(run) => say(&format!("The run {}", run.end())),
            // It was told before it had begun.
            None => say("The run has ended before it had begun"),
        }
    }
    if left_over::is_there(&root(&place)) {
        let again = super::command_line("stop", &args.output_dir, args.task_name.as_deref());
        clear(&place.layout, &again)?;
    }
    Ok(0)
}

fn root(place: &Place) -> PathBuf {
    place.layout.slurm()
}

/// Says that there is nothing to end.
fn nothing(output_dir: &Path, places: &[Place]) -> anyhow::Result<()> {
    let mut text = format!("Nothing is at work in `{}`", output_dir.display());
    if let [place] = places
        && let Some(run) = Run::find(&place.layout, None)?
    {
        text.push_str(&format!(": the last run {}", run.end()));
    }
    say(&text);
    Ok(())
}

/// What to ask of a run, and what to say of that.
pub struct Wording {
    /// Whether to leave at once.
    pub now: bool,
    /// The command that asks for that.
    pub at_once: String,
    /// Whether it was told to stop before.
    pub stopping: bool,
}

/// Asks a run to stop, unless it was asked before.
pub fn ask(wording: &Wording, place: &Place, owner: &Owner) -> anyhow::Result<()> {
    let Owner { pid, host, .. } = owner;
    let Wording { now, at_once, stopping } = wording;
    let (now, stopping) = (*now, *stopping);
    let meanwhile = format!("Files in flight are finished first; `{at_once}` leaves them undone");
    if stopping && !now {
        say(&format!("Process {pid} on {host} was told to stop before. {meanwhile}"));
        return Ok(());
    }
    let signals: &[Signal] = match (now, stopping) {
        (false, _) | (true, true) => &[Signal::TERM],
        // Two of one kind may arrive as one.
        (true, false) => &[Signal::INT, Signal::TERM],
    };
    let mut told = format!("Process {pid} on {host} is told to stop");
    if !signal(place, owner, signals) {
        let path = place.layout.stop_request();
        let from = Owner::current().host;
        let request = StopRequest { to: owner.clone(), from, now };
        request.write(&path).with_context(|| {
            format!("failed to tell process {pid} on {host} to stop by `{}`", path.display())
        })?;
        told.push_str(" by a file, which it sees in seconds, or in a minute on a slow file server");
    }
    match now {
        true => say(&told),
        false => say(&format!("{told}. {meanwhile}")),
    }
    Ok(())
}

/// Sends signals to the process, where it is one of this machine and ours.
fn signal(place: &Place, owner: &Owner, signals: &[Signal]) -> bool {
    let pid = i32::try_from(owner.pid).ok().and_then(Pid::from_raw);
    let Some(pid) = pid.filter(|_| owner.is_here()) else { return false };
    lock::is_open_in(&place.layout.lock(), owner.pid)
        && signals.iter().all(|signal| kill_process(pid, *signal).is_ok())
}

/// Cancels the jobs of a run that died.
pub fn clear(layout: &Layout, again: &str) -> anyhow::Result<()> {
    say(
        "Workers of the run that died may be in Slurm jobs: cancelling these, and waiting for their end",
    );
    // Nobody goes on with them meanwhile.
    let lock = layout.lock();
    let (_lock, _) = Lock::acquire(&lock, &Owner::current())
        .with_context(|| format!("failed to lock `{}`", layout.root().display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let jobs = runtime.block_on(left_over::clear(&layout.slurm())).with_context(|| {
        format!("failed to end the workers of the run that died (try again with `{again}`)")
    })?;
    let mut text = match jobs.len() {
        0 => "No job of it is left".to_owned(),
        1 => format!("The Slurm job {} is cancelled", jobs[0]),
        n => {
            let mut names: Vec<String> = jobs.iter().take(NAMED).map(ToString::to_string).collect();
            if n > NAMED {
                names.push("…".into());
            }
            format!("{} of Slurm are cancelled: {}", count(n, "job"), names.join(", "))
        }
    };
    text.push_str(". What is left is still to do: run the same command again");
    say(&text);
    Ok(())
}

/// Prints a line.
pub fn say(text: &str) {
    super::print(&format!("{text}\n"));
}
