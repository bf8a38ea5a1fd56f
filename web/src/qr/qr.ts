// QR codes (ISO/IEC 18004) of links: a phone's camera takes a link over that nobody would type, and that goes nowhere but onto
// the screen. The same as the Go package qr, which draws them for terminals; a test holds the two together. Bytes, level M (15 %
// may be lost), versions 1 to 20, that is up to 666 bytes.

/** The blocks of level M, by version (table 9): check words in each, and how many there are. */
const checkWords = [0, 10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26];
const blocks = [0, 1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16];

/** Returns the smallest code that holds a text: one string a row, "1" for dark. Empty if the text is too long. */
export function encode(text: string): string[] {
  const bytes = new TextEncoder().encode(text);
  for (let version = 1; version < blocks.length; version++) {
    if (4 + lengthBits(version) + 8 * bytes.length > 8 * dataWords(version)) continue;
    const words = interleave(version, data(version, bytes));
    let best: Square | undefined;
    let least = Infinity;
    for (let mask = 0; mask < 8; mask++) {
      const drawn = new Square(version, words, mask);
      const penalty = drawn.penalty();
      if (penalty < least) [best, least] = [drawn, penalty];
    }
    return best!.rows();
  }
  return [];
}

/** How many modules of a version hold data and check words. */
function modules(version: number): number {
  let n = (16 * version + 128) * version + 64;
  if (version >= 2) {
    const align = Math.floor(version / 7) + 2;
    n -= (25 * align - 10) * align - 55;
    if (version >= 7) n -= 36;
  }
  return n;
}

const dataWords = (version: number): number => Math.floor(modules(version) / 8) - checkWords[version]! * blocks[version]!;

const lengthBits = (version: number): number => (version < 10 ? 8 : 16);

/** Writes a text in byte mode, and fills up. */
function data(version: number, text: Uint8Array): Uint8Array {
  const bits: boolean[] = [];
  const put = (value: number, n: number) => {
    for (let i = n - 1; i >= 0; i--) bits.push(((value >> i) & 1) === 1);
  };
  put(4, 4); // byte mode
  put(text.length, lengthBits(version));
  for (const b of text) put(b, 8);
  const capacity = 8 * dataWords(version);
  put(0, Math.min(4, capacity - bits.length));
  put(0, -bits.length & 7);
  for (let pad = 0xec; bits.length < capacity; pad ^= 0xec ^ 0x11) put(pad, 8);
  const out = new Uint8Array(bits.length / 8);
  bits.forEach((bit, i) => {
    if (bit) out[i >> 3]! |= 0x80 >> (i & 7);
  });
  return out;
}

/** Adds the check words and mixes the blocks, so that a blot hits a little of each. */
function interleave(version: number, words: Uint8Array): number[] {
  const n = blocks[version]!;
  const short = Math.floor(words.length / n); // data words of the first blocks; the last ones have one more
  const longer = n - (words.length % n); // the first of those
  const divisor = generator(checkWords[version]!);
  const parts: Uint8Array[] = [];
  for (let i = 0, at = 0; i < n; i++) {
    const end = at + short + (i >= longer ? 1 : 0);
    parts.push(words.subarray(at, end));
    at = end;
  }
  const out: number[] = [];
  const mix = (all: readonly Uint8Array[], length: number) => {
    for (let i = 0; i < length; i++) for (const p of all) if (i < p.length) out.push(p[i]!);
  };
  mix(parts, short + 1);
  mix(parts.map((p) => remainder(p, divisor)), divisor.length);
  return out;
}

/** The product in the field with 256 elements, modulo x^8+x^4+x^3+x^2+1. */
function multiply(a: number, b: number): number {
  let z = 0;
  for (let i = 7; i >= 0; i--) z = (z << 1) ^ ((z >> 7) * 0x11d) ^ (((b >> i) & 1) * a);
  return z;
}

/** The coefficients of the product of (x - 2^i) for i below degree, without the leading one. */
function generator(degree: number): Uint8Array {
  const out = new Uint8Array(degree);
  out[degree - 1] = 1;
  for (let i = 0, root = 1; i < degree; i++, root = multiply(root, 2)) {
    for (let j = 0; j < degree; j++) out[j] = multiply(out[j]!, root) ^ (out[j + 1] ?? 0);
  }
  return out;
}

function remainder(words: Uint8Array, divisor: Uint8Array): Uint8Array {
  const out = new Uint8Array(divisor.length);
  for (const word of words) {
    const factor = word ^ out[0]!;
    out.copyWithin(0, 1);
    out[out.length - 1] = 0;
    divisor.forEach((d, i) => (out[i]! ^= multiply(d, factor)));
  }
  return out;
}

/** The places of the small squares, the same on both axes. */
function alignments(version: number): number[] {
  if (version === 1) return [];
  const n = Math.floor(version / 7) + 2;
  const step = Math.floor((version * 8 + n * 3 + 5) / (n * 4 - 4)) * 2;
  const out = [6];
  for (let i = n - 1; i > 0; i--) out[i] = version * 4 + 10 - (n - 1 - i) * step;
  return out;
}

/** Which modules a mask turns over. */
const masks: readonly ((x: number, y: number) => boolean)[] = [
  (x, y) => (x + y) % 2 === 0,
  (_, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

/** A square of modules of one version, with its patterns, words and mask. */
class Square {
  readonly size: number;
  readonly #dark: Uint8Array; // by row
  readonly #kept: Uint8Array; // fixed patterns: no data stands there

  constructor(version: number, words: readonly number[], mask: number) {
    this.size = 17 + 4 * version;
    this.#dark = new Uint8Array(this.size * this.size);
    this.#kept = new Uint8Array(this.size * this.size);
    this.#patterns(version);
    this.#format(mask);
    this.#place(words, masks[mask]!);
  }

  /** Outside of the code no module is dark. */
  dark(x: number, y: number): boolean {
    return x >= 0 && y >= 0 && x < this.size && y < this.size && this.#dark[y * this.size + x] === 1;
  }

  rows(): string[] {
    return Array.from({ length: this.size }, (_, y) => this.#dark.subarray(y * this.size, (y + 1) * this.size).join(""));
  }

  #fix(x: number, y: number, dark: boolean): void {
    if (x < 0 || y < 0 || x >= this.size || y >= this.size) return;
    this.#dark[y * this.size + x] = dark ? 1 : 0;
    this.#kept[y * this.size + x] = 1;
  }

  #rings(x: number, y: number, reach: number, dark: (ring: number) => boolean): void {
    for (let dy = -reach; dy <= reach; dy++) {
      for (let dx = -reach; dx <= reach; dx++) this.#fix(x + dx, y + dy, dark(Math.max(Math.abs(dx), Math.abs(dy))));
    }
  }

  /** What every code of a version has. */
  #patterns(version: number): void {
    for (let i = 0; i < this.size; i++) {
      this.#fix(6, i, i % 2 === 0);
      this.#fix(i, 6, i % 2 === 0);
    }
    for (const [x, y] of [[3, 3], [this.size - 4, 3], [3, this.size - 4]] as const) this.#rings(x, y, 4, (ring) => ring !== 2 && ring !== 4);
    const places = alignments(version);
    const last = places.length - 1;
    places.forEach((x, i) =>
      places.forEach((y, j) => {
        const corner = (i === 0 && (j === 0 || j === last)) || (i === last && j === 0); // their own patterns stand there
        if (!corner) this.#rings(x, y, 2, (ring) => ring !== 1);
      }),
    );
    if (version < 7) return;
    let check = version;
    for (let i = 0; i < 12; i++) check = (check << 1) ^ ((check >> 11) * 0x1f25);
    const bits = (version << 12) | check;
    for (let i = 0; i < 18; i++) {
      const [a, b, dark] = [this.size - 11 + (i % 3), Math.floor(i / 3), ((bits >> i) & 1) === 1];
      this.#fix(a, b, dark);
      this.#fix(b, a, dark);
    }
  }

  /** Writes level and mask, twice. */
  #format(mask: number): void {
    let check = mask; // level M is 0
    for (let i = 0; i < 10; i++) check = (check << 1) ^ ((check >> 9) * 0x537);
    const bits = ((mask << 10) | check) ^ 0x5412;
    const bit = (i: number) => ((bits >> i) & 1) === 1;
    for (let i = 0; i < 6; i++) this.#fix(8, i, bit(i));
    this.#fix(8, 7, bit(6));
    this.#fix(8, 8, bit(7));
    this.#fix(7, 8, bit(8));
    for (let i = 9; i < 15; i++) this.#fix(14 - i, 8, bit(i));
    for (let i = 0; i < 8; i++) this.#fix(this.size - 1 - i, 8, bit(i));
    for (let i = 8; i < 15; i++) this.#fix(8, this.size - 15 + i, bit(i));
    this.#fix(8, this.size - 8, true);
  }

  /** Writes the words in columns of two, from the right, up and down, and masks them. */
  #place(words: readonly number[], masked: (x: number, y: number) => boolean): void {
    let i = 0;
    for (let right = this.size - 1; right >= 1; right -= 2) {
      if (right === 6) right = 5; // the column of the timing pattern
      for (let vertical = 0; vertical < this.size; vertical++) {
        for (const x of [right, right - 1]) {
          const y = ((right + 1) & 2) === 0 ? this.size - 1 - vertical : vertical;
          const at = y * this.size + x;
          if (this.#kept[at]) continue;
          const dark = i < 8 * words.length && ((words[i >> 3]! >> (7 - (i & 7))) & 1) === 1;
          i++;
          this.#dark[at] = dark !== masked(x, y) ? 1 : 0;
        }
      }
    }
  }

  /** How hard a code is to read (Section 7.8.3): the mask with the least is taken. */
  penalty(): number {
    let sum = 0;
    for (const at of [(i: number, j: number) => this.dark(i, j), (i: number, j: number) => this.dark(j, i)]) {
      for (let j = 0; j < this.size; j++) sum += this.#line((i) => at(i, j));
    }
    let dark = 0;
    for (let y = 0; y < this.size; y++) {
      for (let x = 0; x < this.size; x++) {
        const here = this.dark(x, y);
        if (here) dark++;
        if (x + 1 < this.size && y + 1 < this.size && here === this.dark(x + 1, y) && here === this.dark(x, y + 1) && here === this.dark(x + 1, y + 1)) sum += 3;
      }
    }
    const share = Math.floor((20 * dark) / (this.size * this.size)); // in steps of 5 %
    return sum + 10 * Math.min(Math.abs(share - 10), Math.abs(share - 9));
  }

  /** The penalties of one row or column: long runs, and what looks like a corner's pattern. */
  #line(at: (i: number) => boolean): number {
    let sum = 0;
    for (let i = 0, run = 0; i < this.size; i++) {
      run = i > 0 && at(i) === at(i - 1) ? run + 1 : 1;
      if (run === 5) sum += 3;
      else if (run > 5) sum++;
    }
    const finder = [true, false, true, true, true, false, true];
    for (let i = -4; i + 7 <= this.size + 4; i++) {
      if (!finder.every((want, k) => at(i + k) === want)) continue;
      const free = (from: number) => [0, 1, 2, 3].every((k) => !at(from + k));
      if (free(i - 4) || free(i + 7)) sum += 40;
    }
    return sum;
  }
}
