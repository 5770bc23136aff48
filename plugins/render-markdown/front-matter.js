/** The lines `key: value` between two lines `---` that a file may begin with. */

const BLOCK = /^---[ \t]*\r?\n([\s\S]*?)^---[ \t]*(?:\r?\n|$)/m;
const FIELD = /^([A-Za-z][\w-]*):[ \t]*(.*?)[ \t]*\r?$/gm;

/**
 * Takes the front matter off a text. Values are texts; nested ones are left out.
 * @param {string} text
 */
export function splitFrontMatter(text) {
  /** @type {Record<string, string>} */
  const fields = {};
  const [block, lines] = text.startsWith("---") ? (BLOCK.exec(text) ?? []) : [];
  if (block === undefined) return { fields, text };
  for (const [, key, value] of lines.matchAll(FIELD)) {
    const bare = value.replace(/^(["'])(.*)\1$/, "$2");
    if (bare !== "") fields[key.toLowerCase()] = bare;
  }
  return { fields, text: text.slice(block.length) };
}
