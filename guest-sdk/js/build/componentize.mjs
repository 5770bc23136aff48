/**
 * A component of a bundled task: the JavaScript engine of ComponentizeJS with
 * the task's module inside, run up to the end of its top level.
 *
 * It does what ComponentizeJS' own `componentize` does, step by step, because
 * the bindings between the module and the host need a change (`mend`). That
 * takes the files of exactly the version that package.json names.
 */

import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { load } from "./bundle.mjs";
import { BuildError } from "./error.mjs";

const WIT = fileURLToPath(new URL("../wit", import.meta.url));
const WORLD = "task";

/** What the engine has: console, clocks, random numbers and `fetch`. */
const FEATURES = ["stdio", "random", "clocks", "http"];

/** The module's name in stacks. */
const MODULE = "bundle.js";

export async function componentize({ code, map, name, entry }) {
  const { default: wizer } = await load("@bytecodealliance/wizer");
  const { componentNew, metadataAdd, preview1AdapterReactorPath } = await load("@bytecodealliance/jco");
  const library = new URL("../lib/", import.meta.resolve("@bytecodealliance/componentize-js"));
  const { splicer } = await import(new URL("spidermonkey-embedding-splicer.js", library));

  const engine = await readFile(new URL("starlingmonkey_embedding.wasm", library));
  const { wasm, jsBindings, exports, imports } = splicer.spliceBindings(engine, FEATURES, undefined, WIT, WORLD, false);
  const directory = await mkdtemp(join(tmpdir(), "tigerflow-"));
  try {
    const at = (file) => join(directory, file);
    await writeFile(at("engine.wasm"), wasm);
    await writeFile(at("initializer.js"), mend(jsBindings));
    await writeFile(at(MODULE), `${code}\nglobalThis.$tigerflowSourceMap = ${JSON.stringify(map)};\n`);
    const { status, signal, stderr, error } = spawnSync(
      wizer,
      [
        "--allow-wasi",
        "--init-func=componentize.wizer",
        `--mapdir=/::${directory}`,
        "--wasm-bulk-memory=true",
        "--inherit-env=true",
        `-o=${at("task.wasm")}`,
        at("engine.wasm"),
      ],
      {
        env: environment(exports, imports),
        // Names that do not change from one build to the next: the engine keeps them.
        input: `--initializer-script-path /initializer.js --strip-path-prefix / ${MODULE}`,
        encoding: "utf8",
        stdio: ["pipe", "inherit", "pipe"],
      },
    );
    if (error) throw new BuildError(`cannot run ${wizer}: ${error.message}`);
    if (status !== 0) throw new BuildError(`cannot start ${entry}: ${signal ?? reason(stderr)}`);
    const core = splicer.stubWasi(await readFile(at("task.wasm")), FEATURES, undefined, WIT, WORLD);
    const adapter = await readFile(preview1AdapterReactorPath());
    const component = await componentNew(core, [["wasi_snapshot_preview1", adapter]], false);
    return await metadataAdd(component, [["language", [["JavaScript", ""]]]]);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** What the engine reads to know the functions of the world. */
function environment(exports, imports) {
  const env = {
    DEBUG: "",
    SOURCE_NAME: MODULE,
    FEATURE_CLOCKS: "1",
    EXPORT_CNT: String(exports.length),
    IMPORT_CNT: String(imports.length),
  };
  for (const [i, [name, { params, paramptr, ret, retptr, retsize }]] of exports.entries()) {
    env[`EXPORT${i}_NAME`] = name;
    env[`EXPORT${i}_ARGS`] = (paramptr ? "*" : "") + params.join(",");
    env[`EXPORT${i}_RET`] = (retptr ? "*" : "") + (ret ?? "");
    env[`EXPORT${i}_RETSIZE`] = String(retsize);
  }
  for (const [i, [, name, count]] of imports.entries()) {
    env[`IMPORT${i}_NAME`] = name;
    env[`IMPORT${i}_ARGCNT`] = String(count);
  }
  return env;
}

/**
 * Makes the bindings fit for large files.
 *
 * They give back the memory of arguments: as they are, what a call of the host
 * takes (the bytes of a write, say) stays until `run` returns, and a task that
 * streams a large file holds all of it. And bytes that the host gives go where
 * `$tigerflowTarget` says, if it says so, instead of into a new array.
 */
function mend(bindings) {
  const head = "delete globalThis.$bindings;\n";
  if (!bindings.includes(head)) throw new Error("ComponentizeJS makes other bindings than expected");
  const names = [...new Set(bindings.match(/\$import_[\w$]+/g))];
  const release = `
let $lent = [];
function $lend(pointer, size, align, wanted) {
  const lent = $realloc(pointer, size, align, wanted);
  if (lent) $lent.push(lent);
  return lent;
}
function $releasing(call) {
  return (...args) => {
    try {
      return call(...args);
    } finally {
      for (const lent of $lent) $dealloc(lent);
      $lent.length = 0;
    }
  };
}
function $take(buffer, from, to) {
  const target = contentGlobal.$tigerflowTarget;
  if (!target || target.length < to - from) return new Uint8Array(buffer.slice(from, to));
  target.set(new Uint8Array(buffer, from, to - from));
  return target.subarray(0, to - from);
}
${names.map((name) => `${name} = $releasing(${name});`).join("\n")}
`;
  const [start, rest] = bindings.split(head);
  // What an export returns stays until the host has read it: the engine frees it then.
  const [imports, ...exported] = rest.split(/^(?=async function export_)/m);
  return [
    start,
    head,
    release,
    // Their log would look for a variable of the environment at every call.
    imports
      .replaceAll("$realloc", "$lend")
      .replace(/new Uint8Array\(\$memory\.buffer\.slice\((\w+), ([^)]*)\)\)/g, "$take($memory.buffer, $1, $2)")
      .replace(/^const _debugLog = /m, "const _debugLog = () => {};\nconst $debugLog = "),
    ...exported.map((text) => text.replace("{", "{\n  $lent.length = 0;")),
  ].join("");
}

/** What of the engine's last words a reader can use. */
function reason(stderr) {
  const lines = stderr.split("\n").filter((line) => line.trim() !== "");
  const end = lines.findIndex((line) => line.startsWith("Error: the `componentize.wizer` function trapped"));
  return lines.slice(0, end < 0 ? undefined : end).join("\n") || stderr;
}
