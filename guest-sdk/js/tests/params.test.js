import assert from "node:assert/strict";
import test from "node:test";

import { checkParams, describeParams, readParams } from "../src/params.js";

const all = {
  title: { type: "text", default: "untitled", help: "A text" },
  minLength: { type: "integer", default: 3 },
  wide: { type: "bigint", default: 3n },
  ratio: { type: "number", default: 0.5 },
  loud: { type: "boolean" },
  mode: { choices: ["fast", "careful"], default: "fast" },
  note: { optional: true },
  tag: {},
};

test("parameters describe themselves", () => {
  checkParams(all);
  assert.deepEqual(
    describeParams(all).map(({ name, kind, default: value, required }) => [name, kind.tag, value?.val, required]),
    [
      ["title", "text", "untitled", false],
      ["min-length", "integer", 3n, false],
      ["wide", "integer", 3n, false],
      ["ratio", "number", 0.5, false],
      ["loud", "boolean", false, false],
      ["mode", "choice", "fast", false],
      ["note", "text", undefined, false],
      ["tag", "text", undefined, true],
    ],
  );
});

test("values come as the language has them", () => {
  const given = (values) => Object.entries(values).map(([name, val]) => ({ name, value: { val } }));
  assert.deepEqual(readParams(all, given({ tag: "x" })), {
    title: "untitled", minLength: 3, wide: 3n, ratio: 0.5, loud: false, mode: "fast", note: undefined, tag: "x",
  });
  const values = readParams(all, given({ tag: "", "min-length": -7n, wide: -(2n ** 63n), loud: true, mode: "careful", note: "" }));
  assert.deepEqual([values.minLength, values.wide, values.mode, values.note], [-7, -(2n ** 63n), "careful", ""]);
});

test("what does not fit is told", () => {
  const given = (name, val) => [{ name: "tag", value: { val: "x" } }, { name, value: { val } }];
  assert.throws(() => readParams(all, []), { name: "InvalidParameter", message: "the parameter `tag` is missing; give `--tag`" });
  assert.throws(() => readParams(all, given("min-length", 2n ** 53n)), /must be from -9007199254740991 to 9007199254740991, not 9007199254740992/);
  assert.throws(() => readParams(all, given("mode", "slow")), /`mode` must be one of fast, careful, not `slow`/);
});

test("what cannot be a parameter is told", () => {
  const refused = (param, message, name = "top") => assert.throws(() => checkParams({ [name]: param }), { message });
  refused("text", /must be an object/);
  refused({ standard: 3 }, /has no `standard`; there are type, help,/);
  refused({ type: "int" }, /has the type `int`; there are text, integer,/);
  refused({ type: "integer", default: 1.5 }, /cannot have the default `1.5`: it is not a whole number/);
  refused({ type: "choice" }, /needs texts to choose from/);
  refused({ choices: [] }, /needs texts to choose from/);
  refused({ choices: ["a"], default: "b" }, /it is not one of a/);
  refused({ type: "text", choices: ["a"] }, /so its type is "choice"/);
  refused({}, /cannot be an option `--é`/, "é");
  assert.throws(() => checkParams({ minLength: {}, min_length: {} }), /is `--min-length`, and so is `minLength`/);
});
