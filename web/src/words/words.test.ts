import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import codes from "./codes.json";
import { de } from "./de";
import { en } from "./en";
import { fr } from "./fr";
import { clockTime, count, endTime, fill, fixText, list, pickLanguage, problemText, span, speak, stopwatch, words } from "./words";

const web = process.env["CONCLAVE_WEB"] ?? "";
const catalogues = { en, de, fr };

for (const [name, catalogue] of Object.entries(catalogues)) {
  test(`the ${name} catalogue words every problem and every fix`, () => {
    assert.deepEqual(Object.keys(catalogue.problems).sort(), [...codes.problems].sort());
    assert.deepEqual(Object.keys(catalogue.fixes).sort(), [...codes.fixes].sort());
    for (const text of [...Object.values(catalogue.problems), ...Object.values(catalogue.fixes)]) {
      assert.match(text, /\S.*[.!]$|\)\.$/, "a whole sentence");
    }
  });
}

/** Every leaf of a catalogue with its path. */
function leaves(value: unknown, path: string): [string, string][] {
  if (typeof value === "string") return [[path, value]];
  return Object.entries(value as object).flatMap(([key, inner]) => leaves(inner, `${path}.${key}`));
}

test("all catalogues put the same arguments into the same texts", () => {
  const names = (text: string) => (text.match(/\{\w+\}/g) ?? []).sort().join();
  for (const catalogue of [de, fr]) {
    const other = new Map(leaves(catalogue, ""));
    for (const [path, text] of leaves(en, "")) {
      const translated = other.get(path);
      assert.ok(translated, `${path} is empty`);
      // A number may be left out where one is meant by the word itself.
      if (!path.endsWith(".one")) assert.equal(names(translated), names(text), path);
    }
  }
});

test("no line of French begins with a sign of its punctuation", () => {
  for (const [path, text] of leaves(fr, "")) assert.doesNotMatch(text, / [:;?!»]|« /, path);
});

test("every alarm names the difference", () => {
  const named: Readonly<Record<string, readonly string[]>> = codes.alarms;
  assert.deepEqual(Object.keys(named).sort(), codes.problems.filter((code) => code.startsWith("alarm_")).sort());
  for (const [code, args] of Object.entries(named)) {
    assert.ok(args.length > 0, code);
    for (const [language, { problems }] of Object.entries(catalogues)) {
      const text = problems[code as keyof typeof problems];
      for (const arg of args) assert.ok(text.includes(`{${arg}}`), `${language}: ${code} does not say {${arg}}`);
      for (const [, name] of text.matchAll(/\{(\w+)\}/g)) assert.ok(args.includes(name ?? ""), `${language}: ${code} is given no {${name}}`);
    }
  }
});

test("the interface says none of the field's words", () => {
  for (const catalogue of Object.values(catalogues)) {
    for (const [path, text] of leaves(catalogue, "")) assert.doesNotMatch(text, /\b(MLS|epoch|SFU|ICE|SFrame|leaf|WebRTC)\b/i, path);
  }
});

test("every code that the Go code and this page can emit is worded", () => {
  const problems = new Set(codes.problems);
  const fixes = new Set(codes.fixes);
  const seen = new Set<string>();
  const folders = ["admission", "cmd/conclave-wasm", "endpoint", "identity", "line", "pass", "roster", "server", "signal", "web/src"];
  for (const folder of folders) {
    const root = `${web}../${folder}/`;
    if (!existsSync(root)) continue;
    for (const name of readdirSync(root, { recursive: true }) as string[]) {
      // The check finds faults of its own, worded in check.means and check.fixes.
      if (name === "room/check.ts" || !/\.(go|ts|tsx)$/.test(name) || /(_test\.go|\.test\.ts|node_modules|dist\/)/.test(name)) continue;
      const source = readFileSync(root + name, "utf8");
      for (const [, code, fix] of [...source.matchAll(/\b[Cc]ode: *"([a-z0-9_]+)",(?: *[Aa]rgs: *(?:map\[string\]string)?\{[^}]*\},)?\s*[Ff]ix: *"([a-z0-9_]+)"/g), ...source.matchAll(/\babout\("([a-z0-9_]+)", "([a-z0-9_]+)"/g)]) {
        seen.add(code ?? "");
        assert.ok(problems.has(code ?? ""), `${folder}/${name}: the problem ${code} has no words`);
        assert.ok(fixes.has(fix ?? ""), `${folder}/${name}: the fix ${fix} has no words`);
      }
    }
  }
  assert.ok(seen.size > 20, `only ${seen.size} codes were found: the search is broken`);
});

test("a language is picked by the browser's list, English otherwise", () => {
  assert.equal(pickLanguage(["fr-CH", "de"]), "fr");
  assert.equal(pickLanguage(["nl", "de-AT"]), "de");
  assert.equal(pickLanguage(["ja"]), "en");
  assert.equal(pickLanguage([]), "en");
});

test("arguments are filled in, and what has none stays to be seen", () => {
  assert.equal(fill("{name} at {place}", { name: "Anna" }), "Anna at {place}");
  assert.equal(fill("{n}", { n: 0 }), "0");
});

test("numbers choose their words by the rules of the language", async () => {
  assert.equal(count(words.value.room.count, 1), "1 person");
  assert.equal(count(words.value.room.count, 0), "0 people");
  await speak("fr");
  assert.equal(count(words.value.room.count, 0), "0 personne", "French counts nought as one");
  assert.equal(list(["Anna", "Jan", "Marta"]), "Anna, Jan et Marta");
  await speak("en");
  assert.equal(list(["Anna", "Jan"]), "Anna and Jan");
});

test("a code from a newer server gets a sentence that is true of any problem", () => {
  assert.match(problemText({ code: "brand_new", fix: "newer" }), /brand_new/);
  assert.match(fixText({ code: "brand_new", fix: "newer" }), /newer/);
});

test("arguments that are codes are worded too", () => {
  assert.match(problemText({ code: "alarm_pass_lapsed", args: { name: "Jan" }, fix: "remove_member" }), /Jan/);
  assert.match(problemText({ code: "alarm_wrong_stream", args: { name: "Jan", stream: "microphone" }, fix: "leave_and_report" }), /Jan \(sound\)/);
});

test("the day on which a device was set up is said as people say it", () => {
  const told = { code: "device_before", args: { device: "Chrome, Windows", date: "2026-09-01T12:00:00Z" }, fix: "revoke_if_not_you" };
  assert.match(problemText(told), /“Chrome, Windows” was set up in your name, on 1 September 2026/);
  assert.match(problemText({ ...told, args: { ...told.args, date: "soon" } }), /on soon/, "what is no date stays");
});

test("clocks count", () => {
  assert.equal(span(4.9), "4 s");
  assert.equal(span(65), "1:05 min");
  assert.equal(span(-1), "0 s");
  assert.equal(stopwatch(40), "0:40");
  assert.match(clockTime(new Date(2026, 0, 1, 18, 5)), /^18:05$/);
  assert.equal(endTime(new Date(2026, 0, 1, 18, 5), new Date(2026, 0, 1, 9)), "18:05");
  assert.equal(endTime(new Date(2026, 0, 2, 18, 5), new Date(2026, 0, 1, 9)), "2 January 2026, 18:05");
});
