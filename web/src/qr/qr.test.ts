import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import codes from "../../../qr/testdata/codes.json";
import { encode } from "./qr";

test("the page draws the same codes as the terminal, which another decoder reads", () => {
  assert.ok(codes.length > 8);
  for (const { text, sum } of codes) {
    const drawn = encode(text).map((row) => `${row}\n`).join("");
    assert.equal(createHash("sha256").update(drawn).digest("hex"), sum, `${text.length} bytes`);
  }
});

test("a text that is too long has no code", () => {
  assert.deepEqual(encode("x".repeat(667)), []);
});
