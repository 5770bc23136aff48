//! A task's parameters: what `setup` receives, and the command line shows.
//!
//! ```
//! use tigerflow_task::prelude::*;
//!
//! #[derive(Params)]
//! struct Options {
//!     /// How many words to list
//!     #[param(default = 10)]
//!     top: u32,
//!     /// Count `The` and `the` as one word
//!     ignore_case: bool,
//!     /// A language's words to leave out
//!     stop_words: Option<Language>,
//!     /// Where the results belong
//!     #[param(name = "project")]
//!     project_name: String,
//! }
//!
//! #[derive(Choice, Clone, Copy)]
//! enum Language {
//!     English,
//!     #[choice(name = "deutsch")]
//!     German,
//! }
//! ```
//!
//! gives the options `--top N`, `--ignore-case`, `--stop-words
//! english|deutsch` and `--project TEXT`. A parameter with a default, an
//! `Option` and a `bool` (`false`) may be left out; every other one must be
//! given.
//!
//! What cannot be a parameter does not compile:
//!
//! ```compile_fail
//! #[derive(tigerflow_task::Params)]
//! struct Options(String); // fields need names
//! ```
//! ```compile_fail
//! #[derive(tigerflow_task::Params)]
//! struct Options {
//!     #[param(standard = 3)] // no such setting
//!     top: u32,
//! }
//! ```
//! ```compile_fail
//! #[derive(tigerflow_task::Params)]
//! struct Options {
//!     #[param(default = "three")] // not a u32
//!     top: u32,
//! }
//! ```
//! ```compile_fail
//! #[derive(tigerflow_task::Params)]
//! struct Options {
//!     words: Vec<String>, // not one value
//! }
//! ```
//! ```compile_fail
//! #[derive(tigerflow_task::Params)]
//! struct Options {
//!     top: u32,
//!     #[param(name = "top")] // there is one already
//!     other: u32,
//! }
//! ```
//! ```compile_fail
//! #[derive(tigerflow_task::Choice)]
//! enum Language {
//!     Other(String), // a choice is a name alone
//! }
//! ```

use std::path::PathBuf;

use crate::bindings::tigerflow::task::types::Argument;
pub use crate::bindings::tigerflow::task::types::{Parameter, ParameterKind, Value};
use crate::{Error, Result};

/// A task's parameters. Derive it for a struct, or take `()` for none.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a set of parameters",
    note = "put `#[derive(Params)]` on a struct with named fields, or take `()`"
)]
pub trait Params: Sized {
    /// What the parameters are, for the host's command line.
    fn parameters() -> Vec<Parameter>;

    /// Makes the parameters of what the host gave.
    ///
    /// # Errors
    /// Names the parameter that is missing or does not fit.
    fn from_arguments(arguments: &mut Arguments) -> Result<Self>;
}

impl Params for () {
    fn parameters() -> Vec<Parameter> {
        Vec::new()
    }

    fn from_arguments(_: &mut Arguments) -> Result<Self> {
        Ok(())
    }
}

/// The values that the host gave to `setup`.
#[derive(Debug)]
pub struct Arguments(Vec<Argument>);

impl Arguments {
    /// Makes them of what the host sends; tests do, too.
    #[must_use]
    pub fn new(arguments: Vec<Argument>) -> Self {
        Self(arguments)
    }

    /// Takes one value out; `default` stands in where there is none.
    ///
    /// # Errors
    /// Names the parameter where it is missing or does not fit.
    #[doc(hidden)]
    pub fn take<T: ParamValue>(&mut self, name: &str, default: Option<T>) -> Result<T> {
        let Some(index) = self.0.iter().position(|argument| argument.name == name) else {
            return default.or_else(T::absent).ok_or_else(|| {
                Error::failed(format_args!("the parameter `{name}` is missing; give `--{name}`"))
                    .with_kind("MissingParameter")
            });
        };
        T::from_value(self.0.swap_remove(index).value).map_err(|problem| {
            Error::failed(format_args!("the parameter `{name}` {problem}"))
                .with_kind("InvalidParameter")
        })
    }
}

/// Describes one parameter. What [`Params`]' derive calls.
#[doc(hidden)]
#[must_use]
pub fn parameter<T: ParamValue>(name: &str, help: &str, default: Option<T>) -> Parameter {
    let default = default.or_else(T::absent);
    Parameter {
        name: name.to_owned(),
        help: help.to_owned(),
        kind: T::kind(),
        required: default.is_none(),
        default: default.and_then(T::into_value),
    }
}

/// A type that a parameter can have: `String`, `PathBuf`, `bool`, an integer,
/// `f32`, `f64`, an enum with `#[derive(Choice)]`, or an `Option` of these.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a parameter",
    note = "take `String`, `PathBuf`, `bool`, an integer, `f64`, an enum with `#[derive(Choice)]`, or an `Option` of one of these"
)]
pub trait ParamValue: Sized {
    /// What its value looks like on the command line.
    fn kind() -> ParameterKind;

    /// The value where the user gives none and there is no default; `None`
    /// where the user must give one.
    #[must_use]
    fn absent() -> Option<Self> {
        None
    }

    /// Takes the host's value.
    ///
    /// # Errors
    /// What is wrong with it, to follow "the parameter `NAME` ".
    fn from_value(value: Value) -> Result<Self, String>;

    /// The value for the host, where there is one.
    fn into_value(self) -> Option<Value>;
}

/// An enum whose value is a name out of a list. Derive it: each variant's name
/// becomes kebab-case, or what `#[choice(name = "…")]` says.
pub trait Choice: Sized {
    /// The names, in the order of the variants.
    const NAMES: &'static [&'static str];

    /// The variant of this name.
    fn from_name(name: &str) -> Option<Self>;

    /// The name of this variant.
    fn name(&self) -> &'static str;
}

/// What a derived choice makes of the host's value.
///
/// # Errors
/// Lists the names that would do.
#[doc(hidden)]
pub fn choice_from_value<T: Choice>(value: Value) -> Result<T, String> {
    let text = String::from_value(value)?;
    T::from_name(&text)
        .ok_or_else(|| format!("must be one of {}, not `{text}`", T::NAMES.join(", ")))
}

impl ParamValue for String {
    fn kind() -> ParameterKind {
        ParameterKind::Text
    }

    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Text(text) => Ok(text),
            other => Err(mismatch("a text", &other)),
        }
    }

    fn into_value(self) -> Option<Value> {
        Some(Value::Text(self))
    }
}

impl ParamValue for PathBuf {
    fn kind() -> ParameterKind {
        ParameterKind::Text
    }

    fn from_value(value: Value) -> Result<Self, String> {
        String::from_value(value).map(Self::from)
    }

    fn into_value(self) -> Option<Value> {
        Some(Value::Text(self.to_string_lossy().into_owned()))
    }
}

impl ParamValue for bool {
    fn kind() -> ParameterKind {
        ParameterKind::Boolean
    }

    fn absent() -> Option<Self> {
        Some(false)
    }

    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Boolean(boolean) => Ok(boolean),
            other => Err(mismatch("`true` or `false`", &other)),
        }
    }

    fn into_value(self) -> Option<Value> {
        Some(Value::Boolean(self))
    }
}

impl ParamValue for f64 {
    fn kind() -> ParameterKind {
        ParameterKind::Number
    }

    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Number(number) => Ok(number),
            Value::Integer(integer) => Ok(integer as Self),
            other => Err(mismatch("a number", &other)),
        }
    }

    fn into_value(self) -> Option<Value> {
        Some(Value::Number(self))
    }
}

impl ParamValue for f32 {
    fn kind() -> ParameterKind {
        ParameterKind::Number
    }

    fn from_value(value: Value) -> Result<Self, String> {
        f64::from_value(value).map(|number| number as Self)
    }

    fn into_value(self) -> Option<Value> {
        Some(Value::Number(self.into()))
    }
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl ParamValue for $integer {
            fn kind() -> ParameterKind {
                ParameterKind::Integer
            }

            fn from_value(value: Value) -> Result<Self, String> {
                match value {
                    Value::Integer(integer) => Self::try_from(integer).map_err(|_| {
                        format!(
                            "must be from {} to {}, not {integer}",
                            Self::MIN,
                            // The host's integers end where i64 does.
                            Self::MAX.min(Self::try_from(i64::MAX).unwrap_or(Self::MAX)),
                        )
                    }),
                    other => Err(mismatch("a whole number", &other)),
                }
            }

            fn into_value(self) -> Option<Value> {
                // A default over i64's range is cut to it.
                Some(Value::Integer(i64::try_from(self).unwrap_or(i64::MAX)))
            }
        }
    )*};
}
integers!(i8, i16, i32, i64, isize, u8, u16, u32, u64, usize);

impl<T: ParamValue> ParamValue for Option<T> {
    fn kind() -> ParameterKind {
        T::kind()
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn from_value(value: Value) -> Result<Self, String> {
        T::from_value(value).map(Some)
    }

    fn into_value(self) -> Option<Value> {
        self.and_then(T::into_value)
    }
}

fn mismatch(wanted: &str, value: &Value) -> String {
    let got = match value {
        Value::Text(text) => format!("`{text}`"),
        Value::Integer(integer) => integer.to_string(),
        // Without its digits: writing floats would add 40 KB to every component.
        Value::Number(_) => "a number with a fraction".to_owned(),
        Value::Boolean(boolean) => boolean.to_string(),
    };
    format!("must be {wanted}, not {got}")
}
