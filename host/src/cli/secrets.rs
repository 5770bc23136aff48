//! Keeps the values of `--env NAME=VALUE` out of sight: out of messages, and out
//! of the list of processes.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How a process that runs itself anew hands the values to itself: its own
/// environment, which only the same user can read.
const HIDDEN: &str = "TIGERFLOW_HIDDEN_ENV";

/// Where values of variables stand on the command line, runs the program anew
/// with their names only. Returns where there are none, or where that fails.
pub fn hide(arguments: &[OsString]) {
    let (shown, values) = split(arguments);
    if values.is_empty() {
        return;
    }
    let values = serde_json::to_string(&values).unwrap_or_default();
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = Command::new(program);
    if let Some((name, rest)) = shown.split_first() {
        command.arg0(name).args(rest);
    }
    // It only returns if it fails; the values work from where they are, too.
    let _ = command.env(HIDDEN, values).exec();
}

/// The value of a variable that [`hide`] took from the command line.
pub fn hidden(name: &str) -> Option<String> {
    let values = std::env::var(HIDDEN).ok()?;
    let mut values: BTreeMap<String, String> = serde_json::from_str(&values).ok()?;
    values.remove(name)
}

/// The command line with names of variables only, and their values.
fn split(arguments: &[OsString]) -> (Vec<OsString>, BTreeMap<String, String>) {
    let mut values = BTreeMap::new();
    let mut take = |variable: &str| -> Option<String> {
        let (name, value) = variable.split_once('=').filter(|(name, _)| !name.is_empty())?;
        values.insert(name.to_owned(), value.to_owned());
        Some(name.to_owned())
    };
    let mut shown: Vec<OsString> = Vec::with_capacity(arguments.len());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let text = argument.to_str().unwrap_or_default();
        if let Some(variable) = text.strip_prefix("--env=") {
            match take(variable) {
                Some(name) => shown.push(format!("--env={name}").into()),
                None => shown.push(argument.clone()),
            }
        } else {
            shown.push(argument.clone());
            if text == "--env"
                && let Some(next) = arguments.next()
            {
                let name = next.to_str().and_then(&mut take);
                shown.push(name.map_or_else(|| next.clone(), OsString::from));
            }
            if text == "--" {
                shown.extend(arguments.by_ref().cloned());
            }
        }
    }
    (shown, values)
}

/// The command line less the values of environment variables, as a person would
/// read it.
pub fn without_values(arguments: &[OsString]) -> Vec<String> {
    let (shown, values) = split(arguments);
    let with_mark = |argument: &OsStr, before: Option<&OsString>| {
        let text = argument.to_string_lossy().into_owned();
        let name = match text.strip_prefix("--env=") {
            Some(name) => Some(name),
            None => before.is_some_and(|b| b == "--env").then_some(&*text),
        };
        match name {
            Some(name) if values.contains_key(name) || hidden(name).is_some() => {
                format!("{text}=…")
            }
            _ => text,
        }
    };
    (0..shown.len())
        .map(|i| with_mark(&shown[i], i.checked_sub(1).and_then(|i| shown.get(i))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &[&str]) -> Vec<OsString> {
        arguments.iter().map(OsString::from).collect()
    }

    #[test]
    fn values_of_variables_are_not_repeated() {
        let line = line(&["run", "--env", "KEY=secret", "--env=B=secret", "--env", "C", "x=y"]);
        assert_eq!(
            without_values(&line),
            ["run", "--env", "KEY=…", "--env=B=…", "--env", "C", "x=y"]
        );
    }

    #[test]
    fn values_are_taken_out_and_nothing_else() {
        let (shown, values) =
            split(&line(&["t", "run", "--env", "A=1=2", "--param", "x=y", "--", "--env", "B=3"]));
        assert_eq!(
            shown,
            line(&["t", "run", "--env", "A", "--param", "x=y", "--", "--env", "B=3"])
        );
        assert_eq!(values.into_iter().collect::<Vec<_>>(), [("A".to_owned(), "1=2".to_owned())]);
        assert!(split(&line(&["run", "--env", "=v", "--env"])).1.is_empty());
    }
}
