//! Hosts WebAssembly tasks: turns every input file into one output file,
//! sandboxed and crash-safe, on all cores.
//!
//! Arrows run one way: [`cli`] → [`run`] → [`schedule`] (pure), [`executor`],
//! [`engine`] and [`workspace`]. See `ARCHITECTURE.md` for where things live and
//! what must always hold.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod cli;
pub mod engine;
pub mod executor;
pub mod log;
pub mod outcome;
pub mod pipeline;
pub mod project;
pub mod run;
pub mod schedule;
pub mod text;
pub mod workspace;
