// Setting up a browser, with Chromium's virtual authenticator: hardware, synced and software keys told apart, renewal, a lost
// device, each refusal with its fix on screen, guests; and how long an enrolled person needs from link to sound.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Page } from "./lib/browser.mjs";
import { comeIn, hears, House, inRoom, people, port, results } from "./lib/house.mjs";
import { addPasskey, metadata } from "./lib/passkey.mjs";
import { lapse } from "./lib/statement.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// The policy that Conclave comes with, but that it asks for a fresh touch one level lower, and not whom nobody can touch for: at its own level it also asks for
// TLS and an approved network, which these hosts do not have.
function policy() {
  const shipped = readFileSync(new URL("../admission/default.cedar", import.meta.url), "utf8");
  const asks = shipped.replace(/(@reason\("assertion_missing"\)[^]*?)Level::"CONFIDENTIAL"/, '$1Level::"RESTRICTED"')
    .replace("context.assurance in Assurance::\"managed\" ||", '!(context.assurance in Assurance::"hardware") || $&');
  assert.notEqual(asks, shipped, "the policy asks for an assertion");
  const file = join(mkdtempSync(join(tmpdir(), "conclave-policy-")), "policy.cedar");
  writeFileSync(file, asks);
  return file;
}

let house, pointer, browser;
const rules = policy();

before(async () => {
  house = await House.open({ settings: `policy = "${rules}"\n[enrolment]\npasskeys = "required"\nmetadata = "${metadata}"\n` });
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

// The browser that can be listened to is one for all tests: each begins with nothing kept.
async function forget(page) {
  const session = await page.page.context().newCDPSession(page.page);
  await session.send("Storage.clearDataForOrigin", { origin: `http://localhost:${port}`, storageTypes: "all" });
  await session.detach();
}

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
  await accessible(page, "devices");
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

/** No screen breaks the accessibility rules that axe knows; and a picture of each. */
async function accessible(page, name) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
    return violations.map((v) => `${v.id} (${v.impact}): ${v.help}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 4).join(", ")}`);
  });
  await page.screenshot(join(results, `enrol-${name}.png`));
  assert.deepEqual(found, [], `${name}: accessibility`);
}

/** Presses join and waits until the room is there. */
async function press(page) {
  await page.until(() => document.querySelector('[data-testid="join"]')?.disabled === false, undefined, { what: "join can be pressed" });
  await page.click("join");
}

test("a lost device is taken out of use from another own one, and is refused with its fix", { timeout: 120_000 }, async () => {
  const lost = await fresh(), own = await fresh();
  const meeting = await house.meeting({ chair: "eva", invited: ["eva"], level: "INTERNAL" });
  await enrol(lost.page, "eva", {}, meeting);
  const [device] = await devicesOf("eva");
  const authenticator = await enrol(own.page, "eva", {}, meeting);
  await press(lost.page);
  await inRoom(lost.page);
  const before = await authenticator.touches();
  await own.page.goto(`http://localhost:${port}/devices`);
  await own.page.click(`revoke-${device.id}`);
  await own.page.until((id) => document.activeElement?.dataset.testid === `revoke-keep-${id}`, device.id, { what: "a second press keeps it" });
  await own.page.click(`revoke-now-${device.id}`);
  await own.page.until((id) => document.querySelector(`[data-testid="device-${id}"]`)?.dataset.revoked === "true", device.id, { what: "it is shown as out of use" });
  assert.equal((await authenticator.touches()) - before, 1, "touches");
  await lost.page.until(() => document.querySelector('[data-testid="screen-ended"], [data-testid="screen-refused"], [data-testid="screen-quarantined"]') !== null || document.querySelector('[data-testid="screen-room"]')?.dataset.state === "quarantined", undefined, { what: "the lost device is out of the room" });
  await lost.page.goto(`http://localhost:${port}/m/${meeting}`);
  await lost.page.until(() => /taken out of use/.test(document.body.innerText) && /administrator/i.test(document.body.innerText), undefined, { what: "refused, with its fix" });
  await lost.close();
  await own.close();
});

test("whose first device a thief enrolled is told on their own, on the way in, and takes it out of use", { timeout: 120_000 }, async () => {
  const thief = await fresh(), own = await fresh();
  const meeting = await house.meeting({ chair: "franz", invited: ["franz"], level: "INTERNAL" });
  await enrol(thief.page, "franz", {}, meeting);
  const [device] = await devicesOf("franz");
  assert.deepEqual(device.link, { by: "administrator" });
  await enrol(own.page, "franz", {}, meeting);
  await own.page.shown("notice");
  assert.equal(await attribute(own.page, "notice", "code"), "device_before");
  const today = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", year: "numeric" }).format(new Date(device.enrolled));
  const text = await own.page.text("notice");
  assert.ok(text.includes(`“${device.name}” was set up in your name, on ${today}`) && /take the device out of use now/.test(text), text);
  await accessible(own.page, "notice-before");

  // The thief has theirs read, and it stays where it was told.
  await thief.page.page.reload();
  await thief.page.shown("notice");
  await thief.page.click("notice-read");
  await thief.page.gone("notice");
  await own.page.page.reload();
  await own.page.shown("notice");

  // It stands in nobody's way: join is pressed under it, and in the room it is among the banners.
  await press(own.page);
  await inRoom(own.page);
  await own.page.shown("notice");
  await accessible(own.page, "room-notice-before");
  const [devices] = await Promise.all([own.page.page.context().waitForEvent("page"), own.page.click("notice-link")]);
  const list = new Page(devices, "the devices", "chromium");
  // Its passkey is the first page's: only what lies there is looked at here.
  await list.shown(`device-${device.id}`);
  assert.match(await list.text(`device-${device.id}`), /By a link of the administrator/);
  assert.equal(await attribute(own.page, "screen-room", "state"), "in", "the meeting goes on");
  await devices.close();
  await own.page.click("notice-read");
  await own.page.gone("notice");
  await own.page.goto(`http://localhost:${port}/devices`);
  await own.page.click(`revoke-${device.id}`);
  await own.page.click(`revoke-now-${device.id}`);
  await own.page.until((id) => document.querySelector(`[data-testid="device-${id}"]`)?.dataset.revoked === "true", device.id, { what: "it is out of use" });
  await thief.close();
  await own.close();
});

test("where the level asks for it, a join is a touch; a copied profile has none and stays out", { timeout: 120_000 }, async () => {
  const meeting = await house.meeting({ chair: "anna", invited: ["anna"] });
  const { page, another, close } = await fresh();
  const authenticator = await enrol(page, "anna", {}, meeting);
  const before = await authenticator.touches();
  await page.shown("join-touch");
  await press(page);
  await inRoom(page);
  assert.equal((await authenticator.touches()) - before, 1, "touches");
  await page.page.close();

  // The same profile with the same key, which signs for it: but the passkey is not here.
  const copy = await another();
  await addPasskey(copy);
  await copy.goto(`http://localhost:${port}/m/${meeting}`);
  await copy.shown("screen-check");
  await press(copy);
  await copy.until(() => document.querySelector('[data-testid="join-problem"]')?.dataset.code === "passkey_cancelled", undefined, { what: "the copy is not let in" });
  assert.equal(await attribute(copy, "join-problem", "fix"), "passkey_again");
  await close();
});

test("a level is raised to one that asks for a touch: the line is out, and one touch brings its sound back", { timeout: 120_000 }, async () => {
  const meeting = await house.meeting({ chair: "david", invited: ["anna", "david"], level: "INTERNAL" });
  const david = await house.headlessRoom("david", meeting, { args: ["--commands"] });
  await david.state("in");
  const page = await browser.page();
  await forget(page);
  const authenticator = await enrol(page, "anna", {}, meeting);
  await press(page);
  await hears(page, ["david"], { looks: 1 });
  const before = await authenticator.touches();
  david.child.stdin.write('{"do":"raise","level":2}\n');
  await page.shown("touch-again");
  assert.equal(await attribute(page, "reason", "code"), "assertion_missing");
  assert.equal(await attribute(page, "reason", "fix"), "confirm_with_passkey");
  await accessible(page, "quarantine-touch");

  // One that is not verified changes nothing, and the next one does.
  await authenticator.set("setUserVerified", { isUserVerified: false });
  await page.click("touch-again");
  await page.until(() => document.querySelector('[data-testid="join-problem"]')?.dataset.code === "passkey_cancelled", undefined, { what: "the touch is not given" });
  await authenticator.set("setUserVerified", { isUserVerified: true });
  const began = Date.now();
  await page.click("touch-again");
  await inRoom(page);
  console.log(`# touch to room: ${Date.now() - began} ms`);
  await hears(page, ["david"], { looks: 1 });
  assert.equal((await authenticator.touches()) - before, 1, "touches");
  await page.page.close();
  await david.end();
});

/** Has the page told that its statement is about to end, until it was renewed so many times; statements hold for seven days. */
function due(page, times) {
  return page.page.addInitScript((times) => {
    const Native = window.Worker;
    let renewed = 0;
    window.Worker = class extends Native {
      constructor(...args) {
        super(...args);
        this.addEventListener("message", ({ data }) => {
          if (data?.event === "renewed") renewed += 1;
          if (data?.event === "identity" && data.identity) data.identity.due = renewed < times;
        });
      }
    };
  }, times);
}

/** Renews with one touch, after the second for which the former statement began: statements are good to the second. */
async function renew(page, authenticator, { more = false } = {}) {
  await page.shown("renew-card");
  await new Promise((resolve) => setTimeout(resolve, 1100));
  const before = await authenticator.touches();
  await page.click("renew");
  if (more) await page.until(() => document.querySelector('[data-testid="renew"]')?.disabled === false, undefined, { what: "renewed" });
  else await page.until(() => document.querySelector('[data-testid="renew-card"]') === null, undefined, { what: "the card is gone" });
  assert.equal((await authenticator.touches()) - before, 1, "touches");
}

test("a renewal that is due is one touch, before the room and in it, and the meeting goes on", { timeout: 120_000 }, async () => {
  const meeting = await house.meeting({ chair: "david", invited: ["anna", "ben", "david"], level: "INTERNAL" });
  const david = await house.headlessRoom("david", meeting);
  await david.state("in");
  const { page, close } = await fresh();
  await due(page, 2);
  const authenticator = await enrol(page, "anna", {}, meeting);
  await accessible(page, "check-renew");
  await renew(page, authenticator, { more: true });
  await press(page);
  await inRoom(page);
  const ben = await house.headlessRoom("ben", meeting);
  await ben.state("in");
  await accessible(page, "room-renew");
  let seen = ben.all.length;
  await renew(page, authenticator);
  // The new statement stands in her leaf, and the others follow.
  await ben.next((l) => l.event === "code" && l.code.why === "renewed", { from: seen });
  assert.equal(await attribute(page, "screen-room", "state"), "in");
  assert.equal(await attribute(page, "screen-room", "media"), "true");
  // It is she, beside David, who puts out his leaf; nobody refuses what she commits.
  const { legs } = (await house.admin("GET", `/meetings/${meeting}`)).room;
  const anna = legs.find((l) => l.person === people.anna.id).leg;
  const newest = async () => {
    for (let all = [], from = 1; ; from = all.at(-1).index + 1) {
      const { records } = await house.admin("GET", `/records?from=${from}`);
      all = records.length ? records : all;
      if (records.length < 1000) return all;
    }
  };
  const from = (await newest()).at(-1).index;
  seen = ben.all.length;
  await david.end();
  await ben.next((l) => l.event === "code" && l.code.why === "went", { from: seen });
  const commits = (await newest()).filter((r) => r.index > from && r.record.meeting === meeting && r.record.kind.startsWith("commit"));
  assert.deepEqual(commits.map((r) => [r.record.kind, r.record.leg]), [["commit", anna]]);
  assert.ok(!ben.all.some((l) => l.event === "alarm"), "nobody was alarmed");
  assert.equal(await attribute(page, "screen-room", "state"), "in");
  await close();
  await ben.end();
});

test("a statement that has run out, on the line check and in the room, is renewed with one touch, and the person is in", { timeout: 120_000 }, async () => {
  const meeting = await house.meeting({ chair: "david", invited: ["anna", "david"], level: "INTERNAL" });
  const david = await house.headlessRoom("david", meeting);
  await david.state("in");
  const { page, close } = await fresh();
  const authenticator = await enrol(page, "anna", {}, meeting);
  const touch = async () => {
    const before = await authenticator.touches();
    await page.click("renew");
    await page.until(() => document.querySelector('[data-testid="renew"]')?.disabled !== true, undefined, { what: "renewed" });
    assert.equal((await authenticator.touches()) - before, 1, "touches");
  };

  // By a clock that is slow it still holds; the server's counts.
  await page.page.addInitScript(() => {
    const now = Date.now.bind(Date);
    Date.now = () => now() - 3 * 86_400_000;
  });
  await lapse(house, page, -3600);
  await page.page.reload();
  await page.shown("screen-check");
  await page.shown("renew-card");
  assert.equal(await page.evaluate(() => document.querySelector('[data-testid="join"]').disabled), true, "nobody joins with it");
  await accessible(page, "check-expired");
  await touch();
  await press(page);
  await inRoom(page);

  await lapse(house, page, 12);
  await page.page.reload();
  await press(page);
  await inRoom(page);
  await page.shown("screen-quarantined");
  assert.equal(await attribute(page, "reason", "code"), "statement_expired");
  assert.equal(await attribute(page, "reason", "fix"), "renew_enrolment");
  await page.shown("renew-card");
  await accessible(page, "room-expired");
  const began = Date.now();
  await touch();
  await inRoom(page);
  console.log(`# back by itself ${Date.now() - began} ms after the touch`);
  await close();
  await david.end();
});

test("a copy that leaves the question out is refused by the server", { timeout: 120_000 }, async () => {
  const meeting = await house.meeting({ chair: "anna", invited: ["anna"] });
  const { page, close } = await fresh();
  await enrol(page, "anna", {}, meeting);
  await page.shown("join-touch");
  // What an evil page would do: it tells its core that no touch is asked for.
  await page.page.addInitScript(() => {
    const Native = window.Worker;
    window.Worker = class extends Native {
      postMessage(message, ...rest) {
        if (message?.do === "join") delete message.fingerprint;
        super.postMessage(message, ...rest);
      }
    };
  });
  await page.page.reload();
  await page.shown("screen-check");
  await press(page);
  await page.until(() => document.querySelector('[data-testid="reason"]')?.dataset.code === "assertion_missing", undefined, { what: "refused" });
  assert.equal(await attribute(page, "reason", "fix"), "confirm_with_passkey");
  await close();
});

test("an enrolled person hears the room within 10 s of opening the link, with one press and one touch", { timeout: 120_000 }, async () => {
  const meeting = await house.meeting({ chair: "david", invited: ["anna", "david"], level: "INTERNAL" });
  const david = await house.headlessRoom("david", meeting);
  await david.state("in");
  const page = await browser.page();
  await forget(page);
  await enrol(page, "anna", {}, meeting);
  await page.goto("about:blank");
  const began = Date.now();
  await page.goto(`http://localhost:${port}/m/${meeting}`);
  await press(page);
  await hears(page, ["david"], { looks: 1 });
  const took = Date.now() - began;
  console.log(`# link to sound: ${took} ms, 1 press`);
  assert.ok(took <= 10_000, `it took ${took} ms`);
  await page.page.close();
  await david.end();
});

test("a guest comes by an invitation to one meeting, is named by it, and is seen by the chair first", { timeout: 120_000 }, async () => {
  const meeting = await house.meeting({ chair: "anna", invited: ["anna"], level: "INTERNAL" });
  const other = await house.meeting({ chair: "anna", invited: ["anna"], level: "INTERNAL" });
  const { token, root_hash: hash } = await house.admin("POST", `/meetings/${meeting}/invitations`, { name: "Lena Berg", unit: "Ally", by: people.anna.id });
  const link = (to) => `http://localhost:${port}/g/${to}#i=${token}&r=${hash}`;
  const chair = await fresh(), guest = await fresh();
  await enrol(chair.page, "anna", {}, meeting);
  await press(chair.page);
  await inRoom(chair.page);

  // For another meeting the invitation is none.
  await guest.page.goto(link(other));
  await guest.page.click("enrol");
  await guest.page.until(() => document.querySelector('[data-testid="enrol-problem"]')?.dataset.code === "invitation_unknown", undefined, { what: "refused elsewhere" });
  assert.equal(await attribute(guest.page, "enrol-problem", "fix"), "ask_invitation");
  await guest.page.goto(link(meeting));
  await guest.page.page.reload(); // only the fragment had changed
  await guest.page.goto("about:blank");
  await guest.page.goto(link(meeting));
  await guest.page.click("enrol");
  await guest.page.shown("screen-check");
  await press(guest.page);
  await guest.page.shown("waiting");
  await chair.page.shown("guest");
  assert.match(await chair.page.text("guest"), /Lena Berg[^]*Invited by: the chair/);
  await chair.page.click("admit");
  await inRoom(guest.page);
  await chair.page.until(() => /Lena Berg/.test(document.querySelector('[data-testid="roster"]')?.innerText ?? ""), undefined, { what: "the guest is in the list" });

  // Used up, and good for no other meeting.
  const thief = await fresh();
  await thief.page.goto(link(meeting));
  await thief.page.click("enrol");
  await thief.page.until(() => document.querySelector('[data-testid="enrol-problem"]')?.dataset.code === "invitation_used", undefined, { what: "a second guest" });
  const elsewhere = await guest.another();
  await elsewhere.goto(`http://localhost:${port}/g/${other}`);
  await elsewhere.shown("screen-stranger");
  for (const c of [chair, guest, thief]) await c.close();
});
