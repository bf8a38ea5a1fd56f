// The choice of language outlives the page: it is the only thing that the page itself keeps.

import { effect } from "@preact/signals";
import { language, languages, pickLanguage, type Language } from "../words/words";

const place = "conclave.language";

export function startLanguage(): void {
  let kept: string | null = null;
  try {
    kept = localStorage.getItem(place);
  } catch {
    // Storage may be closed to us; the browser's languages then decide each time.
  }
  language.value = kept && languages.includes(kept as Language) ? (kept as Language) : pickLanguage(navigator.languages);
  effect(() => {
    document.documentElement.lang = language.value;
  });
}

export function chooseLanguage(chosen: Language): void {
  language.value = chosen;
  try {
    localStorage.setItem(place, chosen);
  } catch {
    // See above.
  }
}
