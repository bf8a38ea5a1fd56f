// Notices: what a person must know apart from the meeting's course. They lie over whatever is shown until they are read.

import type { App } from "../app";
import type { NoticeEvent } from "../core/events";
import { thenMain } from "../parts/focus";
import { Icon } from "../parts/parts";
import { fixText, problemText, words } from "../words/words";

/** A path and query on this server, nothing else: a notice leads nowhere outside. */
function safe(link: string | undefined): string | undefined {
  return link && /^\/(?!\/)[\w\-./?=&%]*$/.test(link) ? link : undefined;
}

export function Notices({ app }: { app: App }) {
  const w = words.value;
  const all = app.session.aside.notices.value;
  const before = all.filter((event) => beforeThis.has(event.notice.code));
  const list = all.filter((event) => !before.includes(event));
  if (all.length === 0) return null;
  return (
    <div class="notices paper" role="region" aria-label={w.aside.notice.title}>
      {list.map((event, i) => (
        <Card key={i} app={app} event={event} />
      ))}
      {before.length > 0 && <Before app={app} events={before} />}
    </div>
  );
}

/** What a new device is told of those that were there before it. */
const beforeThis: ReadonlySet<string> = new Set(["device_before", "device_link_made", "device_before_more"]);

/** One card for all of them: most people know their devices, and shall get past it with one press. */
function Before({ app, events }: { app: App; events: readonly NoticeEvent[] }) {
  const w = words.value;
  const several = events.length > 1;
  const fix = several ? { code: "", fix: "look_at_devices" } : events[0]!.notice;
  return (
    <section class="notice" role="status" data-testid="notice" data-code="device_before">
      <Icon name="bell" size={24} />
      <div>
        {several && <h2>{w.aside.notice.before}</h2>}
        <ul>
          {events.map(({ notice }, i) => (
            <li key={i} data-code={notice.code}>
              {problemText(notice)}
            </li>
          ))}
        </ul>
        <p>{fixText(fix)}</p>
        <div class="acts">
          <DevicesLink />
          <button class="btn sm" type="button" onClick={(e) => thenMain(e.currentTarget, () => app.session.aside.read(...events))} data-testid="notice-read">
            {w.aside.notice.read}
          </button>
        </div>
      </div>
    </section>
  );
}

/** Opens beside the page: the meeting goes on. */
function DevicesLink() {
  return (
    <a class="btn sm primary" href="/devices" target="_blank" rel="noopener" data-testid="notice-link">
      {words.value.aside.notice.devices}
    </a>
  );
}

function Card({ app, event }: { app: App; event: NoticeEvent }) {
  const w = words.value;
  const { aside } = app.session;
  const { notice } = event;
  const enrolled = notice.code === "device_enrolled";
  const link = safe(event.link);
  return (
    <section class={`notice ${enrolled ? "grave" : ""}`} role="alert" data-testid="notice" data-code={notice.code}>
      <Icon name={notice.code.startsWith("call") || notice.code.startsWith("ring") ? "phone" : enrolled ? "shield-alert" : "bell"} size={24} />
      <div>
        <p>
          <b>{problemText(notice)}</b>
        </p>
        <p>{fixText(notice)}</p>
        <div class="acts">
          {enrolled && <DevicesLink />}
          {link && !enrolled && (
            <a class="btn sm primary" href={link} rel="noopener" data-testid="notice-link">
              {w.aside.notice.open}
            </a>
          )}
          {notice.args?.["person"] && notice.fix === "ring_back" && (
            <button class="btn sm primary" type="button" onClick={() => aside.ring(notice.args?.["person"] ?? "")} data-testid="notice-ring">
              {w.aside.phone.ring}
            </button>
          )}
          <button class="btn sm" type="button" onClick={(e) => thenMain(e.currentTarget, () => aside.read(event))} data-testid="notice-read">
            {w.aside.notice.read}
          </button>
        </div>
      </div>
    </section>
  );
}
