//! `/v1/embeddings`, in the form of Voyage AI's API.

use std::fmt::Write;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::AUTHORIZATION;
use hyper::{Method, Response};
use serde_json::{Value, json};

use crate::body::{Body, Step};
use crate::faults::{Fault, Faults, Plan, hash, mix};
use crate::log::Follower;
use crate::paths::{self, CUT_AFTER};

/// As many numbers come from the text itself; together they tell texts apart.
const OWN: usize = 7;

/// The other numbers are one of so many rows, which are written down once.
const ROWS: u64 = 32;

/// The most texts of one request.
const MOST_TEXTS: usize = 1_000;

/// How the API answers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The key that it takes.
    pub key: String,
    /// How many numbers an embedding has.
    pub dimension: usize,
    /// How long it takes for an answer.
    pub delay: Duration,
    /// How long it is silent, where it does not answer at all.
    pub silence: Duration,
    /// What fails.
    pub faults: Faults,
}

/// The API.
pub struct Api {
    settings: Settings,
    authorization: String,
    plan: Plan,
    /// The rows as JSON, without the bracket that opens them.
    rows: OnceLock<Vec<String>>,
}

impl Api {
    /// With these settings, at the beginning of its plan.
    pub fn new(settings: Settings) -> Self {
        let authorization = format!("Bearer {}", settings.key);
        let plan = Plan::new(settings.faults.clone());
        Api { settings, authorization, plan, rows: OnceLock::new() }
    }

    /// Answers one request, or leaves it unanswered.
    pub async fn answer(
        &self,
        request: &hyper::Request<Bytes>,
        follower: &Follower,
    ) -> Option<Response<Body>> {
        if !self.settings.delay.is_zero() {
            tokio::time::sleep(self.settings.delay).await;
        }
        if request.method() != Method::POST {
            return Some(detail(405, "Method Not Allowed"));
        }
        let authorization = request.headers().get(AUTHORIZATION);
        if authorization.is_none_or(|value| value.as_bytes() != self.authorization.as_bytes()) {
            return Some(detail(401, "Provided API key is invalid."));
        }
        let (texts, model) = match asked(request.body()) {
            Ok(asked) => asked,
            Err(message) => return Some(detail(400, message)),
        };
        let hashes: Vec<u64> = texts.iter().map(|text| hash(text.as_bytes())).collect();
        let tokens = texts.iter().map(|text| text.len() / 4 + 1).sum();
        follower.texts(texts);

        let whole = match hashes.as_slice() {
            [one] => *one,
            all => all.iter().fold(0, |whole, one| mix(whole ^ one)),
        };
        Some(match self.plan.next(whole) {
            None => paths::json_text(200, self.written(&hashes, &model, tokens)),
            Some(Fault::TooMany) => {
                let mut response = detail(429, "You have exceeded your rate limit.");
                let seconds = self.plan.faults.retry_after_seconds();
                response.headers_mut().insert("retry-after", seconds.into());
                response
            }
            Some(Fault::ServerError) => detail(500, "An unexpected error occurred."),
            Some(Fault::Cut) => {
                let mut response = paths::json_text(200, Bytes::new());
                let all = Bytes::from(self.written(&hashes, &model, tokens));
                let length = all.len() as u64;
                let half = all.slice(..all.len() / 2);
                let steps = [Step::Send(half), Step::Wait(CUT_AFTER), Step::Break];
                *response.body_mut() = Body::script(steps).announcing(length);
                response
            }
            Some(Fault::Silence) => {
                tokio::time::sleep(self.settings.silence).await;
                return None;
            }
        })
    }

    /// An answer's body.
    fn written(&self, hashes: &[u64], model: &str, tokens: usize) -> String {
        let rows = self.rows.get_or_init(|| {
            let rest = self.settings.dimension.saturating_sub(OWN);
            (0..ROWS).map(|row| list(rest_of_row(row, rest))).collect()
        });
        let room = rows[0].len() + 64 + OWN * 16;
        let mut text = String::with_capacity(hashes.len() * room + 128 + model.len());
        text.push_str(r#"{"object":"list","data":["#);
        for (index, hash) in hashes.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(r#"{"object":"embedding","embedding":["#);
            let own = own(*hash, self.settings.dimension);
            text.push_str(&list(own));
            let row = &rows[(hash % ROWS) as usize];
            if !row.is_empty() {
                text.push(',');
                text.push_str(row);
            }
            let _ = write!(text, r#"],"index":{index}}}"#);
        }
        let model = Value::from(model);
        let _ = write!(text, r#"],"model":{model},"usage":{{"total_tokens":{tokens}}}}}"#);
        text
    }
}

/// What the API answers for a text: numbers between -1 and 1, all of them exact in JSON too.
pub fn embedding(text: &str, dimension: usize) -> Vec<f32> {
    let hash = hash(text.as_bytes());
    let rest = dimension.saturating_sub(OWN);
    own(hash, dimension).chain(rest_of_row(hash % ROWS, rest)).collect()
}

/// The numbers that come from the text itself.
fn own(hash: u64, dimension: usize) -> impl Iterator<Item = f32> {
    (0..OWN.min(dimension)).map(move |n| number(hash >> (9 * n)))
}

/// The numbers after those, for all texts of a row.
fn rest_of_row(row: u64, length: usize) -> impl Iterator<Item = f32> {
    (0..length as u64).map(move |n| number(mix(row << 32 | n)))
}

/// A number of ten bits: an odd number of 1,024ths.
fn number(bits: u64) -> f32 {
    let odd = (bits & 0x3ff) as i16 * 2 - 1023;
    f32::from(odd) / 1024.0
}

/// Numbers as JSON, without brackets.
fn list(numbers: impl Iterator<Item = f32>) -> String {
    let mut text = String::new();
    for number in numbers {
        let comma = if text.is_empty() { "" } else { "," };
        // As an f64 all of its digits are written.
        let _ = write!(text, "{comma}{}", f64::from(number));
    }
    text
}

/// The texts and the model of a request.
fn asked(body: &[u8]) -> Result<(Vec<String>, String), &'static str> {
    let mut asked: Value =
        serde_json::from_slice(body).map_err(|_| "The request body is not valid JSON.")?;
    let Some(Value::String(model)) = asked.get_mut("model").map(Value::take) else {
        return Err("Argument 'model' is required, and must be a string.");
    };
    let wrong = "Argument 'input' must be a text or a list of texts.";
    let texts = match asked.get_mut("input").map(Value::take) {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(texts)) => texts
            .into_iter()
            .map(|text| match text {
                Value::String(text) => Ok(text),
                _ => Err(wrong),
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(wrong),
    };
    match texts.len() {
        0 => Err("Argument 'input' must not be empty."),
        1..=MOST_TEXTS => Ok((texts, model)),
        _ => Err("Argument 'input' has more than 1,000 texts."),
    }
}

/// The API's form of an error.
fn detail(status: u16, message: &str) -> Response<Body> {
    paths::json_text(status, json!({ "detail": message }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(dimension: usize) -> Api {
        Api::new(Settings {
            key: "k".into(),
            dimension,
            delay: Duration::ZERO,
            silence: Duration::ZERO,
            faults: Faults::default(),
        })
    }

    #[test]
    fn what_is_written_is_what_is_told() {
        for dimension in [0, 1, 7, 8, 1024] {
            let hashes = ["one", "two"].map(|text| hash(text.as_bytes()));
            let written = api(dimension).written(&hashes, "a \"model\"", 5);
            let read: Value = serde_json::from_str(&written).unwrap();
            assert_eq!(read["model"], "a \"model\"");
            assert_eq!(read["usage"]["total_tokens"], 5);
            for (index, text) in ["one", "two"].into_iter().enumerate() {
                let data = &read["data"][index];
                assert_eq!(data["index"], index);
                let numbers: Vec<f32> = serde_json::from_value(data["embedding"].clone()).unwrap();
                assert_eq!(numbers, embedding(text, dimension));
                assert_eq!(numbers.len(), dimension);
                assert!(numbers.iter().all(|n| n.abs() < 1.0 && *n != 0.0));
            }
        }
    }

    #[test]
    fn texts_are_told_apart() {
        let all: std::collections::HashSet<Vec<u32>> = (0..5_000)
            .map(|n| embedding(&n.to_string(), 8).iter().map(|n| n.to_bits()).collect())
            .collect();
        assert_eq!(all.len(), 5_000);
    }

    #[test]
    fn requests_are_checked() {
        let texts = |body: &str| asked(body.as_bytes()).map(|(texts, _)| texts);
        assert_eq!(texts(r#"{"input":"a","model":"m"}"#).unwrap(), ["a"]);
        assert_eq!(texts(r#"{"input":["a","b"],"model":"m"}"#).unwrap(), ["a", "b"]);
        for wrong in [
            "",
            "[]",
            "3",
            r#"{"input":"a"}"#,
            r#"{"model":"m"}"#,
            r#"{"input":[],"model":"m"}"#,
            r#"{"input":[1],"model":"m"}"#,
            r#"{"input":7,"model":"m"}"#,
        ] {
            assert!(texts(wrong).is_err(), "{wrong}");
        }
    }
}
