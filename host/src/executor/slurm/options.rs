//! What `sbatch` makes of an option of the user's: its name, and its value.

/// An option of `sbatch` that matters here: one with a rule of its own, one whose
/// default may be in the environment, or one of a letter with a value.
pub(super) struct Known {
    pub(super) name: &'static str,
    letter: Option<u8>,
    value: Takes,
    /// Whether a variable of the environment sets it, too.
    variable: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Takes {
    /// `--name=VALUE` or `--name VALUE`.
    Value,
    /// `--name` or `--name=VALUE`.
    Perhaps,
    Nothing,
}

/// The options of Slurm 20.11 to 25.11 (`src/common/slurm_opt.c` and the table of
/// variables in `src/sbatch/opt.c`).
#[rustfmt::skip]
pub(super) const KNOWN: &[Known] = {
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
pub(super) struct Given<'a> {
    /// Its long name.
    pub(super) name: &'a str,
    pub(super) value: Option<&'a str>,
    pub(super) known: Option<&'static Known>,
}

impl Given<'_> {
    pub(super) fn is_incomplete(&self) -> bool {
        self.value.is_none() && self.known.is_some_and(|known| known.value == Takes::Value)
    }

    /// The option once more, for the command line, where nothing overrides it.
    pub(super) fn repeated(&self) -> Option<String> {
        self.known.filter(|known| known.variable && !self.is_incomplete())?;
        Some(match self.value {
            Some(value) => format!("--{}={value}", self.name),
            None => format!("--{}", self.name),
        })
    }
}

/// The options in these words, as `sbatch` reads them. What follows a word that is
/// no option is left: Slurm says what is wrong about it.
pub(super) fn given(words: &[String]) -> Vec<Given<'_>> {
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
pub(super) fn by_name(name: &str) -> Option<&'static Known> {
    let mut longer = KNOWN.iter().filter(|known| known.name.starts_with(name));
    match (longer.next()?, longer.next()) {
        (first, _) if first.name == name => Some(first),
        (first, None) => Some(first),
        _ => None,
    }
}

/// The words of a line of `#SBATCH`, by the rules of `sbatch`: quotes, backslashes,
/// and `#` for a comment.
pub(super) fn words(line: &str) -> Result<Vec<String>, String> {
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
