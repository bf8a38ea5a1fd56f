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
}

export interface LineEvent {
  organisation: string;
  person: string;
  unit: string;
  grade: Grade;
  facts: Fact[] | null;
  findings: Problem[] | null;
  enough: boolean;
  /** Joining asks for a fresh touch of the passkey. */
  assertion?: AssertionWanted;
}

export interface MeetingEvent {
  title: string;
  level: number;
  level_name: string;
  since: string;
  role: Role;
}

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
}

export interface Guest {
  leg: string;
  name: string;
  unit: string;
  assurance: number;
  grade: Grade;
  facts: Fact[] | null;
  since: string;
}

export interface RosterEvent {
  members: Member[] | null;
  waiting: Guest[] | null;
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
  | { event: "media_wanted"; media: MediaWanted }
  | { event: "media_ready" }
  /** The room is paused (on), or goes on: meanwhile the page sends nothing. */
  | { event: "hold"; hold: { on: boolean } }
  /** This leg holds no keys any more: the media path ends. Another media_wanted may follow. */
  | { event: "suspended" }
  /** Who is truly heard or seen in a slot: the leaf whose key opens its frames, -1 when none does any longer. */
  | { event: "opened"; opened: { kind: StreamKind; slot: number; leaf: number } };

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
  | { do: "open"; meeting: string; url: string }
  /** fingerprint: of the certificate that the media path will have, base64; where the line asks for an assertion. */
  | { do: "join"; facts: { name: string; value: string; proven: false }[]; fingerprint?: string }
  | { do: "media"; media: MediaOffer }
  | { do: "state"; muted: boolean; camera: boolean; screen: boolean; hand: boolean }
  | { do: "decide"; leg: string; admit: boolean }
  | { do: "remove"; leg: string; reason: string }
  | { do: "leave" }
  /** The own person spoke, in ms since 1970: for the speech ledger. */
  | { do: "spoke"; from: number; to: number }
  /** The media path broke: make a new one. */
  | { do: "restart" }
  /** Transfers the MessagePort whose other end the frames worker holds. */
  | { do: "port" };
