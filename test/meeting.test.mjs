// The big meeting: two Chromium, one Firefox and one headless endpoint, each with its own tone. Beside them an endpoint that
// looks at what the server forwards.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { comeIn, hears, House, inRoom, people, results } from "./lib/house.mjs";

let house, pointer, browsers, pages, david, tap;

before(async () => {
  house = await House.open();
  pointer = await house.meeting();
  browsers = { anna: await house.chromium("anna"), ben: await house.chromium("ben"), carla: await house.firefox("carla") };
  pages = {};
  for (const [name, browser] of Object.entries(browsers)) pages[name] = await browser.page();
}, { timeout: 120_000 });
after(async () => {
  for (const browser of Object.values(browsers ?? {})) await browser.close();
  await house?.close();
});

test("everyone comes in by a personal link", async () => {
  for (const [name, page] of Object.entries(pages)) await comeIn(page, await house.link(pointer, name));
  david = await house.headless("david", pointer);
  await david.state("in");
  tap = await house.tap("eva", pointer);
  await tap.next((l) => l.tap?.state?.state === "in");
  for (const page of Object.values(pages)) await page.until((n) => document.querySelectorAll('[data-testid="roster"] [data-leaf]').length === n, 5, { what: "five people in the roster" });
});

test("everyone hears everyone else, and nobody themselves", { timeout: 120_000 }, async () => {
  const all = ["anna", "ben", "carla", "david"];
  for (const [name, page] of Object.entries(pages)) {
    const total = await hears(page, all.filter((n) => n !== name), { ms: 40_000 });
    assert.equal(total[name], 0, `${name} does not hear themselves: ${JSON.stringify(total)}`);
  }
});

test("all screens show the same security code", async () => {
  const codes = new Set();
  for (const page of Object.values(pages)) codes.add(await page.evaluate(() => [...document.querySelectorAll('[data-testid="code-groups"] [aria-hidden]')].map((e) => e.textContent).join("").replace(/\D/g, "")));
  assert.equal(codes.size, 1, `codes: ${[...codes]}`);
  assert.match([...codes][0], /^\d{30}$/);
  const line = david.all.filter((l) => l.event === "code").at(-1);
  assert.equal(line.code.groups.join(""), [...codes][0], "the headless endpoint has it too");
});

/** Asserts that over a page's tile of others' pictures lies who looks, and when. */
async function watermarked(page, tile, name) {
  const [text, covers, minutes] = await page.until((tile) => {
    const box = [...document.querySelectorAll(`[data-testid^="${tile}"]`)].find((t) => t.querySelector("video") && t.querySelector('[data-testid="watermark"]'));
    const mark = box?.querySelector('[data-testid="watermark"]');
    if (!mark) return undefined;
    const [over, under] = [mark.getBoundingClientRect(), box.querySelector("video").getBoundingClientRect()];
    const covers = over.width >= under.width - 2 && over.height >= under.height - 2 && mark.checkVisibility() && mark.innerText.includes(mark.dataset.text);
    // The mark's minute may be over while it is looked at.
    const minutes = [0, 1].map((ago) => new Date(Date.now() - ago * 60_000).toTimeString().slice(0, 5));
    return [mark.dataset.text, covers, minutes];
  }, tile, { what: `a watermark over ${tile}`, ms: 30_000 });
  assert.ok(text.startsWith(`${name} · `), text);
  assert.ok(minutes.some((m) => text.includes(m)), `${text} is not of ${minutes}`);
  assert.ok(covers, `the watermark does not lie over ${tile}`);
}

test("pictures arrive and are not black", { timeout: 90_000 }, async () => {
  for (const page of Object.values(pages)) {
    const decoded = async () => (await page.statistics()).filter((s) => s.type === "inbound-rtp" && s.kind === "video").map((s) => s.framesDecoded ?? 0);
    const live = await page.until(() => [...window.probe.elements].filter((e) => e instanceof HTMLVideoElement && /^video-\d+$/.test(e.dataset.testid ?? "") && e.videoWidth > 0).length >= 2, undefined, { what: "two people's pictures", ms: 30_000 });
    assert.ok(live);
    const before = await decoded();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const after = await decoded();
    const growing = after.filter((n, i) => n > (before[i] ?? 0) + 3).length;
    assert.ok(growing >= 2, `${page.name}: pictures decoded per stream ${before} → ${after}`);
    const shown = (await page.pictures()).filter((p) => /^video-\d+$/.test(p.near) || /^tile/.test(p.near));
    for (const p of shown) assert.ok(p.mean > 8, `${page.name}: a black picture ${JSON.stringify(p)}`);
  }
  await watermarked(pages.anna, "tile-", people.anna.name);
});

test("a shared screen arrives", { timeout: 90_000 }, async () => {
  await pages.anna.click("share");
  for (const name of ["ben", "carla"]) {
    const page = pages[name];
    await page.until(() => {
      const e = document.querySelector('[data-testid="screen"]');
      return e instanceof HTMLVideoElement && e.videoWidth > 0;
    }, undefined, { what: "the shared screen", ms: 30_000 });
    const picture = (await page.pictures()).find((p) => p.near === "screen" || p.near === "tile-screen");
    assert.ok(picture && picture.spread > 3, `${page.name}: the shared screen is of one colour: ${JSON.stringify(picture)}`);
  }
  await watermarked(pages.ben, "tile-screen", people.ben.name);
  await pages.ben.screenshot(join(results, "shared-screen.png"));
  await pages.anna.click("share");
  await pages.ben.gone("tile-screen");
});

test("what the server forwards is sealed, and does not decode as Opus", { timeout: 60_000 }, async () => {
  await tap.report();
  await new Promise((resolve) => setTimeout(resolve, 8000));
  const report = await tap.report();
  for (const name of ["anna", "ben", "carla", "david"]) {
    const s = report.of(name);
    assert.ok(s, `${name}'s sound is forwarded: ${JSON.stringify(report.streams.map((x) => [x.name, x.kind]))}`);
    assert.ok(s.frames > 200, `${name}: ${s.frames} frames in 8 s`);
    assert.deepEqual([s.clear, s.wrong, s.unknown], [0, 0, 0], `${name}: every frame is SFrame and opens: ${JSON.stringify(s)}`);
    assert.equal(s.opened, s.frames);
    assert.ok((s.opened_tone[name] ?? 0) > 10, `${name}'s tone is in what was opened: ${JSON.stringify(s.opened_tone)}`);
    assert.deepEqual(s.sealed_tone, {}, `no tone is in what was forwarded: ${JSON.stringify(s.sealed_tone)}`);
    assert.deepEqual(Object.keys(s.sizes), ["106"], `${name}: sizes of what was forwarded ${JSON.stringify(s.sizes)}`);
  }
  for (const s of report.streams.filter((x) => x.kind !== "microphone" && x.frames > 0)) {
    assert.equal(s.clear, 0, `${s.name}: every picture is SFrame: ${JSON.stringify(s)}`);
    assert.equal(s.wrong, 0, `${s.name}: every picture opens: ${JSON.stringify(s)}`);
  }
});

test("the headless endpoint has recorded every other", { timeout: 60_000 }, async () => {
  await david.end();
  const files = readdirSync(david.record);
  const found = {};
  for (const file of files.filter((f) => f.endsWith(".ogg"))) {
    const count = await house.tonesIn(join(david.record, file));
    found[file.split("-")[0].toLowerCase()] = Object.keys(count).filter((n) => count[n] >= 10);
  }
  assert.deepEqual(found, { anna: ["anna"], ben: ["ben"], carla: ["carla"] }, `a file for each, with their tone alone: ${files}`);
});

test("leaving goes without trouble, and the others see it", async () => {
  await pages.ben.click("leave");
  if (await pages.ben.evaluate(() => document.querySelector('[data-testid="leave-now"]')?.getClientRects().length)) await pages.ben.click("leave-now");
  await pages.ben.shown("screen-ended");
  assert.equal(await pages.ben.evaluate(() => document.querySelector('[data-testid="screen-ended"]').dataset.ending), "left");
  await pages.anna.until((name) => ![...document.querySelectorAll('[data-testid="roster"] [data-leaf]')].some((e) => e.dataset.name === name), people.ben.name, { what: "Ben is gone from the roster" });
  await inRoom(pages.anna);
  await hears(pages.anna, ["carla"]);
});
