//! Does badly a few times, then well: an input `transient 2` fails transiently
//! twice before its output is written. `transient 1 after 300` asks to wait 300
//! milliseconds; `trap 1` panics, `hang 1` sleeps for ever, `fail 1` fails for
//! good. Each try is a line in `/state`, in a file named after the input.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use tigerflow_task::prelude::*;

struct Flaky;

impl Task for Flaky {
    type Params = ();

    fn about() -> About {
        About::new()
            .name("flaky")
            .needs(Grant::read_write("/state"), "Counts there how often it tried")
    }

    fn setup(_: ()) -> Result<Self> {
        Ok(Flaky)
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let text = input.read_to_string()?;
        let tries = count(input.name())?;
        let mut words = text.split_whitespace();
        let (Some(way), Some(times)) = (words.next(), words.next()) else {
            bail!("`WAY TIMES`, not `{text}`");
        };
        if tries > times.parse()? {
            return output.write(format!("{} at try {tries}\n", text.trim()));
        }
        match way {
            "transient" => {
                let error = Error::transient(format!("busy at try {tries}"));
                match (words.next(), words.next()) {
                    (Some("after"), Some(ms)) => {
                        Err(error.retry_after(Duration::from_millis(ms.parse()?)))
                    }
                    _ => Err(error),
                }
            }
            "fail" => bail!("failed at try {tries}"),
            "trap" => panic!("trapped at try {tries}"),
            "hang" => loop {
                std::thread::sleep(Duration::from_secs(3600));
            },
            other => bail!("no such way: {other}"),
        }
    }
}

export_task!(Flaky);

/// Notes a try; gives back how many there were with it.
fn count(name: &str) -> Result<usize> {
    let path = format!("/state/{name}");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    file.write_all(b"try\n")?;
    drop(file);
    Ok(std::fs::read_to_string(&path)?.lines().count())
}
