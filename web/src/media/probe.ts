// A probe of the media path before there is a meeting: ICE and DTLS to the server's media port by a connection that may only
// receive and is never sent anything. Whether it arrived, the server says: it alone knows.

import type { MediaServer } from "../core/events";
import { candidate, hexFingerprint } from "./answer";
import { base64, OfferError, readFingerprint } from "./offer";

export interface ProbeOffer {
  ufrag: string;
  /** SHA-256 of the connection's certificate, base64. */
  fingerprint: string;
}

export class Probe {
  readonly #connection = new RTCPeerConnection({ bundlePolicy: "max-bundle", rtcpMuxPolicy: "require", iceServers: [] });

  constructor() {
    this.#connection.addTransceiver("audio", { direction: "recvonly" });
  }

  async offer(): Promise<ProbeOffer> {
    await this.#connection.setLocalDescription(await this.#connection.createOffer());
    const lines = this.#lines();
    return { ufrag: value(lines, "ice-ufrag"), fingerprint: base64(readFingerprint(lines)) };
  }

  async connect(server: MediaServer): Promise<void> {
    await this.#connection.setRemoteDescription({ type: "answer", sdp: probeAnswer(this.#lines(), server) });
  }

  close(): void {
    this.#connection.close();
  }

  #lines(): string[] {
    return (this.#connection.localDescription?.sdp ?? "").split(/\r?\n/);
  }
}

/** Answers an offer of one section that receives sound. */
export function probeAnswer(offer: readonly string[], server: MediaServer): string {
  if (![server.ufrag, server.password].every((text) => /^[A-Za-z0-9+/]{4,256}$/.test(text))) {
    throw new OfferError("cannot be answered: the server's credentials are malformed");
  }
  const mid = value(offer, "mid");
  const payload = /^a=rtpmap:(\d+) opus\/48000\/2$/im.exec(offer.join("\n"))?.[1];
  if (!payload) throw new OfferError("lacks Opus");
  return [
    "v=0",
    "o=- 1 1 IN IP4 0.0.0.0",
    "s=-",
    "t=0 0",
    "a=ice-lite",
    `a=group:BUNDLE ${mid}`,
    `m=audio 9 UDP/TLS/RTP/SAVPF ${payload}`,
    "c=IN IP4 0.0.0.0",
    `a=mid:${mid}`,
    "a=inactive",
    "a=rtcp-mux",
    `a=ice-ufrag:${server.ufrag}`,
    `a=ice-pwd:${server.password}`,
    `a=fingerprint:sha-256 ${hexFingerprint(server.fingerprint)}`,
    "a=setup:passive",
    `a=rtpmap:${payload} opus/48000/2`,
    ...server.candidates.map(candidate),
    "a=end-of-candidates",
    "",
  ].join("\r\n");
}

function value(lines: readonly string[], name: string): string {
  const prefix = `a=${name}:`;
  const line = lines.find((l) => l.startsWith(prefix));
  if (!line) throw new OfferError(`lacks ${name}`);
  return line.slice(prefix.length).trim();
}
