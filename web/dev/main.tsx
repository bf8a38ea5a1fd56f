// The dressing room: every screen and state with a scripted core. Never part of the build.

import { render } from "preact";
import { App } from "../src/app";
import type { Command, MediaOffer, MediaWanted } from "../src/core/events";
import { BrowserMedia } from "../src/media/media";
import { startLanguage } from "../src/parts/language";
import { startTime } from "../src/parts/time";
import type { Core } from "../src/room/core";
import { Session } from "../src/room/session";
import { Screens } from "../src/screens/screens";
import { speak, type Language } from "../src/words/words";
import { person, slide } from "./fake/pictures";
import { scenes } from "./fake/scenes";
import "../src/styles/fonts.css";
import "../src/styles/tokens.css";
import "../src/styles/base.css";
import "../src/styles/parts.css";
import "../src/styles/check.css";
import "../src/styles/entry.css";
import "../src/styles/room.css";
import "../src/styles/people.css";
import "../src/styles/aside.css";

const parameters = new URLSearchParams(location.search);
const name = parameters.get("scene") ?? "check";
const scene = scenes[name] ?? { link: {}, events: [] };

/** Slots filled with drawings; the devices are the browser's own, or drawn where it has none. */
class DrawnMedia extends BrowserMedia {
  override open(wanted: MediaWanted): Promise<MediaOffer> {
    const { audio, camera } = wanted.slots;
    const silent = () => new AudioContext().createMediaStreamDestination().stream;
    this.streams.value = {
      audio: Array.from({ length: audio }, silent),
      camera: Array.from({ length: camera }, (_, i) => person(i, i === 0 ? 1280 : 640, i === 0 ? 720 : 360)),
      screen: [slide()],
    };
    this.onconnected(true);
    setInterval(() => {
      const levels = Array.from({ length: audio }, (_, i) => (i === scene.speaks ? 0.2 : 0));
      this.onlevels(levels, 0);
      if (scene.weak) this.onsample({ lossIn: 0.2, lossOut: 0, rtt: 100 });
    }, 100);
    return Promise.resolve({ ufrag: "", password: "", fingerprint: "", ssrc: { microphone: 1, camera: 2, screen: 3 }, opus: 111, vp8: 96 });
  }
}

const frames = new EventTarget() as Worker;
frames.postMessage = () => {};
const media = new DrawnMedia(frames);
let skew = 0;
const core: Core = {
  send(command: Command) {
    if (command.do === "remove") {
      const roster = scene.events.findLast((e) => e.event === "roster");
      if (roster?.event === "roster") {
        const members = (roster.roster.members ?? []).filter((m) => m.leg !== command.leg);
        setTimeout(() => core.onevent({ event: "roster", roster: { members, waiting: [] } }), 500);
      }
    }
  },
  onevent: () => {},
};
const session = new Session({
  core,
  media,
  link: scene.link,
  url: "",
  clock: { now: () => Date.now() + skew, after: (ms, call) => (setTimeout(call, ms), () => {}) },
});

await startLanguage();
const wanted = parameters.get("lang");
if (wanted) await speak(wanted as Language);
startTime();
const app = new App(session, media);
app.organisation.value = "Example Ministry";
app.delay.value = 20;
app.levels.value = [
  { name: "OPEN", words: { de: "OFFEN", en: "OPEN", fr: "OUVERT" }, colour: "#4a5651", banner: {} },
  { name: "INTERNAL", words: { de: "INTERN", en: "INTERNAL", fr: "INTERNE" }, colour: "#1f6a5c", banner: {} },
  { name: "RESTRICTED", words: { de: "VS-NUR FÜR DEN DIENSTGEBRAUCH", en: "RESTRICTED", fr: "DIFFUSION RESTREINTE" }, colour: "#1c4a96", banner: {} },
  { name: "CONFIDENTIAL", words: { de: "VS-VERTRAULICH", en: "CONFIDENTIAL", fr: "CONFIDENTIEL" }, colour: "#8a1f2b", banner: {} },
];
app.startDevices = async () => {
  const { devices } = media;
  if (scene.devices === "refused") {
    devices.microphone.value = devices.camera.value = "refused";
    return;
  }
  devices.picture.value = person(3);
  devices.camera.value = devices.microphone.value = "on";
  devices.microphones.value = [{ id: "a", label: "Headset microphone" }];
  devices.cameras.value = [{ id: "b", label: "Built-in camera" }];
  devices.speakers.value = [{ id: "c", label: "Headset" }];
  devices.microphoneID.value = "a";
  devices.cameraID.value = "b";
  devices.speakerID.value = "c";
  devices.heard.value = true;
  devices.level.value = 0.06;
  session.camera.value = true;
};
void app.startDevices();
app.abilities.value = { safeAddress: true, transform: true, keys: true, marks: true };
const root = document.getElementById("app");
if (root) render(<Screens app={app} />, root);
setInterval(() => session.tick(), 1000);

for (const event of scene.events) core.onevent(event);
scene.audio?.forEach((leaf, slot) => media.onopened("microphone", slot, leaf));
scene.camera?.forEach((leaf, slot) => media.onopened("camera", slot, leaf));
if (scene.screen !== undefined) media.onopened("screen", 0, scene.screen);
if (scene.weak) skew = 8000;
if (scene.blocked) media.onconnected(false);
if (scene.blocked) setTimeout(() => (skew = 9000), 1500);

for (const step of scene.press ?? []) {
  await new Promise((resolve) => setTimeout(resolve, 250));
  const [id, within] = step.split(":");
  const place = within ? document.querySelector(`[data-testid="member-${within}"]`) : document;
  place?.querySelector<HTMLElement>(`[data-testid="${id}"]`)?.click();
}
