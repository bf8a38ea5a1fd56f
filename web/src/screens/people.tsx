// The people: who waits at the door, who is in the room and on what line, and the security code that proves it.

import { useEffect, useRef } from "preact/hooks";
import type { App } from "../app";
import type { Guest, Member } from "../core/events";
import { Icon, LineDrawing, type LineState } from "../parts/parts";
import { secondsSince } from "../parts/time";
import { ordered } from "../room/roster";
import { clockTime, count, factText, fill, list, span, stopwatch, words } from "../words/words";

type Props = { app: App; onClose: () => void; onMember: (leg: string) => void; onCode: () => void };

export function People({ app, onClose, onMember, onCode }: Props) {
  const w = words.value;
  const { session } = app;
  const members = session.members.value;
  const ref = useRef<HTMLElement>(null);
  useEffect(() => {
    // On a small screen the list lies over the stage: reading goes on in it.
    if (matchMedia("(max-width: 900px)").matches) ref.current?.focus();
  }, []);
  return (
    <aside class="side" id="people" ref={ref} tabIndex={-1} aria-label={w.room.people} data-testid="people-list">
      <button class="sheet-close btn sm text" type="button" onClick={onClose} data-testid="people-close">
        <Icon name="x" size={18} />
        {w.close}
      </button>
      <div class="scroll" tabIndex={0} role="group" aria-label={w.room.people}>
      {session.guests.value.length > 0 && (
        <section class="door" data-testid="door">
          <h2>
            {w.room.atTheDoor} <span>{count(w.room.waitingCount, session.guests.value.length)}</span>
          </h2>
          <ul>
            {session.guests.value.map((guest) => (
              <AtDoor key={guest.leg} app={app} guest={guest} />
            ))}
          </ul>
        </section>
      )}
      <section class="in-room">
        <h2>
          {w.room.inTheRoom} <span data-testid="member-count">{count(w.room.count, members.length)}</span>
        </h2>
        <ul class="who" data-testid="roster">
          {ordered(members).map((member) => (
            <Row key={member.leg || member.leaf} app={app} member={member} onMember={onMember} />
          ))}
        </ul>
      </section>
      </div>
      <Code app={app} onCode={onCode} />
    </aside>
  );
}

function AtDoor({ app, guest }: { app: App; guest: Guest }) {
  const w = words.value;
  const { session } = app;
  const busy = session.decided.value.has(guest.leg);
  const facts = (guest.facts ?? []).filter((f) => ["network", "headset", "alone", "country"].includes(f.name));
  return (
    <li data-testid="guest" data-leg={guest.leg}>
      <div class="name">
        <b>{guest.name}</b>
        <p class="num">
          {guest.unit} · {stopwatch(secondsSince(guest.since))}
        </p>
      </div>
      <div class="facts">
        <p>
          <b>{w.grades[guest.grade].name}</b> · {w.grades[guest.grade].short} · {w.assurances[guest.assurance] ?? ""}
        </p>
        {facts.map((fact) => {
          const text = factText(fact);
          return (
            <p key={fact.name}>
              {text.name}: {text.value} ({fact.proven ? w.check.proven : w.room.said})
            </p>
          );
        })}
      </div>
      <span class="act">
        <button class="btn sm primary" type="button" disabled={busy} aria-label={fill(w.room.admitName, { name: guest.name })} onClick={() => session.decide(guest.leg, true)} data-testid="admit">
          {w.room.admit}
        </button>
        <button class="btn sm" type="button" disabled={busy} aria-label={fill(w.room.declineName, { name: guest.name })} onClick={() => session.decide(guest.leg, false)} data-testid="decline">
          {w.room.decline}
        </button>
      </span>
    </li>
  );
}

/** What the drawn line of a member shows: how it is now, or where its encryption ends. */
function lineOf(app: App, member: Member): LineState {
  if (member.lost || (member.self && app.session.state.value.state === "reconnecting")) return "lost";
  if (member.self && app.session.weak.value) return "weak";
  return member.grade === "hop" || member.grade === "open" ? "phone" : "good";
}

function Row({ app, member, onMember }: { app: App; member: Member; onMember: (leg: string) => void }) {
  const w = words.value;
  const { session } = app;
  const line = lineOf(app, member);
  const speaks = session.speaking.value.has(member.leaf);
  const removing = session.removing.value.has(member.leg);
  const lineWord = line === "lost" ? fill(w.room.lostFor, { clock: span(secondsSince(member.lost ?? session.state.value.since)) }) : w.room.line[line];
  return (
    <li class={speaks ? "on" : ""} data-testid={member.self ? "member-self" : `member-${member.leaf}`} data-leaf={member.leaf} data-leg={member.leg} data-name={member.name} data-grade={member.grade} data-line={line} data-muted={String(member.muted)} data-speaks={String(speaks)}>
      <div class="one">
        <span class="n">
          <span>{member.name}</span>
          {member.role === "chair" && <span class="tag">{w.room.chair}</span>}
          {speaks && <Mark icon="mic" word={w.room.speaking} />}
          {member.muted && <Mark icon="mic-off" word={w.room.muted} />}
          {member.hand && <Mark icon="hand" word={w.room.handUp} />}
          {member.screen && <Mark icon="monitor-up" word={w.room.sharing} />}
        </span>
        <span class="o">
          {member.unit}
          {member.self && `, ${w.room.you}`}
        </span>
        <span class="g">
          {removing ? (
            w.room.removing
          ) : (
            <>
              <b>{w.grades[member.grade].name}</b> · {w.grades[member.grade].short}
            </>
          )}
        </span>
      </div>
      <span class={`line ${line}`}>
        <LineDrawing state={line} />
        <span class="num">{lineWord}</span>
      </span>
      <button class="dots" type="button" aria-label={fill(w.room.optionsFor, { name: member.name })} onClick={() => onMember(member.leg)} data-testid="options">
        <Icon name="ellipsis" size={18} />
      </button>
    </li>
  );
}

function Mark({ icon, word }: { icon: "mic" | "mic-off" | "hand" | "monitor-up"; word: string }) {
  return (
    <span class="mark">
      <Icon name={icon} size={16} />
      <span class="vh">{word}</span>
    </span>
  );
}

function Code({ app, onCode }: { app: App; onCode: () => void }) {
  const w = words.value;
  const { session } = app;
  const code = session.code.value;
  if (!code) return null;
  const why = w.room.codeWhy[code.why as keyof typeof w.room.codeWhy] ?? w.room.codeWhy.other;
  const names = code.who ?? [];
  const own = session.self.value?.name;
  const onlyOwn = code.why === "came" && names.length === 1 && names[0] === own;
  const sentence = onlyOwn ? w.room.codeWhy.self : names.length === 0 && code.why !== "began" ? w.room.codeWhy.other : why;
  return (
    <section class="code" data-testid="code" data-epoch={code.epoch} data-why={code.why}>
      <h2>
        {w.room.code} <span>{session.gateways.value.length > 0 ? w.room.codeSameBut : w.room.codeSame}</span>
      </h2>
      <p class="mono" data-testid="code-groups">
        {code.groups.map((group, i) => (
          <span key={i}>{group} </span>
        ))}
      </p>
      <p>
        {w.room.codeRead} {fill(sentence, { time: clockTime(new Date(code.since)), names: list(names) })}{" "}
        <button class="plain" type="button" onClick={onCode} data-testid="code-how">
          {w.room.codeHow}
        </button>
      </p>
    </section>
  );
}
