//! The pipelines in `plugins/pipelines` do what they say.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tigerflow_test_server::TestServer;
use tigerflow_tests::{Bench, finish, host, plugin};

use super::list;

/// A copy of an example, in a place where it finds its components.
pub struct Example {
    place: TempDir,
    name: &'static str,
    /// Inputs and outputs.
    pub bench: Bench,
}

impl Example {
    /// One of `plugins/pipelines`.
    pub fn copy(name: &'static str) -> Example {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent");
        let place = tempfile::tempdir().expect("a temporary directory");
        symlink(repository.join("target"), place.path().join("target")).expect("a link");
        let example = Example { place, name, bench: Bench::new() };
        let original = repository.join("plugins/pipelines").join(name);
        let mut left = vec![PathBuf::new()];
        while let Some(next) = left.pop() {
            fs::create_dir_all(example.path(&next)).expect("a directory");
            for entry in fs::read_dir(original.join(&next)).expect("it can be listed") {
                let entry = entry.expect("an entry");
                let path = next.join(entry.file_name());
                if entry.file_type().expect("a type").is_dir() {
                    left.push(path);
                } else {
                    fs::copy(entry.path(), example.path(&path)).expect("copied");
                }
            }
        }
        // A database of someone who has tried it.
        for name in list(&example.path("db")).iter().filter(|name| !name.starts_with('.')) {
            fs::remove_file(example.path("db").join(name)).expect("removed");
        }
        for name in ["hello", "count-words", "embed", "fetch", "ingest"] {
            plugin(name);
        }
        example
    }

    /// A file or directory of it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.place.path().join("plugins/pipelines").join(self.name).join(name)
    }

    /// Its own inputs, from a directory of it, by the part of their names before the dot.
    pub fn data(&self, directory: &str) -> BTreeMap<String, String> {
        let files = list(&self.path(directory));
        let read = |name: &String| {
            let (stem, _) = name.split_once('.').expect("an extension");
            let content = fs::read_to_string(self.path(directory).join(name)).expect("a text");
            (stem.to_owned(), content)
        };
        files.iter().map(read).collect()
    }

    /// `pipeline run` of a configuration, without `--once`.
    pub fn serve(&self, config: &str, input: &Path) -> Command {
        let mut command = host();
        command.args(["pipeline", "run"]).arg(self.path(config)).arg(input);
        command.arg(self.bench.output());
        command
    }

    /// The rows of a table, by their source: how many there are, and the document of the
    /// first. Nothing where nothing here reads databases.
    pub fn rows(&self, database: &str, table: &str) -> Option<BTreeMap<String, (usize, Value)>> {
        let script = "import json, sqlite3, sys\n\
                      query = 'SELECT source, document FROM ' + sys.argv[2] + ' ORDER BY 1'\n\
                      print(json.dumps(sqlite3.connect(sys.argv[1]).execute(query).fetchall()))";
        let mut python = Command::new("python3");
        python.args(["-c", script]).arg(self.path("db").join(database)).arg(table);
        let output = python.stderr(Stdio::null()).output().ok()?;
        if !output.status.success() {
            eprintln!("python3 with sqlite3 is missing: the rows are not read");
            return None;
        }
        let rows: Vec<(String, String)> = serde_json::from_slice(&output.stdout).expect("JSON");
        let mut found: BTreeMap<String, (usize, Value)> = BTreeMap::new();
        for (source, document) in rows {
            let document = serde_json::from_str(&document).expect("a document is JSON");
            found.entry(source).or_insert((0, document)).0 += 1;
        }
        Some(found)
    }

    /// What a task made of a file, as users see it.
    pub fn out(&self, name: &str) -> String {
        self.bench.out(name)
    }

    /// Fails where something is left between these tasks.
    #[track_caller]
    pub fn assert_nothing_left(&self, tasks: &[&str]) {
        for task in tasks {
            let workspace = self.bench.output().join(".tigerflow").join(task);
            for directory in ["outputs", "staging"] {
                assert_eq!(list(&workspace.join(directory)), [""; 0], "{task}/{directory}");
            }
        }
    }
}

/// How many words an output of `count-words` tells of.
fn words(json: &str) -> u64 {
    let found: Value = serde_json::from_str(json).expect("JSON");
    found["words"].as_u64().expect("a number")
}

#[test]
fn books_are_counted_and_printed_in_capitals() {
    let example = Example::copy("books");
    let data = example.data("data");
    assert!(data.len() >= 4, "{data:?}");
    let mut command = example.serve("pipeline.yaml", &example.path("data"));
    let done = finish(command.arg("--once")).expect(0);
    done.says(&format!("{} files finished, 0 failed", data.len()));
    for (stem, text) in &data {
        let rough = text.split_whitespace().count() as u64;
        let counted = words(&example.out(&format!("count/{stem}.json")));
        assert!((rough * 9 / 10..rough * 12 / 10).contains(&counted), "{stem}: {counted}");
        let capitals = example.out(&format!("capitals/{stem}.upper.txt"));
        assert_eq!(capitals, format!("In capitals, {}", text.to_uppercase()));
    }
    // What is not kept is not there, not even its directory.
    assert_eq!(list(&example.bench.output()), [".tigerflow", "capitals", "count"]);
    if let Some(rows) = example.rows("books.db", "books") {
        assert!(rows.keys().eq(data.keys()), "{rows:?}");
        for (stem, (times, document)) in rows {
            assert_eq!(times, 1, "{stem}");
            let shown = example.out(&format!("count/{stem}.json"));
            assert_eq!(document, serde_json::from_str::<Value>(&shown).expect("JSON"));
        }
    }
    let sonnet: Value = serde_json::from_str(&example.out("count/sonnet-18.json")).expect("JSON");
    let top = sonnet["top_words"].as_array().expect("a list");
    assert_eq!(top.len(), 5, "its parameters hold: {sonnet}");
    assert!(!top.iter().any(|word| word["word"] == "that"), "{sonnet}");
    example.assert_nothing_left(&["count", "ingest", "capitals"]);

    // Once more: there is nothing to do, but for what came.
    let again = || {
        let mut command = example.serve("pipeline.yaml", &example.path("data"));
        finish(command.arg("--once")).expect(0)
    };
    again().says(&format!("{} files finished before", data.len())).says("0 files finished");
    fs::write(example.path("data/mine.txt"), "One more text.\n").expect("an input");
    again().says("1 file finished, 0 failed");
    assert_eq!(words(&example.out("count/mine.json")), 3);
}

#[test]
fn pages_are_fetched_and_go_two_ways() {
    let example = Example::copy("books");
    let server = TestServer::start();
    // Its own server of files has a port that may be taken here.
    let port = server.http_port().to_string();
    let config = fs::read_to_string(example.path("pages.yaml")).expect("a configuration");
    assert!(config.contains("127.0.0.1:8000"), "{config}");
    fs::write(example.path("pages.yaml"), config.replace("8000", &port)).expect("written");
    for (stem, url) in example.data("urls") {
        assert!(url.starts_with("http://127.0.0.1:8000/"), "{url}");
        let page = format!("{}/page?name={stem}\n", server.http_url());
        example.bench.add(format!("{stem}.url"), page);
    }
    let flaky = format!("{}/flaky?fails=2&status=503", server.http_url());
    example.bench.add("flaky.url", flaky);
    example.bench.add("gone.url", format!("{}/status/404", server.http_url()));
    let mut command = example.serve("pages.yaml", &example.bench.input());
    command.arg("--once");
    for name in ["HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"] {
        command.env_remove(name);
    }
    finish(&mut command).expect(3).says("3 files finished, 1 failed");
    let page = example.out("fetch/jonah.txt");
    assert!(!page.is_empty());
    let capitals = format!("In capitals, {}", page.to_uppercase());
    for stem in ["jonah", "sonnet-18"] {
        assert_eq!(example.out(&format!("fetch/{stem}.txt")), page);
        assert_eq!(example.out(&format!("capitals/{stem}.upper.txt")), capitals);
        assert!(words(&example.out(&format!("count/{stem}.json"))) > 0);
    }
    assert!(example.bench.has("capitals/flaky.upper.txt"), "it was asked again");
    assert_eq!(list(&example.bench.output().join("fetch")).len(), 4);
    let error = example.bench.err("fetch/gone.err");
    assert!(error["message"].as_str().is_some_and(|m| m.contains("404")), "{error}");
    if let Some(rows) = example.rows("pages.db", "pages") {
        assert!(rows.keys().eq(["flaky", "jonah", "sonnet-18"]), "{rows:?}");
    }
    example.assert_nothing_left(&["count", "ingest", "capitals"]);
}

/// On a cluster it runs in `slurm.rs`.
#[test]
fn transcripts_is_as_it_should_be() {
    let example = Example::copy("transcripts");
    assert!(example.data("data").len() >= 3);
    let check = |key: Option<&str>| {
        let mut command = host();
        command.args(["pipeline", "check"]).arg(example.path("pipeline.yaml"));
        command.env_remove("VOYAGE_API_KEY");
        finish(command.envs(key.map(|key| ("VOYAGE_API_KEY", key))))
    };
    assert!(check(Some("any")).expect(0).stdout.contains("nothing is wrong with its 3 tasks"));
    // It says what is missing before anything begins.
    check(None).expect(2).says("`VOYAGE_API_KEY` is not set here");
}
