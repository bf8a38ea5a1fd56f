import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Embedder } from "./embedder";

interface Golden {
  rate: number;
  begin: number;
  sync: string;
  code: string;
  input: string;
  output: string;
}

const bytes = (text: string) => new Uint8Array(Buffer.from(text, "base64"));
const vectors = JSON.parse(readFileSync(`${process.env["CONCLAVE_WEB"]}../watermark/testdata/golden.json`, "utf8")) as Golden[];

test("marks sample for sample as the Go program does", () => {
  assert.ok(vectors.length >= 3);
  for (const v of vectors) {
    const pattern = { sync: bytes(v.sync), code: bytes(v.code) };
    const input = new Int16Array(bytes(v.input).buffer);
    const want = new Float32Array(bytes(v.output).buffer);
    const embedder = new Embedder(v.rate, 1, v.begin, pattern);
    const { block } = embedder;
    const one = new Float32Array(block);
    let worst = 0;
    for (let at = 0; at + block <= input.length; at += block) {
      for (let i = 0; i < block; i++) one[i] = input[at + i]! / 32768;
      embedder.process([one], [one]);
      // Go's output comes a block later: it takes samples of any number at once.
      for (let i = 0; i < block && at + block + i < want.length; i++) worst = Math.max(worst, Math.abs(one[i]! - want[at + block + i]!));
    }
    assert.ok(worst < 2e-6, `${v.rate} Hz: off by ${worst}`);
  }
});

test("silence stays silent", () => {
  const embedder = new Embedder(48000, 2, 0, { sync: new Uint8Array(64 * 54), code: new Uint8Array(100) });
  const quantum = [new Float32Array(128), new Float32Array(128)];
  for (let i = 0; i < 200; i++) {
    embedder.process(quantum, quantum);
    assert.ok(quantum.every((channel) => channel.every((x) => x === 0)));
  }
});

test("sound of one channel is filtered once, and a second channel that comes and goes makes no click", () => {
  const pattern = { sync: new Uint8Array(64 * 54), code: new Uint8Array(100) };
  const one = new Embedder(48000, 1, 0, pattern);
  const two = new Embedder(48000, 2, 0, pattern);
  let phase = 0;
  for (let block = 0; block < 60; block++) {
    const tone = new Float32Array(128).map(() => 0.3 * Math.sin((phase += 0.05)));
    const want = new Float32Array(128);
    one.process([tone], [want]);
    const got = [new Float32Array(128), new Float32Array(128)];
    const stereo = block >= 20 && block < 40;
    two.process([tone, tone], got, stereo ? 2 : 1);
    assert.deepEqual(got[0], want);
    assert.deepEqual(got[1], want, `block ${block}`);
  }
});

test("takes less than 3 % of a core for what members say", () => {
  // As the worklet does: two channels are played, of sound that has one.
  const embedder = new Embedder(48000, 2, 0, { sync: new Uint8Array(64 * 54), code: new Uint8Array(100) });
  const quantum = new Float32Array(128).map(() => Math.random() - 0.5);
  const work = [new Float32Array(128), new Float32Array(128)];
  const run = (n: number) => {
    const start = process.cpuUsage();
    for (let i = 0; i < n; i++) {
      work[0]!.set(quantum);
      embedder.process(work, work, 1);
    }
    const used = process.cpuUsage(start);
    return (used.user + used.system) / 1e6 / ((n * 128) / 48000);
  };
  run(500);
  // The least of many: other programs of a busy machine only add to it.
  let share = 1;
  for (let i = 0; i < 20 && share >= 0.02; i++) share = Math.min(share, run(500));
  console.log(`marking takes ${(share * 100).toFixed(1)} % of a core`);
  assert.ok(share < 0.03, `${share}`);
});
