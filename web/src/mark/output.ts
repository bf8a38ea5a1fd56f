// What the page does with its leg's mark: once the core has drawn a key, all sound goes through the marked graph, and the
// elements of the receiving slots fall silent (they stay: a browser gives a remote track's sound to no graph otherwise).

import { effect, signal, type ReadonlySignal } from "@preact/signals";
import { canMark, MarkedSound, type Marking } from "./mark";

/** The leg's signs and code, and how long ago it began to mark, in seconds; null: this organisation wants no mark. */
export type Mark = { sync: Uint8Array; code: Uint8Array; since: number } | null;

interface Speakers {
  readonly context: AudioContext;
  readonly speakerID: ReadonlySignal<string>;
}

export class MarkedOutput {
  /** Sound is played by the marked graph. */
  readonly playing = signal(false);
  /** What this leg says of itself: a browser that cannot mark says so, and policy may forbid it. */
  readonly fact = signal<"running" | "absent">("AudioWorkletNode" in globalThis ? "running" : "absent");
  /** The graph waits for the person to press something. */
  readonly waits = signal(false);

  readonly #speakers: Speakers;
  readonly #streams: ReadonlySignal<{ readonly audio: readonly MediaStream[] }>;
  #sound: MarkedSound | undefined;
  #number = 0;
  #stop: (() => void)[] = [];

  constructor(speakers: Speakers, streams: ReadonlySignal<{ readonly audio: readonly MediaStream[] }>) {
    this.#speakers = speakers;
    this.#streams = streams;
  }

  /** Seconds that marking adds to what is heard; undefined while nothing is marked. */
  get delay(): number | undefined {
    return this.#sound?.delay;
  }

  async mark(mark: Mark): Promise<void> {
    const number = ++this.#number;
    this.#end();
    if (!mark) return;
    const marking: Marking = { sync: mark.sync, code: mark.code, began: performance.now() - mark.since * 1000 };
    const { context } = this.#speakers;
    if (!(await canMark(context))) return this.#failed(number);
    if (number !== this.#number) return;
    try {
      const sound = new MarkedSound(context, marking);
      sound.onfailed = () => this.#failed(number);
      this.#sound = sound;
    } catch {
      return this.#failed(number);
    }
    const sound = this.#sound;
    this.fact.value = "running";
    this.#stop = [
      effect(() => sound.play(this.#streams.value.audio)),
      effect(() => void sound.setSpeaker(this.#speakers.speakerID.value).catch(() => {})),
    ];
    const look = () => {
      this.waits.value = context.state === "suspended";
    };
    context.addEventListener("statechange", look);
    this.#stop.push(() => context.removeEventListener("statechange", look));
    look();
    this.playing.value = true;
  }

  /** To be called from a press. */
  resume(): void {
    void this.#speakers.context.resume();
  }

  /** Sound goes on without a mark, and the leg says so: whether it may stay is for policy to say. */
  #failed(number: number): void {
    if (number !== this.#number) return;
    this.#end();
    this.fact.value = "absent";
  }

  #end(): void {
    for (const stop of this.#stop) stop();
    this.#stop = [];
    this.#sound?.close();
    this.#sound = undefined;
    this.waits.value = false;
    this.playing.value = false;
  }
}
