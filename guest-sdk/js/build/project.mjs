/** What a project is: its `package.json`, and the file that exports its task. */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";

import { isKebab, kebab } from "../src/names.js";
import { BuildError } from "./error.mjs";

/** Where the task is when `main` does not say it. */
const ENTRIES = ["task.ts", "task.js", "task.mjs", "src/task.ts", "src/task.js"];

const VERSION = /^\d+\.\d+\.\d+/;

/** Reads the project in a directory. */
export async function readProject(directory) {
  const path = join(directory, "package.json");
  let manifest;
  try {
    manifest = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    const hint = error.code === "ENOENT" ? "; make a project with `tigerflow-host new --lang js NAME`" : "";
    throw new BuildError(`cannot read ${path}: ${error.message}${hint}`);
  }
  const entry = manifest.main ?? ENTRIES.find((name) => existsSync(join(directory, name)));
  if (!entry || !existsSync(join(directory, entry))) {
    throw new BuildError(
      `there is no task in ${directory}: ` +
        (entry ? `\`main\` of package.json names ${entry}, which is not there` : `write task.js, or name it as \`main\` in package.json`),
    );
  }
  // `@scope/name` as `name`.
  const name = kebab((manifest.name ?? "task").replace(/^@[^/]*\//, ""));
  if (!isKebab(name)) throw new BuildError(`the \`name\` in ${path} must be of a-z, 0-9 and -, not ${manifest.name}`);
  const version = manifest.version ?? "0.0.0";
  if (!VERSION.test(version)) throw new BuildError(`the \`version\` in ${path} must be like 1.2.3, not ${version}`);
  return { directory, entry: `./${relative(directory, join(directory, entry))}`, name, version, summary: manifest.description ?? "" };
}
