// The chair's dialogs: raising the level, and asking for an exception. Both say what happens, who decides, and that there is
// no quiet way back.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { App } from "../app";
import type { Problem } from "../core/events";
import { Dialog, Icon } from "../parts/parts";
import { ProblemCard } from "./enrol";
import { levelColour, levelWord } from "../room/levels";
import { fill, language, whyText, words } from "../words/words";

export function RaiseDialog({ app, onClose }: { app: App; onClose: () => void }) {
  const w = words.value.aside.level;
  const { session } = app;
  const now = session.meeting.value?.level ?? 0;
  const levels = app.levels.value;
  const higher = levels.map((_, i) => i).filter((i) => i > now);
  const wanted = useSignal(higher[0]);
  const { raising, raiseProblem } = session.aside;
  const asked = useSignal(false);
  useEffect(() => {
    session.aside.askingToRaise = true;
    raiseProblem.value = undefined;
    return () => void (session.aside.askingToRaise = false);
  }, []);
  // In force, or under way for all to see: there is nothing left to ask.
  const waiting = asked.value && raising.value !== undefined;
  useEffect(() => {
    if (asked.value && raising.value === undefined && !raiseProblem.value) onClose();
  }, [asked.value, raising.value, raiseProblem.value]);
  const word = (level: number) => levelWord(levels, levels[level]?.name ?? "", language.value);
  const current = levelWord(levels, session.meeting.value?.level_name ?? "", language.value);
  return (
    <Dialog label={w.title} onClose={onClose} class="paper" testid="raise-dialog">
      <h2>{w.title}</h2>
      <p class="sub">{fill(w.now, { level: current })}</p>
      {higher.length === 0 ? (
        <p class="sub">{w.highest}</p>
      ) : (
        <fieldset>
          <legend>{w.to}</legend>
          {higher.map((level) => (
            <label class="opt" key={level}>
              <input type="radio" name="level" value={level} checked={wanted.value === level} onChange={() => (wanted.value = level)} data-testid={`raise-to-${level}`} />
              <span class="chip" style={{ background: levelColour(levels, level) }}>{word(level)}</span>
            </label>
          ))}
        </fieldset>
      )}
      <div class="after">
        <ul>
          {w.then.map((text, i) => (
            <li key={i}>
              <Icon name={(["check", "log-out", "eye"] as const)[i] ?? "eye"} size={18} />
              <span>{text}</span>
            </li>
          ))}
        </ul>
      </div>
      <p class="sub">{w.lower}</p>
      {raiseProblem.value && <ProblemCard problem={{ ...raiseProblem.value, args: { ...raiseProblem.value.args, level: word(wanted.value ?? now) } }} testid="raise-problem" />}
      {waiting && raising.value !== undefined && (
        <p class="sub" role="status">
          {fill(w.raising, { level: word(raising.value) })} {w.raisingRest}
        </p>
      )}
      <div class="acts">
        {wanted.value !== undefined && (
          <button
            class="btn primary"
            type="button"
            onClick={() => {
              if (wanted.value === undefined) return;
              asked.value = true;
              session.aside.raise(wanted.value);
            }}
            disabled={waiting}
            data-testid="raise-now"
          >
            {fill(w.confirm, { level: word(wanted.value) })}
          </button>
        )}
        <button class="btn" type="button" data-focus onClick={onClose} data-testid="raise-keep">
          {fill(w.keep, { level: current })}
        </button>
      </div>
    </Dialog>
  );
}

const lengths = [5, 15, 30, 60];
const reasonBytes = 200;

/** What fits into the record: whole characters within 200 bytes of UTF-8. */
function fitting(text: string): string {
  const encoder = new TextEncoder();
  let out = text;
  while (encoder.encode(out).length > reasonBytes) out = [...out].slice(0, -1).join("");
  return out;
}

type ExceptProps = { app: App; leg: string; name: string; reasons: readonly Problem[]; onClose: () => void };

export function ExceptDialog({ app, leg, name, reasons, onClose }: ExceptProps) {
  const w = words.value;
  const x = w.aside.exception;
  const reason = useSignal("");
  const minutes = useSignal(15);
  const text = reason.value.trim();
  return (
    <Dialog label={fill(x.title, { name })} onClose={onClose} class="paper" testid="except-dialog">
      <h2>{fill(x.title, { name })}</h2>
      <div class="reasons">
        <div class="fix">
          <p>
            <b>{x.stands}:</b> {reasons.map((r) => whyText(r)).join(" ")}
          </p>
        </div>
      </div>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          if (!text) return;
          app.session.aside.except(leg, text, minutes.value);
          onClose();
        }}
      >
        <label class="field wide">
          <span>{x.reason}</span>
          <textarea rows={2} required data-focus value={reason.value} onInput={(e) => (reason.value = e.currentTarget.value = fitting(e.currentTarget.value))} data-testid="except-reason" />
          <small>{x.reasonHint}</small>
        </label>
        <fieldset class="row">
          <legend>{x.minutes}</legend>
          {lengths.map((n) => (
            <label class="opt" key={n}>
              <input type="radio" name="minutes" value={n} checked={minutes.value === n} onChange={() => (minutes.value = n)} data-testid={`except-${n}`} />
              {fill(x.forMinutes, { n })}
            </label>
          ))}
        </fieldset>
        <div class="after">
          <ul>
            {x.then.map((line, i) => (
              <li key={i}>
                <Icon name={(["users", "clock", "eye"] as const)[i] ?? "eye"} size={18} />
                <span>{line}</span>
              </li>
            ))}
          </ul>
        </div>
        <div class="acts">
          <button class="btn primary" type="submit" disabled={!text} aria-describedby={text ? undefined : "except-missing"} data-testid="except-ask">
            {x.ask}
          </button>
          <button class="btn" type="button" onClick={onClose} data-testid="except-cancel">
            {x.cancel}
          </button>
        </div>
        {!text && (
          <p class="sub" id="except-missing">
            {x.missing}
          </p>
        )}
      </form>
    </Dialog>
  );
}
