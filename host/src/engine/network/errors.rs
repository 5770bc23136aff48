//! What a guest of WASI 0.2 learns of an error in the middle of a response.
//!
//! wasmtime answers `http-error-code` with nothing there, so that a guest could
//! not tell a cut connection from a body that is too large; and writes the host's
//! own frames into `to-debug-string` where `RUST_BACKTRACE` is set.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use crate::engine::guest::Guest;

/// The version of WASI 0.2 that this wasmtime links.
const VERSION: &str = "0.2.12";

type Store<'a> = StoreContextMut<'a, Guest>;

/// Puts better answers in place of wasmtime's.
pub(super) fn shadow(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(&format!("wasi:http/types@{VERSION}"))?.func_wrap(
        "http-error-code",
        |store: Store<'_>, (error,): (Resource<wasmtime::Error>,)| {
            Ok((code(store.data().table.get(&error)?),))
        },
    )?;
    linker.instance(&format!("wasi:io/error@{VERSION}"))?.func_wrap(
        "[method]error.to-debug-string",
        |store: Store<'_>, (error,): (Resource<wasmtime::Error>,)| {
            Ok((format!("{:#}", store.data().table.get(&error)?),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The code of an error of ours, or of wasmtime's.
fn code(error: &wasmtime::Error) -> Option<ErrorCode> {
    if let Some(code) = error.downcast_ref::<ErrorCode>() {
        return Some(code.clone());
    }
    Some(match error.downcast_ref::<Error>()? {
        Error::HttpResponseBodySize(limit) => ErrorCode::HttpResponseBodySize(*limit),
        Error::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        Error::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        Error::ConnectionTerminated => ErrorCode::ConnectionTerminated,
        Error::HttpProtocolError => ErrorCode::HttpProtocolError,
        other => ErrorCode::InternalError(Some(other.to_string())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found() {
        let error = wasmtime::Error::from(Error::HttpResponseBodySize(Some(7)));
        assert!(matches!(code(&error), Some(ErrorCode::HttpResponseBodySize(Some(7)))));
        let error = wasmtime::Error::from(ErrorCode::HttpResponseIncomplete);
        assert!(matches!(code(&error), Some(ErrorCode::HttpResponseIncomplete)));
        assert!(code(&std::io::Error::other("else").into()).is_none());
    }
}
