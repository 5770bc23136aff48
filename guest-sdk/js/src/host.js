/** The host's side in a native test: nobody listens. In a component it is `component/host.js`. */

export function log(level, message) {
  process.stderr.write(`${level}: ${message}\n`);
}

export function progress() {}
