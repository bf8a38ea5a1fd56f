// The moments of a room, as people see them in two browsers: a line that turns bad and is good again, a pause, all muted, a door
// that is closed, a chair that is handed over, a group at the door, a stranger at the door, an exception by two, a level that is
// raised, a meeting that waits for its chair, and a line tested before a journey. What policy keeps somebody out for,
// refusals.test.mjs shows.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { tones } from "./lib/sound.mjs";
import { comeIn, hears, House, inRoom, people, port, results, toCheck } from "./lib/house.mjs";
import { words } from "./lib/words.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const program = fileURLToPath(new URL("../bin/conclave", import.meta.url));

let house, browsers, anna, ben, shipped;
const policyFile = () => join(house.data, "policy.cedar");

/** The policy that Conclave comes with, but that it asks at RESTRICTED for what it asks at CONFIDENTIAL of who is near. */
function write(more = "") {
  const stricter = ["not_alone", "headset_radio"].reduce(
    (text, reason) => text.replace(new RegExp(`(@reason\\("${reason}"\\)\\n@fix\\("\\w+"\\)\\n)(forbid \\([^)]*)Level::"CONFIDENTIAL"`), '$1@exception("two")\n$2Level::"RESTRICTED"'),
    shipped,
  );
  assert.equal(stricter.split("@exception").length, shipped.split("@exception").length + 2, "both rules were found");
  writeFileSync(policyFile(), stricter + more);
}

before(async () => {
  shipped = execFileSync(program, ["policy", "default"], { encoding: "utf8" });
  house = await House.open();
  // What the server starts with is changed as an administrator would: file, then reload.
  write();
  await house.kill();
  writeFileSync(join(house.data, "conclaved.toml"), `policy = "${policyFile()}"\n`);
  await house.start();
  browsers = { anna: await house.chromium("anna"), ben: await house.chromium("ben") };
  anna = await browsers.anna.page();
  ben = await browsers.ben.page();
}, { timeout: 120_000 });
after(async () => {
  for (const browser of Object.values(browsers ?? {})) await browser.close();
  await house?.close();
});

async function reload(more) {
  write(more);
  await house.admin("POST", "/policy/reload", {});
}

const attribute = (page, testid, name) => page.evaluate(([id, n]) => document.querySelector(`[data-testid="${id}"]`)?.dataset[n], [testid, name]);
const present = (page, testid, options) => page.until((id) => document.querySelector(`[data-testid="${id}"]`) !== null, testid, { what: `${testid} is there`, ...options });
const inRoster = (page, name, there = true) =>
  page.until(([n, t]) => [...document.querySelectorAll('[data-testid="roster"] [data-leaf]')].some((e) => e.dataset.name === n) === t, [people[name].name, there], { what: `${name} is ${there ? "in" : "not in"} the roster` });
const aside = (page, name) => page.until((n) => [...document.querySelectorAll('[data-testid="away-leg"]')].find((e) => e.dataset.name === n)?.innerText, people[name].name, { what: `${name} is out, on the screen` });
/** What a screen reader was told since the page began. */
const listenToLive = (page) =>
  page.evaluate(() => {
    window.told = [];
    new MutationObserver(() => window.told.push(document.querySelector('[data-testid="live"]')?.innerText ?? "")).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
const told = async (page, pattern) => (await page.evaluate(() => window.told)).filter((t, i, all) => t !== all[i - 1] && new RegExp(pattern).test(t)).length;

const say = (leg, command) => leg.child.stdin.write(`${JSON.stringify(command)}\n`);
const claim = (leg, facts) => say(leg, { do: "facts", facts: Object.entries(facts).map(([name, value]) => ({ name, value, proven: false })) });
const headless = (name, pointer, more = []) => house.headless(name, pointer, { args: ["--commands", ...more] });

/** No screen breaks the accessibility rules that axe knows; and a picture of each. */
async function check(page, name) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
    return violations.map((v) => `${v.id} (${v.impact}): ${v.help}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 4).join(", ")}`);
  });
  await page.screenshot(join(results, `moment-${name}.png`));
  assert.deepEqual(found, [], `${name}: accessibility`);
}

async function leave(page) {
  await page.click("leave");
  if (await page.evaluate(() => document.querySelector('[data-testid="leave-now"]')?.getClientRects().length)) await page.click("leave-now");
  await page.shown("screen-ended");
}

/** Says in the room whether others can hear. */
async function alone(page, value) {
  await page.page.click('[data-testid="member-self"] [data-testid="options"]');
  await page.click(`self-alone-${value}`);
}

/** Puts the line right, and measures in the page from the press to the first sound of the others that plays. */
function heal(page) {
  return page.evaluate(async (hz) => {
    const share = (samples, hz) => {
      let re = 0, im = 0, all = 0;
      for (let i = 0; i < samples.length; i++) {
        const w = (2 * Math.PI * hz * i) / 48000;
        re += samples[i] * Math.cos(w), im += samples[i] * Math.sin(w), all += samples[i] ** 2;
      }
      return all > 0 ? (2 * (re * re + im * im)) / samples.length / all : 0;
    };
    const context = new AudioContext({ sampleRate: 48000 });
    await context.resume();
    const taps = new Map();
    const samples = new Float32Array(4096);
    const start = performance.now();
    document.querySelector('[data-testid="alone-again"]').click();
    let room = 0, entering = 0, keys = 0;
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      const now = performance.now() - start;
      if (!entering && document.querySelector('[data-testid="screen-quarantined"]')?.dataset.state !== "quarantined") entering = now;
      if (!keys && document.querySelector('[data-testid="screen-room"]')?.dataset.state === "in") keys = now;
      if (!room && document.querySelector('[data-testid="screen-room"]')?.dataset.media === "true") room = now;
      for (const element of window.probe.elements) {
        const stream = element.srcObject;
        if (!element.isConnected || !stream || stream.getAudioTracks().length === 0) continue;
        if (!taps.has(stream)) {
          const analyser = context.createAnalyser();
          analyser.fftSize = 4096;
          context.createMediaStreamSource(stream).connect(analyser);
          taps.set(stream, analyser);
        }
        taps.get(stream).getFloatTimeDomainData(samples);
        if (share(samples, hz) > 0.5) return { entering, keys, room, sound: now };
      }
      if (now > 15_000) return { entering, keys, room, sound: now };
    }
  }, tones.anna);
}

test("a line that turns bad is out at once, with reason and fix; put right, its person is back with sound within 2 s", { timeout: 120_000 }, async () => {
  const pointer = await house.meeting();
  await comeIn(anna, await house.link(pointer, "anna"));
  await comeIn(ben, await house.link(pointer, "ben"));
  await hears(ben, ["anna"]);
  await listenToLive(anna);
  await alone(ben, "no");
  await ben.shown("screen-quarantined", { ms: 5000 });
  assert.equal(await attribute(ben, "reason", "code"), "not_alone");
  assert.match(await ben.text("screen-quarantined"), /Go where nobody else can hear[^]*You come back in by yourself[^]*Out for 0:/);
  assert.match(await aside(anna, "ben"), /Others can hear or see there[^]*holds no keys/);
  await inRoster(anna, "ben", false);
  await check(ben, "quarantined");
  await check(anna, "away");
  assert.equal(await told(anna, "Ben Okafor’s line is not good enough"), 1, "it is spoken once");

  // The median of three: other programs share the two cores.
  const rounds = [];
  for (;;) {
    rounds.push(await heal(ben));
    await inRoom(ben);
    if (rounds.length === 3) break;
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await alone(ben, "no");
    await ben.shown("screen-quarantined", { ms: 5000 });
  }
  const ms = (x) => `${x.toFixed(0)} ms`;
  for (const r of rounds) console.log(`healing: let in after ${ms(r.entering)}, keys after ${ms(r.keys)}, media path after ${ms(r.room)}, sound after ${ms(r.sound)}`);
  const [, took] = rounds.map((r) => r.sound).sort((a, b) => a - b);
  assert.ok(took <= 2000, `back with sound after ${ms(took)}`);
  await inRoom(ben);
  await inRoster(anna, "ben");
  await anna.gone("away");
  await hears(anna, ["ben"]);
});

test("anyone pauses the room with one press, unnamed if wished; the chair lets it go on", { timeout: 90_000 }, async () => {
  await listenToLive(anna);
  await ben.click("pause-nameless");
  for (const page of [anna, ben]) {
    await page.shown("paused");
    assert.equal(await attribute(page, "paused", "by"), "", "without a name");
    assert.equal(await attribute(page, "truth", "truth"), "paused");
  }
  assert.equal(await ben.evaluate(() => document.querySelector('[data-testid="go-on"]')), null, "only the chair can let it go on");
  const sent = async (page) => (await page.statistics()).filter((s) => s.type === "outbound-rtp").reduce((n, s) => n + s.packetsSent, 0);
  await new Promise((resolve) => setTimeout(resolve, 500));
  const first = await Promise.all([sent(anna), sent(ben)]);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.deepEqual(await Promise.all([sent(anna), sent(ben)]), first, "nothing is sent");
  assert.equal(await told(anna, "The room was paused"), 1, "it is spoken once");
  await check(anna, "paused");
  await anna.click("go-on");
  for (const page of [anna, ben]) await page.gone("paused");
  await hears(ben, ["anna"]);
  await hears(anna, ["ben"]);
  await ben.click("pause");
  await anna.shown("paused");
  assert.equal(await attribute(anna, "paused", "by"), people.ben.name, "with a name");
  await ben.click("go-on");
  await anna.gone("paused");
  await hears(anna, ["ben"]);
});

test("an exception needs two, a reason and an end, and stands on every screen", { timeout: 90_000 }, async () => {
  const pointer = (await anna.evaluate(() => location.pathname)).slice(3);
  const david = await headless("david", pointer);
  await david.state("in");
  await inRoster(anna, "david");
  claim(david, { alone: "no" });
  await david.state("quarantined");
  await aside(anna, "david");
  await anna.click("except-away");
  await anna.page.fill('[data-testid="except-reason"]', "The guard stands behind him.");
  await anna.click("except-5");
  await check(anna, "except-dialog");
  await anna.click("except-ask");
  await present(anna, "exception-waits");
  await ben.shown("exception-asked");
  assert.match(await ben.text("exception-asked"), /Anna Weber asks for an exception for David Novák[^]*Others can hear[^]*The guard stands behind him/);
  await check(ben, "exception-asked");
  const seen = david.all.length;
  await ben.click("exception-confirm");
  await david.state("in", { from: seen });
  for (const page of [anna, ben]) {
    await page.shown("exception");
    assert.match(await page.text("exception"), /Exception for David Novák until \d\d:\d\d[^]*Anna Weber and Ben Okafor: “The guard stands behind him/);
  }
  await anna.until(() => document.querySelector('[data-testid="share"]').ariaDisabled === "true", undefined, { what: "screens are closed meanwhile", ms: 5000 });
  await anna.page.click('[data-testid="share"]', { force: true }); // it says why, and is pressed all the same
  const { problems, fixes } = words();
  await anna.until(([p, f]) => document.body.innerText.includes(p) && document.body.innerText.includes(f), [problems.screen_closed, fixes.wait_for_better_line], { what: "why no screen is shown, and what to do" });
  await check(anna, "exception");
  await david.end();
  await inRoster(anna, "david", false);
});

test("whom policy keeps out may ask from the line check, and is let in by two", { timeout: 90_000 }, async () => {
  const pointer = (await anna.evaluate(() => location.pathname)).slice(3);
  await reload(`@reason("risk_raised")\n@fix("ask_for_exception")\n@exception("two")\nforbid (principal, action == Action::"join", resource in Level::"RESTRICTED") when { principal.unit == "${people.david.unit}" };\n`);
  const browser = await house.chromium("david");
  const david = await browser.page();
  await toCheck(david, await house.link(pointer, "david"));
  await david.shown("join-exceptable", { ms: 60_000 });
  assert.equal(await david.evaluate(() => document.querySelector('[data-testid="join"]').disabled), true, "the way in itself is shut");
  await check(david, "join-exceptable");
  await david.click("join-exception");
  await david.shown("screen-quarantined");
  assert.match(await david.text("screen-quarantined"), /not good enough to come in[^]*Two persons can let you in/);
  await check(david, "asks-for-exception");
  await anna.click("except");
  await anna.page.fill('[data-testid="except-reason"]', "He is on the ship.");
  await anna.click("except-5");
  await anna.click("except-ask");
  await ben.click("exception-confirm");
  await inRoom(david);
  await hears(david, ["anna", "ben"]);
  await leave(david);
  await browser.close();
  await reload();
});

test("a level is raised: who does not pass is out first, then all screens show it", { timeout: 90_000 }, async () => {
  for (const page of [ben, anna]) await leave(page);
  const pointer = await house.meeting({ level: "INTERNAL" });
  await comeIn(anna, await house.link(pointer, "anna"));
  await comeIn(ben, await house.link(pointer, "ben"));
  const david = await headless("david", pointer);
  await david.state("in");
  claim(david, { radio: "yes" });
  await inRoster(anna, "david");
  assert.equal(await anna.text("level-top"), "INTERNAL");
  await listenToLive(ben);
  await anna.click("raise");
  await anna.click("raise-to-2");
  assert.match(await anna.text("raise-dialog"), /checked for the new level first[^]*cannot be lowered/);
  await check(anna, "raise-dialog");
  await anna.click("raise-now");
  const out = await david.state("quarantined");
  assert.equal(out.state.reasons[0].code, "headset_radio");
  for (const page of [anna, ben]) {
    await page.shown("raised");
    assert.equal(await page.text("level-top"), "RESTRICTED");
    assert.match(await page.text("raised"), /now RESTRICTED[^]*Anna Weber raised the level/);
  }
  await aside(ben, "david");
  assert.equal(await told(ben, "This meeting is now RESTRICTED"), 1, "it is spoken once");
  await check(ben, "raised");
  await hears(ben, ["anna"]);
  const seen = david.all.length;
  claim(david, { radio: "no" });
  await david.state("in", { from: seen });
  await inRoster(anna, "david");
  await david.end();
});

test("the chair mutes all, closes the door, and hands the chair over", { timeout: 180_000 }, async () => {
  for (const page of [ben, anna]) if (await page.evaluate(() => document.querySelector('[data-testid="screen-room"]') !== null)) await leave(page);
  const pointer = await house.meeting();
  await comeIn(anna, await house.link(pointer, "anna"));
  await comeIn(ben, await house.link(pointer, "ben"));
  const { Page } = await import("./lib/browser.mjs");
  const phone = await (await browsers.ben.context.browser().newContext({ locale: "fr-FR", viewport: { width: 390, height: 844 }, permissions: ["microphone"] })).newPage();
  const carla = new Page(phone, "Carla (Chromium, small)", "chromium");
  const narrow = async (page) => assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, "nothing runs over the edge of a small screen");
  await hears(ben, ["anna"]);
  for (const page of [anna, ben]) await listenToLive(page);

  // The door is closed: whoever is new is turned away, and it stands on every screen.
  assert.equal(await ben.evaluate(() => document.querySelector('[data-testid="close-door"], [data-testid="mute-all"]')), null, "the chair alone can");
  await toCheck(carla, await house.link(pointer, "carla"));
  await anna.click("close-door");
  for (const page of [anna, ben]) {
    await page.shown("door-closed");
    assert.match(await page.text("door-closed"), /The door is closed[^]*Nobody new comes in[^]*Closed by Anna Weber at \d\d:\d\d/);
  }
  assert.equal(await told(ben, "The door is closed"), 1, "it is spoken once");
  await check(anna, "door-closed");
  await carla.click("join");
  await carla.shown("screen-refused");
  assert.equal(await attribute(carla, "reason", "code"), "door_closed");
  await check(carla, "turned-away-small-french");
  await narrow(carla);
  assert.equal(await ben.evaluate(() => document.querySelector('[data-testid="open-door"]')), null, "the chair alone opens it");
  await anna.page.focus('[data-testid="open-door"]');
  await anna.page.keyboard.press("Enter");
  for (const page of [anna, ben]) await page.gone("door-closed");
  await carla.click("back-to-check");
  await carla.shown("screen-check");
  await carla.click("join");
  await inRoom(carla);
  await inRoster(anna, "carla");

  // All are muted by their own clients, at the rate at which they spoke; each may speak again.
  const muted = (page, name) => page.evaluate((n) => [...document.querySelectorAll('[data-testid="roster"] [data-leaf]')].find((e) => e.dataset.name === n)?.dataset.muted, people[name].name);
  const becomes = (page, name, value) => page.until(([n, v]) => [...document.querySelectorAll('[data-testid="roster"] [data-leaf]')].find((e) => e.dataset.name === n)?.dataset.muted === v, [people[name].name, value], { what: `${name} is ${value === "true" ? "muted" : "heard"}` });
  const sent = async (page) => (await page.statistics()).filter((s) => s.type === "outbound-rtp" && s.kind === "audio").reduce((n, s) => n + s.packetsSent, 0);
  await anna.click("mute-all");
  await ben.shown("note-hushed");
  assert.match(await ben.text("note-hushed"), /Anna Weber muted everyone[^]*Your microphone is off/);
  await carla.shown("note-hushed");
  for (const name of ["ben", "carla"]) await becomes(anna, name, "true");
  assert.equal(await muted(anna, "anna"), "false", "not who asked for it");
  await anna.shown("note-hushed_own");
  assert.equal(await told(ben, "Anna Weber muted everyone"), 1, "it is spoken once");
  const before = [await sent(ben), Date.now()];
  await check(ben, "hushed");
  await check(carla, "hushed-small-french");
  await narrow(carla);
  const rate = ((await sent(ben)) - before[0]) / ((Date.now() - before[1]) / 1000);
  assert.ok(rate > 40 && rate < 60, `${rate.toFixed(0)} packets of sound a second while muted`);
  await ben.click("note-act");
  await becomes(anna, "ben", "false");
  await ben.gone("note-hushed");
  await hears(anna, ["ben"]);
  assert.equal(await muted(anna, "carla"), "true", "nobody unmutes another");

  // The chair goes to ben, by his word; anna is a member like others then.
  const options = (page, name) => page.page.locator('[data-testid="roster"] li', { hasText: people[name].name }).locator('[data-testid="options"]').click();
  await options(anna, "ben");
  await check(anna, "hand-over");
  await anna.click("give-chair");
  await anna.shown("chair-offered");
  await ben.shown("chair-asked");
  assert.match(await ben.text("chair-asked"), /Anna Weber hands you the chair[^]*The offer lapses at \d\d:\d\d/);
  await check(ben, "chair-asked");
  assert.equal(await carla.evaluate(() => document.querySelector('[data-testid="chair-asked"], [data-testid="chair-offered"]')), null, "it is between the two");
  await ben.click("chair-take");
  await present(ben, "close-door");
  await anna.until(() => document.querySelector('[data-testid="close-door"]') === null, undefined, { what: "anna is no chair any more" });
  assert.equal(await told(anna, "Ben Okafor has the chair now"), 1, "it is spoken once");
  await ben.page.setViewportSize({ width: 390, height: 844 });
  await ben.click("people");
  await ben.click("close-door");
  await anna.shown("door-closed");
  await check(ben, "new-chair-small");
  await narrow(ben);
  await ben.click("people-close");
  await check(ben, "door-closed-small");
  await narrow(ben);
  await ben.page.setViewportSize({ width: 1280, height: 800 });
  await ben.click("open-door-here");
  await anna.gone("door-closed");
  // He goes: it is the meeting's own again.
  await leave(ben);
  await present(anna, "close-door");
  assert.equal(await told(anna, "You have the chair now"), 1, "it is spoken once");
  await phone.context().close();
});

test("several are let in at once; who is in no directory stands in a card over the full width, and comes in alone", { timeout: 120_000 }, async () => {
  await leave(anna);
  const pointer = await house.meeting({ level: "INTERNAL", door: "chair" });
  await comeIn(anna, await house.link(pointer, "anna"));
  const { token, root_hash: hash } = await house.admin("POST", `/meetings/${pointer}/invitations`, { name: "Viktor Hale", unit: "Harbour" });
  const stranger = await (await browsers.ben.context.browser().newContext({ locale: "fr-FR", viewport: { width: 390, height: 844 } })).newPage();
  const { Page } = await import("./lib/browser.mjs");
  const guest = new Page(stranger, "Viktor (Chromium)", "chromium");
  await guest.goto(`http://localhost:${port}/g/${pointer}#i=${token}&r=${hash}`);
  await guest.click("enrol");
  await guest.click("join");
  const legs = await Promise.all(["david", "eva", "carla"].map((name) => headless(name, pointer)));
  await anna.until(() => document.querySelectorAll('[data-testid="guest"]').length === 4, undefined, { what: "four at the door" });
  await anna.shown("unknown-guest");
  assert.match(await anna.text("unknown-guest"), /Not in the directory: Viktor Hale[^]*only who invited them vouches/);
  const [card, stage] = await anna.evaluate(() => ["unknown-guest", "tile-own"].map((id) => document.querySelector(`[data-testid="${id}"]`)?.getBoundingClientRect().width ?? document.querySelector("#main").clientWidth));
  assert.ok(card > 600, `the card is ${card} px wide, beside ${stage}`);
  await check(anna, "door");
  await anna.click("choose-all");
  await anna.click("admit-together");
  await Promise.all(legs.map((leg) => leg.state("in")));
  assert.equal(await guest.evaluate(() => document.querySelector('[data-testid="waiting"]') !== null), true, "the stranger still waits");
  await anna.page.click('[data-testid="unknown-guest"] [data-testid="admit"]');
  await inRoom(guest);
  assert.ok((await guest.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, "nothing runs over the edge of a small screen");
  await check(guest, "guest-small-french");
  for (const leg of legs) await leg.end();
  await stranger.context().close();
});

test("who comes before the chair waits alone, and is let in by itself", { timeout: 60_000 }, async () => {
  await leave(anna);
  const pointer = await house.meeting();
  await toCheck(ben, await house.link(pointer, "ben"));
  await ben.click("join");
  await ben.shown("early");
  assert.match(await ben.text("early"), /starts with its chair[^]*mute and unseen, and you hear and see nobody/);
  await check(ben, "early");
  await comeIn(anna, await house.link(pointer, "anna"));
  await inRoom(ben);
});

test("a device that is set up in somebody's name is told to them at once", { timeout: 60_000 }, async () => {
  const { token, root_hash: hash } = await house.token("ben");
  const other = await (await browsers.anna.context.browser().newContext({ locale: "en-GB" })).newPage();
  await other.goto(`http://localhost:${port}/#e=${token}&r=${hash}`);
  await other.click('[data-testid="enrol"]');
  await ben.shown("notice");
  assert.equal(await attribute(ben, "notice", "code"), "device_enrolled");
  assert.match(await ben.text("notice"), /set up in your name[^]*take the device out of use/);
  assert.equal(await ben.evaluate(() => document.querySelector('[data-testid="notice-link"]').getAttribute("href")), "/devices");
  await check(ben, "notice");
  await ben.click("notice-read");
  await ben.gone("notice");
  await other.context().close();
});

test("a line is tested before a journey, and the signed answer holds", { timeout: 60_000 }, async () => {
  await leave(ben);
  await ben.goto(`http://localhost:${port}/ready`);
  await ben.shown("screen-ready");
  await ben.click("ready-level-2");
  await ben.click("ready-test");
  await ben.shown("ready-answer");
  assert.equal(await attribute(ben, "ready-answer", "ready"), "true");
  assert.match(await ben.text("ready-answer"), /Ready for RESTRICTED/);
  await check(ben, "ready");
  const [file] = await Promise.all([ben.page.waitForEvent("download"), ben.click("ready-save")]);
  const kept = join(house.network.folder, "kept.conclave");
  await file.saveAs(kept);
  const verdict = execFileSync(program, ["mission", "verify", kept, "--data", house.data], { encoding: "utf8" });
  assert.match(verdict, /RESTRICTED/);
  await ben.click("ready-level-3");
  await ben.click("ready-test");
  await ben.until(() => document.querySelector('[data-testid="ready-answer"]')?.dataset.ready === "false", undefined, { what: "not ready for CONFIDENTIAL" });
  assert.match(await ben.text("ready-answer"), /Not ready for CONFIDENTIAL[^]*approved networks[^]*organisation’s tunnel/);
  await check(ben, "not-ready");
});
