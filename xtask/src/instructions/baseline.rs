//! The counts that are checked in, and how others stand to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
};

use anyhow::{Context, Result};
use serde_json::{Map, Number, Value, json};

use super::file;

/// Where the counts are.
pub const FILE: &str = "xtask/bench/instructions.json";

/// A count may be so much larger.
const TOLERANCE: f64 = 0.03;
/// Nor is this much a change: what wakes the event loop varies, and 3 % of one call is nothing.
const SLACK: f64 = 0.1;

/// Counts by their names.
pub type Counts = BTreeMap<String, f64>;
/// What changes counts without a change in the project: names and versions.
pub type MadeWith = BTreeMap<String, String>;

pub struct Baseline {
    pub made_with: MadeWith,
    pub counts: Counts,
}

impl Baseline {
    pub fn read() -> Result<Self> {
        let file = file();
        let how = "`cargo xtask instructions --update` writes it anew";
        let text =
            fs::read_to_string(&file).with_context(|| format!("could not read {FILE}; {how}"))?;
        Self::parse(&text).with_context(|| format!("{FILE} is not what it should be; {how}"))
    }

    pub fn write(&self) -> Result<()> {
        fs::write(file(), self.text()).with_context(|| format!("could not write {FILE}"))
    }

    fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let entries = |name: &str| {
            value[name].as_object().with_context(|| format!("it has no object `{name}`"))
        };
        let mut counts = Counts::new();
        for (name, count) in entries("counts")? {
            let count = count.as_f64().with_context(|| format!("`{name}` is not a number"))?;
            counts.insert(name.clone(), count);
        }
        let mut made_with = MadeWith::new();
        for (name, version) in entries("made with")? {
            let version = version.as_str().with_context(|| format!("`{name}` is not text"))?;
            made_with.insert(name.clone(), version.to_owned());
        }
        Ok(Self { made_with, counts })
    }

    /// In a stable order, one count a line.
    fn text(&self) -> String {
        let counts: Map<String, Value> =
            self.counts.iter().map(|(name, count)| (name.clone(), number(*count))).collect();
        let value = json!({ "counts": counts, "made with": self.made_with });
        format!("{value:#}\n")
    }
}

/// A whole number without `.0`.
fn number(count: f64) -> Value {
    let whole = (count.fract() == 0.0 && count >= 0.0).then_some(count as u64);
    whole.map_or_else(|| Number::from_f64(count).map_or(Value::Null, Value::from), Value::from)
}

/// A count then and now.
pub struct Change {
    name: String,
    was: Option<f64>,
    is: Option<f64>,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Same,
    Grew,
    Shrank,
    New,
    Gone,
}

impl Change {
    fn kind(&self) -> Kind {
        match (self.was, self.is) {
            (None, _) => Kind::New,
            (_, None) => Kind::Gone,
            (Some(was), Some(is)) => {
                let tolerated = (was * TOLERANCE).max(SLACK);
                if is > was + tolerated {
                    Kind::Grew
                } else if is < was - tolerated {
                    Kind::Shrank
                } else {
                    Kind::Same
                }
            }
        }
    }

    /// It fails the check.
    pub fn is_fault(&self) -> bool {
        matches!(self.kind(), Kind::Grew | Kind::New)
    }

    /// It is worth a new baseline.
    pub fn is_news(&self) -> bool {
        matches!(self.kind(), Kind::Shrank | Kind::Gone)
    }
}

/// All counts of either side, in the order of their names.
pub fn changes(was: &Counts, is: &Counts) -> Vec<Change> {
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let change = |name: &String| Change {
        name: name.clone(),
        was: was.get(name).copied(),
        is: is.get(name).copied(),
    };
    names.into_iter().map(change).collect()
}

/// The changes for people.
pub fn table(changes: &[Change]) -> String {
    let shown = |count: Option<f64>| count.map_or("-".to_owned(), |count| count.to_string());
    let mut text = format!("   {:<40} {:>12} {:>12} {:>9}\n", "Count", "was", "is", "change");
    for change in changes {
        let percent = match (change.was, change.is) {
            (Some(was), Some(is)) if was > 0.0 => format!("{:+.2} %", 100.0 * (is / was - 1.0)),
            _ => "-".to_owned(),
        };
        let word = match change.kind() {
            Kind::Same => "",
            Kind::Grew => "  GREW",
            Kind::Shrank => "  shrank",
            Kind::New => "  NEW",
            Kind::Gone => "  gone",
        };
        let (was, is) = (shown(change.was), shown(change.is));
        let _ = writeln!(text, "   {:<40} {was:>12} {is:>12} {percent:>9}{word}", change.name);
    }
    text
}

/// In what the two differ, for people.
pub fn differences(was: &MadeWith, is: &MadeWith) -> Vec<String> {
    let line = |name: &String| {
        let of = |side: &MadeWith| side.get(name).map_or("unknown".to_owned(), Clone::clone);
        (of(was) != of(is)).then(|| format!("{name}: {}, and here {}", of(was), of(is)))
    };
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    names.into_iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{Baseline, Change, Counts, Kind, MadeWith, changes, differences, table};

    fn kind(was: Option<f64>, is: Option<f64>) -> Kind {
        Change { name: String::new(), was, is }.kind()
    }

    fn made_with(version: &str) -> MadeWith {
        MadeWith::from([("rustc".to_owned(), version.to_owned())])
    }

    #[test]
    fn three_percent_more_are_told_from_more_than_that() {
        assert_eq!(kind(Some(50_000.0), Some(51_500.0)), Kind::Same);
        assert_eq!(kind(Some(50_000.0), Some(51_501.0)), Kind::Grew);
        assert_eq!(kind(Some(50_000.0), Some(48_500.0)), Kind::Same);
        assert_eq!(kind(Some(50_000.0), Some(48_499.0)), Kind::Shrank);
        assert_eq!(kind(Some(10.0), Some(10.2)), Kind::Same);
        assert_eq!(kind(Some(10.0), Some(11.0)), Kind::Grew);
    }

    #[test]
    fn a_hundredth_of_a_call_is_no_change() {
        assert_eq!(kind(Some(0.01), Some(0.03)), Kind::Same);
        assert_eq!(kind(Some(0.0), Some(1.0)), Kind::Grew);
    }

    #[test]
    fn counts_of_one_side_alone_are_told() {
        let counts = |name: &str| Counts::from([(name.to_owned(), 7.0)]);
        let changes = changes(&counts("old"), &counts("new"));
        assert_eq!(changes.iter().map(Change::kind).collect::<Vec<_>>(), [Kind::New, Kind::Gone]);
        assert!(changes[0].is_fault() && changes[1].is_news());
        assert!(table(&changes).contains("NEW"));
    }

    #[test]
    fn the_file_is_read_as_it_was_written() {
        let counts = Counts::from([("b".to_owned(), 51_923.0), ("a".to_owned(), 10.01)]);
        let text = Baseline { made_with: made_with("1.95"), counts: counts.clone() }.text();
        assert!(text.contains("\"a\": 10.01,\n    \"b\": 51923\n"), "{text}");
        let read = Baseline::parse(&text).unwrap();
        assert_eq!((read.counts, read.made_with), (counts, made_with("1.95")));
        assert!(Baseline::parse("{}").is_err());
    }

    #[test]
    fn another_compiler_is_named() {
        assert!(differences(&made_with("1.95"), &made_with("1.95")).is_empty());
        assert_eq!(
            differences(&made_with("1.95"), &made_with("1.96")),
            ["rustc: 1.95, and here 1.96"]
        );
    }
}
