//! Upper-cases ASCII, as an asynchronous task, and does what its input says
//! first: `wait N` waits N milliseconds, `sleep N` blocks for as long, `trap`
//! panics after a wait, `loop` computes for ever; `late N` and `burst N` compute for
//! ever and panic after waiting N milliseconds; `fail`, `decline` and `again`
//! end that way after a wait; `talk` says its content before and after a wait,
//! on stdout, stderr and in the log, and `complain` does so and fails; `hold` keeps
//! its output file open, and `scribble` writes to all that are kept; `join N`
//! waits N milliseconds three times at once, `turn N` for its turn and then N,
//! `limit N` no more than N of a longer wait; `nothing` writes no output. `peak`
//! writes how many calls were in flight at most.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::lock::Mutex;
use tigerflow_task::prelude::*;
use tigerflow_task::time;

/// How long a call waits before it ends badly, in milliseconds.
const PAUSE: u64 = 50;

#[derive(Default)]
struct AsyncUpper {
    teardown_wait: u64,
    in_flight: Cell<u32>,
    peak: Cell<u32>,
    held: RefCell<Vec<File>>,
    turn: Mutex<()>,
}

#[derive(Params)]
struct Options {
    /// Fail in `setup`
    fail_setup: bool,
    /// Milliseconds to wait in `setup`
    #[param(default = 0)]
    setup_wait: u32,
    /// Milliseconds to wait in `teardown`
    #[param(default = 0)]
    teardown_wait: u32,
}

impl AsyncTask for AsyncUpper {
    type Params = Options;

    fn about() -> About {
        About::new().name("async-upper")
    }

    async fn setup(options: Options) -> Result<Self> {
        println!("setup");
        wait(options.setup_wait.into()).await;
        if options.fail_setup {
            bail!("told to fail in setup");
        }
        Ok(AsyncUpper { teardown_wait: options.teardown_wait.into(), ..AsyncUpper::default() })
    }

    async fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let flight = Flight::of(self);
        let text = input.read_to_string()?;
        let (word, argument) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        match word {
            "wait" => wait(argument.parse()?).await,
            "sleep" => std::thread::sleep(Duration::from_millis(argument.parse()?)),
            "loop" => loop {
                black_box(0);
            },
            "late" => {
                wait(argument.parse()?).await;
                loop {
                    black_box(0);
                }
            }
            "burst" => {
                wait(argument.parse()?).await;
                panic!("{text}");
            }
            "trap" => {
                wait(PAUSE).await;
                panic!("{text}");
            }
            "fail" => {
                wait(PAUSE).await;
                bail!("told to fail: {argument}");
            }
            "decline" => {
                wait(PAUSE).await;
                return Err(Error::aborted(format!("told to decline: {argument}")));
            }
            "again" => {
                wait(PAUSE).await;
                return Err(Error::transient(format!("told to try again: {argument}")));
            }
            "talk" => {
                talk("before", argument);
                input.progress(0.5);
                wait(PAUSE).await;
                talk("after", argument);
            }
            "hold" => {
                let mut file = File::create(output)?;
                file.write_all(text.to_ascii_uppercase().as_bytes())?;
                self.held.borrow_mut().push(file);
                return Ok(());
            }
            "join" => {
                let wait_for = argument.parse()?;
                join_all([wait(wait_for), wait(wait_for), wait(wait_for)]).await;
            }
            "turn" => {
                // The call that has it wakes the next one.
                let _turn = self.turn.lock().await;
                wait(argument.parse()?).await;
            }
            "limit" => {
                let limit = Duration::from_millis(argument.parse()?);
                time::timeout(limit, wait(60_000)).await?;
            }
            "complain" => {
                talk("before", argument);
                wait(PAUSE).await;
                talk("after", argument);
                bail!("told to complain");
            }
            // Whether it can or not.
            "scribble" => {
                for file in &mut *self.held.borrow_mut() {
                    let _ = file.write_all(b" and more");
                }
            }
            "nothing" => return Ok(()),
            "peak" => return output.write(self.peak.get().to_string()),
            _ => {}
        }
        drop(flight);
        output.write(text.to_ascii_uppercase())
    }

    async fn teardown(self) -> Result<()> {
        wait(self.teardown_wait).await;
        println!("teardown");
        Ok(())
    }
}

export_async_task!(AsyncUpper);

async fn wait(milliseconds: u64) {
    time::sleep(Duration::from_millis(milliseconds)).await;
}

fn talk(when: &str, what: &str) {
    println!("stdout {when} {what}");
    eprintln!("stderr {when} {what}");
    log::info!("log {when} {what}");
}

/// A call in flight, until it is dropped.
struct Flight<'a>(&'a Cell<u32>);

impl<'a> Flight<'a> {
    fn of(task: &'a AsyncUpper) -> Self {
        task.in_flight.set(task.in_flight.get() + 1);
        task.peak.set(task.peak.get().max(task.in_flight.get()));
        Flight(&task.in_flight)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
