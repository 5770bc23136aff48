#!/usr/bin/env node
/**
 * Builds a task into a component: `node build.mjs [PROJECT_DIR] [-o FILE]`.
 *
 * 1. esbuild makes one module of the task, what it imports, and the SDK.
 * 2. ComponentizeJS puts it into a JavaScript engine that is a component.
 */

import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { bundle } from "./build/bundle.mjs";
import { componentize } from "./build/componentize.mjs";
import { BuildError } from "./build/error.mjs";
import { readProject } from "./build/project.mjs";

const USAGE = "usage: tigerflow-build [PROJECT_DIR] [-o FILE]";

async function main() {
  const { values, positionals } = parseArgs({
    options: { output: { type: "string", short: "o" }, help: { type: "boolean", short: "h" } },
    allowPositionals: true,
  });
  if (values.help) return console.log(USAGE);
  if (positionals.length > 1) throw new BuildError(USAGE);
  const project = await readProject(resolve(positionals[0] ?? "."));
  const output = resolve(values.output ?? join(project.directory, `${project.name}.wasm`));
  const component = await componentize(await bundle(project));
  await mkdir(dirname(output), { recursive: true });
  await writeFile(output, component);
  console.log(`${output} (${(component.length / 1e6).toFixed(1)} MB)`);
}

try {
  await main();
} catch (error) {
  const expected = error instanceof BuildError || error.code?.startsWith("ERR_PARSE_ARGS");
  console.error(`error: ${expected ? error.message : error.stack}`);
  process.exitCode = 1;
}
