//! `cargo xtask demo`: from a fresh checkout to real results, in one command.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    build,
    process::{self, heading, note},
    repo, setup,
};

const TEXTS: &str = "plugins/count-words/samples";
const OUTPUT: &str = "target/demo";
const COMPONENT: &str = "target/components/count-words.wasm";

/// `cargo xtask demo`
pub fn command(arguments: &[String]) -> Result<()> {
    if let Some(word) = arguments.first() {
        bail!("`cargo xtask demo` takes no arguments, and was given `{word}`");
    }
    heading("Set up and build");
    let toolchain = setup::rust()?;
    build::host()?;
    build::plugin(&toolchain, "count-words")?;

    let texts = repo::files_with_extension(&repo::path(TEXTS), "txt")?;
    heading(&format!(
        "Count the words of {} public-domain texts ({TEXTS}/ORIGIN.md says where they come from)",
        texts.len()
    ));
    // From nothing each time: a run that finds its results done would show nothing.
    repo::remove_dir(&repo::path(OUTPUT))?;
    fs::create_dir_all(repo::path(OUTPUT)).with_context(|| format!("could not create {OUTPUT}"))?;
    let run = [
        "run",
        COMPONENT,
        "--input-dir",
        TEXTS,
        "--input-ext",
        ".txt",
        "--output-dir",
        OUTPUT,
        "--output-ext",
        ".json",
        "--once",
        // Parameters of this task: without a least length, every text's list is `the`, `and`, `of`.
        "--top",
        "5",
        "--min-length",
        "5",
    ];
    let program = repo::shown(&repo::host_binary());
    note(&format!("$ {program} {}\n", run.join(" ")));
    process::visibly(process::command(repo::host_binary()).args(run))?;

    heading(&format!("Results, one file a text, in {OUTPUT}"));
    print_table()?;
    print_next(&program, &run.join(" "));
    Ok(())
}

/// The numbers shown of each result, with their headings.
const COLUMNS: [(&str, &str); 4] = [
    ("lines", "lines"),
    ("words", "words"),
    ("unique_words", "different"),
    ("average_word_length", "length"),
];
/// How many of a text's most frequent words are shown.
const TOP_WORDS: usize = 4;

/// One line a text.
fn print_table() -> Result<()> {
    let mut rows: Vec<(String, Value)> = vec![];
    for file in repo::files_with_extension(&repo::path(OUTPUT), "json")? {
        let text = fs::read_to_string(&file)
            .with_context(|| format!("could not read {}", repo::shown(&file)))?;
        let result = serde_json::from_str(&text).with_context(|| {
            format!("{} is not JSON: the task wrote something else", repo::shown(&file))
        })?;
        rows.push((file.file_stem().unwrap_or_default().to_string_lossy().into_owned(), result));
    }
    if rows.is_empty() {
        bail!("no result was written to {OUTPUT}");
    }
    let name_width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    print!("\n   {:name_width$}", "text");
    for (_, title) in COLUMNS {
        print!("  {title:>9}");
    }
    println!("  most frequent words of 5 letters or more");
    for (name, result) in &rows {
        print!("   {name:name_width$}");
        for (key, _) in COLUMNS {
            print!("  {:>9}", number(&result[key]));
        }
        println!("  {}", top_words(&result["top_words"]));
    }
    Ok(())
}

/// `love 192, beauty 77`
fn top_words(list: &Value) -> String {
    let words = list.as_array().into_iter().flatten().take(TOP_WORDS);
    let shown: Vec<String> = words
        .map(|entry| {
            format!("{} {}", entry["word"].as_str().unwrap_or("-"), number(&entry["count"]))
        })
        .collect();
    shown.join(", ")
}

/// A number as short as it can be read.
fn number(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if number.fract() != 0.0 => format!("{number:.2}"),
        Some(number) => format!("{number}"),
        None => "-".to_owned(),
    }
}

fn print_next(program: &str, run: &str) {
    println!(
        "
== What to look at next

   One result in full:
     cat {OUTPUT}/lincoln-gettysburg-address.json
   The same command again: everything is done, nothing is repeated:
     {program} {run}
   What the run has done, from its journal:
     {program} status {OUTPUT}
   What the component says of itself, and its parameters as options:
     {program} inspect {COMPONENT}
     {program} run {COMPONENT} --help
   Without `--once` it serves: start it, copy a text into the input directory, see the result appear.
   Its source, and how to write one: plugins/count-words, guest-sdk/rust
   All tests: cargo xtask test"
    );
}
