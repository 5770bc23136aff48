//! Charts of the report: horizontal bars as SVG.

use super::stats::Sample;

/// Whose a bar is; it decides the colour.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Host,
    Native,
    Peer,
}

/// One bar: the median, with the spread as a whisker.
pub struct Bar {
    pub label: String,
    pub who: Who,
    pub value: Sample,
}

impl Bar {
    pub fn host(label: impl Into<String>, value: &Sample) -> Self {
        Self { label: label.into(), who: Who::Host, value: value.clone() }
    }

    pub fn native(label: impl Into<String>, value: &Sample) -> Self {
        Self { label: label.into(), who: Who::Native, value: value.clone() }
    }

    pub fn peer(label: impl Into<String>, value: &Sample) -> Self {
        Self { label: label.into(), who: Who::Peer, value: value.clone() }
    }
}

/// How lengths follow from values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    Linear,
    /// For values that differ by orders of magnitude.
    Log,
}

/// A chart of bars, one below the other.
pub struct Chart<'a> {
    /// The file's name without `.svg`.
    pub name: &'a str,
    pub title: &'a str,
    /// What the numbers are, as `files/s`.
    pub unit: &'a str,
    pub scale: Scale,
    pub bars: Vec<Bar>,
}

impl Chart<'_> {
    pub fn svg(&self) -> String {
        todo!("drawn by the next commit")
    }
}
