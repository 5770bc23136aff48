/** What a task is, and what it says of itself. */

import { isKebab } from "./names.js";
import { checkParams } from "./params.js";

const FIELDS = [
  "name", "version", "summary", "params", "needs", "canUse",
  "options", "maxConcurrency", "setup", "run", "teardown",
];

/** Checks a task, and gives it types. */
export function defineTask(task) {
  check(task);
  return task;
}

/** Throws a `TypeError` that says what of a task cannot be. */
export function check(task) {
  if (typeof task !== "object" || task === null) {
    throw new TypeError("a task is an object with a function `run`: export default defineTask({ run(input, output) { … } })");
  }
  const unknown = Object.keys(task).find((field) => !FIELDS.includes(field));
  if (unknown) throw new TypeError(`a task has no \`${unknown}\`; there are ${FIELDS.join(", ")}`);
  if (typeof task.run !== "function") throw new TypeError("a task needs a function `run(input, output, context)`");
  for (const name of ["setup", "teardown"]) {
    if (task[name] !== undefined && typeof task[name] !== "function") {
      throw new TypeError(`\`${name}\` must be a function`);
    }
  }
  if (task.name !== undefined && !isKebab(task.name)) {
    throw new TypeError(`the task's name must be of a-z, 0-9 and -, not \`${task.name}\``);
  }
  const most = task.maxConcurrency;
  if (most !== undefined && !(Number.isInteger(most) && most > 0)) {
    throw new TypeError("`maxConcurrency` must be a whole number from 1");
  }
  checkParams(task.params ?? {});
  for (const grant of [...(task.needs ?? []), ...(task.canUse ?? [])]) capability(grant);
}

/** The grants of a task, as the host knows them. */
export function grants(task) {
  const all = (list, required) =>
    (list ?? []).map((grant) => ({ capability: capability(grant), reason: grant.reason ?? "", required }));
  return [...all(task.needs, true), ...all(task.canUse, false)];
}

function capability(grant) {
  const { directory, write, environment, host, reason, ...rest } = grant;
  const given = [directory, environment, host].filter((one) => one !== undefined);
  if (given.length !== 1 || typeof given[0] !== "string" || Object.keys(rest).length > 0) {
    throw new TypeError(
      `a grant is { directory, write?, reason }, { environment, reason } or { host, reason }, not ${JSON.stringify(grant)}`,
    );
  }
  if (directory !== undefined) {
    return { tag: "directory", val: { guestPath: directory, writable: Boolean(write) } };
  }
  return environment !== undefined ? { tag: "environment", val: environment } : { tag: "host", val: host };
}
