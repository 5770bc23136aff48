//! What is wrong with a configuration is told before anything is made.

use std::fs;

use serde_json::Value;
use tigerflow_tests::{finish, host};

use super::{Pipeline, list, task};

/// A pipeline with this configuration, as it stands.
fn written(text: &str) -> Pipeline {
    let pipeline = Pipeline::chain(1);
    fs::write(pipeline.config(), text).expect("a configuration can be written");
    pipeline
}

/// `pipeline run` and `pipeline check` refuse it with all of these lines, `LINE:COLUMN:
/// WORDS`, and make nothing.
#[track_caller]
fn assert_refused(text: &str, expected: &[&str]) {
    let pipeline = written(text);
    pipeline.add("a.txt", "one");
    fs::write(pipeline.path().join("none.wasm"), "no component").expect("a file");
    let path = pipeline.config();
    let check = finish(host().args(["pipeline", "check"]).arg(&path));
    for done in [pipeline.run(&[]), check] {
        let mut done = done.expect(2);
        assert_eq!(done.stdout, "");
        for line in expected {
            done = done.says(&format!("{}:{line}", path.display()));
        }
        let number = match expected.len() {
            1 => "1 problem in".to_owned(),
            n => format!("{n} problems in"),
        };
        done.says(&number);
    }
    assert_eq!(list(&pipeline.output()), [""; 0], "something was made");
}

#[test]
fn all_mistakes_of_form_are_told_at_once() {
    assert_refused(
        "tasks:
  - name: one
    kind: locl
    module: guests/upper.wasm
    input_ext: txt
    depend_on: nobody
  - name: one
    kind: local
    input_ext: .txt
    retries: -1
    retry_on: [transient, weather]
    concurrency_limit: 0
    keep_output: perhaps
  - {name: a/b, kind: local, module: guests/upper.wasm, input_ext: .txt, timeout: soon}
stagging: {}
staging:
  steps:
    - {kind: min_age}
    - {kind: callable}
    - {kind: filename_match, pattern: '('}
",
        &[
            "3:11: tasks[0].kind: `locl` is none of",
            "5:16: tasks[0].input_ext: `txt` is no extension",
            "6:5: tasks[0].depend_on: `depend_on` is not known: is `depends_on` meant?",
            "7:5: tasks[1]: `module` is missing",
            "7:11: tasks[1].name: the task on line 2 has the name `one` too",
            "10:14: tasks[1].retries: `-1`",
            "11:27: tasks[1].retry_on[1]: `weather` is none of",
            "12:24: tasks[1].concurrency_limit: `0`",
            "13:18: tasks[1].keep_output: `true` or `false` is expected; there is `perhaps`",
            "14:12: tasks[2].name: `a/b` is no name",
            "15:1: stagging: `stagging` is not known",
            "18:7: staging.steps[0]: `seconds` is missing",
            "19:14: staging.steps[1].kind: TigerFlow's Python functions do not run here",
            "20:39: staging.steps[2].pattern: ",
        ],
    );
}

#[test]
fn a_tree_that_is_none_is_refused() {
    const END: &str = "kind: local, module: guests/upper.wasm, input_ext: .txt";
    for (tasks, line) in [
        (vec!["name: a", "name: b, depends_on: c", "name: c, depends_on: b"], "3:"),
        (vec!["name: a, depends_on: nobody"], "2:"),
        (vec!["name: a, depends_on: a"], "2:"),
        // It would read what its parent does not make.
        (vec!["name: a, output_ext: .a", "name: b, depends_on: a"], "3:"),
        // Two outputs beside each other, of one name.
        (vec!["name: a", "name: A/../a"], "3:"),
    ] {
        let mut text = "tasks:\n".to_owned();
        for task in &tasks {
            text.push_str(&format!("  - {{{task}, {END}}}\n"));
        }
        let pipeline = written(&text);
        let done = pipeline.run(&[]).expect(2);
        done.says(&format!("{}:{line}", pipeline.config().display()));
        assert_eq!(list(&pipeline.output()), [""; 0], "{tasks:?}");
    }
    for text in ["", "tasks: []\n", "tasks: [\n", "- a\n", "tasks:\n\t- a\n"] {
        let pipeline = written(text);
        pipeline.run(&[]).expect(2).says(&pipeline.config().display().to_string());
        assert_eq!(list(&pipeline.output()), [""; 0], "{text:?}");
    }
}

#[test]
fn what_a_component_does_not_take_is_told_at_its_place() {
    assert_refused(
        "tasks:
  - name: one
    kind: local
    module: guests/nothing.wasm
    input_ext: .txt
  - name: two
    kind: local
    module: none.wasm
    input_ext: .txt
  - name: three
    kind: local
    module: guests/options.wasm
    input_ext: .txt
    timeout: soon
    memory_limit: lots
    retry_delay: never
    rate_limit: fast
    params: {nonsense: 1, times: many, polite: maybe, letters: big}
  - name: four
    kind: local
    module: guests/options.wasm
    input_ext: .txt
    params: {greeting: Hi}
staging:
  steps:
    - {kind: component, module: guests/nothing.wasm}
",
        &[
            "4:13: tasks[0].module: failed to read the component",
            "8:13: tasks[1].module: ",
            "14:14: tasks[2].timeout: `soon`",
            "15:19: tasks[2].memory_limit: `lots`",
            "16:18: tasks[2].retry_delay: `never`",
            "17:17: tasks[2].rate_limit: `fast`",
            "18:24: tasks[2].params.nonsense: options has no such parameter, but greeting, times",
            "18:34: tasks[2].params.times: invalid value `many`",
            "18:48: tasks[2].params.polite: invalid value `maybe`",
            "18:64: tasks[2].params.letters: invalid value `big`",
            "23:13: tasks[3].params: options needs the parameter `times`",
            "26:33: staging.steps[0].module: failed to read",
        ],
    );
}

#[test]
fn a_grant_that_is_missing_is_told_as_the_line_to_add() {
    let text = "tasks:
  - {name: one, kind: local, module: guests/upper.wasm, input_ext: .txt}
  - name: two
    kind: local
    module: guests/single.wasm
    input_ext: .txt
  - name: three
    kind: local
    module: guests/needy.wasm
    input_ext: .txt
";
    assert_refused(text, &["3:5: tasks[1]: ", "7:5: tasks[2]: "]);
    let pipeline = written(text);
    let done = pipeline.run(&[]).expect(2);
    let done = done.says("\n    dirs: [\"HOST_DIR::/notes:rw\"]   # Notes its calls there");
    let done = done.says("\n    env: [SINGLE_KEY]");
    done.says("\n    allow_host: [\"api.example.test\"]");
    // As it says.
    let one = "dirs: [\"gate::/notes:rw\"], env: [\"SINGLE_KEY=x\"]";
    pipeline.configure(&[task("two", "single", ".txt", ".out", one)], &[]);
    fs::create_dir(pipeline.path().join("gate")).expect("a directory");
    pipeline.add("a.txt", "one");
    pipeline.run(&[]).expect(0);
    assert_eq!(pipeline.out("two/a.out"), "one");
}

#[test]
fn directories_that_cannot_be_used_are_told() {
    let pipeline = Pipeline::chain(2);
    pipeline.add("a.txt", "one");
    let run = |input: &str, output: &str| {
        let mut command = host();
        command.current_dir(pipeline.path());
        command.args(["pipeline", "run", "pipeline.yaml", input, output, "--once"]);
        finish(&mut command)
    };
    run("nowhere", "out").expect(2).says("INPUT_DIR `nowhere` does not exist");
    run("pipeline.yaml", "out").expect(2).says("INPUT_DIR `pipeline.yaml` is not a directory");
    run("in", "no/where").expect(2).says("OUTPUT_DIR `no/where` does not exist");
    run("in", "pipeline.yaml").expect(2).says("OUTPUT_DIR `pipeline.yaml` is not a directory");
    assert_eq!(list(&pipeline.output()), [""; 0]);
    fs::write(pipeline.output().join("two"), "").expect("a file");
    run("in", "out").expect(2).says("is no directory, and the outputs of task `two` go there");
    fs::remove_file(pipeline.output().join("two")).expect("it is there");
    // A task's outputs would be its inputs.
    fs::create_dir(pipeline.output().join("one")).expect("a directory");
    run("out/one", "out").expect(2).says("is where the outputs of task `one` go");
    // What is missing is made; relative paths are as good.
    run("in", "new").expect(0);
    assert_eq!(list(&pipeline.path().join("new/two")), ["a.two"]);
    let mut command = host();
    command.args(["pipeline", "run", "no.yaml"]).arg(pipeline.input()).arg(pipeline.output());
    finish(&mut command).expect(2).says("failed to read the configuration `no.yaml`");
}

#[test]
fn a_configuration_is_checked_drawn_and_described() {
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".txt", ".one", ""),
        task("two", "upper", ".one", ".two", "depends_on: one, keep_output: false"),
        task("three", "upper", ".one", ".three", "depends_on: one"),
    ]);
    let about = |command: &str, more: &[&str]| {
        finish(host().args(["pipeline", command]).arg(pipeline.config()).args(more))
    };
    let check = about("check", &[]).expect(0);
    assert!(check.stdout.ends_with("nothing is wrong with its 3 tasks\n"), "{}", check.stdout);
    let text = about("graph", &[]).expect(0).stdout;
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows[0], "INPUT_DIR/*.txt");
    assert!(rows[1].starts_with("└── one ") && rows[1].ends_with("kept in one/"), "{text}");
    assert!(rows[2].starts_with("    ├── two ") && rows[2].ends_with("not kept"), "{text}");
    assert!(rows[3].starts_with("    └── three "), "{text}");
    let mermaid = about("graph", &["--format", "mermaid"]).expect(0).stdout;
    assert!(mermaid.starts_with("flowchart LR\n") && mermaid.matches("-->").count() == 3);
    let dot = about("graph", &["--format", "dot"]).expect(0).stdout;
    assert!(dot.starts_with("digraph ") && dot.trim_end().ends_with('}'), "{dot}");
    for name in ["one", "two", "three"] {
        assert!(mermaid.contains(name) && dot.contains(name));
    }
    assert_eq!(list(&pipeline.output()), [""; 0], "nothing is run");

    let schema = finish(host().args(["pipeline", "schema"])).expect(0).stdout;
    let schema: Value = serde_json::from_str(&schema).expect("it is JSON");
    assert!(schema["properties"]["tasks"].is_object() && schema["$schema"].is_string());
}

#[test]
fn mistakes_of_form_hide_none_of_components_and_grants() {
    assert_refused(
        "tasks:
  - {name: one, kind: local, module: guests/upper.wasm, input_ext: .txt, retries: -1}
  - {name: two, kind: local, module: guests/nowhere.wasm, input_ext: .txt}
  - {name: three, kind: local, module: guests/upper.wasm, input_ext: .txt, timeout: soon}
  - {name: four, kind: local, module: guests/needy.wasm, input_ext: .txt}
  - {name: one, kind: local, module: guests/upper.wasm, input_ext: .txt, params: {x: 1}}
",
        &[
            "2:83: tasks[0].retries: ",
            "3:38: tasks[1].module: failed to read the component",
            "4:85: tasks[2].timeout: `soon`",
            "5:5: tasks[3]: the task needy needs more than is granted",
            "6:12: tasks[4].name: ",
            "6:86: tasks[4].params.x: ",
        ],
    );
}
