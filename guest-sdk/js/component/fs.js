/**
 * What of `node:fs` makes sense in a component, by WASI's own functions. It
 * takes the place of `node:fs` and `node:fs/promises` in the build.
 *
 * Every descriptor is given back as soon as it is closed: the engine's garbage
 * collector comes too late for that.
 */

import { getDirectories } from "wasi:filesystem/preopens@0.2.12";

/** What the first read of a file asks for: most texts are smaller. */
const FIRST_READ_BYTES = 64 << 10;

/** What further reads and writes move: enough that the calls cost nothing. */
const BLOCK_BYTES = 1 << 20;

const dispose = Symbol.dispose ?? Symbol.for("dispose");
const encoder = new TextEncoder();

/** Code, number and words of Linux for the host's codes. */
const ERRORS = {
  access: ["EACCES", 13, "permission denied"],
  "bad-descriptor": ["EBADF", 9, "bad file descriptor"],
  busy: ["EBUSY", 16, "resource busy or locked"],
  exist: ["EEXIST", 17, "file already exists"],
  "file-too-large": ["EFBIG", 27, "file too large"],
  "insufficient-space": ["ENOSPC", 28, "no space left on device"],
  interrupted: ["EINTR", 4, "interrupted system call"],
  invalid: ["EINVAL", 22, "invalid argument"],
  io: ["EIO", 5, "i/o error"],
  "is-directory": ["EISDIR", 21, "illegal operation on a directory"],
  loop: ["ELOOP", 40, "too many symbolic links encountered"],
  "name-too-long": ["ENAMETOOLONG", 36, "name too long"],
  "no-entry": ["ENOENT", 2, "no such file or directory"],
  "not-directory": ["ENOTDIR", 20, "not a directory"],
  "not-empty": ["ENOTEMPTY", 39, "directory not empty"],
  "not-permitted": ["EPERM", 1, "operation not permitted"],
  pipe: ["EPIPE", 32, "broken pipe"],
  quota: ["EDQUOT", 122, "disk quota exceeded"],
  "read-only": ["EROFS", 30, "read-only file system"],
  "too-many-links": ["EMLINK", 31, "too many links"],
  unsupported: ["ENOTSUP", 95, "operation not supported"],
  "cross-device": ["EXDEV", 18, "cross-device link not permitted"],
};

/** An error as Node words it: `ENOENT: no such file or directory, open '/input/a.txt'`. */
function systemError(code, syscall, path, dest) {
  const [name, number, words] = ERRORS[code] ?? [`E${code.replaceAll("-", "").toUpperCase()}`, 0, code];
  const where = path === undefined ? "" : ` '${path}'${dest === undefined ? "" : ` -> '${dest}'`}`;
  const error = new Error(`${name}: ${words}, ${syscall}${where}`);
  Object.assign(error, { errno: -number, code: name, syscall }, path !== undefined && { path }, dest !== undefined && { dest });
  return error;
}

/** Calls the host, and words its error. */
function ask(call, syscall, path, dest) {
  try {
    return call();
  } catch (error) {
    if (typeof error?.payload !== "string") throw error;
    throw systemError(error.payload, syscall, path, dest);
  }
}

/** The granted directories: they stay the same for an instance's life. */
let granted;

/** The innermost granted directory that holds a path, and the way from there. */
function locate(path, syscall) {
  const text = normalize(path);
  granted ??= getDirectories().map(([directory, prefix]) => [directory, prefix.replace(/\/+$/, "")]);
  let found;
  for (const [directory, prefix] of granted) {
    if ((text === prefix || text.startsWith(`${prefix}/`)) && !(found && found[1].length > prefix.length)) {
      found = [directory, prefix];
    }
  }
  if (!found) {
    const error = systemError("access", syscall, text);
    error.message += ": it is in no granted directory; grant one with `--dir HOST_DIR::GUEST_DIR`";
    throw error;
  }
  return [found[0], text.slice(found[1].length + 1) || "."];
}

/** An absolute path without `.`, `..` and doubled slashes. */
function normalize(path) {
  const text = path instanceof URL ? decodeURIComponent(path.pathname) : path instanceof Uint8Array ? decode(path) : path;
  if (typeof text !== "string") throw new TypeError(`a path is a text, not ${typeof path}`);
  const parts = [];
  for (const part of text.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

function decode(bytes, encoding = "utf8") {
  switch (encoding.toLowerCase()) {
    case "utf8":
    case "utf-8":
      return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    case "latin1":
    case "binary":
    case "ascii": {
      let text = "";
      for (let start = 0; start < bytes.length; start += 8192) {
        text += String.fromCharCode(...bytes.subarray(start, start + 8192));
      }
      return text;
    }
    default:
      throw new TypeError(`the encoding \`${encoding}\` is not there; there are utf8 and latin1`);
  }
}

function toBytes(data) {
  if (typeof data === "string") return encoder.encode(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw new TypeError(`what is written is text or bytes, not ${data === null ? "null" : typeof data}`);
}

const encodingOf = (options) => (typeof options === "string" ? options : options?.encoding);

/** How Node's flags open a file. */
const FLAGS = {
  r: [{}, { read: true }],
  "r+": [{}, { read: true, write: true }],
  w: [{ create: true, truncate: true }, { write: true }],
  wx: [{ create: true, exclusive: true }, { write: true }],
  "w+": [{ create: true, truncate: true }, { read: true, write: true }],
  "wx+": [{ create: true, exclusive: true }, { read: true, write: true }],
  a: [{ create: true }, { write: true }],
  ax: [{ create: true, exclusive: true }, { write: true }],
  "a+": [{ create: true }, { read: true, write: true }],
};

const FOLLOW = { symlinkFollow: true };

function openDescriptor(path, flags, syscall = "open") {
  const how = FLAGS[flags];
  if (!how) throw new TypeError(`the flags \`${flags}\` are not there; there are ${Object.keys(FLAGS).join(", ")}`);
  const [directory, below] = locate(path, syscall);
  return ask(() => directory.openAt(FOLLOW, below, ...how), syscall, path);
}

function using(descriptor, work) {
  try {
    return work(descriptor);
  } finally {
    descriptor[dispose]();
  }
}

function writeAll(descriptor, bytes, from, syscall, path) {
  let at = BigInt(from);
  for (let sent = 0; sent < bytes.length; ) {
    const written = Number(ask(() => descriptor.write(bytes.subarray(sent, sent + BLOCK_BYTES), at), syscall, path));
    sent += written;
    at += BigInt(written);
  }
}

const sizeOf = (descriptor, path) => ask(() => descriptor.stat(), "fstat", path).size;

// Whole files.

export function readFileSync(path, options) {
  const bytes =
    typeof path === "number"
      ? readRest(opened(path, "read"))
      : using(openDescriptor(path, options?.flag ?? "r"), (descriptor) => readAll(descriptor, 0, path));
  const encoding = encodingOf(options);
  return encoding && encoding !== "buffer" ? decode(bytes, encoding) : bytes;
}

/** Reads once, into `target`. Returns how much, and whether the file ends there. */
function readInto(descriptor, at, target, path, syscall = "read") {
  globalThis.$tigerflowTarget = target; // The bindings put the bytes there.
  try {
    const [bytes, end] = ask(() => descriptor.read(BigInt(target.length), BigInt(at)), syscall, path);
    return [bytes.length, end];
  } finally {
    globalThis.$tigerflowTarget = undefined;
  }
}

/** Where files begin, until it is known how large they are. */
let first;

function readAll(descriptor, from, path) {
  first ??= new Uint8Array(FIRST_READ_BYTES);
  let [all, length] = [first, 0];
  while (true) {
    const wanted = all.subarray(length, length + BLOCK_BYTES);
    const [count, end] = readInto(descriptor, from + length, wanted, path);
    length += count;
    if (end || count === 0) return all === first || length < all.length ? all.slice(0, length) : all;
    if (length < all.length) continue; // A short read: only the host can say where the end is.
    // The size spares growing step by step. It is a hint, since a file can grow.
    const size = Number(sizeOf(descriptor, path)) - from;
    const larger = new Uint8Array(size > length ? size + 1 : 2 * length);
    larger.set(all);
    all = larger;
  }
}

export function writeFileSync(path, data, options) {
  const bytes = toBytes(data);
  if (typeof path === "number") {
    writeSync(path, bytes);
    return;
  }
  const flag = (typeof options === "object" && options?.flag) || "w";
  using(openDescriptor(path, flag), (descriptor) => {
    const from = flag.startsWith("a") ? sizeOf(descriptor, path) : 0;
    writeAll(descriptor, bytes, from, "write", path);
  });
}

export function appendFileSync(path, data, options) {
  writeFileSync(path, data, { ...(typeof options === "object" ? options : {}), flag: "a" });
}

export function copyFileSync(from, to) {
  using(openDescriptor(from, "r", "copyfile"), (source) => {
    using(openDescriptor(to, "w", "copyfile"), (target) => {
      const buffer = new Uint8Array(BLOCK_BYTES);
      for (let at = 0; ; ) {
        const [count, end] = readInto(source, at, buffer, from, "copyfile");
        writeAll(target, buffer.subarray(0, count), at, "copyfile", to);
        at += count;
        if (end || count === 0) return;
      }
    });
  });
}

// Open files.

/** The open files by number. 0 to 2 are the standard streams. */
const files = new Map();
let next = 3;

function opened(number, syscall) {
  const file = files.get(number);
  if (!file) throw systemError("bad-descriptor", syscall);
  return file;
}

export function openSync(path, flags = "r") {
  const descriptor = openDescriptor(path, flags);
  files.set(next, { descriptor, path, append: flags.startsWith("a"), at: 0 });
  return next++;
}

export function closeSync(number) {
  const file = opened(number, "close");
  files.delete(number);
  file.descriptor[dispose]();
}

export function readSync(number, buffer, ...rest) {
  const { offset = 0, length = buffer.byteLength - offset, position = null } =
    typeof rest[0] === "object" && rest[0] !== null
      ? rest[0]
      : { offset: rest[0] ?? 0, length: rest[1] ?? undefined, position: rest[2] ?? null };
  const file = opened(number, "read");
  if (length === 0) return 0;
  const fixed = position !== null && position !== -1;
  const target = toBytes(buffer).subarray(offset, offset + Math.min(length, BLOCK_BYTES));
  const [count] = readInto(file.descriptor, fixed ? Number(position) : file.at, target, file.path);
  if (!fixed) file.at += count;
  return count;
}

function readRest(file) {
  const bytes = readAll(file.descriptor, file.at, file.path);
  file.at += bytes.length;
  return bytes;
}

export function writeSync(number, data, ...rest) {
  const file = opened(number, "write");
  const text = typeof data === "string";
  const [offset, length, position] = text ? [0, undefined, rest[0]] : rest;
  const all = toBytes(data);
  const bytes = all.subarray(offset ?? 0, length === undefined || length === null ? undefined : (offset ?? 0) + length);
  const fixed = typeof position === "number" || typeof position === "bigint";
  const at = file.append ? Number(sizeOf(file.descriptor, file.path)) : fixed ? Number(position) : file.at;
  writeAll(file.descriptor, bytes, at, "write", file.path);
  if (!fixed) file.at = at + bytes.length;
  return bytes.length;
}

export function fstatSync(number) {
  const file = opened(number, "fstat");
  return stats(ask(() => file.descriptor.stat(), "fstat", file.path));
}

export function ftruncateSync(number, length = 0) {
  const file = opened(number, "ftruncate");
  ask(() => file.descriptor.setSize(BigInt(length)), "ftruncate", file.path);
}

export function fsyncSync(number) {
  const file = opened(number, "fsync");
  ask(() => file.descriptor.sync(), "fsync", file.path);
}

// Names.

function stats({ type, size, linkCount, dataAccessTimestamp, dataModificationTimestamp, statusChangeTimestamp }) {
  const time = (stamp) => (stamp ? Number(stamp.seconds) * 1000 + stamp.nanoseconds / 1e6 : 0);
  const [atimeMs, mtimeMs, ctimeMs] = [dataAccessTimestamp, dataModificationTimestamp, statusChangeTimestamp].map(time);
  return {
    size: Number(size),
    nlink: Number(linkCount),
    atimeMs,
    mtimeMs,
    ctimeMs,
    atime: new Date(atimeMs),
    mtime: new Date(mtimeMs),
    ctime: new Date(ctimeMs),
    ...kinds(type),
  };
}

const kinds = (type) => ({
  isFile: () => type === "regular-file",
  isDirectory: () => type === "directory",
  isSymbolicLink: () => type === "symbolic-link",
});

function look(path, flags, syscall) {
  const [directory, below] = locate(path, syscall);
  return stats(ask(() => directory.statAt(flags, below), syscall, path));
}

function lookUnlessMissing(path, flags, syscall, options) {
  try {
    return look(path, flags, syscall);
  } catch (error) {
    if (options?.throwIfNoEntry === false && error.code === "ENOENT") return undefined;
    throw error;
  }
}

export const statSync = (path, options) => lookUnlessMissing(path, FOLLOW, "stat", options);
export const lstatSync = (path, options) => lookUnlessMissing(path, {}, "lstat", options);

export function existsSync(path) {
  try {
    look(path, FOLLOW, "access");
    return true;
  } catch {
    return false;
  }
}

export function accessSync(path) {
  look(path, FOLLOW, "access");
}

export function readdirSync(path, options) {
  const [parent, below] = locate(path, "scandir");
  const open = () => parent.openAt(FOLLOW, below, { directory: true }, { read: true });
  const entries = using(ask(open, "scandir", path), (directory) =>
    using(ask(() => directory.readDirectory(), "scandir", path), (stream) => {
      const all = [];
      for (let entry; (entry = ask(() => stream.readDirectoryEntry(), "scandir", path)); ) all.push(entry);
      return all;
    }),
  );
  // In an order that does not change from one machine to another.
  entries.sort((one, other) => (one.name < other.name ? -1 : 1));
  if (!options?.withFileTypes) return entries.map(({ name }) => name);
  return entries.map(({ name, type }) => ({ name, parentPath: String(path), ...kinds(type) }));
}

export function mkdirSync(path, options) {
  const make = (at) => {
    const [directory, below] = locate(at, "mkdir");
    ask(() => directory.createDirectoryAt(below), "mkdir", at);
  };
  if (!(typeof options === "object" && options?.recursive)) return make(path);
  const text = normalize(path);
  if (existsSync(text)) {
    if (!statSync(text).isDirectory()) throw systemError("exist", "mkdir", text);
    return undefined;
  }
  const parent = text.slice(0, text.lastIndexOf("/"));
  const first = parent ? mkdirSync(parent, options) : undefined;
  make(text);
  return first ?? text;
}

export function unlinkSync(path) {
  const [directory, below] = locate(path, "unlink");
  ask(() => directory.unlinkFileAt(below), "unlink", path);
}

export function rmdirSync(path) {
  const [directory, below] = locate(path, "rmdir");
  ask(() => directory.removeDirectoryAt(below), "rmdir", path);
}

export function rmSync(path, { force = false, recursive = false } = {}) {
  const found = lstatSync(path, { throwIfNoEntry: !force });
  if (!found) return;
  if (!found.isDirectory()) return unlinkSync(path);
  if (!recursive) throw systemError("is-directory", "rm", path);
  for (const name of readdirSync(path)) rmSync(`${normalize(path)}/${name}`, { force, recursive });
  rmdirSync(path);
}

export function renameSync(from, to) {
  const [source, below] = locate(from, "rename");
  const [target, name] = locate(to, "rename");
  ask(() => source.renameAt(below, target, name), "rename", from, to);
}

export function truncateSync(path, length = 0) {
  using(openDescriptor(path, "r+"), (descriptor) => ask(() => descriptor.setSize(BigInt(length)), "ftruncate", path));
}

/** The same functions as `node:fs/promises` has them. A file takes microseconds, so nothing waits. */
export const promises = {
  access: async (path) => accessSync(path),
  appendFile: async (path, data, options) => appendFileSync(path, data, options),
  copyFile: async (from, to) => copyFileSync(from, to),
  lstat: async (path, options) => lstatSync(path, options),
  mkdir: async (path, options) => mkdirSync(path, options),
  readFile: async (path, options) => readFileSync(path, options),
  readdir: async (path, options) => readdirSync(path, options),
  rename: async (from, to) => renameSync(from, to),
  rm: async (path, options) => rmSync(path, options),
  rmdir: async (path) => rmdirSync(path),
  stat: async (path, options) => statSync(path, options),
  truncate: async (path, length) => truncateSync(path, length),
  unlink: async (path) => unlinkSync(path),
  writeFile: async (path, data, options) => writeFileSync(path, data, options),
};

export default {
  accessSync, appendFileSync, closeSync, copyFileSync, existsSync, fstatSync, fsyncSync, ftruncateSync, lstatSync,
  mkdirSync, openSync, promises, readFileSync, readSync, readdirSync, renameSync, rmSync, rmdirSync, statSync,
  truncateSync, unlinkSync, writeFileSync, writeSync,
};
