//! What [`export_stage!`](crate::export_stage) puts between a staging step and the
//! host.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

pub use crate::bindings::tigerflow::task::types::Argument;
pub use crate::bindings_stage::exports::tigerflow::task::stage::{
    Candidate as RawCandidate, Counts, Description, Guest,
};
use crate::export::{flush_stdout, out_of_order, prepare};
use crate::params::Arguments;
use crate::stage::{Candidate, Stage};
use crate::task::Package;
use crate::{Params, Result};

/// Exports a staging step from the component: `export_stage!(LargestFirst);`, once in
/// a crate.
///
/// The component's name, version and summary are those of the Cargo package, where
/// [`Stage::about`](crate::stage::Stage::about) does not say otherwise.
#[macro_export]
macro_rules! export_stage {
    ($stage:ty) => {
        const _: () = {
            ::std::thread_local! {
                static STAGE: $crate::export_stage::Slot<$stage> =
                    const { $crate::export_stage::Slot::new(::core::module_path!()) };
            }

            struct Exported;

            impl $crate::export_stage::Guest for Exported {
                fn describe() -> $crate::export_stage::Description {
                    $crate::export_stage::describe::<$stage>(&$crate::export::Package {
                        name: ::core::env!("CARGO_PKG_NAME"),
                        version: ::core::env!("CARGO_PKG_VERSION"),
                        description: ::core::env!("CARGO_PKG_DESCRIPTION"),
                        module: ::core::module_path!(),
                    })
                }

                fn setup(
                    arguments: ::std::vec::Vec<$crate::export_stage::Argument>,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    STAGE.with(|stage| stage.setup(arguments))
                }

                fn choose(
                    candidates: ::std::vec::Vec<$crate::export_stage::RawCandidate>,
                    counts: $crate::export_stage::Counts,
                ) -> ::core::result::Result<::std::vec::Vec<u32>, ::std::string::String> {
                    STAGE.with(|stage| stage.choose(candidates, &counts))
                }
            }

            // Only a component exports: the names mean nothing to a native linker.
            #[cfg(target_family = "wasm")]
            $crate::bindings_stage::export_stage_component! {
                Exported with_types_in $crate::bindings_stage
            }
            // What nothing calls there must not be reported as dead code.
            #[cfg(not(target_family = "wasm"))]
            const _: () = {
                let _ = $crate::export_stage::functions::<Exported>();
            };
        };
    };
}

/// Answers `describe`.
#[must_use]
pub fn describe<S: Stage>(package: &Package) -> Description {
    prepare(package.module);
    let about = S::about().into_description(package, S::Params::parameters());
    Description {
        name: about.name,
        version: about.version,
        summary: about.summary,
        parameters: about.parameters,
    }
}

/// What a component exports.
pub type Functions = (
    fn() -> Description,
    fn(Vec<Argument>) -> Result<(), String>,
    fn(Vec<RawCandidate>, Counts) -> Result<Vec<u32>, String>,
);

/// The functions of the type that a component exports.
#[must_use]
pub const fn functions<G: Guest>() -> Functions {
    (G::describe, G::setup, G::choose)
}

/// Where an instance keeps its step between calls.
#[derive(Debug)]
pub struct Slot<S> {
    stage: RefCell<Option<S>>,
    module: &'static str,
}

impl<S> Slot<S> {
    /// No step yet. `module` is where it is exported.
    #[must_use]
    pub const fn new(module: &'static str) -> Self {
        Self { stage: RefCell::new(None), module }
    }
}

impl<S: Stage> Slot<S> {
    /// Answers `setup`.
    ///
    /// # Errors
    /// Those of the step, and of arguments that do not fit its parameters.
    pub fn setup(&self, arguments: Vec<Argument>) -> Result<(), String> {
        prepare(self.module);
        let result = S::Params::from_arguments(&mut Arguments::new(arguments)).and_then(S::setup);
        flush_stdout();
        let stage = result.map_err(|error| error.message())?;
        self.stage.replace(Some(stage));
        Ok(())
    }

    /// Answers `choose`.
    ///
    /// # Errors
    /// Those of the step.
    pub fn choose(
        &self,
        candidates: Vec<RawCandidate>,
        counts: &Counts,
    ) -> Result<Vec<u32>, String> {
        let mut stage = self.stage.borrow_mut();
        let Some(stage) = &mut *stage else { return Err(out_of_order("choose").message()) };
        let files = candidates.into_iter().zip(0..).map(|(raw, place)| lift(raw, place)).collect();
        let result = stage.choose(files, counts);
        flush_stdout();
        match result {
            Ok(chosen) => Ok(chosen.into_iter().map(|file| file.place).collect()),
            Err(error) => Err(error.message()),
        }
    }
}

fn lift(raw: RawCandidate, place: u32) -> Candidate {
    let since = Duration::try_from_secs_f64(raw.modified).unwrap_or_default();
    let modified = SystemTime::UNIX_EPOCH + since;
    Candidate { name: raw.name, size: raw.size, modified, place }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::tigerflow::task::types::Value;

    /// Takes the smallest files, one more with each call.
    struct Smallest {
        most: usize,
    }

    #[derive(crate::Params)]
    struct Options {
        most: u32,
    }

    impl Stage for Smallest {
        type Params = Options;

        fn setup(options: Options) -> Result<Self> {
            Ok(Self { most: options.most as usize })
        }

        fn choose(&mut self, mut files: Vec<Candidate>, counts: &Counts) -> Result<Vec<Candidate>> {
            if counts.failed > 0 {
                crate::bail!("{} failed", counts.failed);
            }
            files.sort_by_key(|file| file.size);
            files.truncate(self.most);
            self.most += 1;
            Ok(files)
        }
    }

    fn choose(slot: &Slot<Smallest>, failed: u64) -> Result<Vec<u32>, String> {
        let raw = |size| RawCandidate { name: format!("{size}.txt"), size, modified: 1.5 };
        let counts = Counts { waiting: 3, staged: 0, completed: 0, failed };
        slot.choose([30, 10, 20].map(raw).into(), &counts)
    }

    #[test]
    fn a_step_lives_from_call_to_call() {
        let slot = Slot::<Smallest>::new("");
        assert_eq!(choose(&slot, 0).unwrap_err(), "`choose` was called before `setup`");
        assert!(slot.setup(Vec::new()).unwrap_err().contains("most"));
        slot.setup(vec![Argument { name: "most".to_owned(), value: Value::Integer(1) }]).unwrap();
        assert_eq!(choose(&slot, 0), Ok(vec![1]));
        assert_eq!(choose(&slot, 2).unwrap_err(), "2 failed");
        assert_eq!(choose(&slot, 0), Ok(vec![1, 2]));
        assert_eq!(choose(&slot, 0), Ok(vec![1, 2, 0]));
    }

    #[test]
    fn times_are_those_of_the_host() {
        let at = |modified| {
            let file = lift(RawCandidate { name: "a".to_owned(), size: 1, modified }, 0);
            file.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap()
        };
        assert_eq!(at(1.5), Duration::from_millis(1500));
        assert_eq!(at(-1.5), Duration::ZERO);
        assert_eq!(at(f64::NAN), Duration::ZERO);
    }

    #[test]
    fn a_candidate_knows_its_path_and_age() {
        let soon = SystemTime::now() + Duration::from_secs(60);
        let file = Candidate::new("a.txt", 1, soon);
        assert_eq!(file.path().to_str(), Some("/input/a.txt"));
        assert_eq!(file.age(), Duration::ZERO);
    }
}
