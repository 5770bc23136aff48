/** A task's parameters: what the command line shows, and what `setup` receives. */

import { InvalidParameter } from "./errors.js";
import { isKebab, kebab } from "./names.js";

const TYPES = ["text", "integer", "bigint", "number", "boolean", "choice"];
const FIELDS = ["type", "help", "default", "optional", "name", "choices"];

/** Checks what a task says of its parameters: `{ top: { type: "integer", default: 10 } }`. */
export function checkParams(params) {
  const seen = new Map();
  for (const [key, param] of Object.entries(params)) {
    const fail = (problem) => {
      throw new TypeError(`the parameter \`${key}\` ${problem}`);
    };
    if (typeof param !== "object" || param === null) {
      fail('must be an object: { type: "text", help: "…" }');
    }
    const unknown = Object.keys(param).find((field) => !FIELDS.includes(field));
    if (unknown) fail(`has no \`${unknown}\`; there are ${FIELDS.join(", ")}`);
    const name = nameOf(key, param);
    if (!isKebab(name)) fail(`cannot be an option \`--${name}\`: give it a \`name\` of a-z, 0-9 and -`);
    if (seen.has(name)) fail(`is \`--${name}\`, and so is \`${seen.get(name)}\``);
    seen.set(name, key);
    const type = typeOf(param);
    if (!TYPES.includes(type)) fail(`has the type \`${type}\`; there are ${TYPES.join(", ")}`);
    if (type === "choice") {
      const texts = Array.isArray(param.choices) && param.choices.every((one) => typeof one === "string");
      if (!texts || param.choices.length === 0) fail('needs texts to choose from: choices: ["a", "b"]');
    } else if (param.choices) {
      fail(`has choices, so its type is "choice", not "${type}"`);
    }
    if (param.default !== undefined && !fits(param, param.default)) {
      fail(`cannot have the default \`${String(param.default)}\`: it is not ${wanted(param)}`);
    }
  }
}

/** The parameters as the host knows them. */
export function describeParams(params) {
  return Object.entries(params).map(([key, param]) => {
    const value = defaultOf(param);
    return {
      name: nameOf(key, param),
      help: param.help ?? "",
      kind: kindOf(param),
      default: value === undefined ? undefined : lower(param, value),
      required: value === undefined && !param.optional,
    };
  });
}

/** What `setup` receives, of the arguments of the host. */
export function readParams(params, given) {
  const values = new Map(given.map(({ name, value }) => [name, value.val]));
  return Object.fromEntries(
    Object.entries(params).map(([key, param]) => {
      const name = nameOf(key, param);
      const value = values.has(name) ? values.get(name) : defaultOf(param);
      if (value === undefined && !param.optional) {
        throw new InvalidParameter(`the parameter \`${name}\` is missing; give \`--${name}\``);
      }
      return [key, value === undefined ? undefined : raise(name, param, value)];
    }),
  );
}

function nameOf(key, param) {
  return param.name ?? kebab(key);
}

function typeOf(param) {
  return param.type ?? (param.choices ? "choice" : "text");
}

/** What the host calls a type. */
function kindOf(param) {
  const type = typeOf(param);
  if (type === "choice") return { tag: "choice", val: [...param.choices] };
  return { tag: type === "bigint" ? "integer" : type };
}

/** A switch that nobody gives is off. */
function defaultOf(param) {
  return param.default ?? (typeOf(param) === "boolean" && !param.optional ? false : undefined);
}

function fits(param, value) {
  switch (typeOf(param)) {
    case "text":
      return typeof value === "string";
    case "integer":
      return Number.isSafeInteger(value);
    case "bigint":
      return typeof value === "bigint" && BigInt.asIntN(64, value) === value;
    case "number":
      return typeof value === "number";
    case "boolean":
      return typeof value === "boolean";
    default:
      return param.choices.includes(value);
  }
}

function wanted(param) {
  const type = typeOf(param);
  if (type === "choice") return `one of ${param.choices.join(", ")}`;
  return { integer: "a whole number", bigint: "a BigInt of 64 bits", boolean: "true or false" }[type] ?? `a ${type}`;
}

function lower(param, value) {
  switch (typeOf(param)) {
    case "integer":
    case "bigint":
      return { tag: "integer", val: BigInt(value) };
    case "number":
      return { tag: "number", val: value };
    case "boolean":
      return { tag: "boolean", val: value };
    default:
      return { tag: "text", val: value };
  }
}

/** The host's value as the task's: a whole number is a `number`, where the task did not ask for a `bigint`. */
function raise(name, param, value) {
  const whole = typeof value === "bigint";
  const own = whole && typeOf(param) !== "bigint" ? Number(value) : value;
  if (whole && typeof own === "number" && !Number.isSafeInteger(own)) {
    const [least, most] = [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
    throw new InvalidParameter(`the parameter \`${name}\` must be from ${least} to ${most}, not ${value}`);
  }
  if (!fits(param, own)) {
    throw new InvalidParameter(`the parameter \`${name}\` must be ${wanted(param)}, not \`${own}\``);
  }
  return own;
}
