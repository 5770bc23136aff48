//! Upper-cases ASCII: the task of the benchmarks.

use tigerflow_task::prelude::*;

struct Upper;

impl Task for Upper {
    type Params = ();

    fn setup(_: ()) -> Result<Self> {
        Ok(Upper)
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let mut text = input.read()?;
        text.make_ascii_uppercase();
        output.write(text)
    }
}

export_task!(Upper);
