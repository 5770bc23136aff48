use super::*;

mod properties;

/// The pipeline of TigerFlow's guide, with components in place of its modules.
const GUIDE: &str = r#"# Turns videos into vectors in a database.
tasks:
  - name: transcribe
    kind: slurm
    module: ./transcribe.wasm
    params:
      model_file: /models/medium.pt
    input_ext: .mp4
    output_ext: .txt
    max_workers: 3
    worker_resources:
      cpus: 1
      gpus: 1
      memory: 8G
      time: 02:00:00
      sbatch_options:
        - "--mail-user=me@example.org"
        - --partition=gpu
    setup_commands:
      - module load anaconda3/2024.6
      - conda activate tiktok
  - name: embed
    depends_on: transcribe
    kind: local_async
    module: ./embed.wasm
    params:
      model: voyage-3.5
    input_ext: .txt
    output_ext: .json
    keep_output: false
    concurrency_limit: 10
  - name: ingest
    depends_on: embed
    kind: local
    module: ./ingest.wasm
    params:
      db_path: /home/me/videos.duckdb
    input_ext: .json
    keep_output: false
"#;

/// All keys that are options.
const ALL_KEYS: &str = "tasks:
- name: a
  kind: slurm
  module: a.wasm
  input_ext: .txt
  max_workers: 1_000
  worker_resources: {gpus: 0, time: 60}
  min_workers: 1
  files_per_worker: 5
  worker_idle_timeout: 30s
  grace: 1m
  squeue_interval: 5s
  concurrency_limit: 4
  timeout: 30s
  setup_timeout: 1m
  memory_limit: 1G
  output_limit: 1048576
  request_timeout: 5m
  response_limit: 1G
  retries: 3
  retry_on: [timeout, crash]
  retry_delay: 1s
  retry_backoff: 1.50
  retry_max_delay: 1m
  max_failures: 5%
  rate_limit: 30/s
  label: [gpu=2, db]
  instances: cores
  isolate: file
  dirs: models::/models:ro
  env: {KEY: 007, HOME: }
  env_file: .env
  allow_host: ['*.example.org', 10.0.0.0/8]
";

/// The problems of a file, as lines.
fn wrong(text: &str) -> Vec<String> {
    let problems = parse(text).err().unwrap_or_default();
    problems.iter().map(|problem| problem.to_string()).collect()
}

/// The problems of a file of one good task and these lines in it.
fn wrong_with(lines: &str) -> Vec<String> {
    let lines = lines.replace('\n', "\n    ");
    wrong(&format!(
        "tasks:\n  - name: a\n    kind: local\n    module: a.wasm\n    input_ext: .txt\n    \
         {lines}\n"
    ))
}

#[track_caller]
fn assert_wrong(found: Vec<String>, expected: &[&str]) {
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
}

#[test]
fn the_guides_pipeline_is_read() {
    let document = parse(GUIDE).unwrap();
    let tasks = &document.config().tasks;
    assert_eq!(tasks[0].kind, Kind::Slurm);
    assert_eq!(tasks[1].depends_on.as_deref(), Some("transcribe"));
    assert_eq!(tasks[2].output_ext.as_str(), ".out");
    assert!(tasks[0].keep_output && !tasks[2].keep_output);
    assert_eq!(document.tree().order(), [0, 1, 2]);
    let options: Vec<String> = tasks[0].options().iter().flat_map(Opt::arguments).collect();
    assert_eq!(
        options,
        [
            "--max-workers=3",
            "--cpus=1",
            "--gpus=1",
            "--memory=8G",
            "--time=02:00:00",
            "--sbatch-option=--mail-user=me@example.org",
            "--sbatch-option=--partition=gpu",
            "--setup-command=module load anaconda3/2024.6",
            "--setup-command=conda activate tiktok",
        ]
    );
    let parameters = tasks[1].parameters();
    assert_eq!(parameters.len(), 1);
    assert_eq!((&*parameters[0].name, &*parameters[0].values[0]), ("model", "voyage-3.5"));
}

#[test]
fn all_keys_of_ours_are_options() {
    let document = parse(ALL_KEYS).unwrap();
    let task = &document.config().tasks[0];
    let options: Vec<String> = task.options().iter().flat_map(Opt::arguments).collect();
    let expected = "--concurrency-limit=4 --max-workers=1000 --time=60 --min-workers=1 \
                    --files-per-worker=5 --worker-idle-timeout=30s --grace=1m \
                    --squeue-interval=5s --timeout=30s --setup-timeout=1m --memory-limit=1G \
                    --output-limit=1048576 --request-timeout=5m --response-limit=1G --retries=3 \
                    --retry-on=timeout --retry-on=crash --retry-delay=1s --retry-backoff=1.50 \
                    --retry-max-delay=1m --max-failures=5% --rate-limit=30/s --label=gpu=2 \
                    --label=db --instances=cores --isolate=file --dir=models::/models:ro \
                    --env=HOME --env=KEY=007 --env-file=.env --allow-host=*.example.org \
                    --allow-host=10.0.0.0/8";
    assert_eq!(options.join(" "), expected);
    for option in task.options() {
        assert!(document.position(&Path::task(0).keys(option.key)).is_some(), "{option:?}");
        assert!(!format!("{option:?}").contains("007"));
    }
    assert!(!format!("{document:?}").contains("007"));
}

#[test]
fn parameters_are_as_written() {
    let document = parse(
        "tasks:
- {name: a, kind: local, module: a.wasm, input_ext: .txt, params: {
    n: 1.50, flag: True, 'off': false, none: null, empty: , list: [1, true, x], quoted: 'true'}}
",
    )
    .unwrap();
    let parameters = document.config().tasks[0].parameters();
    let shown: Vec<String> = parameters
        .iter()
        .map(|p| {
            format!("{}={}{}", p.name, p.values.join(","), if p.is_list { " list" } else { "" })
        })
        .collect();
    assert_eq!(shown, ["flag=true", "list=1,true,x list", "n=1.50", "off=false", "quoted=true"]);
    assert_wrong(
        wrong_with("params: {flag: yes}"),
        &["6:20: tasks[0].params.flag: write `true`, or `\"yes\"`"],
    );
}

#[test]
fn steps_are_read() {
    let document = parse(&format!(
        r"staging:
  steps:
    - {{kind: min_size, bytes: 1}}
    - {{kind: max_size, bytes: 10M}}
    - {{kind: min_age, seconds: 0.5}}
    - {{kind: filename_match, pattern: '^\d+\.mp4$'}}
    - {{kind: companion_file, ext: .json}}
    - {{kind: max_staged, count: 100}}
    - {{kind: max_batch, count: 10}}
    - {{kind: sort_by}}
    - {{kind: sort_by, key: mtime, reverse: true}}
    - {{kind: component, module: pick.wasm, params: {{n: 3}}}}
{GUIDE}"
    ))
    .unwrap();
    let steps = &document.config().staging.steps;
    assert_eq!(steps[1], Step::MaxSize { bytes: Bytes(10 << 20) });
    assert_eq!(steps[7], Step::SortBy { key: SortKey::Name, reverse: false });
    assert_eq!(steps[8], Step::SortBy { key: SortKey::Mtime, reverse: true });
    let kinds: Vec<&str> = steps.iter().map(Step::kind).collect();
    assert_eq!(kinds[2..5], ["min_age", "filename_match", "companion_file"]);
    let place = document.position(&Path::stage(1).key("bytes")).unwrap();
    assert_eq!((place.value.line, place.value.column), (4, 31));
}

#[test]
fn steps_are_checked() {
    let found = wrong(
        "staging:
  steps:
    - {kind: min_size, bytes: 0}
    - {kind: min_sise, bytes: 5}
    - {kind: min_age, seconds: 0}
    - {kind: filename_match, pattern: 'a('}
    - {kind: companion_file, ext: json}
    - {kind: max_staged, count: 0}
    - {kind: sort_by, key: age}
    - {kind: callable, function: a:b}
    - min_size
    - {bytes: 5}
    - {kind: max_batch}
tasks:
- {name: a, kind: local, module: a.wasm, input_ext: .txt}
",
    );
    assert_wrong(
        found,
        &[
            "3:31: staging.steps[0].bytes: it must be more than 0",
            "4:14: staging.steps[1].kind: `min_sise` is none of `min_size`",
            "5:32: staging.steps[2].seconds: `0` is out of bounds: it must be more than 0",
            "6:39: staging.steps[3].pattern: `a(` is no regular expression",
            "7:35: staging.steps[4].ext: `json` is no extension",
            "8:33: staging.steps[5].count: `0` is out of bounds: it must be 1 or more",
            "9:28: staging.steps[6].key: `age` is none of `name`, `size`, `mtime`",
            "10:14: staging.steps[7].kind: TigerFlow's Python functions do not run here",
            "11:7: staging.steps[8]: a mapping with a `kind` is expected",
            "12:7: staging.steps[9]: `kind` is missing",
            "13:7: staging.steps[10]: `count` is missing: most files at a time",
        ],
    );
}

#[test]
fn every_problem_is_told_with_its_place() {
    let found = wrong(
        "tasks:
  - name: 1st
    kind: slurmm
    modul: a.wasm
    input_ext: txt
    retrys: 3
  - name: b
    kind: local
    input_ext: .txt
    module: [a.wasm]
    concurrency_limit: 0
    depends_on: [x, y]
    keep_output: yes
    needs: a
    cpus: 3
    nonsense: 1
    retries: many
    env: {A: [secret]}
    timeout: {}
stagin: {}
",
    );
    assert_wrong(
        found,
        &[
            "2:11: tasks[0].name: `1st` is no name for a task",
            "3:11: tasks[0].kind: `slurmm` is none of `local`, `local_async`, `slurm`: is \
             `slurm` meant?",
            "4:5: tasks[0].modul: `modul` is not known: is `module` meant?",
            "5:16: tasks[0].input_ext: `txt` is no extension: an extension begins with a dot: \
             write `.txt`",
            "6:5: tasks[0].retrys: `retrys` is not known: is `retries` meant?",
            "10:13: tasks[1].module: a text is expected, as `transcribe.wasm`; there is a list",
            "11:24: tasks[1].concurrency_limit: `0` is out of bounds: it must be from 1 to 10000",
            "12:17: tasks[1].depends_on: a task reads the outputs of one other",
            "13:18: tasks[1].keep_output: write `true`: `yes` is true or false to some",
            "14:5: tasks[1].needs: `needs` is not known",
            "15:5: tasks[1].cpus: `cpus` is not known here: it belongs in a task's \
             `worker_resources`",
            "16:5: tasks[1].nonsense: `nonsense` is not known; `tigerflow-host pipeline schema`",
            "17:14: tasks[1].retries: a whole number is expected; there is `many`",
            "18:14: tasks[1].env.A: a text or a number is expected; there is a list",
            "19:14: tasks[1].timeout: a text or a number is expected, as `5m`; there is a mapping",
            "20:1: stagin: `stagin` is not known: is `staging` meant?",
        ],
    );
}

#[test]
fn what_is_missing_is_told() {
    assert_wrong(wrong("{}"), &["1:1: `tasks` is missing: the tasks, 1 to 64"]);
    assert_wrong(wrong("tasks: []"), &["1:8: tasks: it is empty: at least 1 of the tasks"]);
    assert_wrong(wrong("tasks:\n"), &["1:1: tasks: a list is expected, and nothing is there"]);
    assert_wrong(wrong("tasks: {name: a}"), &["tasks are a list: begin each with `- name"]);
    assert_wrong(
        wrong("[a]"),
        &["1:1: a mapping (lines `KEY: VALUE`) is expected; there is a list"],
    );
    let keys = ["`name` is missing", "`module` is missing", "`input_ext` is missing"];
    assert_wrong(wrong("tasks:\n- kind: local"), &keys);
    let many: String = (0..65)
        .map(|i| format!("- {{name: t{i}, kind: local, module: a.wasm, input_ext: .t}}\n"))
        .collect();
    assert_wrong(
        wrong(&format!("tasks:\n{many}")),
        &["2:3: tasks: 65 tasks are too many: at most 64"],
    );
}

#[test]
fn tasks_must_go_together() {
    let task = |name: &str, more: &str| {
        format!("- {{name: {name}, kind: local, module: a.wasm, input_ext: .txt{more}}}\n")
    };
    let out = ", output_ext: .txt";
    let all = |tasks: &[String]| wrong(&format!("tasks:\n{}", tasks.concat()));
    let on = |parent: &str| format!("{out}, depends_on: {parent}");
    assert_wrong(
        all(&[task("a", out), task("a", out)]),
        &["3:10: tasks[1].name: the task on line 2 has the name `a` too"],
    );
    assert_wrong(
        all(&[task("first", out), task("b", &on("frist"))]),
        &["3:89: tasks[1].depends_on: there is no task `frist`: is `first` meant?"],
    );
    assert_wrong(
        all(&[task("a", &on("a"))]),
        &["tasks[0].depends_on: a task cannot depend on itself"],
    );
    assert_wrong(
        all(&[task("r", out), task("x", &on("c")), task("c", &on("b")), task("b", &on("c"))]),
        &["tasks[2].depends_on: tasks depend on one another in a circle, so none can be first: \
             `c` → `b` → `c`"],
    );
    assert_wrong(
        all(&[task("a", ""), task("b", ", depends_on: a")]),
        &["3:53: tasks[1].input_ext: `.txt` is not what `a` makes: `.out`, as it has no \
             `output_ext` (line 2)"],
    );
    let other = task("b", "").replace(".txt", ".csv");
    assert_wrong(
        all(&[task("a", ""), other]),
        &["3:53: tasks[1].input_ext: `.csv` is not what `a` reads: `.txt` (line 2). Tasks without"],
    );
}

#[test]
fn keys_go_with_their_kind() {
    assert_wrong(
        wrong_with("max_workers: 3\nworker_resources: {cpus: 1}\ngrace: 1s"),
        &[
            "6:5: tasks[0].max_workers: it is for tasks of the kind `slurm`",
            "7:5: tasks[0].worker_resources: it is for",
            "8:5: tasks[0].grace: it is for",
        ],
    );
    assert_eq!(wrong_with("max_workers:"), [""; 0]);
    let local =
        parse(&GUIDE.replace("    concurrency", "    setup_commands: [ls]\n    concurrency"));
    let local = local.unwrap();
    let local = &local.config().tasks[1];
    assert_eq!(local.setup_commands, ["ls"]);
    assert!(local.options().iter().all(|option| option.key != "setup_commands"));
    let slurm = "tasks:\n- {name: a, kind: slurm, module: a.wasm, input_ext: .txt}";
    assert_wrong(wrong(slurm), &["2:3: tasks[0]: `max_workers` is missing: how many Slurm jobs"]);
}

#[test]
fn what_is_no_yaml_is_told() {
    let one = |text: &str| {
        let found = wrong(text);
        assert_eq!(found.len(), 1, "{found:#?}");
        found.concat()
    };
    for empty in ["", "\n", "# only\n", "---\n", "\u{feff}", "~"] {
        assert!(one(empty).starts_with("1:1: the file is empty"), "{empty:?}");
    }
    assert!(one("tasks:\n\t- name: a\n").starts_with("2:1: a tab indents"));
    assert!(one("tasks: []\n---\ntasks: []\n").starts_with("2:1: a second document"));
    assert!(one("tasks:\n- name: *.txt\n").contains("begins with `*` needs quotes"));
    assert!(one("tasks:\n- name: @x\n").contains("begins with `@` needs quotes"));
    assert!(one("tasks:\n- name: !x y\n").contains("2:9: a tag (`!…`) means nothing"));
    assert!(one("tasks: &a [*a]\n").contains("it has no end"));
    assert!(one("? [a]\n: b\n").contains("a key is a text"));
    assert!(one("a: b: c\n").contains("a text with `: ` in it needs quotes"));
    assert!(one("tasks:\n  - name: a\n\tkind: local\n").starts_with("3:1: a tab indents"));
    assert!(one("a: \"\\d\"\n").contains("in single quotes"));
    assert!(one("a: {b\nc: d\n").contains("is not complete"));
    assert!(one("a:b\n").contains("a space goes after the `:`"));
    assert!(one("a: 'b\n").contains("a quote is not closed"));
    assert!(one("a: [b\n").contains("is not complete"));
    assert!(one(&"[".repeat(70)).contains("levels are too deep"));
    assert!(one("<<: 5\n").contains("`<<` merges mappings"));
    let bomb: String = (1..40).map(|i| format!("- &a{i} [*a{0}, *a{0}]\n", i - 1)).collect();
    assert!(one(&format!("- &a0 [x]\n{bomb}")).contains("too many"));
    let mut problems = Problems::default();
    assert!(draft_bytes(b"tasks:\n- \xff", &mut problems).is_none());
    assert!(problems.to_string().starts_with("2:3: this is not UTF-8"));
}

#[test]
fn what_is_given_twice_is_told() {
    assert_wrong(
        wrong_with("timeout: 1s\ntimeout: 2s\nretries: x"),
        &["7:5: `timeout` is given twice: line 6 has it too", "8:14: tasks[0].retries"],
    );
}

#[test]
fn aliases_and_merges_are_as_pyyaml_has_them() {
    let document = parse(
        "x-usual: &usual
  kind: local
  timeout: 1m
  module: a.wasm
x-more: &more {timeout: 2m, retries: 5}
tasks:
  - <<: [*usual, *more]
    name: a
    input_ext: &ext .txt
    module: b.wasm
  - {<<: *more, name: b, kind: local, module: c.wasm, input_ext: *ext}
",
    )
    .unwrap();
    let tasks = &document.config().tasks;
    assert_eq!(tasks[0].timeout.as_ref().unwrap().as_str(), "1m");
    assert_eq!((tasks[0].retries, &*tasks[0].module), (Some(5), "b.wasm"));
    assert_eq!(tasks[1].timeout.as_ref().unwrap().as_str(), "2m");
    assert_eq!(tasks[1].input_ext.as_str(), ".txt");
    let place = document.position(&Path::task(0).key("timeout")).unwrap();
    assert_eq!((place.key.line, place.value.column), (3, 12));
    assert_eq!(document.position(&Path::task(0).key("grace")), None);
    let problem = document.problem(&Path::task(0).key("grace"), "odd");
    assert_eq!(problem.to_string(), "7:5: tasks[0].grace: odd");
}

#[test]
fn tags_of_yaml_itself_are_known() {
    let text = GUIDE.replace("medium.pt", "x").replace("voyage-3.5", "!!str 3");
    assert_eq!(parse(&text).unwrap().config().tasks[1].parameters()[0].values, ["3"]);
}

#[test]
fn the_schema_knows_what_the_types_know() {
    let schema = schema();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert_eq!(schema["additionalProperties"], false);
    let task = &schema["properties"]["tasks"]["items"];
    assert_eq!(task["required"], serde_json::json!(["name", "kind", "module", "input_ext"]));
    for (key, property) in task["properties"].as_object().unwrap() {
        let description = property["description"].as_str().unwrap_or_default();
        assert!(!description.is_empty() && !description.contains('\n'), "{key}: {property}");
    }
    let text = schema.to_string();
    assert!(!text.contains("$ref"), "{text}");
}
