// The frames worker's doings, apart from the browser's objects: seals what is sent, opens what is received, and lets
// nothing pass that is not sealed. Keys come from the core over a port; the page hears counts and who is truly heard.
//
// For the watchdog: `sealed` counts what a browser may count as sent. For the microphone that is frames handed on after
// sealing. For pictures it is all frames taken, dropped ones too: Chromium counts a frame as sent once it is encoded,
// whether or not the transform lets it pass. Whoever sees more sent than that has seen a frame go past this worker.

import type { FromFrames as ToCore, ToFrames as FromCore } from "../core/port";
import type { StreamKind } from "../core/events";
import type { FromFrames as ToPage } from "./messages";
import { Cell } from "./opus";
import { cutVideoPrefix, Keyring, Sender, videoPrefix, type Opened } from "./room";

/** What both browsers' encoded frames have in common. */
export interface Frame {
  data: ArrayBuffer;
  /** "key" or "delta" for video. */
  readonly type?: string;
}

export interface Sink {
  enqueue(frame: Frame): void;
}

/** Passes the frames of one stream, one after the other. */
export interface Pipe {
  pass(frame: Frame, sink: Sink): Promise<void>;
  /** The stream is over. */
  end(): void;
}

export interface Surroundings {
  now(): number;
  toPage(message: ToPage): void;
  toCore(message: ToCore): void;
}

/** How long (ms) a frame of an epoch that is not known yet is held, and how many in a slot. */
const patience = 500;
const heldAtMost = 32;
/** A slot in which nothing opened for so long (ms) is empty. A still screen rests longer, while it is told to be there. */
const silence = 2000;
const stillness = 10_000;
/** How long (ms) a slot may disagree with what the core was told: the news and the frames travel on different roads. */
const disagreement = 3000;
/** Frames that do not open within this time (ms) before they are told of: one can be an accident of a changing slot. */
const strangersIn = 2000;
const strangersAtLeast = 3;

const listOf = { microphone: "audio", camera: "camera", screen: "screen" } as const;

export class Frames {
  readonly #around: Surroundings;
  readonly #keyring = new Keyring();
  readonly #senders = new Map<StreamKind, SendPipe>();
  readonly #receivers = new Set<ReceivePipe>();
  readonly #sealed: Record<StreamKind, number> = { microphone: 0, camera: 0, screen: 0 };
  /** Contexts that senders had since the newest epoch began, those that they took into it included. */
  readonly #contexts = new Set<number>();
  #slots: Extract<FromCore, { slots: unknown }>["slots"] | undefined;
  readonly #cell = new Cell();
  #loudness = 0;
  #busy: Promise<void> = Promise.resolve();

  constructor(around: Surroundings) {
    this.#around = around;
  }

  /** A message of the core. They are followed one after the other; resolves when this one has been. */
  follow(message: FromCore): Promise<void> {
    this.#busy = this.#busy
      .then(() => this.#follow(message))
      .catch(() => this.#around.toPage({ event: "failed", what: Object.keys(message)[0] ?? "" }));
    return this.#busy;
  }

  /** How loud the microphone is, 1 to 255; 0: not told. */
  set loudness(value: number) {
    this.#loudness = Number.isInteger(value) && value >= 0 && value <= 255 ? value : 0;
  }

  /** A stream begins to be sent. An earlier one of its kind seals nothing more. refresh asks its encoder for a key frame. */
  send(kind: StreamKind, refresh: () => void): Pipe {
    this.#senders.get(kind)?.end();
    const pipe = new SendPipe(kind, this.#keyring, {
      ask: () => this.#ask(kind),
      loudness: () => (this.#slots?.crowded ? this.#loudness : 0),
      fit: (packet) => this.#cell.fit(packet),
      count: () => this.#sealed[kind]++,
      refresh,
    });
    this.#senders.set(kind, pipe);
    pipe.start();
    return pipe;
  }

  /** A receiving slot begins. An earlier one in its place is over and says nothing more. refresh asks its sender for a key frame. */
  receive(kind: StreamKind, slot: number, refresh: () => void): Pipe {
    for (const earlier of this.#receivers) if (earlier.isOf(kind, slot)) earlier.end();
    const pipe = new ReceivePipe(kind, slot, this.#keyring, this.#around, refresh, () => this.#slots?.[listOf[kind]][slot] ?? -1, () =>
      this.#receivers.delete(pipe),
    );
    this.#receivers.add(pipe);
    return pipe;
  }

  /** To be called each second. */
  tick(): void {
    this.#keyring.expire(this.#around.now());
    for (const receiver of this.#receivers) receiver.tick();
    this.#around.toPage({ event: "sealed", sealed: { ...this.#sealed } });
  }

  /** Answers the page's question for the totals. */
  count(question: number): void {
    this.#around.toPage({ event: "sealed", sealed: { ...this.#sealed }, question });
  }

  async #follow(message: FromCore): Promise<void> {
    if ("epoch" in message) {
      const { epoch, leaf, key, members, first } = message.epoch;
      const newest = this.#keyring.newest;
      // A group of its own counts from the start, under keys of its own. No sender keeps its context in it, so that even
      // one epoch told twice could not bring back a counter.
      if (first || (newest && epoch <= newest.number)) this.#forget();
      else this.#contexts.clear();
      if (!(await this.#keyring.add(epoch, leaf, key, members, this.#around.now()))) throw new Error("frames: epoch");
      for (const sender of this.#senders.values()) {
        if (sender.context !== undefined) this.#contexts.add(sender.context);
        else sender.start();
      }
    } else if ("retire" in message) this.#keyring.retire(message.retire.epoch);
    else if ("bar" in message) this.#keyring.bar(message.bar.leaf);
    else if ("slots" in message) this.#slots = message.slots;
    else if ("context" in message) this.#give(message.context.stream, message.context.id);
    else if ("closed" in message) {
      this.#forget();
      this.#slots = undefined;
    }
  }

  #forget(): void {
    this.#keyring.clear();
    for (const sender of this.#senders.values()) sender.forget();
  }

  #ask(stream: StreamKind): void {
    if (this.#keyring.newest) this.#around.toCore({ context: { stream } });
  }

  #give(kind: StreamKind, id: number): void {
    const sender = this.#senders.get(kind);
    if (!sender || sender.context !== undefined) return; // for a stream that is over
    if (this.#contexts.has(id)) {
      this.#ask(kind);
      return;
    }
    this.#contexts.add(id);
    sender.use(id);
  }
}

interface SendCalls {
  ask(): void;
  loudness(): number;
  fit(packet: ArrayBuffer): ArrayBuffer;
  count(): void;
  refresh(): void;
}

class SendPipe implements Pipe {
  readonly #kind: StreamKind;
  readonly #keyring: Keyring;
  readonly #calls: SendCalls;
  #sender: Sender | undefined;
  #over = false;
  /** A picture was dropped: those that build on it are of no use. */
  #gap = false;

  constructor(kind: StreamKind, keyring: Keyring, calls: SendCalls) {
    this.#kind = kind;
    this.#keyring = keyring;
    this.#calls = calls;
  }

  get context(): number | undefined {
    return this.#sender?.context;
  }

  start(): void {
    if (!this.#over) this.#calls.ask();
  }

  use(context: number): void {
    if (!this.#over) this.#sender = new Sender(this.#kind, context);
  }

  forget(): void {
    this.#sender = undefined;
  }

  end(): void {
    this.#over = true;
    this.#sender = undefined;
  }

  async pass(frame: Frame, sink: Sink): Promise<void> {
    if (this.#kind !== "microphone") this.#calls.count();
    const sender = this.#sender;
    const epoch = this.#keyring.newest;
    if (!sender || !epoch || frame.data.byteLength === 0) {
      this.#gap = true;
      return; // nothing leaves unsealed
    }
    if (sender.epoch !== epoch.number) await sender.enter(epoch);
    const sealed = await this.#seal(sender, frame);
    if (!sealed || this.#sender !== sender) return;
    frame.data = sealed;
    if (this.#kind === "microphone") this.#calls.count();
    sink.enqueue(frame);
  }

  #seal(sender: Sender, frame: Frame): Promise<ArrayBuffer | undefined> {
    if (this.#kind === "microphone") {
      return sender.seal(this.#calls.fit(frame.data), undefined, new Uint8Array([this.#calls.loudness()]));
    }
    const key = frame.type === "key";
    if (this.#gap) {
      this.#gap = false;
      if (!key) this.#calls.refresh();
    }
    return sender.seal(frame.data, videoPrefix(key));
  }
}

class ReceivePipe implements Pipe {
  readonly #kind: StreamKind;
  readonly #slot: number;
  readonly #keyring: Keyring;
  readonly #around: Surroundings;
  readonly #refresh: () => void;
  readonly #owner: () => number;
  readonly #ended: () => void;
  #held: { frame: Frame; until: number }[] = [];
  #leaf = -1;
  #last = 0;
  #disagrees = 0; // since when, 0: it does not
  #strangers: { at: number; leaf: number }[] = [];
  #told = Number.NEGATIVE_INFINITY;
  #refreshed = Number.NEGATIVE_INFINITY;

  constructor(kind: StreamKind, slot: number, keyring: Keyring, around: Surroundings, refresh: () => void, owner: () => number, ended: () => void) {
    this.#kind = kind;
    this.#slot = slot;
    this.#keyring = keyring;
    this.#around = around;
    this.#refresh = refresh;
    this.#owner = owner;
    this.#ended = ended;
  }

  isOf(kind: StreamKind, slot: number): boolean {
    return this.#kind === kind && this.#slot === slot;
  }

  async pass(frame: Frame, sink: Sink): Promise<void> {
    const held = this.#held;
    this.#held = [];
    for (const one of held) await this.#try(one.frame, one.until, sink);
    if (frame.data.byteLength > 0) await this.#try(frame, this.#around.now() + patience, sink);
  }

  end(): void {
    this.#held = [];
    this.#tell(-1);
    this.#ended();
  }

  tick(): void {
    const now = this.#around.now();
    this.#held = this.#held.filter((one) => now < one.until);
    const rests = this.#kind !== "microphone" && this.#owner() === this.#leaf;
    if (this.#leaf >= 0 && now - this.#last >= (rests ? stillness : silence)) this.#tell(-1);
  }

  async #try(frame: Frame, until: number, sink: Sink): Promise<void> {
    const now = this.#around.now();
    const opened = await this.#open(frame, now);
    if ("frame" in opened) {
      this.#heard(opened.leaf, now);
      frame.data = opened.frame;
      sink.enqueue(frame);
      return;
    }
    if (opened.failed === "epoch" && now < until) {
      if (this.#held.length === heldAtMost) this.#held.shift();
      this.#held.push({ frame, until });
      return;
    }
    if (opened.failed !== "epoch" && opened.failed !== "replay") this.#strange(opened.leaf, now);
    if (this.#kind !== "microphone" && opened.failed !== "replay") this.#wantKeyFrame(now);
  }

  /** Takes the payload apart as room.ts seals it. */
  async #open(frame: Frame, now: number): Promise<Opened> {
    const payload = new Uint8Array(frame.data);
    if (this.#kind === "microphone") {
      return this.#keyring.open(this.#kind, payload.subarray(0, 0), payload.subarray(0, -1), now);
    }
    const parts = cutVideoPrefix(payload);
    return parts ? this.#keyring.open(this.#kind, parts.prefix, parts.sealed, now) : { failed: "malformed", leaf: -1 };
  }

  #heard(leaf: number, now: number): void {
    this.#last = now;
    if (leaf !== this.#leaf) this.#tell(leaf);
    const owner = this.#owner();
    if (owner === leaf) this.#disagrees = 0;
    else if (this.#disagrees === 0) this.#disagrees = now;
    else if (now - this.#disagrees > disagreement) this.#alarm(leaf, now);
  }

  #strange(leaf: number, now: number): void {
    this.#strangers = this.#strangers.filter(({ at }) => now - at < strangersIn);
    this.#strangers.push({ at: now, leaf });
    if (this.#strangers.length >= strangersAtLeast) {
      this.#strangers = [];
      this.#alarm(leaf, now);
    }
  }

  /** At most once a second: a flood of frames is no flood of alarms. */
  #alarm(leaf: number, now: number): void {
    if (now - this.#told < 1000) return;
    this.#told = now;
    this.#around.toCore({ stranger: { stream: this.#kind, leaf } });
  }

  #tell(leaf: number): void {
    if (leaf === this.#leaf) return;
    this.#leaf = leaf;
    this.#disagrees = 0;
    const opened = { kind: this.#kind, slot: this.#slot, leaf };
    this.#around.toPage({ event: "opened", opened });
    this.#around.toCore({ opened });
  }

  #wantKeyFrame(now: number): void {
    if (now - this.#refreshed < 1000) return;
    this.#refreshed = now;
    this.#refresh();
  }
}
