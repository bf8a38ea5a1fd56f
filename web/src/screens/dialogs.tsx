// What asks for attention: removing somebody, leaving, a member's facts, the keys.

import { useSignal } from "@preact/signals";
import type { App } from "../app";
import type { Member } from "../core/events";
import { Dialog, Icon, LanguageSwitch } from "../parts/parts";
import { fill, fixText, problemText, words } from "../words/words";
import { keyList, keysOn } from "./keys";

const reasons = ["wrong_meeting", "not_cleared", "disturbs", "other"] as const;

type MemberProps = { app: App; member: Member; onClose: () => void };

/** The focus is on keeping: nobody is removed by pressing a key too often. */
export function RemoveDialog({ app, member, onClose }: MemberProps) {
  const w = words.value;
  const reason = useSignal<(typeof reasons)[number] | undefined>(undefined);
  const { name } = member;
  return (
    <Dialog label={fill(w.remove.title, { name })} onClose={onClose} class="paper" testid="remove-dialog">
      <h2>{fill(w.remove.title, { name })}</h2>
      {member.unit && <p class="sub">{fill(w.remove.here, { unit: member.unit })}</p>}
      <fieldset>
        <legend>
          {w.remove.why} <span>{fill(w.remove.whyHint, { name })}</span>
        </legend>
        {reasons.map((r) => (
          <label class="opt" key={r}>
            <input type="radio" name="reason" value={r} checked={reason.value === r} onChange={() => (reason.value = r)} data-testid={`reason-${r}`} />
            {w.remove.reasons[r]}
          </label>
        ))}
      </fieldset>
      <div class="after">
        <ul>
          {w.remove.then.map((text, i) => (
            <li key={i}>
              <Icon name={(["log-out", "key", "eye", "door-closed"] as const)[i] ?? "eye"} size={18} />
              <span>{fill(text, { name })}</span>
            </li>
          ))}
        </ul>
      </div>
      {!reason.value && (
        <p class="sub" id="remove-missing">
          {w.remove.missing}
        </p>
      )}
      <div class="acts">
        <button
          class="btn danger primary"
          type="button"
          disabled={!reason.value}
          aria-describedby={reason.value ? undefined : "remove-missing"}
          onClick={() => {
            if (reason.value) app.session.remove(member, reason.value);
            onClose();
          }}
          data-testid="remove-now"
        >
          {w.remove.now}
        </button>
        <button class="btn" type="button" data-focus onClick={onClose} data-testid="remove-keep">
          {w.remove.keep}
        </button>
      </div>
    </Dialog>
  );
}

/** All that is known of a member: proven by their own leaf of the room's keys, not told by the server. */
export function MemberDialog({ app, member, onClose, onRemove }: MemberProps & { onRemove: () => void }) {
  const w = words.value;
  const mayRemove = app.session.isChair.value && !member.self && !app.session.removing.value.has(member.leg);
  return (
    <Dialog label={fill(w.room.optionsFor, { name: member.name })} onClose={onClose} testid="member-dialog">
      <h2>{member.name}</h2>
      <p class="sub">
        {[member.unit, member.self && w.room.you].filter(Boolean).join(", ")}
      </p>
      <dl class="known">
        <dt>{w.grades[member.grade].name}</dt>
        <dd>{member.kind === "guest" ? w.aside.door.guestMeans : w.grades[member.grade].means}</dd>
        <dt>{w.facts.names.assurance}</dt>
        <dd>{w.assurances[member.assurance] ?? ""}</dd>
        <dt>{w.facts.names.device}</dt>
        <dd class="mono">{member.device.slice(0, 8)}</dd>
      </dl>
      <p class="sub">{w.member.verified}</p>
      {member.self && <Where app={app} />}
      <div class="acts">
        {member.kind === "phone" && app.session.isChair.value && (
          <button
            class="btn"
            type="button"
            onClick={() => {
              app.session.aside.ring(member.person);
              onClose();
            }}
            aria-label={fill(w.aside.phone.ringName, { name: member.name })}
            data-testid="ring"
          >
            <Icon name="phone" size={18} />
            {w.aside.phone.ring}
          </button>
        )}
        {app.session.isChair.value && !member.self && member.kind === "device" && (
          <div class="give">
            <button
              class="btn"
              type="button"
              aria-describedby="give-hint"
              onClick={() => {
                app.session.aside.offerChair(member.leg);
                onClose();
              }}
              data-testid="give-chair"
            >
              <Icon name="users" size={18} />
              {w.aside.chair.give}
            </button>
            <p class="sub" id="give-hint">
              {fill(w.aside.chair.giveHint, { name: member.name })}
            </p>
          </div>
        )}
        {mayRemove && (
          <button class="btn danger" type="button" onClick={onRemove} data-testid="remove">
            <Icon name="user-x" size={18} />
            {w.room.remove}
          </button>
        )}
        <button class="btn" type="button" data-focus onClick={onClose} data-testid="member-close">
          {w.close}
        </button>
      </div>
    </Dialog>
  );
}

/** Somebody may come in: then the person says so, and the line is looked at anew. */
function Where({ app }: { app: App }) {
  const w = words.value.aside.self;
  return (
    <fieldset>
      <legend>{w.alone}</legend>
      {(["yes", "no"] as const).map((value) => (
        <label class="opt" key={value}>
          <input type="radio" name="alone" value={value} checked={app.alone.value === value} onChange={() => (app.alone.value = value)} data-testid={`self-alone-${value}`} />
          {w[value]}
        </label>
      ))}
      <p class="sub">{w.hint}</p>
    </fieldset>
  );
}

export function LeaveDialog({ app, onClose }: { app: App; onClose: () => void }) {
  const w = words.value;
  const last = app.session.members.value.length <= 1;
  return (
    <Dialog label={w.leave.title} onClose={onClose} class="paper" testid="leave-dialog">
      <h2>{w.leave.title}</h2>
      <p class="sub">{last ? w.leave.last : w.leave.text}</p>
      <div class="acts">
        <button
          class="btn danger primary"
          type="button"
          data-focus
          onClick={() => {
            onClose();
            app.session.leave();
          }}
          data-testid="leave-now"
        >
          {w.leave.now}
        </button>
        <button class="btn" type="button" onClick={onClose} data-testid="leave-stay">
          {w.leave.stay}
        </button>
      </div>
    </Dialog>
  );
}

/** What every alarm of this visit said, read or not. */
export function AlarmsDialog({ app, onClose }: { app: App; onClose: () => void }) {
  const w = words.value;
  const { session } = app;
  return (
    <Dialog label={w.alarm.list} onClose={onClose} class="paper" testid="alarms-dialog">
      <h2>{w.alarm.list}</h2>
      <div class="reasons">
        {[...session.alarms.value, ...session.readAlarms.value].map((alarm) => (
          <div class="fix" key={`${alarm.code} ${alarm.args?.["name"]}`} data-testid="alarm-read-again" data-code={alarm.code}>
            <p>{problemText(alarm)}</p>
            <p>
              <b>{w.toFix}</b> {fixText(alarm)}
            </p>
          </div>
        ))}
      </div>
      <div class="acts">
        <button class="btn danger" type="button" onClick={() => session.leave()} data-testid="alarms-leave">
          {w.alarm.leave}
        </button>
        <button class="btn" type="button" data-focus onClick={onClose} data-testid="alarms-close">
          {w.close}
        </button>
      </div>
    </Dialog>
  );
}

export function KeysDialog({ onClose }: { onClose: () => void }) {
  const w = words.value;
  return (
    <Dialog label={w.keys.title} onClose={onClose} testid="keys-dialog">
      <h2>{w.keys.title}</h2>
      <p class="sub">{w.keys.text}</p>
      <dl class="keys">
        {keyList.map((key) => (
          <div key={key}>
            <dt>
              <kbd>{key.toUpperCase()}</kbd>
            </dt>
            <dd>{w.keys[key]}</dd>
          </div>
        ))}
        <div>
          <dt>
            <kbd>?</kbd>
          </dt>
          <dd>{w.keys.question}</dd>
        </div>
      </dl>
      <label class="opt">
        <input type="checkbox" checked={keysOn.value} onChange={(e) => (keysOn.value = e.currentTarget.checked)} data-testid="keys-on" />
        {w.keys.on}
      </label>
      <p class="in-dialog">
        <span>{w.languageLabel}: </span>
        <LanguageSwitch />
      </p>
      <div class="acts">
        <button class="btn" type="button" data-focus onClick={onClose} data-testid="keys-close">
          {w.close}
        </button>
      </div>
    </Dialog>
  );
}
