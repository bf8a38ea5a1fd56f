// The outgoing sound while a screen is shared with its sound: microphone and computer in one track, for there is one stream of sound
// a leg, of constant size and rate. Muting is the microphone's own (Devices): its branch falls silent, the computer's goes on.

export class Mixer {
  /** To be sent in place of the microphone's. */
  readonly track: MediaStreamTrack;
  /** Called once when this can go on no longer: the computer's sound ended, or the browser stopped the graph. */
  onended: () => void = () => {};

  readonly #context: AudioContext;
  readonly #out: MediaStreamAudioDestinationNode;
  readonly #screen: MediaStreamTrack;
  readonly #source: MediaStreamAudioSourceNode;
  readonly #analyser: AnalyserNode;
  readonly #samples = new Float32Array(1024);
  #microphone: MediaStreamAudioSourceNode | undefined;

  constructor(context: AudioContext, screen: MediaStreamTrack, microphone: MediaStreamTrack) {
    this.#context = context;
    this.#screen = screen;
    this.#out = context.createMediaStreamDestination();
    this.#out.channelCount = 1;
    this.track = this.#out.stream.getAudioTracks()[0] as MediaStreamTrack;
    this.#source = context.createMediaStreamSource(new MediaStream([screen]));
    this.#source.connect(this.#out);
    this.#analyser = context.createAnalyser();
    this.#analyser.fftSize = this.#samples.length;
    this.#source.connect(this.#analyser);
    this.setMicrophone(microphone);
    screen.onended = () => this.onended();
    context.addEventListener("statechange", this.#look);
  }

  /** Another microphone was chosen, or there is none any longer. */
  setMicrophone(track: MediaStreamTrack): void {
    this.#microphone?.disconnect();
    this.#microphone = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#microphone.connect(this.#out);
  }

  /** How loud the computer is now, 0 to 1 root mean square. */
  get level(): number {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let sum = 0;
    for (const sample of this.#samples) sum += sample * sample;
    return Math.sqrt(sum / this.#samples.length);
  }

  close(): void {
    this.#context.removeEventListener("statechange", this.#look);
    this.#screen.onended = null;
    this.#screen.stop();
    this.#microphone?.disconnect();
    this.#source.disconnect();
    this.track.stop();
  }

  // A graph that stands still sends nothing, not even silence.
  #look = (): void => {
    if (this.#context.state !== "running") this.onended();
  };
}
