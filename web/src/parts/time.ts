// A clock that components read: it ticks once a second while the page is open.

import { computed, signal } from "@preact/signals";

/** Now, in ms since 1970, within a second. */
export const now = signal(Date.now());

export function startTime(): void {
  setInterval(() => {
    now.value = Date.now();
  }, 1000);
}

/** The minute of now, in minutes since 1970: what shows no seconds reads this, and is drawn anew once a minute. */
export const minute = computed(() => Math.floor(now.value / 60_000));

/** Seconds since a point in time told as RFC 3339; 0 if there is none. */
export function secondsSince(text: string | undefined): number {
  const at = text ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? 0 : Math.max(0, (now.value - at) / 1000);
}
