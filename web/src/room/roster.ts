// The room as the core verified it, and what changed from one roster to the next: for announcements, and for telling when
// a removal is truly done.

import type { Grade, Guest, LegKind, Member } from "../core/events";

export type Change =
  | { what: "came" | "phone" | "went" | "lost" | "returned" | "hand" | "shares" | "shares_end"; name: string; leg: string }
  | { what: "at_door"; name: string; leg: string };

/** What a screen reader and the strip below the stage tell, in the order of importance to a person in the room. */
export function changes(before: readonly Member[], after: readonly Member[]): Change[] {
  const out: Change[] = [];
  const old = new Map(before.map((m) => [m.leg, m]));
  const now = new Map(after.map((m) => [m.leg, m]));
  for (const m of before) {
    if (!m.self && !now.has(m.leg)) out.push({ what: "went", name: m.name, leg: m.leg });
  }
  for (const m of after) {
    if (m.self) continue;
    const was = old.get(m.leg);
    const tell = (what: "came" | "phone" | "lost" | "returned" | "hand" | "shares" | "shares_end") => out.push({ what, name: m.name, leg: m.leg });
    if (!was) {
      tell(isPhone(m) ? "phone" : "came");
      continue;
    }
    if (m.lost && !was.lost) tell("lost");
    if (!m.lost && was.lost) tell("returned");
    if (m.hand && !was.hand) tell("hand");
    if (m.screen && !was.screen) tell("shares");
    if (!m.screen && was.screen) tell("shares_end");
  }
  return out;
}

export function arrivals(before: readonly Guest[], after: readonly Guest[]): Change[] {
  const old = new Set(before.map((g) => g.leg));
  return after.filter((g) => !old.has(g.leg)).map((g) => ({ what: "at_door", name: g.name, leg: g.leg }));
}

/** The chair first, then oneself, then those with a hand up in the order of leaves, then all others by name. */
export function ordered(members: readonly Member[]): Member[] {
  const rank = (m: Member) => (m.role === "chair" ? 0 : m.self ? 1 : m.hand ? 2 : 3);
  return [...members].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name) || a.leaf - b.leaf);
}

const open: readonly Grade[] = ["open", "hop"];

/** A line that is not encrypted to its end: by the verified statement, or by the verified pass. */
export const isPhone = (m: { kind?: LegKind; gateway?: boolean; grade: Grade }): boolean => m.kind === "phone" || m.gateway === true || open.includes(m.grade);

/** What is known here of a member's connection now. */
export type Connection = "good" | "here" | "unknown" | "weak" | "lost" | "phone";

/** The own line as it was measured; of another's only whether the server has lost it: nobody here measures that. While the
 *  own line is away nothing is known of others. */
export function connectionOf(m: Member, own: { here: boolean; flowing: boolean; blocked: boolean; weak: boolean }): Connection {
  if (m.self) return !own.here || own.blocked ? "lost" : own.weak ? "weak" : own.flowing ? "good" : "unknown";
  if (!own.here) return "unknown";
  if (m.lost) return "lost";
  return isPhone(m) ? "phone" : "here";
}

/** Lines that are not encrypted to their end: the header's sentence must name them. */
export function openAtGateway(members: readonly Member[]): Member[] {
  return members.filter(isPhone);
}

/** Two letters to stand for a person without a picture. */
export function initials(name: string): string {
  const parts = name.trim().split(/\s+/);
  const first = parts[0]?.[0] ?? "";
  const last = parts.length > 1 ? (parts[parts.length - 1]?.[0] ?? "") : "";
  return (first + last).toLocaleUpperCase();
}
