//! A staging step that does what its parameter says, and that is no good, until there
//! is a file `calm` in the input directory. It takes all files then. It exports what
//! the SDK would have spared it: places of its own choice.

use std::cell::{Cell, RefCell};
use std::fs;
use std::hint::black_box;
use std::path::Path;

use tigerflow_task::export_stage::{Argument, Counts, Description, Guest, RawCandidate};
use tigerflow_task::params::Arguments;
use tigerflow_task::{Params, log};

#[derive(Params)]
struct Options {
    /// What to do
    how: String,
}

struct Misbehave;

thread_local! {
    static HOW: RefCell<String> = const { RefCell::new(String::new()) };
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

impl Guest for Misbehave {
    fn describe() -> Description {
        Description {
            name: "misbehave".into(),
            version: "1.0.0".into(),
            summary: "Chooses badly".into(),
            parameters: Options::parameters(),
        }
    }

    fn setup(arguments: Vec<Argument>) -> Result<(), String> {
        let options = Options::from_arguments(&mut Arguments::new(arguments));
        let how = options.map_err(|error| error.message())?.how;
        match &*how {
            "fail in setup" => return Err("not\nat all".into()),
            "trap in setup" => std::process::abort(),
            _ => {}
        }
        HOW.set(how);
        Ok(())
    }

    fn choose(candidates: Vec<RawCandidate>, _: Counts) -> Result<Vec<u32>, String> {
        CALLS.set(CALLS.get() + 1);
        log::info!("call {} of this instance", CALLS.get());
        let all = 0..u32::try_from(candidates.len()).expect("fewer than 2^32");
        if Path::new("/input/calm").exists() {
            return Ok(all.collect());
        }
        HOW.with_borrow(|how| match &**how {
            "error" => Err("I would rather not".into()),
            "panic" => panic!("I would really rather not"),
            "abort" => std::process::abort(),
            "loop" => loop {
                black_box(0);
            },
            "bomb" => {
                let mut all = Vec::new();
                loop {
                    all.push(vec![1_u8; 1 << 20]);
                    black_box(&all);
                }
            }
            "beyond" => Ok(vec![all.end]),
            "twice" => Ok(all.chain([0]).collect()),
            // Those that a file beside them lists.
            "listed" => {
                let list = fs::read_to_string("/input/list").map_err(|error| error.to_string())?;
                let named = |name: &str| candidates.iter().position(|file| file.name == name);
                let places = list.lines().filter_map(named);
                Ok(places.map(|place| place.try_into().expect("fewer than 2^32")).collect())
            }
            // Nothing of this may work.
            "reach" => {
                for place in ["/input/new", "/output/new", "/new", "new"] {
                    if fs::write(place, "x").is_ok() {
                        return Err(format!("{place} was written to"));
                    }
                }
                for place in
                    ["/", "/etc", "/input/..", "/input/link", "/input/way", "/input/a/.tigerflow"]
                {
                    if fs::read_dir(place).is_ok() {
                        return Err(format!("{place} was listed"));
                    }
                }
                match std::env::vars().next() {
                    Some((name, _)) => Err(format!("{name} was seen")),
                    None => Ok(all.collect()),
                }
            }
            other => Err(format!("no such misdeed: {other}")),
        })
    }
}

tigerflow_task::bindings_stage::export_stage_component! {
    Misbehave with_types_in tigerflow_task::bindings_stage
}
