//! What Slurm is given: the options of `sbatch`, and the script that becomes a
//! worker.
//!
//! A value of a script's `#SBATCH` lines gives way to one of the environment
//! (`SBATCH_PARTITION`), and that to one of the command line. So what is only a
//! default stands in the script, and what must hold on the command line.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Setup commands that failed, for the worker: number and exit code of each, as in
/// `2:127 3:1`.
pub const SETUP_FAILURES: &str = "TIGERFLOW_SETUP_FAILURES";

/// When the job began, for the worker: seconds since 1970.
pub const JOB_BEGAN: &str = "TIGERFLOW_JOB_BEGAN";

/// What users ask for of each worker's job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobRequest {
    /// The task's name.
    pub task_name: String,
    /// Cores.
    pub cpus: Option<u32>,
    /// Memory, as Slurm writes it.
    pub memory: Option<String>,
    /// Wall time, as Slurm writes it.
    pub time: Option<String>,
    /// GPUs.
    pub gpus: Option<u32>,
    /// Options of `sbatch` as users gave them: `--mail-user=x`, `-p gpu`.
    pub options: Vec<String>,
    /// Commands of bash that run before the worker, in its shell.
    pub setup_commands: Vec<String>,
}

/// What a script starts.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// tigerflow-host, by its absolute path.
    pub binary: &'a Path,
    /// The run's directory.
    pub run_dir: &'a Path,
    /// The submission's number.
    pub submission: u64,
    /// By what the job is known in Slurm's own books, unless users chose another
    /// comment.
    pub comment: &'a str,
    /// Where compiled components are kept.
    pub cache_dir: &'a Path,
    /// Which plan the worker reads.
    pub plan: &'a str,
}

impl JobRequest {
    /// Refuses options that no worker could work with, each with what to do instead.
    pub fn check(&self) -> Result<(), String> {
        for text in &self.options {
            let fault =
                |why: String| Err(format!("--sbatch-option `{}`: {why}", text.escape_debug()));
            if text.chars().any(char::is_control) {
                return fault("it holds a control character, and must be on one line".into());
            }
            if !text.trim_start().starts_with('-') {
                return fault(
                    "it must begin with `-`, as in `--sbatch-option=--partition=gpu`".into(),
                );
            }
            let words = match words(text) {
                Ok(words) => words,
                Err(why) => return fault(why),
            };
            for given in given(&words) {
                if given.is_incomplete() {
                    return fault(format!("`--{}` lacks its value", given.name));
                }
                if let Some(why) = self.objection(given.name, given.value.unwrap_or_default()) {
                    return fault(format!("`--{}`: {why}", given.name));
                }
            }
        }
        Ok(())
    }

    /// Why an option cannot be had.
    fn objection(&self, name: &str, value: &str) -> Option<&'static str> {
        let reason = match name {
            "output" | "error" | "open-mode" => {
                "the host keeps the log of each worker, and `tigerflow-host status` says where: \
                 leave it out"
            }
            "input" => "a worker reads nothing from there: leave it out",
            "array" => "the host decides how many workers there are: set --max-workers instead",
            "wrap" | "external" => {
                "the host brings its own script: give commands by --setup-command instead"
            }
            "parsable" | "test-only" | "wait" | "quiet" | "help" | "usage" | "version"
            | "autocomplete" => {
                "the host itself reads what `sbatch` answers, right after each submission: \
                 leave it out"
            }
            "clusters" | "cluster" => {
                "`squeue` and `scancel` must ask the same cluster: \
                 `export SLURM_CLUSTERS=NAME` instead"
            }
            "nodes" | "ntasks" if !matches!(value, "1" | "1-1") => {
                "a worker is one process on one node: set --max-workers for more workers, and \
                 --cpus for more cores of each"
            }
            "exclude" if value.contains('/') => {
                "the host adds nodes to this list, so it cannot be a file: name the nodes here"
            }
            "time" if self.time.is_some() => "--time says it already: leave one of them out",
            "cpus-per-task" if self.cpus.is_some() => {
                "--cpus says it already: leave one of them out"
            }
            "mem" | "mem-per-cpu" | "mem-per-gpu" if self.memory.is_some() => {
                "--memory says it already: leave one of them out"
            }
            "gpus" | "gpus-per-node" | "gpus-per-task" | "gpus-per-socket"
                if self.gpus.is_some() =>
            {
                "--gpus says it already: leave one of them out"
            }
            _ => return None,
        };
        Some(reason)
    }

    /// The options of `sbatch`, less `--parsable`, for so many workers. Their logs are
    /// `LOGS/SUBMISSION-INDEX.log`; no worker runs on an `excluded` node.
    pub fn arguments(
        &self,
        how_many: u32,
        logs: &Path,
        submission: u64,
        excluded: &[String],
    ) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut nodes: Vec<String> = Vec::new();
        for text in &self.options {
            // What cannot be read was refused by `check`.
            for given in given(&words(text).unwrap_or_default()) {
                // They are in the script, too, where Slurm reads all of them. Here are
                // those for which the environment may say something else.
                if let Some(argument) = given.repeated() {
                    arguments.push(argument.into());
                }
                if given.name == "exclude" {
                    // As for Slurm, the last one counts.
                    nodes = given.value.into_iter().map(str::to_owned).collect();
                }
            }
        }
        let mut push = |name: &str, value: &dyn std::fmt::Display| {
            arguments.push(format!("--{name}={value}").into());
        };
        if let Some(cpus) = self.cpus {
            push("cpus-per-task", &cpus);
        }
        if let Some(memory) = &self.memory {
            push("mem", memory);
        }
        if let Some(time) = &self.time {
            push("time", time);
        }
        if let Some(gpus) = self.gpus {
            push("gpus", &gpus);
        }
        if !excluded.is_empty() {
            nodes.extend_from_slice(excluded);
            push("exclude", &nodes.join(","));
        }
        if how_many > 1 {
            push("array", &format_args!("0-{}", how_many - 1));
        }
        arguments.push(output(logs, submission, how_many > 1));
        // After a restart of the job the log goes on.
        arguments.push("--open-mode=append".into());
        arguments.push("--nodes=1".into());
        arguments.push("--ntasks=1".into());
        arguments
    }

    /// The script of a worker's job, in bash.
    pub fn script(&self, launch: &Launch<'_>) -> Vec<u8> {
        let mut text = String::from("#!/bin/bash\n");
        let mut line = |option: &str| text.extend(["#SBATCH ", option, "\n"]);
        line(&format!("--job-name=tigerflow-{}", plain(&self.task_name)));
        line(&format!("--comment={}", sbatch_word(launch.comment)));
        line("--requeue");
        self.options.iter().for_each(|option| line(option));

        let cache_dir = bash_word(launch.cache_dir);
        let _ = write!(
            text,
            r#"
# This job is a worker of tigerflow-host.
printf -v {JOB_BEGAN} '%(%s)T' -1
export {JOB_BEGAN}
export {SETUP_FAILURES}=
export TIGERFLOW_CACHE_DIR={cache_dir}
"#,
        );
        if !self.setup_commands.is_empty() {
            let _ = write!(
                text,
                r#"
# A setup command that fails does not stop the worker, which tells of it.
tigerflow_failed() {{
    echo "warning: setup command $1 failed with exit code $2" >&2
    {SETUP_FAILURES}="${SETUP_FAILURES}${{{SETUP_FAILURES}:+ }}$1:$2"
}}
trap 'echo "error: setup command $tigerflow_setup ended the job, with exit code $?" >&2' EXIT
"#,
            );
        }
        for (index, command) in self.setup_commands.iter().enumerate() {
            let number = index + 1;
            let command = bash_word(OsStr::new(command));
            // By `eval` a mistake in one command leaves the others, and the script,
            // alone. What it sets for its own faults (`set -eu`) ends with it.
            let _ = write!(
                text,
                "tigerflow_setup={number}\n\
                 eval -- {command} || tigerflow_failed {number} $?\n\
                 set +eu\n"
            );
        }
        if !self.setup_commands.is_empty() {
            text.push_str("trap - EXIT\n");
        }
        let binary = bash_word(launch.binary);
        let run_dir = bash_word(launch.run_dir);
        let (submission, plan) = (launch.submission, bash_word(OsStr::new(launch.plan)));
        let _ = write!(
            text,
            r#"
tigerflow_node=${{SLURMD_NODENAME:-$HOSTNAME}}
tigerflow_binary={binary}
tigerflow_dir={run_dir}
if [ ! -x "$tigerflow_binary" ]; then
    echo "error: tigerflow-host is not at \`$tigerflow_binary\` on node $tigerflow_node, or may not be run there: put it where compute nodes see it, too (a shared file system)" >&2
    exit 127
fi
if [ ! -d "$tigerflow_dir" ]; then
    echo "error: the run's directory \`$tigerflow_dir\` is not there on node $tigerflow_node: choose an output directory that compute nodes see, too (a shared file system)" >&2
    exit 126
fi
exec "$tigerflow_binary" worker "$tigerflow_dir" "{submission}-${{SLURM_ARRAY_TASK_ID:-0}}" {plan}
"#,
        );
        text.into_bytes()
    }
}

/// `--output`: where Slurm puts what a job prints.
fn output(logs: &Path, submission: u64, array: bool) -> OsString {
    let mut option = b"--output=".to_vec();
    let path = logs.as_os_str().as_bytes();
    // A backslash anywhere has Slurm take all else as it stands, so each job of an
    // array writes to the same log.
    let literal = path.contains(&b'\\');
    for &byte in path {
        if byte == if literal { b'\\' } else { b'%' } {
            option.push(byte);
        }
        option.push(byte);
    }
    let index = if array && !literal { "%a" } else { "0" };
    option.extend_from_slice(format!("/{submission}-{index}.log").as_bytes());
    OsString::from_vec(option)
}

/// A task's name as part of a job's: other letters trouble some commands of Slurm's.
fn plain(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

/// A value for a line of `#SBATCH`.
fn sbatch_word(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.,:=/@+".contains(&b)) {
        return text.into();
    }
    let mut word = String::from("\"");
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if matches!(c, '"' | '\\') {
            word.push('\\');
        }
        word.push(c);
    }
    word.push('"');
    word.into()
}

/// A word for bash, whatever bytes it is of.
fn bash_word(text: impl AsRef<OsStr>) -> String {
    let bytes = text.as_ref().as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.is_empty() && bytes.iter().all(|b| is_plain(*b)) => text.into(),
        // `sbatch` refuses scripts with carriage returns at the ends of lines.
        Ok(text) if !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => {
            let mut word = String::from("$'");
            for &byte in bytes {
                match byte {
                    b'\\' | b'\'' => word.extend(['\\', char::from(byte)]),
                    b' '..=b'~' => word.push(char::from(byte)),
                    _ => drop(write!(word, "\\x{byte:02x}")),
                }
            }
            word.push('\'');
            word
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_./,:=+@%".contains(&byte)
}

/// An option of `sbatch` that matters here: one with a rule of its own, one whose
/// default may be in the environment, or one of a letter with a value.
struct Known {
    name: &'static str,
    letter: Option<u8>,
    value: Takes,
    /// Whether a variable of the environment sets it, too.
    variable: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Takes {
    /// `--name=VALUE` or `--name VALUE`.
    Value,
    /// `--name` or `--name=VALUE`.
    Perhaps,
    Nothing,
}

/// The options of Slurm 20.11 to 25.11 (`src/common/slurm_opt.c` and the table of
/// variables in `src/sbatch/opt.c`).
#[rustfmt::skip]
const KNOWN: &[Known] = {
    use Takes::{Nothing, Perhaps, Value};
    const fn known(name: &'static str, letter: u8, value: Takes, variable: bool) -> Known {
        Known { name, letter: if letter == 0 { None } else { Some(letter) }, value, variable }
    }
    &[
        known("account", b'A', Value, true),
        known("acctg-freq", 0, Value, true),
        known("array", b'a', Value, false),
        known("autocomplete", 0, Value, false),
        known("batch", 0, Value, true),
        known("bb", 0, Value, true),
        known("begin", b'b', Value, false),
        known("chdir", b'D', Value, false),
        known("cluster", 0, Value, false),
        known("cluster-constraint", 0, Value, true),
        known("clusters", b'M', Value, false),
        known("constraint", b'C', Value, true),
        known("container", 0, Value, true),
        known("container-id", 0, Value, true),
        known("core-spec", b'S', Value, true),
        known("cpu-freq", 0, Value, true),
        known("cpus-per-gpu", 0, Value, true),
        known("cpus-per-task", b'c', Value, false),
        known("delay-boot", 0, Value, true),
        known("dependency", b'd', Value, false),
        known("distribution", b'm', Value, true),
        known("error", b'e', Value, false),
        known("exclude", b'x', Value, false),
        known("exclusive", 0, Perhaps, true),
        known("export", 0, Value, true),
        known("external", 0, Nothing, false),
        known("extra-node-info", b'B', Value, false),
        known("get-user-env", 0, Perhaps, true),
        known("gpu-bind", 0, Value, true),
        known("gpu-freq", 0, Value, true),
        known("gpus", b'G', Value, true),
        known("gpus-per-node", 0, Value, true),
        known("gpus-per-socket", 0, Value, true),
        known("gpus-per-task", 0, Value, true),
        known("gres", 0, Value, true),
        known("gres-flags", 0, Value, true),
        known("help", b'h', Nothing, false),
        known("hint", 0, Value, true),
        known("hold", b'H', Nothing, false),
        known("input", b'i', Value, false),
        known("job-name", b'J', Value, true),
        known("licenses", b'L', Value, false),
        known("mem", 0, Value, true),
        known("mem-bind", 0, Value, true),
        known("mem-per-cpu", 0, Value, true),
        known("mem-per-gpu", 0, Value, true),
        known("network", 0, Value, true),
        known("no-kill", b'k', Perhaps, true),
        known("no-requeue", 0, Nothing, true),
        known("nodefile", b'F', Value, false),
        known("nodelist", b'w', Value, false),
        known("nodes", b'N', Value, false),
        known("ntasks", b'n', Value, false),
        known("open-mode", 0, Value, false),
        known("output", b'o', Value, false),
        known("overcommit", b'O', Nothing, true),
        known("oversubscribe", b's', Nothing, false),
        known("parsable", 0, Nothing, false),
        known("partition", b'p', Value, true),
        known("profile", 0, Value, true),
        known("qos", b'q', Value, true),
        known("quiet", b'Q', Nothing, false),
        known("requeue", 0, Perhaps, true),
        known("reservation", 0, Value, true),
        known("signal", 0, Value, false),
        known("spread-job", 0, Nothing, true),
        known("switches", 0, Value, true),
        known("test-only", 0, Nothing, false),
        known("thread-spec", 0, Value, true),
        known("threads-per-core", 0, Value, true),
        known("time", b't', Value, true),
        known("tres-bind", 0, Value, true),
        known("tres-per-task", 0, Value, true),
        known("usage", 0, Nothing, false),
        known("use-min-nodes", 0, Nothing, true),
        known("verbose", b'v', Nothing, false),
        known("version", b'V', Nothing, false),
        known("wait", b'W', Nothing, false),
        known("wait-all-nodes", 0, Value, true),
        known("wckey", 0, Value, true),
        known("wrap", 0, Value, false),
    ]
};

/// An option as a user gave it.
struct Given<'a> {
    /// Its long name.
    name: &'a str,
    value: Option<&'a str>,
    known: Option<&'static Known>,
}

impl Given<'_> {
    fn is_incomplete(&self) -> bool {
        self.value.is_none() && self.known.is_some_and(|known| known.value == Takes::Value)
    }

    /// The option once more, for the command line, where nothing overrides it.
    fn repeated(&self) -> Option<String> {
        self.known.filter(|known| known.variable && !self.is_incomplete())?;
        Some(match self.value {
            Some(value) => format!("--{}={value}", self.name),
            None => format!("--{}", self.name),
        })
    }
}

/// The options in these words, as `sbatch` reads them. What follows a word that is
/// no option is left: Slurm says what is wrong about it.
fn given(words: &[String]) -> Vec<Given<'_>> {
    let mut found = Vec::new();
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let known = by_name(name);
            // What an unknown one takes is not known either.
            let next = match known.map(|known| known.value) {
                Some(Takes::Value) => true,
                Some(Takes::Perhaps | Takes::Nothing) => false,
                None => words.peek().is_some_and(|next| !next.starts_with('-')),
            };
            let value = if value.is_none() && next { words.next() } else { value };
            found.push(Given { name: known.map_or(name, |known| known.name), value, known });
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            for (at, letter) in letters.bytes().enumerate() {
                let Some(known) = KNOWN.iter().find(|known| known.letter == Some(letter)) else {
                    continue;
                };
                let rest = letters.get(at + 1..).filter(|rest| !rest.is_empty());
                let value = match known.value {
                    Takes::Value => rest.or_else(|| words.next()),
                    Takes::Perhaps => rest,
                    Takes::Nothing => None,
                };
                found.push(Given { name: known.name, value, known: Some(known) });
                if known.value != Takes::Nothing {
                    break;
                }
            }
        } else {
            break;
        }
    }
    found
}

/// The option of this name, or of a longer one that begins so, if there is only one:
/// `--part` is `--partition`.
fn by_name(name: &str) -> Option<&'static Known> {
    let mut longer = KNOWN.iter().filter(|known| known.name.starts_with(name));
    match (longer.next()?, longer.next()) {
        (first, _) if first.name == name => Some(first),
        (first, None) => Some(first),
        _ => None,
    }
}

/// The words of a line of `#SBATCH`, by the rules of `sbatch`: quotes, backslashes,
/// and `#` for a comment.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut letters = line.chars().peekable();
    loop {
        while letters.next_if(|c| c.is_whitespace()).is_some() {}
        if letters.peek() == Some(&':') {
            return Err("a worker's job cannot have several parts: leave the `:` out".into());
        }
        let (mut word, mut quote, mut comment) = (String::new(), None, false);
        while let Some(c) = letters.next_if(|c| quote.is_some() || !c.is_whitespace()) {
            match (c, quote) {
                ('\\', _) => word.extend(letters.next()),
                (c, Some(open)) if c == open => quote = None,
                (c, Some(_)) => word.push(c),
                ('"' | '\'', None) => quote = Some(c),
                ('#', None) => {
                    comment = true;
                    break;
                }
                (c, None) => word.push(c),
            }
        }
        if let Some(quote) = quote {
            return Err(format!("the quote `{quote}` is not closed"));
        }
        // For Slurm the line ends with an empty word, too.
        if word.is_empty() {
            return Ok(words);
        }
        words.push(word);
        if comment {
            return Ok(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::process::{Command, Output};

    fn request(options: &[&str]) -> JobRequest {
        let options = options.iter().map(ToString::to_string).collect();
        JobRequest { task_name: "words".into(), options, ..JobRequest::default() }
    }

    fn arguments(request: &JobRequest, how_many: u32, logs: &str, excluded: &[&str]) -> String {
        let excluded: Vec<String> = excluded.iter().map(ToString::to_string).collect();
        let arguments = request.arguments(how_many, Path::new(logs), 7, &excluded);
        arguments.join(OsStr::new("|")).into_string().unwrap()
    }

    #[test]
    fn options_that_break_workers_are_refused() {
        for (option, fix) in [
            ("--output=x", "leave it out"),
            ("-ox", "leave it out"),
            ("-o x", "leave it out"),
            ("-Ho x", "leave it out"),
            ("--out x", "leave it out"),
            ("-p gpu --error=x", "leave it out"),
            ("-e x", "leave it out"),
            ("-i x", "leave it out"),
            ("--open-mode=truncate", "leave it out"),
            ("--array=1-3", "--max-workers"),
            ("-a 1-3", "--max-workers"),
            ("--wrap 'sleep 1'", "--setup-command"),
            ("--parsable", "leave it out"),
            ("--test-only", "leave it out"),
            ("--wait", "leave it out"),
            ("-W", "leave it out"),
            ("-Q", "leave it out"),
            ("-N2", "--max-workers"),
            ("--nodes=1-2", "--max-workers"),
            ("--ntasks 4", "--cpus"),
            ("-n", "lacks its value"),
            ("-A lab --partition", "lacks its value"),
            ("-M north", "SLURM_CLUSTERS"),
            ("--exclude=./nodes", "name the nodes"),
            ("partition=gpu", "begin with `-`"),
            ("", "begin with `-`"),
            ("--comment='x", "not closed"),
            ("-p gpu : -p cpu", "several parts"),
            ("-p gpu\n#SBATCH -o x", "control character"),
        ] {
            let error = request(&[option]).check().unwrap_err();
            assert!(error.contains(fix), "{option}: {error}");
            assert!(error.starts_with("--sbatch-option `"), "{error}");
        }
        for option in [
            "--partition=gpu",
            "-p gpu -A lab",
            "--mail-user=x@y.z",
            "--comment='two words -o'",
            "--nodes=1",
            "-n 1",
            "--mem=4G",
            "--wait-all-nodes=1",
            "--time-min=5",
            "--exclusive --time=5",
            "--exclude=node[1-3]",
            "--constraint \"a&b\" # -o x",
            "--new-thing output",
        ] {
            assert_eq!(request(&[option]).check(), Ok(()), "{option}");
        }
    }

    #[test]
    fn options_are_sorted() {
        // So that a name comes before those that only begin with it.
        assert!(KNOWN.is_sorted_by_key(|known| known.name));
        let known = |name| by_name(name).map(|known| known.name);
        assert_eq!(
            [known("mem"), known("part"), known("mem-p")],
            [Some("mem"), Some("partition"), None]
        );
    }

    #[test]
    fn nothing_is_said_twice() {
        let own = JobRequest {
            cpus: Some(4),
            memory: Some("4G".into()),
            time: Some("60".into()),
            gpus: Some(1),
            ..JobRequest::default()
        };
        for (option, flag) in [
            ("-t 30", "--time"),
            ("--time=30", "--time"),
            ("--mem 1G", "--memory"),
            ("--mem-per-cpu=1G", "--memory"),
            ("-c2", "--cpus"),
            ("-G 1", "--gpus"),
            ("--gpus-per-node=1", "--gpus"),
        ] {
            let both = JobRequest { options: vec![option.into()], ..own.clone() };
            let error = both.check().unwrap_err();
            assert!(error.contains(&format!("{flag} says it already")), "{option}: {error}");
            assert_eq!(request(&[option]).check(), Ok(()), "{option}");
        }
    }

    #[test]
    fn words_are_as_sbatch_reads_them() {
        for (line, expected) in [
            ("-p gpu", &["-p", "gpu"][..]),
            ("  --a=\"b c\"  'd\"e' ", &["--a=b c", "d\"e"]),
            ("a\\ b \\\"c \"d\\\"e\"", &["a b", "\"c", "d\"e"]),
            ("a#b c", &["a"]),
            ("\"a#b\" # c", &["a#b"]),
            ("--comment \"\" -o x", &["--comment"]),
            ("", &[]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn arguments_say_what_must_hold() {
        let all = JobRequest {
            cpus: Some(4),
            memory: Some("4G".into()),
            time: Some("1-0".into()),
            gpus: Some(2),
            ..request(&[])
        };
        let fixed = "--open-mode=append|--nodes=1|--ntasks=1";
        assert_eq!(
            arguments(&all, 1, "/out", &[]),
            format!("--cpus-per-task=4|--mem=4G|--time=1-0|--gpus=2|--output=/out/7-0.log|{fixed}")
        );
        assert_eq!(
            arguments(&request(&[]), 3, "/o%t/a b", &["n1", "n2"]),
            format!("--exclude=n1,n2|--array=0-2|--output=/o%%t/a b/7-%a.log|{fixed}")
        );
        // A backslash turns patterns off.
        assert_eq!(
            arguments(&request(&[]), 3, "/o%\\t", &[]),
            format!("--array=0-2|--output=/o%\\\\t/7-0.log|{fixed}")
        );
        // The environment would override the script.
        let given =
            request(&["-pgpu --mail-user=x -x n[5-6]", "--part cpu --exclusive", "-J 'a b'"]);
        assert_eq!(
            arguments(&given, 1, "/out", &["n1"]),
            format!(
                "--partition=gpu|--partition=cpu|--exclusive|--job-name=a b|\
                 --exclude=n[5-6],n1|--output=/out/7-0.log|{fixed}"
            )
        );
        let script = String::from_utf8(given.script(&launch(Path::new("/d")))).unwrap();
        assert!(script.contains("\n#SBATCH -pgpu --mail-user=x -x n[5-6]\n"), "{script}");
        assert!(script.contains("\n#SBATCH -J 'a b'\n"));
    }

    #[test]
    fn defaults_come_before_what_users_say() {
        let request =
            JobRequest { task_name: "größe \"x\"".into(), ..request(&["--comment=mine"]) };
        let launch = Launch { comment: "a b\"c\\\n", ..launch(Path::new("/d")) };
        let script = String::from_utf8(request.script(&launch)).unwrap();
        let head: Vec<&str> = script.lines().take(5).collect();
        assert_eq!(
            head,
            [
                "#!/bin/bash",
                "#SBATCH --job-name=tigerflow-gr__e__x_",
                r#"#SBATCH --comment="a b\"c\\ ""#,
                "#SBATCH --requeue",
                "#SBATCH --comment=mine",
            ]
        );
        assert_eq!(words(r#"--comment="a b\"c\\ ""#).unwrap(), ["--comment=a b\"c\\ "]);
    }

    fn launch(dir: &Path) -> Launch<'_> {
        Launch {
            binary: dir,
            run_dir: dir,
            submission: 7,
            comment: "tigerflow:run:7",
            cache_dir: dir,
            plan: "0123456789ab",
        }
    }

    /// Runs the script as a job would, with a program in place of tigerflow-host
    /// that shows what it gets.
    fn run(setup: &[&str], name: &OsStr) -> (PathBuf, Output) {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join(name);
        let program = r#"mkdir -p "$1"
            printf '#!/bin/bash\nprintf "<%%s>\\n" "$@" "$TIGERFLOW_CACHE_DIR" "$TIGERFLOW_SETUP_FAILURES" "$PWD" "$KEPT" "$TIGERFLOW_JOB_BEGAN"\n' > "$1/host"
            chmod +x "$1/host""#;
        let made = Command::new("bash").arg("-c").arg(program).arg("bash").arg(&place).status();
        assert!(made.unwrap().success());
        let output = execute(setup, &place.join("host"), &place);
        (place, output)
    }

    fn execute(setup: &[&str], binary: &Path, run_dir: &Path) -> Output {
        let setup_commands = setup.iter().map(ToString::to_string).collect();
        let request = JobRequest { setup_commands, ..request(&[]) };
        let script = request.script(&Launch { binary, run_dir, ..launch(run_dir) });
        assert!(!script.contains(&b'\r') && !script.contains(&0));
        // bash itself reads a script in pieces, as it runs.
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &script).unwrap();
        let mut bash = Command::new("bash");
        bash.arg(file.path()).current_dir("/").env("SLURMD_NODENAME", "node5");
        bash.env_remove("SLURM_ARRAY_TASK_ID").env(SETUP_FAILURES, "9:9");
        bash.output().unwrap()
    }

    /// What the program in the host's place got, and what the log says.
    fn got(output: &Output) -> (Vec<String>, String) {
        let lines = String::from_utf8_lossy(&output.stdout);
        let lines = lines.lines().map(|line| line.trim_matches(['<', '>']).to_owned());
        (lines.collect(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    #[test]
    fn the_worker_is_started() {
        let (place, output) = run(&[], OsStr::new("plain"));
        let (words, log) = got(&output);
        let place = place.to_str().unwrap();
        assert_eq!(words[..5], ["worker", place, "7-0", "0123456789ab", place], "{log}");
        assert_eq!((&*words[5], &*words[6], &*log), ("", "/", ""));
        assert!(words[8].parse::<u64>().unwrap() > 1_700_000_000, "{words:?}");
    }

    #[test]
    fn any_path_will_do() {
        for name in [
            &b"a b"[..],
            b"it's \"$HOME\" `x` \\ $(x) !x * ~ #x",
            "größe 1".as_bytes(),
            b"line\nbreak\t",
            b"carriage\r\nreturn",
            b"not \xff\xfe unicode's\x01a",
            b"-x",
        ] {
            let (place, output) = run(&["true"], OsStr::from_bytes(name));
            assert!(output.status.success(), "{name:?}: {output:?}");
            let path = place.as_os_str().as_bytes();
            let expected = [b"<worker>\n<", path, b">\n<7-0>\n<0123456789ab>\n<", path, b">\n"];
            assert!(output.stdout.starts_with(&expected.concat()), "{name:?}: {output:?}");
        }
    }

    #[test]
    fn setup_commands_run_in_the_workers_shell() {
        let (_, output) =
            run(&["export KEPT='a  b'", "cd /tmp", "cat <<x\nhello\nx"], OsStr::new("p"));
        let (words, log) = got(&output);
        assert_eq!(words[0], "hello");
        assert_eq!(words[6..9], ["", "/tmp", "a  b"], "{log}");
    }

    #[test]
    fn a_setup_command_that_fails_stops_nothing() {
        let setup = [
            "set -e; set -u; set -o pipefail",
            "false",
            "echo $UNDEFINED > /dev/null",
            "surely-not-a-command",
            "if true; then (",
            "}; exit 5; {",
            "cat > /dev/null <<end\nopen",
            "export KEPT=x",
            "# only a comment",
            "- ; (exit 3)",
        ];
        let (_, output) = run(&setup, OsStr::new("p"));
        let (words, log) = got(&output);
        assert_eq!(words[0], "worker", "{log}");
        assert_eq!((&*words[5], &*words[7]), ("2:1 4:127 5:2 6:2 10:3", "x"), "{log}");
        assert!(log.contains("warning: setup command 4 failed with exit code 127\n"), "{log}");
    }

    #[test]
    fn a_setup_command_may_end_the_job() {
        for (command, code) in [("exit 4", 4), ("set -u; echo $UNDEFINED", 1)] {
            let (_, output) = run(&["true", command], OsStr::new("p"));
            let (words, log) = got(&output);
            assert_eq!((words.len(), output.status.code() == Some(0)), (0, false), "{log}");
            assert!(log.contains("error: setup command 2 ended the job, with exit code"), "{log}");
            assert!(code == 1 || output.status.code() == Some(code), "{log}");
        }
    }

    #[test]
    fn what_the_node_does_not_see_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let output = execute(&[], &dir.path().join("no host"), dir.path());
        let (_, log) = got(&output);
        assert_eq!(output.status.code(), Some(127));
        let path = dir.path().join("no host");
        let text = format!("error: tigerflow-host is not at `{}` on node node5", path.display());
        assert!(log.starts_with(&text) && log.contains("shared file system"), "{log}");

        let output = execute(&[], Path::new("/bin/true"), &dir.path().join("no run"));
        let (_, log) = got(&output);
        assert_eq!(output.status.code(), Some(126));
        assert!(log.contains("no run` is not there on node node5"), "{log}");
    }
}
