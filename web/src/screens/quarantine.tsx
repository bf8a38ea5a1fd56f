// The own line is no longer good enough: why, the one fix, and that the way back goes by itself.

import type { App } from "../app";
import { Icon, LineDrawing, Page } from "../parts/parts";
import { secondsSince } from "../parts/time";
import { levelWord } from "../room/levels";
import { reasonsFor } from "../room/reasons";
import { fill, fixText, language, problemText, stopwatch, words } from "../words/words";
import { DevicePickers } from "./check";
import { RenewCard, TouchNote } from "./enrol";

/** What is put right only with the page left, or loaded anew. */
const leaving: ReadonlySet<string> = new Set(["use_passkey", "use_hardware_key", "use_https", "use_named_address", "use_enrolled_device", "enrol_again", "enrol_device", "update_client", "reload"]);

/** A place is kept this long, in seconds. */
const keptFor = 600;

export function Quarantined({ app }: { app: App }) {
  const w = words.value;
  const q = w.aside.quarantine;
  const { session } = app;
  const { state } = session.state.value;
  const out = session.quarantine.value;
  const reasons = reasonsFor(session.identity.value, out?.reasons ?? [], out?.touch === true);
  const away = reasons.some((r) => leaving.has(r.fix));
  // Who was never in stands here while two persons may let pass what their line lacks.
  const asking = !session.wasIn.value;
  const level = out?.raised && levelWord(app.levels.value, out.raised, language.value);
  const since = secondsSince(out?.since);
  const good = state === "entering" || state === "waiting" || state === "asking";
  const codes = new Set(reasons.map((r) => r.code));
  return (
    <Page organisation={session.identity.value?.organisation ?? app.organisation.value} class="quarantined">
      <div class="say" data-testid="screen-quarantined" data-state={state}>
        <div class={`drawing ${good ? "good" : "lost"}`}>
          <LineDrawing state={good ? "good" : "lost"} width={150} />
        </div>
        {good ? (
          <div role="status">
            <h1>{state === "waiting" ? q.waiting : q.entering}</h1>
            <p>{state === "waiting" ? w.door.meanwhile : q.enteringText}</p>
          </div>
        ) : (
          <>
            <div role="alert">
              <h1>{level ? fill(q.raised, { level }) : asking ? w.aside.asking.title : q.title}</h1>
              <p class="lead">{level ? q.raisedText : asking ? w.aside.asking.text : q.text}</p>
              <div class="reasons">
                {reasons.map((reason) => (
                  <div class="fix" key={reason.code} data-testid="reason" data-code={reason.code} data-fix={reason.fix}>
                    <p>{problemText(reason)}</p>
                    <p>
                      <b>{w.toFix}</b> {fixText(reason)}
                    </p>
                  </div>
                ))}
              </div>
            </div>
            <RenewCard app={app} reasons={reasons} />
            {state === "reconnecting" && (
              <p role="status" data-testid="quarantine-reconnecting">
                <Icon name="wifi-off" size={18} /> {q.reconnecting}
              </p>
            )}
            {out?.touch && (
              <section class="here" aria-label={q.change} data-testid="quarantine-touch">
                <TouchNote app={app} problem={session.joinProblem.value} testid="join-problem" />
                <button class="btn primary" type="button" disabled={session.healing.value || state !== "quarantined"} onClick={() => session.touch(app.claims())} data-testid="touch-again">
                  <Icon name="key" />
                  {q.touch}
                </button>
              </section>
            )}
            {codes.has("not_alone") && (
              <button class="btn here" type="button" onClick={() => (app.alone.value = "yes")} data-testid="alone-again">
                {q.alone}
              </button>
            )}
            {codes.has("headset_radio") && (
              <section class="here" aria-label={q.change}>
                <h2>{q.change}</h2>
                <DevicePickers app={app} sound />
              </section>
            )}
            <ul class="points">
              <li>
                <Icon name="refresh-cw" />
                <span>{away ? q.comeBack : asking ? w.aside.asking.byItself : q.byItself}</span>
              </li>
              <li>
                <Icon name="clock" />
                <span class="num" data-testid="quarantined-since">
                  {fill(asking ? w.aside.asking.since : since < keptFor ? q.since : q.sinceLong, { clock: stopwatch(since) })}
                </span>
              </li>
            </ul>
          </>
        )}
        <div class="acts">
          <button class="btn" type="button" onClick={() => (asking ? app.stopAsking() : session.leave())} data-testid="quarantine-leave">
            {asking ? w.door.stop : w.leave.title.replace(/\s*\?$/, "")}
          </button>
        </div>
      </div>
    </Page>
  );
}
