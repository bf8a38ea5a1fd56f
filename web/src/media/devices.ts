// Microphone, camera and speaker: which there are, which are chosen, and their tracks. There is always a microphone
// track, be it a silent one: what goes over the network must look the same with a microphone and without.

import { signal } from "@preact/signals";
import type { MicrophoneState } from "../room/check";

export interface Device {
  id: string;
  label: string;
}

export type CameraState = "asking" | "on" | "off" | "refused" | "missing" | "busy";

const microphoneWants: MediaTrackConstraints = {
  channelCount: 1,
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
};
const cameraWants: MediaTrackConstraints = {
  width: { ideal: 640, max: 1280 },
  height: { ideal: 360, max: 720 },
  frameRate: { ideal: 24, max: 24 },
};

/** Root mean square of full scale above which a microphone counts as heard. */
const heardLevel = 0.008;

export class Devices {
  readonly microphones = signal<readonly Device[]>([]);
  readonly cameras = signal<readonly Device[]>([]);
  readonly speakers = signal<readonly Device[]>([]);
  readonly microphoneID = signal("");
  readonly cameraID = signal("");
  readonly speakerID = signal("");
  readonly microphone = signal<MicrophoneState>("asking");
  readonly camera = signal<CameraState>("asking");
  /** The own picture, for showing. */
  readonly picture = signal<MediaStream | undefined>(undefined);
  /** How loud the microphone is now, 0 to 1 root mean square, ten times a second, even while muted. */
  readonly level = signal(0);
  readonly heard = signal(false);
  /** Seconds that the microphone has been listened to. */
  readonly listening = signal(0);

  /** Called with the track that must be sent from now on. */
  onmicrophone: (track: MediaStreamTrack) => void = () => {};
  oncamera: (track: MediaStreamTrack | null) => void = () => {};

  #context: AudioContext | undefined;
  #microphone: MediaStreamTrack | undefined;
  #meter: { source: MediaStreamAudioSourceNode; copy: MediaStreamTrack } | undefined;
  #analyser: AnalyserNode | undefined;
  #silence: MediaStreamTrack | undefined;
  #camera: MediaStreamTrack | undefined;
  #muted = false;
  readonly #samples = new Float32Array(2048);

  /** Whether a speaker can be chosen in this browser. */
  readonly choosesSpeaker = "setSinkId" in HTMLMediaElement.prototype;

  constructor() {
    navigator.mediaDevices?.addEventListener("devicechange", () => void this.#devicesChanged());
    // An AudioContext runs only after the person did something on the page.
    for (const type of ["pointerdown", "keydown"]) addEventListener(type, () => void this.#context?.resume(), { capture: true });
    setInterval(() => this.#measure(), 100);
  }

  /** Asks for microphone and camera together, so that there is one question; then for each that failed alone. */
  async start(): Promise<void> {
    this.microphone.value = "asking";
    this.camera.value = "asking";
    if (!navigator.mediaDevices?.getUserMedia) {
      this.microphone.value = this.camera.value = "missing";
      return;
    }
    const found = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    const any = (kind: string) => found.length === 0 || found.some((d) => d.kind === kind);
    const wanted = { audio: any("audioinput"), video: any("videoinput") };
    try {
      if (!wanted.audio || !wanted.video) throw new DOMException("", "NotFoundError");
      const stream = await navigator.mediaDevices.getUserMedia({ audio: microphoneWants, video: cameraWants });
      this.#useMicrophone(stream.getAudioTracks()[0]);
      this.#useCamera(stream.getVideoTracks()[0]);
    } catch {
      await this.#openMicrophone();
      await this.setCamera(true);
    }
    await this.#list();
  }

  async chooseMicrophone(id: string): Promise<void> {
    this.microphoneID.value = id;
    await this.#openMicrophone(id);
  }

  async chooseCamera(id: string): Promise<void> {
    this.cameraID.value = id;
    if (this.camera.value !== "off") await this.setCamera(true);
  }

  chooseSpeaker(id: string): void {
    this.speakerID.value = id;
  }

  /** A muted track goes on as silence: its packets keep their size and rate. */
  setMuted(muted: boolean): void {
    this.#muted = muted;
    if (this.#microphone) this.#microphone.enabled = !muted;
  }

  /** The camera is truly off when it is off: its light goes out. Resolves to whether it is on. */
  async setCamera(on: boolean): Promise<boolean> {
    if (!on) {
      this.#useCamera(undefined);
      this.camera.value = "off";
      return false;
    }
    try {
      const id = this.cameraID.value;
      const stream = await navigator.mediaDevices.getUserMedia({ video: { ...cameraWants, ...(id && { deviceId: { exact: id } }) } });
      this.#useCamera(stream.getVideoTracks()[0]);
      await this.#list();
    } catch (error) {
      this.#useCamera(undefined);
      this.camera.value = reason(error);
    }
    return this.#camera !== undefined;
  }

  /** The track to send: the microphone's, or silence. */
  get microphoneTrack(): MediaStreamTrack {
    return this.#microphone ?? this.#silent();
  }

  get cameraTrack(): MediaStreamTrack | null {
    return this.#camera ?? null;
  }

  /** The audio context of the page; it also measures what is heard. */
  get context(): AudioContext {
    this.#context ??= new AudioContext();
    void this.#context.resume();
    return this.#context;
  }

  /** Two soft tones through the chosen speaker. */
  async playSound(): Promise<void> {
    const context = this.context;
    const out = context.createMediaStreamDestination();
    const gain = context.createGain();
    gain.connect(out);
    gain.gain.setValueAtTime(0, context.currentTime);
    gain.gain.linearRampToValueAtTime(0.2, context.currentTime + 0.05);
    gain.gain.setTargetAtTime(0, context.currentTime + 0.7, 0.1);
    const tone = context.createOscillator();
    tone.frequency.setValueAtTime(523.25, context.currentTime);
    tone.frequency.setValueAtTime(659.25, context.currentTime + 0.35);
    tone.connect(gain);
    const audio = new Audio();
    audio.srcObject = out.stream;
    if (this.choosesSpeaker) await audio.setSinkId(this.speakerID.value).catch(() => {});
    await audio.play().catch(() => {});
    tone.start();
    tone.stop(context.currentTime + 1.2);
    tone.onended = () => audio.pause();
  }

  /** Ends all capture. */
  stop(): void {
    this.#useCamera(undefined);
    this.camera.value = "off";
    this.#microphone?.stop();
    this.#microphone = undefined;
    this.#unmeter();
  }

  async #openMicrophone(id = this.microphoneID.value): Promise<void> {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: { ...microphoneWants, ...(id && { deviceId: { exact: id } }) } });
      this.#useMicrophone(stream.getAudioTracks()[0]);
      await this.#list();
    } catch (error) {
      this.#useMicrophone(undefined);
      const why = reason(error);
      this.microphone.value = why === "refused" || why === "busy" ? why : "missing";
    }
  }

  #useMicrophone(track: MediaStreamTrack | undefined): void {
    const old = this.#microphone;
    this.#microphone = track;
    this.#unmeter();
    if (track) {
      track.enabled = !this.#muted;
      track.onended = () => {
        if (this.#microphone === track) void this.#openMicrophone("");
      };
      this.microphoneID.value = track.getSettings().deviceId ?? "";
      this.microphone.value = "on";
      this.heard.value = false;
      this.listening.value = 0;
      // The copy goes on while the track is muted, so that one who speaks while muted can be told; it is never sent.
      const copy = track.clone();
      copy.enabled = true;
      const source = this.context.createMediaStreamSource(new MediaStream([copy]));
      this.#analyser ??= this.context.createAnalyser();
      this.#analyser.fftSize = this.#samples.length;
      source.connect(this.#analyser);
      this.#meter = { source, copy };
    }
    this.onmicrophone(this.microphoneTrack);
    old?.stop();
  }

  #unmeter(): void {
    this.#meter?.source.disconnect();
    this.#meter?.copy.stop();
    this.#meter = undefined;
    this.level.value = 0;
  }

  #useCamera(track: MediaStreamTrack | undefined): void {
    const old = this.#camera;
    this.#camera = track;
    if (track) {
      track.contentHint = "motion";
      track.onended = () => {
        if (this.#camera !== track) return;
        this.#useCamera(undefined);
        this.camera.value = "missing";
      };
      this.cameraID.value = track.getSettings().deviceId ?? "";
      this.camera.value = "on";
    }
    this.picture.value = track && new MediaStream([track]);
    this.oncamera(track ?? null);
    old?.stop();
  }

  #silent(): MediaStreamTrack {
    if (this.#silence?.readyState !== "live") {
      const out = this.context.createMediaStreamDestination();
      out.channelCount = 1;
      const source = this.context.createConstantSource();
      source.offset.value = 0;
      source.connect(out);
      source.start();
      this.#silence = out.stream.getAudioTracks()[0];
    }
    return this.#silence as MediaStreamTrack;
  }

  #measure(): void {
    if (!this.#meter || !this.#analyser || this.#context?.state !== "running") return;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let sum = 0;
    for (const sample of this.#samples) sum += sample * sample;
    const level = Math.sqrt(sum / this.#samples.length);
    this.level.value = level;
    if (level > heardLevel) this.heard.value = true;
    this.listening.value += 0.1;
  }

  async #devicesChanged(): Promise<void> {
    await this.#list();
    if (this.microphone.value === "missing" && this.microphones.value.length > 0) await this.#openMicrophone("");
    if (this.speakerID.value && !this.speakers.value.some((d) => d.id === this.speakerID.value)) this.speakerID.value = "";
  }

  async #list(): Promise<void> {
    const all = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    // Before permission devices have no labels, and are of no use to choose from.
    const of = (kind: MediaDeviceKind) => all.filter((d) => d.kind === kind && d.label).map((d) => ({ id: d.deviceId, label: d.label }));
    this.microphones.value = of("audioinput");
    this.cameras.value = of("videoinput");
    this.speakers.value = of("audiooutput");
  }
}

function reason(error: unknown): "refused" | "missing" | "busy" {
  switch (error instanceof DOMException ? error.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      return "refused";
    case "NotReadableError":
    case "AbortError":
      return "busy";
  }
  return "missing";
}
