//! What [`export_task!`](crate::export_task) puts between a task and the host.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

pub use crate::bindings::exports::tigerflow::task::task::Guest;
pub use crate::bindings::tigerflow::task::types::{Argument, Description, Failure, RunError};
use crate::params::Arguments;
pub use crate::task::Package;
use crate::{Error, Input, Output, Params, Result, Task, file, log};

/// Exports a task from the component: `export_task!(Hello);`, once in a crate.
///
/// The component's name, version and summary are those of the Cargo package,
/// where [`Task::about`](crate::Task::about) does not say otherwise.
#[macro_export]
macro_rules! export_task {
    ($task:ty) => {
        const _: () = {
            ::std::thread_local! {
                static CONTEXT: $crate::export::Slot<$task> =
                    const { $crate::export::Slot::new(::core::module_path!()) };
            }

            struct Exported;

            impl $crate::export::Guest for Exported {
                fn describe() -> $crate::export::Description {
                    $crate::export::describe::<$task>(&$crate::export::Package {
                        name: ::core::env!("CARGO_PKG_NAME"),
                        version: ::core::env!("CARGO_PKG_VERSION"),
                        description: ::core::env!("CARGO_PKG_DESCRIPTION"),
                        module: ::core::module_path!(),
                    })
                }

                fn setup(
                    arguments: ::std::vec::Vec<$crate::export::Argument>,
                ) -> ::core::result::Result<(), $crate::export::Failure> {
                    CONTEXT.with(|context| context.setup(arguments))
                }

                fn run(
                    input: ::std::string::String,
                    output: ::std::string::String,
                ) -> ::core::result::Result<(), $crate::export::RunError> {
                    CONTEXT.with(|context| context.run(input, output))
                }

                fn teardown() -> ::core::result::Result<(), $crate::export::Failure> {
                    CONTEXT.with(|context| context.teardown())
                }
            }

            // Only a component exports: the names mean nothing to a native linker.
            #[cfg(target_family = "wasm")]
            $crate::bindings::export_component! { Exported with_types_in $crate::bindings }
            // What nothing calls there must not be reported as dead code.
            #[cfg(not(target_family = "wasm"))]
            const _: () = {
                let _ = $crate::export::functions::<Exported>();
            };
        };
    };
}

/// Answers `describe`.
pub fn describe<T: Task>(package: &Package) -> Description {
    prepare(package.module);
    T::about().into_description(package, T::Params::parameters())
}

/// What a component exports.
pub type Functions = (
    fn() -> Description,
    fn(Vec<Argument>) -> Result<(), Failure>,
    fn(String, String) -> Result<(), RunError>,
    fn() -> Result<(), Failure>,
);

/// The functions of the type that a component exports.
pub const fn functions<G: Guest>() -> Functions {
    (G::describe, G::setup, G::run, G::teardown)
}

/// Where an instance keeps its context between calls.
#[derive(Debug)]
pub struct Slot<T> {
    context: RefCell<Option<T>>,
    module: &'static str,
}

impl<T> Slot<T> {
    /// No context yet. `module` is where the task is exported.
    pub const fn new(module: &'static str) -> Self {
        Self { context: RefCell::new(None), module }
    }
}

impl<T: Task> Slot<T> {
    /// Answers `setup`.
    ///
    /// # Errors
    /// Those of the task, and of arguments that do not fit its parameters.
    pub fn setup(&self, arguments: Vec<Argument>) -> Result<(), Failure> {
        prepare(self.module);
        let result = T::Params::from_arguments(&mut Arguments::new(arguments)).and_then(T::setup);
        flush_stdout();
        match result {
            Ok(context) => {
                self.context.replace(Some(context));
                Ok(())
            }
            Err(error) => Err(error.into_failure()),
        }
    }

    /// Answers `run`.
    ///
    /// # Errors
    /// Those of the task.
    pub fn run(&self, input: String, output: String) -> Result<(), RunError> {
        let context = self.context.borrow();
        let Some(context) = &*context else {
            return Err(out_of_order("run").into_run_error());
        };
        let result = context.run(&Input::new(input), &Output::new(output));
        end_of_run(result, file::take_lost_error())
    }

    /// Answers `teardown`.
    ///
    /// # Errors
    /// Those of the task.
    pub fn teardown(&self) -> Result<(), Failure> {
        let result = match self.context.take() {
            Some(context) => context.teardown(),
            None => Err(out_of_order("teardown")),
        };
        flush_stdout();
        result.map_err(Error::into_failure)
    }
}

/// The host's view of how a `run` ended. `lost` is what a dropped writer could
/// not write, which must not pass for a success.
pub(crate) fn end_of_run(result: Result<()>, lost: Option<Error>) -> Result<(), RunError> {
    flush_stdout();
    match (result, lost) {
        (Ok(()), Some(lost)) => Err(lost.into_run_error()),
        (result, _) => result.map_err(Error::into_run_error),
    }
}

/// Shows what a task printed without an end of line. Nothing else would: an
/// instance is dropped without an exit of its program.
pub(crate) fn flush_stdout() {
    // What goes to stdout is no result: that it cannot be shown fails no file.
    let _ = std::io::stdout().flush();
}

pub(crate) fn out_of_order(call: &str) -> Error {
    Error::failed(format_args!("`{call}` was called before `setup`")).with_kind("OrderOfCalls")
}

/// Makes what a task says beside its results reach the host. `module` is where
/// the task is exported. A native test has its own ways.
pub(crate) fn prepare(module: &'static str) {
    static ONCE: Once = Once::new();
    if cfg!(target_family = "wasm") {
        ONCE.call_once(|| {
            print_panics_on_one_line();
            log::install(module);
        });
    }
}

/// A panic aborts a component. What it says must reach stderr before: the host
/// puts the end of stderr into the `.err` file. One line, without the standard
/// hook's thread name and its advice to set an environment variable.
fn print_panics_on_one_line() {
    std::panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("(no message)");
        let mut stderr = std::io::stderr();
        // Nothing is left to do where even stderr fails.
        let _ = match info.location() {
            Some(place) => writeln!(stderr, "panicked at {place}: {message}"),
            None => writeln!(stderr, "panicked: {message}"),
        };
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::tigerflow::task::types::Value;

    /// Fails for the input that its parameter names.
    struct Picky {
        bad: String,
    }

    #[derive(crate::Params)]
    struct Options {
        bad: String,
    }

    impl Task for Picky {
        type Params = Options;

        fn setup(options: Options) -> Result<Self> {
            Ok(Self { bad: options.bad })
        }

        fn run(&self, input: &Input, output: &Output) -> Result<()> {
            if input.stem() == self.bad {
                crate::bail!("`{}` is bad", input.name());
            }
            if input.stem() == "full" {
                output.create()?.write_all(b"x")?;
            }
            Ok(())
        }

        fn teardown(self) -> Result<()> {
            Err(Error::failed("it stays open"))
        }
    }

    fn argument(value: &str) -> Vec<Argument> {
        vec![Argument { name: "bad".to_owned(), value: Value::Text(value.to_owned()) }]
    }

    fn run(slot: &Slot<Picky>, input: &str, output: &str) -> Result<(), String> {
        slot.run(input.to_owned(), output.to_owned()).map_err(|error| match error {
            RunError::Failed(failure) => failure.message,
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn an_instance_lives_from_setup_to_teardown() {
        let slot = Slot::<Picky>::new("");
        slot.setup(argument("b")).unwrap();
        assert_eq!(run(&slot, "/input/a.txt", "/output/a.txt"), Ok(()));
        let error = run(&slot, "/input/b.txt", "/output/b.txt").unwrap_err();
        assert_eq!(error, "`b.txt` is bad");
        assert_eq!(run(&slot, "/input/c.txt", "/output/c.txt"), Ok(()));
        assert_eq!(slot.teardown().unwrap_err().message, "it stays open");
    }

    #[test]
    fn setup_needs_its_parameters() {
        let slot = Slot::<Picky>::new("");
        let failure = slot.setup(Vec::new()).unwrap_err();
        assert_eq!(failure.kind, "MissingParameter");
        assert_eq!(run(&slot, "", "").unwrap_err(), "`run` was called before `setup`");
        assert_eq!(slot.teardown().unwrap_err().kind, "OrderOfCalls");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_write_that_fails_late_fails_the_run() {
        let slot = Slot::<Picky>::new("");
        slot.setup(argument("")).unwrap();
        let error = run(&slot, "/input/full", "/dev/full").unwrap_err();
        assert!(error.starts_with("cannot write the end of the output"), "{error}");
        assert_eq!(run(&slot, "/input/a", "/output/a"), Ok(()));
    }

    #[test]
    fn the_description_joins_task_and_package() {
        let package = Package { name: "picky", version: "1.0.0", description: "Picks", module: "" };
        let description = describe::<Picky>(&package);
        assert_eq!((&*description.name, &*description.summary), ("picky", "Picks"));
        assert_eq!(description.parameters[0].name, "bad");
        assert!(description.parameters[0].required);
    }
}
