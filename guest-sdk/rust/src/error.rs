//! How a task fails, and what the reader of its `.err` file learns.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::{self, Display};
use std::panic::Location;
use std::time::Duration;

use crate::bindings::tigerflow::task::types;

/// What the functions of a task return.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Why a task has no result.
///
/// `?` makes one from any [`std::error::Error`]: the type's name becomes
/// `exception_type` in the `.err` file, the messages of the error and its
/// causes become `message`, and the causes and the place of the `?` become
/// `traceback`. (For that, `Error` is no `std::error::Error` itself; see
/// [`Error::boxed`] for what `?` cannot convert.)
///
/// ```
/// use std::time::Duration;
/// use tigerflow_task::prelude::*;
///
/// fn parse(text: &str) -> Result<u32> {
///     let number = text.trim().parse().context("the file is not one number")?;
///     if number == 0 {
///         return Err(Error::aborted("nothing to count"));
///     }
///     if number > 1000 {
///         return Err(Error::transient("the server is busy").retry_after(Duration::from_secs(5)));
///     }
///     Ok(number)
/// }
///
/// let error = parse("x").unwrap_err();
/// assert_eq!(error.kind(), "ParseIntError");
/// assert_eq!(error.message(), "the file is not one number: invalid digit found in string");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    class: Class,
    kind: Cow<'static, str>,
    /// The messages, outermost first; never empty.
    chain: Vec<String>,
    /// Where the error entered the task's code.
    location: &'static Location<'static>,
}

/// What the host does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Failed,
    Transient { retry_after: Option<Duration> },
    Aborted,
}

impl Error {
    #[track_caller]
    fn new(class: Class, kind: impl Into<Cow<'static, str>>, chain: Vec<String>) -> Self {
        Self(Box::new(Inner { class, kind: kind.into(), chain, location: Location::caller() }))
    }

    /// The same input will fail again. See also [`bail!`](crate::bail).
    #[track_caller]
    #[must_use]
    pub fn failed(message: impl Display) -> Self {
        Self::new(Class::Failed, "Failed", vec![message.to_string()])
    }

    /// Worth another try: a busy server, a lost connection.
    #[track_caller]
    #[must_use]
    pub fn transient(message: impl Display) -> Self {
        let class = Class::Transient { retry_after: None };
        Self::new(class, "Transient", vec![message.to_string()])
    }

    /// Deliberate and not an error: the task has nothing to do for this file.
    #[track_caller]
    #[must_use]
    pub fn aborted(reason: impl Display) -> Self {
        Self::new(Class::Aborted, "Aborted", vec![reason.to_string()])
    }

    /// From what `?` cannot convert, because it is no [`std::error::Error`]: a
    /// `Box<dyn Error + Send + Sync>`, an `anyhow::Error`, a text.
    /// `.map_err(Error::boxed)?`
    #[track_caller]
    #[must_use]
    pub fn boxed(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let error = error.into();
        let kind = match error.downcast_ref() {
            Some(io) => io_kind(io),
            None => "Error".into(),
        };
        Self::new(Class::Failed, kind, chain_of(&*error))
    }

    /// From an error of the system, with what was tried before it.
    #[track_caller]
    pub(crate) fn io(action: impl Display, error: &std::io::Error) -> Self {
        let mut chain = vec![action.to_string()];
        chain.extend(chain_of(error));
        Self::new(Class::Failed, io_kind(error), chain)
    }

    /// Says where the error entered the task's code, where that is not the
    /// caller of the function that made it.
    #[must_use]
    pub(crate) fn at(mut self, location: &'static Location<'static>) -> Self {
        self.0.location = location;
        self
    }

    /// Names the kind of error, which becomes `exception_type`.
    #[must_use]
    pub fn with_kind(mut self, kind: impl Into<Cow<'static, str>>) -> Self {
        self.0.kind = kind.into();
        self
    }

    /// Makes the error one that is worth another try.
    #[must_use]
    pub fn into_transient(mut self) -> Self {
        if !matches!(self.0.class, Class::Transient { .. }) {
            self.0.class = Class::Transient { retry_after: None };
        }
        self
    }

    /// Makes the error one that is worth another try after this time, where
    /// the task knows it: from a server's `Retry-After`, say.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.class = Class::Transient { retry_after: Some(delay) };
        self
    }

    /// Puts what was being done before what went wrong.
    #[must_use]
    pub fn context(mut self, message: impl Display) -> Self {
        self.0.chain.insert(0, message.to_string());
        self
    }

    /// The kind of error: the name of the type that `?` converted.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.0.kind
    }

    /// Whether another try may mend it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.0.class, Class::Transient { .. })
    }

    /// Whether it is no error, but a decision.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.0.class == Class::Aborted
    }

    /// What went wrong, with its causes, in one line.
    #[must_use]
    pub fn message(&self) -> String {
        let mut message = String::new();
        for link in &self.0.chain {
            // Some errors name their cause in their own message already.
            if message.is_empty() {
                message.push_str(link);
            } else if !message.ends_with(link.as_str()) {
                message.push_str(": ");
                message.push_str(link);
            }
        }
        message
    }

    /// The causes, outermost first, then the place, a line each.
    #[must_use]
    pub fn trace(&self) -> String {
        let mut trace = String::new();
        for cause in &self.0.chain[1..] {
            trace.push_str("caused by: ");
            trace.push_str(cause);
            trace.push('\n');
        }
        trace.push_str(&format!("at {}", self.0.location));
        trace
    }

    pub(crate) fn into_failure(self) -> types::Failure {
        types::Failure {
            message: self.message(),
            trace: self.trace(),
            kind: self.0.kind.into_owned(),
        }
    }

    pub(crate) fn into_run_error(self) -> types::RunError {
        match self.0.class {
            Class::Failed => types::RunError::Failed(self.into_failure()),
            Class::Aborted => types::RunError::Aborted(self.message()),
            Class::Transient { retry_after } => {
                types::RunError::Transient(types::TransientFailure {
                    retry_after: retry_after
                        .map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
                    failure: self.into_failure(),
                })
            }
        }
    }
}

impl<E: StdError + 'static> From<E> for Error {
    #[track_caller]
    fn from(error: E) -> Self {
        let kind = match (&error as &dyn Any).downcast_ref() {
            Some(io) => io_kind(io),
            None => short_name(core::any::type_name::<E>()),
        };
        Self::new(Class::Failed, kind, chain_of(&error))
    }
}

/// One line: what went wrong, with its causes.
impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

/// Several lines: the kind, the message, the causes and the place.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n{}", self.0.kind, self.message(), self.trace())
    }
}

/// Adds to an error what was being done.
///
/// ```
/// use tigerflow_task::prelude::*;
///
/// fn second(text: &str) -> Result<u8> {
///     let field = text.split(',').nth(1).context("there is no second field")?;
///     field.parse().with_context(|| format!("the second field is `{field}`"))
/// }
///
/// assert_eq!(second("1").unwrap_err().message(), "there is no second field");
/// assert_eq!(
///     second("1,300").unwrap_err().message(),
///     "the second field is `300`: number too large to fit in target type",
/// );
/// ```
pub trait Context<T>: Sized {
    /// Puts `message` before what went wrong.
    ///
    /// # Errors
    /// Those of `self`, or of a missing value.
    fn context(self, message: impl Display) -> Result<T>;

    /// As [`context`](Context::context), with a message that costs nothing
    /// where nothing goes wrong.
    ///
    /// # Errors
    /// Those of `self`, or of a missing value.
    fn with_context<M: Display>(self, message: impl FnOnce() -> M) -> Result<T>;
}

/// What [`Context`] takes: an [`Error`], or what `?` makes one of.
trait IntoError {
    #[track_caller]
    fn into_error(self) -> Error;
}

impl IntoError for Error {
    fn into_error(self) -> Error {
        self
    }
}

impl<E: StdError + 'static> IntoError for E {
    #[track_caller]
    fn into_error(self) -> Error {
        Error::from(self)
    }
}

// Plain `match`es, since a closure would hide the caller's place.
impl<T, E: IntoError> Context<T> for core::result::Result<T, E> {
    #[track_caller]
    fn context(self, message: impl Display) -> Result<T> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(error.into_error().context(message)),
        }
    }

    #[track_caller]
    fn with_context<M: Display>(self, message: impl FnOnce() -> M) -> Result<T> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(error.into_error().context(message())),
        }
    }
}

impl<T> Context<T> for Option<T> {
    #[track_caller]
    fn context(self, message: impl Display) -> Result<T> {
        match self {
            Some(value) => Ok(value),
            None => Err(Error::failed(message)),
        }
    }

    #[track_caller]
    fn with_context<M: Display>(self, message: impl FnOnce() -> M) -> Result<T> {
        match self {
            Some(value) => Ok(value),
            None => Err(Error::failed(message())),
        }
    }
}

/// Returns early with an [`Error`] that says that the same input will fail
/// again; takes what `format!` takes.
///
/// ```
/// use tigerflow_task::prelude::*;
///
/// fn check(text: &str) -> Result<()> {
///     if text.is_empty() {
///         bail!("the file is empty");
///     }
///     Ok(())
/// }
/// assert_eq!(check("").unwrap_err().to_string(), "the file is empty");
/// ```
#[macro_export]
macro_rules! bail {
    ($($message:tt)+) => {
        return ::core::result::Result::Err($crate::Error::failed(::std::format!($($message)+)))
    };
}

/// The messages of an error and its causes, outermost first.
fn chain_of(error: &dyn StdError) -> Vec<String> {
    std::iter::successors(Some(error), |&error| error.source())
        .map(|error| error.to_string())
        .collect()
}

/// An I/O error's kind says more than `Error`: `NotFound`, `InvalidData`.
fn io_kind(error: &std::io::Error) -> Cow<'static, str> {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::Other => "io::Error".into(),
        kind => match format!("{kind:?}") {
            // The standard library's unstable word for what it has no kind for.
            name if name == "Uncategorized" => "io::Error".into(),
            name => name.into(),
        },
    }
}

/// A type's name as people write it: `core::num::error::ParseIntError` is
/// `ParseIntError`, and `serde_json::error::Error` is `serde_json::Error`,
/// since `Error` alone says nothing.
fn short_name(full: &'static str) -> Cow<'static, str> {
    let path = full.split('<').next().unwrap_or(full);
    match path.rsplit_once("::") {
        Some((modules, "Error")) => {
            let (krate, inner) = modules.split_once("::").unwrap_or((modules, ""));
            match krate {
                "core" | "std" | "alloc" if !inner.is_empty() => format!("{inner}::Error").into(),
                _ => format!("{krate}::Error").into(),
            }
        }
        Some((_, name)) => name.into(),
        None => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<u8> {
        Ok(text.parse::<u8>()?)
    }

    #[test]
    fn a_question_mark_keeps_type_message_and_place() {
        let error = parse("x").unwrap_err();
        assert_eq!(error.kind(), "ParseIntError");
        assert_eq!(error.message(), "invalid digit found in string");
        assert!(error.trace().starts_with("at src/error.rs:"), "{}", error.trace());
        assert_eq!(error.trace().lines().count(), 1);
    }

    #[test]
    fn context_goes_before_and_keeps_the_place() {
        let first = parse("x").unwrap_err().trace();
        let error = parse("x").context("inner").context("outer").unwrap_err();
        assert_eq!(error.message(), "outer: inner: invalid digit found in string");
        assert_eq!(
            error.trace(),
            format!("caused by: inner\ncaused by: invalid digit found in string\n{first}")
        );
        let here = "1".parse::<bool>().with_context(|| "no").unwrap_err();
        assert!(here.trace().contains("at src/error.rs:"), "{}", here.trace());
    }

    #[test]
    fn io_errors_are_named_by_their_kind() {
        let error = Error::from(std::fs::read("/no/such/file").unwrap_err());
        assert_eq!(error.kind(), "NotFound");
        let error = Error::from(std::io::Error::other("odd"));
        assert_eq!((error.kind(), &*error.message()), ("io::Error", "odd"));
        let inner: Box<dyn StdError + Send + Sync> =
            std::io::Error::from(std::io::ErrorKind::InvalidData).into();
        assert_eq!(Error::boxed(inner).kind(), "InvalidData");
        assert_eq!(Error::boxed("a text").message(), "a text");
    }

    #[test]
    fn names_are_short_but_say_something() {
        assert_eq!(short_name("core::num::error::ParseIntError"), "ParseIntError");
        assert_eq!(short_name("serde_json::error::Error"), "serde_json::Error");
        assert_eq!(short_name("core::fmt::Error"), "fmt::Error");
        assert_eq!(short_name("a::B<c::D>"), "B");
    }

    #[test]
    fn a_cause_that_the_message_repeats_is_said_once() {
        #[derive(Debug)]
        struct Wrapper(std::num::ParseIntError);
        impl Display for Wrapper {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "cannot parse: {}", self.0)
            }
        }
        impl StdError for Wrapper {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&self.0)
            }
        }
        let error = Error::from(Wrapper("x".parse::<u8>().unwrap_err()));
        assert_eq!(error.kind(), "Wrapper");
        assert_eq!(error.message(), "cannot parse: invalid digit found in string");
        assert!(error.trace().starts_with("caused by: invalid digit"));
    }

    #[test]
    fn each_class_becomes_its_run_error() {
        let failed = Error::failed("no").into_run_error();
        assert!(matches!(failed, types::RunError::Failed(failure) if failure.message == "no"));
        let aborted = Error::aborted("no need").into_run_error();
        assert!(matches!(aborted, types::RunError::Aborted(reason) if reason == "no need"));
        let busy = Error::transient("busy").retry_after(Duration::from_millis(1500));
        assert!(busy.is_transient());
        let types::RunError::Transient(transient) = busy.into_run_error() else {
            panic!("not transient");
        };
        assert_eq!(transient.retry_after, Some(1500));
        assert_eq!(transient.failure.kind, "Transient");
        assert!(parse("x").unwrap_err().into_transient().is_transient());
    }
}
