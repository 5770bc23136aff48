/** The file that a task reads, and the one that it writes. */

// In a component the build puts `component/fs.js` in its place.
import { closeSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from "node:fs";

import * as host from "#host";
import { InvalidData } from "./errors.js";

/** What is read or written at once: the calls cost nothing, and what is held stays small. */
const BLOCK_BYTES = 64 << 10;

// Both keep a byte order mark, as `node:fs` does.
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

class TaskFile {
  constructor(path) {
    this.path = String(path);
  }

  /** The file's name: `7501.final.json`. */
  get name() {
    return this.path.slice(this.path.lastIndexOf("/") + 1);
  }

  /** The file's name up to its last dot: `7501.final`. */
  get stem() {
    const dot = this.name.lastIndexOf(".");
    return dot > 0 ? this.name.slice(0, dot) : this.name;
  }

  toString() {
    return this.path;
  }
}

/** The file to read. */
export class Input extends TaskFile {
  /** The whole file. */
  bytes() {
    return readFileSync(this.path);
  }

  /** The whole file as text. Bytes that are not UTF-8 are an error. */
  text() {
    const bytes = this.bytes();
    try {
      return strict.decode(bytes);
    } catch {
      throw new InvalidData(`\`${this.path}\` is not UTF-8: byte ${firstBad(bytes)} is wrong`);
    }
  }

  /** The whole file as JSON. */
  json() {
    const text = this.text();
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new InvalidData(`\`${this.path}\` is not JSON: ${cause.message}`, { cause });
    }
  }

  /**
   * The file in pieces, for one too large to hold in memory. Each piece is an
   * array of its own; with a buffer, all are parts of that, and hold until the
   * next one comes.
   */
  *chunks(buffer) {
    const file = openSync(this.path, "r");
    try {
      while (true) {
        const chunk = buffer ?? new Uint8Array(BLOCK_BYTES);
        const length = readSync(file, chunk, 0, chunk.length, null);
        if (length === 0) return;
        yield chunk.subarray(0, length);
      }
    } finally {
      closeSync(file);
    }
  }

  /** The lines of the file, without their ends. */
  *lines() {
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    let rest = "";
    const decode = (chunk, options) => {
      try {
        return decoder.decode(chunk, options);
      } catch {
        throw new InvalidData(`\`${this.path}\` is not UTF-8`);
      }
    };
    for (const chunk of this.chunks(new Uint8Array(BLOCK_BYTES))) {
      const lines = (rest + decode(chunk, { stream: true })).split("\n");
      rest = lines.pop();
      for (const line of lines) yield line.endsWith("\r") ? line.slice(0, -1) : line;
    }
    rest += decode();
    if (rest !== "") yield rest;
  }

  /** Tells the host how far the work on this file is, from 0 to 1. */
  progress(fraction) {
    host.progress(this.path, fraction);
  }
}

/** The file to write. */
export class Output extends TaskFile {
  /** Writes the whole file: text, bytes, or an iterable of either. */
  write(contents) {
    if (typeof contents === "string" || ArrayBuffer.isView(contents)) {
      writeFileSync(this.path, contents);
      return;
    }
    if (contents instanceof ArrayBuffer) {
      writeFileSync(this.path, new Uint8Array(contents));
      return;
    }
    if (typeof contents?.[Symbol.iterator] !== "function") {
      throw new TypeError(`an output is text, bytes or an iterable of them, not ${describe(contents)}`);
    }
    const writer = this.create();
    try {
      for (const piece of contents) writer.write(piece);
    } finally {
      writer.close();
    }
  }

  /** A buffered writer, for a file too large to hold in memory. */
  create() {
    return new Writer(this.path);
  }
}

function describe(value) {
  if (value === null) return "null";
  if (value instanceof Promise) return "a promise: await it";
  return typeof value === "object" ? `an object: JSON.stringify it` : typeof value;
}

/** What `run` left open. It is closed, so written, when the run ends. */
const open = new Set();

/** A buffered writer of a file: `output.create()`. */
export class Writer {
  #file;
  #buffer = new Uint8Array(BLOCK_BYTES);
  #length = 0;

  constructor(path) {
    this.#file = openSync(path, "w");
    open.add(this);
  }

  /** Writes text or bytes. */
  write(piece) {
    if (this.#file === undefined) throw new TypeError("the writer is closed");
    const bytes = typeof piece === "string" ? encoder.encode(piece) : piece;
    if (!(bytes instanceof Uint8Array)) {
      throw new TypeError(`a writer takes text or a Uint8Array, not ${describe(piece)}`);
    }
    if (this.#length + bytes.length > BLOCK_BYTES) this.flush();
    if (bytes.length >= BLOCK_BYTES) {
      this.#send(bytes);
    } else {
      this.#buffer.set(bytes, this.#length);
      this.#length += bytes.length;
    }
  }

  /** Hands over what is held still. */
  flush() {
    const length = this.#length;
    this.#length = 0;
    this.#send(this.#buffer.subarray(0, length));
  }

  /** Writes what is held still, and closes the file. */
  close() {
    if (this.#file === undefined) return;
    open.delete(this);
    try {
      this.flush();
    } finally {
      closeSync(this.#file);
      this.#file = undefined;
    }
  }

  [Symbol.dispose ?? Symbol.for("dispose")]() {
    this.close();
  }

  #send(bytes) {
    for (let sent = 0; sent < bytes.length; ) {
      sent += writeSync(this.#file, bytes, sent, Math.min(bytes.length - sent, BLOCK_BYTES));
    }
  }
}

/** Closes what a task left open; where that fails, the output is not whole. */
export function closeWriters({ quietly = false } = {}) {
  let failure;
  for (const writer of [...open]) {
    try {
      writer.close();
    } catch (error) {
      failure ??= error;
    }
  }
  if (failure && !quietly) throw failure;
}

/** Where bytes stop to be UTF-8. */
function firstBad(bytes) {
  let [good, bad] = [0, bytes.length];
  const decodes = (end) => {
    try {
      // As a stream, a character cut at the end is no error.
      new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, end), { stream: true });
      return true;
    } catch {
      return false;
    }
  };
  while (good < bad) {
    const middle = (good + bad + 1) >> 1;
    if (decodes(middle)) good = middle;
    else bad = middle - 1;
  }
  // Cut within a character: the bad byte is where the character begins.
  return good;
}
