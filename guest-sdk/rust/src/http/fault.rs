//! What goes wrong before there is an answer.

use std::borrow::Cow;

/// Why a request got no answer, or only a part of one.
#[derive(Debug)]
pub struct Fault {
    /// What becomes `exception_type`.
    pub kind: &'static str,
    /// What happened, to follow "GET example.org/: ".
    pub what: Cow<'static, str>,
    /// Whether another try may mend it.
    pub transient: bool,
}

impl Fault {
    /// The same request will fail again.
    pub fn lasting(kind: &'static str, what: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, what: what.into(), transient: false }
    }

    /// Worth another try.
    pub fn passing(kind: &'static str, what: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, what: what.into(), transient: true }
    }

    /// Something took longer than it may.
    #[cfg(any(target_family = "wasm", feature = "async"))]
    pub fn timeout(what: &'static str) -> Self {
        Self::passing("Timeout", what)
    }

    /// The whole exchange took longer than the task's `timeout`.
    #[cfg(any(target_family = "wasm", feature = "async"))]
    pub fn too_late() -> Self {
        Self::timeout("the whole answer took too long")
    }

    /// A header that cannot be sent.
    #[cfg(target_family = "wasm")]
    pub fn header(name: &str) -> Self {
        Self::lasting("InvalidRequest", format!("the header `{name}` cannot be sent"))
    }

    /// A part of the request that WASI does not take.
    #[cfg(target_family = "wasm")]
    pub fn request(part: &'static str) -> Self {
        Self::lasting("InvalidRequest", part)
    }
}

/// The kind of a request that the host does not let through.
pub const DENIED: &str = "RequestDenied";

/// Makes a [`Fault`] of an `error-code`. WASI 0.2 and 0.3 have one type each,
/// with the same cases.
#[cfg(target_family = "wasm")]
macro_rules! fault_of {
    ($code:expr, $ErrorCode:ident) => {
        match $code {
            $ErrorCode::DnsTimeout => {
                Fault::passing("DnsError", "looking up its name took too long")
            }
            $ErrorCode::DnsError(error) => Fault::passing(
                "DnsError",
                match error.rcode {
                    Some(code) => format!("its name could not be looked up ({code})"),
                    None => "its name could not be looked up".to_owned(),
                },
            ),
            $ErrorCode::DestinationNotFound => {
                Fault::passing("ConnectionError", "the server was not found")
            }
            $ErrorCode::DestinationUnavailable => {
                Fault::passing("ConnectionError", "the server is not available")
            }
            $ErrorCode::DestinationIpProhibited => {
                Fault::lasting(DENIED, "the host prohibits its IP address")
            }
            $ErrorCode::DestinationIpUnroutable => {
                Fault::passing("ConnectionError", "there is no route to the server")
            }
            $ErrorCode::ConnectionRefused => {
                Fault::passing("ConnectionRefused", "the connection was refused")
            }
            $ErrorCode::ConnectionTerminated => {
                Fault::passing("ConnectionError", "the connection was lost")
            }
            $ErrorCode::ConnectionTimeout => Fault::timeout("connecting took too long"),
            $ErrorCode::ConnectionReadTimeout => {
                Fault::timeout("the server sent nothing for too long")
            }
            $ErrorCode::ConnectionWriteTimeout => {
                Fault::timeout("the server took nothing for too long")
            }
            $ErrorCode::ConnectionLimitReached => {
                Fault::passing("ConnectionError", "there are too many connections")
            }
            $ErrorCode::TlsProtocolError => {
                Fault::lasting("TlsError", "there is no secure connection to the server")
            }
            $ErrorCode::TlsCertificateError => {
                Fault::lasting("TlsError", "the server's certificate is not trusted")
            }
            $ErrorCode::TlsAlertReceived(alert) => Fault::lasting(
                "TlsError",
                match alert.alert_message {
                    Some(message) => format!("the server refused a secure connection ({message})"),
                    None => "the server refused a secure connection".to_owned(),
                },
            ),
            // The words follow where the URL is known.
            $ErrorCode::HttpRequestDenied => Fault::lasting(DENIED, ""),
            $ErrorCode::HttpRequestLengthRequired
            | $ErrorCode::HttpRequestMethodInvalid
            | $ErrorCode::HttpRequestUriInvalid
            | $ErrorCode::HttpRequestUriTooLong => {
                Fault::request("the method or the URL cannot be sent")
            }
            $ErrorCode::HttpRequestBodySize(_) => Fault::request("its body is too large"),
            $ErrorCode::HttpRequestHeaderSectionSize(_)
            | $ErrorCode::HttpRequestHeaderSize(_)
            | $ErrorCode::HttpRequestTrailerSectionSize(_)
            | $ErrorCode::HttpRequestTrailerSize(_) => Fault::request("its headers are too large"),
            $ErrorCode::HttpResponseIncomplete => {
                Fault::passing("IncompleteResponse", "the answer ended too early")
            }
            $ErrorCode::HttpResponseHeaderSectionSize(_)
            | $ErrorCode::HttpResponseHeaderSize(_)
            | $ErrorCode::HttpResponseTrailerSectionSize(_)
            | $ErrorCode::HttpResponseTrailerSize(_) => {
                Fault::lasting("ResponseTooLarge", "the answer's headers are too large")
            }
            $ErrorCode::HttpResponseBodySize(_) => {
                Fault::lasting("ResponseTooLarge", "the answer is too large")
            }
            $ErrorCode::HttpResponseTransferCoding(_)
            | $ErrorCode::HttpResponseContentCoding(_) => {
                Fault::lasting("ProtocolError", "the answer is encoded in an unknown way")
            }
            $ErrorCode::HttpResponseTimeout => Fault::timeout("the answer took too long"),
            $ErrorCode::HttpUpgradeFailed => {
                Fault::lasting("ProtocolError", "the server wants another protocol")
            }
            // A connection that ends in the middle of an answer's head looks like this, too.
            $ErrorCode::HttpProtocolError => {
                Fault::passing("ProtocolError", "the answer is no proper HTTP")
            }
            $ErrorCode::LoopDetected => {
                Fault::lasting("ProtocolError", "the request goes in circles")
            }
            $ErrorCode::ConfigurationError => {
                Fault::lasting("HttpError", "the host's HTTP client is not set up for it")
            }
            $ErrorCode::InternalError(message) => Fault::lasting(
                "HttpError",
                match message {
                    Some(message) => format!("the host's HTTP client failed ({message})"),
                    None => "the host's HTTP client failed".to_owned(),
                },
            ),
        }
    };
}
#[cfg(target_family = "wasm")]
pub(super) use fault_of;
