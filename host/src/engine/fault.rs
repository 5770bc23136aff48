//! From what the engine reports to what a person can act on.

use wasmtime::component::ResourceTableError;
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::bindings::tigerflow::task::types as wit;
use super::guest::{Guest, OverLimit, TooManyOpen};
use crate::outcome::{Cause, Failure};
use crate::text::{self, size};

/// Longest message and traceback that an `.err` carries, in bytes: a guest
/// chooses their length.
const TEXT_LIMIT: usize = 64 << 10;

/// Longest exception type, in bytes.
const KIND_LIMIT: usize = 200;

/// Why a call into the guest gave no answer: the instance is lost with it.
pub(super) enum Fault<'a> {
    /// It trapped, exited or was stopped at a limit.
    Trap(&'a wasmtime::Error),
    /// It ran out of time.
    Timeout {
        /// The limit, as the user writes it.
        limit: std::time::Duration,
        /// The option that sets it.
        option: &'static str,
    },
}

/// The failure that a fault amounts to.
/// `lane`: of the attempt that broke.
pub(super) fn describe(fault: &Fault<'_>, guest: &mut Guest, lane: u32) -> Failure {
    let stderr = guest.stdio.stderr_tail(lane);
    let (cause, (kind, message), traceback) = match fault {
        Fault::Timeout { limit, option } => {
            let limit = humantime::format_duration(*limit);
            let message =
                format!("it was stopped after {limit} (raise {option} to give it more time)");
            (Cause::Timeout, ("Timeout", message), String::new())
        }
        Fault::Trap(error) => (Cause::Crash, crash(error, guest, lane, &stderr), frames(error)),
    };
    Failure { cause, exception_type: kind.into(), message, traceback, stderr }
}

fn crash(
    error: &wasmtime::Error,
    guest: &mut Guest,
    lane: u32,
    stderr: &str,
) -> (&'static str, String) {
    let meter = &guest.attempt_in(lane).meter;
    if meter.is_over() || error.is::<OverLimit>() {
        let limit = size(meter.limit());
        let message = format!("it wrote more than {limit} (raise --output-limit to let it)");
        return ("OutputLimit", message);
    }
    // Growth may be refused, and the guest go on and panic for another reason.
    let panic = last_words(stderr);
    let of_memory =
        |words: &str| ["alloc", "out of memory"].iter().any(|part| words.contains(part));
    if guest.was_refused_memory(lane) && panic.as_ref().is_none_or(|(_, words)| of_memory(words)) {
        let limit = size(guest.memory.limit as u64);
        let message = format!("it needs more memory than {limit} (raise --memory-limit to let it)");
        return ("MemoryLimit", message);
    }
    if error.is::<TooManyOpen>() {
        let limit = guest.opened.limit;
        let message = format!(
            "it holds {limit} files open at once, and may hold no more: close what is read"
        );
        return ("HandleLimit", message);
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        let message = format!(
            "it holds {} handles (open files, streams) at once, and may hold no more",
            guest.table.max_capacity()
        );
        return ("HandleLimit", message);
    }
    if let Some(I32Exit(code)) = error.downcast_ref() {
        // WASI 0.2 tells success from failure, and no more.
        let with = if *code == 0 { "with success" } else { "with an error code" };
        let message = format!("the task ended its process {with} instead of returning");
        return ("Exit", message);
    }
    if let Some(panic) = panic {
        return panic;
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => {
            ("StackOverflow", "the call stack is full: a recursion too deep, or without end".into())
        }
        Some(Trap::UnreachableCodeReached) => {
            ("Trap", "the task aborted itself (WebAssembly `unreachable`)".into())
        }
        Some(Trap::MemoryOutOfBounds) => (
            "Trap",
            "the task used memory out of bounds: a bug in its code, or a recursion too deep".into(),
        ),
        Some(trap) => ("Trap", format!("the task was stopped: {trap}")),
        None => ("Trap", format!("the task was stopped: {}", error.root_cause())),
    }
}

/// What a guest wrote to stderr before it aborted itself, where its language's
/// words for that are known.
fn last_words(stderr: &str) -> Option<(&'static str, String)> {
    let (kind, words) = rust_panic(stderr)
        .map(|words| ("Panic", words))
        .or_else(|| go_panic(stderr).map(|words| ("Panic", words)))
        .or_else(|| c_assertion(stderr).map(|words| ("AssertionFailed", words)))?;
    Some((kind, clip(words)))
}

/// `panicked at src/lib.rs:12:5: boom`, on one line.
fn rust_panic(stderr: &str) -> Option<String> {
    let at = stderr.rfind("panicked at ")?;
    let mut lines = stderr[at..].lines();
    let mut message = lines.next()?.trim_end().to_owned();
    // What follows the place is the panic's text, up to the hint on backtraces.
    for line in lines.take_while(|line| !line.starts_with("note: ")) {
        message.push(' ');
        message.push_str(line.trim());
    }
    Some(message.trim_end().to_owned())
}

/// `panic: boom` or `fatal error: all goroutines are asleep - deadlock!`, before
/// the goroutines' traces.
fn go_panic(stderr: &str) -> Option<String> {
    let before = &stderr[..stderr.rfind("\ngoroutine ")?];
    let words = ["panic: ", "fatal error: "];
    let of = |line: &str| words.iter().find_map(|word| line.strip_prefix(word).map(str::to_owned));
    before.lines().rev().find_map(of)
}

/// `EXPRESSION (FILE: FUNCTION: LINE)`, of a failed `assert`.
fn c_assertion(stderr: &str) -> Option<String> {
    let last = stderr.lines().rev().find(|line| !line.is_empty())?;
    last.strip_prefix("Assertion failed: ").map(str::to_owned)
}

/// The guest's frames with the names of its functions, innermost first.
fn frames(error: &wasmtime::Error) -> String {
    error.downcast_ref::<WasmBacktrace>().map(|trace| clip(trace.to_string())).unwrap_or_default()
}

/// What the task itself reports as failed.
pub(super) fn failure(raw: wit::Failure, cause: Cause, guest: &Guest, lane: u32) -> Failure {
    let stderr = guest.stdio.stderr_tail(lane);
    let mask = |text| guest.environment.mask(text);
    let kind =
        if raw.kind.is_empty() { "Error".into() } else { text::clip(mask(raw.kind), KIND_LIMIT) };
    let mut message = clip(mask(raw.message));
    // The words of Rust's and C's library for a path in no granted directory.
    if message.contains("pre-opened file descriptor") {
        message.push_str(" (grant the directory with --dir HOST_DIR::GUEST_DIR)");
    }
    // The names of what `wasi:http` answers where a host is not granted.
    let refused = ["HttpRequestDenied", "HTTP-request-denied", "DestinationIpProhibited"];
    if refused.iter().any(|name| message.contains(name)) {
        message.push_str(" (grant the host with --allow-host: the log says which)");
    }
    Failure { cause, exception_type: kind, message, traceback: clip(mask(raw.trace)), stderr }
}

/// A text of the guest's, cut to what an `.err` carries.
pub(super) fn clip(text: String) -> String {
    crate::text::clip(text, TEXT_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_read_in_each_language() {
        let rust = "before\n\nthread '<unnamed>' (1) panicked at src/lib.rs:12:5:\nboom\n\
                    note: run with `RUST_BACKTRACE=1`\n";
        let go = "before\npanic: boom\n\ngoroutine 7 [running]:\nmain.run()\n\t/x/main.go:3\n\n\
                  goroutine 1 [select]:\n";
        let deadlock =
            "fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [sleep]:\n";
        let c = "before\nAssertion failed: n > 0 (task.c: run: 12)\n";
        for (stderr, kind, words) in [
            (rust, "Panic", "panicked at src/lib.rs:12:5: boom"),
            (go, "Panic", "boom"),
            (deadlock, "Panic", "all goroutines are asleep - deadlock!"),
            (c, "AssertionFailed", "n > 0 (task.c: run: 12)"),
        ] {
            assert_eq!(last_words(stderr), Some((kind, words.to_owned())));
        }
        assert_eq!(last_words("quiet"), None);
        assert_eq!(last_words("panic: boom\nand went on"), None);
    }
}
