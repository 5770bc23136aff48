"""Requests by WASI 0.3: other calls of the instance go on."""

import asyncio

import componentize_py_async_support as support
import tigerflow_wit
from componentize_py_types import Err, Ok
from tigerflow_wit.imports import client
from tigerflow_wit.imports import wasi_http_types as wasi

from . import http

_BLOCK = 64 << 10
_METHODS = {
    "GET": wasi.Method_Get, "HEAD": wasi.Method_Head, "POST": wasi.Method_Post,
    "PUT": wasi.Method_Put, "DELETE": wasi.Method_Delete, "PATCH": wasi.Method_Patch,
    "OPTIONS": wasi.Method_Options,
}
_trailers = (
    tigerflow_wit.result_option_wasi_http_types_fields_wasi_http_types_error_code_future
)
_all_is_well = tigerflow_wit.result_unit_wasi_http_types_error_code_future


async def send(exchange):
    """Sends a request: the status, the headers and the body of its answer."""
    try:
        async with asyncio.timeout(exchange.seconds_left()):
            return await _send(exchange)
    except TimeoutError:
        raise exchange.error(http.Timeout, "the whole answer took too long") from None


async def _send(exchange):
    contents = None
    if exchange.body:
        writer, contents = tigerflow_wit.byte_stream()
        support.spawn(_write(writer, exchange.body))
    try:
        response = await client.send(_request(exchange, contents))
    except Err as error:
        raise exchange.fault(error.value) from None
    status = response.get_status_code()
    with response.get_headers() as fields:
        headers = http.Headers((name, str(value, "latin-1")) for name, value in fields.copy_all())
    stream, end = wasi.Response.consume_body(response, _future(_all_is_well, None))
    content = bytearray()
    with stream, end:
        while not stream.writer_dropped:
            content += await stream.read(_BLOCK)
            exchange.check_length(len(content))
        result = await end.read()
    if isinstance(result, Err):
        raise exchange.fault(result.value)
    return status, headers, bytes(content)


def _request(exchange, contents):
    fields = wasi.Fields()
    for name, value in exchange.headers.items():
        try:
            fields.append(name, value.encode())
        except Err:
            what = f"the header `{name}` cannot be sent"
            raise exchange.error(http.InvalidRequest, what) from None
    request, sent = wasi.Request.new(
        fields, contents, _future(_trailers, None), wasi.RequestOptions()
    )
    sent.__exit__(None, None, None)
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


def _future(new, value):
    """A future that holds a value already."""
    writer, reader = new(lambda: Ok(value))
    support.spawn(writer.write(Ok(value)))
    return reader


async def _write(writer, body):
    """Writes a request's body, as far as the server takes it."""
    with writer:
        for begin in range(0, len(body), _BLOCK):
            await writer.write_all(body[begin : begin + _BLOCK])
            if writer.reader_dropped:
                break
