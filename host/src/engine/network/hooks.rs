//! Puts the client behind `wasi:http`, of WASI 0.2 and 0.3 alike.

use std::sync::Arc;

use http::{Request, Response};
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
        Http { ctx: WasiHttpCtx::new(), hooks: Hooks { network } }
    }

    pub(super) fn network(&self) -> &Network {
        &self.hooks.network
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
        Box::new(async move {
            let response = client::send(&network, request, options).await?;
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
