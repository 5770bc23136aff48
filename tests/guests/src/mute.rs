//! Breaks when it is asked what it is.

use tigerflow_task::prelude::*;

struct Mute;

impl Task for Mute {
    type Params = ();

    fn about() -> About {
        panic!("I would rather not say")
    }

    fn setup(_: ()) -> Result<Self> {
        println!("setup");
        Ok(Mute)
    }

    fn run(&self, _: &Input, output: &Output) -> Result<()> {
        output.write("done")
    }
}

export_task!(Mute);
