//! See tests/conformance/README.md.

use std::cell::Cell;
use std::time::Duration;

use tigerflow_task::prelude::*;
use tigerflow_task::{http, time};

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct TooBad {
    message: String,
    #[source]
    cause: std::io::Error,
}

struct Conformance {
    in_flight: Cell<u32>,
    most: Cell<u32>,
}

impl AsyncTask for Conformance {
    type Params = ();

    async fn setup(_: ()) -> Result<Self> {
        Ok(Conformance { in_flight: Cell::new(0), most: Cell::new(0) })
    }

    async fn run(&self, input: &Input, output: &Output) -> Result<()> {
        self.in_flight.set(self.in_flight.get() + 1);
        self.most.set(self.most.get().max(self.in_flight.get()));
        let result = self.obey(input, output).await;
        self.in_flight.set(self.in_flight.get() - 1);
        result
    }
}

export_async_task!(Conformance);

impl Conformance {
    async fn obey(&self, input: &Input, output: &Output) -> Result<()> {
        let text = input.read_to_string()?;
        let (line, body) = text.split_once('\n').unwrap_or((&text, ""));
        let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "echo" => output.write(body),
            "fail" => Err(TooBad {
                message: argument.into(),
                cause: std::io::Error::other("the cause of it"),
            })?,
            "panic" => panic!("this is a mistake"),
            "http" => {
                let response = http::get(argument).send().await?.error_for_status().await?;
                output.write(response.bytes().await?)
            }
            "wait" => {
                time::sleep(Duration::from_millis(argument.parse()?)).await;
                output.write(self.most.get().to_string())
            }
            other => bail!("no such word: {other}"),
        }
    }
}
