/** Write a task for tigerflow-host in JavaScript or TypeScript. See README.md. */

export { Aborted, InvalidData, InvalidParameter, Transient } from "./src/errors.js";
export { Input, Output, Writer } from "./src/files.js";
export { errorForStatus, HttpStatus } from "./src/http.js";
export { log } from "./src/log.js";
export { defineTask } from "./src/task.js";
