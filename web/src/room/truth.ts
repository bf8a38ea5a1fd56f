// Who is in a receiving slot. The frames worker tells whose key opens the frames of each slot: that is the truth which
// the page shows. What the server says is only held against it; a lasting difference is an alarm.

import type { SlotsEvent, StreamKind } from "../core/events";

/** A slot falls silent in the frames worker's report two seconds after its last frame; only what lasts longer is a lie. */
export const patience = 3000;

const listOf = { microphone: "audio", camera: "camera", screen: "screen" } as const;

export interface Contradiction {
  kind: StreamKind;
  slot: number;
  /** The leaf whose key opens the frames. */
  opened: number;
  /** The leaf that the server named, -1 for none. */
  told: number;
}

export class Truth {
  readonly #opened: Record<StreamKind, Map<number, number>> = { microphone: new Map(), camera: new Map(), screen: new Map() };
  readonly #since = new Map<string, number>();
  readonly #reported = new Set<string>();
  #told: SlotsEvent | undefined;

  /** The leaf that is truly in a slot, -1 for none. */
  in(kind: StreamKind, slot: number): number {
    return this.#opened[kind].get(slot) ?? -1;
  }

  /** The slot in which leaf is truly heard or seen, undefined for none. */
  slotOf(kind: StreamKind, leaf: number): number | undefined {
    for (const [slot, in_] of this.#opened[kind]) if (in_ === leaf) return slot;
    return undefined;
  }

  opened(kind: StreamKind, slot: number, leaf: number): void {
    if (leaf < 0) this.#opened[kind].delete(slot);
    else this.#opened[kind].set(slot, leaf);
  }

  told(slots: SlotsEvent): void {
    this.#told = slots;
  }

  /** Forgets all: a new media path starts. */
  clear(): void {
    for (const map of Object.values(this.#opened)) map.clear();
    this.#since.clear();
  }

  /** Differences that have lasted longer than `patience` at now (ms), each told once. */
  check(now: number): Contradiction[] {
    const out: Contradiction[] = [];
    for (const kind of ["microphone", "camera", "screen"] as const) {
      for (const [slot, opened] of this.#opened[kind]) {
        const told = this.#told?.[listOf[kind]]?.[slot] ?? -1;
        const key = `${kind} ${slot} ${opened}`;
        if (!this.#told || told === opened) {
          this.#since.delete(key);
          continue;
        }
        const since = this.#since.get(key);
        if (since === undefined) this.#since.set(key, now);
        else if (now - since > patience && !this.#reported.has(key)) {
          this.#reported.add(key);
          out.push({ kind, slot, opened, told });
        }
      }
    }
    return out;
  }
}
