//! Does what its input says, and that is no good: each way to fail, or to take
//! more than is due. An input that says `good …` gets a proper output.

use std::cell::{Cell, RefCell};
use std::fs;
use std::hint::black_box;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use tigerflow_task::prelude::*;

struct Misbehave {
    at_teardown: String,
}

#[derive(Params)]
struct Options {
    /// What to do in `setup`
    #[param(default = "")]
    at_setup: String,
    /// What to do in `teardown`
    #[param(default = "")]
    at_teardown: String,
}

impl Task for Misbehave {
    type Params = Options;

    fn about() -> About {
        About::new().name("misbehave").version("1.2.3")
    }

    fn setup(options: Options) -> Result<Self> {
        println!("setup");
        call(&options.at_setup)?;
        Ok(Misbehave { at_teardown: options.at_teardown })
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        RUNS.set(RUNS.get() + 1);
        let text = input.read_to_string()?;
        let (word, argument) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        match word {
            "good" => output.write(good(argument)?),
            "runs" => output.write(RUNS.get().to_string()),
            "nothing" => Ok(()),
            "directory" => Ok(fs::create_dir(output)?),
            "symlink" => symlink(argument, output),
            "extra" => {
                fs::write("/output/extra", "left behind")?;
                fs::create_dir_all("/output/more/of/it")?;
                fs::write("/output/more/of/it/file", "left behind")?;
                symlink("more", "/output/link".as_ref())?;
                output.write("done")
            }
            "nest" => nest(argument.parse()?),
            "partial" => {
                output.write("half an output")?;
                call(argument)
            }
            "write" => write(output, argument.parse()?),
            "grow" => Ok(output.create_file()?.set_len(argument.parse()?)?),
            "far" => {
                let mut file = output.create_file()?;
                file.seek(SeekFrom::Start(argument.parse()?))?;
                Ok(file.write_all(b"x")?)
            }
            "pieces" => pieces(output, argument),
            "memory" => output.write(memory().to_string()),
            "wait-for" => {
                while !Path::new(argument).exists() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                output.write("done")
            }
            "keep" => keep(output),
            "write-to-kept" => KEPT.with_borrow_mut(|kept| {
                for file in kept {
                    // Whether it can or not.
                    let _ = file.write_all(b" and more");
                }
                Ok(())
            }),
            "hard-link" => {
                output.write("one")?;
                Ok(fs::hard_link(output, argument)?)
            }
            "plant" => {
                let (target, link) = argument.split_once(' ').context("a target and a link")?;
                symlink(target, Path::new(link))
            }
            "append" => {
                let mut file = fs::OpenOptions::new().append(true).create(true).open(argument)?;
                for _ in 0..200 {
                    file.write_all(b"8 bytes\n")?;
                }
                Ok(())
            }
            "hoard" => hoard(input, argument.parse()?),
            "lines" => {
                for number in 0..argument.parse::<u32>()? {
                    println!("{} {number} {}", input.stem(), "-".repeat(50));
                }
                Ok(())
            }
            _ => call(&text),
        }
    }

    fn teardown(self) -> Result<()> {
        println!("teardown");
        call(&self.at_teardown)
    }
}

export_task!(Misbehave);

/// What can go wrong in any call.
fn call(text: &str) -> Result<()> {
    let (word, argument) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    match word {
        "" => Ok(()),
        "abort" => std::process::abort(),
        "panic" => panic!("{argument}"),
        "exit" => std::process::exit(argument.parse()?),
        "loop" => loop {
            black_box(0);
        },
        "sleep" => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        "bomb" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1_u8; 1 << 20]);
                black_box(&all);
            }
        }
        "deep" => bail!("it came back with {}", deep(u64::MAX)),
        "deep-frames" => bail!("it came back with {}", deep_frames(u64::MAX)),
        "fail" => {
            let number: u32 = argument.parse().context("the file is no number")?;
            bail!("{number} is no answer")
        }
        "transient" => Err(Error::transient(argument).retry_after(Duration::from_secs(5))),
        "aborted" => Err(Error::aborted(argument)),
        // Where a later file's output belongs.
        "leave" => Ok(fs::write(argument, "left by a teardown, and long")?),
        "long-reason" => Err(Error::aborted("x".repeat(argument.parse()?))),
        "long-error" => Err(Error::failed("x".repeat(argument.parse()?))),
        "read" => bail!("{} bytes", fs::read(argument)?.len()),
        "read-by-sdk" => bail!("{} bytes", Input::new(argument).read()?.len()),
        "stderr" => {
            for number in 0..argument.parse::<u32>()? {
                eprintln!("line {number} of what goes wrong");
            }
            bail!("see stderr")
        }
        "forever" => loop {
            println!("and again");
        },
        other => bail!("no such misdeed: {other}"),
    }
}

/// What a good file becomes, and how many entries its `/output` had before.
fn good(text: &str) -> Result<String> {
    let before = fs::read_dir("/output")?.count();
    Ok(format!("{} {before}", text.to_uppercase()))
}

fn deep(n: u64) -> u64 {
    if n == 0 { 0 } else { black_box(deep(black_box(n) - 1)) + 1 }
}

/// Fills the stack that a language keeps in its memory, before the engine's.
fn deep_frames(n: u64) -> u64 {
    let frame = black_box([n; 4096]);
    if n == 0 { 0 } else { black_box(deep_frames(frame[0] - 1)) + black_box(frame)[1] }
}

/// Writes this many bytes, a part at a time.
fn write(output: &Output, bytes: usize) -> Result<()> {
    let mut file = output.create_file()?;
    let block = vec![b'x'; 64 << 10];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(block.len());
        file.write_all(&block[..part])?;
        left -= part;
    }
    Ok(())
}

/// `FILES BYTES`: writes so many files of so many bytes.
fn pieces(output: &Output, argument: &str) -> Result<()> {
    let (files, bytes) = argument.split_once(' ').context("`FILES BYTES`")?;
    let content = vec![b'x'; bytes.parse()?];
    for number in 0..files.parse::<u32>()? {
        fs::write(format!("/output/piece-{number}"), &content)?;
    }
    output.write("done")
}

/// How many MiB there are to have, at most 1 GiB; then gives them back.
fn memory() -> usize {
    let mut all: Vec<Vec<u8>> = Vec::new();
    while all.len() < 1024 {
        let mut block = Vec::new();
        if block.try_reserve_exact((1 << 20) - 64).is_err() {
            break;
        }
        block.resize((1 << 20) - 64, 1);
        all.push(black_box(block));
    }
    all.len()
}

thread_local! {
    /// How often `run` was called.
    static RUNS: Cell<u32> = const { Cell::new(0) };
    static KEPT: RefCell<Vec<fs::File>> = const { RefCell::new(Vec::new()) };
}

/// Writes the output and does not close it.
fn keep(output: &Output) -> Result<()> {
    let mut file = output.create_file()?;
    file.write_all(b"complete")?;
    KEPT.with_borrow_mut(|kept| kept.push(file));
    Ok(())
}

/// Opens the input this many times and closes nothing.
fn hoard(input: &Input, files: u32) -> Result<()> {
    for number in 0..files {
        let file = input.open().with_context(|| format!("file {number}"))?;
        std::mem::forget(file);
    }
    Ok(())
}

/// Directories within each other, deeper than any path is long.
fn nest(depth: u32) -> Result<()> {
    const STEP: u32 = 100;
    let step = vec!["d"; STEP as usize].join("/");
    for _ in 0..depth.div_ceil(STEP) {
        fs::create_dir_all(format!("/output/new/{step}"))?;
        if Path::new("/output/nest").exists() {
            fs::rename("/output/nest", format!("/output/new/{step}/d"))?;
        }
        fs::rename("/output/new", "/output/nest")?;
    }
    Ok(())
}

/// `std` has no symbolic links for WASI yet.
fn symlink(target: &str, link: &Path) -> Result<()> {
    unsafe extern "C" {
        fn symlink(target: *const std::ffi::c_char, link: *const std::ffi::c_char) -> i32;
    }
    let target = std::ffi::CString::new(target)?;
    let link = std::ffi::CString::new(link.to_str().context("not UTF-8")?)?;
    // SAFETY: both are C strings that live as long as the call.
    match unsafe { symlink(target.as_ptr(), link.as_ptr()) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

trait CreateFile {
    fn create_file(&self) -> std::io::Result<fs::File>;
}

impl CreateFile for Output {
    fn create_file(&self) -> std::io::Result<fs::File> {
        fs::File::create(self)
    }
}
