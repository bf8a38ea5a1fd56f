// The people: who waits at the door, who is in the room and on what line, and the security code that proves it.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { App } from "../app";
import type { Absent, Member } from "../core/events";
import { Icon, LineDrawing } from "../parts/parts";
import { secondsSince } from "../parts/time";
import { connectionOf, ordered } from "../room/roster";
import { count, fill, problemText, whyText, span, stopwatch, words } from "../words/words";
import { Code } from "./code";
import { Door } from "./door";
import { say } from "./notes";

type Props = { app: App; onClose: () => void; onMember: (leg: string) => void; onCode: () => void; onRaise: () => void; onExcept: (leg: string) => void };

export function People({ app, onClose, onMember, onCode, onRaise, onExcept }: Props) {
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
        <Door app={app} onExcept={onExcept} />
        <section class="in-room">
          <h2>
            {w.room.inTheRoom} <span data-testid="member-count">{count(w.room.count, members.length)}</span>
          </h2>
          <Wishes app={app} onRaise={onRaise} />
          <ul class="who" data-testid="roster">
            {ordered(members).map((member) => (
              <Row key={member.leg || member.leaf} app={app} member={member} onMember={onMember} />
            ))}
          </ul>
        </section>
        <AwayList app={app} onExcept={onExcept} />
        <AbsentList app={app} />
      </div>
      <Code app={app} onCode={onCode} />
    </aside>
  );
}

/** What anyone may wish for the whole room, and what the chair may. */
function Wishes({ app, onRaise }: { app: App; onRaise: () => void }) {
  const w = words.value.aside;
  const { session } = app;
  const here = session.state.value.state === "in";
  const paused = !!session.aside.paused.value;
  const shut = !!session.aside.shut.value;
  return (
    <div class="wishes">
      {!paused && (
        <button class="btn sm soft" type="button" disabled={!here} onClick={() => session.aside.pause(true)} data-testid="pause-nameless">
          <Icon name="pause" size={18} />
          {w.pause.nameless}
        </button>
      )}
      {session.isChair.value && (
        <>
          <button class="btn sm soft" type="button" disabled={!here} onClick={() => session.aside.preside("mute_all")} data-testid="mute-all">
            <Icon name="mic-off" size={18} />
            {w.chair.muteAll}
          </button>
          <button class="btn sm soft" type="button" disabled={!here} onClick={() => session.aside.preside(shut ? "open_door" : "close_door")} data-testid={shut ? "open-door-here" : "close-door"}>
            <Icon name={shut ? "lock-open" : "lock"} size={18} />
            {shut ? w.chair.open : w.chair.close}
          </button>
        </>
      )}
      {session.isChair.value && app.levels.value.length > 0 && (
        <button class="btn sm soft" type="button" disabled={!here || session.aside.raising.value !== undefined} onClick={onRaise} data-testid="raise">
          <Icon name="chevrons-up" size={18} />
          {w.level.button}
        </button>
      )}
    </div>
  );
}

/** Those whose line is no longer good enough: seen by all, with the reason, so that nobody takes them for listeners. */
function AwayList({ app, onExcept }: { app: App; onExcept: (leg: string) => void }) {
  const w = words.value;
  const { session } = app;
  const list = session.aside.away.value;
  if (list.length === 0) return null;
  const excepted = new Set(session.aside.exceptions.value.map((e) => e.leg));
  return (
    <section class="away" data-testid="away">
      <h2>{w.aside.away.title}</h2>
      <ul>
        {list.map((a) => (
          <li key={a.leg} data-testid="away-leg" data-leg={a.leg} data-name={a.name} data-code={a.reasons?.[0]?.code ?? ""}>
            <div class="one">
              <b>{a.name}</b>
              <span class="o">{a.unit}</span>
              {(a.reasons ?? []).map((r) => (
                <span class="why" key={r.code}>
                  {whyText(r)}
                </span>
              ))}
            </div>
            <span class="line lost">
              <LineDrawing state="lost" />
              <span class="num">{fill(w.aside.away.since, { clock: stopwatch(secondsSince(a.since)) })}</span>
              <span class="keyless">{w.aside.away.noKeys}</span>
            </span>
            {session.isChair.value && a.exceptable && !excepted.has(a.leg) && (
              <button class="btn sm soft" type="button" aria-label={fill(w.aside.away.exceptName, { name: a.name })} onClick={() => onExcept(a.leg)} data-testid="except-away">
                {w.aside.away.except}
              </button>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}

/** What stands against ringing anybody, not this person or that. */
const aboutAll: ReadonlySet<string> = new Set(["phone_not_allowed", "phone_no_gateway"]);

/** More than so many are shown on demand: who is in the room comes first. */
const absentShown = 6;

/** The invited who are not there, for whoever may know; each can be rung at the directory's number. */
function AbsentList({ app }: { app: App }) {
  const w = words.value;
  const { aside } = app.session;
  const list = aside.absent.value;
  const all = useSignal(false);
  if (list.length === 0) return null;
  const common = list.map((a) => a.against).find((why) => why && aboutAll.has(why.code)); // said once
  const shown = all.value || list.length <= absentShown ? list : list.slice(0, absentShown - 1);
  return (
    <section class="absent" data-testid="absent">
      <h2>
        {w.aside.phone.absent} <span>{count(w.room.count, list.length)}</span>
      </h2>
      <p class="sub">{common ? problemText(common) : w.aside.phone.absentHint}</p>
      <ul>
        {shown.map((a) => (
          <AbsentRow key={a.person} app={app} absent={a} />
        ))}
      </ul>
      {shown.length < list.length && (
        <button class="btn sm text" type="button" onClick={() => (all.value = true)} data-testid="absent-all">
          {fill(w.aside.phone.absentAll, { n: list.length })}
        </button>
      )}
    </section>
  );
}

function AbsentRow({ app, absent }: { app: App; absent: Absent }) {
  const w = words.value.aside.phone;
  const { session } = app;
  const ringing = absent.ringing || session.aside.rung.value.has(absent.person);
  return (
    <li data-testid="absent-person" data-person={absent.person} data-ringing={String(ringing)} data-against={absent.against?.code ?? ""}>
      <div class="one">
        <b>{absent.name}</b>
        <span class="o">{absent.unit}</span>
        {absent.against && !aboutAll.has(absent.against.code) && <span class="o">{problemText(absent.against)}</span>}
      </div>
      {!absent.against && (
        // While it rings the button stays where it is, and keeps the focus.
        <button
          class="btn sm"
          type="button"
          aria-disabled={ringing || session.state.value.state !== "in"}
          aria-label={ringing ? fill(w.ringingName, { name: absent.name }) : fill(w.ringName, { name: absent.name })}
          onClick={() => {
            if (ringing || session.state.value.state !== "in") return;
            session.aside.ring(absent.person);
            say(fill(w.ringingName, { name: absent.name }));
          }}
          data-testid="ring-absent"
        >
          <Icon name="phone" size={16} />
          {ringing ? w.ringing : w.call}
        </button>
      )}
    </li>
  );
}

function Row({ app, member, onMember }: { app: App; member: Member; onMember: (leg: string) => void }) {
  const w = words.value;
  const { session } = app;
  const line = connectionOf(member, {
    here: session.state.value.state === "in",
    flowing: session.flowing.value,
    blocked: session.blocked.value,
    weak: session.weak.value,
  });
  const speaks = session.speaking.value.has(member.leaf);
  const removing = session.removing.value.has(member.leg);
  const since = member.lost ?? (session.state.value.state === "reconnecting" ? session.state.value.since : undefined);
  const lineWord = line === "lost" && since ? fill(w.room.lostFor, { clock: span(secondsSince(since)) }) : w.room.line[line];
  return (
    <li class={speaks ? "on" : ""} data-testid={member.self ? "member-self" : `member-${member.leaf}`} data-leaf={member.leaf} data-leg={member.leg} data-name={member.name} data-grade={member.grade} data-line={line} data-muted={String(member.muted)} data-speaks={String(speaks)}>
      <div class="one">
        <span class="n">
          <span>{member.name}</span>
          {member.role === "chair" && <span class="tag">{w.room.chair}</span>}
          {member.kind === "guest" && <span class="tag">{w.aside.door.guest}</span>}
          {speaks && <Mark icon="mic" word={w.room.speaking} />}
          {member.muted && <Mark icon="mic-off" word={w.room.muted} />}
          {member.hand && <Mark icon="hand" word={w.room.handUp} />}
          {member.screen && <Mark icon="monitor-up" word={w.room.sharing} />}
        </span>
        <span class="o">
          {[member.unit, member.self && w.room.you].filter(Boolean).join(", ")}
        </span>
        <span class="g">
          {removing ? (
            w.room.removing
          ) : (
            <>
              <b>{w.grades[member.grade].name}</b>
              {member.kind !== "guest" && ` · ${w.grades[member.grade].short}`}
            </>
          )}
        </span>
      </div>
      <span class={`line ${line}`}>
        <LineDrawing state={line} />
        <span class="num">
          <span class="vh">{w.room.connection} </span>
          {lineWord}
        </span>
      </span>
      {line === "phone" && session.isChair.value && !member.self && (
        <button class="btn sm drop" type="button" disabled={removing} aria-label={fill(w.aside.phone.dropName, { name: member.name })} onClick={() => session.remove(member, "other")} data-testid="drop">
          <Icon name="phone-off" size={16} />
          {w.aside.phone.drop}
        </button>
      )}
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
