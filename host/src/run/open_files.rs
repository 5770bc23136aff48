//! How many files the process may open, and what each instance may of that.

use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::engine::{Interface, Isolation, Sandbox, Task};

/// Files that the host itself has open, or may have, beside those of instances:
/// the journal, the lock, the watch.
const HOST_FILES: usize = 64;

/// Files that each worker thread's runtime has open: its event queue and what
/// wakes it.
const THREAD_FILES: usize = 4;

/// Files that the host has open for each instance: two for its staging place,
/// two preopened, and one or two while it publishes.
const INSTANCE_FILES: usize = 6;

/// Files that each call in flight of an asynchronous task takes, at one time or
/// another: its input, or its output.
const CALL_FILES: usize = 1;

/// Files that each of them may hold on average, where there are enough.
const FILES_OF_A_CALL: usize = 8;

/// Files that a guest may hold open at least, and at most.
const LEAST_OPEN_FILES: usize = 8;
const MOST_OPEN_FILES: usize = 4_096;

/// Lets the process open as many files as it may, and gives each instance its
/// share. The usual soft limit of 1,024 is there for programs that `select`.
/// `tasks`: how many tasks are at work in this process, which share alike. Returns
/// how many files may be in flight.
pub fn share(
    task: &Task,
    sandbox: &mut Sandbox,
    mut concurrency: usize,
    instances: usize,
    tasks: usize,
) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let files = usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX) / tasks;
    // The network's connections have a share of their own.
    let files = if sandbox.network.is_granted() { files - files / 4 } else { files };
    let instance = INSTANCE_FILES + sandbox.directories.len();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    // Whether each file in flight has an instance of its own.
    let own_instances = task.interface() == Interface::Task || sandbox.isolation == Isolation::File;
    // What each file in flight takes, and what there is beside.
    let (each, ours) = match own_instances {
        true => {
            let threads = cores.min(concurrency);
            (instance + LEAST_OPEN_FILES, HOST_FILES + THREAD_FILES * threads)
        }
        false => {
            let all = instances * (instance + LEAST_OPEN_FILES + THREAD_FILES);
            (CALL_FILES, HOST_FILES + all)
        }
    };
    let most = (files.saturating_sub(ours) / each).max(1);
    if concurrency > most {
        tracing::warn!(
            "The process may open {files} files, which is enough for {most} in flight: \
             --concurrency-limit {} is lowered (`ulimit -n` tells the limit)",
            concurrency
        );
        concurrency = most;
    }
    let (instances, calls) = match own_instances {
        true => (concurrency, 1),
        false => (instances, concurrency.div_ceil(instances)),
    };
    let share = (files.saturating_sub(ours) / instances).saturating_sub(instance);
    let most = MOST_OPEN_FILES.max(calls * FILES_OF_A_CALL);
    sandbox.open_files = share.clamp(LEAST_OPEN_FILES, most);
    sandbox.calls = calls;
    concurrency
}
