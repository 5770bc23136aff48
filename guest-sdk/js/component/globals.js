/** What programs of Node expect to be there, beside what the engine has. */

import { getEnvironment } from "wasi:cli/environment@0.2.12";
import { exitWithCode } from "wasi:cli/exit@0.2.12";
import { getStderr } from "wasi:cli/stderr@0.2.12";
import { getStdout } from "wasi:cli/stdout@0.2.12";

import { fetch } from "./fetch.js";

globalThis.fetch = fetch;

// To stdout, as in Node; the engine takes stderr.
console.debug = console.log;

// The engine leaves `console.log("%s files", 3)` as it is.
for (const name of ["debug", "error", "info", "log", "warn"]) {
  const write = console[name].bind(console);
  console[name] = (...parts) => write(...(parts.length > 1 ? format(parts) : parts));
}

function format([text, ...parts]) {
  if (typeof text !== "string") return [text, ...parts];
  const whole = text.replace(/%[sdifjoO%]/g, (sign) => {
    if (sign === "%%") return "%";
    if (parts.length === 0) return sign;
    const part = parts.shift();
    if (sign === "%d" || sign === "%i" || sign === "%f") return String(sign === "%i" ? Math.trunc(part) : Number(part));
    return typeof part === "object" && part !== null ? JSON.stringify(part) : String(part);
  });
  return [whole, ...parts];
}

// `for await (const bytes of response.body)`
ReadableStream.prototype[Symbol.asyncIterator] ??= async function* () {
  const reader = this.getReader();
  let ended = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      ended = done;
      if (done) return;
      yield value;
    }
  } finally {
    if (!ended) await reader.cancel();
    reader.releaseLock();
  }
};

/** What one call of the host takes at most. */
const BLOCK_BYTES = 4096;

function stream(open) {
  let target;
  const encoder = new TextEncoder();
  return {
    isTTY: false,
    write(data) {
      target ??= open();
      const bytes = typeof data === "string" ? encoder.encode(data) : data;
      for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
        target.blockingWriteAndFlush(bytes.subarray(at, at + BLOCK_BYTES));
      }
      return true;
    },
  };
}

/** Asked for when they are used: a component is made without any. */
let variables;
const env = () => (variables ??= Object.fromEntries(getEnvironment()));

globalThis.process = {
  argv: ["tigerflow-host", "task"],
  cwd: () => "/",
  get env() {
    return env();
  },
  exit(code) {
    exitWithCode(code ?? process.exitCode ?? 0);
  },
  exitCode: undefined,
  nextTick: (call, ...args) => queueMicrotask(() => call(...args)),
  platform: "wasi",
  stderr: stream(getStderr),
  stdout: stream(getStdout),
  // No `node` in it: libraries look there to tell whether this is Node.
  versions: {},
};
