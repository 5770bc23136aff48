//! `--watch`: the report again each second, until the pipeline has ended.
//!
//! On the terminal's other screen, which a resize or a lost connection cannot spoil and which
//! leaves what stood before as it was. What stands at the end is printed on the first one. One
//! thread looks, another reads the `.err` files, which may take long, a third waits for keys.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::terminal::is_raw_mode_enabled;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::errors::{self, Found};
use super::gather::{Gatherer, Snapshot, State};
use super::view::View;
use super::words::{in_a_line, state};
use super::{Sections, add_errors, show};
use crate::cli::{EXIT_HOST, command_line, print};
use crate::text::one_line;

/// How often to look.
const LOOK: Duration = Duration::from_secs(1);

/// Between two lines where nothing can be drawn.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Between two looks at the `.err` files at least, and so many times as long as one takes.
const ERRORS_PAUSE: (Duration, u32) = (Duration::from_secs(2), 20);

/// How many errors are shown.
const ERRORS_SHOWN: usize = 20;

/// How long to wait for the last words of a pipeline on another machine: they may be seen
/// later than that it is gone.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How often the thread that waits for keys looks whether anybody wants them.
const KEYS: Duration = Duration::from_millis(250);

/// Whether the terminal cannot be redrawn.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// Watches a pipeline. Returns its exit code, or that of who left.
pub fn watch(
    gatherer: Gatherer,
    output_dir: &Path,
    sections: Sections,
    colored: bool,
) -> anyhow::Result<u8> {
    let looker = Looker { gatherer, output_dir: output_dir.into(), wants_errors: sections.errors };
    let (sender, receiver) = channel(1);
    let looker = thread::Builder::new().name("look".into()).spawn(move || looker.run(&sender))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let left = runtime.block_on(async {
        let signals = Signals::new()?;
        if is_dumb() {
            tell(receiver, signals).await
        } else {
            draw_until_left(receiver, signals, &sections, colored).await
        }
    });
    match left.context("failed to draw on the terminal")? {
        Left::Pipeline(last) => {
            show(&last, &sections, colored);
            say(&format!("The pipeline {}", one_line(&state(&last))));
            Ok(last.exit_code().unwrap_or(EXIT_HOST))
        }
        Left::Looker => match looker.join() {
            Ok(Ok(())) => anyhow::bail!("the pipeline cannot be looked at any more"),
            Ok(Err(error)) => Err(error),
            Err(panic) => std::panic::resume_unwind(panic),
        },
        Left::User(code) => {
            let again = command_line("pipeline report", output_dir, None);
            say(&format!("The pipeline goes on. `{again} --watch` shows it again"));
            Ok(code)
        }
    }
}

/// Tells on stderr, unless that has gone with the terminal.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Who went away.
enum Left {
    /// The pipeline has ended: how it stands.
    Pipeline(Box<Snapshot>),
    /// It cannot be looked at any more.
    Looker,
    /// Who watched, with this exit code.
    User(u8),
}

/// The signals that end a watch. Each leaves the terminal as it was.
struct Signals([(Signal, SignalKind); 4]);

impl Signals {
    fn new() -> io::Result<Self> {
        let listen = |kind| Ok::<_, io::Error>((signal(kind)?, kind));
        Ok(Signals([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
            listen(SignalKind::quit())?,
        ]))
    }

    /// The exit code of one that came.
    async fn came(&mut self) -> u8 {
        let [a, b, c, d] = &mut self.0;
        let kind = tokio::select! {
            _ = a.0.recv() => a.1,
            _ = b.0.recv() => b.1,
            _ = c.0.recv() => c.1,
            _ = d.0.recv() => d.1,
        };
        128 + kind.as_raw_value() as u8
    }
}

/// Looks at the pipeline once a second.
struct Looker {
    gatherer: Gatherer,
    output_dir: PathBuf,
    wants_errors: bool,
}

impl Looker {
    /// Ends with the pipeline, or when nobody wants to know any more.
    fn run(mut self, to: &Sender<Snapshot>) -> anyhow::Result<()> {
        let scan = Scan::start(self.output_dir.clone())?;
        let mut last_seen = None;
        let mut gone = None;
        loop {
            let begun = Instant::now();
            let mut snapshot = self.gatherer.look()?;
            let is_here = snapshot.owner.is_here();
            if snapshot.state == State::Died && !is_here {
                let since: &mut Instant = gone.get_or_insert(begun);
                if since.elapsed() < LAST_WORDS {
                    snapshot.state = State::Running;
                }
            }
            let is_over = snapshot.state != State::Running;
            if self.wants_errors && is_over {
                add_errors(&mut snapshot, &self.output_dir, ERRORS_SHOWN)?;
            } else if self.wants_errors {
                let failed: usize = snapshot.tasks.iter().map(|task| task.task.failed).sum();
                let seen = (self.gatherer.settled(), failed);
                let names = || snapshot.tasks.iter().map(|task| task.task.name.clone()).collect();
                if last_seen != Some(seen) && scan.ask(names) {
                    last_seen = Some(seen);
                }
                snapshot.errors = scan.found();
            }
            if to.blocking_send(snapshot).is_err() || is_over {
                return Ok(());
            }
            thread::sleep(LOOK.saturating_sub(begun.elapsed()));
        }
    }
}

/// Reads the `.err` files beside, as there may be many and the file system slow.
struct Scan {
    ask: SyncSender<Vec<String>>,
    found: Arc<Mutex<Vec<Found>>>,
}

impl Scan {
    /// Ends when it is dropped.
    fn start(output_dir: PathBuf) -> io::Result<Self> {
        let (ask, asked) = sync_channel::<Vec<String>>(1);
        let found = Arc::new(Mutex::new(Vec::new()));
        let scan = Scan { ask, found: Arc::clone(&found) };
        thread::Builder::new().name("errors".into()).spawn(move || {
            for tasks in asked {
                let begun = Instant::now();
                // One that fails now may do later; at the end it is told.
                if let Ok(all) = errors::of_all(&output_dir, &tasks, ERRORS_SHOWN) {
                    *found.lock().unwrap_or_else(PoisonError::into_inner) = all;
                }
                let (least, times) = ERRORS_PAUSE;
                thread::sleep(least.max(begun.elapsed().saturating_mul(times)));
            }
        })?;
        Ok(scan)
    }

    /// Asks for a look at these tasks' errors. False where the last one is still to come.
    fn ask(&self, tasks: impl FnOnce() -> Vec<String>) -> bool {
        self.ask.try_send(tasks()).is_ok()
    }

    fn found(&self) -> Vec<Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The terminal, which is put back as it was when this is dropped. ratatui does the same
/// where a thread panics, so that its message is seen.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> io::Result<Self> {
        let opened = ratatui::try_init();
        if opened.is_err() {
            let _ = ratatui::try_restore();
        }
        Ok(Screen(opened?))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.0.show_cursor();
        // Unless a panic has done so: left twice, some terminals put the cursor where its
        // message stands.
        if is_raw_mode_enabled().unwrap_or(true) {
            let _ = ratatui::try_restore();
        }
    }
}

async fn draw_until_left(
    mut snapshots: Receiver<Snapshot>,
    mut signals: Signals,
    sections: &Sections,
    colored: bool,
) -> io::Result<Left> {
    let mut screen = Screen::open()?;
    let (sender, mut keys) = channel(16);
    let _keys: JoinHandle<()> =
        thread::Builder::new().name("keys".into()).spawn(move || read_keys(&sender))?;
    let mut view = View::new(*sections, colored);
    loop {
        screen.0.draw(|frame| view.draw(frame))?;
        tokio::select! {
            code = signals.came() => return Ok(Left::User(code)),
            next = snapshots.recv() => match next {
                None => return Ok(Left::Looker),
                Some(next) if next.state != State::Running => {
                    return Ok(Left::Pipeline(Box::new(next)));
                }
                Some(next) => view.last = Some(next),
            },
            event = keys.recv() => match event.unwrap_or(Err(io::ErrorKind::UnexpectedEof.into())) {
                // The terminal is gone.
                Err(error) => return Err(error),
                Ok(event) => if let Some(code) = view.take(&event, screen.0.size()?.height) {
                    return Ok(Left::User(code));
                },
            },
        }
    }
}

/// Passes on what the terminal says, until nobody wants it.
fn read_keys(to: &Sender<io::Result<Event>>) {
    while !to.is_closed() {
        let event = match event::poll(KEYS) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let is_over = event.is_err();
        if to.blocking_send(event).is_err() || is_over {
            return;
        }
    }
}

/// A line now and then, for a terminal that cannot be redrawn.
async fn tell(mut snapshots: Receiver<Snapshot>, mut signals: Signals) -> io::Result<Left> {
    let mut said = String::new();
    let mut due = Instant::now();
    loop {
        let next = tokio::select! {
            code = signals.came() => return Ok(Left::User(code)),
            next = snapshots.recv() => next,
        };
        let Some(next) = next else { return Ok(Left::Looker) };
        if next.state != State::Running {
            return Ok(Left::Pipeline(Box::new(next)));
        }
        let line = in_a_line(&next);
        if Instant::now() >= due && line != said {
            print(&format!("{line}\n"));
            said = line;
            due = Instant::now() + LINE_INTERVAL;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::workspace::progress_file::Ended;

    #[test]
    fn the_looker_ends_with_the_pipeline() {
        let dir = tempfile::tempdir().unwrap();
        sample::write(dir.path());
        let (sender, mut receiver) = channel(1);
        let gatherer = Gatherer::new(dir.path(), true).unwrap();
        // It was on a machine of another name, whose last words are awaited.
        let looker = Looker { gatherer, output_dir: dir.path().into(), wants_errors: true };
        let looker = thread::spawn(move || looker.run(&sender));
        assert_eq!(receiver.blocking_recv().unwrap().state, State::Running);
        let mut progress = sample::progress();
        progress.ended = Some(Ended { time: progress.time, exit_code: 3 });
        progress.write(&crate::pipeline::layout(dir.path()).progress()).unwrap();
        let last = std::iter::from_fn(|| receiver.blocking_recv()).last().unwrap();
        assert_eq!((last.state, last.exit_code(), last.errors.len()), (State::Ended, Some(3), 3));
        looker.join().unwrap().unwrap();
    }
}
