//! What `pipeline report` tells.

use tigerflow_tests::finish;

use super::{Pipeline, task};

/// One file that was finished, one that failed, one that was declined.
fn ended() -> Pipeline {
    let pipeline = Pipeline::new(&[
        task("one", "upper", ".txt", ".one", "keep_output: false"),
        task("two", "slow", ".one", ".two", "depends_on: one"),
    ]);
    pipeline.add("a.txt", "take this").add("b.txt", "fail this").add("c.txt", "decline this");
    pipeline.run(&[]).expect(3);
    pipeline
}

#[test]
fn a_program_reads_what_became_of_all_files() {
    let pipeline = ended();
    let report = pipeline.report();
    assert_eq!(report["version"], 1);
    let status = &report["status"];
    assert_eq!((&status["running"], &status["pid"]), (&false.into(), &().into()));
    assert_eq!((&status["state"], &status["exit_code"]), (&"ended".into(), &3.into()));
    assert_eq!(status["config"], pipeline.config().display().to_string());
    let files = &report["progress"]["pipeline"];
    for (key, number) in [
        ("finished", 1),
        ("errored", 1),
        ("aborted", 1),
        ("in_progress", 0),
        ("waiting", 0),
        ("known", 3),
    ] {
        assert_eq!(files[key], number, "{key}: {files}");
    }
    let tasks = report["progress"]["tasks"].as_array().expect("tasks");
    let numbers: Vec<_> = tasks
        .iter()
        .map(|task| ["processed", "failed", "aborted"].map(|key| task[key].as_u64().expect(key)))
        .collect();
    assert_eq!(numbers, [[3, 0, 0], [1, 1, 1]]);
    assert_eq!(tasks[1]["depends_on"], "one");
    assert_eq!(report["metrics"]["one"]["count"], 3);
    for key in ["avg_ms", "min_ms", "max_ms", "durations", "files"] {
        assert!(!report["metrics"]["one"][key].is_null(), "{key}");
    }
    let errors = report["errors"]["two"].as_array().expect("errors");
    let failed: Vec<_> = errors.iter().filter(|error| error["outcome"] == "failed").collect();
    assert_eq!(failed.len(), 1, "{errors:?}");
    assert_eq!(failed[0]["message"], "told to fail");
    assert!(failed[0]["path"].as_str().expect("a path").ends_with("two/b.err"));
}

#[test]
fn people_read_it_and_choose_its_parts() {
    let pipeline = ended();
    let report = |more: &[&str]| finish(&mut pipeline.about("report", more)).expect(0).stdout;
    let whole = report(&[]);
    for words in ["exit code 3", "1 finished", "1 failed", "told to fail", "two/b.err"] {
        assert!(whole.contains(words), "`{words}` is missing in:\n{whole}");
    }
    let errors = report(&["--include", "errors"]);
    assert!(errors.contains("told to fail") && !errors.contains("exit code"), "{errors}");
    let status = report(&["--include", "status,progress"]);
    assert!(status.contains("exit code 3") && !status.contains("told to fail"), "{status}");
    let only = report(&["--json", "--include", "metrics"]);
    let only: serde_json::Value = serde_json::from_str(&only).expect("JSON");
    assert!(only["metrics"].is_object());
    for key in ["status", "progress", "errors"] {
        assert!(only[key].is_null(), "{key}: {only}");
    }
    finish(&mut pipeline.about("report", &["--include", "weather"])).expect(2).says("weather");
}
