//! Values of options, as users write them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::engine::{Directory, GUEST_INPUT, GUEST_OUTPUT};

/// A duration: `30s`, `5m`, `1h 30m`.
pub fn duration(text: &str) -> Result<Duration> {
    if text.parse::<f64>().is_ok_and(|n| n != 0.0) {
        bail!("a unit is missing: write `{text}s` for seconds, or `{text}m` for minutes");
    }
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).context("write it as `30s`, `5m` or `2h`")
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
            let value = std::env::var(text)
                .with_context(|| format!("`{text}` is not set here: `export {text}=…` first"))?;
            (text, value)
        }
    };
    // An empty name is refused later: a message of here would repeat the value.
    Ok(Variable { name: name.into(), value })
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
    fn a_variables_value_is_not_shown() {
        let variable = variable("KEY=secret").unwrap();
        assert_eq!(variable.value, "secret");
        assert!(!format!("{variable:?}").contains("secret"));
        assert!(super::variable("TIGERFLOW_SURELY_NOT_SET").is_err());
    }
}
