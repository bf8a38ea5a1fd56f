// One media path: a PeerConnection with three senders and the room's receiving slots, fixed for its life. Sound and
// picture pass the frames worker on their way out and in; nothing is ever renegotiated. A broken path is replaced whole.

import type { MediaOffer, MediaWanted, StreamKind } from "../core/events";
import type { TransformOptions } from "../frames/messages";
import type { Sample } from "../room/ownline";
import { opusRate, writeAnswer } from "./answer";
import { readOffer } from "./offer";
import type { Totals } from "./watchdog";

/** What Chromium knows beyond the standard: with it a sender without a transform sends nothing at all, not clear frames. */
interface Configuration extends RTCConfiguration {
  encodedInsertableStreams: boolean;
}

const encodings = {
  microphone: { maxBitrate: opusRate },
  camera: { maxBitrate: 800_000, maxFramerate: 24 },
  screen: { maxBitrate: 2_500_000, maxFramerate: 10 },
} as const satisfies Record<StreamKind, RTCRtpEncodingParameters>;

/** A path that does not stand after so long (ms) is given up for another: some browsers would wait for ever. */
const connectWithin = 10_000;

export interface Streams {
  audio: readonly MediaStream[];
  camera: readonly MediaStream[];
  screen: readonly MediaStream[];
}

export class Path {
  /** One stream with one track for each receiving slot. */
  readonly streams: Streams;
  /** Called once when the path has failed. */
  onbroken: () => void = () => {};
  onconnected: () => void = () => {};

  readonly #connection: RTCPeerConnection;
  readonly #senders = new Map<StreamKind, RTCRtpSender>();
  #patience: ReturnType<typeof setTimeout> | undefined;
  #ssrc: MediaOffer["ssrc"] | undefined;
  #received = { expected: 0, lost: 0 };
  #reported = false;

  constructor(frames: Worker, slots: MediaWanted["slots"], tracks: Record<StreamKind, MediaStreamTrack | null>, certificate: RTCCertificate) {
    const configuration: Configuration = { bundlePolicy: "max-bundle", rtcpMuxPolicy: "require", iceServers: [], certificates: [certificate], encodedInsertableStreams: true };
    this.#connection = new RTCPeerConnection(configuration);
    this.#connection.onconnectionstatechange = () => this.#stateChanged();
    for (const kind of ["microphone", "camera", "screen"] as const) this.#addSender(frames, kind, tracks[kind]);
    this.streams = {
      audio: this.#addReceivers(frames, "microphone", slots.audio),
      camera: this.#addReceivers(frames, "camera", slots.camera),
      screen: this.#addReceivers(frames, "screen", slots.screen),
    };
  }

  /** Makes the offer, answers it in the server's stead, and returns what the server must know of this end. */
  async connect(wanted: MediaWanted): Promise<MediaOffer> {
    const connection = this.#connection;
    await connection.setLocalDescription(await connection.createOffer());
    const { media, sections } = readOffer(connection.localDescription?.sdp ?? "");
    this.#patience = setTimeout(() => this.#broken(), connectWithin);
    this.#ssrc = media.ssrc;
    await connection.setRemoteDescription({ type: "answer", sdp: writeAnswer(sections, wanted) });
    return media;
  }

  async replace(kind: StreamKind, track: MediaStreamTrack | null): Promise<void> {
    await this.#senders.get(kind)?.replaceTrack(track);
  }

  close(): void {
    clearTimeout(this.#patience);
    this.#connection.onconnectionstatechange = null;
    this.#connection.close();
  }

  /** What was sent so far, and how the last second was. */
  async measure(): Promise<{ sent: Totals; sample: Sample }> {
    const report = await this.#connection.getStats();
    const sent: Totals = { microphone: 0, camera: 0, screen: 0 };
    const sample: Sample = { lossIn: Number.NaN, lossOut: Number.NaN, rtt: Number.NaN };
    let received = 0;
    let lost = 0;
    report.forEach((stat) => {
      switch (stat.type) {
        case "outbound-rtp":
          if (stat.ssrc === this.#ssrc?.microphone) sent.microphone += stat.packetsSent ?? 0;
          else if (stat.ssrc === this.#ssrc?.camera) sent.camera += stat.framesSent ?? 0;
          else if (stat.ssrc === this.#ssrc?.screen) sent.screen += stat.framesSent ?? 0;
          break;
        case "inbound-rtp":
          received += stat.packetsReceived ?? 0;
          lost += Math.max(0, stat.packetsLost ?? 0);
          break;
        case "remote-inbound-rtp":
          if (stat.kind === "audio" && stat.fractionLost !== undefined) sample.lossOut = stat.fractionLost;
          break;
        case "candidate-pair":
          if (stat.nominated && stat.currentRoundTripTime !== undefined) sample.rtt = stat.currentRoundTripTime * 1000;
          break;
      }
    });
    const expected = received + lost - this.#received.expected;
    if (this.#received.expected > 0 && expected > 20) sample.lossIn = Math.max(0, lost - this.#received.lost) / expected;
    this.#received = { expected: received + lost, lost };
    return { sent, sample };
  }

  // The transform is set in the same task as the transceiver is made: a task later, and a browser without the flag above
  // sends the whole call in clear.
  #addSender(frames: Worker, kind: StreamKind, track: MediaStreamTrack | null): void {
    const media = kind === "microphone" ? "audio" : "video";
    const transceiver = this.#connection.addTransceiver(media, { direction: "sendonly", sendEncodings: [encodings[kind]] });
    transceiver.sender.transform = transform(frames, { direction: "send", kind, slot: 0 });
    prefer(transceiver, media);
    this.#senders.set(kind, transceiver.sender);
    if (track) void transceiver.sender.replaceTrack(track);
  }

  #addReceivers(frames: Worker, kind: StreamKind, count: number): MediaStream[] {
    const media = kind === "microphone" ? "audio" : "video";
    return Array.from({ length: count }, (_, slot) => {
      const transceiver = this.#connection.addTransceiver(media, { direction: "recvonly" });
      transceiver.receiver.transform = transform(frames, { direction: "receive", kind, slot });
      prefer(transceiver, media);
      return new MediaStream([transceiver.receiver.track]);
    });
  }

  #stateChanged(): void {
    switch (this.#connection.connectionState) {
      case "connected":
        clearTimeout(this.#patience);
        this.onconnected();
        return;
      case "disconnected":
        clearTimeout(this.#patience);
        // Often a passing hiccup; the browser itself gives up only after some fifteen seconds.
        this.#patience = setTimeout(() => this.#broken(), 5000);
        return;
      case "failed":
        this.#broken();
    }
  }

  #broken(): void {
    if (this.#reported) return;
    this.#reported = true;
    this.onbroken();
  }
}

function transform(frames: Worker, options: TransformOptions): RTCRtpScriptTransform {
  return new RTCRtpScriptTransform(frames, options);
}

/** Leaves one codec in the offer: Opus, VP8. */
function prefer(transceiver: RTCRtpTransceiver, media: "audio" | "video"): void {
  const wanted = media === "audio" ? "audio/opus" : "video/vp8";
  const codecs = RTCRtpReceiver.getCapabilities(media)?.codecs.filter((codec) => codec.mimeType.toLowerCase() === wanted) ?? [];
  if (codecs.length > 0) transceiver.setCodecPreferences(codecs);
}
