// @ts-check
/** The task: one Markdown file in, one HTML file out. */

import { defineTask } from "@tigerflow/task";

import { splitFrontMatter } from "./front-matter.js";
import { page, render } from "./render.js";

export default defineTask({
  params: {
    standalone: { type: "boolean", help: "Make a whole page, not a fragment to put into one" },
    title: { optional: true, help: "Title of the page; otherwise the front matter's, the first heading's or the file's name" },
    toc: { type: "boolean", help: "Put a table of contents before the text" },
    tocDepth: { type: "integer", default: 3, help: "The smallest headings in the table: 2 for `##`" },
    gfm: { type: "boolean", default: true, help: "Read tables, task lists, ~~deleted~~ and bare URLs, as GitHub does" },
    html: { type: "boolean", help: "Let HTML in the text through; otherwise it is shown as text" },
    css: { optional: true, help: "URL of a style sheet for the page" },
  },

  run(input, output, params) {
    const { fields, text } = splitFrontMatter(input.text());
    const { html, title } = render(text, params);
    if (!params.standalone) {
      output.write(html);
      return;
    }
    output.write(
      page(html, {
        title: params.title ?? fields.title ?? title ?? input.stem,
        language: fields.lang,
        css: params.css,
      }),
    );
  },
});
