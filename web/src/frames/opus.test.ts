import assert from "node:assert/strict";
import { test } from "node:test";
import { Cell, pad } from "./opus";

/** Takes a packet of one frame apart as a decoder does (RFC 6716, Section 3.2.5). */
function frameOf(packet: Uint8Array): Uint8Array {
  const toc = packet[0]!;
  if ((toc & 3) === 0) return packet.subarray(1);
  assert.equal(toc & 3, 3);
  assert.equal(packet[1]! & 0xbf, 1, "one frame of constant size");
  let at = 2;
  let padding = 0;
  if (packet[1]! & 0x40) {
    for (; packet[at] === 255; at++) padding += 254;
    padding += packet[at++]!;
  }
  assert.ok(at + padding <= packet.length);
  return packet.subarray(at, packet.length - padding);
}

test("a padded packet has its size and its frame, whatever both are", () => {
  for (const length of [1, 2, 3, 60, 80, 127, 128]) {
    const packet = new Uint8Array(length).map((_, i) => (i === 0 ? 0xf8 : (i * 7) & 0xff));
    for (let size = length; size < length + 1100; size++) {
      const padded = new Uint8Array(pad(packet.slice().buffer, size));
      assert.equal(padded.length, size);
      assert.equal(padded[0]! & 0xfc, 0xf8);
      assert.deepEqual(frameOf(padded), packet.subarray(1), `${length} to ${size}`);
    }
  }
});

test("what cannot be padded stays as it is", () => {
  for (const packet of [[], [0xf9, 1, 2], [0xfb, 1, 2], new Array<number>(130).fill(0)]) {
    const data = new Uint8Array(packet).buffer;
    assert.equal(pad(data, 128), data);
  }
});

test("every packet has the size that a constant rate has", () => {
  const cell = new Cell();
  for (const length of [80, 3, 62, 79, 78, 1, 80]) assert.equal(cell.fit(new Uint8Array(length).buffer).byteLength, 80);
});

test("a packet that is too long leaves a gap to conceal, not a mark on the wire", () => {
  const cell = new Cell();
  for (let i = 0; i < 1000; i++) {
    const long = i % 20 === 0;
    const packet = new Uint8Array(long ? 83 : 60).fill(7);
    packet[0] = 0x78;
    const out = new Uint8Array(cell.fit(packet.buffer));
    assert.equal(out.length, 80);
    assert.equal(out[0]! & 0xfc, 0x78);
    assert.equal(frameOf(out).length, long ? 0 : 59);
  }
});

test("a browser that does not keep the rate is heard all the same", () => {
  const cell = new Cell();
  const sizes = Array.from({ length: 40 }, () => cell.fit(new Uint8Array(110).buffer).byteLength);
  assert.deepEqual([...new Set(sizes)], [80, 128]);
  assert.equal(sizes.indexOf(128), 11);
  assert.equal(cell.fit(new Uint8Array(3).buffer).byteLength, 128);
});
