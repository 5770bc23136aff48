//! What a task says of itself, checked.

use serde::Serialize;

use super::bindings::tigerflow::task::types as wit;
use super::network::HostRule;

/// What a task is and what it needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Description {
    /// Its name, in kebab-case.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// What it makes of a file, in one sentence.
    pub summary: String,
    /// What `setup` receives.
    pub parameters: Vec<Parameter>,
    /// What it needs beyond input and output.
    pub grants: Vec<Grant>,
    /// How many files may be in flight at once.
    pub max_concurrency: Option<u32>,
    /// Its own defaults for options of `run`.
    pub option_defaults: Vec<(String, String)>,
}

/// A parameter of a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameter {
    /// Its name, in kebab-case.
    pub name: String,
    /// One sentence on it.
    pub help: String,
    /// What its value looks like.
    #[serde(flatten)]
    pub kind: Kind,
    /// The value when none is given.
    pub default: Option<Value>,
    /// Whether one must be given.
    pub required: bool,
}

/// What the value of a parameter looks like.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", content = "choices", rename_all = "kebab-case")]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A floating-point number.
    Number,
    /// True or false.
    Boolean,
    /// One of these.
    Choice(Vec<String>),
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A text or a choice.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Number(f64),
    /// True or false.
    Boolean(bool),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Text(v) => f.write_str(v),
            Value::Integer(v) => v.fmt(f),
            Value::Number(v) => v.fmt(f),
            Value::Boolean(v) => v.fmt(f),
        }
    }
}

/// A capability that the task asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// What it opens.
    #[serde(flatten)]
    pub capability: Capability,
    /// What the task does with it.
    pub reason: String,
    /// Whether the task is useless without it.
    pub required: bool,
}

/// What a grant opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Capability {
    /// A directory.
    Directory {
        /// Where the task sees it.
        guest_path: String,
        /// Whether it writes there.
        writable: bool,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        name: String,
    },
    /// A network host.
    Host {
        /// Its name, perhaps with a port or a leading `*.`.
        name: String,
    },
}

impl Grant {
    /// The option that gives it, with `…` for what the user must choose.
    pub fn option(&self) -> String {
        match &self.capability {
            Capability::Directory { guest_path, writable } => {
                let access = if *writable { "rw" } else { "ro" };
                format!("--dir HOST_DIR::{guest_path}:{access}")
            }
            Capability::Environment { name } => format!("--env {name}"),
            Capability::Host { name } => format!("--allow-host {name}"),
        }
    }
}

/// Longest name of a task or a parameter, in bytes. The task's name names a
/// directory.
const NAME_LIMIT: usize = 100;

impl Description {
    /// Takes over what `describe` returned. The error says what is wrong with
    /// it, for the task's author.
    pub(super) fn check(raw: wit::Description) -> Result<Self, String> {
        if !is_kebab_case(&raw.name) {
            return Err(format!("its name `{}` is not kebab-case, as `count-words`", raw.name));
        }
        let mut parameters: Vec<Parameter> = Vec::with_capacity(raw.parameters.len());
        for raw in raw.parameters {
            let parameter = check_parameter(raw)?;
            if parameters.iter().any(|p| p.name == parameter.name) {
                return Err(format!("it has two parameters `{}`", parameter.name));
            }
            parameters.push(parameter);
        }
        if raw.max_concurrency == Some(0) {
            return Err("its highest concurrency is 0".into());
        }
        let grants = raw.grants.into_iter().map(Grant::from).collect::<Vec<_>>();
        for grant in &grants {
            if let Capability::Directory { guest_path, .. } = &grant.capability
                && !guest_path.starts_with('/')
            {
                return Err(format!("it asks for the directory `{guest_path}`, no absolute path"));
            }
            if let Capability::Host { name } = &grant.capability
                && let Err(problem) = name.parse::<HostRule>()
            {
                return Err(format!("it asks for the host `{name}`: {problem}"));
            }
        }
        Ok(Description {
            name: raw.name,
            version: raw.version,
            summary: raw.summary,
            parameters,
            grants,
            max_concurrency: raw.max_concurrency,
            option_defaults: raw.option_defaults,
        })
    }
}

fn check_parameter(raw: wit::Parameter) -> Result<Parameter, String> {
    let name = raw.name;
    if !is_kebab_case(&name) {
        return Err(format!(
            "the name of its parameter `{name}` is not kebab-case, as `max-words`"
        ));
    }
    let kind = match raw.kind {
        wit::ParameterKind::Text => Kind::Text,
        wit::ParameterKind::Integer => Kind::Integer,
        wit::ParameterKind::Number => Kind::Number,
        wit::ParameterKind::Boolean => Kind::Boolean,
        wit::ParameterKind::Choice(choices) if choices.is_empty() => {
            return Err(format!("its parameter `{name}` is a choice of nothing"));
        }
        wit::ParameterKind::Choice(choices) => Kind::Choice(choices),
    };
    let default = raw.default.map(Value::from);
    match (&kind, &default) {
        (_, None)
        | (Kind::Text, Some(Value::Text(_)))
        | (Kind::Integer, Some(Value::Integer(_)))
        | (Kind::Number, Some(Value::Number(_)))
        | (Kind::Boolean, Some(Value::Boolean(_))) => {}
        (Kind::Choice(choices), Some(Value::Text(text))) if choices.contains(text) => {}
        (_, Some(value)) => {
            return Err(format!("the default `{value}` of its parameter `{name}` does not fit it"));
        }
    }
    if raw.required && default.is_some() {
        return Err(format!("its parameter `{name}` is required and has a default"));
    }
    Ok(Parameter { name, help: raw.help, kind, default, required: raw.required })
}

/// Whether a task can be called so, and a parameter.
pub fn is_kebab_case(name: &str) -> bool {
    name.len() <= NAME_LIMIT
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.split('-').all(|word| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
}

impl From<wit::Value> for Value {
    fn from(value: wit::Value) -> Self {
        match value {
            wit::Value::Text(v) => Value::Text(v),
            wit::Value::Integer(v) => Value::Integer(v),
            wit::Value::Number(v) => Value::Number(v),
            wit::Value::Boolean(v) => Value::Boolean(v),
        }
    }
}

impl From<Value> for wit::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Text(v) => wit::Value::Text(v),
            Value::Integer(v) => wit::Value::Integer(v),
            Value::Number(v) => wit::Value::Number(v),
            Value::Boolean(v) => wit::Value::Boolean(v),
        }
    }
}

impl From<wit::Grant> for Grant {
    fn from(grant: wit::Grant) -> Self {
        let capability = match grant.capability {
            wit::Capability::Directory(d) => {
                Capability::Directory { guest_path: d.guest_path, writable: d.writable }
            }
            wit::Capability::Environment(name) => Capability::Environment { name },
            wit::Capability::Host(name) => Capability::Host { name },
        };
        Grant { capability, reason: grant.reason, required: grant.required }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kebab_case() {
        for good in ["a", "count-words", "a1-2b"] {
            assert!(is_kebab_case(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a--b", "A", "a_b", "1a", "a/b", "..", "ä"] {
            assert!(!is_kebab_case(bad), "{bad}");
        }
        assert!(!is_kebab_case(&"a".repeat(NAME_LIMIT + 1)));
    }
}
