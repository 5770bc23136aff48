package taskhttp

import (
	"context"
	"errors"
	"net/http"

	wasi "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/wasi_http_types"
	types "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/types"
	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/task"
)

// fault is why a request got no answer, or only a part of one.
type fault struct {
	kind, what string
	cause      error
}

func (f *fault) Error() string { return f.what }

// Kind is what becomes `exception_type`.
func (f *fault) Kind() string { return f.kind }

func (f *fault) Unwrap() error { return f.cause }

// Timeout says, as in package net, whether something took too long.
func (f *fault) Timeout() bool { return f.kind == "Timeout" }

// lasting is a fault that the same request will meet again.
func lasting(kind, what string) error { return &fault{kind: kind, what: what} }

// passing is a fault that another try may mend.
func passing(kind, what string) error { return task.Transient(lasting(kind, what)) }

// lost is a fault that the host gave no reason for.
func lost() error { return passing("ConnectionError", "the connection was lost") }

// ended is the fault of a request whose context ended.
func ended(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return task.Transient(&fault{kind: "Timeout", what: "the answer took too long", cause: err})
	}
	return err
}

// faultOf is what a code of the host's means.
func faultOf(code wasi.ErrorCode, request *http.Request) error {
	switch code.Tag() {
	case wasi.ErrorCode_DnsTimeout:
		return passing("DnsError", "looking up its name took too long")
	case wasi.ErrorCode_DnsError:
		return passing("DnsError", with("its name could not be looked up", code.DnsError().Rcode))
	case wasi.ErrorCode_DestinationNotFound:
		return passing("ConnectionError", "the server was not found")
	case wasi.ErrorCode_DestinationUnavailable:
		return passing("ConnectionError", "the server is not available")
	case wasi.ErrorCode_DestinationIpProhibited:
		return lasting("RequestDenied", "the host prohibits its IP address")
	case wasi.ErrorCode_DestinationIpUnroutable:
		return passing("ConnectionError", "there is no route to the server")
	case wasi.ErrorCode_ConnectionRefused:
		return passing("ConnectionRefused", "the connection was refused")
	case wasi.ErrorCode_ConnectionTerminated:
		return lost()
	case wasi.ErrorCode_ConnectionTimeout:
		return passing("Timeout", "connecting took too long")
	case wasi.ErrorCode_ConnectionReadTimeout:
		return passing("Timeout", "the server sent nothing for too long")
	case wasi.ErrorCode_ConnectionWriteTimeout:
		return passing("Timeout", "the server took nothing for too long")
	case wasi.ErrorCode_ConnectionLimitReached:
		return passing("ConnectionError", "there are too many connections")
	case wasi.ErrorCode_TlsProtocolError:
		return lasting("TlsError", "there is no secure connection to the server")
	case wasi.ErrorCode_TlsCertificateError:
		return lasting("TlsError", "the server's certificate is not trusted")
	case wasi.ErrorCode_TlsAlertReceived:
		return lasting("TlsError", with("the server refused a secure connection", code.TlsAlertReceived().AlertMessage))
	case wasi.ErrorCode_HttpRequestDenied:
		return lasting("RequestDenied", "the host does not grant it: `--allow-host "+request.URL.Host+"`")
	case wasi.ErrorCode_HttpRequestLengthRequired, wasi.ErrorCode_HttpRequestMethodInvalid,
		wasi.ErrorCode_HttpRequestUriInvalid, wasi.ErrorCode_HttpRequestUriTooLong:
		return lasting("InvalidRequest", "the method or the URL cannot be sent")
	case wasi.ErrorCode_HttpRequestBodySize:
		return lasting("InvalidRequest", "its body is too large, or not as long as it says")
	case wasi.ErrorCode_HttpRequestHeaderSectionSize, wasi.ErrorCode_HttpRequestHeaderSize,
		wasi.ErrorCode_HttpRequestTrailerSectionSize, wasi.ErrorCode_HttpRequestTrailerSize:
		return lasting("InvalidRequest", "its headers are too large")
	case wasi.ErrorCode_HttpResponseIncomplete:
		return passing("IncompleteResponse", "the answer ended too early")
	case wasi.ErrorCode_HttpResponseHeaderSectionSize, wasi.ErrorCode_HttpResponseHeaderSize,
		wasi.ErrorCode_HttpResponseTrailerSectionSize, wasi.ErrorCode_HttpResponseTrailerSize:
		return lasting("ResponseTooLarge", "the answer's headers are too large")
	case wasi.ErrorCode_HttpResponseBodySize:
		return lasting("ResponseTooLarge", "the answer is too large")
	case wasi.ErrorCode_HttpResponseTransferCoding, wasi.ErrorCode_HttpResponseContentCoding:
		return lasting("ProtocolError", "the answer is encoded in an unknown way")
	case wasi.ErrorCode_HttpResponseTimeout:
		return passing("Timeout", "the answer took too long")
	case wasi.ErrorCode_HttpUpgradeFailed:
		return lasting("ProtocolError", "the server wants another protocol")
	case wasi.ErrorCode_HttpProtocolError:
		// A connection that ends in the middle of an answer's head looks like this,
		// too.
		return passing("ProtocolError", "the answer is no proper HTTP")
	case wasi.ErrorCode_LoopDetected:
		return lasting("ProtocolError", "the request goes in circles")
	case wasi.ErrorCode_ConfigurationError:
		return lasting("HttpError", "the host's HTTP client is not set up for it")
	case wasi.ErrorCode_InternalError:
		return lasting("HttpError", with("the host's HTTP client failed", code.InternalError()))
	}
	return lasting("HttpError", "the host's HTTP client failed")
}

// with adds what the host says beside.
func with(what string, detail types.Option[string]) string {
	if detail.IsSome() {
		return what + " (" + detail.Some() + ")"
	}
	return what
}
