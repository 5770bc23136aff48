//! Slurm's jobs: their numbers and states, what an end means, and how Slurm
//! writes times and sizes.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What [`parse_queue`] reads, as `squeue` takes it: job, index in its array,
/// state, reason, node, start, time left, comment.
pub const QUEUE_FORMAT: &str = "%F|%K|%T|%r|%N|%S|%L|%k";

/// A job's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId {
    /// The number that `sbatch` answered: of the job, or of its whole array.
    pub base: u64,
    /// Which one of its array.
    pub index: Option<u32>,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}_{index}", self.base),
            None => self.base.fmt(f),
        }
    }
}

/// What Slurm says of a job. Each is either waiting, running or over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for its turn.
    Pending,
    /// It has a node, which is being made ready.
    Configuring,
    /// It goes back into the queue, or is held there.
    Requeued,
    /// It runs.
    Running,
    /// It has its node, and its processes stand still.
    Suspended,
    /// The same, by a signal.
    Stopped,
    /// It is ending.
    Completing,
    /// It ended with exit code 0.
    Completed,
    /// It ended with another exit code, or was not launched.
    Failed,
    /// It used more memory than it was given.
    OutOfMemory,
    /// Its time was over.
    Timeout,
    /// The time by which it had to be done was over.
    Deadline,
    /// Somebody cancelled it.
    Cancelled,
    /// Another job needed its place.
    Preempted,
    /// Its node went down.
    NodeFail,
    /// Its node did not come up.
    BootFail,
    /// Another cluster of the federation runs it.
    Revoked,
    /// What no Slurm said yet when this was written.
    Other(String),
}

impl State {
    /// Reads Slurm's long word, with or without what some commands put behind
    /// it: `RUNNING`, `CANCELLED by 1000`, `CANCELLED+`.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
        let word = text[..text.find(|c| !letter(c)).unwrap_or(text.len())].to_ascii_uppercase();
        match &*word {
            // A reservation that it waited for is gone; it waits on, held.
            "PENDING" | "RESV_DEL_HOLD" => State::Pending,
            "CONFIGURING" | "POWER_UP_NODE" => State::Configuring,
            "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "SPECIAL_EXIT" | "EXPEDITING" => {
                State::Requeued
            }
            "RUNNING" | "RESIZING" | "SIGNALING" => State::Running,
            "SUSPENDED" => State::Suspended,
            "STOPPED" => State::Stopped,
            "COMPLETING" | "STAGE_OUT" => State::Completing,
            "COMPLETED" => State::Completed,
            "FAILED" | "LAUNCH_FAILED" => State::Failed,
            "OUT_OF_MEMORY" => State::OutOfMemory,
            "TIMEOUT" => State::Timeout,
            "DEADLINE" => State::Deadline,
            "CANCELLED" => State::Cancelled,
            "PREEMPTED" => State::Preempted,
            "NODE_FAIL" => State::NodeFail,
            "BOOT_FAIL" | "RECONFIG_FAIL" => State::BootFail,
            "REVOKED" => State::Revoked,
            _ => State::Other(text.into()),
        }
    }

    /// Whether no process of the job has begun, or will before it waited anew.
    pub fn is_waiting(&self) -> bool {
        matches!(self, State::Pending | State::Configuring | State::Requeued)
    }

    /// Whether processes of the job may be alive, as they may be while it is
    /// ending or stands still. Where nobody knows, they may be.
    pub fn is_running(&self) -> bool {
        !self.is_waiting() && !self.is_over()
    }

    /// Whether the job has ended, as far as Slurm knows: on a node that it cannot
    /// reach, processes may go on.
    pub fn is_over(&self) -> bool {
        match self {
            State::Completed
            | State::Failed
            | State::OutOfMemory
            | State::Timeout
            | State::Deadline
            | State::Cancelled
            | State::Preempted
            | State::NodeFail
            | State::BootFail
            | State::Revoked => true,
            State::Pending
            | State::Configuring
            | State::Requeued
            | State::Running
            | State::Suspended
            | State::Stopped
            | State::Completing
            | State::Other(_) => false,
        }
    }

    /// Whether a worker that this ended, without a good-bye, may have been ended by
    /// a file that it worked on.
    pub fn blames_files(&self) -> bool {
        match self {
            State::Completed
            | State::Failed
            | State::OutOfMemory
            | State::Timeout
            | State::Deadline
            | State::Other(_) => true,
            // Somebody else's doing, or the node's.
            State::Cancelled
            | State::Preempted
            | State::NodeFail
            | State::BootFail
            | State::Requeued
            | State::Revoked
            | State::Stopped => false,
            State::Pending
            | State::Configuring
            | State::Running
            | State::Suspended
            | State::Completing => false,
        }
    }

    /// Whether its node may be to blame: if that happens there again and again, the
    /// node is better left out.
    pub fn blames_node(&self) -> bool {
        matches!(self, State::NodeFail | State::BootFail | State::Failed)
    }

    /// What it means, for people: what may follow on "the job ended as …:".
    pub fn meaning(&self) -> &'static str {
        match self {
            State::Pending => "it waits for its turn",
            State::Configuring => "its node is being made ready",
            State::Requeued => "Slurm puts it back into its queue",
            State::Running => "it runs",
            State::Suspended => "it was suspended, and keeps its node",
            State::Stopped => "a signal stopped it, and it keeps its node",
            State::Completing => "it is ending",
            State::Completed => "its worker ended without a word",
            State::Failed => "its worker failed, or was not launched",
            State::OutOfMemory => "it used more memory than --memory",
            State::Timeout => "its wall time was over (--time)",
            State::Deadline => "it was not done by its deadline",
            State::Cancelled => "it was cancelled, by somebody else",
            State::Preempted => "a job that goes before it took its place",
            State::NodeFail => "its node went down",
            State::BootFail => "its node did not start",
            State::Revoked => "another cluster runs it",
            State::Other(_) => "Slurm's word for it is not known here",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Pending => "PENDING",
            State::Configuring => "CONFIGURING",
            State::Requeued => "REQUEUED",
            State::Running => "RUNNING",
            State::Suspended => "SUSPENDED",
            State::Stopped => "STOPPED",
            State::Completing => "COMPLETING",
            State::Completed => "COMPLETED",
            State::Failed => "FAILED",
            State::OutOfMemory => "OUT_OF_MEMORY",
            State::Timeout => "TIMEOUT",
            State::Deadline => "DEADLINE",
            State::Cancelled => "CANCELLED",
            State::Preempted => "PREEMPTED",
            State::NodeFail => "NODE_FAIL",
            State::BootFail => "BOOT_FAIL",
            State::Revoked => "REVOKED",
            State::Other(word) => word,
        })
    }
}

/// What Slurm says of a job that it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// Which job.
    pub id: JobId,
    /// Its state.
    pub state: State,
    /// Why it is in that state: `Priority`, `Resources`, `NonZeroExitCode`. Empty
    /// where there is no reason.
    pub reason: String,
    /// Its node. Empty where it has none yet.
    pub node: String,
    /// When it began, or may begin, as Slurm writes it. Empty where nobody knows.
    pub start: String,
    /// How long it may go on. None without a limit, and where Slurm does not say.
    pub time_left: Option<Duration>,
    /// Its comment. Empty where it has none.
    pub comment: String,
}

/// Reads what `squeue` prints in [`QUEUE_FORMAT`]. Other lines, such as notices of
/// a site, are passed over.
pub fn parse_queue(text: &str) -> Vec<JobStatus> {
    text.lines().filter_map(status).collect()
}

fn status(line: &str) -> Option<JobStatus> {
    let mut fields = line.splitn(8, '|');
    let mut next = || fields.next().map(str::trim);
    let base = next()?.parse().ok()?;
    let index = match next()? {
        "" | "N/A" => None,
        index => Some(index.parse().ok()?),
    };
    let state = next().filter(|word| !word.is_empty())?;
    let said = |text: &str| match text {
        "None" | "N/A" | "(null)" => String::new(),
        text => text.into(),
    };
    Some(JobStatus {
        id: JobId { base, index },
        state: State::parse(state),
        reason: said(next()?),
        node: said(next()?),
        start: said(next()?),
        time_left: clock(next()?).map(Duration::from_secs),
        comment: said(next()?),
    })
}

/// How long a job may run, as `sbatch --time` takes it. None: without end. What is
/// not whole minutes is rounded up, as Slurm does.
pub fn parse_time_limit(text: &str) -> Result<Option<Duration>, String> {
    let text = text.trim();
    let endless = ["UNLIMITED", "INFINITE", "-1"];
    if endless.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return Ok(None);
    }
    let seconds = clock(text).ok_or(
        "write it as Slurm does: `90` for minutes, `1:30:00` for hours, minutes and seconds, \
         `2-12` or `2-12:30:00` for days and hours, or `UNLIMITED`",
    )?;
    let minutes = Duration::from_secs(seconds.div_ceil(60).saturating_mul(60));
    // To Slurm a limit of zero is none.
    Ok(Some(minutes).filter(|minutes| !minutes.is_zero()))
}

/// A time as Slurm writes it, in seconds: `minutes`, `minutes:seconds`,
/// `hours:minutes:seconds`, `days-hours`, `days-hours:minutes`,
/// `days-hours:minutes:seconds`.
fn clock(text: &str) -> Option<u64> {
    // More than nine digits are no time, and would not fit once multiplied.
    let number = |digits: &str| -> Option<u64> {
        let plain = (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if plain { digits.parse().ok() } else { None }
    };
    let numbers = |text: &str| text.split(':').map(number).collect::<Option<Vec<u64>>>();
    let (days, [hours, minutes, seconds]) = match text.split_once('-') {
        Some((days, rest)) => {
            let time = match numbers(rest)?[..] {
                [hours] => [hours, 0, 0],
                [hours, minutes] => [hours, minutes, 0],
                [hours, minutes, seconds] => [hours, minutes, seconds],
                _ => return None,
            };
            (number(days)?, time)
        }
        None => match numbers(text)?[..] {
            [minutes] => (0, [0, minutes, 0]),
            [minutes, seconds] => (0, [0, minutes, seconds]),
            [hours, minutes, seconds] => (0, [hours, minutes, seconds]),
            _ => return None,
        },
    };
    Some(days * 86_400 + hours * 3_600 + minutes * 60 + seconds)
}

/// How much memory a job has, as `sbatch --mem` takes it, in MiB. 0 is all of its
/// node.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_in_kibibytes: Option<u64> = match &*unit.to_ascii_uppercase() {
        "K" | "KB" => Some(1),
        "" | "M" | "MB" => Some(1 << 10),
        "G" | "GB" => Some(1 << 20),
        "T" | "TB" => Some(1 << 30),
        _ => None,
    };
    let number = number.parse::<u64>().ok();
    let kibibytes = unit_in_kibibytes.zip(number).and_then(|(unit, n)| unit.checked_mul(n));
    kibibytes.map(|size| size.div_ceil(1024)).ok_or_else(|| {
        "write it as Slurm does: a whole number with `K`, `M`, `G` or `T`, as `512M` or `12G`; \
         without a unit it is in MiB, and `0` is all memory of a node"
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Slurm's words for states, as `squeue` prints them by `%T`.
    const WORDS: [&str; 17] = [
        "PENDING",
        "CONFIGURING",
        "REQUEUED",
        "RUNNING",
        "SUSPENDED",
        "STOPPED",
        "COMPLETING",
        "COMPLETED",
        "FAILED",
        "OUT_OF_MEMORY",
        "TIMEOUT",
        "DEADLINE",
        "CANCELLED",
        "PREEMPTED",
        "NODE_FAIL",
        "BOOT_FAIL",
        "REVOKED",
    ];

    #[test]
    fn states_are_slurms_words() {
        for word in WORDS {
            let state = State::parse(word);
            assert!(!matches!(state, State::Other(_)), "{word}");
            assert_eq!(state.to_string(), word);
            let kinds = [state.is_waiting(), state.is_running(), state.is_over()];
            assert_eq!(kinds.iter().filter(|is| **is).count(), 1, "{word}");
            assert!(state.is_over() || !state.blames_node(), "{word}");
            assert!(!state.meaning().is_empty());
        }
        for (text, state) in [
            ("CANCELLED by 0", State::Cancelled),
            ("CANCELLED+", State::Cancelled),
            (" running ", State::Running),
            ("REQUEUE_HOLD", State::Requeued),
            ("REQUEUE_FED", State::Requeued),
            ("SPECIAL_EXIT", State::Requeued),
            ("RESIZING", State::Running),
            ("STAGE_OUT", State::Completing),
            ("DREAMING", State::Other("DREAMING".into())),
            ("?", State::Other("?".into())),
        ] {
            assert_eq!(State::parse(text), state, "{text}");
        }
        assert_eq!(State::parse("DREAMING").to_string(), "DREAMING");
        assert!(State::parse("DREAMING").is_running(), "nobody knows that it ended");
    }

    #[test]
    fn a_jobs_end_says_who_may_be_to_blame() {
        for (word, files, node) in [
            ("FAILED", true, true),
            ("OUT_OF_MEMORY", true, false),
            ("TIMEOUT", true, false),
            ("DEADLINE", true, false),
            ("COMPLETED", true, false),
            ("DREAMING", true, false),
            ("CANCELLED", false, false),
            ("PREEMPTED", false, false),
            ("NODE_FAIL", false, true),
            ("BOOT_FAIL", false, true),
            ("REQUEUED", false, false),
            ("REVOKED", false, false),
            ("STOPPED", false, false),
        ] {
            let state = State::parse(word);
            assert_eq!((state.blames_files(), state.blames_node()), (files, node), "{word}");
        }
    }

    #[test]
    fn numbers_of_jobs() {
        let one = JobId { base: 123, index: None };
        let task = JobId { base: 123, index: Some(4) };
        assert_eq!([one.to_string(), task.to_string()], ["123", "123_4"]);
        assert!(one < task);
    }

    #[test]
    fn the_queue_is_read() {
        // As Slurm 22.05 printed it, less the notice in front.
        let text = "Welcome to the cluster\n\
            1|N/A|RUNNING|None|node1|2026-11-22T20:30:14|9:59|a|b c\n\
            2|1|PENDING|Priority||N/A|10:00|(null)\n\
            10|N/A|FAILED|JobLaunchFailure|node2|2026-11-22T20:31:30|1-02:03:04|tigerflow:x:1\n\
            11|3|CANCELLED|None||2026-11-22T20:31:30|UNLIMITED|\n\
            12|0-3|PENDING|None||N/A|1:00|\n\
            |N/A|RUNNING|None||N/A|1:00|\n\
            13|N/A||None||N/A|1:00|\n\
            14|N/A|RUNNING\n";
        let queue = parse_queue(text);
        let running = JobStatus {
            id: JobId { base: 1, index: None },
            state: State::Running,
            reason: String::new(),
            node: "node1".into(),
            start: "2026-11-22T20:30:14".into(),
            time_left: Some(Duration::from_secs(599)),
            comment: "a|b c".into(),
        };
        assert_eq!(queue[0], running);
        let pending = JobStatus {
            id: JobId { base: 2, index: Some(1) },
            state: State::Pending,
            reason: "Priority".into(),
            node: String::new(),
            start: String::new(),
            time_left: Some(Duration::from_secs(600)),
            comment: String::new(),
        };
        assert_eq!(queue[1], pending);
        assert_eq!(queue[2].time_left, Some(Duration::from_secs(86_400 + 7_384)));
        assert_eq!(queue[2].comment, "tigerflow:x:1");
        assert_eq!((&queue[3].state, queue[3].time_left), (&State::Cancelled, None));
        assert_eq!(queue.len(), 4);
    }

    #[test]
    fn time_limits_are_slurms() {
        for (text, minutes) in [
            ("90", 90),
            ("90:00", 90),
            ("0:10", 1),
            ("1:30:00", 90),
            ("1:30:01", 91),
            ("2-12", 3600),
            ("2-12:30", 3630),
            ("1-0:0:1", 1441),
        ] {
            let limit = Some(Duration::from_secs(minutes * 60));
            assert_eq!(parse_time_limit(text).unwrap(), limit, "{text}");
        }
        for text in ["UNLIMITED", "infinite", "-1", "0", "0:00"] {
            assert_eq!(parse_time_limit(text).unwrap(), None, "{text}");
        }
        for text in ["", "2h", "1:", "1-", "-2", "1:2:3:4", "1-2:3:4:5", "+1", "9999999999", "½"] {
            assert!(parse_time_limit(text).unwrap_err().contains("1:30:00"), "{text}");
        }
    }

    #[test]
    fn memory_is_slurms() {
        for (text, mebibytes) in [
            ("4000", 4000),
            ("512M", 512),
            ("12G", 12 << 10),
            ("12gb", 12 << 10),
            ("1T", 1 << 20),
            ("1K", 1),
            ("2049k", 3),
            ("0", 0),
        ] {
            assert_eq!(parse_memory(text), Ok(mebibytes), "{text}");
        }
        for text in
            ["", "G", "1.5G", "-1", "12GiB", "12P", "99999999999999999999", "9999999999999999T"]
        {
            assert!(parse_memory(text).unwrap_err().contains("12G"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_slurm_says_is_too_strange(text in ".*") {
            parse_queue(&text);
            let _ = parse_time_limit(&text);
            let _ = parse_memory(&text);
        }

        #[test]
        fn nor_is_what_looks_like_its_lines(
            text in "([0-9]{1,22}|N/A|[A-Z_+ ]{0,9}|[-:0-9]{0,30}|[|\n]){0,30}",
        ) {
            for status in parse_queue(&text) {
                prop_assert!(!status.state.to_string().contains('|'));
            }
            let _ = parse_time_limit(&text);
        }
    }
}
