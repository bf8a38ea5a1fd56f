// All that this page plays goes through one graph: the receiving slots are mixed, marked, and played. The echo canceller takes
// what the browser renders as its reference, so it knows the marked sound.

import workletURL from "./worklet?worker&url";
import type { MarkOptions } from "./worklet";
import type { Graph, Mark, Marks } from "./output";

/** Marks with the page's AudioWorklet. */
export const marks: Marks = {
  async tried() {
    // An offline context runs without a press and without a loudspeaker.
    const trial = new OfflineAudioContext(2, 4800, 48000);
    await trial.audioWorklet.addModule(workletURL);
    const node = nodeOf(trial, { sync: new Uint8Array(64 * 54), code: new Uint8Array(1), since: 0 });
    const answered = new Promise<boolean>((resolve) => {
      node.port.onmessage = () => resolve(true);
      node.onprocessorerror = () => resolve(false);
      setTimeout(() => resolve(false), 10_000);
    });
    node.connect(trial.destination);
    await trial.startRendering();
    return answered;
  },
  async graph(context, mark) {
    const asked = performance.now();
    await context.audioWorklet.addModule(workletURL);
    return new MarkedSound(context, { ...mark, since: mark.since + (performance.now() - asked) / 1000 });
  },
};

function nodeOf(context: BaseAudioContext, processorOptions: MarkOptions): AudioWorkletNode {
  return new AudioWorkletNode(context, "conclave-mark", { numberOfInputs: 1, numberOfOutputs: 1, outputChannelCount: [2], processorOptions });
}

/** Plays streams, marked. */
class MarkedSound implements Graph {
  onrunning: () => void = () => {};
  onfailed: () => void = () => {};

  readonly #context: AudioContext;
  readonly #node: AudioWorkletNode;
  #sources: MediaStreamAudioSourceNode[] = [];
  #out: MediaStreamAudioDestinationNode | undefined;
  #element: HTMLAudioElement | undefined;

  constructor(context: AudioContext, mark: NonNullable<Mark>) {
    this.#context = context;
    this.#node = nodeOf(context, mark);
    this.#node.port.onmessage = () => this.onrunning();
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
