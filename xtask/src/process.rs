//! Running other programs, and saying so: one line a step, with the time it took.

use std::{
    io::{BufRead, BufReader, IsTerminal, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

use crate::repo;

/// How often a step that takes long says that it is still at work.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// A step's line was begun and awaits its time.
static LINE_OPEN: AtomicBool = AtomicBool::new(false);

/// Ends a step's line that is still open, so that something else can be printed.
pub fn end_line() {
    if LINE_OPEN.swap(false, Ordering::SeqCst) {
        eprintln!();
    }
}

/// Prints a heading.
pub fn heading(text: &str) {
    end_line();
    eprintln!("\n== {text}");
}

/// Prints a line of its own under a heading.
pub fn note(text: &str) {
    end_line();
    eprintln!("   {text}");
}

/// Does a step and prints one line for it: `   WHAT ... RESULT (1.2 s)`. The closure returns the result's words.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
    end_line();
    eprint!("   {what} ... ");
    let _ = std::io::stderr().flush();
    LINE_OPEN.store(true, Ordering::SeqCst);
    let start = Instant::now();
    let (value, result) = work()?;
    let seconds = start.elapsed().as_secs_f64();
    if LINE_OPEN.swap(false, Ordering::SeqCst) {
        eprintln!("{result} ({seconds:.1} s)");
    } else {
        eprintln!("   {what}: {result} ({seconds:.1} s)");
    }
    Ok(value)
}

/// A command in the checkout's root, without what `cargo run` put into our environment for us alone.
///
/// `RUSTUP_TOOLCHAIN` stays: it is how `cargo +TOOLCHAIN xtask` reaches the builds.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(repo::root()).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if text == "CARGO"
            || text == "CARGO_TARGET_DIR"
            || ours.iter().any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    command
}

/// The Cargo that runs us, for the host's own builds.
pub fn cargo() -> Command {
    let mut command = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.env("CARGO_TARGET_DIR", repo::target());
    command
}

/// The command as a person would type it.
pub fn shown(command: &Command) -> String {
    // Which cargo it was matters less than that the line can be typed.
    let program = Path::new(command.get_program());
    let name = if program.ends_with("bin/cargo") { Path::new("cargo") } else { program };
    let mut words = vec![repo::shown(name)];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Starts a command; a program that is not there is named.
pub fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn().with_context(|| format!("could not start `{}`", shown(command)))
}

/// The command's standard output. What it printed is part of the error when it fails.
pub fn output(command: &mut Command) -> Result<String> {
    let text = shown(command);
    let result = command.output().with_context(|| format!("could not start `{text}`"))?;
    if !result.status.success() {
        let mut all = String::from_utf8_lossy(&result.stdout).into_owned();
        all.push_str(&String::from_utf8_lossy(&result.stderr));
        bail!("`{text}` failed ({}):\n{}", result.status, all.trim_end());
    }
    Ok(String::from_utf8_lossy(&result.stdout).into_owned())
}

/// Runs a command whose output is of interest only if it fails.
pub fn quietly(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a command that prints for the user; anything but success is an error.
pub fn visibly(command: &mut Command) -> Result<()> {
    end_line();
    let status = spawn(command)?.wait()?;
    expect_success(command, status)
}

/// Like `quietly`, but ended after `limit`: for programs that may wait for a network that does not answer.
pub fn within(limit: Duration, command: &mut Command) -> Result<()> {
    let mut child = spawn(command.stdout(Stdio::null()).stderr(Stdio::piped()))?;
    let errors = child.stderr.take().expect("stderr is piped");
    let errors = thread::spawn(move || std::io::read_to_string(errors).unwrap_or_default());
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("`{}` did not end within {} s", shown(command), limit.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    };
    if status.success() {
        return Ok(());
    }
    let errors = errors.join().unwrap_or_default();
    let last = errors.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
    Err(anyhow!("`{}` failed: {}", shown(command), last.trim()))
}

/// `Ok` for success, else an error that names the command.
pub fn expect_success(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    bail!("`{}` failed ({status})", shown(command))
}

/// Runs a Cargo command inside a `step`: counts its `Compiling` lines instead of showing them, shows everything else,
/// and says now and then that it is still at work. Returns its standard output (of use with `--message-format`).
pub fn cargo_quietly(command: &mut Command) -> Result<String> {
    let mut child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let progress = Mutex::new((Instant::now(), 0_u32));
    let start = Instant::now();
    let finished = AtomicBool::new(false);
    let printed = thread::scope(|scope| {
        scope.spawn(|| {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.trim_start().starts_with("Compiling ") {
                    progress.lock().expect("no panic holds it").1 += 1;
                } else if !is_chatter(&line) {
                    end_line();
                    eprintln!("{line}");
                }
            }
        });
        scope.spawn(|| {
            while !finished.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(100));
                let mut progress = progress.lock().expect("no panic holds it");
                if progress.0.elapsed() > HEARTBEAT {
                    progress.0 = Instant::now();
                    end_line();
                    eprintln!(
                        "     {} s, {} crates compiled so far",
                        start.elapsed().as_secs(),
                        progress.1
                    );
                }
            }
        });
        let printed = std::io::read_to_string(stdout);
        finished.store(true, Ordering::SeqCst);
        printed
    })?;
    let status = child.wait()?;
    if !status.success() {
        // What a person can read of it: messages for programs begin with a brace.
        end_line();
        printed.lines().filter(|line| !line.starts_with('{')).for_each(|line| eprintln!("{line}"));
    }
    expect_success(command, status)?;
    Ok(printed)
}

/// Cargo's status lines that say nothing once a step has a line of its own.
fn is_chatter(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    let words = [
        "Finished",
        "Downloading",
        "Downloaded",
        "Locking",
        "Updating",
        "Blocking",
        "Adding",
        "Building",
        "Installing",
        "Installed",
        "Replacing",
        "Replaced",
        "Creating",
        "Running",
        "Checking",
        "Dirty",
        "Fresh",
        "Compiled",
    ];
    // Cargo right-aligns its status words in 12 columns; a compiler's message starts at the margin.
    line.starts_with(' ') && words.contains(&first)
}

/// Copies a child's output to ours line by line and hands each line to `look`.
pub fn tee(child: &mut Child, mut look: impl FnMut(&str)) -> Result<()> {
    let stdout = child.stdout.take().expect("stdout is piped");
    let mut ours = std::io::stdout().lock();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        ours.write_all(&line)?;
        ours.write_all(b"\n")?;
        look(&String::from_utf8_lossy(&line));
    }
    ours.flush()?;
    Ok(())
}

/// Whether our standard output is a terminal.
pub fn on_terminal() -> bool {
    std::io::stdout().is_terminal()
}
