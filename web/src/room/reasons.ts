// What the server says stands in the way, as it is for this device: the server words a rule of the organisation's, which cannot know
// that what it asks for is not to be had here. Pure.

import type { Identity, Problem } from "../core/events";

/** A guest stands in no directory: where the server knows them no longer, their invitation is over, or is for another meeting. */
const overForGuest: ReadonlySet<string> = new Set(["person_unknown", "not_invited"]);

/** The reasons for who uses this browser. touch: a touch of their passkey was asked for, which they can give. */
export function reasonsFor(identity: Identity | null | undefined, reasons: readonly Problem[], touch: boolean): readonly Problem[] {
  const has = (code: string) => reasons.some((r) => r.code === code);
  // Without a good statement nothing else is believed of a device either: that is no further thing to do.
  if (has("statement_invalid")) return reasons.filter((r) => r.code === "statement_invalid");
  if (has("statement_expired")) return reasons.filter((r) => r.code !== "device_not_enrolled");
  if (identity?.guest && has("person_unknown")) {
    return [{ code: "invitation_expired", fix: "ask_invitation" }, ...reasons.filter((r) => !overForGuest.has(r.code))];
  }
  // Where this browser has no passkey nobody will ask for one.
  if (touch || identity?.passkey === true) return reasons;
  return reasons.map((r) => (r.code === "assertion_missing" ? { code: "passkey_none", fix: "enrol_again" } : r));
}
