//! A report for people: the same lines for the terminal, a pipe and `--watch`.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::Sections;
use super::figures::{self, columns, cut, fit, milliseconds, pad, span};
use super::gather::{SPARKS, Snapshot, State, TaskView};
use super::paint::{BAD, BUSY, DIM, GOOD, bar};
use super::words::{running_and_pending, state};
use crate::pipeline::progress::Files;
use crate::text::one_line;

/// How many attempts in flight are shown, the oldest ones.
const IN_FLIGHT_SHOWN: usize = 5;

/// Where a line's value begins, where there is room for labels.
const LABEL: usize = 11;

/// A terminal of fewer columns has no room for labels.
const NARROW: usize = 50;

/// Widest name of a task, in columns.
const NAME: usize = 20;

/// The report in lines of at most `width` columns. `whole`: but paths, which people copy, and
/// the state, which may hold advice, are not cut.
pub fn lines(
    snapshot: &Snapshot,
    sections: &Sections,
    width: usize,
    whole: bool,
) -> Vec<Line<'static>> {
    let widest = snapshot.tasks.iter().map(|task| columns(&one_line(&task.task.name))).max();
    let name = widest.unwrap_or_default().min(NAME).min(width / 4);
    let mut page = Page { lines: Vec::new(), width, whole, name };
    if sections.status {
        page.status(snapshot);
    }
    if sections.progress {
        page.progress(snapshot);
        page.tasks(snapshot);
        page.workers(snapshot);
        page.in_flight(snapshot);
    }
    if sections.metrics {
        page.durations(snapshot);
    }
    if sections.errors {
        page.errors(snapshot, sections);
    }
    page.lines
}

/// `20 waiting → 10 staged → 4 in progress →` and `120 finished, 3 failed, 1 aborted`
fn flow(files: &Files) -> [Vec<Span<'static>>; 2] {
    let Files { waiting, staged, in_progress, finished, failed, aborted } = *files;
    let part = |number: usize, word: &str, style| {
        Span::styled(format!("{number} {word}"), if number > 0 { style } else { Style::new() })
    };
    let to_do = vec![
        Span::raw(format!("{waiting} waiting → {staged} staged → ")),
        part(in_progress, "in progress", BUSY),
        Span::raw(" → "),
    ];
    let mut settled =
        vec![part(finished, "finished", GOOD), Span::raw(", "), part(failed, "failed", BAD)];
    if aborted > 0 {
        settled.push(Span::raw(format!(", {aborted} aborted")));
    }
    [to_do, settled]
}

struct Page {
    lines: Vec<Line<'static>>,
    width: usize,
    whole: bool,
    /// Columns of the tasks' names.
    name: usize,
}

impl Page {
    fn push(&mut self, spans: Vec<Span<'static>>) {
        self.lines.push(fit(Line::from(spans), self.width));
    }

    fn label(&self, label: &str) -> Span<'static> {
        let is_narrow = self.width < NARROW;
        Span::styled(if is_narrow { String::new() } else { pad(label, LABEL) }, DIM)
    }

    fn field(&mut self, label: &str, value: Span<'static>) {
        self.push(vec![self.label(label), value]);
    }

    /// A line that is cut only where all are.
    fn keep(&mut self, spans: Vec<Span<'static>>) {
        let line = Line::from(spans);
        self.lines.push(if self.whole { line } else { fit(line, self.width) });
    }

    /// A line with a path.
    fn path(&mut self, label: Span<'static>, path: &str) {
        self.keep(vec![label, Span::raw(one_line(path).into_owned())]);
    }

    fn heading(&mut self, text: &str, note: &str) {
        if !self.lines.is_empty() {
            self.lines.push(Line::default());
        }
        let note = if note.is_empty() { String::new() } else { format!("  {note}") };
        self.push(vec![Span::raw(text.to_owned()), Span::styled(note, DIM)]);
    }

    /// A line of a task.
    fn row(&mut self, task: &str, rest: Vec<Span<'static>>) {
        let mut spans = vec![Span::raw(format!("  {}  ", pad(task, self.name)))];
        spans.extend(rest);
        self.push(spans);
    }

    fn status(&mut self, snapshot: &Snapshot) {
        let style = match (snapshot.state, snapshot.exit_code()) {
            (State::Running, _) if snapshot.is_stopping() => BUSY,
            (State::Running, _) | (State::Ended, Some(0)) => GOOD,
            _ => BAD,
        };
        let text = one_line(&state(snapshot)).into_owned();
        self.keep(vec![self.label("pipeline"), Span::styled(text, style)]);
        if self.width < NARROW {
            return;
        }
        if let Some(progress) = &snapshot.progress {
            let run = &progress.run;
            self.path(self.label("config"), &run.config);
            self.path(self.label("input"), &format!("{}/*{}", run.input_dir, run.input_ext));
        }
        if let Some(log) = &snapshot.log {
            self.path(self.label("log"), &log.to_string_lossy());
        }
    }

    fn progress(&mut self, snapshot: &Snapshot) {
        let Some(progress) = &snapshot.progress else { return };
        let files = &progress.files;
        let known = snapshot.known();
        let settled = files.finished + files.failed + files.aborted;
        // Rounded down: 100 % is all of them.
        let percent = (settled as u128 * 100).checked_div(known as u128).unwrap_or(0);
        let label = self.label("progress");
        let room = self.width.saturating_sub(columns(&label.content) + 6);
        let mut spans = vec![label];
        spans.extend(bar([files.finished, files.failed, files.aborted], known, room.min(60)));
        spans.push(Span::raw(format!(" {percent:>3} %")));
        self.push(spans);
        if self.width < NARROW {
            let failed = files.failed;
            self.push(vec![Span::raw(format!("{}/{known}, {failed} failed", files.finished))]);
        } else {
            let [mut spans, settled] = flow(files);
            spans.insert(0, self.label(""));
            let widths = spans.iter().chain(&settled).map(Span::width);
            if widths.sum::<usize>() > self.width {
                self.push(std::mem::replace(&mut spans, vec![self.label("")]));
            }
            spans.extend(settled);
            self.push(spans);
        }
        let speed = &snapshot.speed;
        let mut parts = Vec::new();
        if let Some(rate) = speed.overall {
            parts.push(format!("{} over this run", figures::rate(rate)));
        }
        if let Some(rate) = speed.lately {
            parts.push(format!("{} lately", figures::rate(rate)));
        }
        match speed.seconds_left.filter(|_| snapshot.state == State::Running) {
            Some(left) if left > 0.0 => parts.push(format!("about {} left", span(left))),
            _ => {}
        }
        if !parts.is_empty() {
            self.field("throughput", Span::raw(parts.join(", ")));
        }
    }

    fn tasks(&mut self, snapshot: &Snapshot) {
        if snapshot.tasks.is_empty() {
            return;
        }
        self.heading("tasks", "");
        let figures = |task: &TaskView| format!("{}/{}", task.task.succeeded, task.available);
        let widest = snapshot.tasks.iter().map(|task| figures(task).len()).max().unwrap_or(0);
        let room = (self.width / 3).min(40);
        for view in &snapshot.tasks {
            let task = &view.task;
            let mut spans: Vec<Span> =
                bar([task.succeeded, task.failed, task.aborted], view.available, room).into();
            spans.push(Span::raw(format!("  {:>widest$}", figures(view))));
            let is_running = snapshot.state == State::Running;
            let states = [
                (task.failed, "failed", BAD),
                (task.aborted, "aborted", Style::new()),
                (if is_running { task.running } else { 0 }, "running", BUSY),
                (if is_running { task.retrying } else { 0 }, "retrying", BUSY),
            ];
            let mut separator = "  ";
            for (number, word, style) in states.into_iter().filter(|(number, ..)| *number > 0) {
                spans.push(Span::raw(separator));
                spans.push(Span::styled(format!("{number} {word}"), style));
                separator = ", ";
            }
            self.row(&task.name, spans);
        }
    }

    fn workers(&mut self, snapshot: &Snapshot) {
        if snapshot.state != State::Running {
            return;
        }
        let mut is_first = true;
        for task in &snapshot.tasks {
            let Some(workers) = &task.task.workers else { continue };
            if std::mem::take(&mut is_first) {
                self.heading("workers", "");
            }
            let (running, pending) = running_and_pending(workers);
            let text = format!("{running} running, {pending} pending; {}", workers.scaling);
            self.row(&task.task.name, vec![Span::raw(one_line(&text).into_owned())]);
        }
    }

    fn in_flight(&mut self, snapshot: &Snapshot) {
        if snapshot.state != State::Running {
            return;
        }
        let attempts = |task: &TaskView| {
            let name = task.task.name.clone();
            task.task.in_flight.clone().into_iter().map(move |attempt| (name.clone(), attempt))
        };
        let mut all: Vec<_> = snapshot.tasks.iter().flat_map(attempts).collect();
        if all.is_empty() {
            return;
        }
        all.sort_by_key(|(_, attempt)| attempt.since);
        let running: usize = snapshot.tasks.iter().map(|task| task.task.running).sum();
        let shown = IN_FLIGHT_SHOWN.min(all.len());
        let note = format!("the oldest {shown} of {running}");
        self.heading("in flight", if running > shown { &note } else { "" });
        for (task, attempt) in all.into_iter().take(shown) {
            let seconds = snapshot.now.duration_since(attempt.since).as_secs_f64();
            let fraction = attempt.fraction.map(|f| format!(", {:.0} %", f * 100.0));
            let age = format!("for {}{}", span(seconds), fraction.unwrap_or_default());
            let room = self.width.saturating_sub(self.name + 6 + columns(&age));
            let file = cut(&attempt.file, room.max(8));
            self.row(&task, vec![Span::raw(file), Span::styled(format!("  {age}"), DIM)]);
        }
    }

    fn durations(&mut self, snapshot: &Snapshot) {
        let tasks: Vec<&TaskView> =
            snapshot.tasks.iter().filter(|task| task.summary.count > 0).collect();
        if tasks.is_empty() {
            return;
        }
        self.heading("durations", "of successes, in all runs");
        let latest = format!("latest {}", SPARKS);
        let header = format!("{:>9}{:>10}{:>10}{:>10}  {latest}", "min", "median", "95 %", "max");
        self.row("", vec![Span::styled(header, DIM)]);
        for task in tasks {
            let s = task.summary;
            let [min, median, p95, max] =
                [s.min_ms, s.median_ms, s.p95_ms, s.max_ms].map(milliseconds);
            self.row(
                &task.task.name,
                vec![
                    Span::raw(format!("{min:>9}{median:>10}{p95:>10}{max:>10}  ")),
                    Span::styled(figures::sparkline(&task.latest), GOOD),
                ],
            );
        }
    }

    fn errors(&mut self, snapshot: &Snapshot, sections: &Sections) {
        if snapshot.errors.is_empty() {
            if !sections.progress && !sections.status && !sections.metrics {
                self.push(vec![Span::raw("no errors stand")]);
            }
            return;
        }
        let all: usize = snapshot.tasks.iter().map(|task| task.task.failed).sum();
        let shown = snapshot.errors.len();
        let note = if all > shown {
            format!("the latest {shown} of {all}; all: {}", one_line(&snapshot.errors_in))
        } else {
            String::new()
        };
        self.heading("errors", &note);
        for error in &snapshot.errors {
            let room = (self.width / 3).max(8);
            let text = one_line(&error.in_short()).into_owned();
            self.row(
                &error.task,
                vec![Span::raw(format!("{}: ", cut(&error.stem, room))), Span::styled(text, BAD)],
            );
            let indent = Span::raw(" ".repeat(self.name + 4));
            self.path(indent, &error.path.to_string_lossy());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{errors, gather::Gatherer, paint::render, sample};
    use super::*;
    use crate::workspace::progress_file::Ended;

    fn snapshot() -> (tempfile::TempDir, Snapshot) {
        let dir = tempfile::tempdir().unwrap();
        sample::write(dir.path());
        let mut snapshot = Gatherer::new(dir.path(), true).unwrap().look().unwrap();
        let tasks = ["fetch".to_owned(), "embed".to_owned()];
        snapshot.errors = errors::of_all(dir.path(), &tasks, 10).unwrap();
        snapshot.now = snapshot.progress.as_ref().unwrap().time;
        snapshot.state = State::Running;
        (dir, snapshot)
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let (_dir, snapshot) = snapshot();
        for width in 1..140 {
            for line in lines(&snapshot, &Sections::ALL, width, false) {
                assert!(line.width() <= width, "{width}: {line}");
                assert!(!line.to_string().contains(char::is_control));
            }
        }
    }

    #[test]
    fn all_that_matters_is_told() {
        let (dir, snapshot) = snapshot();
        let text = render(&lines(&snapshot, &Sections::ALL, 100, true), false);
        let dir = dir.path().display();
        for wanted in [
            "running: process 4294967294 on node1, since ",
            "/data/in/*.txt",
            &format!("{dir}/.tigerflow/.pipeline/run.log"),
            " 83 %",
            "10 waiting → 5 staged → 10 in progress → 120 finished, 3 failed, 2 aborted",
            "1.0 files/s over this run",
            "130/150  2 failed, 1 aborted, 2 running, 1 retrying",
            "120/130  1 failed",
            "2 running, 1 pending; --max-workers 3 is reached",
            "fetch\\nlong-name-",
            "…  for 10s, 50 %",
            "latest 20",
            "ValueError: first\n",
            &format!("{dir}/.tigerflow/embed/outputs/0.err"),
        ] {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
        assert!(!text.contains('\x1b'));
        let colored = render(&lines(&snapshot, &Sections::ALL, 100, true), true);
        assert!(colored.contains("\x1b[31m"));
    }

    #[test]
    fn sections_are_picked() {
        let (_dir, snapshot) = snapshot();
        let text = |sections| render(&lines(&snapshot, &sections, 80, false), false);
        let errors = text(Sections { errors: true, ..Sections::NONE });
        assert!(errors.starts_with("errors\n") && !errors.contains("tasks"), "{errors}");
        let status = text(Sections { status: true, ..Sections::NONE });
        assert!(status.starts_with("pipeline ") && !status.contains("progress"), "{status}");
    }

    #[test]
    fn the_end_is_told() {
        let (_dir, mut snapshot) = snapshot();
        snapshot.state = State::Died;
        assert!(state(&snapshot).contains("run the same command again"));
        snapshot.state = State::Ended;
        let progress = snapshot.progress.as_mut().unwrap();
        progress.ended = Some(Ended { time: progress.time, exit_code: 3 });
        assert!(state(&snapshot).ends_with("with exit code 3: done, some files failed"));
        let text = render(&lines(&snapshot, &Sections::ALL, 80, false), false);
        assert!(!text.contains("in flight") && !text.contains("workers\n"), "{text}");
    }
}
