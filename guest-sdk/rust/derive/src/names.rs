//! Names of parameters and choices.

use std::collections::HashSet;

use proc_macro2::Span;
use syn::{Error, Result};

/// `ignore_case` and `IgnoreCase` are `ignore-case`; `Utf8` is `utf8`.
pub fn kebab_case(name: &str) -> String {
    let name = name.strip_prefix("r#").unwrap_or(name);
    let mut kebab = String::with_capacity(name.len() + 4);
    let mut after_lower = false;
    for letter in name.chars() {
        if letter == '_' {
            if !kebab.is_empty() && !kebab.ends_with('-') {
                kebab.push('-');
            }
            after_lower = false;
        } else {
            if letter.is_uppercase() && after_lower {
                kebab.push('-');
            }
            after_lower = !letter.is_uppercase();
            kebab.extend(letter.to_lowercase());
        }
    }
    kebab.trim_end_matches('-').to_owned()
}

/// The names given so far: each only once.
#[derive(Default)]
pub struct Names(HashSet<String>);

impl Names {
    /// # Errors
    /// Where the name was given before.
    pub fn add(&mut self, name: &str, span: Span) -> Result<()> {
        if self.0.insert(name.to_owned()) {
            Ok(())
        } else {
            Err(Error::new(span, format!("the name `{name}` is taken already")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::kebab_case;

    #[test]
    fn kebab() {
        assert_eq!(kebab_case("ignore_case"), "ignore-case");
        assert_eq!(kebab_case("r#type"), "type");
        assert_eq!(kebab_case("_top_"), "top");
        assert_eq!(kebab_case("LowGerman"), "low-german");
        assert_eq!(kebab_case("PNG"), "png");
        assert_eq!(kebab_case("Utf8Text"), "utf8-text");
    }
}
