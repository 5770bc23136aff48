//! Programs that do the same work, measured in turn.

use std::process::Command;

use super::{
    chart::{Bar, Who},
    stats::Sample,
};

/// One of them, with its files a second in each repetition so far.
pub struct Way<'a> {
    pub name: String,
    pub who: Who,
    pub command: Box<dyn Fn() -> Command + 'a>,
    pub rates: Vec<f64>,
}

impl<'a> Way<'a> {
    pub fn new(name: impl Into<String>, who: Who, command: impl Fn() -> Command + 'a) -> Self {
        Self { name: name.into(), who, command: Box::new(command), rates: vec![] }
    }

    /// What was measured, as a bar.
    pub fn bar(self) -> Bar {
        Bar { label: self.name, who: self.who, value: Sample::new(self.rates) }
    }
}

/// A table's rows: each way's rate, and how often that of `base` it is.
pub fn rows(bars: &[Bar], base: &Bar) -> Vec<Vec<String>> {
    let row = |bar: &Bar| {
        let times = bar.value.median() / base.value.median();
        let ratio =
            if std::ptr::eq(bar, base) { String::new() } else { format!("**{times:.1} ×**") };
        vec![bar.label.clone(), bar.value.shown(0), ratio]
    };
    bars.iter().map(row).collect()
}
