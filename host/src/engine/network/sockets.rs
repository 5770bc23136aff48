//! Raw sockets: refused, and told once.
//!
//! wasmtime-wasi refuses them as well. Refused here, the user learns of it, and
//! of the way that there is.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::{ip_name_lookup, network, tcp, udp};
use wasmtime_wasi::p3::bindings::sockets as p3;

use crate::engine::guest::Guest;

/// The version of WASI 0.2 that this wasmtime links.
const VERSION: &str = "0.2.12";
/// The version of WASI 0.3 that this wasmtime links.
const CONCURRENT_VERSION: &str = "0.3.0";

type Store<'a> = StoreContextMut<'a, Guest>;
type Refused<T> = wasmtime::Result<(Result<Resource<T>, network::ErrorCode>,)>;

fn tell(guest: &Guest) {
    let text = "The task asked for a raw socket or for name resolution, which cannot be granted: \
                tasks reach the network through `wasi:http`, as far as --allow-host grants it";
    guest.notices.tell(text, text);
}

fn refuse<T: 'static>(store: &Store<'_>) -> Refused<T> {
    tell(store.data());
    Ok((Err(network::ErrorCode::AccessDenied),))
}

/// Puts refusals in place of what WASI 0.2 makes sockets with.
pub(super) fn shadow(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Family = network::IpAddressFamily;
    linker.allow_shadowing(true);
    linker
        .instance(&format!("wasi:sockets/tcp-create-socket@{VERSION}"))?
        .func_wrap("create-tcp-socket", |store: Store<'_>, _: (Family,)| {
            refuse::<tcp::TcpSocket>(&store)
        })?;
    linker
        .instance(&format!("wasi:sockets/udp-create-socket@{VERSION}"))?
        .func_wrap("create-udp-socket", |store: Store<'_>, _: (Family,)| {
            refuse::<udp::UdpSocket>(&store)
        })?;
    linker.instance(&format!("wasi:sockets/ip-name-lookup@{VERSION}"))?.func_wrap(
        "resolve-addresses",
        |store: Store<'_>, _: (Resource<network::Network>, String)| {
            refuse::<ip_name_lookup::ResolveAddressStream>(&store)
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The same for WASI 0.3.
pub(super) fn shadow_concurrent(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Family = p3::types::IpAddressFamily;
    type Refused<T> = (Result<Resource<T>, p3::types::ErrorCode>,);
    linker.allow_shadowing(true);
    let mut types = linker.instance(&format!("wasi:sockets/types@{CONCURRENT_VERSION}"))?;
    types.func_wrap("[static]tcp-socket.create", |store: Store<'_>, _: (Family,)| {
        tell(store.data());
        let refused: Refused<p3::types::TcpSocket> = (Err(p3::types::ErrorCode::AccessDenied),);
        Ok(refused)
    })?;
    types.func_wrap("[static]udp-socket.create", |store: Store<'_>, _: (Family,)| {
        tell(store.data());
        let refused: Refused<p3::types::UdpSocket> = (Err(p3::types::ErrorCode::AccessDenied),);
        Ok(refused)
    })?;
    let mut names =
        linker.instance(&format!("wasi:sockets/ip-name-lookup@{CONCURRENT_VERSION}"))?;
    names.func_wrap_concurrent("resolve-addresses", |accessor, _: (String,)| {
        Box::pin(async move {
            accessor.with(|mut access| tell(access.get()));
            let refused: Result<Vec<p3::types::IpAddress>, _> =
                Err(p3::ip_name_lookup::ErrorCode::AccessDenied);
            Ok((refused,))
        })
    })?;
    linker.allow_shadowing(false);
    Ok(())
}
