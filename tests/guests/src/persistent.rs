//! Has its own defaults for what is done about failures: three tries after
//! transient errors and crashes, with short waits, and two files that may fail.
//! It fails as its input says: `transient`, `crash`, `fail`; else it goes well.

use tigerflow_task::prelude::*;

struct Persistent;

impl Task for Persistent {
    type Params = ();

    fn about() -> About {
        About::new()
            .name("persistent")
            .option("retries", "2")
            .option("retry-delay", "10ms")
            .option("retry-on", "transient,crash")
            .option("max-failures", "2")
            .option("rate-limit", "1000/s")
            .option("concurrency-limit", "1")
    }

    fn setup(_: ()) -> Result<Self> {
        Ok(Persistent)
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        match input.read_to_string()?.trim() {
            "transient" => Err(Error::transient("busy")),
            "crash" => panic!("crashed"),
            "fail" => bail!("failed"),
            text => output.write(text.to_uppercase()),
        }
    }
}

export_task!(Persistent);
