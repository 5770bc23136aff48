import { defineTask } from "@tigerflow/task";

import { count } from "./words.js";

export default defineTask({
  run(input, output) {
    output.write(count(input.text()));
  },
});
