//! Which inputs there are, and when each may be taken.
//!
//! A directory is listed when it changed, never otherwise. A file is taken when
//! its writer has closed it (an event says so), or when its size and time have
//! been stable for the settle time.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD};

use super::catalog::{Catalog, FileId, Files, State};
use super::error_file::{Verdict, read_verdict};
use super::names::{Pairing, shown};
use super::watch::{Arrival, Stamp};
use crate::outcome::AttemptOutcome;

/// What a file's content was judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    size: u64,
    modified: (i64, u64),
    inode: u64,
}

impl Look {
    /// What no file is known by.
    pub const NONE: Look = Look { size: 0, modified: (0, 0), inode: 0 };

    /// At the file at this path.
    pub fn of(path: &Path) -> io::Result<Look> {
        Look::at(CWD, path.as_os_str())
    }

    /// At a file of this name in a directory.
    fn at(directory: impl AsFd, name: &OsStr) -> io::Result<Look> {
        let stat = rustix::fs::statat(directory, name, AtFlags::empty())?;
        let modified = (stat.st_mtime, stat.st_mtime_nsec);
        Ok(Look { size: stat.st_size as u64, modified, inode: stat.st_ino })
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// When it was last written to. A time before 1970 is none.
    pub fn modified(&self) -> SystemTime {
        let seconds = u64::try_from(self.modified.0).unwrap_or(0);
        UNIX_EPOCH + Duration::new(seconds, self.modified.1 as u32)
    }

    /// How long it has not been written to, if its time is to be believed.
    fn age(&self, now: SystemTime) -> Option<Duration> {
        now.duration_since(self.modified()).ok()
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanoseconds) = self.modified;
        write!(f, "{} {seconds} {nanoseconds} {}", self.size, self.inode)
    }
}

impl FromStr for Look {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split(' ').collect();
        let [size, seconds, nanoseconds, inode] = parts[..] else { return Err(()) };
        let number = |text: &str| text.parse::<u64>().map_err(|_| ());
        Ok(Look {
            size: number(size)?,
            modified: (seconds.parse().map_err(|_| ())?, number(nanoseconds)?),
            inode: number(inode)?,
        })
    }
}

/// A file that may still be written to.
#[derive(Clone, Copy, Debug)]
struct Unsettled {
    look: Look,
    /// When it may be taken, unless it changes.
    due: Instant,
}

/// How inputs are chosen.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Where they are.
    pub input_dir: PathBuf,
    /// Where their outputs go. `None`: what is done is known by other means, see
    /// [`Intake::is_done`].
    pub output_dir: Option<PathBuf>,
    /// How names pair.
    pub pairing: Pairing,
    /// How long a file must be unchanged; zero takes it at once.
    pub settle: Duration,
    /// Whether symbolic links may lead out of the input directory.
    pub follow_links: bool,
    /// Whether files with an `.err` are run again.
    pub retry_failed: bool,
    /// Whether inputs that the task declined are run again.
    pub retry_aborted: bool,
}

/// What stood when the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// Inputs whose output stands.
    pub succeeded: usize,
    /// Inputs whose `.err` stands, and that are not run again.
    pub failed: usize,
    /// Inputs whose `.err` says that the time limit was over, and that are not
    /// run again.
    pub timed_out: usize,
    /// Inputs that the task had declined, and that are not run again.
    pub aborted: usize,
    /// Inputs to do, those that are not settled included.
    pub to_do: usize,
    /// Of those to do: the ones that failed before.
    pub retried: usize,
    /// Names that end in the extension, and are not taken; the log says why.
    pub not_taken: usize,
}

impl Before {
    /// One of those to do has come to an end of this kind before the run began.
    pub fn settle(&mut self, outcome: AttemptOutcome) {
        self.to_do = self.to_do.saturating_sub(1);
        match outcome {
            AttemptOutcome::Succeeded => self.succeeded += 1,
            AttemptOutcome::TimedOut => self.timed_out += 1,
            AttemptOutcome::Aborted => self.aborted += 1,
            _ => self.failed += 1,
        }
    }

    /// Inputs that are not run again.
    pub fn settled(&self) -> usize {
        self.succeeded + self.failed + self.timed_out + self.aborted
    }
}

/// The inputs, and what is known of each.
pub struct Intake {
    rules: Rules,
    /// The inputs by number.
    pub catalog: Catalog,
    /// Attempts made in earlier runs, of files with an `.err` that run again.
    attempts: HashMap<FileId, u32>,
    /// Inputs that are symbolic links, which the host opens for the guest.
    links: HashSet<FileId>,
    unsettled: HashMap<FileId, Unsettled>,
    /// Inputs that arrived while they were worked on, and whether they were whole
    /// then.
    arrived_meanwhile: HashMap<FileId, bool>,
    /// The earliest `due` of the unsettled files, or earlier.
    next_due: Option<Instant>,
    listed: Option<Stamp>,
    /// Whether the last listing may have missed what came right after it.
    listed_too_soon: bool,
    /// How long the last listing took: a slow directory is listed less often.
    cost: Duration,
    canonical: PathBuf,
}

impl Intake {
    /// Knows of no input yet.
    pub fn new(rules: Rules) -> io::Result<Self> {
        let canonical = rules.input_dir.canonicalize()?;
        Ok(Intake {
            rules,
            catalog: Catalog::new(),
            attempts: HashMap::new(),
            links: HashSet::new(),
            unsettled: HashMap::new(),
            arrived_meanwhile: HashMap::new(),
            next_due: None,
            listed: None,
            listed_too_soon: false,
            cost: Duration::ZERO,
            canonical,
        })
    }

    /// Lists both directories. Returns what stood before, and the inputs that
    /// may be taken at once, by name.
    pub fn first(&mut self) -> io::Result<(Before, Vec<FileId>)> {
        let mut candidates = self.list()?;
        let succeeded = self.list_outputs()?;
        let mut retried = 0;
        for &id in &candidates {
            if self.is_retried(id) {
                self.catalog.set_state(id, State::New);
                retried += 1;
            }
        }
        candidates.retain(|&id| self.catalog.state(id) == State::New);
        self.sort(&mut candidates);
        let now = Instant::now();
        let ready = self.admit(candidates, now);
        let to_do = ready.len() + self.unsettled.len();
        let count = |state| self.catalog.count(state);
        let before = Before {
            succeeded,
            failed: count(State::Failed),
            timed_out: count(State::TimedOut),
            aborted: count(State::Aborted),
            to_do,
            retried,
            not_taken: count(State::Skipped),
        };
        Ok((before, ready))
    }

    /// Whether an input has an `.err`, and is to be run again all the same.
    fn is_retried(&self, id: FileId) -> bool {
        match self.catalog.state(id) {
            State::Failed | State::TimedOut => self.rules.retry_failed,
            State::Aborted => self.rules.retry_aborted,
            _ => false,
        }
    }

    /// Lists the input directory again if it changed. Returns what may be taken
    /// at once.
    pub fn again(&mut self, force: bool) -> io::Result<Vec<FileId>> {
        let stamp = Stamp::of(&self.rules.input_dir)?;
        if self.listed.is_some_and(|listed| !listed.is_same_directory(&stamp)) {
            let why = "it was replaced by another directory: run the same command again";
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        let unchanged = self.listed == Some(stamp) && !self.listed_too_soon;
        if unchanged && !force {
            return Ok(Vec::new());
        }
        let known = self.catalog.len();
        let mut candidates = self.list()?;
        self.check_outputs(&mut candidates, known);
        self.sort(&mut candidates);
        Ok(self.admit(candidates, Instant::now()))
    }

    /// Takes in what events told.
    pub fn arrived(&mut self, arrivals: Vec<Arrival>) -> Vec<FileId> {
        let now = Instant::now();
        let mut ready = Vec::new();
        for Arrival { name, complete } in arrivals {
            if self.rules.pairing.stem(&name).is_none() {
                continue;
            }
            if let Some(id) = self.catalog.find(&name) {
                self.look_again(id);
                if self.catalog.state(id).is_at_work() {
                    // Its output may stand already, and be taken away, before this
                    // run has heard of it: then it is work again.
                    self.arrived_meanwhile.insert(id, complete);
                }
            }
            let path = self.rules.input_dir.join(&name);
            let Ok(kind) = fs::symlink_metadata(&path).map(|m| m.file_type()) else { continue };
            let known = self.catalog.len();
            let Some(id) = self.consider(&name, kind) else { continue };
            let mut candidate = vec![id];
            self.check_outputs(&mut candidate, known);
            if complete && kind.is_file() {
                self.unsettled.remove(&id);
                for id in candidate {
                    self.catalog.set_state(id, State::Waiting);
                    ready.push(id);
                }
            } else {
                ready.extend(self.admit(candidate, now));
            }
        }
        ready
    }

    /// The work on an input has come to an end. Returns it if it arrived again
    /// meanwhile, and is work again.
    pub fn ended(&mut self, id: FileId) -> Vec<FileId> {
        // Nothing arrives where all was there at the start.
        if self.arrived_meanwhile.is_empty() || self.catalog.state(id).is_at_work() {
            return Vec::new();
        }
        let Some(complete) = self.arrived_meanwhile.remove(&id) else { return Vec::new() };
        let name = self.catalog.name(id).to_owned();
        self.arrived(vec![Arrival { name, complete }])
    }

    /// A name arrived again whose work was done: it is work again, if what was
    /// made of it was taken away.
    fn look_again(&mut self, id: FileId) {
        if self.rules.output_dir.is_some()
            && self.catalog.state(id).is_final()
            && !self.stands(id, Pairing::output_name)
            && !self.stands(id, Pairing::error_name)
        {
            self.attempts.remove(&id);
            self.catalog.set_state(id, State::New);
        }
    }

    /// Whether the output, or the `.err`, of an input is there.
    fn stands(&self, id: FileId, name: impl FnOnce(&Pairing, &OsStr) -> OsString) -> bool {
        let Some(output_dir) = &self.rules.output_dir else { return false };
        let stem = self.rules.pairing.stem(self.catalog.name(id)).unwrap_or_default();
        fs::symlink_metadata(output_dir.join(name(&self.rules.pairing, stem))).is_ok()
    }

    /// Takes the files whose settle time has passed.
    pub fn settled(&mut self) -> Vec<FileId> {
        let now = Instant::now();
        let due: Vec<(FileId, Unsettled)> =
            self.unsettled.extract_if(|_, file| file.due <= now).collect();
        self.next_due = self.unsettled.values().map(|file| file.due).min();
        let mut ready = Vec::new();
        for (id, file) in due {
            match Look::at(CWD, self.path(id).as_os_str()) {
                Ok(look) if look == file.look => {
                    self.catalog.set_state(id, State::Waiting);
                    ready.push(id);
                }
                Ok(look) => self.wait_for(id, look, now),
                // Gone: it is an input no more.
                Err(_) => self.catalog.set_state(id, State::New),
            }
        }
        self.sort(&mut ready);
        ready
    }

    fn wait_for(&mut self, id: FileId, look: Look, now: Instant) {
        let due = now + self.rules.settle;
        self.unsettled.insert(id, Unsettled { look, due });
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
    }

    /// When [`settled`](Self::settled) has something to do next.
    pub fn next_due(&self) -> Option<Instant> {
        self.next_due
    }

    /// The least time to leave between two listings: ten times what one costs.
    pub fn pause(&self) -> Duration {
        self.cost * 10
    }

    fn path(&self, id: FileId) -> PathBuf {
        self.rules.input_dir.join(self.catalog.name(id))
    }

    /// Lists the input directory into the catalog. Returns every file that is
    /// not taken or done.
    fn list(&mut self) -> io::Result<Vec<FileId>> {
        let begun = Instant::now();
        // Taken before the listing: what changes meanwhile is seen next time.
        let stamp = Stamp::of(&self.rules.input_dir)?;
        let recent = stamp.is_recent();
        let mut candidates = Vec::new();
        for entry in fs::read_dir(&self.rules.input_dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if self.rules.pairing.stem(&name).is_none() {
                continue;
            }
            let Ok(kind) = entry.file_type() else { continue };
            candidates.extend(self.consider(&name, kind));
        }
        self.listed = Some(stamp);
        self.listed_too_soon = recent;
        self.cost = begun.elapsed();
        Ok(candidates)
    }

    /// Adds a name to the catalog, unless what it names is no input.
    fn consider(&mut self, name: &OsStr, kind: fs::FileType) -> Option<FileId> {
        if kind.is_dir() {
            tracing::debug!("not an input, but a directory: {}", shown(name));
            return None;
        }
        if kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
            tracing::debug!("not an input, but a special file: {}", shown(name));
            return None;
        }
        let (id, new) = self.catalog.insert(name)?;
        if !new && !matches!(self.catalog.state(id), State::New | State::Skipped) {
            return None;
        }
        let skipped_before = self.catalog.state(id) == State::Skipped;
        let stem = self.rules.pairing.stem(name)?;
        if !self.rules.pairing.fits(stem) {
            return self.skip(id, skipped_before, "the name is too long for an output beside it");
        }
        if kind.is_symlink() {
            match self.resolve(name) {
                Ok(true) => {
                    self.links.insert(id);
                }
                Ok(false) => {
                    let why = "a symbolic link that leads out of the input directory \
                               (give --follow-links to read it)";
                    return self.skip(id, skipped_before, why);
                }
                Err(_) => {
                    let why = "a symbolic link that leads to no file";
                    return self.skip(id, skipped_before, why);
                }
            }
        }
        self.catalog.set_state(id, State::New);
        Some(id)
    }

    fn skip(&mut self, id: FileId, skipped_before: bool, why: &str) -> Option<FileId> {
        self.catalog.set_state(id, State::Skipped);
        if !skipped_before {
            tracing::warn!("Skipped {}: {why}", shown(self.catalog.name(id)));
        }
        None
    }

    /// Whether a link leads to a file that may be read.
    fn resolve(&self, name: &OsStr) -> io::Result<bool> {
        let target = self.rules.input_dir.join(name).canonicalize()?;
        if !fs::metadata(&target)?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(self.rules.follow_links || target.starts_with(&self.canonical))
    }

    /// Lists the output directory: marks what is done, and what failed.
    /// Returns how many are done.
    fn list_outputs(&mut self) -> io::Result<usize> {
        let mut errors = Vec::new();
        let mut done = 0;
        let Some(output_dir) = &self.rules.output_dir else { return Ok(0) };
        for entry in fs::read_dir(output_dir)? {
            let name = entry?.file_name();
            // A name can be an output and, with another stem, an `.err` never:
            // `.err` is no output extension.
            if let Some(stem) = self.rules.pairing.stem_of_error(&name) {
                let input = self.rules.pairing.input_name(stem);
                errors.extend(self.catalog.find(&input));
            } else if let Some(stem) = self.rules.pairing.stem_of_output(&name) {
                let input = self.rules.pairing.input_name(stem);
                if let Some(id) = self.catalog.find(&input)
                    && self.catalog.state(id) != State::Succeeded
                {
                    self.catalog.set_state(id, State::Succeeded);
                    done += 1;
                }
            }
        }
        for id in errors {
            self.mark_error(id);
        }
        Ok(done)
    }

    /// Takes note of an `.err` that stands; removes it where the output does.
    fn mark_error(&mut self, id: FileId) {
        let Some(output_dir) = &self.rules.output_dir else { return };
        let stem = self.rules.pairing.stem(self.catalog.name(id)).unwrap_or_default();
        let path = output_dir.join(self.rules.pairing.error_name(stem));
        if self.catalog.state(id) == State::Succeeded {
            // A run was killed between publishing the output and removing the
            // `.err` of an earlier attempt.
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!("failed to remove the outdated `{}`: {error}", path.display());
            }
            return;
        }
        let Verdict { state, attempts } = read_verdict(&path);
        self.catalog.set_state(id, state);
        if self.is_retried(id) {
            self.attempts.insert(id, attempts);
        }
    }

    /// For inputs that were not there when the outputs were listed: looks for
    /// the output of each.
    fn check_outputs(&mut self, candidates: &mut Vec<FileId>, known: usize) {
        candidates.retain(|&id| {
            if (id.0 as usize) < known {
                return true;
            }
            if self.stands(id, Pairing::output_name) {
                self.catalog.set_state(id, State::Succeeded);
            }
            if self.stands(id, Pairing::error_name) {
                self.mark_error(id);
            }
            if self.is_retried(id) {
                self.catalog.set_state(id, State::New);
            }
            self.catalog.state(id) == State::New
        });
    }

    /// Takes note that an input is done, though no output tells: it is not taken.
    /// Returns its number; `None` when four gigabytes of names are full.
    pub fn is_done(&mut self, name: &OsStr) -> Option<FileId> {
        let (id, _) = self.catalog.insert(name)?;
        self.catalog.set_state(id, State::Succeeded);
        Some(id)
    }

    /// Takes an input, settled or not, if it is known and not taken.
    pub fn claim(&mut self, name: &OsStr) -> Option<FileId> {
        let id = self.catalog.find(name)?;
        if self.catalog.state(id) == State::New {
            self.unsettled.remove(&id);
            self.catalog.set_state(id, State::Waiting);
        }
        (self.catalog.state(id) == State::Waiting).then_some(id)
    }

    /// Splits candidates into those that may be taken now, which it returns,
    /// and those that may still be written to.
    fn admit(&mut self, mut candidates: Vec<FileId>, now: Instant) -> Vec<FileId> {
        if !self.rules.settle.is_zero() {
            let wall = SystemTime::now();
            // By their names in it: a path costs as much again, for each of a million.
            let directory = super::open_dir(&self.rules.input_dir);
            candidates.retain(|&id| {
                if self.unsettled.contains_key(&id) {
                    return false;
                }
                let look = match &directory {
                    Ok(directory) => Look::at(directory, self.catalog.name(id)),
                    Err(_) => Look::at(CWD, self.path(id).as_os_str()),
                };
                let Ok(look) = look else { return false };
                let old = look.age(wall).is_some_and(|age| age >= self.rules.settle);
                if !old {
                    self.wait_for(id, look, now);
                }
                old
            });
        }
        for &id in &candidates {
            self.catalog.set_state(id, State::Waiting);
        }
        candidates
    }

    fn sort(&self, ids: &mut [FileId]) {
        ids.sort_unstable_by(|a, b| self.catalog.name(*a).cmp(self.catalog.name(*b)));
    }
}

impl Files for Intake {
    fn find(&mut self, name: &OsStr) -> Option<FileId> {
        self.catalog.find(name)
    }

    fn name(&self, id: FileId) -> Cow<'_, OsStr> {
        Cow::Borrowed(self.catalog.name(id))
    }

    fn state(&self, id: FileId) -> State {
        self.catalog.state(id)
    }

    fn set_state(&mut self, id: FileId, state: State) {
        self.catalog.set_state(id, state);
    }

    fn attempts_before(&self, id: FileId) -> u32 {
        self.attempts.get(&id).copied().unwrap_or(0)
    }

    fn is_link(&self, id: FileId) -> bool {
        self.links.contains(&id)
    }

    fn unsettled(&self) -> usize {
        self.unsettled.len()
    }
}

/// Opens an input for the guest, following links: the host's part of reading a
/// file whose name or place WASI cannot express.
///
/// Refuses what is no regular file, and, unless `follow_links`, what lies
/// outside `within`. Checked on the opened file, so that a link which changes
/// meanwhile gains nothing.
pub fn open_input(path: &Path, within: &Path, follow_links: bool) -> io::Result<fs::File> {
    use rustix::fs::{Mode, OFlags};
    // Not blocking: a pipe in the place of a file must not hold a core.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    if !follow_links {
        use std::os::fd::AsRawFd;
        let real = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        if !real.starts_with(within) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it leads out of the input directory (give --follow-links to read it)",
            ));
        }
    }
    Ok(file)
}
