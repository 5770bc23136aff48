/** What stands between a task and the host: the build exports what this makes. */

import { toFailure, toRunError } from "../src/errors.js";
import { closeWriters, Input, Output } from "../src/files.js";
import { describeParams, readParams } from "../src/params.js";
import { check, grants } from "../src/task.js";
import { closeAnswers } from "./fetch.js";
import { places } from "./stack.js";

/** The exports of a component. `defaults` is what its package says. */
export function exportTask(task, defaults) {
  check(task);
  const params = task.params ?? {};
  let context;
  return {
    describe: () => ({
      name: task.name ?? defaults.name,
      version: task.version ?? defaults.version,
      summary: task.summary ?? defaults.summary,
      parameters: describeParams(params),
      grants: grants(task),
      maxConcurrency: task.maxConcurrency,
      optionDefaults: Object.entries(task.options ?? {}).map(([name, value]) => [name, String(value)]),
    }),

    async setup(given) {
      return settle(toFailure, async () => {
        const values = readParams(params, given);
        context = task.setup ? await task.setup(values) : values;
      });
    },

    async run(input, output) {
      return settle(toRunError, async () => {
        try {
          await task.run(new Input(input), new Output(output), context);
        } catch (error) {
          closeWriters({ quietly: true });
          throw error;
        }
        closeWriters();
      });
    },

    async teardown() {
      return settle(toFailure, () => task.teardown?.(context));
    },
  };
}

/** The bindings' word for how a call ended. */
async function settle(toError, call) {
  try {
    await call();
    return { tag: "ok" };
  } catch (error) {
    // The engine's word for it. Only a trap lets the host tell that the memory limit was reached.
    if (error === "out of memory") throw new RangeError("out of memory");
    return { tag: "err", val: toError(error, places) };
  } finally {
    closeAnswers();
  }
}
