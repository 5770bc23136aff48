use tigerflow_task::prelude::*;

struct Upper;

impl Task for Upper {
    type Params = ();
    fn setup(_: ()) -> Result<Self> {
        Ok(Upper)
    }
    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        output.write(input.read_to_string()?.to_uppercase())
    }
}
export_task!(Upper);
