// What is told in passing: one line below the stage for what concerns the person who looks, and everything, in words, for
// those who listen to the page.

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { App } from "../app";
import { thenMain } from "../parts/focus";
import { Icon, LineDrawing, type LineState } from "../parts/parts";
import type { IconName } from "../parts/icons";
import type { Note } from "../room/session";
import { levelWord } from "../room/levels";
import { count, fill, fixText, language, problemText, words } from "../words/words";
import { blocked, playAll } from "./sinks";

/** Said once to a screen reader, by the person's own wish (the key c). */
const said = signal("");

const liveLine = signal("");

export function say(text: string): void {
  said.value = "";
  queueMicrotask(() => (said.value = text));
}

function noteText(app: App, note: Note): { first: string; rest: string } {
  const w = words.value;
  const n = w.aside.notes;
  switch (note.what) {
    case "removed":
      return { first: fill(w.notes.removed, { name: note.name }), rest: w.notes.removedRest };
    case "back":
      return { first: w.notes.back, rest: `${count(w.notes.backMissed, note.missed)} ${note.newCode ? w.notes.backNew : w.notes.backSame}` };
    case "failed":
      return { first: `${w.failed.title}:`, rest: `${problemText(note.problem)} ${fixText(note.problem)}` };
    case "away":
    case "healed":
    case "phone": {
      const rest = { away: n.awayRest, healed: n.healedRest, phone: n.phoneRest }[note.what];
      return { first: fill(n[note.what], { name: note.name }), rest: fill(rest, { name: note.name }) };
    }
    case "paused":
      return { first: fill(n.paused, { name: note.name }), rest: n.pausedRest };
    case "paused_nameless":
      return { first: n.pausedNameless, rest: n.pausedRest };
    case "continued":
      return { first: n.continued, rest: "" };
    case "raised":
      return { first: fill(n.raised, { level: levelWord(app.levels.value, note.level, language.value) }), rest: note.name ? fill(w.aside.level.raisedBy, { name: note.name }) : "" };
    case "except_asked":
      return { first: fill(n.exceptAsked, { name: note.name }), rest: "" };
    case "excepted":
      return { first: fill(n.excepted, { name: note.name }), rest: "" };
    case "except_over":
      return { first: fill(n.exceptOver, { name: note.name }), rest: "" };
    case "closed":
      return { first: w.aside.share.closed, rest: w.aside.share.closedRest };
    case "reopened":
      return { first: w.aside.share.open, rest: "" };
    case "hushed":
      return { first: note.name ? fill(n.hushed, { name: note.name }) : n.hushedNameless, rest: n.hushedRest };
    case "hushed_own":
      return { first: n.hushedOwn, rest: n.hushedOwnRest };
    case "shut":
      return { first: w.aside.chair.closed, rest: w.aside.chair.closedRest };
    case "unshut":
      return { first: n.unshut, rest: "" };
    case "chair":
      return { first: fill(n.chair, { name: note.name }), rest: "" };
    case "chair_own":
      return { first: n.chairOwn, rest: "" };
    case "lost":
      return { first: fill(w.notes.lost, { name: note.name }), rest: w.notes.lostRest };
    case "came":
    case "went":
      return { first: fill(w.notes[note.what], { name: note.name }), rest: "" };
    case "at_door":
      return { first: fill(w.notes.atDoor, { name: note.name }), rest: "" };
    case "hand":
      return { first: fill(w.notes.handUp, { name: note.name }), rest: "" };
    case "shares":
      return { first: fill(w.notes.shares, { name: note.name }), rest: "" };
    case "shares_end":
      return { first: fill(w.notes.sharesEnd, { name: note.name }), rest: "" };
    case "returned":
      return { first: fill(w.notes.returned, { name: note.name }), rest: "" };
  }
}

type Told = { tone: LineState | "plain"; line?: LineState; icon?: IconName; first: string; rest: string; note?: Note; act?: { label: string; run: () => void }; testid: string };

/** The one thing worth a line now: what the person must act on, then their own line, then others'. */
function pick(app: App): Told | undefined {
  const w = words.value;
  const { session } = app;
  const notes = session.notes.value;
  const last = (what: Note["what"]) => notes.findLast((n) => n.what === what);
  const told = (note: Note, tone: Told["tone"], more: Partial<Told> = {}): Told => ({ tone, ...noteText(app, note), note, testid: `note-${note.what}`, ...more });
  if (blocked.value) {
    return { tone: "weak", icon: "volume-2", first: w.room.playBlocked, rest: "", act: { label: w.room.play, run: playAll }, testid: "note-blocked" };
  }
  if (session.blocked.value) {
    const problem = { code: "media_lost", fix: "check_network" };
    return { tone: "lost", line: "lost", first: problemText(problem), rest: fixText(problem), testid: "note-no-media" };
  }
  const failed = last("failed");
  if (failed) return told(failed, "weak", { icon: "triangle-alert" });
  // Whoever spoke just then learns by whom, before they learn that they speak to nobody.
  const hushed = last("hushed");
  if (hushed) return told(hushed, "weak", { icon: "mic-off", act: { label: w.room.unmute, run: () => session.setMuted(false) } });
  if (session.mutedSpeech.value) {
    return { tone: "weak", icon: "mic-off", first: w.notes.talkingMuted, rest: "", act: { label: w.room.unmute, run: () => session.setMuted(false) }, testid: "note-muted" };
  }
  const chair = last("chair_own");
  if (chair) return told(chair, "good", { icon: "users" });
  const hushedOwn = last("hushed_own");
  if (hushedOwn) return told(hushedOwn, "plain", { icon: "mic-off" });
  const removed = last("removed");
  if (removed) return told(removed, "plain", { icon: "key" });
  if (session.weak.value) return { tone: "weak", line: "weak", first: w.notes.ownWeak, rest: w.notes.ownWeakRest, testid: "note-weak" };
  const back = last("back");
  if (back) return told(back, "good", { line: "good" });
  const away = last("away");
  if (away) return told(away, "lost", { line: "lost" });
  const phone = last("phone");
  if (phone) return told(phone, "plain", { line: "phone" });
  const closed = last("closed");
  if (closed) return told(closed, "weak", { icon: "monitor-up" });
  const lost = last("lost");
  if (lost) return told(lost, "lost", { line: "lost" });
  if (session.screen.value) {
    return { tone: "plain", icon: "monitor-up", first: w.room.ownScreen, rest: app.media.screenSound.value ? w.room.ownScreenSound : "", act: { label: w.room.stopShare, run: () => void session.setScreen(false) }, testid: "note-sharing" };
  }
  const healed = last("healed");
  if (healed) return told(healed, "good", { line: "good" });
  const raising = session.aside.raising.value;
  if (raising !== undefined) {
    const level = app.levels.value[raising]?.name ?? "";
    return { tone: "plain", icon: "chevrons-up", first: fill(w.aside.level.raising, { level: levelWord(app.levels.value, level, language.value) }), rest: w.aside.level.raisingRest, testid: "note-raising" };
  }
  const hand = last("hand");
  if (hand) return told(hand, "plain", { icon: "hand" });
  return undefined;
}

export function Strip({ app }: { app: App }) {
  const w = words.value;
  const told = pick(app);
  if (!told) return null;
  const { note, act } = told;
  return (
    <div class={`mine tone-${told.tone}`} data-testid={told.testid}>
      {told.line && <LineDrawing state={told.line} width={64} />}
      {told.icon && <Icon name={told.icon} />}
      <p>
        <b>{told.first}</b> {told.rest}
      </p>
      {act && (
        <button class="btn sm" type="button" onClick={act.run} data-testid="note-act">
          {act.label}
        </button>
      )}
      {note && (
        <button class="btn sm text" type="button" onClick={(e) => thenMain(e.currentTarget, () => app.session.dismiss(note))} data-testid="note-dismiss">
          {w.room.dismiss}
        </button>
      )}
    </div>
  );
}

/** Everything that happens, for a screen reader; each thing once. */
export function Live({ app }: { app: App }) {
  const w = words.value;
  const told = useRef(new WeakSet<Note>());
  const notes = app.session.notes.value;
  useEffect(() => {
    const fresh = notes.filter((n) => !told.current.has(n));
    if (fresh.length === 0) return;
    for (const note of fresh) told.current.add(note);
    liveLine.value = fresh.map((n) => Object.values(noteText(app, n)).join(" ").trim()).join(" ");
  }, [notes]);
  const weak = app.session.blocked.value ? w.room.truthBlocked : app.session.weak.value ? w.notes.ownWeak : "";
  return (
    <div class="vh" aria-live="polite" data-testid="live">
      <span>{liveLine.value}</span> <span>{weak}</span> <span>{said.value}</span>
    </div>
  );
}
