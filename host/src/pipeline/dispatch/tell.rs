//! What others see of a pipeline: its log, its journal and `run.json`.

use std::time::Instant;

use jiff::Timestamp;

use super::{Dispatcher, PROGRESS_INTERVAL, SUMMARY_INTERVAL, Tally};
use crate::pipeline::PipelineError;
use crate::pipeline::progress::{self, Progress};
use crate::run::{Exit, RunError};
use crate::text::count;
use crate::workspace::Error as WorkspaceError;
use crate::workspace::journal::{Record, RunStarted};
use crate::workspace::progress_file::Ended;

impl Dispatcher {
    /// Writes down, and says, that the pipeline begins, and what it found.
    pub(super) fn tell_begin(&mut self) -> Result<(), PipelineError> {
        let started = &self.started;
        let waiting = self.inbox.waiting();
        self.journal.push(&Record::RunStarted(RunStarted {
            time: started.time,
            host: started.host.clone(),
            pid: started.pid,
            detached: started.detached,
            component: started.config.clone(),
            version: String::new(),
            digest: String::new(),
            input_dir: started.input_dir.clone(),
            input_ext: started.input_ext.clone(),
            output_ext: String::new(),
            policies: Vec::new(),
            succeeded_before: started.finished_before,
            failed_before: 0,
            timed_out_before: 0,
            aborted_before: self.aborted_before,
            to_do: waiting + self.tracker.len(),
            not_taken: self.inbox.not_taken(),
        }));
        let path = self.workspace.layout.journal();
        self.journal.flush().map_err(WorkspaceError::io("write", &path)).map_err(RunError::from)?;
        let aborted = match self.aborted_before {
            0 => String::new(),
            n => format!(", {n} aborted"),
        };
        let not_taken = match self.inbox.not_taken() {
            0 => String::new(),
            n => format!(", {n} not taken (see above)"),
        };
        tracing::info!(
            "All tasks started: {} finished before{aborted}, {} to go on with, {waiting} waiting{not_taken}",
            count(started.finished_before, "file"),
            self.tracker.len(),
        );
        Ok(())
    }

    pub(super) fn tell_summary(&mut self) {
        self.next_summary = Instant::now() + SUMMARY_INTERVAL;
        let staged = std::mem::take(&mut self.staged_lately);
        let finished = std::mem::take(&mut self.finished_lately);
        if staged > 0 {
            tracing::info!("Staged {} for processing", count(staged, "new file"));
        }
        if finished > 0 {
            tracing::info!("Completed processing {}", count(finished, "file"));
        }
    }

    /// Renews what other processes and people see, when it is time.
    pub(super) fn renew(&mut self) {
        let now = Instant::now();
        if self.next_summary <= now && self.staged_lately + self.finished_lately > 0 {
            self.tell_summary();
        }
        if self.next_progress <= now && (self.news || !self.tracker.is_empty()) {
            self.next_progress = now + PROGRESS_INTERVAL;
            self.write_progress(None);
            let stopping = self.stopping;
            for task in 0..self.tasks.len() {
                self.with(task, |run, lens| run.write_progress(None, stopping, lens));
            }
        }
    }

    pub(super) fn write_progress(&mut self, exit: Option<Exit>) {
        self.news = false;
        let time = Timestamp::now();
        let tracker = &self.tracker;
        let files = progress::Files {
            waiting: self.inbox.waiting(),
            staged: tracker.len() - tracker.begun(),
            in_progress: tracker.begun(),
            finished: self.started.finished_before + self.tally.finished,
            failed: self.tally.failed,
            aborted: self.aborted_before + self.tally.aborted,
        };
        let mut tasks = Vec::new();
        for (number, task) in self.tasks.iter().enumerate() {
            let counts = tracker.counts(number);
            let at_work = task.run.at_work();
            let retrying = task.run.retrying();
            let known = task.run.to_do() + task.found.len();
            let parent = tracker.tree().parents[number];
            tasks.push(progress::Task {
                name: task.name.clone(),
                depends_on: parent.map(|parent| self.tasks[parent].name.clone()),
                kind: task.kind.into(),
                waiting: known.saturating_sub(at_work.running + retrying),
                running: at_work.running,
                retrying,
                succeeded: counts.succeeded,
                failed: counts.failed,
                aborted: counts.aborted,
                in_flight: at_work.oldest,
                workers: task.run.workers(),
            });
        }
        let ended = exit.map(|exit| Ended { time, exit_code: exit.code() });
        let (run, stopping) = (self.started.clone(), self.stopping);
        let progress = Progress { run, time, ended, stopping, files, tasks };
        // It informs people only; the disk that is full is told of elsewhere.
        if let Err(error) = progress.write(&self.workspace.layout.progress()) {
            tracing::debug!("failed to write how far the pipeline is: {error}");
        }
    }

    pub(super) fn close(&mut self, exit: Exit) {
        self.journal.push(&Record::RunEnded { time: Timestamp::now(), exit_code: exit.code() });
        if let Err(error) = self.journal.flush() {
            tracing::error!("failed to write the pipeline's journal: {error}");
        }
        self.write_progress(Some(exit));
    }

    pub(super) fn tell_end(&self) {
        let Tally { finished, failed, aborted } = self.tally;
        let seconds = self.begun.elapsed().as_secs_f64();
        let rate = finished as f64 / seconds.max(1e-9);
        let more = [
            (aborted, "aborted"),
            (self.tracker.len(), "still in the pipeline"),
            (self.inbox.waiting(), "waiting"),
        ];
        let more: String = more
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| format!(", {number} {what}"))
            .collect();
        tracing::info!(
            "{} finished, {failed} failed{more} in {seconds:.2} s ({rate:.1} files/s)",
            count(finished, "file")
        );
        tracing::info!("Pipeline shutdown complete");
    }
}
