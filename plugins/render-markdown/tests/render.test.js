import assert from "node:assert/strict";
import test from "node:test";

import { run } from "@tigerflow/task/testing";

import task from "../task.js";

test("a fragment, with tables and task lists", async () => {
  const html = await run(task, "# Hi *you*\n\n- [x] done\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n");
  assert.match(html, /^<h1 id="hi-you">Hi <em>you<\/em><\/h1>\n<ul>\n<li><input checked="" disabled="" type="checkbox"> done/);
  assert.match(html, /<td align="right">2<\/td>/);
});

test("without them, a table is text", async () => {
  assert.doesNotMatch(await run(task, "| a |\n|---|\n| 1 |\n", { gfm: false }), /<table>/);
});

test("a page takes its title from where there is one", async () => {
  const title = async (text, params) =>
    /<title>(.*)<\/title>/.exec(await run(task, text, { standalone: true, ...params }, { name: "notes.md" }))[1];
  const front = "---\ntitle: \"Front & back\"\nlang: de\ntags: [a]\n---\n# First\n";
  assert.equal(await title(front, { title: "Given" }), "Given");
  assert.equal(await title(front), "Front &amp; back");
  assert.equal(await title("# First `one`\n"), "First one");
  assert.equal(await title("text\n"), "notes");
  assert.match(await run(task, front, { standalone: true }), /<html lang="de">/);
});

test("front matter is no text", async () => {
  assert.equal(await run(task, "---\r\ntitle: x\r\n---\r\ntext\n"), "<p>text</p>\n");
  assert.match(await run(task, "---\nno front matter"), /<hr>/);
});

test("a table of contents", async () => {
  const html = await run(task, "# A\n## B & C\n### D\n## B & C\n#### Deep\n# [É](x)\n", { toc: true });
  assert.match(html, /^<nav class="toc">/);
  const links = [...html.matchAll(/<a href="(#.*?)">(.*?)<\/a>/g)].map(([, href, text]) => `${href} ${text}`);
  assert.deepEqual(links, ["#a A", "#b--c B &amp; C", "#d D", "#b--c-1 B &amp; C", "#%C3%A9 É"]);
  const [nav] = html.split("</nav>");
  assert.equal(nav.match(/<ul>/g).length, nav.match(/<\/ul>/g).length);
  assert.equal(nav.match(/<li>/g).length, nav.match(/<\/li>/g).length);
});

test("scripts stay text", async () => {
  const text = "<script>alert(1)</script>\n\n[a](javascript:x) ![b](data:y) <b>\n";
  assert.doesNotMatch(await run(task, text), /<script|javascript:|data:|<b>/);
  assert.match(await run(task, text, { html: true }), /<script>/);
});
