use super::super::answers::MESSAGE;
use super::*;
use std::fs;
use std::path::Path;

/// What `sbatch` printed, and the name of what it means.
const ANSWERS: &[(&str, &str)] = &[
    (
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "Unreachable",
    ),
    (
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "Unreachable",
    ),
    ("sbatch: error: Batch job submission failed: Connection refused", "Unreachable"),
    (
        "sbatch: error: Batch job submission failed: Slurm backup controller in standby mode",
        "Unreachable",
    ),
    (
        "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
        "Unreachable",
    ),
    (
        "sbatch: error: If munged is up, restart with --num-threads=10\n\
         sbatch: error: Munge encode failed: Failed to access \"/run/munge/munge.socket.2\": No such file or directory\n\
         sbatch: error: Batch job submission failed: Protocol authentication error",
        "Unreachable",
    ),
    (
        "sbatch: error: s_p_parse_file: cannot stat file /nope: No such file or directory, retrying in 1sec up to 60sec\n\
         sbatch: error: ClusterName needs to be specified\n\
         sbatch: fatal: Unable to process configuration file",
        "Unreachable",
    ),
    (
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying.\n\
         sbatch: error: Batch job submission failed: Resource temporarily unavailable",
        "Busy",
    ),
    ("sbatch: error: Slurm job queue full, sleeping and retrying", "Busy"),
    ("sbatch: error: Batch job submission failed: MaxJobCount limit reached", "Busy"),
    (
        "sbatch: error: Batch job submission failed: Rate limit exceeded, please retry momentarily",
        "Busy",
    ),
    (
        "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        "Busy",
    ),
    (
        "sbatch: error: QOSMaxSubmitJobPerUserLimit\n\
         sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        "Busy",
    ),
    ("sbatch: error: AssocMaxSubmitJobLimit", "Busy"),
    (
        "sbatch: error: Batch job submission failed: Required partition not available (inactive or drain)",
        "Busy",
    ),
    (
        "sbatch: error: QOSMaxWallDurationPerJobLimit\n\
         sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        "Refused",
    ),
    (
        "sbatch: error: QOSMaxMemoryPerJob\n\
         sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        "Refused",
    ),
    ("sbatch: error: Batch job submission failed: Invalid job array specification", "NoArrays"),
    ("sbatch: error: Job arrays are not allowed in this partition", "NoArrays"),
    (
        "sbatch: error: invalid partition specified: nope\n\
         sbatch: error: Batch job submission failed: Invalid partition name specified",
        "Refused",
    ),
    (
        "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
        "Refused",
    ),
    (
        "sbatch: error: Memory specification can not be satisfied\n\
         sbatch: error: Batch job submission failed: Requested node configuration is not available",
        "Refused",
    ),
    ("sbatch: error: Batch job submission failed: Access/permission denied", "Refused"),
    ("sbatch: error: Invalid --time specification", "Refused"),
    ("allocation failure: Invalid qos specification", "Refused"),
    ("sbatch: fatal: stdin: line 2: Unmatched `\"` in [--comment=\"x]", "Refused"),
];

#[test]
fn messages_of_slurm_are_told_apart() {
    for (said, meaning) in ANSWERS {
        let error = format!("{:?}", submit_error(words(said)));
        assert!(error.starts_with(meaning), "{said} is {error}");
    }
}

#[test]
fn messages_are_for_people() {
    let said = "sbatch: error: invalid partition specified: nope\n\n\
        sbatch: error: Batch job submission failed: Invalid partition name specified\n\
        sbatch: error: Batch job submission failed: Invalid partition name specified\n";
    let error = submit_error(words(said)).to_string();
    let text = "invalid partition specified: nope; Invalid partition name specified: choose one";
    assert!(error.starts_with(text), "{error}");
    assert!(error.ends_with("`--sbatch-option=--partition=NAME`"), "{error}");
    let policy = "QOSMaxMemoryPerJob; Job violates accounting/QOS policy (job submit limit, \
        user's size and/or time limits)";
    assert_eq!(submit_error(policy.into()).to_string(), policy);
    assert_eq!(words("sbatch: fatal: \u{1b}[1mno\n"), "\\u{1b}[1mno");
    assert!(words(&"x ".repeat(MESSAGE)).len() < MESSAGE + 10);
}

#[test]
fn a_jobs_number_is_found() {
    assert_eq!(job_number("123"), Some(123));
    assert_eq!(job_number(" 123;cluster "), Some(123));
    for line in ["", "0", "Submitted batch job 123", "123 welcome", "-1"] {
        assert_eq!(job_number(line), None, "{line}");
    }
}

#[test]
fn a_job_around_this_process_is_not_the_workers() {
    for name in [
        "SLURM_JOB_ID",
        "SLURM_MEM_PER_NODE",
        "SLURM_CPUS_PER_TASK",
        "SLURM_ARRAY_TASK_ID",
        "SLURM_TIME_FORMAT",
        "SBATCH_WAIT",
        "SBATCH_ARRAY_INX",
        "SQUEUE_FORMAT",
        "SCANCEL_INTERACTIVE",
        "TIGERFLOW_HIDDEN_ENV",
    ] {
        assert!(is_left_out(OsStr::new(name)), "{name}");
    }
    for name in ["SLURM_CONF", "SLURM_CLUSTERS", "SBATCH_ACCOUNT", "SBATCH_EXPORT", "PATH"] {
        assert!(!is_left_out(OsStr::new(name)), "{name}");
    }
}

/// A client of programs that are these bash scripts.
fn client(folder: &Path, programs: &[(&str, &str)]) -> Client {
    for (name, script) in programs {
        // Not by this process, whose other tests begin processes meanwhile: they
        // would hold it open for a moment, and what is open for writing does not run.
        let write = r#"printf '#!/bin/bash\n%s\n' "$1" > "$0"; chmod +x "$0""#;
        let mut bash = std::process::Command::new("bash");
        bash.arg("-c").arg(write).arg(folder.join(name)).arg(script);
        assert!(bash.status().unwrap().success());
    }
    Client { folder: folder.into(), limit: Duration::from_secs(20) }
}

/// Runs `work` with these programs for Slurm's.
fn with<T>(programs: &[(&str, &str)], work: impl AsyncFnOnce(Client, &Path) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work(client(folder.path(), programs), folder.path()))
}

#[test]
fn a_job_is_submitted_by_its_script() {
    let fake =
        "cat > \"$0.script\"; printf '%s\\n' \"$@\" > \"$0.args\"; echo hello; echo '7;north'";
    with(&[("sbatch", fake)], async |client, folder| {
        let options = ["--mem=1G".into(), "--output=/a b/%a.log".into()];
        // More than a pipe holds, in both directions.
        let script = vec![b'x'; 300_000];
        assert_eq!(client.submit(&options, &script).await, Ok(7));
        assert_eq!(fs::read(folder.join("sbatch.script")).unwrap(), script);
        let arguments = fs::read_to_string(folder.join("sbatch.args")).unwrap();
        assert_eq!(arguments, "--parsable\n--mem=1G\n--output=/a b/%a.log\n");
        assert_eq!(client.test(&options, b"").await, Ok(()));
        let arguments = fs::read_to_string(folder.join("sbatch.args")).unwrap();
        assert!(arguments.starts_with("--test-only\n"));
    });
}

#[test]
fn answers_that_are_none() {
    // It reads no script, and tells no number.
    with(&[("sbatch", "echo welcome")], async |client, _| {
        let error = client.submit(&[], &[b'x'; 300_000]).await.unwrap_err();
        let text = "`sbatch` told no job's number: `welcome`";
        assert_eq!(error, SubmitError::Unreachable(text.into()));
    });
    with(&[("sbatch", "kill -9 $$")], async |client, _| {
        let error = client.submit(&[], b"").await.unwrap_err();
        assert!(
            matches!(&error, SubmitError::Unreachable(m) if m.contains("signal: 9")),
            "{error}"
        );
    });
    with(&[("sbatch", "exit 3")], async |client, _| {
        let error = client.submit(&[], b"").await.unwrap_err();
        assert!(
            matches!(&error, SubmitError::Refused(m) if m.contains("exit status: 3")),
            "{error}"
        );
    });
    with(&[], async |client, _| {
        assert_eq!(client.submit(&[], b"").await, Err(SubmitError::Missing("sbatch")));
        assert_eq!(client.queue(&[1]).await, Err(QueryError::Missing("squeue")));
        let message = client.queue_of_user().await.unwrap_err().to_string();
        assert_eq!(message, "`squeue` was not found: run this on a login node of the cluster");
    });
}

#[test]
fn commands_that_do_not_end_are_left() {
    let full =
        "echo 'sbatch: error: Slurm job queue full, sleeping and retrying' >&2; exec sleep 600";
    with(&[("sbatch", full), ("squeue", "exec sleep 600")], async |mut client, _| {
        client.limit = Duration::from_millis(700);
        let error = client.submit(&[], b"").await.unwrap_err();
        assert!(matches!(&error, SubmitError::Busy(m) if m.contains("queue full")), "{error}");
        let error = client.queue(&[1]).await.unwrap_err();
        assert_eq!(error.to_string(), "`squeue` did not end within 0.7 s");
    });
}

#[test]
fn what_no_node_has_is_explained() {
    let no = "echo 'allocation failure: Requested node configuration is not available' >&2; exit 1";
    with(&[("sbatch", no)], async |client, _| {
        let error = client.test(&[], b"").await.unwrap_err().to_string();
        assert!(error.contains("--memory"), "{error}");
        assert!(matches!(client.submit(&[], b"").await, Err(SubmitError::Refused(_))));
    });
}

#[test]
fn the_queue_is_asked_in_parts() {
    let fake = "echo \"${@: -1}\" >> \"$0.jobs\"; echo '5|N/A|RUNNING|None|n1|x|1:00|'";
    with(&[("squeue", fake)], async |client, folder| {
        let jobs: Vec<u64> = (1..=2_500).collect();
        assert_eq!(client.queue(&jobs).await.unwrap().len(), 3);
        assert_eq!(client.queue(&[]).await.unwrap(), []);
        let asked = fs::read_to_string(folder.join("squeue.jobs")).unwrap();
        let parts: Vec<usize> = asked.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(parts, [1000, 1000, 500]);
    });
}

#[test]
fn a_forgotten_job_is_no_error() {
    let forgotten = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1";
    with(&[("squeue", forgotten)], async |client, _| {
        assert_eq!(client.queue(&[999]).await, Ok(vec![]));
    });
    let down = "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1";
    with(&[("squeue", down)], async |client, _| {
        let error = client.queue(&[999]).await.unwrap_err();
        let text = "Unable to contact slurm controller (connect failure)";
        assert_eq!(error, QueryError::Unreachable(text.into()));
    });
}

#[test]
fn jobs_that_are_over_need_no_cancelling() {
    let over = "printf '%s\\n' \"$@\" > \"$0.args\"
        echo 'scancel: error: Kill job error on job id 7_1: Job/step already completing or completed' >&2
        echo 'scancel: error: Kill job error on job id 8: Invalid job id specified' >&2; exit 1";
    let jobs = [JobId { base: 7, index: Some(1) }, JobId { base: 8, index: None }];
    with(&[("scancel", over)], async |client, folder| {
        assert_eq!(client.cancel(&jobs).await, Ok(()));
        assert_eq!(fs::read_to_string(folder.join("scancel.args")).unwrap(), "7_1\n8\n");
    });
    let other =
        "echo 'scancel: error: Kill job error on job id 7_1: Access/permission denied' >&2; exit 1";
    with(&[("scancel", other)], async |client, _| {
        let text = "Kill job error on job id 7_1: Access/permission denied";
        assert_eq!(client.cancel(&jobs).await, Err(QueryError::Failed(text.into())));
        assert_eq!(client.cancel(&[]).await, Ok(()));
    });
}
