// Mission mode: a person tests the line a day before it is needed, from the place itself, and takes a signed answer along.

import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { App } from "../app";
import type { ReadyEvent } from "../core/events";
import { bytes } from "../core/text";
import { Icon, LineDrawing, Page } from "../parts/parts";
import { stations } from "../room/check";
import { levelWord } from "../room/levels";
import { clockTime, count, day, fill, fixText, language, problemText, words } from "../words/words";
import { DevicePickers, WhereAreYou } from "./check";
import { ProblemCard } from "./enrol";

export function Ready({ app }: { app: App }) {
  const w = words.value;
  const r = w.aside.ready;
  const { session, media } = app;
  const levels = app.levels.value;
  const level = useSignal<number | undefined>(undefined);
  useEffect(() => {
    if (media.devices.microphone.value === "asking") void media.devices.start();
  }, []);
  // What the answer found stands at its station too: a list that says "good" beside a reason would contradict it.
  const list = useComputed(() => {
    const { line } = app.known.value;
    const reasons = session.ready.value?.reasons ?? [];
    return stations({ ...app.known.value, line: line && reasons.length > 0 ? { ...line, enough: false, findings: reasons } : line }).filter((s) => s.id === "browser" || s.id === "network" || s.id === "sound");
  });
  const wanted = level.value ?? Math.min(2, levels.length - 1);
  const state = session.state.value.state;
  const may = state === "checked" && !session.testing.value && levels.length > 0;
  const refused = state === "refused" || state === "ended" ? (session.state.value.reasons ?? []) : [];
  const word = (name: string) => levelWord(levels, name, language.value);
  return (
    <Page organisation={session.identity.value?.organisation ?? app.organisation.value}>
      <div class="mission" data-testid="screen-ready" data-state={state}>
        <div class="title">
          <h1>{r.title}</h1>
          <p>{r.text}</p>
        </div>
        <section>
          <fieldset class="levels">
            <legend>{r.level}</legend>
            {levels.map((l, i) => (
              <label class="opt" key={l.name}>
                <input type="radio" name="level" value={i} checked={wanted === i} onChange={() => (level.value = i)} data-testid={`ready-level-${i}`} />
                <span class="chip" style={{ background: l.colour }}>{word(l.name)}</span>
              </label>
            ))}
            {levels.length === 0 && <p class="small">{r.noLevels}</p>}
          </fieldset>
          <DevicePickers app={app} sound />
          <label class="opt">
            <input type="checkbox" checked={app.alone.value === "yes"} onChange={(e) => (app.alone.value = e.currentTarget.checked ? "yes" : "")} data-testid="ready-alone" />
            {w.check.alone}
          </label>
          <WhereAreYou app={app} />
          <div class="acts">
            <button class="btn primary" type="button" disabled={!may} onClick={() => session.mission(wanted, app.claims())} data-testid="ready-test">
              {session.testing.value ? r.busy : session.ready.value ? r.again : r.button}
            </button>
          </div>
        </section>
        <section aria-live="polite">
          {session.ready.value && <Answer ready={session.ready.value} name={word(session.ready.value.level_name)} />}
          {session.readyProblem.value && <ProblemCard problem={session.readyProblem.value} testid="ready-problem" />}
          {refused.map((p) => (
            <ProblemCard key={p.code} problem={p} testid="ready-refused" />
          ))}
          <ul class="points stations">
            {list.value.map((s) => (
              <li key={s.id} data-testid={`ready-${s.id}`} data-mark={s.mark}>
                <Icon name={s.mark === "good" ? "check" : s.mark === "testing" ? "ellipsis" : s.mark === "bad" ? "x" : "triangle-alert"} />
                <span>
                  <b>{w.check.stations[s.id]}.</b> {s.problems.length > 0 ? s.problems.map(problemText).join(" ") : fill((w.check.means as Readonly<Record<string, string>>)[s.means.code] ?? "", s.means.args)}
                  {s.means.fix && s.problems.length === 0 && s.mark !== "good" && <> {fill((w.check.fixes as Readonly<Record<string, string>>)[s.means.fix] ?? "", s.means.args)}</>}
                </span>
              </li>
            ))}
          </ul>
        </section>
      </div>
    </Page>
  );
}

function Answer({ ready, name }: { ready: ReadyEvent; name: string }) {
  const w = words.value;
  const r = w.aside.ready;
  const print = useSignal("");
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    place.current?.scrollIntoView({ block: "nearest" });
    print.value = "";
    if (!ready.document) return;
    void crypto.subtle.digest("SHA-256", bytes(ready.document)).then((hash) => {
      print.value = [...new Uint8Array(hash).slice(0, 8)].map((b) => b.toString(16).padStart(2, "0")).join("").replace(/(.{4})(?=.)/g, "$1 ");
    });
  }, [ready]);
  const until = new Date(ready.until);
  const reasons = ready.reasons ?? [];
  return (
    <div ref={place} class={`answer ${ready.ready ? "passed" : "missing"}`} data-testid="ready-answer" data-ready={String(ready.ready)}>
      <h2>
        <LineDrawing state={ready.ready ? "good" : "lost"} width={72} />
        <span>{fill(ready.ready ? r.ready : r.not, { level: name })}</span>
      </h2>
      <p>{ready.ready ? r.readyText : count(r.notText, reasons.length)}</p>
      {reasons.length > 0 && (
        <div class="reasons">
          {reasons.map((p) => (
            <div class="fix" key={p.code} data-testid="reason" data-code={p.code} data-fix={p.fix}>
              <p>{problemText(p)}</p>
              <p>
                <b>{w.toFix}</b> {fixText(p)}
              </p>
            </div>
          ))}
        </div>
      )}
      {ready.document && (
        <div class="document">
          <p>{fill(r.readyUntil, { day: day(until), time: clockTime(until) })}</p>
          <p>
            {r.fingerprint}: <span class="mono" data-testid="ready-fingerprint">{print.value}</span>
          </p>
          <div class="acts">
            <button class="btn" type="button" onClick={() => save(ready)} data-testid="ready-save">
              {r.save}
            </button>
          </div>
          <p class="small">{r.saveHint}</p>
        </div>
      )}
    </div>
  );
}

/** Gives the signed document to the browser to keep. */
function save(ready: ReadyEvent): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([ready.file ?? ""], { type: "application/json" }));
  link.download = `${ready.ready ? "ready" : "not-ready"}-${ready.level_name.toLowerCase().replace(/[^a-z0-9]+/g, "-")}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
