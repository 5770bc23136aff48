/** What tests of a task need: it runs in Node, without a component. */

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { closeWriters, Input, Output } from "./src/files.js";
import { describeParams, readParams } from "./src/params.js";
import { check } from "./src/task.js";

export async function run(task, contents, params = {}, { name = "input.txt" } = {}) {
  check(task);
  const specs = task.params ?? {};
  const unknown = Object.keys(params).find((key) => !Object.hasOwn(specs, key));
  if (unknown) throw new TypeError(`the task has no parameter \`${unknown}\``);
  const options = describeParams(specs);
  const given = Object.keys(specs).flatMap((key, i) =>
    params[key] === undefined ? [] : [{ name: options[i].name, value: { val: params[key] } }],
  );
  const values = readParams(specs, given);
  const directory = mkdtempSync(join(tmpdir(), "tigerflow-"));
  try {
    const input = new Input(join(directory, name));
    const output = new Output(join(directory, "output"));
    writeFileSync(input.path, contents);
    const context = task.setup ? await task.setup(values) : values;
    await task.run(input, output, context);
    closeWriters();
    await task.teardown?.(context);
    return existsSync(output.path) ? readFileSync(output.path, "utf8") : "";
  } finally {
    closeWriters({ quietly: true });
    rmSync(directory, { recursive: true });
  }
}
