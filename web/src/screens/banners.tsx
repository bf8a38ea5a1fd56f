// What stands above the stage until it is over: a pause, a level that was raised just now, exceptions, and somebody at the
// door whom nobody knows. Each is told once to a screen reader by the room's live region; what asks for a decision is an
// alert.

import type { App } from "../app";
import type { Exception, Guest } from "../core/events";
import { thenMain } from "../parts/focus";
import { Icon } from "../parts/parts";
import { levelColour, levelWord } from "../room/levels";
import { clockTime, fill, language, whyText, words } from "../words/words";
import { Deciding, DoorFacts } from "./door";

export function Banners({ app }: { app: App }) {
  const { session } = app;
  const { aside } = session;
  const unknown = session.isChair.value ? session.guests.value.find((g) => g.known === false && g.kind !== "phone") : undefined;
  return (
    <>
      {aside.paused.value && <Pause app={app} />}
      <Raised app={app} />
      <Offered app={app} />
      <Shut app={app} />
      {aside.asked.value.map((e) => (
        <Asked key={e.id} app={app} exception={e} />
      ))}
      {unknown && <Unknown app={app} guest={unknown} />}
      {aside.inForce.value.map((e) => (
        <InForce key={e.id} exception={e} />
      ))}
    </>
  );
}

function Pause({ app }: { app: App }) {
  const w = words.value.aside.pause;
  const paused = app.session.aside.paused.value;
  if (!paused) return null;
  const time = clockTime(new Date(paused.since));
  return (
    <section class="banner pause" aria-label={w.title} data-testid="paused" data-by={paused.by}>
      <Icon name="pause" size={26} />
      <p>
        <b>{w.title}.</b> {w.text} {paused.by ? fill(w.by, { name: paused.by, time }) : fill(w.byNobody, { time })}
        {!paused.can && <> {paused.by ? w.whoMay : w.whoMayNameless}</>}
      </p>
      {paused.can && (
        <button class="btn sm primary" type="button" onClick={(e) => thenMain(e.currentTarget, () => app.session.aside.goOn())} data-testid="go-on">
          {w.goOn}
        </button>
      )}
    </section>
  );
}

function Raised({ app }: { app: App }) {
  const w = words.value.aside.level;
  const note = app.session.notes.value.findLast((n) => n.what === "raised");
  if (note?.what !== "raised") return null;
  const level = levelWord(app.levels.value, note.level, language.value);
  return (
    <section class="banner raised" style={{ background: levelColour(app.levels.value, app.session.meeting.value?.level ?? -1) }} aria-label={fill(w.raised, { level })} data-testid="raised">
      <Icon name="chevrons-up" size={26} />
      <p>
        <b>{fill(w.raised, { level })}</b> {note.name && fill(w.raisedBy, { name: note.name })} {w.raisedRest}
      </p>
      <button class="btn sm" type="button" onClick={(e) => thenMain(e.currentTarget, () => app.session.dismiss(note))} data-testid="raised-read">
        {w.understood}
      </button>
    </section>
  );
}

/** It stands there for as long as the door is closed, on every screen. */
function Shut({ app }: { app: App }) {
  const w = words.value.aside.chair;
  const { aside, isChair } = app.session;
  const shut = aside.shut.value;
  if (!shut) return null;
  return (
    <section class="banner thin" aria-label={w.closed} data-testid="door-closed" data-by={shut.by}>
      <Icon name="lock" size={20} />
      <p>
        <b>{w.closed}</b> {w.closedRest} {shut.by && <span class="quiet">{fill(w.closedBy, { name: shut.by, time: clockTime(new Date(shut.since)) })}</span>}
      </p>
      {isChair.value && (
        <button class="btn sm" type="button" onClick={(e) => thenMain(e.currentTarget, () => aside.preside("open_door"))} data-testid="open-door">
          {w.open}
        </button>
      )}
    </section>
  );
}

/** The chair is offered: to who is asked a card, to who offers it a line. Nobody else has to know. */
function Offered({ app }: { app: App }) {
  const w = words.value.aside.chair;
  const { aside } = app.session;
  const offer = aside.offered.value;
  if (!offer || (!offer.can && !offer.mine)) return null;
  const lapses = fill(w.lapses, { time: clockTime(new Date(Date.parse(offer.since) + offerFor)) });
  if (offer.mine)
    return (
      <section class="banner thin" aria-label={fill(w.offered, { name: offer.to ?? "" })} data-testid="chair-offered">
        <Icon name="clock" size={20} />
        <p>
          <b>{fill(w.offered, { name: offer.to ?? "" })}</b> {lapses}
        </p>
        <button class="btn sm" type="button" onClick={(e) => thenMain(e.currentTarget, () => aside.preside("withdraw"))} data-testid="chair-back">
          {w.takeBack}
        </button>
      </section>
    );
  const title = fill(w.asked, { by: offer.by });
  return (
    <section class="banner card paper" role="alert" aria-label={title} data-testid="chair-asked">
      <div>
        <h2>{title}</h2>
        <p>
          {fill(w.askedText, { by: offer.by })} {lapses}
        </p>
      </div>
      <div class="acts">
        <button class="btn" type="button" onClick={(e) => thenMain(e.currentTarget, () => aside.preside("withdraw"))} data-testid="chair-decline">
          {w.decline}
        </button>
        <button class="btn primary" type="button" onClick={(e) => thenMain(e.currentTarget, () => aside.preside("take"))} data-testid="chair-take">
          {w.take}
        </button>
      </div>
    </section>
  );
}

/** How long a chair that is offered may be taken, in ms: as the server has it. */
const offerFor = 120_000;

/** A second person's card; for all others, that one is waited for. */
function Asked({ app, exception: e }: { app: App; exception: Exception }) {
  const w = words.value.aside.exception;
  const { aside } = app.session;
  const lapses = fill(w.lapses, { time: clockTime(new Date(e.until)) });
  if (!e.can)
    return (
      <section class="banner" aria-label={fill(w.waits, { name: e.name })} data-testid="exception-waits" data-exception={e.id}>
        <Icon name="clock" size={22} />
        <p>
          <b>{fill(w.waits, { name: e.name })}</b> {lapses}
        </p>
      </section>
    );
  const busy = aside.decided.value.has(e.id);
  return (
    <section class="banner card paper" role="alert" aria-label={fill(w.asks, { by: e.by, name: e.name })} data-testid="exception-asked" data-exception={e.id}>
      <div>
        <h2>{fill(w.asks, { by: e.by, name: e.name })}</h2>
        <ul>
          {(e.waives ?? []).map((p) => (
            <li key={p.code}>
              <Icon name="triangle-alert" size={18} />
              <span>{whyText(p)}</span>
            </li>
          ))}
        </ul>
        <blockquote>{e.reason}</blockquote>
        <p>
          {fill(w.asksText, { by: e.by, name: e.name })} {lapses}
        </p>
      </div>
      <div class="acts">
        <button class="btn" type="button" disabled={busy} onClick={() => aside.confirm(e.id, false)} data-testid="exception-decline">
          {w.decline}
        </button>
        <button class="btn primary" type="button" disabled={busy} onClick={() => aside.confirm(e.id, true)} data-testid="exception-confirm">
          {w.confirm}
        </button>
      </div>
    </section>
  );
}

function InForce({ exception: e }: { exception: Exception }) {
  const w = words.value.aside.exception;
  const title = fill(w.inForce, { name: e.name, time: clockTime(new Date(e.until)) });
  return (
    <section class="banner thin" aria-label={title} data-testid="exception" data-exception={e.id}>
      <Icon name="triangle-alert" size={20} />
      <p>
        <b>{title}</b> {(e.waives ?? []).map((p) => whyText(p)).join(" ")} <span class="quiet">{fill(w.inForceRest, { by: e.by, second: e.second, reason: e.reason })}</span>
      </p>
    </section>
  );
}

/** Over the full width: nobody lets a stranger in by habit. */
function Unknown({ app, guest }: { app: App; guest: Guest }) {
  const w = words.value;
  return (
    <section class="banner card paper unknown" role="alert" aria-label={fill(w.aside.door.unknownTitle, { name: guest.name })} data-testid="unknown-guest" data-leg={guest.leg}>
      <div>
        <h2>
          <Icon name="user-x" size={26} />
          {fill(w.aside.door.unknownTitle, { name: guest.name })}
        </h2>
        <p>{fill(w.aside.door.unknownText, { name: guest.name })}</p>
        <DoorFacts guest={guest} />
      </div>
      <Deciding app={app} guest={guest} />
    </section>
  );
}
