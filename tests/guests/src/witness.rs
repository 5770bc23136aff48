//! Upper-cases, and bears witness to each of its calls. For an input `a.txt` it
//! makes `/gate/call-0-a.txt`, the next time `call-1-a.txt`, and so on; in it
//! stands `new`, or `again` if `/published/a.out` was there before. Then it does
//! what its input says: `wait` waits for `/gate/open` or `/gate/open-a.txt`, `eat
//! N` takes N MiB of memory and keeps them for ever; else it waits for a while.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::time::Duration;

use tigerflow_task::prelude::*;

struct Witness {
    pause: Duration,
}

#[derive(Params)]
struct Options {
    /// Milliseconds that a call takes
    #[param(default = 0)]
    pause: u32,
}

impl Task for Witness {
    type Params = Options;

    fn about() -> About {
        About::new()
            .name("witness")
            .needs(Grant::read_write("/gate"), "Notes its calls there")
            .needs(Grant::read_only("/published"), "Looks there whether it is late")
    }

    fn setup(options: Options) -> Result<Self> {
        Ok(Witness { pause: Duration::from_millis(options.pause.into()) })
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        note(input)?;
        let text = input.read_to_string()?;
        match text.split_whitespace().next() {
            Some("wait") => {
                let own = gate(&format!("open-{}", input.name()));
                while !gate("open").exists() && !own.exists() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            Some("eat") => {
                let size: usize = text["eat".len()..].trim().parse()?;
                let all: Vec<_> = (0..size).map(|_| vec![1_u8; 1 << 20]).collect();
                loop {
                    black_box(&all);
                    std::thread::sleep(Duration::from_secs(3600));
                }
            }
            _ => std::thread::sleep(self.pause),
        }
        output.write(text.to_uppercase())
    }
}

export_task!(Witness);

fn gate(name: &str) -> PathBuf {
    PathBuf::from("/gate").join(name)
}

fn note(input: &Input) -> Result<()> {
    let published = PathBuf::from(format!("/published/{}.out", input.stem()));
    let what = if fs::symlink_metadata(published).is_ok() { "again" } else { "new" };
    for number in 0.. {
        // The first number that nobody has: there may be another at work.
        match File::create_new(gate(&format!("call-{number}-{}", input.name()))) {
            Ok(mut file) => return Ok(file.write_all(what.as_bytes())?),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("no number is free")
}
