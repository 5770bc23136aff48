/** Source maps, version 3. */

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The pieces of each line: column, number of the source, line and column there, all from 0. */
export function decode(mappings) {
  const state = [0, 0, 0];
  return mappings.split(";").map((line) => {
    const pieces = [];
    let column = 0;
    for (const text of line.split(",")) {
      const [step, ...deltas] = numbers(text);
      if (step === undefined) continue;
      column += step;
      if (deltas.length < 3) continue;
      for (let i = 0; i < 3; i++) state[i] += deltas[i];
      pieces.push([column, ...state]);
    }
    return pieces;
  });
}

/** Base 64 VLQ: five bits a digit, the lowest first, and the sign in the lowest of all. */
function numbers(text) {
  const all = [];
  let [value, shift] = [0, 0];
  for (const digit of text) {
    const bits = DIGITS.indexOf(digit);
    value |= (bits & 31) << shift;
    shift += 5;
    if (bits & 32) continue;
    all.push(value & 1 ? -(value >> 1) : value >> 1);
    [value, shift] = [0, 0];
  }
  return all;
}
