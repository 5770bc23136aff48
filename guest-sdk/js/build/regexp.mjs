/**
 * Regular expressions for an engine without Unicode's tables: it knows no
 * `\p{Letter}`, and so would not even load a module that has one. Literals are
 * rewritten with the characters themselves.
 */

import { load } from "./bundle.mjs";

export async function expandProperties(code) {
  if (!/\\p\{/i.test(code)) return code;
  const { parseSync } = await load("oxc-parser");
  const { default: rewrite } = await load("regexpu-core");
  const found = [];
  collect(parseSync("bundle.js", code).program, found);
  let [mended, end] = ["", 0];
  for (const { start, end: after, regex } of found) {
    const pattern = rewrite(regex.pattern, regex.flags, {
      unicodePropertyEscapes: "transform",
      unicodeSetsFlag: regex.flags.includes("v") ? "transform" : false,
    });
    const flags = regex.flags.replace("v", "u");
    mended += `${code.slice(end, start)}/${pattern}/${flags}`;
    end = after;
  }
  return mended + code.slice(end);
}

/** The literals with a property, in the order of the text. */
function collect(node, found) {
  if (Array.isArray(node)) {
    for (const one of node) collect(one, found);
  } else if (node && typeof node === "object") {
    if (node.type === "Literal" && node.regex) {
      if (/\\p\{/i.test(node.regex.pattern)) found.push(node);
    } else {
      for (const value of Object.values(node)) collect(value, found);
    }
  }
}
