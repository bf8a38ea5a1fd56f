// The door, for the chair: who waits, on what line, why; one by one or several at once. Whom policy keeps out cannot be let
// in, only excepted by two.

import { useSignal } from "@preact/signals";
import type { App } from "../app";
import type { Guest } from "../core/events";
import { focusOnceGone } from "../parts/focus";
import { LineDrawing } from "../parts/parts";
import { secondsSince } from "../parts/time";
import { onlyChairDecides } from "../room/aside";
import { isPhone } from "../room/roster";
import { count, factText, fill, whyText, stopwatch, words } from "../words/words";

/** What a chair needs to know of a line before anything else; the rest stands in the record. */
const shown = ["phone_line", "invited_by", "network", "country", "operator", "travel", "risk", "tls_client", "device_age", "headset", "radio", "alone", "place", "network_type", "browser", "browser_version"];
/** Said only when it is worth a word. */
const quiet: ReadonlySet<string> = new Set(["travel none", "risk normal", "tls_client matches", "tls_client unknown", "operator isp", "operator unknown", "device_age known"]);

export function Door({ app, onExcept }: { app: App; onExcept: (leg: string) => void }) {
  const w = words.value;
  const { session } = app;
  const guests = session.guests.value;
  const chosen = useSignal<ReadonlySet<string>>(new Set());
  if (guests.length === 0) return null;
  const open = guests.filter((g) => onlyChairDecides(g.reasons) && !session.decided.value.has(g.leg));
  // Whoever has left the door is no longer chosen; a stranger is never let in with others by one press.
  const known = open.filter((g) => g.known !== false && !isPhone(g));
  const legs = known.map((g) => g.leg).filter((leg) => chosen.value.has(leg));
  const several = known.length > 1;
  const choose = (leg: string, on: boolean) => {
    const next = new Set(chosen.value);
    if (on) next.add(leg);
    else next.delete(leg);
    chosen.value = next;
  };
  return (
    <section class="door" data-testid="door">
      <h2>
        {w.room.atTheDoor} <span>{count(w.room.waitingCount, guests.length)}</span>
      </h2>
      {several && (
        <div class="together">
          <label class="opt">
            <input type="checkbox" checked={legs.length === known.length} onChange={(e) => (chosen.value = new Set(e.currentTarget.checked ? known.map((g) => g.leg) : []))} data-testid="choose-all" />
            {w.aside.door.all}
          </label>
          {legs.length > 0 && (
            <button class="btn sm primary" type="button" onClick={() => session.admitAll(legs)} data-testid="admit-together">
              {count(w.aside.door.together, legs.length)}
            </button>
          )}
        </div>
      )}
      <ul>
        {guests.map((guest) => (
          <AtDoor key={guest.leg} app={app} guest={guest} onExcept={onExcept}>
            {several && known.includes(guest) && (
              <label class="opt choose">
                <input type="checkbox" checked={chosen.value.has(guest.leg)} onChange={(e) => choose(guest.leg, e.currentTarget.checked)} data-testid="choose" />
                <span class="vh">{fill(w.aside.door.choose, { name: guest.name })}</span>
              </label>
            )}
          </AtDoor>
        ))}
      </ul>
    </section>
  );
}

type AtDoorProps = { app: App; guest: Guest; onExcept: (leg: string) => void; children?: preact.ComponentChildren };

function AtDoor({ app, guest, onExcept, children }: AtDoorProps) {
  const w = words.value;
  const stands = (guest.reasons ?? []).filter((r) => r.code !== "chair_decides");
  return (
    <li data-testid="guest" data-leg={guest.leg} data-known={String(guest.known !== false)} data-kind={guest.kind ?? ""}>
      <div class="name">
        {children}
        <div>
          <b>{guest.name}</b>
          {guest.known === false && guest.kind !== "phone" && <span class="tag strong">{w.aside.door.unknown}</span>}
          {guest.kind === "phone" && <span class="tag">{w.aside.phone.atDoor}</span>}
          <p class="num">
            {[guest.unit, stopwatch(secondsSince(guest.since))].filter(Boolean).join(" · ")}
            {guest.early && ` · ${w.aside.door.early}`}
          </p>
        </div>
      </div>
      <DoorFacts guest={guest} />
      {stands.length > 0 ? (
        <div class="stands">
          <p>
            <b>{w.aside.door.stands}</b> {stands.map((r) => whyText(r)).join(" ")}
          </p>
          {guest.exceptable && <button class="btn sm" type="button" aria-label={fill(w.aside.away.exceptName, { name: guest.name })} onClick={() => onExcept(guest.leg)} data-testid="except">
            {w.aside.away.except}
          </button>}
        </div>
      ) : (
        <Deciding app={app} guest={guest} />
      )}
    </li>
  );
}

export function DoorFacts({ guest }: { guest: Guest }) {
  const w = words.value;
  const facts = shown.flatMap((name) => (guest.facts ?? []).filter((f) => f.name === name && !quiet.has(`${f.name} ${f.value}`)));
  return (
    <div class="facts">
      <p>
        <b>{w.grades[guest.grade].name}</b>
        {guest.known !== false && ` · ${w.grades[guest.grade].short}`}
        {guest.kind !== "phone" && ` · ${w.assurances[guest.assurance] ?? ""}`}
      </p>
      {isPhone(guest) && <PhoneNote />}
      {guest.kind === "phone" && <p>{w.aside.phone.says}</p>}
      {facts.length > 0 && (
        <p>
          {facts.map((fact, i) => {
            return (
              <span class="fact" key={fact.name}>
                {i > 0 && " · "}
                {fill(w.aside.door.fact, factText(fact))}
                {!fact.proven && <i> ({w.room.said})</i>}
              </span>
            );
          })}
        </p>
      )}
    </div>
  );
}

export function Deciding({ app, guest }: { app: App; guest: Guest }) {
  const w = words.value;
  const { session } = app;
  const busy = session.decided.value.has(guest.leg);
  const decide = (button: HTMLButtonElement, admit: boolean) => {
    session.decide(guest.leg, admit);
    focusOnceGone(button, () => {
      const next = document.querySelector<HTMLElement>('[data-testid="admit"]:not(:disabled)') ?? document.getElementById("people");
      next?.focus();
    });
  };
  return (
    <span class="act">
      <button class="btn sm primary" type="button" disabled={busy} aria-label={fill(w.room.admitName, { name: guest.name })} onClick={(e) => decide(e.currentTarget, true)} data-testid="admit">
        {w.room.admit}
      </button>
      <button class="btn sm" type="button" disabled={busy} aria-label={fill(w.room.declineName, { name: guest.name })} onClick={(e) => decide(e.currentTarget, false)} data-testid="decline">
        {w.room.decline}
      </button>
    </span>
  );
}

/** A phone at the other end, drawn and said. */
function PhoneNote() {
  return (
    <p class="phone-note">
      <LineDrawing state="phone" /> {words.value.aside.phone.warning}
    </p>
  );
}
