//! A task's parameters as options of the command line.

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::Usage;
use crate::engine::description::{Description, Kind, Parameter, Value};
use crate::text::one_line;

/// The heading of a task's parameters in `--help`.
const HEADING: &str = "Parameters of the task";

/// What clap knows a parameter by. No option of the host has a colon.
pub fn id(parameter: &Parameter) -> String {
    format!("parameter:{}", parameter.name)
}

/// Adds a task's parameters to the `run` command.
pub fn add(mut command: Command, description: &Description) -> Result<Command, Usage> {
    for parameter in &description.parameters {
        let name = &parameter.name;
        let clash = command.get_arguments().any(|a| a.get_long() == Some(name.as_str()));
        if clash || name == "help" || name == "version" {
            return Err(Usage(format!(
                "the task's parameter `{name}` clashes with the option --{name} of tigerflow-host: \
                 rename it in the task"
            )));
        }
        command = command.arg(argument(parameter));
    }
    Ok(command)
}

fn argument(parameter: &Parameter) -> Arg {
    let arg = Arg::new(id(parameter))
        .long(parameter.name.clone())
        .help(help(parameter))
        .help_heading(HEADING)
        .action(ArgAction::Set);
    match &parameter.kind {
        Kind::Text => arg.value_name("TEXT"),
        Kind::Integer => arg
            .value_name("INTEGER")
            .value_parser(|text: &str| integer(text))
            .allow_negative_numbers(true),
        Kind::Number => arg
            .value_name("NUMBER")
            .value_parser(|text: &str| number(text))
            .allow_negative_numbers(true),
        Kind::Boolean => arg
            .value_name("true|false")
            .value_parser(|text: &str| boolean(text))
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Kind::Choice(choices) => arg
            .value_name("CHOICE")
            .value_parser(PossibleValuesParser::new(choices.clone()).map(Value::Text)),
    }
}

fn help(parameter: &Parameter) -> String {
    let note = match &parameter.default {
        Some(default) => format!("[default: {default}]"),
        None if parameter.required => "[required]".into(),
        None => "[optional]".into(),
    };
    one_line(format!("{} {note}", parameter.help).trim_start()).into_owned()
}

fn integer(text: &str) -> Result<Value, String> {
    text.parse().map(Value::Integer).map_err(|_| "a whole number is expected".into())
}

fn number(text: &str) -> Result<Value, String> {
    text.parse().map(Value::Number).map_err(|_| "a number is expected".into())
}

fn boolean(text: &str) -> Result<Value, String> {
    text.parse().map(Value::Boolean).map_err(|_| "`true` or `false` is expected".into())
}

/// The arguments for `setup`: from options, from `--param`, or by default.
pub fn resolve(
    description: &Description,
    matches: &ArgMatches,
    named: &[(String, String)],
) -> Result<Vec<(String, Value)>, Usage> {
    for (name, _) in named {
        if !description.parameters.iter().any(|p| p.name == *name) {
            return Err(Usage(unknown(name, description)));
        }
    }
    let mut arguments = Vec::new();
    for parameter in &description.parameters {
        let name = &parameter.name;
        let by_option = from_option(parameter, matches);
        let mut by_name = named.iter().filter(|(n, _)| n == name).map(|(_, value)| value);
        let value = match (by_option, by_name.next()) {
            (Some(_), Some(_)) => {
                return Err(Usage(format!("the parameter `{name}` is given twice")));
            }
            (None, Some(text)) => Some(parse(parameter, text)?),
            (by_option, None) => by_option,
        };
        if by_name.next().is_some() {
            return Err(Usage(format!("the parameter `{name}` is given twice")));
        }
        match value.or_else(|| parameter.default.clone()) {
            Some(value) => arguments.push((name.clone(), value)),
            None if parameter.required => {
                let help = &parameter.help;
                return Err(Usage(format!(
                    "the task's parameter `{name}` is missing ({help}): give it as --{name} …"
                )));
            }
            None => {}
        }
    }
    Ok(arguments)
}

fn from_option(parameter: &Parameter, matches: &ArgMatches) -> Option<Value> {
    match parameter.kind {
        Kind::Text => matches.get_one(&id(parameter)).cloned().map(Value::Text),
        _ => matches.get_one(&id(parameter)).cloned(),
    }
}

/// Whether a parameter takes this value; what is wrong with it, if not.
pub fn check(parameter: &Parameter, text: &str) -> Result<(), String> {
    parse(parameter, text).map(drop).map_err(|error| error.to_string())
}

fn parse(parameter: &Parameter, text: &str) -> Result<Value, Usage> {
    let parsed = match &parameter.kind {
        Kind::Text => Ok(Value::Text(text.into())),
        Kind::Integer => integer(text),
        Kind::Number => number(text),
        Kind::Boolean => boolean(text),
        Kind::Choice(choices) if choices.iter().any(|c| c == text) => Ok(Value::Text(text.into())),
        Kind::Choice(choices) => Err(format!("one of {} is expected", choices.join(", "))),
    };
    parsed.map_err(|expected| {
        Usage(format!("invalid value `{text}` for the parameter `{}`: {expected}", parameter.name))
    })
}

fn unknown(name: &str, description: &Description) -> String {
    let known: Vec<&str> = description.parameters.iter().map(|p| p.name.as_str()).collect();
    if known.is_empty() {
        format!("the task has no parameters, so no `{name}`")
    } else {
        format!("the task has no parameter `{name}`, but {}", known.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        let parameter = |name: &str, kind, default, required| Parameter {
            name: name.into(),
            help: "Help".into(),
            kind,
            default,
            required,
        };
        Description {
            parameters: vec![
                parameter("greeting", Kind::Text, Some(Value::Text("Hello".into())), false),
                parameter("times", Kind::Integer, None, true),
                parameter("ratio", Kind::Number, None, false),
                parameter("loud", Kind::Boolean, Some(Value::Boolean(false)), false),
                parameter("mode", Kind::Choice(vec!["a".into(), "b".into()]), None, false),
            ],
            ..Description::default()
        }
    }

    fn given(options: &[&str], named: &[(&str, &str)]) -> Result<Vec<(String, Value)>, String> {
        let command = add(Command::new("run").no_binary_name(true), &description()).unwrap();
        let matches = command.try_get_matches_from(options).map_err(|e| e.to_string())?;
        let named: Vec<_> = named.iter().map(|&(n, v)| (n.into(), v.into())).collect();
        resolve(&description(), &matches, &named).map_err(|e| e.to_string())
    }

    #[test]
    fn options_and_names_are_the_same() {
        let by_option = given(&["--times", "-3", "--loud", "--ratio=0.5", "--mode", "b"], &[]);
        let by_name =
            given(&[], &[("times", "-3"), ("loud", "true"), ("ratio", "0.5"), ("mode", "b")]);
        assert_eq!(by_option, by_name);
        let arguments = by_option.unwrap();
        assert_eq!(arguments[0], ("greeting".into(), Value::Text("Hello".into())));
        assert_eq!(arguments[1], ("times".into(), Value::Integer(-3)));
        assert_eq!(arguments[3], ("loud".into(), Value::Boolean(true)));
    }

    #[test]
    fn mistakes_are_named() {
        for (options, named, word) in [
            (&["--times", "x"][..], &[][..], "whole number"),
            (&[], &[("times", "x")], "whole number"),
            (&[], &[], "missing"),
            (&["--times", "1", "--mode", "c"], &[], "possible values"),
            (&["--times", "1"], &[("mode", "c")], "one of a, b"),
            (&["--times", "1"], &[("times", "1")], "twice"),
            (&["--times", "1"], &[("gretting", "x")], "no parameter `gretting`"),
            (&["--times", "1", "--loud=perhaps"], &[], "`true` or `false`"),
        ] {
            let error = given(options, named).unwrap_err();
            assert!(error.contains(word), "{options:?} {named:?}: {error}");
        }
    }

    #[test]
    fn a_clash_with_an_option_of_the_host_is_refused() {
        let command = Command::new("run").arg(Arg::new("times").long("times"));
        assert!(add(command, &description()).unwrap_err().0.contains("clashes"));
    }
}
