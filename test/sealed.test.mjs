// Not one clear frame leaves a browser, from the first on. In Chromium a transform that is set a moment late leaves a whole
// call in clear, without an error, unless encodedInsertableStreams is asked for: the second test sets that trap and must see
// it, or the first could not fail.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { comeIn, House, toCheck } from "./lib/house.mjs";

let house, pointer;
const open = [];
before(async () => {
  house = await House.open();
  pointer = await house.meeting({ chair: "eva" }); // whose tap is there first: the meeting starts with its chair
}, { timeout: 60_000 });
after(async () => {
  for (const browser of open) await browser.close();
  await house?.close();
});

for (const [kind, person] of [["chromium", "anna"], ["firefox", "carla"]]) {
  test(`no clear frame leaves ${kind}, from its first packet on, also after it came back`, { timeout: 120_000 }, async () => {
    const tap = await house.tap("eva", pointer);
    await tap.next((l) => l.tap?.state?.state === "in");
    const browser = await house[kind](person);
    open.push(browser);
    const page = await browser.page();
    await comeIn(page, await house.link(pointer, person));
    assert.equal(await page.evaluate(() => window.probe.configuration?.encodedInsertableStreams), true, "the flag is set");
    await new Promise((resolve) => setTimeout(resolve, 6000));
    const link = await house.link(pointer, person);
    await page.goto(link.replace(/#.*/, ""));
    await page.click("join");
    await new Promise((resolve) => setTimeout(resolve, 6000));
    const report = await tap.report();
    const sound = report.streams.filter((s) => s.kind === "microphone" && s.frames > 0);
    const video = report.streams.filter((s) => s.kind === "camera" && s.frames > 0);
    assert.ok(sound.reduce((n, s) => n + s.opened, 0) > 300, `sound came: ${JSON.stringify(sound)}`);
    assert.ok(video.reduce((n, s) => n + s.opened, 0) > 20, `pictures came: ${JSON.stringify(video)}`);
    for (const s of [...sound, ...video]) assert.deepEqual([s.clear, s.wrong], [0, 0], `every frame is sealed: ${JSON.stringify(s)}`);
    await browser.close();
    open.pop();
    await tap.end();
  });
}

test("the trap, set: without the flag and with late transforms clear frames are seen, and the page stops sending", { timeout: 120_000 }, async () => {
  const tap = await house.tap("eva", pointer);
  await tap.next((l) => l.tap?.state?.state === "in");
  const browser = await house.chromium("ben");
  open.push(browser);
  await browser.context.addInitScript(() => {
    const Native = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Native {
      constructor(configuration, ...rest) {
        const { encodedInsertableStreams: _, ...others } = configuration ?? {};
        super(others, ...rest);
      }
    };
    const own = Object.getOwnPropertyDescriptor(RTCRtpSender.prototype, "transform");
    Object.defineProperty(RTCRtpSender.prototype, "transform", {
      ...own,
      set(transform) {
        setTimeout(() => own.set.call(this, transform), 0);
      },
    });
  });
  const page = await browser.page();
  await toCheck(page, await house.link(pointer, "ben"));
  await page.click("join");
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  const first = await tap.report();
  const clear = first.streams.reduce((n, s) => n + s.clear + s.wrong, 0);
  await new Promise((resolve) => setTimeout(resolve, 4000));
  const then = await tap.report();
  const later = then.streams.reduce((n, s) => n + s.clear + s.wrong, 0);
  console.log(`trap: ${clear} clear frames before the page noticed, ${later} afterwards`);
  assert.equal(later, 0, "the page has stopped sending by itself");
  await browser.close();
  open.pop();
});
