// The keyboard in the room: single letters, unless the person is typing, a dialog is open, or they switched them off.

import { signal, type Signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { App } from "../app";
import { spelt } from "./code";
import { say } from "./notes";
import { fill, words } from "../words/words";
import type { Over } from "./room";

/** Speech input types letters that nobody meant as keys: so they can be switched off (WCAG 2.1.4). */
export const keysOn = signal(true);

export const keyList = ["m", "v", "s", "h", "p", "x", "c"] as const;

export function useKeys(app: App, { over, people }: { over: Signal<Over>; people: Signal<boolean> }): void {
  useEffect(() => {
    const { session } = app;
    const act: Record<string, () => void> = {
      m: () => {
        if (app.media.devices.microphone.value === "on") session.setMuted(!session.muted.value);
      },
      v: () => void session.setCamera(!session.camera.value),
      s: () => void session.setScreen(!session.screen.value),
      h: () => session.setHand(!session.hand.value),
      p: () => (people.value = !people.value),
      x: () => session.aside.pause(false),
      c: () => say(fill(words.value.notes.codeRead, { groups: session.code.value?.groups.map(spelt).join(", ") ?? "" })),
      "?": () => (over.value = { what: "keys" }),
    };
    const pressed = (e: KeyboardEvent) => {
      if (e.ctrlKey || e.metaKey || e.altKey || e.repeat || over.value) return;
      const target = e.target instanceof HTMLElement ? e.target : undefined;
      if (target?.closest("input, select, textarea, [contenteditable], dialog")) return;
      const key = e.key.toLowerCase();
      if (!keysOn.value && key !== "?") return;
      if (session.state.value.state !== "in" && key !== "p") return;
      const action = act[key];
      if (!action) return;
      e.preventDefault();
      action();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}
