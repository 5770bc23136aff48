// @ts-check
/** The conformance task in JavaScript: ../README.md says what each line does. */

import { existsSync, readFileSync, writeFileSync } from "node:fs";

import { Aborted, defineTask, errorForStatus, log, Transient } from "@tigerflow/task";

class TooBad extends Error {}

let setups = 0;
let runs = 0;
let retried = false;

/** @param {string} message */
function fail(message) {
  throw new TooBad(message, { cause: new Error("the cause of it") });
}

/** @param {number} ms */
const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

export default defineTask({
  params: {
    tag: { type: "text", help: "A text that must be given" },
    title: { type: "text", default: "untitled", help: "A text" },
    count: { type: "bigint", default: 3n, help: "A whole number" },
    ratio: { type: "number", default: 0.5, help: "A number" },
    loud: { type: "boolean", help: "A switch" },
    mode: { choices: ["fast", "careful"], default: "fast", help: "One of two" },
    note: { type: "text", optional: true, help: "A text that may be missing" },
  },
  canUse: [
    { directory: "/gate", reason: "waits for /gate/open" },
    { environment: "SETTING", reason: "is shown" },
  ],
  options: { timeout: "10m" },

  setup(params) {
    setups += 1;
    if (params.tag === "fail") fail("setup was told to fail");
    return params;
  },

  async run(input, output, params) {
    runs += 1;
    const [begin = new Uint8Array()] = input.chunks(new Uint8Array(4096));
    const [line] = new TextDecoder().decode(begin).split("\n", 1);
    const [, word, argument] = /^(\S*) ?(.*)$/.exec(line) ?? [];
    const body = () => {
      const bytes = input.bytes();
      const end = bytes.indexOf(10);
      return end < 0 ? new Uint8Array() : bytes.subarray(end + 1);
    };
    switch (word) {
      case "params":
        output.write(Object.entries(params).map(([name, value]) => `${name}=${value ?? "(none)"}\n`));
        break;
      case "context":
        output.write(`setup ${setups}, run ${runs}, tag ${params.tag}`);
        break;
      case "echo":
        output.write(body());
        break;
      case "names":
        output.write(`${input.name}\n${output.name}`);
        break;
      case "copy":
        output.write(input.chunks(new Uint8Array(1 << 16)));
        break;
      case "fail":
        fail(argument);
        break;
      case "io":
        readFileSync(input.path.replace(input.name, "there-is-none"));
        break;
      case "transient":
        if (!retried) {
          retried = true;
          throw new Transient("come again", { retryAfterMs: Number(argument) });
        }
        output.write("run again");
        break;
      case "abort":
        throw new Aborted(argument);
      case "nothing":
        break;
      case "empty":
        output.write("");
        break;
      case "panic":
        throw new TypeError("this is a mistake");
      case "exit":
        process.exit(7);
      case "stderr":
        for (let n = 1; n <= 1000; n++) console.error(`line ${n}`);
        fail(argument);
        break;
      case "stdout":
        console.log("on stdout");
        break;
      case "log":
        for (const level of /** @type {const} */ (["trace", "debug", "info", "warn", "error"])) {
          log[level](`at ${level}`);
        }
        break;
      case "progress":
        input.progress(0.25);
        while (!existsSync("/gate/open")) await sleep(10);
        break;
      case "env":
        output.write(process.env[argument] ?? "(none)");
        break;
      case "read":
        output.write(readFileSync(argument));
        break;
      case "write":
        writeFileSync(argument, body());
        break;
      case "loop":
        for (;;);
      case "memory":
        for (const kept = []; ; ) kept.push(new Uint8Array(1 << 20).fill(1));
      case "http":
        output.write(await (await errorForStatus(await fetch(argument))).arrayBuffer());
        break;
      default:
        throw new Error(`unknown word \`${word}\``);
    }
  },

  teardown() {
    console.log(`teardown after ${runs} runs`);
  },
});
