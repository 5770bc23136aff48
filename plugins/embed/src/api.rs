//! What the API is asked, and what it answers.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
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
    embedding: Numbers,
}

/// A list of numbers, digit by digit as the API wrote it: to read each into a
/// float and to write that again would cost more than all the rest.
#[derive(Serialize)]
#[serde(transparent)]
struct Numbers(Box<RawValue>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Box::<RawValue>::deserialize(deserializer)?;
        // It is sound JSON. Of these letters only a list of numbers can be made,
        // once a list within it is ruled out.
        let inner = list.get().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let space = |byte: u8| byte.is_ascii_whitespace();
        let of_numbers =
            |byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E' | b',');
        let Some(inner) = inner.filter(|text| text.bytes().all(|b| of_numbers(b) || space(b)))
        else {
            return Err(D::Error::custom("the embedding is no list of numbers"));
        };
        if !inner.bytes().any(space) {
            return Ok(Numbers(list));
        }
        let mut text = String::from(list.get());
        text.retain(|letter| !letter.is_ascii_whitespace());
        RawValue::from_string(text).map(Numbers).map_err(D::Error::custom)
    }
}

impl Numbers {
    fn is_empty(&self) -> bool {
        self.0.get() == "[]"
    }
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
    embedding: Numbers,
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
