// Marks sound with this leg's pattern, sample for sample as Go's package watermark does (embed.go, which says why each
// step is as it is); embedder.test.ts holds both to the same golden file. No imports: this runs in an AudioWorklet.

const bands = 54;
const narrowBands = 25;
const bandWidth = 125;
const firstEdge = 250;
const period = 64;
const tileSlots = 4;
const groups = 12;
const periodTiles = period / tileSlots;
/** Decibels; see watermark.NarrowStrength and WideStrength. */
const narrowStrength = 2.5;
const wideStrength = 2.0;

/** What a leg marks with, as the core tells it. */
export interface Pattern {
  /** A sign for each slot of a period and band: 0 is +1, 1 is -1. */
  sync: Uint8Array;
  /** A byte for each tile of 0.32 s since the leg began to mark. */
  code: Uint8Array;
}

/** Complex Fourier transform in place, of a power of two. */
class Transform {
  readonly #cos: Float64Array;
  readonly #sin: Float64Array;
  readonly #swap: Int32Array;

  constructor(readonly n: number) {
    this.#cos = new Float64Array(n / 2);
    this.#sin = new Float64Array(n / 2);
    this.#swap = new Int32Array(n);
    for (let k = 0; k < n / 2; k++) {
      this.#cos[k] = Math.cos((-2 * Math.PI * k) / n);
      this.#sin[k] = Math.sin((-2 * Math.PI * k) / n);
    }
    for (let i = 1, j = 0; i < n; i++) {
      let bit = n >> 1;
      for (; j & bit; bit >>= 1) j ^= bit;
      j |= bit;
      this.#swap[i] = j;
    }
  }

  run(re: Float64Array, im: Float64Array): void {
    const { n } = this;
    const cos = this.#cos;
    const sin = this.#sin;
    const swap = this.#swap;
    for (let i = 0; i < n; i++) {
      const j = swap[i]!;
      if (j > i) {
        const r = re[i]!;
        re[i] = re[j]!;
        re[j] = r;
        const m = im[i]!;
        im[i] = im[j]!;
        im[j] = m;
      }
    }
    for (let size = 2; size <= n; size *= 2) {
      const half = size >> 1;
      const step = n / size;
      for (let start = 0; start < n; start += size) {
        for (let k = 0, t = 0; k < half; k++, t += step) {
          const a = start + k;
          const b = a + half;
          const c = cos[t]!;
          const s = sin[t]!;
          const xr = re[b]! * c - im[b]! * s;
          const xi = re[b]! * s + im[b]! * c;
          re[b] = re[a]! - xr;
          im[b] = im[a]! - xi;
          re[a] = re[a]! + xr;
          im[a] = im[a]! + xi;
        }
      }
    }
  }
}

/** Which bit of its tile's byte a group carries; -1 for a pilot. */
const codeBits = ((): Int8Array => {
  const bits = new Int8Array(periodTiles * groups);
  for (let tile = 0; tile < periodTiles; tile++) {
    let k = 0;
    for (let g = 0; g < groups; g++) bits[tile * groups + g] = (g + tile) % 3 === 0 ? -1 : k++;
  }
  return bits;
})();

export class Embedder {
  /** Samples in a block: a render quantum at the usual rates. */
  readonly block: number;
  /** Samples that the sound is late, beside what collecting a block takes. */
  readonly delay: number;

  readonly #slot: number;
  readonly #transform: Transform;
  readonly #first: number[] = [];
  readonly #curve: Float64Array[] = [];
  readonly #gain = new Float64Array(2 * bands);
  readonly #windows: Float64Array[];
  readonly #re: Float64Array;
  readonly #im: Float64Array;
  #old: Float64Array;
  #now: Float64Array;
  #steady = false;
  #at = 0;
  #used = 0; // channels that were filtered in the last block

  constructor(
    rate: number,
    channels: number,
    readonly begin: number,
    readonly pattern: Pattern,
  ) {
    if (rate < 8000 || rate > 192000 || rate % 25 !== 0) throw new RangeError(`mark: no sample rate of ${rate}`);
    this.#slot = (rate * 2) / 25;
    const half = Math.round(0.008 * rate);
    this.delay = half;
    this.block = rate >= 32000 ? 128 : rate >= 16000 ? 64 : 32;
    let n = 256;
    while (n < 2 * half + this.block) n *= 2;
    this.#transform = new Transform(n);
    for (let b = 0; b < bands; b++) {
      const low = firstEdge + b * bandWidth;
      const high = low + bandWidth;
      if (high > rate / 2 - 150) break;
      this.#layBand(rate, half, low, high);
    }
    for (let b = 0; b < bands; b++) {
      const strength = b < narrowBands ? narrowStrength : wideStrength;
      this.#gain[2 * b] = 10 ** (-strength / 20) - 1;
      this.#gain[2 * b + 1] = 10 ** (strength / 20) - 1;
    }
    this.#windows = Array.from({ length: channels }, () => new Float64Array(n));
    this.#re = new Float64Array(n);
    this.#im = new Float64Array(n);
    this.#old = new Float64Array(n / 2 + 1);
    this.#now = new Float64Array(n / 2 + 1);
    this.#gainsAt(begin);
    this.#old.set(this.#now);
  }

  #layBand(rate: number, half: number, low: number, high: number): void {
    const n = this.#transform.n;
    const re = new Float64Array(n);
    const im = new Float64Array(n);
    for (let k = -half; k <= half; k++) {
      let v = ((high - low) * 2) / rate;
      if (k !== 0) {
        const x = Math.PI * k;
        v = (Math.sin((2 * x * high) / rate) - Math.sin((2 * x * low) / rate)) / x;
      }
      re[(k + n) % n] = v * (0.5 + 0.5 * Math.cos((Math.PI * k) / (half + 1)));
    }
    this.#transform.run(re, im);
    const bin = rate / n;
    const from = Math.max(0, Math.trunc((low - 400) / bin));
    const to = Math.min(n / 2, Math.trunc((high + 400) / bin) + 1);
    this.#first.push(from);
    this.#curve.push(re.slice(from, to));
  }

  /** The time of the next block's first sample, in samples since the mark began. */
  get time(): number {
    return this.begin + this.#at * this.block;
  }

  /**
   * Marks one block of each channel; inputs and outputs may be the same arrays. A missing input is silence. Where all channels
   * are the same sound, `used` is 1: the first is filtered, once, and copied to the rest.
   */
  process(inputs: readonly (Float32Array | undefined)[], outputs: readonly Float32Array[], used = outputs.length): void {
    const spare = this.#old;
    this.#old = this.#now;
    this.#now = spare;
    this.#at++;
    this.#gainsAt(this.time);
    this.#steady = true;
    for (let i = 0; i < this.#now.length; i++) {
      if (this.#now[i] !== this.#old[i]) {
        this.#steady = false;
        break;
      }
    }
    // A second channel that comes begins with what the first had.
    for (let c = this.#used; c < used && c < this.#windows.length; c++) this.#windows[c]!.set(this.#windows[0]!);
    this.#used = Math.min(used, this.#windows.length);
    for (let c = 0; c < outputs.length && c < this.#used; c++) this.#filter(this.#windows[c]!, inputs[c], outputs[c]!);
    for (let c = this.#used; c < outputs.length; c++) outputs[c]!.set(outputs[0]!);
  }

  #chip(slot: number, band: number): 0 | 1 {
    const { sync, code } = this.pattern;
    const tile = Math.trunc(slot / tileSlots);
    let minus = sync[(slot % period) * bands + band]!;
    const k = codeBits[(tile % periodTiles) * groups + (band % groups)]!;
    if (k >= 0 && (code[tile % code.length]! >> k) & 1) minus ^= 1;
    return minus === 1 ? 0 : 1;
  }

  #gainsAt(t: number): void {
    const slot = Math.trunc(t / this.#slot);
    const within = t % this.#slot;
    const ramp = this.#slot / 4;
    let from = slot;
    let to = slot;
    let x = 0;
    if (within < ramp && slot > 0) {
      from = slot - 1;
      x = 0.5 + (0.5 * within) / ramp;
    } else if (within > 3 * ramp) {
      to = slot + 1;
      x = (0.5 * (within - 3 * ramp)) / ramp;
    }
    x = 0.5 - 0.5 * Math.cos(Math.PI * x);
    const now = this.#now;
    now.fill(1);
    for (let b = 0; b < this.#curve.length; b++) {
      let g = this.#gain[2 * b + this.#chip(from, b)]!;
      if (to !== from) g += x * (this.#gain[2 * b + this.#chip(to, b)]! - g);
      const curve = this.#curve[b]!;
      const first = this.#first[b]!;
      for (let i = 0; i < curve.length; i++) now[first + i] = now[first + i]! + g * curve[i]!;
    }
  }

  #filter(window: Float64Array, input: Float32Array | undefined, output: Float32Array): void {
    const n = this.#transform.n;
    const { block } = this;
    window.copyWithin(0, block);
    if (input) for (let i = 0; i < block; i++) window[n - block + i] = input[i]!;
    else window.fill(0, n - block);
    let silent = true;
    for (let i = 0; i < n; i++) {
      if (window[i] !== 0) {
        silent = false;
        break;
      }
    }
    if (silent) {
      output.fill(0);
      return;
    }
    const re = this.#re;
    const im = this.#im;
    re.set(window);
    im.fill(0);
    this.#transform.run(re, im);
    const scale = 1 / n;
    for (let k = 0; k <= n / 2; k++) {
      const a = this.#old[k]! * scale;
      const b = this.#now[k]! * scale;
      const xr = re[k]!;
      const xi = im[k]!;
      re[k] = xr * a - xi * b;
      im[k] = xi * a + xr * b;
      if (k > 0 && k < n / 2) {
        re[n - k] = xr * a + xi * b;
        im[n - k] = xr * b - xi * a;
      }
    }
    // Backwards: real and imaginary part exchanged.
    this.#transform.run(im, re);
    const first = n - this.delay - block;
    for (let i = 0; i < block; i++) {
      let y = re[first + i]!;
      if (!this.#steady) y += (im[first + i]! - y) * (i / block);
      output[i] = limit(y);
    }
  }
}

function limit(y: number): number {
  const knee = 0.9;
  if (y > knee) return knee + (1 - knee) * Math.tanh((y - knee) / (1 - knee));
  if (y < -knee) return -knee - (1 - knee) * Math.tanh((-y - knee) / (1 - knee));
  return y;
}
