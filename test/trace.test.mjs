// Two people in Chromium talk; what one page plays is recorded, made an MP3, and traced: to that page's leg, never the other's. So is
// the sound of a shared tab.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { comeIn, House } from "./lib/house.mjs";
import { sampleRate, share } from "./lib/sound.mjs";

const conclave = fileURLToPath(new URL("../bin/conclave", import.meta.url));
const sounds = "/usr/share/asterisk/sounds";
const seconds = 25;
let house, pointer, browsers, pages;

/** People's recorded speech as a microphone's WAV file. */
function speech(voice, name) {
  const folder = join(sounds, voice);
  const files = readdirSync(folder).filter((f) => f.endsWith(".g722")).map((f) => join(folder, f));
  const raw = Buffer.concat(files.map((f) => readFileSync(f)).filter((b) => b.length > 16_000).slice(0, 60)).subarray(0, 8000 * 60);
  const g722 = join(house.network.folder, `${name}.g722`);
  const wav = join(house.network.folder, `${name}-speech.wav`);
  writeFileSync(g722, raw);
  execFileSync("ffmpeg", ["-loglevel", "error", "-y", "-f", "g722", "-i", g722, "-af", "volume=2", "-ar", "48000", "-c:a", "pcm_s16le", wav]);
  return wav;
}

/** Runs in every page: keeps what its graphs send to the loudspeaker. */
function tapOutputs() {
  window.outputs = new Set();
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to === this.context.destination && this.context instanceof AudioContext) window.outputs.add(this); // and none that only tries the mark
    return connect.call(this, to, ...rest);
  };
}

/** Runs in a page: records what it plays for so many seconds, and returns it in base64. */
async function record(length) {
  const [output] = [...window.outputs].filter((node) => node instanceof AudioWorkletNode);
  if (!output) return undefined;
  const tap = output.context.createMediaStreamDestination();
  output.connect(tap);
  const recorder = new MediaRecorder(tap.stream, { mimeType: "audio/webm;codecs=opus", audioBitsPerSecond: 96_000 });
  const parts = [];
  recorder.ondataavailable = (e) => parts.push(e.data);
  recorder.start();
  await new Promise((resolve) => setTimeout(resolve, length * 1000));
  await new Promise((resolve) => {
    recorder.onstop = resolve;
    recorder.stop();
  });
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}

/** What conclave trace says of a file. */
function trace(file, ...more) {
  const { stdout, stderr, status } = spawnSync(conclave, ["trace", file, "--holder", join(house.data, "holders/holder-1.txt"), "--holder", join(house.data, "holders/holder-2.txt"),
    "--reason", "test", "--data", house.data, "--json", ...more], { encoding: "utf8" });
  return { status, stderr, result: stdout ? JSON.parse(stdout) : undefined };
}

before(async () => {
  house = await House.open();
  await house.kill();
  execFileSync(conclave, ["keys", "investigation", "--holders", "2", "--threshold", "2", "--data", house.data, "--out", join(house.data, "holders")]);
  await house.start();
  pointer = await house.meeting({ level: "INTERNAL" });
  browsers = {
    anna: await house.chromium("anna", { microphone: speech("en_US_f_Allison", "anna"), tab: "Conclave sound" }),
    ben: await house.chromium("ben", { microphone: speech("it_IT_m_Carlo", "ben") }),
  };
  pages = {};
  for (const [name, browser] of Object.entries(browsers)) {
    await browser.context.addInitScript(tapOutputs);
    pages[name] = await browser.page();
  }
}, { timeout: 120_000 });
after(async () => {
  for (const browser of Object.values(browsers ?? {})) await browser.close();
  await house?.close();
});

test("both pages play through the marked graph, and their elements are mute", { timeout: 60_000 }, async () => {
  for (const [name, page] of Object.entries(pages)) await comeIn(page, await house.link(pointer, name));
  for (const page of Object.values(pages)) {
    await page.until(() => document.querySelectorAll("audio[data-marked=true]").length > 0, undefined, { what: "marked sound" });
    assert.ok(await page.evaluate(() => [...document.querySelectorAll("audio[data-leaf]")].every((a) => a.muted)), "an element plays what is not marked");
    assert.equal(await page.evaluate(() => [...window.outputs].filter((n) => n instanceof AudioWorkletNode).length), 1);
  }
  const marks = await house.admin("GET", `/meetings/${pointer}`);
  assert.ok(marks);
});

test("what a page played is traced to it, through an MP3", { timeout: 180_000 }, async () => {
  const recorded = await Promise.all(Object.entries(pages).map(async ([name, page]) => [name, await page.evaluate(record, seconds)]));
  for (const [name, base64] of recorded) {
    assert.ok(base64, `${name}: nothing is played`);
    const webm = join(house.network.folder, `${name}.webm`);
    const mp3 = join(house.network.folder, `${name}.mp3`);
    writeFileSync(webm, Buffer.from(base64, "base64"));
    execFileSync("ffmpeg", ["-loglevel", "error", "-y", "-i", webm, "-ac", "1", "-b:a", "32k", mp3]);
    const { status, result, stderr } = trace(mp3);
    assert.equal(status, 0, `${name}: ${result?.sentence} ${stderr}`);
    assert.equal(result.named.length, 1, result.sentence);
    assert.equal(result.named[0].name, { anna: "Anna Weber", ben: "Ben Okafor" }[name], result.sentence);
    assert.ok(result.named[0].log10_probability < -6);
    console.log(`${name}: ${result.sentence}`);
  }
});

const hz = 1500;

/** Runs in a tab: plays a recording in a loop, and a tone beneath it. */
async function play({ base64, hz }) {
  const context = new AudioContext();
  const source = context.createBufferSource();
  source.buffer = await context.decodeAudioData(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer);
  source.loop = true;
  source.connect(context.destination);
  source.start();
  const tone = context.createOscillator();
  const gain = context.createGain();
  tone.frequency.value = hz;
  gain.gain.value = 0.08;
  tone.connect(gain).connect(context.destination);
  tone.start();
}

/**
 * What a page plays for so many seconds: its file, in which share of tenths of a second the tone fills most of it, and how loud the tone
 * is, in the mean.
 */
async function heard(page, name, length) {
  const webm = join(house.network.folder, `${name}.webm`);
  writeFileSync(webm, Buffer.from(await page.evaluate(record, length), "base64"));
  const pcm = execFileSync("ffmpeg", ["-loglevel", "error", "-i", webm, "-f", "f32le", "-ac", "1", "-ar", String(sampleRate), "-"], { maxBuffer: 1 << 28 });
  const samples = new Float32Array(pcm.buffer, pcm.byteOffset, pcm.length >> 2);
  let tone = 0;
  let level = 0;
  const step = sampleRate / 10;
  const looks = Math.floor(samples.length / step);
  for (let i = 0; i < looks; i++) {
    const part = samples.subarray(i * step, (i + 1) * step);
    const of = share(part, hz);
    if (of > 0.5) tone++;
    level += Math.sqrt((of * part.reduce((sum, x) => sum + x * x, 0)) / step) / looks;
  }
  return { webm, tone: tone / looks, level };
}

test("the sound of a shared tab is heard, muted or not, is marked, and ends with the share", { timeout: 240_000 }, async () => {
  const { anna, ben } = pages;
  const before = await heard(ben, "before-share", 4);
  assert.equal(before.tone, 0);
  const tab = await browsers.anna.context.newPage();
  await tab.goto("data:text/html,<title>Conclave sound</title><h1>Report</h1>");
  const wav = speech("ru_RU_f_IvrvoiceRU", "tab");
  const mp3 = execFileSync("ffmpeg", ["-loglevel", "error", "-i", wav, "-t", "30", "-ac", "1", "-b:a", "64k", "-f", "mp3", "-"], { maxBuffer: 1 << 28 });
  await tab.evaluate(play, { base64: mp3.toString("base64"), hz });
  await anna.page.bringToFront();
  await anna.click("share");
  await anna.until(() => document.querySelector('[data-testid="note-sharing"]')?.innerText.includes("even while your microphone is muted"), undefined, { what: "the word that the computer's sound goes out" });
  const both = await heard(ben, "share", 8);
  assert.ok(both.level > 4 * before.level, `the tone is at ${both.level}, and at ${before.level} before`);
  await anna.click("mute");
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const muted = await heard(ben, "share-muted", seconds);
  assert.ok(muted.tone > 0.03, `while muted the tone stands out in ${muted.tone} of the time`);
  const mp3File = join(house.network.folder, "share.mp3");
  execFileSync("ffmpeg", ["-loglevel", "error", "-y", "-i", muted.webm, "-ac", "1", "-b:a", "32k", mp3File]);
  const { status, result, stderr } = trace(mp3File);
  assert.equal(status, 0, `${result?.sentence} ${stderr}`);
  assert.deepEqual(result.named.map((n) => n.name), ["Ben Okafor"], result.sentence);
  await anna.click("share");
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const after = await heard(ben, "after-share", 4);
  assert.equal(after.tone, 0, "it goes on after the share");
  await anna.click("mute");
  console.log(`the tone is at ${before.level.toFixed(5)} before, ${both.level.toFixed(5)} with the microphone, ${muted.level.toFixed(5)} while it is muted, ${after.level.toFixed(5)} after; ${result.sentence}`);
});
