import assert from "node:assert/strict";
import { test } from "node:test";
import type { LineEvent } from "../core/events";
import { mayAsk, mayAskForException, stations, summary, type Known } from "./check";

const line: LineEvent = { organisation: "Org", person: "Anna", unit: "Unit", grade: "sealed", facts: [], findings: [], enough: true };
const good: Known = {
  identity: { organisation: "Org", name: "Anna", unit: "Unit", until: "2026-12-01T00:00:00Z" },
  abilities: { safeAddress: true, transform: true, keys: true, marks: true },
  state: { state: "checked" },
  line,
  assurance: undefined,
  sound: { microphone: "on", heard: true, open: 3, microphoneLabel: "Headset", speakerLabel: "Headset" },
  delay: 20,
  probed: { reached: true },
  host: "example.org",
  day: () => "then",
};
const marks = (known: Known) => Object.fromEntries(stations(known).map((s) => [s.id, s.mark]));

test("when all is good the person may ask", () => {
  const list = stations(good);
  assert.deepEqual(list.map((s) => s.mark), ["good", "good", "good", "good", "good", "ask"]);
  assert.deepEqual(summary(list), { code: "good", n: 0 });
  assert.ok(mayAsk(list, good.state));
});

test("before the server answered nobody may ask", () => {
  const known: Known = { ...good, line: undefined, state: { state: "connecting" } };
  assert.equal(summary(stations(known)).code, "testing");
  assert.ok(!mayAsk(stations(known), known.state));
});

test("a browser that cannot seal is bad, whatever the server says", () => {
  for (const [ability, code] of [["safeAddress", "browser_unsafe_address"], ["transform", "browser_no_transform"], ["keys", "browser_no_keys"]] as const) {
    const known: Known = { ...good, abilities: { safeAddress: true, transform: true, keys: true, marks: true, [ability]: false } };
    const browser = stations(known).find((s) => s.id === "browser");
    assert.equal(browser?.mark, "bad");
    assert.equal(browser?.means.fix, code);
    assert.ok(!mayAsk(stations(known), known.state));
  }
});

test("one may listen without a microphone, and is told what that means", () => {
  for (const microphone of ["refused", "missing", "busy"] as const) {
    const known: Known = { ...good, sound: { ...good.sound, microphone } };
    const list = stations(known);
    assert.equal(list.find((s) => s.id === "sound")?.means.fix, `sound_${microphone}`);
    assert.deepEqual(summary(list), { code: "better", n: 1 });
    assert.ok(mayAsk(list, known.state));
  }
  const asking: Known = { ...good, sound: { ...good.sound, microphone: "asking" } };
  assert.ok(mayAsk(stations(asking), asking.state), "the question for the microphone holds nobody up");
});

test("wireless sound devices are told, by their label", () => {
  assert.equal(marks({ ...good, sound: { ...good.sound, speakerLabel: "AirPods" } })["sound"], "better");
  assert.equal(marks({ ...good, sound: { ...good.sound, microphoneLabel: "Jabra (Bluetooth)" } })["sound"], "better");
});

test("a silent microphone is never called good, and told as a fault after some seconds", () => {
  const silent: Known = { ...good, sound: { ...good.sound, heard: false, open: 2 } };
  const list = stations(silent);
  assert.deepEqual(list.find((s) => s.id === "sound")?.means, { code: "sound_silent" });
  assert.equal(marks(silent)["sound"], "testing");
  assert.equal(summary(list).code, "testing", "not everything is good");
  assert.ok(mayAsk(list, silent.state), "nobody is held up by their silence");
  assert.equal(marks({ ...good, sound: { ...good.sound, heard: false, open: 20 } })["sound"], "better");
});

test("the way to the server is called protected only where it is", () => {
  const way = (value: string) => stations({ ...good, line: { ...line, facts: [{ name: "transport", value, proven: true }] } }).find((s) => s.id === "network");
  assert.equal(way("tls")?.means.code, "network_good_media");
  assert.equal(way("this machine")?.means.code, "network_here");
  assert.deepEqual([way("plain")?.means.code, way("plain")?.mark], ["network_open", "better"]);
  assert.equal(stations(good).find((s) => s.id === "network")?.means.code, "network_reached", "nothing was said of it");
});

test("what is found of where a line comes from stands at the network", () => {
  for (const code of ["origin_hidden", "travel_unannounced", "risk_raised", "media_elsewhere", "tls_intercepted", "transport_classical"]) {
    const m = marks({ ...good, line: { ...line, enough: false, findings: [{ code, fix: "use_other_network" }] } });
    assert.equal(m["network"], "bad", code);
    assert.equal(m["door"], "bad", `${code}: the door says that one would not be let in`);
  }
});

test("what the server found stands at its station, and decides at the door", () => {
  const known: Known = {
    ...good,
    line: { ...line, enough: false, findings: [{ code: "line_too_weak", fix: "use_enrolled_device" }, { code: "not_invited", fix: "ask_chair_for_invitation" }] },
  };
  const m = marks(known);
  assert.equal(m["network"], "bad");
  assert.equal(m["door"], "bad");
  assert.ok(!mayAsk(stations(known), known.state));
  assert.deepEqual(summary(stations(known)), { code: "bad", n: 2 });
});

test("each thing that stands in the way is counted once, and the door that stays shut for it is none", () => {
  const found = (...codes: string[]): Known => ({ ...good, line: { ...line, enough: false, findings: codes.map((code) => ({ code, fix: "come_later" })) } });
  const count = (...codes: string[]) => summary(stations(found(...codes)));
  assert.deepEqual(count("network_not_approved"), { code: "bad", n: 1 });
  assert.deepEqual(count("network_not_approved", "transport_open", "assertion_missing"), { code: "bad", n: 3 }, "two of them stand at one station");
  assert.deepEqual(count("meeting_early"), { code: "bad", n: 1 }, "what the door itself says counts");
  const unfit: Known = { ...good, abilities: { safeAddress: true, transform: false, keys: true, marks: true } };
  assert.deepEqual(summary(stations(unfit)), { code: "bad", n: 1 });
});

test("of a device that the server does not know it is not said that the server has checked it", () => {
  const m = stations({ ...good, line: { ...line, enough: false, findings: [{ code: "statement_invalid", fix: "enrol_again" }, { code: "person_unknown", fix: "ask_administrator" }] } });
  assert.deepEqual(m.filter((s) => s.mark === "bad").map((s) => s.id), ["device", "door"]);
});

test("an exception may be asked for where two could let pass all that the server finds, and nothing else is wrong", () => {
  const lacking = { ...line, enough: false, exceptable: true, findings: [{ code: "risk_raised", fix: "ask_for_exception" }] };
  const known: Known = { ...good, line: lacking };
  assert.ok(!mayAsk(stations(known), known.state));
  assert.ok(mayAskForException(stations(known), known.state, lacking));
  assert.ok(!mayAskForException(stations({ ...known, line: { ...lacking, exceptable: false } }), known.state, { ...lacking, exceptable: false }));
  const unsafe: Known = { ...known, abilities: { safeAddress: true, transform: false, keys: true, marks: true } };
  assert.ok(!mayAskForException(stations(unsafe), unsafe.state, lacking), "who cannot seal is let in by nobody");
  assert.ok(!mayAskForException(stations(known), { state: "waiting" }, lacking));
});

test("a browser that cannot mark what it plays is told so, and may ask: policy decides", () => {
  const known: Known = { ...good, abilities: { safeAddress: true, transform: true, keys: true, marks: false } };
  const list = stations(known);
  const browser = list.find((s) => s.id === "browser");
  assert.equal(browser?.mark, "better");
  assert.deepEqual(browser?.means, { code: "browser_no_marks", fix: "browser_no_marks" });
  assert.ok(mayAsk(list, known.state));
  const refused = stations({ ...known, line: { ...line, enough: false, findings: [{ code: "mark_absent", fix: "reload" }] } });
  assert.equal(refused.find((s) => s.id === "browser")?.mark, "bad");
});

test("a finding that forbids nothing leaves the door open", () => {
  const known: Known = { ...good, line: { ...line, findings: [{ code: "headset_radio", fix: "use_wired_headset" }] } };
  const list = stations(known);
  assert.equal(list.find((s) => s.id === "sound")?.mark, "better");
  assert.ok(mayAsk(list, known.state));
});

test("a chair that decides at the door is no fault of the line", () => {
  const known: Known = { ...good, line: { ...line, findings: [{ code: "chair_decides", fix: "wait_for_chair" }] } };
  const list = stations(known);
  assert.equal(list.find((s) => s.id === "door")?.mark, "ask");
  assert.deepEqual(summary(list), { code: "good", n: 0 });
  assert.ok(mayAsk(list, known.state));
});

test("nothing is bad that was only slow", () => {
  assert.equal(marks({ ...good, delay: 900 })["network"], "better");
  const blocked = stations({ ...good, probed: { reached: false, reason: { code: "media_blocked", args: { port: "7000" }, fix: "use_network_with_udp" } } }).find((s) => s.id === "network");
  assert.deepEqual([blocked?.mark, blocked?.means], ["better", { code: "network_no_media", fix: "network_no_media", args: { port: "7000" } }], "pages come through, sound does not");
  const untried: Known = { ...good, probed: undefined, line: { ...line, facts: [{ name: "transport", value: "tls", proven: true }] } };
  assert.equal(stations(untried).find((s) => s.id === "network")?.means.code, "network_good", "what was not tried is not praised");
});

test("whoever asked waits at the door", () => {
  const known: Known = { ...good, state: { state: "waiting", since: "2026-01-01T00:00:00Z" } };
  assert.equal(marks(known)["door"], "waiting");
  assert.equal(summary(stations(known)).code, "waiting");
});

test("the door says that the chair was asked only once it was", () => {
  const door = (state: Known["state"]) => stations({ ...good, state }).at(-1)?.means.code;
  assert.equal(door({ state: "asking" }), "door_asking", "until the server ruled, nobody knows who decides");
  assert.equal(door({ state: "entering" }), "door_asking", "where the door is open no chair ever is asked");
  assert.equal(door({ state: "waiting", since: "2026-01-01T00:00:00Z" }), "door_waiting");
});

test("a person without a unit is named without one", () => {
  const named = (unit: string) => stations({ ...good, line: { ...line, unit }, identity: { ...good.identity!, unit } })[0]?.means.args?.["name"];
  assert.equal(named("Unit"), "Anna, Unit");
  assert.equal(named(""), "Anna");
});
