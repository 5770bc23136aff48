//! Values of options, as users write them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Usage;
use crate::engine::{Directory, GUEST_INPUT, GUEST_OUTPUT};
use crate::executor::gate::{Label, Rate};
use crate::schedule::MaxFailures;

/// The longest duration that is taken: a moment so far away can still be told.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A duration: `30s`, `5m`, `1h 30m`.
pub fn duration(text: &str) -> Result<Duration> {
    if text.parse::<f64>().is_ok_and(|n| n != 0.0) {
        bail!("a unit is missing: write `{text}s` for seconds, or `{text}m` for minutes");
    }
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let duration = humantime::parse_duration(text).context("write it as `30s`, `5m` or `2h`")?;
    ensure!(duration <= LONGEST, "it is longer than a hundred years");
    Ok(duration)
}

/// A duration that is more than nothing.
pub fn limit(text: &str) -> Result<Duration> {
    let duration = duration(text)?;
    ensure!(!duration.is_zero(), "a limit of nothing stops everything; leave it out for no limit");
    Ok(duration)
}

/// A size: `512M`, `12G`. As with Slurm, `K`, `M`, `G` and `T` are powers of
/// 1024; `MB` is a power of 1000.
pub fn size(text: &str) -> Result<u64> {
    let binary = text.ends_with(|c: char| "kKmMgGtT".contains(c));
    let text = if binary { format!("{text}iB") } else { text.into() };
    let size: bytesize::ByteSize =
        text.parse().map_err(|_| anyhow::anyhow!("write it as `512M` or `12G`"))?;
    ensure!(size.as_u64() > 0, "it must be more than 0");
    Ok(size.as_u64())
}

/// A granted directory: `HOST::GUEST[:ro|:rw]`.
pub fn directory(text: &str) -> Result<Directory> {
    let (host, guest) = text
        .split_once("::")
        .context("write it as `HOST_DIR::/GUEST_DIR:ro`, or `:rw` to let the task write there")?;
    let (guest, writable) = match guest.rsplit_once(':') {
        Some((guest, "ro")) => (guest, false),
        Some((guest, "rw")) => (guest, true),
        Some((_, other)) => bail!("`:{other}` is neither `:ro` nor `:rw`"),
        None => (guest, false),
    };
    ensure!(!host.is_empty(), "the directory before `::` is missing");
    let guest = guest.trim_end_matches('/');
    let parts: Vec<&str> = guest.split('/').collect();
    ensure!(
        parts.len() > 1
            && parts[0].is_empty()
            && parts[1..].iter().all(|p| !matches!(*p, "" | "." | "..")),
        "the guest's path `{guest}` must be absolute and plain, as `/db`"
    );
    let under = |own: &str| guest == own || guest.starts_with(&format!("{own}/"));
    ensure!(
        !under(GUEST_INPUT) && !under(GUEST_OUTPUT),
        "`{GUEST_INPUT}` and `{GUEST_OUTPUT}` are the input and the output: choose another path"
    );
    Ok(Directory { host_path: PathBuf::from(host), guest_path: guest.into(), writable })
}

/// An environment variable: `NAME`, with the value that it has here, or
/// `NAME=VALUE`.
#[derive(Clone)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, which no message may show.
    pub value: String,
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=…", self.name)
    }
}

/// Parses an environment variable.
pub fn variable(text: &str) -> Result<Variable> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => {
            let value = match super::secrets::hidden(text) {
                Some(value) => value,
                None => std::env::var(text).with_context(|| {
                    format!("`{text}` is not set here: `export {text}=…` first")
                })?,
            };
            (text, value)
        }
    };
    // An empty name is refused later: a message of here would repeat the value.
    Ok(Variable { name: name.into(), value })
}

/// The environment variables of a file: a line `NAME=VALUE` each, the value as it
/// stands there, less quotes around it; blank lines and those that begin with `#`
/// are passed over.
pub fn variables(file: &Path) -> Result<Vec<Variable>, Usage> {
    let path = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Usage(format!("--env-file `{path}` cannot be read: {error}")))?;
    let mut variables = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = line.strip_prefix("export ").unwrap_or(line).split_once('=');
        let variable = parsed.filter(|(name, _)| is_variable(name.trim()));
        let variable = variable.and_then(|(name, value)| Some((name, unquoted(value.trim())?)));
        // The line is not repeated, for what is secret in it.
        let (name, value) = variable.ok_or_else(|| {
            let number = number + 1;
            Usage(format!("--env-file `{path}`: line {number} is malformed: write `NAME=VALUE`"))
        })?;
        variables.push(Variable { name: name.trim().into(), value: value.into() });
    }
    Ok(variables)
}

fn is_variable(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// A value less the quotes around it. None where they do not match.
fn unquoted(value: &str) -> Option<&str> {
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return Some(value);
    };
    value[1..].strip_suffix(quote).filter(|inner| !inner.contains(quote))
}

/// A rate: `30/s`, `2000/min`, `10000/h`.
pub fn rate(text: &str) -> Result<Rate> {
    let how = "write it as `30/s`, `2000/min` or `10000/h`";
    let (attempts, unit) = text.split_once('/').context(how)?;
    let attempts = attempts.trim().parse().map_err(|_| anyhow::anyhow!(how))?;
    let seconds = match unit.trim() {
        "s" | "sec" | "second" => 1,
        "m" | "min" | "minute" => 60,
        "h" | "hour" => 3600,
        _ => bail!(how),
    };
    Ok(Rate { attempts, window: Duration::from_secs(seconds) })
}

/// A label and its limit: `gpu=2`, or `gpu` for `gpu=1`.
pub fn label(text: &str) -> Result<Label> {
    let (name, limit) = text.split_once('=').unwrap_or((text, "1"));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    ensure!(
        !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.chars().all(plain),
        "its name `{name}` must be of letters, digits, `-`, `_` and `.`"
    );
    let limit = limit.parse().ok().filter(|n| (1..=10_000).contains(n));
    let limit = limit.with_context(|| format!("write it as `{name}=2`: at most 2 at once"))?;
    Ok(Label { name: name.into(), limit })
}

/// How many failures are too many: `100` files, or `5%` of them.
pub fn max_failures(text: &str) -> Result<MaxFailures> {
    let how = "write it as `100` for so many files, or `5%` for so many of a hundred";
    let max = match text.strip_suffix('%') {
        Some(percent) => {
            let percent: f64 = percent.trim().parse().map_err(|_| anyhow::anyhow!(how))?;
            ensure!(percent > 0.0 && percent <= 100.0, "it must be over 0 and not over 100 %");
            MaxFailures::Percent(percent)
        }
        None => {
            let files = text.parse().map_err(|_| anyhow::anyhow!(how))?;
            ensure!(files > 0, "none is too few: it is the number at which the run stops");
            MaxFailures::Count(files)
        }
    };
    Ok(max)
}

/// By how much waits grow: a number of 1 or more.
pub fn backoff(text: &str) -> Result<f64> {
    let factor: f64 = text.parse().map_err(|_| anyhow::anyhow!("write it as `2` or `1.5`"))?;
    ensure!((1.0..=1000.0).contains(&factor), "it must be from 1 (waits stay the same) to 1000");
    Ok(factor)
}

/// How many instances: a number, or `cores`.
pub fn instances(text: &str) -> Result<usize> {
    if text == "cores" {
        return Ok(std::thread::available_parallelism().map_or(1, usize::from));
    }
    let number = text.parse().ok().filter(|n| (1..=1_000).contains(n));
    number.context("write it as a number from 1 to 1000, or as `cores`")
}

/// A name for the workspace: a plain file name.
pub fn task_name(text: &str) -> Result<String> {
    ensure!(
        !text.is_empty() && text.len() <= 100 && text != "." && text != ".." && !text.contains('/'),
        "it names a directory: 1 to 100 bytes, no `/`"
    );
    ensure!(!text.chars().any(char::is_control), "it holds a control character");
    Ok(text.into())
}

/// A parameter by name: `NAME=VALUE`.
pub fn named(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').context("write it as `NAME=VALUE`")?;
    ensure!(!name.is_empty(), "the name before `=` is missing");
    Ok((name.into(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(duration("1h 30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(duration("0").unwrap(), Duration::ZERO);
        assert!(duration("30").unwrap_err().to_string().contains("30s"));
        assert!(duration("soon").is_err());
        assert!(duration("500000000000y").is_err() && duration("99y").is_ok());
        assert!(limit("0s").is_err());
    }

    #[test]
    fn sizes_are_slurms() {
        assert_eq!(size("512M").unwrap(), 512 << 20);
        assert_eq!(size("12G").unwrap(), 12 << 30);
        assert_eq!(size("12GiB").unwrap(), 12 << 30);
        assert_eq!(size("1MB").unwrap(), 1_000_000);
        assert_eq!(size("100").unwrap(), 100);
        for bad in ["", "0", "M", "-1G", "lots"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn directories() {
        let d = directory("/srv/db::/db:rw").unwrap();
        assert_eq!((d.guest_path.as_str(), d.writable), ("/db", true));
        let d = directory("a:b::/x/y/").unwrap();
        assert_eq!((d.host_path.to_str().unwrap(), d.guest_path.as_str()), ("a:b", "/x/y"));
        assert!(!d.writable);
        for bad in [
            "/db",
            "::/db",
            "/a::db",
            "/a::/",
            "/a::/db:rx",
            "/a::/input",
            "/a::/output/x",
            "/a::/x/../y",
        ] {
            assert!(directory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_labels_and_limits() {
        let r = rate("2000/min").unwrap();
        assert_eq!((r.attempts.get(), r.window.as_secs()), (2000, 60));
        assert_eq!(rate("30/s").unwrap().window.as_secs(), 1);
        for bad in ["30", "0/s", "/s", "30/day", "-1/s", "1.5/s"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        let l = label("gpu=2").unwrap();
        assert_eq!((&*l.name, l.limit), ("gpu", 2));
        assert_eq!(label("db").unwrap().limit, 1);
        for bad in ["", "=2", "gpu=0", "gpu=x", "a/b=1", "..=1"] {
            assert!(label(bad).is_err(), "{bad}");
        }
        assert_eq!(max_failures("10").unwrap(), MaxFailures::Count(10));
        assert_eq!(max_failures("5%").unwrap(), MaxFailures::Percent(5.0));
        for bad in ["0", "0%", "101%", "x", "-1", "1.5"] {
            assert!(max_failures(bad).is_err(), "{bad}");
        }
        for bad in ["0.5", "NaN", "inf", "x"] {
            assert!(backoff(bad).is_err(), "{bad}");
        }
        assert!(instances("0").is_err() && instances("cores").unwrap() > 0);
    }

    #[test]
    fn a_variables_value_is_not_shown() {
        let variable = variable("KEY=secret").unwrap();
        assert_eq!(variable.value, "secret");
        assert!(!format!("{variable:?}").contains("secret"));
        assert!(super::variable("TIGERFLOW_SURELY_NOT_SET").is_err());
    }
}
