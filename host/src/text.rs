//! How figures and texts are written for people.

use std::borrow::Cow;

/// A size in bytes: `512 MiB`.
pub fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

/// A text on one line: line breaks and what else controls a terminal are
/// written as escapes.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    Cow::Owned(line)
}

/// A text cut to a number of bytes, at a character, with a mark where it was
/// cut.
pub fn clip(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.push('…');
    }
    text
}

/// A noun with its number: `1 file`, `2 files`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(one_line("a\n\u{1b}[2Jb"), "a\\n\\u{1b}[2Jb");
        assert_eq!(one_line("größe 1.txt"), "größe 1.txt");
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(clip("ü".repeat(10), 5), "üü…");
        assert_eq!(clip("short".into(), 5), "short");
    }
}
