//! Queries of URLs: `ms=500&to=%2Fok`.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

/// A query that asks for its parts one by one.
#[derive(Clone, Copy)]
pub struct Query<'a>(pub &'a str);

impl<'a> Query<'a> {
    /// The first value of this name, decoded; of a name without a value, the empty text.
    pub fn text(self, name: &str) -> Option<Cow<'a, str>> {
        self.0.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| decoded(value))
        })
    }

    /// The same, read as something else; the default where that does not go.
    pub fn get<T: FromStr>(self, name: &str, default: T) -> T {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    /// `ms` as a time.
    pub fn ms(self, default: u64) -> Duration {
        Duration::from_millis(self.get("ms", default))
    }
}

fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return text.into();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let escaped = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        rest = after;
        bytes.push(match (byte, escaped) {
            (b'%', Some(escaped)) => {
                rest = &after[2..];
                escaped
            }
            (b'+', _) => b' ',
            _ => *byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        let query = Query("a=1&b=x%2Fy%3Fz%3D1+%C3%A4&c&d=%zz%4&n=-3&a=2");
        assert_eq!(query.text("b").unwrap(), "x/y?z=1 ä");
        assert_eq!(query.text("c").unwrap(), "");
        assert_eq!(query.text("d").unwrap(), "%zz%4");
        assert_eq!(query.text("e"), None);
        assert_eq!(query.get("a", 9), 1);
        assert_eq!(query.get("n", 9u32), 9);
        assert_eq!(Query("ms=20").ms(5), Duration::from_millis(20));
    }
}
