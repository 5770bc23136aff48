//! The derive macros of `tigerflow-task`, which re-exports them: depend on
//! that crate.

#![deny(missing_docs)]

mod choice;
mod names;
mod params;

use proc_macro::TokenStream;
use syn::{DeriveInput, Error, parse_macro_input};

/// Makes a struct with named fields a task's parameters.
///
/// Each field is one parameter, named after it in kebab-case; its doc
/// comment's first paragraph is the help text. Settings, as
/// `#[param(default = 10, name = "top")]`:
/// - `default = EXPRESSION`: the value when the user gives none;
/// - `name = "TEXT"`: another name.
#[proc_macro_derive(Params, attributes(param))]
pub fn derive_params(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    params::derive(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// Makes an enum without data the type of a parameter whose value is one of
/// its variants' names, in kebab-case or as `#[choice(name = "TEXT")]` says.
#[proc_macro_derive(Choice, attributes(choice))]
pub fn derive_choice(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    choice::derive(&input).unwrap_or_else(Error::into_compile_error).into()
}
