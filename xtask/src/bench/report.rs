//! The report: Markdown, shown while it grows and kept in target/bench/report.md.

use std::fs;

use anyhow::{Context, Result};

use super::{chart::Chart, machine};
use crate::{process, repo};

pub struct Report {
    text: String,
    charts: Vec<(String, String)>,
    goals: Vec<Goal>,
}

/// What is wanted of a figure.
#[derive(Clone, Copy, PartialEq)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// A goal, and what was measured in this run.
pub struct Goal {
    /// `Rust component, 1 thread`
    pub what: String,
    pub target: Target,
    pub value: f64,
    /// Behind both numbers: `% of native`.
    pub unit: &'static str,
    /// Shown where the goal is missed: what stands in the way.
    pub why: &'static str,
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
        Self { text, charts: vec![], goals: vec![] }
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

    /// Adds a chart: an SVG beside the report, and a picture in it.
    pub fn chart(&mut self, chart: &Chart) {
        self.charts.push((format!("{}.svg", chart.name), chart.svg()));
        self.push(&format!("\n![{}]({}.svg)\n", chart.title, chart.name));
    }

    /// Notes a goal and what was measured; all of them stand in a table at the beginning.
    pub fn goal(&mut self, goal: Goal) {
        self.goals.push(goal);
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
