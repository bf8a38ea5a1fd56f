// What the page does with its leg's mark: once the core has drawn a key, all sound goes through the marked graph, and the
// elements of the receiving slots are silent (they stay: a browser gives a remote track's sound to no graph otherwise).
// Until it is known whether the graph marks, nothing is played at all; where it cannot, nothing until a ruling knew of that and
// lets the leg hear all the same.

import { effect, signal, type ReadonlySignal } from "@preact/signals";

/** The leg's signs and code, and how long ago it began to mark, in seconds; null: this organisation wants no mark. */
export type Mark = { sync: Uint8Array; code: Uint8Array; since: number } | null;

/** A graph that plays streams with the mark. */
export interface Graph {
  /** Called once the worklet has marked its first block. */
  onrunning: () => void;
  /** Called once when marking has failed: the graph plays nothing any longer. */
  onfailed: () => void;
  /** Seconds that marking adds to what is heard. */
  readonly delay: number;
  play(streams: readonly MediaStream[]): void;
  setSpeaker(id: string): Promise<void>;
  close(): void;
}

/** What marks in this browser (mark.ts). */
export interface Marks {
  /** Marks a moment of silence that nobody hears; resolves to whether that worked. */
  tried(): Promise<boolean>;
  /** Makes a graph; rejects where it cannot. */
  graph(context: AudioContext, mark: NonNullable<Mark>): Promise<Graph>;
}

interface Speakers {
  readonly context: AudioContext;
  readonly speakerID: ReadonlySignal<string>;
}

type Streams = ReadonlySignal<{ readonly audio: readonly MediaStream[] }>;

/** A worklet that has not run for so many ms, though its context does, is taken for broken: a busy machine needs a few seconds. */
const patience = 15_000;

export class MarkedOutput {
  /** How sound is played: not at all yet, by the marked graph, or by the elements as it comes. */
  readonly sound = signal<"pending" | "marked" | "plain">("pending");
  /**
   * What this leg says of itself; undefined: it does not mark yet, and nothing is known against it. A browser that cannot mark
   * says so before it asks to be let in, and policy may forbid it.
   */
  readonly fact = signal<"running" | "absent" | undefined>(undefined);
  /** The graph waits for the person to press something. */
  readonly waits = signal(false);

  readonly #speakers: Speakers;
  readonly #streams: Streams;
  readonly #marks: Marks;
  readonly #patience: number;
  #graph: Graph | undefined;
  #number = 0;
  #failing = false;
  #allowed = false;
  #stop: (() => void)[] = [];

  constructor(speakers: Speakers, streams: Streams, marks: Marks, patienceMS = patience) {
    this.#speakers = speakers;
    this.#streams = streams;
    this.#marks = marks;
    this.#patience = patienceMS;
  }

  /** Seconds that marking adds to what is heard; undefined while nothing is marked. */
  get delay(): number | undefined {
    return this.#graph?.delay;
  }

  /** Finds out, at the line check, whether this browser can mark. */
  async check(): Promise<boolean> {
    const can = await this.#marks.tried().catch(() => false);
    if (!can) this.fact.value = "absent";
    else if (!this.#graph) this.fact.value = undefined;
    return can;
  }

  async mark(mark: Mark): Promise<void> {
    const number = ++this.#number;
    this.#failing = this.#allowed = false; // what was ruled was of another leg
    this.#end();
    // What failed is told until it runs again; what ran for another key says nothing of this one.
    if (this.fact.value === "running") this.fact.value = undefined;
    if (!mark) {
      this.sound.value = "plain";
      return;
    }
    this.#watch(number);
    try {
      const graph = await this.#marks.graph(this.#speakers.context, mark);
      if (number !== this.#number) return graph.close();
      this.#graph = graph;
      graph.onfailed = () => this.#failed(number);
      graph.onrunning = () => this.#running(number);
      this.#stop.push(
        effect(() => graph.play(this.#streams.value.audio)),
        effect(() => void graph.setSpeaker(this.#speakers.speakerID.value).catch(() => {})),
      );
    } catch {
      this.#failed(number);
    }
  }

  /** To be called from a press. */
  resume(): void {
    void this.#speakers.context.resume();
  }

  /** Looks whether the context runs, and gives a graph that does not up after a while. */
  #watch(number: number): void {
    const { context } = this.#speakers;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = () => {
      this.waits.value = context.state === "suspended";
      clearTimeout(timer);
      if (context.state === "running" && this.sound.value === "pending") timer = setTimeout(() => this.#late(number), this.#patience);
    };
    context.addEventListener("statechange", look);
    this.#stop.push(() => {
      clearTimeout(timer);
      context.removeEventListener("statechange", look);
    });
    look();
  }

  #late(number: number): void {
    if (this.sound.value === "pending") this.#failed(number);
  }

  #running(number: number): void {
    if (number !== this.#number) return;
    this.sound.value = "marked";
    this.fact.value = "running";
  }

  /** What the last ruling that lets this leg be in the room knew: that it plays without a mark, or not. */
  setUnmarked(allowed: boolean): void {
    this.#allowed = allowed;
    this.#plain();
  }

  /** The leg says that it does not mark. Nothing is played until that was ruled on. */
  #failed(number: number): void {
    if (number !== this.#number) return;
    this.#number++; // what the failed graph may still tell counts for nothing
    this.#failing = true;
    this.#end();
    this.fact.value = "absent";
    this.#plain();
  }

  #plain(): void {
    if (this.#failing) this.sound.value = this.#allowed ? "plain" : "pending";
  }

  #end(): void {
    for (const stop of this.#stop) stop();
    this.#stop = [];
    this.#graph?.close();
    this.#graph = undefined;
    this.waits.value = false;
    this.sound.value = "pending";
  }
}
