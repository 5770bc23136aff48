//! Why a request failed: for the guest, as `wasi:http` codes; for the user, in
//! words.

use std::error::Error as StdError;
use std::io;

use wasmtime_wasi_http::Error;

use super::Network;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Trouble {
    pub(super) code: Code,
    /// In words, without the URL. A host is named where that helps.
    pub(super) message: String,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// The host is not granted.
    Denied,
    /// The address that the host has is not granted.
    AddressDenied,
    /// The host's name does not resolve.
    Dns,
    /// Nothing listens there.
    Refused,
    /// The network knows no way there.
    Unreachable,
    /// The connection took too long.
    ConnectTimeout,
    /// As many connections are open as may be.
    TooMany,
    /// The host's certificate is not trusted.
    Certificate,
    /// The host ended TLS with this alert.
    Alert(u8),
    /// TLS failed otherwise.
    Tls,
    /// The proxy did not do its part.
    Proxy,
    /// No progress for too long.
    ReadTimeout,
    /// The connection was cut before the response began.
    Terminated,
    /// The connection was cut in the middle of the response.
    Incomplete,
    /// The response has more bytes than it may.
    TooLarge(u64),
    /// The response's headers are too large.
    HeadersTooLarge,
    /// What the host says is no HTTP.
    Protocol,
    /// The URL is none that can be sent to.
    Uri,
    /// The method is none that can be sent.
    Method,
    /// The body of the request does not have the size that its header says.
    RequestSize(Option<u64>),
    /// The body of the request broke.
    RequestBody,
    /// This machine lacks something.
    Machine,
}

impl Trouble {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Trouble { code, message: message.into() }
    }

    /// Of a connection to a host, or to a proxy.
    pub(super) fn connecting(error: &(dyn StdError + 'static)) -> Self {
        let Some(io) = find::<io::Error>(error) else {
            return Trouble::new(Code::Unreachable, format!("the connection failed: {error}"));
        };
        let (code, what) = match io.kind() {
            io::ErrorKind::ConnectionRefused => (Code::Refused, "nothing listens there".into()),
            io::ErrorKind::TimedOut => {
                (Code::ConnectTimeout, "the connection took too long".into())
            }
            _ => (Code::Unreachable, format!("the connection failed: {io}")),
        };
        Trouble::new(code, what)
    }

    /// Of a TLS handshake.
    pub(super) fn handshake(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(reason)) => Trouble::new(
                Code::Certificate,
                format!(
                    "its certificate is not trusted: {reason} (SSL_CERT_FILE can name a file with \
                     the certificates to trust)"
                ),
            ),
            Some(rustls::Error::AlertReceived(alert)) => {
                Trouble::new(Code::Alert((*alert).into()), format!("it ended TLS: {alert:?}"))
            }
            Some(other) => Trouble::new(Code::Tls, format!("TLS failed: {other}")),
            None => Trouble::new(Code::Tls, format!("the connection was cut during TLS: {error}")),
        }
    }

    /// Of a request that was sent, or of the response's body.
    pub(super) fn exchange(error: &(dyn StdError + 'static), began: bool) -> Self {
        // What the connector said, unchanged.
        if let Some(trouble) = find::<Trouble>(error) {
            return trouble.clone();
        }
        // The guest's own part.
        match find::<Error>(error) {
            Some(Error::HttpRequestBodySize(size)) => {
                let message = "the request's body has not the size that its header says";
                return Trouble::new(Code::RequestSize(*size), message);
            }
            Some(other) => {
                return Trouble::new(
                    Code::RequestBody,
                    format!("the request's body broke off: {other}"),
                );
            }
            None => {}
        }
        let cut = if began { Code::Incomplete } else { Code::Terminated };
        let when = if began { "in the middle of" } else { "before" };
        let Some(hyper) = find::<hyper::Error>(error) else {
            return Trouble::new(cut, format!("the connection failed: {error}"));
        };
        if hyper.is_parse_too_large() {
            return Trouble::new(
                Code::HeadersTooLarge,
                "the response's headers are too large or too many",
            );
        }
        if hyper.is_user() {
            return Trouble::new(Code::RequestBody, format!("the request is malformed: {hyper}"));
        }
        let io = find::<io::Error>(error);
        if hyper.is_incomplete_message() || hyper.is_canceled() || hyper.is_closed() || io.is_some()
        {
            let reason = match io {
                Some(io) if io.kind() != io::ErrorKind::UnexpectedEof => format!(" ({io})"),
                _ => String::new(),
            };
            return Trouble::new(
                cut,
                format!("the connection was cut {when} the response{reason}"),
            );
        }
        // What HTTP/2 says of a stream or connection that the host ended is in
        // the source, in h2's words: `stream error received: …`.
        let reason = match hyper.source() {
            Some(source) => format!("{hyper}: {source}"),
            None => hyper.to_string(),
        };
        if reason.contains("error received") || reason.contains("GOAWAY") {
            return Trouble::new(cut, format!("the host cut it {when} the response: {reason}"));
        }
        Trouble::new(Code::Protocol, format!("the response is not sound HTTP: {reason}"))
    }

    /// Tells the user, once for each host and kind, and gives the guest's code.
    /// `origin`: `https://HOST:PORT`.
    pub(super) fn report(self, network: &Network, origin: &str) -> Error {
        match self.code {
            Code::Denied | Code::AddressDenied => {
                network.notices.tell(&self.message, &self.message)
            }
            code => {
                let about = format!("{code:?} {origin}");
                let text = format!("A request to {origin} failed: {}", self.message);
                network.notices.tell(&about, &text);
            }
        }
        self.into_error()
    }

    fn into_error(self) -> Error {
        match self.code {
            Code::Denied => Error::HttpRequestDenied,
            Code::AddressDenied => Error::DestinationIpProhibited,
            Code::Dns => Error::DnsError { rcode: Some(self.message), info_code: None },
            Code::Refused => Error::ConnectionRefused,
            Code::Unreachable => Error::DestinationUnavailable,
            Code::ConnectTimeout => Error::ConnectionTimeout,
            Code::TooMany => Error::ConnectionLimitReached,
            Code::Certificate => Error::TlsCertificateError,
            Code::Alert(id) => {
                Error::TlsAlertReceived { alert_id: Some(id), alert_message: Some(self.message) }
            }
            Code::Tls => Error::TlsProtocolError,
            Code::ReadTimeout => Error::ConnectionReadTimeout,
            Code::Terminated => Error::ConnectionTerminated,
            Code::Incomplete => Error::HttpResponseIncomplete,
            Code::TooLarge(limit) => Error::HttpResponseBodySize(Some(limit)),
            Code::HeadersTooLarge => Error::HttpResponseHeaderSectionSize(None),
            Code::Protocol => Error::HttpProtocolError,
            Code::Uri => Error::HttpRequestUriInvalid,
            Code::Method => Error::HttpRequestMethodInvalid,
            Code::RequestSize(size) => Error::HttpRequestBodySize(size),
            Code::Proxy | Code::RequestBody | Code::Machine => {
                Error::InternalError(Some(self.message))
            }
        }
    }
}

/// The first cause of a kind, the error itself included.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // What an io::Error wraps is not among its sources.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|wrapped| wrapped.downcast_ref()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}
