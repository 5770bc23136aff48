use super::super::options::{KNOWN, by_name};
use super::*;
use std::path::PathBuf;
use std::process::{Command, Output};

fn request(options: &[&str]) -> JobRequest {
    let options = options.iter().map(ToString::to_string).collect();
    JobRequest { task_name: "words".into(), options, ..JobRequest::default() }
}

fn arguments(request: &JobRequest, how_many: u32, logs: &str, excluded: &[&str]) -> String {
    let excluded: Vec<String> = excluded.iter().map(ToString::to_string).collect();
    let arguments = request.arguments(how_many, Path::new(logs), 7, &excluded);
    arguments.join(OsStr::new("|")).into_string().unwrap()
}

#[test]
fn options_that_break_workers_are_refused() {
    for (option, fix) in [
        ("--output=x", "leave it out"),
        ("-ox", "leave it out"),
        ("-o x", "leave it out"),
        ("-Ho x", "leave it out"),
        ("--out x", "leave it out"),
        ("-p gpu --error=x", "leave it out"),
        ("-e x", "leave it out"),
        ("-i x", "leave it out"),
        ("--open-mode=truncate", "leave it out"),
        ("--array=1-3", "--max-workers"),
        ("-a 1-3", "--max-workers"),
        ("--wrap 'sleep 1'", "--setup-command"),
        ("--parsable", "leave it out"),
        ("--test-only", "leave it out"),
        ("--wait", "leave it out"),
        ("-W", "leave it out"),
        ("-Q", "leave it out"),
        ("-N2", "--max-workers"),
        ("--nodes=1-2", "--max-workers"),
        ("--ntasks 4", "--cpus"),
        ("-n", "lacks its value"),
        ("-A lab --partition", "lacks its value"),
        ("-M north", "SLURM_CLUSTERS"),
        ("--exclude=./nodes", "name the nodes"),
        ("partition=gpu", "begin with `-`"),
        ("", "begin with `-`"),
        ("--comment='x", "not closed"),
        ("-p gpu : -p cpu", "several parts"),
        ("-p gpu\n#SBATCH -o x", "control character"),
    ] {
        let error = request(&[option]).check().unwrap_err();
        assert!(error.contains(fix), "{option}: {error}");
        assert!(error.starts_with("--sbatch-option `"), "{error}");
    }
    for option in [
        "--partition=gpu",
        "-p gpu -A lab",
        "--mail-user=x@y.z",
        "--comment='two words -o'",
        "--nodes=1",
        "-n 1",
        "--mem=4G",
        "--wait-all-nodes=1",
        "--time-min=5",
        "--exclusive --time=5",
        "--exclude=node[1-3]",
        "--constraint \"a&b\" # -o x",
        "--new-thing output",
    ] {
        assert_eq!(request(&[option]).check(), Ok(()), "{option}");
    }
}

#[test]
fn options_are_sorted() {
    // So that a name comes before those that only begin with it.
    assert!(KNOWN.is_sorted_by_key(|known| known.name));
    let known = |name| by_name(name).map(|known| known.name);
    assert_eq!(
        [known("mem"), known("part"), known("mem-p")],
        [Some("mem"), Some("partition"), None]
    );
}

#[test]
fn nothing_is_said_twice() {
    let own = JobRequest {
        cpus: Some(4),
        memory: Some("4G".into()),
        time: Some("60".into()),
        gpus: Some(1),
        ..JobRequest::default()
    };
    for (option, flag) in [
        ("-t 30", "--time"),
        ("--time=30", "--time"),
        ("--mem 1G", "--memory"),
        ("--mem-per-cpu=1G", "--memory"),
        ("-c2", "--cpus"),
        ("-G 1", "--gpus"),
        ("--gpus-per-node=1", "--gpus"),
    ] {
        let both = JobRequest { options: vec![option.into()], ..own.clone() };
        let error = both.check().unwrap_err();
        assert!(error.contains(&format!("{flag} says it already")), "{option}: {error}");
        assert_eq!(request(&[option]).check(), Ok(()), "{option}");
    }
}

#[test]
fn words_are_as_sbatch_reads_them() {
    for (line, expected) in [
        ("-p gpu", &["-p", "gpu"][..]),
        ("  --a=\"b c\"  'd\"e' ", &["--a=b c", "d\"e"]),
        ("a\\ b \\\"c \"d\\\"e\"", &["a b", "\"c", "d\"e"]),
        ("a#b c", &["a"]),
        ("\"a#b\" # c", &["a#b"]),
        ("--comment \"\" -o x", &["--comment"]),
        ("", &[]),
    ] {
        assert_eq!(words(line).unwrap(), expected, "{line}");
    }
}

#[test]
fn arguments_say_what_must_hold() {
    let all = JobRequest {
        cpus: Some(4),
        memory: Some("4G".into()),
        time: Some("1-0".into()),
        gpus: Some(2),
        ..request(&[])
    };
    let fixed = "--open-mode=append|--nodes=1|--ntasks=1";
    assert_eq!(
        arguments(&all, 1, "/out", &[]),
        format!("--cpus-per-task=4|--mem=4G|--time=1-0|--gpus=2|--output=/out/7-0.log|{fixed}")
    );
    assert_eq!(
        arguments(&request(&[]), 3, "/o%t/a b", &["n1", "n2"]),
        format!("--exclude=n1,n2|--array=0-2|--output=/o%%t/a b/7-%a.log|{fixed}")
    );
    // A backslash turns patterns off.
    assert_eq!(
        arguments(&request(&[]), 3, "/o%\\t", &[]),
        format!("--array=0-2|--output=/o%\\\\t/7-0.log|{fixed}")
    );
    // The environment would override the script.
    let given = request(&["-pgpu --mail-user=x -x n[5-6]", "--part cpu --exclusive", "-J 'a b'"]);
    assert_eq!(
        arguments(&given, 1, "/out", &["n1"]),
        format!(
            "--partition=gpu|--partition=cpu|--exclusive|--job-name=a b|\
             --exclude=n[5-6],n1|--output=/out/7-0.log|{fixed}"
        )
    );
    let script = String::from_utf8(given.script(&launch(Path::new("/d")))).unwrap();
    assert!(script.contains("\n#SBATCH -pgpu --mail-user=x -x n[5-6]\n"), "{script}");
    assert!(script.contains("\n#SBATCH -J 'a b'\n"));
}

#[test]
fn defaults_come_before_what_users_say() {
    let request = JobRequest { task_name: "größe \"x\"".into(), ..request(&["--comment=mine"]) };
    let launch = Launch { comment: "a b\"c\\\n", ..launch(Path::new("/d")) };
    let script = String::from_utf8(request.script(&launch)).unwrap();
    let head: Vec<&str> = script.lines().take(5).collect();
    assert_eq!(
        head,
        [
            "#!/bin/bash",
            "#SBATCH --job-name=tigerflow-gr__e__x_",
            r#"#SBATCH --comment="a b\"c\\ ""#,
            "#SBATCH --requeue",
            "#SBATCH --comment=mine",
        ]
    );
    assert_eq!(words(r#"--comment="a b\"c\\ ""#).unwrap(), ["--comment=a b\"c\\ "]);
}

fn launch(dir: &Path) -> Launch<'_> {
    Launch {
        binary: dir,
        run_dir: dir,
        submission: 7,
        comment: "tigerflow:run:7",
        cache_dir: dir,
        plan: "0123456789ab",
    }
}

/// Runs the script as a job would, with a program in place of tigerflow-host
/// that shows what it gets.
fn run(setup: &[&str], name: &OsStr) -> (PathBuf, Output) {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join(name);
    let program = r#"mkdir -p "$1"
        printf '#!/bin/bash\nprintf "<%%s>\\n" "$@" "$TIGERFLOW_CACHE_DIR" "$TIGERFLOW_SETUP_FAILURES" "$PWD" "$KEPT" "$TIGERFLOW_JOB_BEGAN"\n' > "$1/host"
        chmod +x "$1/host""#;
    let made = Command::new("bash").arg("-c").arg(program).arg("bash").arg(&place).status();
    assert!(made.unwrap().success());
    let output = execute(setup, &place.join("host"), &place);
    (place, output)
}

fn execute(setup: &[&str], binary: &Path, run_dir: &Path) -> Output {
    let setup_commands = setup.iter().map(ToString::to_string).collect();
    let request = JobRequest { setup_commands, ..request(&[]) };
    let script = request.script(&Launch { binary, run_dir, ..launch(run_dir) });
    assert!(!script.contains(&b'\r') && !script.contains(&0));
    // bash itself reads a script in pieces, as it runs.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &script).unwrap();
    let mut bash = Command::new("bash");
    bash.arg(file.path()).current_dir("/").env("SLURMD_NODENAME", "node5");
    bash.env_remove("SLURM_ARRAY_TASK_ID").env(SETUP_FAILURES, "9:9");
    bash.output().unwrap()
}

/// What the program in the host's place got, and what the log says.
fn got(output: &Output) -> (Vec<String>, String) {
    let lines = String::from_utf8_lossy(&output.stdout);
    let lines = lines.lines().map(|line| line.trim_matches(['<', '>']).to_owned());
    (lines.collect(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_worker_is_started() {
    let (place, output) = run(&[], OsStr::new("plain"));
    let (words, log) = got(&output);
    let place = place.to_str().unwrap();
    assert_eq!(words[..5], ["worker", place, "7-0", "0123456789ab", place], "{log}");
    assert_eq!((&*words[5], &*words[6], &*log), ("", "/", ""));
    assert!(words[8].parse::<u64>().unwrap() > 1_700_000_000, "{words:?}");
}

#[test]
fn any_path_will_do() {
    for name in [
        &b"a b"[..],
        b"it's \"$HOME\" `x` \\ $(x) !x * ~ #x",
        "größe 1".as_bytes(),
        b"line\nbreak\t",
        b"carriage\r\nreturn",
        b"not \xff\xfe unicode's\x01a",
        b"-x",
    ] {
        let (place, output) = run(&["true"], OsStr::from_bytes(name));
        assert!(output.status.success(), "{name:?}: {output:?}");
        let path = place.as_os_str().as_bytes();
        let expected = [b"<worker>\n<", path, b">\n<7-0>\n<0123456789ab>\n<", path, b">\n"];
        assert!(output.stdout.starts_with(&expected.concat()), "{name:?}: {output:?}");
    }
}

#[test]
fn setup_commands_run_in_the_workers_shell() {
    let (_, output) = run(&["export KEPT='a  b'", "cd /tmp", "cat <<x\nhello\nx"], OsStr::new("p"));
    let (words, log) = got(&output);
    assert_eq!(words[0], "hello");
    assert_eq!(words[6..9], ["", "/tmp", "a  b"], "{log}");
}

#[test]
fn a_setup_command_that_fails_stops_nothing() {
    let setup = [
        "set -e; set -u; set -o pipefail",
        "false",
        "echo $UNDEFINED > /dev/null",
        "surely-not-a-command",
        "if true; then (",
        "}; exit 5; {",
        "cat > /dev/null <<end\nopen",
        "export KEPT=x",
        "# only a comment",
        "- ; (exit 3)",
    ];
    let (_, output) = run(&setup, OsStr::new("p"));
    let (words, log) = got(&output);
    assert_eq!(words[0], "worker", "{log}");
    assert_eq!((&*words[5], &*words[7]), ("2:1 4:127 5:2 6:2 10:3", "x"), "{log}");
    assert!(log.contains("warning: setup command 4 failed with exit code 127\n"), "{log}");
}

#[test]
fn a_setup_command_may_end_the_job() {
    for (command, code) in [("exit 4", 4), ("set -u; echo $UNDEFINED", 1)] {
        let (_, output) = run(&["true", command], OsStr::new("p"));
        let (words, log) = got(&output);
        assert_eq!((words.len(), output.status.code() == Some(0)), (0, false), "{log}");
        assert!(log.contains("error: setup command 2 ended the job, with exit code"), "{log}");
        assert!(code == 1 || output.status.code() == Some(code), "{log}");
    }
}

#[test]
fn what_the_node_does_not_see_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = execute(&[], &dir.path().join("no host"), dir.path());
    let (_, log) = got(&output);
    assert_eq!(output.status.code(), Some(127));
    let path = dir.path().join("no host");
    let text = format!("error: tigerflow-host is not at `{}` on node node5", path.display());
    assert!(log.starts_with(&text) && log.contains("shared file system"), "{log}");

    let output = execute(&[], Path::new("/bin/true"), &dir.path().join("no run"));
    let (_, log) = got(&output);
    assert_eq!(output.status.code(), Some(126));
    assert!(log.contains("no run` is not there on node node5"), "{log}");
}
