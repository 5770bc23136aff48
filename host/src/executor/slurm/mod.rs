//! The Slurm executor: the same component in worker jobs, over nothing but a
//! shared file system and Slurm's own commands.
//!
//! Here are the effects: files, commands, time. What to do about them is decided
//! in [`fleet`], which is pure.

mod answers;
pub mod autoscale;
pub mod client;
mod court;
pub mod fleet;
pub mod job;
pub mod ledger;
pub mod left_over;
pub mod lines;
mod options;
mod pace;
pub mod plan;
pub mod protocol;
pub mod script;
mod show;
mod take_over;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::task::JoinSet;

pub use self::court::Court;
pub use self::take_over::{Resumed, unfinished};

use self::autoscale::Limits;
use self::client::{Client, QueryError, SubmitError};
use self::fleet::{Action, Fleet, Level, Settings, Trouble};
use self::job::{JobId, JobStatus};
use self::ledger::{Entry, Ledger};
use self::lines::{Appender, Follower};
use self::plan::WorkerPlan;
use self::protocol::{Order, RunDir, Saying, Seat, WorkerName};
use self::script::{JobRequest, Launch};
use super::attempt;

use super::gate::Rate;
use super::{Ended, Job, LeftBehind, Report};
use crate::engine::Task;
use crate::outcome::Outcome;
use crate::workspace::journal::{Attempt, Record, WorkerEnded, WorkerStarted};
use crate::workspace::names::shown;
use crate::workspace::remove_tree;

/// The longest pause between two looks at what workers say.
const SLOWEST_LOOK: Duration = Duration::from_millis(100);

/// The same, when no worker runs.
const SLOWEST_IDLE_LOOK: Duration = Duration::from_millis(250);

/// The shortest.
const FASTEST_LOOK: Duration = Duration::from_millis(4);

/// How often the coordinator shows workers that it lives.
pub const PULSE: Duration = Duration::from_secs(5);

/// How often Slurm is asked, at most, when its answer is awaited: a job's start,
/// its end.
const SOON: Duration = Duration::from_secs(2);

/// How often to look for workers' first words by listing.
const LISTING: Duration = Duration::from_millis(50);

/// How to run workers.
#[derive(Clone, Debug)]
pub struct SlurmPlan {
    /// What to ask Slurm for.
    pub request: JobRequest,
    /// How many workers.
    pub limits: Limits,
    /// How long files in flight may go on once the run was told to stop.
    pub grace: Duration,
    /// How often Slurm is asked for the jobs' states, when nothing is awaited.
    pub interval: Duration,
    /// How often attempts begin, over all workers.
    pub rate: Option<Rate>,
    /// What workers must know.
    pub worker: WorkerPlan,
}

/// Workers in Slurm jobs.
pub struct SlurmExecutor {
    begun: Instant,
    fleet: Fleet,
    dir: RunDir,
    request: JobRequest,
    plan: String,
    binary: PathBuf,
    client: Client,
    ledger: Ledger,
    links: BTreeMap<WorkerName, Link>,
    commands: JoinSet<Answer>,
    asking: bool,
    interval: Duration,
    next_query: Instant,
    next_look: Instant,
    last_listing: Instant,
    next_pulse: Instant,
    pause: Duration,
    pulse: File,
    pulses: u64,
    reports: Vec<Report>,
    records: Vec<Record>,
    court: Court,
    /// Workers that have nothing to say any more.
    past: HashSet<WorkerName>,
    told_setup_failures: bool,
}

/// The files between the coordinator and a worker.
struct Link {
    orders: Option<Appender<Order>>,
    reports: Follower<Saying>,
    /// Whether it has said anything.
    introduced: bool,
}

/// What a command of Slurm's came back with.
enum Answer {
    Submitted(u32, Result<u64, SubmitError>, usize),
    Queue(Duration, Result<Vec<JobStatus>, QueryError>),
    /// All jobs of the user, to find some whose submission was not answered.
    All(Result<Vec<JobStatus>, QueryError>),
    Cancelled(Vec<JobId>, Result<(), QueryError>),
}

/// Why there is no executor.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} `{}`: {cause}{}", path.display(), crate::workspace::advice(cause))]
pub struct SlurmError {
    action: &'static str,
    path: PathBuf,
    cause: io::Error,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SlurmError {
    let path = path.to_path_buf();
    move |cause| SlurmError { action, path, cause }
}

/// What tells a run's jobs from others, in Slurm's own books.
fn comment(dir: &RunDir, submission: u32) -> String {
    let run = dir.path().file_name().unwrap_or_default().to_string_lossy();
    format!("tigerflow:{run}:{submission}")
}

/// Removes what a run whose books are closed needed, but for its workers' logs.
fn tidy(dir: &RunDir) {
    let tidy = || -> io::Result<()> {
        for entry in fs::read_dir(dir.path())? {
            let entry = entry?;
            if entry.file_type()?.is_file() && entry.path() != dir.ledger() {
                fs::remove_file(entry.path())?;
            }
        }
        remove_tree(&dir.staging())?;
        for entry in fs::read_dir(dir.workers())? {
            let path = entry?.path();
            if path.extension().is_none_or(|e| e != "log") {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    };
    if let Err(error) = tidy() {
        tracing::debug!("failed to tidy up `{}`: {error}", dir.path().display());
    }
}

impl SlurmExecutor {
    /// Workers for this plan, whose files lie below `root`. Goes on where a
    /// coordinator died that had workers there.
    pub fn open(
        root: &Path,
        plan: SlurmPlan,
        task: &Task,
        court: Court,
    ) -> Result<(Self, bool), SlurmError> {
        fs::create_dir_all(root).map_err(failed("create", root))?;
        let (dir, books) = take_over::latest(root).map_err(failed("read", root))?;
        let workers = dir.workers();
        fs::create_dir_all(&workers).map_err(failed("create", &workers))?;
        let staging = dir.staging();
        fs::create_dir_all(&staging).map_err(failed("create", &staging))?;
        // Or each worker compiles it, all at the same time.
        if let Err(error) = task.seed_cache(&dir.cache()) {
            tracing::warn!("Workers compile the task anew: {error:#}");
        }

        let mut worker = plan.worker;
        let extension = worker.component.extension().unwrap_or(OsStr::new("wasm")).to_owned();
        let name = format!("task-{}", &worker.digest[..12]);
        let copy = dir.path().join(name).with_extension(extension);
        if !copy.exists() {
            let part = copy.with_extension("part");
            fs::copy(&worker.component, &part).map_err(failed("copy the component to", &part))?;
            fs::rename(&part, &copy).map_err(failed("create", &copy))?;
        }
        worker.component = copy;
        let digest = worker.digest();
        let plan_file = dir.plan(&digest);
        worker.write(&plan_file).map_err(failed("write", &plan_file))?;
        let ledger = Ledger::open(&dir.ledger()).map_err(failed("open", &dir.ledger()))?;
        let pulse = File::create(dir.pulse()).map_err(failed("create", &dir.pulse()))?;
        let binary = std::env::current_exe()
            .map_err(failed("find", Path::new("the path of tigerflow-host")))?;

        let settings = Settings {
            limits: plan.limits,
            concurrency: worker.concurrency,
            rate: plan.rate,
            plan: digest.clone(),
            grace: plan.grace,
        };
        let taken_over = !books.seats.is_empty();
        let mut fleet = Fleet::new(settings, books.submissions);
        for (seat, job) in books.seats {
            fleet.take_over(seat, job, Duration::ZERO);
        }
        let now = Instant::now();
        let executor = SlurmExecutor {
            begun: now,
            fleet,
            dir,
            request: plan.request,
            plan: digest,
            binary,
            client: Client::new(),
            ledger,
            links: BTreeMap::new(),
            commands: JoinSet::new(),
            asking: false,
            interval: plan.interval,
            next_query: now,
            next_look: now,
            last_listing: now,
            next_pulse: now,
            pause: FASTEST_LOOK,
            pulse,
            pulses: 0,
            reports: Vec::new(),
            records: Vec::new(),
            court,
            past: HashSet::new(),
            told_setup_failures: false,
        };
        Ok((executor, taken_over))
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// A file for some worker.
    pub fn hand_out(&mut self, job: Job) {
        self.fleet.give(job);
        self.next_look = Instant::now();
    }

    /// How many files there are to do that were not handed out.
    pub fn set_waiting(&mut self, files: usize) {
        self.fleet.set_waiting(files);
    }

    /// Takes no more files, and has the workers leave.
    pub fn drain(&mut self) {
        self.fleet.drain(self.now());
        self.act();
        self.next_look = Instant::now();
    }

    /// Waits until there are reports, and keeps everything going meanwhile.
    /// Nothing is lost if it is not waited for to the end.
    pub async fn wait(&mut self) {
        while self.reports.is_empty() && self.records.is_empty() {
            self.turn().await;
        }
    }

    async fn turn(&mut self) {
        tokio::select! {
            Some(answer) = self.commands.join_next(), if !self.commands.is_empty() => match answer {
                Ok(answer) => self.answered(answer),
                Err(error) => tracing::error!("an internal fault of tigerflow-host: {error}"),
            },
            () = tokio::time::sleep_until(self.next_look.into()) => self.look(),
        }
    }

    /// Takes the reports that there are.
    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// Takes what the journal is to say of workers.
    pub fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }

    /// Waits for the workers to be gone.
    pub async fn ended(&mut self) {
        while !self.fleet.is_gone() || !self.commands.is_empty() {
            self.turn().await;
        }
        self.settle().await;
        self.close();
    }

    /// Waits a moment for Slurm to see that the jobs are gone, so that none is
    /// in its queue when the run has ended.
    async fn settle(&mut self) {
        let jobs: Vec<u64> = self.fleet.made();
        if jobs.is_empty() {
            return;
        }
        let until = Instant::now() + Duration::from_secs(10);
        let mut pause = Duration::from_millis(100);
        while Instant::now() < until {
            match self.client.queue(&jobs).await {
                Ok(queue) if queue.iter().all(|status| status.state.is_over()) => return,
                Ok(_) => tokio::time::sleep(pause).await,
                Err(_) => return,
            }
            pause = (pause * 2).min(SOON);
        }
    }

    /// Leaves at once: cancels all jobs.
    pub fn abandon(&mut self) -> LeftBehind {
        let files = self.fleet.abandon();
        if let Err(error) = self.cancel_all() {
            tracing::error!(
                "failed to cancel the run's jobs: {error}; `tigerflow-host stop OUTPUT_DIR` does it later"
            );
        }

        let (begun, rest): (Vec<_>, Vec<_>) = files.into_iter().partition(|(_, begun)| *begun);
        let ended = begun.into_iter().map(|(job, _)| Ended {
            id: job.id,
            outcome: Outcome::Interrupted {
                why: "the run was told to leave at once".into(),
                explained: true,
            },
            attempt: job.attempts_before + 1,
            duration: Duration::ZERO,
            slot: 0,
            origin: None,
        });
        let not_begun = rest.into_iter().map(|(job, _)| job.id).collect();
        LeftBehind { in_flight: ended.collect(), not_begun }
    }

    /// Cancels all jobs, one whose submission is under way included.
    fn cancel_all(&self) -> Result<(), left_over::ClearError> {
        let cancel = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(failed("start a runtime for", self.dir.path()))?;
            runtime.block_on(left_over::cancel(&self.dir, &self.client))
        };
        // On a thread of its own, as this one's runtime is at work.
        let done = std::thread::scope(|scope| scope.spawn(cancel).join());
        let Ok(result) = done else { return Ok(()) };
        result?;
        Ok(left_over::close(&self.dir)?)
    }

    /// Closes the books. What stays are the logs.
    fn close(&mut self) {
        if let Err(error) = left_over::close(&self.dir) {
            tracing::warn!("{error}");
        }
    }

    /// Looks at what workers said, and at the clock.
    fn look(&mut self) {
        let now = self.now();
        let moment = Instant::now();
        // Where none is expected, one may come that Slurm requeued unseen.
        let pause = if self.fleet.expects() { LISTING.max(self.pause) } else { SOON };
        if moment >= self.last_listing + pause {
            self.last_listing = moment;
            self.find_workers();
        }
        let mut heard = false;
        let mut sayings = Vec::new();
        let names: Vec<WorkerName> = self.links.keys().copied().collect();
        for name in names {
            let Some(link) = self.links.get_mut(&name) else { continue };
            if let Err(error) = link.reports.read(&mut sayings) {
                // A file server that does not answer now may later.
                tracing::debug!("failed to read what worker {name} says: {error}");
            }
            link.introduced |= !sayings.is_empty();
            heard |= !sayings.is_empty();

            for saying in sayings.drain(..) {
                self.fleet.heard(name, saying, now);
            }
        }
        self.fleet.tick(now);
        heard |= self.act();
        if self.next_pulse <= moment {
            self.next_pulse = moment + PULSE;
            self.pulses += 1;
            if let Err(error) = self.pulse.write_all_at(&self.pulses.to_le_bytes(), 0) {
                tracing::debug!("failed to show workers that the run lives: {error}");
            }
        }
        if self.next_query <= moment && !self.asking {
            self.query();
        }
        let slowest = if self.links.is_empty() { SLOWEST_IDLE_LOOK } else { SLOWEST_LOOK };
        self.pause = if heard { FASTEST_LOOK } else { (self.pause * 2).min(slowest) };
        self.next_look = Instant::now() + self.pause;
    }

    /// Looks for workers that have begun to say something.
    fn find_workers(&mut self) {
        match self.dir.introduced() {
            Ok(names) => {
                for name in names.into_iter().filter(|name| !self.past.contains(name)) {
                    self.links.entry(name).or_insert_with(|| Link::new(&self.dir, name));
                }
            }
            Err(error) => {
                tracing::debug!("failed to list `{}`: {error}", self.dir.workers().display());
            }
        }
    }

    fn query(&mut self) {
        let jobs = self.fleet.jobs();
        let soon = self.fleet.awaits_slurm(self.now());
        self.next_query =
            Instant::now() + if soon { SOON.min(self.interval) } else { self.interval };
        if !self.fleet.lost_submissions().is_empty() {
            let client = self.client.clone();
            self.commands.spawn(async move { Answer::All(client.queue_of_user().await) });
        }
        if jobs.is_empty() {
            return;
        }
        self.asking = true;
        let (client, asked) = (self.client.clone(), self.now());
        self.commands.spawn(async move { Answer::Queue(asked, client.queue(&jobs).await) });
    }

    fn answered(&mut self, answer: Answer) {
        let now = self.now();
        match answer {
            Answer::Submitted(_, Err(SubmitError::NoArrays(message)), workers) if workers > 1 => {
                tracing::debug!(
                    "Slurm has no arrays here, workers are submitted singly: {message}"
                );
                self.fleet.submit_singly();
            }
            Answer::Submitted(submission, result, _) => {
                if let Ok(job) = &result {
                    self.enter(&Entry::Submitted { submission, job: *job });
                }
                self.fleet.submitted(submission, result.map_err(Trouble::from), now);
                self.next_query = self.next_query.min(Instant::now() + SOON / 2);
            }
            Answer::Queue(asked, result) => {
                self.asking = false;
                match result {
                    Ok(queue) => self.fleet.queue(&queue, asked, now),
                    Err(error) => self.fleet.queue_failed(&error.to_string(), now),
                }
                if self.fleet.awaits_slurm(now) {
                    self.next_query = self.next_query.min(Instant::now() + SOON);
                }
            }
            Answer::All(Ok(queue)) => {
                for submission in self.fleet.lost_submissions() {
                    let comment = comment(&self.dir, submission);
                    let found = queue.iter().find(|status| status.comment.trim() == comment);
                    let base = found.map(|status| status.id.base);
                    if let Some(job) = base {
                        self.enter(&Entry::Submitted { submission, job });
                    }
                    self.fleet.found(submission, base, now);
                }
            }
            Answer::All(Err(error)) => self.fleet.queue_failed(&error.to_string(), now),
            Answer::Cancelled(jobs, Err(error)) => {
                let ids: Vec<String> = jobs.iter().map(ToString::to_string).collect();
                tracing::warn!("failed to cancel the jobs {}: {error}", ids.join(" "));
                self.fleet.queue_failed(&error.to_string(), now);
                let client = self.client.clone();
                self.commands.spawn(async move {
                    tokio::time::sleep(SOON).await;
                    let result = client.cancel(&jobs).await;
                    Answer::Cancelled(jobs, result)
                });
            }
            Answer::Cancelled(_, Ok(())) => {}
        }
        self.act();
    }

    /// Does what the fleet decided. Returns whether there was anything.
    fn act(&mut self) -> bool {
        let mut any = false;
        loop {
            let actions = self.fleet.take_actions();
            if actions.is_empty() {
                break;
            }
            any = true;
            for action in actions {
                self.carry_out(action);
            }
        }
        if any {
            let mut trouble = None;
            for (name, link) in &mut self.links {
                if let Some(orders) = &mut link.orders
                    && let Err(error) = orders.flush().and_then(|()| orders.sync())
                {
                    trouble = Some(failed("write", &self.dir.orders(*name))(error));
                }
            }
            if let Some(error) = trouble {
                self.reports.push(Report::HostFailed(error.to_string()));
            }
            let (fleet, past) = (&self.fleet, &mut self.past);
            self.links.retain(|name, link| {
                let stays = !link.introduced || fleet.listens_to(*name);
                if !stays {
                    past.insert(*name);
                }
                stays
            });
        }
        any
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Tell(name, order) => self.tell(name, &order),
            Action::Submit { submission, workers, exclude } => {
                if let Err(error) = self.submit(submission, workers, &exclude) {
                    self.reports.push(Report::HostFailed(error.to_string()));
                    let trouble = Trouble::Busy(error.to_string());
                    self.fleet.submitted(submission, Err(trouble), self.now());
                }
            }
            Action::Cancel(jobs) => {
                let client = self.client.clone();
                self.commands.spawn(async move {
                    let result = client.cancel(&jobs).await;
                    Answer::Cancelled(jobs, result)
                });
            }
            Action::Started(name, hello) => {
                let failures = &hello.setup_failures;
                if !failures.is_empty() && !std::mem::replace(&mut self.told_setup_failures, true) {
                    for (number, code) in failures {
                        let command = self.request.setup_commands.get(*number as usize - 1);
                        tracing::warn!(
                            "--setup-command `{}` ended with exit code {code} on {}; the worker \
                             goes on without",
                            command.map_or("?", |c| c),
                            hello.node
                        );
                    }
                }
                self.records.push(Record::WorkerStarted(WorkerStarted {
                    time: Timestamp::now(),
                    worker: name.to_string(),
                    job: hello.job.map(|job| job.to_string()).unwrap_or_default(),
                    node: hello.node,
                    cpus: hello.cpus,
                    gpus: hello.gpus,
                }));
            }
            Action::Gone { worker, seat, how, requeued, tell_log } => {
                if tell_log {
                    self.tell_log(seat);
                }
                if !requeued {
                    self.enter(&Entry::Over(seat));
                }
                if let Some(name) = worker {
                    self.records.push(Record::WorkerEnded(WorkerEnded {
                        time: Timestamp::now(),
                        worker: name.to_string(),
                        how,
                    }));
                }
                self.next_query = self.next_query.min(Instant::now() + SOON);
            }
            Action::Ended(name, ended) => {
                // Files that went well are too many to tell of each: the log
                // counts them.
                if !matches!(ended.outcome, Outcome::Succeeded | Outcome::Stood) {
                    attempt::tell(&name, &ended.outcome, ended.origin.as_ref());
                }
                self.reports.push(Report::Ended(ended));
            }
            Action::Late(name, ended) => {
                if let Some(outcome) = ended.outcome.in_short() {
                    let record = ended.record(shown(&name), outcome);
                    self.records.push(Record::Attempt(Attempt { of_earlier_run: true, ..record }));
                }
            }
            Action::Report(report) => self.reports.push(report),
            Action::Convict { job, why, duration, origin } => {
                self.convict(&job, &why, duration, origin);
            }
            Action::Note(Level::Info, text) => tracing::info!("{text}"),
            Action::Note(Level::Warning, text) => tracing::warn!("{text}"),
            Action::Note(Level::Error, text) => tracing::error!("{text}"),
        }
    }

    fn tell(&mut self, name: WorkerName, order: &Order) {
        let link = self.links.entry(name).or_insert_with(|| Link::new(&self.dir, name));
        if link.orders.is_none() {
            let path = self.dir.orders(name);
            match Appender::open(&path) {
                Ok(orders) => link.orders = Some(orders),
                Err(error) => {
                    let error = failed("open", &path)(error);
                    return self.reports.push(Report::HostFailed(error.to_string()));
                }
            }
        }
        if let Some(orders) = &mut link.orders {
            orders.push(order);
        }
    }

    fn submit(
        &mut self,
        submission: u32,
        workers: usize,
        exclude: &[String],
    ) -> Result<(), SlurmError> {
        // Written before it is done: nobody submits twice.
        self.enter(&Entry::Submitting { submission, workers: workers as u32 });
        for index in 0..workers as u32 {
            // Slurm opens it on the node, and kills the job if it cannot.
            let log = self.dir.log(Seat { submission, index });
            File::create(&log).map_err(failed("create", &log))?;
        }
        let comment = comment(&self.dir, submission);
        let cache = self.dir.cache();
        let launch = Launch {
            binary: &self.binary,
            run_dir: self.dir.path(),
            submission: submission.into(),
            comment: &comment,
            cache_dir: &cache,
            plan: &self.plan,
        };
        let script = self.request.script(&launch);
        let pattern = self.dir.workers();
        let arguments =
            self.request.arguments(workers as u32, &pattern, submission.into(), exclude);
        let client = self.client.clone();
        self.commands.spawn(async move {
            Answer::Submitted(submission, client.submit(&arguments, &script).await, workers)
        });
        Ok(())
    }

    fn enter(&mut self, entry: &Entry) {
        self.ledger.push(entry);
        if let Err(error) = self.ledger.flush().and_then(|()| self.ledger.sync()) {
            let error = failed("write", &self.dir.ledger())(error);
            self.reports.push(Report::HostFailed(error.to_string()));
        }
    }
}

impl Link {
    fn new(dir: &RunDir, name: WorkerName) -> Self {
        Link { orders: None, reports: Follower::new(dir.reports(name)), introduced: false }
    }
}

impl From<SubmitError> for Trouble {
    fn from(error: SubmitError) -> Self {
        let message = error.to_string();
        match error {
            SubmitError::Unreachable(_) => Trouble::Unreachable(message),
            SubmitError::Busy(_) => Trouble::Busy(message),
            SubmitError::Missing(_) | SubmitError::NoArrays(_) | SubmitError::Refused(_) => {
                Trouble::Refused(message)
            }
        }
    }
}
