import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { CounterKey, type CounterSuite } from "./counter";
import { encodeHeader, importBaseKey, Key, nonceSize, parseHeader, type Bytes, type Suite } from "./sframe";

const bytes = (hex: string): Bytes => new Uint8Array(Buffer.from(hex, "hex"));
const hex = (b: ArrayBuffer | Uint8Array) => Buffer.from(b as Uint8Array).toString("hex");

interface Frame {
  cipher_suite: string;
  kid: string;
  ctr: string;
  base_key: string;
  metadata: string;
  pt: string;
  ct: string;
}

interface Cipher {
  cipher_suite: string;
  key: string;
  nonce: string;
  aad: string;
  pt: string;
  ct: string;
}

interface File {
  header: { kid: string; ctr: string; encoded: string }[];
  aes_ctr_hmac: Cipher[];
  aes_256_ctr_hmac: Cipher[];
  sframe: Frame[];
}

const folder = process.env["CONCLAVE_VECTORS"] ?? `${process.env["CONCLAVE_WEB"]}../../shared/vectors`;
const path = `${folder}/sframe/test-vectors.json`;
const path256 = `${folder}/sframe/test-vectors-aes256.json`;
const missing = [path, path256].find((file) => !existsSync(file));
const skip = missing ? `no vectors: set CONCLAVE_VECTORS to a folder with sframe/*.json of github.com/sframe-wg/sframe` : false;

/** Numbers become strings: KIDs have 64 bits. */
const read = (name: string): unknown => JSON.parse(readFileSync(name, "utf8").replace(/: (\d+)/g, ': "$1"'));
const file = () => read(path) as File;
const file256 = () => read(path256) as { sframe_aes_256_ctr_hmac: Frame[] };

test("headers match the vectors", { skip }, () => {
  const { header } = file();
  assert.equal(header.length, 289);
  for (const v of header) {
    const h = { kid: BigInt(v.kid), ctr: BigInt(v.ctr) };
    const encoded = bytes(v.encoded);
    assert.equal(hex(encodeHeader(h)), v.encoded);
    assert.deepEqual(parseHeader(bytes(`${v.encoded}ff`)), { header: h, size: encoded.length });
    for (let i = 0; i < encoded.length; i++) assert.equal(parseHeader(encoded.subarray(0, i)), undefined);
  }
});

test("a header that is longer than need be is none", () => {
  assert.equal(parseHeader(bytes("8007")), undefined);
  assert.equal(parseHeader(bytes("900001")), undefined);
});

test("frames of all suites match the vectors", { skip }, async () => {
  const vectors = [...file().sframe, ...file256().sframe_aes_256_ctr_hmac];
  assert.deepEqual(vectors.map((v) => Number(v.cipher_suite)).sort(), [1, 2, 3, 4, 5, 6, 7, 8]);
  for (const v of vectors) {
    const base = await importBaseKey(bytes(v.base_key));
    const suite = Number(v.cipher_suite);
    const kid = BigInt(v.kid);
    const key = suite === 4 || suite === 5 ? await Key.derive(suite as Suite, base, kid) : await CounterKey.derive(suite as CounterSuite, base, kid);
    const header = encodeHeader({ kid, ctr: BigInt(v.ctr) });
    const metadata = bytes(v.metadata);
    const sealed = await key.seal(BigInt(v.ctr), header, metadata, bytes(v.pt));
    assert.equal(hex(header) + hex(sealed), v.ct);
    assert.equal(sealed.length - bytes(v.pt).length, { 1: 10, 2: 8, 3: 4, 4: 16, 5: 16, 6: 10, 7: 8, 8: 4 }[suite]);
    const opened = await key.open(Number(v.ctr), header, metadata, sealed);
    assert.equal(opened && hex(new Uint8Array(opened)), v.pt);
    for (let i = 0; i < sealed.length; i++) {
      const bad = sealed.slice();
      bad[i]! ^= 1;
      assert.equal(await key.open(Number(v.ctr), header, metadata, bad), undefined);
    }
    assert.equal(await key.open(Number(v.ctr) + 1, header, metadata, sealed), undefined);
    assert.equal(await key.open(Number(v.ctr), header, metadata.subarray(1), sealed), undefined);
    assert.equal(await key.open(Number(v.ctr), header.subarray(1), metadata, sealed), undefined);
    for (const size of [0, 3, nonceSize]) assert.equal(await key.open(Number(v.ctr), header, metadata, sealed.subarray(0, size)), undefined);
  }
});

test("counter mode with HMAC matches the vectors", { skip }, async () => {
  const vectors = [...file().aes_ctr_hmac, ...file().aes_256_ctr_hmac];
  assert.deepEqual([...new Set(vectors.map((v) => Number(v.cipher_suite)))].sort(), [1, 2, 3, 6, 7, 8]);
  for (const v of vectors) {
    const raw = bytes(v.key);
    const key = await CounterKey.import(Number(v.cipher_suite) as CounterSuite, raw, bytes(v.nonce));
    assert.ok(raw.every((byte) => byte === 0), "the key is wiped as it is imported");
    const sealed = await key.seal(0, bytes(v.aad), new Uint8Array(), bytes(v.pt));
    assert.equal(hex(sealed), v.ct);
    const opened = await key.open(0, bytes(v.aad), new Uint8Array(), sealed);
    assert.equal(opened && hex(new Uint8Array(opened)), v.pt);
  }
  await assert.rejects(CounterKey.import(1, new Uint8Array(47), new Uint8Array(nonceSize)), /another size/);
  await assert.rejects(CounterKey.import(1, new Uint8Array(48), new Uint8Array(nonceSize - 1)), /another size/);
});

test("a base key is wiped as it is imported, and cannot be taken out", async () => {
  const raw = new Uint8Array(32).fill(7);
  const key = await importBaseKey(raw);
  assert.ok(raw.every((byte) => byte === 0));
  assert.equal(key.extractable, false);
  await assert.rejects(crypto.subtle.exportKey("raw", key));
});
