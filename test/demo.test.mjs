// What a newcomer does: make run's demonstration, a link, and sound within a minute.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { startChromium } from "./lib/browser.mjs";
import { Network } from "./lib/host.mjs";
import { results, toCheck } from "./lib/house.mjs";
import { tones, writeTone } from "./lib/sound.mjs";

const root = fileURLToPath(new URL("../", import.meta.url));
let network, host, browser;
before(async () => {
  network = await Network.make();
  host = await network.host("newcomer");
});
after(async () => {
  await browser?.close();
  await network?.close();
});

/** Starts the demonstration; returns its links. */
async function demo(data) {
  const child = host.spawn(join(root, "bin/conclave"), ["demo", "--data", data], { cwd: root });
  let printed = "";
  child.stderr.on("data", (d) => (printed += d));
  const links = await new Promise((resolve, reject) => {
    const found = new Set();
    const timer = setTimeout(() => reject(new Error(`no links within 30 s\n${printed}`)), 30_000);
    createInterface({ input: child.stdout }).on("line", (line) => {
      printed += `${line}\n`;
      for (const link of line.match(/http:\/\/localhost:\d+\/m\/\S+/g) ?? []) found.add(link);
      if (found.size === 3) clearTimeout(timer), resolve([...found]);
    });
    child.once("exit", (code) => reject(new Error(`demo ended with ${code}\n${printed}`)));
  });
  return { child, links, printed: () => printed };
}

/** Runs in a page: the loudest moment of what is played, in `ms`, per stream. */
async function loudest(ms) {
  const context = (window.probe.audio ??= new AudioContext());
  await context.resume();
  const taps = [...window.probe.elements].filter((e) => !e.muted && !e.paused && e.srcObject?.getAudioTracks().length > 0).map((e) => {
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(e.srcObject).connect(analyser);
    return { analyser, most: 0 };
  });
  const samples = new Float32Array(2048);
  for (const end = performance.now() + ms; performance.now() < end; await new Promise((r) => setTimeout(r, 50))) {
    for (const tap of taps) {
      tap.analyser.getFloatTimeDomainData(samples);
      tap.most = Math.max(tap.most, Math.sqrt(samples.reduce((a, x) => a + x * x, 0) / samples.length));
    }
  }
  return taps.map((t) => t.most);
}

test("from a link to sound within a minute; a second start keeps the data", { timeout: 240_000 }, async () => {
  const data = join(network.folder, "demo-data");
  const first = await demo(data);
  browser = await startChromium(host, { microphone: writeTone(join(network.folder, "tone.wav"), tones.anna), viewport: { width: 1389, height: 868 } });
  const page = await browser.page();
  const began = Date.now();
  await toCheck(page, first.links[0]);
  await page.click("join");
  await page.until(() => document.querySelector('[data-testid="screen-room"]')?.dataset.state === "in");
  const loud = () => page.evaluate(loudest, 2000);
  let streams;
  do streams = await loud();
  while (streams.filter((l) => l > 0.01).length < 1 && Date.now() - began < 60_000);
  const took = Date.now() - began;
  assert.ok(streams.some((l) => l > 0.01), `speech is heard: ${streams}\n${await page.describe()}\n${first.printed()}`);
  assert.ok(took < 60_000);
  await page.until(() => [...document.querySelectorAll("video")].filter((v) => /^video-\d+$/.test(v.dataset.testid ?? "") && v.getVideoPlaybackQuality().totalVideoFrames > 5).length === 2, undefined, { what: "both speakers are seen" });
  await page.screenshot(join(results, "demo.png"));
  console.log(`demonstration: sound ${took} ms after the link was opened (2 s of listening included)`);

  const ended = new Promise((resolve) => first.child.once("exit", resolve));
  first.child.kill("SIGINT");
  await ended;
  const second = await demo(data);
  assert.equal(new URL(second.links[0]).pathname, new URL(first.links[0]).pathname, "the meeting is the same one");
  await page.until(() => document.querySelector('[data-testid="screen-room"]')?.dataset.state === "in" && document.querySelector('[data-testid="screen-room"]').dataset.media === "true", undefined, { ms: 30_000, what: "the open page is back in the room by itself" });
});

test("a missing tool is one clear sentence", async () => {
  const { mkdirSync, symlinkSync, writeFileSync } = await import("node:fs");
  const bin = join(network.folder, "bin");
  mkdirSync(bin);
  for (const tool of ["bash", "sh", "dirname", "sed", "env"]) symlinkSync(`/usr/bin/${tool}`, join(bin, tool));
  const need = (...args) => new Promise((resolve) => execFile(join(root, "scripts/need"), args, { env: { PATH: bin } }, (error, out, err) => resolve({ code: error?.code ?? 0, text: out + err })));
  for (const [tool, word] of [["go", "Go is missing"], ["node", "Node is missing"], ["npm", "npm is missing"]]) {
    const { code, text } = await need(tool);
    assert.equal(code, 1);
    assert.match(text, new RegExp(`^${word}.*\\.\\n$`));
  }
  writeFileSync(join(bin, "go"), "#!/bin/sh\necho go1.22.2\n", { mode: 0o755 });
  assert.match((await need("go")).text, /^Go is too old \(go1\.22\.2\): .*\.\n$/);
});
