//! Answers that say no.

use std::time::{Duration, SystemTime};

use super::exchange::{Exchange, Head};
use super::fault::Fault;
use crate::Error;

/// How much of a body an error shows, in characters: a message of an API, and
/// not a whole page.
const EXCERPT_CHARACTERS: usize = 500;

/// How much of a body is read for that.
pub const EXCERPT_BYTES: usize = 4 << 10;

/// How long reading it may take: the error itself is known already.
pub const EXCERPT_TIME: Duration = Duration::from_secs(5);

impl Exchange {
    /// What an answer of this status and with this begin of a body means.
    pub fn status_error(&self, head: &Head, body: &[u8]) -> Error {
        let status = head.status;
        let mut what = format!("the server answered {status}");
        if let Some(reason) = reason(status) {
            what.push(' ');
            what.push_str(reason);
        }
        let excerpt = excerpt(body);
        if !excerpt.is_empty() {
            what.push_str(": ");
            what.push_str(&excerpt);
        }
        if !is_transient(status) {
            return self.error(Fault::lasting("HttpStatus", what));
        }
        let error = self.error(Fault::passing("HttpStatus", what));
        let delay = head.headers.get("retry-after");
        match delay.and_then(|value| retry_after(value, SystemTime::now())) {
            Some(delay) => error.retry_after(delay),
            None => error,
        }
    }
}

/// Whether another try may have another answer.
fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// How long a `Retry-After` says to wait: seconds, or until a date.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// A body's begin on one line.
pub fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(EXCERPT_BYTES)]);
    let mut excerpt = String::new();
    let mut left = EXCERPT_CHARACTERS;
    for word in text.split(|letter: char| letter.is_whitespace() || letter.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !excerpt.is_empty() {
            excerpt.push(' ');
            left = left.saturating_sub(1);
        }
        let mut letters = word.chars();
        excerpt.extend(letters.by_ref().take(left));
        if letters.next().is_some() {
            excerpt.push('…');
            break;
        }
        left -= word.chars().count();
    }
    excerpt
}

/// What the status is called, for those that people meet.
fn reason(status: u16) -> Option<&'static str> {
    Some(match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        425 => "Too Early",
        429 => "Too Many Requests",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        let date = |text| retry_after(text, now);
        assert_eq!(date("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(date("Sun, 06 Nov 1994 08:49:07 GMT"), Some(Duration::ZERO));
        assert_eq!(date("soon"), None);
        assert_eq!(date("-1"), None);
        assert_eq!(date("99999999999999999999999"), None);
    }

    #[test]
    fn excerpts_are_short_and_on_one_line() {
        assert_eq!(excerpt(b" {\n  \"a\":\t1\r\n}\n"), "{ \"a\": 1 }");
        assert_eq!(excerpt(b"a\x1b[31mb\xff"), "a [31mb\u{fffd}");
        assert_eq!(excerpt(b" \n"), "");
        let long = excerpt("é".repeat(4000).as_bytes());
        assert_eq!(long.chars().count(), EXCERPT_CHARACTERS + 1);
        assert!(long.ends_with('…'));
        let words = excerpt("word ".repeat(1000).as_bytes());
        assert!(words.chars().count() <= EXCERPT_CHARACTERS + 2, "{words}");
        assert!(words.ends_with('…'));
    }
}
