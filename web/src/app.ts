// What all screens share: the session, the media, and what this page found out about its browser and its server.

import { signal, type ReadonlySignal } from "@preact/signals";
import type { BrowserMedia } from "./media/media";
import type { Abilities, Known } from "./room/check";
import type { Session } from "./room/session";
import { knownOf } from "./screens/check";

export class App {
  /** The organisation's name as the server says it, before anybody is known. */
  readonly organisation = signal("");
  readonly abilities = signal<Abilities | undefined>(undefined);
  /** Ms that the server takes to answer, the best of three. */
  readonly delay = signal<number | undefined>(undefined);
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

  stopAsking(): void {
    this.session.withdraw();
  }

  async #askServer(): Promise<void> {
    try {
      const reply = await fetch("/v1/organisation", { cache: "no-store" });
      const { name } = (await reply.json()) as { name?: unknown };
      if (typeof name === "string") this.organisation.value = name.slice(0, 200);
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
    this.abilities.value = { safeAddress, transform, keys: safeAddress && (await keepsKeys()) };
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
