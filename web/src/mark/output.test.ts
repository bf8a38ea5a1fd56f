import assert from "node:assert/strict";
import { test } from "node:test";
import { signal } from "@preact/signals";
import { type Graph, MarkedOutput, type Marks } from "./output";

const key = { sync: new Uint8Array(64 * 54), code: new Uint8Array(9), since: 0 };
const streams = signal({ audio: ["a stream"] as unknown as MediaStream[] });

class FakeGraph implements Graph {
  onrunning = () => {};
  onfailed = () => {};
  delay = 0.01;
  played: readonly MediaStream[] = [];
  closed = false;
  play(list: readonly MediaStream[]) {
    this.played = list;
  }
  async setSpeaker() {}
  close() {
    this.closed = true;
  }
}

/** An output whose worklet does as a test says. */
function output({ tried = async () => true, graph, state = "running", patience = 60_000 }: { tried?: Marks["tried"]; graph?: Marks["graph"]; state?: string; patience?: number } = {}) {
  const graphs: FakeGraph[] = [];
  const context = Object.assign(new EventTarget(), { state });
  const make = async () => {
    const made = new FakeGraph();
    graphs.push(made);
    return made;
  };
  const speakers = { context: context as unknown as AudioContext, speakerID: signal("") };
  const out = new MarkedOutput(speakers, streams, { tried, graph: graph ?? make }, patience);
  return { out, graphs, context };
}

test("nothing is played, and nothing is claimed, before the worklet has marked", async () => {
  const { out, graphs } = output();
  assert.equal(out.sound.value, "pending");
  const marking = out.mark(key);
  assert.equal(out.sound.value, "pending", "while the worklet loads");
  await marking;
  assert.equal(out.sound.value, "pending", "while it has not run");
  assert.equal(out.fact.value, undefined);
  assert.deepEqual(graphs[0]!.played, streams.value.audio);
  graphs[0]!.onrunning();
  assert.equal(out.sound.value, "marked");
  assert.equal(out.fact.value, "running");
});

test("a new key is pending anew, and what the graph before tells counts for nothing", async () => {
  const { out, graphs } = output();
  await out.mark(key);
  graphs[0]!.onrunning();
  const again = out.mark(key);
  assert.equal(out.sound.value, "pending");
  assert.equal(out.fact.value, undefined);
  assert.ok(graphs[0]!.closed);
  await again;
  graphs[0]!.onrunning();
  graphs[0]!.onfailed();
  assert.equal(out.sound.value, "pending");
  graphs[1]!.onrunning();
  assert.equal(out.fact.value, "running");
  assert.equal(out.sound.value, "marked");
});

test("a worklet that fails in the room is told at once, and nothing is played before a ruling knew of it", async () => {
  const { out, graphs } = output();
  await out.mark(key);
  graphs[0]!.onrunning();
  const seen: string[] = [];
  out.fact.subscribe((fact) => void seen.push(`${fact} ${out.sound.peek()}`));
  graphs[0]!.onfailed();
  assert.ok(!seen.some((s) => s.endsWith("plain")), seen.join());
  assert.equal(out.fact.value, "absent");
  assert.equal(out.sound.value, "pending", "before it was ruled on");
  out.setUnmarked(false);
  assert.equal(out.sound.value, "pending", "a ruling that went by what was claimed before");
  out.setUnmarked(true);
  assert.equal(out.sound.value, "plain");
  out.setUnmarked(false);
  assert.equal(out.sound.value, "pending", "a ruling that takes it back");
  graphs[0]!.onrunning();
  assert.equal(out.fact.value, "absent", "a graph that failed does not come back");
});

test("that an unmarked leg may hear changes nothing where the graph marks, and is no word on another leg", async () => {
  const { out, graphs } = output();
  await out.mark(key);
  out.setUnmarked(true);
  assert.equal(out.sound.value, "pending");
  graphs[0]!.onrunning();
  assert.equal(out.sound.value, "marked");
  await out.mark(key);
  graphs[1]!.onfailed();
  assert.equal(out.sound.value, "pending");
});

test("a worklet that cannot be loaded, or never runs, is told too", async (t) => {
  const broken = output({ graph: () => Promise.reject(new Error("no worklet")) });
  await broken.out.mark(key);
  assert.equal(broken.out.fact.value, "absent");
  assert.equal(broken.out.sound.value, "pending");

  t.mock.timers.enable({ apis: ["setTimeout"] });
  const mute = output({ graph: () => new Promise(() => {}), patience: 1000 });
  void mute.out.mark(key);
  t.mock.timers.tick(999);
  assert.equal(mute.out.sound.value, "pending");
  t.mock.timers.tick(1);
  assert.equal(mute.out.fact.value, "absent");

  const suspended = output({ patience: 1000, state: "suspended" });
  await suspended.out.mark(key);
  t.mock.timers.tick(60_000);
  assert.ok(suspended.out.waits.value, "the person is asked for a press");
  assert.equal(suspended.out.sound.value, "pending", "a context that waits for a press is no failure");
  suspended.context.state = "running";
  suspended.context.dispatchEvent(new Event("statechange"));
  assert.ok(!suspended.out.waits.value);
  t.mock.timers.tick(1000);
  assert.equal(suspended.out.fact.value, "absent");
});

test("the line check says that this browser cannot mark, before it asks to be let in", async () => {
  let can = false;
  const { out, graphs } = output({ tried: async () => can });
  assert.equal(await out.check(), false);
  assert.equal(out.fact.value, "absent");
  const broken = output({ tried: () => Promise.reject(new Error("no worklet")) });
  assert.equal(await broken.out.check(), false);
  can = true;
  assert.equal(await out.check(), true);
  assert.equal(out.fact.value, undefined, "that it can is not that it does");
  await out.mark(key);
  graphs[0]!.onrunning();
  assert.equal(out.fact.value, "running");
});

test("where the organisation wants no mark, sound is plain and nothing is claimed", async () => {
  const { out } = output();
  await out.mark(null);
  assert.equal(out.sound.value, "plain");
  assert.equal(out.fact.value, undefined);
});
