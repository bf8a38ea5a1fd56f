// What the stage shows: a shared screen before a speaker, a speaker before a silent person, and everyone else in the
// strip. Pure.

import type { Member } from "../core/events";
import type { Truth } from "./truth";

export interface Place {
  leaf: number;
  /** The slot in which the picture truly is, undefined when there is none. */
  camera?: number;
}

export interface Layout {
  /** A shared screen, by the slot that it truly is in. */
  screen?: { slot: number; leaf: number };
  /** Who is large; undefined while a screen is, or when nobody else is here. */
  main?: Place;
  /** Oneself, then all others that are not large. */
  strip: Place[];
}

/** The most tiles beside the large one; more stand in the list of people only. */
export const stripMost = 12;

export function layout(members: readonly Member[], truth: Truth, screens: number, speaker: number): Layout {
  const place = (m: Member): Place => {
    const camera = m.self ? undefined : truth.slotOf("camera", m.leaf);
    return camera === undefined ? { leaf: m.leaf } : { leaf: m.leaf, camera };
  };
  const self = members.filter((m) => m.self);
  const others = members.filter((m) => !m.self);
  const byPicture = [...others].sort(
    (a, b) => Number(place(b).camera !== undefined) - Number(place(a).camera !== undefined) || Number(!!a.lost) - Number(!!b.lost) || a.leaf - b.leaf,
  );
  const strip = (large?: Member) => [...self, ...byPicture.filter((m) => m !== large)].slice(0, stripMost).map(place);
  for (let slot = 0; slot < screens; slot++) {
    const leaf = truth.in("screen", slot);
    if (others.some((m) => m.leaf === leaf)) return { screen: { slot, leaf }, strip: strip() };
  }
  const large = others.find((m) => m.leaf === speaker) ?? byPicture[0];
  return large ? { main: place(large), strip: strip(large) } : { strip: self.map(place) };
}
