// One leg is removed: it opens nothing that is sent under the new keys, and the others go on as if nothing had happened.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { comeIn, hears, House, people } from "./lib/house.mjs";

let house, pointer, anna, page, tap;
before(async () => {
  house = await House.open();
  pointer = await house.meeting();
  anna = await house.chromium("anna");
  page = await anna.page();
}, { timeout: 120_000 });
after(async () => {
  await anna?.close();
  await house?.close();
});

test("a removed leg opens nothing any more, and the others do not notice", { timeout: 120_000 }, async () => {
  await comeIn(page, await house.link(pointer, "anna"));
  for (const name of ["ben", "david"]) await (await house.headless(name, pointer)).state("in");
  tap = await house.tap("eva", pointer, { removed: "franz" });
  await tap.next((l) => l.tap?.state?.state === "in");
  await tap.next((l) => l.removed?.state?.state === "in");
  await page.until((name) => [...document.querySelectorAll('[data-testid="roster"] [data-leaf]')].some((e) => e.dataset.name === name), people.franz.name, { what: "Franz in the roster" });
  await hears(page, ["ben", "david"]);
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const before = await tap.report();

  const concealed = async () => (await page.statistics()).filter((s) => s.type === "inbound-rtp" && s.kind === "audio").reduce((sum, s) => sum + (s.concealedSamples ?? 0), 0);
  const hidden = await concealed();
  const leaf = await page.evaluate((name) => [...document.querySelectorAll('[data-testid="roster"] [data-leaf]')].find((e) => e.dataset.name === name).dataset.leaf, people.franz.name);
  await page.page.click(`[data-testid="member-${leaf}"] [data-testid="options"]`);
  await page.click("remove");
  await page.click("reason-wrong_meeting");
  const seen = tap.all.length;
  // From the click in the page, not from when we hear that it was done.
  await page.evaluate(() => document.querySelector('[data-testid="remove-now"]').addEventListener("click", () => (window.asked = Date.now()), { capture: true }));
  await page.click("remove-now");
  const ended = await tap.next((l) => l.removed?.state?.state === "ended" || l.removed?.ended, { from: seen, ms: 5000 });
  const changed = await tap.next((l) => l.tap?.code?.why === "removed", { from: seen, ms: 5000 });
  const asked = await page.evaluate(() => window.asked);
  console.log(`removal: the removed leg is told after ${ended.came - asked} ms, new keys after ${changed.came - asked} ms`);
  assert.deepEqual(changed.tap.code.who, [people.franz.name], "the reason for the new code names who was removed");
  await new Promise((resolve) => setTimeout(resolve, 5000));

  const report = await tap.report();
  assert.ok(report.epoch > before.epoch, "the epoch has changed");
  const { frames, opened } = report.after_removal;
  assert.ok(frames > 400, `frames of the new epoch were tried: ${frames}`);
  assert.equal(opened, 0, "the removed leg opens none of them, with any key that it was ever given");
  for (const name of ["anna", "ben", "david"]) {
    const s = report.of(name);
    assert.ok(s.max_gap_ms <= 200, `${name} goes on without a gap: ${s.max_gap_ms} ms`);
    assert.deepEqual([s.clear, s.wrong], [0, 0]);
  }
  const lost = ((await concealed()) - hidden) / 48;
  assert.ok(lost < 200 * 3, `Chromium filled in ${lost.toFixed(0)} ms in three streams`);
  await hears(page, ["ben", "david"]);
  console.log(`removal: longest gaps ${["anna", "ben", "david"].map((n) => `${n} ${report.of(n).max_gap_ms} ms`).join(", ")}; ${frames} frames tried, ${opened} opened`);
});
