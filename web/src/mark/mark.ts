// All that this page plays goes through one graph: the receiving slots are mixed, marked, and played. The echo canceller takes
// what the browser renders as its reference, so it knows the marked sound.

import workletURL from "./worklet?worker&url";
import type { MarkOptions } from "./worklet";
import type { Pattern } from "./embedder";

/** What the core tells of the leg's mark; `began` is the time of its beginning by performance.now() of this page. */
export interface Marking extends Pattern {
  began: number;
}

/** Loads the worklet, before anybody joins: a browser that cannot is told of in the facts. */
export async function canMark(context: AudioContext): Promise<boolean> {
  try {
    if (!("audioWorklet" in context) || context.sampleRate % 25 !== 0) return false;
    await context.audioWorklet.addModule(workletURL);
    return true;
  } catch {
    return false;
  }
}

/** Plays streams, marked. */
export class MarkedSound {
  /** Called once when marking has failed: this graph plays nothing any longer. */
  onfailed: () => void = () => {};

  readonly #context: AudioContext;
  readonly #node: AudioWorkletNode;
  #sources: MediaStreamAudioSourceNode[] = [];
  #out: MediaStreamAudioDestinationNode | undefined;
  #element: HTMLAudioElement | undefined;

  /** canMark has resolved to true for this context. */
  constructor(context: AudioContext, marking: Marking) {
    this.#context = context;
    const processorOptions: MarkOptions = { sync: marking.sync, code: marking.code, since: (performance.now() - marking.began) / 1000 };
    this.#node = new AudioWorkletNode(context, "conclave-mark", { numberOfInputs: 1, numberOfOutputs: 1, outputChannelCount: [2], processorOptions });
    this.#node.onprocessorerror = () => {
      this.close();
      this.onfailed();
    };
    this.#node.connect(context.destination);
  }

  /** What is played from now on, in place of what was. */
  play(streams: readonly MediaStream[]): void {
    for (const source of this.#sources) source.disconnect();
    this.#sources = streams.map((stream) => {
      const source = this.#context.createMediaStreamSource(stream);
      source.connect(this.#node);
      return source;
    });
  }

  /** Chooses the loudspeaker. Where a context cannot, an element plays what the graph gives. */
  async setSpeaker(id: string): Promise<void> {
    const context = this.#context as AudioContext & { setSinkId?: (id: string) => Promise<void> };
    if (context.setSinkId) {
      await context.setSinkId(id === "default" ? "" : id);
      return;
    }
    if (!id || id === "default") return;
    if (!this.#element) {
      this.#out = context.createMediaStreamDestination();
      this.#node.disconnect();
      this.#node.connect(this.#out);
      this.#element = new Audio();
      this.#element.srcObject = this.#out.stream;
    }
    await (this.#element as HTMLAudioElement & { setSinkId(id: string): Promise<void> }).setSinkId(id);
    await this.#element.play();
  }

  /** Seconds that marking and this graph add to the sound. */
  get delay(): number {
    return 0.008 + this.#context.baseLatency;
  }

  close(): void {
    for (const source of this.#sources) source.disconnect();
    this.#sources = [];
    this.#node.disconnect();
    if (this.#element) this.#element.srcObject = null;
  }
}
