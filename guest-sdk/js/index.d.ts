/** Write a task for tigerflow-host in JavaScript or TypeScript. */

/** One parameter: an option `--NAME VALUE` of the command line. */
export type Param =
  | ({ type?: "text"; choices?: undefined } & Common<string>)
  /** A whole number up to 2^53; a `bigint` has 64 bits. */
  | ({ type: "integer" } & Common<number>)
  | ({ type: "bigint" } & Common<bigint>)
  | ({ type: "number" } & Common<number>)
  | ({ type: "boolean" } & Common<boolean>)
  | ({ type?: "choice"; /** The texts to choose from. */ choices: readonly string[] } & Common<string>);

interface Common<Value> {
  /** One sentence for `--help`. */
  help?: string;
  /** The value when the user gives none. A boolean without one is `false`. */
  default?: Value;
  /** Whether it may be missing: then it is `undefined`. One without default must be given otherwise. */
  optional?: boolean;
  /** Its option, where that is not the property's name in kebab-case: `minLength` is `--min-length`. */
  name?: string;
}

export type Params = Record<string, Param>;

/** The values that a task receives for its parameters. */
export type ParamValues<P extends Params> = {
  -readonly [Name in keyof P]: ValueOf<P[Name]> | (P[Name] extends { optional: true } ? undefined : never);
};

type ValueOf<P> = P extends { choices: readonly (infer Choice)[] }
  ? Choice
  : P extends { type: "integer" | "number" }
    ? number
    : P extends { type: "bigint" }
      ? bigint
      : P extends { type: "boolean" }
        ? boolean
        : string;

/** A capability beyond input and output, which only the user can give. `reason` is one sentence for that user. */
export type Grant =
  | { /** Where the task sees it: `/db`. */ directory: string; /** Whether it also writes there. */ write?: boolean; reason: string }
  | { /** The name of a variable. */ environment: string; reason: string }
  | { /** `api.example.org`, `api.example.org:8443` or `*.example.org`. */ host: string; reason: string };

/** A task: what it is, and its functions. Each may be `async`. */
export interface Task<P extends Params = {}, Context = ParamValues<P>> {
  /** The task's name in kebab-case, where the package's name is not it. */
  name?: string;
  /** The task's semantic version, where the package's version is not it. */
  version?: string;
  /** One sentence on what `run` makes of a file, where the package's description is not it. */
  summary?: string;
  /** The parameters. */
  params?: P;
  /** What the task is useless without: the host does not start it before the user gave these. */
  needs?: readonly Grant[];
  /** What the task uses where the user gives it. */
  canUse?: readonly Grant[];
  /** The task's own defaults for options of `tigerflow-host run`: `{ timeout: "5m" }`. */
  options?: Record<string, string | number>;
  /** How many files may be in flight at once over all instances: 1 for the only writer of a database. */
  maxConcurrency?: number;

  /**
   * Makes what every `run` of this instance gets as its last argument: loads a
   * model, opens a database. An error here stops the whole run. Without it,
   * `run` gets the parameters.
   */
  setup?(params: ParamValues<P>): Context | Promise<Context>;

  /**
   * Turns one file into another. Where it writes nothing, the host puts an
   * empty placeholder there. An error ends this file only, and becomes its
   * `.err` file.
   */
  run(input: Input, output: Output, context: Context): void | Promise<void>;

  /** Gives back what `setup` made: commits, closes, flushes. */
  teardown?(context: Context): void | Promise<void>;
}

/** Checks a task, and gives its functions their types: `export default defineTask({ … })`. */
export function defineTask<const P extends Params = {}, Context = ParamValues<P>>(task: Task<P, Context>): Task<P, Context>;

/** The file to read. A test makes one of any path. */
export class Input {
  constructor(path: string);
  /** Its path, for `node:fs`. */
  readonly path: string;
  /** The file's name: `7501.final.json`. */
  readonly name: string;
  /** The file's name up to its last dot: `7501.final`. */
  readonly stem: string;

  /** The whole file. */
  bytes(): Uint8Array;
  /** The whole file as text. Bytes that are not UTF-8 are an error. */
  text(): string;
  /** The whole file as JSON. */
  json(): any;
  /**
   * The file in pieces of 64 KiB, for one too large to hold in memory. Each is
   * an array of its own; with a buffer, all are parts of that, and hold until
   * the next one comes.
   */
  chunks(buffer?: Uint8Array): Generator<Uint8Array, void, undefined>;
  /** The lines of the file, without their ends. */
  lines(): Generator<string, void, undefined>;
  /** Tells the host how far the work on this file is, from 0 to 1. */
  progress(fraction: number): void;
}

/** The file to write. A test makes one of any path. */
export class Output {
  constructor(path: string);
  /** Its path, for `node:fs`. */
  readonly path: string;
  /** The file's name: `7501.final.html`. */
  readonly name: string;
  /** The file's name up to its last dot: `7501.final`. */
  readonly stem: string;

  /** Writes the whole file: text, bytes, or pieces of either. */
  write(contents: string | ArrayBufferView | ArrayBuffer | Iterable<string | Uint8Array>): void;
  /** A buffered writer, for a file too large to hold in memory. */
  create(): Writer;
}

/** A buffered writer of a file. What a task leaves open is closed when its `run` ends. */
export class Writer {
  private constructor();
  /** Writes text or bytes. */
  write(piece: string | Uint8Array): void;
  /** Hands over what is held still. */
  flush(): void;
  /** Writes what is held still, and closes the file. */
  close(): void;
}

/** Worth another try: a busy server, a lost connection. */
export class Transient extends Error {
  constructor(message?: string, options?: { cause?: unknown; retryAfterMs?: number });
  readonly transient: true;
  /** How long to wait before, where the task knows it: a server's `Retry-After`, say. */
  readonly retryAfterMs?: number;
}

/** Deliberate and not an error: the task has nothing to do for this file. */
export class Aborted extends Error {}

/** A file does not hold what it should: no UTF-8, no JSON. */
export class InvalidData extends Error {}

/** A parameter's value does not fit. */
export class InvalidParameter extends Error {}

/** An answer with a status of 400 and more. */
export class HttpStatus extends Error {
  readonly status: number;
  /** Whether another try may be answered otherwise: 408, 425, 429, 500, 502, 503 and 504. */
  readonly transient?: boolean;
  /** What the server's `Retry-After` says. */
  readonly retryAfterMs?: number;
}

/** The response itself, or an `HttpStatus` error where its status is 400 and more. */
export function errorForStatus(response: Response): Promise<Response>;

/** Lines in the host's log. It shows `info` and above, `debug` with `-v`, `trace` with `-vv`. */
export const log: {
  trace(...parts: unknown[]): void;
  debug(...parts: unknown[]): void;
  info(...parts: unknown[]): void;
  warn(...parts: unknown[]): void;
  error(...parts: unknown[]): void;
};
