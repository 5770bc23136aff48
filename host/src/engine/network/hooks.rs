//! Puts the client behind `wasi:http`, of WASI 0.2 and 0.3 alike.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use wasmtime::component::Linker;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use super::{Network, client, errors, sockets};
use crate::engine::guest::Guest;

/// What an instance keeps for `wasi:http`.
pub(in crate::engine) struct Http {
    ctx: WasiHttpCtx,
    hooks: Hooks,
}

impl Http {
    pub(in crate::engine) fn new(network: Arc<Network>) -> Self {
        Http { ctx: WasiHttpCtx::new(), hooks: Hooks { network, given_up: None } }
    }

    /// Requests are sent for an attempt from now on, and end when it is given up.
    pub(in crate::engine) fn send_for(&mut self, given_up: Option<CancellationToken>) {
        self.hooks.given_up = given_up;
    }
}

/// Links `wasi:http` 0.2, and refuses raw sockets in words. wasmtime's own WASI 0.2
/// must be linked before.
pub(in crate::engine) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    errors::shadow(linker)?;
    sockets::shadow(linker)
}

/// Links `wasi:http` 0.3, for components with asynchronous functions. wasmtime's
/// own WASI 0.3 must be linked before.
pub(in crate::engine) fn link_concurrent(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p3::add_to_linker(linker)?;
    sockets::shadow_concurrent(linker)
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http.ctx,
            table: &mut self.table,
            hooks: &mut self.http.hooks,
        }
    }
}

struct Hooks {
    network: Arc<Network>,
    /// Tells that the attempt at work was given up, where that may happen while
    /// the instance lives.
    given_up: Option<CancellationToken>,
}

/// The body of a response, for as long as the attempt is not given up.
struct UntilGivenUp {
    body: WasiBody,
    given_up: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl UntilGivenUp {
    #[expect(clippy::new_ret_no_self, reason = "nobody needs to know more of it")]
    fn new(body: WasiBody, given_up: CancellationToken) -> WasiBody {
        UntilGivenUp { body, given_up: Box::pin(given_up.cancelled_owned()) }.boxed_unsync()
    }
}

impl Body for UntilGivenUp {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.given_up.as_mut().poll(context).is_ready() {
            // The connection goes with the body.
            self.body = Empty::new().map_err(|never| match never {}).boxed_unsync();
            return Poll::Ready(Some(Err(Error::ConnectionTerminated)));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The end of a request that is being sent.
type Done = Box<dyn Future<Output = Result<(), Error>> + Send>;

// Headers that the client sets, such as `host`, `connection` and those of
// proxies, stay forbidden to guests: the trait's own answer.
impl WasiHttpHooks for Hooks {
    fn set_host_header(&mut self) -> bool {
        // The client does, from the URL, and where the protocol has it.
        false
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Done,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Done), Error>> + Send> {
        let network = Arc::clone(&self.network);
        let given_up = self.given_up.clone();
        Box::new(async move {
            let sent = client::send(&network, request, options);
            let response = match given_up {
                None => sent.await?,
                Some(given_up) => tokio::select! {
                    response = sent => response?.map(|body| UntilGivenUp::new(body, given_up)),
                    () = given_up.cancelled() => return Err(Error::ConnectionTerminated),
                },
            };
            // The connection is driven by a task of its own, which outlives the
            // request.
            let done: Done = Box::new(async { Ok(()) });
            Ok((response, done))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::{Config, Engine};

    #[test]
    fn both_versions_link() {
        let engine = Engine::new(Config::new().concurrency_support(false)).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        link(&mut linker).unwrap();

        let engine = Engine::new(Config::new().wasm_component_model_async(true)).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        wasmtime_wasi::p3::add_to_linker(&mut linker).unwrap();
        link(&mut linker).unwrap();
        link_concurrent(&mut linker).unwrap();
    }
}
