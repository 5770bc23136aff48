//! Each plugin does on real inputs what its README says; and no component is
//! built that no test runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tigerflow_tests::{Bench, Done, finish, host, plugin};

/// Runs a plugin on the input directory, from one extension to another.
fn run(bench: &Bench, name: &str, [from, to]: [&str; 2], more: &[&str]) -> Done {
    let mut command = host();
    command.arg("run").arg(plugin(name)).arg("--input-dir").arg(bench.input());
    command.args(["--input-ext", from, "--output-ext", to, "--output-dir"]).arg(bench.output());
    finish(command.arg("--once").args(more))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").to_owned()
}

#[test]
fn hello_greets() {
    let bench = Bench::new();
    bench.add("1.txt", "world\n").add("2.txt", "straße").add("3.txt", "");
    let more = ["--greeting", "Good morning"];
    let done = run(&bench, "hello", [".txt", ".out"], &more).expect(0);
    assert_eq!(bench.out("1.out"), "Good morning, WORLD\n");
    assert_eq!(bench.out("2.out"), "Good morning, STRASSE");
    assert_eq!(bench.out("3.out"), "Good morning, ");
    assert!(done.stdout.contains("Setup executed successfully!\n"), "{}", done.stdout);
    assert!(done.stdout.contains("Teardown executed successfully!\n"), "{}", done.stdout);
}

#[test]
fn hello_says_what_is_no_text() {
    let bench = Bench::new();
    bench.add("1.txt", b"abc\xff\xfe").add("2.txt", "world");
    run(&bench, "hello", [".txt", ".out"], &[]).expect(3);
    assert_eq!(bench.out("2.out"), "Hello, WORLD");
    let error = bench.err("1.err");
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("/input/1.txt") && message.contains("UTF-8"), "{message}");
    assert!(message.contains("byte 3"), "{message}");
}

#[test]
fn count_words_counts() {
    let bench = Bench::new();
    bench.add("cat.txt", "The cat saw\nthe other cat. It ran!\n").add("empty.txt", "");
    run(&bench, "count-words", [".txt", ".json"], &["--top", "2"]).expect(0);
    let found: Value = serde_json::from_str(&bench.out("cat.json")).expect("JSON");
    let expected = json!({
        "bytes": 35, "characters": 35, "lines": 2, "sentences": 2, "words": 8, "unique_words": 6,
        "average_word_length": 3.13, "longest_line": {"line": 2, "characters": 22},
        "top_words": [{"word": "cat", "count": 2}, {"word": "the", "count": 2}],
    });
    assert_eq!(found, expected);
    let empty: Value = serde_json::from_str(&bench.out("empty.json")).expect("JSON");
    assert_eq!((&empty["words"], &empty["longest_line"]), (&json!(0), &Value::Null));
}

#[test]
fn count_words_takes_its_options() {
    let bench = Bench::new();
    bench.add("a.txt", "The the tiger THE tiger of of of of x");
    let top = |more: &[&str]| {
        run(&bench, "count-words", [".txt", ".json"], more).expect(0);
        let found: Value = serde_json::from_str(&bench.out("a.json")).expect("JSON");
        fs::remove_file(bench.output().join("a.json")).expect("an output");
        let words = found["top_words"].as_array().expect("a list").clone();
        words.iter().map(|w| w["word"].as_str().expect("a word").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(top(&[]), ["of", "the", "tiger", "x"]);
    assert_eq!(top(&["--top", "1"]), ["of"]);
    assert_eq!(top(&["--min-length", "3"]), ["the", "tiger"]);
    assert_eq!(top(&["--skip", "of,The"]), ["tiger", "x"]);
    assert_eq!(top(&["--case-sensitive", "--skip", "of"]), ["tiger", "THE", "The", "the", "x"]);
}

#[test]
fn count_words_counts_the_texts_of_the_demo() {
    let samples = repository().join("plugins/count-words/samples");
    let bench = Bench::new();
    let mut texts = Vec::new();
    for entry in fs::read_dir(samples).expect("the samples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = fs::read_to_string(&path).expect("a text");
            let name = path.file_name().expect("a name").to_owned();
            bench.add(&name, &text);
            texts.push((name, text));
        }
    }
    assert!(texts.len() >= 20, "{}", texts.len());
    run(&bench, "count-words", [".txt", ".json"], &[]).expect(0);
    for (name, text) in texts {
        let output = Path::new(&name).with_extension("json");
        let found: Value = serde_json::from_str(&bench.out(output)).expect("JSON");
        let number = |key: &str| found[key].as_u64().expect("a number") as usize;
        assert_eq!(number("bytes"), text.len(), "{name:?}");
        assert_eq!(number("lines"), text.lines().count(), "{name:?}");
        // What has spaces between is not far from what Unicode calls words.
        let rough = text.split_whitespace().count();
        assert!((rough * 9 / 10..rough * 12 / 10).contains(&number("words")), "{name:?}");
        assert_eq!(found["top_words"].as_array().map(Vec::len), Some(10), "{name:?}");
    }
}

/// A picture of one colour as a PNG, not compressed.
fn png(width: u32, height: u32, colour: [u8; 3]) -> Vec<u8> {
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
            })
        })
    }
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        file.extend((data.len() as u32).to_be_bytes());
        let body = [kind, data].concat();
        file.extend(&body);
        file.extend(crc(&body).to_be_bytes());
    };
    let row = [&[0][..], &colour.repeat(width as usize)].concat();
    let pixels = row.repeat(height as usize);
    let length = u16::try_from(pixels.len()).expect("one block");
    let (a, b) = pixels.iter().fold((1, 0), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    let mut data = vec![0x78, 0x01, 0x01];
    data.extend(length.to_le_bytes());
    data.extend((!length).to_le_bytes());
    data.extend(&pixels);
    data.extend((b << 16 | a).to_be_bytes());
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(b"IHDR", &[&size[..], &[8, 2, 0, 0, 0]].concat());
    chunk(b"IDAT", &data);
    chunk(b"IEND", &[]);
    file
}

/// The width and height of a PNG.
fn size(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "no PNG");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

#[test]
fn thumbnail_scales() {
    let bench = Bench::new();
    bench.add("wide.png", png(120, 60, [200, 30, 30])).add("tall.png", png(40, 160, [0, 99, 0]));
    bench.add("tiny.png", png(4, 2, [1, 2, 3])).add("none.png", "no picture at all");
    let done = run(&bench, "thumbnail", [".png", ".png"], &["--width", "32", "--height", "32"]);
    done.expect(3).says("3 succeeded, 1 failed");
    let size_of = |name: &str| size(&fs::read(bench.output().join(name)).expect(name));
    assert_eq!(size_of("wide.png"), (32, 16));
    assert_eq!(size_of("tall.png"), (8, 32));
    assert_eq!(size_of("tiny.png"), (4, 2));
    let error = bench.err("none.err");
    let message = error["message"].as_str().expect("a message");
    assert!(message.starts_with("cannot make a thumbnail of `none.png`"), "{message}");
}

#[test]
fn thumbnail_writes_each_format() {
    for (extension, more, start) in [
        (".jpg", &[][..], &b"\xff\xd8\xff"[..]),
        (".webp", &[], b"RIFF"),
        (".bin", &["--format", "png"], b"\x89PNG"),
    ] {
        let bench = Bench::new();
        bench.add("a.png", png(50, 50, [9, 99, 199]));
        run(&bench, "thumbnail", [".png", extension], more).expect(0);
        let picture = fs::read(bench.output().join(format!("a{extension}"))).expect("a picture");
        assert!(picture.starts_with(start), "{extension}: {:?}", &picture[..8]);
    }
    let bench = Bench::new();
    bench.add("a.png", png(5, 5, [9, 99, 199]));
    run(&bench, "thumbnail", [".png", ".bin"], &[]).expect(3);
    let error = bench.err("a.err");
    assert!(error["message"].as_str().is_some_and(|m| m.contains("--format")), "{error:#}");
    bench.add("b.png", "");
    run(&bench, "thumbnail", [".png", ".jpg"], &["--quality", "0"]).expect(4).says("`--quality`");
}

/// A place with a directory for a database, and the option that grants it.
fn with_database() -> (Bench, String) {
    let bench = Bench::new();
    fs::create_dir(bench.path().join("db")).expect("a directory");
    let option = format!("{}::/db:rw", bench.path().join("db").display());
    (bench, option)
}

/// The rows of a table, as JSON, if something here reads databases.
fn rows(database: &Path, table: &str) -> Option<Value> {
    let query = format!("SELECT source, position, document FROM {table} ORDER BY 1, 2");
    let script = "import json, sqlite3, sys\n\
                  print(json.dumps(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall()))";
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(database).arg(query).stderr(Stdio::null());
    match python.output() {
        Ok(output) if output.status.success() => {
            Some(serde_json::from_slice(&output.stdout).expect("JSON"))
        }
        _ => {
            eprintln!("python3 with sqlite3 is missing: the rows are not read, the file only");
            None
        }
    }
}

/// Fails unless a database holds these rows.
#[track_caller]
fn assert_rows(database: &Path, table: &str, expected: &[(&str, u32, &str)]) {
    let bytes = fs::read(database).expect("a database");
    assert!(bytes.starts_with(b"SQLite format 3\0"));
    for (source, _, document) in expected {
        for text in [source, document] {
            let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(found, "{text} is not in the database");
        }
    }
    if let Some(rows) = rows(database, table) {
        assert_eq!(rows, json!(expected));
    }
}

#[test]
fn ingest_fills_a_database() {
    let (bench, option) = with_database();
    bench.add("a.json", r#"[{"id": 1}, {"id": 2}]"#).add("b.json", r#"{"name": "Grüß"}"#);
    bench.add("c.json", "{ broken");
    for number in 0..200 {
        bench.add(format!("n{number:03}.json"), format!("{{\"number\": {number}}}"));
    }
    let more = ["--dir", &option, "--concurrency-limit", "8"];
    run(&bench, "ingest", [".json", ".done"], &more).expect(3).says("202 succeeded, 1 failed");
    assert_eq!((bench.out("a.done"), bench.out("n199.done")), (String::new(), String::new()));
    let error = bench.err("c.err");
    assert!(error["message"].as_str().is_some_and(|m| m.contains("is not JSON")), "{error:#}");

    let names: Vec<(String, String)> =
        (0..200).map(|n| (format!("n{n:03}"), format!("{{\"number\": {n}}}"))).collect();
    let mut expected =
        vec![("a", 0, r#"{"id": 1}"#), ("a", 1, r#"{"id": 2}"#), ("b", 0, r#"{"name": "Grüß"}"#)];
    expected.extend(names.iter().map(|(source, document)| (source.as_str(), 0, document.as_str())));
    let directory = bench.path().join("db");
    assert_rows(&directory.join("ingest.db"), "documents", &expected);
    // Torn down in good order: nothing is left beside the database.
    assert_eq!(fs::read_dir(&directory).expect("a directory").count(), 1);
}

#[test]
fn ingest_goes_on_with_a_database_and_takes_names() {
    let (bench, option) = with_database();
    let more = ["--dir", &option, "--database", "my.db", "--table", "notes"];
    bench.add("a.json", "[1, 2, 3]");
    run(&bench, "ingest", [".json", ".done"], &more).expect(0);
    bench.add("b.json", "\"later\"").add("a.json", "[7]");
    fs::remove_file(bench.output().join("a.done")).expect("an output");
    run(&bench, "ingest", [".json", ".done"], &more).expect(0).says("2 succeeded, 0 failed");
    let expected = [("a", 0, "7"), ("b", 0, "\"later\"")];
    assert_rows(&bench.path().join("db/my.db"), "notes", &expected);
}

#[test]
fn ingest_is_not_started_without_its_directory() {
    let (bench, option) = with_database();
    bench.add("a.json", "[1]");
    let line = ["--env", "KEY=hush", "--table", "my_notes"];
    let done = run(&bench, "ingest", [".json", ".done"], &line).expect(2);
    let done = done.says("--dir HOST_DIR::/db:rw   Makes and fills the database there");
    assert!(!done.stderr.contains("hush"), "{}", done.stderr);
    assert_eq!(bench.names(), [""; 0]);
    // The whole command line, with what was missing.
    for part in ["run", "--input-ext .json", "--table my_notes", "--once"] {
        assert!(done.stderr.contains(part), "`{part}` is missing in:\n{}", done.stderr);
    }
    let read_only = option.replace(":rw", ":ro");
    run(&bench, "ingest", [".json", ".done"], &["--dir", &read_only]).expect(2).says(":rw");
    // A name that would lead out of it.
    let more = ["--dir", &option, "--database", "../x.db"];
    run(&bench, "ingest", [".json", ".done"], &more).expect(4).says("must be a file name");
}

/// The output that a plugin's README shows behind its `cat`.
fn shown(name: &str) -> String {
    let readme = repository().join("plugins").join(name).join("README.md");
    let text = fs::read_to_string(readme).expect("a README");
    let (_, after) = text.split_once("\ncat out/").expect("a README shows an output");
    let (_, block) = after.split_once("\n```\n\n```").expect("a block");
    let (_, block) = block.split_once('\n').expect("a block");
    block.split_once("\n```").expect("its end").0.to_owned()
}

/// Runs a plugin over its samples.
fn run_samples(name: &str, extensions: [&str; 2], more: &[&str]) -> (Bench, Done) {
    let bench = Bench::new();
    let samples = repository().join("plugins").join(name).join("samples");
    for entry in fs::read_dir(samples).expect("samples") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, bench.input().join(path.file_name().expect("a name"))).expect("copied");
    }
    let done = run(&bench, name, extensions, more);
    (bench, done)
}

#[test]
fn clean_csv_cleans() {
    let (bench, done) = run_samples("clean-csv", [".csv", ".csv"], &[]);
    done.expect(0).says("4 rows kept; 1 empty, 1 repeated");
    assert_eq!(bench.out("orders.csv").trim_end(), shown("clean-csv"));
}

#[test]
fn clean_csv_takes_its_options_and_says_what_is_wrong() {
    let bench = Bench::new();
    bench
        .add("a.csv", "A B;C\n1;2\n1;2\n")
        .add("b.csv", "a,b\n1,2,3\n")
        .add("c.csv", b"a,b\n\xff\x00,\n");
    let more = ["--keep-duplicates", "--header", "keep", "--ragged", "fail"];
    run(&bench, "clean-csv", [".csv", ".out"], &more).expect(3);
    assert_eq!(bench.out("a.out"), "A B,C\n1,2\n1,2\n");
    let message = bench.err("b.err")["message"].to_string();
    assert!(message.contains("line 2"), "{message}");
}

#[test]
fn render_markdown_renders() {
    let bench = Bench::new();
    bench.add("cat.md", "---\ntitle: Cats\n---\n# The cat\n\n- [x] *fed*\n");
    run(&bench, "render-markdown", [".md", ".html"], &["--standalone"]).expect(0);
    assert_eq!(bench.out("cat.html").trim_end(), shown("render-markdown"));
    let (samples, done) = run_samples("render-markdown", [".md", ".html"], &[]);
    done.expect(0);
    let bread = samples.out("bread.html");
    assert!(bread.contains("<h2 id=\"backen--abkühlen\">Backen &amp; Abkühlen</h2>"), "{bread}");
}

#[test]
fn summarize_logs_summarizes() {
    let more = ["--top", "2", "--only", "errors"];
    let (bench, done) = run_samples("summarize-logs", [".log", ".json"], &more);
    done.expect(0);
    let [made, shown] = [bench.out("2026-11-21.json"), shown("summarize-logs")]
        .map(|text| serde_json::from_str::<Value>(&text).expect("JSON"));
    assert_eq!(made, shown);
}

#[test]
fn summarize_logs_fails_on_what_is_no_log() {
    let bench = Bench::new();
    bench.add("a.log", "not a log line\n".repeat(20)).add("b.log", "");
    run(&bench, "summarize-logs", [".log", ".json"], &[]).expect(3);
    assert_eq!(bench.err("a.err")["outcome"], "failed");
    assert_eq!(bench.err("b.err")["outcome"], "aborted");
}

#[test]
fn normalize_audio_brings_samples_to_a_level() {
    let more = ["-v", "--peak", "-6"];
    let (bench, done) = run_samples("normalize-audio", [".wav", ".wav"], &more);
    done.expect(0).says("silence-16bit.wav: it is silent, and stays so");
    let [before, after] = [bench.input(), bench.output()].map(|directory| {
        let wav = fs::read(directory.join("string-16bit.wav")).expect("a WAV file");
        let at = wav.windows(4).position(|four| four == b"data").expect("its samples") + 8;
        let samples = wav[at..].chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]]));
        samples.map(|sample| f64::from(sample).abs()).fold(0.0, f64::max) / 32768.0
    });
    let level = |peak: f64| 20.0 * peak.log10();
    assert!(level(before) < -29.0 && (level(after) + 6.0).abs() < 0.05, "{before} {after}");
}

#[test]
fn normalize_audio_says_what_is_broken() {
    let bench = Bench::new();
    bench
        .add("a.wav", "RIFF")
        .add("b.wav", "no sound at all, but a text of some length ".repeat(3));
    run(&bench, "normalize-audio", [".wav", ".wav"], &[]).expect(3);
    for name in ["a.err", "b.err"] {
        assert_eq!(bench.err(name)["exception_type"], "NotWav");
    }
}

#[test]
fn every_component_has_a_test() {
    let names = |directory: PathBuf| -> BTreeSet<String> {
        let entries = fs::read_dir(&directory).unwrap_or_else(|e| panic!("{directory:?}: {e}"));
        entries
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.join("README.md").exists() || path.is_file())
            .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
            .collect()
    };
    let tests = repository().join("tests");
    let mut source = String::new();
    for directory in
        ["e2e", "e2e/concurrent", "e2e/network", "e2e/pipeline", "e2e/policies", "e2e/slurm"]
    {
        for entry in fs::read_dir(tests.join(directory)).expect("the tests") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                source += &fs::read_to_string(path).expect("a test");
            }
        }
    }
    let manifest = fs::read_to_string(tests.join("guests/Cargo.toml")).expect("a manifest");
    let mut guests = names(tests.join("guests/src"));
    assert!(guests.remove("lib"), "{guests:?}");
    for name in &guests {
        assert!(source.contains(&format!("guest(\"{name}\")")), "no test runs the guest {name}");
        let example = format!("[[example]]\nname = \"{name}\"\npath = \"src/{name}.rs\"");
        assert!(manifest.contains(&example), "the guest {name} is not built: no [[example]]");
    }
    let examples = manifest.matches("[[example]]").count();
    assert_eq!(examples, guests.len(), "an [[example]] without its file, or twice");

    let mut plugins = names(repository().join("plugins"));
    plugins.remove("Cargo");
    // They are of plugins, and have tests of their own.
    plugins.remove("pipelines");
    assert!(plugins.contains("hello"), "{plugins:?}");
    for name in &plugins {
        let runs = source.contains(&format!("run(&bench, \"{name}\", "))
            || source.contains(&format!("plugin(\"{name}\")"));
        assert!(runs, "no test runs the plugin {name}");
    }
}
