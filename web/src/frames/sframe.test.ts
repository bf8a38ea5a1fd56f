import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { encodeHeader, importBaseKey, Key, nonceSize, parseHeader, tagSize, type Bytes, type Suite } from "./sframe";

const bytes = (hex: string): Bytes => new Uint8Array(Buffer.from(hex, "hex"));
const hex = (b: ArrayBuffer | Uint8Array) => Buffer.from(b as Uint8Array).toString("hex");

interface File {
  header: { kid: string; ctr: string; encoded: string }[];
  sframe: {
    cipher_suite: string;
    kid: string;
    ctr: string;
    base_key: string;
    metadata: string;
    pt: string;
    ct: string;
  }[];
}

const folder = process.env["CONCLAVE_VECTORS"] ?? `${process.env["CONCLAVE_WEB"]}../../shared/vectors`;
const path = `${folder}/sframe/test-vectors.json`;
const skip = existsSync(path) ? false : `no vectors: set CONCLAVE_VECTORS to a folder with sframe/test-vectors.json of github.com/sframe-wg/sframe`;

/** Numbers become strings: KIDs have 64 bits. */
const file = (): File => JSON.parse(readFileSync(path, "utf8").replace(/: (\d+)/g, ': "$1"')) as File;

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

test("frames of the suites with AES-GCM match the vectors", { skip }, async () => {
  const vectors = file().sframe.filter((v) => v.cipher_suite === "4" || v.cipher_suite === "5");
  assert.equal(vectors.length, 2);
  for (const v of vectors) {
    const base = await importBaseKey(bytes(v.base_key));
    const key = await Key.derive(Number(v.cipher_suite) as Suite, base, BigInt(v.kid));
    const header = encodeHeader({ kid: BigInt(v.kid), ctr: BigInt(v.ctr) });
    const metadata = bytes(v.metadata);
    const sealed = await key.seal(BigInt(v.ctr), header, metadata, bytes(v.pt));
    assert.equal(hex(header) + hex(sealed), v.ct);
    assert.equal(sealed.length, bytes(v.pt).length + tagSize);
    const opened = await key.open(Number(v.ctr), header, metadata, sealed);
    assert.equal(opened && hex(new Uint8Array(opened)), v.pt);
    for (let i = 0; i < sealed.length; i++) {
      const bad = sealed.slice();
      bad[i]! ^= 1;
      assert.equal(await key.open(Number(v.ctr), header, metadata, bad), undefined);
    }
    assert.equal(await key.open(Number(v.ctr) + 1, header, metadata, sealed), undefined);
    assert.equal(await key.open(Number(v.ctr), header, metadata.subarray(1), sealed), undefined);
    assert.equal(await key.open(Number(v.ctr), header, metadata, sealed.subarray(0, nonceSize)), undefined);
  }
});

test("a base key is wiped as it is imported, and cannot be taken out", async () => {
  const raw = new Uint8Array(32).fill(7);
  const key = await importBaseKey(raw);
  assert.ok(raw.every((byte) => byte === 0));
  assert.equal(key.extractable, false);
  await assert.rejects(crypto.subtle.exportKey("raw", key));
});
