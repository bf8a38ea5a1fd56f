// The AudioWorklet that marks what this page plays. It stands last before the loudspeaker.

import { Embedder, type Pattern } from "./embedder";

interface Processor {
  readonly port: MessagePort;
}
declare const AudioWorkletProcessor: { new (): Processor };
declare function registerProcessor(name: string, processor: new (options: { processorOptions: MarkOptions }) => Processor): void;
declare const sampleRate: number;

/** What the page gives to the worklet. */
export interface MarkOptions extends Pattern {
  /** Seconds since the leg began to mark, when the worklet is made. */
  since: number;
}

const channels = 2;

registerProcessor(
  "conclave-mark",
  class extends AudioWorkletProcessor {
    readonly #embedder: Embedder;
    readonly #quantum: Float32Array[];
    #told = false;

    constructor({ processorOptions: o }: { processorOptions: MarkOptions }) {
      super();
      this.#embedder = new Embedder(sampleRate, channels, Math.max(0, Math.round(o.since * sampleRate)), o);
      this.#quantum = Array.from({ length: channels }, () => new Float32Array(this.#embedder.block));
    }

    /** Throws where the browser’s quantum does not fit; then the page hears of it, and the leg says that it does not mark. */
    process(inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
      const input = inputs[0] ?? [];
      const output = outputs[0]!;
      const length = output[0]!.length;
      const { block } = this.#embedder;
      if (length % block !== 0) throw new RangeError("mark: the render quantum does not fit");
      for (let at = 0; at < length; at += block) {
        // Of one channel each block is filtered once, and played on all.
        const used = Math.max(1, Math.min(channels, input.length));
        for (let c = 0; c < used; c++) {
          const from = input[c];
          if (from) this.#quantum[c]!.set(from.subarray(at, at + block));
          else this.#quantum[c]!.fill(0);
        }
        this.#embedder.process(this.#quantum, this.#quantum, used);
        for (let c = 0; c < output.length; c++) output[c]!.set(this.#quantum[c]!, at);
      }
      // Only now is it true that this leg marks.
      if (!this.#told) this.port.postMessage("running");
      this.#told = true;
      return true;
    }
  },
);
