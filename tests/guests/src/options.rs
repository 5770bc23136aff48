//! Has a parameter of each kind, and writes the values that it received.

use tigerflow_task::prelude::*;

struct Echo(Options);

#[derive(Choice)]
enum Size {
    Small,
    ExtraLarge,
}

#[derive(Params)]
struct Options {
    /// Words to put before each text
    #[param(default = "Hello")]
    greeting: String,
    /// How often to say it
    times: u8,
    /// How loud to say it
    volume: Option<f64>,
    /// Whether to say it politely
    polite: bool,
    /// In which letters
    #[param(default = Size::Small)]
    letters: Size,
}

impl Task for Echo {
    type Params = Options;

    fn about() -> About {
        About::new()
            .name("options")
            .version("3.2.1")
            .summary("Writes the parameters that it received")
            .max_concurrency(7)
            .can_use(Grant::read_only("/words"), "Looks words up there")
            .can_use(Grant::environment("LANGUAGE"), "Speaks it")
            .option("timeout", "5m")
    }

    fn setup(options: Options) -> Result<Self> {
        println!("setup");
        Ok(Echo(options))
    }

    fn run(&self, _: &Input, output: &Output) -> Result<()> {
        let Options { greeting, times, volume, polite, letters } = &self.0;
        let letters = letters.name();
        output.write(format!("{greeting:?} {times} {volume:?} {polite} {letters}"))
    }
}

export_task!(Echo);
