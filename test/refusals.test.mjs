// Each refusal in a real browser, under the condition that causes it: the organisation, the meeting and the line are as the refusal says,
// and no rule was changed to bring it about. What stands in the way is on the screen in words, with the one thing to do.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Page } from "./lib/browser.mjs";
import { House, people, port } from "./lib/house.mjs";
import { words } from "./lib/words.mjs";

let house, browser;
before(async () => {
  house = await House.open();
  browser = await house.chromium("ben");
}, { timeout: 120_000 });
after(async () => {
  await browser?.close();
  await house?.close();
});

const { problems, fixes } = words();
const at = (hours) => new Date(Date.now() + hours * 3600_000).toISOString();

/** Opens a meeting as the administrator does. */
async function meeting(more) {
  const { pointer } = await house.admin("POST", "/meetings", { title: "Border liaison", level: "INTERNAL", chair: people.anna.id, people: [people.ben.id], door: "invited", ...more });
  return pointer;
}

/** Waits until a reason and its fix are on the screen, up to their first argument. */
async function shows(page, reason, fix) {
  const stem = (text) => text.split("{")[0];
  await page.until(([p, f]) => {
    const text = document.body.innerText.replaceAll("\n", " ");
    return text.includes(p) && text.includes(f);
  }, [stem(problems[reason]), stem(fixes[fix])], { what: `${reason} with ${fix}`, ms: 60_000 });
}

const open = async (page, pointer) => {
  await page.goto(`http://localhost:${port}/m/${pointer}`);
  await page.until(() => document.querySelector('[data-testid="screen-check"], [data-testid="screen-refused"]') !== null, undefined, { what: "the line is looked at", ms: 60_000 });
};

test("what keeps an enrolled person out is shown under its real condition", { timeout: 240_000 }, async () => {
  const page = await browser.page();
  const first = await meeting({});
  await page.goto(await house.link(first, "ben"));
  await page.until(() => document.querySelector('[data-testid="enrol"], [data-testid="screen-check"]') !== null, undefined, { what: "the page", ms: 60_000 });
  if (await page.evaluate(() => document.querySelector('[data-testid="enrol"]') !== null)) await page.click("enrol");
  await page.shown("screen-check", { ms: 60_000 });

  await open(page, await meeting({ from: at(1), until: at(2) }));
  await shows(page, "meeting_early", "come_later");

  const over = await meeting({});
  await house.admin("POST", `/meetings/${over}/end`, {});
  await open(page, over);
  await shows(page, "meeting_over", "ask_chair_for_meeting");

  await open(page, await meeting({ people: [people.carla.id] }));
  await shows(page, "not_invited", "ask_chair_for_invitation");

  // Neither on an approved network nor over TLS: both are told at once.
  await open(page, await meeting({ level: "CONFIDENTIAL" }));
  await shows(page, "network_not_approved", "use_approved_network");
  await shows(page, "transport_open", "use_https");

  // And the same browser is let in where nothing stands in the way.
  await open(page, first);
  await page.until(() => document.querySelector('[data-testid="join"]')?.disabled === false, undefined, { what: "join can be pressed", ms: 60_000 });
});

test("who was struck off is told so: by the link, and by the device that they had", { timeout: 240_000 }, async () => {
  const context = await browser.context.browser().newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB" });
  const late = new Page(await context.newPage(), "a new Chromium", "chromium");
  const pointer = await meeting({ people: [people.ben.id] });
  const link = await house.link(pointer, "ben");
  await house.admin("POST", `/people/${people.ben.id}/remove`, {});

  await late.goto(link);
  await late.click("enrol", { ms: 60_000 });
  await late.until(() => document.querySelector('[data-testid="enrol-problem"]')?.dataset.code === "person_removed", undefined, { what: "the link is refused", ms: 60_000 });
  await shows(late, "person_removed", "ask_administrator");
  await context.close();

  const page = await browser.page();
  await page.goto(`http://localhost:${port}/m/${pointer}`);
  await shows(page, "device_revoked", "ask_administrator");
});
