/** One module of the task, what it imports, and the SDK. */

import { builtinModules } from "node:module";
import { join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

import { BuildError } from "./error.mjs";
import { expandProperties } from "./regexp.mjs";
import { decode } from "./sourcemap.mjs";

const SDK = fileURLToPath(new URL("..", import.meta.url));

/** Modules of Node that the SDK stands in for. */
const STAND_INS = {
  fs: "component/fs.js",
  "fs/promises": "component/fs-promises.js",
  process: "component/process.js",
};

/** The modules of Node: those of the SDK's own are replaced, the others are an error that says so. */
const nodeModules = {
  name: "node",
  setup(build) {
    build.onResolve({ filter: new RegExp(`^(node:.*|${builtinModules.join("|")})$`) }, async (args) => {
      const name = args.path.replace(/^node:/, "");
      if (STAND_INS[name]) return { path: join(SDK, STAND_INS[name]) };
      if (args.pluginData === "asked" || args.path.startsWith("node:")) return unsupported(name);
      // A package may have that name, too: `buffer`, `events`.
      const found = await build.resolve(args.path, {
        kind: args.kind,
        importer: args.importer,
        resolveDir: args.resolveDir,
        pluginData: "asked",
      });
      return found.errors.length > 0 ? unsupported(name) : found;
    });
    // The entry imports the SDK by its place here, and so must the task.
    build.onResolve({ filter: /^@tigerflow\/task$/ }, () => ({ path: join(SDK, "index.js") }));
  },
};

function unsupported(name) {
  const there = Object.keys(STAND_INS).map((one) => `node:${one}`);
  const text = `\`node:${name}\` is not there in a component; of Node's modules there are ${there.join(", ")}`;
  return { errors: [{ text, location: null }] };
}

/** Bundles a project. Returns the module's code, its source map, and whose it is. */
export async function bundle(project) {
  const esbuild = await load("esbuild");
  const defaults = { name: project.name, version: project.version, summary: project.summary };
  try {
    const { outputFiles } = await esbuild.build({
      stdin: {
        contents: `
          import ${JSON.stringify(join(SDK, "component/globals.js"))};
          import task from ${JSON.stringify(project.entry)};
          import { exportTask } from ${JSON.stringify(join(SDK, "component/export.js"))};
          const exported = exportTask(task, ${JSON.stringify(defaults)});
          export { exported as task };
        `,
        resolveDir: project.directory,
        sourcefile: join(SDK, "$entry.js"),
        loader: "js",
      },
      absWorkingDir: project.directory,
      outdir: project.directory,
      bundle: true,
      write: false,
      format: "esm",
      platform: "neutral",
      mainFields: ["module", "main"],
      conditions: ["tigerflow", "worker", "browser"],
      external: ["wasi:*", "tigerflow:*"],
      target: "es2022",
      // The name of an error's class is what its `.err` file shows.
      keepNames: true,
      sourcemap: "external",
      sourcesContent: false,
      logLevel: "silent",
      plugins: [nodeModules],
    });
    const [map, code] = ["map", "js"].map((ending) => outputFiles.find(({ path }) => path.endsWith(`.${ending}`)).text);
    return { code: await expandProperties(code), map: table(JSON.parse(map), project.directory), name: project.name, entry: project.entry };
  } catch (error) {
    if (!error.errors) throw error;
    const shown = await esbuild.formatMessages(error.errors, { kind: "error", color: false });
    throw new BuildError(`cannot bundle ${project.entry}\n${shown.join("").trimEnd()}`);
  }
}

/** The table that `component/stack.js` looks up: what is not the SDK's own. */
function table({ sources, mappings }, directory) {
  const shown = sources.map((source) => {
    const path = resolve(directory, source);
    return !path.startsWith(SDK) || path.startsWith(join(SDK, "node_modules") + sep);
  });
  const rows = decode(mappings).map((pieces) =>
    pieces.map(([column, source, line, at]) => (shown[source] ? [column, source, line + 1, at + 1] : [column, -1]).join(",")).join(";"),
  );
  return { sources: sources.map((source, i) => (shown[i] ? source : "")), rows: rows.join("\n") };
}

/** Imports what the SDK depends on. */
export async function load(name) {
  try {
    return await import(name);
  } catch (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new BuildError(`\`${name}\` is not installed; run \`npm install\` in the project first`);
  }
}
