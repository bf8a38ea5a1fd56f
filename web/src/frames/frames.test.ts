import assert from "node:assert/strict";
import { test } from "node:test";
import type { FromFrames as ToCore, ToFrames as FromCore } from "../core/port";
import type { StreamKind } from "../core/events";
import { Frames, type Frame, type Pipe } from "./frames";
import type { FromFrames as ToPage } from "./messages";
import { overhead, videoPrefix } from "./room";

const key = (n: number) => new Uint8Array(32).fill(n);
const sound = () => new Uint8Array(80).fill(0x78).buffer;

/** One endpoint's frames worker, with a core that hands out contexts as the true one does. */
class End {
  now = 0;
  readonly page: ToPage[] = [];
  readonly core: ToCore[] = [];
  readonly frames: Frames;
  next = 0x800;
  answers = true;

  constructor() {
    this.frames = new Frames({
      now: () => this.now,
      toPage: (message) => this.page.push(message),
      toCore: (message) => {
        this.core.push(message);
        if ("context" in message && this.answers) void this.give(message.context.stream, this.next++);
      },
    });
  }

  give(stream: StreamKind, id: number): Promise<void> {
    return this.frames.follow({ context: { stream, id } });
  }

  async epoch(epoch: number, leaf: number, members: number[], with_ = epoch): Promise<void> {
    await this.frames.follow({ epoch: { epoch, leaf, key: key(with_ % 251), members, first: epoch === 1 } });
    await this.frames.follow({ retire: { epoch: -1 } }); // what was asked meanwhile has been answered
  }

  slots(audio: number[], crowded = false): Promise<void> {
    return this.frames.follow({ slots: { audio, camera: [], screen: [], crowded } } satisfies FromCore);
  }

  opened(): string[] {
    return this.page.flatMap((m) => (m.event === "opened" ? [`${m.opened.kind} ${m.opened.slot} ${m.opened.leaf}`] : []));
  }

  strangers(): number[] {
    return this.core.flatMap((m) => ("stranger" in m ? [m.stranger.leaf] : []));
  }

  asked(): StreamKind[] {
    return this.core.flatMap((m) => ("context" in m ? [m.context.stream] : []));
  }

  sealed(): Record<StreamKind, number> | undefined {
    this.frames.tick();
    return this.page.flatMap((m) => (m.event === "sealed" ? [m.sealed] : [])).at(-1);
  }
}

async function pass(pipe: Pipe, data: ArrayBuffer, type?: string): Promise<ArrayBuffer[]> {
  const out: Frame[] = [];
  await pipe.pass(type === undefined ? { data } : { data, type }, { enqueue: (frame) => out.push(frame) });
  return out.map((frame) => frame.data);
}

async function one(pipe: Pipe, data: ArrayBuffer, type?: string): Promise<ArrayBuffer> {
  const out = await pass(pipe, data, type);
  assert.equal(out.length, 1);
  return out[0]!;
}

const kidOf = (payload: ArrayBuffer, at = 0) => new DataView(payload).getUint32(at + 1);

test("what one end sends, the other hears, and both say so", async () => {
  const [a, b] = [new End(), new End()];
  const [from, to] = [a.frames.send("microphone", () => {}), b.frames.receive("microphone", 2, () => {})];
  await a.epoch(1, 0, [0, 5]);
  await b.epoch(1, 5, [0, 5]);
  for (let i = 0; i < 3; i++) {
    const wire = await one(from, sound());
    assert.equal(wire.byteLength, overhead + 80 + 1);
    assert.equal(Buffer.from(wire).includes(Buffer.from(sound()).subarray(0, 8)), false);
    assert.deepEqual(await one(to, wire), sound());
  }
  assert.deepEqual(b.opened(), ["microphone 2 0"]);
  assert.ok(b.core.some((m) => "opened" in m && m.opened.leaf === 0));
  assert.deepEqual(a.sealed(), { microphone: 3, camera: 0, screen: 0 });
  b.now = 2000;
  b.frames.tick();
  assert.deepEqual(b.opened(), ["microphone 2 0", "microphone 2 -1"]);
});

test("a slot of an earlier connection does not speak for the one in its place", async () => {
  const [anna, ben] = [new End(), new End()];
  const send = anna.frames.send("microphone", () => {});
  await anna.epoch(1, 0, [0, 1]);
  await ben.epoch(1, 1, [0, 1]);
  await ben.slots([0]);
  await one(ben.frames.receive("microphone", 0, () => {}), await one(send, sound()));
  await one(ben.frames.receive("microphone", 0, () => {}), await one(send, sound()));
  ben.now = 1900;
  ben.frames.tick();
  assert.deepEqual(ben.opened(), ["microphone 0 0", "microphone 0 -1", "microphone 0 0"]);
  ben.now = 2100;
  ben.frames.tick();
  assert.equal(ben.opened().length, 4, "silence is told once, by the one that is there");
});

test("nothing leaves unsealed: without a key, without a context, after the end", async () => {
  const a = new End();
  a.answers = false;
  const pipe = a.frames.send("microphone", () => {});
  assert.deepEqual(await pass(pipe, sound()), []);
  await a.epoch(1, 0, [0]);
  assert.deepEqual(await pass(pipe, sound()), []);
  await a.give("microphone", 0x801);
  assert.equal((await pass(pipe, sound())).length, 1);
  assert.deepEqual(await pass(pipe, new ArrayBuffer(0)), []);
  await a.frames.follow({ closed: true });
  assert.deepEqual(await pass(pipe, sound()), []);
  assert.deepEqual(a.sealed(), { microphone: 1, camera: 0, screen: 0 });
});

test("nothing unsealed is ever played", async () => {
  const b = new End();
  await b.epoch(1, 5, [0, 5]);
  for (const kind of ["microphone", "camera", "screen"] as const) {
    const to = b.frames.receive(kind, 0, () => {});
    for (const clear of [sound(), new Uint8Array(1200).buffer, new Uint8Array([...videoPrefix(true), ...new Uint8Array(500)]).buffer, new ArrayBuffer(1), new ArrayBuffer(0)]) {
      assert.deepEqual(await pass(to, clear), []);
    }
  }
  assert.deepEqual(b.opened(), []);
  assert.ok(b.strangers().length >= 3);
});

test("speech, silence and mute are of one size on the wire", async () => {
  const a = new End();
  const pipe = a.frames.send("microphone", () => {});
  await a.epoch(1, 0, [0]);
  for (const length of [3, 62, 81, 79, 3, 80]) {
    assert.equal((await one(pipe, new Uint8Array(length).fill(0xfc).buffer)).byteLength, overhead + 80 + 1);
  }
});

test("video carries a prefix that says nothing but whether a key frame begins", async () => {
  const [a, b] = [new End(), new End()];
  const [from, to] = [a.frames.send("camera", () => {}), b.frames.receive("camera", 0, () => {})];
  await a.epoch(1, 0, [0, 5]);
  await b.epoch(1, 5, [0, 5]);
  for (const type of ["key", "delta"]) {
    const picture = new Uint8Array(1000).fill(9).buffer;
    const wire = await one(from, picture.slice(0), type);
    assert.deepEqual(new Uint8Array(wire).slice(0, type === "key" ? 10 : 1), videoPrefix(type === "key"));
    assert.deepEqual(await one(to, wire, type), picture);
  }
});

test("a still screen is there while it is told to be, and gone when it is not", async () => {
  const [a, b] = [new End(), new End()];
  const [from, to] = [a.frames.send("screen", () => {}), b.frames.receive("screen", 0, () => {})];
  await a.epoch(1, 0, [0, 5]);
  await b.epoch(1, 5, [0, 5]);
  await b.frames.follow({ slots: { audio: [], camera: [], screen: [0], crowded: false } });
  await one(to, await one(from, sound(), "key"), "key");
  b.now = 9_000;
  b.frames.tick();
  assert.deepEqual(b.opened(), ["screen 0 0"]);
  await b.frames.follow({ slots: { audio: [], camera: [], screen: [-1], crowded: false } });
  b.frames.tick();
  assert.deepEqual(b.opened(), ["screen 0 0", "screen 0 -1"]);
});

test("frames do not open in a slot of another kind", async () => {
  const [a, b] = [new End(), new End()];
  const [from, to] = [a.frames.send("camera", () => {}), b.frames.receive("screen", 0, () => {})];
  await a.epoch(1, 0, [0, 5]);
  await b.epoch(1, 5, [0, 5]);
  for (let i = 0; i < 3; i++) assert.deepEqual(await pass(to, await one(from, sound(), "delta")), []);
  assert.deepEqual(b.strangers(), [0]);
});

test("a frame that comes before its epoch is held half a second, no longer, and not without end", async () => {
  const [a, b] = [new End(), new End()];
  const [from, to] = [a.frames.send("microphone", () => {}), b.frames.receive("microphone", 0, () => {})];
  await a.epoch(1, 0, [0, 5]);
  await b.epoch(1, 5, [0, 5]);
  await a.epoch(2, 0, [0, 5]);
  const early = [await one(from, sound()), await one(from, sound()), await one(from, sound())];
  assert.deepEqual(await pass(to, early[0]!), []);
  b.now = 400;
  assert.deepEqual(await pass(to, early[1]!), []);
  b.now = 600;
  await b.epoch(2, 5, [0, 5]);
  assert.equal((await pass(to, early[2]!)).length, 3, "tried as soon as the epoch is there, in order");

  await a.epoch(3, 0, [0, 5]);
  for (let i = 0; i < 100; i++) assert.deepEqual(await pass(to, await one(from, sound())), []);
  await b.epoch(3, 5, [0, 5]);
  assert.equal((await pass(to, await one(from, sound()))).length, 33);

  await a.epoch(4, 0, [0, 5]);
  assert.deepEqual(await pass(to, await one(from, sound())), []);
  b.now += 501;
  b.frames.tick();
  await b.epoch(4, 5, [0, 5]);
  assert.equal((await pass(to, await one(from, sound()))).length, 1);
  assert.deepEqual(b.strangers(), []);
});

test("a removed member opens nothing of the new epoch, and is not heard in it", async () => {
  const [a, gone] = [new End(), new End()];
  const [from, to] = [a.frames.send("microphone", () => {}), gone.frames.receive("microphone", 0, () => {})];
  const [fromGone, toA] = [gone.frames.send("microphone", () => {}), a.frames.receive("microphone", 0, () => {})];
  await a.epoch(1, 0, [0, 5]);
  await gone.epoch(1, 5, [0, 5]);
  await one(to, await one(from, sound()));
  await a.epoch(2, 0, [0]);
  assert.deepEqual(await pass(to, await one(from, sound())), []);
  await one(toA, await one(fromGone, sound())); // within the grace
  a.now = 10_000;
  assert.deepEqual(await pass(toA, await one(fromGone, sound())), []);
});

test("every stream start has a context of its own, and only the newest of a kind sends", async () => {
  const a = new End();
  const first = a.frames.send("microphone", () => {});
  await a.epoch(1, 0, [0]);
  const kids = new Set([kidOf(await one(first, sound())) >>> 8]);
  for (let i = 0; i < 5; i++) {
    const next = a.frames.send("microphone", () => {});
    await a.epoch(2 + i, 0, [0]);
    kids.add(kidOf(await one(next, sound())) >>> 8);
    assert.deepEqual(await pass(first, sound()), []);
  }
  assert.equal(kids.size, 6);
  assert.equal(a.asked().length, 6);
});

test("a context that was used in this epoch is not used again, whatever the core says", async () => {
  const a = new End();
  a.answers = false;
  a.frames.send("microphone", () => {});
  await a.epoch(1, 0, [0]);
  await a.give("microphone", 0x800);
  const camera = a.frames.send("camera", () => {});
  await a.give("camera", 0x800);
  assert.deepEqual(await pass(camera, sound(), "key"), []);
  assert.deepEqual(a.asked(), ["microphone", "camera", "camera"]);
  await a.give("camera", 0x801);
  assert.equal((await pass(camera, sound(), "key")).length, 1);
  // The next epoch would allow it, were it not still in use by the microphone.
  await a.epoch(2, 0, [0]);
  const again = a.frames.send("camera", () => {});
  await a.give("camera", 0x800);
  assert.deepEqual(await pass(again, sound(), "key"), []);
});

test("an epoch told again brings back no counter", async () => {
  const a = new End();
  const pipe = a.frames.send("microphone", () => {});
  const seen = new Set<string>();
  for (const epoch of [3, 3, 3, 2, 3, 3]) {
    await a.epoch(epoch, 0, [0], 7); // always the same key
    for (let i = 0; i < 3; i++) {
      for (const wire of await pass(pipe, sound())) {
        const view = new DataView(wire);
        seen.add(`${view.getUint32(1)} ${view.getUint32(5)}`);
      }
    }
  }
  assert.equal(seen.size, 18);
});

test("a group that begins anew is heard", async () => {
  const [a, b] = [new End(), new End()];
  const [from, to] = [a.frames.send("microphone", () => {}), b.frames.receive("microphone", 0, () => {})];
  for (const epoch of [9, 0]) {
    await a.epoch(epoch, 0, [0, 5], 40 + epoch);
    await b.epoch(epoch, 5, [0, 5], 40 + epoch);
    assert.equal((await pass(to, await one(from, sound()))).length, 1);
  }
});

test("a replayed frame is dropped without an alarm, a forged one with", async () => {
  const [a, b] = [new End(), new End()];
  const [from, to] = [a.frames.send("microphone", () => {}), b.frames.receive("microphone", 0, () => {})];
  await a.epoch(1, 0, [0, 5]);
  await b.epoch(1, 5, [0, 5]);
  const wire = await one(from, sound());
  await one(to, wire.slice(0));
  for (let i = 0; i < 5; i++) assert.deepEqual(await pass(to, wire.slice(0)), []);
  assert.deepEqual(b.strangers(), []);
  for (let i = 0; i < 10; i++) {
    const forged = new Uint8Array(await one(from, sound()));
    forged[20]! ^= 1;
    assert.deepEqual(await pass(to, forged.buffer), []);
  }
  assert.deepEqual(b.strangers(), [0], "told once a second at most");
});

test("a member in another's slot is told of when it lasts", async () => {
  const [a, b] = [new End(), new End()];
  const [from, to] = [a.frames.send("microphone", () => {}), b.frames.receive("microphone", 0, () => {})];
  await a.epoch(1, 0, [0, 5]);
  await b.epoch(1, 5, [0, 5]);
  await b.slots([7]);
  for (b.now = 1; b.now < 3000; b.now += 100) await one(to, await one(from, sound()));
  assert.deepEqual(b.strangers(), []);
  await b.slots([0]);
  for (; b.now < 7000; b.now += 100) await one(to, await one(from, sound()));
  assert.deepEqual(b.strangers(), []);
  await b.slots([7]);
  for (; b.now < 10_500; b.now += 100) await one(to, await one(from, sound()));
  assert.deepEqual(b.strangers(), [0]);
  assert.deepEqual(b.opened(), ["microphone 0 0"]);
});

test("loudness is told only in a crowded room", async () => {
  const a = new End();
  const pipe = a.frames.send("microphone", () => {});
  await a.epoch(1, 0, [0]);
  const last = async () => new Uint8Array(await one(pipe, sound())).at(-1);
  a.frames.loudness = 99;
  assert.equal(await last(), 0);
  await a.slots([], true);
  assert.equal(await last(), 99);
  a.frames.loudness = 300;
  assert.equal(await last(), 0);
  a.frames.loudness = 255;
  assert.equal(await last(), 255);
  await a.slots([], false);
  assert.equal(await last(), 0);
});

test("pictures are counted as they come, and a key frame is asked for after a gap", async () => {
  const a = new End();
  let asked = 0;
  const pipe = a.frames.send("camera", () => asked++);
  for (let i = 0; i < 3; i++) assert.deepEqual(await pass(pipe, sound(), i === 0 ? "key" : "delta"), []);
  assert.equal(a.sealed()?.camera, 3);
  await a.epoch(1, 0, [0]);
  for (let i = 0; i < 3; i++) assert.equal((await pass(pipe, sound(), "delta")).length, 1);
  assert.equal(asked, 1);
  assert.equal(a.sealed()?.camera, 6);
});

test("a slot that lost a picture asks for a key frame, once a second", async () => {
  const b = new End();
  let asked = 0;
  const to = b.frames.receive("camera", 0, () => asked++);
  await b.epoch(1, 5, [0, 5]);
  for (b.now = 0; b.now < 2000; b.now += 100) await pass(to, new Uint8Array([1, ...new Uint8Array(99)]).buffer);
  assert.equal(asked, 2);
});

test("a message that cannot be followed is told, and the next is followed", async () => {
  const a = new End();
  await a.frames.follow({ epoch: { epoch: 1, leaf: 0, key: key(1), members: [5000], first: true } });
  assert.deepEqual(a.page, [{ event: "failed", what: "epoch" }]);
  const pipe = a.frames.send("microphone", () => {});
  await a.epoch(1, 0, [0]);
  assert.equal((await pass(pipe, sound())).length, 1);
});
