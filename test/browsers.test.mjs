// Before anything else: do the browsers and the hosts of these tests work? A call of a page with itself, without a server
// of ours, so that a failure elsewhere is not sought in the wrong place.
import assert from "node:assert/strict";
import http from "node:http";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { startChromium, startFirefox } from "./lib/browser.mjs";
import { Network, ready } from "./lib/host.mjs";
import { tones, writeTone } from "./lib/sound.mjs";

let network;
before(async () => {
  network = await Network.make();
  const page = join(network.folder, "page.mjs");
  const { writeFileSync } = await import("node:fs");
  writeFileSync(page, `import http from "node:http"; http.createServer((q, a) => a.setHeader("content-type", "text/html").end("<!doctype html><title>Test</title><body>test")).listen(8080, "10.77.0.1", () => console.log("ready"));`);
  await ready(network.server.spawn(process.execPath, [page]), "page server");
});
after(() => network.close());

/** Runs in a page: sends the microphone and the camera to itself. */
async function callSelf() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  const [a, b] = [new RTCPeerConnection(), new RTCPeerConnection()];
  a.onicecandidate = (e) => e.candidate && b.addIceCandidate(e.candidate);
  b.onicecandidate = (e) => e.candidate && a.addIceCandidate(e.candidate);
  b.ontrack = (e) => {
    const element = document.createElement(e.track.kind);
    element.srcObject = new MediaStream([e.track]);
    document.body.append(element);
    element.play();
  };
  for (const track of stream.getTracks()) a.addTrack(track, stream);
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  return window.isSecureContext;
}

for (const [name, start] of [
  ["Chromium", (host) => startChromium(host, { microphone: writeTone(join(network.folder, "tone.wav"), tones.anna) })],
  ["Firefox", (host) => startFirefox(host, { hz: tones.anna })],
]) {
  test(`${name} runs on a host of its own, hears its tone and sees its picture`, async () => {
    const host = await network.host(name.toLowerCase());
    await host.forward(8080);
    const browser = await start(host);
    const page = await browser.page();
    await page.goto("http://localhost:8080/");
    assert.equal(await page.evaluate(callSelf), true, "localhost is a secure context");
    await page.until(() => [...window.probe.elements].length === 2 && window.probe.connections.every((c) => c.connectionState === "connected"));
    const { most } = await page.listen(tones, 3000);
    assert.ok(most.anna > 5, `its tone is heard: ${JSON.stringify(most)}`);
    assert.equal(most.ben + most.carla + most.david, 0, "no other tone is heard");
    const video = (await page.statistics()).find((s) => s.type === "inbound-rtp" && s.kind === "video");
    assert.ok(video.framesDecoded > 5, `pictures arrive: ${JSON.stringify(video)}`);
    assert.ok((await page.pictures()).some((p) => p.mean > 20), "the picture is not black");
    console.log(`${name} ${browser.version}: looks with the tone ${most.anna} of 60, ${video.framesDecoded} pictures`);
    await browser.close();
  });
}
