//! Upper-cases ASCII, and takes its time: half of the output stands for a
//! while before the other half does. What begins with `fail` it fails on, what
//! begins with `decline` it declines; where writing fails, what begins with
//! `careless` overlooks it, and what begins with `tidy` cleans up first.

use std::io::Write;
use std::time::Duration;

use tigerflow_task::prelude::*;

struct Slow {
    pause: Duration,
}

#[derive(Params)]
struct Options {
    /// Milliseconds between the two halves
    #[param(default = 2)]
    pause: u32,
}

impl Task for Slow {
    type Params = Options;

    fn about() -> About {
        About::new().name("slow")
    }

    fn setup(options: Options) -> Result<Self> {
        Ok(Slow { pause: Duration::from_millis(options.pause.into()) })
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let mut text = input.read()?;
        text.make_ascii_uppercase();
        let (first, second) = text.split_at(text.len() / 2);
        // Not the SDK's whole-file write: a half must be seen on disk.
        let mut file = std::fs::File::create(output)?;
        file.write_all(first)?;
        std::thread::sleep(self.pause);
        if text.starts_with(b"FAIL") {
            bail!("told to fail");
        }
        if text.starts_with(b"DECLINE") {
            return Err(Error::aborted("told to decline"));
        }
        match file.write_all(second) {
            Err(_) if text.starts_with(b"CARELESS") => Ok(()),
            Err(error) if text.starts_with(b"TIDY") => {
                drop(file);
                std::fs::remove_file(output)?;
                Err(error.into())
            }
            result => Ok(result?),
        }
    }
}

export_task!(Slow);
