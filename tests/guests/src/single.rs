//! Allows one file in flight only, and needs a directory where it notes each
//! of its calls. `setup` fails once the directory says so.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use tigerflow_task::prelude::*;

struct Single;

impl Task for Single {
    type Params = ();

    fn about() -> About {
        About::new()
            .name("single")
            .max_concurrency(1)
            .needs(Grant::read_write("/notes"), "Notes its calls there")
            .needs(Grant::environment("SINGLE_KEY"), "Signs its notes with it")
    }

    fn setup(_: ()) -> Result<Self> {
        note("setup")?;
        if Path::new("/notes/no-more").exists() {
            bail!("the notes say no more");
        }
        Ok(Single)
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        note("begin")?;
        let text = input.read_to_string()?;
        if text == "last" {
            std::fs::write("/notes/no-more", "")?;
            std::process::abort();
        }
        output.write(text)?;
        note("end")
    }

    fn teardown(self) -> Result<()> {
        note("teardown")
    }
}

export_task!(Single);

fn note(what: &str) -> Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open("/notes/calls")?;
    Ok(writeln!(file, "{what}")?)
}
