/** Answers of servers that say no. `fetch` itself is the engine's. */

/** What another try may answer otherwise. */
const TRANSIENT = [408, 425, 429, 500, 502, 503, 504];

/** How much of an answer an error shows, in characters: a message, not a page. */
const EXCERPT_CHARACTERS = 500;

/** An answer with a status of 400 and more. */
export class HttpStatus extends Error {
  constructor(response, excerpt) {
    const { host, pathname } = address(response.url);
    const reason = response.statusText ? ` ${response.statusText}` : "";
    super(`${host}${pathname}: the server answered ${response.status}${reason}${excerpt && `: ${excerpt}`}`);
    this.status = response.status;
    if (TRANSIENT.includes(response.status)) {
      this.transient = true;
      this.retryAfterMs = retryAfter(response.headers.get("retry-after"));
    }
  }

  get name() {
    return "HttpStatus";
  }
}

/** The response itself, or an `HttpStatus` error where its status is 400 and more. */
export async function errorForStatus(response) {
  if (response.status < 400) return response;
  let excerpt = "";
  try {
    excerpt = shorten(await response.text());
  } catch {
    // The status is what went wrong first.
  }
  throw new HttpStatus(response, excerpt);
}

/** Neither the query nor a user's name, which may hold keys. */
function address(url) {
  try {
    return new URL(url);
  } catch {
    return { host: "", pathname: "" };
  }
}

/** Seconds, or until a date. */
function retryAfter(value) {
  if (value === null) return undefined;
  if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

function shorten(text) {
  const line = text.slice(0, 8 * EXCERPT_CHARACTERS).replace(/[\s\x00-\x1f\x7f-\x9f]+/g, " ").trim();
  return line.length > EXCERPT_CHARACTERS ? `${line.slice(0, EXCERPT_CHARACTERS)}…` : line;
}
