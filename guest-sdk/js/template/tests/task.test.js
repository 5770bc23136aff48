import assert from "node:assert/strict";
import test from "node:test";

import { run } from "@tigerflow/task/testing";

import task from "../task.js";

test("greets", async () => {
  assert.equal(await run(task, "world\n"), "Hello, WORLD\n");
  assert.equal(await run(task, "world\n", { greeting: "Hi" }), "Hi, WORLD\n");
});
