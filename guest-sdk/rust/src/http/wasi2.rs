//! Requests by WASI 0.2: the whole instance waits.

use std::time::Instant;

use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme, http_error_code,
};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, StreamError};

use super::Headers;
use super::exchange::{Head, Outgoing};
use super::fault::{DENIED, Fault, fault_of};

/// What one read of a body asks for.
const BLOCK_BYTES: u64 = 64 << 10;

/// Sends a request, and waits until its answer begins.
pub fn exchange(outgoing: &Outgoing, deadline: Option<Instant>) -> Result<(Head, Body), Fault> {
    let request = request(outgoing)?;
    let content = outgoing.body.as_deref().filter(|content| !content.is_empty());
    let body = match content {
        Some(_) => Some(request.body().map_err(|()| Fault::request("it can have no body"))?),
        None => None,
    };
    let answer = outgoing_handler::handle(request, Some(options(outgoing)?)).map_err(fault)?;
    let wait = answer.subscribe();
    // A server may answer before it has read the whole body: what counts is the
    // answer, and what went wrong with the body only where there is none.
    let mut sent = Ok(());
    if let (Some(body), Some(content)) = (body, content) {
        write(&body, content, &wait, deadline)?;
        sent = OutgoingBody::finish(body, None);
    }
    wait_for(&[&wait], deadline)?;
    let response = match answer.get() {
        Some(Ok(Ok(response))) => response,
        Some(Ok(Err(code))) => return Err(fault(code)),
        _ => return Err(sent.err().map_or_else(lost, fault)),
    };
    drop(wait);
    drop(answer);
    let head =
        Head { status: response.status(), headers: Headers::of(response.headers().entries()) };
    Ok((head, Body::of(response)?))
}

fn request(outgoing: &Outgoing) -> Result<OutgoingRequest, Fault> {
    let fields = Fields::new();
    for (name, value) in &outgoing.headers {
        fields.append(name, value.as_bytes()).map_err(|_| Fault::header(name))?;
    }
    let request = OutgoingRequest::new(fields);
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

fn options(outgoing: &Outgoing) -> Result<RequestOptions, Fault> {
    let options = RequestOptions::new();
    let nanoseconds = |limit: std::time::Duration| u64::try_from(limit.as_nanos()).ok();
    let read = outgoing.read_timeout.and_then(nanoseconds);
    let set = options
        .set_connect_timeout(outgoing.connect_timeout.and_then(nanoseconds))
        .and_then(|()| options.set_first_byte_timeout(read))
        .and_then(|()| options.set_between_bytes_timeout(read));
    set.map_err(|()| Fault::request("the host knows no time limits"))?;
    Ok(options)
}

/// Writes a request's body, as far as the server takes it.
fn write(
    body: &OutgoingBody,
    mut content: &[u8],
    answer: &Pollable,
    deadline: Option<Instant>,
) -> Result<(), Fault> {
    let Ok(stream) = body.write() else {
        return Ok(());
    };
    let ready = stream.subscribe();
    while !content.is_empty() {
        let Ok(room) = stream.check_write() else {
            return Ok(());
        };
        if room == 0 {
            wait_for(&[&ready, answer], deadline)?;
            if answer.ready() && !ready.ready() {
                return Ok(());
            }
            continue;
        }
        let room = usize::try_from(room).unwrap_or(content.len()).min(content.len());
        let (now, later) = content.split_at(room);
        if stream.write(now).is_err() {
            return Ok(());
        }
        content = later;
    }
    // Nothing else has to be flushed: `finish` does that.
    Ok(())
}

/// Waits until one of these is ready.
fn wait_for(ready: &[&Pollable], deadline: Option<Instant>) -> Result<(), Fault> {
    let Some(deadline) = deadline else {
        poll(ready);
        return Ok(());
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let left = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
    let end = monotonic_clock::subscribe_duration(left);
    let mut all = ready.to_vec();
    all.push(&end);
    match poll(&all)[..] {
        [only] if only as usize == ready.len() => Err(Fault::too_late()),
        _ => Ok(()),
    }
}

/// The body of an answer.
pub struct Body {
    // Dropped in this order: WASI wants the child gone before its parent.
    ready: Pollable,
    stream: InputStream,
    _body: IncomingBody,
    _response: IncomingResponse,
}

impl Body {
    fn of(response: IncomingResponse) -> Result<Self, Fault> {
        let body = response.consume().map_err(|()| lost())?;
        let stream = body.stream().map_err(|()| lost())?;
        let ready = stream.subscribe();
        Ok(Self { ready, stream, _body: body, _response: response })
    }

    /// The next piece, or `None` at the end.
    pub fn chunk(&mut self, deadline: Option<Instant>) -> Result<Option<Vec<u8>>, Fault> {
        loop {
            match self.stream.read(BLOCK_BYTES) {
                Ok(bytes) if bytes.is_empty() => wait_for(&[&self.ready], deadline)?,
                Ok(bytes) => return Ok(Some(bytes)),
                Err(StreamError::Closed) => return Ok(None),
                Err(StreamError::LastOperationFailed(error)) => {
                    return Err(http_error_code(&error).map_or_else(lost, fault));
                }
            }
        }
    }
}

/// What the host gave no reason for.
fn lost() -> Fault {
    Fault::passing("ConnectionError", "the connection was lost")
}

fn fault(code: ErrorCode) -> Fault {
    fault_of!(code, ErrorCode)
}
