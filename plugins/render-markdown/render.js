/** Markdown to HTML, by `marked`. */

import { Marked } from "marked";

/** @typedef {{ depth: number, id: string, html: string, text: string }} Heading */

/**
 * Renders a text. `title` is its first heading's, as plain text.
 * @param {string} text
 * @param {{ gfm: boolean, html: boolean, toc: boolean, tocDepth: number }} options
 */
export function render(text, { gfm, html, toc, tocDepth }) {
  /** @type {Heading[]} */
  const headings = [];
  const newId = slugs();
  const marked = new Marked({
    gfm,
    renderer: {
      heading({ tokens, depth }) {
        const inner = this.parser.parseInline(tokens);
        const plain = this.parser.parseInline(tokens, this.parser.textRenderer);
        const heading = { depth, id: newId(unescape(plain)), html: inner, text: unescape(plain) };
        headings.push(heading);
        return `<h${depth} id="${escape(heading.id)}">${inner}</h${depth}>\n`;
      },
      html({ text }) {
        return html ? text : escape(text);
      },
      link(token) {
        return safe(token.href) ? false : this.parser.parseInline(token.tokens);
      },
      image(token) {
        return safe(token.href) ? false : escape(token.text);
      },
    },
  });
  const body = /** @type {string} */ (marked.parse(text));
  const contents = toc ? table(headings.filter(({ depth }) => depth <= tocDepth)) : "";
  return { html: contents + body, title: headings[0]?.text };
}

/** Whether a link leads to a place, and runs no script. */
const safe = (/** @type {string} */ href) => !/^[\s\x00-\x1f]*(javascript|vbscript|data):/i.test(href);

/** Makes anchors of headings as GitHub does: `What's new?` is `whats-new`, the second one `whats-new-1`. */
function slugs() {
  const seen = new Map();
  return (/** @type {string} */ text) => {
    const slug = text
      .trim()
      .toLowerCase()
      .replace(/[^\p{Letter}\p{Mark}\p{Number}\p{Connector_Punctuation} -]/gu, "")
      .replaceAll(" ", "-");
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    return count === 0 ? slug : `${slug}-${count}`;
  };
}

/**
 * A table of contents: lists within lists, as deep as the headings.
 * @param {Heading[]} headings
 */
function table(headings) {
  if (headings.length === 0) return "";
  let html = "";
  /** @type {number[]} */
  const open = [];
  for (const { depth, id, html: label } of headings) {
    while (open.length > 1 && /** @type {number} */ (open.at(-1)) > depth) {
      html += "</li></ul>";
      open.pop();
    }
    if (open.length === 0 || /** @type {number} */ (open.at(-1)) < depth) {
      html += "<ul>";
      open.push(depth);
    } else {
      html += "</li>";
    }
    // A link within a link is none.
    html += `\n<li><a href="#${escape(encodeURIComponent(id))}">${label.replace(/<\/?a\b[^>]*>/g, "")}</a>`;
  }
  return `<nav class="toc">\n${html}${"</li></ul>".repeat(open.length)}\n</nav>\n`;
}

/**
 * A whole page around a fragment.
 * @param {string} html
 * @param {{ title: string, language?: string, css?: string }} head
 */
export function page(html, { title, language, css }) {
  return `<!DOCTYPE html>
<html${language ? ` lang="${escape(language)}"` : ""}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
${css ? `<link rel="stylesheet" href="${escape(css)}">\n` : ""}</head>
<body>
${html}</body>
</html>
`;
}

/** @type {Record<string, string>} */
const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

const escape = (/** @type {string} */ text) => text.replace(/[&<>"']/g, (one) => ENTITIES[one]);

const unescape = (/** @type {string} */ text) =>
  Object.entries(ENTITIES).reduce((left, [one, entity]) => left.replaceAll(entity, one), text);
