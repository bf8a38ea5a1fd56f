// The line check: the own picture and devices on the left, the line drawn as a rail of stations on the right.

import { computed, useComputed } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Device } from "../media/devices";
import type { IconName } from "../parts/icons";
import { Icon, Page } from "../parts/parts";
import { secondsSince } from "../parts/time";
import { Picture } from "../parts/picture";
import { type Mark, mayAsk, mayAskForException, type Place, places, type Station, stations, summary } from "../room/check";
import { RenewCard, TouchNote } from "./enrol";
import { count, day, factText, fill, fixText, problemText, stopwatch, words } from "../words/words";
import type { App } from "../app";

export function Check({ app }: { app: App }) {
  const w = words.value;
  const { session, media } = app;
  useEffect(() => {
    if (media.devices.microphone.value === "asking" || !media.devices.picture.value) void app.startDevices();
  }, []);

  const list = useComputed(() => stations(app.known.value));
  const state = session.state.value.state;
  const identity = session.identity.value;
  const organisation = identity?.organisation ?? app.organisation.value;
  const asked = state === "asking" || state === "waiting" || state === "entering";
  const may = mayAsk(list.value, session.state.value);
  const exceptable = !may && mayAskForException(list.value, session.state.value, session.line.value);

  const ask = async (withCamera: boolean) => {
    void media.devices.context;
    if (!withCamera) await session.setCamera(false);
    session.join(app.claims());
  };
  const again = () => {
    if (!["on", "asking"].includes(media.devices.microphone.value)) void media.devices.start();
    app.test();
  };

  return (
    <Page organisation={organisation}>
      <div class="check" data-testid="screen-check" data-state={state} data-summary={summary(list.value).code}>
        <div class="title">
          <h1>{fill(w.check.title, { meeting: fill(w.check.meeting, { organisation: organisation || w.product }) })}</h1>
          <p>{w.check.intro}</p>
        </div>
        <section class="you" aria-label={w.check.you}>
          <OwnPicture app={app} />
          <DevicePickers app={app} />
          {asked ? (
            <AtDoor app={app} />
          ) : (
            <div class="join">
              <button class="btn primary" type="button" disabled={!may} onClick={() => void ask(true)} data-testid="join">
                {w.check.join}
              </button>
              <button class="btn" type="button" disabled={!may} onClick={() => void ask(false)} data-testid="join-sound-only">
                {w.check.soundOnly}
              </button>
              {exceptable && (
                <div class="exceptable" data-testid="join-exceptable">
                  <p>{w.aside.asking.offer}</p>
                  <button class="btn" type="button" onClick={() => void ask(true)} data-testid="join-exception">
                    {w.aside.asking.ask}
                  </button>
                </div>
              )}
              <p>{w.check.sees}</p>
              {session.line.value?.assertion && <p data-testid="join-touch">{w.enrol.joinTouch}</p>}
              <TouchNote app={app} problem={session.joinProblem.value} testid="join-problem" />
            </div>
          )}
          <RenewCard app={app} reasons={session.line.value?.findings ?? []} />
        </section>
        <Rail app={app} list={list.value} onAgain={again} />
      </div>
    </Page>
  );
}

function OwnPicture({ app }: { app: App }) {
  const w = words.value;
  const { session, media } = app;
  const { devices } = media;
  const line = session.line.value;
  const identity = session.identity.value;
  const name = line?.person || identity?.name || "";
  const unit = line?.unit || identity?.unit || "";
  const camera = devices.camera.value;
  const picture = devices.picture.value;
  const why = { asking: w.check.pictureAsking, on: "", off: w.check.pictureOff, missing: w.check.pictureNone, refused: w.check.pictureRefused, busy: w.check.pictureBusy }[camera];
  return (
    <div class="self">
      {picture ? (
        <Picture stream={picture} label={w.room.ownPicture} testid="own-picture" />
      ) : (
        <div class="none">
          <Icon name="video-off" size={26} />
          {why}
        </div>
      )}
      <div class="bottom">
        {name && (
          <span class="who">
            {name}
            {unit && `, ${unit}`}
          </span>
        )}
        <span class="tools">
          <button type="button" disabled={devices.microphone.value !== "on"} onClick={() => session.setMuted(!session.muted.value)} data-testid="check-mute">
            <Icon name={session.muted.value ? "mic-off" : "mic"} size={17} />
            {session.muted.value ? w.check.unmute : w.check.mute}
          </button>
          <button type="button" disabled={camera === "missing" || camera === "asking"} onClick={() => void session.setCamera(camera !== "on")} data-testid="check-camera">
            <Icon name={camera === "on" ? "video" : "video-off"} size={17} />
            {camera === "on" ? w.check.stopVideo : w.check.startVideo}
          </button>
        </span>
      </div>
    </div>
  );
}

/** Asked only where a rule looks at the answer; nothing is chosen beforehand. */
export function WhereAreYou({ app }: { app: App }) {
  const w = words.value.check;
  if (!app.session.line.value?.ask_place) return null;
  return (
    <label class="field">
      <span>{w.where}</span>
      <select value={app.place.value} onChange={(e) => (app.place.value = e.currentTarget.value as Place | "")} data-testid="place">
        <option value="">{w.whereNothing}</option>
        {places.map((place) => (
          <option value={place}>{w.places[place]}</option>
        ))}
      </select>
    </label>
  );
}

/** The devices; sound: without the camera. */
export function DevicePickers({ app, sound = false }: { app: App; sound?: boolean }) {
  const w = words.value;
  const { devices } = app.media;
  return (
    <div class="dev">
      <div>
        <label for="microphone">{w.check.microphone}</label>
        <Choice id="microphone" list={devices.microphones.value} chosen={devices.microphoneID.value} none={w.check.noMicrophone} onChoose={(id) => void devices.chooseMicrophone(id)} />
        <Meter app={app} />
      </div>
      {!sound && <div>
        <label for="camera">{w.check.camera}</label>
        <Choice id="camera" list={devices.cameras.value} chosen={devices.cameraID.value} none={w.check.noCamera} onChoose={(id) => void devices.chooseCamera(id)} />
      </div>}
      <div>
        <label for="speaker">{w.check.speaker}</label>
        <Choice
          id="speaker"
          list={devices.choosesSpeaker ? devices.speakers.value : []}
          chosen={devices.speakerID.value}
          none={w.check.defaultSpeaker}
          onChoose={(id) => devices.chooseSpeaker(id)}
        />
        <button type="button" class="plain" onClick={() => void devices.playSound()} data-testid="play-sound">
          {w.check.playSound}
        </button>
      </div>
    </div>
  );
}

type ChoiceProps = { id: string; list: readonly Device[]; chosen: string; none: string; onChoose: (id: string) => void };

function Choice({ id, list, chosen, none, onChoose }: ChoiceProps) {
  return (
    <select id={id} disabled={list.length === 0} value={chosen} onChange={(e) => onChoose(e.currentTarget.value)} data-testid={id}>
      {(list.length === 0 || !list.some((d) => d.id === chosen)) && <option value="">{none}</option>}
      {list.map((d) => (
        <option value={d.id}>{d.label}</option>
      ))}
    </select>
  );
}

const bars = 9;

function Meter({ app }: { app: App }) {
  const w = words.value;
  const level = app.media.devices.level.value;
  // From -50 dB to -8 dB of full scale: what speech into a microphone does.
  const share = level > 0 ? Math.min(1, Math.max(0, (20 * Math.log10(level) + 50) / 42)) : 0;
  const on = Math.round(share * bars);
  const said = on === 0 ? w.check.levelSilent : on < 4 ? w.check.levelQuiet : w.check.levelClear;
  return (
    <span class="meter" role="img" aria-label={`${w.check.level}: ${said}`} data-testid="meter" data-level={on}>
      {Array.from({ length: bars }, (_, i) => (
        <i class={i < on ? "on" : ""} />
      ))}
    </span>
  );
}

function AtDoor({ app }: { app: App }) {
  const w = words.value;
  const { session } = app;
  const { state, since } = session.state.value;
  if (state === "entering") {
    return (
      <div class="doorcard turning" role="status" data-testid="entering">
        <h2>
          <Icon name="loader-circle" size={22} />
          {w.door.entering}
        </h2>
        <p>{w.door.enteringText}</p>
      </div>
    );
  }
  const { early } = session.state.value;
  if (state === "waiting" && early) {
    return (
      <div class="doorcard" data-testid="early">
        <h2>
          <Icon name="clock" size={22} />
          <span role="status">{w.aside.early.title}</span>
        </h2>
        <p>{w.aside.early.text}</p>
        <button class="btn" type="button" onClick={() => app.stopAsking()} data-testid="stop-asking">
          {w.door.stop}
        </button>
      </div>
    );
  }
  return (
    <div class="doorcard" data-testid="waiting">
      <h2>
        <Icon name="door-closed" size={22} />
        <span role="status">{state === "waiting" ? w.door.asked : w.check.joining}</span>
      </h2>
      {state === "asking" && <TouchNote app={app} problem={undefined} testid="join-problem" />}
      {state === "waiting" && <p class="num">{fill(w.door.since, { clock: stopwatch(secondsSince(since)) })}</p>}
      <p>{w.door.meanwhile}</p>
      <button class="btn" type="button" onClick={() => app.stopAsking()} data-testid="stop-asking">
        {w.door.stop}
      </button>
    </div>
  );
}

const markIcons: Record<Mark, IconName> = { good: "check", better: "triangle-alert", bad: "x", testing: "ellipsis", ask: "door-open", waiting: "clock" };

type RailProps = { app: App; list: readonly Station[]; onAgain: () => void };

function Rail({ app, list, onAgain }: RailProps) {
  const w = words.value;
  const line = app.session.line.value;
  // What this browser says when it asks, the person may read first.
  const told = new Set(line?.facts?.map((f) => f.name));
  const facts = line ? [...(line.facts ?? []), ...app.claims().filter((f) => !told.has(f.name)).map((f) => ({ ...f, proven: false }))] : [];
  const { code, n } = summary(list);
  const sentence = w.check.summary[code];
  return (
    <section class="rail" aria-labelledby="rail">
      <h2 id="rail">{w.check.rail}</h2>
      <p class="summary" role="status" data-testid="summary" data-summary={code} data-grade={line?.grade ?? ""}>
        {typeof sentence === "string" ? sentence : count(sentence, n)}{" "}
        {/* Of a device that was not believed the grade says nothing of its line. */}
        {line && !line.facts?.some((f) => f.name === "enrolled" && f.value === "no") && (
          <>
            {fill(w.yourGrade, { grade: "" }).replace(/[\s.]+$/, "")} <b>{w.grades[line.grade].name}</b>. {app.session.identity.value?.guest ? w.aside.door.guestMeans : w.grades[line.grade].means}
          </>
        )}
      </p>
      <ol>
        {list.map((station) => (
          <Row key={station.id} app={app} station={station} onAgain={onAgain}>
            {station.id === "network" && (
              <label class="opt alone">
                <input type="checkbox" checked={app.alone.value === "yes"} onChange={(e) => (app.alone.value = e.currentTarget.checked ? "yes" : "")} data-testid="alone" />
                {w.check.alone}
              </label>
            )}
            {station.id === "network" && <WhereAreYou app={app} />}
          </Row>
        ))}
      </ol>
      <details class="measured">
        <summary>{w.check.measurements}</summary>
        {facts.length > 0 ? (
          <dl>
            {facts.map((fact) => {
              const text = factText(fact);
              return (
                <>
                  <dt>{text.name}</dt>
                  <dd>
                    {text.value} <small>({fact.proven ? w.check.proven : w.check.claimed})</small>
                  </dd>
                </>
              );
            })}
          </dl>
        ) : (
          <p>{w.check.noFacts}</p>
        )}
      </details>
    </section>
  );
}

type RowProps = { app: App; station: Station; onAgain: () => void; children?: preact.ComponentChildren };

function Row({ app, station, onAgain, children }: RowProps) {
  const w = words.value;
  const { id, mark, means, problems } = station;
  const texts: Readonly<Record<string, string>> = w.check.means;
  const fixes: Readonly<Record<string, string>> = w.check.fixes;
  const waited = stopwatch(secondsSince(app.session.state.value.since));
  const args = { clock: waited, ...means.args };
  return (
    <li class={`st ${mark}`} data-testid={`station-${id}`} data-mark={mark}>
      <i>
        <Icon name={markIcons[mark]} />
      </i>
      <div>
        <h3>{w.check.stations[id]}</h3>
        {problems.length === 0 && <p>{fill(texts[means.code] ?? "", args)}</p>}
        {problems.map((p) => (
          <p>{problemText(p)}</p>
        ))}
      </div>
      <b class="s">{w.check.marks[mark]}</b>
      {(means.fix || problems.length > 0) && (
        <div class="fix">
          {problems.map((p) => (
            <p>
              <b>{w.toFix}</b> {fixText(p)}
            </p>
          ))}
          {means.fix && problems.length === 0 && (
            <p>
              <b>{w.toFix}</b> {fill(fixes[means.fix] ?? "", args)}
            </p>
          )}
          <div class="acts">
            <button class="btn sm" type="button" aria-label={`${w.testAgain}: ${w.check.stations[id]}`} onClick={onAgain} data-testid={`again-${id}`}>
              <Icon name="refresh-cw" size={16} />
              {w.testAgain}
            </button>
          </div>
        </div>
      )}
      {children}
    </li>
  );
}

/** What the check reads: kept apart so that it is computed once for all components. */
export function knownOf(app: App) {
  return computed(() => {
    const { session, media } = app;
    const { devices } = media;
    const label = (list: readonly Device[], id: string) => list.find((d) => d.id === id)?.label ?? "";
    return {
      identity: session.identity.value,
      abilities: app.abilities.value,
      state: session.state.value,
      line: session.line.value,
      assurance: undefined,
      sound: {
        microphone: devices.microphone.value,
        heard: devices.heard.value,
        // Rounded, so that the rail is not drawn anew ten times a second.
        open: Math.floor(devices.listening.value),
        microphoneLabel: label(devices.microphones.value, devices.microphoneID.value),
        speakerLabel: label(devices.speakers.value, devices.speakerID.value),
      },
      delay: app.delay.value,
      probed: app.session.probed.value,
      host: location.host,
      day,
    };
  });
}
