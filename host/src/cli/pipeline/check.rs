//! Whether what a configuration says of a component fits that.

use std::error::Error;

use clap::{Arg, ArgAction};

use crate::cli::parameters;
use crate::cli::run::{Prepared, RunArgs};
use crate::engine::description::{Capability, Description, Grant};
use crate::pipeline::config::{Draft, Opt, Parameter, Path as Place, Problems};

/// The option of `run`, with or without the task's own parameters.
fn option<'a>(prepared: &'a Prepared, long: &str) -> Option<&'a Arg> {
    let run = prepared.command.find_subcommand("run")?;
    run.get_arguments().find(|arg| arg.get_long() == Some(long))
}

pub fn check_options(
    draft: &Draft,
    at: &Place,
    given: &[Opt],
    prepared: &Prepared,
    problems: &mut Problems,
) {
    for opt in given {
        let Some(arg) = option(prepared, opt.option.trim_start_matches('-')) else {
            let problem = "an internal fault of tigerflow-host: `run` has no such option";
            problems.push(draft.problem(&at.keys(opt.key), problem));
            continue;
        };
        for value in &opt.values {
            if let Err(why) = check_value(arg, value) {
                problems.push(draft.problem(&at.keys(opt.key), why));
            }
        }
    }
}

/// Whether an option takes a value; in the option's own words, if not.
fn check_value(arg: &Arg, value: &str) -> Result<(), String> {
    let long = arg.get_long().unwrap_or_default().to_owned();
    let alone = Arg::new("value")
        .long(long.clone())
        .value_parser(arg.get_value_parser().clone())
        .action(ArgAction::Set);
    let matches = clap::Command::new("option")
        .no_binary_name(true)
        .arg(alone)
        .try_get_matches_from([format!("--{long}={value}")]);
    let Err(error) = matches else { return Ok(()) };
    if let Some(source) = error.source() {
        // The value is not repeated: it may be secret.
        return Err(match long.as_str() {
            "env" | "allow-host" => source.to_string(),
            _ => format!("`{value}`: {source}"),
        });
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    Err(line.replace(&format!("for '--{long} <value>'"), "here"))
}

/// A parameter's name as the task has it: with `-` for TigerFlow's `_`.
pub fn parameter_name(name: &str) -> String {
    name.replace('_', "-")
}

pub fn check_parameters(
    draft: &Draft,
    at: &Place,
    given: &[Parameter],
    description: &Description,
    problems: &mut Problems,
) {
    let at = at.key("params");
    let name = &description.name;
    for parameter in given {
        let place = at.key(&parameter.name);
        let wanted = parameter_name(&parameter.name);
        let known = description.parameters.iter().find(|known| known.name == wanted);
        let Some(known) = known else {
            let all: Vec<&str> = description.parameters.iter().map(|p| p.name.as_str()).collect();
            let message = match all.is_empty() {
                true => format!("{name} has no parameters"),
                false => format!("{name} has no such parameter, but {}", all.join(", ")),
            };
            problems.push(draft.problem(&place, message));
            continue;
        };
        if parameter.is_list {
            problems.push(draft.problem(&place, "it takes one value, and no list"));
            continue;
        }
        let value = parameter.values.first().map(String::as_str).unwrap_or_default();
        if let Err(why) = parameters::check(known, value) {
            problems.push(draft.problem(&place, why));
        }
    }
    for known in description.parameters.iter().filter(|p| p.required && p.default.is_none()) {
        if !given.iter().any(|parameter| parameter_name(&parameter.name) == known.name) {
            let message = format!("{name} needs the parameter `{}`: {}", known.name, known.help);
            problems.push(draft.problem(&at, message));
        }
    }
}

/// Says which keys would grant what a task needs.
pub fn check_grants(args: &mut RunArgs, description: &Description) -> Result<(), String> {
    args.grants.read().map_err(|error| error.to_string())?;
    let (missing, _) = args.grants.missing(description);
    if missing.is_empty() {
        return Ok(());
    }
    let mut message = format!("the task {} needs more than is granted; add", description.name);
    for grant in missing {
        message.push_str(&format!("\n    {}   # {}", key_for(grant), grant.reason));
    }
    Err(message)
}

fn key_for(grant: &Grant) -> String {
    match &grant.capability {
        Capability::Directory { guest_path, writable } => {
            let mode = if *writable { ":rw" } else { "" };
            format!("dirs: [\"HOST_DIR::{guest_path}{mode}\"]")
        }
        Capability::Environment { name } => format!("env: [{name}]"),
        Capability::Host { name } => format!("allow_host: [\"{name}\"]"),
    }
}
