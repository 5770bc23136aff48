//! What the inputs of the guests `http` and `async-http` say: a first line
//! `METHOD URL`, headers a line each, an empty line, and the body.

use std::time::Duration;

use tigerflow_task::prelude::*;

#[derive(Params)]
pub struct Options {
    /// Milliseconds that the server may send nothing; 0 for no limit
    #[param(default = 0)]
    read_timeout: u32,
    /// Milliseconds that all of it may take; 0 for no limit
    #[param(default = 0)]
    total_timeout: u32,
    /// How many redirects to follow
    #[param(default = 10)]
    redirects: u32,
    /// Make an error of a status of 400 or more
    strict: bool,
}

/// The limits that the parameters set.
pub struct Limits {
    pub read_timeout: Option<Duration>,
    pub total_timeout: Option<Duration>,
    pub redirects: u32,
    pub strict: bool,
}

impl From<Options> for Limits {
    fn from(options: Options) -> Self {
        let limit = |ms: u32| (ms > 0).then(|| Duration::from_millis(ms.into()));
        Limits {
            read_timeout: limit(options.read_timeout),
            total_timeout: limit(options.total_timeout),
            redirects: options.redirects,
            strict: options.strict,
        }
    }
}

/// One request.
pub struct Script<'a> {
    pub method: &'a str,
    pub url: &'a str,
    pub headers: Vec<(&'a str, &'a str)>,
    pub body: &'a str,
}

impl<'a> Script<'a> {
    pub fn parse(text: &'a str) -> Result<Self> {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let first = lines.next().context("the file is empty")?;
        let (method, url) = first.split_once(' ').context("no `METHOD URL`")?;
        let headers = lines.map(|line| line.split_once(": ").context("no `NAME: VALUE`"));
        Ok(Script { method, url, headers: headers.collect::<Result<_>>()?, body })
    }
}

/// What the output begins with: the status, and headers that the tests look at.
pub fn head<'a>(status: u16, header: impl Fn(&'static str) -> Option<&'a str>) -> String {
    let mut head = format!("{status}\n");
    for name in ["content-type", "location", "x-test"] {
        if let Some(value) = header(name) {
            head.push_str(&format!("{name}: {value}\n"));
        }
    }
    head.push('\n');
    head
}
