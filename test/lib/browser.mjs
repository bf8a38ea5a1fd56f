// Real browsers on hosts of our own: Chromium by Playwright, Firefox by Puppeteer over WebDriver BiDi, behind one face.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium as playwright } from "playwright-core";
import puppeteer from "puppeteer-core";
import { share } from "./sound.mjs";

const scripts = fileURLToPath(new URL("../../scripts/browsers", import.meta.url));
const find = (which) => execFileSync("bash", ["-c", `. "${scripts}"; find_${which}`], { encoding: "utf8" }).trim();

/**
 * Runs in every page before its own scripts: collects what is played, and counts what is sent. Everything that a page
 * plays passes through an audio or video element's srcObject or through WebAudio.
 */
function instrument() {
  const probe = { elements: new Set(), connections: [], console: [] };
  window.probe = probe;
  const own = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "srcObject");
  Object.defineProperty(HTMLMediaElement.prototype, "srcObject", {
    ...own,
    set(stream) {
      probe.elements.add(this);
      own.set.call(this, stream);
    },
  });
  // Three browsers that encode and decode each other on two cores: ten pictures a second of modest size are enough.
  if (window.MediaDevices) {
    const getUserMedia = MediaDevices.prototype.getUserMedia;
    MediaDevices.prototype.getUserMedia = function (constraints) {
      const video = constraints?.video && { ...constraints.video, width: 320, height: 180, frameRate: 10 };
      return getUserMedia.call(this, video ? { ...constraints, video } : constraints);
    };
  }
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(...args) {
      super(...args);
      probe.connections.push(this);
      probe.configuration = args[0];
    }
  };
}

/**
 * Runs in a page: listens for ms to everything that is played now, and tells for each tone the greatest number of looks
 * (20 a second) in which it filled over half of a stream.
 */
async function listen({ tones, ms, shareSource }) {
  const share = new Function(`return (${shareSource})`)();
  const context = (window.probe.audio ??= new AudioContext({ sampleRate: 48000 }));
  await context.resume();
  const taps = [];
  for (const element of window.probe.elements) {
    const stream = element.srcObject;
    if (element.muted || element.paused || !stream || stream.getAudioTracks().length === 0) continue;
    const source = context.createMediaStreamSource(stream);
    const analyser = context.createAnalyser();
    analyser.fftSize = 4096;
    source.connect(analyser);
    taps.push({ source, analyser, counts: {} });
  }
  const samples = new Float32Array(4096);
  const end = performance.now() + ms;
  while (performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (const tap of taps) {
      tap.analyser.getFloatTimeDomainData(samples);
      for (const [name, hz] of Object.entries(tones)) if (share(samples, hz, 48000) > 0.5) tap.counts[name] = (tap.counts[name] ?? 0) + 1;
    }
  }
  for (const tap of taps) tap.source.disconnect();
  const most = {};
  for (const name of Object.keys(tones)) most[name] = Math.max(0, ...taps.map((tap) => tap.counts[name] ?? 0));
  return { most, streams: taps.length };
}

/** Runs in a page: what arrives and what is shown of pictures. Spread is 0 for a picture of one colour. */
async function pictures() {
  const shown = [];
  for (const element of window.probe.elements) {
    if (!(element instanceof HTMLVideoElement) || !element.srcObject || element.videoWidth === 0 || !element.isConnected) continue;
    const canvas = document.createElement("canvas");
    canvas.width = 64;
    canvas.height = 36;
    const context = canvas.getContext("2d");
    context.drawImage(element, 0, 0, 64, 36);
    const data = context.getImageData(0, 0, 64, 36).data;
    const grey = [];
    for (let i = 0; i < data.length; i += 4) grey.push((data[i] + data[i + 1] + data[i + 2]) / 3);
    const mean = grey.reduce((a, b) => a + b, 0) / grey.length;
    const spread = Math.sqrt(grey.reduce((a, b) => a + (b - mean) ** 2, 0) / grey.length);
    const quality = element.getVideoPlaybackQuality?.();
    shown.push({ width: element.videoWidth, height: element.videoHeight, mean, spread, own: element.muted && Boolean(element.srcObject.getVideoTracks()[0]?.getCapabilities?.().deviceId), frames: quality?.totalVideoFrames ?? 0, near: element.closest("[data-testid]")?.dataset.testid ?? "" });
  }
  return shown;
}

/** Runs in a page: the connection's streams, from its statistics. */
async function statistics() {
  const result = [];
  for (const connection of window.probe.connections) {
    if (connection.connectionState === "closed") continue;
    for (const s of (await connection.getStats()).values()) {
      if (s.type !== "inbound-rtp" && s.type !== "outbound-rtp") continue;
      const { type, kind, mid, ssrc, packetsSent, packetsReceived, framesDecoded, framesSent, framesEncoded, bytesSent, bytesReceived, totalSamplesReceived, concealedSamples } = s;
      result.push({ type, kind, mid, ssrc, packetsSent, packetsReceived, framesDecoded, framesSent, framesEncoded, bytesSent, bytesReceived, totalSamplesReceived, concealedSamples });
    }
  }
  return result;
}

/** A page in either browser: a Playwright or a Puppeteer page with the same few methods on top. */
export class Page {
  constructor(page, name, browser) {
    this.page = page;
    this.name = name;
    this.browser = browser;
    this.log = [];
    // The room asks before it is left by closing the page; Playwright answers by itself.
    if (browser === "firefox") page.on("dialog", (d) => d.accept().catch(() => {}));
    page.on("console", (m) => this.log.push(`${m.type()}: ${m.text()}`));
    page.on("pageerror", (e) => this.log.push(`error: ${e.stack ?? e.message}`));
  }

  goto(url) {
    return this.page.goto(url, { waitUntil: "domcontentloaded" });
  }

  evaluate(f, argument) {
    return this.page.evaluate(f, argument);
  }

  /** Waits until f, evaluated in the page, is true. */
  async until(f, argument, { ms = 20_000, what = String(f) } = {}) {
    const end = Date.now() + ms;
    for (;;) {
      const value = await this.page.evaluate(f, argument).catch(() => undefined);
      if (value) return value;
      if (Date.now() > end) throw new Error(`${this.name}: not within ${ms} ms: ${what}\n${await this.describe()}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** What a person would see, for messages of failed tests. */
  async describe() {
    const text = await this.page.evaluate(() => [...new Set(document.body?.innerText.split("\n"))].join("\n").slice(0, 2000)).catch((e) => `(${e.message})`);
    return `── page of ${this.name}: ${this.page.url()}\n${text}\n── its log\n${this.log.slice(-30).join("\n")}`;
  }

  shown(testid, options) {
    return this.until((id) => {
      const e = document.querySelector(`[data-testid="${id}"]`);
      return e !== null && e.getClientRects().length > 0;
    }, testid, { what: `[data-testid=${testid}] is shown`, ...options });
  }

  gone(testid, options) {
    return this.until((id) => {
      const e = document.querySelector(`[data-testid="${id}"]`);
      return e === null || e.getClientRects().length === 0;
    }, testid, { what: `[data-testid=${testid}] is gone`, ...options });
  }

  text(testid) {
    return this.page.evaluate((id) => document.querySelector(`[data-testid="${id}"]`)?.innerText ?? "", testid);
  }

  /** Clicks as a person does: getDisplayMedia wants a true click. */
  async click(testid, options) {
    await this.until((id) => {
      const e = document.querySelector(`[data-testid="${id}"]`);
      return e !== null && e.getClientRects().length > 0 && !e.disabled;
    }, testid, { what: `[data-testid=${testid}] can be clicked`, ...options });
    await this.page.click(`[data-testid="${testid}"]`);
  }

  listen(tones, ms) {
    return this.page.evaluate(listen, { tones, ms, shareSource: share.toString() });
  }

  pictures() {
    return this.page.evaluate(pictures);
  }

  statistics() {
    return this.page.evaluate(statistics);
  }

  screenshot(path) {
    return this.page.screenshot({ path });
  }
}

/** Starts a Chromium on host whose microphone is the WAV file and whose camera is Chromium's moving test picture. */
/** With tab, sharing a screen shares the tab of that title, with its sound; else the browser's test picture. */
export async function startChromium(host, { microphone, tab, args = [], viewport = { width: 1280, height: 800 } } = {}) {
  const browser = await playwright.launch({
    executablePath: host.launcher(find("chromium"), "chromium"),
    headless: true,
    ignoreDefaultArgs: tab ? ["--mute-audio"] : [], // or the tab would be heard by nobody
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
      "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required", "--use-fake-device-for-media-stream=fps=10",
      tab ? `--auto-select-tab-capture-source-by-title=${tab}` : "--use-fake-ui-for-media-stream",
      ...(microphone ? [`--use-file-for-fake-audio-capture=${microphone}`] : []),
      ...args,
    ],
  });
  const context = await browser.newContext({ viewport, locale: "en-GB", ...(tab && { permissions: ["microphone", "camera"] }) });
  await context.addInitScript(instrument);
  return {
    kind: "chromium",
    host,
    context,
    version: browser.version(),
    page: async () => new Page(await context.newPage(), `${host.name} (Chromium)`, "chromium"),
    close: () => browser.close(),
  };
}

/**
 * Starts a sound server that plays into nothing: a Firefox without any loudspeaker runs no AudioContext, which no person's
 * Firefox does. Chromium brings its own.
 */
async function startLoudspeaker(host) {
  const socket = join(host.folder, `${host.name}-pulse.sock`);
  const child = host.spawn("pulseaudio", ["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--log-level=error",
    "-L", "module-null-sink sink_name=nothing", "-L", `module-native-protocol-unix auth-anonymous=1 socket=${socket}`], { stdio: "ignore", env: { ...process.env, HOME: host.folder } });
  child.once("error", () => {});
  for (let i = 0; i < 100 && !existsSync(socket); i++) await new Promise((resolve) => setTimeout(resolve, 50));
  return `unix:${socket}`;
}

let nextFirefoxPort = 29222 + (process.pid % 500) * 4;

/** Starts a Firefox on host whose microphone plays a steady tone of hz and whose camera is Firefox's test picture. */
export async function startFirefox(host, { hz = 1000, viewport = { width: 1280, height: 800 } } = {}) {
  const profile = mkdtempSync(join(host.folder, "firefox-"));
  const prefs = {
    "app.update.enabled": false,
    "browser.shell.checkDefaultBrowser": false,
    "datareporting.policy.dataSubmissionEnabled": false,
    "intl.accept_languages": "en-GB, en",
    "media.autoplay.default": 0,
    "media.autoplay.block-event.enabled": false,
    "media.autoplay.block-webaudio": false,
    "media.autoplay.blocking_policy": 0,
    "media.block-autoplay-until-in-foreground": false,
    "media.navigator.streams.fake": true,
    "media.navigator.permission.disabled": true,
    "media.navigator.audio.fake_frequency": hz,
    "media.gmp-manager.updateEnabled": false,
    "media.gmp-provider.enabled": false,
    "network.captive-portal-service.enabled": false,
    "network.connectivity-service.enabled": false,
    "network.dns.disablePrefetch": true,
    "remote.active-protocols": 1,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": false,
  };
  writeFileSync(join(profile, "user.js"), Object.entries(prefs).map(([k, v]) => `user_pref(${JSON.stringify(k)}, ${JSON.stringify(v)});\n`).join(""));
  const port = nextFirefoxPort++;
  const child = host.spawn(find("firefox"), ["--headless", "--no-remote", "--profile", profile, `--remote-debugging-port=${port}`, `--width=${viewport.width}`, `--height=${viewport.height}`, "about:blank"], {
    env: { ...process.env, HOME: profile, PULSE_SERVER: await startLoudspeaker(host), MOZ_DISABLE_CONTENT_SANDBOX: "1", MOZ_CRASHREPORTER_DISABLE: "1", MOZ_HEADLESS_WIDTH: String(viewport.width), MOZ_HEADLESS_HEIGHT: String(viewport.height) },
  });
  child.stdout.resume();
  let printed = "";
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`firefox: not ready within 40 s\n${printed}`)), 40_000);
    child.stderr.on("data", (d) => {
      printed = (printed + d).slice(-4000);
      if (printed.includes("WebDriver BiDi listening")) clearTimeout(timer), resolve();
    });
    child.once("exit", (code) => (clearTimeout(timer), reject(new Error(`firefox: ended with ${code}\n${printed}`))));
  });
  await host.reach(port);
  const browser = await puppeteer.connect({ protocol: "webDriverBiDi", browserWSEndpoint: `ws://127.0.0.1:${port}/session`, defaultViewport: viewport, protocolTimeout: 60_000 });
  return {
    kind: "firefox",
    host,
    version: await browser.version(),
    page: async () => {
      const page = await browser.newPage();
      await page.evaluateOnNewDocument(instrument);
      return new Page(page, `${host.name} (Firefox)`, "firefox");
    },
    close: async () => {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      await browser.close().catch(() => {});
      child.kill("SIGTERM");
      let timer;
      await Promise.race([gone, new Promise((resolve) => (timer = setTimeout(resolve, 5000)))]);
      clearTimeout(timer);
    },
  };
}
