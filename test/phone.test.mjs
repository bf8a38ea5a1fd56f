// A telephone in a meeting of browsers: conclave-phone as a process of its own, baresip as the telephones. Who calls is known
// by a code, is let in by the chair, is seen and heard as what it is, and is a press away from being paused or dropped; whose
// line a level forbids is refused with a way in, and is rung from the roster on a better one. And how long sound is under way.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { Page } from "./lib/browser.mjs";
import { rtp, startCapture } from "./lib/capture.mjs";
import { comeIn, House, people, results, toCheck } from "./lib/house.mjs";
import { alaw, startGateway, Telephone } from "./lib/phone.mjs";
import { onsets, share, tones, writeBursts } from "./lib/sound.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const conclave = fileURLToPath(new URL("../bin/conclave", import.meta.url));
const number = "+4930111222";
const sound = { anna: tones.anna, ben: tones.ben, prompt: tones.carla, name: tones.eva };

let house, pointer, browser, anna, ben, gateway, phone, secure;

/** Runs in every page: keeps what its graphs send to the loudspeaker, and what its microphone gives. */
function tap() {
  window.ear = { outputs: new Set(), microphones: [] };
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to === this.context.destination && this.context instanceof AudioContext) window.ear.outputs.add(this); // and none that only tries the mark
    return connect.call(this, to, ...rest);
  };
  const get = MediaDevices.prototype.getUserMedia;
  MediaDevices.prototype.getUserMedia = async function (wanted) {
    const stream = await get.call(this, wanted);
    if (stream.getAudioTracks().length > 0) window.ear.microphones.push(stream);
    return stream;
  };
}

/**
 * Runs in a page: records for ms, or until window.ear.enough, what it plays and what its microphone gives. Returns samples in base64 (16 bits), and the wall
 * time, in ms, at which the graph made the first of each for the loudspeaker, and had it from the microphone; and what the
 * loudspeaker's own buffers add to that, which is another thing on each machine.
 */
async function record(ms) {
  const output = [...window.ear.outputs].find((node) => node instanceof AudioWorkletNode);
  if (!output) throw new Error("the page plays nothing through a graph");
  const { context } = output;
  const rate = context.sampleRate;
  const merger = new ChannelMergerNode(context, { numberOfInputs: 3 });
  const one = (node, input) => {
    const mono = new GainNode(context, { channelCount: 1, channelCountMode: "explicit" });
    node.connect(mono).connect(merger, 0, input);
    return () => (node.disconnect(mono), mono.disconnect());
  };
  const ends = [one(output, 0), one(context.createMediaStreamSource(window.ear.microphones.at(-1)), 1)];
  // The third channel numbers the frames, so that none is taken for another however late this page is.
  const frames = Math.ceil((ms / 1000 + 1) * rate);
  const numbers = new AudioBuffer({ length: frames, sampleRate: rate });
  numbers.getChannelData(0).forEach((_, i, all) => (all[i] = i + 1));
  const counter = new AudioBufferSourceNode(context, { buffer: numbers });
  ends.push(one(counter, 2));
  const keep = context.createScriptProcessor(8192, 3, 1);
  const samples = [new Int16Array(frames), new Int16Array(frames)];
  let length = 0;
  keep.onaudioprocess = ({ inputBuffer }) => {
    const at = inputBuffer.getChannelData(2);
    length = Math.max(length, Math.round(at.at(-1)));
    for (const input of [0, 1]) {
      const data = inputBuffer.getChannelData(input);
      for (let i = 0; i < data.length; i++) if (at[i] >= 1) samples[input][Math.round(at[i]) - 1] = Math.max(-1, Math.min(1, data[i])) * 32767;
    }
  };
  merger.connect(keep).connect(context.destination);
  const start = Math.ceil((context.currentTime + 0.2) * rate) / rate;
  counter.start(start);
  // What the graph makes at a context's time leaves the loudspeaker at this wall time.
  const looks = [];
  window.ear.enough = false;
  for (const end = performance.now() + ms + 500; performance.now() < end && !window.ear.enough; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const { contextTime, performanceTime } = context.getOutputTimestamp();
    looks.push(performanceTime - contextTime * 1000 + (Date.now() - performance.now()));
  }
  keep.onaudioprocess = null;
  keep.disconnect();
  for (const end of ends) end();
  looks.sort((a, b) => a - b);
  const [played, spoken] = samples.map((list) => {
    const bytes = new Uint8Array(list.buffer, 0, Math.min(length, Math.floor((ms / 1000) * rate)) * 2);
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return btoa(text);
  });
  // How long frames waited in the browser's own jitter buffer, by its statistics.
  let [waited, emitted] = [0, 0];
  for (const connection of window.probe.connections) {
    for (const s of connection.connectionState === "closed" ? [] : (await connection.getStats()).values()) {
      if (s.type === "inbound-rtp" && s.kind === "audio") [waited, emitted] = [waited + s.jitterBufferDelay, emitted + s.jitterBufferEmittedCount];
    }
  }
  const before = window.ear.before ?? [0, 0];
  window.ear.before = [waited, emitted];
  const buffer = ((waited - before[0]) / (emitted - before[1])) * 1000;
  const latency = context.outputLatency * 1000;
  return { rate, played, spoken, began: looks[looks.length >> 1] + start * 1000 - latency, latency, buffer };
}

const decode = (text) => Float32Array.from(new Int16Array(Uint8Array.from(Buffer.from(text, "base64")).buffer), (v) => v / 32768);
/** In how many twentieths of a second of samples a tone stands out. */
function looks(samples, hz, rate) {
  const step = rate / 20;
  let n = 0;
  for (let i = 0; i + step <= samples.length; i += step) if (share(samples.slice(i, i + step), hz, rate) > 0.5) n++;
  return n;
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

/** When each burst of hz began in a recording, in ms of wall time. */
const began = (samples, hz, rate, first) => onsets(samples, hz, rate).map((at) => first + (at / rate) * 1000);

/** When each burst of hz was in a telephone's packets (G.711 A-law), by the time of the packet; lead is added to that. */
function beganOnWire(stream, hz, lead) {
  const samples = new Float32Array(stream.length * 160);
  stream.forEach((p, i) => samples.set(alaw(p.data.subarray(12, 172)), i * 160));
  return onsets(samples, hz, 8000).map((at) => stream[Math.floor(at / 160)].time * 1000 + lead + (at % 160) / 8);
}

/** From each mouth to the ear that follows it; bursts are further apart than sound is ever under way. */
function delays(mouth, ear) {
  return ear.flatMap((heard) => {
    const said = mouth.findLast((m) => m < heard);
    return said !== undefined && heard - said < 550 ? [heard - said] : [];
  });
}

const say = (what, list) => list.length > 0 && console.log(`delay, ${what}: median ${median(list).toFixed(0)} ms, ${Math.min(...list).toFixed(0)} to ${Math.max(...list).toFixed(0)} ms in ${list.length} bursts`);

/** No screen breaks the accessibility rules that axe knows; and a picture of each. */
async function check(page, name) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
    return violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 4).join(", ")}`);
  });
  await page.screenshot(join(results, `phone-${name}.png`));
  assert.deepEqual(found, [], `${name}: accessibility`);
}

const attribute = (page, testid, name) => page.evaluate(([id, n]) => document.querySelector(`[data-testid="${id}"]`)?.dataset[n], [testid, name]);
/** What stands in the roster of a person; undefined where they are not in it. */
const row = (page, name) => page.evaluate((n) => {
  const e = [...document.querySelectorAll('[data-testid="roster"] [data-leaf]')].find((e) => e.dataset.name === n);
  return e && { ...e.dataset, text: e.innerText };
}, people[name].name);
const inRoster = (page, name, there = true) => page.until(([n, t]) => [...document.querySelectorAll('[data-testid="roster"] [data-leaf]')].some((e) => e.dataset.name === n) === t, [people[name].name, there], { what: `${name} is ${there ? "in" : "not in"} the roster` });

/** Ben calls and enters his code. */
async function call() {
  const from = gateway.all.length;
  const { code } = await house.admin("POST", "/phone/codes", { person: people.ben.id, meeting: pointer, minutes: 0 });
  phone.dial(gateway);
  await gateway.call(["code"], { from });
  await phone.press(code);
  return from;
}

before(async () => {
  house = await House.open();
  await house.kill();
  // With an investigation key, as an organisation has one: what a page plays is marked, and goes through one graph.
  execFileSync(conclave, ["keys", "investigation", "--holders", "2", "--threshold", "2", "--data", house.data, "--out", join(house.data, "holders")]);
  await house.start();
  await house.admin("POST", "/people", { ...people.ben, phone: number });
  pointer = await house.meeting({ level: "OPEN", invited: ["anna", "ben", "david"] });
  const host = await house.host("phone");
  const microphone = writeBursts(join(house.network.folder, "anna-bursts.wav"), sound.anna, { seconds: 12 });
  const opened = house.chromium("anna", { microphone });
  gateway = await startGateway(house, host, { hz: sound.prompt, names: { [people.ben.id]: sound.name }, number });
  phone = await Telephone.start(host, { hz: sound.ben });
  secure = await Telephone.start(host, { hz: sound.ben, secure: gateway.certificate, user: number });
  browser = await opened;
  await browser.context.addInitScript(tap);
  anna = await browser.page();
  await comeIn(anna, await house.link(pointer, "anna"));
}, { timeout: 120_000 });
after(async () => {
  await browser?.close();
  await house?.close();
});

test("who calls is known by a code, consents, and is let in by the chair; the room sees and hears what line it is", { timeout: 120_000 }, async () => {
  const from = await call();
  await gateway.call(["consent"], { from });
  assert.equal(await row(anna, "ben"), undefined, "who has not consented is nowhere");
  await phone.pressUntil("1", gateway.call(["door"], { from }));
  await anna.shown("guest");
  assert.equal(await attribute(anna, "guest", "kind"), "phone");
  assert.match(await anna.text("guest"), /On the phone[^]*travels open/);
  await check(anna, "door");
  await anna.click("admit");
  const hearing = anna.evaluate(record, 40_000);
  await inRoster(anna, "ben");
  const seen = await row(anna, "ben");
  assert.deepEqual([seen.grade, seen.line], ["open", "phone"], "as what it is");
  assert.equal(await attribute(anna, "truth", "truth"), "gateway");
  assert.match(await anna.text("truth"), /open at the phone gateway/i);
  assert.ok(await anna.evaluate(() => document.querySelector('[data-testid="roster"] .line.phone svg.drawn.phone') !== null), "the line is drawn with the gateway, a diamond, in it");
  await new Promise((resolve) => setTimeout(resolve, 4500));
  await anna.evaluate(() => (window.ear.enough = true));
  const { played, rate } = await hearing;
  const name = looks(decode(played), sound.name, rate);
  const line = looks(decode(played), sound.prompt, rate);
  assert.ok(name >= 25 && line >= 4, `the room hears who it is, and on what line: ${name}, ${line} twentieths of a second`);
  await check(anna, "in");
});

test("sound is under way for at most 180 ms from the telephone to the ear, and goes both ways", { timeout: 120_000 }, async () => {
  // Other programs share the two cores: the best of three rounds counts.
  for (let round = 1; ; round++) {
    const capture = await startCapture(phone.host);
    const page = await anna.evaluate(record, 13_500);
    const all = rtp(await capture.stop());
    const stream = (to) => {
      const of = all.filter((p) => p.type === 8 && p.data.length === 172 && (p.to === phone.host.address) === to);
      return of.sort((a, b) => ((a.sequence - b.sequence + 32_768) & 65_535) - 32_768);
    };
    // A packet leaves when the last of its 20 ms was spoken, and is heard from when it has come.
    const inwards = delays(beganOnWire(stream(false), sound.ben, -20), began(decode(page.played), sound.ben, page.rate, page.began));
    const outwards = delays(began(decode(page.spoken), sound.anna, page.rate, page.began), beganOnWire(stream(true), sound.anna, 0));
    console.log(`of what follows, ${page.buffer.toFixed(0)} ms are the browser's jitter buffer; its loudspeaker adds ${page.latency.toFixed(0)} ms`);
    say("telephone to what the page plays", inwards);
    say("the page's microphone to the telephone's line", outwards);
    if (inwards.length >= 20 && outwards.length >= 20 && median(inwards) <= 180) break;
    assert.ok(round < 3, `at least 20 bursts each way, in at most 180 ms: ${inwards.length} and ${outwards.length}, ${median(inwards).toFixed(0)} ms`);
  }
});

test("the room is paused with one press, and a phone is dropped with one", { timeout: 90_000 }, async () => {
  const capture = await startCapture(phone.host);
  await anna.click("pause");
  await anna.shown("paused");
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const paused = Date.now() / 1000;
  await check(anna, "paused");
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const until = Date.now() / 1000;
  await anna.click("go-on");
  await anna.gone("paused");
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const from = gateway.all.length;
  await anna.click("drop");
  const { outcome } = await gateway.over(from);
  assert.equal(outcome, "removed");
  await inRoster(anna, "ben", false);
  await anna.until(() => document.querySelector('[data-testid="truth"]').dataset.truth === "sealed", undefined, { what: "the room is sealed again" });
  const heard = rtp(await capture.stop()).filter((p) => p.type === 8 && p.data.length === 172 && p.to === phone.host.address);
  const meanwhile = heard.filter((p) => p.time > paused && p.time < until);
  assert.ok(meanwhile.length > 50, "the call goes on");
  const pcm = (packets) => packets.flatMap((p) => alaw(p.data.subarray(12, 172)));
  assert.equal(looks(pcm(meanwhile), sound.anna, 8000), 0, "nothing of the room is heard while it is paused");
  assert.ok(looks(pcm(heard.filter((p) => p.time > until)), sound.anna, 8000) >= 4, "and it is heard when it goes on");
});

const notice = (page, code) => page.until((c) => [...document.querySelectorAll('[data-testid="notice"]')].find((e) => e.dataset.code === c)?.innerText, code, { what: `the notice ${code}` });

test("a call that the level forbids is refused: its person finds the way in on their device, and the chair sees that they called", { timeout: 90_000 }, async () => {
  const context = await browser.context.browser().newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB" });
  ben = new Page(await context.newPage(), "Ben's device", "chromium");
  await toCheck(ben, await house.link(pointer, "ben"));
  await anna.click("raise");
  await anna.click("raise-to-1");
  await anna.click("raise-now");
  await anna.until(() => document.querySelector('[data-testid="level-top"]')?.innerText.includes("INTERNAL"), undefined, { what: "the level is raised" });
  const from = await call();
  await gateway.call(["refused"], { from });
  assert.match(await notice(anna, "call_refused_room"), /Ben Okafor called by phone and was refused/);
  assert.equal(await row(anna, "ben"), undefined, "the refused call has no leaf");
  await check(anna, "refused-call");
  await gateway.over(from);
  await ben.page.reload({ waitUntil: "domcontentloaded" });
  assert.match(await notice(ben, "call_refused"), /not good enough for this meeting/);
  await check(ben, "refused-notice");
  await ben.click("notice-link");
  await ben.shown("screen-check");
  assert.equal(new URL(ben.page.url()).pathname, `/m/${pointer}`, "the link leads to the meeting");
});

test("the chair has an invited person rung from the roster, at the directory's number, over TLS with SRTP", { timeout: 90_000 }, async () => {
  await anna.click("notice-read");
  const absent = (person) => anna.evaluate((p) => document.querySelector(`[data-testid="absent-person"][data-person="${p}"]`)?.dataset, people[person].id);
  assert.deepEqual([(await absent("ben")).against, (await absent("david")).against], ["", "phone_no_number"]);
  assert.ok(!(await anna.evaluate(() => document.body.innerText)).includes(number), "nobody is shown the number");
  await check(anna, "absent");
  await anna.page.setViewportSize({ width: 360, height: 740 });
  await anna.shown("people");
  if ((await anna.text("people-list")) === "") await anna.click("people");
  await anna.shown("ring-absent");
  await anna.page.locator('[data-testid="absent"]').scrollIntoViewIfNeeded();
  assert.ok((await anna.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, "it fits a small screen");
  await check(anna, "absent-small");
  await anna.page.setViewportSize({ width: 1280, height: 800 });
  const from = gateway.all.length;
  await anna.page.locator(`[data-person="${people.ben.id}"] [data-testid="ring-absent"]`).focus();
  await anna.page.keyboard.press("Enter");
  await anna.until((p) => document.querySelector(`[data-testid="absent-person"][data-person="${p}"]`)?.dataset.ringing === "true", people.ben.id, { what: "it rings" });
  await gateway.call(["identify"], { from }); // a key before that is no key of this call
  await secure.pressUntil("1", gateway.call(["door"], { from }));
  assert.equal(gateway.all.slice(from).find((l) => l.msg === "call").line, "hop", "over TLS, with SRTP");
  await anna.click("admit");
  await inRoster(anna, "ben");
  const seen = await row(anna, "ben");
  assert.deepEqual([seen.grade, seen.line, await absent("ben")], ["hop", "phone", undefined]);
  assert.equal(await attribute(anna, "truth", "truth"), "gateway");
  await check(anna, "rung");
  await anna.click("drop");
  await inRoster(anna, "ben", false);
  await anna.until((p) => document.querySelector(`[data-testid="absent-person"][data-person="${p}"]`) !== null, people.ben.id, { what: "he is not there again" });
  await anna.page.click(`[data-person="${people.ben.id}"] [data-testid="ring-absent"]`);
  await anna.shown("note-failed");
  assert.match(await anna.text("note-failed"), /rung a moment ago[^]*Wait a minute/);
});
