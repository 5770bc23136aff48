use tigerflow_task::prelude::*;

mod words;

struct Words;

impl Task for Words {
    type Params = ();

    fn setup(_: ()) -> Result<Self> {
        Ok(Words)
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        output.write(words::count(&input.read_to_string()?))
    }
}

export_task!(Words);
