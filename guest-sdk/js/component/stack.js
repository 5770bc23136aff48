/**
 * Stacks of errors in the task's own files and lines.
 *
 * The build puts a table into the component: for each line of the bundle, its
 * pieces, as `COLUMN,SOURCE,LINE,COLUMN;…`. Pieces of the SDK are left out, so
 * its frames are, too: they tell a reader nothing.
 */

/** `run@bundle.js:21:19`, as the engine writes it. */
const FRAME = /^(.*)@(.*?):(\d+):(\d+)$/;

/** How many frames are told: an endless recursion has thousands. */
const MOST_FRAMES = 30;

let rows;

/** The lines of an error's stack: `at run (task.js:21:19)`. */
export function places(error) {
  const lines = [];
  // The engine counts the constructors of classes that extend `Error`.
  const constructor = error.constructor?.name;
  for (const line of String(error.stack ?? "").split("\n")) {
    const [, name, , row, column] = FRAME.exec(line) ?? [];
    const place = row && lookup(Number(row), Number(column));
    if (!place) continue;
    // The engine's words: `async*run` goes on after an `await`, `run/f` is in `run`, `run/<` has no name.
    const called = name.replace(/^.*\*/, "").replace(/[/<]+$/, "").replace(/^.*\//, "");
    if (lines.length === 0 && called === constructor) continue;
    if (lines.length === MOST_FRAMES) {
      lines.push("…");
      break;
    }
    lines.push(called ? `at ${called} (${place})` : `at ${place}`);
  }
  return lines;
}

/** The place in a source of a place in the bundle. */
function lookup(row, column) {
  const map = globalThis.$tigerflowSourceMap;
  if (!map) return undefined;
  rows ??= map.rows.split("\n");
  const pieces = (rows[row - 1] ?? "").split(";").map((piece) => piece.split(",").map(Number));
  const found = pieces.findLast(([begin, source]) => begin < column && source !== undefined);
  if (!found) return undefined;
  const [, source, line, at] = found;
  return source < 0 ? undefined : `${map.sources[source]}:${line}:${at}`;
}
