import assert from "node:assert/strict";
import test from "node:test";

import { errorForStatus } from "../index.js";

function answer(status, body = "", headers = {}) {
  const response = new Response(body, { status, statusText: "Words", headers });
  Object.defineProperty(response, "url", { value: "https://user:pass@example.org/a/b?key=secret" });
  return response;
}

test("a good answer is the answer", async () => {
  const response = answer(200, "x");
  assert.equal(await errorForStatus(response), response);
});

test("a bad one says what, and whether another try may mend it", async () => {
  await assert.rejects(errorForStatus(answer(404, ' {\n "a":\t1 }\n')), {
    name: "HttpStatus",
    message: 'example.org/a/b: the server answered 404 Words: { "a": 1 }',
    status: 404,
  });
  await assert.rejects(errorForStatus(answer(503, "", { "retry-after": "120" })), { transient: true, retryAfterMs: 120_000 });
  await assert.rejects(errorForStatus(answer(429, "", { "retry-after": "Sun, 06 Nov 1994 08:49:37 GMT" })), { retryAfterMs: 0 });
  await assert.rejects(errorForStatus(answer(429, "", { "retry-after": "soon" })), { retryAfterMs: undefined });
  const error = await errorForStatus(answer(500, "é".repeat(4000))).catch((error) => error);
  assert.ok(error.message.length < 600 && error.message.endsWith("…"));
});
