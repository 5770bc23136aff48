import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";

import { Input, Output } from "../index.js";
import { closeWriters } from "../src/files.js";

const directory = mkdtempSync(join(tmpdir(), "tigerflow-"));
after(() => rmSync(directory, { recursive: true }));
const file = (name, contents) => {
  const path = join(directory, name);
  if (contents !== undefined) writeFileSync(path, contents);
  return path;
};

test("names and stems", () => {
  const input = new Input("/input/7501.final.txt");
  assert.deepEqual([input.name, input.stem, `${input}`], ["7501.final.txt", "7501.final", "/input/7501.final.txt"]);
  assert.equal(new Output("/output/.hidden").stem, ".hidden");
});

test("whole files", () => {
  const path = file("a.txt");
  new Output(path).write("a longer text");
  new Output(path).write("\ufeffhéllo");
  const input = new Input(path);
  assert.equal(input.text(), "\ufeffhéllo");
  assert.equal(input.bytes().length, 9);
  new Output(path).write(new Uint8Array([123, 125]).buffer);
  assert.deepEqual(input.json(), {});
});

test("errors name the file and what is wrong", () => {
  const input = new Input(file("b.txt", Buffer.from("ab\xffcd", "latin1")));
  assert.throws(() => input.text(), { name: "InvalidData", message: `\`${input.path}\` is not UTF-8: byte 2 is wrong` });
  assert.throws(() => [...input.lines()], /is not UTF-8/);
  assert.throws(() => new Input(file("c.json", "{")).json(), /is not JSON: /);
  assert.throws(() => new Input(file("none")).bytes(), { code: "ENOENT" });
  const output = new Output(file("d"));
  assert.throws(() => output.write({ a: 1 }), /an output is text, bytes or an iterable of them, not an object: JSON.stringify it/);
  assert.throws(() => output.write(Promise.resolve("")), /not a promise: await it/);
  assert.throws(() => output.write([1]), /a writer takes text or a Uint8Array, not number/);
});

test("streams", () => {
  const path = file("e.txt");
  const lines = Array.from({ length: 20_000 }, (_, i) => `line ${i} ☂`);
  const writer = new Output(path).create();
  for (const line of lines) writer.write(`${line}\r\n`);
  writer.close();
  writer.close();
  assert.throws(() => writer.write("x"), /the writer is closed/);
  const input = new Input(path);
  assert.deepEqual([...input.lines()], lines);
  const whole = Buffer.from(input.bytes());
  assert.deepEqual(Buffer.concat([...input.chunks()]), whole);
  const [first] = input.chunks(new Uint8Array(10));
  assert.equal(first.length, 10);
  new Output(file("f.txt")).write(input.chunks(new Uint8Array(7)));
  assert.deepEqual(Buffer.from(new Input(file("f.txt")).bytes()), whole);
});

test("what a task leaves open is written all the same", () => {
  const path = file("g.txt");
  new Output(path).create().write("end");
  closeWriters();
  assert.equal(new Input(path).text(), "end");
});

test("a write that fails late is no success", { skip: process.platform !== "linux" }, () => {
  new Output("/dev/full").create().write("x");
  assert.throws(() => closeWriters(), { code: "ENOSPC" });
  new Output("/dev/full").create().write("x");
  closeWriters({ quietly: true });
});
