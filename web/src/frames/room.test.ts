import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { StreamKind } from "../core/events";
import { cutVideoPrefix, firstContext, firstCounter, grace, Keyring, lastContext, overhead, Sender, videoPrefix, Window, windowSize } from "./room";
import { encodeHeader, importBaseKey, parseHeader, type Bytes } from "./sframe";

const bytes = (hex: string): Bytes => new Uint8Array(Buffer.from(hex, "hex"));
const hex = (b: ArrayBuffer) => Buffer.from(b).toString("hex");
const base = (n: number): Bytes => new Uint8Array(32).fill(n);
const none: Bytes = new Uint8Array();
const frame = (text: string) => new TextEncoder().encode(text).buffer;

async function sender(epoch: number, leaf: number, context: number, kind: StreamKind = "microphone"): Promise<Sender> {
  const s = new Sender(kind, context);
  await s.enter({ number: epoch, leaf, base: await importBaseKey(base(epoch % 251)) });
  return s;
}

async function keyring(epoch: number, members: number[]): Promise<Keyring> {
  const k = new Keyring();
  assert.ok(await k.add(epoch, members[0]!, base(epoch % 251), members, 0));
  return k;
}

async function seal(s: Sender, text: string): Promise<Bytes> {
  const out = await s.seal(frame(text));
  assert.ok(out);
  return new Uint8Array(out);
}

interface Vector {
  kind: 1 | 2 | 3;
  epoch: number;
  leaf: number;
  context: number;
  base_key: string;
  frames: { key_frame: boolean; loudness: number; plain: string; payload: string }[];
}

test("Go's package sframe and this one seal to the same octets, and open them", async () => {
  const vectors = JSON.parse(readFileSync(`${process.env["CONCLAVE_WEB"]}../sframe/testdata/room.json`, "utf8")) as Vector[];
  assert.ok(vectors.length > 2);
  for (const v of vectors) {
    const kind = (["microphone", "camera", "screen"] as const)[v.kind - 1]!;
    const s = new Sender(kind, v.context);
    await s.enter({ number: v.epoch, leaf: v.leaf, base: await importBaseKey(bytes(v.base_key)) });
    const k = new Keyring();
    await k.add(v.epoch, v.leaf, bytes(v.base_key), [v.leaf], 0);
    for (const f of v.frames) {
      const microphone = kind === "microphone";
      const sealed = await s.seal(
        bytes(f.plain).buffer,
        microphone ? undefined : videoPrefix(f.key_frame),
        microphone ? new Uint8Array([f.loudness]) : undefined,
      );
      assert.equal(sealed && hex(sealed), f.payload);
      const payload = bytes(f.payload);
      const parts = microphone ? { prefix: none, sealed: payload.subarray(0, -1) } : cutVideoPrefix(payload);
      assert.ok(parts);
      const opened = await k.open(kind, parts.prefix, parts.sealed, 0);
      assert.ok("frame" in opened);
      assert.equal(hex(opened.frame), f.plain);
      assert.equal(opened.leaf, v.leaf);
    }
  }
});

test("a frame opens once, as what it is, from a member", async () => {
  const s = await sender(1, 3, firstContext);
  const sealed = await seal(s, "x");
  assert.equal(sealed.length, overhead + 1);
  const k = await keyring(1, [3, 4]);
  const failed = async (frame: Bytes, kind: StreamKind = "microphone", prefix = none) => {
    const r = await k.open(kind, prefix, frame, 0);
    return "failed" in r ? r.failed : "opened";
  };
  const changed = (i: number, v: number) => Uint8Array.from(sealed, (b, j) => (i === j ? v : b));
  assert.equal(await failed(sealed, "camera"), "forged");
  assert.equal(await failed(sealed, "microphone", videoPrefix(true)), "forged");
  assert.equal(await failed(changed(3, 4)), "forged"); // leaf 4
  assert.equal(await failed(changed(3, 5)), "member"); // leaf 5
  assert.equal(await failed(changed(4, 2)), "epoch");
  assert.equal(await failed(changed(8, 9)), "forged");
  assert.equal(await failed(changed(1, 0x7f)), "malformed");
  assert.equal(await failed(changed(5, 0)), "malformed");
  assert.equal(await failed(changed(0, 0xba)), "malformed");
  assert.equal(await failed(sealed.subarray(0, overhead - 1)), "malformed");
  assert.equal(await failed(new Uint8Array(80).fill(0xf8)), "malformed");
  assert.equal(await failed(sealed), "opened");
  assert.equal(await failed(sealed), "replay");
});

test("one frame in two slots at once opens in one", async () => {
  const k = await keyring(1, [3]);
  const sealed = await seal(await sender(1, 3, firstContext), "x");
  const both = await Promise.all([k.open("microphone", none, sealed, 0), k.open("microphone", none, sealed, 0)]);
  assert.deepEqual(both.map((r) => "frame" in r).sort(), [false, true]);
});

test("an epoch ends ten seconds after the next, at once where KIDs would be the same", async () => {
  const s = await sender(1, 3, firstContext);
  const [a, b, c] = [await seal(s, "a"), await seal(s, "b"), await seal(s, "c")];
  const k = await keyring(1, [3]);
  assert.ok(await k.add(2, 3, base(2), [3], 1000));
  assert.ok(await k.add(3, 3, base(3), [3], 9000));
  assert.ok("frame" in (await k.open("microphone", none, a, 1000 + grace - 1)));
  assert.deepEqual(await k.open("microphone", none, b, 1000 + grace), { failed: "epoch", leaf: 3 });
  assert.ok(await k.add(257, 3, base(9), [3], 9001));
  assert.equal(("failed" in (await k.open("microphone", none, c, 9001))), true);
  for (const old of [0, 1, 256, 257]) assert.equal(await k.add(old, 3, base(1), [3], 9002), false);
  k.retire(257);
  assert.deepEqual(await k.open("microphone", none, await seal(await sender(257, 3, firstContext), "x"), 9002), { failed: "epoch", leaf: 3 });
});

test("forged frames move no window and start no stream", async () => {
  const k = await keyring(1, [3]);
  const s = await sender(1, 3, firstContext);
  const [first, second] = [await seal(s, "a"), await seal(s, "b")];
  assert.ok("frame" in (await k.open("microphone", none, first, 0)));
  for (let context = firstContext; context <= lastContext; context++) {
    const forged = second.slice();
    new DataView(forged.buffer).setUint32(1, context * 2 ** 20 + 3 * 256 + 1);
    forged.fill(0xff, 5, 9);
    assert.deepEqual(await k.open("microphone", none, forged, 0), { failed: "forged", leaf: 3 });
  }
  assert.ok("frame" in (await k.open("microphone", none, second, 0)));
});

test("the replay window is that of a set", () => {
  let state = 12345;
  const random = (n: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const w = new Window();
  const seen = new Set<number>();
  let newest = 0;
  let next = firstCounter;
  for (let i = 0; i < 100_000; i++) {
    let ctr = next++;
    const choice = random(4);
    if (choice === 0) next += random(3);
    else if (choice === 1) ctr = Math.max(firstCounter, ctr - random(1400));
    else if (i % 500 === 0) next += random(5000);
    const want = !seen.has(ctr) && (ctr > newest || newest - ctr < windowSize);
    assert.equal(w.fresh(ctr), want, `step ${i}`);
    if (!want) continue;
    w.mark(ctr);
    seen.add(ctr);
    newest = Math.max(newest, ctr);
  }
  const last = new Window();
  last.mark(2 ** 32 - 1);
  assert.equal(last.fresh(2 ** 32 - 1), false);
  assert.equal(last.fresh(2 ** 32 - 2), true);
});

test("a sender never counts twice under one epoch", async () => {
  const s = await sender(5, 3, firstContext);
  const counters = new Set<number>();
  for (let i = 0; i < 20; i++) {
    if (i % 4 === 3) await s.enter({ number: 5 - (i % 3), leaf: 3, base: await importBaseKey(base(5)) });
    const sealed = await seal(s, "x");
    const view = new DataView(sealed.buffer);
    assert.equal(view.getUint32(1), firstContext * 2 ** 20 + 3 * 256 + 5);
    counters.add(view.getUint32(5));
  }
  assert.equal(counters.size, 20);
  await Promise.all([1, 2, 3].map(async () => s.enter({ number: 6, leaf: 3, base: await importBaseKey(base(6)) })));
  const several = await Promise.all([1, 2, 3].map(() => seal(s, "x")));
  assert.equal(new Set(several.map((b) => new DataView(b.buffer).getUint32(5))).size, 3);
});

test("a sender without a key seals nothing, and takes no other context", async () => {
  assert.equal(await new Sender("microphone", firstContext).seal(frame("x")), undefined);
  for (const bad of [0, firstContext - 1, lastContext + 1, 0.5, Number.NaN]) assert.throws(() => new Sender("camera", bad));
});

/** Numbers that are the same in every run (mulberry32). */
function randomFrom(seed: number): (below: number) => number {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

test("whatever octets come, the parsers say no and nothing is thrown, opened or lost", async () => {
  for (const seed of [1, 2, 3]) {
    const random = randomFrom(seed);
    const octets = (size: number): Bytes => Uint8Array.from({ length: size }, () => random(256));
    const k = await keyring(1, [3, 4]);
    const s = await sender(1, 3, firstContext + seed);
    const good = await seal(s, "a frame of some length");
    const failures = new Set<string>();
    for (let i = 0; i < 1500; i++) {
      // Pure noise gets no further than the first check: most are good frames with something changed.
      let payload = i % 3 === 0 ? octets(random(80)) : good.slice();
      if (i % 3 === 1) for (let n = 1 + random(3); n > 0; n--) payload[random(payload.length)]! ^= 1 + random(255);
      if (i % 3 === 2) payload = random(2) ? payload.subarray(0, random(payload.length)) : Uint8Array.from([...payload, ...octets(1 + random(8))]);
      const read = parseHeader(payload);
      if (read) {
        assert.ok(read.size <= payload.length);
        assert.equal(hex(encodeHeader(read.header).buffer), hex(payload.slice(0, read.size).buffer), "only the one encoding is read");
      }
      const behind = random(2) ? videoPrefix(random(2) === 0) : octets(random(12));
      const video = Uint8Array.from([...behind, ...payload]);
      const parts = cutVideoPrefix(video);
      if (parts) assert.equal(hex(Uint8Array.from([...parts.prefix, ...parts.sealed]).buffer), hex(video.buffer), "cut is all there is");
      if (hex(payload.slice().buffer) === hex(good.buffer)) continue; // changed back
      for (const [kind, prefix, sealed] of [["microphone", none, payload], ["camera", parts?.prefix ?? none, parts?.sealed ?? video]] as const) {
        const opened = await k.open(kind, prefix, sealed, 0);
        assert.ok("failed" in opened, `seed ${seed}, round ${i}: ${hex(sealed.slice().buffer)} opened`);
        failures.add(opened.failed);
      }
    }
    for (const failed of ["malformed", "epoch", "member", "forged"]) assert.ok(failures.has(failed as never), `seed ${seed} never came to ${failed}`);
    const opened = await k.open("microphone", none, good, 0);
    assert.ok("frame" in opened, "the good frame opens after all of that");
  }
});
