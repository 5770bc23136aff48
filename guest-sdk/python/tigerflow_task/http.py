"""Asking servers, by the host's HTTP client.

    from tigerflow_task import http

    response = http.get("https://api.example.org/titles", params={"id": "7"}, timeout=30)
    response.raise_for_status()
    title = response.json()["title"]

In an `AsyncTask` the same functions are in `http.aio`, and are awaited: `await
http.aio.get(…)`. The user grants each server: `--allow-host api.example.org`; `Grant.host`
says which ones a task needs.

An error names the method, the host and the path; never the query or a header, which may
hold keys. It has an attribute `transient` that says whether another try may mend it: true
for a connection that was refused or lost, for a timeout, and of answers for the statuses
408, 425, 429, 500, 502, 503 and 504, with the time that their `Retry-After` says. A task
that lets such an error out is tried again by the host, if the user wants that.

There are no time limits but the host's, unless `timeout` sets one for the whole exchange.
Up to 10 redirects are followed as browsers do; to another server go only headers that
cannot be secret. A body over 64 MiB is refused, or over `max_bytes`.

Natively there is no network: a test says what servers answer with `testing.answer_http`.
"""

import json as _json
import re
import time
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import quote, urlencode, urljoin, urlsplit

try:
    from . import _wasi_http_2 as _blocking
except ImportError:
    _blocking = None
try:
    from . import _wasi_http_3 as _waiting
except ImportError:
    _waiting = None

_REDIRECTS = 10
_MAX_BYTES = 64 << 20
_EXCERPT = 500  # characters of a body in an error: a message of an API, and not a page
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class HttpError(Exception):
    """Why there is no answer, or not the one that was wanted."""

    transient = False
    retry_after = None


class HttpStatus(HttpError):
    """The server answered with a status of 400 or more."""

    def __init__(self, message, response=None):
        super().__init__(message)
        self.response = response
        self.status = response.status if response else None
        self.transient = self.status in _TRANSIENT
        self.retry_after = _retry_after(response) if self.transient else None


class RequestDenied(HttpError):
    """The host does not let the request through."""


class InvalidUrl(HttpError):
    """It is no URL that can be asked."""


class InvalidRequest(HttpError):
    """The request cannot be sent."""


class TlsError(HttpError):
    """There is no secure connection."""


class ResponseTooLarge(HttpError):
    """The answer is longer than `max_bytes`."""


class TooManyRedirects(HttpError):
    """It was redirected too often."""


class InvalidJson(HttpError):
    """The answer is no JSON."""


class Timeout(HttpError):
    """It took too long."""

    transient = True


class DnsError(HttpError):
    """The server's name could not be looked up."""

    transient = True


class ConnectionError(HttpError):
    """The connection was lost, or there was none."""

    transient = True


class ConnectionRefused(ConnectionError):
    """The server refused the connection."""


class IncompleteResponse(HttpError):
    """The answer ended too early."""

    transient = True


class ProtocolError(HttpError):
    """The answer is no proper HTTP."""

    transient = True


class Headers(dict):
    """The headers of an answer. Names are lower-case, and may be asked for in any case."""

    def __init__(self, fields=()):
        super().__init__()
        for name, value in fields:
            name = name.lower()
            dict.__setitem__(self, name, f"{self[name]}, {value}" if name in self else value)

    def __getitem__(self, name):
        return super().__getitem__(name.lower())

    def __contains__(self, name):
        return super().__contains__(name.lower())

    def get(self, name, default=None):
        return super().get(name.lower(), default)


class Response:
    """What a server answered. The body is read already."""

    def __init__(self, exchange, status, headers, content):
        self._exchange = exchange
        self.status = status
        self.headers = headers
        self.content = content

    def __repr__(self):
        return f"<Response {self.status}>"

    @property
    def url(self):
        """Where the answer came from in the end."""
        return self._exchange.url

    @property
    def ok(self):
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def text(self):
        """The body as text, in the charset that its header names, or in UTF-8."""
        found = re.search(r"charset=\"?([\w.-]+)", self.headers.get("content-type", ""))
        try:
            return self.content.decode(found[1] if found else "utf-8", "replace")
        except LookupError:
            return self.content.decode("utf-8", "replace")

    def json(self):
        """What a body of JSON holds."""
        try:
            return _json.loads(self.content)
        except ValueError as error:
            what = f"the answer is no JSON: {error}: {_excerpt(self.content)}"
            raise self._exchange.error(InvalidJson, what) from None

    def raise_for_status(self):
        """Raises `HttpStatus` if the status is 400 or more, and gives the response."""
        if self.status < 400:
            return self
        what = f"the server answered {self.status}"
        try:
            what += f" {HTTPStatus(self.status).phrase}"
        except ValueError:
            pass
        excerpt = _excerpt(self.content)
        if excerpt:
            what += f": {excerpt}"
        raise HttpStatus(f"{self._exchange}: {what}", self)


def request(method, url, **options):
    """Sends a request, and waits for the whole answer.

    `params`: of the query; `headers`; `json`: a body of JSON; `data`: a body of bytes, of
    text, or of a form (a `dict`); `timeout`: seconds for all of it; `redirects`: how many
    are followed; `max_bytes`: the longest answer.
    """
    if _waiting is not None:
        raise RuntimeError("an AsyncTask asks with `await http.aio…`: `http…` would stall all calls")
    exchange = _Exchange(method, url, **options)
    while True:
        answer = (_blocking or _native).send(exchange)
        if not exchange.follow(*answer):
            return Response(exchange, *answer)


def get(url, **options):
    """`request` with the method GET."""
    return request("GET", url, **options)


def head(url, **options):
    """`request` with the method HEAD."""
    return request("HEAD", url, **options)


def post(url, **options):
    """`request` with the method POST."""
    return request("POST", url, **options)


def put(url, **options):
    """`request` with the method PUT."""
    return request("PUT", url, **options)


def patch(url, **options):
    """`request` with the method PATCH."""
    return request("PATCH", url, **options)


def delete(url, **options):
    """`request` with the method DELETE."""
    return request("DELETE", url, **options)


class aio:
    """The same for an `AsyncTask`: other calls go on while one waits."""

    @staticmethod
    async def request(method, url, **options):
        """As `http.request`, and awaited."""
        if _blocking is not None:
            raise RuntimeError("a Task asks with `http…`: `http.aio` is for an AsyncTask")
        exchange = _Exchange(method, url, **options)
        while True:
            if _waiting is None:
                answer = _native.send(exchange)
            else:
                answer = await _waiting.send(exchange)
            if not exchange.follow(*answer):
                return Response(exchange, *answer)

    @staticmethod
    async def get(url, **options):
        return await aio.request("GET", url, **options)

    @staticmethod
    async def head(url, **options):
        return await aio.request("HEAD", url, **options)

    @staticmethod
    async def post(url, **options):
        return await aio.request("POST", url, **options)

    @staticmethod
    async def put(url, **options):
        return await aio.request("PUT", url, **options)

    @staticmethod
    async def patch(url, **options):
        return await aio.request("PATCH", url, **options)

    @staticmethod
    async def delete(url, **options):
        return await aio.request("DELETE", url, **options)


class _Exchange:
    """A request, over all redirects."""

    def __init__(
        self, method, url, *, params=None, headers=None, json=None, data=None, timeout=None,
        redirects=_REDIRECTS, max_bytes=_MAX_BYTES,
    ):
        self.method = method.upper()
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.redirects = self.left = redirects
        self.max_bytes = max_bytes
        self.headers = {name.lower(): str(value) for name, value in (headers or {}).items()}
        self.body = None
        if json is not None:
            self.body = _json.dumps(json, separators=(",", ":")).encode()
            self.headers.setdefault("content-type", "application/json")
        elif isinstance(data, str):
            self.body = data.encode()
        elif isinstance(data, (bytes, bytearray, memoryview)):
            self.body = bytes(data)
        elif data is not None:
            self.body = urlencode(data).encode()
            self.headers.setdefault("content-type", "application/x-www-form-urlencoded")
        self.headers.setdefault("accept", "*/*")
        # Some servers refuse a request that does not say who asks.
        self.headers.setdefault("user-agent", "tigerflow-task/0.1.0")
        if self.body is not None or self.method not in ("GET", "HEAD"):
            # Without it a body goes out in chunks, which not every server takes.
            self.headers.setdefault("content-length", str(len(self.body or b"")))
        self._aim(url)
        if params:
            self._aim(url + ("&" if self.parts.query else "?") + urlencode(params, doseq=True))

    def __str__(self):
        return f"{self.method} {self.parts.netloc}{self.parts.path}"

    def _aim(self, url):
        problem = None
        try:
            self.parts = parts = urlsplit(url.strip())
            port = parts.port
        except ValueError:
            raise InvalidUrl("cannot ask: it is no URL") from None
        if parts.scheme not in ("http", "https"):
            problem = "only `http` and `https` URLs can be asked"
        elif not parts.hostname:
            problem = "it names no host"
        elif "@" in parts.netloc:
            problem = "it holds a user name or a password; put them into a header"
        elif not parts.netloc.isascii():
            problem = "its host is not ASCII; write it in Punycode (`xn--…`)"
        if problem:
            host = parts.netloc.rpartition("@")[2]
            raise InvalidUrl(f"cannot ask `{host}{parts.path}`: {problem}")
        self.url = parts.geturl()
        self.https = parts.scheme == "https"
        self.authority = parts.netloc
        self.origin = (parts.scheme, parts.hostname, port or (443 if self.https else 80))
        keep = "!#$%&'()*+,/:;=?@[]~"
        self.target = quote(parts.path or "/", safe=keep.replace("?", "").replace("#", ""))
        if parts.query:
            self.target += "?" + quote(parts.query, safe=keep.replace("#", ""))

    def follow(self, status, headers, content):
        """Whether the answer leads elsewhere; then this is the next request."""
        location = headers.get("location")
        if not self.redirects or status not in (301, 302, 303, 307, 308) or location is None:
            return False
        if not self.left:
            what = f"it was redirected more than {self.redirects} times"
            raise self.error(TooManyRedirects, what)
        self.left -= 1
        # As browsers do: after a form was sent, the answer is fetched.
        if (status == 303 and self.method != "HEAD") or (
            status in (301, 302) and self.method == "POST"
        ):
            self.method, self.body = "GET", None
            for name in [name for name in self.headers if name.startswith("content-")]:
                del self.headers[name]
        origin = self.origin
        self._aim(urljoin(self.url, location))
        if self.origin != origin:
            # Any other header may hold a key that was meant for one server.
            plain = ("accept", "content-", "user-agent", "range")
            self.headers = {
                name: value for name, value in self.headers.items() if name.startswith(plain)
            }
        return True

    def seconds_left(self):
        """How long it may still take; `None` for as long as it likes."""
        if self.deadline is None:
            return None
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise self.error(Timeout, "the whole answer took too long")
        return left

    def check_length(self, length):
        if length > self.max_bytes:
            what = f"the answer is longer than {self.max_bytes} bytes, see `max_bytes`"
            raise self.error(ResponseTooLarge, what)

    def error(self, kind, what):
        return kind(f"{self}: {what}")

    def fault(self, code):
        """The error that a WASI `error-code` means; 0.2 and 0.3 have the same cases."""
        case = type(code).__name__.removeprefix("ErrorCode_")
        value = getattr(code, "value", None)
        if case == "HttpRequestDenied":
            scheme, host, port = self.origin
            host = f"[{host}]" if ":" in host else host
            grant = host if port == (443 if self.https else 80) else f"{host}:{port}"
            what = f"the host does not grant it: `--allow-host {grant}`"
            return self.error(RequestDenied, what)
        if case == "DnsError":
            rcode = f" ({value.rcode})" if value.rcode else ""
            return self.error(DnsError, f"its name could not be looked up{rcode}")
        if case == "InternalError":
            message = f" ({value})" if value else ""
            return self.error(HttpError, f"the host's HTTP client failed{message}")
        if case in _FAULTS:
            return self.error(*_FAULTS[case])
        if case.startswith("HttpRequest"):
            return self.error(InvalidRequest, "its headers or its body cannot be sent")
        if case.startswith("HttpResponse"):
            return self.error(ResponseTooLarge, "the answer is too large")
        return self.error(HttpError, f"the host's HTTP client failed ({case})")


_LOST = (ConnectionError, "the connection was lost")
_FAULTS = {
    "DnsTimeout": (DnsError, "looking up its name took too long"),
    "DestinationNotFound": (ConnectionError, "the server was not found"),
    "DestinationUnavailable": (ConnectionError, "the server is not available"),
    "DestinationIpProhibited": (RequestDenied, "the host prohibits its IP address"),
    "DestinationIpUnroutable": (ConnectionError, "there is no route to the server"),
    "ConnectionRefused": (ConnectionRefused, "the connection was refused"),
    "ConnectionTerminated": _LOST,
    "ConnectionTimeout": (Timeout, "connecting took too long"),
    "ConnectionReadTimeout": (Timeout, "the server sent nothing for too long"),
    "ConnectionWriteTimeout": (Timeout, "the server took nothing for too long"),
    "ConnectionLimitReached": (ConnectionError, "there are too many connections"),
    "TlsProtocolError": (TlsError, "there is no secure connection to the server"),
    "TlsCertificateError": (TlsError, "the server's certificate is not trusted"),
    "TlsAlertReceived": (TlsError, "the server refused a secure connection"),
    "HttpRequestMethodInvalid": (InvalidRequest, "the method or the URL cannot be sent"),
    "HttpRequestUriInvalid": (InvalidRequest, "the method or the URL cannot be sent"),
    "HttpResponseIncomplete": (IncompleteResponse, "the answer ended too early"),
    "HttpResponseTimeout": (Timeout, "the answer took too long"),
    "HttpProtocolError": (ProtocolError, "the answer is no proper HTTP"),
}


class _native:
    """Outside of a component: what a test says that servers answer."""

    servers = None

    @classmethod
    def send(cls, exchange):
        if cls.servers is None:
            raise exchange.error(
                RequestDenied,
                "outside of a component there is no network; "
                "`tigerflow_task.testing.answer_http` says what servers answer",
            )
        status, headers, content = cls.servers(exchange)
        exchange.check_length(len(content))
        return status, Headers(headers.items()), content


def _retry_after(response):
    """How many seconds a `Retry-After` says to wait: a number, or until a date."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return int(value)
    try:
        return max(0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _excerpt(content):
    """A body's begin on one line."""
    text = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", content[:4096].decode("utf-8", "replace")).split())
    return text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…"
