// The choice of language outlives the page: it is the only thing that the page itself keeps.

import { effect } from "@preact/signals";
import { language, languages, pickLanguage, speak, type Language } from "../words/words";

const place = "conclave.language";

/** Resolves when the catalogue is here. */
export async function startLanguage(): Promise<void> {
  let kept: string | null = null;
  try {
    kept = localStorage.getItem(place);
  } catch {
    // Storage may be closed to us; the browser's languages then decide each time.
  }
  effect(() => {
    document.documentElement.lang = language.value;
  });
  const wanted = kept && languages.includes(kept as Language) ? (kept as Language) : pickLanguage(navigator.languages);
  await speak(wanted).catch(() => {}); // English then

}

export function chooseLanguage(chosen: Language): void {
  void speak(chosen).catch(() => {});
  try {
    localStorage.setItem(place, chosen);
  } catch {
    // See above.
  }
}
