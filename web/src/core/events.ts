// What the page and the core worker say to each other. The events are those of Go's package endpoint (event.go), as JSON
// objects; the commands are the page's.

/** A problem as the Go side tells it: words stand in the catalogues (src/words). */
export interface Problem {
  code: string;
  args?: Record<string, string>;
  fix: string;
}

export type Grade = "open" | "hop" | "sealed" | "guarded";
export type Role = "member" | "chair";
export type State =
  | "connecting"
  | "checked"
  | "asking"
  | "waiting"
  | "entering"
  | "in"
  | "quarantined"
  | "reconnecting"
  | "refused"
  | "ended";

/** One statement on a line; `proven` was checked by the server, all else is said by the endpoint. */
export interface Fact {
  name: string;
  value: string;
  proven: boolean;
}

export interface StateEvent {
  state: State;
  reasons?: Problem[];
  again?: boolean;
  since?: string;
  /** Waiting: the meeting starts with its chair. */
  early?: boolean;
  /** Quarantined: the name of the level that the line is held against now. */
  level?: string;
  /** Quarantined: a fresh touch of the passkey helps. */
  assertion?: AssertionWanted;
}

export interface LineEvent {
  organisation: string;
  person: string;
  unit: string;
  grade: Grade;
  facts: Fact[] | null;
  findings: Problem[] | null;
  enough: boolean;
  /** It is not enough, and two who are in could let pass all that it lacks. */
  exceptable?: boolean;
  /** Where the person is could count: they are asked. */
  ask_place?: boolean;
  /** Joining asks for a fresh touch of the passkey. */
  assertion?: AssertionWanted;
}

export interface MeetingEvent {
  title: string;
  level: number;
  level_name: string;
  since: string;
  /** It is over then. */
  until?: string;
  role: Role;
  /** The name of who raised the level just now. */
  raised?: string;
}

/** What kind of statement a leg has. */
export type LegKind = "device" | "guest" | "phone" | "gateway";

export interface Member {
  leaf: number;
  self: boolean;
  person: string;
  name: string;
  unit: string;
  device: string;
  assurance: number;
  grade: Grade;
  leg: string;
  role: Role;
  muted: boolean;
  camera: boolean;
  screen: boolean;
  hand: boolean;
  lost?: string;
  /** Of the verified statement. */
  kind?: LegKind;
  /** A phone: its gateway hears the room. */
  gateway?: boolean;
  /** What all may know of this line; the server's word. */
  line?: Fact[] | null;
}

export interface Guest {
  leg: string;
  name: string;
  unit: string;
  assurance: number;
  grade: Grade;
  facts: Fact[] | null;
  since: string;
  kind?: LegKind;
  /** Stands in the directory; the server's word. */
  known?: boolean;
  early?: boolean;
  /** Why they wait: for the chair's word, or what stands in their way and may be excepted. */
  reasons?: Problem[] | null;
  /** Policy lets what stands in their way be excepted; the server's word. */
  exceptable?: boolean;
}

/** A leg whose line is no longer good enough: it holds no keys. */
export interface Away {
  leg: string;
  name: string;
  unit: string;
  reasons: Problem[] | null;
  since: string;
  /** Policy lets that be excepted; the server's word. */
  exceptable?: boolean;
}

/** Nobody sends. */
export interface Paused {
  since: string;
  /** A name; empty without one. */
  by: string;
  /** This leg may let the room go on. */
  can: boolean;
}

/** An exception that is asked for (second is empty), or in force. */
export interface Exception {
  id: number;
  leg: string;
  name: string;
  waives: Problem[] | null;
  reason: string;
  by: string;
  second: string;
  until: string;
  /** This leg may confirm or decline it. */
  can: boolean;
}

/** One who is invited and not there; the server's word. */
export interface Absent {
  person: string;
  name: string;
  unit: string;
  /** The phone gateway rings them now. */
  ringing: boolean;
  /** What stands against ringing them. */
  against?: Problem;
}

/** What a chair did; the server's word. */
export interface ChairAct {
  since: string;
  /** A name; empty of one who is gone. */
  by: string;
  /** To whom the chair is offered. */
  to?: string;
  /** This leg did it. */
  mine?: boolean;
  /** The chair is offered to this leg. */
  can?: boolean;
}

export interface RosterEvent {
  members: Member[] | null;
  waiting: Guest[] | null;
  away?: Away[] | null;
  paused?: Paused;
  exceptions?: Exception[] | null;
  /** What policy holds closed for now: "screen". */
  closed?: string[] | null;
  /** For those alone whom policy lets know: the chair, on a device of their own. */
  absent?: Absent[] | null;
  /** Who last muted all: each client mutes its own microphone, once for each. */
  hushed?: ChairAct;
  /** The door is closed. */
  shut?: ChairAct;
  /** The chair is offered to another. */
  offered?: ChairAct;
}

/** Something that concerns the person apart from the meeting's course. */
export interface NoticeEvent {
  /** What the server is told once it is read; it is shown again until then. */
  id?: string;
  notice: Problem;
  /** Path and query on this server. */
  link?: string;
}

/** The answer to a test of the line before it is needed. */
export interface ReadyEvent {
  level: number;
  level_name: string;
  ready: boolean;
  reasons: Problem[] | null;
  /** Signed by the organisation; base64. */
  document: string | null;
  /** By which the document is verified under the root; base64. */
  grants?: string[] | null;
  until: string;
  /** What a person keeps: document, grants and root; empty if nothing was signed. Added by the core worker. */
  file?: string;
}

/** A link for a further device. It goes nowhere but onto the screen. */
export interface OwnLink {
  url: string;
}

/** Where the end of a probe of the media path is waited for. */
export interface ProbingEvent {
  server: MediaServer;
}

/** What the server saw of a probe: whether the path was gone, or why not. */
export interface ProbedEvent {
  reached: boolean;
  facts: Fact[] | null;
  reason?: Problem;
}

export interface CodeEvent {
  groups: string[];
  epoch: number;
  since: string;
  why: string;
  who: string[] | null;
}

/** Which leaf the server says is in which receiving slot, -1 for none. */
export interface SlotsEvent {
  audio: number[] | null;
  camera: number[] | null;
  screen: number[] | null;
  crowded: boolean;
}

/** The server's end of the media path; `fingerprint` is base64 of SHA-256, candidates are "address:port". */
export interface MediaServer {
  ufrag: string;
  password: string;
  fingerprint: string;
  candidates: string[];
}

export interface MediaWanted {
  slots: { audio: number; camera: number; screen: number };
  server: MediaServer;
}

/** This end of the media path, read from the page's own offer. */
export interface MediaOffer {
  ufrag: string;
  password: string;
  fingerprint: string;
  ssrc: { microphone: number; camera: number; screen: number };
  opus: number;
  vp8: number;
}

export interface Identity {
  organisation: string;
  name: string;
  unit: string;
  /** RFC 3339: how long the device statement holds. */
  until: string;
  /** A passkey vouches for this browser. */
  passkey?: boolean;
  /** By invitation to one meeting, not from the directory. */
  guest?: boolean;
  /** The statement is to be renewed; with a passkey that is one touch, for the person to give. */
  due?: boolean;
}

/** What a fresh assertion is made of (package signal); bytes in base64. */
export interface AssertionWanted {
  nonce: string;
  server_fingerprint: string;
  credentials: string[] | null;
}

/** A touch of a passkey that the core asks the page for; bytes in base64. */
export type TouchWanted =
  | { create: { site: string; challenge: string; algorithms: number[]; attestation: "none" | "direct"; user: { id: string; name: string } } }
  | { get: { site: string; challenge: string; credentials: string[] } };

/** The browser's answer as JSON, or why there is none. */
export type TouchAnswer = { response: object } | { problem: Problem };

/** One of the person's devices. */
export interface OwnDevice {
  id: string;
  name: string;
  assurance: number;
  enrolled: string;
  until: string;
  revoked?: string;
  this: boolean;
  passkey: boolean;
  /** By whose link it was set up; absent where that is not known. */
  link?: { by: string };
}

export type CoreEvent =
  | { event: "identity"; identity: Identity | null }
  | { event: "enrolled" }
  | { event: "enrol_failed"; problem: Problem }
  | { event: "renewed" }
  | { event: "renew_failed"; problem: Problem }
  /** Asks the page for a touch; the answer names the same number. */
  | { event: "touch"; touch: { number: number; wanted: TouchWanted } }
  | { event: "devices"; devices: OwnDevice[] | null; problem?: Problem }
  | { event: "state"; at?: string; state: StateEvent }
  | { event: "line"; at?: string; line: LineEvent }
  | { event: "meeting"; at?: string; meeting: MeetingEvent }
  | { event: "roster"; at?: string; roster: RosterEvent }
  | { event: "code"; at?: string; code: CodeEvent }
  | { event: "slots"; at?: string; slots: SlotsEvent }
  | { event: "alarm"; at?: string; alarm: { problem: Problem } }
  | { event: "failed"; at?: string; failed: { of: string; reason: Problem } }
  | { event: "keys"; at?: string; keys: { withdrawn: number } }
  | { event: "notice"; at?: string; notice: NoticeEvent }
  | { event: "ready"; at?: string; ready: ReadyEvent }
  | { event: "link"; link: OwnLink | null; problem?: Problem }
  | { event: "probing"; at?: string; probing: ProbingEvent }
  | { event: "probed"; at?: string; probed: ProbedEvent }
  | { event: "media_wanted"; media: MediaWanted }
  | { event: "media_ready" }
  /** The room is paused (on), or goes on: meanwhile the page sends nothing. */
  | { event: "hold"; hold: { on: boolean } }
  /** This leg holds no keys any more: the media path ends. Another media_wanted may follow. */
  | { event: "suspended" }
  /** What this leg marks with all that it plays; null: nothing. */
  | { event: "mark"; mark: { sync: Uint8Array; code: Uint8Array; since: number } | null }
  /** What this leg claims of its line, as far as the ruling that lets it be in the room went by it. */
  | { event: "ruled"; at?: string; ruled: { facts: { name: string; value: string }[] | null } }
  /** Who is truly heard or seen in a slot: the leaf whose key opens its frames, -1 when none does any longer. */
  | { event: "opened"; opened: { kind: StreamKind; slot: number; leaf: number } };

/** A fact as this browser says it of itself. */
export interface Claim {
  name: string;
  value: string;
  proven: false;
}

export type StreamKind = "microphone" | "camera" | "screen";

export type Command =
  /** guest: the meeting that a guest's link names. */
  | { do: "identify"; guest?: string }
  | { do: "enrol"; token: string; root: string; deviceName: string; passkey?: boolean; guest?: string }
  /** Renews the statement, with a touch where a passkey vouches for it. */
  | { do: "renew" }
  | { do: "touched"; number: number; answer: TouchAnswer }
  | { do: "devices" }
  | { do: "revoke"; device: string }
  /** Has a link made for a further device: with a touch. */
  | { do: "link" }
  | { do: "open"; meeting: string; url: string }
  /** fingerprint: of the certificate that the media path will have, base64; where the line, or the quarantine, asks for an assertion. */
  | { do: "join"; facts: Claim[]; fingerprint?: string }
  | { do: "media"; media: MediaOffer }
  | { do: "state"; muted: boolean; camera: boolean; screen: boolean; hand: boolean }
  /** What is claimed of the line has changed: the leg is ruled anew. */
  | { do: "facts"; facts: Claim[] }
  | { do: "decide"; leg: string; admit: boolean }
  /** Several at once; each is ruled on by itself. */
  | { do: "decide"; legs: string[]; admit: boolean }
  | { do: "remove"; leg: string; reason: string }
  | { do: "raise"; level: number }
  | { do: "pause"; on: boolean; anonymous: boolean }
  | { do: "preside"; act: "mute_all" | "close_door" | "open_door" | "withdraw" | "take" }
  | { do: "preside"; act: "offer"; leg: string }
  | { do: "except"; leg: string; reason: string; minutes: number }
  | { do: "confirm"; exception: number; yes: boolean }
  | { do: "read"; id: string }
  /** Has the media path tried before there is a meeting. */
  | { do: "probe"; ufrag: string; fingerprint: string }
  | { do: "mission"; level: number; facts: Claim[] }
  /** Has the phone gateway ring a person. */
  | { do: "ring"; person: string }
  | { do: "leave" }
  /** The own person spoke, in ms since 1970: for the speech ledger. */
  | { do: "spoke"; from: number; to: number }
  /** The media path broke: make a new one. */
  | { do: "restart" }
  /** Transfers the MessagePort whose other end the frames worker holds. */
  | { do: "port" };
