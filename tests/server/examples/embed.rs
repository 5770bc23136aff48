//! What the plugin `embed` does, as a careful person would write it in Rust for this one job; the
//! benchmark compares the two: `embed INPUT_DIR OUTPUT_DIR URL CONCURRENCY THREADS`.
//!
//! The API's key is in `VOYAGE_API_KEY`. The HTTP client is the host's, with the host's settings.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Uri};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::task::JoinSet;

type Fails<T> = Result<T, Box<dyn Error + Send + Sync>>;

const MODEL: &str = "voyage-3.5";
const ANSWER_TIME: Duration = Duration::from_secs(60);

struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    url: Uri,
    authorization: HeaderValue,
}

struct Work {
    names: Vec<OsString>,
    next: AtomicUsize,
    input: PathBuf,
    output: PathBuf,
}

#[derive(Serialize)]
struct Question<'a> {
    input: [&'a str; 1],
    model: &'a str,
    input_type: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
    model: String,
    usage: Usage,
}

#[derive(Deserialize)]
struct Item {
    embedding: Box<RawValue>,
}

#[derive(Deserialize)]
struct Usage {
    total_tokens: u64,
}

#[derive(Serialize)]
struct Embedding {
    model: String,
    embedding: Box<RawValue>,
    tokens: u64,
}

fn main() -> Fails<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [input, output, url, concurrency, threads] = arguments.as_slice() else {
        return Err("it takes INPUT_DIR OUTPUT_DIR URL CONCURRENCY THREADS".into());
    };
    let text = |argument: &OsString| argument.to_str().map(str::to_owned).ok_or("not UTF-8");
    let number = |argument| Ok::<usize, Box<dyn Error + Send + Sync>>(text(argument)?.parse()?);
    let concurrency = number(concurrency)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(number(threads)?)
        .enable_all()
        .build()?;

    let key = std::env::var("VOYAGE_API_KEY")?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let http = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(90))
        .http1_max_buf_size(256 << 10)
        .build(connector);
    let authorization = HeaderValue::try_from(format!("Bearer {key}"))?;
    let client = Arc::new(Client { http, url: text(url)?.parse()?, authorization });
    let names =
        fs::read_dir(input)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>()?;
    let work = Arc::new(Work {
        names,
        next: AtomicUsize::new(0),
        input: input.into(),
        output: output.into(),
    });
    runtime.block_on(async {
        let mut workers = JoinSet::new();
        for worker in 0..concurrency {
            workers.spawn(serve(Arc::clone(&client), Arc::clone(&work), worker));
        }
        while let Some(ended) = workers.join_next().await {
            ended??;
        }
        Ok(())
    })
}

/// Works on one file after the other.
async fn serve(client: Arc<Client>, work: Arc<Work>, worker: usize) -> Fails<()> {
    let temporary = work.output.join(format!(".{worker}.tmp"));
    while let Some(name) = work.names.get(work.next.fetch_add(1, Relaxed)) {
        let text = fs::read_to_string(work.input.join(name))?;
        fs::write(&temporary, client.embed(&text).await?)?;
        fs::rename(&temporary, work.output.join(Path::new(name).with_extension("json")))?;
    }
    Ok(())
}

impl Client {
    /// Asks for the embedding of a text, and gives back the output for it.
    async fn embed(&self, text: &str) -> Fails<Vec<u8>> {
        let question = Question { input: [text], model: MODEL, input_type: "document" };
        let request = Request::post(self.url.clone())
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(serde_json::to_vec(&question)?))?;
        let exchange = async {
            let response = self.http.request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            match status.is_success() {
                true => Fails::Ok(body),
                false => Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into()),
            }
        };
        let body = tokio::time::timeout(ANSWER_TIME, exchange).await??;
        let mut answer: Answer = serde_json::from_slice(&body)?;
        let item = answer.data.pop().ok_or("no embedding")?;
        let mut json = serde_json::to_vec(&Embedding {
            model: answer.model,
            embedding: item.embedding,
            tokens: answer.usage.total_tokens,
        })?;
        json.push(b'\n');
        Ok(json)
    }
}
