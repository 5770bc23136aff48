//! See tests/conformance/README.md.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tigerflow_task::prelude::*;
use tigerflow_task::{Reader, fs, http, log};

static SETUPS: AtomicU32 = AtomicU32::new(0);

#[derive(Params)]
struct Options {
    /// A text that must be given
    tag: String,
    /// A text
    #[param(default = "untitled")]
    title: String,
    /// A whole number
    #[param(default = 3)]
    count: i64,
    /// A number
    #[param(default = 0.5)]
    ratio: f64,
    /// A switch
    loud: bool,
    /// One of two
    #[param(default = Mode::Fast)]
    mode: Mode,
    /// A text that may be missing
    note: Option<String>,
}

#[derive(Choice)]
enum Mode {
    Fast,
    Careful,
}

#[derive(Debug)]
struct TooBad {
    message: String,
    cause: io::Error,
}

impl TooBad {
    fn new(message: &str) -> Self {
        TooBad { message: message.into(), cause: io::Error::other("the cause of it") }
    }
}

impl fmt::Display for TooBad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TooBad {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

struct Conformance {
    options: Options,
    runs: Cell<u32>,
    seen: RefCell<HashSet<String>>,
}

impl Task for Conformance {
    type Params = Options;

    fn about() -> About {
        About::new()
            .can_use(Grant::read_only("/gate"), "waits for /gate/open")
            .can_use(Grant::environment("SETTING"), "is shown")
            .option("timeout", "10m")
    }

    fn setup(options: Options) -> Result<Self> {
        SETUPS.fetch_add(1, Ordering::Relaxed);
        if options.tag == "fail" {
            return Err(TooBad::new("setup was told to fail"))?;
        }
        Ok(Conformance { options, runs: Cell::new(0), seen: RefCell::default() })
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        self.runs.set(self.runs.get() + 1);
        let (line, body) = first_line(input)?;
        let (word, argument) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "params" => output.write(self.params()),
            "context" => output.write(format!(
                "setup {}, run {}, tag {}",
                SETUPS.load(Ordering::Relaxed),
                self.runs.get(),
                self.options.tag
            )),
            "echo" => output.write(body.rest()?),
            "names" => output.write(format!("{}\n{}", input.name(), output.name())),
            "copy" => {
                io::copy(&mut input.open()?, &mut output.create()?)?;
                Ok(())
            }
            "fail" => Err(TooBad::new(argument))?,
            "io" => {
                std::fs::read(input.with_file_name("there-is-none"))?;
                Ok(())
            }
            "transient" => {
                if self.seen.borrow_mut().insert(input.name().to_owned()) {
                    let delay = Duration::from_millis(argument.parse()?);
                    return Err(Error::transient("come again").retry_after(delay));
                }
                output.write("run again")
            }
            "abort" => Err(Error::aborted(argument)),
            "nothing" => Ok(()),
            "empty" => output.write(""),
            "panic" => panic!("this is a mistake"),
            "exit" => std::process::exit(7),
            "stderr" => {
                for number in 1..=1000 {
                    eprintln!("line {number}");
                }
                Err(TooBad::new(argument))?
            }
            "stdout" => {
                println!("on stdout");
                Ok(())
            }
            "log" => {
                log::trace!("at trace");
                log::debug!("at debug");
                log::info!("at info");
                log::warn!("at warn");
                log::error!("at error");
                Ok(())
            }
            "progress" => {
                input.progress(0.25);
                while !Path::new("/gate/open").exists() {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Ok(())
            }
            "env" => output.write(std::env::var(argument).unwrap_or_else(|_| "(none)".into())),
            "read" => output.write(fs::read(argument)?),
            "write" => Ok(std::fs::write(argument, body.rest()?)?),
            "loop" => loop {
                black_box(());
            },
            "memory" => {
                let mut all = Vec::new();
                loop {
                    all.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            "http" => {
                let response = http::blocking::get(argument).send()?.error_for_status()?;
                output.write(response.bytes()?)
            }
            other => bail!("no such word: {other}"),
        }
    }

    fn teardown(self) -> Result<()> {
        println!("teardown after {} runs", self.runs.get());
        Ok(())
    }
}

export_task!(Conformance);

impl Conformance {
    fn params(&self) -> String {
        let Options { tag, title, count, ratio, loud, mode, note } = &self.options;
        let mode = match mode {
            Mode::Fast => "fast",
            Mode::Careful => "careful",
        };
        let note = note.as_deref().unwrap_or("(none)");
        format!(
            "tag={tag}\ntitle={title}\ncount={count}\nratio={ratio}\nloud={loud}\nmode={mode}\nnote={note}\n"
        )
    }
}

/// What follows the first line, still to be read.
struct Body {
    begun: Vec<u8>,
    rest: Reader,
}

impl Body {
    fn rest(mut self) -> Result<Vec<u8>> {
        io::Read::read_to_end(&mut self.rest, &mut self.begun)?;
        Ok(self.begun)
    }
}

fn first_line(input: &Input) -> Result<(String, Body)> {
    let mut rest = input.open()?;
    let mut begun = Vec::new();
    let mut piece = [0; 4096];
    let end = loop {
        let count = io::Read::read(&mut rest, &mut piece)?;
        begun.extend_from_slice(&piece[..count]);
        if let Some(end) = begun.iter().position(|byte| *byte == b'\n') {
            break end;
        }
        if count == 0 {
            break begun.len();
        }
    };
    let line = String::from_utf8_lossy(&begun[..end]).into_owned();
    begun.drain(..(end + 1).min(begun.len()));
    Ok((line, Body { begun, rest }))
}
