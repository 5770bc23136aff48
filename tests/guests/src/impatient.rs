//! Asks for a short time limit, and takes the milliseconds that its input says.

use std::time::Duration;

use tigerflow_task::prelude::*;

struct Impatient;

impl Task for Impatient {
    type Params = ();

    fn about() -> About {
        About::new().name("impatient").option("timeout", "500ms").option("concurrency-limit", "1")
    }

    fn setup(_: ()) -> Result<Self> {
        println!("setup");
        Ok(Impatient)
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let time: u64 = input.read_to_string()?.trim().parse()?;
        std::thread::sleep(Duration::from_millis(time));
        output.write("done")
    }
}

export_task!(Impatient);
