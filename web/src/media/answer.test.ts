import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { candidate, hexFingerprint, slotSSRC, writeAnswer } from "./answer";
import { OfferError, readOffer } from "./offer";

const folder = `${process.env["CONCLAVE_WEB"]}src/media/testdata/`;
const recorded = readdirSync(folder).filter((name) => name.endsWith(".sdp"));
const fingerprint = btoa(String.fromCharCode(...Array.from({ length: 32 }, (_, i) => i)));
const wanted = {
  slots: { audio: 2, camera: 1, screen: 1 },
  server: { ufrag: "abcdef", password: "p".repeat(24), fingerprint, candidates: ["192.0.2.1:7000", "[2001:db8::1]:7000"] },
};

for (const name of recorded) {
  const sdp = readFileSync(folder + name, "utf8");

  test(`the offer of ${name} is read in full`, () => {
    const { media, sections } = readOffer(sdp);
    assert.ok(media.ufrag.length >= 4 && media.password.length >= 22);
    assert.equal(atob(media.fingerprint).length, 32);
    assert.equal(new Set(Object.values(media.ssrc)).size, 3);
    assert.deepEqual(sections.map((s) => s.kind).join(), "audio,video,video,audio,audio,video,video");
    for (const stream of Object.values(media.ssrc)) assert.match(sdp, new RegExp(`^a=ssrc:${stream} `, "m"));
    assert.match(sdp, new RegExp(`^a=rtpmap:${media.opus} opus/48000/2`, "m"));
    assert.match(sdp, new RegExp(`^a=rtpmap:${media.vp8} VP8/90000`, "m"));
  });

  test(`the answer to ${name} repeats its sections and allows nothing more`, () => {
    const { media, sections } = readOffer(sdp);
    const answer = writeAnswer(sections, wanted);
    const lines = answer.split("\r\n");
    const all = (prefix: string) => lines.filter((line) => line.startsWith(prefix));
    assert.deepEqual(all("a=mid:"), sdp.match(/^a=mid:.*$/gm)?.map((line) => line.trim()));
    assert.equal(all("a=extmap").length, 0, "no header extensions");
    assert.equal(all("a=rtpmap:").length, sections.length, "one codec each");
    assert.ok(all("a=fmtp:").every((line) => line.startsWith(`a=fmtp:${media.opus} `) && /cbr=1;usedtx=0/.test(line)));
    assert.equal(all("a=recvonly").length, 3);
    assert.equal(all("a=sendonly").length, 4);
    assert.deepEqual(
      all("a=ssrc:").filter((line) => line.includes("cname")),
      [`a=ssrc:${0x0c1a0000} cname:audio-0`, `a=ssrc:${0x0c1a0001} cname:audio-1`, `a=ssrc:${0x0c1b0000} cname:camera-0`, `a=ssrc:${0x0c1c0000} cname:screen-0`],
    );
    assert.equal(all("a=candidate:").length, 2);
    assert.equal(all("a=setup:passive").length, sections.length);
    assert.ok(answer.endsWith("\r\n"));
  });
}

test("there are offers of more than one browser", () => assert.ok(recorded.length >= 2));

test("an offer that lacks something is refused, never guessed at", () => {
  const sdp = readFileSync(folder + recorded[0], "utf8");
  for (const [what, broken] of Object.entries({
    fingerprint: sdp.replaceAll("sha-256", "sha-1"),
    ssrc: sdp.replace(/^a=ssrc:.*\r?\n/gm, ""),
    vp8: sdp.replaceAll("VP8", "VP7"),
    opus: sdp.replaceAll("opus", "speex"),
    direction: sdp.replaceAll("sendonly", "sendrecv"),
    sections: "v=0\r\n",
    nothing: "",
  })) {
    assert.throws(() => readOffer(broken), OfferError, what);
  }
});

test("an answer is only written for the room's own slots, in their order", () => {
  const { sections } = readOffer(readFileSync(folder + recorded[0], "utf8"));
  assert.throws(() => writeAnswer(sections, { ...wanted, slots: { audio: 3, camera: 1, screen: 1 } }), OfferError);
  assert.throws(() => writeAnswer(sections, { ...wanted, slots: { audio: 1, camera: 2, screen: 1 } }), OfferError);
  assert.throws(() => writeAnswer([...sections].reverse(), wanted), OfferError);
});

test("addresses and fingerprints of the server are checked", () => {
  assert.equal(candidate("192.0.2.1:7000", 0), "a=candidate:1 1 udp 2130706431 192.0.2.1 7000 typ host");
  assert.equal(candidate("[2001:db8::1]:7000", 1), "a=candidate:2 1 udp 2130706175 2001:db8::1 7000 typ host");
  for (const bad of ["", "192.0.2.1", "host:1", "1.2.3.4:0", "1.2.3.4:70000", "1.2.3.4:1\r\na=x"]) {
    assert.throws(() => candidate(bad, 0), OfferError, bad);
  }
  assert.match(hexFingerprint(fingerprint), /^00:01:02(:[0-9A-F]{2}){29}$/);
  assert.throws(() => hexFingerprint(btoa("short")), OfferError);
});

test("slots of different kinds never share an SSRC", () => {
  const bases = Object.values(slotSSRC);
  assert.ok(bases.every((base, i) => i === 0 || base - (bases[i - 1] ?? 0) >= 0x10000));
});
