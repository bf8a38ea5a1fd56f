// The small pieces that all screens are made of: native elements with the house's look.

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { chooseLanguage } from "./language";
import { icons, type IconName } from "./icons";
import { language, languageNames, languages, words, type Language } from "../words/words";

/** An icon says nothing by itself: the word beside it does. */
export function Icon({ name, size = 20, class: className = "" }: { name: IconName; size?: number; class?: string }) {
  return (
    <svg class={`ic ${className}`} width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">
      {icons[name].map(([Tag, attributes]) => (
        <Tag {...attributes} />
      ))}
    </svg>
  );
}

export type LineState = "good" | "here" | "unknown" | "weak" | "lost" | "phone";

/** The line, drawn: solid, dashed, with a gap, or with a diamond where encryption ends. The word always stands beside. */
export function LineDrawing({ state, width = 56 }: { state: LineState; width?: number }) {
  const end = width - 4;
  const middle = width / 2;
  return (
    <svg class={`drawn ${state}`} width={width} height="14" viewBox={`0 0 ${width} 14`} fill="none" aria-hidden="true" focusable="false">
      <circle cx="4" cy="7" r="3.4" fill="currentColor" />
      {(state === "good" || state === "here") && <path d={`M4 7H${end}`} stroke="currentColor" stroke-width="2.2" />}
      {state === "weak" && <path d={`M8 7H${end}`} stroke="currentColor" stroke-width="2.2" stroke-dasharray="7 4.2" />}
      {state === "lost" && <path d={`M4 7H${middle - 7}M${middle + 7} 7H${end}`} stroke="currentColor" stroke-width="2.2" />}
      {state === "lost" && <path d={`M${middle - 4} 2.5V11.5M${middle + 4} 2.5V11.5`} stroke="currentColor" stroke-width="1.8" />}
      {state === "phone" && <path d={`M4 7H${middle - 5}`} stroke="currentColor" stroke-width="2.2" />}
      {state === "phone" && <path d={`M${middle} .8L${middle + 6.2} 7L${middle} 13.2L${middle - 6.2} 7Z`} stroke="currentColor" stroke-width="1.8" />}
      {state === "phone" && <path d={`M${middle + 9} 7H${end - 2}`} stroke="currentColor" stroke-width="2.4" stroke-dasharray="0.1 5" stroke-linecap="round" />}
      {state === "unknown" && <path d={`M${middle - 8} 7h.1M${middle} 7h.1M${middle + 8} 7h.1`} stroke="currentColor" stroke-width="3" stroke-linecap="round" />}
      {state === "good" || state === "here" || state === "weak" ? (
        <circle cx={end} cy="7" r="3.4" fill="currentColor" />
      ) : (
        <circle cx={end} cy="7" r="2.8" stroke="currentColor" stroke-width="1.8" />
      )}
    </svg>
  );
}

/** The level of the meeting over the full width: in words, and never by colour alone. */
export function Marking({ colour, name, more, place }: { colour: string; name: string; more: string; place: "top" | "bottom" }) {
  const w = words.value;
  return (
    <div class="marking" style={{ background: colour }} role="region" aria-label={place === "top" ? w.level.top : w.level.bottom} data-testid={`level-${place}`}>
      <b>{name}</b>
      {more && <span data-testid={`banner-${place}`}>{more}</span>}
    </div>
  );
}

export function LanguageSwitch() {
  const w = words.value;
  return (
    <label class="language">
      <span class="vh">{w.languageLabel}</span>
      <select value={language.value} onChange={(e) => chooseLanguage(e.currentTarget.value as Language)} data-testid="language">
        {languages.map((l) => (
          <option value={l} lang={l}>
            {languageNames[l]}
          </option>
        ))}
      </select>
    </label>
  );
}

type DialogProps = {
  label: string;
  onClose: () => void;
  children: ComponentChildren;
  class?: string;
  testid: string;
  /** A sheet lies at the edge and leaves the rest in use; a dialog takes all attention. */
  modal?: boolean;
};

/** A native dialog, open as long as it is drawn. Escape and a press beside it close it; focus goes back by itself. */
export function Dialog({ label, onClose, children, class: className = "", testid, modal = true }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const dialog = ref.current;
    if (!dialog || dialog.open) return;
    if (modal) dialog.showModal();
    else dialog.show();
    dialog.querySelector<HTMLElement>("[data-focus]")?.focus();
    return () => dialog.close();
  }, []);
  const pressed = (e: { target: EventTarget | null; currentTarget: EventTarget }) => {
    if (modal && e.target === e.currentTarget) onClose();
  };
  return (
    <dialog
      ref={ref}
      class={`dialog ${className}`}
      aria-label={label}
      onClick={pressed}
      onCancel={(e) => {
        e.preventDefault();
        onClose();
      }}
      data-testid={testid}
    >
      <div class="dialog-body">{children}</div>
    </dialog>
  );
}

/** The organisation's sign: its first letter in a ring, until it gives one of its own. */
export function Organisation({ name }: { name: string }) {
  const letter = name.trim()[0] ?? "·";
  return (
    <div class="org">
      <i aria-hidden="true">{letter.toLocaleUpperCase()}</i>
      <span data-testid="organisation">{name || words.value.product}</span>
    </div>
  );
}

/** The page around everything that is not the room: header with organisation and language, one main part. */
export function Page({ organisation, children, class: className = "" }: { organisation: string; children: ComponentChildren; class?: string }) {
  const w = words.value;
  return (
    <div class={`page ${className}`}>
      <a class="skip" href="#main">
        {w.skip}
      </a>
      <header class="top">
        <Organisation name={organisation} />
        <LanguageSwitch />
      </header>
      <main id="main" tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}
