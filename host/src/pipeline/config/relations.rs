//! Whether the tasks go together: what no schema can tell.
//!
//! It looks at the file as far as it could be read, so that these problems show
//! beside those of its form.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::hints::{nearest, quoted};
use super::path::Path;
use super::problem::Problems;
use super::tree::Tree;
use super::types::Kind;
use super::yaml::Node;

/// Keys that only tasks of the kind `slurm` have.
const SLURM: [&str; 7] = [
    "max_workers",
    "worker_resources",
    "min_workers",
    "files_per_worker",
    "worker_idle_timeout",
    "grace",
    "squeue_interval",
];

/// A task, as far as it could be read.
struct Task<'a> {
    path: Path,
    node: &'a Node,
    name: Option<&'a str>,
    kind: Option<&'a str>,
    depends_on: Option<&'a str>,
    input: Option<&'a str>,
    /// None where it is malformed.
    output: Option<&'a str>,
}

impl Task<'_> {
    fn shown(&self) -> String {
        quoted(self.name.unwrap_or("?"))
    }

    fn line(&self) -> usize {
        self.node.position.line
    }
}

/// Checks what the tasks are to one another. `config` is the file as
/// [`super::structure::check`] read it. Gives the tree where there is one.
pub fn check(root: &Node, config: &Json, problems: &mut Problems) -> Option<Tree> {
    let nodes = root.get("tasks").map(Node::items).unwrap_or_default();
    let values = config["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let tasks: Vec<Task> = nodes.iter().zip(values).enumerate().map(read).collect();
    for task in &tasks {
        kind(task, problems);
    }
    let names = names(&tasks, problems);
    let parents = parents(&tasks, &names, problems);
    extensions(&tasks, &parents, problems);
    let tree = Tree::new(&parents);
    if tree.is_none() {
        circles(&tasks, &parents, problems);
    }
    tree
}

fn read<'a>((index, (node, value)): (usize, (&'a Node, &'a Json))) -> Task<'a> {
    let text = |key: &str| value.get(key).and_then(Json::as_str);
    let output = match node.get("output_ext") {
        Some(_) => text("output_ext"),
        None => Some(super::DEFAULT_OUTPUT),
    };
    Task {
        path: Path::task(index),
        node,
        name: text("name"),
        kind: text("kind"),
        depends_on: text("depends_on"),
        input: text("input_ext"),
        output,
    }
}

/// Keys that go with no task of this kind, or are missing for it.
fn kind(task: &Task, problems: &mut Problems) {
    let Some(kind) = task.kind else { return };
    if kind == Kind::Slurm.as_str() {
        if task.node.get("max_workers").is_none_or(Node::is_null) {
            let message = "`max_workers` is missing: how many Slurm jobs a task of the kind \
                           `slurm` may have at a time";
            problems.add(task.node.position, &task.path, message);
        }
        return;
    }
    for key in SLURM {
        let Some(entry) = task.node.entry(key) else { continue };
        if entry.value.is_null() {
            continue;
        }
        let message = format!(
            "it is for tasks of the kind `slurm`, and this one's is `{kind}`: leave it out, or \
             write `kind: slurm`"
        );
        problems.add(entry.position, &task.path.key(key), message);
    }
}

/// The tasks by name; of two with the same, the first.
fn names<'a>(tasks: &[Task<'a>], problems: &mut Problems) -> HashMap<&'a str, usize> {
    let mut names = HashMap::new();
    for (index, task) in tasks.iter().enumerate() {
        let Some(name) = task.name else { continue };
        let first = *names.entry(name).or_insert(index);
        if first != index {
            let line = tasks[first].node.get("name").map_or(0, |name| name.position.line);
            let message = format!("the task on line {line} has the name {} too", quoted(name));
            let (place, _) = task.node.find(&Path::root().key("name"));
            problems.add(place.value, &task.path.key("name"), message);
        }
    }
    names
}

fn parents(
    tasks: &[Task],
    names: &HashMap<&str, usize>,
    problems: &mut Problems,
) -> Vec<Option<usize>> {
    let parent = |(index, task): (usize, &Task)| {
        let name = task.depends_on?;
        let parent = names.get(name).copied();
        let message = match parent {
            Some(parent) if parent == index || task.name == Some(name) => {
                "a task cannot depend on itself: leave it out for one that reads the input \
                 directory"
                    .to_owned()
            }
            Some(parent) => return Some(parent),
            None => {
                let others = tasks.iter().filter_map(|task| task.name);
                let hint = match nearest(name, others.filter(|other| task.name != Some(*other))) {
                    Some(near) => format!(": is `{near}` meant?"),
                    None => String::new(),
                };
                format!("there is no task {}{hint}", quoted(name))
            }
        };
        let (place, _) = task.node.find(&Path::root().key("depends_on"));
        problems.add(place.value, &task.path.key("depends_on"), message);
        None
    };
    tasks.iter().enumerate().map(parent).collect()
}

/// What a task makes is what its children take, and all roots take the same.
fn extensions(tasks: &[Task], parents: &[Option<usize>], problems: &mut Problems) {
    // A task whose parent could not be found is no root.
    let root = |task: &&Task| task.depends_on.is_none() && task.input.is_some();
    let first = tasks.iter().find(root);
    for (task, parent) in tasks.iter().zip(parents) {
        let Some(input) = task.input else { continue };
        let message = if let Some(parent) = parent.map(|parent| &tasks[parent]) {
            match parent.output {
                Some(output) if output != input => {
                    let default = match parent.node.get("output_ext") {
                        Some(_) => "",
                        None => ", as it has no `output_ext`",
                    };
                    format!(
                        "{} is not what {} makes: `{output}`{default} (line {})",
                        quoted(input),
                        parent.shown(),
                        parent.line()
                    )
                }
                _ => continue,
            }
        } else {
            match first.filter(|_| task.depends_on.is_none()) {
                Some(first) if first.input != Some(input) => format!(
                    "{} is not what {} reads: {} (line {}). Tasks without `depends_on` read the \
                     same files",
                    quoted(input),
                    first.shown(),
                    quoted(first.input.unwrap_or_default()),
                    first.line()
                ),
                _ => continue,
            }
        };
        let (place, _) = task.node.find(&Path::root().key("input_ext"));
        problems.add(place.value, &task.path.key("input_ext"), message);
    }
}

/// Names each circle once, from the task that stands first in the file.
fn circles(tasks: &[Task], parents: &[Option<usize>], problems: &mut Problems) {
    let mut told = vec![false; tasks.len()];
    for start in 0..tasks.len() {
        // After as many steps as there are tasks one is in a circle, or at a root.
        let mut task = Some(start);
        for _ in 0..tasks.len() {
            task = task.and_then(|task| parents[task]);
        }
        let Some(member) = task else { continue };
        let mut circle = vec![member];
        while let Some(next) = parents[circle[circle.len() - 1]].filter(|next| *next != member) {
            circle.push(next);
        }
        if circle.iter().any(|task| told[*task]) {
            continue;
        }
        circle.iter().for_each(|task| told[*task] = true);
        let first = circle.iter().enumerate().min_by_key(|(_, task)| **task).map_or(0, |(i, _)| i);
        circle.rotate_left(first);
        circle.push(circle[0]);
        let names: Vec<String> = circle.iter().map(|task| tasks[*task].shown()).collect();
        let message = format!(
            "tasks depend on one another in a circle, so none can be first: {}",
            names.join(" → ")
        );
        let task = &tasks[circle[0]];
        let (place, _) = task.node.find(&Path::root().key("depends_on"));
        problems.add(place.value, &task.path.key("depends_on"), message);
    }
}
