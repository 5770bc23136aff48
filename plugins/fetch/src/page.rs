//! What an input asks for, and what a page is.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use tigerflow_task::prelude::*;

/// In how much of a page browsers look for its character set.
const META_BYTES: usize = 1024;

/// The URL that a file holds: its first line that is not empty.
///
/// # Errors
/// Where there is none.
pub fn address(file: &str) -> Result<&str> {
    let file = file.trim_start_matches('\u{feff}');
    file.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .context("the file is empty: it must hold a URL")
}

/// How a page becomes text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Html,
    Text,
    Other,
}

/// What a `content-type` says.
pub fn kind(content_type: &str) -> Kind {
    let name = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match &*name {
        "text/html" | "application/xhtml+xml" => Kind::Html,
        name if name.starts_with("text/") => Kind::Text,
        _ => Kind::Other,
    }
}

/// A page's text, from whatever character set it has.
pub fn text<'a>(body: &'a [u8], content_type: &str, kind: Kind) -> Cow<'a, str> {
    let encoding = match Encoding::for_bom(body) {
        Some((encoding, _)) => encoding,
        None => label(content_type)
            .or_else(|| (kind == Kind::Html).then(|| meta(body)).flatten())
            .unwrap_or_else(|| {
                // What the oldest pages leave out.
                if std::str::from_utf8(body).is_ok() { UTF_8 } else { WINDOWS_1252 }
            }),
    };
    encoding.decode_with_bom_removal(body).0
}

/// The character set that a page of HTML names itself.
fn meta(body: &[u8]) -> Option<&'static Encoding> {
    let begin = String::from_utf8_lossy(&body[..body.len().min(META_BYTES)]);
    let begin = begin.to_ascii_lowercase();
    let found = begin
        .split("<meta")
        .skip(1)
        .find_map(|tag| label(tag.split('>').next().unwrap_or_default()))?;
    // A page in which this can be read is not in UTF-16.
    Some(if found.is_ascii_compatible() { found } else { UTF_8 })
}

/// The character set that follows `charset=`.
fn label(text: &str) -> Option<&'static Encoding> {
    let text = text.to_ascii_lowercase();
    let (_, rest) = text.split_once("charset")?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let rest = rest.trim_start_matches(['"', '\'']);
    let label = rest.split(|letter: char| letter.is_whitespace() || "\"';,/>".contains(letter));
    Encoding::for_label(label.into_iter().next()?.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_holds_something_is_the_url() {
        assert_eq!(address("\u{feff}\n \r\n  http://a.b/ \r\nmore").unwrap(), "http://a.b/");
        assert_eq!(address(" \n").unwrap_err().message(), "the file is empty: it must hold a URL");
    }

    #[test]
    fn kinds() {
        assert_eq!(kind("Text/HTML; charset=utf-8"), Kind::Html);
        assert_eq!(kind("application/xhtml+xml"), Kind::Html);
        assert_eq!(kind("text/csv"), Kind::Text);
        assert_eq!(kind("application/pdf"), Kind::Other);
        assert_eq!(kind(""), Kind::Other);
    }

    #[test]
    fn charsets() {
        let decode = |body: &[u8], header: &str| text(body, header, Kind::Html).into_owned();
        assert_eq!(decode(b"\xe9", "text/html; charset=ISO-8859-1"), "é");
        assert_eq!(decode(b"\xe9", "text/html; Charset = \"latin1\""), "é");
        assert_eq!(decode("é".as_bytes(), ""), "é");
        assert_eq!(decode(b"\xe9 \x80", ""), "é €");
        assert_eq!(decode(b"\xff\xfea\0", "text/html; charset=utf-8"), "a");
        assert_eq!(decode("\u{feff}a".as_bytes(), ""), "a");
        let meta = b"<html><meta name=x content=charset><META charset='shift_jis'>\x83\x65";
        assert!(decode(meta, "").ends_with('テ'));
        let meta = b"<meta http-equiv=content-type content=\"text/html; charset=koi8-r\">\xc1";
        assert!(decode(meta, "").ends_with('а'));
        assert!(decode("<meta charset=utf-16>é".as_bytes(), "").ends_with('é'));
        // Only a page of HTML can say it of itself.
        assert!(text(b"<meta charset=koi8-r>\xc1", "", Kind::Text).ends_with('Á'));
        assert_eq!(decode(b"\xe9", "text/html; charset=none-such"), "é");
    }
}
