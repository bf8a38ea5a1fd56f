// The suites of SFrame (RFC 9605) with AES in counter mode and HMAC (Section 4.5.1), those with AES-256 and
// SHA-512 too, over WebCrypto. A room seals with suite 5 alone, and the frames worker has no part of this:
// it is for whoever reads SFrame of others. The Go side is package sframe; both pass the same vectors.

import { label, nonceSize, type Bytes } from "./sframe";

export type CounterSuite = 1 | 2 | 3 | 6 | 7 | 8;

/** Sizes in bytes. The MAC's key is as long as its hash. */
const parameters = {
  1: { hash: "SHA-256", aesKey: 16, macKey: 32, tag: 10 },
  2: { hash: "SHA-256", aesKey: 16, macKey: 32, tag: 8 },
  3: { hash: "SHA-256", aesKey: 16, macKey: 32, tag: 4 },
  6: { hash: "SHA-512", aesKey: 32, macKey: 64, tag: 10 },
  7: { hash: "SHA-512", aesKey: 32, macKey: 64, tag: 8 },
  8: { hash: "SHA-512", aesKey: 32, macKey: 64, tag: 4 },
} as const;

/** The key of one KID. It does not remember counters: who seals twice under one gives the plaintexts away. */
export class CounterKey {
  /** Of a tag, in bytes. */
  readonly tagSize: number;
  readonly #encryption: CryptoKey;
  readonly #mac: CryptoKey;
  readonly #salt: Bytes;

  private constructor(encryption: CryptoKey, mac: CryptoKey, salt: Bytes, tag: number) {
    this.#encryption = encryption;
    this.#mac = mac;
    this.#salt = salt;
    this.tagSize = tag;
  }

  /** Derives the key of kid (Section 4.4.2). */
  static async derive(suite: CounterSuite, base: CryptoKey, kid: bigint): Promise<CounterKey> {
    const { hash, aesKey, macKey } = parameters[suite];
    const hkdf = (what: "key" | "salt") => ({ name: "HKDF", hash, salt: new Uint8Array(), info: label(what, kid, suite) });
    const [key, salt] = await Promise.all([
      crypto.subtle.deriveBits(hkdf("key"), base, (aesKey + macKey) * 8),
      crypto.subtle.deriveBits(hkdf("salt"), base, nonceSize * 8),
    ]);
    return CounterKey.import(suite, new Uint8Array(key), new Uint8Array(salt));
  }

  /** Takes sframe_key, the cipher's key and behind it the MAC's, and wipes the bytes. */
  static async import(suite: CounterSuite, key: Bytes, salt: Bytes): Promise<CounterKey> {
    const { hash, aesKey, macKey, tag } = parameters[suite];
    try {
      if (key.length !== aesKey + macKey || salt.length !== nonceSize) throw new RangeError("sframe: a key or salt of another size");
      const [encryption, mac] = await Promise.all([
        crypto.subtle.importKey("raw", key.subarray(0, aesKey), "AES-CTR", false, ["encrypt", "decrypt"]),
        crypto.subtle.importKey("raw", key.subarray(aesKey), { name: "HMAC", hash }, false, ["sign"]),
      ]);
      return new CounterKey(encryption, mac, salt.slice(), tag);
    } finally {
      key.fill(0);
    }
  }

  /** Ciphertext and tag of plaintext; header and metadata are authenticated (Section 4.4.3). */
  async seal(ctr: number | bigint, header: Uint8Array, metadata: Uint8Array, plaintext: BufferSource): Promise<Bytes> {
    const nonce = this.#nonce(ctr);
    const ciphertext = new Uint8Array(await crypto.subtle.encrypt(counterMode(nonce), this.#encryption, plaintext));
    const tag = await this.#tag(nonce, header, metadata, ciphertext);
    return joined(ciphertext, tag);
  }

  /** The plaintext of ciphertext and tag; undefined if it does not authenticate. */
  async open(ctr: number | bigint, header: Uint8Array, metadata: Uint8Array, sealed: Bytes): Promise<ArrayBuffer | undefined> {
    const size = sealed.length - this.tagSize;
    if (size < 0) return undefined;
    const nonce = this.#nonce(ctr);
    const ciphertext = sealed.subarray(0, size);
    const want = await this.#tag(nonce, header, metadata, ciphertext);
    // Every octet is compared, whatever the first ones say.
    let differ = 0;
    for (let i = 0; i < this.tagSize; i++) differ |= want[i]! ^ sealed[size + i]!;
    return differ === 0 ? crypto.subtle.decrypt(counterMode(nonce), this.#encryption, ciphertext) : undefined;
  }

  #nonce(ctr: number | bigint): Bytes {
    const nonce = this.#salt.slice();
    let rest = BigInt(ctr);
    for (let i = nonceSize - 1; rest > 0n; i--, rest >>= 8n) nonce[i]! ^= Number(rest & 0xffn);
    return nonce;
  }

  async #tag(nonce: Bytes, header: Uint8Array, metadata: Uint8Array, ciphertext: Bytes): Promise<Bytes> {
    const lengths = new Uint8Array(24);
    const view = new DataView(lengths.buffer);
    [header.length + metadata.length, ciphertext.length, this.tagSize].forEach((n, i) => view.setBigUint64(8 * i, BigInt(n)));
    const mac = await crypto.subtle.sign("HMAC", this.#mac, joined(lengths, nonce, header, metadata, ciphertext));
    return new Uint8Array(mac, 0, this.tagSize);
  }
}

/** The block counter stands behind the nonce and starts at 0. */
function counterMode(nonce: Bytes): AesCtrParams {
  return { name: "AES-CTR", counter: joined(nonce, new Uint8Array(4)), length: 32 };
}

function joined(...parts: Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
