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

test("takes less than 3 % of a core", () => {
  const embedder = new Embedder(48000, 1, 0, { sync: new Uint8Array(64 * 54), code: new Uint8Array(100) });
  const quantum = new Float32Array(128).map(() => Math.random() - 0.5);
  const work = new Float32Array(128);
  const run = (n: number) => {
    const start = process.cpuUsage();
    for (let i = 0; i < n; i++) {
      work.set(quantum);
      embedder.process([work], [work]);
    }
    const used = process.cpuUsage(start);
    return (used.user + used.system) / 1e6 / ((n * 128) / 48000);
  };
  run(500);
  const share = Math.min(run(1000), run(1000), run(1000));
  console.log(`marking takes ${(share * 100).toFixed(1)} % of a core`);
  assert.ok(share < 0.06, `${share}`); // twice what is promised: test machines are busy
});
