// Holds what left the browser against what the frames worker sealed. Without the transform a browser has been seen to send
// a whole call in clear, without an error; should ours ever do so, this notices within about a second.
//
// A frame is sent only after it was sealed. So a count of sent frames must not exceed a count of sealed frames that is
// taken later. That it is later is made sure by asking for it: on a machine that is short of time, what the worker said
// earlier can reach the page after a younger count of sent frames. Sound is counted where its packets leave; pictures, by
// browsers' own counts, where they leave the encoder, before the worker gets them: on a busy machine some are on their
// way, and get there. What went round the worker never does. Pure: counts come in, a verdict comes out.

import type { StreamKind } from "../core/events";

export type Totals = Record<StreamKind, number>;

const kinds = ["microphone", "camera", "screen"] as const satisfies readonly StreamKind[];

/** Counts of a browser may run ahead of each other by a frame in flight. */
const slack = 2;
/**
 * A question that waits this long (ms), and over this many further counts, has no answer. A worker that lives answers in
 * milliseconds; one that does not seals nothing, so that nothing is sent either. In between lie machines under heavy load.
 */
const silence = 8000;
const patience = 5;
/** Pictures missing over so many answers went round the worker; over fewer, if the worker got none at all meanwhile. */
const missingFor = 6;
const missingAllFor = 3;

/** A kind of which something left in clear, or the number of a question to put to the worker now, or neither. */
export interface Verdict {
  clear?: StreamKind;
  question?: number;
}

export class Watchdog {
  readonly #base: Totals;
  #pending: { sent: Totals; at: number; counts: number; waiting: boolean; answers: number; first?: Totals } | undefined;
  #question = 0;

  /** base is the worker's latest report before this connection began: its counts go on over connections. */
  constructor(base: Totals) {
    this.#base = { ...base };
  }

  /** What the connection says that it sent so far, at now (ms). */
  sent(sent: Totals, now: number): Verdict {
    const pending = this.#pending;
    if (!pending) {
      this.#pending = { sent: { ...sent }, at: now, counts: 0, waiting: true, answers: 0 };
      return { question: ++this.#question };
    }
    if (!pending.waiting) {
      Object.assign(pending, { at: now, counts: 0, waiting: true });
      return { question: ++this.#question };
    }
    if (++pending.counts < patience || now - pending.at < silence) return {};
    const clear = kinds.find((kind) => sent[kind] > pending.sent[kind] + slack);
    return clear ? { clear } : {};
  }

  /** The worker's answer. Returns a kind of which more was sent before the question than is sealed, or will be. */
  sealed(totals: Totals, question: number): StreamKind | undefined {
    const pending = this.#pending;
    if (!pending || question !== this.#question) return undefined;
    const missing = kinds.filter((kind) => pending.sent[kind] > totals[kind] - this.#base[kind] + slack);
    if (missing.length === 0) {
      this.#pending = undefined;
      return undefined;
    }
    pending.waiting = false;
    pending.answers++;
    pending.first ??= { ...totals };
    const { answers, first } = pending;
    return missing.find((kind) => kind === "microphone" || answers >= missingFor || (answers >= missingAllFor && totals[kind] === first[kind]));
  }
}
