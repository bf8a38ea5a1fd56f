// The organisation's levels: their names, their words in each language, and how they are marked.

export interface LevelWords {
  name: string;
  /** By language; the name stands in for those that are missing. */
  words: Readonly<Record<string, string>>;
  /** "#rrggbb", on which white text can be read. */
  colour: string;
  /** One sentence more, by language. */
  banner: Readonly<Record<string, string>>;
}

const levelsAtMost = 16;
const wordAtMost = 80;
const bannerAtMost = 120;

/** Of levels whose colour is not told, or cannot be read: what is unknown is marked as what is known least of. */
const noColour = "#141418";
const leastContrast = 4.5;

/** The contrast of white text on "#rrggbb" (WCAG 2.2); 0 for what is no colour. */
export function contrast(colour: string): number {
  const digits = /^#([0-9a-f]{6})$/i.exec(colour)?.[1];
  if (!digits) return 0;
  const [r, g, b] = [0, 2, 4].map((at) => {
    const s = parseInt(digits.slice(at, at + 2), 16) / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 1.05 / (0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05);
}

/** Reads words by language. */
function wordsOf(value: unknown, most: number): Record<string, string> {
  const pairs = Object.entries((value ?? {}) as Record<string, unknown>).filter((p): p is [string, string] => typeof p[1] === "string" && p[1] !== "");
  return Object.fromEntries(pairs.map(([l, w]) => [l, w.slice(0, most)]));
}

/** Reads what the server says of its levels; whatever is malformed counts as none. */
export function levelsOf(value: unknown): LevelWords[] {
  if (!Array.isArray(value)) return [];
  const out: LevelWords[] = [];
  for (const level of value.slice(0, levelsAtMost) as unknown[]) {
    const { name, words, banner } = (level ?? {}) as { name?: unknown; words?: unknown; banner?: unknown };
    if (typeof name !== "string" || name === "") return [];
    const { colour, words: more } = (banner ?? {}) as { colour?: unknown; words?: unknown };
    const readable = typeof colour === "string" && contrast(colour) >= leastContrast;
    out.push({ name: name.slice(0, wordAtMost), words: wordsOf(words, wordAtMost), colour: readable ? colour : noColour, banner: wordsOf(more, bannerAtMost) });
  }
  return out;
}

/** The colour of a level by its place in the order. */
export function levelColour(levels: readonly LevelWords[], level: number): string {
  return levels[level]?.colour ?? noColour;
}

/** A level in a language, with the organisation's own name beside it where the two differ. */
export function levelWord(levels: readonly LevelWords[], name: string, language: string): string {
  return levels.find((l) => l.name === name)?.words[language] || name;
}
