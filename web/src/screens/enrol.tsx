// What a passkey is asked for beyond setting up: renewing the statement, joining; and the person's own devices.

import { useEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import type { App } from "../app";
import type { OwnDevice, Problem } from "../core/events";
import { thenMain } from "../parts/focus";
import { Icon, Page } from "../parts/parts";
import { encode } from "../qr/qr";
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

/** Asks for the touch that renews the statement, days before it runs out; or where the server says that it has. */
export function RenewCard({ app, reasons = [] }: { app: App; reasons?: readonly { code: string }[] }) {
  const w = words.value;
  const { session } = app;
  const identity = session.identity.value;
  // The clock that counts is the server's.
  const over = reasons.some((r) => r.code === "statement_expired");
  if (!identity || (!identity.due && !over)) return null;
  return (
    <section class="renewcard" aria-label={w.renew.title} data-testid="renew-card">
      <h2>
        <Icon name="key" size={22} />
        {w.renew.title}
      </h2>
      <p>{over ? w.renew.over : fill(w.renew.text, { day: day(new Date(identity.until)) })}</p>
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
        <FurtherDevice app={app} />
        <ul class="devices">{list?.map((d) => <Row app={app} device={d} key={d.id} />)}</ul>
      </div>
    </Page>
  );
}

/** A further device is set up by its own camera: the link is drawn, and goes nowhere else. */
function FurtherDevice({ app }: { app: App }) {
  const w = words.value.devices;
  const { session } = app;
  const link = session.ownLink.value;
  if (!link)
    return (
      <div class="acts">
        <button class="btn" type="button" disabled={session.linking.value} onClick={() => session.addDevice()} data-testid="add-device">
          {session.linking.value ? w.adding : w.add}
        </button>
      </div>
    );
  return (
    <section class="further" aria-label={w.addTitle} data-testid="further">
      <h2>{w.addTitle}</h2>
      <p>{w.addText}</p>
      <QRCode text={link.url} label={w.addCode} />
      <p class="mono" data-testid="further-link">{link.url}</p>
      <div class="acts">
        <button class="btn" type="button" onClick={(e) => thenMain(e.currentTarget, () => session.hideLink())} data-testid="further-done">
          {w.addDone}
        </button>
      </div>
    </section>
  );
}

/** The margin that a reader needs, in modules. */
const quiet = 4;

/** A QR code as one path, dark on light whatever the screen's colours. */
function QRCode({ text, label }: { text: string; label: string }) {
  const rows = encode(text);
  if (rows.length === 0) return null; // too long for a code: the link itself stands beneath
  const size = rows.length + 2 * quiet;
  return (
    <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={label} shape-rendering="crispEdges" data-testid="qr">
      <path fill="#fff" d={`M0 0h${size}v${size}H0z`} />
      <path fill="#000" d={pathOf(rows)} />
    </svg>
  );
}

/** One bar for each run of dark modules. */
function pathOf(rows: readonly string[]): string {
  return rows.flatMap((row, y) => [...row.matchAll(/1+/g)].map((run) => `M${run.index + quiet} ${y + quiet}h${run[0].length}v1h-${run[0].length}z`)).join("");
}

function Row({ app, device }: { app: App; device: OwnDevice }) {
  const w = words.value;
  const sure = useSignal(false);
  const keep = useRef<HTMLButtonElement>(null);
  const short = device.id.slice(0, 8);
  const name = device.name || short;
  const by: Readonly<Record<string, string>> = w.devices.by;
  // There is no way back: a second press of the same key or place must not do it.
  useEffect(() => {
    if (sure.value) keep.current?.focus();
  }, [sure.value]);
  return (
    <li data-testid={`device-${device.id}`} data-this={device.this} data-revoked={device.revoked !== undefined}>
      <div>
        <b>{name}</b> {device.name && <span class="mono">{short}</span>} {device.this && <span>({w.devices.this})</span>}
        <p>
          {fill(w.devices.enrolled, { day: day(new Date(device.enrolled)) })} {by[device.link?.by ?? ""] ?? ""} {w.devices.assurance[device.assurance] ?? ""}{" "}
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
        <div class="acts" key="sure">
          <button class="btn danger" type="button" onClick={() => app.session.revokeDevice(device.id)} data-testid={`revoke-now-${device.id}`}>
            {fill(w.devices.sure, { name })}
          </button>
          <button class="btn" type="button" ref={keep} onClick={() => (sure.value = false)} data-testid={`revoke-keep-${device.id}`}>
            {w.devices.keep}
          </button>
        </div>
      ) : (
        <button class="btn" type="button" onClick={() => (sure.value = true)} data-testid={`revoke-${device.id}`}>
          {w.devices.revoke}
        </button>
      )}
    </li>
  );
}
