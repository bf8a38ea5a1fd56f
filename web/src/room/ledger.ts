// When the own person speaks: spans for the speech ledger (docs/threat-model.md). The level is that of the own microphone,
// before sealing; no sound is kept, and nothing of what is said while muted is noted.

import { speakingLevel } from "./speakers";

/** The longest silence within a span of speech, in ms: pauses between words are shorter. As in Go's headless client. */
export const pauseAtMost = 700;
/** How often a span that goes on is told, in ms. */
const tellEvery = 1000;
/** The level is measured ten times a second: speech began up to so long before it was seen (ms). */
const measuredEvery = 100;
/** A page that was asleep has measured nothing meanwhile; longer than this is no span. */
const asleepAfter = 2000;

export class OwnSpeech {
  readonly #tell: (from: number, to: number) => void;
  #from = 0;
  #last = 0;
  #fed = 0;

  /** tell is called with the begin and end of speech, in ms of the clock that feeds. */
  constructor(tell: (from: number, to: number) => void) {
    this.#tell = tell;
  }

  /** Feeds the level (0 to 1) of the own microphone at now. */
  feed(level: number, muted: boolean, now: number): void {
    if (now - this.#fed > asleepAfter) this.end();
    this.#fed = now;
    if (!muted && level > speakingLevel) {
      this.#from ||= now - measuredEvery;
      this.#last = now;
    }
    if (!this.#from) return;
    if (muted || now - this.#last >= pauseAtMost) this.end();
    else if (this.#last - this.#from >= tellEvery) {
      this.#tell(this.#from, this.#last);
      this.#from = this.#last;
    }
  }

  /** Ends a span that goes on. */
  end(): void {
    if (this.#from && this.#last > this.#from) this.#tell(this.#from, this.#last);
    this.#from = 0;
  }
}
