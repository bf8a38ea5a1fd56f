// The page starts here: the fragment leaves the address bar first, then the workers start, then the screen is drawn.

import { render } from "preact";
import { App } from "./app";
import coreURL from "./core/worker.ts?worker&url";
import framesURL from "./frames/worker.ts?worker&url";
import type { CoreEvent } from "./core/events";
import { BrowserMedia } from "./media/media";
import { startLanguage } from "./parts/language";
import { startTime } from "./parts/time";
import type { Core } from "./room/core";
import { readLink } from "./room/link";
import { Session } from "./room/session";
import { touch } from "./screens/passkey";
import { Screens } from "./screens/screens";
import "./styles/fonts.css";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/parts.css";
import "./styles/check.css";
import "./styles/entry.css";
import "./styles/room.css";
import "./styles/people.css";
import "./styles/aside.css";

const link = readLink(location.pathname, location.hash);
// The token must not stay where it can be read, copied with the address, or come back with the browser's history.
if (location.hash) history.replaceState(null, "", location.pathname);

const coreWorker = new Worker(coreURL, { type: "module", name: "core" });
const frames = new Worker(framesURL, { type: "module", name: "frames" });
const { port1, port2 } = new MessageChannel();
coreWorker.postMessage({ do: "port" }, [port1]);
frames.postMessage({ do: "port" }, [port2]);

const core: Core = { send: (command) => coreWorker.postMessage(command), onevent: () => {} };
coreWorker.addEventListener("message", ({ data }: MessageEvent<CoreEvent>) => {
  core.onevent(data);
  if (data.event !== "touch") return;
  const { number, wanted } = data.touch;
  void touch(wanted).then((answer) => core.send({ do: "touched", number, answer }));
});

const media = new BrowserMedia(frames);
const url = new URL("/v1/signal", location.href);
url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
const session = new Session({
  core,
  media,
  link,
  url: url.href,
  clock: {
    now: () => Date.now(),
    after: (ms, call) => {
      const timer = setTimeout(call, ms);
      return () => clearTimeout(timer);
    },
  },
});

startTime();
const app = new App(session, media);
app.start();
const root = document.getElementById("app");
void startLanguage().then(() => {
  if (root) render(<Screens app={app} />, root);
});
