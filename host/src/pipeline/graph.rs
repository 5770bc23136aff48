//! A pipeline as a picture: for a terminal, for Mermaid and for Graphviz.

use super::config::{Config, Task, Tree};
use crate::text::one_line;

/// For a terminal: the tree of the tasks, and beside it where each runs, its
/// extensions, and whether its outputs are kept.
pub fn text(config: &Config, tree: &Tree) -> String {
    let mut rows = Vec::new();
    for (place, root) in tree.roots().enumerate() {
        let last = place + 1 == tree.roots().count();
        rows_of(config, tree, root, "", last, &mut rows);
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row: &[String; 4]| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2)];
    let mut text = format!("INPUT_DIR/*{}\n", input(config, tree));
    for [name, kind, extensions, kept] in &rows {
        let [first, second, third] = widths;
        text += &format!("{name:first$}  {kind:second$}  {extensions:third$}  {kept}\n");
    }
    if !config.staging.steps.is_empty() {
        text += &format!("\nFiles enter by: {}\n", staging(config));
    }
    text
}

fn rows_of(
    config: &Config,
    tree: &Tree,
    task: usize,
    indent: &str,
    last: bool,
    rows: &mut Vec<[String; 4]>,
) {
    let (branch, below) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
    let Task { name, kind, input_ext, output_ext, keep_output, .. } = &config.tasks[task];
    rows.push([
        format!("{indent}{branch}{}", one_line(name)),
        kind.as_str().into(),
        format!("{input_ext} → {output_ext}"),
        if *keep_output { format!("kept in {}/", one_line(name)) } else { "not kept".into() },
    ]);
    let indent = format!("{indent}{below}");
    let children = tree.children(task);
    for (place, child) in children.iter().enumerate() {
        rows_of(config, tree, *child, &indent, place + 1 == children.len(), rows);
    }
}

/// For Mermaid, which GitHub and many editors show: tasks as boxes, files that
/// are kept as drums.
pub fn mermaid(config: &Config, tree: &Tree) -> String {
    let label = |lines: &[&str]| {
        let escape = |line: &&str| {
            let line = one_line(line).replace('&', "&amp;").replace('"', "&quot;");
            line.replace('<', "&lt;").replace('>', "&gt;").replace('#', "&#35;")
        };
        lines.iter().map(escape).collect::<Vec<_>>().join("<br>")
    };
    let mut text = "flowchart LR\n".to_owned();
    let files = format!("INPUT_DIR/*{}", input(config, tree));
    text += &format!("    input[(\"{}\")]\n", label(&[&files]));
    if !config.staging.steps.is_empty() {
        text += &format!("    staging{{{{\"{}\"}}}}\n", label(&[&staging(config)]));
        text += "    input --> staging\n";
    }
    for &task in tree.order() {
        let Task { name, kind, input_ext, output_ext, keep_output, .. } = &config.tasks[task];
        text += &format!("    task{task}[\"{}\"]\n", label(&[name, kind.as_str()]));
        let from = from(config, tree, task);
        text += &format!("    {from} -->|\"{}\"| task{task}\n", label(&[input_ext.as_str()]));
        if *keep_output {
            let files = format!("OUTPUT_DIR/{name}/*{output_ext}");
            text += &format!("    task{task} -.-> output{task}[(\"{}\")]\n", label(&[&files]));
        }
    }
    text
}

/// For Graphviz: `… | dot -Tsvg`.
pub fn dot(config: &Config, tree: &Tree) -> String {
    let label = |lines: &[&str]| {
        let escape = |line: &&str| one_line(line).replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{}\"", lines.iter().map(escape).collect::<Vec<_>>().join("\\n"))
    };
    let mut text = "digraph pipeline {\n    rankdir=LR;\n    node [shape=box];\n".to_owned();
    let files = format!("INPUT_DIR/*{}", input(config, tree));
    text += &format!("    input [shape=cylinder, label={}];\n", label(&[&files]));
    if !config.staging.steps.is_empty() {
        text += &format!("    staging [shape=hexagon, label={}];\n", label(&[&staging(config)]));
        text += "    input -> staging;\n";
    }
    for &task in tree.order() {
        let Task { name, kind, input_ext, output_ext, keep_output, .. } = &config.tasks[task];
        text += &format!("    task{task} [label={}];\n", label(&[name, kind.as_str()]));
        let from = from(config, tree, task);
        text += &format!("    {from} -> task{task} [label={}];\n", label(&[input_ext.as_str()]));
        if *keep_output {
            let files = format!("OUTPUT_DIR/{name}/*{output_ext}");
            text += &format!("    output{task} [shape=cylinder, label={}];\n", label(&[&files]));
            text += &format!("    task{task} -> output{task} [style=dashed];\n");
        }
    }
    text + "}\n"
}

/// What the roots read.
fn input<'a>(config: &'a Config, tree: &Tree) -> &'a str {
    tree.roots().next().map_or("", |root| config.tasks[root].input_ext.as_str())
}

/// Where a task's inputs come from, by its name in a picture.
fn from(config: &Config, tree: &Tree, task: usize) -> String {
    match tree.parent(task) {
        Some(parent) => format!("task{parent}"),
        None if config.staging.steps.is_empty() => "input".into(),
        None => "staging".into(),
    }
}

fn staging(config: &Config) -> String {
    let steps = config.staging.steps.iter().map(|step| step.kind());
    steps.collect::<Vec<_>>().join(" → ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::config::parse;

    const TASKS: &str = "tasks:
- {name: split, kind: local, module: a.wasm, input_ext: .txt, output_ext: .part}
- {name: count, kind: local, module: b.wasm, input_ext: .n, depends_on: number}
- {name: number, kind: slurm, max_workers: 2, module: b.wasm, input_ext: .part, output_ext: .n,
   depends_on: split, keep_output: false}
- {name: draw, kind: local_async, module: c.wasm, input_ext: .part, output_ext: .svg,
   depends_on: split}
";

    const STAGING: &str = "staging: {steps: [{kind: min_age, seconds: 1}, {kind: sort_by}]}\n";

    #[test]
    fn a_terminal_shows_a_tree() {
        let document = parse(TASKS).unwrap();
        let expected = "\
INPUT_DIR/*.txt
└── split          local        .txt → .part  kept in split/
    ├── number     slurm        .part → .n    not kept
    │   └── count  local        .n → .out     kept in count/
    └── draw       local_async  .part → .svg  kept in draw/
";
        assert_eq!(text(document.config(), document.tree()), expected);
        let document = parse(&format!("{STAGING}{TASKS}")).unwrap();
        let staged = format!("{expected}\nFiles enter by: min_age → sort_by\n");
        assert_eq!(text(document.config(), document.tree()), staged);
    }

    #[test]
    fn mermaid_and_graphviz_have_every_task_and_edge() {
        let document = parse(&format!("{STAGING}{TASKS}")).unwrap();
        let (config, tree) = (document.config(), document.tree());
        let mermaid = mermaid(config, tree);
        for line in [
            "flowchart LR",
            "    input[(\"INPUT_DIR/*.txt\")]",
            "    staging{{\"min_age → sort_by\"}}",
            "    input --> staging",
            "    task0[\"split<br>local\"]",
            "    staging -->|\".txt\"| task0",
            "    task0 -->|\".part\"| task2",
            "    task2 -->|\".n\"| task1",
            "    task1 -.-> output1[(\"OUTPUT_DIR/count/*.out\")]",
        ] {
            let found = mermaid.replace("&gt;", ">");
            assert!(found.lines().any(|l| l == line), "{line}\n{mermaid}");
        }
        assert!(!mermaid.contains("output2"));
        let dot = dot(config, tree);
        for line in [
            "    task0 [label=\"split\\nlocal\"];",
            "    staging -> task0 [label=\".txt\"];",
            "    task2 -> task1 [label=\".n\"];",
            "    task3 -> output3 [style=dashed];",
        ] {
            assert!(dot.lines().any(|l| l == line), "{line}\n{dot}");
        }
        assert!(dot.starts_with("digraph pipeline {\n") && dot.ends_with("}\n"));
    }
}
