//! What every path answers.

use std::collections::HashMap;
use std::iter;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::body::{Body, Step};
use crate::embeddings::Api;
use crate::log::{Answer, Follower};
use crate::query::Query;
use crate::wire::Link;

/// Between the first half of an answer and its cut, so that the half is sent.
pub const CUT_AFTER: Duration = Duration::from_millis(20);

/// A web page with a little of everything that pages have.
pub const PAGE: &str = r##"<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Tigers &amp; flows — a page</title>
  <style>body { color: rgb(10, 20, 30); } .hidden { display: none; }</style>
  <script>if (1 < 2 && 3 > 2) { document.title = "</" + "title> of a script"; }</script>
</head>
<body>
  <!-- A comment with <b>markup</b> in it. -->
  <h1>Tigers &amp; flows</h1>
  <p>Entities: &lt;tag&gt; &quot;quoted&quot; &#8364;20 &#x1F405; caf&eacute;&nbsp;noir.</p>
  <p>Not ASCII: naïve façade, Grüße, Ελλάδα, 日本語, 🐅.</p>
  <ul>
    <li><a href="/ok">a link from the root</a></li>
    <li><a href="page?n=2#part">a relative one</a></li>
    <li><a href='https://www.example.test/a?b=1&amp;c=2'>an absolute one</a></li>
  </ul>
  <pre>two
  lines</pre>
  <noscript>Without scripts.</noscript>
  <img src="/binary" alt="A picture">
</body>
</html>
"##;

/// The text of `/latin1`, once it is decoded.
pub const LATIN1: &str = "<html><head><title>Crème brûlée</title></head>\
    <body><p>Grüße, señor: ½ £5 © São Paulo</p></body></html>\n";

/// A picture of one pixel.
const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\
    \0\0\rIDATx\xdac\xf8\xdf\xc0\xf0\x1f\0\x06\x80\x02\x7f\xcf\x12\x09\xf1\0\0\0\0IEN\
    D\xaeB`\x82";

/// A piece of a large body.
const PIECE: &[u8] = &[b'x'; 16 << 10];

/// What answers requests.
pub struct Paths {
    /// `/v1/embeddings`.
    pub api: Api,
    /// How long the server is silent, where it does not answer at all.
    pub silence: Duration,
    /// How often each URL of `/flaky` was asked for.
    pub flaky: Mutex<HashMap<String, u32>>,
}

impl Paths {
    /// Answers one request. Without an answer, its connection ends.
    pub async fn answer(
        &self,
        request: &Request<Bytes>,
        received: usize,
        link: &Link,
        follower: &Follower,
    ) -> Option<Response<Body>> {
        let path = request.uri().path();
        let query = Query(request.uri().query().unwrap_or_default());
        Some(match path {
            "/v1/embeddings" => return self.api.answer(request, follower).await,
            "/ok" => text(200, "ok\n"),
            "/echo" => echo(request, received),
            "/slow" => {
                tokio::time::sleep(query.ms(500)).await;
                text(200, "slow\n")
            }
            "/silent" => {
                tokio::time::sleep(self.silence).await;
                return None;
            }
            "/reset" => {
                follower.breaks(Answer::Reset);
                link.reset();
                return None;
            }
            "/malformed" => {
                follower.breaks(Answer::Garbage);
                link.garble();
                with(text(200, ""), CONNECTION, "close")
            }
            "/flaky" => self.flaky(request, query),
            "/drip" => {
                let (pause, n) = (query.ms(50), query.get("n", 10u64));
                let drops = (0..n).flat_map(move |n| {
                    // No pause before the first one.
                    let pause = if n == 0 { Duration::ZERO } else { pause };
                    [Step::Wait(pause), Step::Send(format!("drop {n}\n").into())]
                });
                scripted("text/plain", Body::script(drops))
            }
            "/stall" => half(query, iter::once(Step::Wait(self.silence))),
            "/cut" => half(query, iter::once(Step::Wait(CUT_AFTER))),
            "/endless" => {
                let pause = query.ms(0);
                let steps = iter::repeat_with(move || {
                    let pause = (!pause.is_zero()).then_some(Step::Wait(pause));
                    pause.into_iter().chain([Step::Send(Bytes::from_static(PIECE))])
                });
                scripted("text/plain", Body::script(steps.flatten()))
            }
            "/big" => {
                let length = query.get("bytes", 1u64 << 20);
                scripted("text/plain", Body::script(pieces(length)).announcing(length))
            }
            "/redirect" => {
                let to = query.text("to").unwrap_or("/ok".into());
                with(text(query.get("code", 302), ""), LOCATION, &to)
            }
            "/redirect-loop" => match query.text("n").map(|n| n.parse().unwrap_or(0u64)) {
                None => with(text(302, ""), LOCATION, "/redirect-loop"),
                Some(0) => text(200, "out of the loop\n"),
                Some(n) => with(text(302, ""), LOCATION, &format!("/redirect-loop?n={}", n - 1)),
            },
            "/page" => typed(200, "text/html; charset=utf-8", PAGE),
            "/latin1" => typed(200, "text/html; charset=ISO-8859-1", latin1()),
            "/binary" => typed(200, "image/png", PNG),
            "/headers" => headers(query),
            "/auth" => {
                let expected = format!("Bearer {}", query.text("token").unwrap_or_default());
                match request.headers().get(AUTHORIZATION) {
                    Some(value) if value.as_bytes() == expected.as_bytes() => text(200, "ok\n"),
                    _ => {
                        let refused = error(401, "a bearer token is needed");
                        with(refused, HeaderName::from_static("www-authenticate"), "Bearer")
                    }
                }
            }
            _ => match path.strip_prefix("/status/").map(str::parse) {
                Some(Ok(code @ 200..=999)) => asked_status(code, query),
                Some(_) => error(400, "not a status that can be answered"),
                None => error(404, "no such path"),
            },
        })
    }

    /// Fails so many times, and is well from then on.
    fn flaky(&self, request: &Request<Bytes>, query: Query) -> Response<Body> {
        let mut asked = self.flaky.lock().unwrap_or_else(PoisonError::into_inner);
        let times = asked.entry(request.uri().to_string()).or_default();
        *times += 1;
        match *times <= query.get("fails", 1) {
            true => asked_status(query.get("status", 503), query),
            false => text(200, "ok\n"),
        }
    }
}

/// An answer in one piece.
fn typed(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// An answer in JSON.
pub fn json_text(status: u16, body: impl Into<Bytes>) -> Response<Body> {
    typed(status, "application/json", body)
}

fn text(status: u16, body: &'static str) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", body)
}

/// An error in JSON.
pub fn error(status: u16, message: &str) -> Response<Body> {
    json_text(status, json!({ "error": { "code": status, "message": message } }).to_string())
}

fn scripted(kind: &'static str, body: Body) -> Response<Body> {
    typed(200, kind, "").map(|_| body)
}

/// With one header more; without it, if it cannot be one.
fn with(mut response: Response<Body>, name: HeaderName, value: &str) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Half of a body, then these steps, then a break.
fn half(query: Query, then: impl Iterator<Item = Step> + Send + 'static) -> Response<Body> {
    let length = query.get("bytes", 1_000u64);
    let steps = pieces(length / 2).chain(then).chain([Step::Break]);
    scripted("text/plain", Body::script(steps).announcing(length))
}

/// So many bytes.
fn pieces(length: u64) -> impl Iterator<Item = Step> + Send {
    let size = PIECE.len() as u64;
    (0..length.div_ceil(size)).map(move |n| {
        let piece = Bytes::from_static(PIECE);
        Step::Send(piece.slice(..(length - n * size).min(size) as usize))
    })
}

/// A status with an error in JSON and, if the query says so, `Retry-After`.
fn asked_status(code: u16, query: Query) -> Response<Body> {
    let response = match code {
        204 | 205 | 304 => typed(code, "application/json", ""),
        _ => {
            let known = StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason());
            error(code, &query.text("message").unwrap_or(known.unwrap_or("an error").into()))
        }
    };
    match query.text("retry-after") {
        Some(after) => with(response, HeaderName::from_static("retry-after"), &after),
        None => response,
    }
}

/// The request, told back.
fn echo(request: &Request<Bytes>, received: usize) -> Response<Body> {
    let mut headers = Map::new();
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        match headers.get_mut(name.as_str()) {
            Some(Value::String(present)) => *present = format!("{present}, {value}"),
            _ => drop(headers.insert(name.to_string(), value.into())),
        }
    }
    let told = json!({
        "method": request.method().as_str(),
        "path": request.uri().path(),
        "query": request.uri().query().unwrap_or_default(),
        "version": format!("{:?}", request.version()),
        "headers": headers,
        "body": String::from_utf8_lossy(request.body()),
        "body_bytes": received,
    });
    json_text(200, told.to_string())
}

/// Many headers, or large ones.
fn headers(query: Query) -> Response<Body> {
    let mut response = text(200, "headers\n");
    let value = HeaderValue::from_str(&"h".repeat(query.get("bytes", 20usize).min(1 << 20)));
    for n in 0..query.get("n", 100u32).min(10_000) {
        let name = HeaderName::try_from(format!("x-header-{n}"));
        if let (Ok(name), Ok(value)) = (name, &value) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

/// [`LATIN1`] in its charset: a byte for each character.
fn latin1() -> Vec<u8> {
    LATIN1.chars().map(|character| character as u32 as u8).collect()
}
