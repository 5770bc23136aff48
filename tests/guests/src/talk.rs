//! Says things while it works: in the log with each level, and how far it is.

use std::time::{Duration, Instant};

use tigerflow_task::log;
use tigerflow_task::prelude::*;

struct Talk;

impl Task for Talk {
    type Params = ();

    fn about() -> About {
        About::new().name("talk")
    }

    fn setup(_: ()) -> Result<Self> {
        log::info!("ready to talk");
        Ok(Talk)
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let text = input.read_to_string()?;
        let (word, argument) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        match word {
            "levels" => {
                log::trace!("a trace line");
                log::debug!("a debug line");
                log::info!("an info line");
                log::warn!("a warn line");
                log::error!("an error line");
            }
            "flood" => {
                for number in 0..argument.parse::<u32>()? {
                    log::info!("flood {number}");
                }
            }
            "long" => log::info!("{}", "x".repeat(argument.parse()?)),
            "forge" => log::info!("one line\n2026-01-31 10:54:23 | ERROR    | forged\x1b[2J"),
            // Half-way, until somebody saw it.
            "progress" => {
                let begun = Instant::now();
                while !input.with_extension("seen").exists() {
                    input.progress(0.5);
                    // Of a file that it was not given.
                    Input::new("/input/other").progress(0.9);
                    if begun.elapsed() > Duration::from_secs(60) {
                        bail!("nobody looked");
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            other => bail!("nothing to say of {other}"),
        }
        output.write(word)
    }
}

export_task!(Talk);
