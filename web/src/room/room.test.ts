import assert from "node:assert/strict";
import { test } from "node:test";
import type { Guest, Member } from "../core/events";
import { readLink } from "./link";
import { OwnLine, forgiveAfter, tellAfter } from "./ownline";
import { arrivals, changes, connectionOf, initials, openAtGateway, ordered } from "./roster";
import { Speakers, stageAfter } from "./speakers";
import { layout } from "./stage";
import { Truth, patience } from "./truth";

const member = (leaf: number, name: string, more: Partial<Member> = {}): Member => ({
  leaf,
  self: false,
  person: name,
  name,
  unit: "",
  device: "",
  assurance: 1,
  grade: "sealed",
  leg: `leg-${leaf}`,
  role: "member",
  muted: false,
  camera: false,
  screen: false,
  hand: false,
  ...more,
});

const pointer = "AbCdEfGhIjKlMnOpQrStUv";

test("a personal link gives meeting, token and pin; anything malformed counts as absent", () => {
  assert.deepEqual(readLink(`/m/${pointer}`, "#e=tok_en-1&r=pin"), { meeting: pointer, token: "tok_en-1", root: "pin" });
  assert.deepEqual(readLink(`/m/${pointer}`, ""), { meeting: pointer });
  assert.deepEqual(readLink("/", "#e=a&r=b"), { token: "a", root: "b" });
  assert.deepEqual(readLink(`/m/${pointer}x`, "#e=a"), { malformed: true }, "a token without a pin is none");
  assert.deepEqual(readLink(`/m/${pointer}/`, "#e=<b>&r=x"), { malformed: true });
  for (const path of ["/", "/ready", "/devices", `/g/${pointer}`]) assert.equal(readLink(path, "").malformed, undefined, path);
  for (const path of ["/m/short", "/nonsense"]) assert.equal(readLink(path, "").malformed, true, path);
  assert.deepEqual(readLink(`/m/${pointer}`, `#e=${"a".repeat(200)}&r=b`), { meeting: pointer });
});

test("what changed in the room is told once, and never of oneself", () => {
  const before = [member(0, "Me", { self: true }), member(1, "Ada"), member(2, "Ben")];
  const after = [member(0, "Me", { self: true, hand: true }), member(1, "Ada", { lost: "x", hand: true }), member(3, "Cem")];
  assert.deepEqual(
    changes(before, after).map((c) => `${c.name} ${c.what}`),
    ["Ben went", "Ada lost", "Ada hand", "Cem came"],
  );
  assert.deepEqual(changes(after, after), []);
});

test("those who come to the door are told once", () => {
  const guest = (leg: string): Guest => ({ leg, name: leg, unit: "", assurance: 1, grade: "sealed", facts: null, since: "" });
  assert.deepEqual(arrivals([guest("a")], [guest("a"), guest("b")]).map((c) => c.leg), ["b"]);
});

test("the list begins with the chair and oneself", () => {
  const list = [member(3, "Zoe", { hand: true }), member(2, "Ada"), member(1, "Me", { self: true }), member(0, "Chair", { role: "chair" })];
  assert.deepEqual(ordered(list).map((m) => m.name), ["Chair", "Me", "Zoe", "Ada"]);
});

test("lines that end at a gateway are named", () => {
  assert.deepEqual(openAtGateway([member(0, "a"), member(1, "b", { grade: "hop" }), member(2, "c", { grade: "open" })]).map((m) => m.name), ["b", "c"]);
});

test("initials are of the first and the last name", () => {
  assert.equal(initials("Anna Maria Weber"), "AW");
  assert.equal(initials("jan"), "J");
  assert.equal(initials(""), "");
});

test("a slot belongs to the leaf whose key opens it, whatever the server says", () => {
  const truth = new Truth();
  truth.told({ audio: [5], camera: null, screen: null, crowded: false });
  assert.equal(truth.in("microphone", 0), -1);
  truth.opened("microphone", 0, 2);
  assert.equal(truth.in("microphone", 0), 2);
  assert.equal(truth.slotOf("microphone", 2), 0);
  assert.equal(truth.slotOf("microphone", 5), undefined);
});

test("a lasting difference between server and keys is told once; a passing one never", () => {
  const truth = new Truth();
  truth.told({ audio: [1], camera: null, screen: null, crowded: false });
  truth.opened("microphone", 0, 2);
  assert.deepEqual(truth.check(0), []);
  assert.deepEqual(truth.check(patience - 1), []);
  truth.told({ audio: [2], camera: null, screen: null, crowded: false });
  assert.deepEqual(truth.check(patience + 1), [], "the server caught up");
  truth.told({ audio: [1], camera: null, screen: null, crowded: false });
  truth.check(10_000);
  assert.deepEqual(truth.check(10_001 + patience), [{ kind: "microphone", slot: 0, opened: 2, told: 1 }]);
  assert.deepEqual(truth.check(20_000 + patience), [], "once is enough");
});

test("silence in a slot that the server fills is no contradiction", () => {
  const truth = new Truth();
  truth.told({ audio: [1], camera: [1], screen: null, crowded: false });
  for (let now = 0; now < 20_000; now += 1000) assert.deepEqual(truth.check(now), []);
});

test("the stage does not jump at a cough", () => {
  const speakers = new Speakers();
  const at = (now: number, ...levels: [number, number][]) => speakers.feed(new Map(levels), now);
  at(0, [1, 0.1], [2, 0]);
  assert.equal(speakers.stage, 1);
  at(100, [1, 0], [2, 0.3]);
  at(200, [1, 0.2], [2, 0]);
  at(200 + stageAfter, [2, 0.3]);
  assert.equal(speakers.stage, 1, "a cough, then silence, then a cough");
  at(300 + 2 * stageAfter, [2, 0.3]);
  assert.equal(speakers.stage, 2);
  assert.ok(speakers.speaks(2, 400 + 2 * stageAfter));
  assert.ok(!speakers.speaks(1, 400 + 2 * stageAfter));
  speakers.keep(new Set([1]));
  assert.equal(speakers.stage, -1);
});

test("a weak line is told after five seconds, and taken back when it is good again", () => {
  const line = new OwnLine();
  const bad = { lossIn: 0.2, lossOut: 0, rtt: 50 };
  const good = { lossIn: 0, lossOut: Number.NaN, rtt: Number.NaN };
  assert.equal(line.feed(bad, 1000), false);
  assert.equal(line.feed(good, 2000), false, "a hiccup");
  assert.equal(line.feed(bad, 3000), false);
  assert.equal(line.feed(bad, 3000 + tellAfter), true);
  assert.equal(line.feed(good, 9000), true);
  assert.equal(line.feed(good, 9000 + forgiveAfter), false);
  assert.equal(line.feed({ lossIn: Number.NaN, lossOut: Number.NaN, rtt: Number.NaN }, 20_000), false, "no figures are no fault");
});

test("a shared screen is large, else who speaks, else whoever has a picture", () => {
  const truth = new Truth();
  const people = [member(0, "Me", { self: true }), member(1, "Ada"), member(2, "Ben"), member(3, "Cem")];
  truth.opened("camera", 0, 3);
  assert.equal(layout(people, truth, 1, -1).main?.leaf, 3);
  assert.equal(layout(people, truth, 1, 2).main?.leaf, 2);
  assert.deepEqual(layout(people, truth, 1, 2).strip.map((p) => p.leaf), [0, 3, 1]);
  truth.opened("screen", 0, 1);
  const shared = layout(people, truth, 1, 2);
  assert.deepEqual(shared.screen, { slot: 0, leaf: 1 });
  assert.equal(shared.strip.length, 4);
  assert.deepEqual(layout([people[0] as Member], truth, 1, -1), { strip: [{ leaf: 0 }] });
});

test("a screen of somebody who is no member is not shown", () => {
  const truth = new Truth();
  truth.opened("screen", 0, 9);
  assert.equal(layout([member(0, "Me", { self: true }), member(1, "Ada")], truth, 1, -1).screen, undefined);
});

test("a connection is called no better than it is known to be", () => {
  const well = { here: true, flowing: true, blocked: false, weak: false };
  const self = member(0, "Anna", { self: true });
  assert.equal(connectionOf(self, well), "good");
  assert.equal(connectionOf(self, { ...well, flowing: false }), "unknown", "nothing has been measured yet");
  assert.equal(connectionOf(self, { ...well, blocked: true, flowing: false }), "lost");
  assert.equal(connectionOf(self, { ...well, here: false }), "lost");
  assert.equal(connectionOf(self, { ...well, weak: true }), "weak");
  const ben = member(1, "Ben");
  assert.equal(connectionOf(ben, well), "here", "nobody here measures another's line");
  assert.equal(connectionOf(member(1, "Ben", { lost: "2026-01-01T00:00:00Z" }), well), "lost");
  assert.equal(connectionOf(member(1, "Ben", { grade: "hop" }), well), "phone");
  assert.equal(connectionOf(ben, { ...well, here: false }), "unknown", "nothing is known while the own line is away");
});
