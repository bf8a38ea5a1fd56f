// What all screens share: the session, the media, and what this page found out about its browser and its server.

import { effect, signal, type ReadonlySignal } from "@preact/signals";
import type { BrowserMedia } from "./media/media";
import { claimsOf, selfOf, type Abilities, type Known, type Place } from "./room/check";
import type { Session } from "./room/session";
import { knownOf } from "./screens/check";
import { levelsOf, type LevelWords } from "./room/levels";

export class App {
  /** The organisation's name as the server says it, before anybody is known. */
  readonly organisation = signal("");
  /** Whoever has no link may sign in with the organisation. */
  readonly signIn = signal(false);
  readonly abilities = signal<Abilities | undefined>(undefined);
  /** Ms that the server takes to answer, the best of three. */
  readonly delay = signal<number | undefined>(undefined);
  /** The organisation's levels, the lowest first. */
  readonly levels = signal<readonly LevelWords[]>([]);
  /** What the person said of where they are; nothing before they say it. */
  readonly alone = signal<"" | "yes" | "no">("");
  readonly place = signal<Place | "">("");
  readonly known: ReadonlySignal<Known>;

  constructor(
    readonly session: Session,
    readonly media: BrowserMedia,
  ) {
    this.known = knownOf(this);
  }

  start(): void {
    void this.#findAbilities();
    void this.#askServer();
    this.session.start();
    setInterval(() => this.session.tick(), 1000);
    // A headset that is changed in the room, or somebody who comes in, is told as it happens.
    effect(() => this.session.claim(this.claims()));
    addEventListener("online", () => {
      if (this.session.state.value.state === "connecting" && this.session.identity.value) this.test();
    });
  }

  /** Has everything looked at again. */
  test(): void {
    this.abilities.value = undefined;
    this.delay.value = undefined;
    void this.#findAbilities();
    void this.#askServer();
    this.session.open();
  }

  async startDevices(): Promise<void> {
    const { devices } = this.media;
    devices.setMuted(this.session.muted.value);
    await devices.start();
    this.session.camera.value = devices.camera.value === "on";
  }

  /** What this browser says of its own line now. */
  claims(): { name: string; value: string }[] {
    return claimsOf(this.known.value.sound, this.alone.value, this.media.output.fact.value, selfOf(navigator), this.place.value);
  }

  stopAsking(): void {
    this.session.withdraw();
  }

  async #askServer(): Promise<void> {
    try {
      const reply = await fetch("/v1/organisation", { cache: "no-store" });
      const { name, levels, sign_in: signIn } = (await reply.json()) as { name?: unknown; levels?: unknown; sign_in?: unknown };
      this.signIn.value = signIn === true;
      if (typeof name === "string") this.organisation.value = name.slice(0, 200);
      this.levels.value = levelsOf(levels);
      let best = Number.POSITIVE_INFINITY;
      for (let i = 0; i < 3; i++) {
        const start = performance.now();
        await (await fetch("/v1/health", { cache: "no-store" })).arrayBuffer();
        best = Math.min(best, performance.now() - start);
      }
      this.delay.value = best;
    } catch {
      // The core tells, and better, when the server cannot be reached.
    }
  }

  /** Tries what the meeting needs, rather than to believe the browser's name. */
  async #findAbilities(): Promise<void> {
    const safeAddress = isSecureContext;
    const transform =
      "RTCRtpScriptTransform" in globalThis && "transform" in RTCRtpSender.prototype && "transform" in RTCRtpReceiver.prototype && "WebAssembly" in globalThis;
    this.abilities.value = { safeAddress, transform, keys: safeAddress && (await keepsKeys()), marks: await this.media.output.check() };
  }
}

/** Seals and opens one frame with WebCrypto, and opens the database that the device key lies in. */
async function keepsKeys(): Promise<boolean> {
  try {
    const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const frame = new Uint8Array([1, 2, 3]);
    const opened = await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, frame));
    if (new Uint8Array(opened).join() !== frame.join()) return false;
    await new Promise<void>((done, failed) => {
      const request = indexedDB.open("conclave-check");
      request.onerror = () => failed(request.error);
      request.onsuccess = () => {
        request.result.close();
        done();
      };
    });
    return true;
  } catch {
    return false;
  }
}
