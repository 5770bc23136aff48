//! What the API is asked, and what it answers.

use serde::{Deserialize, Serialize};
use tigerflow_task::prelude::*;

/// The body of a request.
#[derive(Serialize)]
pub struct Question<'a> {
    pub input: [&'a str; 1],
    pub model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_type: Option<&'a str>,
}

/// The body of an answer, as far as it matters.
#[derive(Deserialize)]
pub struct Answer {
    data: Vec<Item>,
    model: Option<String>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Item {
    embedding: Vec<f64>,
}

#[derive(Deserialize)]
struct Usage {
    total_tokens: Option<u64>,
}

/// What the output holds.
#[derive(Serialize)]
pub struct Embedding {
    /// The model that answered.
    model: String,
    embedding: Vec<f64>,
    /// How many tokens the text has; left out where the API does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
}

impl Answer {
    /// The one embedding that was asked for.
    ///
    /// # Errors
    /// Where there is none, or more than one.
    pub fn embedding(mut self, model: &str) -> Result<Embedding> {
        if self.data.len() != 1 {
            bail!("the API answered {} embeddings for one text", self.data.len());
        }
        let Some(Item { embedding }) = self.data.pop().filter(|item| !item.embedding.is_empty())
        else {
            bail!("the API answered an embedding without numbers");
        };
        Ok(Embedding {
            model: self.model.unwrap_or_else(|| model.to_owned()),
            embedding,
            tokens: self.usage.and_then(|usage| usage.total_tokens),
        })
    }
}
