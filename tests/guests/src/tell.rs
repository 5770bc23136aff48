//! Tells the value of the environment variable `TELL_KEY` wherever its input
//! says: `stdout`, `stderr`, `log`, `error`, `transient`, `aborted`, `panic`,
//! `kind`, `trace`. `length` writes how long it is.

use tigerflow_task::log;
use tigerflow_task::prelude::*;

struct Tell {
    key: String,
}

#[derive(Params)]
struct Options {
    /// Tell it in `setup`, which fails
    fail_setup: bool,
}

impl Task for Tell {
    type Params = Options;

    fn about() -> About {
        About::new().name("tell").needs(Grant::environment("TELL_KEY"), "Tells it")
    }

    fn setup(options: Options) -> Result<Self> {
        let key = std::env::var("TELL_KEY").context("no TELL_KEY")?;
        log::info!("set up with {key}");
        if options.fail_setup {
            eprintln!("stderr of setup: {key}");
            bail!("setup does not like {key}");
        }
        Ok(Tell { key })
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let key = &self.key;
        match input.read_to_string()?.trim() {
            "stdout" => println!("stdout: {key}"),
            "stderr" => {
                eprintln!("stderr: {key}");
                bail!("see stderr");
            }
            // In pieces, as C's library would write it.
            "pieces" => {
                let (first, second) = key.split_at(key.len() / 2);
                eprint!("pieces: {first}");
                eprintln!("{second}");
                print!("pieces: {first}");
                println!("{second}");
                bail!("see stderr");
            }
            "log" => log::warn!("log: {key}"),
            "error" => bail!("error: {key}"),
            "transient" => return Err(Error::transient(format!("transient: {key}"))),
            "aborted" => return Err(Error::aborted(format!("aborted: {key}"))),
            "panic" => panic!("panic: {key}"),
            "kind" => return Err(Error::failed("see the kind").with_kind(format!("Kind{key}"))),
            "trace" => {
                let cause: Result<()> = Err(Error::failed(format!("cause: {key}")));
                return cause.context("see the trace");
            }
            "length" => {}
            other => bail!("no such way: {other}"),
        }
        output.write(key.len().to_string())
    }

    fn teardown(self) -> Result<()> {
        eprintln!("teardown: {}", self.key);
        log::info!("torn down with {}", self.key);
        Ok(())
    }
}

export_task!(Tell);
