//! Values that may be written in more than one way.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A text or a number, kept as it was written: `3`, `1G`, `02:00:00`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Scalar(String);

impl Scalar {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"] })
    }
}

/// A number of bytes, more than 0: `1048576`, `512K`, `10M`. `K`, `M`, `G` and `T`
/// are powers of 1024, `MB` is a power of 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Bytes(pub u64);

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> Result<Bytes, String> {
        let binary = text.ends_with(|c: char| "kKmMgGtT".contains(c));
        // PyYAML reads 1_000 as a number.
        let plain = text.replace('_', "");
        let plain = if binary { format!("{plain}iB") } else { plain };
        let size: bytesize::ByteSize =
            plain.parse().map_err(|_| "write a number of bytes, or `512K`, `10M`, `1G`")?;
        match size.as_u64() {
            0 => Err("it must be more than 0".into()),
            size => Ok(Bytes(size)),
        }
    }
}

impl JsonSchema for Bytes {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "format": "bytes", "minimum": 1 })
    }
}

/// A list, or one value for a list of one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrList<T>")]
pub struct Many<T>(pub Vec<T>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrList<T> {
    One(T),
    List(Vec<T>),
}

impl<T> From<OneOrList<T>> for Many<T> {
    fn from(value: OneOrList<T>) -> Many<T> {
        match value {
            OneOrList::One(one) => Many(vec![one]),
            OneOrList::List(list) => Many(list),
        }
    }
}

impl<T> Default for Many<T> {
    fn default() -> Self {
        Many(Vec::new())
    }
}

impl<T: JsonSchema> JsonSchema for Many<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Many_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

/// Environment variables: a list of `NAME`, with the value that it has where the
/// pipeline starts, and `NAME=VALUE`; or a mapping of names to values, in which a
/// name without one has that of there. No message shows a value.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "ListOrMap")]
pub struct Environment(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum ListOrMap {
    List(Many<Scalar>),
    Map(BTreeMap<String, Option<Scalar>>),
}

impl From<ListOrMap> for Environment {
    fn from(value: ListOrMap) -> Environment {
        Environment(match value {
            ListOrMap::List(list) => list.0.into_iter().map(|Scalar(text)| text).collect(),
            ListOrMap::Map(map) => map
                .into_iter()
                .map(|(name, value)| match value {
                    Some(value) => format!("{name}={value}"),
                    None => name,
                })
                .collect(),
        })
    }
}

impl Environment {
    /// As `--env` takes them: `NAME` or `NAME=VALUE`.
    pub fn variables(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|text| text.split_once('=').map_or(&**text, |(n, _)| n));
        f.debug_list().entries(names).finish()
    }
}

impl JsonSchema for Environment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Environment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" } },
            { "type": "object", "additionalProperties": { "type": ["string", "number", "null"] } },
        ] })
    }
}

/// The value of a task's parameter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// `true` or `false`, without quotes.
    Bool(bool),
    /// A text or a number, as it was written.
    Text(String),
    /// Several.
    List(Vec<Value>),
}

impl Value {
    /// As `--param` takes it; none for a list.
    pub fn text(&self) -> Option<String> {
        match self {
            Value::Bool(value) => Some(value.to_string()),
            Value::Text(text) => Some(text.clone()),
            Value::List(_) => None,
        }
    }
}

impl JsonSchema for Value {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": ["string", "number", "boolean", "null"] },
            { "type": "array", "items": { "type": ["string", "number", "boolean"] } },
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_as_the_options_have_them() {
        let read = |text: &str| Bytes::try_from(text.to_owned()).map(|bytes| bytes.0);
        assert_eq!(read("100"), Ok(100));
        assert_eq!(read("1_000"), Ok(1000));
        assert_eq!(read("10M"), Ok(10 << 20));
        assert_eq!(read("1MB"), Ok(1_000_000));
        for bad in ["0", "", "M", "-1", "lots"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_variables_value_is_not_shown() {
        let map = serde_json::json!({ "KEY": "secret", "HOME": null });
        let env: Environment = serde_json::from_value(map).unwrap();
        assert_eq!(env.variables(), ["HOME", "KEY=secret"]);
        assert_eq!(format!("{env:?}"), r#"["HOME", "KEY"]"#);
    }
}
