//! Sends the request that its input says, and writes status, some headers and
//! body of the answer.

mod script;

use std::io::Write;

use tigerflow_task::http::blocking as http;
use tigerflow_task::prelude::*;

use crate::script::{Limits, Options, Script, head};

struct Http(Limits);

impl Task for Http {
    type Params = Options;

    fn about() -> About {
        About::new().name("http")
    }

    fn setup(options: Options) -> Result<Self> {
        Ok(Http(options.into()))
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let text = input.read_to_string()?;
        let script = Script::parse(&text)?;
        let mut request = http::request(script.method, script.url).redirects(self.0.redirects);
        for (name, value) in script.headers {
            request = request.header(name, value);
        }
        if !script.body.is_empty() {
            request = request.body(script.body);
        }
        if let Some(limit) = self.0.read_timeout {
            request = request.read_timeout(limit);
        }
        if let Some(limit) = self.0.total_timeout {
            request = request.timeout(limit);
        }
        let mut response = request.send()?;
        if self.0.strict {
            response = response.error_for_status()?;
        }
        let mut file = output.create()?;
        file.write_all(head(response.status(), |name| response.header(name)).as_bytes())?;
        while let Some(piece) = response.chunk()? {
            file.write_all(&piece)?;
        }
        Ok(())
    }
}

export_task!(Http);
