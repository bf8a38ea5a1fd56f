import assert from "node:assert/strict";
import { test } from "node:test";
import { claimsOf } from "./check";
import { levelsOf, levelWord } from "./levels";

test("levels are read with their words; what is malformed counts as none", () => {
  const levels = levelsOf([{ name: "OPEN", words: { de: "OFFEN", fr: 3 } }, { name: "INTERNAL" }]);
  assert.deepEqual(levels, [{ name: "OPEN", words: { de: "OFFEN" } }, { name: "INTERNAL", words: {} }]);
  assert.equal(levelWord(levels, "OPEN", "de"), "OFFEN");
  assert.equal(levelWord(levels, "OPEN", "fr"), "OPEN");
  assert.equal(levelWord(levels, "SECRET", "de"), "SECRET", "a level that nobody named is shown as it came");
  for (const bad of [undefined, {}, "x", [null], [{ words: {} }], [{ name: 1 }]]) assert.deepEqual(levelsOf(bad), []);
  assert.equal(levelsOf(Array.from({ length: 99 }, (_, i) => ({ name: `L${i}` }))).length, 16);
  assert.equal(levelsOf([{ name: "x".repeat(500) }])[0]?.name.length, 80);
});

test("a browser says of its line what it knows, and nothing that nobody said", () => {
  const wired = { microphoneLabel: "Jabra UC (wired)", speakerLabel: "Jabra UC (wired)" };
  assert.deepEqual(claimsOf({ microphoneLabel: "", speakerLabel: "" }, ""), []);
  assert.deepEqual(claimsOf(wired, "").map((f) => f.name), ["headset"]);
  assert.deepEqual(claimsOf({ ...wired, speakerLabel: "AirPods Pro" }, "no").map((f) => `${f.name} ${f.value}`).slice(1), ["radio yes", "alone no"]);
});
