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
  const samples = Buffer.alloc(seconds * sampleRate * 2);
  for (let i = 0; i < seconds * sampleRate; i++) {
    const t = i / sampleRate;
    const quiet = silence.some(([from, to]) => t >= from && t < to);
    const swell = Math.max(0, Math.sin(2 * Math.PI * 3 * t)) ** 0.5;
    samples.writeInt16LE(quiet ? 0 : Math.round(12000 * swell * Math.sin(2 * Math.PI * hz * t)), 2 * i);
  }
  const head = Buffer.alloc(44);
  head.write("RIFF", 0);
  head.writeUInt32LE(36 + samples.length, 4);
  head.write("WAVEfmt ", 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(sampleRate, 24);
  head.writeUInt32LE(sampleRate * 2, 28);
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
