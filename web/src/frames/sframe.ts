// SFrame (RFC 9605) over WebCrypto: the header's encoding, key derivation, sealing and opening, for the two suites with
// AES-GCM. What a room makes of it stands in room.ts. Keys never leave WebCrypto: base key and derived keys are imported
// as non-extractable. The Go side is package sframe; both pass the same vectors.

export type Bytes = Uint8Array<ArrayBuffer>;

/** The suites of RFC 9605, Section 4.5, that WebCrypto can do in one step. */
export type Suite = 4 | 5;

const parameters = {
  4: { hash: "SHA-256", keyBits: 128 },
  5: { hash: "SHA-512", keyBits: 256 },
} as const;

export const nonceSize = 12;
export const tagSize = 16;

/** Imports a base key for derivation only, and wipes the bytes. */
export async function importBaseKey(bytes: Bytes): Promise<CryptoKey> {
  try {
    return await crypto.subtle.importKey("raw", bytes, "HKDF", false, ["deriveKey", "deriveBits"]);
  } finally {
    bytes.fill(0);
  }
}

export interface Header {
  kid: bigint;
  ctr: bigint;
}

/** The only valid encoding of a header (Section 4.3). */
export function encodeHeader({ kid, ctr }: Header): Bytes {
  const k = integer(kid);
  const c = integer(ctr);
  const out = new Uint8Array(1 + k.length + c.length);
  out[0] = (nibble(kid, k) << 4) | nibble(ctr, c);
  out.set(k, 1);
  out.set(c, 1 + k.length);
  return out;
}

/** Reads the header at the start of a frame; undefined if it is malformed or longer than need be. */
export function parseHeader(frame: Uint8Array): { header: Header; size: number } | undefined {
  const first = frame[0];
  if (first === undefined) return undefined;
  const kid = readInteger(first >> 4, frame, 1);
  if (!kid) return undefined;
  const ctr = readInteger(first & 15, frame, kid.end);
  return ctr && { header: { kid: kid.value, ctr: ctr.value }, size: ctr.end };
}

/** The bytes that follow the first one: none for values below 8. */
function integer(value: bigint): number[] {
  const out: number[] = [];
  if (value < 8n) return out;
  for (let v = value; v > 0n; v >>= 8n) out.unshift(Number(v & 0xffn));
  return out;
}

function nibble(value: bigint, bytes: number[]): number {
  return bytes.length === 0 ? Number(value) : 8 | (bytes.length - 1);
}

function readInteger(bits: number, frame: Uint8Array, start: number): { value: bigint; end: number } | undefined {
  if (bits < 8) return { value: BigInt(bits), end: start };
  const end = start + (bits & 7) + 1;
  if (frame.length < end) return undefined;
  let value = 0n;
  for (const byte of frame.subarray(start, end)) value = (value << 8n) | BigInt(byte);
  return integer(value).length === end - start ? { value, end } : undefined;
}

/** The key of one KID. It does not remember counters: who seals twice under one gives the plaintexts away. */
export class Key {
  readonly #key: CryptoKey;
  readonly #salt: Bytes;

  private constructor(key: CryptoKey, salt: Bytes) {
    this.#key = key;
    this.#salt = salt;
  }

  /** Derives the key of kid (Section 4.4.2). */
  static async derive(suite: Suite, base: CryptoKey, kid: bigint): Promise<Key> {
    const { hash, keyBits } = parameters[suite];
    const hkdf = (what: "key" | "salt") => ({ name: "HKDF", hash, salt: new Uint8Array(), info: label(what, kid, suite) });
    const [key, salt] = await Promise.all([
      crypto.subtle.deriveKey(hkdf("key"), base, { name: "AES-GCM", length: keyBits }, false, ["encrypt", "decrypt"]),
      crypto.subtle.deriveBits(hkdf("salt"), base, nonceSize * 8),
    ]);
    return new Key(key, new Uint8Array(salt));
  }

  /** Ciphertext and tag of plaintext; header and metadata are authenticated (Section 4.4.3). */
  async seal(ctr: number | bigint, header: Uint8Array, metadata: Uint8Array, plaintext: BufferSource): Promise<Bytes> {
    return new Uint8Array(await crypto.subtle.encrypt(this.#with(ctr, header, metadata), this.#key, plaintext));
  }

  /** The plaintext of ciphertext and tag; undefined if it does not authenticate. */
  async open(ctr: number | bigint, header: Uint8Array, metadata: Uint8Array, ciphertext: BufferSource): Promise<ArrayBuffer | undefined> {
    try {
      return await crypto.subtle.decrypt(this.#with(ctr, header, metadata), this.#key, ciphertext);
    } catch {
      return undefined;
    }
  }

  #with(ctr: number | bigint, header: Uint8Array, metadata: Uint8Array): AesGcmParams {
    const iv = this.#salt.slice();
    let rest = BigInt(ctr);
    for (let i = nonceSize - 1; rest > 0n; i--, rest >>= 8n) iv[i]! ^= Number(rest & 0xffn);
    const additionalData = new Uint8Array(header.length + metadata.length);
    additionalData.set(header);
    additionalData.set(metadata, header.length);
    return { name: "AES-GCM", iv, additionalData, tagLength: tagSize * 8 };
  }
}

/** The label of what is derived for kid (Section 4.4.2). */
export function label(what: "key" | "salt", kid: bigint, suite: number): Bytes {
  const text = new TextEncoder().encode(`SFrame 1.0 Secret ${what} `);
  const out = new Uint8Array(text.length + 10);
  out.set(text);
  const view = new DataView(out.buffer);
  view.setBigUint64(text.length, kid);
  view.setUint16(text.length + 8, suite);
  return out;
}
