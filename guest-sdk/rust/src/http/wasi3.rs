//! Requests by WASI 0.3: other calls of the instance go on.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;

use wasip3::http::client;
use wasip3::http::types::{
    ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme, Trailers,
};
use wasip3::wit_bindgen::rt::async_support::{
    FutureReader, StreamReader, StreamResult, StreamWriter,
};
use wasip3::{wit_future, wit_stream};

use super::Headers;
use super::exchange::{Head, Outgoing};
use super::fault::{DENIED, Fault, fault_of};

/// What one read of a body asks for, and one write hands over.
const BLOCK_BYTES: usize = 64 << 10;

/// Sending a request's body.
type Sending = Pin<Box<dyn Future<Output = ()>>>;

/// Sends a request, and waits until its answer begins.
pub async fn exchange(outgoing: &Outgoing) -> Result<(Head, Body), Fault> {
    let (contents, mut sending) = match &outgoing.body {
        Some(body) if !body.is_empty() => {
            let (writer, reader) = wit_stream::new();
            (Some(reader), Some(write(writer, Rc::clone(body))))
        }
        _ => (None, None),
    };
    let request = request(outgoing, contents)?;
    let response = {
        let mut answer = pin!(client::send(request));
        // A server may answer before it has read the whole body.
        poll_fn(|context| {
            if let Some(sent) = &mut sending
                && sent.as_mut().poll(context).is_ready()
            {
                sending = None;
            }
            answer.as_mut().poll(context)
        })
        .await
        .map_err(fault)?
    };
    let head = Head {
        status: response.get_status_code(),
        headers: Headers::of(response.get_headers().copy_all()),
    };
    // Nothing is reported back to the server: dropping the other end says that
    // all is well.
    let (_, reported) = wit_future::new(|| Ok(()));
    let (stream, end) = Response::consume_body(response, reported);
    Ok((head, Body { stream, end: Some(end), sending }))
}

fn request(outgoing: &Outgoing, contents: Option<StreamReader<u8>>) -> Result<Request, Fault> {
    let fields = Fields::new();
    for (name, value) in &outgoing.headers {
        fields.append(name, value.as_bytes()).map_err(|_| Fault::header(name))?;
    }
    let options = RequestOptions::new();
    let nanoseconds = |limit: std::time::Duration| u64::try_from(limit.as_nanos()).ok();
    let read = outgoing.read_timeout.and_then(nanoseconds);
    let set = options
        .set_connect_timeout(outgoing.connect_timeout.and_then(nanoseconds))
        .and_then(|()| options.set_first_byte_timeout(read))
        .and_then(|()| options.set_between_bytes_timeout(read));
    set.map_err(|_| Fault::request("the host knows no time limits"))?;
    // No trailers: dropping the other end says so.
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, _) = Request::new(fields, contents, trailers, Some(options));
    let method = match &*outgoing.method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "PATCH" => Method::Patch,
        "OPTIONS" => Method::Options,
        other => Method::Other(other.to_owned()),
    };
    request.set_method(&method).map_err(|()| Fault::request("there is no such method"))?;
    let url = &outgoing.url;
    let scheme = if url.is_https() { Scheme::Https } else { Scheme::Http };
    let set = request
        .set_scheme(Some(&scheme))
        .and_then(|()| request.set_authority(Some(url.authority())))
        .and_then(|()| request.set_path_with_query(Some(&url.target())));
    set.map_err(|()| Fault::request("the URL cannot be sent"))?;
    Ok(request)
}

/// Writes a request's body, as far as the server takes it.
fn write(mut writer: StreamWriter<u8>, body: Rc<[u8]>) -> Sending {
    Box::pin(async move {
        for block in body.chunks(BLOCK_BYTES) {
            let left = writer.write_all(block.to_vec()).await;
            if !left.is_empty() {
                break;
            }
        }
    })
}

/// The body of an answer.
pub struct Body {
    stream: StreamReader<u8>,
    /// Whether the body came as a whole; `None` once that was asked.
    end: Option<FutureReader<Result<Option<Trailers>, ErrorCode>>>,
    /// What is still to be sent of the request.
    sending: Option<Sending>,
}

impl Body {
    /// The next piece, or `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        loop {
            let Self { stream, sending, .. } = self;
            let mut read = pin!(stream.read(Vec::with_capacity(BLOCK_BYTES)));
            let (result, bytes) = poll_fn(|context| {
                if let Some(sent) = sending
                    && sent.as_mut().poll(context).is_ready()
                {
                    *sending = None;
                }
                read.as_mut().poll(context)
            })
            .await;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
            if result != StreamResult::Dropped {
                continue;
            }
            return match self.end.take() {
                Some(end) => end.await.map(|_| None).map_err(fault),
                None => Ok(None),
            };
        }
    }
}

fn fault(code: ErrorCode) -> Fault {
    fault_of!(code, ErrorCode)
}
