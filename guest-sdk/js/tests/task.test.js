import assert from "node:assert/strict";
import test from "node:test";

import { Aborted, defineTask, InvalidData, Transient } from "../index.js";
import { toFailure, toRunError } from "../src/errors.js";
import { grants } from "../src/task.js";
import { run } from "../testing.js";

const places = () => ["at f (task.js:1:2)"];

test("an error keeps its type's name, its causes and its places", () => {
  class TooBad extends Error {}
  const failure = toFailure(new TooBad("outer", { cause: new TypeError("inner", { cause: "deepest" }) }), places);
  assert.deepEqual([failure.kind, failure.message], ["TooBad", "outer"]);
  assert.equal(
    failure.trace,
    "at f (task.js:1:2)\ncaused by: TypeError: inner\nat f (task.js:1:2)\ncaused by: string: deepest",
  );
});

test("kinds: a name of its own, the class, a code, a type", () => {
  const kind = (thrown) => toFailure(thrown, places).kind;
  assert.equal(kind(Object.assign(new Error("x"), { name: "Own" })), "Own");
  assert.equal(kind(new RangeError("x")), "RangeError");
  assert.equal(kind(Object.assign(new Error("x"), { code: "ENOENT" })), "ENOENT");
  assert.equal(kind(new InvalidData("x")), "InvalidData");
  assert.equal(kind(new (class Busy extends Transient {})("x")), "Busy");
  assert.deepEqual(["a", undefined, null, {}].map(kind), ["string", "undefined", "null", "object"]);
  assert.equal(toFailure({ code: 3 }, places).message, '{"code":3}');
});

test("a ring of causes ends", () => {
  const error = new Error("ring");
  error.cause = error;
  assert.ok(toFailure(error, places).trace.split("\n").length < 30);
});

test("failed, transient, aborted", () => {
  assert.equal(toRunError(new Error("x"), places).tag, "failed");
  assert.deepEqual(toRunError(new Aborted("no"), places), { tag: "aborted", val: "no" });
  const wait = (options) => toRunError(new Transient("x", options), places).val.retryAfter;
  assert.deepEqual([wait(), wait({ retryAfterMs: 50 }), wait({ retryAfterMs: -1 })], [undefined, 50n, 0n]);
  assert.equal(toRunError(Object.assign(new Error("x"), { transient: true }), places).tag, "transient");
});

test("what cannot be a task is told", () => {
  const refused = (task, message) => assert.throws(() => defineTask(task), { name: "TypeError", message });
  refused(undefined, /a task is an object/);
  refused({}, /needs a function `run\(/);
  refused({ run() {}, param: {} }, /a task has no `param`; there are name,/);
  refused({ run() {}, setup: 1 }, /`setup` must be a function/);
  refused({ run() {}, name: "My Task" }, /of a-z, 0-9 and -, not `My Task`/);
  refused({ run() {}, maxConcurrency: 0 }, /`maxConcurrency` must be a whole number from 1/);
  refused({ run() {}, needs: [{ directory: "/db", host: "a" }] }, /a grant is \{ directory/);
});

test("grants", () => {
  const told = grants({
    needs: [{ directory: "/db", write: true, reason: "keeps it" }],
    canUse: [{ environment: "KEY", reason: "signs" }, { host: "example.org", reason: "asks" }],
  });
  assert.deepEqual(told, [
    { capability: { tag: "directory", val: { guestPath: "/db", writable: true } }, reason: "keeps it", required: true },
    { capability: { tag: "environment", val: "KEY" }, reason: "signs", required: false },
    { capability: { tag: "host", val: "example.org" }, reason: "asks", required: false },
  ]);
});

test("a task runs in a test", async () => {
  const calls = [];
  const task = defineTask({
    params: { top: { type: "integer", default: 2 } },
    async setup({ top }) {
      calls.push("setup");
      return { top };
    },
    run(input, output, { top }) {
      calls.push(input.name);
      output.write([...input.lines()].slice(0, top).map((line) => `${line}\n`));
    },
    teardown: () => void calls.push("teardown"),
  });
  assert.equal(await run(task, "a\nb\nc", {}, { name: "x.txt" }), "a\nb\n");
  assert.deepEqual(calls, ["setup", "x.txt", "teardown"]);
  assert.equal(await run(task, "a\nb\nc", { top: 1 }), "a\n");
  await assert.rejects(run(task, "", { bottom: 1 }), /no parameter `bottom`/);
  await assert.rejects(run(task, "", { top: "x" }), { name: "InvalidParameter" });
});
