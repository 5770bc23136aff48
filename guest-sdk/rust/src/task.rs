//! What a task is, and what it says of itself.

use crate::bindings::tigerflow::task::types;
use crate::{Input, Output, Params, Result};

/// A task: a type whose value is the context that every [`run`](Task::run) of
/// an instance shares.
///
/// The host makes as many instances as files are in flight, so an instance
/// never runs two files at once, and instances share nothing.
pub trait Task: Sized + 'static {
    /// The task's parameters: a type with `#[derive(Params)]`, or `()`.
    type Params: Params;

    /// What the task is and needs. By default the name, the version and the
    /// description of its Cargo package, and no grants.
    ///
    /// It is asked before anything is granted, so it must not read files, the
    /// environment or the network.
    #[must_use]
    fn about() -> About {
        About::new()
    }

    /// Makes the context: loads a model, opens a database.
    ///
    /// # Errors
    /// An error here stops the whole run with its message.
    fn setup(params: Self::Params) -> Result<Self>;

    /// Turns one file into another. Where it writes nothing at `output`, the
    /// host puts an empty placeholder there.
    ///
    /// # Errors
    /// An error ends this file only, and becomes its `.err` file. See
    /// [`Error`](crate::Error) for errors that are worth another try.
    fn run(&self, input: &Input, output: &Output) -> Result<()>;

    /// Gives back what [`setup`](Task::setup) made: commits, closes, flushes.
    ///
    /// # Errors
    /// The host reports an error here, and counts it as a failure of the run.
    fn teardown(self) -> Result<()> {
        Ok(())
    }
}

/// A task that mostly waits: for answers of a server, say. One instance serves
/// many [`run`](AsyncTask::run) calls at once, which share one context and one
/// thread, so `Rc`, `Cell` and `RefCell` will do.
///
/// ```
/// use std::cell::Cell;
/// use std::time::Duration;
/// use tigerflow_task::prelude::*;
/// use tigerflow_task::time;
///
/// struct Patient {
///     files: Cell<u32>,
/// }
///
/// impl AsyncTask for Patient {
///     type Params = ();
///
///     async fn setup(_: ()) -> Result<Self> {
///         Ok(Patient { files: Cell::new(0) })
///     }
///
///     async fn run(&self, input: &Input, output: &Output) -> Result<()> {
///         self.files.set(self.files.get() + 1);
///         time::sleep(Duration::from_millis(10)).await;
///         output.write(input.read()?)
///     }
/// }
///
/// export_async_task!(Patient);
/// ```
///
/// It needs the crate's feature `async`. Other calls go on at each `.await`, and
/// only there:
///
/// - Hold no borrow of a `RefCell` over an `.await`: the next call that borrows
///   it would panic, and a panic ends every call of the instance.
/// - Whatever blocks stalls every call of the instance. Instead of
///   `std::thread::sleep` there is [`time::sleep`](crate::time::sleep), instead
///   of [`http::blocking`](crate::http::blocking) there is
///   [`http`](crate::http). Files take microseconds, so [`Input`], [`Output`]
///   and `std::fs` are the same as in a [`Task`].
/// - A long computation is better off in a [`Task`], of which the host runs one
///   on each core.
#[cfg(feature = "async")]
#[allow(async_fn_in_trait)] // One thread: nothing has to be `Send`.
pub trait AsyncTask: Sized + 'static {
    /// The task's parameters: a type with `#[derive(Params)]`, or `()`.
    type Params: Params;

    /// As in [`Task`].
    #[must_use]
    fn about() -> About {
        About::new()
    }

    /// As in [`Task`].
    ///
    /// # Errors
    /// An error here stops the whole run with its message.
    async fn setup(params: Self::Params) -> Result<Self>;

    /// As in [`Task`]; up to `--concurrency-limit` calls are in flight at once.
    ///
    /// # Errors
    /// An error ends this file only, and becomes its `.err` file. See
    /// [`Error`](crate::Error) for errors that are worth another try.
    async fn run(&self, input: &Input, output: &Output) -> Result<()>;

    /// As in [`Task`]; it comes when no `run` is in flight.
    ///
    /// # Errors
    /// The host reports an error here, and counts it as a failure of the run.
    async fn teardown(self) -> Result<()> {
        Ok(())
    }
}

/// What a task is and needs, beyond what its Cargo package says.
///
/// ```
/// use tigerflow_task::{About, Grant};
///
/// let about = About::new()
///     .max_concurrency(1)
///     .needs(Grant::read_write("/db"), "Keeps the database there")
///     .can_use(Grant::environment("API_TOKEN"), "Signs requests with it")
///     .option("timeout", "5m");
/// # let _ = about;
/// ```
#[derive(Debug, Default, Clone)]
pub struct About {
    name: Option<String>,
    version: Option<String>,
    summary: Option<String>,
    max_concurrency: Option<u32>,
    grants: Vec<(Grant, String, bool)>,
    options: Vec<(String, String)>,
}

impl About {
    /// What the Cargo package says, and nothing more.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The task's name in kebab-case, where the package's name is not it.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The task's semantic version, where the package's version is not it.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// One sentence on what `run` makes of a file, where the package's
    /// description is not it.
    #[must_use]
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = Some(summary.into());
        self
    }

    /// How many files may be in flight at once over all instances: 1 for the
    /// only writer of a database. The command line never raises it.
    #[must_use]
    pub fn max_concurrency(mut self, files: u32) -> Self {
        self.max_concurrency = Some(files);
        self
    }

    /// A capability that the task is useless without: the host does not start
    /// it before the user gave this. `reason` is one sentence for that user.
    #[must_use]
    pub fn needs(mut self, grant: Grant, reason: impl Into<String>) -> Self {
        self.grants.push((grant, reason.into(), true));
        self
    }

    /// A capability that the task uses where the user gives it.
    #[must_use]
    pub fn can_use(mut self, grant: Grant, reason: impl Into<String>) -> Self {
        self.grants.push((grant, reason.into(), false));
        self
    }

    /// The task's own default for an option of `tigerflow-host run`, as the
    /// command line would say it: `.option("timeout", "5m")`.
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.push((name.into(), value.into()));
        self
    }

    /// The answer to the host, filled up from the Cargo package.
    pub(crate) fn into_description(
        self,
        package: &Package,
        parameters: Vec<types::Parameter>,
    ) -> types::Description {
        types::Description {
            name: self.name.unwrap_or_else(|| package.task_name()),
            version: self.version.unwrap_or_else(|| package.version.to_owned()),
            summary: self.summary.unwrap_or_else(|| package.description.to_owned()),
            parameters,
            grants: self
                .grants
                .into_iter()
                .map(|(grant, reason, required)| types::Grant {
                    capability: grant.0,
                    reason,
                    required,
                })
                .collect(),
            max_concurrency: self.max_concurrency,
            option_defaults: self.options,
        }
    }
}

/// A capability beyond the input and the output, which only the user can give.
#[derive(Debug, Clone)]
pub struct Grant(types::Capability);

impl Grant {
    /// A directory to read, which the task sees at this absolute path.
    #[must_use]
    pub fn read_only(guest_path: impl Into<String>) -> Self {
        Self::directory(guest_path.into(), false)
    }

    /// A directory to read and write, which the task sees at this absolute
    /// path.
    #[must_use]
    pub fn read_write(guest_path: impl Into<String>) -> Self {
        Self::directory(guest_path.into(), true)
    }

    fn directory(guest_path: String, writable: bool) -> Self {
        Self(types::Capability::Directory(types::DirectoryAccess { guest_path, writable }))
    }

    /// An environment variable of this name.
    #[must_use]
    pub fn environment(variable: impl Into<String>) -> Self {
        Self(types::Capability::Environment(variable.into()))
    }

    /// A network host: `api.example.org`, `api.example.org:8443` or
    /// `*.example.org`.
    #[must_use]
    pub fn host(name: impl Into<String>) -> Self {
        Self(types::Capability::Host(name.into()))
    }
}

/// What Cargo knows of the task's package. [`export_task!`](crate::export_task)
/// fills it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Package {
    pub name: &'static str,
    pub version: &'static str,
    pub description: &'static str,
    /// Where the task is exported.
    pub module: &'static str,
}

impl Package {
    /// The package's name in kebab-case.
    fn task_name(&self) -> String {
        self.name.replace('_', "-").to_ascii_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: Package =
        Package { name: "Count_words", version: "1.2.3", description: "Counts words", module: "" };

    #[test]
    fn the_package_fills_what_about_leaves_open() {
        let description = About::new().into_description(&PACKAGE, Vec::new());
        assert_eq!(description.name, "count-words");
        assert_eq!(description.version, "1.2.3");
        assert_eq!(description.summary, "Counts words");
        assert_eq!(description.max_concurrency, None);
        assert!(description.grants.is_empty());
    }

    #[test]
    fn about_overrides_the_package() {
        let description = About::new()
            .name("other")
            .max_concurrency(1)
            .needs(Grant::read_write("/db"), "Keeps the database there")
            .can_use(Grant::host("api.example.org"), "Asks it")
            .option("timeout", "5m")
            .into_description(&PACKAGE, Vec::new());
        assert_eq!(description.name, "other");
        assert_eq!(description.max_concurrency, Some(1));
        assert!(description.grants[0].required);
        assert!(!description.grants[1].required);
        assert_eq!(description.option_defaults, [("timeout".to_owned(), "5m".to_owned())]);
        let types::Capability::Directory(access) = &description.grants[0].capability else {
            panic!("not a directory: {:?}", description.grants[0]);
        };
        assert_eq!(access.guest_path, "/db");
        assert!(access.writable);
    }
}
