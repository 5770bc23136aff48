//! The JSON schema of a file, for editors, and for the check that every file
//! passes: both say the same.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::types::Config;

/// The schema: draft 7, which editors know best, and without references, which
/// spares whoever walks it.
pub fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let settings = SchemaSettings::draft07().with(|s| s.inline_subschemas = true);
        let mut schema = settings.into_generator().into_root_schema_for::<Config>().to_value();
        unwrap_lines(&mut schema);
        if let Some(object) = schema.as_object_mut() {
            object.insert("title".into(), "A pipeline of tigerflow-host".into());
        }
        schema
    })
}

/// Descriptions come as comments were wrapped, and editors would keep that.
fn unwrap_lines(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(text) if key == "description" => {
                        let paragraphs = text.split("\n\n").map(|p| p.replace('\n', " "));
                        *text = paragraphs.collect::<Vec<_>>().join("\n\n");
                    }
                    value => unwrap_lines(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(unwrap_lines),
        _ => {}
    }
}
