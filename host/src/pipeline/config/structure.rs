//! Whether a file has the form that the schema tells of: known keys, values of
//! the right type and within their bounds, nothing missing.
//!
//! A walk of the file's tree beside the schema, which finds all problems at once
//! and makes of the tree the JSON that the types are read from. It knows those of
//! the schema's words that our types bring about.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Number, Value as Json};

use super::formats;
use super::hints::{nearest, quoted, synonym};
use super::path::{Path, Position};
use super::problem::Problems;
use super::yaml::{self, Entry, Node, Plain, Value};

/// Most keys that a message lists.
const MOST_LISTED: usize = 12;

/// Checks a file against the schema. What is wrong is `null` in the result, or
/// not there.
pub fn check(root: &Node, schema: &Json, problems: &mut Problems) -> Json {
    Walk { top: schema, problems }.node(root, schema, &Path::root())
}

struct Walk<'a> {
    top: &'a Json,
    problems: &'a mut Problems,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node, schema: &Json, path: &Path) -> Json {
        if let Some(words) = words(schema) {
            return self.word(node, &words, path);
        }
        let alternatives = schema.get("oneOf").or(schema.get("anyOf")).and_then(Json::as_array);
        if let Some(alternatives) = alternatives {
            if alternatives.iter().all(|schema| tag(schema).is_some()) {
                return self.tagged(node, alternatives, path);
            }
            let fits = |schema: &&Json| accepts(schema, node);
            return match alternatives.iter().find(fits) {
                Some(schema) => self.node(node, schema, path),
                None => self.wrong_type(node, schema, path),
            };
        }
        if !accepts(schema, node) {
            return self.wrong_type(node, schema, path);
        }
        match &node.value {
            Value::Map(entries) => self.map(node.position, entries, schema, path),
            Value::List(items) => self.list(node.position, items, schema, path),
            Value::Scalar { text, plain } => self.scalar(node.position, text, *plain, schema, path),
        }
    }

    fn wrong(&mut self, position: Position, path: &Path, message: impl Into<String>) -> Json {
        self.problems.add(position, path, message);
        Json::Null
    }

    fn wrong_type(&mut self, node: &Node, schema: &Json, path: &Path) -> Json {
        let there = describe(node);
        let key = path.last_key();
        let types = types(schema);
        let message = match (&node.value, key) {
            (Value::List(_), Some("depends_on")) => {
                "a task reads the outputs of one other: write `depends_on: NAME`. Where two are \
                 to be done with a file first, let one depend on the other"
                    .to_owned()
            }
            (Value::Map(_), Some("tasks")) => {
                "tasks are a list: begin each with `- name: NAME`".to_owned()
            }
            (Value::Scalar { text, plain: true }, _) if types.contains("boolean") => {
                match yaml::plain(text) {
                    Plain::OldBool(value) => {
                        let text = quoted(text);
                        format!(
                            "write `{value}`: {text} is true or false to some, a text to others"
                        )
                    }
                    _ => format!("`true` or `false` is expected; there is {there}"),
                }
            }
            _ if node.is_null() => {
                format!("{}, and nothing is there", expected(schema))
            }
            (Value::Scalar { text, plain: true }, _)
                if types.contains("object") && text.contains(':') =>
            {
                format!("{}; there is {there}: a space goes after the `:`", expected(schema))
            }
            (Value::Scalar { plain: true, .. }, _) if types.contains("string") => format!(
                "{}; there is {there}. If it is meant as a text, put it in quotes",
                expected(schema)
            ),
            _ => format!("{}; there is {there}", expected(schema)),
        };
        self.wrong(node.position, path, message)
    }

    /// One of some words.
    fn word(&mut self, node: &Node, words: &[&str], path: &Path) -> Json {
        let all = list(words);
        match &node.value {
            Value::Scalar { text, .. } if words.contains(&text.as_str()) => text.as_str().into(),
            Value::Scalar { text, .. } if !node.is_null() => {
                let message = match nearest(text, words.iter().copied()) {
                    Some(word) => format!("{} is none of {all}: is `{word}` meant?", quoted(text)),
                    None => format!("{} is none of {all}", quoted(text)),
                };
                self.wrong(node.position, path, message)
            }
            _ => {
                let message = format!("one of {all} is expected; there is {}", describe(node));
                self.wrong(node.position, path, message)
            }
        }
    }

    /// A mapping whose key `kind` says what else is in it.
    fn tagged(&mut self, node: &Node, alternatives: &[Json], path: &Path) -> Json {
        let kinds: Vec<&str> = alternatives.iter().filter_map(tag).collect();
        let Value::Map(entries) = &node.value else {
            let message = format!(
                "a mapping with a `kind` is expected, as `kind: {}`; there is {}",
                kinds[0],
                describe(node)
            );
            return self.wrong(node.position, path, message);
        };
        let Some(kind) = node.get("kind") else {
            let message = format!("`kind` is missing: one of {}", list(&kinds));
            return self.wrong(node.position, path, message);
        };
        if matches!(&kind.value, Value::Scalar { text, .. } if text == "callable") {
            let message = "TigerFlow's Python functions do not run here: make a component of it, \
                           and write `kind: component` with `module: NAME.wasm`. See `Coming from \
                           TigerFlow` in the README";
            return self.wrong(kind.position, &path.key("kind"), message);
        }
        let Json::String(kind) = self.word(kind, &kinds, &path.key("kind")) else {
            return Json::Null;
        };
        match alternatives.iter().find(|schema| tag(schema) == Some(kind.as_str())) {
            Some(schema) => self.map(node.position, entries, schema, path),
            None => Json::Null,
        }
    }

    fn map(&mut self, position: Position, entries: &[Entry], schema: &Json, path: &Path) -> Json {
        let properties = schema.get("properties").and_then(Json::as_object);
        let others = schema.get("additionalProperties").filter(|schema| **schema != false);
        let passed_over = schema.get("patternProperties").is_some();
        let mut object = Map::new();
        let mut meant = Vec::new();
        let given: HashSet<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        for Entry { key, position, value } in entries {
            let at = path.key(key);
            if let Some(schema) = properties.and_then(|p| p.get(key)).or(others) {
                object.insert(key.clone(), self.node(value, schema, &at));
            } else if !(passed_over && key.starts_with("x-")) {
                let known = || properties.into_iter().flat_map(|p| p.keys().map(String::as_str));
                let free = || known().filter(|known| !given.contains(known));
                let name = quoted(key);
                let message = match synonym(key, free()).or_else(|| nearest(key, free())) {
                    Some(known) => {
                        meant.push(known);
                        format!("{name} is not known: is `{known}` meant?")
                    }
                    None => match self.elsewhere(key) {
                        Some(place) => format!("{name} is not known here: it belongs in {place}"),
                        None if known().count() > MOST_LISTED => format!(
                            "{name} is not known; `tigerflow-host pipeline schema` has all keys"
                        ),
                        None => format!("{name} is not known: there are {}", list_of(known())),
                    },
                };
                self.problems.add(*position, &at, message);
            }
        }
        let required = schema.get("required").and_then(Json::as_array).into_iter().flatten();
        for key in required.filter_map(Json::as_str) {
            // Or another key was taken for it.
            if given.contains(key) || meant.contains(&key) {
                continue;
            }
            let about = properties.and_then(|p| p.get(key)?.get("description")?.as_str());
            let message =
                format!("`{key}` is missing{}", about.map(first_words).unwrap_or_default());
            self.problems.add(position, path, message);
        }
        Json::Object(object)
    }

    /// Where a key would be known.
    fn elsewhere(&self, key: &str) -> Option<&'static str> {
        let at = |pointer: &str| {
            let properties = self.top.pointer(pointer).and_then(Json::as_object);
            properties.is_some_and(|properties| properties.contains_key(key))
        };
        let task = "/properties/tasks/items/properties";
        if at("/properties") {
            return Some("the top of the file");
        }
        if at(task) {
            return Some("a task");
        }
        if at("/properties/staging/properties") {
            return Some("`staging`");
        }
        let resources = self.top.pointer(&format!("{task}/worker_resources"))?;
        let alternatives = resources.get("anyOf").and_then(Json::as_array);
        let schemas = alternatives.map_or(std::slice::from_ref(resources), Vec::as_slice);
        let known = schemas.iter().any(|schema| schema["properties"].get(key).is_some());
        known.then_some("a task's `worker_resources`")
    }

    fn list(&mut self, position: Position, items: &[Node], schema: &Json, path: &Path) -> Json {
        let bound = |word| schema.get(word).and_then(Json::as_u64);
        let (number, noun) = (items.len(), path.last_key().unwrap_or("items"));
        if let Some(least) = bound("minItems").filter(|least| (number as u64) < *least) {
            let message = format!("it is empty: at least {least} of the {noun} must be there");
            self.problems.add(position, path, message);
        }
        if let Some(most) = bound("maxItems").filter(|most| number as u64 > *most) {
            let message = format!("{number} {noun} are too many: at most {most}");
            self.problems.add(position, path, message);
        }
        let Some(schema) = schema.get("items") else { return Json::Array(Vec::new()) };
        let items = items.iter().enumerate();
        items.map(|(i, item)| self.node(item, schema, &path.index(i))).collect()
    }

    fn scalar(
        &mut self,
        position: Position,
        text: &str,
        is_plain: bool,
        schema: &Json,
        path: &Path,
    ) -> Json {
        let types = types(schema);
        if is_plain {
            match yaml::plain(text) {
                Plain::Null => return Json::Null,
                Plain::Bool(value) => return value.into(),
                // A text could be meant, and PyYAML takes it for true or false.
                Plain::OldBool(value) if types.contains("boolean") => {
                    let message = format!("write `{value}`, or `\"{text}\"` if the text is meant");
                    return self.wrong(position, path, message);
                }
                _ => {}
            }
        }
        if types.contains("string") {
            let format = schema.get("format").and_then(Json::as_str).unwrap_or_default();
            return match formats::check(format, text) {
                Ok(()) => text.into(),
                Err(message) => self.wrong(position, path, message),
            };
        }
        // PyYAML reads 1_000 as a number.
        let digits = text.replace('_', "");
        let number = match types.contains("number") {
            true => digits.parse().ok().and_then(Number::from_f64),
            false => digits.parse::<i64>().ok().map(Number::from),
        };
        match number {
            Some(number) => match within(&number, schema) {
                Ok(()) => number.into(),
                Err(bound) => {
                    let message = format!("{} is out of bounds: {bound}", quoted(text));
                    self.wrong(position, path, message)
                }
            },
            None => {
                let message = format!("{}; there is {}", expected(schema), quoted(text));
                self.wrong(position, path, message)
            }
        }
    }
}

/// The words, where the schema is a choice of some.
fn words(schema: &Json) -> Option<Vec<&str>> {
    if let Some(words) = schema.get("enum").and_then(Json::as_array) {
        return words.iter().map(Json::as_str).collect();
    }
    if let Some(word) = schema.get("const").and_then(Json::as_str) {
        return Some(vec![word]);
    }
    let alternatives = schema.get("oneOf").and_then(Json::as_array)?;
    let words: Option<Vec<Vec<&str>>> = alternatives.iter().map(words).collect();
    words.map(|words| words.concat())
}

/// The value of `kind` for this alternative.
fn tag(schema: &Json) -> Option<&str> {
    schema.pointer("/properties/kind/const").and_then(Json::as_str)
}

/// What types the schema allows.
fn types(schema: &Json) -> BTreeSet<&str> {
    let mut types = BTreeSet::new();
    match schema.get("type") {
        Some(Json::String(name)) => types.extend([name.as_str()]),
        Some(Json::Array(names)) => types.extend(names.iter().filter_map(Json::as_str)),
        _ if words(schema).is_some() => types.extend(["string"]),
        _ => {}
    }
    for word in ["anyOf", "oneOf"] {
        let alternatives = schema.get(word).and_then(Json::as_array);
        types.extend(alternatives.into_iter().flatten().flat_map(self::types));
    }
    types
}

/// Whether a value is of a type that the schema allows.
fn accepts(schema: &Json, node: &Node) -> bool {
    let types = types(schema);
    let has = |name| types.contains(name);
    match &node.value {
        Value::Map(_) => has("object"),
        Value::List(_) => has("array"),
        Value::Scalar { text, plain: true } => match yaml::plain(text) {
            Plain::Null => has("null"),
            Plain::Bool(_) => has("boolean"),
            // A number is as good as a text where a text is asked for.
            _ => ["string", "number", "integer"].into_iter().any(has),
        },
        Value::Scalar { plain: false, .. } => ["string", "number", "integer"].into_iter().any(has),
    }
}

/// Whether a number keeps to its bounds; else what they are.
fn within(number: &Number, schema: &Json) -> Result<(), String> {
    let number = number.as_f64().unwrap_or(f64::NAN);
    let bound = |word| schema.get(word).and_then(Json::as_f64);
    let above = bound("exclusiveMinimum");
    let least = bound("minimum");
    let most = bound("maximum").or_else(|| match schema.get("format").and_then(Json::as_str) {
        Some("uint32") => Some(f64::from(u32::MAX)),
        _ => None,
    });
    let low = above.is_some_and(|above| number <= above) || least.is_some_and(|l| number < l);
    if !low && most.is_none_or(|most| number <= most) {
        return Ok(());
    }
    Err(match (above, least, most) {
        (Some(above), _, _) => format!("it must be more than {above}"),
        (_, Some(least), Some(most)) => format!("it must be from {least} to {most}"),
        (_, Some(least), None) => format!("it must be {least} or more"),
        (_, None, most) => format!("it must be at most {}", most.unwrap_or_default()),
    })
}

/// What is asked for, in words.
fn expected(schema: &Json) -> String {
    let types = types(schema);
    let name = |name: &str| match name {
        "string" => Some("a text"),
        "integer" => Some("a whole number"),
        "number" => Some("a number"),
        "boolean" => Some("`true` or `false`"),
        "array" => Some("a list"),
        "object" => Some("a mapping (lines `KEY: VALUE`)"),
        _ => None,
    };
    let words: Vec<&str> = types.iter().rev().copied().filter_map(name).collect();
    let example = schema.pointer("/examples/0").and_then(Json::as_str);
    let example = example.map(|example| format!(", as `{example}`")).unwrap_or_default();
    format!("{} is expected{example}", words.join(" or "))
}

/// What is there, in words.
fn describe(node: &Node) -> String {
    match &node.value {
        Value::Map(_) => "a mapping".into(),
        Value::List(_) => "a list".into(),
        Value::Scalar { text, plain: true } => match yaml::plain(text) {
            Plain::Null => "nothing".into(),
            Plain::Number => format!("the number {}", quoted(text)),
            _ => quoted(text),
        },
        Value::Scalar { text, plain: false } => format!("the text {}", quoted(text)),
    }
}

fn list(words: &[&str]) -> String {
    list_of(words.iter().copied())
}

fn list_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// What a description begins with, to go on with after a colon.
fn first_words(description: &str) -> String {
    let end = [". ", "; ", ": "].iter().filter_map(|end| description.find(end)).min();
    let words = description[..end.unwrap_or(description.len())].trim_end_matches('.');
    let mut letters = words.chars();
    let first = letters.next().into_iter().flat_map(char::to_lowercase);
    format!(": {}{}", first.collect::<String>(), letters.as_str())
}
