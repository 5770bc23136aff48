import { defineTask } from "@tigerflow/task";

export default defineTask({
  run(input, output) {
    output.write(input.text().toUpperCase());
  },
});
