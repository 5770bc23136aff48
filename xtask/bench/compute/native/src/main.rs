//! `compute-native WORK IN_DIR OUT_DIR THREADS`: what the task does, to each file, on so many threads.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

#[path = "../../src/work.rs"]
mod work;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [work, input, output, threads] = &arguments[..] else {
        return Err("usage: compute-native WORK IN_DIR OUT_DIR THREADS".into());
    };
    all(work, Path::new(input), Path::new(output), threads.parse()?)
}

/// Each result is written under a temporary name, and renamed.
fn all(work: &str, input: &Path, output: &Path, threads: usize) -> Outcome {
    let names: Vec<OsString> =
        fs::read_dir(input)?.map(|entry| Ok(entry?.file_name())).collect::<Outcome<_>>()?;
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let (names, next) = (&names, &next);
                scope.spawn(move || -> Outcome {
                    let temporary = output.join(format!(".{worker}.tmp"));
                    while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                        one(work, &input.join(name), &temporary)?;
                        fs::rename(&temporary, output.join(name))?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })
}

fn one(work: &str, input: &Path, output: &Path) -> Outcome {
    match work {
        "fnv1a" => fs::write(output, work::fnv1a(&fs::read(input)?))?,
        "words" => fs::write(output, work::words(&fs::read_to_string(input)?))?,
        "sha256" => fs::write(output, work::sha256(&fs::read(input)?))?,
        "upper" => work::upper(&mut File::open(input)?, &mut File::create(output)?)?,
        other => return Err(format!("`{other}` is no work of this program").into()),
    }
    Ok(())
}
