// Makes the demonstration's two speakers: cmd/conclave/demo/{marta,jan}.{ogg,ivf}. The results are committed; this is how
// they came to be, and how to change what they say.
//
//   apt install chromium ffmpeg sox libsox-fmt-all opus-tools libttspico-utils   (the last is in Debian's non-free)
//   cd test && npm ci && cd .. && node scripts/demo-media.mjs
//
// Both sound files have the same number of packets, 80 bytes each, and both pictures are as long as the sound, so that
// they stay in step when they are played round and round.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(new URL("../test/package.json", import.meta.url));
const { chromium } = require("playwright-core");

const out = fileURLToPath(new URL("../cmd/conclave/demo/", import.meta.url));
const rate = 48000;
const framesPerSecond = 10;
const size = { width: 480, height: 270 };

// Who says what, in turn, after how many seconds of pause.
const dialogue = [
  ["marta", 0.6, "Good morning, Jan. Shall we begin? The northern crossing had a quiet week. Forty lorries a day, and nobody waited longer than an hour."],
  ["jan", 0.7, "Good morning. It was the same on our side. The new lane opens on Thursday, and from then on two officers are at the gate at all times."],
  ["marta", 0.8, "Fine. And if you have just come in, welcome. You hear us because your line was checked before you were given the keys of this room."],
  ["jan", 0.6, "Look at the list of people. Those are all who can hear us. Nobody else can, not even the server that carries our voices."],
  ["marta", 0.6, "The security code below the list is the same for everybody. Read it aloud together, and you know that nobody stands between us."],
  ["jan", 0.7, "Try it out. Switch your camera on, or share your screen. When somebody comes or goes, the keys change, and so does the code."],
  ["marta", 0.7, "Now, back to the bridge, and to the new lane."],
];

const voices = {
  // Pico has one voice for each language, both of women; sox makes the second a deeper one.
  marta: { language: "en-GB", effects: ["speed", "1.0"] },
  jan: { language: "en-US", effects: ["speed", "0.80", "tempo", "-s", "1.22"] },
};

const looks = {
  marta: {
    wall: ["#54493F", "#2A241F"], light: "#C7A878", skin: "#8C6248", hair: "#17110E", cloth: "#6E7B6A", lip: "#6B3F33",
    back: "M196 196C178 52 302 52 284 196Z",
    front: "M205 116C205 70 222 60 240 60C262 60 275 74 275 116C268 96 256 84 244 80C232 92 216 98 205 116Z",
  },
  jan: {
    wall: ["#3B4A50", "#1F2A2E"], light: "#8FA3AD", skin: "#C9A98E", hair: "#5B4A3C", cloth: "#33475A", lip: "#96655A",
    back: "",
    front: "M205 112C200 66 218 56 240 56C262 56 280 66 275 112C272 96 268 88 262 84C246 90 226 90 216 84C211 90 208 98 205 112Z",
  },
};

const work = mkdtempSync(join(tmpdir(), "demo-media-"));
const run = (program, ...args) => execFileSync(program, args, { stdio: ["ignore", "pipe", "inherit"] });

/** Speaks one sentence; gives mono samples at 48 kHz. */
function speak(voice, text) {
  const raw = join(work, "raw.wav");
  const done = join(work, "done.wav");
  run("pico2wave", "-l", voice.language, "-w", raw, text);
  run("sox", raw, "-r", String(rate), "-b", "16", done, ...voice.effects, "rate", "-v", String(rate), "norm", "-6");
  const bytes = readFileSync(done);
  const at = bytes.indexOf("data") + 8;
  return new Int16Array(bytes.buffer.slice(bytes.byteOffset + at, bytes.byteOffset + bytes.length - ((bytes.length - at) % 2)));
}

/** Lays the dialogue out on one track for each speaker, all of the same whole number of picture frames. */
function tracks() {
  const parts = [];
  let at = 0;
  for (const [who, pause, text] of dialogue) {
    at += Math.round(pause * rate);
    const samples = speak(voices[who], text);
    parts.push({ who, at, samples });
    at += samples.length;
  }
  const frame = rate / framesPerSecond;
  const length = Math.ceil((at + 1.2 * rate) / frame) * frame;
  const result = { marta: new Int16Array(length), jan: new Int16Array(length) };
  for (const { who, at, samples } of parts) result[who].set(samples, at);
  return result;
}

function wav(samples) {
  const head = Buffer.alloc(44);
  head.write("RIFF", 0);
  head.writeUInt32LE(36 + samples.length * 2, 4);
  head.write("WAVEfmt ", 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(rate * 2, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write("data", 36);
  head.writeUInt32LE(samples.length * 2, 40);
  return Buffer.concat([head, Buffer.from(samples.buffer)]);
}

/** How wide the mouth is open in each picture, 0 to 1, in few steps: every change costs bytes. */
function openness(samples) {
  const step = rate / framesPerSecond;
  const loud = [];
  for (let i = 0; i < samples.length; i += step) {
    let sum = 0;
    for (let j = i; j < i + step; j++) sum += samples[j] ** 2;
    loud.push(Math.sqrt(sum / step));
  }
  const most = Math.max(...loud);
  return loud.map((l) => Math.round(Math.min(1, (l / most) * 1.3) ** 0.7 * 5) / 5);
}

function portrait(look, open, t) {
  const speaking = open > 0;
  const nod = speaking ? Math.round(Math.sin(t * 2.1) * 2) / 2 : 0;
  const blink = t % 4.3 < 0.15;
  const eyes = blink ? 0.8 : 3.4;
  const mouth = 1.2 + open * 8;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 270" width="480" height="270">
<defs><linearGradient id="w" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="${look.wall[0]}"/><stop offset="1" stop-color="${look.wall[1]}"/></linearGradient>
<filter id="b" x="-30%" y="-30%" width="160%" height="160%"><feGaussianBlur stdDeviation="9"/></filter></defs>
<rect width="480" height="270" fill="url(#w)"/>
<g filter="url(#b)"><rect x="28" y="14" width="96" height="166" fill="${look.light}" opacity=".5"/><rect x="144" y="14" width="42" height="166" fill="${look.light}" opacity=".3"/><rect x="346" y="44" width="114" height="8" opacity=".35"/><rect x="356" y="6" width="24" height="38" fill="${look.light}" opacity=".4"/><rect x="388" y="12" width="20" height="32" fill="#7A4A3C" opacity=".5"/></g>
<path d="${look.back}" fill="${look.hair}"/>
<path d="M124 290C126 206 182 186 240 186C298 186 354 206 356 290Z" fill="${look.cloth}"/>
<path d="M222 146h36v36C250 202 230 202 222 182Z" fill="${look.skin}"/>
<path d="M222 152h36v14C250 178 230 178 222 166Z" opacity=".18"/>
<g transform="translate(0 ${nod})"><ellipse cx="240" cy="116" rx="35" ry="45" fill="${look.skin}"/>
<path d="${look.front}" fill="${look.hair}"/>
<g fill="#1B1512"><ellipse cx="227" cy="112" rx="3.2" ry="${eyes}"/><ellipse cx="254" cy="112" rx="3.2" ry="${eyes}"/></g>
<path d="M221 102q6-3 11 0M249 102q6-3 11 0" fill="none" stroke="${look.hair}" stroke-width="2" stroke-linecap="round"/>
<path d="M241 116q4 9-2 11" fill="none" stroke="#000" stroke-opacity=".2" stroke-width="2" stroke-linecap="round"/>
<ellipse cx="240.500" cy="${139 + open * 2}" rx="${9 - open * 1.5}" ry="${mouth / 2 + 0.8}" fill="${look.lip}"/>${open > 0.3 ? `<ellipse cx="240.500" cy="${139 + open * 2}" rx="${6.5 - open}" ry="${mouth / 2 - 1}" fill="#2A1512"/>` : ""}</g>
</svg>`;
}

/** Pictures to VP8: a key frame every two seconds, since a file cannot be asked for one; no hidden frames. */
async function film(page, look, open, file) {
  const encoder = spawn("ffmpeg", ["-loglevel", "error", "-y", "-f", "image2pipe", "-c:v", "png", "-framerate", String(framesPerSecond), "-i", "-",
    "-pix_fmt", "yuv420p", "-c:v", "libvpx", "-g", String(2 * framesPerSecond), "-keyint_min", String(2 * framesPerSecond),
    "-auto-alt-ref", "0", "-lag-in-frames", "0", "-deadline", "best", "-b:v", "48k", "-qmin", "8", "-qmax", "44", "-f", "ivf", file],
    { stdio: ["pipe", "inherit", "inherit"] });
  const ended = new Promise((resolve, reject) => encoder.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`ffmpeg: ${code}`)))));
  for (let i = 0; i < open.length; i++) {
    await page.setContent(`<style>body{margin:0}svg{display:block}</style>${portrait(look, open[i], i / framesPerSecond)}`);
    if (!encoder.stdin.write(await page.screenshot())) await new Promise((go) => encoder.stdin.once("drain", go));
  }
  encoder.stdin.end();
  await ended;
}

/** Sizes of the packets of an Ogg/Opus file, without its two header packets. */
function packets(bytes) {
  const sizes = [];
  let held = 0;
  for (let at = 0; at < bytes.length; ) {
    const segments = bytes[at + 26];
    let body = at + 27 + segments;
    for (let i = 0; i < segments; i++) {
      const lace = bytes[at + 27 + i];
      held += lace;
      body += lace;
      if (lace < 255) sizes.push(held), (held = 0);
    }
    at = body;
  }
  return sizes.slice(2);
}

const made = tracks();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
const page = await browser.newPage({ viewport: size });
for (const [who, samples] of Object.entries(made)) {
  const source = join(work, `${who}.wav`);
  // The encoder adds 312 samples of its own in front; without as many at the end there would be one packet too many.
  writeFileSync(source, wav(samples.slice(0, samples.length - 312)));
  const target = join(out, `${who}.ogg`);
  run("opusenc", "--quiet", "--hard-cbr", "--bitrate", "32", "--framesize", "20", "--comp", "10", "--speech", "--discard-comments", source, target);
  const sizes = packets(readFileSync(target));
  if (sizes.some((n) => n !== 80)) throw new Error(`${who}: packets of ${[...new Set(sizes)]} bytes`);
  const film_ = join(out, `${who}.ivf`);
  await film(page, looks[who], openness(samples), film_);
  console.log(`${who}: ${samples.length / rate} s, ${sizes.length} packets of 80 bytes, pictures ${readFileSync(film_).length} bytes`);
}
await browser.close();
rmSync(work, { recursive: true });
