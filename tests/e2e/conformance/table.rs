//! The README's table of behaviours by language. What it says is what the
//! suite asserts: a line of [`BEHAVIOURS`] is a test of each language but
//! those that say why not.

use std::fmt::Write;
use std::path::Path;

use super::{BEHAVIOURS, LANGUAGES, text};

const BEGIN: &str =
    "<!-- conformance: made by `TIGERFLOW_UPDATE=1 cargo test -p tigerflow-tests table` -->\n";
const END: &str = "<!-- conformance ends -->";

fn table() -> String {
    let mut notes: Vec<&str> = Vec::new();
    let mut note = |why: &'static str| {
        let at = notes.iter().position(|note| *note == why).unwrap_or_else(|| {
            notes.push(why);
            notes.len() - 1
        });
        format!("no ({})", at + 1)
    };
    let mut out = String::from("| |");
    for language in &LANGUAGES {
        write!(out, " {} |", language.title).expect("text");
    }
    writeln!(out, "\n|---|{}", "---|".repeat(LANGUAGES.len())).expect("text");
    for behaviour in BEHAVIOURS {
        write!(out, "| {} |", behaviour.title).expect("text");
        for language in &LANGUAGES {
            let without = language.without.iter().find(|(name, _)| *name == behaviour.name);
            let cell = without.map_or("yes".into(), |(_, why)| note(why));
            write!(out, " {cell} |").expect("text");
        }
        out.push('\n');
    }
    out.push_str("| asynchronous tasks: many files in flight in one instance |");
    for language in &LANGUAGES {
        let cell = language.asynchronous.map_or_else(&mut note, |()| "yes".into());
        write!(out, " {cell} |").expect("text");
    }
    out.push('\n');
    for (number, why) in notes.iter().enumerate() {
        write!(out, "\n{}. {why}", number + 1).expect("text");
    }
    out.push('\n');
    out
}

#[test]
fn the_readme_shows_the_table() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let whole = text(&readme);
    let (before, rest) = whole.split_once(BEGIN).expect("the README has a place for the table");
    let (shown, after) = rest.split_once(END).expect("the table ends");
    let table = format!("\n{}\n", table());
    if shown == table {
        return;
    }
    if std::env::var_os("TIGERFLOW_UPDATE").is_some() {
        std::fs::write(&readme, format!("{before}{BEGIN}{table}{END}{after}")).expect("written");
        return;
    }
    panic!("the README's table is another one; TIGERFLOW_UPDATE=1 writes it:\n{table}");
}

#[test]
fn reasons_are_for_behaviours_of_the_list() {
    for language in &LANGUAGES {
        for (name, _) in language.without {
            assert!(BEHAVIOURS.iter().any(|behaviour| behaviour.name == *name), "{name}");
        }
    }
}
