//! The report: Markdown with charts, shown while it grows, with the goals at its beginning.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result};

use super::{
    chart::{Chart, figure},
    machine,
};
use crate::{process, repo};

/// Where that of a full run is kept, in git.
const KEPT: &str = "xtask/bench/report";

pub struct Report {
    head: String,
    text: String,
    charts: Vec<(String, String)>,
    goals: Vec<Goal>,
    folder: PathBuf,
    begun: Instant,
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
    pub why: String,
}

impl Goal {
    fn is_met(&self) -> bool {
        match self.target {
            Target::AtLeast(wanted) => self.value >= wanted,
            Target::AtMost(wanted) => self.value <= wanted,
        }
    }

    fn wanted(&self) -> String {
        let (sign, value) = match self.target {
            Target::AtLeast(value) => ("≥", value),
            Target::AtMost(value) => ("≤", value),
        };
        format!("{sign} {} {}", figure(value), self.unit)
    }
}

impl Report {
    /// `limits` says what of the whole benchmark this run leaves out, if anything; its report is not kept then.
    pub fn new(machine: &str, limits: Option<&str>) -> Self {
        let revision =
            process::output(process::command("git").args(["describe", "--always", "--dirty"]))
                .map_or_else(|_| "unknown revision".to_owned(), |text| text.trim().to_owned());
        let mut head = format!(
            "# Benchmark of tigerflow-host\n\n\
             Machine: {machine}; load at the start {}. Revision {revision}. Figures are medians, with the smallest and \
             the largest value in brackets, or as whiskers in the charts. What is compared was measured in turn, in \
             this one run of `cargo xtask bench`.\n",
            machine::load()
        );
        if let Some(limits) = limits {
            head.push_str(&format!("\n**Not the whole benchmark**: {limits}.\n"));
        }
        let folder = match limits {
            None => repo::path(KEPT),
            Some(_) => repo::target().join("bench/report"),
        };
        Self {
            head,
            text: String::new(),
            charts: vec![],
            goals: vec![],
            folder,
            begun: Instant::now(),
        }
    }

    /// Adds a section.
    pub fn section(&mut self, title: &str, explanation: &str) {
        self.push(&format!("\n## {title}\n\n{}\n", explanation.trim()));
    }

    /// Adds a table; the first row is its head.
    pub fn table(&mut self, rows: &[Vec<String>]) {
        let text = table(rows);
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

    /// Writes the files.
    pub fn finish(self) -> Result<()> {
        let goals = goals(&self.goals);
        println!("{goals}");
        let minutes = self.begun.elapsed().as_secs_f64() / 60.0;
        let report = format!(
            "{}{goals}{}\nThe whole run took {minutes:.1} minutes.\n",
            self.head, self.text
        );
        write(&self.folder, &report, &self.charts)?;
        println!("The report is in {}", repo::shown(&self.folder.join("README.md")));
        Ok(())
    }
}

/// Writes the report and its charts, and removes charts of a run before.
fn write(folder: &Path, report: &str, charts: &[(String, String)]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    for old in repo::files_with_extension(folder, "svg")? {
        fs::remove_file(&old).with_context(|| format!("could not remove {}", old.display()))?;
    }
    let files = charts.iter().map(|(name, svg)| (name.as_str(), svg.as_str()));
    for (name, text) in files.chain([("README.md", report)]) {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
    }
    Ok(())
}

/// The table of goals, and below it why some are missed.
fn goals(goals: &[Goal]) -> String {
    if goals.is_empty() {
        return String::new();
    }
    let mut rows = vec![["Goal", "Wanted", "Measured", ""].map(str::to_owned).to_vec()];
    for goal in goals {
        let measured = format!("**{} {}**", figure(goal.value), goal.unit);
        let mark = if goal.is_met() { "✓" } else { "✗" };
        rows.push(vec![goal.what.clone(), goal.wanted(), measured, mark.to_owned()]);
    }
    let mut text = format!("\n## Goals\n{}", table(&rows));
    let missed: Vec<_> = goals.iter().filter(|goal| !goal.is_met()).collect();
    if !missed.is_empty() {
        text.push_str("\nWhat is missed, and why:\n\n");
    }
    for goal in missed {
        text.push_str(&format!("- {}: {}\n", goal.what, goal.why));
    }
    text
}

fn table(rows: &[Vec<String>]) -> String {
    let mut text = String::from("\n");
    for (index, row) in rows.iter().enumerate() {
        text.push_str(&format!("| {} |\n", row.join(" | ")));
        if index == 0 {
            text.push_str(&format!("|{}\n", "---|".repeat(row.len())));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(what: &str, target: Target, value: f64) -> Goal {
        Goal { what: what.to_owned(), target, value, unit: "ms", why: format!("why {what}") }
    }

    #[test]
    fn goals_that_are_missed_say_why() {
        let text = goals(&[
            goal("fast", Target::AtMost(10.0), 4.25),
            goal("slow", Target::AtMost(10.0), 10.5),
            goal("few", Target::AtLeast(75.0), 74.0),
        ]);
        assert!(text.contains("| fast | ≤ 10 ms | **4.25 ms** | ✓ |"), "{text}");
        assert!(text.contains("| slow | ≤ 10 ms | **10.5 ms** | ✗ |"), "{text}");
        assert!(text.contains("| few | ≥ 75 ms | **74 ms** | ✗ |"), "{text}");
        assert!(text.contains("- slow: why slow\n- few: why few\n"), "{text}");
        assert!(!text.contains("why fast"), "{text}");
    }

    #[test]
    fn charts_of_a_run_before_are_removed() {
        let folder = std::env::temp_dir().join(format!("tigerflow-report-{}", std::process::id()));
        let chart = |name: &str| [(name.to_owned(), "<svg/>".to_owned())];
        write(&folder, "one", &chart("old.svg")).expect("it is written");
        write(&folder, "two", &chart("new.svg")).expect("it is written again");
        let report = fs::read_to_string(folder.join("README.md")).expect("there is a report");
        let is_there = ["old.svg", "new.svg"].map(|name| folder.join(name).exists());
        fs::remove_dir_all(&folder).expect("the folder can be removed");
        assert_eq!((report.as_str(), is_there), ("two", [false, true]));
    }
}
