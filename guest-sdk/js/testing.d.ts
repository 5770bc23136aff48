/** What tests of a task need: it runs in Node, without a component. */

import type { Params, ParamValues, Task } from "./index.js";

/**
 * Runs a task on one input: `setup`, `run` and `teardown`. Returns the output
 * as text, empty where there is none. What `run` throws comes out as it is.
 *
 *     assert.equal(await run(task, "world\n", { greeting: "Hi" }), "Hi, WORLD\n");
 */
export function run<P extends Params, Context>(
  task: Task<P, Context>,
  contents: string | Uint8Array,
  params?: Partial<ParamValues<P>>,
  options?: {
    /** The input's name. */
    name?: string;
  },
): Promise<string>;
