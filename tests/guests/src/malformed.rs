//! Describes itself badly: its name would lead out of the workspace.

use tigerflow_task::prelude::*;

struct Malformed;

impl Task for Malformed {
    type Params = ();

    fn about() -> About {
        About::new().name("../Malformed")
    }

    fn setup(_: ()) -> Result<Self> {
        println!("setup");
        Ok(Malformed)
    }

    fn run(&self, _: &Input, output: &Output) -> Result<()> {
        output.write("done")
    }
}

export_task!(Malformed);
