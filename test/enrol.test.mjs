// Setting up a browser, with Chromium's virtual authenticator: hardware, synced and software keys told apart, renewal, a lost
// device, each refusal with its fix on screen, guests; and how long an enrolled person needs from link to sound.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Page } from "./lib/browser.mjs";
import { comeIn, hears, House, inRoom, people, port } from "./lib/house.mjs";
import { addPasskey, metadata } from "./lib/passkey.mjs";

let house, pointer, browser;
before(async () => {
  house = await House.open({ settings: `[enrolment]\npasskeys = "required"\nmetadata = "${metadata}"\n` });
  pointer = await house.meeting({ invited: ["anna", "ben", "carla", "david", "eva"] });
  browser = await house.chromium("anna");
}, { timeout: 120_000 });
after(async () => {
  await browser?.close();
  await house?.close();
});

/** A page in a browser of its own that knows nobody yet; further pages of it share its memory. */
async function fresh() {
  const context = await browser.context.browser().newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB" });
  const page = async () => new Page(await context.newPage(), "a new Chromium", "chromium");
  const first = await page();
  return { page: first, another: page, close: () => context.close() };
}

const attribute = (page, id, name) => page.evaluate(([id, name]) => document.querySelector(`[data-testid="${id}"]`)?.dataset[name] ?? "", [id, name]);
const devicesOf = async (person) => (await house.admin("GET", `/people/${people[person].id}`)).devices;

/** Enrols with a passkey and waits for the line check. */
async function enrol(page, person, passkey, to = pointer) {
  const authenticator = await addPasskey(page, passkey);
  await page.goto(await house.link(to, person));
  await page.click("enrol");
  await page.shown("screen-check");
  return authenticator;
}

test("hardware has assurance 2, a key that may leave it has 1: two touches each", async () => {
  for (const [passkey, assurance] of [[{}, 2], [{ synced: true }, 1]]) {
    const { page, close } = await fresh();
    const authenticator = await enrol(page, "ben", passkey);
    const [device] = (await devicesOf("ben")).filter((d) => !d.revoked);
    assert.equal(device.assurance, assurance);
    assert.equal(device.passkey.backup_eligible, Boolean(passkey.synced));
    assert.ok(device.evidence, "what was shown is kept as a hash");
    assert.equal((await authenticator.credentials()).length, 1, "one passkey was made");
    await house.admin("POST", `/devices/${device.id}/revoke`, {});
    await close();
  }
});

test("each refusal of an enrolment is shown with its fix, and the link stays good", { timeout: 120_000 }, async () => {
  const { page, close } = await fresh();
  const link = await house.link(pointer, "carla");
  await page.goto(link);
  await page.shown("screen-enrol");
  const refused = async (code, fix) => {
    await page.until(([code]) => document.querySelector('[data-testid="enrol-problem"]')?.dataset.code === code, [code], { what: `refused for ${code}` });
    assert.equal(await attribute(page, "enrol-problem", "fix"), fix);
    assert.match(await page.text("enrol-problem"), /\S+[^]*How to fix|What to do|To fix/i, "the fix is in words");
  };
  // No passkey here at all: the server asks for one.
  await page.click("enrol");
  await refused("passkey_required", "use_passkey");
  // One that does not verify who touches it.
  let authenticator = await addPasskey(page, { verifies: false });
  await page.click("enrol");
  await refused("passkey_cancelled", "passkey_again");
  await authenticator.remove();
  // One that is broken off after it was made: the second try makes no second passkey.
  authenticator = await addPasskey(page);
  await page.page.route("**/v1/enrol/vouch", (route) => route.abort(), { times: 1 });
  await page.click("enrol");
  await refused("server_unreachable", "check_connection");
  await page.click("enrol");
  await page.shown("screen-check");
  await close();

  const again = await fresh();
  await addPasskey(again.page);
  await again.page.goto(link);
  await again.page.click("enrol");
  await again.page.until(() => document.querySelector('[data-testid="enrol-problem"]')?.dataset.code === "link_used", undefined, { what: "the used link is refused" });
  assert.equal(await attribute(again.page, "enrol-problem", "fix"), "ask_link");
  await again.close();
});

test("renewal is one touch, and without the passkey it is refused with its fix", async () => {
  const { page, another, close } = await fresh();
  const authenticator = await enrol(page, "carla");
  const before = await authenticator.touches();
  await page.goto(`http://localhost:${port}/devices`);
  await page.shown("renew");
  const until = async () => (await devicesOf("carla")).filter((d) => d.passkey && !d.revoked).map((d) => d.until).sort().at(-1);
  const was = await until();
  await new Promise((resolve) => setTimeout(resolve, 1100)); // statements are good to the second
  await page.click("renew");
  for (let i = 0; (await until()) === was; i++) {
    assert.ok(i < 100, "the statement was not renewed");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal((await authenticator.touches()) - before, 1, "touches");
  // The same browser without its authenticator: a copy of the profile.
  const copy = await another();
  await addPasskey(copy);
  await copy.goto(`http://localhost:${port}/devices`);
  await copy.click("renew");
  await copy.until(() => document.querySelector('[data-testid="devices-problem"]')?.dataset.code === "passkey_cancelled", undefined, { what: "the copy is refused" });
  await close();
});

test("a lost device is taken out of use from another own one, and is refused with its fix", { timeout: 120_000 }, async () => {
  const lost = await fresh(), own = await fresh();
  await enrol(lost.page, "eva");
  const [device] = await devicesOf("eva");
  const authenticator = await enrol(own.page, "eva");
  await lost.page.until(() => !document.querySelector('[data-testid="join"]').disabled);
  await lost.page.click("join");
  await inRoom(lost.page);
  const before = await authenticator.touches();
  await own.page.goto(`http://localhost:${port}/devices`);
  await own.page.click(`revoke-${device.id}`);
  await own.page.click(`revoke-now-${device.id}`);
  await own.page.until((id) => document.querySelector(`[data-testid="device-${id}"]`)?.dataset.revoked === "true", device.id, { what: "it is shown as out of use" });
  assert.equal((await authenticator.touches()) - before, 1, "touches");
  await lost.page.until(() => document.querySelector('[data-testid="screen-ended"], [data-testid="screen-refused"], [data-testid="screen-quarantined"]') !== null || document.querySelector('[data-testid="screen-room"]')?.dataset.state === "quarantined", undefined, { what: "the lost device is out of the room" });
  await lost.page.goto(`http://localhost:${port}/m/${pointer}`);
  await lost.page.until(() => /taken out of use/.test(document.body.innerText) && /administrator/i.test(document.body.innerText), undefined, { what: "refused, with its fix" });
  await lost.close();
  await own.close();
});

test("an enrolled person hears the room within 10 s of opening the link, with one press", { timeout: 120_000 }, async () => {
  const david = await house.headlessRoom("david", pointer);
  await david.state("in");
  const page = await browser.page();
  await enrol(page, "anna");
  await page.goto("about:blank");
  const began = Date.now();
  let presses = 0;
  await page.goto(`http://localhost:${port}/m/${pointer}`);
  await page.until(() => document.querySelector('[data-testid="join"]')?.disabled === false, undefined, { what: "join can be pressed" });
  await page.click("join");
  presses++;
  await hears(page, ["david"], { looks: 1 });
  const took = Date.now() - began;
  console.log(`# link to sound: ${took} ms, ${presses} press`);
  assert.ok(took <= 10_000, `it took ${took} ms`);
  await page.page.close();
  await david.end();
});
