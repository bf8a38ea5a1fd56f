// One visit to one meeting: what the core tells, what the person wants, and what the media path truly does, as signals
// that the screens read. No DOM, no browser: time, core and media are given.

import { batch, computed, signal } from "@preact/signals";
import type { Claim, CodeEvent, CoreEvent, Fact, Guest, Identity, LineEvent, MediaWanted, MeetingEvent, Member, OwnDevice, OwnLink, ProbedEvent, Problem, ReadyEvent, RosterEvent, SlotsEvent, StateEvent, StreamKind } from "../core/events";
import { Aside, type AsideChange } from "./aside";
import type { Core, Media } from "./core";
import type { Link } from "./link";
import { arrivals, changes, openAtGateway, type Change } from "./roster";
import { OwnSpeech } from "./ledger";
import { OwnLine } from "./ownline";
import { Speakers, speakingLevel } from "./speakers";
import { Truth } from "./truth";

/** Something to say once, in the strip below the stage and to a screen reader. */
export type Note =
  | { what: Change["what"] | AsideChange["what"]; name: string; leg: string }
  | { what: "raised"; name: string; level: string }
  | { what: "removed"; name: string }
  | { what: "back"; missed: number; newCode: boolean }
  | { what: "failed"; problem: Problem };

/** Notes that stay until they are dismissed or no longer true. */
const staying: ReadonlySet<Note["what"]> = new Set(["lost", "failed", "raised", "hushed"]);

/** Notes that end by themselves, in ms; those not named stay until they are dismissed or no longer true. */
const noteFor = 8000;

/** Without a media path for so long (ms) the person is told. */
const dryFor = 8000;

export interface Clock {
  now(): number;
  /** Calls back once after ms; returns a function that prevents it. */
  after(ms: number, call: () => void): () => void;
}

export interface Surroundings {
  core: Core;
  media: Media;
  clock: Clock;
  link: Link;
  /** Where the core finds the server: the WebSocket's address. */
  url: string;
}

/** The alarm of this page's own making: what left the browser was not all sealed. */
export const clearAlarm: Problem = { code: "frames_clear", fix: "leave_now" };

/** Alarms that a bad network can cause as well as a lying server: once read and over, the header is as before. */
const passing: ReadonlySet<string> = new Set(["alarm_not_heard", "alarm_nobody_heard"]);

/** The same cause, told of the same person. */
const sameAlarm = (a: Problem, b: Problem): boolean => a.code === b.code && a.args?.["name"] === b.args?.["name"];

/** Alarms that are kept to be read again; the oldest is forgotten. */
const alarmsAtMost = 32;

const screenClosed: Problem = { code: "screen_closed", fix: "wait_for_better_line" };

/** The pointer of no meeting: a test of the line before it is needed. */
const noMeeting = "A".repeat(22);

/** What a browser says of itself is never proven. */
function claims(facts: readonly Omit<Fact, "proven">[]): Claim[] {
  return facts.map(({ name, value }) => ({ name, value: value.slice(0, 120), proven: false as const }));
}

export class Session {
  /** undefined: not known yet; null: this browser is not enrolled. */
  readonly identity = signal<Identity | null | undefined>(undefined);
  readonly enrolling = signal(false);
  readonly enrolProblem = signal<Problem | undefined>(undefined);
  /** The statement is being renewed, and why it was not. */
  readonly renewing = signal(false);
  readonly renewProblem = signal<Problem | undefined>(undefined);
  /** The browser asks the person for a touch of a passkey now: of one that is being made, or of theirs. */
  readonly touching = signal<"" | "create" | "get">("");
  /** Why the touch for joining was not given. */
  readonly joinProblem = signal<Problem | undefined>(undefined);
  /** The person's own devices, once asked for. */
  readonly devices = signal<readonly OwnDevice[] | undefined>(undefined);
  readonly devicesProblem = signal<Problem | undefined>(undefined);
  /** A link for a further device, while it is shown. */
  readonly ownLink = signal<OwnLink | undefined>(undefined);
  readonly linking = signal(false);
  readonly state = signal<StateEvent>({ state: "connecting" });
  readonly line = signal<LineEvent | undefined>(undefined);
  readonly meeting = signal<MeetingEvent | undefined>(undefined);
  readonly members = signal<readonly Member[]>([]);
  readonly guests = signal<readonly Guest[]>([]);
  readonly code = signal<CodeEvent | undefined>(undefined);
  /** The code that this person has compared by ear, and when: of another code nothing is known. */
  readonly compared = signal<{ epoch: number; at: number } | undefined>(undefined);
  readonly slots = signal<SlotsEvent | undefined>(undefined);
  readonly alarms = signal<readonly Problem[]>([]);
  /** Alarms of this visit that were read: what they said can be read again. */
  readonly readAlarms = signal<readonly Problem[]>([]);
  /** An alarm was raised in this visit, read or not, that no bad network could have caused. */
  readonly alarmed = signal(false);
  readonly notes = signal<readonly Note[]>([]);
  /** Legs whose removal was asked for and is not confirmed by the roster yet. */
  readonly removing = signal<ReadonlyMap<string, string>>(new Map());
  /** Legs at the door that were decided on, until the roster says so. */
  readonly decided = signal<ReadonlySet<string>>(new Set());
  /** Bumped whenever `truth` changed. */
  readonly truthVersion = signal(0);
  readonly truth = new Truth();
  /** The server knows this end of the media path. */
  readonly mediaUp = signal(false);
  /** The media path stands. */
  readonly connected = signal(false);
  /** Sealed sound can flow. */
  readonly flowing = computed(() => this.mediaUp.value && this.connected.value);
  /** It could not for some seconds, though the rest of the line is well. */
  readonly blocked = signal(false);
  /** Sending was stopped because something left unsealed. */
  readonly stopped = signal(false);

  /** Leaves that speak now. */
  readonly speaking = signal<ReadonlySet<number>>(new Set());
  /** The leaf that the stage shows, -1 for none. */
  readonly stage = signal(-1);
  /** The own line has been weak for some seconds. */
  readonly weak = signal(false);
  /** The person speaks while muted. */
  readonly mutedSpeech = signal(false);

  readonly muted = signal(false);
  readonly camera = signal(false);
  readonly screen = signal(false);
  readonly hand = signal(false);

  /** The own line is not good enough any more: why, since when. Set until the person is back in, or all is over. */
  readonly quarantine = signal<{ reasons: readonly Problem[]; since: string; touch: boolean; raised?: string } | undefined>(undefined);
  /** The touch that leads out of it was asked for, and not answered yet. */
  readonly healing = signal(false);
  /** What came of the latest test for a mission. */
  readonly ready = signal<ReadyEvent | undefined>(undefined);
  readonly readyProblem = signal<Problem | undefined>(undefined);
  readonly testing = signal(false);
  /** Whether sound gets through from here, tried before joining: undefined while it is being tried. */
  readonly probed = signal<ProbedEvent | undefined>(undefined);

  /** The person has been in the room in this visit: a lost line then shows the room behind it. */
  readonly wasIn = signal(false);

  readonly self = computed(() => this.members.value.find((m) => m.self));
  readonly isChair = computed(() => this.self.value?.role === "chair" || (!this.self.value && this.meeting.value?.role === "chair"));
  readonly gateways = computed(() => openAtGateway(this.members.value));
  readonly aside: Aside;

  readonly #core: Core;
  readonly #media: Media;
  readonly #clock: Clock;
  readonly #link: Link;
  readonly #url: string;
  readonly #speakers = new Speakers();
  readonly #ownLine = new OwnLine();
  readonly #ownSpeech = new OwnSpeech((from, to) => this.#core.send({ do: "spoke", from, to }));
  #mutedSpeech = 0;
  #wanted: MediaWanted | undefined;
  #retries = 0;
  #lostAt = 0;
  #dryAt = 0;
  #codeAtLoss = "";
  #rosterSeen = false;
  #withdrawn = false;
  #claimed = "[]";
  #afterProbe: (() => void) | undefined;
  #probing = false;

  constructor(around: Surroundings) {
    this.#core = around.core;
    this.aside = new Aside(around.core);
    this.#media = around.media;
    this.#clock = around.clock;
    this.#link = around.link;
    this.#url = around.url;
    this.#core.onevent = (event) => batch(() => this.#follow(event));
    this.#media.onopened = (kind, slot, leaf) => this.#opened(kind, slot, leaf);
    this.#media.onscreenend = () => this.#setScreen(false);
    this.#media.onconnected = (connected) => {
      this.connected.value = connected;
      if (connected) this.blocked.value = false;
    };
    this.#media.onbroken = () => this.#broken();
    this.#media.onclear = () => this.#clear();
    this.#media.onlevels = (levels, own) => batch(() => this.#levels(levels, own));
    this.#media.onsample = (sample) => {
      this.weak.value = this.#ownLine.feed(sample, this.#clock.now());
    };
  }

  get link(): Link {
    return this.#link;
  }

  start(): void {
    const { guest, meeting } = this.#link;
    this.#core.send({ do: "identify", ...(guest && meeting && { guest: meeting }) });
  }

  /** Has this browser set up; passkey says whether one is to vouch for it. */
  enrol(deviceName: string, passkey = false): void {
    const { token, root, guest, meeting } = this.#link;
    if (!token || !root || this.enrolling.value) return;
    this.enrolling.value = true;
    this.enrolProblem.value = undefined;
    this.#core.send({ do: "enrol", token, root, deviceName, passkey, ...(guest && meeting && { guest: meeting }) });
  }

  /** Renews the statement: with a touch where a passkey vouches for it. */
  renew(): void {
    if (this.renewing.value) return;
    this.renewing.value = true;
    this.renewProblem.value = undefined;
    this.#core.send({ do: "renew" });
  }

  askDevices(): void {
    this.devicesProblem.value = undefined;
    this.#core.send({ do: "devices" });
  }

  /** Has a link made for a further device of the person. */
  addDevice(): void {
    if (this.linking.value) return;
    batch(() => {
      this.linking.value = true;
      this.ownLink.value = this.devicesProblem.value = undefined;
    });
    this.#core.send({ do: "link" });
  }

  hideLink(): void {
    this.ownLink.value = undefined;
  }

  revokeDevice(device: string): void {
    this.devicesProblem.value = undefined;
    this.#core.send({ do: "revoke", device });
  }

  /** Connects and has the line looked at; also "Test again" and "Join again". */
  open(): void {
    const meeting = this.#link.ready ? noMeeting : this.#link.meeting;
    if (!meeting) return;
    const { state, again } = this.state.value;
    // The core follows one visit at a time: one that is not over is ended first, and this goes on from there.
    const living = this.#withdrawn || state === "checked" || (state === "refused" && again === true);
    batch(() => {
      this.state.value = { state: "connecting" };
      this.line.value = undefined;
      this.#forget();
    });
    if (living) return this.withdraw();
    this.#core.send({ do: "open", meeting, url: this.#url });
  }

  /** Asks to be let in, with what this browser says of its own line. */
  join(facts: readonly Omit<Fact, "proven">[]): void {
    if (this.state.value.state !== "checked" && this.state.value.state !== "refused") return;
    this.state.value = { state: "asking" };
    this.joinProblem.value = undefined;
    const claimed = claims(facts);
    this.#claimed = JSON.stringify(claimed);
    if (!this.line.value?.assertion) {
      this.#core.send({ do: "join", facts: claimed });
      return;
    }
    void this.#media.fingerprint().then(
      (fingerprint) => this.#core.send({ do: "join", facts: claimed, fingerprint }),
      () => this.#core.send({ do: "join", facts: claimed }),
    );
  }

  /** Gives the touch that a raised level asks for, from quarantine. */
  touch(facts: readonly Omit<Fact, "proven">[]): void {
    if (this.state.value.state !== "quarantined" || !this.quarantine.value?.touch || this.healing.value) return;
    this.healing.value = true;
    this.joinProblem.value = undefined;
    const claimed = claims(facts);
    this.#claimed = JSON.stringify(claimed);
    void this.#media.fingerprint().then(
      (fingerprint) => this.#core.send({ do: "join", facts: claimed, fingerprint }),
      () => this.#failed("join", { code: "media_path", fix: "reload" }),
    );
  }

  /** Tells what this browser says of its line where that has changed since it was last told: the leg is ruled anew. */
  claim(facts: readonly Omit<Fact, "proven">[]): void {
    const { state } = this.state.value;
    if (state !== "waiting" && state !== "entering" && state !== "in" && state !== "quarantined") return;
    const claimed = claims(facts);
    const text = JSON.stringify(claimed);
    if (text === this.#claimed) return;
    this.#claimed = text;
    this.#core.send({ do: "facts", facts: claimed });
  }

  /** Has the line tested for a level, before it is needed. */
  mission(level: number, facts: readonly Omit<Fact, "proven">[]): void {
    if (this.state.value.state !== "checked" || this.testing.value) return;
    batch(() => {
      this.testing.value = true;
      this.ready.value = this.readyProblem.value = undefined;
    });
    // What was tried a while ago says little of now: the way of sound first, the question behind it.
    this.#afterProbe = () => this.#core.send({ do: "mission", level, facts: claims(facts) });
    this.#tryPath();
  }

  /** Has the way of sound tried. What is asked behind it is asked in any case: the server knows what it saw. */
  #tryPath(): void {
    if (this.#probing) return; // what comes of it is as fresh
    this.#probing = true;
    this.probed.value = undefined;
    void this.#media.probe().then(
      (offer) => this.#core.send({ do: "probe", ...offer }),
      () => this.#pathTried(),
    );
  }

  #pathTried(probed?: ProbedEvent): void {
    this.#media.probeTo();
    this.#probing = false;
    this.probed.value = probed;
    const next = this.#afterProbe;
    this.#afterProbe = undefined;
    next?.();
  }

  leave(): void {
    this.#media.close();
    this.#core.send({ do: "leave" });
  }

  /** Takes the request to join back, and has the line looked at again. */
  withdraw(): void {
    this.#core.send({ do: "leave" });
    this.#withdrawn = true;
  }

  decide(leg: string, admit: boolean): void {
    this.decided.value = new Set([...this.decided.value, leg]);
    this.#core.send({ do: "decide", leg, admit });
  }

  /** Lets in several at once; each is ruled on by itself. */
  admitAll(legs: readonly string[]): void {
    const [leg] = legs;
    if (leg === undefined) return;
    this.decided.value = new Set([...this.decided.value, ...legs]);
    this.#core.send(legs.length === 1 ? { do: "decide", leg, admit: true } : { do: "decide", legs: [...legs], admit: true });
  }

  remove(member: Member, reason: string): void {
    this.removing.value = new Map([...this.removing.value, [member.leg, member.name]]);
    this.#core.send({ do: "remove", leg: member.leg, reason });
  }

  setMuted(muted: boolean): void {
    this.muted.value = muted;
    if (!muted) this.notes.value = this.notes.value.filter((n) => n.what !== "hushed");
    this.#media.setMuted(muted);
    this.#tell();
  }

  async setCamera(on: boolean): Promise<void> {
    const is = await this.#media.setCamera(on);
    if (is === this.camera.value) return;
    this.camera.value = is;
    this.#tell();
  }

  async setScreen(on: boolean): Promise<void> {
    if (on && this.aside.screenClosed.value) {
      this.#note({ what: "failed", problem: screenClosed });
      return;
    }
    this.#setScreen(await this.#media.setScreen(on));
  }

  setHand(up: boolean): void {
    this.hand.value = up;
    this.#tell();
  }

  dismiss(note: Note): void {
    this.notes.value = this.notes.value.filter((n) => n !== note);
  }

  /** The person heard the same code read aloud as stands here, or another one: then nothing of theirs goes out any more. */
  codeCompared(epoch: number, same: boolean): void {
    if (same) {
      this.compared.value = { epoch, at: this.#clock.now() };
      return;
    }
    this.compared.value = undefined;
    this.setMuted(true);
    void this.setCamera(false);
    void this.setScreen(false);
    this.#alarm({ code: "code_differs", fix: "leave_now" });
  }

  acknowledge(alarm: Problem): void {
    this.alarms.value = this.alarms.value.filter((a) => a !== alarm);
    const known = this.readAlarms.value.filter((a) => !sameAlarm(a, alarm));
    this.readAlarms.value = [...known.slice(1 - alarmsAtMost), alarm];
  }

  /** To be called about once a second while in the room. */
  tick(): void {
    this.#watchFlow();
    for (const { kind } of this.truth.check(this.#clock.now())) this.#alarm({ code: "slot_owner", args: { stream: kind }, fix: "leave_now" });
  }

  #watchFlow(): void {
    const now = this.#clock.now();
    if (this.flowing.value || this.state.value.state !== "in" || this.stopped.value) {
      this.#dryAt = 0;
      this.blocked.value = false;
    } else if (this.#dryAt === 0) this.#dryAt = now;
    else if (now - this.#dryAt >= dryFor) this.blocked.value = true;
  }

  #setScreen(on: boolean): void {
    if (on === this.screen.value) return;
    this.screen.value = on;
    this.#tell();
  }

  #tell(): void {
    if (this.state.value.state !== "in") return;
    this.#core.send({ do: "state", muted: this.muted.value, camera: this.camera.value, screen: this.screen.value, hand: this.hand.value });
  }

  #follow(event: CoreEvent): void {
    switch (event.event) {
      case "identity": {
        const known = this.identity.value;
        this.identity.value = event.identity;
        // It is told again when the statement is due, and once it is renewed.
        if (event.identity && !known) this.open();
        return;
      }
      case "enrolled":
        this.enrolling.value = false; // who it is, follows
        this.touching.value = "";
        return;
      case "enrol_failed":
        this.enrolling.value = false;
        this.touching.value = "";
        this.enrolProblem.value = event.problem;
        return;
      case "renewed":
      case "renew_failed":
        this.renewing.value = false;
        this.touching.value = "";
        this.renewProblem.value = event.event === "renew_failed" ? event.problem : undefined;
        if (event.event === "renewed" && this.devices.value) this.askDevices();
        // One whose statement had run out is looked at anew.
        if (event.event === "renewed" && this.state.value.state === "refused") this.withdraw();
        return;
      case "touch":
        this.touching.value = "create" in event.touch.wanted ? "create" : "get";
        return;
      case "devices":
        this.touching.value = "";
        if (event.devices) this.devices.value = event.devices;
        this.devicesProblem.value = event.problem;
        return;
      case "link":
        this.touching.value = "";
        this.linking.value = false;
        this.ownLink.value = event.link ?? undefined;
        this.devicesProblem.value = event.problem;
        return;
      case "state":
        return this.#stateChanged(event.state);
      case "line": {
        const first = !this.line.value;
        this.line.value = event.line;
        if (first && this.state.value.state !== "ended") this.#tryPath();
        return;
      }
      case "probing":
        this.#media.probeTo(event.probing.server);
        return;
      case "probed":
        return this.#pathTried(event.probed);
      case "meeting":
        return this.#meetingChanged(event.meeting);
      case "roster":
        return this.#rosterChanged(event.roster);
      case "code":
        this.code.value = event.code;
        return;
      case "slots":
        this.slots.value = event.slots;
        this.truth.told(event.slots);
        this.#media.setCrowded(event.slots.crowded);
        return;
      case "alarm":
        return this.#alarm(event.alarm.problem);
      case "failed":
        return this.#failed(event.failed.of, event.failed.reason);
      case "notice":
        this.aside.notice(event.notice);
        return;
      case "ready":
        this.testing.value = false;
        this.ready.value = event.ready;
        return;
      case "hold":
        this.#media.setHeld(event.hold.on);
        return;
      case "suspended":
        // Whether sending is held is for the core to say: a room that is paused is so still when this leg is back in it.
        this.#media.suspend();
        this.mediaUp.value = false;
        return;
      case "media_wanted":
        void this.#openMedia(event.media);
        return;
      case "mark":
        this.#media.mark(event.mark);
        return;
      case "ruled":
        this.#media.setUnmarked((event.ruled.facts ?? []).some((f) => f.name === "mark" && f.value === "absent"));
        return;
      case "media_ready":
        this.mediaUp.value = true;
        this.#media.ready();
        this.#clock.after(30_000, () => {
          if (this.mediaUp.value) this.#retries = 0;
        });
        return;
      case "opened":
        return this.#opened(event.opened.kind, event.opened.slot, event.opened.leaf);
    }
  }

  #stateChanged(next: StateEvent): void {
    const was = this.state.value.state;
    this.state.value = next;
    this.touching.value = "";
    this.healing.value = false;
    if (next.state === "quarantined") this.joinProblem.value = undefined;
    switch (next.state) {
      case "in":
        this.wasIn.value = true;
        this.quarantine.value = undefined;
        if (this.#lostAt > 0) {
          const missed = Math.max(1, Math.round((this.#clock.now() - this.#lostAt) / 1000));
          this.#note({ what: "back", missed, newCode: this.#codeText() !== this.#codeAtLoss });
          this.#lostAt = 0;
        }
        this.#tell();
        return;
      case "quarantined":
        this.mediaUp.value = false;
        this.#lostAt ||= next.since ? Date.parse(next.since) : this.#clock.now();
        if (was === "in") this.#codeAtLoss = this.#codeText();
        this.quarantine.value = {
          reasons: next.reasons ?? [],
          since: next.since ?? new Date(this.#clock.now()).toISOString(),
          touch: next.assertion !== undefined,
          // The meeting is for more than when this person was told of it.
          ...(next.level && this.meeting.value && next.level !== this.meeting.value.level_name && { raised: next.level }),
        };
        // A screen that was shown is not shown by itself once the person is back.
        if (this.screen.value) void this.setScreen(false);
        return;
      case "reconnecting":
        this.speaking.value = new Set();
        if (was === "in") {
          this.#lostAt = next.since ? Date.parse(next.since) : this.#clock.now();
          this.#codeAtLoss = this.#codeText();
          this.mediaUp.value = false;
        }
        return;
      case "refused":
      case "ended":
        if (this.#withdrawn && next.state === "ended") {
          this.#withdrawn = false;
          this.open();
          return;
        }
        this.#media.close();
        this.mediaUp.value = this.testing.value = false;
        this.quarantine.value = undefined;
        if (next.state === "ended") this.screen.value = this.hand.value = false;
        return;
    }
  }

  #meetingChanged(next: MeetingEvent): void {
    const was = this.meeting.value;
    this.meeting.value = next;
    if (!was || next.level <= was.level || !this.wasIn.value) return;
    this.aside.raising.value = undefined;
    this.notes.value = this.notes.value.filter((n) => n.what !== "raised");
    this.#note({ what: "raised", name: next.raised ?? "", level: next.level_name });
  }

  #rosterChanged(roster: RosterEvent): void {
    const before = this.members.value;
    const beside = this.aside.follow(roster, before, this.#rosterSeen);
    const away = new Set(this.aside.away.value.map((a) => a.leg));
    // Who is in quarantine stands apart, also for the moment until the keys are changed.
    const members = (roster.members ?? []).filter((m) => m.self || !away.has(m.leg));
    const guests: readonly Guest[] = roster.waiting ?? [];
    const waiting = this.guests.value;
    this.members.value = members;
    this.guests.value = guests;
    this.#speakers.keep(new Set(members.map((m) => m.leaf)));
    this.stage.value = this.#speakers.stage;
    const here = new Set(members.map((m) => m.leg));
    const told = new Set<string>();
    for (const [leg, name] of this.removing.value) {
      if (here.has(leg)) continue;
      told.add(leg);
      this.#note({ what: "removed", name });
    }
    if (told.size > 0) this.removing.value = new Map([...this.removing.value].filter(([leg]) => !told.has(leg)));
    const atDoor = new Set(guests.map((g) => g.leg));
    this.decided.value = new Set([...this.decided.value].filter((leg) => atDoor.has(leg)));
    if (this.#rosterSeen) {
      const apart = new Set(beside.filter((b) => b.what === "away" || b.what === "healed").map((b) => b.leg));
      for (const change of changes(before, members)) if (!told.has(change.leg) && !apart.has(change.leg)) this.#note(change);
    }
    for (const change of beside) {
      // The chair asked for it, and this client does it; the person may switch it on again.
      if (change.what === "hushed") this.setMuted(true);
      if (change.what === "hushed" || change.what === "hushed_own") this.notes.value = this.notes.value.filter((n) => n.what !== change.what);
      this.#note(change);
    }
    if (this.aside.screenClosed.value && this.screen.value) void this.setScreen(false);
    for (const change of arrivals(waiting, guests)) this.#note(change);
    this.#rosterSeen = true;
    // What is no longer true need not be read any longer.
    this.notes.value = this.notes.value.filter(
      (n) => !(n.what === "lost" && !members.some((m) => m.leg === n.leg && m.lost)) && !(n.what === "at_door" && !atDoor.has(n.leg)),
    );
  }

  #note(note: Note): void {
    this.notes.value = [...this.notes.value.slice(-7), note];
    if (!staying.has(note.what)) this.#clock.after(noteFor, () => this.dismiss(note));
  }

  #alarm(problem: Problem): void {
    if (this.alarms.value.some((a) => sameAlarm(a, problem))) return;
    this.alarms.value = [...this.alarms.value, problem];
    if (!passing.has(problem.code)) this.alarmed.value = true;
  }

  #failed(of: string, problem: Problem): void {
    if (of === "remove") this.removing.value = new Map();
    if (of === "decide") this.decided.value = new Set();
    this.aside.failed(of);
    if (of === "state" && this.screen.value) void this.setScreen(false); // what was not taken is not shown
    if (of === "probe") return this.#pathTried();
    if (of === "mission") {
      this.testing.value = false;
      this.readyProblem.value = problem;
      return;
    }
    if (of === "join") {
      this.joinProblem.value = problem; // shown where the button is
      this.healing.value = false;
      this.touching.value = "";
      return;
    }
    // The dialog from which it was asked says it, if it is still open.
    if (of === "raise" && this.aside.askingToRaise) {
      this.aside.raiseProblem.value = problem;
      return;
    }
    this.#note({ what: "failed", problem });
  }

  #opened(kind: StreamKind, slot: number, leaf: number): void {
    this.truth.opened(kind, slot, leaf);
    this.truthVersion.value++;
  }

  #levels(levels: readonly number[], own: number): void {
    const now = this.#clock.now();
    const self = this.self.value?.leaf ?? -1;
    const byLeaf = new Map<number, number>();
    levels.forEach((level, slot) => {
      const leaf = this.truth.in("microphone", slot);
      if (leaf >= 0) byLeaf.set(leaf, level);
    });
    this.#speakers.feed(byLeaf, now);
    const speaking = new Set([...byLeaf.keys()].filter((leaf) => this.#speakers.speaks(leaf, now)));
    if (self >= 0 && !this.muted.value && own > speakingLevel) speaking.add(self);
    // Of a room that is not reached nothing is known.
    if (this.state.value.state !== "in") speaking.clear();
    const was = this.speaking.value;
    if (speaking.size !== was.size || [...speaking].some((leaf) => !was.has(leaf))) this.speaking.value = speaking;
    this.stage.value = this.#speakers.stage;
    // Half a second of it, within two: a cough is not speech.
    this.#mutedSpeech = this.muted.value ? Math.max(0, this.#mutedSpeech + (own > 2 * speakingLevel ? 3 : -1)) : 0;
    this.mutedSpeech.value = this.#mutedSpeech > 15;
    if (this.#mutedSpeech > 40) this.#mutedSpeech = 40;
    if (this.state.value.state === "in" && !this.stopped.value) this.#ownSpeech.feed(own, this.muted.value, now);
    else this.#ownSpeech.end();
  }

  async #openMedia(wanted: MediaWanted): Promise<void> {
    this.#wanted = wanted;
    this.truth.clear();
    this.truthVersion.value++;
    try {
      const media = await this.#media.open(wanted);
      if (this.#wanted === wanted && !this.stopped.value) this.#core.send({ do: "media", media });
    } catch {
      this.#note({ what: "failed", problem: { code: "media_path", fix: "reload" } });
    }
  }

  /** The path broke under a core that thinks all is well: ask for another, less and less often. */
  #broken(): void {
    this.mediaUp.value = false;
    const wanted = this.#wanted;
    if (!wanted || this.state.value.state !== "in" || this.stopped.value) return;
    this.#clock.after(Math.min(8000, 500 * 2 ** this.#retries++), () => {
      if (this.#wanted === wanted && this.state.value.state === "in") this.#core.send({ do: "restart" });
    });
  }

  #clear(): void {
    batch(() => {
      this.stopped.value = true;
      this.mediaUp.value = false;
      this.#alarm(clearAlarm);
    });
  }

  #codeText(): string {
    return this.code.value?.groups.join(" ") ?? "";
  }

  #forget(): void {
    this.members.value = [];
    this.guests.value = [];
    this.meeting.value = undefined;
    this.code.value = this.compared.value = undefined;
    this.slots.value = undefined;
    this.alarms.value = this.readAlarms.value = [];
    this.notes.value = [];
    this.removing.value = new Map();
    this.decided.value = new Set();
    this.stopped.value = this.alarmed.value = false;
    this.#media.setHeld(false); // another room, or the same with another core
    this.mediaUp.value = false;
    this.wasIn.value = this.testing.value = false;
    this.quarantine.value = undefined;
    this.#claimed = "[]";
    this.probed.value = this.#afterProbe = undefined;
    this.#probing = false;
    this.aside.forget();
    this.screen.value = this.hand.value = false;
    this.truth.clear();
    this.#ownLine.reset();
    this.weak.value = this.mutedSpeech.value = false;
    this.speaking.value = new Set();
    this.stage.value = -1;
    this.#wanted = undefined;
    this.#lostAt = 0;
    this.#rosterSeen = false;
  }
}
