// Holds what left the browser against what the frames worker sealed. Without the transform a browser has been seen to send
// a whole call in clear, without an error; should ours ever do so, this notices within about a second.
//
// A frame is sent only after it was sealed. So a count of sent frames must not exceed a count of sealed frames that is
// taken later. Pure: counts come in, a verdict comes out.

import type { StreamKind } from "../core/events";

export type Totals = Record<StreamKind, number>;

const kinds = ["microphone", "camera", "screen"] as const satisfies readonly StreamKind[];

/** Counts of a browser may run ahead of each other by a frame in flight. */
const slack = 2;
/** Sent counts that wait this long (ms) for a report of the worker are taken for unsealed. */
const silence = 3000;

export class Watchdog {
  readonly #base: Totals;
  #pending: { sent: Totals; at: number } | undefined;

  /** base is the worker's latest report before this connection began: its counts go on over connections. */
  constructor(base: Totals) {
    this.#base = { ...base };
  }

  /** What the connection says that it sent so far, at now (ms). Returns a kind that was sent with no report in sight. */
  sent(sent: Totals, now: number): StreamKind | undefined {
    const pending = this.#pending;
    if (!pending) {
      this.#pending = { sent: { ...sent }, at: now };
      return undefined;
    }
    if (now - pending.at < silence) return undefined;
    return kinds.find((kind) => sent[kind] > pending.sent[kind] + slack);
  }

  /** The worker's report. Returns a kind of which more was sent before than has been sealed by now. */
  sealed(totals: Totals): StreamKind | undefined {
    const pending = this.#pending;
    this.#pending = undefined;
    return pending && kinds.find((kind) => pending.sent[kind] > totals[kind] - this.#base[kind] + slack);
  }
}
