// Reads from the page's own offer what the server must know of this end of the media path (RFC 8829, RFC 8839, RFC 5576).
// An offer that lacks any of it is an error: nothing is guessed.

import type { MediaOffer } from "../core/events";

/** One media section of an offer, as far as the answer repeats it. */
export interface Section {
  kind: "audio" | "video";
  mid: string;
  direction: "sendonly" | "recvonly";
  /** The browser's own payload type number for Opus or VP8. */
  payload: number;
}

export interface Offer {
  /** What goes to the server, signed by the core. */
  media: MediaOffer;
  sections: Section[];
}

/** An own offer is not as this client makes it: a browser that we do not know. */
export class OfferError extends Error {
  constructor(what: string) {
    super(`media: the browser's offer ${what}`);
  }
}

/** The senders come first in every offer, in this order; all behind them receive. */
export const senders = ["microphone", "camera", "screen"] as const;

/** The SHA-256 of the certificate that the lines of an offer name. */
export function readFingerprint(lines: readonly string[]): number[] {
  const match = /^sha-256 ((?:[0-9A-F]{2}:){31}[0-9A-F]{2})$/i.exec(attribute([...lines], "fingerprint"));
  if (!match?.[1]) throw new OfferError("has no SHA-256 fingerprint");
  return match[1].split(":").map((hex) => Number.parseInt(hex, 16));
}

/** Reads sdp, whose sections are the three senders and then the receiving slots. */
export function readOffer(sdp: string): Offer {
  const lines = sdp.split(/\r?\n/);
  const starts = lines.flatMap((line, i) => (line.startsWith("m=") ? [i] : []));
  const blocks = starts.map((start, i) => lines.slice(start, starts[i + 1]));
  const session = lines.slice(0, starts[0] ?? lines.length);
  if (blocks.length < senders.length) throw new OfferError("has too few sections");

  const first = [...(blocks[0] ?? []), ...session];
  const fingerprint = readFingerprint(first);

  const sections = blocks.map(readSection);
  const ssrc = (i: number) => {
    const value = Number.parseInt(attribute(blocks[i] ?? [], "ssrc"), 10);
    if (!(value > 0 && value <= 0xffffffff)) throw new OfferError("names no SSRC for what it sends");
    return value;
  };
  return {
    media: {
      ufrag: attribute(first, "ice-ufrag"),
      password: attribute(first, "ice-pwd"),
      fingerprint: base64(fingerprint),
      ssrc: { microphone: ssrc(0), camera: ssrc(1), screen: ssrc(2) },
      opus: payloadOf(sections, "audio"),
      vp8: payloadOf(sections, "video"),
    },
    sections,
  };
}

function readSection(block: string[]): Section {
  const kind = /^m=(audio|video) /.exec(block[0] ?? "")?.[1];
  if (kind !== "audio" && kind !== "video") throw new OfferError("has a section of another kind");
  const direction = block.includes("a=sendonly") ? "sendonly" : block.includes("a=recvonly") ? "recvonly" : undefined;
  if (!direction) throw new OfferError("both sends and receives in one section");
  const codec = kind === "audio" ? /^a=rtpmap:(\d+) opus\/48000\/2$/i : /^a=rtpmap:(\d+) VP8\/90000$/i;
  for (const line of block) {
    const payload = codec.exec(line)?.[1];
    if (payload) return { kind, direction, mid: attribute(block, "mid"), payload: Number(payload) };
  }
  throw new OfferError(`lacks ${kind === "audio" ? "Opus" : "VP8"}`);
}

/** All sections of a kind share one number: the server writes one RTP header for all receivers' slots. */
function payloadOf(sections: Section[], kind: Section["kind"]): number {
  const numbers = new Set(sections.filter((s) => s.kind === kind).map((s) => s.payload));
  const [number] = numbers;
  if (numbers.size !== 1 || number === undefined) throw new OfferError("numbers one codec in two ways");
  return number;
}

function attribute(lines: string[], name: string): string {
  const prefix = `a=${name}:`;
  const line = lines.find((line) => line.startsWith(prefix));
  if (!line) throw new OfferError(`lacks ${name}`);
  return line.slice(prefix.length).trim();
}

export function base64(bytes: readonly number[]): string {
  return btoa(String.fromCharCode(...bytes));
}
