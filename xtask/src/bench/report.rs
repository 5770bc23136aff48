//! The report: Markdown, shown while it grows and kept in target/bench/report.md.

use std::fs;

use anyhow::{Context, Result};

use super::machine;
use crate::{process, repo};

pub struct Report {
    text: String,
}

impl Report {
    pub fn new(machine: String, quick: bool) -> Self {
        let mode =
            if quick { " (quick: fewer repetitions, no run of 1,000,000 files)" } else { "" };
        let load = machine::load();
        let revision =
            process::output(process::command("git").args(["describe", "--always", "--dirty"]))
                .map_or_else(|_| "unknown revision".to_owned(), |text| text.trim().to_owned());
        let text = format!(
            "# Benchmark of tigerflow-host{mode}\n\nRevision {revision}. Machine: {machine}; load at the start {load}.\n\
             Figures are medians, with the smallest and the largest value in brackets.\n"
        );
        Self { text }
    }

    /// Adds a section.
    pub fn section(&mut self, title: &str, explanation: &str) {
        self.push(&format!("\n## {title}\n\n{}\n", explanation.trim()));
    }

    /// Adds a table; the first row is its head.
    pub fn table(&mut self, rows: &[Vec<String>]) {
        let mut text = String::from("\n");
        for (index, row) in rows.iter().enumerate() {
            text.push_str(&format!("| {} |\n", row.join(" | ")));
            if index == 0 {
                text.push_str(&format!("|{}\n", "---|".repeat(row.len())));
            }
        }
        self.push(&text);
    }

    /// Adds a paragraph.
    pub fn paragraph(&mut self, text: &str) {
        self.push(&format!("\n{text}\n"));
    }

    fn push(&mut self, text: &str) {
        process::end_line();
        print!("{text}");
        self.text.push_str(text);
    }

    /// Writes the file.
    pub fn finish(self) -> Result<()> {
        let folder = repo::target().join("bench");
        fs::create_dir_all(&folder)
            .with_context(|| format!("could not create {}", folder.display()))?;
        let file = folder.join("report.md");
        fs::write(&file, &self.text)
            .with_context(|| format!("could not write {}", file.display()))?;
        println!("\nThe report is in {}", repo::shown(&file));
        Ok(())
    }
}
