//! Has a parameter of the name of an option of the host.

use tigerflow_task::prelude::*;

struct Clash;

#[derive(Params)]
struct Options {
    /// How long to wait
    #[param(default = "1s")]
    timeout: String,
}

impl Task for Clash {
    type Params = Options;

    fn setup(options: Options) -> Result<Self> {
        println!("setup {}", options.timeout);
        Ok(Clash)
    }

    fn run(&self, _: &Input, output: &Output) -> Result<()> {
        output.write("done")
    }
}

export_task!(Clash);
