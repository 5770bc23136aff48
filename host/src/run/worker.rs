//! A worker: hosts the task in a Slurm job, and works on what the coordinator
//! gives it.
//!
//! It knows the coordinator by files only. Where that one dies, it finishes what
//! it holds, waits a while for another one, and leaves.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::signals::Signals;
use super::{Exit, RunError, open_files};
use crate::engine::{Environment, Interface, Network, Notices, Sandbox, Task, network};
use crate::executor::gate::{Gate, Label};
use crate::executor::local::{LocalExecutor, Shared};
use crate::executor::slurm::lines::{Appender, Follower};
use crate::executor::slurm::plan::WorkerPlan;
use crate::executor::slurm::protocol::{
    Assignment, Beat, Ended, Hello, Order, RunDir, Saying, WorkerName,
};
use crate::executor::{Job, Report};
use crate::outcome::{Failure, Outcome};
use crate::workspace::StagingArea;
use crate::workspace::catalog::FileId;
use crate::workspace::error_file::TaskIdentity;
use crate::workspace::journal::shorten;
use crate::workspace::names::Pairing;

/// How often it shows that it lives.
const BEAT: Duration = Duration::from_secs(5);

/// The shortest and the longest pause between two looks for orders.
const FASTEST_LOOK: Duration = Duration::from_millis(4);
/// See [`FASTEST_LOOK`].
const SLOWEST_LOOK: Duration = Duration::from_millis(200);

/// The longest pause, when it has had nothing to do for a while.
const IDLE_LOOK: Duration = Duration::from_millis(500);

/// How long reports gather while there is work.
const BUSY_PAUSE: Duration = Duration::from_millis(1);

/// How often what it says is sent on its way, on file systems that need that.
const SYNC: Duration = Duration::from_millis(100);

/// How long a coordinator that shows no life is believed to come back by a
/// worker that it told to stay.
const COORDINATOR: Duration = Duration::from_secs(60);

/// The least time before the end of a job at which a worker takes no more files.
const LEAST_MARGIN: Duration = Duration::from_secs(20);

/// How much longer a file may take than the longest so far.
const LONGER: f64 = 1.5;

/// How many attempts a sign of life names.
const NAMED: usize = 5;

/// What it says, written by the thread that has something to say.
type Voice = Arc<Mutex<Appender<Saying>>>;

/// Works in the run directory at `root` until it is told to leave.
pub fn work(root: &Path, name: WorkerName, plan_digest: &str) -> Result<Exit, RunError> {
    let process = |action| move |cause| RunError::Process { action, cause };
    let dir = RunDir::new(root.to_path_buf());
    let voice = Appender::open(&dir.reports(name)).map_err(process("open the worker's reports"))?;
    let voice = Arc::new(Mutex::new(voice));
    // Before anything that takes time: the coordinator waits for it.
    say(&voice, &Saying::Hello(Box::new(hello(plan_digest))));
    let give_up = |error: RunError| {
        say(&voice, &Saying::HostFailed(error.to_string()));
        say(&voice, &Saying::Bye);
        error
    };
    let plan = WorkerPlan::read(&dir.plan(plan_digest))
        .map_err(process("read the worker's plan"))
        .map_err(give_up)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(process("start the runtime"))
        .map_err(give_up)?;
    runtime.block_on(async {
        let signals = Signals::new().map_err(process("catch signals")).map_err(give_up)?;
        let executor = executor(&plan, &dir, name, Arc::clone(&voice)).map_err(give_up)?;
        let voice = Arc::clone(&voice);
        Ok(Worker::new(plan, &dir, name, voice, signals, executor).work().await)
    })
}

/// Says something at once.
fn say(voice: &Voice, saying: &Saying) {
    let mut voice = voice.lock().unwrap_or_else(PoisonError::into_inner);
    voice.push(saying);
    // A failure shows again when more is to be said, and is told then.
    let _ = voice.flush();
    let _ = voice.sync();
}

fn hello(plan: &str) -> Hello {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let number = |name| variable(name).and_then(|value| value.parse::<u64>().ok());
    let job = match (number("SLURM_ARRAY_JOB_ID"), number("SLURM_ARRAY_TASK_ID")) {
        (Some(base), Some(index)) => Some((base, u32::try_from(index).ok())),
        _ => number("SLURM_JOB_ID").map(|base| (base, None)),
    };
    let failures = variable("TIGERFLOW_SETUP_FAILURES").unwrap_or_default();
    let failure = |word: &str| {
        let (number, code) = word.split_once(':')?;
        Some((number.parse().ok()?, code.parse().ok()?))
    };
    Hello {
        job: job.map(|(base, index)| crate::executor::slurm::job::JobId { base, index }),
        node: variable("SLURMD_NODENAME")
            .unwrap_or_else(|| crate::workspace::lock::Owner::current().host),
        pid: std::process::id(),
        plan: plan.into(),
        cpus: number("SLURM_CPUS_PER_TASK")
            .or_else(|| number("SLURM_CPUS_ON_NODE"))
            .and_then(|n| u32::try_from(n).ok()),
        gpus: variable("CUDA_VISIBLE_DEVICES"),
        setup_failures: failures.split_whitespace().filter_map(failure).collect(),
    }
}

fn executor(
    plan: &WorkerPlan,
    dir: &RunDir,
    name: WorkerName,
    voice: Voice,
) -> Result<LocalExecutor, RunError> {
    let version = env!("CARGO_PKG_VERSION");
    if plan.version != version {
        return Err(RunError::Worker(format!(
            "this node has tigerflow-host {version}, and the run is of {}: replace neither while a \
             run is at work",
            plan.version
        )));
    }
    let unfit = |error: &dyn std::fmt::Display| RunError::Worker(error.to_string());
    let task = Task::load(&plan.component, plan.purpose).map_err(|e| unfit(&e))?;
    let calls = match task.interface() {
        Interface::Task => 1,
        Interface::AsyncTask => plan.concurrency.div_ceil(plan.instances),
    };
    let environment = Environment::new(plan.environment.clone());
    let notices = Arc::new(Notices::new(environment.clone()));
    let rules: Result<Vec<_>, _> = plan.hosts.iter().map(|host| host.parse()).collect();
    let limits = network::Limits {
        request_timeout: plan.request_timeout,
        response_limit: plan.response_limit,
        ..network::Limits::default()
    };
    let network = Network::new(
        rules.map_err(|e: crate::engine::network::HostRuleError| unfit(&e))?,
        limits,
        Arc::clone(&notices),
    );
    let mut sandbox = Sandbox {
        input_dir: plan.input_dir.clone(),
        notices,
        workspace_visible: plan.workspace_visible,
        directories: plan.directories.clone(),
        environment,
        memory_limit: plan.memory_limit,
        output_limit: plan.output_limit,
        isolation: plan.isolation,
        open_files: 0,
        calls,
        network: Arc::new(network),
        timeout: plan.timeout,
        setup_timeout: plan.setup_timeout,
        arguments: plan.arguments.clone(),
    };
    let concurrency = open_files::share(&task, &mut sandbox, plan.concurrency, plan.instances, 1);
    let labels: Vec<Label> = plan
        .labels
        .iter()
        .map(|(name, limit)| Label { name: name.clone(), limit: *limit })
        .collect();
    let extension =
        |text: &str| text.parse().map_err(|e: crate::workspace::names::ExtensionError| unfit(&e));
    let pairing =
        Pairing { input: extension(&plan.input_ext)?, output: extension(&plan.output_ext)? };
    let canonical_input = plan.input_dir.canonicalize().map_err(|error| {
        let path = plan.input_dir.display();
        unfit(&format!("failed to reach the input directory `{path}` on this node: {error}"))
    })?;
    let staging = StagingArea::create(dir.staging().join(name.to_string()), &plan.output_dir)?;
    let identity = TaskIdentity {
        name: task.description.name.clone(),
        version: task.description.version.clone(),
        digest: plan.digest.clone(),
    };
    let begins = move |id: FileId| {
        let mut voice = voice.lock().unwrap_or_else(PoisonError::into_inner);
        voice.push(&Saying::Begun(id.0));
        // Written before the attempt: it may be the last thing that is.
        let _ = voice.flush();
    };
    let shared = Shared {
        task,
        sandbox,
        staging,
        pairing,
        canonical_input,
        follow_links: plan.follow_links,
        identity,
        retry: plan.retry.clone(),
        gate: Gate::new(None, &labels)?,
        rivals: true,
        durability: plan.durability,
        on_begin: Some(Box::new(begins)),
    };
    Ok(LocalExecutor::new(shared, concurrency, plan.instances))
}

struct Worker {
    plan: WorkerPlan,
    voice: Voice,
    signals: Signals,
    executor: LocalExecutor,
    orders: Follower<Order>,
    pulse: Pulse,
    /// Files that wait for one that runs alone, and that one.
    behind: VecDeque<Assignment>,
    alone: Option<u32>,
    held: usize,
    stay: bool,
    leaving: bool,
    setup_failed: bool,
    host_failed: bool,
    /// When this job ends, as far as it is known, and most of the time that may
    /// be kept for what is in flight then.
    deadline: Option<(Instant, Duration)>,
    longest: Duration,
    idle_since: Instant,
    pause: Duration,
    next_look: Instant,
    next_beat: Instant,
    next_sync: Instant,
    terminated: bool,
}

/// Whether the coordinator lives.
struct Pulse {
    path: PathBuf,
    seen: Vec<u8>,
    since: Instant,
    next: Instant,
}

impl Pulse {
    /// How long there was no sign of it.
    fn silence(&mut self) -> Duration {
        let now = Instant::now();
        if self.next <= now {
            self.next = now + BEAT;
            // Opened anew each time: what another machine has written shows.
            let read = fs::read(&self.path).unwrap_or_default();
            if read != self.seen {
                (self.seen, self.since) = (read, now);
            }
        }
        now - self.since
    }
}

impl Worker {
    fn new(
        plan: WorkerPlan,
        dir: &RunDir,
        name: WorkerName,
        voice: Voice,
        signals: Signals,
        executor: LocalExecutor,
    ) -> Self {
        let now = Instant::now();
        // What Slurm says, where it does, and else what it was asked for.
        let moment = |name: &str| {
            let seconds = std::env::var(name).ok()?.parse().ok()?;
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        };
        let left = moment("SLURM_JOB_END_TIME")
            .and_then(|end| end.duration_since(SystemTime::now()).ok())
            .or_else(|| {
                let passed = moment("TIGERFLOW_JOB_BEGAN").and_then(|began| began.elapsed().ok());
                Some(plan.wall_time?.saturating_sub(passed.unwrap_or_default()))
            });
        let deadline = left.map(|left| (now + left, left / 3));

        Worker {
            plan,
            voice,
            signals,
            executor,
            orders: Follower::new(dir.orders(name)),
            pulse: Pulse { path: dir.pulse(), seen: Vec::new(), since: now, next: now },
            behind: VecDeque::new(),
            alone: None,
            held: 0,
            stay: false,
            leaving: false,
            setup_failed: false,
            host_failed: false,
            deadline,
            longest: Duration::ZERO,
            idle_since: now,
            pause: FASTEST_LOOK,
            next_look: now,
            next_beat: now + BEAT,
            next_sync: now,
            terminated: false,
        }
    }

    async fn work(mut self) -> Exit {
        // It was started because there is work: the task is set up at once.
        if let Err(error) = self.executor.ensure_slots(1) {
            self.host_failed(&format!("failed to start a thread: {error}"));
        }
        while !(self.leaving && self.held == 0) {
            let wake = self.next_look.min(self.next_beat).min(self.margin());
            tokio::select! {
                () = self.executor.wait() => {
                    self.reports();
                    if self.held > 0 {
                        tokio::time::sleep(BUSY_PAUSE).await;
                    }
                }
                signal = self.signals.next() => self.signal(signal),
                () = tokio::time::sleep_until(wake.into()) => self.time_passed(),
            }
        }
        loop {
            tokio::select! {
                () = self.executor.ended() => break,
                signal = self.signals.next() => self.signal(signal),
                () = tokio::time::sleep_until(self.next_beat.into()) => self.beat(),
            }
        }
        self.reports();
        // What came after the last look goes back.
        self.look();
        say(&self.voice, &Saying::Bye);
        match () {
            () if self.setup_failed => Exit::SetupFailed,
            () if self.host_failed => Exit::HostFailed,
            () => Exit::Done,
        }
    }

    /// When it is to take no more files because its job's time runs out.
    fn margin(&self) -> Instant {
        let far = Instant::now() + 2 * BEAT;
        match self.deadline {
            Some((deadline, most)) if !self.leaving => {
                let margin = self.longest.mul_f64(LONGER).max(LEAST_MARGIN).min(most);
                deadline.checked_sub(margin).unwrap_or_else(Instant::now).min(far)
            }
            _ => far,
        }
    }

    fn time_passed(&mut self) {
        let now = Instant::now();
        if self.next_look <= now {
            self.look();
        }
        if self.next_beat <= now {
            self.beat();
        }
        if self.leaving {
            return;
        }
        if self.deadline.is_some() && self.margin() <= now {
            return self.leave("its wall time is nearly over");
        }
        if self.held > 0 {
            self.idle_since = now;
            return;
        }
        let kept = self.stay && self.pulse.silence() < COORDINATOR;
        if !kept && now - self.idle_since >= self.plan.idle_timeout {
            self.leave("there was nothing to do");
        }
    }

    fn say(&self, saying: &Saying) {
        self.voice.lock().unwrap_or_else(PoisonError::into_inner).push(saying);
    }

    /// Writes what was said.
    fn flush(&mut self) {
        let now = Instant::now();
        let sync = self.next_sync <= now;
        if sync {
            self.next_sync = now + SYNC;
        }
        let mut voice = self.voice.lock().unwrap_or_else(PoisonError::into_inner);
        let written = voice.flush().and_then(|()| if sync { voice.sync() } else { Ok(()) });
        drop(voice);
        if let Err(error) = written
            && !self.leaving
        {
            tracing::error!("failed to report: {error}");
            self.host_failed = true;
            self.leave("it cannot report");
        }
    }

    fn look(&mut self) {
        let mut orders = Vec::new();
        if let Err(error) = self.orders.read(&mut orders) {
            tracing::debug!("failed to read orders: {error}");
        }
        let news = !orders.is_empty();
        for order in orders {
            self.obey(order);
        }
        if news {
            self.flush();
        }
        let idle = self.held == 0 && self.idle_since.elapsed() > BEAT;
        let slowest = if idle { IDLE_LOOK } else { SLOWEST_LOOK };
        self.pause = if news { FASTEST_LOOK } else { (self.pause * 2).min(slowest) };
        self.next_look = Instant::now() + self.pause;
        // Reports that are on their way though nothing more is said.
        if self.next_sync <= Instant::now() {
            self.flush();
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Take(assignments) => {
                if self.leaving {
                    let seqs = assignments.iter().map(|a| a.seq).collect();
                    return self.say(&Saying::HandedBack(seqs));
                }
                self.held += assignments.len();
                for assignment in assignments {
                    self.behind.push_back(assignment);
                }
                self.feed();
            }
            Order::HandBack(most) => {
                let waiting = most.min(self.behind.len());
                let at = self.behind.len() - waiting;
                let mut back: Vec<u32> = self.behind.split_off(at).iter().map(|a| a.seq).collect();
                let more = self.executor.take_back(most - waiting);
                back.splice(..0, more.iter().map(|job| job.id.0));
                self.held -= back.len();
                self.alone = self.alone.filter(|seq| !back.contains(seq));
                self.say(&Saying::HandedBack(back));
                self.feed();
            }
            Order::Stay(stay) => self.stay = stay,
            Order::Leave => self.leave("it was told to"),
            Order::Dismissed => {
                tracing::warn!("Dismissed: others have its files now");
                say(&self.voice, &Saying::Bye);
                std::process::exit(0);
            }
        }
    }

    /// Gives the executor what may run now. A file that may kill the worker runs
    /// with nothing beside it.
    fn feed(&mut self) {
        while self.alone.is_none() {
            let others = self.held - self.behind.len();
            let Some(next) = self.behind.pop_front_if(|next| !next.alone || others == 0) else {
                break;
            };
            self.alone = next.alone.then_some(next.seq);
            self.executor.hand_out(Job {
                id: FileId(next.seq),
                name: next.name.into(),
                attempts_before: next.attempts_before,
                retries: next.retries,
                interruptions: next.interruptions,
                link: next.link,
                contested: next.contested,
            });
        }
        let held = self.held - self.behind.len();
        if let Err(error) = self.executor.ensure_slots(held) {
            self.host_failed(&format!("failed to start a thread: {error}"));
        }
    }

    fn reports(&mut self) {
        for report in self.executor.take_reports() {
            match report {
                Report::SetupWorked => self.say(&Saying::SetupWorked),
                Report::SetupFailed(error) => {
                    super::task_run::tell_setup_failure(&error);
                    if !std::mem::replace(&mut self.setup_failed, true) {
                        self.say(&Saying::SetupFailed(error));
                    }
                    self.leave("`setup` failed");
                }
                Report::Ended(ended) => {
                    self.longest = self.longest.max(ended.duration);
                    self.done(ended.id.0);
                    self.say(&Saying::Ended(Ended {
                        seq: ended.id.0,
                        outcome: slim(ended.outcome),
                        attempt: ended.attempt,
                        duration: ended.duration,
                        slot: ended.slot,
                    }));
                }
                Report::HandedBack(id) => {
                    self.done(id.0);
                    self.say(&Saying::HandedBack(vec![id.0]));
                }
                Report::TeardownFailed(failure) => {
                    super::task_run::tell_failure("Task teardown failed", &failure);
                    self.say(&Saying::TeardownFailed(slim_failure(failure)));
                }
                Report::HostFailed(reason) => self.host_failed(&reason),
            }
        }
        self.feed();
        self.flush();
        // Hungry: more is likely to be there already.
        if self.held <= self.plan.concurrency {
            self.pause = FASTEST_LOOK;
            self.next_look = self.next_look.min(Instant::now() + FASTEST_LOOK);
        }
    }

    fn done(&mut self, seq: u32) {
        self.held -= 1;
        self.idle_since = Instant::now();
        if self.alone == Some(seq) {
            self.alone = None;
        }
    }

    fn host_failed(&mut self, reason: &str) {
        tracing::error!("{reason}");
        if !std::mem::replace(&mut self.host_failed, true) {
            self.say(&Saying::HostFailed(reason.into()));
        }
        self.leave("it failed");
    }

    fn beat(&mut self) {
        let now = Instant::now();
        self.next_beat = now + BEAT;
        let mut in_flight = self.executor.at_work().oldest;
        in_flight.truncate(NAMED);
        self.say(&Saying::Beat(Beat { in_flight }));
        self.flush();
    }

    fn signal(&mut self, signal: i32) {
        if std::mem::replace(&mut self.terminated, true) {
            tracing::warn!("Received signal {signal} again, leaving at once");
            std::process::exit(128 + signal);
        }
        tracing::warn!("Received signal {signal}: files in flight may finish, no others begin");
        self.leave(&format!("it received signal {signal}"));
    }

    /// Takes no more files, and gives back those that are not begun.
    fn leave(&mut self, why: &str) {
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        tracing::info!("Leaving: {why}");
        let told_by_slurm = self.terminated;
        self.say(&Saying::Leaving { why: why.into(), told_by_slurm });
        let behind: Vec<u32> = self.behind.drain(..).map(|a| a.seq).collect();
        self.held -= behind.len();
        if !behind.is_empty() {
            self.say(&Saying::HandedBack(behind));
        }
        self.executor.drain();
        self.reports();
    }
}

/// An outcome as it is reported: the `.err` has the rest.
fn slim(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Failed(failure) => Outcome::Failed(slim_failure(failure)),
        Outcome::Retrying(failure, after) => Outcome::Retrying(slim_failure(failure), after),
        Outcome::Aborted(reason) => Outcome::Aborted(shorten(&reason)),
        other => other,
    }
}

fn slim_failure(failure: Failure) -> Failure {
    Failure {
        message: shorten(&failure.message),
        traceback: String::new(),
        stderr: String::new(),
        ..failure
    }
}
