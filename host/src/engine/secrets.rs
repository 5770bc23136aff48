//! The values of granted environment variables, which no log may show.

use std::borrow::Cow;
use std::sync::Arc;

/// Shorter values are no secrets, and too common in other words to look for.
const LEAST_LENGTH: usize = 6;

/// A line of a value of several lines (a key in PEM form) is looked for by
/// itself from this length on.
const LEAST_LINE: usize = 16;

/// Environment variables for a guest.
#[derive(Clone, Default)]
pub struct Environment {
    variables: Arc<[(String, String)]>,
    /// What to look for in a text, and what to put there, the longest first.
    secrets: Arc<[(String, String)]>,
}

impl Environment {
    /// These variables: names and values.
    pub fn new(variables: Vec<(String, String)>) -> Self {
        let mut secrets = Vec::new();
        for (name, value) in &variables {
            let shown = format!("[{name}]");
            let lines = value.lines().map(str::trim).filter(|line| line.len() >= LEAST_LINE);
            secrets.extend(lines.map(|line| (line.to_owned(), shown.clone())));
            let value = value.trim();
            if value.len() >= LEAST_LENGTH {
                secrets.push((value.to_owned(), shown));
            }
        }
        secrets.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Environment { variables: variables.into(), secrets: secrets.into() }
    }

    /// Names and values.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (&**name, &**value))
    }

    /// A text of the guest's with `[NAME]` in place of the values.
    pub fn mask(&self, text: String) -> String {
        self.secrets.iter().fold(text, |text, (secret, shown)| match text.contains(&**secret) {
            true => text.replace(&**secret, shown),
            false => text,
        })
    }

    /// As [`mask`](Self::mask), for bytes.
    pub fn mask_bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.secrets.is_empty() {
            return Cow::Borrowed(bytes);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if self.secrets.iter().any(|(secret, _)| text.contains(&**secret)) => {
                Cow::Owned(self.mask(text.into()).into_bytes())
            }
            Ok(_) => Cow::Borrowed(bytes),
            Err(_) => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                match self.secrets.iter().any(|(secret, _)| text.contains(&**secret)) {
                    true => Cow::Owned(self.mask(text).into_bytes()),
                    false => Cow::Borrowed(bytes),
                }
            }
        }
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.variables().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new(variables.iter().map(|&(n, v)| (n.into(), v.into())).collect())
    }

    #[test]
    fn values_are_masked_and_short_ones_are_not() {
        let environment = environment(&[("KEY", "sk-123456"), ("LONG", "sk-123456-7"), ("N", "1")]);
        let text = "1: sk-123456-7 and sk-123456, sk-12345".to_owned();
        assert_eq!(environment.mask(text), "1: [LONG] and [KEY], sk-12345");
        assert_eq!(&*environment.mask_bytes(b"\xff sk-123456"), "\u{fffd} [KEY]".as_bytes());
        assert_eq!(&*environment.mask_bytes(b"\xff"), b"\xff");
        assert!(!format!("{environment:?}").contains("sk-"));
    }

    #[test]
    fn a_value_of_several_lines_is_masked_line_by_line() {
        let environment = environment(&[("PEM", "-- BEGIN --\nAAAABBBBCCCCDDDD\n-- END --\n")]);
        assert_eq!(environment.mask("x AAAABBBBCCCCDDDD y".into()), "x [PEM] y");
    }
}
