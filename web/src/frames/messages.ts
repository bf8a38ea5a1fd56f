// What the page and the frames worker say to each other, beside the port between the core and the frames worker.

import type { StreamKind } from "../core/events";

/** The options of each RTCRtpScriptTransform. */
export interface TransformOptions {
  direction: "send" | "receive";
  kind: StreamKind;
  /** The receiving slot; 0 for senders. */
  slot: number;
}

export type ToFrames =
  /** Transfers the MessagePort whose other end the core holds. */
  | { do: "port" }
  /** How loud the microphone is, 1 to 255; 0: not told. */
  | { do: "loudness"; loudness: number }
  /** Asks for the totals as they are now: the answer carries the question's number. */
  | { do: "count"; question: number };

export type FromFrames =
  /**
   * Running totals of what a browser may count as sent: microphone frames handed on after sealing, pictures taken, sealed
   * or dropped (Chromium counts those as sent). Counted anew by each worker, never by each connection. Each second, without a
   * question, and in answer to each.
   */
  | { event: "sealed"; sealed: Record<StreamKind, number>; question?: number }
  /** Whose key opens the frames of a slot; -1: none for two seconds. */
  | { event: "opened"; opened: { kind: StreamKind; slot: number; leaf: number } }
  | { event: "failed"; what: string };
