// The pages after a request that was refused, and after a meeting.

import type { App } from "../app";
import { Icon, Page } from "../parts/parts";
import type { IconName } from "../parts/icons";
import { reasonsFor } from "../room/reasons";
import { fixText, problemText, words } from "../words/words";

export function Refused({ app }: { app: App }) {
  const w = words.value;
  const { session } = app;
  const reasons = reasonsFor(session.identity.value, session.state.value.reasons ?? [], !!session.line.value?.assertion);
  const declined = reasons.some((r) => r.code === "door_declined");
  return (
    <Page organisation={session.identity.value?.organisation ?? app.organisation.value}>
      <div class="say" data-testid="screen-refused">
        <h1>{declined ? w.refused.declined : w.refused.title}</h1>
        <div class="reasons" role="alert">
          {reasons.map((reason) => (
            <div class="fix" data-testid="reason" data-code={reason.code} data-fix={reason.fix}>
              <p>{problemText(reason)}</p>
              <p>
                <b>{w.toFix}</b> {fixText(reason)}
              </p>
            </div>
          ))}
        </div>
        <div class="acts">
          <button class="btn primary" type="button" onClick={() => app.test()} data-testid="back-to-check">
            {w.refused.back}
          </button>
        </div>
      </div>
    </Page>
  );
}

/** Which words an ending has: the code of its reason decides. */
function ending(code: string): { title: "left" | "removed" | "replaced" | "over" | "other"; icon: IconName } {
  if (code === "left" || code === "") return { title: "left", icon: "log-out" };
  if (/removed/.test(code)) return { title: "removed", icon: "user-x" };
  if (/replaced/.test(code)) return { title: "replaced", icon: "copy" };
  if (/(over|meeting_ended|meeting_closed)/.test(code)) return { title: "over", icon: "check" };
  return { title: "other", icon: "log-out" };
}

export function Ended({ app }: { app: App }) {
  const w = words.value;
  const { session } = app;
  const said = session.state.value.reasons?.[0];
  // Whoever is out already cannot leave: what remains is to stay away, and to tell of it.
  const grave = said?.fix === "leave_and_report" || said?.fix === "leave_now";
  const reason = said && grave ? { ...said, fix: "report" } : said;
  const { title, icon } = ending(reason?.code ?? "");
  // Whoever was never let in holds no keys and has left nothing.
  const never = !session.wasIn.value && title !== "left";
  const heading = !never ? w.ended[title] : reason?.code === "door_declined" ? w.refused.declined : title === "other" ? w.refused.title : w.ended[title];
  return (
    <Page organisation={session.identity.value?.organisation ?? app.organisation.value}>
      <div class="say" data-testid="screen-ended" data-ending={never && title === "other" ? "refused" : title} data-code={reason?.code ?? ""}>
        <h1>{heading}</h1>
        {reason && title !== "left" && title !== "replaced" && (
          <div class="reasons">
            <div class="fix">
              <p>{problemText(reason)}</p>
              <p>
                <b>{w.toFix}</b> {fixText(reason)}
              </p>
            </div>
          </div>
        )}
        {title === "replaced" && <p>{w.ended.replacedText}</p>}
        <ul class="points">
          <li>
            <Icon name="key" />
            <span>{never ? w.ended.neverIn : title === "left" ? w.ended.leftText : w.ended.wiped}</span>
          </li>
          <li>
            <Icon name={icon} />
            <span>{w.ended.closeTab}</span>
          </li>
        </ul>
        <div class="acts">
          {title !== "over" && !grave && (
            <button class="btn" type="button" onClick={() => app.test()} data-testid="join-again">
              {title === "left" || title === "replaced" ? w.ended.again : w.ended.check}
            </button>
          )}
        </div>
      </div>
    </Page>
  );
}
