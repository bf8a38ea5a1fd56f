// What a passkey is asked for beyond setting up: renewing the statement, joining; and the person's own devices.

import { useEffect } from "preact/hooks";
import { useSignal } from "@preact/signals";
import type { App } from "../app";
import type { OwnDevice, Problem } from "../core/events";
import { Icon, Page } from "../parts/parts";
import { day, fill, fixText, problemText, words } from "../words/words";

/** A problem with its way out. */
export function ProblemCard({ problem, title, testid }: { problem: Problem; title?: string; testid: string }) {
  const w = words.value;
  return (
    <div class="fix reasons" role="alert" data-testid={testid} data-code={problem.code} data-fix={problem.fix}>
      <p>
        {title && <b>{title}.</b>} {problemText(problem)}
      </p>
      <p>
        <b>{w.toFix}</b> {fixText(problem)}
      </p>
    </div>
  );
}

/** Says that the browser asks for a touch now, or why it was not given. */
export function TouchNote({ app, problem, testid }: { app: App; problem: Problem | undefined; testid: string }) {
  const w = words.value;
  const touching = app.session.touching.value;
  if (touching)
    return (
      <p class="touch" role="status" data-testid="touching" data-touch={touching}>
        <Icon name="key" />
        {touching === "create" ? w.enrol.touchCreate : w.enrol.touchGet}
      </p>
    );
  return problem ? <ProblemCard problem={problem} testid={testid} /> : null;
}

/** Asks for the touch that renews the statement, days before it runs out. */
export function RenewCard({ app }: { app: App }) {
  const w = words.value;
  const { session } = app;
  const identity = session.identity.value;
  if (!identity?.due) return null;
  return (
    <section class="renewcard" aria-label={w.renew.title} data-testid="renew-card">
      <h2>
        <Icon name="key" size={22} />
        {w.renew.title}
      </h2>
      <p>{fill(w.renew.text, { day: day(new Date(identity.until)) })}</p>
      <TouchNote app={app} problem={session.renewProblem.value} testid="renew-problem" />
      <button class="btn" type="button" disabled={session.renewing.value} onClick={() => session.renew()} data-testid="renew">
        {session.renewing.value ? w.renew.busy : w.renew.button}
      </button>
    </section>
  );
}

/** The statement has run out: nothing else can be done here before it is renewed. */
export function Renew({ app }: { app: App }) {
  const w = words.value;
  const { session } = app;
  return (
    <Page organisation={session.identity.value?.organisation ?? app.organisation.value}>
      <div class="say" data-testid="screen-renew">
        <h1>{w.renew.title}</h1>
        <p>{w.renew.over}</p>
        <TouchNote app={app} problem={session.renewProblem.value} testid="renew-problem" />
        <div class="acts">
          <button class="btn primary" type="button" disabled={session.renewing.value} onClick={() => session.renew()} data-testid="renew">
            {session.renewing.value ? w.renew.busy : w.renew.button}
          </button>
        </div>
      </div>
    </Page>
  );
}

/** The person's own devices, and the way to take a lost one out of use. */
export function Devices({ app }: { app: App }) {
  const w = words.value;
  const { session } = app;
  useEffect(() => session.askDevices(), []);
  const list = session.devices.value;
  return (
    <Page organisation={session.identity.value?.organisation ?? app.organisation.value}>
      <div class="say" data-testid="screen-devices">
        <h1>{w.devices.title}</h1>
        <p>{w.devices.text}</p>
        <TouchNote app={app} problem={session.devicesProblem.value ?? session.renewProblem.value} testid="devices-problem" />
        <ul class="devices">{list?.map((d) => <Row app={app} device={d} key={d.id} />)}</ul>
      </div>
    </Page>
  );
}

function Row({ app, device }: { app: App; device: OwnDevice }) {
  const w = words.value;
  const sure = useSignal(false);
  const name = device.name || device.id.slice(0, 8);
  return (
    <li data-testid={`device-${device.id}`} data-this={device.this} data-revoked={device.revoked !== undefined}>
      <div>
        <b>{name}</b> {device.this && <span>({w.devices.this})</span>}
        <p>
          {fill(w.devices.enrolled, { day: day(new Date(device.enrolled)) })} {w.devices.assurance[device.assurance] ?? ""}{" "}
          {!device.revoked && fill(w.devices.until, { day: day(new Date(device.until)) })}
        </p>
      </div>
      {device.revoked ? (
        <span class="s">{fill(w.devices.revoked, { day: day(new Date(device.revoked)) })}</span>
      ) : device.this ? (
        <button class="btn" type="button" disabled={app.session.renewing.value} onClick={() => app.session.renew()} data-testid="renew">
          {app.session.renewing.value ? w.renew.busy : w.renew.now}
        </button>
      ) : sure.value ? (
        <button class="btn danger" type="button" onClick={() => app.session.revokeDevice(device.id)} data-testid={`revoke-now-${device.id}`}>
          {fill(w.devices.sure, { name })}
        </button>
      ) : (
        <button class="btn" type="button" onClick={() => (sure.value = true)} data-testid={`revoke-${device.id}`}>
          {w.devices.revoke}
        </button>
      )}
    </li>
  );
}
