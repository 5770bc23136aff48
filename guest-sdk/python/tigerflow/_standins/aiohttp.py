"""In the place of aiohttp, whose sockets a component does not have: its client.

`ClientSession` and what it answers, over the host's HTTP client. An answer is read as a
whole before it is there. Of `ClientSession` and of its requests the options below exist;
another one is a `TypeError`.
"""

import asyncio
import base64
from http import HTTPStatus
from urllib.parse import urljoin

from tigerflow_task import http as _http


class ClientError(Exception):
    pass


class ClientResponseError(ClientError):
    def __init__(self, request_info, history=(), *, status=0, message="", headers=None):
        super().__init__(request_info, history)
        self.request_info = request_info
        self.history = history
        self.status = status
        self.message = message
        self.headers = headers

    def __str__(self):
        return f"{self.status}, message={self.message!r}, url={str(self.request_info.real_url)!r}"


class ContentTypeError(ClientResponseError):
    pass


class TooManyRedirects(ClientResponseError):
    pass


class ClientConnectionError(ClientError):
    pass


class ClientConnectorError(ClientConnectionError):
    pass


class ServerDisconnectedError(ClientConnectionError):
    pass


class ServerTimeoutError(ClientConnectionError, asyncio.TimeoutError):
    pass


class ClientPayloadError(ClientError):
    pass


class InvalidURL(ClientError, ValueError):
    pass


_ERRORS = {
    _http.Timeout: ServerTimeoutError,
    _http.ConnectionError: ServerDisconnectedError,
    _http.ConnectionRefused: ClientConnectorError,
    _http.DnsError: ClientConnectorError,
    _http.RequestDenied: ClientConnectorError,
    _http.TlsError: ClientConnectorError,
    _http.InvalidUrl: InvalidURL,
    _http.IncompleteResponse: ClientPayloadError,
    _http.ResponseTooLarge: ClientPayloadError,
}


class ClientTimeout:
    """Only `total` limits something: the host has limits of its own for the rest."""

    def __init__(self, total=None, connect=None, sock_read=None, sock_connect=None):
        self.total = total


class BasicAuth:
    def __init__(self, login, password="", encoding="latin1"):
        self.login, self.password, self.encoding = login, password, encoding

    def encode(self):
        pair = f"{self.login}:{self.password}".encode(self.encoding)
        return "Basic " + base64.b64encode(pair).decode()


class TCPConnector:
    """Connections are the host's, and so is how many there are."""

    def __init__(self, **_):
        pass

    async def close(self):
        pass


class RequestInfo:
    def __init__(self, method, url, headers):
        self.method, self.url, self.headers = method, url, headers
        self.real_url = url


class _Content:
    def __init__(self, body):
        self._body = body

    async def read(self, size=-1):
        size = len(self._body) if size < 0 else size
        body, self._body = self._body[:size], self._body[size:]
        return body

    async def iter_chunked(self, size):
        while chunk := await self.read(size):
            yield chunk

    async def iter_any(self):
        if chunk := await self.read():
            yield chunk


class ClientResponse:
    def __init__(self, response, request_info):
        self._response = response
        self.request_info = request_info
        self.method = request_info.method
        self.url = self.real_url = response.url
        self.status = response.status
        self.headers = response.headers
        self.history = ()
        self.content = _Content(response.content)
        try:
            self.reason = HTTPStatus(response.status).phrase
        except ValueError:
            self.reason = ""

    @property
    def ok(self):
        return self._response.ok

    @property
    def content_type(self):
        return self.headers.get("content-type", "application/octet-stream").split(";")[0].strip()

    async def read(self):
        return self._response.content

    async def text(self, encoding=None, errors="strict"):
        if encoding:
            return self._response.content.decode(encoding, errors)
        return self._response.text

    async def json(self, *, encoding=None, loads=None, content_type="application/json"):
        import json

        found = self.content_type
        is_json = found == content_type or found.endswith("+json") and "json" in content_type
        if content_type and not is_json:
            raise ContentTypeError(
                self.request_info, status=self.status, headers=self.headers,
                message=f"Attempt to decode JSON with unexpected mimetype: {found}",
            )
        text = await self.text(encoding)
        return (loads or json.loads)(text) if text.strip() else None

    def raise_for_status(self):
        if self.status >= 400:
            error = ClientResponseError(
                self.request_info, self.history,
                status=self.status, message=self.reason, headers=self.headers,
            )
            # What tells the host whether, and when, another try may mend it.
            known = _http.HttpStatus("", self._response)
            error.transient, error.retry_after = known.transient, known.retry_after
            raise error

    def release(self):
        pass

    close = release

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass


class _Request:
    """What `session.get(…)` gives: to await, or for `async with`."""

    def __init__(self, coroutine):
        self._coroutine = coroutine

    def __await__(self):
        return self._coroutine.__await__()

    async def __aenter__(self):
        return await self._coroutine

    async def __aexit__(self, *_):
        pass


class ClientSession:
    def __init__(
        self, base_url=None, *, connector=None, headers=None, auth=None, timeout=None,
        raise_for_status=False,
    ):
        self._base_url = base_url
        self._headers = dict(headers or {})
        self._auth = auth
        self._timeout = timeout
        self._raise_for_status = raise_for_status
        self.closed = False

    def request(self, method, url, **options):
        return _Request(self._ask(method, url, **options))

    async def _ask(
        self, method, url, *, params=None, headers=None, json=None, data=None, auth=None,
        timeout=None, allow_redirects=True, max_redirects=10, raise_for_status=None,
    ):
        if self.closed:
            raise RuntimeError("Session is closed")
        url = str(url)
        if self._base_url:
            url = urljoin(str(self._base_url), url)
        headers = {**self._headers, **(headers or {})}
        auth = auth or self._auth
        if auth:
            headers["Authorization"] = auth.encode()
        timeout = timeout or self._timeout
        seconds = 300 if timeout is None else getattr(timeout, "total", timeout)
        info = RequestInfo(method, url, headers)
        try:
            answer = await _http.aio.request(
                method, url, params=params, headers=headers, json=json, data=data,
                timeout=seconds, redirects=max_redirects if allow_redirects else 0,
                max_bytes=1 << 30,
            )
        except _http.TooManyRedirects as error:
            raise TooManyRedirects(info, message=str(error)) from None
        except _http.HttpError as error:
            known = _ERRORS.get(type(error), ClientError)(str(error))
            known.transient = error.transient
            raise known from None
        response = ClientResponse(answer, info)
        if self._raise_for_status if raise_for_status is None else raise_for_status:
            response.raise_for_status()
        return response

    def get(self, url, **options):
        return self.request("GET", url, **options)

    def post(self, url, **options):
        return self.request("POST", url, **options)

    def put(self, url, **options):
        return self.request("PUT", url, **options)

    def patch(self, url, **options):
        return self.request("PATCH", url, **options)

    def delete(self, url, **options):
        return self.request("DELETE", url, **options)

    def head(self, url, **options):
        return self.request("HEAD", url, **{"allow_redirects": False, **options})

    def options(self, url, **options):
        return self.request("OPTIONS", url, **options)

    async def close(self):
        self.closed = True

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()
