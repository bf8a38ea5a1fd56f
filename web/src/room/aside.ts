// What the room agrees on beside who is in it: who is in quarantine, whether all is paused, exceptions, what is closed; what
// a person is told apart from the meeting; and the wishes that go with it.

import { computed, signal } from "@preact/signals";
import type { Absent, Away, ChairAct, Exception, Member, NoticeEvent, Paused, Problem, RosterEvent } from "../core/events";
import type { Core } from "./core";

/** What changed beside the roster, in the order of importance. */
export type AsideChange =
  | { what: "away" | "healed"; name: string; leg: string }
  | { what: "paused" | "continued" | "paused_nameless"; name: string; leg: string }
  | { what: "except_asked" | "excepted" | "except_over"; name: string; leg: string }
  | { what: "closed" | "reopened"; name: string; leg: string }
  | { what: "hushed" | "hushed_own" | "shut" | "unshut" | "chair" | "chair_own"; name: string; leg: string };

/** Legs that can be admitted as they are: nothing but the chair's word stands between them and the room. */
export const onlyChairDecides = (reasons: readonly { code: string }[] | null | undefined): boolean =>
  (reasons ?? []).every((r) => r.code === "chair_decides");

/** What is dropped is told again on the next connection. */
const noticesAtMost = 8;

/** Words on devices in the person's name: what else comes in, these are not pushed out. */
const ofDevices = (event: NoticeEvent): boolean => event.notice.code.startsWith("device_");

export class Aside {
  readonly away = signal<readonly Away[]>([]);
  readonly paused = signal<Paused | undefined>(undefined);
  readonly exceptions = signal<readonly Exception[]>([]);
  readonly closed = signal<readonly string[]>([]);
  /** The door is closed, and by whom. */
  readonly shut = signal<ChairAct | undefined>(undefined);
  /** The chair is offered to somebody. */
  readonly offered = signal<ChairAct | undefined>(undefined);
  /** Who is invited and not there; empty for whom policy does not let know. */
  readonly absent = signal<readonly Absent[]>([]);
  /** Whom this person has had rung, until the roster says so, or that it could not be. */
  readonly rung = signal<ReadonlySet<string>>(new Set());
  readonly notices = signal<readonly NoticeEvent[]>([]);
  /** The level that the chair asked for, until it is in force or was not to be had. */
  readonly raising = signal<number | undefined>(undefined);
  /** Why it was not to be had, for the dialog that asked. */
  readonly raiseProblem = signal<Problem | undefined>(undefined);
  /** That dialog is open. */
  askingToRaise = false;
  /** Exceptions that this person has decided on, until the roster says so. */
  readonly decided = signal<ReadonlySet<number>>(new Set());

  readonly asked = computed(() => this.exceptions.value.filter((e) => !e.second));
  readonly inForce = computed(() => this.exceptions.value.filter((e) => e.second));
  readonly screenClosed = computed(() => this.closed.value.includes("screen"));

  readonly #core: Core;
  /** When all were muted last. */
  #hushed: string | undefined;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Takes a roster; returns what is to be told. Those in `here` hold keys. */
  follow(roster: RosterEvent, before: readonly Member[], seen: boolean): AsideChange[] {
    const was = { away: this.away.value, paused: this.paused.value, exceptions: this.exceptions.value, closed: this.screenClosed.value };
    const now = { away: roster.away ?? [], paused: roster.paused, exceptions: roster.exceptions ?? [] };
    this.away.value = now.away;
    this.paused.value = now.paused;
    this.exceptions.value = now.exceptions;
    this.closed.value = roster.closed ?? [];
    this.absent.value = roster.absent ?? [];
    const still = new Set(this.absent.value.filter((a) => !a.ringing).map((a) => a.person));
    this.rung.value = new Set([...this.rung.value].filter((person) => still.has(person)));
    const ids = new Set(now.exceptions.filter((e) => !e.second).map((e) => e.id));
    this.decided.value = new Set([...this.decided.value].filter((id) => ids.has(id)));
    const out: AsideChange[] = [];
    const gone = new Map(was.away.map((a) => [a.leg, a]));
    for (const a of now.away) if (!gone.has(a.leg) && (seen || !before.length)) out.push({ what: "away", name: a.name, leg: a.leg });
    for (const m of roster.members ?? []) {
      const a = gone.get(m.leg);
      if (a && !now.away.some((n) => n.leg === m.leg)) out.push({ what: "healed", name: m.name, leg: m.leg });
    }
    if (now.paused && !was.paused) out.push({ what: now.paused.by ? "paused" : "paused_nameless", name: now.paused.by, leg: "" });
    if (!now.paused && was.paused) out.push({ what: "continued", name: "", leg: "" });
    for (const e of now.exceptions) {
      const old = was.exceptions.find((o) => o.id === e.id);
      if (!old && !e.second) out.push({ what: "except_asked", name: e.name, leg: e.leg });
      else if (e.second && !old?.second) out.push({ what: "excepted", name: e.name, leg: e.leg });
    }
    for (const e of was.exceptions) {
      if (!now.exceptions.some((n) => n.id === e.id)) out.push({ what: "except_over", name: e.name, leg: e.leg });
    }
    out.push(...this.#chairs(roster, before, seen));
    if (this.screenClosed.value !== was.closed) out.push({ what: was.closed ? "reopened" : "closed", name: "", leg: "" });
    return out;
  }

  /** What the chair has done for the room. Of what was done before this person came nothing is told. */
  #chairs(roster: RosterEvent, before: readonly Member[], seen: boolean): AsideChange[] {
    const out: AsideChange[] = [];
    const { hushed, shut } = roster;
    const wasShut = this.shut.value !== undefined;
    if (seen && hushed && hushed.since !== this.#hushed) out.push({ what: hushed.mine ? "hushed_own" : "hushed", name: hushed.by, leg: "" });
    if (seen && wasShut !== (shut !== undefined)) out.push({ what: shut ? "shut" : "unshut", name: shut?.by ?? "", leg: "" });
    for (const m of roster.members ?? []) {
      if (m.role === "chair" && before.some((b) => b.leg === m.leg && b.role !== "chair")) out.push({ what: m.self ? "chair_own" : "chair", name: m.name, leg: m.leg });
    }
    this.#hushed = hushed?.since;
    this.shut.value = shut;
    this.offered.value = roster.offered;
    return out;
  }

  /** What the chair does for the room, or what is answered to it. */
  preside(act: "mute_all" | "close_door" | "open_door" | "withdraw" | "take"): void {
    this.#core.send({ do: "preside", act });
  }

  /** Offers the chair to another; it is theirs once they take it. */
  offerChair(leg: string): void {
    this.#core.send({ do: "preside", act: "offer", leg });
  }

  notice(event: NoticeEvent): void {
    const others = this.notices.value.filter((n) => !event.id || n.id !== event.id);
    const list = [...others, event];
    if (list.length > noticesAtMost) {
      const least = list.findIndex((n) => !ofDevices(n));
      list.splice(least < 0 ? noticesAtMost : least, 1); // the first word of a flood stays
    }
    this.notices.value = list;
  }

  read(...notices: readonly NoticeEvent[]): void {
    this.notices.value = this.notices.value.filter((n) => !notices.includes(n));
    for (const { id } of notices) if (id) this.#core.send({ do: "read", id });
  }

  pause(anonymous: boolean): void {
    if (!this.paused.value) this.#core.send({ do: "pause", on: true, anonymous });
  }

  goOn(): void {
    this.#core.send({ do: "pause", on: false, anonymous: false });
  }

  raise(level: number): void {
    this.raising.value = level;
    this.raiseProblem.value = undefined;
    this.#core.send({ do: "raise", level });
  }

  except(leg: string, reason: string, minutes: number): void {
    this.#core.send({ do: "except", leg, reason, minutes });
  }

  confirm(exception: number, yes: boolean): void {
    this.decided.value = new Set([...this.decided.value, exception]);
    this.#core.send({ do: "confirm", exception, yes });
  }

  ring(person: string): void {
    if (this.absent.value.some((a) => a.person === person)) this.rung.value = new Set([...this.rung.value, person]);
    this.#core.send({ do: "ring", person });
  }

  /** A wish could not be followed. */
  failed(of: string): void {
    if (of === "raise") this.raising.value = undefined;
    if (of === "confirm") this.decided.value = new Set();
    if (of === "ring") this.rung.value = new Set();
  }

  forget(): void {
    this.away.value = [];
    this.paused.value = undefined;
    this.exceptions.value = [];
    this.closed.value = [];
    this.shut.value = this.offered.value = this.#hushed = undefined;
    this.absent.value = [];
    this.rung.value = new Set();
    this.raising.value = undefined;
    this.decided.value = new Set();
  }
}
