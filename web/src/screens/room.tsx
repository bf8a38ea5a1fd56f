// The room: level above and below, the truth on encryption in the header, the stage, the controls, the people.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { App } from "../app";
import { thenMain } from "../parts/focus";
import { Icon, LanguageSwitch, LineDrawing, Marking } from "../parts/parts";
import { minute, secondsSince } from "../parts/time";
import { levelColour, levelWord } from "../room/levels";
import { endTime, fill, fixText, language, list, problemText, span, words } from "../words/words";
import { Banners } from "./banners";
import { ExceptDialog, RaiseDialog } from "./chair";
import { Controls } from "./controls";
import { RenewCard } from "./enrol";
import { CodeDialog } from "./code";
import { AlarmsDialog, KeysDialog, LeaveDialog, MemberDialog, RemoveDialog } from "./dialogs";
import { Live, Strip } from "./notes";
import { Notices } from "./notices";
import { People } from "./people";
import { Sinks } from "./sinks";
import { Stage } from "./stage";
import { useKeys } from "./keys";

/** What lies over the room; at most one thing at a time. */
export type Over = { what: "leave" } | { what: "keys" } | { what: "code" } | { what: "alarms" } | { what: "member"; leg: string } | { what: "remove"; leg: string } | { what: "raise" } | { what: "except"; leg: string } | undefined;

const small = matchMedia("(max-width: 900px)");

export function Room({ app }: { app: App }) {
  const w = words.value;
  const { session } = app;
  const over = useSignal<Over>(undefined);
  const people = useSignal(!small.matches);
  const meeting = session.meeting.value;
  const state = session.state.value;

  useEffect(() => {
    const root = document.documentElement;
    root.classList.add("room");
    const resized = () => (people.value = !small.matches);
    small.addEventListener("change", resized);
    // Closing the window by mistake would put one back to the door.
    const asked = (e: BeforeUnloadEvent) => e.preventDefault();
    addEventListener("beforeunload", asked);
    return () => {
      root.classList.remove("room");
      small.removeEventListener("change", resized);
      removeEventListener("beforeunload", asked);
    };
  }, []);
  useKeys(app, { over, people });

  const lost = state.state === "reconnecting" || state.state === "connecting" || state.state === "entering";
  const minutes = meeting ? Math.max(0, minute.value - Math.floor(Date.parse(meeting.since) / 60_000)) : 0;
  const show = (next: Over) => (over.value = next);
  const member = (leg: string) => session.members.value.find((m) => m.leg === leg);
  const open = over.value;
  const level = meeting ? levelWord(app.levels.value, meeting.level_name, language.value) : "…";
  const colour = levelColour(app.levels.value, meeting?.level ?? -1);
  const more = app.levels.value[meeting?.level ?? -1]?.banner[language.value] ?? "";
  const about = open && "leg" in open ? member(open.leg) : undefined;

  const out = open?.what === "except" ? [...session.aside.away.value, ...session.guests.value].find((a) => a.leg === open.leg) : undefined;

  return (
    <div class={`rooms ${people.value ? "with-people" : ""}`} data-testid="screen-room" data-state={state.state} data-media={String(session.flowing.value)}>
      <Marking colour={colour} name={level} more={more} place="top" />
      <div class="shell">
        <header class="head">
          <h1 data-testid="title">{meeting?.title ?? w.aMeeting}</h1>
          <p class="num" data-testid="minutes">
            {fill(w.room.minutes, { n: minutes })}
          </p>
          {session.isChair.value && meeting?.until && (
            <p class="num" title={w.room.untilWhy} data-testid="until" data-until={meeting.until}>
              {fill(w.room.until, { time: endTime(new Date(meeting.until), new Date(minute.value * 60_000)) })}
            </p>
          )}
          <span class="sep" />
          <TruthSentence app={app} onAlarms={() => show({ what: "alarms" })} />
          <LanguageSwitch />
        </header>
        <div class="banners">
          <Alarms app={app} />
          <Notices app={app} />
          <Banners app={app} />
          <RenewCard app={app} />
        </div>
        <main class="stage" id="main" tabIndex={-1} aria-label={w.room.stage}>
          <Stage app={app} onPeople={() => (people.value = true)} />
          {lost && <Reconnecting app={app} />}
        </main>
        <footer class="foot">
          <Strip app={app} />
          <Controls app={app} people={people} onLeave={() => show({ what: "leave" })} onKeys={() => show({ what: "keys" })} />
        </footer>
        {people.value && (
          <People app={app} onClose={() => (people.value = false)} onMember={(leg) => show({ what: "member", leg })} onCode={() => show({ what: "code" })} onRaise={() => show({ what: "raise" })} onExcept={(leg) => show({ what: "except", leg })} />
        )}
      </div>
      <Marking colour={colour} name={level} more={more} place="bottom" />
      <Sinks app={app} />
      <Live app={app} />
      {open?.what === "leave" && <LeaveDialog app={app} onClose={() => show(undefined)} />}
      {open?.what === "keys" && <KeysDialog onClose={() => show(undefined)} />}
      {open?.what === "alarms" && <AlarmsDialog app={app} onClose={() => show(undefined)} />}
      {open?.what === "code" && <CodeDialog app={app} onClose={() => show(undefined)} />}
      {open?.what === "member" && about && <MemberDialog app={app} member={about} onClose={() => show(undefined)} onRemove={() => show({ what: "remove", leg: about.leg })} />}
      {open?.what === "raise" && <RaiseDialog app={app} onClose={() => show(undefined)} />}
      {open?.what === "except" && out && <ExceptDialog app={app} leg={out.leg} name={out.name} reasons={(out.reasons ?? []).filter((r) => r.code !== "chair_decides")} onClose={() => show(undefined)} />}
      {open?.what === "remove" && about && <RemoveDialog app={app} member={about} onClose={() => show(undefined)} />}
    </div>
  );
}

type Truth = readonly [kind: keyof typeof truthIcons, first: string, rest: string];

const truthIcons = { stopped: "shield-alert", alarmed: "shield-alert", lost: "wifi-off", blocked: "wifi-off", joining: "ellipsis", paused: "pause", gateway: "lock-open", sealed: "lock" } as const;

function truthOf({ session }: App): Truth {
  const { room, aside } = words.value;
  const gateways = session.gateways.value;
  if (session.stopped.value) return ["stopped", room.truthStopped, room.truthStoppedRest];
  if (session.alarmed.value) return ["alarmed", room.truthAlarmed, room.truthAlarmedRest];
  if (session.state.value.state === "reconnecting") return ["lost", room.truthLost, room.truthLostRest];
  if (session.blocked.value) return ["blocked", room.truthBlocked, room.truthBlockedRest];
  if (session.aside.paused.value) return ["paused", aside.pause.truth, aside.pause.truthRest];
  if (!session.flowing.value) return ["joining", room.truthJoining, room.truthJoiningRest];
  if (gateways.length > 0) return ["gateway", room.truthGateway, fill(room.truthGatewayRest, { names: list(gateways.map((m) => m.name)) })];
  return ["sealed", room.truth, room.truthRest];
}

/** One sentence on encryption that is true as it stands, at every moment. */
function TruthSentence({ app, onAlarms }: { app: App; onAlarms: () => void }) {
  const [kind, first, rest] = truthOf(app);
  return (
    <p class={`truth ${kind}`} data-testid="truth" data-truth={kind}>
      <Icon name={truthIcons[kind]} size={18} />
      <span>
        <b>{first}</b> <span class="rest">{rest}</span>
        {app.session.readAlarms.value.length > 0 && (kind === "alarmed" || kind === "stopped") && (
          <button class="plain" type="button" onClick={onAlarms} data-testid="alarms">
            {words.value.room.truthAlarmedSee}
          </button>
        )}
      </span>
    </p>
  );
}

function Alarms({ app }: { app: App }) {
  const w = words.value;
  const { session } = app;
  if (session.alarms.value.length === 0) return null;
  return (
    <div class="alarms" role="alert">
      {session.alarms.value.map((alarm) => (
        <section class="alarm" key={`${alarm.code} ${alarm.args?.["name"]}`} aria-label={w.alarm.title} data-testid="alarm" data-code={alarm.code}>
          <Icon name="shield-alert" size={26} />
          <p>
            <b>{w.alarm.title}.</b> {problemText(alarm)} {fixText(alarm)}
          </p>
          <div class="acts">
            <button class="btn sm primary" type="button" onClick={() => session.leave()} data-testid="alarm-leave">
              {w.alarm.leave}
            </button>
            <button class="btn sm" type="button" onClick={(e) => thenMain(e.currentTarget, () => session.acknowledge(alarm))} data-testid="alarm-read">
              {w.alarm.understood}
            </button>
          </div>
        </section>
      ))}
    </div>
  );
}

function Reconnecting({ app }: { app: App }) {
  const w = words.value;
  const seconds = secondsSince(app.session.state.value.since);
  return (
    <section class="reconnecting" role="alert" tabIndex={0} data-testid="reconnecting">
      <div>
        <LineDrawing state="lost" width={120} />
        <h2>{w.reconnecting.title}</h2>
        <p class="num" aria-hidden="true">
          {fill(seconds > 60 ? w.reconnecting.sinceLong : w.reconnecting.since, { clock: span(seconds) })}
        </p>
        <p>{w.reconnecting.text}</p>
        {seconds > 8 && <p>{w.reconnecting.fix}</p>}
      </div>
    </section>
  );
}
