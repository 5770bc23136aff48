//! A component that is a step of a pipeline's staging: it says which of the
//! waiting files are taken next.
//!
//! One instance lives from call to call. After a trap, an error or a timeout it is
//! dropped, and the next call has a new one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::runtime::Runtime;
use wasmtime::Store;
use wasmtime_wasi::{FsPerms, WasiCtx};

use super::bindings::staging::exports::tigerflow::task::stage as wit;
use super::bindings::staging::{StageComponent, StageComponentPre};
use super::bindings::tigerflow::task::types;
use super::component::LoadError;
use super::description::{Description, Value};
use super::guest::{Attempt, GUEST_INPUT, Gauge, Guest, OWN_LANE, Opened};
use super::instance::{Stop, within};
use super::stdio::Stdio;
use super::{Compiled, DESCRIBE_MEMORY, Environment, Purpose};
use crate::text::{clip, one_line, size};

/// Most memory of an instance, in bytes: names and sizes of some millions of files.
const MEMORY: usize = 1 << 30;

/// Most time for one call, and for `setup`. Nothing is staged meanwhile.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Most files that an instance may hold open at once. It has a look at some.
const OPEN_FILES: usize = 64;

/// Longest text of a component's that is told, in bytes.
const TEXT_LIMIT: usize = 8 << 10;

/// An input file that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name within the input directory.
    pub name: OsString,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written to.
    pub modified: SystemTime,
}

/// How many files of a pipeline are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not taken yet.
    pub waiting: u64,
    /// Taken, and neither completed nor failed.
    pub staged: u64,
    /// Finished by all tasks.
    pub completed: u64,
    /// Failed in one of the tasks.
    pub failed: u64,
}

/// A component that is a staging step, ready to be instantiated.
#[derive(Clone)]
pub struct Stage {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// What it says of itself. It has no grants.
    pub description: Description,
    /// Why it is compiled anew each time, where it is.
    pub warning: Option<String>,
    pre: StageComponentPre<Guest>,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("path", &self.path).field("digest", &self.digest).finish()
    }
}

impl Stage {
    /// Loads a component, and asks it what it is.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let purpose = Purpose { interruptible: true, fresh: 0 };
        let compiled = Compiled::load(path, purpose)?;
        compiled.shape.check_stage(path)?;
        let Compiled { component, digest, shape, warning, .. } = compiled;
        let pre = super::join(path, &component, &shape, StageComponentPre::new)?;
        let mut stage =
            Stage { path: path.into(), digest, description: Description::default(), warning, pre };
        stage.description = stage
            .describe()
            .map_err(|problem| LoadError::Describe { path: path.into(), problem })?;
        Ok(stage)
    }

    fn describe(&self) -> Result<Description, String> {
        let store = self.store(DESCRIBE_MEMORY, super::nothing_granted)?;
        let pre = self.pre.clone();
        let raw = super::describe(store, async move |store: &mut Store<Guest>| {
            let component = pre.instantiate_async(&mut *store).await?;
            component.tigerflow_task_stage().call_describe(store).await
        })?;
        let wit::Description { name, version, summary, parameters } = raw;
        Description::check(types::Description {
            name,
            version,
            summary,
            parameters,
            grants: Vec::new(),
            max_concurrency: None,
            option_defaults: Vec::new(),
        })
    }

    fn store(
        &self,
        memory_limit: usize,
        wasi: impl FnOnce(&Stdio) -> Result<WasiCtx, String>,
    ) -> Result<Store<Guest>, String> {
        let own = Attempt::new(0, Gauge::default());
        let (engine, name) = (self.pre.engine(), &self.description.name);
        let mut store =
            super::store(engine, name, memory_limit, own, &Environment::default(), wasi)?;
        super::make_interruptible(&mut store);
        Ok(store)
    }
}

/// A staging step at work. Its calls block the thread for as long as the component
/// takes, which may be half a minute. Asynchronous code, in which they would panic,
/// has them made by a thread that may block.
pub struct StageStep {
    stage: Arc<Stage>,
    input_dir: PathBuf,
    arguments: Vec<types::Argument>,
    /// Is there as long as the step.
    runtime: Option<Runtime>,
    /// None before the first call, and after one that went wrong.
    instance: Option<Instance>,
}

struct Instance {
    store: Store<Guest>,
    component: StageComponent,
}

impl std::fmt::Debug for StageStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StageStep").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl StageStep {
    /// A step that sees this input directory, and whose `setup` receives these
    /// arguments. Nothing of it runs yet.
    pub fn new(
        stage: Arc<Stage>,
        input_dir: PathBuf,
        arguments: &[(String, Value)],
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let argument = |(name, value): &(String, Value)| types::Argument {
            name: name.clone(),
            value: value.clone().into(),
        };
        let arguments = arguments.iter().map(argument).collect();
        Ok(StageStep { stage, input_dir, arguments, runtime: Some(runtime), instance: None })
    }

    /// What it was made of.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Calls `setup` in an instance, where there is none. The first call of
    /// [`StageStep::choose`] does so, too; an early one tells mistakes early.
    pub fn start(&mut self) -> Result<(), String> {
        if self.instance.is_none() {
            let call = Instance::create(&self.stage, &self.input_dir, &self.arguments);
            let runtime = self.runtime.as_ref().expect("it is there as long as the step");
            self.instance = Some(runtime.block_on(call)?);
        }
        Ok(())
    }

    /// Asks the component which of these files are taken next: their places in the
    /// list, in the order in which they are to be taken. The error says what went
    /// wrong, in one line.
    pub fn choose<'a>(
        &mut self,
        candidates: impl ExactSizeIterator<Item = &'a Candidate>,
        counts: Counts,
    ) -> Result<Vec<usize>, String> {
        self.start()?;
        // Put back only where all went well.
        let mut instance = self.instance.take().expect("it was started just now");
        let length = candidates.len();
        let candidates: Vec<wit::Candidate> = candidates.map(lower).collect();
        let runtime = self.runtime.as_ref().expect("it is there as long as the step");
        let chosen = runtime.block_on(instance.choose(&candidates, counts))?;
        let chosen = check(chosen, length)?;
        self.instance = Some(instance);
        Ok(chosen)
    }
}

impl Drop for StageStep {
    fn drop(&mut self) {
        self.instance = None;
        // As a plain drop would wait, which no asynchronous caller may do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Instance {
    async fn create(
        stage: &Stage,
        input_dir: &Path,
        arguments: &[types::Argument],
    ) -> Result<Self, String> {
        let mut store = stage.store(MEMORY, |stdio| wasi(input_dir, stdio))?;
        let guest = store.data_mut();
        guest.opened = Opened::new(OPEN_FILES);
        // It has no staging place. No path that is not absolute is that of a file, so
        // nothing in a workspace, which a link may lead to, passes for its own.
        guest.own_staging = Some("none".into());
        let call = async {
            let component = stage.pre.instantiate_async(&mut store).await?;
            let answer = component.tigerflow_task_stage().call_setup(&mut store, arguments).await?;
            Ok((component, answer))
        };
        match within(Some(TIME_LIMIT), "", call).await {
            Ok((component, Ok(()))) => Ok(Instance { store, component }),
            Ok((_, Err(message))) => Err(format!("`setup` failed: {}", said(message))),
            Err(stop) => Err(format!("`setup` failed: {}", explain(&stop, store.data_mut()))),
        }
    }

    async fn choose(
        &mut self,
        candidates: &[wit::Candidate],
        counts: Counts,
    ) -> Result<Vec<u32>, String> {
        self.store.data_mut().begin();
        let Counts { waiting, staged, completed, failed } = counts;
        let counts = wit::Counts { waiting, staged, completed, failed };
        let stage = self.component.tigerflow_task_stage();
        let call = stage.call_choose(&mut self.store, candidates, counts);
        match within(Some(TIME_LIMIT), "", call).await {
            Ok(Ok(chosen)) => Ok(chosen),
            Ok(Err(message)) => Err(said(message)),
            Err(stop) => Err(explain(&stop, self.store.data_mut())),
        }
    }
}

/// The sandbox: the input directory, to look at.
fn wasi(input_dir: &Path, stdio: &Stdio) -> Result<WasiCtx, String> {
    let mut builder = WasiCtx::builder();
    // Before the directory, which takes it over.
    builder.allow_blocking_current_thread(true);
    builder.stdout(stdio.stdout()).stderr(stdio.stderr());
    builder
        .preopened_dir(input_dir, GUEST_INPUT, FsPerms::ReadOnly)
        .map_err(|error| format!("failed to open `{}`: {error:#}", input_dir.display()))?;
    Ok(builder.build())
}

/// What a component says that went wrong, in one line.
fn said(message: String) -> String {
    match one_line(clip(message, TEXT_LIMIT).trim()).into_owned() {
        empty if empty.is_empty() => "it does not say why".into(),
        message => message,
    }
}

/// Why a call gave no answer. No option raises a step's limits.
fn explain(stop: &Stop, guest: &mut Guest) -> String {
    if let Stop::Timeout(limit, _) = stop {
        return format!("it was stopped after {}", humantime::format_duration(*limit));
    }
    let failure = stop.describe(guest, OWN_LANE);
    if failure.exception_type == "MemoryLimit" {
        return format!("it needs more memory than {}", size(MEMORY as u64));
    }
    match failure.message.strip_prefix("the task ") {
        Some(fate) => format!("it {fate}"),
        None => said(failure.message),
    }
}

fn lower(candidate: &Candidate) -> wit::Candidate {
    let since = |time: SystemTime| match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    };
    wit::Candidate {
        name: candidate.name.to_string_lossy().into_owned(),
        size: candidate.size,
        modified: since(candidate.modified),
    }
}

/// Takes over the places that a component chose from so many files.
fn check(chosen: Vec<u32>, length: usize) -> Result<Vec<usize>, String> {
    let mut seen = vec![false; length];
    let place = |place: u32| match seen.get_mut(place as usize) {
        None => {
            Err(format!("it chose file {place}, counted from 0, of {length}: there is none such"))
        }
        Some(true) => Err(format!("it chose file {place}, counted from 0, twice")),
        Some(new) => {
            *new = true;
            Ok(place as usize)
        }
    };
    chosen.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_places_are_checked() {
        assert_eq!(check(vec![2, 0], 3), Ok(vec![2, 0]));
        assert_eq!(check(vec![], 0), Ok(vec![]));
        assert!(
            check(vec![3], 3).is_err_and(|said| said.contains("file 3") && said.contains("of 3"))
        );
        assert!(check(vec![1, 2, 1], 3).is_err_and(|said| said.contains("file 1")));
    }

    #[test]
    fn a_candidate_is_told_as_the_interface_has_it() {
        use std::os::unix::ffi::OsStringExt;
        let modified = UNIX_EPOCH - Duration::from_millis(1500);
        let name = OsString::from_vec(b"a\xff.txt".to_vec());
        let told = lower(&Candidate { name, size: 7, modified });
        assert_eq!((&*told.name, told.size, told.modified), ("a\u{fffd}.txt", 7, -1.5));
    }

    #[test]
    fn what_is_said_fits_a_line_of_the_log() {
        assert_eq!(said("no\nway \n".into()), "no\\nway");
        assert_eq!(said(" \n".into()), "it does not say why");
    }

    #[test]
    fn a_step_can_go_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<StageStep>();
    }
}
