import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { count } from "./words.js";

const [source, place] = process.argv.slice(2);
for (const name of readdirSync(source)) {
  writeFileSync(join(place, name), count(readFileSync(join(source, name), "utf8")));
}
