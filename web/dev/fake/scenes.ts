// The scenes: what the core would have told by then. Each is a list of events, and what the frames worker opened.

import type { Absent, Away, CoreEvent, Exception, Guest, Identity, LineEvent, Member, Problem, RosterEvent, StateEvent } from "../../src/core/events";

export interface Scene {
  link: { meeting?: string; token?: string; root?: string; ready?: boolean };
  events: CoreEvent[];
  /** Leaves by audio and camera slot; a screen by its leaf. */
  audio?: number[];
  camera?: number[];
  screen?: number;
  /** The slot that speaks. */
  speaks?: number;
  /** Presses these test ids one after the other. */
  press?: string[];
  weak?: boolean;
  blocked?: boolean;
  muted?: boolean;
  devices?: "none" | "refused";
}

const ago = (seconds: number) => new Date(Date.now() - seconds * 1000).toISOString();
const pointer = "AAAAAAAAAAAAAAAAAAAAAA";
const link = { meeting: pointer };
const identity: Identity = { organisation: "Example Ministry", name: "Anna Weber", unit: "Interior", until: new Date(Date.now() + 6 * 86_400_000).toISOString() };
const enrolled: CoreEvent = { event: "identity", identity };
const state = (s: StateEvent): CoreEvent => ({ event: "state", state: s });

const line = (more: Partial<LineEvent> = {}): CoreEvent => ({
  event: "line",
  line: {
    organisation: "Example Ministry",
    person: "Anna Weber",
    unit: "Interior",
    grade: "sealed",
    facts: [
      { name: "kind", value: "endpoint", proven: true },
      { name: "enrolled", value: "yes", proven: true },
      { name: "network", value: "unlisted", proven: true },
    ],
    findings: [],
    enough: true,
    ...more,
  },
});

const member = (leaf: number, name: string, unit: string, more: Partial<Member> = {}): Member => ({
  leaf,
  self: false,
  person: name.toLowerCase().replace(" ", "."),
  name,
  unit,
  device: "9f3a1c77d0e24b6188aa0c1d2e3f4a5b",
  assurance: 1,
  grade: "sealed",
  leg: `00000000000000${leaf.toString(16).padStart(2, "0")}`,
  role: "member",
  muted: false,
  camera: true,
  screen: false,
  hand: false,
  ...more,
});

const anna = member(0, "Anna Weber", "Interior", { self: true, role: "chair", grade: "guarded" });
const marta = member(1, "Marta Rossi", "Foreign Affairs");
const jan = member(2, "Jan Novák", "Transport");
const karin = member(3, "Karin Lindqvist", "Guest of Anna Weber", { assurance: 0 });
const guests: Guest[] = [
  { leg: "00000000000000f1", name: "Daniel Okafor", unit: "Border Agency", assurance: 2, grade: "guarded", facts: [{ name: "network", value: "headquarters", proven: true }], since: ago(40) },
  { leg: "00000000000000f2", name: "Zofia Król", unit: "Transport", assurance: 1, grade: "sealed", facts: [{ name: "alone", value: "yes", proven: false }], since: ago(12) },
];

const meeting: CoreEvent = { event: "meeting", meeting: { title: "Border liaison, weekly", level: 2, level_name: "RESTRICTED", since: ago(42 * 60 + 5), role: "chair" } };
const media: CoreEvent[] = [
  { event: "media_wanted", media: { slots: { audio: 4, camera: 3, screen: 1 }, server: { ufrag: "abcd", password: "p".repeat(22), fingerprint: "", candidates: [] } } },
  { event: "media_ready" },
];
const code: CoreEvent = { event: "code", code: { groups: ["48213", "90617", "35520", "71846", "20993", "66104"], epoch: 4, since: ago(600), why: "came", who: ["Karin Lindqvist"] } };
const roster = (members: Member[], waiting: Guest[] = [], beside: Partial<RosterEvent> = {}): CoreEvent => ({ event: "roster", roster: { members, waiting, ...beside } });
const into = (members: Member[], waiting: Guest[] = []): CoreEvent[] => [
  enrolled,
  line(),
  state({ state: "checked" }),
  meeting,
  ...media,
  state({ state: "in" }),
  code,
  roster(members, waiting),
];
const problem = (code: string, fix: string, args?: Record<string, string>): Problem => ({ code, fix, ...(args && { args }) });
const crowd = Array.from({ length: 20 }, (_, i) => member(4 + i, `${["Ada", "Boris", "Chloé", "Dmitri", "Eva"][i % 5]} ${["Moreau", "Keller", "Santos", "Ionescu"][i % 4]}`, "Finance", { camera: i < 2, muted: i % 2 === 0 }));
const room = { link, audio: [1, 2, 3], camera: [1, 2, 3], speaks: 0 };

const four = [anna, marta, jan, karin];
const phone = member(7, "Peter Brandt", "+49 30 ••• 471", { grade: "open", assurance: 0, camera: false, kind: "phone", gateway: true });
const away: Away[] = [{ leg: jan.leg, name: "Jan Novák", unit: "Transport", reasons: [problem("headset_radio", "use_wired_headset")], since: ago(38) }];
const notice = (id: string, code: string, fix: string, args: Record<string, string>) => ({ event: "notice" as const, notice: { id, notice: problem(code, fix, args), link: "/devices" } });
const before = [
  notice("1", "device_before", "revoke_if_not_you", { device: "Chrome, Windows", date: "2026-09-01T08:12:00Z" }),
  notice("2", "device_link_made", "revoke_if_not_you", { device: "Firefox, Linux", date: "2026-08-14T10:00:00Z" }),
  notice("3", "device_before", "revoke_if_not_you", { device: "Safari, iPhone", date: "2026-02-28T16:40:00Z" }),
  notice("4", "device_before_more", "look_at_devices", { count: "2" }),
];
const absent: Absent[] = [
  { person: "ingrid.falk", name: "Ingrid Falk", unit: "Foreign Affairs", ringing: false },
  { person: "peter.brandt", name: "Peter Brandt", unit: "Field office, Nicosia", ringing: true },
  { person: "zofia.krol", name: "Zofia Król", unit: "Transport", ringing: false, against: { code: "phone_no_number", fix: "ask_administrator" } },
];
const stranger: Guest = { leg: "00000000000000f3", name: "Viktor Hale", unit: "", assurance: 0, grade: "sealed", kind: "guest", known: false, since: ago(9), facts: [{ name: "country", value: "SG", proven: true }, { name: "operator", value: "hosting", proven: true }, { name: "device_age", value: "new", proven: true }, { name: "alone", value: "yes", proven: false }], reasons: [problem("chair_decides", "wait_for_chair")] };
const caller: Guest = { leg: "00000000000000f4", name: "Peter Brandt", unit: "+49 30 ••• 471", assurance: 0, grade: "open", kind: "phone", known: false, since: ago(21), facts: [{ name: "phone_line", value: "ordinary phone", proven: true }] };
const barred: Guest = { leg: "00000000000000f5", name: "Ingrid Falk", unit: "Foreign Affairs", assurance: 2, grade: "sealed", kind: "device", known: true, since: ago(66), facts: [{ name: "country", value: "SG", proven: true }, { name: "travel", value: "unannounced", proven: true }, { name: "risk", value: "raised", proven: true }], reasons: [problem("travel_unannounced", "announce_trip")], exceptable: true };
const exception: Exception = { id: 3, leg: barred.leg, name: "Ingrid Falk", waives: [problem("travel_unannounced", "announce_trip")], reason: "Her deputy is ill; she briefs us from the embassy.", by: "Anna Weber", second: "", until: new Date(Date.now() + 5 * 60_000).toISOString(), can: false };
const quarantined = (...reasons: Problem[]) => [...into(four), state({ state: "quarantined", reasons, since: ago(38) })];

export const scenes: Record<string, Scene> = {
  home: { link: {}, events: [{ event: "identity", identity: null }] },
  enrol: { link: { meeting: pointer, token: "t", root: "r" }, events: [{ event: "identity", identity: null }] },
  "enrol-failed": { link: { meeting: pointer, token: "t", root: "r" }, events: [{ event: "identity", identity: null }, { event: "enrol_failed", problem: problem("link_used", "ask_link") }] },
  stranger: { link, events: [{ event: "identity", identity: null }] },
  check: { link, events: [enrolled, line(), state({ state: "checked" })] },
  "check-testing": { link, events: [enrolled] },
  "check-radio": { link, events: [enrolled, line({ findings: [problem("headset_radio", "use_wired_headset")] }), state({ state: "checked" })] },
  "check-bad": { link, events: [enrolled, line({ grade: "open", enough: false, findings: [problem("line_too_weak", "use_enrolled_device"), problem("not_invited", "ask_chair_for_invitation")] }), state({ state: "checked" })], devices: "refused" },
  waiting: { link, events: [enrolled, line(), state({ state: "waiting", since: ago(40) })] },
  entering: { link, events: [enrolled, line(), state({ state: "entering" })] },
  refused: { link, events: [enrolled, state({ state: "refused", again: true, reasons: [problem("line_too_weak", "use_enrolled_device"), problem("not_alone", "be_alone")] })] },
  declined: { link, events: [enrolled, state({ state: "refused", again: true, reasons: [problem("door_declined", "call_chair")] })] },
  room: { ...room, events: into([anna, marta, jan, karin], guests) },
  "room-member": { ...room, events: into([{ ...anna, role: "member" }, { ...marta, role: "chair" }, jan, karin]) },
  "room-two": { link, audio: [1], camera: [1], speaks: 0, events: into([{ ...anna, role: "member" }, marta]) },
  "room-alone": { link, events: into([anna]) },
  "room-lost": { ...room, events: [...into([anna, marta, jan, karin]), roster([anna, marta, { ...jan, lost: ago(4) }, { ...karin, camera: false, muted: true, hand: true }])], camera: [1, 2] },
  "room-gateway": { ...room, events: into([anna, marta, jan, member(7, "+49 30 ••• 471", "Says: Peter Brandt", { grade: "hop", assurance: 0, camera: false })]) },
  "room-screen": { ...room, screen: 2, events: into([anna, marta, { ...jan, screen: true }, karin]) },
  "room-crowd": { ...room, events: into([anna, marta, jan, karin, ...crowd]) },
  "room-weak": { ...room, weak: true, events: into([anna, marta, jan, karin]) },
  "room-alarm": { ...room, events: [...into([anna, marta, jan, karin]), { event: "alarm", alarm: { problem: problem("slot_owner", "leave_now") } }] },
  "room-failed": { ...room, events: [...into([anna, marta, jan, karin]), { event: "failed", failed: { of: "remove", reason: problem("leg_unknown", "look_again") } }] },
  "room-people": { ...room, events: into([anna, marta, { ...jan, lost: ago(4) }, karin], guests), press: ["people"] },
  reconnecting: { ...room, events: [...into([anna, marta, jan, karin]), state({ state: "reconnecting", since: ago(14) })] },
  back: { ...room, events: [...into([anna, marta, jan, karin]), state({ state: "reconnecting", since: ago(26) }), state({ state: "in" })] },
  member: { ...room, events: into([anna, marta, jan, karin]), press: ["options:1"] },
  remove: { ...room, events: into([anna, marta, jan, karin]), press: ["options:1", "remove"] },
  removed: { ...room, events: into([anna, marta, jan, karin]), press: ["options:1", "remove", "remove-now"] },
  leave: { ...room, events: into([anna, marta, jan, karin]), press: ["leave"] },
  keys: { ...room, events: into([anna, marta, jan, karin]), press: ["keys"] },
  code: { ...room, events: into([anna, marta, jan, karin]), press: ["code-how"] },
  "room-blocked": { ...room, blocked: true, events: into([anna, marta, jan, karin]) },
  "ended-declined": { link, events: [enrolled, state({ state: "ended", reasons: [problem("door_declined", "call_chair")] })] },
  ended: { link, events: [...into([anna, marta]), state({ state: "ended", reasons: [problem("left", "join_again")] })] },
  "ended-removed": { link, events: [...into([anna, marta]), state({ state: "ended", reasons: [problem("removed_wrong_meeting", "call_chair")] })] },
  "ended-replaced": { link, events: [...into([anna, marta]), state({ state: "ended", reasons: [problem("leg_replaced", "go_on_there")] })] },
  "ended-over": { link, events: [...into([anna, marta]), state({ state: "ended", reasons: [problem("meeting_over", "ask_chair_for_meeting")] })] },
  quarantined: { ...room, events: quarantined(problem("headset_radio", "use_wired_headset")) },
  "quarantined-alone": { ...room, events: quarantined(problem("not_alone", "be_alone"), problem("network_not_approved", "use_approved_network")) },
  "quarantined-good": { ...room, events: [...quarantined(problem("not_alone", "be_alone")), state({ state: "entering" })] },
  "room-away": { ...room, audio: [1, 3], camera: [1, 3], events: [...into(four), roster([anna, marta, karin], [], { away })] },
  "room-paused": { ...room, events: [...into(four), roster(four, [], { paused: { since: ago(20), by: "Marta Rossi", can: true } })] },
  "room-paused-nameless": { ...room, events: [...into([{ ...anna, role: "member" }, { ...marta, role: "chair" }, jan]), roster([{ ...anna, role: "member" }, { ...marta, role: "chair" }, jan], [], { paused: { since: ago(20), by: "", can: false } })] },
  "room-raised": { ...room, events: [...into(four), { event: "meeting", meeting: { title: "Border liaison, weekly", level: 3, level_name: "CONFIDENTIAL", since: ago(42 * 60), role: "chair", raised: "Anna Weber" } }] },
  raise: { ...room, events: into(four), press: ["raise"] },
  except: { ...room, events: [...into(four), roster([anna, marta, karin], [], { away: [{ ...away[0]!, reasons: [problem("travel_unannounced", "announce_trip")], exceptable: true }] })], press: ["except-away"] },
  "exception-asked": { ...room, events: [...into(four), roster(four, [], { exceptions: [{ ...exception, by: "Marta Rossi", can: true }] })] },
  exception: { ...room, events: [...into(four), roster(four, [], { exceptions: [{ ...exception, second: "Marta Rossi" }], closed: ["screen"] })] },
  "room-phone": { ...room, events: [...into([anna, marta, jan]), roster([anna, marta, jan, phone], [], { closed: ["screen"] })] },
  "room-absent": { ...room, events: [...into([anna, marta, jan]), roster([anna, marta, jan], [], { absent })] },
  "room-absent-phone": { ...room, events: [...into([anna, marta, jan]), roster([anna, marta, jan, phone], [], { absent: [absent[0]!], closed: ["screen"] })] },
  "room-absent-none": { ...room, events: [...into([anna, marta]), roster([anna, marta], [], { absent: crowd.map((m) => ({ person: `p${m.leaf}`, name: m.name, unit: m.unit, ringing: false, against: { code: "phone_not_allowed", fix: "use_enrolled_device" } })) })] },
  door: { ...room, events: into(four, [...guests, stranger, caller, barred]) },
  notices: { ...room, events: [...into(four), { event: "notice", notice: { notice: problem("device_enrolled", "revoke_if_not_you", { device: "Chrome, Windows" }) } }, { event: "notice", notice: { notice: problem("call_refused_room", "ring_back", { name: "Jan Novák", person: "jan.novak" }) } }] },
  "notices-before": { link, events: [enrolled, line(), state({ state: "checked" }), ...before] },
  "notices-one": { link, events: [enrolled, line(), state({ state: "checked" }), before[0]!] },
  "quarantined-raised": { ...room, events: [...into([{ ...anna, role: "member" }, marta]), state({ state: "quarantined", level: "CONFIDENTIAL", since: ago(9), reasons: [problem("assertion_missing", "confirm_with_passkey"), problem("transport_open", "use_https")] })] },
  "room-alarm-read": { ...room, events: [...into(four), { event: "alarm", alarm: { problem: problem("alarm_hidden_member", "leave_and_report", { name: "Jan Novák" }) } }], press: ["alarm-read", "alarms"] },
  early: { link, events: [enrolled, line(), state({ state: "waiting", since: ago(40), early: true })] },
  touch: { link, events: [enrolled, line({ assertion: { nonce: "", server_fingerprint: "", credentials: [] } }), state({ state: "checked" })] },
  ready: { link: { ready: true }, events: [enrolled, line(), state({ state: "checked" })] },
  "ready-good": { link: { ready: true }, events: [enrolled, line(), state({ state: "checked" }), { event: "ready", ready: { level: 2, level_name: "RESTRICTED", ready: true, reasons: [], document: btoa("a signed document"), until: new Date(Date.now() + 48 * 3600_000).toISOString() } }] },
  "ready-not": { link: { ready: true }, events: [enrolled, line(), state({ state: "checked" }), { event: "ready", ready: { level: 3, level_name: "CONFIDENTIAL", ready: false, reasons: [problem("network_not_approved", "use_approved_network"), problem("headset_radio", "use_wired_headset")], document: btoa("a signed document"), until: new Date(Date.now() + 48 * 3600_000).toISOString() } }] },
};
