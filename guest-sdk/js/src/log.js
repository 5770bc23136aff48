/** Lines in the host's log, with a level and the name of the file. */

import * as host from "#host";

const at =
  (level) =>
  (...parts) =>
    host.log(level, parts.map(show).join(" "));

/** `log.info("read", 3, "files")`. The host shows `info` and above, `debug` with `-v`, `trace` with `-vv`. */
export const log = {
  trace: at("trace"),
  debug: at("debug"),
  info: at("info"),
  warn: at("warn"),
  error: at("error"),
};

function show(part) {
  if (typeof part !== "object" || part === null) return String(part);
  if (part instanceof Error) return `${part.name}: ${part.message}`;
  try {
    return JSON.stringify(part);
  } catch {
    return String(part);
  }
}
