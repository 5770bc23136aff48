import assert from "node:assert/strict";
import { mkdtempSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";
import { fileURLToPath } from "node:url";

import { bundle } from "../build/bundle.mjs";
import { readProject } from "../build/project.mjs";
import { expandProperties } from "../build/regexp.mjs";

const directory = mkdtempSync(join(tmpdir(), "tigerflow-"));
after(() => rmSync(directory, { recursive: true }));
mkdirSync(join(directory, "node_modules/@tigerflow"), { recursive: true });
symlinkSync(fileURLToPath(new URL("..", import.meta.url)), join(directory, "node_modules/@tigerflow/task"));

function project(files) {
  for (const [name, contents] of Object.entries(files)) {
    writeFileSync(join(directory, name), typeof contents === "string" ? contents : JSON.stringify(contents));
  }
  return readProject(directory);
}

test("a project is a package and a task", async () => {
  await assert.rejects(project({}), /cannot read .*package.json: ENOENT.*make a project with `tigerflow-host new --lang js NAME`/);
  await assert.rejects(project({ "package.json": {} }), /there is no task in .*: write task.js/);
  await assert.rejects(project({ "package.json": { main: "no.js" } }), /`main` of package.json names no.js, which is not there/);
  const files = { "task.js": "", "package.json": { name: "@scope/myTask", version: "1.2.3", description: "Does" } };
  const { entry, name, version, summary } = await project(files);
  assert.deepEqual([entry, name, version, summary], ["./task.js", "my-task", "1.2.3", "Does"]);
  await assert.rejects(project({ "package.json": { name: "größe" } }), /must be of a-z, 0-9 and -, not größe/);
  await assert.rejects(project({ "package.json": { version: "1" } }), /must be like 1.2.3, not 1/);
});

test("the bundle has TypeScript, the SDK, and places of the task's own", async () => {
  const source = `
    import { readFileSync } from "fs";
    import { defineTask } from "@tigerflow/task";
    export default defineTask({ run(input, output) { const mine: string = input.text(); output.write(mine); } });
  `;
  const { code, map } = await bundle(await project({ "task.ts": source, "package.json": { name: "a", main: "task.ts" } }));
  assert.match(code, /from "wasi:filesystem\/preopens@0\.2\.12"/);
  assert.doesNotMatch(code, /from "(node:)?fs"/);
  assert.deepEqual(map.sources.filter((source) => source !== ""), ["task.ts"]);
  const line = code.split("\n").findIndex((text) => text.includes("const mine ="));
  const [, source_, row] = map.rows.split("\n")[line].split(";")[0].split(",").map(Number);
  assert.deepEqual([map.sources[source_], row], ["task.ts", 4]);
});

test("what a component does not have is told", async () => {
  const builds = async (source) => bundle(await project({ "task.js": source, "package.json": { name: "a", main: "task.js" } }));
  await assert.rejects(builds('import "node:net";'), /`node:net` is not there in a component; of Node's modules there are node:fs/);
  await assert.rejects(builds('import "http";'), /`node:http` is not there/);
  await assert.rejects(builds("export default {"), /task\.js:1:16/);
});

test("Unicode's properties are written out", async () => {
  const code = await expandProperties("const a = /^[\\p{Lu}_]+$/u, b = /\\d/, c = 'x'; export { a, b, c };");
  assert.doesNotMatch(code, /\\p/);
  const { a } = await import(`data:text/javascript,${encodeURIComponent(code)}`);
  assert.ok(a.test("ÉA_") && !a.test("é"));
});
