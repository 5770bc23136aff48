//! Needs a host, and copies its input without asking it.

use tigerflow_task::prelude::*;

struct Needy;

impl Task for Needy {
    type Params = ();

    fn about() -> About {
        About::new()
            .name("needy")
            .needs(Grant::host("api.example.test"), "Asks there what words mean")
            .can_use(Grant::host("*.cdn.example.test"), "Loads pictures, if it may")
    }

    fn setup(_: ()) -> Result<Self> {
        Ok(Needy)
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        output.write(input.read()?)
    }
}

export_task!(Needy);
