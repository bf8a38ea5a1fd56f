import assert from "node:assert/strict";
import { test } from "node:test";
import { probeAnswer } from "./probe";

const offer = ["v=0", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0", "a=ice-ufrag:abcd", "a=rtpmap:111 opus/48000/2"];
const server = { ufrag: "uvwx", password: "p".repeat(24), fingerprint: Buffer.alloc(32).toString("base64"), candidates: ["192.0.2.1:7000", "[2001:db8::1]:7000"] };

test("a probe's answer lets nothing be sent either way", () => {
  const lines = probeAnswer(offer, server).split("\r\n");
  assert.ok(lines.includes("a=inactive"));
  assert.ok(!lines.some((l) => /^a=(sendrecv|sendonly|recvonly|ssrc)/.test(l)));
  assert.equal(lines.filter((l) => l.startsWith("a=candidate:")).length, 2);
  assert.ok(lines.includes("a=setup:passive") && lines.includes("a=mid:0"));
});

test("what a server says cannot add a line of its own", () => {
  for (const bad of [{ ufrag: "u\r\na=x" }, { password: "short p" }, { candidates: ["192.0.2.1:7000 typ relay"] }, { fingerprint: "AAAA" }]) {
    assert.throws(() => probeAnswer(offer, { ...server, ...bad }));
  }
  assert.throws(() => probeAnswer(["a=mid:0"], server), /Opus/);
});
