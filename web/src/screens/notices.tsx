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
  const list = app.session.aside.notices.value;
  if (list.length === 0) return null;
  return (
    <div class="notices paper" role="region" aria-label={w.aside.notice.title}>
      {list.map((event, i) => (
        <Card key={i} app={app} event={event} />
      ))}
    </div>
  );
}

function Card({ app, event }: { app: App; event: NoticeEvent }) {
  const w = words.value;
  const { aside } = app.session;
  const { notice } = event;
  const enrolled = notice.code === "device_enrolled";
  const link = enrolled ? "/devices" : safe(event.link);
  return (
    <section class={`notice ${enrolled ? "grave" : ""}`} role="alert" data-testid="notice" data-code={notice.code}>
      <Icon name={notice.code.startsWith("call") || notice.code.startsWith("ring") ? "phone" : enrolled ? "shield-alert" : "bell"} size={24} />
      <div>
        <p>
          <b>{problemText(notice)}</b>
        </p>
        <p>{fixText(notice)}</p>
        <div class="acts">
          {link && (
            <a class="btn sm primary" href={link} target={enrolled ? "_blank" : undefined} rel="noopener" data-testid="notice-link">
              {enrolled ? w.aside.notice.devices : w.aside.notice.open}
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
