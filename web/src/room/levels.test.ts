import assert from "node:assert/strict";
import { test } from "node:test";
import { claimsOf, selfOf } from "./check";
import { contrast, levelColour, levelsOf, levelWord } from "./levels";

test("levels are read with their words; what is malformed counts as none", () => {
  const levels = levelsOf([{ name: "OPEN", words: { de: "OFFEN", fr: 3 } }, { name: "INTERNAL" }]);
  assert.deepEqual(levels, [{ name: "OPEN", words: { de: "OFFEN" }, colour: "#141418", banner: {} }, { name: "INTERNAL", words: {}, colour: "#141418", banner: {} }]);
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

test("a level's banner is taken where white can be read on it; a server that says otherwise marks nothing away", () => {
  const levels = levelsOf([
    { name: "A", banner: { colour: "#1c4a96", words: { de: "Nicht weitersagen.", en: 1 } } },
    { name: "B", banner: { colour: "#ffffff" } },
    { name: "C", banner: { colour: "red;position:fixed" } },
  ]);
  assert.deepEqual(levels.map((l) => l.colour), ["#1c4a96", "#141418", "#141418"]);
  assert.deepEqual(levels[0]?.banner, { de: "Nicht weitersagen." });
  assert.equal(levelColour(levels, 0), "#1c4a96");
  assert.equal(levelColour(levels, 9), "#141418");
  assert.equal(contrast("#767676").toFixed(2), "4.54");
  assert.equal(contrast("#000").toFixed(2), "0.00");
});

test("a browser says its name, its major version and its network, as far as it knows them", () => {
  const chrome = { userAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36" };
  const firefox = { userAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0" };
  const brands = [{ brand: "Not?A_Brand", version: "99" }, { brand: "Chromium", version: "156" }, { brand: "Google Chrome", version: "156" }];
  assert.deepEqual(selfOf(chrome), { browser: "Chromium", version: "156", network: "" });
  assert.deepEqual(selfOf(firefox), { browser: "Firefox", version: "153", network: "" });
  assert.deepEqual(selfOf({ ...chrome, userAgentData: { brands }, connection: { type: "wifi" } }), { browser: "Google Chrome", version: "156", network: "wifi" });
  assert.deepEqual(selfOf({ userAgent: "odd", connection: { type: "WIFI <b>" } }), { browser: "", version: "", network: "" });
  const said = claimsOf({ microphoneLabel: "", speakerLabel: "" }, "", undefined, { browser: "Firefox", version: "153", network: "wifi" }, "hotel");
  assert.deepEqual(said.map((f) => `${f.name} ${f.value}`), ["browser Firefox", "browser_version 153", "network_type wifi", "place hotel"]);
  assert.deepEqual(claimsOf({ microphoneLabel: "", speakerLabel: "" }, ""), [], "what is not known or not answered is not said");
});
