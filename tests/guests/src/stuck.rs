//! Never answers when it is asked what it is.

use std::time::Duration;

use tigerflow_task::prelude::*;

struct Stuck;

impl Task for Stuck {
    type Params = ();

    fn about() -> About {
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }

    fn setup(_: ()) -> Result<Self> {
        println!("setup");
        Ok(Stuck)
    }

    fn run(&self, _: &Input, output: &Output) -> Result<()> {
        output.write("done")
    }
}

export_task!(Stuck);
