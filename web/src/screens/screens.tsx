// Which screen is shown: decided by what is known, never by where the person came from.

import { useEffect, useRef } from "preact/hooks";
import type { App } from "../app";
import type { Identity, State } from "../core/events";
import type { Link } from "../room/link";
import { words } from "../words/words";
import { Check } from "./check";
import { Ended, Refused } from "./ends";
import { Devices, Renew } from "./enrol";
import { Enrol, Home, Opening, Stranger } from "./entry";
import { Notices } from "./notices";
import { Quarantined } from "./quarantine";
import { Ready } from "./ready";
import { Room } from "./room";

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
