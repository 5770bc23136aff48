//! Works when it is told to, and leaves word of what it does. In `/gate`, for
//! an input `a.txt`:
//!
//! - it makes `begun-a.txt`, and waits for a file `open` or `open-a.txt`;
//! - while it works there is `active-a.txt`, and `seen-N` says that N such
//!   files were there at once;
//! - each instance makes `setup-N` and, in the end, `teardown-N`.
//!
//! An input that begins with `spin` computes for ever.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use tigerflow_task::prelude::*;

struct Gated {
    number: u32,
}

fn gate(name: &str) -> PathBuf {
    PathBuf::from("/gate").join(name)
}

/// How many `active-` files there are.
fn at_work() -> usize {
    loop {
        // A neighbour that removes its file in the middle of a listing makes
        // WASI's fail.
        let names = fs::read_dir(gate("")).and_then(|entries| {
            entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>, _>>()
        });
        if let Ok(names) = names {
            return names.iter().filter(|n| n.to_string_lossy().starts_with("active-")).count();
        }
    }
}

impl Task for Gated {
    type Params = ();

    fn about() -> About {
        About::new()
            .name("gated")
            .needs(Grant::read_write("/gate"), "Waits there for files to appear")
    }

    fn setup(_: ()) -> Result<Self> {
        // The first number that nobody has.
        for number in 0.. {
            match File::create_new(gate(&format!("setup-{number}"))) {
                Ok(_) => return Ok(Gated { number }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("no number is free");
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let name = input.name();
        let active = gate(&format!("active-{name}"));
        fs::write(&active, "")?;
        let at_once = at_work();
        fs::write(gate(&format!("seen-{at_once}")), "")?;
        fs::write(gate(&format!("begun-{name}")), "")?;
        let text = input.read_to_string()?;
        while text.starts_with("spin") {
            std::hint::spin_loop();
        }
        while !gate("open").exists() && !gate(&format!("open-{name}")).exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        output.write(text.to_uppercase())?;
        fs::remove_file(&active)?;
        Ok(())
    }

    fn teardown(self) -> Result<()> {
        fs::write(gate(&format!("teardown-{}", self.number)), "")?;
        Ok(())
    }
}

export_task!(Gated);
