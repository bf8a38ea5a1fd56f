// Which screen is shown: decided by what is known, never by where the person came from.

import { useEffect } from "preact/hooks";
import type { App } from "../app";
import { words } from "../words/words";
import { Check } from "./check";
import { Ended, Refused } from "./ends";
import { Enrol, Home, Opening, Stranger } from "./entry";
import { Room } from "./room";

export function Screens({ app }: { app: App }) {
  const { session } = app;
  const { link } = session;
  const identity = session.identity.value;
  const { state } = session.state.value;
  // Before the pass the window's title tells nothing of the meeting either.
  const title = (session.wasIn.value && session.meeting.value?.title) || words.value.aMeeting;
  useEffect(() => {
    document.title = link.meeting ? `${title} – ${words.value.product}` : words.value.product;
  }, [title]);

  if (identity === undefined) return <Opening app={app} />;
  if (identity === null) {
    if (link.token) return <Enrol app={app} />;
    return link.meeting ? <Stranger app={app} /> : <Home app={app} />;
  }
  if (!link.meeting) return <Home app={app} />;
  if (state === "refused") return <Refused app={app} />;
  if (state === "ended") return <Ended app={app} />;
  if (state === "in" || session.wasIn.value) return <Room app={app} />;
  return <Check app={app} />;
}
