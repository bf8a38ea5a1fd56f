// Silence on the wire: whoever reads the packets of a leg cannot tell speech, silence and mute apart.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { rtp, startCapture } from "./lib/capture.mjs";
import { comeIn, House } from "./lib/house.mjs";
import { serverAddress } from "./lib/host.mjs";

let house, pointer, browser, page, david;
before(async () => {
  house = await House.open();
  pointer = await house.meeting();
  // Half a minute in which the second half is silent, from the start of the browser on; whenever the capture begins, ten
  // seconds from either half are in it.
  browser = await house.chromium("anna", { tone: { seconds: 20, silence: [[10, 20]] }, tab: "Conclave sound" });
  page = await browser.page();
  await comeIn(page, await house.link(pointer, "anna"));
  david = await house.headless("david", pointer);
  await david.state("in");
}, { timeout: 120_000 });
after(async () => {
  await browser?.close();
  await house?.close();
});

/** Sizes and number of packets per second of the stream with 50 packets a second that a host sends. */
function sound(packets, address) {
  const streams = Map.groupBy ? Map.groupBy(packets, (p) => p.ssrc) : packets.reduce((m, p) => m.set(p.ssrc, [...(m.get(p.ssrc) ?? []), p]), new Map());
  const found = [...streams.values()].filter((s) => s[0].from === address && s.length > 1).sort((a, b) => b.length - a.length);
  // Sound counts its time in steps of 960, video in others; probes for bandwidth stand still.
  return found.filter((s) => s.slice(1).every((p, i) => ((p.timestamp - s[i].timestamp) >>> 0) % 960 === 0) && s.at(-1).timestamp !== s[0].timestamp);
}

test("speech, silence and mute look the same at the socket", { timeout: 120_000 }, async () => {
  const capture = await startCapture(browser.host);
  const other = await startCapture(david.host);
  await new Promise((resolve) => setTimeout(resolve, 20_000));
  await page.click("mute");
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  const [anna, headless] = [await capture.stop(), await other.stop()];

  for (const [name, all, host] of [["Chromium", anna, browser.host], ["conclave join", headless, david.host]]) {
    const streams = sound(rtp(all), host.address);
    assert.equal(streams.length, 1, `${name} sends one stream of sound: ${streams.map((s) => s.length)}`);
    const [packets] = streams;
    assert.ok(packets.every((p) => p.to === serverAddress && !p.extension), "to the server, without header extensions");
    const sizes = new Set(packets.map((p) => p.length));
    assert.deepEqual([...sizes], [134], `${name}: one size in all of 30 s`);
    const markers = packets.filter((p) => p.marker).length;
    assert.ok(markers <= 1, `${name}: no marker says where speech begins: ${markers}`);
    const start = packets[0].time;
    const rates = [0, 10, 20].map((from) => packets.filter((p) => p.time - start >= from && p.time - start < from + 9.5).length / 9.5);
    for (const rate of rates) assert.ok(Math.abs(rate - 50) <= 1, `${name}: packets a second in the three parts ${rates.map((r) => r.toFixed(1))}`);
    const steps = new Set(packets.slice(1).map((p, i) => (p.timestamp - packets[i].timestamp) >>> 0));
    assert.deepEqual([...steps], [960], `${name}: no step in time is left out`);
    console.log(`${name}: ${packets.length} packets of ${[...sizes]} bytes, ${rates.map((r) => r.toFixed(2)).join(" / ")} a second in speech, silence and mute`);
  }
});

// Whoever shares a screen sends its pictures, which shows; that sound goes with them does not.
test("the sound of a shared screen changes neither the size nor the rate of packets", { timeout: 120_000 }, async () => {
  const tab = await browser.context.newPage();
  await tab.goto("data:text/html,<title>Conclave sound</title><h1>Report</h1>");
  await tab.evaluate(() => {
    const context = new AudioContext();
    const tone = context.createOscillator();
    tone.connect(context.destination);
    tone.start();
    setInterval(() => tone.frequency.setValueAtTime(300 + 900 * Math.random(), context.currentTime), 300);
  });
  await page.page.bringToFront();
  const capture = await startCapture(browser.host);
  await page.click("share");
  await page.shown("note-sharing");
  assert.match(await page.text("note-sharing"), /hears the sound/);
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  await page.click("share");
  await page.gone("note-sharing");
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const streams = sound(rtp(await capture.stop()), browser.host.address);
  assert.equal(streams.length, 1, `one stream of sound: ${streams.map((s) => s.length)}`);
  const [packets] = streams;
  assert.deepEqual([...new Set(packets.map((p) => p.length))], [134]);
  const seconds = packets.at(-1).time - packets[0].time;
  assert.ok(Math.abs(packets.length / seconds - 50) <= 1, `${packets.length} packets in ${seconds} s`);
  const steps = packets.slice(1).map((p, i) => (p.timestamp - packets[i].timestamp) >>> 0);
  assert.deepEqual([...new Set(steps)], [960]);
  console.log(`${packets.length} packets of 134 bytes in ${seconds.toFixed(1)} s`);
});
