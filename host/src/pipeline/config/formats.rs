//! Texts that must have a form: what the schema calls their `format`.

use super::hints::quoted;
use super::values::Bytes;
use crate::workspace::names::Extension;

/// Longest name of a task: it names directories, and files with more to them.
const LONGEST_NAME: usize = 100;

/// Whether a text has a format. One that is not known here tells of the type,
/// which is checked elsewhere.
pub fn check(format: &str, text: &str) -> Result<(), String> {
    match format {
        "task-name" => task_name(text),
        "file-extension" => extension(text),
        "module" => module(text),
        "regex" => pattern(text),
        "bytes" => Bytes::try_from(text.to_owned()).map(drop),
        _ => Ok(()),
    }
}

fn task_name(text: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) || !text.chars().all(plain) {
        return Err(format!(
            "{} is no name for a task: a letter, then letters, digits, `-` and `_`",
            quoted(text)
        ));
    }
    match text.len() {
        0..=LONGEST_NAME => Ok(()),
        length => Err(format!("{length} letters are too many for a name: at most {LONGEST_NAME}")),
    }
}

fn extension(text: &str) -> Result<(), String> {
    text.parse::<Extension>()
        .map(drop)
        .map_err(|error| format!("{} is no extension: {error}", quoted(text)))
}

fn module(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("a component is expected, as `task.wasm`".into());
    }
    if let Some(name) = text.strip_suffix(".py") {
        return Err(format!(
            "a task is a component here: `tigerflow-host build {text} -o {name}.wasm` makes one \
             of it, and then write `module: {name}.wasm`. See `Coming from TigerFlow` in the README"
        ));
    }
    if is_python_module(text) {
        return Err(format!(
            "{} is the name of a Python module, and a task is a component here: make one of its \
             source by `tigerflow-host build`, and write `module: NAME.wasm`. See `Coming from \
             TigerFlow` in the README",
            quoted(text)
        ));
    }
    Ok(())
}

/// Whether a text reads `package.module`, or `package.module:function`.
fn is_python_module(text: &str) -> bool {
    let identifier = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    let (module, function) = text.split_once(':').unwrap_or((text, "f"));
    let parts: Vec<&str> = module.split('.').collect();
    let file = matches!(parts.last(), Some(&("wasm" | "cwasm")));
    !file && identifier(function) && parts.iter().all(|part| identifier(part))
}

fn pattern(text: &str) -> Result<(), String> {
    fancy_regex::Regex::new(text)
        .map(drop)
        .map_err(|error| format!("{} is no regular expression: {error}", quoted(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(format: &str, text: &str) -> String {
        check(format, text).err().unwrap_or_default()
    }

    #[test]
    fn names() {
        for good in ["a", "Transcribe-2_b", &"x".repeat(100)] {
            assert_eq!(of("task-name", good), "");
        }
        for bad in ["", "1a", "-a", "a b", "ä", "a/b", "a.b"] {
            assert!(of("task-name", bad).contains("no name"), "{bad}");
        }
        assert!(of("task-name", &"x".repeat(101)).contains("at most 100"));
    }

    #[test]
    fn modules() {
        for good in ["a.wasm", "dir/a.wasm", "../a.cwasm", "/x/y", "a-b"] {
            assert_eq!(of("module", good), "", "{good}");
        }
        let python = of("module", "./hello.py");
        assert!(python.contains("tigerflow-host build ./hello.py -o ./hello.wasm"), "{python}");
        for import in ["tigerflow.library.echo", "hello", "pkg.mod:function"] {
            assert!(of("module", import).contains("Python module"), "{import}");
        }
    }

    #[test]
    fn extensions_and_patterns() {
        assert_eq!(
            of("file-extension", "txt"),
            "`txt` is no extension: an extension begins with a \
                                                 dot: write `.txt`"
        );
        assert!(of("file-extension", ".err").contains("reserved"));
        assert_eq!(of("regex", r"^(?P<year>\d{4})-(?!draft).*\.txt$"), "");
        assert!(of("regex", "a(").contains("no regular expression"));
        assert!(of("bytes", "lots").contains("10M"));
        assert_eq!(of("uint32", "anything"), "");
    }

    proptest! {
        #[test]
        fn the_schema_has_the_same_rule_for_names(text in r"[a-zA-Z0-9_. ä-]{0,6}") {
            let schema = &super::super::schema()["properties"]["tasks"]["items"]["properties"];
            let matches = |key: &str| {
                let pattern = schema[key]["pattern"].as_str().unwrap();
                fancy_regex::Regex::new(pattern).unwrap().is_match(&text).unwrap()
            };
            prop_assert_eq!(task_name(&text).is_ok(), matches("name"));
            prop_assert_eq!(extension(&text).is_ok(), matches("input_ext"));
        }
    }
}
