//! URLs: parsed, joined, and shown without what may be secret.

use std::borrow::Cow;
use std::fmt;

use fluent_uri::{Uri, UriRef};

/// An absolute `http` or `https` URL without a fragment.
#[derive(Debug, Clone)]
pub struct Url(Uri<String>);

impl Url {
    /// Parses a URL as people write it: letters that a URL has to encode, it
    /// encodes.
    ///
    /// # Errors
    /// What is wrong with it, without the text of it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let uri = Uri::parse(encoded(text).into_owned()).map_err(|_| "it is no absolute URL")?;
        Self::check(uri)
    }

    /// Where a `Location` header leads from here.
    ///
    /// # Errors
    /// What is wrong with it, without the text of it.
    pub fn join(&self, location: &str) -> Result<Self, &'static str> {
        let location = encoded(location);
        let uri = UriRef::parse(&*location)
            .ok()
            .and_then(|location| location.resolve_against(&self.0).ok())
            .ok_or("it is no URL")?;
        Self::check(uri)
    }

    fn check(uri: Uri<String>) -> Result<Self, &'static str> {
        let scheme = uri.scheme().as_str();
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err("only `http` and `https` URLs can be asked");
        }
        let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty())
        else {
            return Err("it names no host");
        };
        if authority.userinfo().is_some() {
            return Err("it holds a user name or a password; put them into a header");
        }
        if authority.host().contains('%') {
            return Err("its host is not ASCII; write it in Punycode (`xn--…`)");
        }
        if authority.port_to_u16().is_err() {
            return Err("its port is no number up to 65535");
        }
        Ok(Self(uri))
    }

    /// Appends a query parameter.
    pub fn add_query(&mut self, name: &str, value: &str) {
        let mut text = self.0.as_str().to_owned();
        text.push(if self.0.query().is_some() { '&' } else { '?' });
        push_component(&mut text, name);
        text.push('=');
        push_component(&mut text, value);
        // What was a URL before still is one, since all that was added is plain.
        if let Ok(uri) = Uri::parse(text) {
            self.0 = uri;
        }
    }

    /// The whole URL, which may hold secrets.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether the scheme is `https`.
    pub fn is_https(&self) -> bool {
        self.0.scheme().as_str().eq_ignore_ascii_case("https")
    }

    /// The host's name, with the port where the URL names one.
    pub fn authority(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }

    /// The host's name, the port where it is not the scheme's: what
    /// `--allow-host` takes.
    pub fn grant(&self) -> String {
        let host = self.0.authority().map_or("", |authority| authority.host());
        if self.port() == self.default_port() {
            host.to_owned()
        } else {
            format!("{host}:{}", self.port())
        }
    }

    fn port(&self) -> u16 {
        let port = self.0.authority().and_then(|authority| authority.port_to_u16().ok().flatten());
        port.unwrap_or(self.default_port())
    }

    fn default_port(&self) -> u16 {
        if self.is_https() { 443 } else { 80 }
    }

    /// Path and query, as a request names them.
    #[cfg(any(target_family = "wasm", test))]
    pub fn target(&self) -> String {
        let path = match self.0.path().as_str() {
            "" => "/",
            path => path,
        };
        match self.0.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }

    /// Whether both are of one scheme, host and port.
    pub fn same_origin(&self, other: &Self) -> bool {
        self.is_https() == other.is_https()
            && self.port() == other.port()
            && self.host().eq_ignore_ascii_case(other.host())
    }

    fn host(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.host())
    }
}

/// Host and path, which is all that may stand in an error: a query is as likely
/// as not to hold a key.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.authority(), self.0.path())
    }
}

/// Host and path of what is no URL, as far as one can tell.
pub fn shown(text: &str) -> &str {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let text = &text[..text.find(['?', '#']).unwrap_or(text.len())];
    let authority = &text[..text.find('/').unwrap_or(text.len())];
    match authority.rfind('@') {
        Some(at) => &text[at + 1..],
        None => text,
    }
}

/// A URL as people write it, in the letters that it may consist of, and without
/// its fragment.
fn encoded(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    let text = &text[..text.find('#').unwrap_or(text.len())];
    let bytes = text.as_bytes();
    // Brackets stand around an IPv6 address, and nowhere else.
    let path = text.find("://").map_or(0, |colon| {
        let authority = colon + 3;
        text[authority..].find(['/', '?']).map_or(text.len(), |end| authority + end)
    });
    let wrong = |(index, byte): (usize, &u8)| match byte {
        b'%' => !matches!(bytes.get(index + 1..index + 3),
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit)),
        b'[' | b']' => index >= path,
        b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => true,
        byte => !byte.is_ascii_graphic(),
    };
    if !bytes.iter().enumerate().any(wrong) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for (index, byte) in bytes.iter().enumerate() {
        if wrong((index, byte)) {
            push_percent(&mut encoded, *byte);
        } else {
            encoded.push(char::from(*byte));
        }
    }
    Cow::Owned(encoded)
}

/// Encodes all but the letters that mean nothing else anywhere in a URL.
fn push_component(text: &mut String, component: &str) {
    for byte in component.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            byte => push_percent(text, byte),
        }
    }
}

fn push_percent(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn parts_of_a_url() {
        let all = url("https://Example.org:8443/a/b?c=d#e");
        assert_eq!(all.authority(), "Example.org:8443");
        assert_eq!(all.target(), "/a/b?c=d");
        assert_eq!(all.grant(), "Example.org:8443");
        assert!(all.is_https());
        assert_eq!(url("http://example.org").target(), "/");
        assert_eq!(url("http://example.org?q").target(), "/?q");
        assert_eq!(url("http://example.org:80/").grant(), "example.org");
        assert_eq!(url("http://[::1]:8080/").authority(), "[::1]:8080");
    }

    #[test]
    fn what_people_write_is_encoded() {
        assert_eq!(url(" http://a.b/x y/ü?q=[1]|2% \n").target(), "/x%20y/%C3%BC?q=%5B1%5D%7C2%25");
        assert_eq!(url("http://a.b/%20?%C3%BC").target(), "/%20?%C3%BC");
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let problem = |text: &str| Url::parse(text).unwrap_err();
        assert_eq!(problem("example.org"), "it is no absolute URL");
        assert_eq!(problem(""), "it is no absolute URL");
        assert_eq!(problem("file:///etc/passwd"), "only `http` and `https` URLs can be asked");
        assert_eq!(problem("http:///x"), "it names no host");
        assert!(problem("http://u:p@example.org/").starts_with("it holds a user name"));
        assert!(problem("http://müller.de/").contains("Punycode"));
        assert!(problem("http://example.org:99999/").contains("65535"));
    }

    #[test]
    fn queries_are_appended_and_encoded() {
        let mut asked = url("http://a.b/x");
        asked.add_query("q", "one & two");
        asked.add_query("ü", "a=b");
        assert_eq!(asked.target(), "/x?q=one%20%26%20two&%C3%BC=a%3Db");
    }

    #[test]
    fn locations_lead_on() {
        let from = url("https://a.b/x/y?z");
        assert_eq!(from.join("../w").unwrap().as_str(), "https://a.b/w");
        assert_eq!(from.join("?q").unwrap().as_str(), "https://a.b/x/y?q");
        assert_eq!(from.join("//c.d/e f#g").unwrap().as_str(), "https://c.d/e%20f");
        assert_eq!(from.join("http://c.d/").unwrap().as_str(), "http://c.d/");
        assert!(from.join("mailto:a@b.c").is_err());
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let from = url("https://a.b/x");
        assert!(from.same_origin(&url("https://A.b:443/y")));
        assert!(!from.same_origin(&url("http://a.b/x")));
        assert!(!from.same_origin(&url("https://a.b:444/x")));
        assert!(!from.same_origin(&url("https://c.a.b/x")));
    }

    #[test]
    fn no_secret_is_shown() {
        assert_eq!(url("https://a.b/x?key=secret").to_string(), "a.b/x");
        assert_eq!(shown("https://user:secret@a.b/x?key=secret"), "a.b/x");
        assert_eq!(shown("a.b?key=secret"), "a.b");
        assert_eq!(shown("ftp://secret@a.b/@x#secret"), "a.b/@x");
    }
}
