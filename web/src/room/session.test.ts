import assert from "node:assert/strict";
import { test } from "node:test";
import type { Command, CoreEvent, LineEvent, MediaOffer, MediaServer, MediaWanted, Member, StateEvent, StreamKind } from "../core/events";
import type { Core, Media } from "./core";
import { Session } from "./session";

/** The page's own edges, written by hand: the core's worker and the browser's media are not here. */
class Edge implements Core, Media {
  sent: Command[] = [];
  opened: MediaWanted[] = [];
  closed = 0;
  cameraWorks = true;
  offers: ((offer: MediaOffer) => void)[] = [];
  now = 1_000_000;
  later: { at: number; call: () => void }[] = [];

  onevent: (event: CoreEvent) => void = () => {};
  onscreenend = () => {};
  onopened: (kind: StreamKind, slot: number, leaf: number) => void = () => {};
  onconnected: (connected: boolean) => void = () => {};
  onbroken = () => {};
  onclear = () => {};
  onlevels: Media["onlevels"] = () => {};
  onsample: Media["onsample"] = () => {};

  send(command: Command): void {
    this.sent.push(command);
  }
  open(wanted: MediaWanted): Promise<MediaOffer> {
    this.opened.push(wanted);
    return new Promise((resolve) => this.offers.push(resolve));
  }
  fingerprint(): Promise<string> {
    return Promise.resolve("AAAA");
  }
  probes: (MediaServer | undefined)[] = [];
  probeWorks = true;
  probe(): Promise<{ ufrag: string; fingerprint: string }> {
    return this.probeWorks ? Promise.resolve({ ufrag: "u", fingerprint: "f" }) : Promise.reject(new Error("no connection"));
  }
  probeTo(server?: MediaServer): void {
    this.probes.push(server);
  }
  ready(): void {}
  close(): void {
    this.closed++;
  }
  suspended = 0;
  held = false;
  suspend(): void {
    this.suspended++;
  }
  mark(): void {}
  readonly unmarked: boolean[] = [];
  setUnmarked(allowed: boolean): void {
    this.unmarked.push(allowed);
  }
  setHeld(held: boolean): void {
    this.held = held;
  }
  setMuted(): void {}
  setCamera(on: boolean): Promise<boolean> {
    return Promise.resolve(on && this.cameraWorks);
  }
  setScreen(on: boolean): Promise<boolean> {
    return Promise.resolve(on);
  }
  setCrowded(): void {}

  after(ms: number, call: () => void): () => void {
    this.later.push({ at: this.now + ms, call });
    return () => {};
  }
  pass(ms: number): void {
    this.now += ms;
    const due = this.later.filter((l) => l.at <= this.now);
    this.later = this.later.filter((l) => l.at > this.now);
    for (const { call } of due) call();
  }
  dos(): string[] {
    return this.sent.map((c) => c.do);
  }
}

const link = { meeting: "m".repeat(22), token: "t", root: "r" };
const identity = { organisation: "Org", name: "Anna", unit: "Unit", until: "" };
const wanted: MediaWanted = { slots: { audio: 1, camera: 1, screen: 1 }, server: { ufrag: "u", password: "p", fingerprint: "", candidates: [] } };
const offer: MediaOffer = { ufrag: "u", password: "p", fingerprint: "f", ssrc: { microphone: 1, camera: 2, screen: 3 }, opus: 111, vp8: 96 };

const member = (leaf: number, name: string, more: Partial<Member> = {}): Member => ({
  leaf, self: false, person: name, name, unit: "", device: "", assurance: 1, grade: "sealed", leg: `leg-${leaf}`,
  role: "member", muted: false, camera: false, screen: false, hand: false, ...more,
});

function start() {
  const edge = new Edge();
  const session = new Session({ core: edge, media: edge, clock: { now: () => edge.now, after: (ms, call) => edge.after(ms, call) }, link, url: "ws://x" });
  const state = (state: StateEvent) => edge.onevent({ event: "state", state });
  const roster = (...members: Member[]) => edge.onevent({ event: "roster", roster: { members, waiting: [] } });
  const code = (digits: string) => edge.onevent({ event: "code", code: { groups: Array(6).fill(digits), epoch: 1, since: "", why: "came", who: [] } });
  return { edge, session, state, roster, code };
}

function inRoom() {
  const all = start();
  all.edge.onevent({ event: "identity", identity });
  all.state({ state: "checked" });
  all.session.join([]);
  all.edge.onevent({ event: "media_wanted", media: wanted });
  all.state({ state: "in" });
  all.code("11111");
  all.roster(member(0, "Anna", { self: true, role: "chair" }), member(1, "Ben"));
  return all;
}

test("an enrolled browser goes straight to the line check", () => {
  const { edge, session } = start();
  session.start();
  edge.onevent({ event: "identity", identity });
  assert.deepEqual(edge.dos(), ["identify", "open"]);
});

test("enrolling uses the link's token once, and a failure can be tried again", () => {
  const { edge, session } = start();
  edge.onevent({ event: "identity", identity: null });
  session.enrol("Laptop");
  session.enrol("Laptop");
  assert.equal(edge.sent.filter((c) => c.do === "enrol").length, 1);
  edge.onevent({ event: "enrol_failed", problem: { code: "link_used", fix: "ask_link" } });
  assert.equal(session.enrolProblem.value?.code, "link_used");
  session.enrol("Laptop");
  assert.equal(edge.sent.filter((c) => c.do === "enrol").length, 2);
});

test("what a browser says of itself is claimed, never proven", () => {
  const { edge, session, state } = start();
  state({ state: "checked" });
  session.join([{ name: "headset", value: "x".repeat(500) }]);
  const join = edge.sent.find((c) => c.do === "join");
  assert.ok(join?.do === "join");
  assert.equal(join.facts[0]?.proven, false);
  assert.ok((join.facts[0]?.value.length ?? 0) <= 256);
});

test("one who waits cannot ask twice", () => {
  const { edge, session, state } = start();
  state({ state: "waiting" });
  session.join([]);
  assert.ok(!edge.dos().includes("join"));
});

test("only the newest media path is told to the server", async () => {
  const { edge } = inRoom();
  edge.onevent({ event: "media_wanted", media: { ...wanted } });
  edge.offers[0]?.(offer);
  await Promise.resolve();
  await Promise.resolve();
  assert.ok(!edge.dos().includes("media"), "the first was overtaken");
  edge.offers[1]?.(offer);
  await Promise.resolve();
  await Promise.resolve();
  assert.equal(edge.dos().filter((d) => d === "media").length, 1);
});

test("a broken path asks the core for another, less and less often", () => {
  const { edge } = inRoom();
  const restarts = () => edge.dos().filter((d) => d === "restart").length;
  edge.onbroken();
  assert.equal(restarts(), 0);
  edge.pass(600);
  assert.equal(restarts(), 1);
  edge.onevent({ event: "media_wanted", media: { ...wanted } });
  edge.onbroken();
  edge.pass(600);
  assert.equal(restarts(), 1);
  edge.pass(600);
  assert.equal(restarts(), 2);
});

test("a room without a media path says so after some seconds, and takes it back", () => {
  const { edge, session } = inRoom();
  edge.onevent({ event: "media_ready" });
  for (let second = 0; second < 8; second++) {
    session.tick();
    assert.equal(session.blocked.value, false);
    edge.pass(1000);
  }
  session.tick();
  assert.equal(session.blocked.value, true);
  edge.onconnected(true);
  assert.deepEqual([session.blocked.value, session.flowing.value], [false, true]);
});

test("removed is said only when the roster says so", () => {
  const { edge, session, roster } = inRoom();
  const anna = member(0, "Anna", { self: true, role: "chair" });
  const ben = member(1, "Ben");
  session.remove(ben, "disturbs");
  roster(anna, ben);
  assert.ok(session.removing.value.has("leg-1"));
  assert.ok(!session.notes.value.some((n) => n.what === "removed"));
  roster(anna);
  assert.equal(session.removing.value.size, 0);
  assert.deepEqual(session.notes.value.map((n) => n.what), ["removed"], "and not also that he left");
  edge.pass(10_000);
  assert.equal(session.notes.value.length, 0);
});

test("a removal that failed is taken back and told", () => {
  const { edge, session } = inRoom();
  session.remove(member(1, "Ben"), "other");
  edge.onevent({ event: "failed", failed: { of: "remove", reason: { code: "not_chair", fix: "ask_chair" } } });
  assert.equal(session.removing.value.size, 0);
  assert.ok(session.notes.value.some((n) => n.what === "failed"));
});

test("whoever comes back is told how much was missed, and whether the code is new", () => {
  const { edge, session, state, code } = inRoom();
  state({ state: "reconnecting", since: new Date(edge.now).toISOString() });
  edge.pass(26_000);
  state({ state: "in" });
  assert.deepEqual(session.notes.value.at(-1), { what: "back", missed: 26, newCode: false });
  state({ state: "reconnecting", since: new Date(edge.now).toISOString() });
  code("22222");
  edge.pass(3000);
  state({ state: "in" });
  assert.deepEqual(session.notes.value.at(-1), { what: "back", missed: 3, newCode: true });
});

test("something that left unsealed stops everything, and it stays stopped", async () => {
  const { edge, session } = inRoom();
  edge.onclear();
  assert.ok(session.stopped.value);
  assert.equal(session.alarms.value[0]?.code, "frames_clear");
  edge.offers[0]?.(offer);
  await Promise.resolve();
  await Promise.resolve();
  edge.onbroken();
  edge.pass(60_000);
  assert.ok(!edge.dos().includes("restart") && !edge.dos().includes("media"));
});

test("the same alarm is shown once", () => {
  const { edge, session } = inRoom();
  for (let i = 0; i < 3; i++) edge.onevent({ event: "alarm", alarm: { problem: { code: "alarm_stranger", fix: "leave_and_report" } } });
  assert.equal(session.alarms.value.length, 1);
});

test("the end closes the media, forgets the own screen, and joining again starts clean", () => {
  const { edge, session, state } = inRoom();
  edge.onevent({ event: "alarm", alarm: { problem: { code: "alarm_group", fix: "join_again" } } });
  state({ state: "ended", reasons: [{ code: "left", fix: "join_again" }] });
  assert.ok(edge.closed > 0);
  session.open();
  assert.deepEqual([session.members.value, session.alarms.value, session.code.value, session.wasIn.value], [[], [], undefined, false]);
});

test("a camera that does not start is not shown as on", async () => {
  const { edge, session } = inRoom();
  edge.cameraWorks = false;
  await session.setCamera(true);
  assert.equal(session.camera.value, false);
});

test("stop asking leads back to the line check, not to an ending", () => {
  const { edge, session, state } = start();
  edge.onevent({ event: "identity", identity });
  state({ state: "waiting" });
  session.withdraw();
  state({ state: "ended", reasons: [{ code: "left", fix: "join_again" }] });
  assert.equal(session.state.value.state, "connecting");
  assert.deepEqual(edge.dos().slice(-2), ["leave", "open"]);
});

test("a line that is tested again, or a request that may be made again, begins a visit of its own", () => {
  const living: StateEvent[] = [{ state: "checked" }, { state: "refused", again: true, reasons: [{ code: "door_closed", fix: "ask_chair_to_open" }] }];
  for (const before of living) {
    const { edge, session, state } = start();
    edge.onevent({ event: "identity", identity });
    state(before);
    session.open();
    assert.equal(session.state.value.state, "connecting");
    assert.deepEqual(edge.dos().slice(-1), ["leave"], "the core follows one at a time");
    state({ state: "ended" });
    assert.equal(session.state.value.state, "connecting");
    assert.deepEqual(edge.dos().slice(-2), ["leave", "open"]);
  }
  const { edge, session, state } = start();
  edge.onevent({ event: "identity", identity });
  state({ state: "refused", reasons: [{ code: "not_invited", fix: "ask_chair" }] });
  session.open();
  assert.notEqual(edge.dos().at(-1), "leave", "that one is over");
});

test("all are muted once for each time that the chair asks, and may speak again", () => {
  const { edge, session, state } = start();
  edge.onevent({ event: "identity", identity });
  state({ state: "in" });
  const member = { leaf: 0, self: true, person: "p", name: "Anna", unit: "", device: "d", assurance: 1, grade: "sealed", leg: "l", role: "member", muted: false, camera: false, screen: false, hand: false } as const;
  const roster = (hushed?: { since: string; by: string; mine?: boolean }) => edge.onevent({ event: "roster", roster: { members: [member], waiting: null, ...(hushed && { hushed }) } });
  roster({ since: "2026-03-01T12:00:00Z", by: "Ben" });
  roster({ since: "2026-03-01T12:00:00Z", by: "Ben" });
  assert.equal(session.muted.value, false, "not by what was before");
  roster({ since: "2026-03-01T12:01:00Z", by: "Ben" });
  assert.equal(session.muted.value, true);
  assert.deepEqual(session.notes.value.map((n) => n.what === "hushed" && n.name), ["Ben"]);
  session.setMuted(false);
  assert.deepEqual(session.notes.value, [], "it is no longer so");
  roster({ since: "2026-03-01T12:01:00Z", by: "Ben" });
  assert.equal(session.muted.value, false);
  roster({ since: "2026-03-01T12:02:00Z", by: "Anna", mine: true });
  assert.equal(session.muted.value, false, "not who asked for it");
});

test("one who speaks while muted is told, one who coughs is not", () => {
  const { edge, session } = inRoom();
  session.setMuted(true);
  for (let i = 0; i < 3; i++) edge.onlevels([], 0.2);
  assert.equal(session.mutedSpeech.value, false);
  for (let i = 0; i < 10; i++) edge.onlevels([], 0.2);
  assert.equal(session.mutedSpeech.value, true);
  session.setMuted(false);
  edge.onlevels([], 0.2);
  assert.equal(session.mutedSpeech.value, false);
});

test("who speaks is taken from what opens, not from what the server says", () => {
  const { edge, session } = inRoom();
  edge.onevent({ event: "slots", slots: { audio: [0], camera: null, screen: null, crowded: false } });
  edge.onopened("microphone", 0, 1);
  edge.onlevels([0.3], 0);
  assert.deepEqual([...session.speaking.value], [1]);
});

test("a leg in quarantine holds no media, is told why, and comes back by itself", () => {
  const { edge, session, state } = inRoom();
  session.screen.value = true;
  const reasons = [{ code: "headset_radio", fix: "use_wired_headset" }];
  edge.onevent({ event: "hold", hold: { on: true } });
  edge.onevent({ event: "suspended" });
  assert.equal(edge.held, true, "a room that is paused is so still on the way back: only the core lets it go on");
  state({ state: "quarantined", reasons, since: new Date(edge.now - 2000).toISOString() });
  assert.equal(edge.suspended, 1, "the media path is gone");
  assert.equal(edge.closed, 0, "the devices are kept for the way back");
  assert.deepEqual(session.quarantine.value?.reasons, reasons);
  assert.equal(session.flowing.value, false);
  state({ state: "entering" });
  assert.ok(session.quarantine.value, "still out until it is in");
  edge.onevent({ event: "media_wanted", media: wanted });
  state({ state: "in" });
  assert.equal(session.quarantine.value, undefined);
  assert.equal(edge.opened.length, 2, "a media path of its own");
  assert.equal(edge.held, true);
  assert.ok(session.notes.value.some((n) => n.what === "back" && n.missed === 2));
  session.open();
  assert.equal(edge.held, false, "another core knows nothing of that pause");
});

test("from quarantine, one touch leads back where a raised level asks for it", async () => {
  const { edge, session, state } = inRoom();
  const reasons = [{ code: "assertion_missing", fix: "confirm_with_passkey" }];
  state({ state: "quarantined", reasons });
  session.touch([]);
  assert.equal(session.healing.value, false, "none is asked for");
  const assertion = { nonce: "AAAA", server_fingerprint: "AAAA", credentials: ["AAAA"] };
  state({ state: "quarantined", reasons, assertion });
  edge.sent = [];
  session.touch([{ name: "alone", value: "yes" }]);
  session.touch([]);
  await Promise.resolve();
  assert.deepEqual(edge.sent, [{ do: "join", facts: [{ name: "alone", value: "yes", proven: false }], fingerprint: "AAAA" }]);
  edge.onevent({ event: "failed", failed: { of: "join", reason: { code: "passkey_cancelled", fix: "passkey_again" } } });
  assert.equal(session.joinProblem.value?.code, "passkey_cancelled");
  assert.equal(session.state.value.state, "quarantined");
  session.touch([]);
  assert.equal(session.joinProblem.value, undefined);
  state({ state: "entering" });
  state({ state: "in" });
  assert.equal(session.healing.value, false);
});

test("a statement is renewed while the meeting goes on", () => {
  const { edge, session } = inRoom();
  edge.onevent({ event: "identity", identity: { ...identity, due: true } });
  edge.sent = [];
  session.renew();
  edge.onevent({ event: "renewed" });
  edge.onevent({ event: "identity", identity });
  assert.deepEqual(edge.dos(), ["renew"]);
  assert.equal(session.identity.value?.due, undefined);
  assert.deepEqual([session.state.value.state, edge.closed, edge.suspended], ["in", 0, 0]);
});

test("what is claimed of the line is told when it changes, and once", () => {
  const { edge, session, state } = start();
  session.claim([{ name: "alone", value: "yes" }]);
  assert.deepEqual(edge.dos(), [], "before joining it goes with the join");
  state({ state: "checked" });
  session.join([{ name: "alone", value: "yes" }]);
  state({ state: "in" });
  edge.sent = [];
  session.claim([{ name: "alone", value: "yes" }]);
  assert.deepEqual(edge.dos(), []);
  session.claim([{ name: "alone", value: "no" }]);
  assert.deepEqual(edge.sent, [{ do: "facts", facts: [{ name: "alone", value: "no", proven: false }] }]);
  state({ state: "quarantined", reasons: [{ code: "not_alone", fix: "be_alone" }] });
  session.claim([{ name: "alone", value: "yes" }]);
  assert.equal(edge.sent.length, 2, "in quarantine it is the way back");
});

test("who is in quarantine is told as that, never as somebody who left or came", () => {
  const { edge, session } = inRoom();
  const anna = member(0, "Anna", { self: true, role: "chair" });
  const ben = member(1, "Ben");
  const away = [{ leg: "leg-1", name: "Ben", unit: "", reasons: [{ code: "not_alone", fix: "be_alone" }], since: "" }];
  const beside = (members: Member[], more: object) => edge.onevent({ event: "roster", roster: { members, waiting: [], ...more } });
  beside([anna, ben], { away });
  assert.deepEqual(session.members.value.map((m) => m.name), ["Anna"], "also while the keys are being changed");
  beside([anna], { away });
  beside([anna, ben], { away: [] });
  assert.deepEqual(session.notes.value.map((n) => n.what), ["away", "healed"]);
});

test("a notice is shown once, and is read when the person says so", () => {
  const { edge, session } = inRoom();
  edge.sent = [];
  const told = { id: "device.0123", notice: { code: "device_enrolled", args: { device: "x" }, fix: "revoke_if_not_you" }, link: "/devices" };
  session.aside.notice(told);
  session.aside.notice({ ...told }); // told again on the next connection
  assert.equal(session.aside.notices.value.length, 1);
  session.aside.read(session.aside.notices.value[0]!);
  assert.deepEqual(edge.sent, [{ do: "read", id: "device.0123" }]);
});

test("a flood of notices pushes out no word on a device, and the first of those stay", () => {
  const { edge, session } = inRoom();
  const told = (id: string, code: string) => session.aside.notice({ id, notice: { code, fix: "revoke_if_not_you" } });
  told("device.1", "device_before");
  told("device.2", "device_before_more");
  for (let i = 0; i < 20; i++) told(`person.${i}`, "call_refused");
  const ids = () => session.aside.notices.value.map((n) => n.id);
  assert.deepEqual(ids().slice(0, 2), ["device.1", "device.2"]);
  assert.equal(ids().at(-1), "person.19", "of the others the last");
  for (let i = 3; i < 40; i++) told(`device.${i}`, "device_enrolled");
  assert.deepEqual(ids(), [1, 2, 3, 4, 5, 6, 7, 8].map((i) => `device.${i}`));
  edge.sent = [];
  session.aside.read(...session.aside.notices.value.slice(0, 2));
  assert.deepEqual(edge.sent, [{ do: "read", id: "device.1" }, { do: "read", id: "device.2" }]);
  assert.equal(ids().length, 6);
});

test("a paused room sends nothing; who may, lets it go on", () => {
  const { edge, session } = inRoom();
  const beside = (more: object) => edge.onevent({ event: "roster", roster: { members: session.members.value as Member[], waiting: [], ...more } });
  session.aside.pause(true);
  assert.deepEqual(edge.sent.at(-1), { do: "pause", on: true, anonymous: true });
  edge.onevent({ event: "hold", hold: { on: true } });
  beside({ paused: { since: "", by: "", can: true } });
  assert.equal(edge.held, true);
  const sent = edge.sent.length;
  session.aside.pause(false);
  assert.equal(edge.sent.length, sent, "it is paused already");
  session.aside.goOn();
  assert.deepEqual(edge.sent.at(-1), { do: "pause", on: false, anonymous: false });
  edge.onevent({ event: "hold", hold: { on: false } });
  beside({});
  assert.equal(edge.held, false);
  assert.deepEqual(session.notes.value.map((n) => n.what), ["paused_nameless", "continued"]);
});

test("a raised level is announced until it is read; one that is told while coming in is none", () => {
  const { edge, session } = inRoom();
  const meeting = (level: number, raised?: string) => edge.onevent({ event: "meeting", meeting: { title: "T", level, level_name: `L${level}`, since: "", role: "chair", ...(raised && { raised }) } });
  meeting(1);
  assert.deepEqual(session.notes.value, []);
  session.aside.raise(2);
  meeting(2, "Anna");
  assert.deepEqual(session.notes.value, [{ what: "raised", name: "Anna", level: "L2" }]);
  assert.equal(session.aside.raising.value, undefined);
  edge.pass(60_000);
  assert.equal(session.notes.value.length, 1);
});

test("who is not there is shown to whom it is told, and a ring shows until the roster or a failure answers it", () => {
  const { edge, session } = inRoom();
  const roster = (absent?: { person: string; name: string; unit: string; ringing: boolean }[]) =>
    edge.onevent({ event: "roster", roster: { members: session.members.value as Member[], waiting: [], ...(absent && { absent }) } });
  const jan = { person: "jan", name: "Jan", unit: "", ringing: false };
  roster([jan]);
  session.aside.ring("jan");
  assert.deepEqual([...session.aside.rung.value], ["jan"]);
  roster([{ ...jan, ringing: true }]);
  assert.deepEqual([...session.aside.rung.value], [], "from here on the roster says so");
  roster([jan]);
  session.aside.ring("jan");
  edge.onevent({ event: "failed", failed: { of: "ring", reason: { code: "phone_ring_too_soon", fix: "wait_a_minute" } } });
  assert.deepEqual([...session.aside.rung.value], []);
  assert.equal(session.notes.value.at(-1)?.what, "failed", "and says why");
  roster();
  assert.deepEqual(session.aside.absent.value, [], "a roster without them names nobody");
});

test("closed screens end a share, and a press says why", async () => {
  const { edge, session } = inRoom();
  await session.setScreen(true);
  edge.onevent({ event: "roster", roster: { members: session.members.value as Member[], waiting: [], closed: ["screen"] } });
  await Promise.resolve();
  await Promise.resolve();
  assert.equal(session.screen.value, false);
  await session.setScreen(true);
  assert.equal(session.screen.value, false);
  const failed = session.notes.value.find((n) => n.what === "failed");
  assert.ok(failed?.what === "failed" && failed.problem.code === "screen_closed");
});

test("several are let in by one command, one by the plain one", () => {
  const { edge, session } = inRoom();
  session.admitAll([]);
  session.admitAll(["a"]);
  session.admitAll(["b", "c"]);
  assert.deepEqual(edge.sent.slice(-2), [{ do: "decide", leg: "a", admit: true }, { do: "decide", legs: ["b", "c"], admit: true }]);
});

/** Lets what was promised come. */
const soon = () => new Promise((resolve) => setTimeout(resolve));

test("a mission is tested without a meeting, one at a time, and sound is tried first", async () => {
  const edge = new Edge();
  const session = new Session({ core: edge, media: edge, clock: { now: () => edge.now, after: (ms, call) => edge.after(ms, call) }, link: { ready: true }, url: "ws://x" });
  edge.onevent({ event: "identity", identity });
  assert.deepEqual(edge.sent, [{ do: "open", meeting: "A".repeat(22), url: "ws://x" }]);
  edge.onevent({ event: "state", state: { state: "checked" } });
  session.mission(2, []);
  session.mission(2, []);
  await soon();
  assert.deepEqual(edge.sent.slice(1), [{ do: "probe", ufrag: "u", fingerprint: "f" }], "the question waits for what comes of it");
  const { server } = wanted;
  edge.onevent({ event: "probing", probing: { server } });
  edge.onevent({ event: "probed", probed: { reached: true, facts: [] } });
  assert.deepEqual(edge.probes, [server, undefined], "the probe goes there, and is over");
  assert.equal(edge.dos().filter((d) => d === "mission").length, 1);
  edge.onevent({ event: "failed", failed: { of: "mission", reason: { code: "too_many", fix: "try_later" } } });
  assert.equal(session.readyProblem.value?.code, "too_many");
  // Where no probe can be had, the question is asked all the same: the server knows that it saw none.
  edge.probeWorks = false;
  session.mission(2, []);
  await soon();
  assert.equal(edge.dos().filter((d) => d === "mission").length, 2);
  edge.onevent({ event: "ready", ready: { level: 2, level_name: "RESTRICTED", ready: true, reasons: [], document: "AA==", until: "" } });
  assert.equal(session.ready.value?.ready, true);
  assert.equal(session.testing.value, false);
});

test("the line check tries the way of sound once, and says what came of it", async () => {
  const { edge, session, state } = start();
  edge.onevent({ event: "identity", identity });
  state({ state: "checked" });
  const line: LineEvent = { organisation: "Org", person: "Anna", unit: "", grade: "sealed", facts: [], findings: [], enough: true };
  edge.onevent({ event: "line", line });
  edge.onevent({ event: "line", line });
  await soon();
  assert.equal(edge.dos().filter((d) => d === "probe").length, 1);
  edge.onevent({ event: "probed", probed: { reached: false, facts: [], reason: { code: "media_blocked", args: { port: "7000" }, fix: "use_network_with_udp" } } });
  assert.equal(session.probed.value?.reached, false);
  assert.equal(session.state.value.state, "checked", "it keeps nobody out by itself");
  session.open();
  assert.equal(session.probed.value, undefined, "tested again, all is tried again");
  edge.onevent({ event: "line", line });
  await soon();
  edge.onevent({ event: "failed", failed: { of: "probe", reason: { code: "statement_expired", fix: "renew_enrolment" } } });
  assert.equal(session.notes.value.length, 0, "that there was no probe is no news");
});

test("a code that was compared stands so until it changes; a differing one stops what goes out", () => {
  const { edge, session } = inRoom();
  edge.onevent({ event: "code", code: { groups: ["1", "2"], epoch: 4, since: "", why: "came", who: [] } });
  session.codeCompared(4, true);
  assert.equal(session.compared.value?.epoch, session.code.value?.epoch);
  edge.onevent({ event: "code", code: { groups: ["3", "4"], epoch: 5, since: "", why: "came", who: [] } });
  assert.notEqual(session.compared.value?.epoch, session.code.value?.epoch);
  session.setMuted(false);
  session.codeCompared(5, true);
  session.codeCompared(5, false);
  assert.equal(session.compared.value, undefined);
  assert.equal(session.muted.value, true);
  assert.deepEqual(session.alarms.value.map((a) => [a.code, a.fix]), [["code_differs", "leave_now"]]);
  assert.equal(session.alarmed.value, true);
});

test("an alarm that was read can be read again, once", () => {
  const { edge, session } = inRoom();
  const alarm = { code: "alarm_stranger", fix: "leave_and_report" };
  for (let i = 0; i < 2; i++) {
    edge.onevent({ event: "alarm", alarm: { problem: alarm } });
    session.acknowledge(session.alarms.value[0]!);
  }
  assert.deepEqual(session.alarms.value, []);
  assert.deepEqual(session.readAlarms.value, [alarm]);
});

test("while the line is away nobody is said to speak", () => {
  const { edge, session, state } = inRoom();
  edge.onopened("microphone", 0, 1);
  edge.onlevels([0.5], 0.5);
  assert.deepEqual([...session.speaking.value], [1, 0]);
  state({ state: "reconnecting" });
  assert.equal(session.speaking.value.size, 0);
  edge.onlevels([0.5], 0.5);
  assert.equal(session.speaking.value.size, 0);
});

test("whoever is put out by a raised level is told of the level, and only they", () => {
  const { edge, session, state } = inRoom();
  edge.onevent({ event: "meeting", meeting: { title: "T", level: 1, level_name: "INTERNAL", since: "", role: "chair" } });
  const reasons = [{ code: "not_alone", fix: "be_alone" }];
  state({ state: "quarantined", reasons, level: "INTERNAL" });
  assert.equal(session.quarantine.value?.raised, undefined);
  state({ state: "quarantined", reasons, level: "RESTRICTED" });
  assert.equal(session.quarantine.value?.raised, "RESTRICTED");
});

test("a level that was not raised is told in the dialog that asked, or in passing", () => {
  const { edge, session } = inRoom();
  const reason = { code: "level_own_line", fix: "be_alone" };
  session.aside.askingToRaise = true;
  session.aside.raise(2);
  edge.onevent({ event: "failed", failed: { of: "raise", reason } });
  assert.deepEqual([session.aside.raiseProblem.value, session.aside.raising.value, session.notes.value.length], [reason, undefined, 0]);
  session.aside.askingToRaise = false;
  edge.onevent({ event: "failed", failed: { of: "raise", reason } });
  assert.equal(session.notes.value.length, 1);
});
