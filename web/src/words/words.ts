// The language that the page speaks: one of the catalogues, chosen from the browser's languages, changed by the switch in
// every header. Components read `words.value`, so that a change redraws them.

import { batch, signal } from "@preact/signals";
import type { Problem } from "../core/events";
import { en, type Messages, type Plural } from "./en";

// English is in the page; another language comes as a file of its own, only where it is wanted.
const catalogues = {
  en: () => Promise.resolve(en as Messages),
  de: () => import("./de").then((m): Messages => m.de),
  fr: () => import("./fr").then((m): Messages => m.fr),
};

export type Language = keyof typeof catalogues;

export const languages = Object.keys(catalogues) as Language[];

/** The name of each language in itself. */
export const languageNames: Readonly<Record<Language, string>> = { en: "English", de: "Deutsch", fr: "Français" };

/** The first of the wanted languages (BCP 47 tags) that there is a catalogue for, else English. */
export function pickLanguage(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const primary = tag.toLowerCase().split("-")[0] as Language;
    if (languages.includes(primary)) return primary;
  }
  return "en";
}

export const language = signal<Language>("en");

export const words = signal<Messages>(en);

/** Speaks another language from now on; what was spoken stays if its catalogue cannot be had. */
export async function speak(wanted: Language): Promise<void> {
  const catalogue = await catalogues[wanted]();
  batch(() => {
    language.value = wanted;
    words.value = catalogue;
  });
}

export type Args = Readonly<Record<string, string | number>>;

/** Puts arguments in the place of {name}; what has no argument stays as it is, so that a slip is seen. */
export function fill(text: string, args: Args = {}): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => (name in args ? String(args[name]) : whole));
}

/** Chooses between one and other by the rules of the language; {n} is the number. */
export function count(text: Plural, n: number, args: Args = {}): string {
  const category = new Intl.PluralRules(language.value).select(n);
  return fill(category === "one" ? text.one : text.other, { n, ...args });
}

/** Names as a list: "Anna, Jan and Marta". */
export function list(names: readonly string[]): string {
  return new Intl.ListFormat(language.value, { type: "conjunction" }).format(names);
}

/** A point in time as hours and minutes of a whole day, in the person's own zone. */
export function clockTime(time: Date): string {
  return new Intl.DateTimeFormat(language.value, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(time);
}

export function day(time: Date): string {
  const locale = language.value === "en" ? "en-GB" : language.value;
  return new Intl.DateTimeFormat(locale, { day: "numeric", month: "long", year: "numeric" }).format(time);
}

/** When something ends, seen from now: the clock alone on the same day, else the day too. */
export function endTime(time: Date, now: Date): string {
  return time.toDateString() === now.toDateString() ? clockTime(time) : `${day(time)}, ${clockTime(time)}`;
}

/** A span of seconds, short: "26 s", "1:05 min". */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")} min`;
}

/** A waiting clock: "0:40". */
export function stopwatch(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Arguments of a problem that are themselves codes, worded. */
function wordedArgs(problem: Problem): Args {
  const w = words.value;
  const args: Record<string, string> = { ...problem.args };
  const reason = args["reason"];
  if (reason && reason in w.remove.reasons) args["reason"] = w.remove.reasons[reason as keyof typeof w.remove.reasons];
  const stream = args["stream"];
  if (stream && stream in w.streams) args["stream"] = w.streams[stream as keyof typeof w.streams];
  const why = args["why"];
  if (why && why in w.problems) args["why"] = w.problems[why as keyof typeof w.problems];
  const date = args["date"];
  if (date && !Number.isNaN(Date.parse(date))) args["date"] = day(new Date(date));
  for (const [name, value] of Object.entries(args)) {
    if (value in w.grades) args[name] = w.grades[value as keyof typeof w.grades].name;
  }
  return args;
}

/** What a problem means. A code that no catalogue knows (a newer server) gets a sentence that is true of any problem. */
export function problemText(problem: Problem): string {
  const texts: Readonly<Record<string, string>> = words.value.problems;
  return fill(texts[problem.code] ?? texts["unknown"] ?? "", { code: problem.code, ...wordedArgs(problem) });
}

/** What stands in somebody else's way. */
export function whyText(problem: Problem): string {
  const texts: Readonly<Record<string, string>> = words.value.aside.why;
  return texts[problem.code] ?? problemText(problem);
}

/** The one thing to do about a problem. */
export function fixText(problem: Problem): string {
  const texts: Readonly<Record<string, string>> = words.value.fixes;
  return fill(texts[problem.fix] ?? texts["unknown"] ?? "", { code: problem.fix, ...wordedArgs(problem) });
}

/** A fact's name and value in words; what has no words is shown as it came. */
export function factText(fact: { name: string; value: string }): { name: string; value: string } {
  const { names, values } = words.value.facts as { names: Record<string, string>; values: Record<string, string> };
  return { name: names[fact.name] ?? fact.name, value: values[fact.value] ?? fact.value };
}
