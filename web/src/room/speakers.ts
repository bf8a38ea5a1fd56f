// Who speaks, and whom the stage shows. Levels come from what this device plays, ten times a second; the stage does not
// jump at every cough: another speaker takes it after having been the loudest for most of a second.

/** Root mean square of full scale above which somebody speaks; a quiet room is below 0.005. */
export const speakingLevel = 0.012;
/** How long a mark stays after the last loud moment, in ms: pauses between words are shorter. */
export const markFor = 700;
/** How long another must be the loudest before the stage changes, in ms. */
export const stageAfter = 800;

export class Speakers {
  #last = new Map<number, number>();
  #stage = -1;
  #candidate = -1;
  #since = 0;

  /** The leaf that the stage shows, -1 before anybody spoke. */
  get stage(): number {
    return this.#stage;
  }

  /** Feeds the level (0 to 1) of each leaf heard, at now (ms). */
  feed(levels: ReadonlyMap<number, number>, now: number): void {
    let loudest = -1;
    let most = speakingLevel;
    for (const [leaf, level] of levels) {
      if (level < speakingLevel) continue;
      this.#last.set(leaf, now);
      if (level > most) {
        most = level;
        loudest = leaf;
      }
    }
    if (loudest < 0 || loudest === this.#stage) {
      if (loudest === this.#stage) this.#candidate = -1;
      return;
    }
    if (this.#stage < 0) {
      this.#stage = loudest;
    } else if (this.#candidate !== loudest) {
      this.#candidate = loudest;
      this.#since = now;
    } else if (now - this.#since >= stageAfter) {
      this.#stage = loudest;
      this.#candidate = -1;
    }
  }

  /** Whether leaf speaks at now, pauses between words included. */
  speaks(leaf: number, now: number): boolean {
    return now - (this.#last.get(leaf) ?? -Infinity) < markFor;
  }

  /** Leaves that are no longer in the room give the stage up. */
  keep(leaves: ReadonlySet<number>): void {
    if (!leaves.has(this.#stage)) this.#stage = -1;
    for (const leaf of this.#last.keys()) if (!leaves.has(leaf)) this.#last.delete(leaf);
  }
}
