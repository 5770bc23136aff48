//! `pipeline stop`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use crate::cli::stop::{self as run_stop, Wording};
use crate::cli::workspaces::{LOOK, Place, Run};
use crate::executor::slurm::left_over;
use crate::pipeline::progress::Progress;
use crate::pipeline::{WORKSPACE, layout};
use crate::text::count;
use crate::workspace::Layout;
use crate::workspace::lock::{self, Owner};
use crate::workspace::stop_request::StopRequest;

/// How many files in flight are named.
const NAMED: usize = 10;

/// End a pipeline
///
/// Asks it to stop, as Ctrl-C does: what is in flight is finished, what is left is
/// still to do. Says what was in flight, and waits until it has ended. It may be in
/// the background, on another terminal or on another machine that sees the directory.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 it has ended, or none was at work · 1 it could not be ended \
                        · 2 no pipeline was ever run there."
)]
pub struct StopArgs {
    /// The OUTPUT_DIR of `pipeline run`
    #[arg(value_name = "OUTPUT_DIR")]
    output_dir: PathBuf,
    /// Kill it, and cancel its Slurm jobs. Files in flight are still to do; nothing is
    /// lost
    #[arg(long, short)]
    force: bool,
}

pub fn stop(args: &StopArgs) -> anyhow::Result<u8> {
    let layout = layout(&args.output_dir);
    if !layout.root().is_dir() {
        return Err(super::no_pipeline_in(&args.output_dir).into());
    }
    let holder = lock::holder(&layout.lock());
    let place = Place { task: WORKSPACE.into(), layout, holder };
    match &place.holder {
        Some(owner) => end(args, &place, owner)?,
        None => {
            let mut text = format!("No pipeline is at work in `{}`", args.output_dir.display());
            if let Some(run) = Run::find(&place.layout, None)? {
                text.push_str(&format!(": the last one {}", run.end()));
            }
            run_stop::say(&text);
        }
    }
    for (task, layout) in Layout::all(&args.output_dir).unwrap_or_default() {
        if left_over::is_there(&layout.slurm()) {
            let again = crate::cli::command_line("pipeline stop", &args.output_dir, None);
            run_stop::say(&format!("Task {task}:"));
            run_stop::clear(&layout, &again)?;
        }
    }
    Ok(0)
}

fn end(args: &StopArgs, place: &Place, owner: &Owner) -> anyhow::Result<()> {
    let progress = Progress::read(&place.layout.progress()).ok();
    let progress = progress.filter(|p| p.run.pid == owner.pid && p.run.host == owner.host);
    if args.force && owner.is_here() {
        let pid = i32::try_from(owner.pid).ok().and_then(Pid::from_raw);
        let pid = pid.filter(|_| lock::is_open_in(&place.layout.lock(), owner.pid));
        let pid = pid.with_context(|| format!("process {} is not ours to kill", owner.pid))?;
        kill_process(pid, Signal::KILL)
            .with_context(|| format!("failed to kill process {}", owner.pid))?;
        run_stop::say(&format!("Process {} on {} is killed", owner.pid, owner.host));
    } else {
        let force = format!("{} --force", line(args));
        let wording = Wording { now: args.force, at_once: force, stopping: false };
        let wording = match &progress {
            Some(progress) => Wording { stopping: progress.stopping, ..wording },
            None => wording,
        };
        run_stop::ask(&wording, place, owner)?;
    }
    if let Some(progress) = &progress {
        tell_in_flight(progress, args.force);
    }
    while lock::holder(&place.layout.lock()).as_ref() == Some(owner) {
        std::thread::sleep(LOOK);
    }
    // Where it ended before it looked.
    let _ = StopRequest::take(&place.layout.stop_request());
    match Run::find_ended(&place.layout, owner)? {
        Some(_) if args.force => run_stop::say("It is gone. What was in flight is still to do"),
        Some(run) => run_stop::say(&format!("The pipeline {}", run.end())),
        // It was told before it had begun.
        None => run_stop::say("The pipeline has ended before it had begun"),
    }
    Ok(())
}

fn line(args: &StopArgs) -> String {
    crate::cli::command_line("pipeline stop", &args.output_dir, None)
}

fn tell_in_flight(progress: &Progress, killed: bool) {
    let running: usize = progress.tasks.iter().map(|task| task.running).sum();
    if running == 0 {
        return;
    }
    let names = progress.tasks.iter().flat_map(|task| {
        task.in_flight.iter().map(move |file| format!("{} in {}", file.file, task.name))
    });
    let mut names: Vec<String> = names.collect();
    names.truncate(NAMED);
    if running > names.len() {
        names.push("…".into());
    }
    let verb = match (killed, running) {
        (true, 1) => "was",
        (true, _) => "were",
        (false, 1) => "is",
        (false, _) => "are",
    };
    run_stop::say(&format!("{} {verb} in flight: {}", count(running, "file"), names.join(", ")));
}
