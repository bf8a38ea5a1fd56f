// A room's rules on top of SFrame: one suite, KIDs that name stream, leaf and epoch, headers of one size, counters that
// cannot repeat, a window against replays. Go's package sframe (room.go, keyring.go) has the same rules; a test has each
// open what the other sealed.

import type { StreamKind } from "../core/events";
import { importBaseKey, Key, tagSize, type Bytes } from "./sframe";

const suite = 5;
/** KID and CTR are kept where they take four bytes each. */
const headerByte = 0xbb;
export const headerSize = 9;
export const overhead = headerSize + tagSize;
export const firstCounter = 2 ** 24;
export const lastCounter = 2 ** 32 - 1;
export const firstContext = 0x800;
export const lastContext = 0xfff;
const maxLeaf = 0xfff;

/** How long (ms) frames of an epoch are opened after a newer one came. */
export const grace = 10_000;
/** How far behind the newest counter of a KID a frame may come. */
export const windowSize = 1024;
/** Streams that one leaf may start in one epoch. */
const maxStreams = 512;
/** Keys derived for KIDs from which nothing has authenticated yet. */
const maxCandidates = 64;

export const kinds = { microphone: 1, camera: 2, screen: 3 } as const satisfies Record<StreamKind, number>;

/** What depacketisers look at in a VP8 frame, with nothing of the frame in it (RFC 6386, Section 9.1). */
const deltaPrefix: Bytes = new Uint8Array([0x01]);
const keyPrefix: Bytes = new Uint8Array([0x00, 0x00, 0x00, 0x9d, 0x01, 0x2a, 0x10, 0x00, 0x10, 0x00]);
const noPrefix: Bytes = new Uint8Array();

export function videoPrefix(keyFrame: boolean): Bytes {
  return keyFrame ? keyPrefix : deltaPrefix;
}

/** Parts the payload of a video stream; undefined if it begins with neither prefix. */
export function cutVideoPrefix(payload: Bytes): { prefix: Bytes; sealed: Bytes } | undefined {
  const prefix = [keyPrefix, deltaPrefix].find((p) => p.every((byte, i) => payload[i] === byte));
  return prefix && { prefix, sealed: payload.subarray(prefix.length) };
}

/** What is authenticated beside the header: the stream's kind and what stands before the frame in clear. */
function metadata(kind: StreamKind, prefix: Bytes): Bytes {
  const out = new Uint8Array(1 + prefix.length);
  out[0] = kinds[kind];
  out.set(prefix, 1);
  return out;
}

function kidOf(context: number, leaf: number, epoch: number): number {
  return context * 2 ** 20 + leaf * 2 ** 8 + (epoch % 256);
}

/** Seals the frames of one stream. It owns the counter: nobody reads or sets it. */
export class Sender {
  readonly kind: StreamKind;
  readonly context: number;
  #epoch = -1;
  #leaf = 0;
  #next = lastCounter + 1;
  #key: Key | undefined;

  /** context must never have been used under the keys of the epochs that the sender enters. */
  constructor(kind: StreamKind, context: number) {
    if (!Number.isInteger(context) || context < firstContext || context > lastContext) throw new RangeError("frames: context");
    this.kind = kind;
    this.context = context;
  }

  /** The epoch under which it seals, -1 for none. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Goes on under a newer epoch. An epoch that is not newer changes nothing: its counter must not start again. */
  async enter(epoch: Epoch): Promise<void> {
    if (epoch.number <= this.#epoch) return;
    const key = await Key.derive(suite, epoch.base, BigInt(kidOf(this.context, epoch.leaf, epoch.number)));
    if (epoch.number <= this.#epoch) return;
    this.#epoch = epoch.number;
    this.#leaf = epoch.leaf;
    this.#next = firstCounter;
    this.#key = key;
  }

  /**
   * The payload of a frame: prefix (video), SFrame ciphertext, loudness byte (microphone). Undefined when there is no key,
   * or the counter is used up: then nothing may be sent.
   */
  async seal(frame: ArrayBuffer, prefix: Bytes = noPrefix, trailer: Bytes = noPrefix): Promise<ArrayBuffer | undefined> {
    const key = this.#key;
    if (!key || this.#next > lastCounter) return undefined;
    const ctr = this.#next++;
    const header = new Uint8Array(headerSize);
    header[0] = headerByte;
    const view = new DataView(header.buffer);
    view.setUint32(1, kidOf(this.context, this.#leaf, this.#epoch));
    view.setUint32(5, ctr);
    const sealed = await key.seal(ctr, header, metadata(this.kind, prefix), frame);
    const out = new Uint8Array(prefix.length + headerSize + sealed.length + trailer.length);
    out.set(prefix);
    out.set(header, prefix.length);
    out.set(sealed, prefix.length + headerSize);
    out.set(trailer, prefix.length + headerSize + sealed.length);
    return out.buffer;
  }
}

/** One epoch's key, which WebCrypto keeps to itself. */
export interface Epoch {
  number: number;
  /** The own leaf. */
  leaf: number;
  base: CryptoKey;
}

/** What came of a frame. Only "epoch" may turn out otherwise if it is tried again. */
export type Opened =
  | { frame: ArrayBuffer; leaf: number }
  | { failed: "epoch"; leaf: number }
  | { failed: "malformed" | "member" | "crowded" | "replay" | "forged"; leaf: number };

interface EpochKeys {
  number: number;
  base: CryptoKey;
  until: number;
  /** How many streams each leaf has started. */
  members: Map<number, number>;
  streams: Map<number, Stream>;
  candidates: Map<number, Stream>;
}

interface Stream {
  key: Promise<Key>;
  window: Window;
}

/** Opens what the members have sealed. Nothing is opened by trial: each KID has one key. */
export class Keyring {
  /** By the low eight bits of the epoch. */
  readonly #epochs = new Map<number, EpochKeys>();
  #newest: Epoch | undefined;

  /** The epoch to seal under. */
  get newest(): Epoch | undefined {
    return this.#newest;
  }

  /** Takes an epoch's key and wipes the bytes. False if the epoch is not newer than all before: nothing changes then. */
  async add(number: number, leaf: number, key: Bytes, members: readonly number[], now: number): Promise<boolean> {
    const base = await importBaseKey(key);
    if (this.#newest && number <= this.#newest.number) return false;
    if (![leaf, ...members].every((m) => Number.isInteger(m) && m >= 0 && m <= maxLeaf)) return false;
    this.expire(now);
    for (const old of this.#epochs.values()) old.until = Math.min(old.until, now + grace);
    this.#epochs.set(number % 256, {
      number,
      base,
      until: Number.POSITIVE_INFINITY,
      members: new Map(members.map((m) => [m, 0])),
      streams: new Map(),
      candidates: new Map(),
    });
    this.#newest = { number, leaf, base };
    return true;
  }

  retire(number: number): void {
    if (this.#epochs.get(number % 256)?.number === number) this.#epochs.delete(number % 256);
  }

  /** Opens no frame of this leaf any more, in any epoch that is known. */
  bar(leaf: number): void {
    for (const epoch of this.#epochs.values()) epoch.members.delete(leaf);
  }

  /** Forgets the epochs whose grace is over; open refuses them in any case. */
  expire(now: number): void {
    for (const [low, epoch] of this.#epochs) if (now >= epoch.until) this.#epochs.delete(low);
  }

  clear(): void {
    this.#epochs.clear();
    this.#newest = undefined;
  }

  /** Opens an SFrame ciphertext that came in a slot of that kind, behind prefix. */
  async open(kind: StreamKind, prefix: Bytes, sealed: Bytes, now: number): Promise<Opened> {
    if (sealed.length < overhead || sealed[0] !== headerByte) return { failed: "malformed", leaf: -1 };
    const view = new DataView(sealed.buffer, sealed.byteOffset, sealed.length);
    const kid = view.getUint32(1);
    const ctr = view.getUint32(5);
    const leaf = (kid >>> 8) & maxLeaf;
    if (kid >>> 20 < firstContext || ctr < firstCounter) return { failed: "malformed", leaf: -1 };
    const epoch = this.#epochs.get(kid & 0xff);
    if (!epoch || now >= epoch.until) return { failed: "epoch", leaf };
    if (!epoch.members.has(leaf)) return { failed: "member", leaf };
    const stream = streamOf(epoch, kid);
    if (!stream.window.fresh(ctr)) return { failed: "replay", leaf };
    const key = await stream.key;
    const frame = await key.open(ctr, sealed.subarray(0, headerSize), metadata(kind, prefix), sealed.subarray(headerSize));
    if (!frame) return { failed: "forged", leaf };
    // Others may have been at work since: the KID's window is looked up and asked again.
    const kept = keep(epoch, kid, leaf, stream);
    if (!kept) return { failed: "crowded", leaf };
    if (!kept.window.fresh(ctr)) return { failed: "replay", leaf };
    kept.window.mark(ctr);
    return { frame, leaf };
  }
}

function streamOf(epoch: EpochKeys, kid: number): Stream {
  const known = epoch.streams.get(kid) ?? epoch.candidates.get(kid);
  if (known) return known;
  const stream = { key: Key.derive(suite, epoch.base, BigInt(kid)), window: new Window() };
  epoch.candidates.set(kid, stream);
  if (epoch.candidates.size > maxCandidates) {
    for (const oldest of epoch.candidates.keys()) {
      epoch.candidates.delete(oldest);
      break;
    }
  }
  return stream;
}

/** Makes a KID from which a frame has authenticated one of the leaf's streams; undefined if it has too many. */
function keep(epoch: EpochKeys, kid: number, leaf: number, stream: Stream): Stream | undefined {
  const known = epoch.streams.get(kid);
  if (known) return known;
  const started = epoch.members.get(leaf) ?? maxStreams;
  if (started >= maxStreams) return undefined;
  epoch.members.set(leaf, started + 1);
  epoch.candidates.delete(kid);
  epoch.streams.set(kid, stream);
  return stream;
}

/** Remembers which of the last counters were opened. It is marked only after a frame authenticated. */
export class Window {
  #newest = 0;
  readonly #seen = new Uint32Array(windowSize / 32);

  fresh(ctr: number): boolean {
    if (ctr > this.#newest) return true;
    if (this.#newest - ctr >= windowSize) return false;
    return (this.#seen[(ctr % windowSize) >>> 5]! & (1 << (ctr % 32))) === 0;
  }

  mark(ctr: number): void {
    if (ctr > this.#newest) {
      if (ctr - this.#newest >= windowSize) this.#seen.fill(0);
      else for (let c = this.#newest + 1; c < ctr; c++) this.#seen[(c % windowSize) >>> 5]! &= ~(1 << (c % 32));
      this.#newest = ctr;
    }
    this.#seen[(ctr % windowSize) >>> 5]! |= 1 << (ctr % 32);
  }
}
