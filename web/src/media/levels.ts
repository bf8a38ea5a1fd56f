// How loud each receiving slot is, measured on what this device plays: nobody has to tell, so nobody can lie.

export class Levels {
  readonly #slots: { source: MediaStreamAudioSourceNode; analyser: AnalyserNode }[];
  readonly #samples = new Float32Array(1024);

  constructor(context: AudioContext, streams: readonly MediaStream[]) {
    this.#slots = streams.map((stream) => {
      const source = context.createMediaStreamSource(stream);
      const analyser = context.createAnalyser();
      analyser.fftSize = this.#samples.length;
      source.connect(analyser);
      return { source, analyser };
    });
  }

  /** The root mean square of each slot's last 20 ms, 0 to 1. */
  measure(): number[] {
    return this.#slots.map(({ analyser }) => {
      analyser.getFloatTimeDomainData(this.#samples);
      let sum = 0;
      for (const sample of this.#samples) sum += sample * sample;
      return Math.sqrt(sum / this.#samples.length);
    });
  }

  close(): void {
    for (const { source } of this.#slots) source.disconnect();
  }
}

/** A level as the byte behind a sealed frame: 1 is silence, 127 full scale, one step a decibel; 0 would be "not told". */
export function loudnessByte(level: number): number {
  if (!(level > 0)) return 1;
  const decibels = 20 * Math.log10(level);
  return Math.round(Math.min(127, Math.max(1, 127 + decibels)));
}
