// The pages before the line check: the bare page, setting up this browser, and one who is not known.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { App } from "../app";
import { Icon, Page } from "../parts/parts";
import { fill, words } from "../words/words";
import { ProblemCard, TouchNote } from "./enrol";
import { passkeys } from "./passkey";

export function Home({ app }: { app: App }) {
  const w = words.value;
  const identity = app.session.identity.value;
  return (
    <Page organisation={identity?.organisation ?? app.organisation.value}>
      <div class="say" data-testid="screen-home">
        <h1>{w.home.title}</h1>
        {app.session.link.malformed && <ProblemCard problem={{ code: "link_malformed", fix: "check_link" }} testid="link-malformed" />}
        <p>{w.home.text}</p>
        {identity && <p>{fill(w.home.enrolled, { name: identity.name })}</p>}
        {identity && (
          <div class="acts">
            <a class="btn" href="/ready" data-testid="to-ready">
              {w.aside.ready.link}
            </a>
            <a class="btn" href="/devices">
              {w.devices.title}
            </a>
          </div>
        )}
      </div>
    </Page>
  );
}

/** A name that people know their machine by, from what the browser says of itself. */
function guessDevice(): string {
  const agent = navigator.userAgent;
  const system = ["Android", "iPhone", "iPad", "Windows", "Macintosh", "CrOS", "Linux"].find((name) => agent.includes(name)) ?? "";
  const browser = [
    ["Edg/", "Edge"],
    ["Firefox/", "Firefox"],
    ["Chrome/", "Chrome"],
    ["Safari/", "Safari"],
  ].find(([mark]) => agent.includes(mark ?? ""))?.[1];
  return [browser, system === "Macintosh" ? "Mac" : system].filter(Boolean).join(", ");
}

export function Enrol({ app }: { app: App }) {
  const w = words.value;
  const { session } = app;
  const name = useSignal(guessDevice());
  const organisation = app.organisation.value || w.product;
  const problem = session.enrolProblem.value;
  const busy = session.enrolling.value;
  // A link that was used or has run out never works again, nor does one for somebody who was struck off.
  const spent = problem?.fix === "ask_link" || problem?.fix === "ask_invitation" || problem?.code === "person_removed";
  const ability = app.abilities.value;
  const { guest } = session.link;
  // What this machine can do without a further thing decides which way is offered first; the server decides what will do.
  const has = useSignal({ able: false, builtIn: false });
  useEffect(() => void passkeys().then((found) => (has.value = found)), []);
  // The organisation has said that without a passkey it will not do; or the person has chosen.
  const must = useSignal(false);
  if (problem?.fix === "use_passkey" || problem?.fix === "use_hardware_key") must.value = true;
  const chosen = useSignal<boolean | undefined>(undefined);
  const passkey = !guest && has.value.able && (must.value || (chosen.value ?? has.value.builtIn));
  const other = !guest && has.value.able && !must.value && !problem?.code.startsWith("link_");
  const start = (withPasskey: boolean) => {
    chosen.value = withPasskey;
    session.enrol(name.value.trim().slice(0, 64) || guessDevice(), withPasskey);
  };
  const unable = ability && (!ability.safeAddress ? "browser_unsafe_address" : !ability.transform ? "browser_no_transform" : !ability.keys ? "browser_no_keys" : undefined);
  return (
    <Page organisation={app.organisation.value}>
      <form
        class="say"
        data-testid="screen-enrol"
        onSubmit={(e) => {
          e.preventDefault();
          if (!spent) start(passkey);
        }}
      >
        <h1>{w.enrol.title}</h1>
        <p>
          {fill(guest ? w.enrol.guest : w.enrol.welcome, { organisation })} {w.enrol.text}
        </p>
        <ul class="points">
          {w.enrol.points.map((point, i) => (
            <li>
              <Icon name={(["key", "lock", "check"] as const)[i] ?? "check"} />
              <span>{fill(point, { organisation })}</span>
            </li>
          ))}
          {passkey && (
            <li>
              <Icon name="hand" />
              <span>{w.enrol.passkey}</span>
            </li>
          )}
        </ul>
        {!guest && (
          <label class="field">
            <span>{w.enrol.device}</span>
            <input value={name.value} maxLength={64} autocomplete="off" onInput={(e) => (name.value = e.currentTarget.value)} data-testid="device-name" />
            <small>{w.enrol.deviceHint}</small>
          </label>
        )}
        {problem && <ProblemCard problem={problem} title={w.enrol.failed} testid="enrol-problem" />}
        <TouchNote app={app} problem={undefined} testid="enrol-problem" />
        {unable && (
          <div class="fix reasons" role="alert" data-testid="enrol-unable">
            <p>{w.check.means[unable]}</p>
            <p>
              <b>{w.toFix}</b> {w.check.fixes[unable]}
            </p>
          </div>
        )}
        <div class="acts">
          {!spent && (
            <button class="btn primary" type="submit" disabled={busy || !!unable} data-testid="enrol">
              {busy ? w.enrol.busy : problem ? w.enrol.again : w.enrol.button}
            </button>
          )}
          {other && !spent && (
            <button class="btn" type="button" disabled={busy || !!unable} onClick={() => start(!passkey)} data-testid="enrol-other">
              {passkey ? w.enrol.without : w.enrol.withKey}
            </button>
          )}
        </div>
        <p class="small">{w.enrol.shared}</p>
      </form>
    </Page>
  );
}

export function Stranger({ app }: { app: App }) {
  const w = words.value;
  const organisation = app.organisation.value || w.product;
  const { meeting, guest, problem: failed } = app.session.link;
  return (
    <Page organisation={app.organisation.value}>
      <div class="say" data-testid="screen-stranger">
        <h1>{w.stranger.title}</h1>
        <p>{w.stranger.text}</p>
        {failed && <ProblemCard problem={{ code: failed, fix: failed === "oidc_person" ? "ask_administrator" : "sign_in_again" }} testid="sign-in-problem" />}
        {app.signIn.value && meeting && !guest && (
          <div class="acts">
            <a class="btn primary" href={`/v1/oidc/login?to=${encodeURIComponent(`/m/${meeting}`)}`} data-testid="sign-in">
              {fill(w.stranger.signIn, { organisation })}
            </a>
          </div>
        )}
        <div class="fix reasons">
          <p>
            <b>{w.toFix}</b> {fill(w.stranger.fix, { organisation })}
          </p>
          <p>{w.stranger.firefox}</p>
        </div>
      </div>
    </Page>
  );
}
