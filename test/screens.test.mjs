// Every screen: what it says when somebody may not come in, the door, leaving, a small screen; and no screen breaks the
// accessibility rules that axe knows (WCAG 2.2 A and AA).
import assert from "node:assert/strict";
import { copyFileSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { comeIn, hears, House, inRoom, people, port, results, toCheck } from "./lib/house.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let house, pointer, browser;
before(async () => {
  house = await House.open();
  pointer = await house.meeting({ door: "chair", invited: ["anna", "ben", "david"] });
  browser = await house.chromium("anna");
}, { timeout: 120_000 });
after(async () => {
  await browser?.close();
  await house?.close();
});

/** Checks the screen that page shows, and takes a picture of it. */
async function check(page, name) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
    return violations.map((v) => `${v.id} (${v.impact}): ${v.help}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 4).join(", ")}`);
  });
  await page.screenshot(join(results, `${name}.png`));
  assert.deepEqual(found, [], `${name}: accessibility`);
}

/** A page in a browser of its own kind that knows nobody yet. */
async function fresh(options = {}) {
  const context = await browser.context.browser().newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB", ...options });
  const { Page } = await import("./lib/browser.mjs");
  return new Page(await context.newPage(), "a new Chromium", "chromium");
}

test("a browser that is not enrolled is told so, and nothing of the meeting", async () => {
  const page = await fresh();
  await page.goto(`http://localhost:${port}/m/${pointer}`);
  await page.shown("screen-stranger");
  const text = await page.evaluate(() => document.body.innerText);
  for (const secret of ["Border liaison", "Anna", "Ben", "RESTRICTED"]) assert.ok(!text.includes(secret), `the page names ${secret}`);
  await check(page, "stranger");
  await page.page.context().close();
});

test("the first page explains itself", async () => {
  const page = await fresh();
  await page.goto(`http://localhost:${port}/`);
  await page.shown("screen-home");
  await check(page, "home");
  await page.page.context().close();
});

test("a used link is refused with a reason and a fix", async () => {
  const link = await house.link(pointer, "ben");
  for (const times of [1, 2]) {
    const page = await fresh();
    await page.goto(link);
    await page.click("enrol");
    if (times === 1) await page.shown("screen-check");
    else {
      await page.shown("enrol-problem");
      assert.equal(await page.evaluate(() => document.querySelector('[data-testid="enrol-problem"]').dataset.code), "link_used");
      assert.equal(await page.evaluate(() => document.querySelector('[data-testid="enrol"]')), null, "another try cannot help");
      await check(page, "link-used");
    }
    await page.page.context().close();
  }
});

test("who is not invited is told so before asking, with a fix, and learns nothing", async () => {
  const page = await fresh();
  await toCheck(page, await house.link(pointer, "carla"));
  await page.until(() => document.querySelector('[data-testid="station-door"]')?.dataset.mark === "bad", undefined, { what: "the door is marked" });
  assert.match(await page.text("station-door"), /not invited[^]*Ask whoever chairs/);
  assert.equal(await page.evaluate(() => document.querySelector('[data-testid="join"]').disabled), true, "asking is of no use");
  const text = await page.evaluate(() => document.body.innerText);
  for (const secret of ["Border liaison", "Anna", "Ben", "RESTRICTED"]) assert.ok(!text.includes(secret), `the page names ${secret}`);
  await check(page, "not-invited");
  await page.page.context().close();
});

test("the line check, the door, the room and the way out", { timeout: 120_000 }, async () => {
  const anna = await browser.page();
  await toCheck(anna, await house.link(pointer, "anna"));
  await anna.until(() => !document.querySelector('[data-testid="join"]').disabled);
  await check(anna, "line-check");
  await anna.click("join");
  await inRoom(anna);
  await check(anna, "room-alone");

  const ben = await fresh();
  await toCheck(ben, await house.link(pointer, "ben"));
  await ben.click("join");
  await ben.shown("waiting");
  await check(ben, "waiting");
  await anna.click("decline");
  await ben.shown("screen-ended");
  assert.equal(await ben.evaluate(() => document.querySelector('[data-testid="screen-ended"]').dataset.code), "door_declined");
  assert.match(await ben.text("screen-ended"), /Call the chair/);
  await check(ben, "declined");
  await ben.click("join-again");
  await ben.shown("screen-check");
  await ben.click("join");
  await anna.shown("guest");
  assert.match(await anna.text("guest"), new RegExp(people.ben.name));
  await check(anna, "room-with-door");
  await anna.click("admit");
  await inRoom(ben);
  const david = await house.headless("david", pointer);
  await anna.shown("guest");
  await anna.click("admit");
  await david.state("in");
  await hears(anna, ["david"]);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await check(anna, "room");
  // The README's picture, where it is to be taken anew.
  if (process.env["CONCLAVE_PICTURES"]) copyFileSync(join(results, "room.png"), new URL("../docs/meeting.png", import.meta.url));
  await anna.click("code-compare");
  await anna.shown("code-dialog");
  await check(anna, "code-dialog");
  // Six groups, one after the other; then it stands as compared, until it changes.
  for (let at = 0; at < 6; at++) {
    assert.equal(await anna.evaluate(() => document.querySelector('[data-testid="code-step"]').dataset.at), String(at));
    await anna.click("code-same");
  }
  await anna.shown("code-close");
  await check(anna, "code-compared");
  await anna.click("code-close");
  assert.equal(await anna.evaluate(() => document.querySelector('[data-testid="code"]').dataset.compared), "true");
  // Somebody reads another one: nothing of hers goes out any more, and she is told what it means.
  await anna.click("code-compare");
  await anna.click("code-differs");
  await anna.until(() => document.querySelector('[data-testid="alarm"]')?.dataset.code === "code_differs", undefined, { what: "the alarm" });
  assert.equal(await anna.evaluate(() => document.querySelector('[data-testid="mute"]').dataset.on), "true", "muted");
  await check(anna, "code-differs");
  await anna.click("leave");
  await anna.until(() => document.querySelector('[data-testid="leave-dialog"], [data-testid="screen-ended"]') !== null);
  if ((await anna.text("leave-dialog")) !== "") {
    await check(anna, "leave-dialog");
    await anna.click("leave-now");
  }
  await anna.shown("screen-ended");
  await check(anna, "left");
  await david.end();
  await ben.page.context().close();
  await anna.page.close();
});

test("a small screen shows the same, and nothing runs over its edge", { timeout: 90_000 }, async () => {
  const small = await house.meeting({ chair: "ben", invited: ["anna", "ben", "david"] });
  const page = await fresh({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
  const wide = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  const link = await house.link(small, "ben");
  await page.goto(link);
  await page.shown("screen-enrol");
  assert.ok((await wide()) <= 0, "enrolment is not wider than the screen");
  await check(page, "small-enrol");
  await page.click("enrol");
  await page.shown("screen-check");
  await page.until(() => !document.querySelector('[data-testid="join"]').disabled);
  assert.ok((await wide()) <= 0, "the line check is not wider than the screen");
  await check(page, "small-line-check");
  await page.click("join");
  await inRoom(page);
  const david = await house.headless("david", small);
  await david.state("in");
  await new Promise((resolve) => setTimeout(resolve, 2000));
  assert.ok((await wide()) <= 0, "the room is not wider than the screen");
  await check(page, "small-room");
  await david.end();
  await page.page.context().close();
});

test("the interface speaks German and French", async () => {
  for (const [locale, word] of [["de-DE", /eingerichtet/], ["fr-FR", /navigateur/]]) {
    const page = await fresh({ locale });
    await page.goto(`http://localhost:${port}/m/${pointer}`);
    await page.shown("screen-stranger");
    assert.match(await page.evaluate(() => document.body.innerText), word);
    assert.equal(await page.evaluate(() => document.documentElement.lang.slice(0, 2)), locale.slice(0, 2));
    await page.page.context().close();
  }
});
