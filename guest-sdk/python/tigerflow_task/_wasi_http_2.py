"""Requests by WASI 0.2: the whole instance waits."""

from componentize_py_types import Err, Ok
from tigerflow_wit.imports import monotonic_clock, outgoing_handler, poll
from tigerflow_wit.imports import wasi_http_types as wasi
from tigerflow_wit.imports.streams import StreamError_Closed

from . import http

_BLOCK = 64 << 10
_METHODS = {
    "GET": wasi.Method_Get, "HEAD": wasi.Method_Head, "POST": wasi.Method_Post,
    "PUT": wasi.Method_Put, "DELETE": wasi.Method_Delete, "PATCH": wasi.Method_Patch,
    "OPTIONS": wasi.Method_Options,
}


def send(exchange):
    """Sends a request: the status, the headers and the body of its answer."""
    request = _request(exchange)
    body = request.body() if exchange.body else None
    try:
        answer = outgoing_handler.handle(request, wasi.RequestOptions())
    except Err as error:
        raise exchange.fault(error.value) from None
    with answer, answer.subscribe() as ready:
        if body is not None:
            _write(body, ready, exchange)
        _wait([ready], exchange)
        match answer.get():
            case Ok(Ok(response)):
                return _read(response, exchange)
            case Ok(Err(code)):
                raise exchange.fault(code)
    raise exchange.error(*http._LOST)


def _request(exchange):
    fields = wasi.Fields()
    for name, value in exchange.headers.items():
        try:
            fields.append(name, value.encode())
        except Err:
            what = f"the header `{name}` cannot be sent"
            raise exchange.error(http.InvalidRequest, what) from None
    request = wasi.OutgoingRequest(fields)
    method = _METHODS.get(exchange.method)
    try:
        request.set_method(method() if method else wasi.Method_Other(exchange.method))
        request.set_scheme(wasi.Scheme_Https() if exchange.https else wasi.Scheme_Http())
        request.set_authority(exchange.authority)
        request.set_path_with_query(exchange.target)
    except Err:
        what = "the method or the URL cannot be sent"
        raise exchange.error(http.InvalidRequest, what) from None
    return request


def _write(body, ready, exchange):
    """Writes a request's body, as far as the server takes it.

    A server may answer before it has read all of it: what counts is the answer.
    """
    content, done = memoryview(exchange.body), 0
    try:
        with body.write() as stream, stream.subscribe() as room:
            while done < len(content):
                size = stream.check_write()
                if size == 0:
                    _wait([room, ready], exchange)
                    if ready.ready() and not room.ready():
                        break
                    continue
                stream.write(bytes(content[done : done + size]))
                done += size
        wasi.OutgoingBody.finish(body, None)
    except Err:
        pass


def _read(response, exchange):
    status = response.status()
    with response.headers() as fields:
        headers = http.Headers((name, str(value, "latin-1")) for name, value in fields.entries())
    content = bytearray()
    with response, response.consume() as body, body.stream() as stream, stream.subscribe() as more:
        while True:
            try:
                block = stream.read(_BLOCK)
            except Err as error:
                if isinstance(error.value, StreamError_Closed):
                    return status, headers, bytes(content)
                code = wasi.http_error_code(error.value.value)
                raise exchange.fault(code) if code else exchange.error(*http._LOST) from None
            if block:
                content += block
                exchange.check_length(len(content))
            else:
                _wait([more], exchange)


def _wait(pollables, exchange):
    """Waits until one of these is ready."""
    left = exchange.seconds_left()
    if left is None:
        poll.poll(pollables)
        return
    with monotonic_clock.subscribe_duration(int(left * 1e9) + 1) as end:
        poll.poll([*pollables, end])
    exchange.seconds_left()
