//! What [`export_async_task!`](crate::export_async_task) puts between a task
//! and the host.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::thread::LocalKey;

pub use crate::bindings_async::exports::tigerflow::task::async_task::Guest;
use crate::export::{
    Argument, Description, Failure, Package, RunError, end_of_run, flush_stdout, out_of_order,
    prepare,
};
use crate::params::Arguments;
use crate::{AsyncTask, Error, Input, Output, Params, Result, file};

/// Exports an asynchronous task from the component:
/// `export_async_task!(Embed);`, once in a crate.
///
/// The component's name, version and summary are those of the Cargo package,
/// where [`AsyncTask::about`](crate::AsyncTask::about) does not say otherwise.
#[macro_export]
macro_rules! export_async_task {
    ($task:ty) => {
        const _: () = {
            ::std::thread_local! {
                static CONTEXT: $crate::export_async::Slot<$task> =
                    const { $crate::export_async::Slot::new(::core::module_path!()) };
            }

            struct Exported;

            impl $crate::export_async::Guest for Exported {
                fn describe() -> $crate::export::Description {
                    $crate::export_async::describe::<$task>(&$crate::export::Package {
                        name: ::core::env!("CARGO_PKG_NAME"),
                        version: ::core::env!("CARGO_PKG_VERSION"),
                        description: ::core::env!("CARGO_PKG_DESCRIPTION"),
                        module: ::core::module_path!(),
                    })
                }

                async fn setup(
                    arguments: ::std::vec::Vec<$crate::export::Argument>,
                ) -> ::core::result::Result<(), $crate::export::Failure> {
                    $crate::export_async::setup(&CONTEXT, arguments).await
                }

                async fn run(
                    input: ::std::string::String,
                    output: ::std::string::String,
                ) -> ::core::result::Result<(), $crate::export::RunError> {
                    $crate::export_async::run(&CONTEXT, input, output).await
                }

                async fn teardown() -> ::core::result::Result<(), $crate::export::Failure> {
                    $crate::export_async::teardown(&CONTEXT).await
                }
            }

            // Only a component exports: the names mean nothing to a native linker.
            #[cfg(target_family = "wasm")]
            $crate::bindings_async::export_async_component! {
                Exported with_types_in $crate::bindings_async
            }
            // What nothing calls there must not be reported as dead code.
            #[cfg(not(target_family = "wasm"))]
            const _: fn() = $crate::export_async::mention::<Exported>;
        };
    };
}

/// Answers `describe`.
pub fn describe<T: AsyncTask>(package: &Package) -> Description {
    prepare(package.module);
    T::about().into_description(package, T::Params::parameters())
}

/// Calls nothing, but names what a component exports.
pub fn mention<G: Guest>() {
    let _ = (G::describe, G::setup, G::run, G::teardown);
}

/// Where an instance keeps the context that its calls share.
#[derive(Debug)]
pub struct Slot<T> {
    context: RefCell<Option<Rc<T>>>,
    module: &'static str,
}

impl<T> Slot<T> {
    /// No context yet. `module` is where the task is exported.
    pub const fn new(module: &'static str) -> Self {
        Self { context: RefCell::new(None), module }
    }
}

/// Answers `setup`.
///
/// # Errors
/// Those of the task, and of arguments that do not fit its parameters.
pub async fn setup<T: AsyncTask>(
    slot: &'static LocalKey<Slot<T>>,
    arguments: Vec<Argument>,
) -> Result<(), Failure> {
    prepare(slot.with(|slot| slot.module));
    let result = match T::Params::from_arguments(&mut Arguments::new(arguments)) {
        Ok(params) => T::setup(params).await,
        Err(error) => Err(error),
    };
    flush_stdout();
    match result {
        Ok(context) => {
            slot.with(|slot| slot.context.replace(Some(Rc::new(context))));
            Ok(())
        }
        Err(error) => Err(error.into_failure()),
    }
}

/// Answers `run`.
///
/// # Errors
/// Those of the task.
pub async fn run<T: AsyncTask>(
    slot: &'static LocalKey<Slot<T>>,
    input: String,
    output: String,
) -> Result<(), RunError> {
    // The call's own share of the context: no borrow lasts over an await.
    let Some(context) = slot.with(|slot| slot.context.borrow().clone()) else {
        return Err(out_of_order("run").into_run_error());
    };
    let (input, output) = (Input::new(input), Output::new(output));
    let mut lost = None;
    let mut run = pin!(context.run(&input, &output));
    let result = poll_fn(|waker| {
        let progress = run.as_mut().poll(waker);
        // A writer that was dropped just now was this call's.
        lost = lost.take().or(file::take_lost_error());
        progress
    })
    .await;
    end_of_run(result, lost)
}

/// Answers `teardown`.
///
/// # Errors
/// Those of the task, and of a call while a `run` is in flight.
pub async fn teardown<T: AsyncTask>(slot: &'static LocalKey<Slot<T>>) -> Result<(), Failure> {
    let result = match slot.with(|slot| slot.context.take()).map(Rc::try_unwrap) {
        Some(Ok(context)) => context.teardown().await,
        Some(Err(shared)) => {
            slot.with(|slot| slot.context.replace(Some(shared)));
            Err(Error::failed("`teardown` was called while a `run` was in flight")
                .with_kind("OrderOfCalls"))
        }
        None => Err(out_of_order("teardown")),
    };
    flush_stdout();
    result.map_err(Error::into_failure)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write;
    use std::task::Poll;
    use std::time::Duration;

    use super::*;
    use crate::testing::block_on;
    use crate::time;

    /// Counts its calls; `full` loses what it writes.
    struct Counter {
        calls: Cell<u32>,
    }

    impl AsyncTask for Counter {
        type Params = ();

        async fn setup((): ()) -> Result<Self> {
            Ok(Self { calls: Cell::new(0) })
        }

        async fn run(&self, input: &Input, output: &Output) -> Result<()> {
            let mut writer = output.create()?;
            writer.write_all(b"x")?;
            time::sleep(Duration::from_millis(10)).await;
            self.calls.set(self.calls.get() + 1);
            if input.stem() == "bad" {
                crate::bail!("told to fail at call {}", self.calls.get());
            }
            Ok(())
        }

        async fn teardown(self) -> Result<()> {
            Err(Error::failed(format_args!("{} calls", self.calls.get())))
        }
    }

    thread_local! {
        static CONTEXT: Slot<Counter> = const { Slot::new("") };
    }

    async fn call(input: &str, output: &str) -> Result<(), String> {
        run(&CONTEXT, input.to_owned(), output.to_owned()).await.map_err(|error| match error {
            RunError::Failed(failure) => failure.message,
            other => format!("{other:?}"),
        })
    }

    /// What both come to, polled in turns.
    async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
        let (mut a, mut b) = (pin!(a), pin!(b));
        let (mut of_a, mut of_b) = (None, None);
        poll_fn(|waker| {
            if of_a.is_none()
                && let Poll::Ready(value) = a.as_mut().poll(waker)
            {
                of_a = Some(value);
            }
            if of_b.is_none()
                && let Poll::Ready(value) = b.as_mut().poll(waker)
            {
                of_b = Some(value);
            }
            match (of_a.take(), of_b.take()) {
                (Some(a), Some(b)) => Poll::Ready((a, b)),
                (a, b) => {
                    (of_a, of_b) = (a, b);
                    Poll::Pending
                }
            }
        })
        .await
    }

    #[test]
    fn calls_share_a_context_that_teardown_takes_after_them() {
        block_on(async {
            assert_eq!(
                call("a", "/dev/null").await.unwrap_err(),
                "`run` was called before `setup`"
            );
            setup(&CONTEXT, Vec::new()).await.unwrap();
            let (bad, good) = both(call("bad", "/dev/null"), call("a", "/dev/null")).await;
            assert!(bad.unwrap_err().starts_with("told to fail at call "));
            assert_eq!(good, Ok(()));
            let (good, early) = both(call("a", "/dev/null"), teardown(&CONTEXT)).await;
            assert_eq!(good, Ok(()));
            assert_eq!(early.unwrap_err().kind, "OrderOfCalls");
            assert_eq!(teardown(&CONTEXT).await.unwrap_err().message, "3 calls");
            assert_eq!(teardown(&CONTEXT).await.unwrap_err().kind, "OrderOfCalls");
        });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_writer_loses_is_its_own_calls() {
        block_on(async {
            setup(&CONTEXT, Vec::new()).await.unwrap();
            let (good, full) = both(call("a", "/dev/null"), call("b", "/dev/full")).await;
            assert_eq!(good, Ok(()));
            assert!(full.unwrap_err().starts_with("cannot write the end of the output"));
        });
    }
}
