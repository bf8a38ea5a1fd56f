// Which screen is shown: decided by what is known, never by where the person came from.

import { signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { App } from "../app";
import type { Identity, State } from "../core/events";
import type { Link } from "../room/link";
import { words } from "../words/words";
import { Check } from "./check";
import { Ended, Refused } from "./ends";
import { Devices, ProblemCard, Renew } from "./enrol";
import { Page } from "../parts/parts";
import { Notices } from "./notices";
import { Quarantined } from "./quarantine";
import { Room } from "./room";

/** Shown for the moment in which the core looks for a key, or a screen is fetched. */
function Opening({ app }: { app: App }) {
  return (
    <Page organisation={app.organisation.value}>
      <div class="say" data-testid="screen-opening" aria-busy="true" />
    </Page>
  );
}

type Screen = ComponentType<{ app: App }>;

/** A screen that few visits need comes as a file of its own, so that the line check is there sooner. */
function fetched(load: () => Promise<Screen>): Screen {
  const got = signal<Screen | "none" | undefined>(undefined);
  return function Fetched({ app }) {
    useEffect(() => {
      if (got.value) return;
      void load().then(
        (screen) => (got.value = screen),
        () => (got.value = "none"),
      );
    }, []);
    const Screen = got.value;
    if (!Screen) return <Opening app={app} />;
    if (Screen !== "none") return <Screen app={app} />;
    return (
      <Page organisation={app.organisation.value}>
        <div class="say" data-testid="screen-none">
          <ProblemCard problem={{ code: "server_unreachable", fix: "check_connection" }} testid="screen-problem" />
        </div>
      </Page>
    );
  };
}

const Enrol = fetched(() => import("./entry").then((m) => m.Enrol));
const Home = fetched(() => import("./entry").then((m) => m.Home));
const Stranger = fetched(() => import("./entry").then((m) => m.Stranger));
const Ready = fetched(() => import("./ready").then((m) => m.Ready));

export function Screens({ app }: { app: App }) {
  const { session } = app;
  const { link } = session;
  const identity = session.identity.value;
  const { state } = session.state.value;
  // Before the pass the window's title tells nothing of the meeting either, nor in quarantine: somebody else may look.
  const title = (session.wasIn.value && !session.quarantine.value && session.meeting.value?.title) || words.value.aMeeting;
  const atDoor = session.guests.value.length;
  useEffect(() => {
    const name = link.meeting ? `${title} – ${words.value.product}` : words.value.product;
    document.title = atDoor > 0 ? `(${atDoor}) ${name}` : name;
  }, [title, atDoor]);

  const screen = choose(identity, link, state, session.wasIn.value, !!session.quarantine.value);
  const before = useRef(screen);
  useEffect(() => {
    // Reading goes on where the new screen begins; the first one is read anyway.
    if (before.current !== screen && before.current !== Opening) document.getElementById("main")?.focus({ preventScroll: true });
    before.current = screen;
  }, [screen]);
  const Screen = screen;
  return (
    <>
      <Screen app={app} />
      {screen !== Room && <Notices app={app} />}
    </>
  );
}

function choose(identity: Identity | null | undefined, link: Link, state: State, wasIn: boolean, out: boolean) {
  if (identity === undefined) return Opening;
  if (identity === null) return link.token ? Enrol : link.meeting ? Stranger : Home;
  if (link.ready) return Ready;
  if (!link.meeting) return location.pathname === "/devices" ? Devices : Home;
  // The server would refuse a statement that has run out: the one thing to do is asked for first.
  if (identity.due && Date.parse(identity.until) <= Date.now() && !wasIn) return Renew;
  if (state === "refused") return Refused;
  if (state === "ended") return Ended;
  if (out) return Quarantined;
  // One who is asked about at the door once more sees the door, not an empty room.
  if (state === "waiting") return Check;
  return state === "in" || wasIn ? Room : Check;
}
