//! Tries to read each path that its input lists, one a line, and says what
//! came of it: `PATH: ok CONTENT` or `PATH: no`. The first line is its own
//! path as the host gave it.

use std::fmt::Write;

use tigerflow_task::prelude::*;

struct Peek;

impl Task for Peek {
    type Params = ();

    fn about() -> About {
        About::new().name("peek")
    }

    fn setup(_: ()) -> Result<Self> {
        Ok(Peek)
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let mut report = format!("{}\n", input.display());
        for path in input.read_to_string()?.lines() {
            match std::fs::read_to_string(path) {
                Ok(content) => writeln!(report, "{path}: ok {content}")?,
                Err(_) => writeln!(report, "{path}: no")?,
            }
        }
        output.write(report)
    }
}

export_task!(Peek);
