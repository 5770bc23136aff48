package taskhttp

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/bridge"
	handler "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/wasi_http_outgoing_handler"
	wasi "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/wasi_http_types"
	poll "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/wasi_io_poll"
	streams "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/wasi_io_streams"
	types "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/types"
)

// blockBytes is what one read of a body asks for, and one write hands over.
const blockBytes = 32 << 10

func init() { http.DefaultTransport = transport{} }

// transport has the host send requests.
type transport struct{}

// RoundTrip sends a request, and waits until its answer begins.
func (transport) RoundTrip(request *http.Request) (*http.Response, error) {
	// Whatever happens, the body is done with.
	body := request.Body
	if body == nil {
		body = http.NoBody
	}
	defer body.Close()
	if request.URL == nil || request.URL.Host == "" {
		return nil, lasting("InvalidUrl", "the URL names no server")
	}
	header, unzip := headerOf(request)
	outgoing, err := outgoingRequest(request, header)
	if err != nil {
		return nil, err
	}
	answer, err := send(request, outgoing, body)
	if err != nil {
		return nil, err
	}
	return responseOf(request, answer, unzip)
}

// headerOf is the header as it goes out, and whether the answer may come packed
// without the caller's knowledge.
func headerOf(request *http.Request) (header http.Header, unzip bool) {
	header = request.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	// What belongs to a connection is the host's; the length and the server are
	// said in other fields of the request.
	for _, name := range []string{"Connection", "Content-Length", "Host", "Keep-Alive", "Proxy-Connection", "Te",
		"Trailer", "Transfer-Encoding", "Upgrade"} {
		header.Del(name)
	}
	switch agent, ok := header["User-Agent"]; {
	case !ok:
		// Some servers refuse a request that does not say who asks.
		header.Set("User-Agent", "tigerflow-task")
	case len(agent) == 0 || agent[0] == "":
		header.Del("User-Agent")
	}
	hasBody := request.Body != nil && request.Body != http.NoBody
	switch {
	case hasBody && request.ContentLength > 0:
		header.Set("Content-Length", strconv.FormatInt(request.ContentLength, 10))
	case !hasBody && (request.Method == "POST" || request.Method == "PUT" || request.Method == "PATCH"):
		header.Set("Content-Length", "0")
	}
	unzip = header.Get("Accept-Encoding") == "" && header.Get("Range") == "" && request.Method != "HEAD"
	if unzip {
		header.Set("Accept-Encoding", "gzip")
	}
	return header, unzip
}

func outgoingRequest(request *http.Request, header http.Header) (*wasi.OutgoingRequest, error) {
	fields := wasi.MakeFields()
	for name, values := range header {
		for _, value := range values {
			if fields.Append(strings.ToLower(name), []byte(value)).IsErr() {
				fields.Drop()
				return nil, lasting("InvalidRequest", "the header `"+name+"` cannot be sent")
			}
		}
	}
	outgoing := wasi.MakeOutgoingRequest(fields)
	scheme := wasi.MakeSchemeHttps()
	switch request.URL.Scheme {
	case "https":
	case "http":
		scheme = wasi.MakeSchemeHttp()
	default:
		scheme = wasi.MakeSchemeOther(request.URL.Scheme)
	}
	authority := request.Host
	if authority == "" {
		authority = request.URL.Host
	}
	if outgoing.SetMethod(methodOf(request.Method)).IsErr() ||
		outgoing.SetScheme(types.Some(scheme)).IsErr() ||
		outgoing.SetAuthority(types.Some(authority)).IsErr() ||
		outgoing.SetPathWithQuery(types.Some(request.URL.RequestURI())).IsErr() {
		outgoing.Drop()
		return nil, lasting("InvalidRequest", "the method or the URL cannot be sent")
	}
	return outgoing, nil
}

func methodOf(method string) wasi.Method {
	switch method {
	case "", "GET":
		return wasi.MakeMethodGet()
	case "HEAD":
		return wasi.MakeMethodHead()
	case "POST":
		return wasi.MakeMethodPost()
	case "PUT":
		return wasi.MakeMethodPut()
	case "DELETE":
		return wasi.MakeMethodDelete()
	case "PATCH":
		return wasi.MakeMethodPatch()
	case "OPTIONS":
		return wasi.MakeMethodOptions()
	}
	return wasi.MakeMethodOther(method)
}

// send sends a request with its body, and waits for the head of its answer.
func send(request *http.Request, outgoing *wasi.OutgoingRequest, content io.Reader) (*wasi.IncomingResponse, error) {
	ctx := request.Context()
	var body *wasi.OutgoingBody
	if content != http.NoBody {
		result := outgoing.Body()
		if result.IsErr() {
			outgoing.Drop()
			return nil, lasting("InvalidRequest", "it can have no body")
		}
		body = result.Ok()
		defer body.Drop()
	}
	handled := ask(func() types.Result[*wasi.FutureIncomingResponse, wasi.ErrorCode] {
		return handler.Handle(outgoing, types.None[*wasi.RequestOptions]())
	})
	if handled.IsErr() {
		return nil, faultOf(handled.Err(), request)
	}
	future := handled.Ok()
	defer future.Drop()
	ready := future.Subscribe()
	defer ready.Drop()
	// A server may answer before it has read the whole body: what counts is the
	// answer, and what went wrong with the body only where there is none.
	var unsent error
	if body != nil {
		if err := write(ctx, body, content, ready); err != nil {
			return nil, err
		}
		finished := ask(func() types.Result[types.Unit, wasi.ErrorCode] {
			return wasi.OutgoingBodyFinish(body, types.None[*wasi.Fields]())
		})
		if finished.IsErr() {
			unsent = faultOf(finished.Err(), request)
		}
	}
	if err := wait(ctx, ready); err != nil {
		return nil, ended(err)
	}
	answer := ask(future.Get)
	if answer.IsSome() && answer.Some().IsOk() {
		if answer := answer.Some().Ok(); answer.IsErr() {
			return nil, faultOf(answer.Err(), request)
		} else {
			return answer.Ok(), nil
		}
	}
	if unsent != nil {
		return nil, unsent
	}
	return nil, lost()
}

// write writes a request's body, as far as the server takes it. An error is that
// of the content, or that of the context.
func write(ctx context.Context, body *wasi.OutgoingBody, content io.Reader, answer *poll.Pollable) error {
	opened := body.Write()
	if opened.IsErr() {
		return nil
	}
	stream := opened.Ok()
	defer stream.Drop()
	ready := stream.Subscribe()
	defer ready.Drop()
	block := make([]byte, blockBytes)
	for {
		count, end := content.Read(block)
		for rest := block[:count]; len(rest) > 0; {
			room := ask(stream.CheckWrite)
			if room.IsErr() {
				return nil
			}
			if room.Ok() == 0 {
				if err := waitForEither(ctx, ready, answer); err != nil {
					return err
				}
				if answer.Ready() && !ready.Ready() {
					return nil
				}
				continue
			}
			now := rest[:min(uint64(len(rest)), room.Ok())]
			if stream.Write(now).IsErr() {
				return nil
			}
			rest = rest[len(now):]
		}
		if errors.Is(end, io.EOF) {
			// Nothing else has to be flushed: finishing the body does that.
			return nil
		}
		if end != nil {
			return end
		}
	}
}

// waitForEither waits until one of two is ready.
func waitForEither(ctx context.Context, a, b *poll.Pollable) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	other := make(chan struct{})
	go func() {
		defer close(other)
		if wait(ctx, b) == nil {
			cancel(errReady)
		}
	}()
	err := wait(ctx, a)
	cancel(errReady)
	<-other
	if err != nil && context.Cause(ctx) != errReady {
		return ended(err)
	}
	return nil
}

var errReady = errors.New("ready")

// responseOf is the answer as net/http knows it.
func responseOf(request *http.Request, answer *wasi.IncomingResponse, unzip bool) (*http.Response, error) {
	fields := answer.Headers()
	header := http.Header{}
	for _, entry := range ask(fields.Entries) {
		header.Add(strings.Clone(entry.F0), string(entry.F1))
	}
	fields.Drop()
	status := int(answer.Status())
	response := &http.Response{
		Status:        strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status)),
		StatusCode:    status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		ContentLength: -1,
		Request:       request,
	}
	if length, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64); err == nil {
		response.ContentLength = length
	}
	consumed := answer.Consume()
	if consumed.IsErr() {
		answer.Drop()
		return nil, lost()
	}
	streamed := consumed.Ok().Stream()
	if streamed.IsErr() {
		consumed.Ok().Drop()
		answer.Drop()
		return nil, lost()
	}
	stream := streamed.Ok()
	body := &body{request, stream.Subscribe(), stream, consumed.Ok(), answer, nil}
	bridge.Opened(body)
	response.Body = body
	if unzip && header.Get("Content-Encoding") == "gzip" {
		header.Del("Content-Encoding")
		header.Del("Content-Length")
		response.ContentLength = -1
		response.Uncompressed = true
		response.Body = &unzipped{body: body}
	}
	return response, nil
}

// body is the body of an answer.
type body struct {
	request *http.Request
	// These are dropped in this order: the host wants a child gone before its
	// parent.
	ready  *poll.Pollable
	stream *streams.InputStream
	body   *wasi.IncomingBody
	answer *wasi.IncomingResponse
	// end is what every further read returns.
	end error
}

func (b *body) Read(buffer []byte) (int, error) {
	for b.end == nil && len(buffer) > 0 {
		count := 0
		b.end = ask(func() error {
			piece := b.stream.Read(uint64(min(len(buffer), blockBytes)))
			if piece.IsErr() {
				return b.endOf(piece.Err())
			}
			count = copy(buffer, piece.Ok())
			return nil
		})
		if count > 0 {
			return count, nil
		}
		if b.end == nil {
			if err := wait(b.request.Context(), b.ready); err != nil {
				b.end = ended(err)
			}
		}
	}
	if b.end != nil {
		b.drop()
	}
	return 0, b.end
}

// endOf is why a stream ended.
func (b *body) endOf(end streams.StreamError) error {
	if end.Tag() == streams.StreamError_Closed {
		return io.EOF
	}
	failed := end.LastOperationFailed()
	defer failed.Drop()
	if code := wasi.HttpErrorCode(failed); code.IsSome() {
		return faultOf(code.Some(), b.request)
	}
	return lost()
}

func (b *body) Close() error {
	if b.end == nil {
		b.end = http.ErrBodyReadAfterClose
	}
	b.drop()
	return nil
}

func (b *body) drop() {
	bridge.Closed(b)
	b.ready.Drop()
	b.stream.Drop()
	b.body.Drop()
	b.answer.Drop()
}

// unzipped is a body that the server has packed. It is unpacked from the first
// read on.
type unzipped struct {
	*body
	reader *gzip.Reader
}

func (u *unzipped) Read(buffer []byte) (int, error) {
	if u.reader == nil {
		reader, err := gzip.NewReader(u.body)
		if err != nil {
			return 0, err
		}
		u.reader = reader
	}
	return u.reader.Read(buffer)
}
