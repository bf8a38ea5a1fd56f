// Tones: each endpoint of a test sends its own, so that what is heard tells who was heard.
import { writeFileSync } from "node:fs";

export const sampleRate = 48000;

/** Tones that are neither multiples of each other nor sums, and that a voice codec carries. */
export const tones = { anna: 523, ben: 787, carla: 1153, david: 1621, eva: 2011 };

/**
 * Writes seconds of a tone that comes and goes three times a second: a steady one would be taken for noise, and removed,
 * by a browser's microphone processing. With silence, what is given as [from, to] in seconds is silent.
 */
export function writeTone(file, hz, { seconds = 12, silence = [] } = {}) {
  return writeWAV(file, sampleRate, seconds, (t) => {
    const quiet = silence.some(([from, to]) => t >= from && t < to);
    const swell = Math.max(0, Math.sin(2 * Math.PI * 3 * t)) ** 0.5;
    return quiet ? 0 : 12000 * swell * Math.sin(2 * Math.PI * hz * t);
  });
}

/** How far apart bursts begin, in seconds: more than a sound is ever under way. */
export const burstEvery = 0.6;

/** Writes seconds of bursts of a tone that begin sharply: when one is heard tells how long it was under way. */
export function writeBursts(file, hz, { seconds, rate = sampleRate, length = 0.2 }) {
  return writeWAV(file, rate, seconds, (t) => (t % burstEvery < length || length >= burstEvery ? 12000 * Math.sin(2 * Math.PI * hz * t) : 0));
}

function writeWAV(file, rate, seconds, at) {
  const samples = Buffer.alloc(Math.round(seconds * rate) * 2);
  for (let i = 0; i < samples.length / 2; i++) samples.writeInt16LE(Math.round(at(i / rate)), 2 * i);
  const head = Buffer.alloc(44);
  head.write("RIFF", 0);
  head.writeUInt32LE(36 + samples.length, 4);
  head.write("WAVEfmt ", 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(rate * 2, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write("data", 36);
  head.writeUInt32LE(samples.length, 40);
  writeFileSync(file, Buffer.concat([head, samples]));
  return file;
}

/** The share of the power of samples that lies at hz, by Goertzel's algorithm: 1 for that tone alone. */
export function share(samples, hz, rate = sampleRate) {
  const c = 2 * Math.cos((2 * Math.PI * hz) / rate);
  let a = 0;
  let b = 0;
  let power = 0;
  for (const x of samples) {
    [a, b] = [x + c * a - b, a];
    power += x * x;
  }
  return power < 1e-9 * samples.length ? 0 : ((a * a + b * b - c * a * b) * 2) / (power * samples.length);
}

/**
 * Where bursts of hz begin in samples, as places: the tone rises above two fifths of what it comes to, after it was below for a
 * tenth of a second. The filter's own delay, a millisecond or two, is the same wherever it is used.
 */
export function onsets(samples, hz, rate) {
  const keep = Math.exp(-1 / (0.002 * rate));
  const power = new Float32Array(samples.length);
  for (let i = 0, re = 0, im = 0; i < samples.length; i++) {
    const w = (2 * Math.PI * hz * i) / rate;
    re = re * keep + samples[i] * Math.cos(w) * (1 - keep);
    im = im * keep + samples[i] * Math.sin(w) * (1 - keep);
    power[i] = Math.hypot(re, im);
  }
  const sorted = Float32Array.from(power).sort();
  const level = 0.4 * sorted[Math.floor(sorted.length * 0.9)];
  const found = [];
  if (level < 0.002) return found; // silence
  for (let i = 0, quiet = 0; i < power.length; i++) {
    if (power[i] < level) quiet++;
    else {
      if (quiet > rate / 10) found.push(i);
      quiet = 0;
    }
  }
  return found;
}
