// The organisation's levels: their names, and their words in each language.

export interface LevelWords {
  name: string;
  /** By language; the name stands in for those that are missing. */
  words: Readonly<Record<string, string>>;
}

const levelsAtMost = 16;
const wordAtMost = 80;

/** Reads what the server says of its levels; whatever is malformed counts as none. */
export function levelsOf(value: unknown): LevelWords[] {
  if (!Array.isArray(value)) return [];
  const out: LevelWords[] = [];
  for (const level of value.slice(0, levelsAtMost) as unknown[]) {
    const { name, words } = (level ?? {}) as { name?: unknown; words?: unknown };
    if (typeof name !== "string" || name === "") return [];
    const pairs = Object.entries((words ?? {}) as Record<string, unknown>).filter((p): p is [string, string] => typeof p[1] === "string" && p[1] !== "");
    out.push({ name: name.slice(0, wordAtMost), words: Object.fromEntries(pairs.map(([l, w]) => [l, w.slice(0, wordAtMost)])) });
  }
  return out;
}

/** A level in a language, with the organisation's own name beside it where the two differ. */
export function levelWord(levels: readonly LevelWords[], name: string, language: string): string {
  return levels.find((l) => l.name === name)?.words[language] || name;
}
