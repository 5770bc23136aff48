/**
 * `fetch` by the host's HTTP client.
 *
 * The engine has one, too, but all its errors are one and the same. These say
 * what went wrong, and whether another try may mend it.
 */

import { subscribeDuration } from "wasi:clocks/monotonic-clock@0.2.12";
import { handle } from "wasi:http/outgoing-handler@0.2.12";
import { Fields, IncomingBody, OutgoingBody, OutgoingRequest } from "wasi:http/types@0.2.12";
import { poll } from "wasi:io/poll@0.2.12";

const dispose = Symbol.dispose ?? Symbol.for("dispose");
const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** As the standard of `fetch` has it. */
const MOST_REDIRECTS = 20;
const REDIRECTS = [301, 302, 303, 307, 308];

/** Answers that have no body. */
const BODILESS = [101, 204, 205, 304];

/** What is read of an answer at once. */
const BLOCK_BYTES = 64n << 10n;

/** What the host's stream takes at once. */
const WRITE_BYTES = 4096;

const REASONS = {
  200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 206: "Partial Content",
  301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified",
  307: "Temporary Redirect", 308: "Permanent Redirect",
  400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
  405: "Method Not Allowed", 406: "Not Acceptable", 408: "Request Timeout", 409: "Conflict", 410: "Gone",
  413: "Content Too Large", 415: "Unsupported Media Type", 422: "Unprocessable Content", 425: "Too Early",
  429: "Too Many Requests", 451: "Unavailable For Legal Reasons",
  500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
  504: "Gateway Timeout",
};

/** Kinds and words for the host's codes, and whether another try may mend it. */
const [LASTING, PASSING] = [false, true];
const FAULTS = {
  "DNS-timeout": ["DnsError", "looking up its name took too long", PASSING],
  "DNS-error": ["DnsError", "its name could not be looked up", PASSING],
  "destination-not-found": ["ConnectionError", "the server was not found", PASSING],
  "destination-unavailable": ["ConnectionError", "the server is not available", PASSING],
  "destination-IP-prohibited": ["RequestDenied", "the host prohibits its IP address", LASTING],
  "destination-IP-unroutable": ["ConnectionError", "there is no route to the server", PASSING],
  "connection-refused": ["ConnectionRefused", "the connection was refused", PASSING],
  "connection-terminated": ["ConnectionError", "the connection was lost", PASSING],
  "connection-timeout": ["Timeout", "connecting took too long", PASSING],
  "connection-read-timeout": ["Timeout", "the server sent nothing for too long", PASSING],
  "connection-write-timeout": ["Timeout", "the server took nothing for too long", PASSING],
  "connection-limit-reached": ["ConnectionError", "there are too many connections", PASSING],
  "TLS-protocol-error": ["TlsError", "there is no secure connection to the server", LASTING],
  "TLS-certificate-error": ["TlsError", "the server's certificate is not trusted", LASTING],
  "TLS-alert-received": ["TlsError", "the server refused a secure connection", LASTING],
  "HTTP-request-body-size": ["InvalidRequest", "its body is too large", LASTING],
  "HTTP-request-method-invalid": ["InvalidRequest", "the method cannot be sent", LASTING],
  "HTTP-request-URI-invalid": ["InvalidRequest", "the URL cannot be sent", LASTING],
  "HTTP-response-incomplete": ["IncompleteResponse", "the answer ended too early", PASSING],
  "HTTP-response-body-size": ["ResponseTooLarge", "the answer is too large", LASTING],
  "HTTP-response-timeout": ["Timeout", "the answer took too long", PASSING],
  "HTTP-protocol-error": ["ProtocolError", "the answer is no proper HTTP", PASSING],
  "internal-error": ["HttpError", "the host's HTTP client failed", LASTING],
};

/** A request that got no answer, or only a part of one. */
class FetchError extends TypeError {
  constructor(kind, message, transient) {
    super(message);
    this.name = kind;
    this.transient = transient;
  }
}

/** Method, host and path; never the query or a header, which may hold keys. */
function shown(method, url) {
  return `${method} ${url.protocol}//${url.host}${url.pathname}`;
}

function fault(method, url, code) {
  const what = shown(method, url);
  const tag = code?.tag ?? String(code);
  if (tag === "HTTP-request-denied") {
    const words = `the host does not grant it: \`--allow-host ${url.host}\``;
    return new FetchError("RequestDenied", `${what}: ${words}`, false);
  }
  const [kind, words, transient] = FAULTS[tag] ?? ["HttpError", tag, false];
  const detail = typeof code?.val === "string" ? ` (${code.val})` : "";
  return new FetchError(kind, `${what}: ${words}${detail}`, transient);
}

// Waiting. Many requests may wait at once, and timers beside them: each turn
// waits for the first that is ready, and no longer than timers may be late.

const TURN = 10_000_000n;
const waiting = [];

/** Waits until the host says that something is ready. `request` has the task's `signal` to give up before. */
async function ready(pollable, request, owner) {
  const { signal } = request;
  const wait = { pollable, owner };
  let stop;
  try {
    await new Promise((resolve, reject) => {
      stop = () => reject(givenUp(request));
      if (signal?.aborted) return stop();
      signal?.addEventListener("abort", stop);
      wait.resolve = resolve;
      if (waiting.push(wait) === 1) setTimeout(turn, 0);
    });
  } finally {
    signal?.removeEventListener("abort", stop);
    release(wait);
  }
}

/** Ends a wait. The host wants pollables back before what they wait for. */
function release(wait) {
  const at = waiting.indexOf(wait);
  if (at >= 0) waiting.splice(at, 1);
  wait.pollable?.[dispose]();
  wait.pollable = undefined;
}

/** The reason of a signal; where that is `AbortSignal.timeout`, with the request, and worth another try. */
function givenUp({ signal, method, url }) {
  if (signal.reason?.name !== "TimeoutError") return signal.reason;
  const error = new DOMException(`${shown(method, url)}: the answer took too long`, "TimeoutError");
  return Object.assign(error, { transient: true });
}

function turn() {
  if (waiting.length === 0) return;
  const timer = subscribeDuration(TURN);
  try {
    const done = poll([timer, ...waiting.map(({ pollable }) => pollable)]);
    for (const { resolve } of [...done].filter((i) => i > 0).map((i) => waiting[i - 1])) resolve();
  } finally {
    timer[dispose]();
  }
  setTimeout(turn, 0);
}

/** What the host still holds for an answer that nobody read to its end. */
const unread = new Set();

/** Lets go of answers that nobody reads any more: a `run` is over. */
export function closeAnswers() {
  for (const close of [...unread]) close();
}

/** Sends one request and returns status, headers and body, without following redirects. */
async function exchange(request) {
  const { method, url, headers, body } = request;
  if (request.signal?.aborted) throw givenUp(request);
  const check = (call) => {
    try {
      return call();
    } catch (error) {
      if (error?.payload === undefined) throw error;
      throw fault(method, url, error.payload);
    }
  };
  const entries = [...headers].map(([name, value]) => [name, encoder.encode(value)]);
  if (body) entries.push(["content-length", encoder.encode(String(body.length))]);
  const fields = check(() => Fields.fromList(entries));
  const outgoing = new OutgoingRequest(fields);
  const known = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"].includes(method);
  check(() => outgoing.setMethod(known ? { tag: method.toLowerCase() } : { tag: "other", val: method }));
  check(() => outgoing.setScheme({ tag: url.protocol === "https:" ? "HTTPS" : "HTTP" }));
  check(() => outgoing.setAuthority(url.host));
  check(() => outgoing.setPathWithQuery(url.pathname + url.search));
  const content = outgoing.body();
  let future;
  try {
    future = check(() => handle(outgoing, undefined));
  } catch (error) {
    content[dispose]();
    throw error;
  }
  try {
    send(content, body);
    await ready(future.subscribe(), request);
    const answer = future.get();
    const response = check(() => unwrap(unwrap(answer)));
    const answered = response.headers();
    const got = {
      status: response.status(),
      headers: answered.entries().map(([name, value]) => [name, decoder.decode(value)]),
    };
    answered[dispose]();
    const incoming = response.consume();
    response[dispose]();
    return { ...got, body: reader(incoming, request) };
  } finally {
    future[dispose]();
  }
}

/** Sends a body. That the connection is lost, or the server wants no more of it, the answer says. */
function send(content, body) {
  try {
    if (body) {
      const stream = content.write();
      try {
        for (let at = 0; at < body.length; at += WRITE_BYTES) {
          stream.blockingWriteAndFlush(body.subarray(at, at + WRITE_BYTES));
        }
      } finally {
        stream[dispose]();
      }
    }
    OutgoingBody.finish(content, undefined);
  } catch (error) {
    if (error?.payload === undefined) throw error;
  }
}

/** The value of a `result`, or its error as the bindings throw one. */
function unwrap(result) {
  if (result?.tag === "ok") return result.val;
  throw Object.assign(new Error("no answer"), { payload: result?.val ?? "HTTP-response-incomplete" });
}

/** The body of an answer, in pieces; `undefined` is its end. */
function reader(incoming, request) {
  const { method, url } = request;
  const stream = incoming.stream();
  let open = true;
  const close = () => {
    if (!open) return;
    open = false;
    unread.delete(close);
    for (const wait of waiting.filter(({ owner }) => owner === close)) release(wait);
    stream[dispose]();
    incoming[dispose]();
  };
  unread.add(close);
  const read = async () => {
    while (open) {
      let bytes;
      try {
        bytes = stream.read(BLOCK_BYTES);
      } catch (error) {
        close();
        const why = error?.payload;
        if (why === undefined) throw error;
        if (why.tag === "closed") return undefined;
        why.val?.[dispose]?.();
        throw fault(method, url, "HTTP-response-incomplete");
      }
      if (bytes.length > 0) return bytes;
      await ready(stream.subscribe(), request, close);
    }
    return undefined;
  };
  return { read, close };
}

/** The parts of a request, from what `fetch` takes. */
async function parts(resource, init) {
  init ??= {};
  const given = typeof resource === "object" && resource !== null && "url" in resource ? resource : undefined;
  const url = new URL(given ? given.url : String(resource));
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new FetchError("InvalidUrl", `\`${url.protocol}//…\` is no URL of http or https`, false);
  }
  const method = (init.method ?? given?.method ?? "GET").toUpperCase();
  const headers = new Headers(init.headers ?? given?.headers);
  let body;
  if (init.body !== undefined && init.body !== null) {
    // The engine knows what a form, a blob or a stream is as bytes, and its type.
    const sent = new Response(init.body);
    body = new Uint8Array(await sent.arrayBuffer());
    const type = sent.headers.get("content-type");
    if (type && !headers.has("content-type")) headers.set("content-type", type);
  } else if (given?.body) {
    body = new Uint8Array(await given.arrayBuffer());
  }
  if (body && (method === "GET" || method === "HEAD")) {
    throw new TypeError(`a request with the method ${method} has no body`);
  }
  return { method, url, headers, body, signal: init.signal ?? given?.signal, redirect: init.redirect ?? given?.redirect ?? "follow" };
}

/** Asks a server, as everywhere: `await fetch(url, { method, headers, body, signal, redirect })`. */
export async function fetch(resource, init) {
  const request = await parts(resource, init);
  for (let redirects = 0; ; redirects++) {
    const { status, headers, body } = await exchange(request);
    const location = new Headers(headers).get("location");
    if (REDIRECTS.includes(status) && location !== null && request.redirect !== "manual") {
      body.close();
      const what = shown(request.method, request.url);
      if (request.redirect === "error") throw new FetchError("TooManyRedirects", `${what}: it was redirected`, false);
      if (redirects === MOST_REDIRECTS) {
        throw new FetchError("TooManyRedirects", `${what}: it was redirected more than ${MOST_REDIRECTS} times`, false);
      }
      follow(request, status, new URL(location, request.url));
      continue;
    }
    return answer(request, status, headers, body, redirects > 0);
  }
}

/** Makes of a request the one that a redirect asks for. */
function follow(request, status, url) {
  const post = request.method === "POST" && (status === 301 || status === 302);
  if (post || (status === 303 && request.method !== "HEAD")) {
    request.method = "GET";
    request.body = undefined;
    for (const name of ["content-type", "content-encoding", "content-language", "content-location"]) {
      request.headers.delete(name);
    }
  }
  if (url.origin !== request.url.origin) {
    // Another server gets no keys.
    for (const name of ["authorization", "cookie", "proxy-authorization"]) request.headers.delete(name);
  }
  request.url = url;
}

function answer({ method, url }, status, headers, body, redirected) {
  let content = null;
  if (method === "HEAD" || BODILESS.includes(status)) {
    body.close();
  } else {
    content = new ReadableStream({
      async pull(controller) {
        try {
          const bytes = await body.read();
          if (bytes === undefined) controller.close();
          else controller.enqueue(bytes);
        } catch (error) {
          controller.error(error);
        }
      },
      cancel: body.close,
    });
  }
  const response = new Response(content, { status, statusText: REASONS[status] ?? "", headers });
  Object.defineProperty(response, "url", { value: url.href });
  Object.defineProperty(response, "redirected", { value: redirected });
  return response;
}
