// The session's media in a browser: devices, the media path of the moment, the frames worker, and what is heard.

import { signal } from "@preact/signals";
import type { MediaOffer, MediaServer, MediaWanted, StreamKind } from "../core/events";
import type { FromFrames, ToFrames } from "../frames/messages";
import { marks } from "../mark/mark";
import { MarkedOutput, type Mark } from "../mark/output";
import type { Media } from "../room/core";
import { certificate, fingerprint } from "./certificate";
import { Devices } from "./devices";
import { Levels, loudnessByte } from "./levels";
import { Mixer } from "./mixer";
import { Path, type Streams } from "./path";
import { Probe, type ProbeOffer } from "./probe";
import { Watchdog, type Totals } from "./watchdog";

/** What newer browsers know beyond the standard: not this page's own sound and picture, which would come back to those who made them. */
const screenWants = {
  video: { frameRate: { ideal: 10, max: 10 }, width: { max: 1920 }, height: { max: 1080 } },
  // What makes speech clear spoils all else.
  audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false, restrictOwnAudio: true },
  selfBrowserSurface: "exclude",
  systemAudio: "include",
} as DisplayMediaStreamOptions;

const none: Streams = { audio: [], camera: [], screen: [] };

export class BrowserMedia implements Media {
  readonly devices = new Devices();
  /** The receiving slots of the path of the moment. */
  readonly streams = signal<Streams>(none);
  /** The own shared screen, for showing. */
  readonly screenPicture = signal<MediaStream | undefined>(undefined);
  /** The sound of what is shared goes out as well, muted or not. */
  readonly screenSound = signal(false);

  /** What is heard, with this leg's mark. */
  readonly output = new MarkedOutput(this.devices, this.streams, marks);

  onscreenend: Media["onscreenend"] = () => {};
  onopened: Media["onopened"] = () => {};
  onconnected: Media["onconnected"] = () => {};
  onbroken: Media["onbroken"] = () => {};
  onclear: Media["onclear"] = () => {};
  onlevels: Media["onlevels"] = () => {};
  onsample: Media["onsample"] = () => {};

  readonly #frames: Worker;
  #path: Path | undefined;
  #probe: Probe | undefined;
  #watchdog: Watchdog | undefined;
  #sealed: Totals = { microphone: 0, camera: 0, screen: 0 };
  #screen: MediaStreamTrack | undefined;
  #mixer: Mixer | undefined;
  #levels: Levels | undefined;
  #timers: ReturnType<typeof setInterval>[] = [];
  #muted = false;
  #held = false;
  #crowded = false;
  #measuring = false;

  /** frames is the worker that seals and opens; its port to the core has been handed over. */
  constructor(frames: Worker) {
    this.#frames = frames;
    frames.addEventListener("message", ({ data }: MessageEvent<FromFrames>) => this.#fromFrames(data));
    this.devices.onmicrophone = (track) => (this.#mixer ? this.#mixer.setMicrophone(track) : this.#send("microphone", track));
    this.devices.oncamera = (track) => this.#send("camera", track);
  }

  fingerprint(): Promise<string> {
    return fingerprint();
  }

  async probe(): Promise<ProbeOffer> {
    this.#probe?.close();
    const probe = new Probe();
    this.#probe = probe;
    return probe.offer();
  }

  probeTo(server?: MediaServer): void {
    if (server) {
      void this.#probe?.connect(server).catch(() => {}); // the server says that nothing came
      return;
    }
    this.#probe?.close();
    this.#probe = undefined;
  }

  async open(wanted: MediaWanted): Promise<MediaOffer> {
    const own = await certificate();
    this.#drop();
    const path = new Path(this.#frames, wanted.slots, this.#tracks(), own);
    this.#path = path;
    this.#watchdog = new Watchdog(this.#sealed);
    path.onbroken = () => {
      if (this.#path !== path) return;
      this.onconnected(false);
      this.onbroken();
    };
    path.onconnected = () => {
      if (this.#path === path) this.onconnected(true);
    };
    this.streams.value = path.streams;
    this.#levels = new Levels(this.devices.context, path.streams.audio);
    this.#timers = [setInterval(() => this.#hear(), 100), setInterval(() => void this.#measure(), 1000)];
    return path.connect(wanted);
  }

  ready(): void {
    // The browser has been asking the server's address since the answer was set; nothing is left to do.
  }

  close(): void {
    this.#drop();
    this.#mix(undefined);
    this.#screen?.stop();
    this.#screen = undefined;
    this.screenPicture.value = undefined;
    this.devices.stop();
  }

  suspend(): void {
    this.#drop();
  }

  setHeld(held: boolean): void {
    if (held === this.#held) return;
    this.#held = held;
    const tracks = this.#tracks();
    for (const kind of ["microphone", "camera", "screen"] as const) void this.#path?.replace(kind, tracks[kind]);
  }

  /** What is to be sent now: nothing in a paused room, not even silence. */
  #tracks(): Record<StreamKind, MediaStreamTrack | null> {
    if (this.#held) return { microphone: null, camera: null, screen: null };
    return { microphone: this.#mixer?.track ?? this.devices.microphoneTrack, camera: this.devices.cameraTrack, screen: this.#screen ?? null };
  }

  #send(kind: StreamKind, track: MediaStreamTrack | null): void {
    void this.#path?.replace(kind, this.#held ? null : track);
  }

  mark(mark: Mark): void {
    void this.output.mark(mark);
  }

  setUnmarked(allowed: boolean): void {
    this.output.setUnmarked(allowed);
  }

  setMuted(muted: boolean): void {
    this.#muted = muted;
    this.devices.setMuted(muted);
  }

  setCamera(on: boolean): Promise<boolean> {
    return this.devices.setCamera(on);
  }

  async setScreen(on: boolean): Promise<boolean> {
    if (!on) {
      this.#useScreen(undefined);
      return false;
    }
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia(screenWants);
      // It runs after a press, which there was; but a browser that lets it wait must not keep the picture back.
      await Promise.race([this.devices.context.resume(), new Promise((done) => setTimeout(done, 1000))]);
      this.#useScreen(stream.getVideoTracks()[0], stream.getAudioTracks()[0]);
    } catch {
      // The person thought better of it: what was, stays.
    }
    return this.#screen !== undefined;
  }

  setCrowded(crowded: boolean): void {
    if (this.#crowded && !crowded) this.#toFrames({ do: "loudness", loudness: 0 });
    this.#crowded = crowded;
  }

  #useScreen(track: MediaStreamTrack | undefined, sound?: MediaStreamTrack): void {
    const old = this.#screen;
    this.#screen = track;
    if (track) {
      track.contentHint = "detail";
      track.onended = () => {
        if (this.#screen !== track) return;
        this.#useScreen(undefined);
        this.onscreenend();
      };
    }
    this.screenPicture.value = track && new MediaStream([track]);
    this.#send("screen", track ?? null);
    this.#mix(sound);
    old?.stop();
  }

  /** Has the computer's sound go out with the microphone's, in place of what went with it before; or the microphone's alone. */
  #mix(sound: MediaStreamTrack | undefined): void {
    const old = this.#mixer;
    this.#mixer = undefined;
    const microphone = this.devices.microphoneTrack;
    if (sound && this.devices.context.state === "running") {
      const mixer = new Mixer(this.devices.context, sound, microphone);
      mixer.onended = () => {
        if (this.#mixer === mixer) this.#mix(undefined);
      };
      this.#mixer = mixer;
    } else {
      sound?.stop();
    }
    if (old || this.#mixer) this.#send("microphone", this.#mixer?.track ?? microphone);
    this.screenSound.value = this.#mixer !== undefined;
    old?.close();
  }

  #drop(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers = [];
    this.#levels?.close();
    this.#levels = undefined;
    this.#path?.close();
    this.#path = undefined;
    this.#watchdog = undefined;
    this.onconnected(false);
    this.streams.value = none;
  }

  #hear(): void {
    const own = this.devices.level.value;
    this.onlevels(this.#levels?.measure() ?? [], own);
    if (this.#crowded) this.#toFrames({ do: "loudness", loudness: loudnessByte(Math.max(this.#muted ? 0 : own, this.#mixer?.level ?? 0)) });
  }

  async #measure(): Promise<void> {
    const path = this.#path;
    if (!path || this.#measuring) return;
    this.#measuring = true;
    try {
      const { sent, sample } = await path.measure();
      if (this.#path !== path) return;
      this.onsample(sample);
      const verdict = this.#watchdog?.sent(sent, performance.now());
      if (verdict?.clear) this.#stop();
      else if (verdict?.question) this.#toFrames({ do: "count", question: verdict.question });
    } catch {
      // A path that closes while it is measured has nothing to tell.
    } finally {
      this.#measuring = false;
    }
  }

  #fromFrames(message: FromFrames): void {
    switch (message.event) {
      case "sealed":
        this.#sealed = message.sealed;
        if (message.question !== undefined && this.#watchdog?.sealed(message.sealed, message.question)) this.#stop();
        return;
      case "opened":
        this.onopened(message.opened.kind, message.opened.slot, message.opened.leaf);
        return;
      case "failed":
        this.onbroken();
    }
  }

  /** Something left unsealed: nothing goes out any more, whatever it was. */
  #stop(): void {
    this.#drop();
    this.onclear();
  }

  #toFrames(message: ToFrames): void {
    this.#frames.postMessage(message);
  }
}
