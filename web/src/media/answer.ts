// Writes the answer to the page's own offer. Nothing is negotiated: the answer is a template, filled with the server's
// transport (told by the core, whose signature covers both fingerprints) and the fixed slots of the room. It allows no
// RTP header extension at all, so that no audio level, no orientation and no timing travels beside the sealed frames.

import type { MediaServer, MediaWanted } from "../core/events";
import type { Section } from "./offer";
import { OfferError, senders } from "./offer";

/** The SSRCs of the receiving slots are the same for everyone: what the server forwards is written once for all. */
export const slotSSRC = { audio: 0x0c1a0000, camera: 0x0c1b0000, screen: 0x0c1c0000 } as const;

// Firefox 153 does not obey cbr=1. At this rate all but a packet in five hundred stay below the 80 bytes of a constant
// 32 kbit/s, to which the frames worker pads them (frames/opus.ts).
export const opusRate = typeof navigator !== "undefined" && navigator.userAgent.includes("Firefox/") ? 20_000 : 32_000;

/** A constant bit rate without silence suppression: on the wire speech, silence and mute look alike. */
export const opusParameters = `minptime=20;cbr=1;usedtx=0;stereo=0;sprop-stereo=0;maxaveragebitrate=${opusRate};useinbandfec=0`;

/** Writes the answer for an offer whose sections are the three senders and then the slots of `wanted`, in that order. */
export function writeAnswer(sections: readonly Section[], wanted: MediaWanted): string {
  const slots = slotList(wanted.slots);
  if (sections.length !== senders.length + slots.length) throw new OfferError("does not fit the room's slots");
  // RFC 8839, Section 5.4: ice-char only, so nothing told by the server can add a line of its own.
  if (![wanted.server.ufrag, wanted.server.password].every((text) => /^[A-Za-z0-9+/]{4,256}$/.test(text))) {
    throw new OfferError("cannot be answered: the server's credentials are malformed");
  }
  const lines = [
    "v=0",
    "o=- 1 1 IN IP4 0.0.0.0",
    "s=-",
    "t=0 0",
    "a=ice-lite",
    `a=group:BUNDLE ${sections.map((s) => s.mid).join(" ")}`,
    "a=msid-semantic: WMS *",
  ];
  sections.forEach((section, i) => {
    const slot = i < senders.length ? undefined : slots[i - senders.length];
    if ((slot === undefined) !== (section.direction === "sendonly") || (slot && slot.kind !== section.kind)) {
      throw new OfferError("has its sections in another order");
    }
    lines.push(...writeSection(section, wanted.server, slot, i === 0));
  });
  return `${lines.join("\r\n")}\r\n`;
}

interface Slot {
  kind: "audio" | "video";
  name: string;
  ssrc: number;
}

function slotList(counts: MediaWanted["slots"]): Slot[] {
  const list = (count: number, kind: Slot["kind"], name: keyof typeof slotSSRC): Slot[] =>
    Array.from({ length: count }, (_, i) => ({ kind, name: `${name}-${i}`, ssrc: slotSSRC[name] + i }));
  return [...list(counts.audio, "audio", "audio"), ...list(counts.camera, "video", "camera"), ...list(counts.screen, "video", "screen")];
}

function writeSection(section: Section, server: MediaServer, slot: Slot | undefined, withCandidates: boolean): string[] {
  const { kind, payload } = section;
  const lines = [
    `m=${kind} 9 UDP/TLS/RTP/SAVPF ${payload}`,
    "c=IN IP4 0.0.0.0",
    `a=mid:${section.mid}`,
    `a=${slot ? "sendonly" : "recvonly"}`,
    "a=rtcp-mux",
    `a=ice-ufrag:${server.ufrag}`,
    `a=ice-pwd:${server.password}`,
    `a=fingerprint:sha-256 ${hexFingerprint(server.fingerprint)}`,
    "a=setup:passive",
  ];
  if (kind === "audio") {
    lines.push(`a=rtpmap:${payload} opus/48000/2`, `a=fmtp:${payload} ${opusParameters}`, "a=ptime:20", "a=maxptime:20");
  } else {
    lines.push(
      `a=rtpmap:${payload} VP8/90000`,
      `a=rtcp-fb:${payload} goog-remb`,
      `a=rtcp-fb:${payload} nack`,
      `a=rtcp-fb:${payload} nack pli`,
    );
  }
  if (slot) {
    lines.push(
      `a=msid:${slot.name} ${slot.name}`,
      `a=ssrc:${slot.ssrc} cname:${slot.name}`,
      `a=ssrc:${slot.ssrc} msid:${slot.name} ${slot.name}`,
    );
  }
  if (withCandidates) {
    server.candidates.forEach((address, i) => lines.push(candidate(address, i)));
    lines.push("a=end-of-candidates");
  }
  return lines;
}

/** "192.0.2.1:7000" or "[2001:db8::1]:7000" as a host candidate (RFC 8839, Section 5.1); earlier ones are preferred. */
export function candidate(address: string, index: number): string {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (!host || port < 1 || port > 65535) throw new OfferError("cannot be answered: the server's address is malformed");
  const priority = 126 * 2 ** 24 + (65535 - index) * 2 ** 8 + 255; // RFC 8445, Section 5.1.2.1: host, component 1
  return `a=candidate:${index + 1} 1 udp ${priority} ${host} ${port} typ host`;
}

/** SHA-256 in base64 to the colon-separated form of RFC 8122. */
export function hexFingerprint(text: string): string {
  const bytes = atob(text);
  if (bytes.length !== 32) throw new OfferError("cannot be answered: the server's fingerprint is malformed");
  return Array.from(bytes, (c) => c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")).join(":");
}
