//! Sentences for what people write in place of what is meant.

use super::path::Position;
use crate::text::{clip, one_line};

/// A text in a message: on one line, not too long, in backticks.
pub fn quoted(text: &str) -> String {
    format!("`{}`", clip(one_line(text).into_owned(), 60))
}

/// The one that is meant, where it is only misspelt.
pub fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let text = plain(text);
    let far = (text.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&text, &plain(known)), known))
        .filter(|(distance, known)| *distance <= far && *distance < known.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Keys of other tools, and what is said here.
const SYNONYMS: [(&str, &[&str]); 12] = [
    ("depends_on", &["needs", "after", "parent", "parents", "dependencies", "depends", "requires"]),
    ("kind", &["type", "executor"]),
    ("module", &["path", "file", "script", "component", "wasm", "function"]),
    ("params", &["parameters", "args", "arguments", "options", "with"]),
    ("worker_resources", &["resources"]),
    ("max_workers", &["workers"]),
    ("concurrency_limit", &["concurrency", "parallelism"]),
    ("dirs", &["dir", "directories", "mounts", "volumes"]),
    ("env", &["environment"]),
    ("allow_host", &["hosts", "network"]),
    ("retries", &["retry", "attempts", "max_retries"]),
    ("setup_commands", &["setup", "commands"]),
];

/// What is said here for a key of another tool.
pub fn synonym<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let key = key.to_lowercase().replace('-', "_");
    let (ours, _) = SYNONYMS.iter().find(|(_, theirs)| theirs.contains(&key.as_str()))?;
    known.into_iter().find(|known| known == ours)
}

/// What is wrong where the parser gave up, with what mostly lies behind it. The
/// place is another one where something before or after it is the cause.
pub fn syntax(text: &str, position: Position, info: &str) -> (Position, String) {
    // The parser may tell of a line or two before or after.
    let first = position.line.saturating_sub(2);
    let lines: Vec<&str> = text.lines().skip(first).take(3).collect();
    for (place, line) in lines.iter().enumerate() {
        let indent = &line[..line.len() - line.trim_start().len()];
        if let Some(tab) = indent.find('\t').filter(|_| !line.trim().is_empty()) {
            // An indent is of one byte a character, or the tab comes first.
            let column = indent[..tab].chars().count() + 1;
            let message = "a tab indents this line: YAML wants spaces".into();
            return (Position { line: first + place + 1, column }, message);
        }
    }
    let at = position.line - 1 - first;
    let values = [at, at.wrapping_sub(1)].map(|line| lines.get(line).map_or("", |l| value_of(l)));
    let first = values.iter().find_map(|v| v.chars().next().filter(|c| "*&@`%!".contains(*c)));
    let within = |words: &[&str]| words.iter().any(|word| info.contains(word));
    let hint = if within(&["unknown anchor"]) {
        "no `&NAME` goes before this `*NAME`; a text that begins with `*` needs quotes".to_owned()
    } else if within(&["unprintable"]) {
        "a character that cannot be shown stands here".to_owned()
    } else if within(&["escape"]) {
        "in double quotes a `\\` begins an escape: write the text in single quotes".to_owned()
    } else if within(&["quoted scalar"]) {
        "a quote is not closed, or something follows it".to_owned()
    } else if let Some(first) = first {
        let first = if first == '`' { "a backtick".to_owned() } else { quoted(&first.to_string()) };
        format!("a text that begins with {first} needs quotes")
    } else if within(&["mapping values are not allowed", "':' indicator"]) {
        "a text with `: ` in it needs quotes, and keys of one mapping stand below one another"
            .to_owned()
    } else if within(&["flow"]) || values.iter().any(|v| v.starts_with(['[', '{'])) {
        "a list in `[ ]` or a mapping in `{ }` is not complete, or something follows it; a text \
         that begins so needs quotes"
            .to_owned()
    } else {
        "see whether the lines around are indented alike".to_owned()
    };
    (position, format!("this is no YAML: {hint} ({})", one_line(info)))
}

/// What follows `KEY: ` or `- ` on a line.
fn value_of(line: &str) -> &str {
    let item = line.trim_start().trim_start_matches("- ");
    item.split_once(": ").map_or(item, |(_, value)| value).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_near() {
        let known = ["timeout", "setup_timeout", "retries", "env", "env_file"];
        assert_eq!(nearest("timout", known), Some("timeout"));
        assert_eq!(nearest("setup-timeout", known), Some("setup_timeout"));
        assert_eq!(nearest("envs", known), Some("env"));
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest("something", known), None);
        assert_eq!(synonym("needs", ["depends_on"]), Some("depends_on"));
        assert_eq!(synonym("needs", ["timeout"]), None);
    }
}
