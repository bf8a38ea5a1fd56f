// The line check: what is known of each station between a person and the room becomes a mark, what it means, and the one
// fix. Pure: the screens word it.

import type { Identity, LineEvent, Problem, StateEvent } from "../core/events";
import { reasonsFor } from "./reasons";

export type StationID = "person" | "device" | "browser" | "network" | "sound" | "door";
export type Mark = "good" | "better" | "bad" | "testing" | "ask" | "waiting";

/** A sentence of the catalogue (check.means) with its arguments, and the fix that goes with it (check.fixes). */
export interface Finding {
  code: string;
  args?: Record<string, string>;
  fix?: string;
}

export interface Station {
  id: StationID;
  mark: Mark;
  means: Finding;
  /** What the server found for this station, worst first; its words stand among the problems. */
  problems: Problem[];
}

/** What this browser can do, found out by trying. */
export interface Abilities {
  safeAddress: boolean;
  transform: boolean;
  keys: boolean;
  /** What is played can be marked; without, policy decides. */
  marks: boolean;
}

export type MicrophoneState = "asking" | "on" | "refused" | "missing" | "busy";

export interface Sound {
  microphone: MicrophoneState;
  /** Something was heard since the microphone was opened. */
  heard: boolean;
  /** Seconds since the microphone was opened. */
  open: number;
  microphoneLabel: string;
  speakerLabel: string;
}

export interface Known {
  identity: Identity | null | undefined;
  abilities: Abilities | undefined;
  state: StateEvent;
  line: LineEvent | undefined;
  assurance: number | undefined;
  sound: Sound;
  /** Ms that the last question to the server took, undefined before. */
  delay: number | undefined;
  /** Whether sound gets through, once that was tried. */
  probed: { reached: boolean; reason?: Problem } | undefined;
  host: string;
  /** Formats the statement's end. */
  day: (time: Date) => string;
}

/** To which station a finding of the server belongs; all others stand at the door. */
function stationOf(code: string): StationID {
  if (/^(device|assurance|assertion|passkey)/.test(code) || code === "statement_invalid") return "device";
  if (/^(statement|enrol|person|identity|invitation|root|grant|organisation)/.test(code)) return "person";
  if (/^(line|network|address|country|transport|tls|not_alone|place|origin|travel|risk|media)/.test(code)) return "network";
  if (/^(headset|sound|microphone|speaker|bluetooth)/.test(code)) return "sound";
  if (/^(browser|client|mark)/.test(code)) return "browser";
  return "door";
}

const wireless = /bluetooth|airpods|buds|hands-free|handsfree/i;

/** Whether a sound device's label says that it is wireless. */
export const isWireless = (label: string): boolean => wireless.test(label);

/** The answers to "where are you?" that a policy may speak of (admission/schema.cedarschema). */
export const places = ["office", "home", "on_the_way", "hotel", "public_place"] as const;
export type Place = (typeof places)[number];

/** What a browser says of itself: its name and major version, and the kind of network that it thinks it is on. */
export interface Self {
  browser: string;
  version: string;
  network: string;
}

interface AboutSelf {
  userAgent: string;
  userAgentData?: { brands?: readonly { brand: string; version: string }[] };
  connection?: { type?: string };
}

/** Reads it; what is not said stays empty. */
export function selfOf(navigator: AboutSelf): Self {
  const network = /^[a-z]{1,16}$/.exec(navigator.connection?.type ?? "")?.[0] ?? "";
  // Of the brands one is made up, so that nobody relies on the list; of those left, the maker's own says more than the engine's.
  const brands = (navigator.userAgentData?.brands ?? []).filter((b) => !/not.?a.?brand/i.test(b.brand));
  const brand = brands.find((b) => b.brand !== "Chromium") ?? brands[0];
  if (brand) return { browser: brand.brand.slice(0, 40), version: brand.version.slice(0, 8), network };
  for (const [mark, browser] of [["Edg", "Microsoft Edge"], ["Firefox", "Firefox"], ["Chrome", "Chromium"], ["Version", "Safari"]] as const) {
    const version = new RegExp(`${mark}/(\\d{1,4})`).exec(navigator.userAgent)?.[1];
    if (version) return { browser, version, network };
  }
  return { browser: "", version: "", network };
}

/** What this browser says of its own line. Alone and place: nothing is said where the person has not said it. */
export function claimsOf(
  sound: { microphoneLabel: string; speakerLabel: string },
  alone: "" | "yes" | "no",
  mark?: "running" | "absent",
  self: Self = { browser: "", version: "", network: "" },
  place: Place | "" = "",
): { name: string; value: string }[] {
  const headset = [sound.speakerLabel, sound.microphoneLabel].filter(Boolean).join(" / ");
  return [
    ...(headset ? [{ name: "headset", value: headset }] : []),
    ...(isWireless(headset) ? [{ name: "radio", value: "yes" }] : []),
    ...(alone ? [{ name: "alone", value: alone }] : []),
    ...(mark ? [{ name: "mark", value: mark }] : []),
    ...(self.browser ? [{ name: "browser", value: self.browser }] : []),
    ...(self.version ? [{ name: "browser_version", value: self.version }] : []),
    ...(self.network ? [{ name: "network_type", value: self.network }] : []),
    ...(place ? [{ name: "place", value: place }] : []),
  ];
}

/** The six stations, in the order from the person to the door. */
export function stations(known: Known): Station[] {
  const reasons = reasonsFor(known.identity, known.line?.findings ?? [], !!known.line?.assertion);
  const found = (id: StationID) => reasons.filter((p) => stationOf(p.code) === id);
  const make = (id: StationID, mark: Mark, means: Finding): Station => {
    const problems = found(id);
    const worse: Mark = known.line && !known.line.enough ? "bad" : "better";
    return { id, means, problems, mark: problems.length > 0 && (mark === "good" || mark === "better") ? worse : mark };
  };
  const before = [
    person(known, make),
    make("device", known.line ? "good" : "testing", { code: known.line ? "device_good" : "device_testing" }),
    browser(known, make),
    network(known, make),
    sound(known, make),
  ];
  return [...before, door(known, before, found("door"))];
}

type Make = (id: StationID, mark: Mark, means: Finding) => Station;

function person({ identity, day, line }: Known, make: Make): Station {
  if (!identity) return make("person", "testing", { code: "person_testing" });
  const args = {
    name: [line?.person || identity.name, line?.unit || identity.unit].filter(Boolean).join(", "),
    organisation: identity.organisation,
    until: identity.until ? day(new Date(identity.until)) : "…",
  };
  return make("person", "good", { code: "person_good", args });
}

function browser({ abilities }: Known, make: Make): Station {
  if (!abilities) return make("browser", "testing", { code: "browser_testing" });
  const bad = !abilities.safeAddress ? "browser_unsafe_address" : !abilities.transform ? "browser_no_transform" : !abilities.keys ? "browser_no_keys" : undefined;
  if (bad) return make("browser", "bad", { code: bad, fix: bad });
  if (!abilities.marks) return make("browser", "better", { code: "browser_no_marks", fix: "browser_no_marks" });
  return make("browser", "good", { code: "browser_good" });
}

function network({ state, line, delay, host, probed }: Known, make: Make): Station {
  if (state.state === "reconnecting" || (state.state === "refused" && !line)) {
    return make("network", "bad", { code: "network_unreachable", fix: "network_unreachable", args: { host } });
  }
  if (!line) return make("network", "testing", { code: "network_testing" });
  // That pages come through says nothing of sound: many a hotel lets no UDP out.
  if (probed && !probed.reached) {
    return make("network", "better", { code: "network_no_media", fix: "network_no_media", args: { port: probed.reason?.args?.["port"] ?? "" } });
  }
  if (delay !== undefined && delay > 400) {
    return make("network", "better", { code: "network_slow", fix: "network_slow", args: { ms: String(Math.round(delay)) } });
  }
  switch (line.facts?.find((f) => f.name === "transport")?.value) {
    case "tls":
      return make("network", "good", { code: probed ? "network_good_media" : "network_good" });
    case "plain":
      return make("network", "better", { code: "network_open", fix: "browser_unsafe_address" });
    case "this machine":
      return make("network", "good", { code: "network_here" });
  }
  return make("network", "good", { code: "network_reached" });
}

function sound({ sound: s }: Known, make: Make): Station {
  const problem = (mark: Mark, code: string, args?: Record<string, string>) => make("sound", mark, { code, fix: code, ...(args && { args }) });
  switch (s.microphone) {
    case "asking":
      return make("sound", "testing", { code: "sound_testing" });
    case "refused":
    case "missing":
    case "busy":
      return problem("better", `sound_${s.microphone}`);
  }
  const radio = [s.microphoneLabel, s.speakerLabel].find(isWireless);
  if (radio) return problem("better", "sound_bluetooth", { device: radio });
  // A person who waits in silence is not at fault, but nobody has heard them either; after a while something may be wrong.
  if (!s.heard) return s.open > 8 ? problem("better", "sound_silent") : make("sound", "testing", { code: "sound_silent" });
  return s.speakerLabel
    ? make("sound", "good", { code: "sound_good", args: { speaker: s.speakerLabel } })
    : make("sound", "good", { code: "sound_good_default" });
}

function door({ state, line }: Known, before: readonly Station[], found: readonly Problem[]): Station {
  // That somebody decides is how doors are: it is said, and it is no fault of the line.
  const problems = found.filter((p) => p.code !== "chair_decides");
  const ask = problems.length < found.length ? "door_chair" : "door_ask";
  const station = (mark: Mark, code: string): Station => ({ id: "door", mark, means: { code }, problems });
  if (state.state === "waiting" && state.early) return station("waiting", "door_early");
  if (state.state === "waiting") return station("waiting", "door_waiting");
  // Until now the server alone was asked; where the door is open no chair ever is.
  if (state.state === "asking" || state.state === "entering") return station("waiting", "door_asking");
  if (!line) return station("testing", "door_testing");
  if (!line.enough || problems.length > 0) return station(line.enough ? "better" : "bad", line.enough ? ask : "door_bad");
  if (before.some((s) => s.mark === "bad")) return station("testing", "door_testing");
  return station("ask", ask);
}

/** What the sentence above the rail says. */
export function summary(list: readonly Station[]): { code: "testing" | "good" | "better" | "bad" | "waiting"; n: number } {
  const of = (mark: Mark) => list.filter((s) => s.mark === mark).length;
  if (of("waiting") > 0) return { code: "waiting", n: 0 };
  const bad = list.filter((s) => s.mark === "bad");
  if (bad.length > 0) {
    // The door that stays shut for what stands elsewhere is no further thing; and of one station there may be several.
    const n = bad.reduce((sum, s) => sum + (s.means.code === "door_bad" ? s.problems.length : Math.max(1, s.problems.length)), 0);
    return { code: "bad", n: Math.max(1, n) };
  }
  if (list.some((s) => s.id !== "sound" && s.mark === "testing")) return { code: "testing", n: 0 };
  if (of("better") > 0) return { code: "better", n: of("better") };
  // Sound is no bar, but what was not heard is not called good.
  if (of("testing") > 0) return { code: "testing", n: 0 };
  return { code: "good", n: 0 };
}

/** Whether the person may ask: everything but sound has been found good enough. */
export function mayAsk(list: readonly Station[], state: StateEvent): boolean {
  return state.state === "checked" && list.every((s) => s.id === "sound" || (s.mark !== "bad" && s.mark !== "testing"));
}

/** Whether the person may ask for an exception: the server alone finds something wrong, and nothing that two persons could not let pass. */
export function mayAskForException(list: readonly Station[], state: StateEvent, line: LineEvent | undefined): boolean {
  return state.state === "checked" && line?.exceptable === true && list.every((s) => s.id === "sound" || s.id === "door" || (s.mark === "bad" ? s.problems.length > 0 : s.mark !== "testing"));
}
