// Whether the own line is weak: from the media path's own figures, with hysteresis. Nothing is said at the first hiccup.

/** One second of the media path. */
export interface Sample {
  /** Share of packets lost on the way here, 0 to 1; NaN if none were expected. */
  lossIn: number;
  /** Share lost on the way there, as the server reports; NaN if unknown. */
  lossOut: number;
  /** Round-trip time in ms; NaN if unknown. */
  rtt: number;
}

/** Speech is hard to follow above these; Opus hides less than this well. */
const badLoss = 0.08;
const badRTT = 500;
/** A weakness is told after this long, and taken back after this long, in ms. */
export const tellAfter = 5000;
export const forgiveAfter = 4000;

export class OwnLine {
  #bad = 0;
  #good = 0;
  #weak = false;

  get weak(): boolean {
    return this.#weak;
  }

  /** Feeds a sample at now (ms); returns whether the line is weak. */
  feed(sample: Sample, now: number): boolean {
    const bad = sample.lossIn > badLoss || sample.lossOut > badLoss || sample.rtt > badRTT;
    if (bad) {
      this.#good = 0;
      this.#bad ||= now;
      if (now - this.#bad >= tellAfter) this.#weak = true;
    } else {
      this.#bad = 0;
      this.#good ||= now;
      if (now - this.#good >= forgiveAfter) this.#weak = false;
    }
    return this.#weak;
  }

  reset(): void {
    this.#bad = this.#good = 0;
    this.#weak = false;
  }
}
