// @ts-check
import { defineTask } from "@tigerflow/task";

export default defineTask({
  params: {
    greeting: { type: "text", default: "Hello", help: "The word to greet with" },
  },

  run(input, output, { greeting }) {
    output.write(`${greeting}, ${input.text().toUpperCase()}`);
  },
});
