/** How a task fails, and what the reader of its `.err` file learns. */

/** What another try may mend: a busy server, a lost connection. */
export class Transient extends Error {
  constructor(message, { retryAfterMs, ...options } = {}) {
    super(message, options);
    this.transient = true;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Deliberate and not an error: the task has nothing to do for this file. */
export class Aborted extends Error {}

/** A file that does not hold what it should. */
export class InvalidData extends Error {}

/** A parameter that does not fit. */
export class InvalidParameter extends Error {}

for (const type of [Transient, Aborted, InvalidData, InvalidParameter]) {
  Object.defineProperty(type.prototype, "name", { value: type.name, configurable: true, writable: true });
}

/** The `failure` of something thrown; `places` makes the lines of a stack. */
export function toFailure(thrown, places) {
  return { kind: kindOf(thrown), message: messageOf(thrown), trace: traceOf(thrown, places) };
}

/** The `run-error` of something thrown. */
export function toRunError(thrown, places) {
  if (thrown instanceof Aborted) return { tag: "aborted", val: messageOf(thrown) };
  const failure = toFailure(thrown, places);
  if (thrown?.transient !== true) return { tag: "failed", val: failure };
  return { tag: "transient", val: { failure, retryAfter: milliseconds(thrown.retryAfterMs) } };
}

function milliseconds(wait) {
  if (wait === undefined || wait === null || Number.isNaN(wait)) return undefined;
  return BigInt(Math.round(Math.min(Math.max(Number(wait), 0), Number.MAX_SAFE_INTEGER)));
}

/** The name of an error's type. `Error` says nothing, so a code stands in for it: `ENOENT`. */
function kindOf(thrown) {
  if (!isError(thrown)) return thrown === null ? "null" : typeof thrown;
  // `class TooBad extends Error {}` has no name of its own: it inherits `Error`.
  const named = Object.hasOwn(thrown, "name") || Object.hasOwn(Object.getPrototypeOf(thrown) ?? {}, "name");
  const name = String((named ? thrown.name : thrown.constructor?.name) || "Error");
  return name === "Error" && typeof thrown.code === "string" ? thrown.code : name;
}

function isError(thrown) {
  return thrown instanceof Error || (typeof thrown === "object" && typeof thrown?.message === "string");
}

function messageOf(thrown) {
  if (isError(thrown)) return String(thrown.message) || kindOf(thrown);
  if (typeof thrown === "string") return thrown;
  try {
    return JSON.stringify(thrown) ?? String(thrown);
  } catch {
    return String(thrown);
  }
}

/** How many causes are told: a chain may be a ring. */
const MOST_CAUSES = 10;

function traceOf(thrown, places) {
  const lines = [];
  let error = thrown;
  for (let depth = 0; depth < MOST_CAUSES && error !== undefined && error !== null; depth++) {
    if (depth > 0) lines.push(`caused by: ${kindOf(error)}: ${messageOf(error)}`);
    if (isError(error)) lines.push(...places(error));
    // An AggregateError has several causes.
    if (Array.isArray(error.errors)) {
      for (const one of error.errors) lines.push(`with: ${kindOf(one)}: ${messageOf(one)}`);
    }
    error = error.cause;
  }
  return lines.join("\n");
}
