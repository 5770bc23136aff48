//! Embeddings of texts, asked from an API of Voyage AI's form: the second
//! example of TigerFlow's own page.

mod api;

use std::time::Duration;

use tigerflow_task::http;
use tigerflow_task::prelude::*;

use crate::api::{Answer, Question};

/// The environment variable that holds the API's key.
const KEY: &str = "VOYAGE_API_KEY";

/// How long one answer may take. Less than the default of `--timeout`, after
/// which the host gives an attempt up and replaces its instance.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// The context: whom to ask, and how.
struct Embed {
    url: String,
    authorization: String,
    model: String,
    input_type: InputType,
}

#[derive(Params)]
struct Options {
    /// The model to ask
    #[param(default = "voyage-3.5")]
    model: String,
    /// The API to ask; grant its host with --allow-host
    #[param(default = "https://api.voyageai.com/v1/embeddings")]
    url: String,
    /// What the texts are: documents to find, queries to find them with, or not said
    #[param(default = InputType::Document)]
    input_type: InputType,
}

/// What a text is to the model.
#[derive(Choice, Clone, Copy)]
enum InputType {
    Document,
    Query,
    None,
}

impl AsyncTask for Embed {
    type Params = Options;

    fn about() -> About {
        About::new()
            .needs(Grant::environment(KEY), "Signs each request with it")
            // No need: with `--url` it is another one.
            .can_use(Grant::host("api.voyageai.com"), "Sends it the texts, for their embeddings")
            .option("concurrency-limit", "30")
            .option("timeout", "2m")
            .option("retries", "5")
            .option("instances", "cores")
    }

    async fn setup(options: Options) -> Result<Self> {
        let key = std::env::var(KEY).unwrap_or_default();
        let key = key.trim();
        if key.is_empty() {
            bail!("`{KEY}` is not set; export it and give `--env {KEY}`");
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("`{KEY}` is no key: it holds spaces or other letters that no key has");
        }
        Ok(Embed {
            url: options.url,
            authorization: format!("Bearer {key}"),
            model: options.model,
            input_type: options.input_type,
        })
    }

    async fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let text = input.read_to_string()?;
        if text.trim().is_empty() {
            return Err(Error::aborted("nothing to embed"));
        }
        let input_type = match self.input_type {
            InputType::None => None,
            kind => Some(kind.name()),
        };
        let question = Question { input: [&text], model: &self.model, input_type };
        let answer: Answer = http::post(&self.url)
            .header("authorization", &*self.authorization)
            .json(&question)
            .timeout(ANSWER_TIME)
            .send()
            .await?
            .error_for_status()
            .await?
            .json()
            .await?;
        let mut json = serde_json::to_vec(&answer.embedding(&self.model)?)?;
        json.push(b'\n');
        output.write(json)
    }
}

export_async_task!(Embed);

#[cfg(test)]
mod tests;
